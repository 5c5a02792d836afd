"""Rights as the compact text of the first CAS (GT2, version 0.2 of April 2002); signs nothing.

    data = encode_text(rights)                # NUL-terminated ASCII
    parse_text(data)

    {
    OBJECT_NAME_TYPE=wildcard
    OBJECT_NAME=ftp://se1.example/runs/raw/*
    SERVICE_TYPE=file
    SERVICE_ACTION=read
    }

Every action of a right is on every object of it. Namespaces have no place in it, only their way to compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cas.assertion.value import Comparison
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cas.assertion.value import Right

__all__ = ["MAX_TEXT_BYTES", "TextRight", "encode_text", "parse_text"]

MAX_TEXT_BYTES: Final = 262_144
"""The largest text: more than what fits into a proxy, or into one command over a control channel."""

_TYPES: Final = {Comparison.WILDCARD: "wildcard", Comparison.EXACT: "exact"}
_COMPARISONS: Final = {word: comparison for comparison, word in _TYPES.items()}


@dataclass(frozen=True, slots=True)
class TextRight:
    """One right.

    Attributes:
        comparison: How the names compare.
        objects: Names, at least one.
        service_type: `file`.
        actions: At least one.
    """

    comparison: Comparison
    objects: tuple[str, ...]
    service_type: str
    actions: tuple[str, ...]


def encode_text(rights: Iterable[Right]) -> bytes:
    """Return rights as text; those of the same actions together.

    Raises:
        ParseError: A name is not printable ASCII without blanks, which alone can be written.
    """
    together: dict[tuple[Comparison, str, tuple[str, ...]], list[str]] = {}
    for right in rights:
        together.setdefault((right.comparison, right.service_type, right.actions), []).append(right.object)
    lines: list[str] = []
    for (comparison, service_type, actions), objects in together.items():
        lines += ["{", f"OBJECT_NAME_TYPE={_TYPES[comparison]}"]
        lines += [f"OBJECT_NAME={_checked(name)}" for name in objects]
        lines.append(f"SERVICE_TYPE={_checked(service_type)}")
        lines += [f"SERVICE_ACTION={_checked(action)}" for action in actions]
        lines.append("}")
    return "".join(f"{line}\n" for line in lines).encode("ascii") + b"\0"


def parse_text(data: bytes) -> tuple[TextRight, ...]:
    """Read rights.

    Raises:
        ParseError: They do not follow the grammar.
    """
    if len(data) > MAX_TEXT_BYTES:
        raise ParseError(f"{len(data)} bytes, limit {MAX_TEXT_BYTES}", what="CAS text policy")
    body, nul, rest = data.partition(b"\0")
    if not nul or rest:
        raise ParseError("it does not end with its only NUL", what="CAS text policy", offset=len(body))
    if any(byte != 0x0A and not 0x20 <= byte <= 0x7E for byte in body.replace(b"\t", b" ").replace(b"\r\n", b"\n")):
        raise ParseError("not printable ASCII", what="CAS text policy")
    lines = ["".join(line.split()) for line in body.decode("ascii").split("\n")]
    rights: list[TextRight] = []
    block: list[tuple[str, str]] | None = None
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        if line == "{" and block is None:
            block = []
        elif line == "}" and block is not None:
            rights.append(_read_right(block, number))
            block = None
        elif block is not None and "=" in line:
            key, _, value = line.partition("=")
            block.append((key, value))
        else:
            raise _fault(number, "out of place")
    if block is not None:
        raise _fault(len(lines), "a right that is not closed")
    if not rights:
        raise ParseError("no rights", what="CAS text policy")
    return tuple(rights)


def _read_right(items: list[tuple[str, str]], number: int) -> TextRight:
    values: dict[str, list[str]] = {}
    for key, value in items:
        if key not in {"OBJECT_NAME_TYPE", "OBJECT_NAME", "SERVICE_TYPE", "SERVICE_ACTION"} or not value:
            raise _fault(number, f"an item {key[:40]!r} that is not known or empty")
        values.setdefault(key, []).append(value)
    comparison = _COMPARISONS.get(_only(values, "OBJECT_NAME_TYPE", number))
    objects, actions = values.get("OBJECT_NAME"), values.get("SERVICE_ACTION")
    if comparison is None or objects is None or actions is None:
        raise _fault(number, "a right without its objects, actions or way to compare")
    return TextRight(comparison, tuple(objects), _only(values, "SERVICE_TYPE", number), tuple(actions))


def _only(values: dict[str, list[str]], key: str, number: int) -> str:
    found = values.get(key, [])
    if len(found) != 1:
        raise _fault(number, f"a right has one {key}")
    return found[0]


def _checked(text: str) -> str:
    if not text or not all("!" <= char <= "~" for char in text):
        raise ParseError(f"{text[:80]!r} cannot be written as text: not printable ASCII", what="CAS text policy")
    return text


def _fault(number: int, why: str) -> ParseError:
    return ParseError(f"line {number}: {why}", what="CAS text policy")
