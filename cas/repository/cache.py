"""Answers of one state of the policy, kept for as long as that is the state; asks nothing.

    found = cache.get(revision, key)
    cache.put(revision, {key: found})

Every change moves the revision on, whichever node makes it, and every reading asks for the revision first. So an answer
is as good as a new one, and the whole of them is thrown away when the revision moves. What is kept is what a policy
says, never what it means at some time to some peer.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

__all__ = ["MAX_ENTRIES", "MAX_KEPT_STATEMENTS", "ViewCache"]

MAX_ENTRIES: Final = 8192
"""How many answers are kept: those about two thousand people, some tens of megabytes."""

MAX_KEPT_STATEMENTS: Final = 128
"""The longest list of statements that is kept: most people have fewer, and 8192 longer ones would fill a gigabyte."""


class ViewCache:
    """Answers of the newest state that was seen. Safe for use by several threads."""

    def __init__(self, size: int = MAX_ENTRIES) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._revision = -1
        self._entries: dict[Hashable, object] = {}

    def get(self, revision: int, key: Hashable) -> object | None:
        """Return an answer of a state, or None."""
        with self._lock:
            return self._entries.get(key) if revision == self._revision else None

    def put(self, revision: int, answers: Mapping[Hashable, object]) -> None:
        """Keep answers of a state, unless a newer one was seen."""
        with self._lock:
            if revision > self._revision:
                self._revision, self._entries = revision, {}
            if revision == self._revision:
                self._entries.update(answers)
                while len(self._entries) > self._size:
                    del self._entries[next(iter(self._entries))]
