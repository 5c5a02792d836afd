"""On which line of a TOML text a key or list member stands; for text that `tomllib` has already accepted.

    find_line(text, ("server", "listen"))
    find_line(text, ("rule", 3, "action"))      # of the fourth [[rule]], or of the fourth member of rule = [...]

It is not a parser: it trusts the text and only keeps count. Where a key has no line of its own, the nearest thing
around it counts.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

__all__ = ["Path", "find_line"]

Path: TypeAlias = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY: Final = re.compile(r'[ \t]*(?:"((?:[^"\\\n]|\\.)*)"|\'([^\'\n]*)\'|([A-Za-z0-9_-]+))[ \t]*')
_STRING: Final = re.compile(r"""\"{3}(?:[^\\]|\\.)*?\"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""", re.DOTALL)
_PLAIN: Final = re.compile(r"[^\s,\]}#]+(?: [0-9:.+Z-]+)?")
_MAX_DEPTH: Final = 64
"""How deep values may nest before the search ends at what is around them."""


def find_line(text: str, path: Path) -> int | None:
    """Return the line (from 1) of the longest part of the path that is found, or None."""
    finder = _Finder(text)
    finder.scan()
    for length in range(len(path), 0, -1):
        offset = finder.offsets.get(path[:length])
        if offset is not None:
            return text.count("\n", 0, offset) + 1
    return None


class _Finder:
    """One pass over the text that notes where each path begins."""

    __slots__ = ("_at", "_counts", "_text", "offsets")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counts: dict[Path, int] = {}
        self.offsets: dict[Path, int] = {}

    def scan(self) -> None:
        prefix: Path = ()
        while True:
            self._skip_blank()
            if self._at >= len(self._text):
                return
            begin = self._at
            if self._text.startswith("[", self._at):
                is_array = self._text.startswith("[[", self._at)
                self._at += 2 if is_array else 1
                prefix = self._header(begin, is_array=is_array)
                self.offsets.setdefault(prefix, begin)
                self._at = self._line_end()
            elif not self._pair(prefix, 0):
                return

    def _skip_blank(self) -> None:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _line_end(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end + 1

    def _header(self, begin: int, *, is_array: bool) -> Path:
        names = self._dotted()
        prefix: Path = ()
        for number, name in enumerate(names):
            prefix = (*prefix, name)
            self.offsets.setdefault(prefix, begin)
            is_last = number == len(names) - 1
            if is_last and is_array:
                self._counts[prefix] = self._counts.get(prefix, -1) + 1
            if prefix in self._counts:
                prefix = (*prefix, self._counts[prefix])
        return prefix

    def _dotted(self) -> list[str]:
        names: list[str] = []
        while found := _KEY.match(self._text, self._at):
            self._at = found.end()
            names.append(next(group for group in found.groups() if group is not None))
            if not self._text.startswith(".", self._at):
                break
            self._at += 1
        return names

    def _pair(self, prefix: Path, depth: int) -> bool:
        """Pass over `key = value`, noting it; False where the text is not as expected."""
        begin = self._at
        names = self._dotted()
        if not names or not self._text.startswith("=", self._at):
            return False
        path = prefix
        for name in names:
            path = (*path, name)
            self.offsets.setdefault(path, begin)
        self._at += 1
        return self._value(path, depth)

    def _value(self, path: Path, depth: int) -> bool:
        if depth > _MAX_DEPTH:
            return False
        while self._text[self._at : self._at + 1] in {" ", "\t"}:
            self._at += 1
        char = self._text[self._at : self._at + 1]
        if char == "[":
            return self._members(path, depth, "]")
        if char == "{":
            return self._members(path, depth, "}")
        found = (_STRING if char in {'"', "'"} else _PLAIN).match(self._text, self._at)
        if found is None:
            return False
        self._at = found.end()
        return True

    def _members(self, path: Path, depth: int, end: str) -> bool:
        self._at += 1
        index = 0
        while True:
            self._skip_blank()
            if self._text.startswith(end, self._at):
                self._at += 1
                return True
            if end == "]":
                self.offsets.setdefault((*path, index), self._at)
                passed = self._value((*path, index), depth + 1)
            else:
                passed = self._pair(path, depth + 1)
            if not passed:
                return False
            index += 1
            self._skip_blank()
            if self._text.startswith(",", self._at):
                self._at += 1
