"""gsi.context.gatekeeper: a wrapped HTTP request and its reply."""

from __future__ import annotations

from typing import Final

from gsi.context.gatekeeper import parse_reply, parse_request
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

TARGET: Final[Target] = each(parse_request, parse_reply)
