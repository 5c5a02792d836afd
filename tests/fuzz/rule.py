"""The rule of every harness: whatever the bytes, a decoder returns or raises a GridError; nothing else.

    TARGET = each(ProxyCertInfo.parse, parse_gt3)
    TARGET = text_of(each(names.parse_oneline))

Any other exception leaves the harness and is a finding, as are a second of time and 50 MB of memory (`tests.fuzz.run`).
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Final, TypeAlias, TypeVar

from gsi.errors import GridError

__all__ = ["MAX_MEGABYTES", "Target", "TooMuchMemoryError", "each", "lowered", "text_of", "watched"]

MAX_MEGABYTES: Final = 50
"""What one input may take beyond what the process has."""

_T = TypeVar("_T")
Target: TypeAlias = Callable[[bytes], None]
"""What a harness offers as `TARGET`."""


class TooMuchMemoryError(Exception):
    """One input took more memory than it may; no GridError, so that no decoder can be thought to have raised it."""


def watched(target: Target) -> Target:
    """Return a harness that fails on the very input that takes too much memory.

    libFuzzer looks at the memory once a second and misses what comes and goes between. The kernel's high-water mark
    misses nothing: whenever an input has raised it, the distance to what is left in use is what that input needed.
    """

    high_water = _own_kilobytes if _usage_kilobytes() > _own_kilobytes() else _usage_kilobytes

    def run(data: bytes) -> None:
        before = high_water()
        target(data)
        peak = high_water()
        if peak > before and (needed := peak - _resident_kilobytes()) > MAX_MEGABYTES << 10:
            raise TooMuchMemoryError(f"one input of {len(data)} bytes took {needed >> 10} MB")

    return run


def _usage_kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _own_kilobytes() -> int:
    """Return the mark of this program alone; the quicker way counts what forked it, too, until that is exceeded."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def _resident_kilobytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        pages = int(statm.read().split()[1])
    return pages * (resource.getpagesize() >> 10)


def each(*readers: Callable[[_T], object]) -> Callable[[_T], None]:
    """Return a function that gives its argument to every reader and lets only foreign exceptions through."""

    def run(value: _T) -> None:
        for reader in readers:
            try:
                reader(value)
            except GridError as error:
                str(error)

    return run


def text_of(target: Callable[[str], None]) -> Target:
    """Return a harness for bytes around one for text: UTF-8, any other byte as the lone surrogate of a file name."""
    return lambda data: target(data.decode("utf-8", "surrogateescape"))


def lowered(module: ModuleType, bounds: Mapping[str, int], target: Target) -> Target:
    """Return a harness that runs with smaller limits in a module, and puts back what was there."""

    def run(data: bytes) -> None:
        before = {name: getattr(module, name) for name in bounds}
        vars(module).update(bounds)
        try:
            target(data)
        finally:
            vars(module).update(before)

    return run
