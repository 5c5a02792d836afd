"""RSA keys made while nobody waits: a logon takes one, a download another, and each takes longer than all the rest.

    pool = KeyPool(lambda: generate_key(KeyType.RSA), size=24)
    key = pool.take()                            # from the pool, or made at once when it is empty

A key leaves the pool once and for good. The thread that fills it is the last in line for the processor, and waits while
keys are being taken, since a key costs as much as all else of a logon: the pool is for a rush, and filled after it.
Only when it is nearly empty it is filled at once. Not for use across a fork: each worker makes its own.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.keys import PrivateKey

__all__ = ["KeyPool"]

NICE: Final = 19
QUIET_SECONDS: Final = 0.5
"""A rush is over when no key was taken for so long."""
LOW: Final = 4
"""With less than this part of its size left, the pool is filled whatever goes on."""


class KeyPool:
    """A few keys in advance. Safe for use by several threads."""

    def __init__(
        self,
        make: Callable[[], PrivateKey],
        *,
        size: int,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begin to fill at once.

        Args:
            make: Makes a key.
            size: How many are kept.
            monotonic: The time.
            sleep: Waits.
        """
        self._make = make
        self._size = size
        self._keys: deque[PrivateKey] = deque()
        self._wanted = threading.Semaphore(size)
        self._monotonic = monotonic
        self._sleep = sleep
        self._taken = -QUIET_SECONDS
        threading.Thread(target=self._fill, name="keys", daemon=True).start()

    def take(self) -> PrivateKey:
        """Return a key that nobody else has."""
        self._taken = self._monotonic()
        try:
            key = self._keys.popleft()
        except IndexError:
            return self._make()
        self._wanted.release()
        return key

    def _fill(self) -> None:
        with contextlib.suppress(OSError):  # on Linux a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while True:
            self._wanted.acquire()
            while self._is_rush():
                self._sleep(QUIET_SECONDS)
            self._keys.append(self._make())

    def _is_rush(self) -> bool:
        return len(self._keys) * LOW >= self._size and self._monotonic() - self._taken < QUIET_SECONDS
