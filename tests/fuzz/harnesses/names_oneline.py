"""gsi.names and gsi.nametext: the one-line form and its folds, and the quoting of grid-mapfiles."""

from __future__ import annotations

from typing import Final

from gsi import names
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _parse(text: str) -> None:
    names.oneline(names.parse_oneline(text))


TARGET: Final[Target] = text_of(
    each(
        _parse,
        names.canonical_oneline,
        names.plain_oneline,
        names.fold_attribute_types,
        lambda text: names.unquote_gridmap(names.quote_gridmap(text)),
        names.unquote_gridmap,
    )
)
