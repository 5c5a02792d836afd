"""Counts of wrong tries in SQL, shared by all servers of one database; no rules (`myproxy.auth.throttle`).

    store = SQLGuessStore(database)
    store.read(keys)                                # {key: Guesses}, without keys that have none
    store.change(keys, change)                      # one transaction; concurrent ones queue for the rows

Keys are hashes: neither the names that strangers tried (often pass phrases in the wrong field) nor their networks are
kept. Rows are forgotten after a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gsi.errors import ConflictError
from myproxy.auth.throttle import Guesses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
# Made once: each try of a pass phrase takes all of them, and making them costs as much as running them.
_READ: Final = sa.select(_C.key, _C.failures, _C.until_ms, _C.expires_ms).where(
    _C.key.in_(sa.bindparam("keys", expanding=True))
)
_LOCK: Final = _READ.order_by(_C.key).with_for_update()
_DELETE: Final = sa.delete(_TABLE).where(_C.key == sa.bindparam("at"))
_UPDATE: Final = sa.update(_TABLE).where(_C.key == sa.bindparam("at"))
_INSERT: Final = sa.insert(_TABLE)
_TRIES: Final = 5
"""A writer collides with another one's new row at most once for each of its three keys; more means something else."""


class SQLGuessStore:
    """A `myproxy.auth.throttle.GuessStore` over a database whose schema is current."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, keys: Sequence[str]) -> dict[str, Guesses]:
        """See `GuessStore.read`."""
        return self._database.reading(lambda connection: _read(connection, _READ, keys))

    def change(
        self,
        keys: Sequence[str],
        change: Callable[[Mapping[str, Guesses]], Mapping[str, Guesses | None]],
        *,
        durable: bool = True,
    ) -> None:
        """See `GuessStore.change`; where a server is lost while it commits, the change may be made twice."""
        for attempt in range(_TRIES):
            try:
                self._database.writing(lambda connection, _again: _change(connection, keys, change), durable=durable)
            except ConflictError:  # another writer inserted one of the keys meanwhile
                if attempt == _TRIES - 1:
                    raise
            else:
                return

    def prune(self, *, before_ms: int, after_ms: int) -> int:
        """See `GuessStore.prune`."""
        gone = sa.delete(_TABLE).where(sa.or_(_C.expires_ms < before_ms, _C.expires_ms > after_ms))
        return self._database.writing(lambda connection, _again: connection.execute(gone).rowcount, durable=False)


def _change(
    connection: Connection,
    keys: Sequence[str],
    change: Callable[[Mapping[str, Guesses]], Mapping[str, Guesses | None]],
) -> None:
    # What is read is locked until the commit, in one order; a row that is not there yet only one of several can insert.
    found = _read(connection, _LOCK, keys)
    for key, guesses in sorted(change(found).items()):
        if guesses is None:
            connection.execute(_DELETE, {"at": key})
            continue
        values = {"failures": guesses.failures, "until_ms": guesses.until_ms, "expires_ms": guesses.expires_ms}
        if key in found:
            connection.execute(_UPDATE, {"at": key, **values})
        else:
            connection.execute(_INSERT, {"key": key, **values})


def _read(connection: Connection, query: sa.Select[str, int, int, int], keys: Sequence[str]) -> dict[str, Guesses]:
    rows = connection.execute(query, {"keys": list(keys)})
    return {row.key: Guesses(row.failures, row.until_ms, row.expires_ms) for row in rows}
