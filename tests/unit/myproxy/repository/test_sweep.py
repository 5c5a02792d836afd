"""The sweeper: removes what expired long enough ago, records it first, one node at a time, never by a wrong clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from gsi.errors import StorageError
from myproxy.repository.base import Selection
from myproxy.repository.sql import SQLRepository, open_sqlite_repository
from myproxy.repository.sweep import BATCH, LEASE, SETTLING, ServerStart, Sweeper
from myproxy.repository.tables import IMPORTS
from myproxy.repository.upkeep import take_lease
from tests.harness.ca import Issued, TestCA
from tests.harness.stores import lay_store
from tests.unit.myproxy.repository.support import NOW, OWNER, Sink, make_sealer, stored

GRACE = timedelta(days=30)


class Clocks:
    """A wall clock and a monotonic one, moved by hand."""

    def __init__(self) -> None:
        self.wall: datetime = NOW
        self.monotonic = 1000.0

    def go(self, time: timedelta) -> None:
        self.wall += time
        self.monotonic += time.total_seconds()


@pytest.fixture(scope="module")
def alice() -> Issued:
    return TestCA("/O=Grid/CN=Test CA", "p256").issue(OWNER, "p256")


@pytest.fixture
def repository(tmp_path: Path, alice: Issued) -> Iterator[SQLRepository]:
    lay_store(open_sqlite_repository, tmp_path / "ours")
    opened = open_sqlite_repository(str(tmp_path / "ours"))
    for days in (-100, -31, -29, 5):
        username = f"expires{days:+}"
        opened.put(stored(alice, make_sealer(), username, not_after=NOW + timedelta(days=days)))
    yield opened
    opened.close()


def sweeper(
    repository: SQLRepository,
    sink: Sink,
    clocks: Clocks,
    grace: timedelta = GRACE,
    *,
    started: ServerStart | None = None,
    settling: timedelta = timedelta(0),
) -> Sweeper:
    return Sweeper(
        repository.database,
        sink,
        grace=lambda: grace,
        clock=lambda: clocks.wall,
        monotonic=lambda: clocks.monotonic,
        started=started,
        settling=settling,
    )


def names(repository: SQLRepository) -> list[str]:
    return [one.username for one in repository.search(Selection())]


def test_what_goes_and_what_stays(repository: SQLRepository) -> None:
    sink, clocks = Sink([]), Clocks()
    one = sweeper(repository, sink, clocks)
    assert one.sweep() == 2
    assert names(repository) == ["expires+5", "expires-29"]
    assert [record.action for record in sink.records] == ["EXPIRE", "EXPIRE"]
    assert sink.records[0].details["username"] == "expires-100"
    assert sink.records[0].details["imported"] == 0
    clocks.go(timedelta(days=2))
    assert one.sweep() == 1
    assert one.sweep() == 0
    assert names(repository) == ["expires+5"]


def test_it_is_off_unless_asked_for(repository: SQLRepository) -> None:
    assert sweeper(repository, Sink([]), Clocks(), timedelta(0)).sweep() == 0
    assert len(names(repository)) == 4


def test_what_an_import_brought_is_called_so(repository: SQLRepository) -> None:
    with repository.database.write() as connection:
        values = {"digest": "", "username": "expires-31", "name": "", "imported": 0}
        connection.execute(sa.insert(IMPORTS).values(source="node:/x", file="expires-31", **values))
    sink = Sink([])
    sweeper(repository, sink, Clocks()).sweep()
    assert {record.details["username"]: record.details["imported"] for record in sink.records} == {
        "expires-100": 0,
        "expires-31": 1,
    }


def test_what_cannot_be_recorded_stays(repository: SQLRepository) -> None:
    with pytest.raises(StorageError, match="no space left"):
        sweeper(repository, Sink([], broken=True), Clocks()).sweep()
    assert len(names(repository)) == 4


def test_a_worker_that_takes_anothers_place_knows_the_servers_start(repository: SQLRepository) -> None:
    """Else a clock that has jumped would be the right one for it."""
    clocks = Clocks()
    started = ServerStart(clocks.wall, clocks.monotonic)
    clocks.go(timedelta(days=1))
    clocks.wall += timedelta(days=10)
    late = sweeper(repository, Sink([]), clocks, started=started)
    assert late.sweep() == 0
    assert len(names(repository)) == 4
    clocks.wall -= timedelta(days=10)
    assert late.sweep() == 2


def test_a_server_that_has_just_started_removes_nothing(repository: SQLRepository) -> None:
    clocks = Clocks()
    young = sweeper(repository, Sink([]), clocks, settling=SETTLING)
    assert young.sweep() == 0
    clocks.go(SETTLING - timedelta(seconds=1))
    assert young.sweep() == 0
    clocks.go(timedelta(seconds=1))
    assert young.sweep() == 2


def test_many(repository: SQLRepository, alice: Issued) -> None:
    for number in range(BATCH * 2 + 7):
        repository.put(stored(alice, make_sealer(), f"old{number}", not_after=NOW - timedelta(days=50)))
    assert sweeper(repository, Sink([]), Clocks()).sweep() == BATCH * 2 + 9


def test_one_node_at_a_time(repository: SQLRepository) -> None:
    clocks = Clocks()
    first, second = (sweeper(repository, Sink([]), clocks) for _ in range(2))
    assert first.sweep() == 2
    clocks.go(timedelta(days=2) - LEASE)
    assert second.sweep() == 1, "the lease of a node that has gone ends"
    clocks.go(LEASE / 2)
    assert first.sweep() == 0


def test_leases(repository: SQLRepository) -> None:
    database, hour = repository.database, timedelta(hours=1)

    def take(holder: str, now: datetime) -> bool:
        return take_lease(database, "work", holder, now=now, duration=hour)

    assert take("a", NOW)
    assert not take("b", NOW + hour / 2)
    assert take("a", NOW + hour / 2)
    assert not take("b", NOW + hour)
    assert take("b", NOW + 2 * hour)
    assert take("a", NOW - 5 * hour), "a lease from a clock that was far ahead does not hold for ever"


@pytest.mark.parametrize("jump", [timedelta(days=4000), -timedelta(days=4000)])
def test_a_clock_that_jumps_removes_nothing(repository: SQLRepository, jump: timedelta) -> None:
    clocks = Clocks()
    one = sweeper(repository, Sink([]), clocks)
    clocks.wall += jump
    assert one.sweep() == 0
    assert len(names(repository)) == 4


def test_what_was_stored_anew_meanwhile_stays(repository: SQLRepository, alice: Issued) -> None:
    class Slow(Sink):
        def record(self, record: object) -> None:
            for username in ("expires-100", "expires-31"):
                repository.put(stored(alice, make_sealer(), username))

    assert sweeper(repository, Slow([]), Clocks()).sweep() == 0
    assert len(names(repository)) == 4


def test_the_thread_begins_and_ends(repository: SQLRepository) -> None:
    one = sweeper(repository, Sink([]), Clocks())
    one.start()
    one.stop()
    assert len(names(repository)) == 4
