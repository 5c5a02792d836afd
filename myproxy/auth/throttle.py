"""Slowing down who guesses pass phrases, on all servers together; not what a guess is (`myproxy.auth.attempt`).

    limiter = Throttle(store, ThrottleRules(), clock=now)
    seconds = limiter.admit("alice", "192.0.2.7", waited=0)     # ThrottledError, or how long to wait first
    limiter.report("alice", "192.0.2.7", right=False)

Two counts are kept. The first belongs to an account *and* a network (/24, or /64): after `free_tries` wrong ones each
further one doubles the time in which tries from there are refused unjudged, up to `longest_seconds`. A right one ends
that. The second belongs to the account alone and counts wrong tries from everywhere: beyond a rate, a try is judged
only after a wait of up to `slow_seconds`. It never refuses, so that strangers elsewhere cannot lock a user out.

A refused try changes nothing, so whoever keeps trying blindly is not locked out for longer. Names are compared after
Unicode normalisation and without case and blanks, because directories take such spellings for the same account.

A right try writes nothing unless wrong ones came before it. So that many guesses at once do not all pass before the
first is counted, only so many of one account and network are judged at once in a process as it has free tries left.

A clock that jumps back finds times in the future: a wait is never longer than the rule that made it allows, seen from
now, and what lies beyond is written anew from now. One that jumps forward ends waits early.
"""

from __future__ import annotations

import hashlib
import ipaddress
import threading
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gsi.errors import ConfigError
from myproxy.auth.base import ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

__all__ = ["GuessStore", "Guesses", "Throttle", "ThrottleRules", "network_of", "normalise"]

AGAIN_SECONDS: Final = 0.05
"""When a try that found too many others being judged asks again: a few derivations later."""
PRUNE_SECONDS: Final = 300
"""How often a process removes what may be forgotten."""
SKEW_MS: Final = 2_000
"""How far the clocks of two servers may be apart before a time is taken for one of another age."""
_IPV4_PREFIX: Final = 24
_IPV6_PREFIX: Final = 64
_MAX_DOUBLINGS: Final = 40
_NORMAL_ROUNDS: Final = 4  # what is taken out may leave characters side by side that make one
_UNSEEN: Final = frozenset({"Cf", "Cc", "Mn"})


@dataclass(frozen=True, slots=True)
class Guesses:
    """What is kept under one key.

    Attributes:
        failures: Wrong tries.
        until_ms: Unix milliseconds: the end of the refusals, or for an account where its rate has got to.
        expires_ms: When the row may be forgotten.
    """

    failures: int
    until_ms: int
    expires_ms: int


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

    def change(self, keys: Sequence[str], change: Callable[[str, Guesses | None], Guesses]) -> Mapping[str, Guesses]:
        """Replace what is kept under each key by what `change` makes of it, in one transaction; nobody gets between.

        Raises:
            StorageError: The store cannot be written; nothing was changed.
        """
        ...

    def forget(self, keys: Iterable[str]) -> None:
        """Remove keys; StorageError when the store cannot be written."""
        ...

    def prune(self, *, before_ms: int, after_ms: int) -> int:
        """Remove what expires before the one moment or after the other; return how many.

        Raises:
            StorageError: The store cannot be written; nothing was changed.
        """
        ...


@dataclass(slots=True)
class _Running:
    """Tries on one account from one network that are being judged in this process."""

    count: int = 0
    counted: bool = False  # whether there are wrong ones before them


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
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._pruned_ms = 0

    def admit(self, username: str, address: str, *, waited: float) -> float:
        """See `Limiter.admit`."""
        pair, account = _keys(username, address)
        rules = self._rules
        with self._lock:
            running = self._running.setdefault(pair, _Running())
            if running.count >= rules.free_tries:
                return AGAIN_SECONDS
            running.count += 1  # a place is taken before the store is asked, so that it can be asked without the lock
        admitted = False
        try:
            found = self._store.read((pair, account))
            now_ms = self._now_ms()
            guesses = found.get(pair)
            if guesses is not None and guesses.expires_ms >= now_ms:
                self._check(pair, guesses, now_ms)
                with self._lock:
                    running.counted = True
                    if running.count > max(1, rules.free_tries - guesses.failures):
                        return AGAIN_SECONDS
            if account in found:
                slow = rules.slow_ms(found[account].until_ms, now_ms) / 1000
                if slow > waited:
                    return slow - waited
            admitted = True
        finally:
            if not admitted:
                self._leave(pair)
        return 0.0

    def report(self, username: str, address: str, *, right: bool | None) -> None:
        """See `Limiter.report`."""
        pair, account = _keys(username, address)
        try:
            if right is False:
                with self._lock:
                    if pair in self._running:
                        self._running[pair].counted = True
                self._count(pair, account)
            elif right:
                with self._lock:
                    counted = pair in self._running and self._running[pair].counted
                if counted:
                    self._store.forget((pair,))
        finally:
            self._leave(pair)

    def _check(self, pair: str, guesses: Guesses, now_ms: int) -> None:
        """Refuse a try while the refusals of its account and network last."""
        longest = self._rules.refusal_ms(guesses.failures)
        left = guesses.until_ms - now_ms
        if left > longest + SKEW_MS:  # the clock has gone back: the wait begins anew instead of lasting until then
            left = longest
            now_guesses = Guesses(guesses.failures, now_ms + longest, now_ms + self._rules.memory_seconds * 1000)
            self._store.change((pair,), lambda _key, found: now_guesses if found == guesses else found or now_guesses)
        if left > 0:
            seconds = left / 1000
            raise ThrottledError(
                f"too many wrong pass phrases for this account from this network; try again in {seconds:.0f} seconds",
                seconds=seconds,
            )

    def _count(self, pair: str, account: str) -> None:
        """Count a wrong try under both keys."""
        rules, now_ms = self._rules, self._now_ms()

        def count(key: str, found: Guesses | None) -> Guesses:
            before = found if found is not None and found.expires_ms >= now_ms else Guesses(0, 0, 0)
            failures = before.failures + 1
            if key == account:
                reached = max(now_ms, min(before.until_ms, now_ms + rules.furthest_ms))
                until_ms = reached + rules.interval_ms
                return Guesses(failures, until_ms, until_ms)
            until_ms = now_ms + rules.refusal_ms(failures)
            return Guesses(failures, until_ms, now_ms + rules.memory_seconds * 1000)

        self._store.change((pair, account), count)
        if not 0 <= now_ms - self._pruned_ms < PRUNE_SECONDS * 1000:
            self._pruned_ms = now_ms
            latest = max(rules.memory_seconds * 1000, rules.furthest_ms) + rules.interval_ms + 86_400_000
            self._store.prune(before_ms=now_ms, after_ms=now_ms + latest)

    def _leave(self, pair: str) -> None:
        with self._lock:
            running = self._running.get(pair)
            if running is not None:
                running.count -= 1
                if running.count <= 0:
                    del self._running[pair]

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


def _keys(username: str, address: str) -> tuple[str, str]:
    """Return the keys of account and network together, and of the account alone."""
    name = normalise(username)
    return _key("pair", name, network_of(address)), _key("account", name)


def _key(*parts: str) -> str:
    encoded = (part.encode("utf-8", "surrogateescape") for part in parts)
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in encoded)).hexdigest()
