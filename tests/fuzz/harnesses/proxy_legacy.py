"""gsi.proxy.legacy: ProxyCertInfo of the draft, and the last names by which the oldest proxies are known."""

from __future__ import annotations

from typing import Final

from gsi.proxy.legacy import encode_gt3, last_names, parse_gt3
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"


def _parse(data: bytes) -> None:
    assert encode_gt3(parse_gt3(data)) == data


TARGET: Final[Target] = each(_parse, last_names)
