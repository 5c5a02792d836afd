"""Directories of renewed credentials: whose links are followed, and what happens when others write at the same time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gsi.errors import CredentialError
from gsi.system import rename as rename_module
from myproxy.renewal import folder as folder_module
from myproxy.renewal.folder import open_folder

OLD = b"old\n"
NEW = b"new\n"
THEIRS = b"theirs\n"


def _put(path: Path, data: bytes) -> None:
    """Write a file beside and rename it into place, as careful programs do."""
    beside = path.with_name("beside")
    beside.write_bytes(data)
    beside.rename(path)


def _replace(path: Path, *, meanwhile: tuple[bytes | None, bytes | None] = (None, None)) -> bool:
    """Replace the file that is there, with somebody who puts theirs there after the first and the second look."""
    expected = path.stat()
    puts = iter(meanwhile)

    def is_expected(found: os.stat_result) -> bool:
        if (theirs := next(puts)) is not None:
            _put(path, theirs)
        return os.path.samestat(found, expected)

    with open_folder(str(path.parent)) as folder:
        return folder.replace(path.name, NEW, 0o400, None, is_expected=is_expected)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "alice.pem"
    place.write_bytes(OLD)
    return place


@pytest.mark.parametrize("can_exchange", [True, False])
def test_the_file_is_replaced(place: Path, monkeypatch: pytest.MonkeyPatch, *, can_exchange: bool) -> None:
    if not can_exchange:
        monkeypatch.setattr(folder_module, "exchange", lambda *_: None)
    assert _replace(place)
    assert (place.read_bytes(), place.stat().st_mode & 0o777) == (NEW, 0o400)
    assert os.listdir(place.parent) == ["alice.pem"]


@pytest.mark.parametrize("meanwhile", [(THEIRS, None), (b"first\n", THEIRS)])
def test_what_others_put_there_meanwhile_stays(place: Path, meanwhile: tuple[bytes, bytes | None]) -> None:
    """The latest of it, even where the agent has already had its own there for a moment."""
    assert not _replace(place, meanwhile=meanwhile)
    assert place.read_bytes() == THEIRS
    assert os.listdir(place.parent) == ["alice.pem"]


def test_what_a_killed_agent_left_is_removed(place: Path) -> None:
    left: list[Path] = []

    def dies(_found: os.stat_result) -> bool:
        (successor,) = (path for path in place.parent.iterdir() if path != place)
        left.append(successor)
        return False

    with open_folder(str(place.parent)) as folder:
        folder.replace(place.name, NEW, 0o600, None, is_expected=dies)
    left[0].write_bytes(b"a key\n")
    assert _replace(place)
    assert os.listdir(place.parent) == ["alice.pem"]


@pytest.mark.parametrize("common", ["job-of-a-portal-" * 12, "\N{GRINNING FACE}" * 60], ids=["letters", "bytes"])
def test_files_whose_long_names_begin_alike_do_not_meet(tmp_path: Path, common: str) -> None:
    """Two at the same time: each gets what was written for it."""
    first, second = tmp_path / f"{common}alice.pem", tmp_path / f"{common}bob.pem"
    first.write_bytes(OLD)
    second.write_bytes(OLD)
    seen: list[bool] = []

    with open_folder(str(tmp_path)) as folder:

        def replaces_the_other(_found: os.stat_result) -> bool:
            if not seen:
                seen.append(True)
                assert folder.replace(second.name, THEIRS, 0o600, None, is_expected=lambda _: True)
            return True

        assert folder.replace(first.name, NEW, 0o600, None, is_expected=replaces_the_other)
    assert (first.read_bytes(), second.read_bytes()) == (NEW, THEIRS)
    assert sorted(os.listdir(tmp_path)) == sorted([first.name, second.name])


def test_a_successor_that_is_not_what_was_written_takes_no_place(place: Path) -> None:
    def exchanges_it(_found: os.stat_result) -> bool:
        (successor,) = (path for path in place.parent.iterdir() if path != place)
        _put(successor, THEIRS)
        return True

    with open_folder(str(place.parent)) as folder:
        assert not folder.replace(place.name, NEW, 0o600, None, is_expected=exchanges_it)
    assert place.read_bytes() == OLD
    assert os.listdir(place.parent) == ["alice.pem"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_file_that_is_replaced_again_at_once_was_not_replaced(
    place: Path, monkeypatch: pytest.MonkeyPatch, *, can_exchange: bool
) -> None:
    """Nothing is said to be renewed that is not there."""
    rename, swap = os.rename, rename_module.exchange

    def exchange(directory: int, old: str, new: str) -> bool | None:
        if not can_exchange:
            return None
        done = swap(directory, old, new)
        _put(place, THEIRS)
        return done

    def rename_and_put(old: str, new: str, **how: int) -> None:
        rename(old, new, **how)
        if new == place.name and how:
            _put(place, THEIRS)

    monkeypatch.setattr(folder_module, "exchange", exchange)
    monkeypatch.setattr(os, "rename", rename_and_put)
    assert not _replace(place)
    assert place.read_bytes() == THEIRS
    assert os.listdir(place.parent) == ["alice.pem"]


@pytest.mark.parametrize("can_rename", [True, False])
def test_a_new_file_takes_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, can_rename: bool) -> None:
    if not can_rename:
        monkeypatch.setattr(folder_module, "rename_new", lambda *_: None)
    with open_folder(str(tmp_path)) as folder:
        assert folder.create("alice.pem", NEW, 0o600)
        assert not folder.create("alice.pem", THEIRS, 0o600)
    assert (tmp_path / "alice.pem").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["alice.pem"]


@pytest.mark.parametrize("target", ["real", "{}/real", "./more/../real"])
def test_links_of_ones_own_are_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "more").mkdir()
    (tmp_path / "link").symlink_to(target.format(tmp_path))
    with open_folder(f"{tmp_path}/link/.") as folder:
        assert folder.create("alice.pem", NEW, 0o600)
    assert (tmp_path / "real" / "alice.pem").read_bytes() == NEW


def test_links_that_others_may_have_made_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    tmp_path.chmod(0o777)
    with pytest.raises(CredentialError, match="symbolic link in a directory that others can change"):
        open_folder(f"{tmp_path}/link").__enter__()


def test_links_of_others_are_not_followed(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can make links of others")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    os.chown(tmp_path / "link", 65534, 65534, follow_symlinks=False)
    with pytest.raises(CredentialError, match="link is a symbolic link"):
        open_folder(f"{tmp_path}/link").__enter__()


def test_links_without_end(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(CredentialError, match="symbolic link"):
        open_folder(f"{tmp_path}/link").__enter__()
