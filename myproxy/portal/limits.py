"""Slowing down who guesses at the portal; the rules are those of `myproxy.auth.throttle`, over the portal's own counts.

    limits = Limits(store.guesses, free_tries=4, clock=now)
    proxy = limits.judge("alice", "192.0.2.7", lambda: desk.log_on(...))     # ThrottledError
    limits.once(token, seconds=600)                                          # True the first time, on all nodes

Tries are counted by the user's network (/24, /64): for each account, which keeps a stranger from one account, and for
all accounts together, which keeps it from trying one pass phrase on many. Neither keeps a user out who is elsewhere.

The server counts as well. Where it takes the portal's word for where users are (`trusted_front_ends`), its counts are
by network, too. Elsewhere it sees the portal's address for everybody, and strangers on many networks could use up what
it allows to the account: so tries on an account from networks where its user was never seen are counted together
(`stranger`), as few as free tries, and then slowed down 30 times as much as the server slows down the portal. Users
who come from networks where they were before are held up for seconds by that; who comes from a new one may have to wait
as long as strangers guess.
"""

from __future__ import annotations

import hashlib
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

from gsi.errors import RefusedError
from myproxy.auth.base import Outcome, ThrottledError
from myproxy.auth.throttle import Guesses, GuessStore, Throttle, ThrottleRules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

__all__ = ["Limits"]

ACCOUNTS: Final = 8
"""How many times the free tries of one account a network has for all accounts together."""
LONGEST_WAIT_SECONDS: Final = 1.0
"""How long a try waits for others that are being judged before it is refused: it holds a thread meanwhile."""
WAITERS: Final = 2
"""How many tries of a process wait so; the others are refused at once."""
STRANGERS_SECONDS: Final = 60
STRANGERS_LONGEST_SECONDS: Final = 14_400
"""The first and the longest refusal of strangers: 30 and 16 times those of the server's default."""

_EVERY: Final = "every account"  # what no account's key begins with
_ANYWHERE: Final = "where its user was never seen"

T = TypeVar("T")


class Limits:
    """Lets tries be judged, or refuses them. Safe for use by several threads and processes."""

    def __init__(self, store: GuessStore, *, free_tries: int, clock: Callable[[], datetime]) -> None:
        """Choose the rules.

        Args:
            store: Where the counts rest.
            free_tries: Wrong tries on an account from a network before some are refused.
            clock: The time.
        """
        # The account's own rate is the server's business: with a wait of 0 it slows nobody down here.
        self._account = Throttle(store, ThrottleRules(free_tries=free_tries, slow_seconds=0), clock=clock)
        self._source = Throttle(store, ThrottleRules(free_tries=free_tries * ACCOUNTS, slow_seconds=0), clock=clock)
        strangers = ThrottleRules(
            free_tries=free_tries,
            first_seconds=STRANGERS_SECONDS,
            longest_seconds=STRANGERS_LONGEST_SECONDS,
            slow_seconds=0,
        )
        self._strangers = Throttle(store, strangers, clock=clock)
        self._store = store
        self._clock = clock
        self._waiters = threading.BoundedSemaphore(WAITERS)

    def judge(self, username: str, address: str, work: Callable[[], T], *, stranger: bool = False) -> T:
        """Return what the work gives; a `RefusedError` of its counts as a wrong try.

        Args:
            username: The account.
            address: Where the user is.
            work: Asks who judges.
            stranger: Whether to count the try with those of all others who were never seen there.

        Raises:
            ThrottledError: Too many were wrong; the work is not done, or its judge says so.
            Exception: What the work raises.
        """
        counts = [(self._account, f"account {username}", address)]
        if stranger:
            counts.append((self._strangers, f"account {username}", _ANYWHERE))
        return self._judge([(self._source, _EVERY, address)], counts, work)

    def judge_source(self, what: str, address: str, work: Callable[[], T]) -> T:
        """Do the same where there is no account yet: the network alone is counted, with its larger number.

        Args:
            what: What is tried.
            address: Where the user is.
            work: Asks who judges.

        Raises:
            ThrottledError: Too many were wrong; the work is not done.
            Exception: What the work raises.
        """
        return self._judge([(self._source, what, address)], [], work)

    def once(self, token: str, *, seconds: int) -> bool:
        """Say whether this is the first time that something is used, for all nodes.

        Args:
            token: What it is known by.
            seconds: How long it could be used again otherwise.

        Raises:
            StorageError: It cannot be kept, so it must not be used.
        """
        key = hashlib.sha256(f"once {token}".encode()).hexdigest()
        now_ms = int(self._clock().timestamp() * 1000)
        is_first = False

        def take(found: Mapping[str, Guesses]) -> Mapping[str, Guesses]:
            nonlocal is_first
            is_first = key not in found
            return {key: Guesses(1, 0, now_ms + seconds * 1000)} if is_first else {}

        self._store.change((key,), take)
        return is_first

    def _judge(
        self, sources: list[tuple[Throttle, str, str]], counts: list[tuple[Throttle, str, str]], work: Callable[[], T]
    ) -> T:
        outcome = Outcome.UNJUDGED
        admitted: list[tuple[Throttle, str, str]] = []
        try:
            for one in sources + counts:
                self._admit(*one)
                admitted.append(one)
            try:
                result = work()
                outcome = Outcome.RIGHT
            except RefusedError:
                outcome = Outcome.WRONG
                raise
        finally:
            for one in reversed(admitted):
                # A right one on an account of one's own must not buy more tries on the accounts of others.
                forgives = one in counts or outcome is Outcome.WRONG
                one[0].report(*one[1:], outcome if forgives else Outcome.UNJUDGED)
        return result

    def _admit(self, throttle: Throttle, username: str, address: str) -> None:
        waited = 0.0
        waits = False
        try:
            while (seconds := throttle.admit(username, address, waited=waited)) > 0:
                waits = waits or self._waiters.acquire(blocking=False)
                if not waits or waited + seconds > LONGEST_WAIT_SECONDS:
                    raise ThrottledError("too many tries at once; try again in a moment", seconds=1.0)
                time.sleep(seconds)
                waited += seconds
        finally:
            if waits:
                self._waiters.release()
