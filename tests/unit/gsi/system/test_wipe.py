from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gsi.errors import CredentialError, CredentialProblem, NotFoundError, StorageError
from gsi.system.wipe import find_delegated_proxies, wipe_file

SECRET = b"-----BEGIN PRIVATE KEY-----\n" * 5000  # more than one block


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "x509up_p1.abc.1"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


def test_the_bytes_are_overwritten_before_the_name_goes(secret: Path) -> None:
    with secret.open("rb") as kept:  # the file itself, whatever happens to its name
        wipe_file(str(secret))
        assert not secret.exists()
        assert kept.read() == bytes(len(SECRET))


def test_an_empty_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    wipe_file(str(path))
    assert not path.exists()


def test_a_dry_run_changes_nothing(secret: Path) -> None:
    wipe_file(str(secret), dry_run=True)
    assert secret.read_bytes() == SECRET


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        wipe_file(str(tmp_path / "nothing"))


@pytest.mark.parametrize("dry_run", [False, True])
def test_links_and_other_things_are_left_alone(secret: Path, tmp_path: Path, dry_run: bool) -> None:
    (tmp_path / "symlink").symlink_to(secret)
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name, told in (("symlink", "symbolic link"), ("directory", "regular file"), ("fifo", "regular file")):
        with pytest.raises(CredentialError, match=told) as caught:
            wipe_file(str(tmp_path / name), dry_run=dry_run)
        assert caught.value.problem is CredentialProblem.UNSAFE_FILE
        assert (tmp_path / name).exists()
    os.link(secret, tmp_path / "second")
    for path in (secret, tmp_path / "second"):
        with pytest.raises(CredentialError, match="2 names"):
            wipe_file(str(path), dry_run=dry_run)
    assert secret.read_bytes() == SECRET


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make another user's file")
def test_another_users_file_is_left_alone(secret: Path) -> None:
    os.chown(secret, 65534, 65534)
    with pytest.raises(CredentialError, match="belongs to uid 65534"):
        wipe_file(str(secret))
    assert secret.read_bytes() == SECRET


def test_impossible_names(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        wipe_file("a\0b")
    (tmp_path / "file").touch()
    with pytest.raises((StorageError, NotFoundError)):
        wipe_file(str(tmp_path / "file" / "below"))
    with pytest.raises(StorageError):
        wipe_file(str(tmp_path / ("x" * 300)))


def test_a_file_put_in_its_place_is_not_removed(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between overwriting and unlinking, somebody renames another file over the name."""
    other = secret.with_name("other")
    other.write_bytes(b"other")
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        other.rename(secret)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="replaced meanwhile"):
        wipe_file(str(secret))
    assert secret.read_bytes() == b"other"


@pytest.mark.parametrize("mode", [0o400, 0o000, 0o200])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_mode_that_forbids_writing_is_no_obstacle(secret: Path, mode: int, dry_run: bool) -> None:
    secret.chmod(mode)
    with secret.open("rb") if os.geteuid() == 0 else contextlib.nullcontext() as kept:
        lowered = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
        code = f"from gsi.system.wipe import wipe_file\nwipe_file({str(secret)!r}, dry_run={dry_run})"
        subprocess.run([*lowered, sys.executable, "-c", code], check=True)
        assert secret.exists() == dry_run
        if kept is not None:
            assert kept.read() == (SECRET if dry_run else bytes(len(SECRET)))
    if dry_run:
        assert stat.S_IMODE(secret.stat().st_mode) == mode


def test_only_ones_own_delegated_proxies_are_found(secret: Path, tmp_path: Path) -> None:
    (tmp_path / "x509up_u0").touch()
    (tmp_path / "x509up_p2.link").symlink_to(secret)
    (tmp_path / "x509up_p3.dir").mkdir()
    (tmp_path / "x509up_p0.first").touch()
    assert list(find_delegated_proxies(str(tmp_path))) == [str(tmp_path / "x509up_p0.first"), str(secret)]
    if os.geteuid() == 0:
        os.chown(secret, 65534, 65534)
        assert list(find_delegated_proxies(str(tmp_path))) == [str(tmp_path / "x509up_p0.first")]


def test_a_directory_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read the directory"):
        list(find_delegated_proxies(str(tmp_path / "nowhere")))
