"""gsi.names: the LDAP form of a name, read, written and read again."""

from __future__ import annotations

from typing import Final

from gsi import names
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _parse(text: str) -> None:
    name = names.parse_rfc4514(text)
    assert names.same_name(names.parse_rfc4514(names.rfc4514(name)), name)


TARGET: Final[Target] = text_of(each(_parse))
