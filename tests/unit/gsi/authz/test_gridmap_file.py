"""The grid-mapfile on disk: reloading and editing."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from gsi.authz import gridmap_file
from gsi.authz.gridmap_edit import add_accounts
from gsi.authz.gridmap_file import GridmapFile, edit_file
from gsi.errors import ConfigError, ConflictError, CredentialError
from gsi.system.files import FileLock

A = "/O=Grid/CN=A"
OLD = 1_000_000_000  # ns: long ago, so that the file counts as settled


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "grid-mapfile"


def put(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace the file, in one step, as a careful administrator does."""
    new = path.with_name("new")
    new.write_text(text)
    new.chmod(mode)
    new.rename(path)


def test_a_change_is_followed(path: Path) -> None:
    put(path, f'"{A}" old\n')
    mapfile = GridmapFile(str(path))
    assert mapfile.gridmap().find_account(A) == "old"
    put(path, f'"{A}" new\n')
    assert mapfile.gridmap().find_account(A) == "new"
    path.write_text(f'"{A}" nuw\n')
    assert mapfile.gridmap().find_account(A) == "nuw"


def test_an_unchanged_file_is_not_read_again(path: Path) -> None:
    put(path, f'"{A}" a\n')
    mapfile = GridmapFile(str(path), recheck_seconds=1000)
    first = mapfile.gridmap()
    put(path, f'"{A}" b\n')
    assert mapfile.gridmap() is first


def test_a_file_that_cannot_be_used_leaves_the_old_one(path: Path) -> None:
    told: list[str] = []
    put(path, f'"{A}" a\n')
    mapfile = GridmapFile(str(path), report=told.append)
    first = mapfile.gridmap()
    put(path, f'"{A}" root\n', mode=0o666)
    assert mapfile.gridmap() is first
    assert mapfile.gridmap() is first
    assert mapfile.fault is not None
    assert len(told) == 1
    assert "the old one stays in force" in told[0]
    assert "others can change it" in told[0]
    put(path, f'"{A}" b\n')
    assert mapfile.gridmap().find_account(A) == "b"
    assert mapfile.fault is None


def test_strict_takes_no_version_with_a_problem(path: Path) -> None:
    told: list[str] = []
    put(path, f'"{A}" a\n')
    mapfile = GridmapFile(str(path), strict=True, report=told.append)
    mapfile.gridmap()
    put(path, f'"{A}" b\n"oops\n')
    assert mapfile.gridmap().find_account(A) == "a"
    assert "line 2" in told[0]


def test_problems_are_told_once(path: Path) -> None:
    told: list[str] = []
    put(path, f'"{A}" a\n' + '"oops\n' * 9)
    mapfile = GridmapFile(str(path), report=told.append)
    for _ in range(3):
        assert mapfile.gridmap().find_account(A) == "a"
    assert len(told) == 1
    assert "line 2:" in told[0]
    assert "and 4 more" in told[0]


def test_a_file_that_is_gone_maps_nobody(path: Path) -> None:
    put(path, f'"{A}" a\n')
    mapfile = GridmapFile(str(path))
    mapfile.gridmap()
    path.unlink()
    with pytest.raises(ConfigError, match="nobody is mapped"):
        mapfile.gridmap()
    put(path, f'"{A}" b\n')
    assert mapfile.gridmap().find_account(A) == "b"


def test_there_must_be_a_first_version(path: Path) -> None:
    with pytest.raises(ConfigError):
        GridmapFile(str(path)).gridmap()
    path.mkdir()
    with pytest.raises(ConfigError, match="directory"):
        GridmapFile(str(path)).gridmap()


def test_a_line_cut_off_while_written_is_not_taken(path: Path) -> None:
    put(path, f'"{A}" alice\n')
    mapfile = GridmapFile(str(path))
    mapfile.gridmap()
    path.write_text(f'"{A}" al')
    assert mapfile.gridmap().find_account(A) == "alice"
    os.utime(path, ns=(OLD, OLD))  # ctime is now, so that it still may be in the middle of writing
    assert mapfile.gridmap().find_account(A) == "alice"
    path.write_text(f'"{A}" albert\n')
    assert mapfile.gridmap().find_account(A) == "albert"


def test_threads_share_one(path: Path) -> None:
    put(path, f'"{A}" a\n')
    mapfile = GridmapFile(str(path))
    found: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: found.append(mapfile.gridmap().find_account(A)), daemon=True) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["a"] * 8


def add(account: str) -> bytes:
    return add_accounts(b"", A, [account]).data


def test_editing_keeps_mode_and_the_version_before(path: Path) -> None:
    put(path, f'# x\n"{A}" a\n', mode=0o640)
    assert edit_file(str(path), lambda data: add_accounts(data, A, ["b"]).data)
    assert path.read_text() == f'# x\n"{A}" a,b\n'
    assert path.stat().st_mode & 0o777 == 0o640
    backup = path.with_name("grid-mapfile.old")
    assert backup.read_text() == f'# x\n"{A}" a\n'
    assert backup.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(path.parent)) == [".grid-mapfile.lock", "grid-mapfile", "grid-mapfile.old"]


def test_no_change_writes_nothing(path: Path) -> None:
    put(path, f'"{A}" a\n')
    before = path.stat()
    assert not edit_file(str(path), lambda data: data)
    after = path.stat()  # but when it was read last
    assert (after[:7], after.st_mtime_ns, after.st_ctime_ns) == (before[:7], before.st_mtime_ns, before.st_ctime_ns)
    assert sorted(os.listdir(path.parent)) == [".grid-mapfile.lock", "grid-mapfile"]


def test_a_dry_run_takes_no_lock_and_writes_nothing(path: Path) -> None:
    put(path, "")
    assert edit_file(str(path), lambda _: add("a"), dry_run=True)
    assert edit_file(str(path.with_name("none")), lambda _: add("a"), create=True, dry_run=True)
    assert os.listdir(path.parent) == ["grid-mapfile"]
    assert not path.read_bytes()
    with pytest.raises(CredentialError, match="no such directory"):  # as without dry_run
        edit_file(str(path.parent / "none" / "map"), lambda _: add("a"), create=True, dry_run=True)


def test_a_new_file(path: Path) -> None:
    with pytest.raises(CredentialError, match="No such file"):
        edit_file(str(path), lambda data: data + b"x")
    assert edit_file(str(path), lambda _: add("a"), create=True)
    assert path.read_text() == f'"{A}" a\n'
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    put(real / "map", f'"{A}" a\n')
    path.symlink_to(real / "map")
    assert edit_file(str(path), lambda data: add_accounts(data, A, ["b"]).data)
    assert path.is_symlink()
    assert (real / "map").read_text() == f'"{A}" a,b\n'
    assert (real / "map.old").exists()


def test_a_change_by_another_program_is_noticed(path: Path) -> None:
    put(path, f'"{A}" a\n')

    def change(data: bytes) -> bytes:
        path.write_text(f'"{A}" other\n')
        return data + b"#\n"

    with pytest.raises(ConflictError, match="at the same time"):
        edit_file(str(path), change)
    assert path.read_text() == f'"{A}" other\n'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_editing_keeps_the_owner(path: Path) -> None:
    put(path, f'"{A}" a\n')
    os.chown(path, 65534, 12345)
    edit_file(str(path), lambda data: add_accounts(data, A, ["b"]).data)
    found = path.stat()
    assert (found.st_uid, found.st_gid) == (65534, 12345)


def test_editors_wait_for_each_other(path: Path) -> None:
    put(path, "")
    threads = [
        threading.Thread(
            target=lambda name=name: edit_file(str(path), lambda data: add_accounts(data, A, [name]).data), daemon=True
        )
        for name in "abcdefgh"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = GridmapFile(str(path)).gridmap().accounts(A)
    assert sorted(found) == list("abcdefgh")


def test_an_editor_that_hangs_is_not_waited_for_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, "")
    monkeypatch.setattr(gridmap_file, "_WAIT_SECONDS", 0.05)
    with FileLock(str(path.with_name(".grid-mapfile.lock"))), pytest.raises(CredentialError, match="another process"):
        edit_file(str(path), lambda _: add("a"))
    assert not path.read_bytes()


def test_a_lock_that_any_reader_can_take_stops_no_editor(path: Path) -> None:
    put(path, "")
    path.parent.chmod(0o755)
    opened = [os.open(place, os.O_RDONLY) for place in (path.parent, path)]
    for descriptor in opened:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        assert edit_file(str(path), lambda _: add("a"))
        assert path.with_name(".grid-mapfile.lock").stat().st_mode & 0o777 == 0o600
    finally:
        for descriptor in opened:
            os.close(descriptor)
