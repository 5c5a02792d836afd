"""Names as text against text: one-line forms compared as GCT does, and grid-mapfile quoting; no DER here.

    same_oneline("/O=Grid/CN=Alice", "/o=grid/cn=alice")
    quote_gridmap("/O=Grid/CN=Alice")

Text is all that policy files and grid-mapfiles hold. What has DER compares DER (`gsi.names.same_name`). Must agree with
gct:gsi/cert_utils/source/library/globus_gsi_cert_utils.c and gct:gsi/gss_assist/source/gridmap.c.
"""

from __future__ import annotations

import re
from typing import Final

from gsi.errors import ParseError
from gsi.nametypes import ATTRIBUTE_TYPE

__all__ = [
    "ASCII_LOWER",
    "MAX_NAME_BYTES",
    "ONELINE_BYTE",
    "canonical_oneline",
    "check_text",
    "encode_text",
    "escape_oneline",
    "fold_attribute_types",
    "plain_oneline",
    "quote_gridmap",
    "same_oneline",
    "unquote_gridmap",
]

MAX_NAME_BYTES: Final = 32 << 10  # the longest grid names take 300 bytes; a proxy adds 20 per level, 100 levels at most
ONELINE_BYTE: Final = tuple(chr(byte) if 0x20 <= byte <= 0x7E else f"\\x{byte:02X}" for byte in range(256))
"""How the one-line form shows each byte of a value."""

ASCII_LOWER: Final[dict[int, int | str]] = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
"""For str.translate: ASCII letters in lower case, all else as it is."""

# Patterns are kept as text and compiled at their first use: eager, they would add 4 ms to every command.
_ESCAPED_PIECE: Final = rb"|\\x([0-9A-Fa-f]{2})|\\(.)"
_WORD_PIECE: Final = rb'(?s)([^"\\ \t\r\n]++)' + _ESCAPED_PIECE
_QUOTED_PIECE: Final = rb'(?s)([^"\\]++)' + _ESCAPED_PIECE
_EQUIVALENT: Final = r"(?ia)(?<!\\)([/+])(?:(uid|userid)|e|email|emailaddress)="
_HARMLESS_ESCAPE: Final = rf"\\([/+])(?!{ATTRIBUTE_TYPE}=)"


def check_text(text: str, what: str) -> None:
    """Refuse text that is longer than any name.

    Raises:
        ParseError: It is longer than `MAX_NAME_BYTES` characters.
    """
    if len(text) > MAX_NAME_BYTES:
        raise ParseError(f"{what}: {len(text)} characters, limit {MAX_NAME_BYTES}", what=what)


def encode_text(text: str, what: str) -> bytes:
    """Return the bytes of text; bytes that came in by surrogateescape come out again.

    Raises:
        ParseError: Not encodable.
    """
    try:
        return text.encode("utf-8", "surrogateescape")  # file names and arguments carry odd bytes that way
    except UnicodeEncodeError as error:
        raise ParseError(f"{what}: not valid text", what=what, offset=error.start) from error


def plain_oneline(text: str) -> str:
    r"""Return a one-line name without the escapes that change nothing: `/CN=host\/www` as `/CN=host/www`.

    That is the form of earlier OpenSSL and of the policy files of most sites. An escape stays where without it the text
    would be another name, as in `/CN=x\/CN=Admin`.
    """
    return re.sub(_HARMLESS_ESCAPE, r"\1", text) if "\\" in text else text


def fold_attribute_types(text: str) -> str:
    """Return a one-line name, or a pattern for such, with ASCII in lower case and the spellings of a type made one.

    UID is USERID; E, Email and emailAddress are one (gct:globus_gsi_cert_utils.c, globus_i_gsi_cert_utils_dn_cmp).
    Backslashes are not touched.
    """
    return re.sub(_EQUIVALENT, lambda found: found[1] + ("userid=" if found[2] else "emailaddress="), text).translate(
        ASCII_LOWER
    )


def canonical_oneline(text: str) -> str:
    """Return the key under which one-line names, of earlier and of present OpenSSL, are equal: for text, not patterns.

    It is `plain_oneline`, then `fold_attribute_types`.
    """
    return fold_attribute_types(plain_oneline(text))


def same_oneline(first: str, second: str) -> bool:
    """Tell whether two one-line names are equal as GCT compares, in either form; DER has `same_name`."""
    return first == second or canonical_oneline(first) == canonical_oneline(second)


_SHOWN_BYTE: Final = r"\\x(?:[01][0-9A-F]|7F|[89A-F][0-9A-F])"


def escape_oneline(text: str) -> str:
    r"""Return a one-line name that a person typed in the form in which services see it: `/CN=Zoë` as `/CN=Zo\xC3\xAB`.

    Bytes beyond ASCII become `\xHH`, and the digits of such escapes capitals. Control characters stay as they are.

    Raises:
        ParseError: The text is not encodable.
    """
    shown = "".join(ONELINE_BYTE[byte] if byte >= 0x80 else chr(byte) for byte in encode_text(text, "name"))
    return re.sub(f"(?i){_SHOWN_BYTE}", lambda found: f"\\x{found[0][2:].upper()}", shown)


def quote_gridmap(dn: str) -> str:
    r"""Return a one-line name as the quoted first field of a grid-mapfile line.

    Bytes outside printable ASCII are written `\xHH`, and so are the double quote and the backslash, because the C
    reader loses its way at a name that ends in an escaped backslash. `unquote_gridmap` gives the same name back.

    Raises:
        ParseError: The text is not encodable or too long.
    """
    what = "grid-mapfile name"
    check_text(dn, what)
    out: list[str] = []
    at = 0
    for shown in re.finditer(_SHOWN_BYTE, dn):
        out += [_quote_part(dn[at : shown.start()], what), shown[0]]
        at = shown.end()
    out.append(_quote_part(dn[at:], what))
    return f'"{"".join(out)}"'


def _quote_part(text: str, what: str) -> str:
    return "".join([f"\\x{byte:02X}" if byte in b'"\\' else ONELINE_BYTE[byte] for byte in encode_text(text, what)])


def unquote_gridmap(text: str) -> str:
    r"""Return the one-line name that a grid-mapfile's first field stands for.

    The field is a word, or text in double quotes. A backslash takes the next character as it is, `\xHH` is one byte;
    bytes outside printable ASCII come out as `\xHH`, as `oneline` shows them.

    Raises:
        ParseError: A quote is missing or misplaced, a backslash ends the field, or it is too long.
    """
    what = "grid-mapfile name"
    check_text(text, what)
    quoted = text.startswith('"')
    data = encode_text(text[1:] if quoted else text, what)
    piece = re.compile(_QUOTED_PIECE if quoted else _WORD_PIECE)
    out: list[str] = []
    at = 0
    while found := piece.match(data, at):
        at = found.end()
        out += [ONELINE_BYTE[byte] for byte in (bytes((int(found[2], 16),)) if found[2] else found[1] or found[3])]
    if data[at : at + 1] == b"\\":
        raise ParseError(f"{what}: a backslash ends {text[:80]!r}", what=what, offset=at + 1)
    if quoted and at == len(data):
        raise ParseError(f"{what}: the closing quote is missing in {text[:80]!r}", what=what, offset=at)
    at += quoted
    if at < len(data):
        raise ParseError(f"{what}: misplaced quote or blank in {text[:80]!r}", what=what, offset=at + 1)
    return "".join(out)
