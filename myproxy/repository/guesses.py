"""Counts of wrong tries in SQL, shared by all servers of one database; no rules (`myproxy.auth.throttle`).

    store = SQLGuessStore(database)
    store.read(keys)                                # {key: Guesses}, without keys that have none
    store.change(keys, change)                      # one transaction; concurrent ones queue for the rows

Keys are hashes: neither the names that strangers tried (often pass phrases in the wrong field) nor their networks are
kept. Rows are forgotten after a while.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gsi.errors import ConflictError
from gsi.sql.columns import integer_of, text_of
from myproxy.auth.throttle import Guesses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gsi.sql.engine import Database
    from gsi.sql.sqlite import Row, Run

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
_UPDATE: Final = (
    sa.update(_TABLE)
    .where(_C.key == sa.bindparam("at"))
    .values(failures=sa.bindparam("count"), until_ms=sa.bindparam("until"), expires_ms=sa.bindparam("expires"))
)
_INSERT: Final = sa.insert(_TABLE).values(
    key=sa.bindparam("at"),
    failures=sa.bindparam("count"),
    until_ms=sa.bindparam("until"),
    expires_ms=sa.bindparam("expires"),
)
_DELETE: Final = sa.delete(_TABLE).where(_C.key == sa.bindparam("at"))
_TRIES: Final = 5
"""A writer collides with another one's new row at most once for each of its three keys; more means something else."""


class SQLGuessStore:
    """A `myproxy.auth.throttle.GuessStore` over a database whose schema is current."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, keys: Sequence[str]) -> dict[str, Guesses]:
        """See `GuessStore.read`."""
        return _guesses(self._database.find(_find(len(keys)), _numbered(keys)))

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
                self._database.changing(lambda run: _change(run, keys, change), durable=durable)
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
    run: Run,
    keys: Sequence[str],
    change: Callable[[Mapping[str, Guesses]], Mapping[str, Guesses | None]],
) -> None:
    # What is read is locked until the commit, in one order; a row that is not there yet only one of several can insert.
    found = _guesses(run(_lock(len(keys)), _numbered(keys)))
    for key, guesses in sorted(change(found).items()):
        if guesses is None:
            run(_DELETE, {"at": key})
            continue
        values = {"at": key, "count": guesses.failures, "until": guesses.until_ms, "expires": guesses.expires_ms}
        run(_UPDATE if key in found else _INSERT, values)


@functools.cache
def _find(count: int) -> sa.Select[tuple[object, ...]]:
    """Return the query for so many keys: made once, as each try of a pass phrase asks."""
    return sa.select(_TABLE).where(
        _C.key.in_([sa.bindparam(name, type_=sa.String) for name in _numbered([""] * count)])
    )


@functools.cache
def _lock(count: int) -> sa.Select[tuple[object, ...]]:
    return _find(count).order_by(_C.key).with_for_update()


def _numbered(keys: Sequence[str]) -> dict[str, str]:
    return {f"key{number}": key for number, key in enumerate(keys)}


def _guesses(rows: Sequence[Row]) -> dict[str, Guesses]:
    return {
        text_of(row["key"]): Guesses(*(integer_of(row[name]) for name in ("failures", "until_ms", "expires_ms")))
        for row in rows
    }
