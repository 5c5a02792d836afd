r"""The EUGridPMA namespaces file: which subjects a CA may certify (`<hash>.namespaces`); reads no file.

    policy = parse_namespaces(text)
    policy.permits("/O=Grid/CN=Test CA", "/O=Grid/OU=Test/CN=Alice")

Statements, each on one line; a backslash at the end continues it, `#` begins a comment line, keywords in any case:

    TO Issuer ("<CA DN>" / SELF) (PERMIT / DENY) Subject "<regular expression over the one-line subject>"

The expression must match the whole subject, ignoring the case of letters and the spelling of UID=USERID and
E=Email=emailAddress. A DENY that matches overrides every PERMIT; what nothing permits is refused, also when no
statement is about the issuer at all. SELF is the CA under whose hash the file lies.

Of regular expressions the part is taken that all dialects read alike: literals, `.`, classes, groups with
alternatives, `* + ?` behind a single character or class, `^ $`, and escaped punctuation, inside a class, too. The rest
is refused, above all a backslash before a letter or digit (`\D`, `\w`). `gsi.patterns` matches in bounded time; a
subject that is longer than it takes, or takes more steps than `MAX_STEPS`, is not permitted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from gsi.errors import ParseError
from gsi.names import canonical_oneline
from gsi.patterns import MAX_TEXT_CHARS, Budget, Expression, parse_expression

__all__ = ["MAX_NAMESPACES_BYTES", "MAX_STEPS", "Namespaces", "parse_namespaces"]

MAX_NAMESPACES_BYTES: Final = 64 << 10  # as for signing policies
MAX_STEPS: Final = 1 << 18  # of all expressions on one subject, some 50 ms; a name of 100 characters takes some 500
_MAX_REPEATS: Final = 16  # `*` and `+` in one expression; those distributed have at most 3
_WHAT: Final = "namespaces"
_STATEMENT: Final = re.compile(
    r'\s*TO\s+Issuer\s+(?:"([^"]*)"|(SELF))\s+(PERMIT|DENY)\s+Subject\s+"([^"]*)"\s*', re.IGNORECASE
)
_PIECE: Final = re.compile(
    r"(?:(?P<class>\[\^?(?:\]|\\[^A-Za-z0-9]|[^\]\\\[])(?:\\[^A-Za-z0-9]|[^\]\\\[])*\])"
    r"|\\[^A-Za-z0-9]|[^\\\[\](){}|*+?])(?P<repeat>[*+?]?)"
    r"|(?P<open>\((?!\?))|(?P<close>\)(?![*+?{]))|(?P<bar>\|)"
)

# Spellings of an attribute type as `gsi.nametext` folds them, in text where a plain `+` is an operator. A backslash
# that stands for itself, before a slash, makes it part of a value.
_SPELLING: Final = re.compile(r"(?<!\\\\)(/|\\\+)(?:(uid|userid)|e|email|emailaddress)=", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class _Statement:
    issuer: str | None
    permit: bool
    subject: Expression


@dataclass(frozen=True, slots=True)
class Namespaces:
    """What one namespaces file says. Build it with `parse_namespaces`."""

    statements: tuple[_Statement, ...]

    def permits(self, ca_oneline: str, subject_oneline: str) -> bool:
        """Tell whether the CA of this one-line name may certify the subject of that one."""
        issuer, subject = canonical_oneline(ca_oneline), canonical_oneline(subject_oneline)
        if len(subject) > MAX_TEXT_CHARS or not (subject.isascii() and subject.isprintable()):
            return False  # no one-line name looks so; a DENY must not be escaped by what no expression is tried on
        budget = Budget(MAX_STEPS)
        permitted = False
        for statement in self.statements:
            if statement.issuer not in {None, issuer}:
                continue
            try:
                matches = statement.subject.matches(subject, budget)
            except ParseError:
                return False
            if matches and not statement.permit:
                return False
            permitted = permitted or matches
        return permitted


def parse_namespaces(text: str | bytes) -> Namespaces:
    """Return what the text of a `.namespaces` file says.

    Raises:
        ParseError: The text leaves the grammar anywhere; nothing of such a file may be used.
    """
    if len(text) > MAX_NAMESPACES_BYTES:
        raise ParseError(f"{_WHAT}: {len(text)} bytes, limit {MAX_NAMESPACES_BYTES}", what=_WHAT, offset=0)
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    statements: list[_Statement] = []
    pending = ""
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")  # noqa: PLW2901  the line without its ending is the line
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        if line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1] + " "
            continue
        statements.append(_parse_statement(pending + line, number))
        pending = ""
    if pending:
        _fail(text.count("\n") + 1, "the file ends inside a continued line")
    return Namespaces(tuple(statements))


def _parse_statement(line: str, number: int) -> _Statement:
    found = _STATEMENT.fullmatch(line)
    if found is None:
        _fail(number, 'not of the form TO Issuer "DN" PERMIT Subject "expression"')
    issuer = None if found[2] else canonical_oneline(found[1])
    return _Statement(issuer, found[3].upper() == "PERMIT", _compile(found[4], number))


def _compile(expression: str, line: int) -> Expression:
    pieces: list[str] = []  # classes as they are, and what stands between them
    plain = ""
    position = repeats = 0
    while position < len(expression):
        piece = _PIECE.match(expression, position)
        if piece is None:
            _fail(line, f"unsupported regular expression at {expression[position:][:20]!r}")
        if piece["class"]:
            pieces += [_fold_spellings(plain), piece[0]]
            plain = ""
        else:
            plain += "/" + piece["repeat"] if piece[0].startswith("\\/") else piece[0]
        position = piece.end()
        repeats += piece["repeat"] in {"*", "+"}
    if repeats > _MAX_REPEATS:
        _fail(line, f"more than {_MAX_REPEATS} repetitions in one expression")
    try:
        return parse_expression(
            "".join([*pieces, _fold_spellings(plain)]), what=_WHAT, ignore_case=True, bracket_escapes=True
        )
    except ParseError as error:
        _fail(line, f"malformed regular expression: {error.message}")


def _fold_spellings(text: str) -> str:
    """Return an expression with one spelling for the types that have several; cases of letters are left alone."""
    return _SPELLING.sub(lambda found: found[1] + ("userid=" if found[2] else "emailaddress="), text)


def _fail(line: int, why: str) -> NoReturn:
    raise ParseError(
        f"{_WHAT}: line {line}: {why}",
        what=_WHAT,
        hint="restore the file from the CA's distribution; no certificate of this CA is accepted until then",
    )
