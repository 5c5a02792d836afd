"""Slowing down who guesses pass phrases, on all servers together; not what a guess is (`myproxy.auth.attempt`).

    limiter = Throttle(store, ThrottleRules(), clock=now)
    seconds = limiter.admit("alice", "192.0.2.7", waited=0)     # ThrottledError, or how long to wait first
    limiter.report("alice", "192.0.2.7", Outcome.WRONG)

Two counts are kept. The first belongs to an account *and* a network (/24, or /64): after `free_tries` wrong ones each
further one doubles the time in which tries from there are refused unjudged, up to `longest_seconds`. A right one ends
that. The second belongs to the account alone and counts wrong tries from everywhere: beyond a rate, a try is judged
only after a wait of up to `slow_seconds`. It never refuses, so that strangers elsewhere cannot lock a user out.

A refused try changes nothing, so whoever keeps trying blindly is not locked out for longer. Names are compared after
Unicode normalisation and without case and blanks, because directories take such spellings for the same account.

So that many guesses at once do not all pass before the first is counted, each try takes its place in the store before
it is judged, as if it were wrong, and gives it back when it is right or nobody could judge it. Of one account and
network only so many are judged at once as have free tries left; the others wait for their turn. Taking and giving back
wait for no disk. A process that is killed meanwhile gives nothing back: turns are forgotten after `TURN_SECONDS`.

A clock that jumps back finds times in the future: a wait is never longer than the rule that made it allows, seen from
now, and what lies beyond is written anew from now. One that jumps forward ends waits early.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from gsi.errors import ConfigError, StorageError
from myproxy.auth.base import Outcome, ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

__all__ = ["GuessStore", "Guesses", "Throttle", "ThrottleRules", "network_of", "normalise"]

AGAIN_SECONDS: Final = 0.05
"""When a try that found too many others being judged asks again: a few derivations later."""
LONGEST_STEP_SECONDS: Final = 1.0
"""How often one at least looks that waits for its account's rate."""
TURN_SECONDS: Final = 60
"""How long a turn counts from the last one that was taken: two judges that take all the time they have."""
PRUNE_SECONDS: Final = 300
"""How often a process removes what may be forgotten."""
SKEW_MS: Final = 2_000
"""How far the clocks of two servers may be apart before a time is taken for one of another age."""
_IPV4_PREFIX: Final = 24
_IPV6_PREFIX: Final = 64
_MAX_DOUBLINGS: Final = 40
_NORMAL_ROUNDS: Final = 4  # what is taken out may leave characters side by side that make one
_UNSEEN: Final = frozenset({"Cf", "Cc", "Mn"})


class Guesses(NamedTuple):
    """What is kept under one key."""

    failures: int
    """Wrong tries; under the key of turns, those that are being judged."""
    until_ms: int
    """Unix milliseconds: the end of the refusals, or for an account where its rate has got to."""
    expires_ms: int
    """When the row may be forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleRules:
    """How much is too much.

    Attributes:
        free_tries: Wrong tries on an account from a network before any is refused.
        first_seconds: The first refusal's duration; it doubles from then on.
        longest_seconds: The longest.
        memory_seconds: After how long without a wrong try the count begins anew.
        tries_per_minute: Wrong tries on an account from everywhere that are judged at once.
        slow_seconds: How long the others wait at most.
    """

    free_tries: int = 5
    first_seconds: int = 2
    longest_seconds: int = 900
    memory_seconds: int = 86_400
    tries_per_minute: int = 10
    slow_seconds: int = 10

    def __post_init__(self) -> None:
        if not (
            self.free_tries >= 1
            and 1 <= self.first_seconds <= self.longest_seconds <= self.memory_seconds
            and self.tries_per_minute >= 1
            and self.slow_seconds >= 0
        ):
            raise ConfigError("the limits on guessing do not fit together")

    def refusal_ms(self, failures: int) -> int:
        """Return for how long tries are refused after so many wrong ones."""
        beyond = failures - self.free_tries
        if beyond < 0:
            return 0
        return min(self.first_seconds << min(beyond, _MAX_DOUBLINGS), self.longest_seconds) * 1000

    @property
    def interval_ms(self) -> int:
        """The room that one wrong try takes in an account's rate."""
        return 60_000 // self.tries_per_minute

    @property
    def furthest_ms(self) -> int:
        """How far in the future an account's rate may be: a minute's tries, and what makes the longest wait."""
        return 60_000 + self.slow_seconds * 1000

    def slow_ms(self, until_ms: int, now_ms: int) -> int:
        """Return how long a try on an account waits whose rate has got so far."""
        ahead = until_ms - now_ms
        if ahead > self.furthest_ms + self.interval_ms + SKEW_MS:
            return 0  # written before the clock went back; the next wrong try writes it anew
        return max(0, min(ahead - 60_000, self.slow_seconds * 1000))


class GuessStore(Protocol):
    """Where the counts rest. Safe for use by several threads and processes at once."""

    def read(self, keys: Sequence[str]) -> Mapping[str, Guesses]:
        """Return what is kept under these keys; StorageError when the store cannot be read."""
        ...

    def change(
        self,
        keys: Sequence[str],
        change: Callable[[Mapping[str, Guesses]], Mapping[str, Guesses | None]],
        *,
        durable: bool = True,
    ) -> None:
        """Put in place what `change` makes of what is kept under these keys, in one transaction; nobody gets between.

        Args:
            keys: Which.
            change: Gets what is there and returns what is to be there; None removes, what is left out stays. What it
                raises is passed on, and nothing is changed. May be called again.
            durable: Whether the change is to outlive a loss of power.

        Raises:
            StorageError: The store cannot be written; nothing was changed.
        """
        ...

    def prune(self, *, before_ms: int, after_ms: int) -> int:
        """Remove what expires before the one moment or after the other; return how many.

        Raises:
            StorageError: The store cannot be written; nothing was changed.
        """
        ...


class _Keys(NamedTuple):
    """Under what is kept what belongs to one try."""

    pair: str
    """Wrong tries on the account from the network."""
    account: str
    """How far the account's rate has got, with the tries that are being judged."""
    turns: str
    """How many tries on the account from the network are being judged."""


class Throttle:
    """The `Limiter` over a shared store. Safe for use by several threads."""

    def __init__(self, store: GuessStore, rules: ThrottleRules, *, clock: Callable[[], datetime]) -> None:
        """Choose the rules.

        Args:
            store: Where the counts rest.
            rules: The limits.
            clock: The time.
        """
        self._store = store
        self._rules = rules
        self._clock = clock
        self._pruned_ms = 0

    def admit(self, username: str, address: str, *, waited: float) -> float:
        """See `Limiter.admit`."""
        keys = _keys(username, address)
        now_ms = self._now_ms()
        found = self._mend(keys, self._store.read(keys), now_ms)
        seconds = self._wait(keys, found, now_ms, waited)
        if seconds > 0:
            return seconds

        def reserve(found: Mapping[str, Guesses]) -> Mapping[str, Guesses]:
            nonlocal seconds
            now_ms = self._now_ms()
            seconds = self._wait(keys, found, now_ms, waited)
            if seconds > 0:  # others were faster
                return {}
            account = self._account(keys, found, now_ms)
            until_ms = account.until_ms + self._rules.interval_ms
            turns = self._turns(keys, found, now_ms) + 1
            return {
                keys.account: Guesses(account.failures, until_ms, until_ms),
                keys.turns: Guesses(turns, now_ms, now_ms + TURN_SECONDS * 1000),
            }

        self._store.change(keys, reserve, durable=False)
        return seconds

    def report(self, username: str, address: str, outcome: Outcome) -> None:
        """See `Limiter.report`."""
        keys, rules = _keys(username, address), self._rules

        def settle(found: Mapping[str, Guesses]) -> Mapping[str, Guesses | None]:
            now_ms = self._now_ms()
            changes: dict[str, Guesses | None] = {}
            turns = self._turns(keys, found, now_ms)
            if turns:
                changes[keys.turns] = found[keys.turns]._replace(failures=turns - 1)
            account = self._account(keys, found, now_ms)
            if outcome in {Outcome.RIGHT, Outcome.UNJUDGED}:
                until_ms = account.until_ms - rules.interval_ms
                changes[keys.account] = Guesses(account.failures, until_ms, max(until_ms, now_ms))
            if outcome is Outcome.RIGHT and keys.pair in found:
                changes[keys.pair] = None
            if outcome is Outcome.WRONG:
                until_ms = max(account.until_ms, now_ms + 1)
                changes[keys.account] = Guesses(account.failures + 1, until_ms, until_ms)
                failures = self._failures(keys, found, now_ms) + 1
                until_ms = now_ms + rules.refusal_ms(failures)
                changes[keys.pair] = Guesses(failures, until_ms, now_ms + rules.memory_seconds * 1000)
            return changes

        if outcome is Outcome.WRONG:
            self._store.change(keys, settle)
        else:
            with contextlib.suppress(StorageError):  # what is not given back is forgotten after a while
                self._store.change(keys, settle, durable=False)
        self._prune()

    def _wait(self, keys: _Keys, found: Mapping[str, Guesses], now_ms: int, waited: float) -> float:
        """Return how long a try has to wait, 0 when it may be judged.

        Raises:
            ThrottledError: The refusals of its account and network last.
        """
        rules, failures = self._rules, self._failures(keys, found, now_ms)
        if failures:
            self._check(found[keys.pair], now_ms)
        if self._turns(keys, found, now_ms) >= max(1, rules.free_tries - failures):
            return AGAIN_SECONDS
        if keys.account not in found:
            return 0.0
        left = rules.slow_ms(found[keys.account].until_ms, now_ms) / 1000 - waited
        # Not all at once: those who are being judged may turn out right, and give their room back.
        return min(left, max(AGAIN_SECONDS, min(waited / 2, LONGEST_STEP_SECONDS))) if left > 0 else 0.0

    def _failures(self, keys: _Keys, found: Mapping[str, Guesses], now_ms: int) -> int:
        """Return the wrong tries that are not forgotten."""
        guesses = found.get(keys.pair)
        return guesses.failures if guesses is not None and guesses.expires_ms >= now_ms else 0

    def _turns(self, keys: _Keys, found: Mapping[str, Guesses], now_ms: int) -> int:
        """Return how many are being judged; what a process that was killed has left does not count for long."""
        turns = found.get(keys.turns)
        longest_ms = now_ms + TURN_SECONDS * 1000 + SKEW_MS
        return turns.failures if turns is not None and now_ms <= turns.expires_ms <= longest_ms else 0

    def _account(self, keys: _Keys, found: Mapping[str, Guesses], now_ms: int) -> Guesses:
        """Return how far the account's rate has got, at least to the present and no further than it may."""
        before = found.get(keys.account)
        if before is None or before.expires_ms < now_ms:
            return Guesses(0, now_ms, now_ms)
        furthest_ms = now_ms + self._rules.furthest_ms + self._rules.interval_ms
        return before._replace(until_ms=max(now_ms, min(before.until_ms, furthest_ms)))

    def _check(self, guesses: Guesses, now_ms: int) -> None:
        """Refuse a try while the refusals of its account and network last."""
        left = min(guesses.until_ms - now_ms, self._rules.refusal_ms(guesses.failures) + SKEW_MS)
        if left > 0:
            seconds = left / 1000
            raise ThrottledError(
                f"too many wrong pass phrases for this account from this network; try again in {seconds:.0f} seconds",
                seconds=seconds,
            )

    def _mend(self, keys: _Keys, found: Mapping[str, Guesses], now_ms: int) -> Mapping[str, Guesses]:
        """Let refusals begin anew where the clock has gone back, instead of lasting until then."""
        guesses = found.get(keys.pair)
        if guesses is None:
            return found
        longest = self._rules.refusal_ms(guesses.failures)
        if guesses.until_ms - now_ms <= longest + SKEW_MS:
            return found
        anew = Guesses(guesses.failures, now_ms + longest, now_ms + self._rules.memory_seconds * 1000)
        self._store.change((keys.pair,), lambda there: {keys.pair: anew} if there.get(keys.pair) == guesses else {})
        return {**found, keys.pair: anew}

    def _prune(self) -> None:
        """Remove now and then what may be forgotten."""
        rules, now_ms = self._rules, self._now_ms()
        if not 0 <= now_ms - self._pruned_ms < PRUNE_SECONDS * 1000:
            self._pruned_ms = now_ms
            latest = max(rules.memory_seconds * 1000, rules.furthest_ms) + rules.interval_ms + 86_400_000
            with contextlib.suppress(StorageError):  # the next one will do it
                self._store.prune(before_ms=now_ms, after_ms=now_ms + latest)

    def _now_ms(self) -> int:
        return int(self._clock().timestamp() * 1000)


def normalise(username: str) -> str:
    """Return what all spellings of a name have in common: no case, no blanks, no invisible characters, one form."""
    text = username
    for _ in range(_NORMAL_ROUNDS):
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        bare = "".join(char for char in folded if not char.isspace() and unicodedata.category(char) not in _UNSEEN)
        if bare == text:
            break
        text = bare
    return text


def network_of(address: str) -> str:
    """Return the network of an address, as text; of something else the text itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    prefix = _IPV4_PREFIX if found.version == 4 else _IPV6_PREFIX
    return str(ipaddress.ip_network((found, prefix), strict=False))


def _keys(username: str, address: str) -> _Keys:
    """Return the keys of a try."""
    name, network = normalise(username), network_of(address)
    return _Keys(_key("pair", name, network), _key("account", name), _key("turns", name, network))


def _key(*parts: str) -> str:
    encoded = (part.encode("utf-8", "surrogateescape") for part in parts)
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in encoded)).hexdigest()
