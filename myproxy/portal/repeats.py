"""Refusals that only repeat an earlier one: written down once in a while with their number, lest they fill the disk.

repeats = Repeats()
left_out = repeats.look(network_of(address), now)        # None: not again; else how many were not written down
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Repeats"]

EVERY: Final = timedelta(seconds=10)
MAX_SOURCES: Final = 4096
"""Known at a time; the one that was told longest ago is forgotten for a new one."""


class Repeats:
    """Counts by source. Safe for use by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: OrderedDict[str, tuple[datetime, int]] = OrderedDict()

    def look(self, source: str, now: datetime) -> int | None:
        """Count a refusal; return how many were left out since the last one, or None to leave out this one.

        Args:
            source: Where it comes from.
            now: The time.
        """
        with self._lock:
            since, left_out = self._told.get(source, (None, 0))
            if since is not None and timedelta(0) <= now - since < EVERY:
                self._told[source] = (since, left_out + 1)
                return None
            self._told[source] = (now, 0)
            self._told.move_to_end(source)
            if len(self._told) > MAX_SOURCES:
                self._told.popitem(last=False)
            return left_out
