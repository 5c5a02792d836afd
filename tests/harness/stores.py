"""New stores in SQLite for tests, copied: of one kind only the first in a process is made, by its migrations.

Not here: opening them. The migrations take longer than most of what is then tried on a store.

Workflow:
    lay_store(open_sqlite_repository, tmp_path / "store")
    repository = open_sqlite_repository(str(tmp_path / "store"))
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NewStore", "lay_store"]


class Closable(Protocol):
    """What is opened."""

    def close(self) -> None:
        """Close it."""


S = TypeVar("S", bound=Closable)


class NewStore(Protocol):
    """Opens an empty store of the kind that a test is for, by the function for that kind."""

    def __call__(self, open_sqlite: Callable[[str], S], open_postgres: Callable[[str], S]) -> S:
        """Return it; who gave this closes it."""


_made: dict[Callable[[str], Closable], Path] = {}


def lay_store(open_store: Callable[[str], Closable], directory: Path) -> None:
    """Put a new store where there is none yet.

    Args:
        open_store: Opens the store in a directory, making it.
        directory: Where it shall be.
    """
    if directory.exists():
        return
    if open_store not in _made:
        root = Path(tempfile.mkdtemp(prefix="gsi-stores-"))
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        open_store(str(root / "store")).close()
        _made[open_store] = root / "store"
    shutil.copytree(_made[open_store], directory)
