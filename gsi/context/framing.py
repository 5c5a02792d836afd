"""How tokens travel: bare TLS records, behind four bytes of length, or as base64 in FTP lines; no TLS state, no I/O.

    reader = TokenReader()
    for token in reader.feed(stream.receive()):      # one record, or what one length announced
        step = context.step(token)
    stream.send(frame_token(step.output, Framing.LENGTH))
    line = encode_base64(step.output)                # for ADAT, ENC and 63x

A bare token is one TLS record, since nothing else says where it ends; a framed one may hold several. A reader takes
both, each token by its own first bytes, as the gatekeeper does. Agrees with gct:gsi/gss_assist/source/tokens_f.c and
gct:xio/drivers/gsi, but for what has no use any more: SSLv2 hellos, and tokens of type 26 (integrity without
encryption), which those functions misread themselves.
"""

from __future__ import annotations

import base64
import binascii
from enum import Enum
from typing import Final

from gsi.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "MAX_HANDSHAKE_BYTES",
    "MAX_RECORD_BYTES",
    "MAX_TOKEN_BYTES",
    "Framing",
    "RecordSplitter",
    "TokenReader",
    "decode_base64",
    "encode_base64",
    "frame_token",
]

MAX_HANDSHAKE_BYTES: Final = 1 << 20  # OpenSSL takes 100 KiB of certificates; the rest is room for framing
MAX_TOKEN_BYTES: Final = 32 << 20  # XIO's own limit for a token; one that carries data
HEADER_BYTES: Final = 5  # of a TLS record: type, version, length
MAX_RECORD_BYTES: Final = HEADER_BYTES + (1 << 14) + 2048  # RFC 5246 section 6.2.3; TLS 1.3 allows less
_RECORD_TYPES: Final = range(20, 24)  # change cipher spec, alert, handshake, application data
_MIC_TYPE: Final = 26  # what GSI calls its own records with a message integrity code
_LENGTH_BYTES: Final = 4
_LEAST_BARE: Final = 6  # shorter tokens always get a length (gct:gss_assist)


class Framing(Enum):
    """What a sender puts before a token."""

    BARE = "bare"
    """Nothing: GridFTP data channels, MyProxy, and what the gatekeeper sends."""
    LENGTH = "length"
    """Four bytes of length, big endian, as GRAM clients send their handshake."""
    MIXED = "mixed"
    """Nothing before what looks like TLS, a length before everything else: `gss_assist` and XIO for data."""


class RecordSplitter:
    """Cuts a stream of TLS records at their headers; does not decrypt."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data

    def next_record(self) -> bytes | None:
        """Return the next whole record, or None while there is none.

        Raises:
            RemoteProtocolError: What came is no TLS record.
        """
        length = _record_length(self._buffer)
        if length is None or len(self._buffer) < length:
            return None
        record = bytes(self._buffer[:length])
        del self._buffer[:length]
        return record

    @property
    def is_empty(self) -> bool:
        """Whether everything that came has been returned."""
        return not self._buffer

    def take_rest(self) -> bytes:
        """Return and forget what has not been returned as a record."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


def _record_length(data: bytes | bytearray) -> int | None:
    """The length of the record that begins the data with its header, or None while the header is incomplete."""
    if data and data[0] not in _RECORD_TYPES:
        raise _not_tls(data[0])
    if len(data) > 1 and data[1] != 3:
        raise RemoteProtocolError(f"a TLS record of version {data[1]} came", hint="the peer does not speak TLS")
    if len(data) < HEADER_BYTES:
        return None
    length = HEADER_BYTES + int.from_bytes(data[3:5], "big")
    if length > MAX_RECORD_BYTES:
        raise RemoteProtocolError(f"a TLS record of {length} bytes came, limit {MAX_RECORD_BYTES}")
    return length


def _not_tls(kind: int) -> RemoteProtocolError:
    if kind == _MIC_TYPE:
        return RemoteProtocolError(
            "the peer sent a message with an integrity code in place of an encrypted one",
            hint="integrity codes of GSI can be forged and are not taken; have the peer use the default protection",
        )
    return RemoteProtocolError(f"no TLS record came but something that begins with byte {kind}")


class TokenReader:
    """Finds the tokens in a stream of bytes, each framed in its own way.

    Args:
        limit: The most bytes of one token with a length before it.
    """

    __slots__ = ("_buffer", "_limit")

    def __init__(self, *, limit: int = MAX_HANDSHAKE_BYTES) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data

    def next_token(self) -> bytes | None:
        """Return the next token without its frame, or None while it is incomplete.

        Raises:
            RemoteProtocolError: Neither a record nor a length, or a token that is empty or too long.
        """
        if not self._buffer:
            return None
        start, end = 0, None
        if self._buffer[0] == 0:
            if len(self._buffer) < _LENGTH_BYTES:
                return None
            length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if not 0 < length <= self._limit:
                raise RemoteProtocolError(f"a token of {length} bytes is announced, limit {self._limit}")
            start, end = _LENGTH_BYTES, _LENGTH_BYTES + length
        else:
            end = _record_length(self._buffer)
        if end is None or len(self._buffer) < end:
            return None
        token = bytes(self._buffer[start:end])
        del self._buffer[:end]
        return token

    def raise_limit(self, limit: int) -> None:
        """Take tokens of this size from now on, once the peer is known."""
        self._limit = limit

    def take_rest(self) -> bytes:
        """Return and forget what has come after the last token, where clear bytes follow (`PROT C`)."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


def frame_token(token: bytes, framing: Framing) -> bytes:
    """Return a token as it goes over a stream.

    Raises:
        LocalProtocolError: It is empty, or too long for its frame.
    """
    if not token:
        raise LocalProtocolError("an empty token cannot be sent")
    if len(token) > MAX_TOKEN_BYTES:
        raise LocalProtocolError(f"a token of {len(token)} bytes, limit {MAX_TOKEN_BYTES}")
    looks_like_tls = len(token) >= _LEAST_BARE and token[0] in _RECORD_TYPES and token[1] == 3
    if framing is Framing.LENGTH or (framing is Framing.MIXED and not looks_like_tls):
        return len(token).to_bytes(_LENGTH_BYTES, "big") + token
    return token


def encode_base64(token: bytes) -> str:
    """Return a token as FTP lines carry it: one line, padded (RFC 2228 section 9).

    Raises:
        LocalProtocolError: It is empty.
    """
    if not token:
        raise LocalProtocolError("an empty token cannot be sent")
    return base64.b64encode(token).decode()


def decode_base64(text: str, *, limit: int = MAX_HANDSHAKE_BYTES) -> bytes:
    """Return the token in an FTP line.

    Raises:
        RemoteProtocolError: Not base64 with its padding, empty, or longer than the limit.
    """
    if len(text) > (limit + 2) // 3 * 4:
        raise RemoteProtocolError(f"a token of {len(text)} characters, limit {limit} bytes")
    try:
        token = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise RemoteProtocolError("a token that is not base64") from None
    if not token:
        raise RemoteProtocolError("an empty token")
    return token
