"""The rule of every harness: whatever the bytes, a decoder returns or raises a GridError; nothing else.

    TARGET = each(ProxyCertInfo.parse, parse_gt3)
    TARGET = text_of(each(names.parse_oneline))

Any other exception leaves the harness and is a finding, as are a second of time and 50 MB of memory (`tests.fuzz.run`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TypeAlias, TypeVar

from gsi.errors import GridError

__all__ = ["Target", "each", "lowered", "text_of"]

_T = TypeVar("_T")
Target: TypeAlias = Callable[[bytes], None]
"""What a harness offers as `TARGET`."""


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
