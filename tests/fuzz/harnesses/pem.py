"""gsi.pem: blocks of a file, their headers, and each written again."""

from __future__ import annotations

from typing import Final

from gsi.pem import encode_pem, split_pem
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _split(data: bytes) -> None:
    for block in split_pem(data, what="fuzz"):
        (again,) = split_pem(encode_pem(block.label, block.data), what="fuzz")
        assert (again.label, again.data) == (block.label, block.data)


TARGET: Final[Target] = each(_split)
