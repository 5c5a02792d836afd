"""Who asks too often: a bucket of tokens for each identity; knows nothing of requests.

cap = RateCap(per_minute=600)
wait = cap.admit("/O=Grid/CN=Alice", time.monotonic())           # 0, or seconds to wait
"""

from __future__ import annotations

import threading
from typing import Final

__all__ = ["RateCap"]

MAX_KNOWN: Final = 65_536
"""Identities that are remembered; beyond it the fullest buckets are forgotten, which costs their owners nothing."""


class RateCap:
    """Counts requests. Safe for several threads.

    Args:
        per_minute: How many one identity may make; as many at once after a minute's rest.
    """

    def __init__(self, per_minute: float) -> None:
        self._burst = max(1.0, per_minute)
        self._rate = per_minute / 60.0
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def admit(self, who: str, moment: float) -> float:
        """Return 0 where the request is admitted, else the seconds after which the next one is.

        Args:
            who: The identity.
            moment: Seconds of a clock that never goes back.
        """
        with self._lock:
            left, before = self._left.get(who, (self._burst, moment))
            left = min(self._burst, left + (moment - before) * self._rate)
            if left < 1.0:
                self._left[who] = (left, moment)
                return (1.0 - left) / self._rate
            if len(self._left) >= MAX_KNOWN and who not in self._left:
                self._forget(moment)
            self._left[who] = (left - 1.0, moment)
            return 0.0

    def _forget(self, moment: float) -> None:
        """Forget those who have all their tokens again, or else the half that has most."""
        full = [one for one, (left, at) in self._left.items() if left + (moment - at) * self._rate >= self._burst]
        if not full:
            ranked = sorted(self._left, key=lambda one: self._left[one][0], reverse=True)
            full = ranked[: len(ranked) // 2]
        for one in full:
            del self._left[one]
