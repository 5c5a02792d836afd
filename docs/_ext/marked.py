"""Texts with the two marks of our tables, `code` and *name*, as document nodes; not Markdown, so nothing is escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from docutils import nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["definitions", "paragraph", "paragraphs", "sentence", "table"]

_MARKS: Final = re.compile(r"(`[^`]+`|\*[A-Za-z][^*]*\*)")


def _inline(text: str) -> Iterator[nodes.Node]:
    for number, part in enumerate(_MARKS.split(" ".join(text.split()))):
        if number % 2 == 0:
            yield nodes.Text(part)
        elif part.startswith("`"):
            yield nodes.literal("", part[1:-1])
        else:
            yield nodes.emphasis("", part[1:-1])


def paragraph(text: str) -> nodes.paragraph:
    """Return one paragraph."""
    return nodes.paragraph("", "", *_inline(text))


def paragraphs(text: str) -> list[nodes.paragraph]:
    """Return the paragraphs of a text that blank lines separate."""
    return [paragraph(part) for part in text.strip().split("\n\n") if part]


def sentence(clause: str) -> str:
    """Make a help clause a sentence."""
    return f"{clause[:1].upper()}{clause[1:]}."


def definitions(pairs: Iterable[tuple[str, str]]) -> nodes.definition_list:
    """Return a list of terms, shown as code, with what they mean."""
    return nodes.definition_list(
        "",
        *(
            nodes.definition_list_item(
                "", nodes.term("", "", nodes.literal("", term)), nodes.definition("", *paragraphs(meaning))
            )
            for term, meaning in pairs
        ),
    )


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> nodes.table:
    """Return a table of marked texts."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in titles), cols=len(titles))
    group += nodes.thead("", _row(titles))
    group += nodes.tbody("", *map(_row, rows))
    return nodes.table("", group)


def _row(cells: Iterable[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", paragraph(cell)) for cell in cells))
