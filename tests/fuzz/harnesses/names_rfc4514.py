"""gsi.names: the LDAP form of a name, read, written and read again."""

from __future__ import annotations

from typing import Final

from gsi import der, names
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _parse(text: str) -> None:
    name = names.parse_rfc4514(text)
    again = names.parse_rfc4514(names.rfc4514(name))
    numeric = any(found.tag == der.NUMERIC_STRING for group in names.attributes(name) for found in group)
    assert numeric or names.same_name(again, name)  # OpenSSL writes a NumericString as other text and does not fold it


TARGET: Final[Target] = text_of(each(_parse))
