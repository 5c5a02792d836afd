"""gsi.authz: the rules file, the ban list and the VOMS map."""

from __future__ import annotations

from typing import Final

from gsi.authz.ban import parse_bans
from gsi.authz.mapping import parse_voms_map
from gsi.authz.rulefile import parse_rules
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

TARGET: Final[Target] = each(
    lambda data: list(parse_rules(data, path="rules")),
    lambda data: list(parse_bans(data, path="bans")),
    lambda data: list(parse_voms_map(data, path="map")),
)
