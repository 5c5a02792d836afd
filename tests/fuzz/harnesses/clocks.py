"""gsi.transport.sntp and gsi.transport.probe: what others say about the time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from gsi.transport.probe import parse_http_date
from gsi.transport.sntp import parse_reply
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)

TARGET: Final[Target] = each(lambda data: parse_reply(data, data[24:32], sent=_NOW, received=_NOW), parse_http_date)
