"""Where a sandbox may lie, and whose it has to be: what is written there says what is ended and removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gsi.errors import ConfigError
from gsi.sandbox import run
from gsi.sandbox.place import MAX_BYTES, clear, forget, make_root, open_up
from gsi.sandbox.services import began
from gsi.sandbox.state import State, load_state, save_state


def test_a_directory_is_made_private(tmp_path: Path) -> None:
    root = tmp_path / "some" / "where"
    make_root(root)
    assert root.stat().st_mode & 0o777 == 0o700
    make_root(root)
    (root / "something").touch()
    with pytest.raises(ConfigError, match="is not empty"):
        make_root(root)


@pytest.mark.parametrize("name", ["with blank", "quote'", "hash#", "a:b", "line\nfeed", "st*r"])
def test_names_that_services_would_misread_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="mean something to services"):
        make_root(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_names_without_room_for_sockets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * MAX_BYTES)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="is too long"):
        make_root(long)
    long.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with pytest.raises(ConfigError, match="is too long"):
        open_up(State())


def test_a_place_of_others_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path, State(services=()))
    tmp_path.chmod(0o720)
    with pytest.raises(ConfigError, match="they can write there"):
        load_state(tmp_path)
    tmp_path.chmod(0o700)
    load_state(tmp_path)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(ConfigError, match="belongs to others"):
        load_state(tmp_path)
    with pytest.raises(ConfigError, match="another account"):
        make_root(tmp_path)


def test_all_is_removed_that_was_made(tmp_path: Path) -> None:
    root, opened = tmp_path / "vo", tmp_path / "open"
    for each in (root, opened):
        each.mkdir(mode=0o700)
        (each / "below").mkdir()
        (each / "file").touch()
    (root / "lock").touch()
    clear(root, State(open_dir=str(opened)))
    assert list(tmp_path.rglob("*/*")) == [root / "lock"]
    save_state(root, State(services=(), open_dir=str(opened)))
    forget(root)
    assert list(tmp_path.iterdir()) == []


def test_a_foreground_that_was_killed_is_in_nobodys_way() -> None:
    own = os.getpid()
    begun = began(own)
    assert begun is not None
    with pytest.raises(ConfigError, match=f"in the foreground, as process {own}"):
        run._refuse_foreground(State(foreground=own, foreground_began=begun))
    run._refuse_foreground(State(foreground=own, foreground_began=begun - 1))
    run._refuse_foreground(State(foreground=2**22 + 1, foreground_began=1))
