"""gsi.der: bounds, the reader over everything nested, pyasn1 behind the bounds."""

from __future__ import annotations

import contextlib
from typing import Final

from pyasn1.type import univ

from gsi import der
from gsi.errors import GridError
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

_WHAT: Final = "fuzz"
_READS: Final = (
    der.Reader.integer,
    der.Reader.oid,
    der.Reader.boolean,
    der.Reader.bit_string,
    der.Reader.octet_string,
    der.Reader.take_any,
)


def _walk(data: bytes) -> None:
    """Read every value in every way, and go into the constructed ones."""
    todo = [(data, 0)]
    while todo:
        content, depth = todo.pop()
        reader = der.Reader(content, what=_WHAT)
        while not reader.at_end():
            tag, inner, whole = reader.take_any()
            if tag & 0x20 and depth < der.MAX_DEPTH:
                todo.append((inner, depth + 1))
            for read in _READS:
                with contextlib.suppress(GridError):
                    read(der.Reader(whole, what=_WHAT))


TARGET: Final[Target] = each(
    lambda data: der.check_bounds(data, what=_WHAT),
    lambda data: der.object_length(data, what=_WHAT),
    _walk,
    lambda data: der.decode(data, univ.Sequence(), what=_WHAT),
)
