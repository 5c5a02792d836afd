"""Where a sandbox lies: its private directory, and what other accounts may enter; knows nothing of what is in them.

with temporary_root(None, keep=False) as root: ...
make_root(root)
state = open_up(state)
clear(root, state)
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, NotFoundError
from gsi.sandbox.state import load_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.sandbox.state import State

__all__ = ["LOCK", "clear", "forget", "forget_open_dir", "make_root", "open_up", "temporary_root"]

LOCK: Final = "lock"
MAX_BYTES: Final = 90
"""The longest directory of services of C: names of Unix sockets in it have 107 bytes at most."""
_AWKWARD: Final = frozenset("\"'\\`#$%&*?!;:,|<>()[]{}")


@contextlib.contextmanager
def temporary_root(directory: str | None, *, keep: bool) -> Iterator[Path]:
    """Make a sandbox's directory: the one named, which stays, or a temporary one, removed at the end unless kept.

    Raises:
        ConfigError: As `make_root`.
    """
    if directory is not None:
        root = Path(directory).resolve()
        make_root(root)
        yield root
        return
    root = _make_temporary("grid-sandbox-")
    try:
        yield root
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)


def make_root(root: Path) -> None:
    """Make an empty private directory.

    Raises:
        ConfigError: There is something in it, it belongs to somebody else, it cannot be made, or services could not
            live with its name.
    """
    _check_name(root, limited=os.geteuid() != 0)
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if root.stat().st_uid != os.geteuid():
            raise ConfigError(f"{root} belongs to another account", hint="name a new directory, or leave -dir out")
        if any(root.iterdir()):
            raise ConfigError(f"{root} is not empty", hint="name a new directory, or leave -dir out")
        root.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"{root} cannot be used: {error.strerror}") from error


def open_up(state: State) -> State:
    """For root, make the directory that other accounts may enter, where there is none (any more).

    Services of C map nobody to root, and whoever they run as may not enter the root of the sandbox.

    Raises:
        ConfigError: It cannot be made.
    """
    if os.geteuid() != 0:
        return state
    with contextlib.suppress(FileNotFoundError):
        if state.open_dir and os.lstat(state.open_dir).st_uid == 0:
            return state
    open_dir = _make_temporary("grid-sandbox-open-")
    open_dir.chmod(0o755)
    return replace(state, open_dir=str(open_dir))


def clear(root: Path, state: State) -> None:
    """Remove all that was made but the directories themselves, and the lock, which is held."""
    for directory in (root, Path(state.open_dir or root)):
        for path in directory.iterdir() if directory.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()


def forget(root: Path) -> None:
    """Remove a sandbox's directory, and what lies outside of it."""
    forget_open_dir(root)
    shutil.rmtree(root)


def forget_open_dir(root: Path) -> None:
    """Remove what lies outside of the root, where there is such a directory."""
    with contextlib.suppress(NotFoundError):
        if open_dir := load_state(root).open_dir:
            shutil.rmtree(open_dir, ignore_errors=True)


def _make_temporary(prefix: str) -> Path:
    place = Path(tempfile.gettempdir()).resolve()
    _check_name(place / f"{prefix}12345678", limited=True)
    try:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    except OSError as error:
        raise ConfigError(f"{place} cannot be used: {error.strerror}") from error


def _check_name(path: Path, *, limited: bool) -> None:
    """Refuse what the configurations of some services could not say.

    Raises:
        ConfigError: The name is too long, or has letters that mean something there.
    """
    text = str(path)
    if limited and len(os.fsencode(text)) > MAX_BYTES:
        raise ConfigError(
            f"{text} is too long: names of sockets in it would have no room",
            hint=f"name a place of at most {MAX_BYTES} bytes: -dir or TMPDIR",
        )
    if not text.isprintable() or any(letter.isspace() or letter in _AWKWARD for letter in text):
        raise ConfigError(
            f"{text!r} has blanks or marks that mean something to services", hint="name another place: -dir or TMPDIR"
        )
