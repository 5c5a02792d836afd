"""Capabilities that were withdrawn: in the policy's database, for all nodes and through every restart; signs nothing.

    withdrawn = Withdrawn(policy.database)
    withdrawn.add(identifier, until=ends, now=now)
    withdrawn.read(now=now)                                   # identifier -> when it ends by itself

What has ended by itself is no longer told. `cas.assertion.revocations` is how the list is published.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cas.assertion.revocations import MAX_REVOKED
from cas.repository.rows import rows, run, scalar
from gsi.errors import StorageError
from gsi.sql.columns import seconds, time_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from gsi.sql.engine import Database

__all__ = ["Withdrawn"]

KEPT: Final = timedelta(days=7)
"""How long what has ended is kept: a clock that is ahead by less must not bring back what is alive."""


class Withdrawn:
    """The list. Safe for use by several threads, processes and nodes.

    Args:
        database: That of a policy, its schema current.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, identifier: bytes, *, until: datetime, now: datetime) -> None:
        """Withdraw a capability; once more only moves its end on.

        Args:
            identifier: Which.
            until: When it ends by itself at the latest.
            now: The present time (aware UTC).

        Raises:
            StorageError: The database cannot be written, or there are too many.
        """
        name, ends = identifier.hex(), seconds(until)

        def work(connection: Connection, _again: bool) -> None:
            run(connection, "UPDATE policy SET revision = revision WHERE id = 1")  # the lock of all who write
            run(connection, "DELETE FROM withdrawn WHERE until <= :past", past=seconds(now - KEPT))
            known = scalar(connection, "SELECT until FROM withdrawn WHERE identifier = :name", name=name)
            if known is not None:
                query = "UPDATE withdrawn SET until = :until WHERE identifier = :name"
                run(connection, query, name=name, until=max(ends, int(known)))
                return
            query = "SELECT count(*) FROM withdrawn WHERE until > :now"
            if scalar(connection, query, now=seconds(now)) >= MAX_REVOKED:
                raise StorageError(
                    f"{MAX_REVOKED} capabilities are withdrawn, which is the limit",
                    hint="change the key that signs: that withdraws all that it has signed",
                )
            run(connection, "INSERT INTO withdrawn (identifier, until) VALUES (:name, :until)", name=name, until=ends)

        self._database.writing(work)

    def read(self, *, now: datetime) -> Mapping[bytes, datetime]:
        """Return what is withdrawn and has not ended.

        Raises:
            StorageError: The database cannot be read.
        """
        query = "SELECT identifier, until FROM withdrawn WHERE until > :now"
        found = self._database.reading(lambda connection: rows(connection, query, now=seconds(now)))
        return {bytes.fromhex(name): time_of(until) for name, until in found}
