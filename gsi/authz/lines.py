r"""The lexical grammar that the rule and ban files share: lines of words, quoted texts and commas; knows no rule.

    # a comment begins with # at the begin of a word
    permit dn "/O=Grid/CN=Alice Adams", "/O=Grid/CN=Bob"
           to read, lookup on /data/**                      # an indented line belongs to the one before

Words end at a blank or comma; what holds one, or looks like a keyword, is put in double quotes, where `\"` is a quote
and `\\` a backslash, and any other backslash stands for itself (`\/` and `\xHH` belong to names).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from gsi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_POLICY_BYTES", "Clause", "Line", "Word", "clauses", "read_lines"]

MAX_POLICY_BYTES: Final = 64 << 20
"""The longest rule or ban file: half a million rules."""

MAX_LINE_CHARS: Final = 65536
"""The longest line; one that is longer has lost its line feeds."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word or a quoted text."""

    text: str
    is_quoted: bool
    line: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line with those that continue it: its words, None for a comma."""

    path: str
    number: int
    words: tuple[Word | None, ...]

    def refuse(self, message: str, *, line: int | None = None, hint: str | None = None) -> NoReturn:
        """Raise the error about this line.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(message, path=self.path, line=line or self.number, hint=hint)


@dataclass(frozen=True, slots=True)
class Clause:
    """A keyword and its values."""

    keyword: str
    values: tuple[str, ...]
    line: int


def read_lines(data: bytes, *, path: str) -> Iterator[Line]:
    """Yield the lines that are not empty; `path` is for errors.

    Raises:
        ConfigError: Not UTF-8, a quote that is not closed, a control character.
    """
    number, words = 0, list[Word | None]()
    for at, raw in enumerate(data.split(b"\n"), 1):
        text = _decode(raw.removesuffix(b"\r"), path, at)
        found = _split(text, path, at)
        if not found:
            continue
        if text[0] not in " \t":
            if words:
                yield Line(path, number, tuple(words))
            number, words = at, []
        elif not words:
            raise ConfigError("an indented line continues the one before, but there is none", path=path, line=at)
        words += found
    if words:
        yield Line(path, number, tuple(words))


def _decode(raw: bytes, path: str, number: int) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text", path=path, line=number) from error
    if number == 1:
        text = text.removeprefix("\ufeff")
    if len(text) > MAX_LINE_CHARS:
        raise ConfigError(f"the line has more than {MAX_LINE_CHARS} characters", path=path, line=number)
    if not text.isprintable():
        for char in text:
            if char != "\t" and (char < " " or "\x7f" <= char < "\xa0" or char in "\u2028\u2029"):
                raise ConfigError(f"a control character {char!a}", path=path, line=number)
    return text


_TOKEN: Final = re.compile(r'[ \t]+|(,)|(#)|"((?:[^"\\]|\\.)*)"(?![^ \t,])|([^ \t,"]+)')
_ESCAPE: Final = re.compile(r'\\(["\\])')


def _split(text: str, path: str, number: int) -> list[Word | None]:
    words: list[Word | None] = []
    at, end = 0, len(text)
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None or (found[4] and text[found.end() : found.end() + 1] == '"'):
            raise _fault(text[at:], path, number)
        kind = found.lastindex
        if kind == 4:
            words.append(Word(found[4], False, number))
        elif kind == 3:
            quoted = found[3]
            words.append(Word(_ESCAPE.sub(r"\1", quoted) if "\\" in quoted else quoted, True, number))
        elif kind == 1:
            words.append(None)
        elif kind == 2:
            break
        at = found.end()
    return words


def _fault(rest: str, path: str, number: int) -> ConfigError:
    """Return the error about what is no token."""
    if not rest.startswith('"'):
        hint = "put the whole word in quotes"
        return ConfigError("a quote within a word", path=path, line=number, hint=hint)
    if re.match(r'"(?:[^"\\]|\\.)*"', rest):
        return ConfigError("a blank or comma must follow a closing quote", path=path, line=number)
    return ConfigError("the closing quote is missing", path=path, line=number)


def clauses(line: Line, words: tuple[Word | None, ...], keywords: frozenset[str]) -> Iterator[Clause]:
    """Yield `keyword value, value ...` for as long as there are words; a quoted text is never a keyword.

    Raises:
        ConfigError: Two values without a comma between, a comma out of place, or something else than a keyword where
            one must stand.
    """
    from gsi.system.config import nearest

    at = 0
    while at < len(words):
        first = words[at]
        if first is None:
            line.refuse("a comma without a value before it")
        if first.is_quoted or first.text not in keywords:
            line.refuse(
                f"{first.text[:80]!r} is no keyword, and not separated by a comma from a value before it",
                line=first.line,
                hint=nearest(first.text, keywords) or "values with blanks need quotes, several values commas",
            )
        at += 1
        values: list[str] = []
        while at < len(words) and not _is_keyword(words[at], keywords):
            value = words[at]
            if value is None:
                line.refuse(f"a comma without a value before it, after {first.text!r}", line=first.line)
            values.append(value.text)
            at += 1
            if at < len(words) and words[at] is None:
                at += 1
                if at == len(words) or _is_keyword(words[at], keywords):
                    line.refuse(f"a comma without a value behind it, after {first.text!r}", line=first.line)
            elif at < len(words) and not _is_keyword(words[at], keywords):
                break
        yield Clause(first.text, tuple(values), first.line)


def _is_keyword(word: Word | None, keywords: frozenset[str]) -> bool:
    return word is not None and not word.is_quoted and word.text in keywords
