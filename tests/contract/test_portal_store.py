"""The portal's store, on SQLite and PostgreSQL: what all workers, and all nodes of one database, have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from gsi.errors import ConflictError, NotFoundError
from gsi.sql.migrate import SchemaState, find_schema
from myproxy.auth.throttle import Guesses
from myproxy.portal.config import StoreSettings
from myproxy.portal.grants import MAX_GRANTS, Content, Grants
from myproxy.portal.store import (
    FILE,
    MAX_SESSIONS,
    METADATA,
    MIGRATIONS,
    UNTOLD,
    Event,
    KeptSession,
    PortalStore,
    open_store,
)
from myproxy.portal.terminals import MAX_PER_NETWORK, WAIT, Terminals
from myproxy.portal.vault import Ticket
from tests.harness.postgres import Postgres

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[PortalStore, PortalStore]]:
    """Two that share what they keep: workers of one node on SQLite, nodes on PostgreSQL."""
    if request.param == "sqlite":
        settings = StoreSettings(directory=str(tmp_path / "store"), activity=HOUR)
        made = open_store(settings), open_store(settings)
        yield made
    else:
        server = request.getfixturevalue("postgres_server")
        assert isinstance(server, Postgres)
        with server.database() as conninfo:
            places = [str(tmp_path / name) for name in ("one", "other")]
            settings = StoreSettings(directory=places[0], database=conninfo, activity=HOUR)
            second = StoreSettings(directory=places[1], database=conninfo, activity=HOUR)
            made = open_store(settings), open_store(second)
            yield made
            assert not (tmp_path / "one" / FILE).exists()
    for store in made:
        store.close()


ALICE = "/O=Grid/CN=Alice"


def session(
    row: str, username: str = "alice", identity: str = ALICE, *, begun: datetime = NOW, ends: datetime = NOW + HOUR
) -> KeptSession:
    return KeptSession(row, username, identity, b"sealed\0\xff", begun, begun, ends, "192.0.2.7", "Browser/1 \u00e9")


def at_once(count: int, work: Callable[[int], object]) -> list[object]:
    """What the work returns when so many threads do it at the same moment."""
    start = threading.Barrier(count)

    def run(number: int) -> object:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_the_tables_are_those_of_the_program(nodes: tuple[PortalStore, PortalStore]) -> None:
    database = nodes[0].database
    assert find_schema(database, MIGRATIONS).state is SchemaState.CURRENT
    with database.read() as connection:
        told = sa.inspect(connection)
        names = set(told.get_table_names()) - {"alembic_version"}
        there = {name: {one["name"]: one["nullable"] for one in told.get_columns(name)} for name in names}
        indexes = {str(one["name"]) for name in names for one in told.get_indexes(name)}
    wanted = {table.name: {one.name: one.nullable for one in table.c} for table in METADATA.sorted_tables}
    assert wanted == {name: columns for name, columns in there.items() if name != "guesses"}
    assert {str(index.name) for table in METADATA.sorted_tables for index in table.indexes} <= indexes


def test_a_session_of_one_node_is_known_at_the_other_until_either_ends_it(
    nodes: tuple[PortalStore, PortalStore],
) -> None:
    here, there = (store.sessions for store in nodes)
    here.put(session("1" * 64))
    assert there.find("1" * 64) == session("1" * 64)
    there.touch("1" * 64, ALICE, now=NOW + timedelta(seconds=30))
    kept = here.find("1" * 64)
    assert kept is not None
    assert kept.seen == NOW + timedelta(seconds=30)
    there.put(session("2" * 64, begun=NOW + timedelta(seconds=1)))
    there.put(session("3" * 64, "bob"))
    there.put(session("4" * 64, identity="/O=Grid/CN=Another"))
    assert [one.row[0] for one in here.of("alice", ALICE, now=NOW)] == ["2", "1"]
    assert [one.row[0] for one in here.of("alice", "/O=Grid/CN=Another", now=NOW)] == ["4"]
    assert here.of("alice", ALICE, now=NOW + HOUR) == []
    assert here.remove_others("alice", ALICE, but="2" * 64) == 1
    assert there.find("1" * 64) is None
    assert there.find("3" * 64) is not None
    assert there.find("4" * 64) is not None
    there.remove("2" * 64)
    there.remove("2" * 64)
    assert here.find("2" * 64) is None


def test_sessions_that_are_over_or_too_many_go(nodes: tuple[PortalStore, PortalStore]) -> None:
    here, there = (store.sessions for store in nodes)
    here.put(session("f" * 64, "bob", ends=NOW + timedelta(seconds=1)))
    here.put(session("e" * 64, identity="/O=Grid/CN=Another"))
    for number in range(MAX_SESSIONS + 2):
        store = here if number % 2 else there
        store.put(session(f"{number:064}", begun=NOW + timedelta(seconds=number + 1)))
    assert here.find("f" * 64) is None
    assert here.find("e" * 64) is not None
    left = here.of("alice", ALICE, now=NOW)
    assert [int(one.row) for one in left] == list(range(MAX_SESSIONS + 1, 1, -1))


def test_what_happened_at_both_is_told_at_both(nodes: tuple[PortalStore, PortalStore]) -> None:
    here, there = (store.activity for store in nodes)
    events = [
        Event("alice", ALICE, NOW + timedelta(minutes=25 * number), f"A{number}", "192.0.2.7", "\u00e9")
        for number in range(4)
    ]
    for number, event in enumerate(events):
        (here if number % 2 else there).add(event)
    here.add(Event("bob", ALICE, NOW, "B", "192.0.2.8", ""))
    here.add(Event("alice", "/O=Grid/CN=Another", NOW, "C", "192.0.2.8", ""))
    assert list(here.of("alice", ALICE)) == list(there.of("alice", ALICE)) == events[:0:-1], "the first is too old"
    assert list(there.of("alice", ALICE, 1)) == events[:2:-1]
    assert [one.action for one in here.of("alice", "/O=Grid/CN=Another")] == ["C"]


def test_wrong_tries_are_one_count(nodes: tuple[PortalStore, PortalStore]) -> None:
    nodes[0].guesses.change(("a" * 64,), lambda _found: {"a" * 64: Guesses(3, 4, 5)})
    assert nodes[1].guesses.read(("a" * 64,)) == {"a" * 64: Guesses(3, 4, 5)}


def test_a_terminal_begins_here_is_confirmed_there_and_takes_here(nodes: tuple[PortalStore, PortalStore]) -> None:
    here, there = (Terminals(store.database) for store in nodes)
    device, code = here.begin(b"request\0", "192.0.2.7", now=NOW)
    assert there.take(device, now=NOW) == ("waiting", b"")
    waiting = there.find(code, now=NOW)
    assert waiting is not None
    assert (waiting.request_der, waiting.address, waiting.begun) == (b"request\0", "192.0.2.7", NOW)
    there.claim(waiting.device, "alice", now=NOW)
    assert here.find(code, now=NOW) is None
    with pytest.raises(NotFoundError):
        here.claim(waiting.device, "alice", now=NOW)
    assert here.take(device, now=NOW + timedelta(seconds=9)) == ("waiting", b"")
    there.settle(waiting.device, "alice", b"chain", now=NOW)
    with pytest.raises(NotFoundError):
        here.settle(waiting.device, "bob", b"other", now=NOW)
    assert here.find(code, now=NOW) is None
    assert here.take(device, now=NOW) == ("granted", b"chain")
    assert there.take(device, now=NOW) == ("over", b"")


def test_of_many_who_take_at_once_one_is_given_the_certificates(nodes: tuple[PortalStore, PortalStore]) -> None:
    both = [Terminals(store.database) for store in nodes]
    device, code = both[0].begin(b"request", "192.0.2.7", now=NOW)
    waiting = both[0].find(code, now=NOW)
    assert waiting is not None

    def settle(number: int) -> bool:
        try:
            both[number % 2].claim(waiting.device, f"user{number}", now=NOW)
            both[number % 2].settle(waiting.device, f"user{number}", b"chain %d" % number, now=NOW)
        except NotFoundError:
            return False
        return True

    settled = at_once(6, settle)
    assert settled.count(True) == 1
    taken = at_once(6, lambda number: both[number % 2].take(device, now=NOW))
    assert sorted(taken, key=str)[:1] == [("granted", b"chain %d" % settled.index(True))]
    assert taken.count(("over", b"")) == 5


def test_terminals_end_and_are_not_too_many(nodes: tuple[PortalStore, PortalStore]) -> None:
    here, there = (Terminals(store.database) for store in nodes)
    codes = [(here if number % 2 else there).begin(b"r", "192.0.2.7", now=NOW) for number in range(MAX_PER_NETWORK)]
    with pytest.raises(ConflictError):
        there.begin(b"r", "192.0.2.7", now=NOW)
    with pytest.raises(ConflictError):  # it is the network that counts
        there.begin(b"r", "192.0.2.8", now=NOW)
    there.begin(b"r", "198.51.100.8", now=NOW)
    assert here.find(codes[0][1], now=NOW + WAIT) is None
    assert here.take(codes[0][0], now=NOW + WAIT) == ("over", b"")
    here.begin(b"r", "192.0.2.7", now=NOW + WAIT)


def test_a_code_becomes_one_grant_whatever_node_is_asked(nodes: tuple[PortalStore, PortalStore]) -> None:
    here, there = (Grants(store.database) for store in nodes)
    content = Content("the proxy", int((NOW + HOUR).timestamp()), "https://a.example.org/", "challenge")
    code = here.offer("alice", ALICE, "gateway", "proxy:limited", content, now=NOW, address="192.0.2.7")
    assert here.find(code, now=NOW) is None, "a code is no token"
    taken = at_once(4, lambda number: (here, there)[number % 2].take(code, now=NOW))
    (first,) = [one for one in taken if one is not None]
    assert isinstance(first, tuple)
    assert first[1] == content
    other = here.offer("alice", ALICE, "gateway", "proxy:limited", content, now=NOW, address="192.0.2.7")
    found = there.take(other, now=NOW)
    assert found is not None
    kept, opened = found
    assert opened == content
    token = there.give(other, kept, opened, now=NOW)
    again = here.find(token, now=NOW)
    assert again is not None
    assert again[1] == content._replace(redirect="", challenge="")
    assert at_once(4, lambda number: (here, there)[number % 2].use(again[0], ALICE, now=NOW)) == [True] * 4
    assert [one.times for one in there.of("alice", ALICE, now=NOW)] == [4]
    for username, identity in (("bob", ALICE), ("alice", "/O=Grid/CN=Another")):
        assert not here.of(username, identity, now=NOW)
        assert not there.end(again[0].row, username=username, identity=identity)
        there.end_all(username, identity)
    assert there.end(again[0].row, username="alice", identity=ALICE)
    assert here.find(token, now=NOW) is None


def test_one_owner_of_a_name_pushes_out_no_grants_of_another(nodes: tuple[PortalStore, PortalStore]) -> None:
    grants = Grants(nodes[0].database)
    content = Content("the proxy", int((NOW + HOUR).timestamp()))

    def give(identity: str) -> Ticket:
        code = grants.offer("alice", identity, "gateway", "proxy:limited", content, now=NOW, address="192.0.2.7")
        found = grants.take(code, now=NOW)
        assert found is not None
        return grants.give(code, *found, now=NOW)

    first = give(ALICE)
    for _ in range(MAX_GRANTS):
        give("/O=Grid/CN=Another")
    assert grants.find(first, now=NOW) is not None


def test_what_is_from_before_owners_were_kept_is_ended_and_gets_its_owner_when_it_is_used(
    nodes: tuple[PortalStore, PortalStore],
) -> None:
    """Such rows are sealed: nobody knows whose they are before they are opened."""
    here, grants = nodes[0].sessions, Grants(nodes[0].database)
    content = Content("the proxy", int((NOW + HOUR).timestamp()))
    for number in "12":
        here.put(session(number * 64, identity=UNTOLD))
    tickets = []
    for _ in range(2):
        code = grants.offer("alice", UNTOLD, "gateway", "proxy:limited", content, now=NOW, address="192.0.2.7")
        found = grants.take(code, now=NOW)
        assert found is not None
        tickets.append(grants.give(code, *found, now=NOW))
    nodes[0].activity.add(Event("alice", UNTOLD, NOW, "A", "192.0.2.7", ""))
    assert not here.of("alice", ALICE, now=NOW)
    assert not grants.of("alice", ALICE, now=NOW)
    assert not nodes[0].activity.of("alice", ALICE)
    here.touch("1" * 64, ALICE, now=NOW)
    used = grants.find(tickets[0], now=NOW)
    assert used is not None
    assert grants.use(used[0], ALICE, now=NOW)
    assert [one.row for one in here.of("alice", ALICE, now=NOW)] == ["1" * 64]
    assert [one.row for one in grants.of("alice", ALICE, now=NOW)] == [used[0].row]
    assert here.remove_others("alice", ALICE, but="1" * 64) == 1
    grants.end_all("alice", ALICE)
    assert [grants.find(ticket, now=NOW) for ticket in tickets] == [None, None]


def test_a_code_that_comes_twice_ends_its_grant_before_it_is_made(nodes: tuple[PortalStore, PortalStore]) -> None:
    here, there = (Grants(store.database) for store in nodes)
    content = Content("the proxy", int((NOW + HOUR).timestamp()))
    code = here.offer("alice", ALICE, "gateway", "proxy:limited", content, now=NOW, address="192.0.2.7")
    found = here.take(code, now=NOW)
    assert found is not None
    assert there.take(code, now=NOW) is None
    with pytest.raises(NotFoundError):
        here.give(code, *found, now=NOW)
    assert not here.of("alice", ALICE, now=NOW)
