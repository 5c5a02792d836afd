"""gsi.der: bounds, the reader over everything nested, pyasn1 behind the bounds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from pyasn1.type import univ

from gsi import der
from gsi.errors import GridError
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

_WHAT: Final = "fuzz"
_READS: Final[dict[int, Callable[[der.Reader], object]]] = {
    der.INTEGER: der.Reader.integer,
    der.OID: der.Reader.oid,
    der.BOOLEAN: der.Reader.boolean,
    der.BIT_STRING: der.Reader.bit_string,
    der.OCTET_STRING: der.Reader.octet_string,
}


def _walk(data: bytes) -> None:
    """Read every value as what its tag says, or else as a wrong type, and go into the constructed ones."""
    todo = [(data, 0)]
    while todo:
        content, depth = todo.pop()
        reader = der.Reader(content, what=_WHAT)
        while not reader.at_end():
            tag, inner, whole = reader.take_any()
            if tag & 0x20 and depth < der.MAX_DEPTH:
                todo.append((inner, depth + 1))
            with contextlib.suppress(GridError):
                _READS.get(tag, der.Reader.integer)(der.Reader(whole, what=_WHAT))


TARGET: Final[Target] = each(
    lambda data: der.check_bounds(data, what=_WHAT),
    lambda data: der.object_length(data, what=_WHAT),
    _walk,
    lambda data: der.decode(data, univ.Sequence(), what=_WHAT),
)
