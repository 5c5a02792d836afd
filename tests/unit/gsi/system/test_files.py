"""Files: who may be read, and that nothing diverts or half-finishes a write."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gsi.errors import CredentialError, CredentialProblem, ParseError
from gsi.system import clock
from gsi.system.files import FileLock, read_private, read_public, write_private, write_public

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="gives files away, mounts: needs root")
STRANGER = 12345


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"content")
    path.chmod(0o600)
    return path


def problem_of(act: Callable[[], object], path: Path | str) -> CredentialProblem:
    with pytest.raises(CredentialError) as caught:
        act()
    assert caught.value.path == str(path)
    return caught.value.problem


def reading(path: Path | str) -> CredentialProblem:
    return problem_of(lambda: read_private(str(path), max_bytes=100), path)


def writing(path: Path | str) -> CredentialProblem:
    return problem_of(lambda: write_private(str(path), b"x"), path)


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_reads_a_private_file(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    assert read_private(str(secret), max_bytes=7) == b"content"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o700, 0o666, 0o4600, 0o2600, 0o1600])
def test_refuses_modes_over_600(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    with pytest.raises(CredentialError, match="Maximum allowable permissions are 600") as caught:
        read_private(str(secret), max_bytes=100)
    assert caught.value.problem is CredentialProblem.UNSAFE_FILE
    assert caught.value.hint == f"chmod 600 {secret}"


def test_a_credential_of_the_service_manager_is_guarded_by_its_directory(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secret.parent))
    for mode in (0o440, 0o400, 0o640):
        secret.chmod(mode)
        assert read_private(str(secret), max_bytes=100) == b"content"
    for mode in (0o444, 0o460, 0o404, 0o540):
        secret.chmod(mode)
        with pytest.raises(CredentialError, match="too permissive"):
            read_private(str(secret), max_bytes=100)
    secret.chmod(0o440)
    inner = secret.parent / "inner"
    inner.mkdir()
    for elsewhere in (inner, secret.parent.parent):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(elsewhere))
        with pytest.raises(CredentialError, match="too permissive"):
            read_private(str(secret), max_bytes=100)


@needs_root
def test_a_credential_of_the_service_manager_may_be_root_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group stands for the access list that systemd gives the service's user."""
    place = Path(tempfile.mkdtemp(prefix="gsi-"))
    try:
        secret = place / "key"
        secret.write_bytes(b"content")
        for path, mode in ((place, 0o750), (secret, 0o440)):
            os.chown(path, 0, STRANGER)
            path.chmod(mode)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(place))
        os.setegid(STRANGER)
        os.seteuid(STRANGER)
        try:
            assert read_private(str(secret), max_bytes=100) == b"content"
            monkeypatch.delenv("CREDENTIALS_DIRECTORY")
            with pytest.raises(CredentialError, match="not owned"):
                read_private(str(secret), max_bytes=100)
        finally:
            os.seteuid(0)
            os.setegid(0)
        os.chown(secret, STRANGER, STRANGER)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(place))
        with pytest.raises(CredentialError, match="not owned"):
            read_private(str(secret), max_bytes=100)
    finally:
        shutil.rmtree(place)


@needs_root
def test_refuses_another_owner(secret: Path) -> None:
    os.chown(secret, STRANGER, -1)
    with pytest.raises(CredentialError, match="not owned by the current user") as caught:
        read_private(str(secret), max_bytes=100)
    assert caught.value.problem is CredentialProblem.UNSAFE_FILE


def test_the_variable_of_the_c_library_relaxes_owner_and_mode(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret.chmod(0o644)
    if IS_ROOT:
        os.chown(secret, STRANGER, -1)
    monkeypatch.setenv("GLOBUS_IGNORE_CRED_PERMS", "1")
    assert read_private(str(secret), max_bytes=100) == b"content"
    assert reading(secret.parent) is CredentialProblem.UNSAFE_FILE  # but nothing else


def test_refuses_what_is_no_file_without_hanging(tmp_path: Path) -> None:
    assert reading(tmp_path / "missing") is CredentialProblem.MISSING
    assert reading(tmp_path / "missing" / "below") is CredentialProblem.MISSING
    assert reading("nul\0byte") is CredentialProblem.MISSING
    assert reading("\ud800") is CredentialProblem.MISSING
    assert reading(tmp_path) is CredentialProblem.UNSAFE_FILE
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert reading(tmp_path / "fifo") is CredentialProblem.UNSAFE_FILE
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        assert reading(tmp_path / "socket") is CredentialProblem.UNSAFE_FILE
    assert reading("/dev/null") is CredentialProblem.UNSAFE_FILE
    (tmp_path / "empty").touch(0o600)
    assert reading(tmp_path / "empty") is CredentialProblem.MISSING


def test_a_name_as_long_as_a_name_may_be_is_written(tmp_path: Path) -> None:
    """In bytes, of which a letter may have several."""
    path = tmp_path / ("\u4e2d" * 80)
    write_public(str(path), b"content", 0o644)
    assert path.read_bytes() == b"content"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_bounds_what_is_read(secret: Path) -> None:
    for read in (read_private, read_public):
        with pytest.raises(ParseError, match="longer than 6 bytes"):
            read(str(secret), max_bytes=6)


def test_follows_links_of_the_user(secret: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("secret")
    (tmp_path / "again").symlink_to(tmp_path / "link")
    assert read_private(str(tmp_path / "again"), max_bytes=100) == b"content"
    (tmp_path / "loop").symlink_to("loop")
    assert reading(tmp_path / "loop") is CredentialProblem.UNSAFE_FILE
    (tmp_path / "dangling").symlink_to("nowhere")
    assert reading(tmp_path / "dangling") is CredentialProblem.MISSING


@needs_root
def test_refuses_links_of_strangers(secret: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("secret")
    os.chown(link, STRANGER, -1, follow_symlinks=False)
    assert reading(link) is CredentialProblem.UNSAFE_FILE
    (tmp_path / "mine").symlink_to("link")
    assert reading(tmp_path / "mine") is CredentialProblem.UNSAFE_FILE


def test_a_link_put_there_after_the_look_is_not_followed(
    secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"harmless")
    path.chmod(0o600)
    look = os.lstat

    def look_then_swap(name: str) -> os.stat_result:
        found = look(name)
        if name == str(path) and stat.S_ISREG(found.st_mode):
            path.unlink()
            path.symlink_to(secret)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", look_then_swap)
        assert reading(path) is CredentialProblem.UNSAFE_FILE
    assert path.is_symlink()


def test_reads_a_public_file_through_links(secret: Path, tmp_path: Path) -> None:
    secret.chmod(0o644)
    (tmp_path / "link").symlink_to("secret")
    assert read_public(str(tmp_path / "link"), max_bytes=100) == b"content"
    (tmp_path / "empty").touch()
    assert read_public(str(tmp_path / "empty"), max_bytes=100) == b""
    assert problem_of(lambda: read_public("/dev/zero", max_bytes=100), "/dev/zero") is CredentialProblem.UNSAFE_FILE
    missing = tmp_path / "missing"
    assert problem_of(lambda: read_public(str(missing), max_bytes=9), missing) is CredentialProblem.MISSING


@pytest.mark.parametrize(("mode", "good"), [(0o644, True), (0o600, True), (0o664, False), (0o646, False)])
def test_checks_who_can_write_when_asked(secret: Path, mode: int, good: bool) -> None:
    secret.chmod(mode)
    if good:
        assert read_public(str(secret), max_bytes=100, check_writers=True) == b"content"
    else:
        with pytest.raises(CredentialError, match="Maximum allowable permissions are 644"):
            read_public(str(secret), max_bytes=100, check_writers=True)


@needs_root
def test_checks_the_owner_when_asked(secret: Path) -> None:
    os.chown(secret, STRANGER, -1)
    with pytest.raises(CredentialError, match="neither the current user nor root"):
        read_public(str(secret), max_bytes=100, check_writers=True)


# --- writing ----------------------------------------------------------------------------------------------------------


def names(directory: Path) -> set[str]:
    return set(os.listdir(directory))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_writes_with_exact_modes_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_private(str(tmp_path / "private"), b"secret")
        write_public(str(tmp_path / "public"), b"known")
        write_public(str(tmp_path / "other"), b"known", mode=0o640)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("private", "public", "other")] == [
        0o600,
        0o644,
        0o640,
    ]
    assert read_private(str(tmp_path / "private"), max_bytes=6) == b"secret"
    assert names(tmp_path) == {"private", "public", "other"}


def test_replaces_an_older_file_without_writing_into_it(secret: Path) -> None:
    with secret.open("rb") as old:
        write_private(str(secret), b"new")
        assert old.read() == b"content"
    assert secret.read_bytes() == b"new"


def test_a_loose_old_mode_does_not_survive(secret: Path) -> None:
    secret.chmod(0o666)
    write_private(str(secret), b"new")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_symbolic_link_diverts_nothing(secret: Path, tmp_path: Path) -> None:
    for target in (str(secret), "nowhere", str(tmp_path)):
        link = tmp_path / "link"
        link.symlink_to(target)
        write_private(str(link), b"new")
        assert link.is_file()
        assert not link.is_symlink()
        link.unlink()
    assert secret.read_bytes() == b"content"
    assert names(tmp_path) == {"secret"}


def test_a_hard_link_diverts_nothing(secret: Path, tmp_path: Path) -> None:
    os.link(secret, tmp_path / "name")
    write_private(str(tmp_path / "name"), b"new")
    assert secret.read_bytes() == b"content"


def test_refuses_directories_fifos_sockets_and_devices(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "directory", tmp_path / "fifo", tmp_path / "socket"):
            assert writing(path) is CredentialProblem.UNWRITABLE
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    assert names(tmp_path) == {"directory", "fifo", "socket"}
    assert writing("/dev/null") is CredentialProblem.UNWRITABLE


@pytest.mark.parametrize("path", ["", "/", ".", "..", "/nowhere/at/all", "nul\0byte", "\ud800", "x" * 300, "/proc/x"])
def test_refuses_impossible_names(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert writing(path) is CredentialProblem.UNWRITABLE
    assert names(tmp_path) == set()


def test_writes_into_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_private("name", b"x")
    write_private("n" * 255, b"x")  # the longest name there is
    assert names(tmp_path) == {"name", "n" * 255}


def test_the_old_file_survives_a_file_size_limit(secret: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(CredentialError, match="cannot be written") as caught:
            write_private(str(secret), bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.problem is CredentialProblem.UNWRITABLE
    assert caught.value.hint == "a file that was there before is unchanged"
    assert secret.read_bytes() == b"content"
    assert names(tmp_path) == {"secret"}


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k,mode=0700", "tmpfs", str(place)]
    if not IS_ROOT or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a tmpfs here; the file-size limit above shows the same path")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_the_old_file_survives_a_full_disk(tiny_disk: Path) -> None:
    path = tiny_disk / "proxy"
    write_private(str(path), b"old" * 1000)
    with pytest.raises(CredentialError, match="No space left") as caught:
        write_private(str(path), bytes(60_000))
    assert caught.value.problem is CredentialProblem.UNWRITABLE
    assert path.read_bytes() == b"old" * 1000
    assert names(tiny_disk) == {"proxy"}


def test_an_interrupt_leaves_nothing_behind(secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)  # the moment before the rename
    with pytest.raises(KeyboardInterrupt):
        write_private(str(secret), b"new")
    assert secret.read_bytes() == b"content"
    assert names(tmp_path) == {"secret"}


def test_racing_links_never_divert_a_write(secret: Path, tmp_path: Path) -> None:
    path = tmp_path / "target"
    stop = threading.Event()

    def swap() -> None:
        spare = tmp_path / "spare"
        while not stop.is_set():
            spare.symlink_to(secret)
            os.rename(spare, path)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            with contextlib.suppress(CredentialError):  # it noticed that somebody else put something there
                write_private(str(path), b"new")
    finally:
        stop.set()
        thread.join()
    assert secret.read_bytes() == b"content"
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_readers_see_the_old_or_the_new_file_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    write_private(path, b"a" * 50_000)
    stop = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not stop.is_set():
            data = read_private(path, max_bytes=50_000)
            seen.add(data[:1] if data == data[:1] * 50_000 else b"torn")

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(100):
        write_private(path, (b"a", b"b")[number % 2] * 50_000)
    stop.set()
    thread.join()
    assert seen <= {b"a", b"b"}


def as_mere_user(code: str) -> subprocess.CompletedProcess[str]:
    """Run code as the same user without the privileges of root over other users' files and modes."""
    lowered = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"] if IS_ROOT else []
    program = f"from gsi.errors import GridError\nfrom gsi.system.files import write_private\n{code}"
    return subprocess.run([*lowered, sys.executable, "-c", program], capture_output=True, text=True, check=True)


def test_writes_into_a_directory_that_it_cannot_list(tmp_path: Path) -> None:
    place = tmp_path / "drop"
    place.mkdir()
    place.chmod(0o333)
    as_mere_user(f"write_private({str(place / 'new')!r}, b'content')")
    place.chmod(0o700)
    assert (place / "new").read_bytes() == b"content"
    assert names(place) == {"new"}


@needs_root
def test_in_a_sticky_directory_a_strangers_file_stays(tmp_path: Path) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    path = place / "x509up_u0"
    path.write_bytes(b"theirs")
    os.chown(path, STRANGER, STRANGER)
    os.chown(place, STRANGER, STRANGER)
    place.chmod(0o1777)
    code = f"try: write_private({str(path)!r}, b'mine')\nexcept GridError as error: print(error.message, error.hint)"
    told = as_mere_user(code).stdout
    assert f"belongs to uid {STRANGER}" in told
    assert "unchanged" in told
    assert path.read_bytes() == b"theirs"
    assert names(place) == {path.name}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_does_not_synchronise_directories(
    secret: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _break_directory_sync(monkeypatch, number)
    write_private(str(secret), b"new")
    assert secret.read_bytes() == b"new"


def test_a_failure_after_the_renaming_does_not_claim_the_old_content(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_directory_sync(monkeypatch, errno.EIO)
    with pytest.raises(CredentialError, match="was written") as caught:
        write_private(str(secret), b"new")
    assert "unchanged" not in (caught.value.hint or "")
    assert secret.read_bytes() == b"new"


def _break_directory_sync(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_two_writers_at_a_time_both_succeed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    failures: list[Exception] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(300):
                write_private(str(path), content)
        except CredentialError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(content * 3000,)) for content in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert path.read_bytes() in {b"a" * 3000, b"b" * 3000}
    assert names(tmp_path) == {"file"}


# --- locks and the clock ----------------------------------------------------------------------------------------------


def test_a_lock_excludes_other_holders_and_processes(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    code = (
        "import sys; from gsi.system.files import FileLock\n"
        "from gsi.errors import CredentialError\n"
        "try:\n    with FileLock(sys.argv[1], wait_seconds=0): print('held')\n"
        "except CredentialError as error: print(error.problem)\n"
    )

    def try_elsewhere() -> str:
        command = [sys.executable, "-c", code, path]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()

    with FileLock(path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert problem_of(FileLock(path, wait_seconds=0).__enter__, path) is CredentialProblem.UNWRITABLE
        assert try_elsewhere() == "unwritable"
    assert try_elsewhere() == "held"


def test_a_lock_follows_no_link(secret: Path, tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(secret)
    lock = tmp_path / "lock"
    assert problem_of(FileLock(str(lock)).__enter__, lock) is CredentialProblem.UNWRITABLE


def test_waiting_for_a_lock_ends(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with FileLock(path), pytest.raises(CredentialError, match=r"in use .*, and was for 0\.05 seconds"):
        FileLock(path, wait_seconds=0.05).__enter__()


def test_a_waiting_lock_is_had_when_it_is_free(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    held = FileLock(path)
    held.__enter__()
    threading.Timer(0.05, held.__exit__, (None, None, None)).start()
    with FileLock(path, wait_seconds=60):
        pass


@pytest.mark.parametrize(
    ("directory", "lock"), [(0o700, 0o600), (0o755, 0o600), (0o775, 0o660), (0o777, 0o666), (0o1777, 0o600)]
)
def test_who_may_write_there_can_take_a_lock_and_nobody_else(tmp_path: Path, directory: int, lock: int) -> None:
    tmp_path.chmod(directory)
    with FileLock(str(tmp_path / "lock")):
        pass
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == lock
    with FileLock(str(tmp_path / "lock")):
        pass


@pytest.mark.parametrize(("directory", "lock"), [(0o755, 0o644), (0o775, 0o664), (0o755, 0o660), (0o1777, 0o606)])
def test_a_lock_that_others_can_hold_is_refused(tmp_path: Path, directory: int, lock: int) -> None:
    path = tmp_path / "lock"
    path.touch()
    path.chmod(lock)
    tmp_path.chmod(directory)
    assert problem_of(FileLock(str(path)).__enter__, path) is CredentialProblem.UNSAFE_FILE


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_lock_is_a_file(tmp_path: Path, make: Callable[[str], None]) -> None:
    path = tmp_path / "lock"
    make(str(path))
    assert problem_of(FileLock(str(path)).__enter__, path) in {
        CredentialProblem.UNSAFE_FILE,
        CredentialProblem.UNWRITABLE,
    }


@needs_root
def test_a_lock_that_root_made_is_the_directorys_owners(tmp_path: Path) -> None:
    os.chown(tmp_path, STRANGER, STRANGER)
    with FileLock(str(tmp_path / "lock")):
        pass
    found = (tmp_path / "lock").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (STRANGER, STRANGER, 0o600)


@needs_root
def test_a_strangers_lock_counts_only_where_strangers_may_write(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch(0o600)
    os.chown(path, STRANGER, STRANGER)
    for mode in (0o755, 0o1777):
        tmp_path.chmod(mode)
        assert problem_of(FileLock(str(path)).__enter__, path) is CredentialProblem.UNSAFE_FILE
    tmp_path.chmod(0o777)
    with FileLock(str(path)):
        pass


def test_the_clock_is_aware() -> None:
    assert clock.now().utcoffset() is not None
    assert clock.now() <= clock.now()
