"""gsi.system.request_config: what a CA wants requests to look like."""

from __future__ import annotations

from typing import Final

from gsi.system.request_config import parse_request_profile, parse_settings
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

TARGET: Final[Target] = text_of(each(parse_request_profile, parse_settings))
