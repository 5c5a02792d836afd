"""gsi.system.gsi_conf: the host-wide settings."""

from __future__ import annotations

from typing import Final

from gsi.system.gsi_conf import parse_gsi_conf
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

TARGET: Final[Target] = each(lambda data: parse_gsi_conf(data, path="gsi.conf"))
