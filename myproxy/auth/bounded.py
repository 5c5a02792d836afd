"""How many outside judges are asked at once, so that slow ones never take all of a server's threads; no judge itself.

    slots = Slots(96)
    with slots.take(network_of(address)):       # BusyError: there is none for this network
        method.check(username, passphrase)

A judge that waits for a network or sleeps after a wrong password holds a thread meanwhile. There are fewer slots than
threads; who finds none is refused at once, instead of waiting in a thread. A network takes no more than it leaves free:
the first one gets a half, the next a half of what is left, so that whoever comes from elsewhere finds one.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import TYPE_CHECKING

from myproxy.auth.base import BusyError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Slots"]


class Slots:
    """A number of questions that may be open at once. Safe for use by several threads."""

    def __init__(self, count: int) -> None:
        """Begin with all of them free.

        Args:
            count: How many there are.
        """
        self._lock = threading.Lock()
        self._free = count
        self._held: Counter[str] = Counter()

    @contextlib.contextmanager
    def take(self, network: str) -> Iterator[None]:
        """Hold a slot.

        Args:
            network: For whom, as `myproxy.auth.throttle.network_of` names it.

        Raises:
            BusyError: There is none for this network.
        """
        with self._lock:
            if self._held[network] >= self._free:
                raise BusyError
            self._held[network] += 1
            self._free -= 1
        try:
            yield
        finally:
            with self._lock:
                self._free += 1
                self._held[network] -= 1
                if not self._held[network]:
                    del self._held[network]
