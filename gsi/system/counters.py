"""Numbers that several processes count and each can sum up: one piece of memory shared over fork; not what they mean.

    counters = SharedCounters(names, processes=4)       # before the workers are forked
    counters.use(2)                                     # in the third worker
    counters.add("requests"), counters.put("open", 7)
    counters.total("requests"), counters.each("beat")   # in any of them

Each process writes only its own row, so that no lock is shared which a killed process could keep; one that replaces it
goes on with the row. Counting takes a microsecond.
"""

from __future__ import annotations

import mmap
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SharedCounters"]

_BYTES = 8


class SharedCounters:
    """A table of numbers: a row for each process, a column for each name. Safe for use by several threads."""

    def __init__(self, names: Sequence[str], *, processes: int) -> None:
        """Make a table of zeros, to be shared by all processes forked later.

        Args:
            names: The columns.
            processes: How many rows.
        """
        self._columns = {name: number for number, name in enumerate(names)}
        self._width = len(names)
        self._processes = processes
        self._memory = mmap.mmap(-1, max(1, self._width * processes) * _BYTES)
        self._values = memoryview(self._memory).cast("d")
        self._lock = threading.Lock()
        self._base = 0

    def use(self, row: int) -> None:
        """Make a row this process's own. Row 0 is it before."""
        if not 0 <= row < self._processes:
            raise ValueError(f"there is no row {row}")
        self._base = row * self._width
        self._lock = threading.Lock()  # that of the parent may have been held by one of its threads

    @property
    def row(self) -> int:
        """The row that is this process's own."""
        return self._base // self._width

    def add(self, name: str, amount: float = 1.0) -> None:
        """Add to this process's number."""
        place = self._base + self._columns[name]
        with self._lock:
            self._values[place] += amount

    def put(self, name: str, value: float) -> None:
        """Set this process's number."""
        self._values[self._base + self._columns[name]] = value

    def total(self, name: str) -> float:
        """Return the sum over all processes."""
        return float(sum(self.each(name)))

    def each(self, name: str) -> list[float]:
        """Return the number of each process, by row."""
        column = self._columns[name]
        return [self._values[row * self._width + column] for row in range(self._processes)]
