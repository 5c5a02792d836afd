"""How many questions a backend may be asked at once, so that one that hangs does not stop the pages; asks nobody.

    gate = Gate("the MyProxy server", slots=8)
    with gate.take(network_of(address)):        # BusyBackendError: no room, and none soon
        ask()

A question holds a thread until it is answered. There are fewer slots than threads, so that pages that ask nobody have
some. Who finds no slot waits while the backend answers, and not at all from the moment on that one of its answers is
overdue, until one has come in time. One asker, a network or a user, holds hardly more than it leaves free: about half
of the slots, where it is alone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from gsi.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["BusyBackendError", "Gate"]

PATIENCE_SECONDS: Final = 10.0
"""How long a question waits for a slot while the backend answers: a rush of many, on a machine that is busy."""
OVERDUE_SECONDS: Final = 5.0
"""After how long without an answer nobody waits for a slot any more."""


class BusyBackendError(TransportError):
    """A question that was not asked, because too many are open."""


class Gate:
    """Slots for the questions to one backend. Safe for use by several threads."""

    def __init__(self, name: str, *, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with all slots free.

        Args:
            name: What the backend is called in the log.
            slots: How many questions may be open at once; at least two, or no asker could be alone.
            clock: Seconds that never go back.
        """
        self._name = name
        self._free = max(2, slots)
        self._answers = True
        self._clock = clock
        self._changed = threading.Condition()
        self._held: Counter[str] = Counter()
        self._begun: dict[object, float] = {}

    @contextlib.contextmanager
    def take(self, asker: str) -> Iterator[None]:
        """Hold a slot.

        Args:
            asker: For whom: a network, or a user.

        Raises:
            BusyBackendError: There is none.
        """
        question = object()
        with self._changed:
            self._wait(asker)
            self._held[asker] += 1
            self._free -= 1
            self._begun[question] = self._clock()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._answers = self._clock() - self._begun[question] < OVERDUE_SECONDS
                self._held[asker] -= 1
                if not self._held[asker]:
                    del self._held[asker]
                del self._begun[question]
                self._changed.notify_all()

    def _wait(self, asker: str) -> None:
        deadline = self._clock() + PATIENCE_SECONDS
        while not self._free or self._held[asker] > self._free:
            overdue = min(self._begun.values()) + OVERDUE_SECONDS
            self._answers = self._answers and self._clock() < overdue
            left = min(deadline, overdue) - self._clock()
            if left <= 0 or not self._answers:
                raise BusyBackendError(f"too many questions to {self._name} are open")
            self._changed.wait(left)
