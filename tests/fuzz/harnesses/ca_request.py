"""gsi.ca.request: a PKCS#10 request to certify."""

from __future__ import annotations

from typing import Final

from gsi.ca.request import parse_request
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

TARGET: Final[Target] = each(parse_request)
