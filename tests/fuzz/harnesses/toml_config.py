"""gsi.system.config: a TOML file into a dataclass with every kind of setting."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gsi.system.config import option, parse_config
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    listen: str = "localhost"
    workers: int = option(2, minimum=1, maximum=64)
    grace: timedelta = timedelta(seconds=30)
    names: tuple[str, ...] = ()
    strict: bool = True


TARGET: Final[Target] = each(lambda data: parse_config(data, _Settings, path="settings.toml"))
