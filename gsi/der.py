"""Strict DER in and out, and the only door to pyasn1's codecs; knows no certificate and no protocol.

Two ways in. `Reader` walks bytes whose layout the caller knows (a ProxyCertInfo, the fields of a certificate) without
pyasn1, which alone would cost every command 15 ms of start-up. `decode` hands a value to pyasn1 with a schema, after
`check_bounds` has refused what has hurt that decoder before: oversized tags, deep nesting, huge identifiers.

    reader = parse_one(data, what="ProxyCertInfo", tag=SEQUENCE)
    number = reader.integer()
    reader.finish()

Only definite, minimal lengths are read (X.690 section 10.1). Every fault is a `ParseError` with the byte offset.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from gsi.errors import ParseError

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "BIT_STRING",
    "BMP_STRING",
    "BOOLEAN",
    "ENUMERATED",
    "GENERALIZED_TIME",
    "IA5_STRING",
    "INTEGER",
    "MAX_DEPTH",
    "MAX_INTEGER_BYTES",
    "MAX_OID_BYTES",
    "NULL",
    "NUMERIC_STRING",
    "OBJECT_IDENTIFIER",
    "OCTET_STRING",
    "OID",
    "PRINTABLE_STRING",
    "REAL",
    "SEQUENCE",
    "SET",
    "T61_STRING",
    "UNIVERSAL_STRING",
    "UTC_TIME",
    "UTF8_STRING",
    "VISIBLE_STRING",
    "Reader",
    "check_bounds",
    "context",
    "decode",
    "encode",
    "encode_bit_string",
    "encode_boolean",
    "encode_explicit",
    "encode_integer",
    "encode_octet_string",
    "encode_oid",
    "encode_sequence",
    "encode_set",
    "encode_time",
    "encode_tlv",
    "object_length",
    "parse_one",
]

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OID: Final = 0x06
OBJECT_IDENTIFIER: Final = OID
REAL: Final = 0x09
ENUMERATED: Final = 0x0A
UTF8_STRING: Final = 0x0C
NUMERIC_STRING: Final = 0x12
PRINTABLE_STRING: Final = 0x13
T61_STRING: Final = 0x14
IA5_STRING: Final = 0x16
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
VISIBLE_STRING: Final = 0x1A
UNIVERSAL_STRING: Final = 0x1C
BMP_STRING: Final = 0x1E
SEQUENCE: Final = 0x30
SET: Final = 0x31

MAX_DEPTH: Final = 24  # the deepest structure in use (a VOMS attribute certificate) nests 14 deep
MAX_DECODE_BYTES: Final = 1 << 20  # no object of these protocols comes near 1 MiB; CRLs have their own limit
MAX_OID_BYTES: Final = 64  # the longest identifiers in use take 20 bytes; arcs of 128 bits (X.667) take 19 each
_KNOWN_OIDS: Final = 512  # identifiers kept in both forms: certificates use some fifty, again and again
MAX_INTEGER_BYTES: Final = 4096  # room for a 16384-bit modulus and half as much again
_LONG_TAG: Final = 0x1F
_FIRST_GENERALIZED_YEAR: Final = 2050
_T = TypeVar("_T")


def context(number: int, *, constructed: bool = True) -> int:
    """Return the tag byte of context-specific tag `number` (0 to 30)."""
    return (0xA0 if constructed else 0x80) | number


def _header(data: bytes, offset: int, end: int, what: str) -> tuple[int, int, int]:
    """Read one tag and length; return (tag, start of content, end of content)."""
    if offset + 2 > end:
        raise ParseError(f"{what}: data ends inside a tag or length", what=what, offset=offset)
    tag = data[offset]
    if tag & _LONG_TAG == _LONG_TAG:
        raise ParseError(f"{what}: tag numbers above 30 are not used here", what=what, offset=offset)
    length = data[offset + 1]
    start = offset + 2
    if length >= 0x80:
        count = length & 0x7F
        if count == 0:
            raise ParseError(f"{what}: indefinite length (BER) where DER is required", what=what, offset=offset)
        if count > 4 or start + count > end:
            raise ParseError(f"{what}: length field too long or cut off", what=what, offset=offset)
        length = int.from_bytes(data[start : start + count], "big")
        if length < 0x80 or data[start] == 0:
            raise ParseError(f"{what}: length not in its shortest form (BER)", what=what, offset=offset)
        start += count
    if start + length > end:
        raise ParseError(f"{what}: {length} bytes announced, {end - start} present", what=what, offset=offset)
    return tag, start, start + length


class Reader:
    """A cursor over consecutive DER values.

    Every method raises `ParseError` when the next value is not what was asked for.
    """

    __slots__ = ("_data", "_end", "_offset", "what")

    def __init__(self, data: bytes, *, what: str, offset: int = 0, end: int | None = None) -> None:
        self._data = data
        self._offset = offset
        self._end = len(data) if end is None else end
        self.what = what

    def at_end(self) -> bool:
        """Tell whether nothing is left."""
        return self._offset >= self._end

    def peek(self) -> int | None:
        """Return the next tag byte without moving, or None at the end."""
        return None if self._offset >= self._end else self._data[self._offset]

    def finish(self) -> None:
        """Insist that everything was read."""
        if self._offset < self._end:
            self._fail(f"{self._end - self._offset} bytes left over")

    def take_any(self) -> tuple[int, bytes, bytes]:
        """Return (tag, content, whole value) of the next value, whatever it is."""
        begin = self._offset
        tag, start, end = _header(self._data, begin, self._end, self.what)
        self._offset = end
        return tag, self._data[start:end], self._data[begin:end]

    def take(self, tag: int) -> bytes:
        """Return the content of the next value, which must have this tag."""
        start, end = self._expect(tag)
        return self._data[start:end]

    def take_raw(self, tag: int | None = None) -> bytes:
        """Return the next value whole, tag and length included."""
        begin = self._offset
        found, _, end = _header(self._data, begin, self._end, self.what)
        if tag is not None and found != tag:
            self._fail(f"tag 0x{tag:02x} expected, 0x{found:02x} found")
        self._offset = end
        return self._data[begin:end]

    def enter(self, tag: int) -> Reader:
        """Return a reader over the content of the next value, which must have this tag."""
        inner = object.__new__(Reader)  # without `__init__`, whose call would cost as much as all else here
        inner._data, inner.what = self._data, self.what
        inner._offset, inner._end = self._expect(tag)
        return inner

    def sequence(self) -> Reader:
        """Return a reader over the next SEQUENCE."""
        return self.enter(SEQUENCE)

    def integer(self) -> int:
        """Return the next INTEGER, at most `MAX_INTEGER_BYTES` long."""
        begin = self._offset
        content = self.take(INTEGER)
        if not content:
            self._fail("INTEGER without content", begin)
        if len(content) > MAX_INTEGER_BYTES:
            self._fail(f"INTEGER of {len(content)} bytes, limit {MAX_INTEGER_BYTES}", begin)
        if len(content) > 1 and (content[0] in {0x00, 0xFF}) and (content[0] ^ content[1]) < 0x80:
            self._fail("INTEGER not in its shortest form (BER)", begin)
        return int.from_bytes(content, "big", signed=True)

    def boolean(self) -> bool:
        """Return the next BOOLEAN (X.690 section 11.1: 00 or FF)."""
        content = self.take(BOOLEAN)
        if content not in {b"\x00", b"\xff"}:
            self._fail("BOOLEAN that is neither 00 nor FF")
        return content == b"\xff"

    def octet_string(self) -> bytes:
        """Return the bytes of the next OCTET STRING."""
        return self.take(OCTET_STRING)

    def bit_string(self) -> bytes:
        """Return the bytes of the next BIT STRING, which must hold whole bytes."""
        content = self.take(BIT_STRING)
        if not content or content[0] != 0:
            self._fail("BIT STRING that is not a whole number of bytes")
        return content[1:]

    def oid(self) -> str:
        """Return the next OBJECT IDENTIFIER in dotted form, at most `MAX_OID_BYTES` long."""
        begin = self._offset
        content = self.take(OID)
        if not content or content[-1] & 0x80:
            self._fail("OBJECT IDENTIFIER cut off", begin)
        if len(content) > MAX_OID_BYTES:
            self._fail(f"OBJECT IDENTIFIER of {len(content)} bytes, limit {MAX_OID_BYTES}", begin)
        dotted = _dotted(content)
        if dotted is None:
            self._fail("OBJECT IDENTIFIER arc not in its shortest form", begin)
        return dotted

    def _expect(self, tag: int) -> tuple[int, int]:
        begin = self._offset
        if begin + 2 <= self._end and self._data[begin] == tag and (length := self._data[begin + 1]) < 0x80:
            start, end = begin + 2, begin + 2 + length
            if end <= self._end:  # what nearly all values are, read without a call
                self._offset = end
                return start, end
        if self._offset >= self._end:
            self._fail(f"tag 0x{tag:02x} expected, end of data found")
        found, start, end = _header(self._data, self._offset, self._end, self.what)
        if found != tag:
            self._fail(f"tag 0x{tag:02x} expected, 0x{found:02x} found")
        self._offset = end
        return start, end

    def _fail(self, why: str, offset: int | None = None) -> NoReturn:
        raise ParseError(f"{self.what}: {why}", what=self.what, offset=self._offset if offset is None else offset)


@lru_cache(maxsize=_KNOWN_OIDS)
def _dotted(content: bytes) -> str | None:
    """Return the dotted form of an OBJECT IDENTIFIER's whole arcs; None for one that is not in its shortest form."""
    arcs: list[int] = []
    value = 0
    fresh = True
    for byte in content:
        if fresh and byte == 0x80:
            return None
        value = value << 7 | byte & 0x7F
        fresh = not byte & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def parse_one(data: bytes, *, what: str, tag: int = SEQUENCE) -> Reader:
    """Return a reader over the content of `data`, which must be exactly one value with this tag."""
    outer = Reader(data, what=what)
    inner = outer.enter(tag)
    outer.finish()
    return inner


def object_length(data: bytes, *, what: str, limit: int = MAX_DECODE_BYTES) -> int | None:
    """Return the length in bytes of the value that begins `data`, or None when its header is not complete.

    For streams without framing: more than `len(data)` means that the rest has to come.

    Raises:
        ParseError: The bytes do not begin a DER value, or it is longer than `limit`.
    """
    if len(data) < 2:
        return None
    if data[0] & _LONG_TAG == _LONG_TAG:
        raise ParseError(f"{what}: tag numbers above 30 are not used here", what=what, offset=0)
    length, header = data[1], 2
    if length >= 0x80:
        header += length & 0x7F
        if not 3 <= header <= 6:
            raise ParseError(f"{what}: indefinite or oversized length", what=what, offset=1)
        if len(data) < header:
            return None
        length = int.from_bytes(data[2:header], "big")
        if length < 0x80 or data[2] == 0:
            raise ParseError(f"{what}: length not in its shortest form (BER)", what=what, offset=1)
    if header + length > limit:
        raise ParseError(f"{what}: {header + length} bytes announced, limit {limit}", what=what, offset=1)
    return header + length


def check_bounds(data: bytes, *, what: str, max_bytes: int = MAX_DECODE_BYTES, max_depth: int = MAX_DEPTH) -> None:
    """Refuse bytes that a recursive decoder must not be given, without recursion.

    Checks the size, that exactly one value is there, the nesting of constructed values, the length of integers and
    identifiers, and that no REAL occurs (no grid structure has one).

    Raises:
        ParseError: Naming the first breach.
    """
    if len(data) > max_bytes:
        raise ParseError(f"{what}: {len(data)} bytes, limit {max_bytes}", what=what, offset=0)
    _, _, end = _header(data, 0, len(data), what)
    if end != len(data):
        raise ParseError(f"{what}: {len(data) - end} bytes left over", what=what, offset=end)
    ends = [end]
    offset = 0
    while ends:
        if offset == ends[-1]:
            ends.pop()
            continue
        tag, start, stop = _header(data, offset, ends[-1], what)
        if tag == REAL:
            raise ParseError(f"{what}: REAL has no place here", what=what, offset=offset)
        if tag == OID and stop - start > MAX_OID_BYTES:
            raise ParseError(f"{what}: OBJECT IDENTIFIER too long", what=what, offset=offset)
        if tag == INTEGER and stop - start > MAX_INTEGER_BYTES:
            raise ParseError(f"{what}: INTEGER too long", what=what, offset=offset)
        if tag & 0x20:
            if len(ends) > max_depth:
                raise ParseError(f"{what}: nested deeper than {max_depth}", what=what, offset=offset)
            ends.append(stop)
            offset = start
        else:
            offset = stop


def decode(data: bytes, spec: _T, *, what: str, max_bytes: int = MAX_DECODE_BYTES) -> _T:
    """Decode exactly one DER value by a pyasn1 schema.

    Raises:
        ParseError: The bytes break a bound, do not fit the schema, or more follow.
    """
    check_bounds(data, what=what, max_bytes=max_bytes)
    from pyasn1.codec.der import decoder

    try:
        value, rest = decoder.decode(data, asn1Spec=spec)
    except Exception as error:  # pyasn1 lets foreign exceptions out on hostile input
        raise ParseError(f"{what}: {type(error).__name__} while decoding", what=what) from error
    if rest:
        raise ParseError(f"{what}: {len(rest)} bytes left over", what=what, offset=len(data) - len(rest))
    decoded: _T = value
    return decoded


def encode(value: object) -> bytes:
    """Encode a pyasn1 value as DER."""
    from pyasn1.codec.der import encoder

    encoded: bytes = encoder.encode(value)
    return encoded


def encode_tlv(tag: int, content: bytes) -> bytes:
    """Return one value with a single-byte tag."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def encode_sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of values already encoded."""
    return encode_tlv(SEQUENCE, b"".join(parts))


def encode_set(*parts: bytes) -> bytes:
    """Return a SET OF values already encoded, in DER order (X.690 section 11.6)."""
    return encode_tlv(SET, b"".join(sorted(parts)))


def encode_integer(number: int) -> bytes:
    """Return an INTEGER."""
    size = (number if number >= 0 else ~number).bit_length() // 8 + 1
    return encode_tlv(INTEGER, number.to_bytes(size, "big", signed=True))


def encode_boolean(value: bool) -> bytes:  # the value itself, not a switch
    """Return a BOOLEAN."""
    return encode_tlv(BOOLEAN, b"\xff" if value else b"\x00")


def encode_octet_string(content: bytes) -> bytes:
    """Return an OCTET STRING."""
    return encode_tlv(OCTET_STRING, content)


def encode_bit_string(content: bytes) -> bytes:
    """Return a BIT STRING of whole bytes."""
    return encode_tlv(BIT_STRING, b"\x00" + content)


def encode_time(moment: datetime) -> bytes:
    """Return a Time in whole seconds: UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 section 4.1.2.5).

    Args:
        moment: Aware UTC, from 1950 to 9999.
    """
    if moment.year < _FIRST_GENERALIZED_YEAR:
        return encode_tlv(UTC_TIME, f"{moment:%y%m%d%H%M%SZ}".encode())
    return encode_tlv(GENERALIZED_TIME, f"{moment:%Y%m%d%H%M%SZ}".encode())


def encode_explicit(number: int, value: bytes) -> bytes:
    """Return an encoded value under the explicit context-specific tag `number`."""
    return encode_tlv(context(number), value)


def encode_oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER from its dotted form.

    Raises:
        ParseError: The text is not a dotted object identifier, or it is longer than `MAX_OID_BYTES`.
    """
    return _encode_oid(dotted)


@lru_cache(maxsize=_KNOWN_OIDS)
def _encode_oid(dotted: str) -> bytes:
    what = "object identifier"
    arcs = [int(arc) if arc.isascii() and arc.isdigit() and len(arc) <= 40 else -1 for arc in dotted.split(".")]
    if len(arcs) < 2 or min(arcs) < 0 or arcs[0] > 2 or (arcs[0] < 2 and arcs[1] > 39):
        raise ParseError(f"{what}: {dotted!r} is not one", what=what, hint="write it as numbers and dots: 1.2.3.4")
    content = bytearray()
    for arc in (arcs[0] * 40 + arcs[1], *arcs[2:]):
        groups = [arc & 0x7F]
        while arc := arc >> 7:  # the shift is the loop
            groups.append(0x80 | arc & 0x7F)
        content += bytes(reversed(groups))
    if len(content) > MAX_OID_BYTES:
        raise ParseError(f"{what}: longer than {MAX_OID_BYTES} bytes", what=what)
    return encode_tlv(OID, bytes(content))
