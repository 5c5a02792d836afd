"""gsi.keys: private keys in every unlocked form, and public keys."""

from __future__ import annotations

import functools
from typing import Final

from gsi.keys import check_public_key, parse_private_key, parse_public_key
from gsi.pem import PEMBlock, encode_pem
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

_LABELS: Final = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")


def _private(label: str, data: bytes) -> None:
    parse_private_key(PEMBlock(label, (), data, encode_pem(label, data)))


TARGET: Final[Target] = each(
    lambda data: check_public_key(parse_public_key(data)),
    *(functools.partial(_private, label) for label in _LABELS),
)
