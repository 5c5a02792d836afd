"""gsi.delegation: a request for delegation, PKCS#10."""

from __future__ import annotations

from typing import Final

from gsi.delegation import parse_delegation_request
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

TARGET: Final[Target] = each(parse_delegation_request)
