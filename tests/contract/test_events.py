"""What owners are told of their credentials, as SQLite and PostgreSQL keep it."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from gsi.errors import StorageError
from myproxy.protocol.messages import Happening
from myproxy.repository import history as history_module
from myproxy.repository.base import StoredCredential
from myproxy.repository.events import KEPT, Noted, SQLEvents
from myproxy.repository.history import History
from myproxy.repository.sql import SQLRepository
from myproxy.repository.tables import EVENTS

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ALICE, BOB = "/O=Grid/CN=Alice", "/O=Grid/CN=Bob"


@pytest.fixture
def store(repository: SQLRepository) -> SQLEvents:
    put(repository, "alice", None, ALICE)
    return SQLEvents(repository.database)


def put(repository: SQLRepository, username: str, name: str | None, owner: str) -> None:
    repository.put(
        StoredCredential(
            username=username,
            name=name,
            owner=owner,
            certificates=(b"leaf",),
            sealed_key=b"key",
            not_before=NOW,
            not_after=NOW + timedelta(days=1),
            lifetime=timedelta(0),
            created=NOW,
            updated=NOW,
        )
    )


def done(at: datetime, address: str = "192.0.2.7", *, name: str | None = None, kind: str = "logon") -> Noted:
    return Noted("alice", name, ALICE, kind, address, 1, at, at)


def refused(at: datetime, address: str, *, username: str = "alice", name: str | None = None, count: int = 1) -> Noted:
    return Noted(username, name, None, "logon", address, count, at, at)


def test_what_was_done_and_what_was_refused(store: SQLEvents) -> None:
    later = NOW + SECOND
    store.add([done(NOW), refused(later, "198.51.100.1", count=3)])
    assert store.of("alice", ALICE, limit=9) == (
        Happening(later, "logon", False, "198.51.100.1", None, 3, later),
        Happening(NOW, "logon", True, "192.0.2.7", None, 1, NOW),
    )
    store.add([done(NOW - SECOND), refused(NOW - SECOND, "203.0.113.1")])
    assert [one.permitted for one in store.of("alice", ALICE, limit=1)] == [False, True], "of each"
    assert store.of("alice", BOB, limit=9) == store.of("bob", ALICE, limit=9) == ()


def test_refused_tries_of_one_network_are_one_row(store: SQLEvents) -> None:
    store.add([refused(NOW, "198.51.100.1"), refused(NOW + SECOND, "198.51.100.2"), refused(NOW, "203.0.113.1")])
    store.add([refused(NOW + 9 * SECOND, "198.51.100.3", count=4)])
    store.add([refused(NOW + 5 * SECOND, "198.51.100.4")])  # another worker was slower
    found = {one.address: (one.count, one.first, one.at) for one in store.of("alice", ALICE, limit=9)}
    assert found == {"198.51.100.4": (7, NOW, NOW + 9 * SECOND), "203.0.113.1": (1, NOW, NOW)}


def test_nothing_is_kept_of_what_is_not_there(repository: SQLRepository, store: SQLEvents) -> None:
    store.add([refused(NOW, "198.51.100.1", username="nobody"), refused(NOW, "198.51.100.1", name="other")])
    with repository.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(EVENTS)) == 0


def test_whom_a_try_without_a_name_concerns(repository: SQLRepository, store: SQLEvents) -> None:
    """Where none is unnamed, him who owns all that is there."""
    for username, name, owner in (("two", "a", BOB), ("two", "b", BOB), ("both", "a", ALICE), ("both", "b", BOB)):
        put(repository, username, name, owner)
    store.add([refused(NOW, "198.51.100.1", username=username) for username in ("two", "both")])
    assert [one.name for one in store.of("two", BOB, limit=9)] == [None]
    assert store.of("both", ALICE, limit=9) == store.of("both", BOB, limit=9) == ()


def test_a_new_owner_sees_nothing_of_the_former_one(repository: SQLRepository, store: SQLEvents) -> None:
    store.add([done(NOW), refused(NOW, "198.51.100.1")])
    repository.delete("alice", None, owner=ALICE)
    put(repository, "alice", None, BOB)
    assert store.of("alice", BOB, limit=9) == ()
    assert store.uses("alice", BOB) == {}
    store.add([refused(NOW + SECOND, "198.51.100.1")])
    assert [one.count for one in store.of("alice", BOB, limit=9)] == [1]


def test_the_last_use_of_each(repository: SQLRepository, store: SQLEvents) -> None:
    put(repository, "alice", "work", ALICE)
    store.add([done(NOW, kind="renewal"), done(NOW, "192.0.2.8", name="work", kind="key")])
    store.add([done(NOW + SECOND, "192.0.2.9"), refused(NOW + SECOND, "198.51.100.1")])
    store.add([done(NOW + 2 * SECOND, kind="change")])
    found = {name: (one.kind, one.address, one.at) for name, one in store.uses("alice", ALICE).items()}
    assert found == {None: ("logon", "192.0.2.9", NOW + SECOND), "work": ("key", "192.0.2.8", NOW)}


def test_neither_side_pushes_out_the_other(store: SQLEvents) -> None:
    store.add([done(NOW)])
    for start in range(0, 3 * KEPT, KEPT):
        tries = [refused(NOW + SECOND * number, f"10.0.{number}.1") for number in range(start, start + KEPT)]
        store.add(tries)
    found = store.of("alice", ALICE, limit=1000)
    assert [one.permitted for one in found] == [False] * KEPT + [True]
    assert found[0].address == f"10.0.{3 * KEPT - 1}.1"
    store.add([done(NOW + SECOND * number) for number in range(KEPT + 7)])
    assert sum(one.permitted for one in store.of("alice", ALICE, limit=1000)) == KEPT


def test_no_flood_hides_what_happened_to_another_credential(repository: SQLRepository, store: SQLEvents) -> None:
    """The tries at all of them do not hide a logon, and logons with one not what was done with another."""
    names = [None, "jobs", "robot", "backup"]
    for name in names[1:]:
        put(repository, "alice", name, ALICE)
    store.add([done(NOW, "198.51.100.66", name="backup")])
    later = NOW + SECOND
    store.add([refused(later, f"2001:db8:0:{net:x}::1", name=name) for name in names for net in range(KEPT)])
    store.add([done(later, name=name) for name in names[:3] for _ in range(KEPT)])
    found = store.of("alice", ALICE, limit=8)
    assert [one.address for one in found if one.permitted] == ["192.0.2.7"] * 7 + ["198.51.100.66"]
    assert [one.permitted for one in found].count(False) == 8
    assert {one.name for one in found if not one.permitted} == set(names)
    (last,) = [one for one in store.of("alice", ALICE, name="backup", limit=8) if one.permitted]
    assert (last.address, last.name) == ("198.51.100.66", "backup")
    assert {one.name for one in store.of("alice", ALICE, name="jobs", limit=8)} == {"jobs"}
    assert store.of("alice", BOB, name="jobs", limit=8) == ()


def test_what_is_old_is_forgotten(store: SQLEvents) -> None:
    store.add([done(NOW), done(NOW + 2 * SECOND)])
    assert store.prune(before=NOW + SECOND) == 1
    assert [one.at for one in store.of("alice", ALICE, limit=9)] == [NOW + 2 * SECOND]


def test_several_workers_at_once(store: SQLEvents) -> None:
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait()
        for turn in range(5):
            store.add([refused(NOW + SECOND * turn, f"10.{net}.0.{number}") for net in range(4)] + [done(NOW)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    found = store.of("alice", ALICE, limit=1000)
    assert sorted(one.count for one in found if not one.permitted) == [20] * 4
    assert sum(one.permitted for one in found) == 20


# Written behind -----------------------------------------------------------------------------------------------------


def test_what_is_noted_is_written_together(store: SQLEvents) -> None:
    times = itertools.count()
    history = History(store, clock=lambda: NOW + SECOND * next(times))
    for _ in range(3):
        history.note("logon", "alice", None, "192.0.2.7", owner=ALICE)
        history.note("logon", "alice", None, "198.51.100.1")
    assert history.of("alice", ALICE, limit=9) == ()
    history.flush()
    assert history.of("alice", ALICE, limit=9) == (
        Happening(NOW + 5 * SECOND, "logon", False, "198.51.100.1", None, 3, NOW + SECOND),
        Happening(NOW + 4 * SECOND, "logon", True, "192.0.2.7", None, 3, NOW),
    )


def test_the_end_writes_what_is_left(store: SQLEvents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "EVERY_SECONDS", 3600.0)
    history = History(store, clock=lambda: NOW)
    history.start()
    history.note("logon", "alice", None, "192.0.2.7", owner=ALICE)
    history.stop()
    assert len(history.of("alice", ALICE, limit=9)) == 1


def test_a_store_that_is_away_fails_nobody(
    store: SQLEvents, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    history = History(store, clock=lambda: NOW)

    def fail(_noted: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(store, "add", fail)
        history.note("logon", "alice", None, "192.0.2.7", owner=ALICE)
        history.flush()
    assert "1 events are in the audit alone: the disk is full" in caplog.text
    history.note("renewal", "alice", None, "192.0.2.7", owner=ALICE)
    history.flush()
    assert [one.kind for one in history.of("alice", ALICE, limit=9)] == ["renewal"]


def test_a_flood_of_tries_takes_no_memory_and_hides_no_logon(
    store: SQLEvents, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(history_module, "MAX_NOTED", 10)
    history = History(store, clock=lambda: NOW)
    for number in range(25):
        history.note("logon", f"guess{number}", None, "198.51.100.1")
    history.note("logon", "alice", None, "192.0.2.7", owner=ALICE)
    history.flush()
    assert "15 events are in the audit alone" in caplog.text
    assert [one.address for one in history.of("alice", ALICE, limit=9)] == ["192.0.2.7"]
