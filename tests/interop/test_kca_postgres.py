"""The authority's books through a failover of a real PostgreSQL, under load of several threads that share commits."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from gsi.errors import StorageError
from kca.repository.base import Rate, Selection
from kca.repository.sql import open_postgres_books
from tests.contract.test_kca_books import entry
from tests.harness.postgres import connect_string, postgres, standby_of

RATE = Rate(1_000_000, timedelta(hours=1))
SECONDS = 120.0


class Writers:
    """Threads that add one entry after the other and remember what was acknowledged."""

    def __init__(self, conninfo: str, *, threads: int = 6) -> None:
        self.books = open_postgres_books(conninfo, patience_seconds=60)
        self.acknowledged: list[int] = []
        self.refused: dict[int, StorageError] = {}
        self._lock = threading.Lock()
        self._next = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                self._next += 1
                number = self._next
            try:
                self.books.add(entry(number, f"user{number % 7}"), rate=RATE)
            except StorageError as error:
                self.refused[number] = error
            else:
                self.acknowledged.append(number)

    def wait_for(self, more: int) -> None:
        """Wait until so many more were acknowledged."""
        goal, deadline = len(self.acknowledged) + more, time.monotonic() + SECONDS
        while len(self.acknowledged) < goal:
            assert time.monotonic() < deadline, (len(self.acknowledged), self.refused)
            time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.timeout(600)
def test_a_failover_to_a_standby() -> None:
    """kill -9 of the primary: whatever was acknowledged is on the standby, once, and all goes on by itself."""
    with postgres(durable=True) as primary, primary.database() as conninfo, standby_of(primary) as standby:
        writers = Writers(connect_string([primary.port, standby.port], conninfo.rpartition("/")[2]))
        try:
            writers.wait_for(150)
            primary.kill()
            standby.promote()
            writers.wait_for(150)
        finally:
            writers.stop()
        assert writers.refused == {}
        kept = [one.serial for one in writers.books.search(Selection())]
        assert sorted(kept) == sorted(writers.acknowledged)
        assert {owner.principal for owner in writers.books.list_owners()} == {
            f"user{number}@EXAMPLE.ORG" for number in range(7)
        }
        writers.books.close()
