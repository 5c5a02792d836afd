"""What the sessions tell their owners, and the buffer that turns bytes into whole messages; no order, no sockets.

Nothing frames a message of this protocol: a text ends at its NUL, a certificate request where its DER ends, a block of
certificates after as many as its first byte says. `ReceiveBuffer` finds these ends whatever way the bytes were split,
and holds no more than the limit of what it is waiting for. Every byte is looked at once, however it was split: what was
found so far is kept, since a peer chooses the size of its records and each must cost the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from gsi.der import object_length
from gsi.errors import ParseError, RemoteProtocolError
from myproxy.protocol.messages import SignatureBlock

if TYPE_CHECKING:
    from gsi.delegation import CertificateBlockParser
    from myproxy.protocol.messages import AuthorizationReply, Request, Response

__all__ = [
    "MAX_AUTHORIZATION_TEXT_BYTES",
    "MAX_CERTIFICATE_REQUEST_BYTES",
    "MAX_CREDENTIAL_TEXT_BYTES",
    "MAX_SIGNATURE_BYTES",
    "NEED_DATA",
    "AuthorizationReceived",
    "CertificateRequestReceived",
    "CertificatesReceived",
    "ConnectionClosed",
    "CredentialReceived",
    "Event",
    "NeedData",
    "PeerFailed",
    "ReceiveBuffer",
    "RequestReceived",
    "ResponseReceived",
]

MAX_CERTIFICATE_REQUEST_BYTES: Final = 65536
"""A PKCS#10 request: one with a 16384-bit key and a long subject is under 8 KiB."""
MAX_CREDENTIAL_TEXT_BYTES: Final = 1048576
"""A PEM credential as STORE and RETRIEVE carry it: key and chain, with whatever text users have between the blocks."""
MAX_AUTHORIZATION_TEXT_BYTES: Final = 20480
"""A pass phrase or base64 SASL data: the C programs' SASL buffer."""
MAX_SIGNATURE_BYTES: Final = 4096
"""A signature: one of RSA 16384 has half of it."""


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """Server: the client has asked."""

    request: Request


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """Client: the server has answered."""

    response: Response


@dataclass(frozen=True, slots=True)
class AuthorizationReceived:
    """Server: the client has answered an offer of authorization."""

    reply: AuthorizationReply


@dataclass(frozen=True, slots=True)
class CertificateRequestReceived:
    """A PKCS#10 request: the peer wants a proxy for its new key. Its content is not yet judged."""

    der: bytes


@dataclass(frozen=True, slots=True)
class CertificatesReceived:
    """A block of certificates, the new proxy first. Their content is not yet judged."""

    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class CredentialReceived:
    """A credential as PEM text: STORE on the server, RETRIEVE on the client."""

    pem: bytes


@dataclass(frozen=True, slots=True)
class PeerFailed:
    """Server: the client sent an error in place of certificates; nothing more follows."""

    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The peer has closed where it may."""


class NeedData(Enum):
    """The answer of `next_event` when no whole message is there."""

    NEED_DATA = "need data"


NEED_DATA: Final = NeedData.NEED_DATA

Event: TypeAlias = (
    RequestReceived
    | ResponseReceived
    | AuthorizationReceived
    | CertificateRequestReceived
    | CertificatesReceived
    | CredentialReceived
    | PeerFailed
    | ConnectionClosed
    | NeedData
)


class ReceiveBuffer:
    """Bytes not yet understood.

    Each `take_` method returns one whole message and drops it, or returns None when more bytes are needed.
    """

    __slots__ = ("_block", "_data", "_lines", "_searched", "_signature", "_skip_nul", "_taken", "burst_ended", "closed")

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0  # no NUL before this offset: a byte-by-byte peer must not cost quadratic time
        self._lines = 0  # line feeds before that offset
        self._block: CertificateBlockParser | None = None  # holds the bytes of a block that has begun
        self._signature: bytes | None = None  # of a signature block whose certificates are still to come
        self._taken = 0  # bytes of a message not yet whole that are no longer in `_data`
        self._skip_nul = False
        self.burst_ended = False  # the owner says that nothing more is under way just now
        self.closed = False

    def __len__(self) -> int:
        return self._taken + len(self._data)

    @property
    def missing(self) -> str:
        """What is known of a message that is not whole, for people."""
        if self._block is None:
            return f"{len(self)} bytes of it came"
        return f"{self._block.announced} certificates are announced, {self._block.complete} came whole"

    @property
    def in_block(self) -> bool:
        """Whether a block of certificates has begun and is not complete."""
        return self._block is not None

    @property
    def ends_between(self) -> bool:
        """Whether a block of certificates has begun, and what came of it ends with a whole one."""
        return self._block is not None and self._block.ends_between

    def receive(self, data: bytes) -> None:
        """Add bytes; no bytes mean the end of the stream.

        Raises:
            RemoteProtocolError: Bytes after the end.
        """
        if not data:
            self.closed = True
            return
        if self.closed:
            raise RemoteProtocolError("bytes after the end of the stream")
        self.burst_ended = False
        self._data += data

    def peek(self, count: int) -> bytes:
        """The first bytes, at most `count`, after NULs that only end what was before."""
        self._drop_stray_nuls()
        return bytes(self._data[:count])

    def take_byte(self) -> int | None:
        """Take one byte."""
        if not self._data:
            return None
        byte = self._data[0]
        self._drop(1)
        return byte

    def take_text(self, limit: int, what: str, *, max_lines: int | None = None) -> bytes | None:
        """Take a text up to its NUL, which is dropped; at the end of a burst or of the stream also without NUL.

        Raises:
            RemoteProtocolError: It is longer than `limit` bytes, or has more than `max_lines` line feeds; both show
                before it is whole.
        """
        self._drop_stray_nuls()
        end = self._data.find(b"\0", self._searched)
        reached = len(self._data) if end < 0 else end
        if max_lines is not None:
            self._lines += self._data.count(b"\n", self._searched, reached)
            if self._lines > max_lines:
                raise RemoteProtocolError(f"the {what} has more than {max_lines} lines")
        self._searched = reached
        if self._searched > limit:
            raise RemoteProtocolError(f"the {what} is longer than {limit} bytes")
        if end >= 0:
            text = bytes(self._data[:end])
            self._drop(end + 1)
            return text
        if self._data and (self.burst_ended or self.closed):
            text = bytes(self._data)
            self._drop(len(text))
            self._skip_nul = True  # it may still come
            return text
        return None

    def take_der(self, limit: int, what: str) -> bytes | None:
        """Take one DER object.

        Raises:
            RemoteProtocolError: It is no DER SEQUENCE, or longer than `limit` bytes.
        """
        self._drop_stray_nuls()
        if not self._data:
            return None
        if self._data[0] != 0x30:
            raise RemoteProtocolError(f"a {what} was expected, but the peer sent something else")
        try:
            length = object_length(bytes(self._data[:16]), what=what, limit=limit)
        except ParseError as error:
            raise RemoteProtocolError(f"the {what} cannot be read: {error}") from error
        if length is None or len(self._data) < length:
            return None
        der = bytes(self._data[:length])
        self._drop(length)
        return der

    def take_block(self, what: str) -> tuple[bytes, ...] | None:
        """Take a block of certificates: one byte with their number, then as many DER objects.

        Raises:
            RemoteProtocolError: It is no such block, or longer than `gsi.delegation.MAX_BLOCK_BYTES`.
        """
        from gsi.delegation import CertificateBlockParser

        if self._block is None:
            if not self._data:
                return None
            self._block = CertificateBlockParser()
        try:
            certificates = self._block.feed(bytes(self._data))
        except ParseError as error:
            raise RemoteProtocolError(f"the {what} cannot be read: {error}") from error
        self._taken += len(self._data)
        self._drop(len(self._data))
        if certificates is not None:
            self._data += self._block.rest
            self._taken = 0
            self._block = None
        return certificates

    def take_signature(self) -> SignatureBlock | None:
        """Take a signature block: a length of 4 bytes, the signature, then a block of certificates.

        Raises:
            RemoteProtocolError: It is no such block, or over the limits.
        """
        if self._signature is None:
            length = int.from_bytes(self._data[:4], "big")
            if len(self._data) >= 4 and not 0 < length <= MAX_SIGNATURE_BYTES:
                raise RemoteProtocolError(f"the signature has {length} bytes, more than {MAX_SIGNATURE_BYTES} or none")
            if len(self._data) < 4 + length:
                return None
            self._signature = bytes(self._data[4 : 4 + length])
            self._taken = 4 + length
            self._drop(self._taken)
        certificates = self.take_block("signer's certificates")
        if certificates is None:
            return None
        block = SignatureBlock(self._signature, certificates)
        self._signature = None
        return block

    def allow_stray_nuls(self) -> None:
        """Drop NULs in front of the next message: some texts end with two."""
        self._skip_nul = True

    def _drop_stray_nuls(self) -> None:
        if not self._skip_nul:
            return
        count = len(self._data) - len(self._data.lstrip(b"\0"))
        if count:
            self._drop(count)
        if self._data:
            self._skip_nul = False

    def _drop(self, count: int) -> None:
        del self._data[:count]
        self._searched = self._lines = 0
