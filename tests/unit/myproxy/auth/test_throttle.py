"""Slowing down who guesses: the rules, with a clock that is moved by hand; the store is in `tests/contract`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import ConfigError, StorageError
from myproxy.auth.base import Outcome, ThrottledError
from myproxy.auth.throttle import Guesses, Throttle, ThrottleRules, network_of, normalise

HERE, NEAR, FAR = "192.0.2.7", "192.0.2.200", "198.51.100.1"
RULES = ThrottleRules()


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Memory:
    """A `GuessStore` in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, Guesses] = {}
        self.writes = 0

    def read(self, keys: Sequence[str]) -> dict[str, Guesses]:
        return {key: self.rows[key] for key in keys if key in self.rows}

    def change(
        self,
        keys: Sequence[str],
        change: Callable[[Mapping[str, Guesses]], Mapping[str, Guesses | None]],
        *,
        durable: bool = True,
    ) -> None:
        for key, guesses in change(self.read(keys)).items():
            if guesses is None:
                del self.rows[key]
            else:
                self.rows[key] = guesses
        self.writes += durable

    def prune(self, *, before_ms: int, after_ms: int) -> int:
        kept = {key: row for key, row in self.rows.items() if before_ms <= row.expires_ms <= after_ms}
        gone, self.rows = len(self.rows) - len(kept), kept
        return gone


class Desk:
    """Two servers on one store."""

    def __init__(self, rules: ThrottleRules = RULES) -> None:
        self.clock = Clock()
        self.store = Memory()
        self.nodes = [Throttle(self.store, rules, clock=self.clock) for _ in range(2)]

    def guess(
        self, username: str = "alice", address: str = HERE, *, outcome: Outcome = Outcome.WRONG, node: int = 0
    ) -> float:
        """One try; returns how long it had to wait first."""
        waited = 0.0
        while seconds := self.nodes[node].admit(username, address, waited=waited):
            waited += seconds
        self.nodes[node].report(username, address, outcome)
        return waited

    def refused(self, username: str = "alice", address: str = HERE, node: int = 0) -> float:
        """For how long a try is refused; 0 when it is not."""
        try:
            self.nodes[node].admit(username, address, waited=1e9)
        except ThrottledError as error:
            return error.seconds
        self.nodes[node].report(username, address, Outcome.UNJUDGED)
        return 0.0

    def fail(self, count: int) -> None:
        """So many wrong tries, each as soon as it is judged."""
        for _ in range(count):
            self.clock.go(self.refused() + 0.001)
            self.guess()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_wait_doubles_after_the_free_tries(desk: Desk) -> None:
    waits = []
    for _ in range(16):
        waits.append(round(desk.refused()))
        desk.fail(1)
    assert waits == [0, 0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


def test_a_refused_try_changes_nothing(desk: Desk) -> None:
    desk.fail(7)
    before = desk.refused()
    for _ in range(50):
        assert desk.refused() == before
    desk.clock.go(before)
    assert desk.refused() == 0


def test_all_servers_count_together(desk: Desk) -> None:
    for number in range(5):
        desk.guess(node=number % 2)
    assert desk.refused(node=0) == desk.refused(node=1) == 2


def test_a_right_try_ends_it_and_waits_for_no_disk_before_a_wrong_one(desk: Desk) -> None:
    desk.guess(outcome=Outcome.RIGHT)
    assert desk.store.writes == 0
    desk.fail(4)
    desk.guess(outcome=Outcome.RIGHT)
    desk.fail(4)
    assert desk.refused() == 0
    desk.guess(outcome=Outcome.RIGHT, node=1)
    desk.fail(5)
    assert round(desk.refused()) == 2


def test_what_was_not_judged_does_not_count(desk: Desk) -> None:
    for _ in range(20):
        desk.guess(outcome=Outcome.UNJUDGED)
    assert desk.store.writes == 0


def test_networks_and_accounts_are_apart(desk: Desk) -> None:
    desk.fail(6)
    assert desk.refused(address=NEAR) > 0
    assert desk.refused(address=FAR) == 0
    assert desk.refused(username="bob") == 0


@pytest.mark.parametrize(
    "other",
    [
        "Alice",
        "ALICE",
        " alice ",
        "al ice",
        "\uff21lice",
        "ali\u200bce",
        "\u1d2c\u02e1\u2071\u1d9c\u1d49",
        "alice\u00ad",
    ],
)
def test_spellings_of_one_name_count_together(desk: Desk, other: str) -> None:
    desk.fail(6)
    assert desk.refused(username=other) > 0
    assert normalise(other) == normalise("alice")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not an address", "not an address"),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network


def test_strangers_elsewhere_only_slow_a_user_down(desk: Desk) -> None:
    for number in range(300):
        desk.guess(address=f"198.18.{number}.1" if number < 256 else f"198.19.{number - 256}.1")
    assert desk.refused(address=HERE) == 0
    assert desk.guess(address=HERE, outcome=Outcome.RIGHT) == RULES.slow_seconds
    desk.clock.go(120)
    assert desk.guess(address=HERE, outcome=Outcome.RIGHT) == 0


def test_a_rate_that_is_kept_costs_no_wait(desk: Desk) -> None:
    for number in range(60):
        desk.clock.go(6)
        assert desk.guess(address=f"198.18.{number}.1") == 0


def test_it_is_forgotten(desk: Desk) -> None:
    desk.fail(10)
    desk.clock.go(RULES.memory_seconds + 1)
    desk.fail(4)
    assert desk.refused() == 0


def test_a_clock_that_goes_back_locks_nobody_out(desk: Desk) -> None:
    desk.fail(9)
    wait = desk.refused()
    desk.clock.go(-365 * 86400)
    assert desk.refused() == pytest.approx(wait, abs=1)
    desk.clock.go(wait / 2)
    assert desk.refused() == pytest.approx(wait / 2, abs=1)  # it goes on from the new time, and ends
    desk.clock.go(wait / 2 + 1)
    assert desk.refused() == 0


def test_a_clock_that_goes_back_slows_nobody_forever(desk: Desk) -> None:
    for number in range(100):
        desk.guess(address=f"198.18.{number}.1")
    desk.clock.go(-86400)
    assert desk.guess(address=FAR, outcome=Outcome.RIGHT) == 0
    desk.guess(address=FAR)
    assert desk.guess(address=FAR, outcome=Outcome.RIGHT) <= RULES.slow_seconds


def test_small_steps_of_the_clock_are_no_jump(desk: Desk) -> None:
    desk.fail(9)
    wait = desk.refused()
    desk.clock.go(-1)
    assert desk.refused() == pytest.approx(wait + 1)


def test_the_table_is_pruned(desk: Desk) -> None:
    for number in range(50):
        desk.guess(username=f"user{number}")
    desk.clock.go(RULES.memory_seconds + 1000)
    desk.guess()
    assert len(desk.store.rows) == 3


def test_rows_of_a_mistaken_future_are_pruned(desk: Desk) -> None:
    desk.clock.go(20 * 365 * 86400)
    desk.guess(username="bob")
    desk.clock.go(-20 * 365 * 86400)
    desk.guess()
    assert len(desk.store.rows) == 3


def test_no_more_are_judged_at_once_than_are_free(desk: Desk) -> None:
    node = desk.nodes[0]
    for _ in range(RULES.free_tries):
        assert node.admit("alice", HERE, waited=0) == 0
    assert 0 < node.admit("alice", HERE, waited=100) < 1
    assert node.admit("bob", HERE, waited=0) == 0
    node.report("bob", HERE, Outcome.UNJUDGED)
    node.report("alice", HERE, Outcome.RIGHT)
    assert node.admit("alice", HERE, waited=0) == 0
    for _ in range(RULES.free_tries):
        node.report("alice", HERE, Outcome.WRONG)
    assert desk.refused() == 2


def test_after_a_wrong_try_fewer_are_judged_at_once(desk: Desk) -> None:
    desk.fail(4)
    node = desk.nodes[0]
    assert node.admit("alice", HERE, waited=0) == 0
    assert node.admit("alice", HERE, waited=0) > 0
    node.report("alice", HERE, Outcome.WRONG)
    assert desk.refused() > 0


def test_a_store_that_fails_lets_nobody_in(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> object:
        raise StorageError("gone")

    monkeypatch.setattr(desk.store, "read", fail)
    with pytest.raises(StorageError):
        desk.nodes[0].admit("alice", HERE, waited=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"free_tries": 0},
        {"first_seconds": 0},
        {"first_seconds": 10, "longest_seconds": 5},
        {"longest_seconds": 100, "memory_seconds": 50},
        {"tries_per_minute": 0},
        {"slow_seconds": -1},
    ],
)
def test_limits_that_do_not_fit_together(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        ThrottleRules(**wrong)


@given(st.text())
def test_every_name_has_a_normal_form(name: str) -> None:
    assert normalise(normalise(name)) == normalise(name)
    assert not any(char.isspace() for char in normalise(name))


def admitted(desk: Desk, tries: int, address: Callable[[int], str]) -> int:
    """How many of so many tries at the same moment, on two servers, are judged at once."""
    return sum(desk.nodes[number % 2].admit("alice", address(number), waited=0) == 0 for number in range(tries))


def test_servers_share_the_turns_of_an_account_and_network(desk: Desk) -> None:
    assert admitted(desk, 60, lambda _: HERE) == RULES.free_tries


def test_servers_share_the_rate_of_an_account(desk: Desk) -> None:
    """A try that is being judged counts as wrong until it is known: as many as the rate has, and the last of them."""
    assert admitted(desk, 60, lambda number: f"198.18.{number}.1") == RULES.tries_per_minute + 1


@pytest.mark.parametrize("outcome", [Outcome.RIGHT, Outcome.UNJUDGED])
def test_what_was_not_wrong_is_given_back(desk: Desk, outcome: Outcome) -> None:
    for _ in range(3):
        assert admitted(desk, 60, lambda number: f"198.18.{number}.1") == RULES.tries_per_minute + 1
        for number in range(RULES.tries_per_minute + 1):
            desk.nodes[0].report("alice", f"198.18.{number}.1", outcome)
    assert admitted(desk, 60, lambda _: HERE) == RULES.free_tries


def test_a_judge_that_does_not_answer_only_slows(desk: Desk) -> None:
    for _ in range(40):
        assert desk.refused() == 0
        desk.guess(outcome=Outcome.UNANSWERED)
    assert desk.guess(outcome=Outcome.RIGHT) == pytest.approx(RULES.slow_seconds)


def test_a_killed_server_keeps_no_turn_for_long(desk: Desk) -> None:
    assert admitted(desk, 60, lambda _: HERE) == RULES.free_tries
    desk.clock.go(59)
    assert desk.nodes[1].admit("alice", HERE, waited=1000) > 0
    desk.clock.go(2)
    assert desk.nodes[1].admit("alice", HERE, waited=0) == 0


def test_turns_from_before_the_clock_went_back_do_not_count(desk: Desk) -> None:
    assert admitted(desk, 60, lambda _: HERE) == RULES.free_tries
    desk.clock.go(-86400)
    assert desk.nodes[1].admit("alice", HERE, waited=0) == 0


def test_a_store_that_cannot_take_back_what_was_reserved_refuses_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageError("gone")

    assert desk.nodes[0].admit("alice", HERE, waited=0) == 0
    assert desk.nodes[0].admit("alice", HERE, waited=0) == 0
    monkeypatch.setattr(desk.store, "change", fail)
    desk.nodes[0].report("alice", HERE, Outcome.RIGHT)
    with pytest.raises(StorageError):
        desk.nodes[0].report("alice", HERE, Outcome.WRONG)
