"""Books whose database server goes away: an entry is there once, and its owner is told so once."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from gsi.ca.crl import RevocationReason
from gsi.errors import StorageError
from gsi.sql.engine import Database
from kca.repository.base import Rate, Selection, TooFastError
from kca.repository.sql import SQLBooks, open_sqlite_books
from tests.contract.test_kca_books import CA, NOW, entry

RATE = Rate(2, timedelta(hours=1))


class Leaving:
    """SQLite as a server that is lost while it commits a change, done or not, as often as is asked for."""

    def __init__(self, *, before_commit: int = 0, after_commit: int = 0) -> None:
        self.before_commit, self.after_commit = before_commit, after_commit
        self._reads = False

    def turn(self) -> AbstractContextManager[object]:
        return nullcontext()

    def is_lost(self, error: Exception) -> bool:
        return isinstance(error, sa.exc.OperationalError) and "gone" in str(error)

    def is_alive(self, _connection: sa.Connection) -> bool:
        return True

    def hasten(self, connection: sa.Connection) -> None:
        """Nothing to do."""

    def reading(self, connection: sa.Connection) -> sa.Connection:
        self._reads = True
        return connection

    def commit(self, _connection: sa.Connection, transaction: sa.RootTransaction) -> None:
        reads, self._reads = self._reads, False
        if self.before_commit and not reads:
            self.before_commit -= 1
            raise gone()
        transaction.commit()
        if self.after_commit and not reads:
            self.after_commit -= 1
            raise gone()


def gone() -> sa.exc.OperationalError:
    return sa.exc.OperationalError("COMMIT", {}, Exception("the server is gone"))


def books_that_leave(directory: Path, backend: Leaving, *, patience: float = 30.0) -> SQLBooks:
    made = open_sqlite_books(str(directory / "store"))
    return SQLBooks(Database(made.database.engine, place="somewhere", backend=backend, patience_seconds=patience))


@pytest.mark.parametrize("lost", [{"before_commit": 2}, {"after_commit": 1}, {"after_commit": 3, "before_commit": 1}])
def test_a_commit_in_doubt_counts_once(tmp_path: Path, lost: dict[str, int]) -> None:
    books = books_that_leave(tmp_path, Leaving(**lost))
    books.add(entry(), rate=RATE)
    assert [one.serial for one in books.search(Selection())] == [1]
    books.add(entry(2), rate=RATE)
    with pytest.raises(TooFastError):
        books.add(entry(3), rate=RATE)
    books.close()


def test_patience_ends_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    books = books_that_leave(tmp_path, Leaving(before_commit=10**6), patience=0.2)
    with pytest.raises(StorageError, match="the server is gone"):
        books.add(entry(), rate=RATE)
    assert list(books.search(Selection())) == []
    books.close()


def test_revocation_in_doubt_is_new_once(tmp_path: Path) -> None:
    backend = Leaving()
    books = books_that_leave(tmp_path, backend)
    books.add(entry(), rate=None)
    backend.after_commit = 1
    _, is_new = books.revoke(CA, 1, reason=RevocationReason.UNSPECIFIED, now=NOW, by="root")
    assert is_new
    books.close()
