"""gsi.names: a name in DER to every text and canonical form."""

from __future__ import annotations

from typing import Final

from gsi import names
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

TARGET: Final[Target] = each(
    names.oneline,
    lambda data: names.oneline(data, escaped=False),
    names.rfc4514,
    names.canonical,
    names.last_common_name,
    lambda data: names.same_name(data, data[:-1]),
    lambda data: names.added_common_name(data, b"\x30\x00"),
    lambda data: names.append_common_name(data, "proxy"),
)
