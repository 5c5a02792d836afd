"""Rights in the text form of the first CAS (alpha R2, 2002): compact, readable, unsigned; for files and for people.

    text = encode_rights(capability.rights)
    parse_rights(text)[0].objects

    {
    OBJECT_NAME_TYPE=wildcard
    OBJECT_NAME=ftp://se1.example/runs/raw/*
    SERVICE_TYPE=file
    SERVICE_ACTION=read
    }

Printable ASCII, one item per line, a NUL at the end; within a right every action applies to every object. The form has
no namespaces, so what is read are `TextRight`s and no capability's. It proves nothing: signed forms do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cas.assertion.value import Comparison
from gsi.errors import IssuanceError, IssuanceStep, ParseError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cas.assertion.value import Right

__all__ = ["MAX_TEXT_BYTES", "TextRight", "encode_rights", "parse_rights"]

MAX_TEXT_BYTES: Final = 256 << 10  # as an assertion, in the place of which it would travel
_WHAT: Final = "CAS policy"
_TYPES: Final = {Comparison.EXACT: "exact", Comparison.WILDCARD: "wildcard"}
_COMPARISONS: Final = {text: comparison for comparison, text in _TYPES.items()}


class TextRight(NamedTuple):
    """One right: each action on each object."""

    comparison: Comparison
    objects: tuple[str, ...]
    service_type: str
    actions: tuple[str, ...]


def encode_rights(rights: Iterable[Right]) -> bytes:
    """Return the text of rights; objects on which the same is allowed stand in one.

    Raises:
        IssuanceError: GRANT: there are none, or a name cannot be written.
    """
    grouped: dict[tuple[Comparison, str, tuple[str, ...]], list[str]] = {}
    for right in rights:
        grouped.setdefault((right.comparison, right.service_type, right.actions), []).append(right.object)
    if not grouped:
        raise IssuanceError("no rights to write", step=IssuanceStep.GRANT)
    lines: list[str] = []
    for (comparison, service_type, actions), objects in grouped.items():
        lines += ["{", f"OBJECT_NAME_TYPE={_TYPES[comparison]}"]
        lines += [f"OBJECT_NAME={_checked(name)}" for name in dict.fromkeys(objects)]
        lines.append(f"SERVICE_TYPE={_checked(service_type)}")
        lines += [f"SERVICE_ACTION={_checked(action)}" for action in actions]
        lines.append("}")
    return ("\n".join(lines) + "\n\0").encode("ascii")


def _checked(text: str) -> str:
    if not text or not text.isascii() or not text.isprintable() or text != text.strip():
        raise IssuanceError(f"{text[:80]!r} cannot be written in this form", step=IssuanceStep.GRANT)
    return text


def parse_rights(data: bytes) -> tuple[TextRight, ...]:
    """Return the rights of a text; blanks around lines and names do not count.

    Raises:
        ParseError: It does not follow the grammar.
    """
    if len(data) > MAX_TEXT_BYTES:
        raise ParseError(f"{_WHAT}: {len(data)} bytes, limit {MAX_TEXT_BYTES}", what=_WHAT)
    text, nul, rest = data.partition(b"\0")
    if not nul or rest:
        raise ParseError(f"{_WHAT}: no NUL at its end, or one before", what=_WHAT, offset=len(text))
    found: list[TextRight] = []
    items: list[tuple[str, str]] | None = None
    for number, raw in enumerate(text.split(b"\n"), start=1):
        line = _line(raw, number)
        if not line:
            continue
        if line == "{" and items is None:
            items = []
        elif line == "}" and items is not None:
            found.append(_right(items, number))
            items = None
        elif items is not None and "=" in line:
            name, _, value = line.partition("=")
            items.append((name.strip(), value.strip()))
        else:
            raise ParseError(f"{_WHAT}: line {number}: {line[:40]!r} is out of place", what=_WHAT)
    if items is not None or not found:
        raise ParseError(f"{_WHAT}: a right without its end, or none at all", what=_WHAT)
    return tuple(found)


def _line(raw: bytes, number: int) -> str:
    try:
        line = raw.decode("ascii").strip(" \t\r")
    except UnicodeDecodeError as error:
        raise ParseError(f"{_WHAT}: line {number}: not ASCII", what=_WHAT) from error
    if not line.isprintable():
        raise ParseError(f"{_WHAT}: line {number}: a control character", what=_WHAT)
    return line


def _right(items: list[tuple[str, str]], number: int) -> TextRight:
    values: dict[str, list[str]] = {}
    for name, value in items:
        if not value:
            raise ParseError(f"{_WHAT}: the right that ends in line {number}: {name[:40]!r} is empty", what=_WHAT)
        values.setdefault(name, []).append(value)
    kinds, services = values.get("OBJECT_NAME_TYPE", ["exact"]), values.get("SERVICE_TYPE", [])
    objects, actions = values.get("OBJECT_NAME", []), values.get("SERVICE_ACTION", [])
    known = {"OBJECT_NAME_TYPE", "OBJECT_NAME", "SERVICE_TYPE", "SERVICE_ACTION"}
    if (
        len(kinds) != 1
        or kinds[0] not in _COMPARISONS
        or len(services) != 1
        or not objects
        or not actions
        or not values.keys() <= known
    ):
        raise ParseError(f"{_WHAT}: the right that ends in line {number} lacks something, or has too much", what=_WHAT)
    return TextRight(_COMPARISONS[kinds[0]], tuple(objects), services[0], tuple(actions))
