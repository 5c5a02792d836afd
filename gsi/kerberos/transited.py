"""The realms that a ticket has come through, from its compressed form; trusts none of them. Reads no ticket.

    expand(b"EDU,MIT.,ATHENA.,WASHINGTON.EDU,CS.")  # EDU MIT.EDU ATHENA.MIT.EDU WASHINGTON.EDU CS.WASHINGTON.EDU

RFC 4120 s.3.3.3.2 (DOMAIN-X500-COMPRESS): realms are separated by commas; one that ends with a dot is joined to the
realm before it, one that begins with a slash is joined behind the realm before it; an empty field stands for all
realms on the way between its neighbours, which are not spelled out here: the field stays empty, and whoever compares
realms with a list finds it on none.
"""

from __future__ import annotations

from typing import Final

from gsi.errors import ParseError

__all__ = ["MAX_REALMS", "expand"]

MAX_REALMS: Final = 32
"""Far beyond any path between realms in use."""
_WHAT: Final = "list of transited realms"


def expand(encoded: bytes) -> tuple[str, ...]:
    """Return the realms in the order they stand; empty for none.

    Raises:
        ParseError: Not UTF-8, an escape without a character, or more than `MAX_REALMS`.
    """
    if not encoded:
        return ()
    try:
        text = encoded.rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise ParseError(f"{_WHAT}: not UTF-8", what=_WHAT) from error
    fields = _split(text)
    if len(fields) > MAX_REALMS:
        raise ParseError(f"{_WHAT}: {len(fields)} realms, limit {MAX_REALMS}", what=_WHAT)
    found: list[str] = []
    for plain, raw in fields:
        before = found[-1] if found else ""
        if raw.endswith(".") and not raw.endswith("\\."):
            found.append(plain + before)
        elif raw.startswith("/") and before.startswith("/"):
            found.append(before + plain)
        else:
            found.append(plain.removeprefix(" ") if raw.startswith(" /") else plain)
    return tuple(found)


def _split(text: str) -> list[tuple[str, str]]:
    """Return the fields, each without its escapes and as it stands."""
    fields: list[tuple[str, str]] = []
    plain = raw = ""
    characters = iter(text)
    for char in characters:
        if char == ",":
            fields.append((plain, raw))
            plain = raw = ""
            continue
        raw += char
        if char == "\\":
            char = next(characters, "")  # noqa: PLW2901  what the escape is for
            if not char:
                raise ParseError(f"{_WHAT}: ends with a backslash", what=_WHAT)
            raw += char
        plain += char
    fields.append((plain, raw))
    return fields
