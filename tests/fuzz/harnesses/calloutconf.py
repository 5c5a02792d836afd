"""gsi.authz.calloutconf: the C services' gsi-authz.conf."""

from __future__ import annotations

from typing import Final

from gsi.authz.calloutconf import parse_entries
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

TARGET: Final[Target] = each(parse_entries)
