"""Asking the C library to keep less memory back; works without where it cannot be asked.

limit_arenas()          # once, in a process with many threads
"""

from __future__ import annotations

import contextlib
from typing import Final

__all__ = ["limit_arenas"]

_M_ARENA_MAX: Final = -8  # mallopt(3)
ARENAS: Final = 2
"""With one for each thread, as glibc does it, each keeps the megabytes of a derivation long after its thread needed
them; threads of Python rarely allocate at the same time."""


def limit_arenas() -> None:
    """Have all threads share `ARENAS` heaps. Only for threads that allocate for the first time afterwards."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # musl and others have no arenas
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)
