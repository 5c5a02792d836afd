"""Removing credentials that expired long ago, in small batches, by one node at a time; off unless configured.

    sweeper = Sweeper(repository.database, audit, grace=lambda: timedelta(days=30), clock=clock.now)
    sweeper.start()                                 # a thread of its own
    sweeper.stop()

Each removal is recorded before it is made, with the word whether the credential came by an import. A wrong clock must
not empty the store: nothing is removed in the first hour of a server, in which time services set the clock of a machine
that has started; nor while the wall clock has gone another way than the monotonic one since that start, which all
workers share, also those that take the place of others; nor while the database server's clock shows another time.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from gsi.errors import GridError
from gsi.sql.columns import seconds
from gsi.system.audit import AuditRecord, AuditSink, Verdict
from myproxy.repository.tables import CREDENTIALS, IMPORTS
from myproxy.repository.upkeep import take_lease

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.engine import Connection, RowMapping

    from gsi.sql.engine import Database


__all__ = ["ServerStart", "Sweeper"]

EVERY: Final = timedelta(minutes=10)
"""How often a node looks for something to do."""

LEASE: Final = timedelta(minutes=30)
"""How long the work is a node's own; when it dies, another goes on after that."""

BATCH: Final = 50
"""Removals between two looks at the lease; writers wait for one at a time."""

CLOCK_SLACK: Final = timedelta(hours=1)
"""How far two clocks may differ before none is believed."""

SETTLING: Final = timedelta(hours=1)
"""How long a server must have run before anything is removed: by then a clock that was wrong at boot has been set."""

_C: Final = CREDENTIALS.c
_I: Final = IMPORTS.c
_log: Final = logging.getLogger("myproxy.sweeper")


class ServerStart(NamedTuple):
    """When a server was started, by both clocks; the monotonic one is the same in all processes of a machine."""

    wall: datetime
    monotonic: float


class Sweeper:
    """Looks for expired credentials now and then, in a thread of its own."""

    def __init__(
        self,
        database: Database,
        audit: AuditSink,
        *,
        grace: Callable[[], timedelta],
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        started: ServerStart | None = None,
        settling: timedelta = SETTLING,
    ) -> None:
        """Put it together.

        Args:
            database: The store's.
            audit: Where removals are recorded.
            grace: How long a credential stays after it has expired; zero = for ever. Asked each time.
            clock: The time.
            monotonic: Seconds that only ever go forward.
            started: When the server was, of which this process may be a later worker; None for now.
            settling: How long after that nothing is removed.
        """
        self._database = database
        self._audit = audit
        self._grace = grace
        self._clock = clock
        self._monotonic = monotonic
        self._started = started or ServerStart(clock(), monotonic())
        self._settling = settling
        self._holder = f"{os.uname().nodename}:{os.getpid()}:{secrets.token_hex(4)}"
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in a thread that does not keep the process alive."""
        self._thread = threading.Thread(target=self._run, name="myproxy-sweeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the removal that is under way."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def sweep(self) -> int:
        """Remove what has expired long enough ago; return how many that were.

        Raises:
            StorageError: The database or the audit cannot be used; what was removed is recorded.
        """
        grace = self._grace()
        if not grace or self._monotonic() - self._started.monotonic < self._settling.total_seconds():
            return 0
        if not self._is_clock_right():
            return 0
        removed = 0
        while not self._stopped.is_set():
            now = self._clock()
            if not take_lease(self._database, "sweeper", self._holder, now=now, duration=LEASE):
                break
            found = self._find(seconds(now - grace))
            removed += sum(self._remove(row, now) for row in found)
            if len(found) < BATCH:
                break
        if removed:
            _log.info("%d credentials removed that had expired more than %s ago", removed, grace)
        return removed

    def _run(self) -> None:
        # Not all at once after a start: nodes and workers are started together.
        pause = EVERY.total_seconds() * (0.1 + secrets.randbelow(1000) / 1000)
        while not self._stopped.wait(pause):
            pause = EVERY.total_seconds()
            try:
                self.sweep()
            except GridError as error:
                _log.warning("sweeping was given up until the next time: %s", error)
            except Exception:  # noqa: BLE001  the last door of this thread
                _log.exception("sweeping was given up until the next time")

    def _is_clock_right(self) -> bool:
        now = self._clock()
        drift = abs(now - self._started.wall - timedelta(seconds=self._monotonic() - self._started.monotonic))
        if self._database.engine.dialect.name == "postgresql":
            query = sa.select(sa.func.current_timestamp())
            there = self._database.reading(lambda connection: connection.scalar(query))
            if isinstance(there, datetime):
                drift = max(drift, abs(there.astimezone(UTC) - now))
        if drift > CLOCK_SLACK:
            _log.error("nothing expired is removed: two clocks differ by %s", drift)
            return False
        return True

    def _find(self, before: int) -> Sequence[RowMapping]:
        imported = sa.select(_I.file).where(_I.username == _C.username, _I.name == _C.name).exists()
        query = (
            sa.select(_C.id, _C.username, _C.name, _C.owner, _C.not_after, _C.version, imported.label("imported"))
            .where(_C.not_after < before)
            .order_by(_C.not_after)
            .limit(BATCH)
        )
        return self._database.reading(lambda connection: connection.execute(query).mappings().all())

    def _remove(self, row: RowMapping, now: datetime) -> int:
        self._audit.record(
            AuditRecord(
                time=now,
                request_id=secrets.token_hex(8),
                service="myproxy",
                action="EXPIRE",
                verdict=Verdict.PERMIT,
                reason="expired longer ago than expired_credential_grace",
                peer="<server>",
                address="",
                details={
                    "username": row["username"],
                    "credential": row["name"] or None,
                    "owner": row["owner"],
                    "not_after": datetime.fromtimestamp(row["not_after"], UTC).isoformat(),
                    "imported": int(row["imported"]),
                },
            )
        )
        # Exactly what was looked at: whoever has stored anew meanwhile keeps it.
        change = sa.delete(CREDENTIALS).where(_C.id == row["id"], _C.version == row["version"])

        def work(connection: Connection, _again: bool) -> int:
            return connection.execute(change).rowcount

        return self._database.writing(work)
