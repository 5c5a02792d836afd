"""gsi.trust.crl: a file of CRLs, PEM or DER, and its serial numbers."""

from __future__ import annotations

from typing import Final

from gsi.trust.crl import parse_crl, parse_crl_file
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

TARGET: Final[Target] = each(
    lambda data: parse_crl(data).serials,
    lambda data: [crl.serials for crl in parse_crl_file(data)],
)
