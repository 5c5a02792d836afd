"""What is shared by all servers of a database when pass phrases are judged: counts of wrong tries, one-time codes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from gsi.errors import NotFoundError, StorageError
from gsi.sql.engine import Database
from myproxy.auth.base import Outcome, ThrottledError
from myproxy.auth.throttle import Guesses, Throttle, ThrottleRules, _keys
from myproxy.auth.totp import StoredSecret
from myproxy.repository.codes import SQLCodeStore
from myproxy.repository.guesses import SQLGuessStore
from myproxy.repository.sql import SQLRepository

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def database(repository: SQLRepository) -> Database:
    return repository.database


def at_once(count: int, work: object) -> list[object]:
    """What `work` returns when so many threads call it at the same moment."""
    start = threading.Barrier(count)

    def run(number: int) -> object:
        start.wait()
        return work(number)  # type: ignore[operator]  # a function of each test's

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


# Wrong tries ------------------------------------------------------------------------------------------------------


def test_rows_come_go_and_change(database: Database) -> None:
    store = SQLGuessStore(database)
    assert store.read((KEY, OTHER)) == {}
    store.change((KEY,), lambda found: {KEY: Guesses(1 + len(found), 3, 4)})
    assert store.read((KEY, OTHER)) == {KEY: Guesses(1, 3, 4)}
    store.change((OTHER, KEY), lambda found: dict.fromkeys((KEY, OTHER), Guesses(found[KEY].failures + 1, 5, 2**60)))
    assert store.read((KEY, OTHER)) == dict.fromkeys((KEY, OTHER), Guesses(2, 5, 2**60))
    store.change((OTHER, KEY), lambda _found: {OTHER: Guesses(3, 5, 2**60)}, durable=False)
    store.change((KEY, "c" * 64), lambda found: dict.fromkeys(found, None))
    assert store.read((KEY, OTHER)) == {OTHER: Guesses(3, 5, 2**60)}

    def fail(_found: Mapping[str, Guesses]) -> dict[str, Guesses | None]:
        raise ThrottledError("no", seconds=1)

    with pytest.raises(ThrottledError):
        store.change((OTHER,), fail)
    assert store.read((OTHER,)) == {OTHER: Guesses(3, 5, 2**60)}


def test_only_what_is_due_is_pruned(database: Database) -> None:
    store = SQLGuessStore(database)
    for number in range(5):
        key = str(number) * 64
        store.change((key,), lambda _found, key=key, due=number * 10: {key: Guesses(1, 0, due)})  # type: ignore[misc]  # bound now
    assert store.prune(before_ms=10, after_ms=30) == 2
    assert {key[0] for key in store.read([str(number) * 64 for number in range(5)])} == {"1", "2", "3"}


def test_what_many_write_at_once_is_all_counted(database: Database) -> None:
    store = SQLGuessStore(database)

    def more(found: Mapping[str, Guesses]) -> dict[str, Guesses | None]:
        return {key: Guesses(found[key].failures + 1 if key in found else 0, 0, 0) for key in (KEY, OTHER)}

    def count(number: int) -> None:
        for _ in range(3):
            store.change((OTHER, KEY), more, durable=number % 2 == 0)

    at_once(6, count)
    assert {guesses.failures for guesses in store.read((KEY, OTHER)).values()} == {17}


def test_wrong_tries_on_two_servers_are_one_count(database: Database) -> None:
    rules = ThrottleRules(free_tries=100, tries_per_minute=60000)
    nodes = [Throttle(SQLGuessStore(database), rules, clock=lambda: NOW) for _ in range(2)]

    def guess(number: int) -> None:
        for _ in range(3):
            assert nodes[number % 2].admit("alice", "192.0.2.7", waited=100) == 0
            nodes[number % 2].report("alice", "192.0.2.7", Outcome.WRONG)

    at_once(6, guess)
    keys = _keys("ALICE", "192.0.2.8")
    kept = nodes[1]._store.read(keys)
    assert [kept[key].failures for key in keys] == [18, 18, 0]


def test_tries_at_the_same_moment_on_many_servers_are_judged_as_the_rules_say(database: Database) -> None:
    """From one network, and then from as many as there are tries."""
    nodes = [Throttle(SQLGuessStore(database), ThrottleRules(), clock=lambda: NOW) for _ in range(4)]
    here = at_once(24, lambda number: nodes[number % 4].admit("alice", "192.0.2.7", waited=0) == 0)
    assert here.count(True) == 5
    elsewhere = at_once(24, lambda number: nodes[number % 4].admit("bob", f"198.18.{number}.1", waited=0) == 0)
    assert elsewhere.count(True) == 11


# One-time codes ---------------------------------------------------------------------------------------------------


def test_secrets_come_and_go(database: Database) -> None:
    store = SQLCodeStore(database)
    assert store.find("alice") is None
    store.put("alice", b"sealed\0", now=NOW)
    store.put("bob", b"other", now=NOW)
    assert store.find("alice") == StoredSecret(b"sealed\0", 0)
    assert store.usernames() == ("alice", "bob")
    store.remove("alice")
    assert store.find("alice") is None
    for nobody in ("alice", "nobody", "x\0y", "y" * 5000):
        with pytest.raises(NotFoundError):
            store.remove(nobody)
        assert store.find(nobody) is None


def test_names_that_cannot_be_kept(database: Database) -> None:
    store = SQLCodeStore(database)
    for name in ("", "x\0y", "y" * 5000, "\udcff"):
        with pytest.raises(StorageError):
            store.put(name, b"x", now=NOW)


def test_a_period_is_used_once_and_never_an_earlier_one(database: Database) -> None:
    store = SQLCodeStore(database)
    store.put("alice", b"x", now=NOW)
    assert store.advance("alice", 100)
    assert not store.advance("alice", 100)
    assert not store.advance("alice", 99)
    assert store.advance("alice", 101)
    assert not store.advance("bob", 101)


def test_a_new_secret_does_not_make_old_codes_new(database: Database) -> None:
    store = SQLCodeStore(database)
    store.put("alice", b"x", now=NOW)
    assert store.advance("alice", 100)
    store.put("alice", b"y", now=NOW)
    assert store.find("alice") == StoredSecret(b"y", 100)
    assert not store.advance("alice", 100)


def test_of_many_at_once_one_is_first(database: Database) -> None:
    store = SQLCodeStore(database)
    store.put("alice", b"x", now=NOW)
    for step in (100, 101, 102):
        assert sorted(at_once(8, lambda _number, step=step: store.advance("alice", step))) == [False] * 7 + [True]  # type: ignore[type-var]  # bools
