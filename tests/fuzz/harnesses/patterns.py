"""gsi.patterns and myproxy.patterns: an expression and a text to match, split at the first line feed."""

from __future__ import annotations

from typing import Final

from gsi.patterns import Budget, parse_expression
from myproxy.patterns import parse_pattern
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

_MAX_STEPS: Final = 100_000  # as the namespaces' own limit; without one, a long text is the caller's affair


def _match(text: str) -> None:
    expression, _, subject = text.partition("\n")
    for ignore_case in (False, True):
        parse_expression(expression, ignore_case=ignore_case, bracket_escapes=ignore_case).matches(
            subject, Budget(_MAX_STEPS)
        )


def _access(text: str) -> None:
    pattern, _, subject = text.partition("\n")
    parse_pattern(pattern).matches(subject)


TARGET: Final[Target] = text_of(each(_match, _access))
