"""gsi.ca.index: OpenSSL's list of what a CA has issued; what is read is written back."""

from __future__ import annotations

from typing import Final

from gsi.ca.index import encode_index, parse_index
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _parse(data: bytes) -> None:
    index = parse_index(data)
    assert parse_index(encode_index(index)) == index


TARGET: Final[Target] = each(_parse)
