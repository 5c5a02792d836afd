r"""OpenSSL configuration files as sections of names and values: grammar only; what the values mean is their reader's.

    conf = parse_conf(text, path="/etc/ca/extensions.cnf")
    conf.section("default")                 # ((name, value, line), ...) in the order of the file
    conf.section("alt_names")

Reads what OpenSSL's default parser reads (openssl:crypto/conf/conf_def.c): `[section]`, `name = value`, `#` comments,
`\` at a line's end, quotes `"` `'`, escapes, `$name`, `${name}` and `${section::name}`. Lines before the first section
are the section `default`. Not read, and refused with the line's number: `.include` and other directives, values from
the environment, and names that stand twice in a section, of which OpenSSL takes the last in silence.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gsi.errors import ConfigError

__all__ = ["DEFAULT_SECTION", "MAX_CONF_BYTES", "Conf", "ConfEntry", "parse_conf"]

MAX_CONF_BYTES: Final = 256 << 10  # a page of extensions takes 2 kB; OpenSSL's own sample 12
MAX_VALUE_CHARS: Final = 16 << 10  # OpenSSL stops at 64 kB; an expansion must not grow without end
MAX_ENTRIES: Final = 4096
DEFAULT_SECTION: Final = "default"
_NAME: Final = r"[A-Za-z0-9_!.%&*+,/;?@^~|-]+"  # characters of names, openssl:crypto/conf/conf_def.h
_SECTION: Final = re.compile(rf"\[\s*({_NAME}(?:\s+{_NAME})*)\s*\]")
_ASSIGNMENT: Final = re.compile(rf"(?:({_NAME})\s*::\s*)?({_NAME})\s*=\s*")
_VARIABLE: Final = re.compile(
    r"\$(?:\{(?:(?P<s1>\w+)::)?(?P<n1>\w+)\}|\((?:(?P<s2>\w+)::)?(?P<n2>\w+)\)|(?:(?P<s3>\w+)::)?(?P<n3>\w+))"
)
_ESCAPES: Final = {"r": "\r", "n": "\n", "b": "\b", "t": "\t"}


class ConfEntry(NamedTuple):
    """One assignment."""

    name: str
    value: str
    line: int
    """Where it begins, counted from 1."""


class Conf:
    """A configuration file. Made by `parse_conf`.

    Attributes:
        path: Its name, for messages.
    """

    def __init__(self, path: str, sections: dict[str, dict[str, ConfEntry]]) -> None:
        self.path = path
        self._sections = sections

    def section(self, name: str) -> tuple[ConfEntry, ...]:
        """Return the assignments of a section in their order.

        Raises:
            ConfigError: There is no such section.
        """
        found = self._sections.get(name)
        if found is None:
            raise ConfigError(f"there is no section [{name}]", path=self.path)
        return tuple(found.values())

    def __contains__(self, name: object) -> bool:
        return name in self._sections


def parse_conf(text: str, *, path: str) -> Conf:
    """Return the sections of a configuration file.

    Args:
        text: Its content.
        path: Its name, for messages.

    Raises:
        ConfigError: A line cannot be read, or holds what is refused.
    """
    if len(text) > MAX_CONF_BYTES:
        raise ConfigError(f"longer than {MAX_CONF_BYTES} characters", path=path)
    sections: dict[str, dict[str, ConfEntry]] = {DEFAULT_SECTION: {}}
    current = DEFAULT_SECTION
    count = 0
    for number, line in _logical_lines(text):
        if line.startswith("["):
            found = _SECTION.match(line)
            if found is None or _strip_comment(line[found.end() :]):
                raise ConfigError("not a section: write [name]", path=path, line=number)
            current = found[1]
            sections.setdefault(current, {})
            continue
        assignment = _ASSIGNMENT.match(line)
        if assignment is None:
            what = (
                f"{line.split()[0]} is not followed" if line.startswith(".") else "neither name = value nor [section]"
            )
            raise ConfigError(what, path=path, line=number)
        section, name = assignment[1] or current, assignment[2]
        where = sections.setdefault(section, {})
        if name in where:
            raise ConfigError(f"{name} stands in line {where[name].line}, too", path=path, line=number)
        value = _Value(line[assignment.end() :], sections, section, path, number).read()
        where[name] = ConfEntry(name, value, number)
        if (count := count + 1) > MAX_ENTRIES:
            raise ConfigError(f"more than {MAX_ENTRIES} values", path=path, line=number)
    return Conf(path, sections)


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Return the lines that say something, with those joined that end in a backslash."""
    found: list[tuple[int, str]] = []
    begin, parts = 0, ""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = line.rstrip("\r")  # noqa: PLW2901  # the same line without its other line end
        begin = begin or number
        backslashes = len(line) - len(line.rstrip("\\"))
        if backslashes % 2:
            parts += line[:-1]
            continue
        whole = (parts + line).strip()
        if whole and not whole.startswith("#"):
            found.append((begin, whole))
        begin, parts = 0, ""
    if parts.strip():
        found.append((begin, parts.strip()))
    return found


def _strip_comment(text: str) -> str:
    return text.partition("#")[0].strip()


class _Value:
    """A cursor over the text behind an equals sign."""

    def __init__(
        self, text: str, sections: dict[str, dict[str, ConfEntry]], section: str, path: str, line: int
    ) -> None:
        self._text = text
        self._sections = sections
        self._section = section
        self._path = path
        self._line = line
        self._out: list[str] = []
        self._firm = 0  # how much of what is out came from quotes or escapes, and is not trimmed

    def read(self) -> str:
        at = 0
        text = self._text
        while at < len(text) and text[at] != "#":
            char = text[at]
            if char in "\"'`":
                at = self._quoted(at)
            elif char == "\\" and at + 1 < len(text):
                self._put(_ESCAPES.get(text[at + 1], text[at + 1]), firm=True)
                at += 2
            elif char == "$":
                at = self._variable(at)
            else:
                self._put(char)
                at += 1
        out = "".join(self._out)
        return out[: self._firm] + out[self._firm :].rstrip()

    def _put(self, text: str, *, firm: bool = False) -> None:
        self._out.append(text)
        size = sum(map(len, self._out)) if firm or len(text) > 1 else 0
        if firm:
            self._firm = size
        if size > MAX_VALUE_CHARS:
            raise self._error(f"a value longer than {MAX_VALUE_CHARS} characters")

    def _quoted(self, at: int) -> int:
        quote, text = self._text[at], self._text
        at += 1
        part: list[str] = []
        while at < len(text) and text[at] != quote:
            if text[at] == "\\" and at + 1 < len(text):
                at += 1
            part.append(text[at])
            at += 1
        if at == len(text):
            raise self._error("a quote is not closed")
        self._put("".join(part), firm=True)
        return at + 1

    def _variable(self, at: int) -> int:
        found = _VARIABLE.match(self._text, at)
        if found is None:
            raise self._error("a $ that begins no variable; write \\$ for the character")
        section = found["s1"] or found["s2"] or found["s3"]
        name = found["n1"] or found["n2"] or found["n3"]
        if section == "ENV":
            raise self._error("values from the environment are not taken", hint="write the value here")
        places = (section,) if section else (self._section, DEFAULT_SECTION)
        for place in places:
            entry = self._sections.get(place, {}).get(name)
            if entry is not None:
                self._put(entry.value, firm=True)
                return found.end()
        raise self._error(f"the variable {found[0]} has no value yet")

    def _error(self, why: str, *, hint: str | None = None) -> ConfigError:
        return ConfigError(why, path=self._path, line=self._line, hint=hint)
