"""Secrets of one-time codes in SQL, shared by all servers of one database; not what they mean (`myproxy.auth.totp`).

    store = SQLCodeStore(database)
    store.advance("alice", step)        # True once for each period, whoever asks

A code is used up by one UPDATE that names the period it must come after, so that of two servers that judge the same
code at once exactly one is told that it was first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gsi.errors import ConflictError, NotFoundError, StorageError
from myproxy.auth.totp import StoredSecret
from myproxy.repository.base import MAX_ADDRESS_BYTES, check_text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from gsi.sql.engine import Database

__all__ = ["SQLCodeStore"]

_TABLE: Final = sa.Table(
    "one_time_secrets",
    sa.MetaData(),
    sa.Column("username", sa.Text(), primary_key=True),
    sa.Column("sealed", sa.LargeBinary(), nullable=False),
    sa.Column("last_step", sa.BigInteger(), nullable=False),
    sa.Column("created", sa.BigInteger(), nullable=False),
)
_C: Final = _TABLE.c


class SQLCodeStore:
    """A `myproxy.auth.totp.CodeStore` over a database whose schema is current."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, username: str) -> StoredSecret | None:
        """See `CodeStore.find`."""
        if not _is_name(username):
            return None
        query = sa.select(_C.sealed, _C.last_step).where(_C.username == username)
        row = self._database.reading(lambda connection: connection.execute(query).first())
        return None if row is None else StoredSecret(bytes(row.sealed), row.last_step)

    def put(self, username: str, sealed: bytes, *, now: datetime) -> None:
        """See `CodeStore.put`."""
        if not username:
            raise StorageError("a one-time secret needs a user name")
        check_text(username, "user name", MAX_ADDRESS_BYTES)
        values = {"username": username, "sealed": sealed, "last_step": 0, "created": int(now.timestamp())}
        changes = {key: value for key, value in values.items() if key not in {"username", "last_step"}}

        def work(connection: Connection, _again: bool) -> None:
            if not connection.execute(sa.update(_TABLE).where(_C.username == username).values(**changes)).rowcount:
                connection.execute(sa.insert(_TABLE).values(**values))

        try:
            self._database.writing(work)
        except ConflictError:
            # Another writer inserted the name between our UPDATE and INSERT; now the UPDATE counts.
            self._database.writing(work)

    def remove(self, username: str) -> None:
        """See `CodeStore.remove`."""

        def work(connection: Connection, again: bool) -> bool:
            return bool(connection.execute(sa.delete(_TABLE).where(_C.username == username)).rowcount) or again

        if not _is_name(username) or not self._database.writing(work):
            raise NotFoundError(f"{username!r} has no one-time secret")

    def advance(self, username: str, step: int) -> bool:
        """See `CodeStore.advance`; where a lost server may have done it already, it counts as somebody else's."""
        change = sa.update(_TABLE).where(_C.username == username, _C.last_step < step).values(last_step=step)
        return self._database.writing(lambda connection, _again: connection.execute(change).rowcount == 1)

    def usernames(self) -> tuple[str, ...]:
        """See `CodeStore.usernames`."""
        query = sa.select(_C.username).order_by(_C.username)
        return self._database.reading(lambda connection: tuple(connection.scalars(query)))


def _is_name(username: str) -> bool:
    """Say whether a secret could be stored under this name (`put` refuses the others)."""
    try:
        check_text(username, "user name", MAX_ADDRESS_BYTES)
    except StorageError:
        return False
    return True
