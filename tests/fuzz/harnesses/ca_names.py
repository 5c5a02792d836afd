"""gsi.ca.general_names: alternative names as text."""

from __future__ import annotations

from typing import Final

from gsi import der
from gsi.ca.general_names import parse_alternative_names
from gsi.trust.name_constraints import parse_general_names
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _parse(text: str) -> None:
    found = parse_alternative_names(text)
    assert len(parse_general_names(der.encode_sequence(*found))) == len(found)


TARGET: Final[Target] = text_of(each(_parse))
