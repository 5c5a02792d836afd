"""The prose of the man pages, one module per command; read by `gsi.cli.manual` alone, never by a running command.

Each module has one `PAGE = ManualPage(...)`. Texts may hold two marks: `code` for anything typed or shown, and *name*
for a placeholder. Options are not described here: they come from the parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ManualPage"]


class ManualPage(NamedTuple):
    """What a man page says beyond the options.

    Attributes:
        date: Day of the last change to the text, ISO 8601.
        description: Paragraphs, separated by blank lines.
        exit_status: Pairs of status and meaning.
        environment: Pairs of variable and meaning.
        files: Pairs of path and meaning.
        examples: Pairs of purpose and command line.
        differences: What the C tool of this name does otherwise, as paragraphs; empty for a new command.
        see_also: Names of other pages with their section, `grid-proxy-info(1)`.
    """

    date: str
    description: str
    exit_status: Sequence[tuple[str, str]]
    environment: Sequence[tuple[str, str]] = ()
    files: Sequence[tuple[str, str]] = ()
    examples: Sequence[tuple[str, str]] = ()
    differences: str = ""
    see_also: Sequence[str] = ()
