r"""The pattern language of MyProxy's access policies; not who may do what, nor how expressions are matched.

    pattern = parse_pattern("*/CN=Alice*")
    pattern.matches("/O=Grid/CN=Alice Smith")       # True

A pattern is a POSIX extended regular expression with three short forms: `*` stands for any text, `?` for one
character, `.` for itself; `\*`, `\?` and `\.` give back the operators that the short forms displaced. Two backslashes
become one, and that one is the expression's: `\\|` is a literal bar. One at the very end is dropped. Everything else of
the expression language is live: `|`, `(...)`, `[...]`, `+`, `{n,m}`, `^`, `$`. The whole name must match, case included
(gct:myproxy/source/myproxy_server_config.c, regex_compare).

Patterns come from users (the RETRIEVER line of a request), so matching must not be made slow by their choice:
`gsi.patterns` matches in bounded time. It is stricter than the C server, on purpose: back-references, word anchors
such as `\<`, and unbalanced parentheses (in C `a)|(b` breaks out of the anchors that surround the pattern) are refused
when a pattern is parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from gsi.errors import ParseError
from gsi.patterns import Expression, parse_expression

__all__ = ["MAX_NAME_CHARS", "MAX_PATTERN_CHARS", "Pattern", "parse_pattern"]

MAX_PATTERN_CHARS: Final = 1023
"""The longest pattern: as long as a line of the C server's configuration file can be."""

MAX_NAME_CHARS: Final = 1023
"""The longest name a pattern is tried on: what the C server keeps of a name. Longer ones never match."""

_WHAT: Final = "access pattern"
_SHORT_FORMS: Final = re.compile(r"\\.|[*?.\\]", re.DOTALL)
_EXPANSIONS: Final = {
    "*": ".*", "?": ".", ".": "\\.",
    "\\*": "*", "\\?": "?", "\\.": ".", "\\\\": "\\", "\\": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pattern:
    """A checked access pattern. Equal when the text is equal.

    Attributes:
        text: The pattern as it was written.
    """

    text: str
    _expression: Expression = field(repr=False, compare=False)

    def matches(self, name: str) -> bool:
        """Say whether the whole name matches. Names longer than `MAX_NAME_CHARS` never do."""
        return len(name) <= MAX_NAME_CHARS and self._expression.matches(name)


def expand_short_forms(text: str) -> str:
    """Rewrite the short forms of a pattern into the extended regular expression that the C server compiles."""
    return _SHORT_FORMS.sub(lambda found: _EXPANSIONS.get(found[0], found[0]), text)


def parse_pattern(text: str) -> Pattern:
    """Parse a pattern, without its SUBJECT: or FQAN: prefix.

    Args:
        text: The pattern, at most `MAX_PATTERN_CHARS` characters.

    Raises:
        ParseError: It is no valid expression, uses what is not supported, or is too large.
    """
    if len(text) > MAX_PATTERN_CHARS:
        raise ParseError(f"{_WHAT} is longer than {MAX_PATTERN_CHARS} characters", what=_WHAT)
    if "\0" in text or "\n" in text:
        raise ParseError(f"{_WHAT} holds a NUL or a line feed", what=_WHAT)
    return Pattern(text, parse_expression(expand_short_forms(text), what=_WHAT))
