"""Tokens that may be used once: who remembers which were; the interface and a memory of one process.

guard = ReplayMemory()
guard.remember("https://vo.example.org/", "jti-1", until=exp, now=now)      # False the second time
"""

from __future__ import annotations

import heapq
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["KEPT", "MAX_REMEMBERED", "ReplayGuard", "ReplayMemory"]

KEPT: Final = timedelta(hours=1)
"""How long an ended token is remembered: as long as most live, so that a clock an hour ahead harms nobody."""

MAX_REMEMBERED: Final = 1_000_000  # tokens alive at one time: some 200 MB; a busy service sees 100 a second for an hour


class ReplayGuard(Protocol):
    """Remembers tokens until they have expired by themselves."""

    def remember(self, issuer: str, jti: str, *, until: datetime, now: datetime) -> bool:
        """Remember a token; say whether it was new. Two who ask at once are never both told so."""


class ReplayMemory:
    """Remembers in this process; services of several processes need a guard that they share.

    A clock that jumps ahead and back again makes no token new: what ended before the time up to which anything was
    forgotten may have been used, so that it is never new again. `KEPT` keeps smaller jumps from touching anybody.
    """

    def __init__(self, *, max_remembered: int = MAX_REMEMBERED) -> None:
        self._max = max_remembered
        self._lock = threading.Lock()
        self._known: set[tuple[str, str]] = set()
        self._ends: list[tuple[datetime, str, str]] = []
        self._forgotten: datetime | None = None  # what ended before may have been known

    def remember(self, issuer: str, jti: str, *, until: datetime, now: datetime) -> bool:
        """Remember a token; as for `ReplayGuard`. When the memory is full nothing is new any more: it fails closed."""
        key = (issuer, jti)
        with self._lock:
            self._forget(now - KEPT)
            if len(self._known) >= self._max:
                self._forget(now)
            if self._forgotten is not None and until < self._forgotten:
                return False
            if key in self._known or len(self._known) >= self._max:
                return False
            self._known.add(key)
            heapq.heappush(self._ends, (until, issuer, jti))
            return True

    def _forget(self, before: datetime) -> None:
        """Forget what ended before this."""
        while self._ends and self._ends[0][0] < before:
            _, *old = heapq.heappop(self._ends)
            self._known.discard((old[0], old[1]))
            self._forgotten = before  # never set back, for nothing that ended before the last one is left

    def __len__(self) -> int:
        return len(self._known)
