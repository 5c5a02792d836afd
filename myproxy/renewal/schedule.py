"""When a credential is renewed, tried again and warned of: arithmetic on its lifetime; reads neither clock nor file.

    due = renewal_time(life, "alice")                       # about half of its life
    again = retry_time(life, "alice", failures=3, now=now)
    state = judge(life, failures=3, now=now, warn=None)

The jitter comes from the entry's name and the certificate, not from chance. So the times need not be stored: the same
file gives the same times after a restart or a reload, and on a second machine.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

__all__ = ["FIRST_RETRY", "JITTER", "LAST_RETRY", "Life", "State", "judge", "renewal_time", "retry_time"]

JITTER: Final = 0.05
"""How far from the half of its life a credential is renewed, as a part of the life: a tenth for all together, so that
ten thousand proxies of twelve hours that were made at once come back over more than an hour."""
FIRST_RETRY: Final = timedelta(seconds=30)
LAST_RETRY: Final = timedelta(hours=1)
_SHORTEST_RETRY: Final = timedelta(seconds=5)
_PARTS_LEFT: Final = 8
"""However long the back-off has grown, the next try comes before this part of what is left has passed."""
_WARN_PART: Final = 4
"""Without a time to warn at, it is when a quarter of the life is left."""


class State(StrEnum):
    """How an entry is."""

    OK = "ok"
    FAILING = "failing"
    """A renewal has failed, and there is time."""
    EXPIRING = "expiring"
    """Renewals have failed, and the end is near."""
    EXPIRED = "expired"
    MISSING = "missing"
    """There is no file."""
    UNREADABLE = "unreadable"
    """There is a file, and nothing is done with it: unsafe, or no credential."""


class Life(NamedTuple):
    """When a credential is valid.

    Attributes:
        not_before: From when on, aware UTC.
        not_after: Until when.
        fingerprint: SHA-256 of the leaf, in hexadecimal.
    """

    not_before: datetime
    not_after: datetime
    fingerprint: str

    @property
    def span(self) -> timedelta:
        """The whole of it."""
        return max(self.not_after - self.not_before, timedelta(0))


def renewal_time(life: Life, name: str) -> datetime:
    """Return when to renew: between 45 and 55 hundredths of the life."""
    return life.not_before + life.span * (0.5 - JITTER + 2 * JITTER * _part(name, life.fingerprint))


def retry_time(life: Life | None, name: str, *, failures: int, now: datetime) -> datetime:
    """Return when to try again after so many failures in a row.

    The time doubles from half a minute to an hour, less up to a quarter of it, and is never more than an eighth of what
    is left of the life.
    """
    wait = min(FIRST_RETRY * (1 << min(max(failures - 1, 0), 16)), LAST_RETRY)
    wait *= 0.75 + 0.25 * _part(name, str(failures), "" if life is None else life.fingerprint)
    if life is not None and life.not_after > now:
        wait = min(wait, (life.not_after - now) / _PARTS_LEFT)
    return now + max(wait, _SHORTEST_RETRY)


def judge(life: Life, *, failures: int, now: datetime, warn: timedelta | None) -> State:
    """Return how a credential is.

    Args:
        life: When it is valid.
        failures: How many renewals in a row have failed.
        now: Aware UTC.
        warn: How long before its end that is worth telling; None is a quarter of its life.
    """
    if now >= life.not_after:
        return State.EXPIRED
    if not failures:
        return State.OK
    return (
        State.EXPIRING if now >= life.not_after - (life.span / _WARN_PART if warn is None else warn) else State.FAILING
    )


def _part(*words: str) -> float:
    """Return a number from 0 up to 1 that the words decide."""
    digest = hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / (1 << 64)
