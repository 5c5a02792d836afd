"""gsi.delegation: a counted block of certificates, whole and in pieces, which must agree."""

from __future__ import annotations

from typing import Final

from gsi.delegation import CertificateBlockParser, parse_certificate_block
from gsi.errors import GridError
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

_MAX_STEPS: Final = 64


def _pieces(data: bytes) -> tuple[bytes, ...] | None:
    parser = CertificateBlockParser()
    step = max(1, len(data) // _MAX_STEPS)
    for at in range(0, len(data), step):
        found = parser.feed(data[at : at + step])
        if found is not None:
            return found
    return None


def _agree(data: bytes) -> None:
    try:
        whole = parse_certificate_block(data)
    except GridError:
        whole = None
    assert _pieces(data) == (None if whole is None else whole[0])


TARGET: Final[Target] = each(_agree)
