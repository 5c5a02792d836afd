"""Slowing down who guesses at the portal; the rules are those of `myproxy.auth.throttle`, over the portal's own counts.

    limits = Limits(store.guesses, free_tries=4, clock=now)
    proxy = limits.judge("alice", "192.0.2.7", lambda: desk.log_on(...))     # ThrottledError

The server sees one address for all users of the portal. So tries are counted here by the user's own network, for each
account and for all accounts together: the first keeps a stranger from one account, the second from trying one pass
phrase on many. Neither locks a user out who comes from elsewhere.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

from gsi.errors import RefusedError
from myproxy.auth.base import Outcome, ThrottledError
from myproxy.auth.throttle import GuessStore, Throttle, ThrottleRules

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["Limits"]

ACCOUNTS: Final = 8
"""How many times the free tries of one account a network has for all accounts together."""
LONGEST_WAIT_SECONDS: Final = 5.0
"""How long a try waits for others that are being judged before it is refused."""

_EVERY: Final = "every account"  # what no account's key begins with

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

    def judge(self, username: str, address: str, work: Callable[[], T]) -> T:
        """Return what the work gives; a `RefusedError` of its counts as a wrong try.

        Args:
            username: The account.
            address: Where the user is.
            work: Asks who judges.

        Raises:
            ThrottledError: Too many were wrong; the work is not done.
            Exception: What the work raises.
        """
        account = f"account {username}"
        _admit(self._source, _EVERY, address)
        outcome = Outcome.UNJUDGED
        try:
            _admit(self._account, account, address)
            try:
                result = work()
                outcome = Outcome.RIGHT
            except RefusedError:
                outcome = Outcome.WRONG
                raise
            finally:
                self._account.report(account, address, outcome)
        finally:
            # A right one on an account of one's own must not buy more tries on the accounts of others.
            self._source.report(_EVERY, address, Outcome.WRONG if outcome is Outcome.WRONG else Outcome.UNJUDGED)
        return result


def _admit(throttle: Throttle, username: str, address: str) -> None:
    waited = 0.0
    while (seconds := throttle.admit(username, address, waited=waited)) > 0:
        if waited + seconds > LONGEST_WAIT_SECONDS:
            raise ThrottledError("too many tries at once; try again in a moment", seconds=1.0)
        time.sleep(seconds)
        waited += seconds
