"""Counts of wrong tries in SQL, shared by all servers of one database; no rules (`myproxy.auth.throttle`).

    store = SQLGuessStore(database)
    store.read(keys)                                # {key: Guesses}, without keys that have none
    store.change(keys, change, now=..., ...)        # one transaction; concurrent ones queue for the rows

Keys are hashes: neither the names that strangers tried (often pass phrases in the wrong field) nor their networks are
kept. Rows are forgotten after a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gsi.errors import ConflictError
from myproxy.auth.throttle import Guesses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy.engine import Connection

    from gsi.sql.engine import Database

__all__ = ["SQLGuessStore"]

_TABLE: Final = sa.Table(
    "guesses",
    sa.MetaData(),
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("failures", sa.BigInteger(), nullable=False),
    sa.Column("until_ms", sa.BigInteger(), nullable=False),
    sa.Column("expires_ms", sa.BigInteger(), nullable=False),
)
_C: Final = _TABLE.c
_RETRIES: Final = 3
"""Two writers that insert the same key collide once; a third time means something else."""


class SQLGuessStore:
    """A `myproxy.auth.throttle.GuessStore` over a database whose schema is current."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, keys: Sequence[str]) -> dict[str, Guesses]:
        """See `GuessStore.read`."""
        with self._database.read() as connection:
            return _select(connection, keys)

    def change(self, keys: Sequence[str], change: Callable[[str, Guesses | None], Guesses]) -> dict[str, Guesses]:
        """See `GuessStore.change`."""
        for attempt in range(_RETRIES):
            try:
                return self._change_once(sorted(keys), change)
            except ConflictError:  # another writer inserted one of the keys meanwhile
                if attempt == _RETRIES - 1:
                    raise
        raise AssertionError

    def _change_once(self, keys: Sequence[str], change: Callable[[str, Guesses | None], Guesses]) -> dict[str, Guesses]:
        changed: dict[str, Guesses] = {}
        with self._database.write() as connection:
            # Writing first takes the rows' locks, in one order: what is read next stays true until the commit.
            for key in keys:
                connection.execute(sa.update(_TABLE).where(_C.key == key).values(failures=_C.failures))
            found = _select(connection, keys)
            for key in keys:
                changed[key] = change(key, found.get(key))
                values = _values(changed[key])
                if key in found:
                    connection.execute(sa.update(_TABLE).where(_C.key == key).values(**values))
                else:
                    connection.execute(sa.insert(_TABLE).values(key=key, **values))
        return changed

    def forget(self, keys: Iterable[str]) -> None:
        """See `GuessStore.forget`."""
        with self._database.write() as connection:
            connection.execute(sa.delete(_TABLE).where(_C.key.in_(list(keys))))

    def prune(self, *, before_ms: int, after_ms: int) -> int:
        """See `GuessStore.prune`."""
        with self._database.write() as connection:
            gone = sa.or_(_C.expires_ms < before_ms, _C.expires_ms > after_ms)
            return connection.execute(sa.delete(_TABLE).where(gone)).rowcount


def _select(connection: Connection, keys: Sequence[str]) -> dict[str, Guesses]:
    query = sa.select(_C.key, _C.failures, _C.until_ms, _C.expires_ms).where(_C.key.in_(list(keys)))
    return {row.key: Guesses(row.failures, row.until_ms, row.expires_ms) for row in connection.execute(query)}


def _values(guesses: Guesses) -> Mapping[str, int]:
    return {"failures": guesses.failures, "until_ms": guesses.until_ms, "expires_ms": guesses.expires_ms}
