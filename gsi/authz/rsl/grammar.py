r"""RSL as the C library reads and writes it: text to tree and back; knows neither variables' values nor jobs.

    tree = parse_rsl("&(executable=/bin/echo)(arguments=hello)")
    unparse_rsl(tree)                     # &("executable" = "/bin/echo" )("arguments" = "hello" )

gct: gram/rsl/source/globus_rsl_scanner.l and globus_rsl_parser.y (docs/wire/rsl.md). What is unlike other languages:

- A text in quotes needs a character behind it: `a="b"` alone is an error, `a="b" ` is none.
- Quotes are `"`, `'`, or `^` and any character; doubled they stand for themselves.
- `x$(A)y` is a concatenation, `"x"$(A)` two values: only an unquoted text grows together with a variable.
- CR is no blank but part of a text.

Where the C scanner meets a character that it does not know (`~`, `?`, a lone `!` or `*`), or a comment without an end,
it stops as if the text ended there, and throws the rest away: `&(a=b)~(c=d)` is `&(a=b)`. All of that is refused here.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gsi.authz.rsl.values import (
    Boolean,
    Concatenation,
    Literal,
    Operator,
    Prefix,
    Relation,
    Sequence,
    Specification,
    Value,
    Variable,
)
from gsi.errors import ParseError

__all__ = ["MAX_NESTING", "MAX_RSL_CHARS", "parse_rsl", "unparse_rsl"]

MAX_RSL_CHARS: Final = 256 << 10
"""The longest text: GRAM takes 64,000 bytes, and with all quotes doubled and the defaults added it stays below this."""

MAX_NESTING: Final = 64
"""How deep parentheses may nest; staging lists need three."""

MAX_TOKENS: Final = 1 << 16
"""The most tokens: an argument each for as many bytes as GRAM takes."""

_WORD_FIRST: Final = r"""[^\t \n+&|=!<>()"'^*$#?~]"""
_WORD: Final = _WORD_FIRST + r"""[^\t \n=!<>()"'^*$#?~]*"""
_TOKEN: Final = re.compile(
    rf"""(?P<blank>[ \t\n]+)
    | (?P<comment>\(\*)
    | (?P<quote>["'])
    | (?P<user>\^)
    | (?P<word>{_WORD})
    | (?P<sign>!=|<=|>=|[=<>&|+\#()$])""",
    re.VERBOSE,
)
_GROWS: Final = re.compile(rf"{_WORD_FIRST}|\$")
_END: Final = ""
_TEXT: Final = "text"


class _Token(NamedTuple):
    """A sign, or a text, and where it begins."""

    kind: str
    text: str
    at: int


def _fail(message: str, at: int) -> ParseError:
    return ParseError(f"RSL: {message}", what="RSL", offset=at)


# --- text to tree -----------------------------------------------------------------------------------------------------


def parse_rsl(text: str) -> Specification:
    """Return the tree of an RSL text.

    Raises:
        ParseError: It is none, too long, nested too deep, or one of which the C library would read a part only.
    """
    if len(text) > MAX_RSL_CHARS:
        raise _fail(f"{len(text)} characters, limit {MAX_RSL_CHARS}", 0)
    if "\0" in text:
        raise _fail("a NUL within it", text.index("\0"))
    return _Parser(_scan(text)).parse()


def _scan(text: str) -> list[_Token]:
    """Cut a text into tokens, with the `#` that stands unwritten between a text and a variable beside it."""
    found: list[_Token] = []
    open_variables: list[int] = []  # for each variable that is open, how many of its parentheses are
    at, end = 0, len(text)
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise _fail(f"the character {text[at]!a} has no meaning here", at)
        if len(found) > MAX_TOKENS:
            raise _fail(f"more than {MAX_TOKENS} tokens", at)
        begun, at = at, match.end()
        match match.lastgroup:
            case "blank":
                pass
            case "word":
                found.append(_Token(_TEXT, match[0], begun))
                if text.startswith("$", at):
                    found.append(_Token("#", "", at))
            case "sign":
                found.append(_Token(match[0], "", begun))
                if match[0] == "$":
                    open_variables.append(0)
                elif open_variables and _closes(open_variables, match[0]) and _GROWS.match(text, at):
                    found.append(_Token("#", "", at))
            case "comment":
                at = text.find("*)", at) + 2
                if at < 2:
                    raise _fail("a comment without an end", begun)
            case _:
                quoted, at = _read_quoted(text, begun)
                found.append(_Token(_TEXT, quoted, begun))
    found.append(_Token(_END, "", end))
    return found


def _closes(open_variables: list[int], sign: str) -> bool:
    """Count a parenthesis within a variable; say whether it closes the innermost one."""
    if sign == "(":
        open_variables[-1] += 1
    elif sign == ")":
        open_variables[-1] -= 1
        if open_variables[-1] == 0:
            open_variables.pop()
            return True
    return False


def _read_quoted(text: str, at: int) -> tuple[str, int]:
    """Read a quoted text that begins here; return it and where it ends."""
    begun = at
    if text[at] == "^":
        at += 1
        if at == len(text) or not text[at].isascii():
            raise _fail("^ without a delimiter behind it", begun)
    delimiter = text[at]
    at += 1
    pieces: list[str] = []
    while True:
        end = text.find(delimiter, at)
        if end < 0 or end + 1 == len(text):  # the C scanner, too, needs one more character to know that it is closed
            raise _fail("a quoted text that does not end, or ends the RSL", begun)
        pieces.append(text[at:end])
        at = end + 1
        if text[at] != delimiter:
            return delimiter.join(pieces), at
        at += 1


class _Parser:
    """Recursive descent over tokens; its depth is bounded."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def parse(self) -> Specification:
        found = self._specification()
        self._expect(_END)
        return found

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _expect(self, kind: str) -> _Token:
        token = self._next
        if token.kind != kind:
            raise _fail(f"{kind or 'the end'} must stand here, not {token.kind or 'the end'}", token.at)
        self._at += kind != _END
        return token

    def _open(self) -> None:
        token = self._expect("(")
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise _fail(f"parentheses nest deeper than {MAX_NESTING}", token.at)

    def _close(self) -> None:
        self._expect(")")
        self._depth -= 1

    def _specification(self) -> Specification:
        if self._next.kind not in _PREFIXES:
            return self._relation()
        prefix = Prefix(self._take().kind)
        operands: list[Specification] = []
        while not operands or self._next.kind == "(":
            self._open()
            operands.append(self._specification())
            self._close()
        return Boolean(prefix, tuple(operands))

    def _relation(self) -> Relation:
        attribute = self._expect(_TEXT).text
        token = self._take()
        if token.kind not in _OPERATORS:
            raise _fail("an operator must stand behind the attribute", token.at)
        return Relation(attribute, Operator(token.kind), self._values())

    def _values(self) -> tuple[Value, ...]:
        found = [self._value()]
        while self._next.kind in _VALUE_BEGINS:
            found.append(self._value())
        return tuple(found)

    def _value(self) -> Value:
        if self._next.kind == "(":
            self._open()
            items = self._values()
            self._close()
            return Sequence(items)
        parts = [self._simple()]
        while self._next.kind == "#":
            self._take()
            parts.append(self._simple())
        return parts[0] if len(parts) == 1 else Concatenation(tuple(parts))

    def _simple(self) -> Literal | Variable:
        if self._next.kind == "$":
            self._take()
            self._open()
            items = self._values()
            self._close()
            return Variable(items)
        return Literal(self._expect(_TEXT).text)


_PREFIXES: Final = frozenset(prefix.value for prefix in Prefix)
_OPERATORS: Final = frozenset(operator.value for operator in Operator)
_VALUE_BEGINS: Final = frozenset({"(", "$", _TEXT})


# --- tree to text -----------------------------------------------------------------------------------------------------


def unparse_rsl(specification: Specification) -> str:
    """Return the text that `globus_rsl_unparse` writes: every text in double quotes, a blank behind every value.

    Of a variable only its name and its default are written.

    Raises:
        ParseError: The name of a variable is no text.
    """
    return "".join(_pieces(specification))


def _pieces(specification: Specification) -> list[str]:
    if isinstance(specification, Boolean):
        found: list[str] = [specification.prefix.value]
        for operand in specification.operands:
            found += ["(", *_pieces(operand), ")"]
        return found
    values = "".join(f"{_unparse_value(value)} " for value in specification.values)
    return [f"{_quoted(specification.attribute)} {specification.operator.value} {values}"]


def _unparse_value(value: Value) -> str:
    match value:
        case Literal(text):
            return _quoted(text)
        case Sequence(items):
            return "(" + "".join(f"{_unparse_value(item)} " for item in items) + ")"
        case Concatenation(parts):
            return " # ".join(_unparse_value(part) for part in parts)
        case Variable():
            if value.name is None:
                raise _fail("a variable whose name is no text cannot be written", 0)
            default = "" if value.default is None else f" {_quoted(value.default)}"
            return f"$({_quoted(value.name)}{default})"


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
