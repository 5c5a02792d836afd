"""How long a refusal takes: as long as most others, whoever refuses and whether anybody was asked; no decisions.

    started = pace.start()
    ...                             # judges are asked, or nobody is
    pace.note(started)              # of a try that was judged and is refused
    seconds = pace.rest(started)    # how long the client has still to wait for its no

A try that is not judged at all would be refused at once, one that asks a distant judge late, and the difference would
tell a stranger which accounts exist. So all wait until the moment that nine in ten of the last judged refusals have
reached. The wait costs nothing: no thread and no processor.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LONGEST_SECONDS", "Pace"]

LONGEST_SECONDS: Final = 10.0
"""No refusal is held back longer, whatever the judges need: the client holds a connection meanwhile."""
REMEMBERED: Final = 64
"""Durations that count: enough for a tenth to mean something, few enough to follow the load within seconds."""
FIRST_SECONDS: Final = 0.05
"""Before anything is known: a derivation or two."""


class Pace:
    """The durations of the last refusals. Safe for use by several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with no experience.

        Args:
            clock: Seconds that never go back.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._durations: deque[float] = deque(maxlen=REMEMBERED)
        self._target = FIRST_SECONDS

    def start(self) -> float:
        """Return the present moment, for the other two."""
        return self._clock()

    def note(self, started: float) -> None:
        """Take note of how long a judged try took that is now refused."""
        with self._lock:
            self._durations.append(self._clock() - started)
            ordered = sorted(self._durations)
            self._target = min(ordered[len(ordered) * 9 // 10], LONGEST_SECONDS)

    def rest(self, started: float) -> float:
        """Return the seconds until a try that began then is to be refused; 0 when that is past."""
        return max(0.0, self._target - (self._clock() - started))
