"""gsi.tokens.keys: JWK sets."""

from __future__ import annotations

from typing import Final

from gsi.tokens.keys import parse_key_set
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _parse(data: bytes) -> None:
    found = parse_key_set(data)
    assert all(kid == key.kid and not key.algorithm.startswith(("HS", "none")) for kid, key in found.keys.items())


TARGET: Final[Target] = each(_parse)
