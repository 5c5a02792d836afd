"""myproxy.config: the configuration of the C server."""

from __future__ import annotations

from typing import Final

from myproxy.config import parse_config
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

TARGET: Final[Target] = text_of(each(lambda text: parse_config(text, path="myproxy-server.config")))
