"""Writing DER, and on request something that is none; checks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "FALSE",
    "NULL",
    "TRUE",
    "bit_string",
    "explicit",
    "general_time",
    "integer",
    "items",
    "octets",
    "oid",
    "sequence",
    "set_of",
    "time",
    "tlv",
    "utc_time",
]

NULL: Final = b"\x05\x00"
TRUE: Final = b"\x01\x01\xff"
FALSE: Final = b"\x01\x01\x00"
_LAST_UTC_YEAR: Final = 2049  # RFC 5280 section 4.1.2.5


def tlv(tag: int, content: bytes) -> bytes:
    """Return one value with a definite, shortest length."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE."""
    return tlv(0x30, b"".join(parts))


def set_of(*parts: bytes, in_order: bool = True) -> bytes:
    """Return a SET OF, its members in DER's order unless that is switched off."""
    return tlv(0x31, b"".join(sorted(parts) if in_order else parts))


def integer(number: int) -> bytes:
    """Return an INTEGER in its shortest form."""
    size = (number if number >= 0 else ~number).bit_length() // 8 + 1
    return tlv(0x02, number.to_bytes(size, "big", signed=True))


def octets(content: bytes) -> bytes:
    """Return an OCTET STRING."""
    return tlv(0x04, content)


def bit_string(content: bytes, *, unused: int = 0) -> bytes:
    """Return a BIT STRING whose last `unused` bits do not count."""
    return tlv(0x03, bytes((unused,)) + content)


def explicit(number: int, value: bytes) -> bytes:
    """Return a value under an explicit context-specific tag."""
    return tlv(0xA0 | number, value)


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        group = [arc & 0x7F]
        left = arc >> 7
        while left:
            group.append(0x80 | left & 0x7F)
            left >>= 7
        content += bytes(reversed(group))
    return tlv(0x06, bytes(content))


def utc_time(text: str) -> bytes:
    """Return a UTCTime of exactly this text."""
    return tlv(0x17, text.encode("ascii"))


def general_time(text: str) -> bytes:
    """Return a GeneralizedTime of exactly this text."""
    return tlv(0x18, text.encode("ascii"))


def time(moment: datetime) -> bytes:
    """Return a Time as RFC 5280 section 4.1.2.5 writes it."""
    if moment.year > _LAST_UTC_YEAR:
        return general_time(f"{moment:%Y%m%d%H%M%SZ}")
    return utc_time(f"{moment:%y%m%d%H%M%SZ}")


def items(content: bytes) -> list[bytes]:
    """Return the values that follow one another in `content`, each whole."""
    found: list[bytes] = []
    at = 0
    while at < len(content):
        start, end = body(content, at)
        found.append(content[at:end])
        at = end
        assert start <= end
    return found


def body(data: bytes, at: int = 0) -> tuple[int, int]:
    """Return where the content of the value at `at` begins and ends."""
    size, start = data[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        size, start = int.from_bytes(data[start : start + count], "big"), start + count
    return start, start + size
