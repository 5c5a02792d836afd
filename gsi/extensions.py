"""Extensions in and out: KeyUsage and BasicConstraints, which every room asks about, and any as bytes; judges nothing.

    bits = parse_key_usage(value)
    may_sign = bits & DIGITAL_SIGNATURE
    is_ca, path_length = parse_basic_constraints(value)
    encode_extension(oids.KEY_USAGE, True, encode_named_bits(bits))

One decoder for all of them, so that no room can see a right in bytes where another sees none.
"""

from __future__ import annotations

from typing import Final

from gsi import der
from gsi.errors import ParseError

__all__ = [
    "CONTENT_COMMITMENT",
    "CRL_SIGN",
    "DIGITAL_SIGNATURE",
    "KEY_CERT_SIGN",
    "encode_extension",
    "encode_named_bits",
    "parse_basic_constraints",
    "parse_key_usage",
]

DIGITAL_SIGNATURE: Final = 1 << 0  # RFC 5280 section 4.2.1.3: bit 0
CONTENT_COMMITMENT: Final = 1 << 1  # called nonRepudiation before
KEY_CERT_SIGN: Final = 1 << 5
CRL_SIGN: Final = 1 << 6

_KEY_USAGE: Final = "KeyUsage"
_BASIC_CONSTRAINTS: Final = "BasicConstraints"


def parse_key_usage(value: bytes) -> int:
    """Return the bits of a KeyUsage, bit n of the standard as `1 << n`.

    Nine bits are defined, so one or two bytes. Zero bits at the end should be cut off (X.690 section 11.2.2) but are
    not by all; they take and give nothing. A bit set among those that are said to be unused (section 11.2.1) is
    refused: one reader would see it and another would not.

    Raises:
        ParseError: Not such a BIT STRING in DER.
    """
    size = len(value)
    if value == b"\x03\x01\x00":
        return 0
    if size not in {4, 5} or value[0] != der.BIT_STRING or value[1] != size - 2 or value[2] > 7:
        raise ParseError(f"{_KEY_USAGE}: not a BIT STRING of nine bits", what=_KEY_USAGE)
    if value[-1] & ((1 << value[2]) - 1):
        raise ParseError(f"{_KEY_USAGE}: a bit set among the unused ones", what=_KEY_USAGE)
    bits = int(f"{value[3]:08b}"[::-1], 2)
    return bits if size == 4 else bits | int(f"{value[4]:08b}"[::-1], 2) << 8


def parse_basic_constraints(value: bytes) -> tuple[bool, int | None]:
    """Return whether the subject is a CA, and its path length, None for no limit (RFC 5280 section 4.2.1.9).

    FALSE written out is not DER (X.690 section 11.5), but old CAs do it and it takes nothing away.

    Raises:
        ParseError: Malformed, or a path length that is negative or stands without CA.
    """
    if value == b"\x30\x00":
        return False, None
    if value == b"\x30\x03\x01\x01\xff":
        return True, None
    reader = der.parse_one(value, what=_BASIC_CONSTRAINTS)
    is_ca = reader.boolean() if reader.peek() == der.BOOLEAN else False
    path_length = None
    if not reader.at_end():
        path_length = reader.integer()
        if path_length < 0 or not is_ca:
            raise ParseError(f"{_BASIC_CONSTRAINTS}: path length negative or without CA", what=_BASIC_CONSTRAINTS)
    reader.finish()
    return is_ca, path_length


def encode_extension(oid: str, critical: bool, value: bytes) -> bytes:
    """Return one Extension (RFC 5280 section 4.1); FALSE is the default of critical and not written.

    Raises:
        ParseError: `oid` is no object identifier.
    """
    flag = der.encode_boolean(True) if critical else b""
    return der.encode_sequence(der.encode_oid(oid), flag, der.encode_octet_string(value))


def encode_named_bits(bits: int) -> bytes:
    """Return a BIT STRING of named bits, bit n of the standard as `1 << n`; zeros at the end cut (X.690 s. 11.2.2)."""
    length = bits.bit_length()
    content = bytearray((length + 7) // 8)
    for number in range(length):
        if bits >> number & 1:
            content[number // 8] |= 0x80 >> number % 8
    return der.encode_tlv(der.BIT_STRING, bytes((-length % 8,)) + bytes(content))
