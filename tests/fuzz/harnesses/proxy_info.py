"""gsi.proxy.info: ProxyCertInfo of RFC 3820; what is read is written back the same."""

from __future__ import annotations

from typing import Final

from gsi.proxy.info import ProxyCertInfo
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"


def _parse(data: bytes) -> None:
    assert ProxyCertInfo.parse(data).encode() == data


TARGET: Final[Target] = each(_parse)
