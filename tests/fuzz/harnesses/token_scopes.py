"""gsi.tokens.scopes: scopes and their paths; what is read is written and read again."""

from __future__ import annotations

from typing import Final

from gsi.tokens.scopes import format_scope, parse_path, parse_scopes
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _scopes(text: str) -> None:
    for one in parse_scopes(text).capabilities:
        assert parse_scopes(format_scope(one)).capabilities == (one,)


def _path(text: str) -> None:
    assert ".." not in parse_path(text)


TARGET: Final[Target] = text_of(each(_scopes, _path))
