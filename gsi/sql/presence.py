"""Is the file at a database's path still the one that is open; not what is in it.

    presence = Presence("/var/lib/myproxy/myproxy.db")      # it has to be there
    presence.check()                                        # before a transaction, and after a commit
    presence.check_log()                                    # after a commit: SQLite's write-ahead log as well

A file that was removed, or replaced by another one, can be read and written as before by who has it open, and all of it
is gone when the last of them closes it. So nothing may be acknowledged that went there. SQLite itself does not look.
"""

from __future__ import annotations

import os
from typing import Final, NoReturn

from gsi.errors import StorageError

__all__ = ["Presence"]

_DESCRIPTORS: Final = "/proc/self/fd"
_DELETED: Final = " (deleted)"


class Presence:
    """What was at a path when the database there was opened. Safe for use by several threads."""

    __slots__ = ("_file", "_log", "_path")

    def __init__(self, path: str) -> None:
        """Look at the file.

        Raises:
            StorageError: There is none.
        """
        self._path = path
        self._log: tuple[int, int] | None = None
        found = _identity(path)
        if found is None:
            self._refuse()
        self._file = found

    def check(self) -> None:
        """Insist that the file is still there.

        Raises:
            StorageError: It is not, or another one is in its place.
        """
        if _identity(self._path) != self._file:
            self._refuse()

    def check_log(self) -> None:
        """Insist that the log, to which a commit went, is the one that whoever opens the database will read.

        SQLite removes and makes it anew when no connection is left, so another one is no proof by itself.

        Raises:
            StorageError: It was removed.
        """
        found = _identity(f"{self._path}-wal")
        if found == self._log and found is not None:
            return
        if f"{os.path.realpath(self._path)}-wal{_DELETED}" in _open_files():
            self._refuse()
        self._log = found

    def _refuse(self) -> NoReturn:
        raise StorageError(
            f"the database {self._path} was removed or replaced while it is in use; nothing more is stored or read",
            hint="stop the program; bring the file back, from a backup perhaps, its -wal beside it; start it again",
        )


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open_files() -> set[str]:
    """Return what this process has open, by the names that the kernel knows; empty where it does not tell."""
    names: set[str] = set()
    try:
        descriptors = os.listdir(_DESCRIPTORS)
    except OSError:
        return names
    for descriptor in descriptors:
        try:
            names.add(os.readlink(f"{_DESCRIPTORS}/{descriptor}"))
        except OSError:  # closed meanwhile
            continue
    return names
