"""Few log lines per source: a flood of refused connections must not fill the disk with its log; not whom to refuse.

    thinner = LineThinner(lambda summary: log.warning("%s", summary))
    if thinner.admit(source, error.slug):
        log.info(...)

The first `BURST` lines about a source in a window are written as they come; what follows until the window ends is only
counted, and told in one line then. Belongs to one event loop: call it in no other thread.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BURST", "WINDOW_SECONDS", "LineThinner"]

BURST: Final = 20
"""Lines per source and window: more tell an administrator nothing new, and portals have bad days, too."""

WINDOW_SECONDS: Final = 60.0

MAX_SOURCES: Final = 4096
"""Sources that are told apart within a window; those beyond share one place."""

OTHERS: Final = "other sources"


class _Window:
    """What one source has brought since the window began."""

    __slots__ = ("admitted", "counts", "timer")

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.admitted = 0
        self.counts: Counter[str] = Counter()
        self.timer = timer


class LineThinner:
    """Says which lines are to be written, and tells later how many were not."""

    def __init__(self, summarize: Callable[[str], None]) -> None:
        """Give summaries to a function."""
        self._summarize = summarize
        self._windows: dict[str, _Window] = {}

    def admit(self, source: str, kind: str) -> bool:
        """Say whether a line is to be written; count it where not.

        Args:
            source: What counts as one source.
            kind: What the line is about, for the summary.
        """
        if source not in self._windows and len(self._windows) >= MAX_SOURCES:
            source = OTHERS
        window = self._windows.get(source)
        if window is None:
            timer = asyncio.get_running_loop().call_later(WINDOW_SECONDS, self._end, source)
            window = self._windows[source] = _Window(timer)
        if window.admitted < BURST:
            window.admitted += 1
            return True
        window.counts[kind] += 1
        return False

    def close(self) -> None:
        """Tell what was only counted so far."""
        for source in list(self._windows):
            self._windows[source].timer.cancel()
            self._end(source)

    def _end(self, source: str) -> None:
        counts = self._windows.pop(source).counts
        if counts:
            kinds = ", ".join(f"{number} {kind}" for kind, number in counts.most_common())
            self._summarize(f"{source}: {counts.total()} more refusals within {WINDOW_SECONDS:g} seconds: {kinds}")
