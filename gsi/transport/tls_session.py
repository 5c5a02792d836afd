"""One TLS connection between grid peers without its socket: bytes in, bytes out, and the judgement of the peer.

    session = ClientTLS(credential).session(verifier)    # gsi.transport.tls makes them
    session.receive_data(data); session.handshake(); socket.sendall(session.data_to_send())

Not here: contexts and credentials (`gsi.transport.tls`, whose docstring says who judges whom), sockets
(`gsi.transport.tls_stream`, `gsi.transport.serve`).
"""

from __future__ import annotations

import ssl
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from gsi.errors import ConfigError, LocalProtocolError, Reason, VerificationError
from gsi.transport.tls_errors import alert_for, translate

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.options import ValidationOptions
    from gsi.trust.verify import VerificationCache, VerifiedPeer

__all__ = ["RECORD_BYTES", "PeerVerifier", "TLSSession", "TLSVersion", "chain_of"]

RECORD_BYTES: Final = 16384
"""The most plaintext in one TLS record (RFC 8446 section 5.1), and the unit of every read."""
_ENCODING_DER: Final = 2  # X509_FILETYPE_ASN1, for `_ssl.Certificate.public_bytes`

PeerVerifier: TypeAlias = "Callable[[tuple[bytes, ...]], VerifiedPeer]"
"""Judges the peer's chain (DER, leaf first): returns the proven peer or raises `VerificationError`."""


class TLSVersion(StrEnum):
    """The versions in use; older ones are not offered at all."""

    TLS1_2 = "1.2"
    TLS1_3 = "1.3"


class TLSSession:
    """One TLS connection without its socket. Made by `ClientTLS.session` and `ServerTLS.session`.

    Feed what arrives to `receive_data`, call `handshake` until it says True, then `read` and `write`; after every call
    send what `data_to_send` returns, also when a call raised: an alert for the peer may be in it.

    Attributes:
        peer: The proven peer: on a client once the handshake is done, on a server after `verify_peer`; None for an
            anonymous client.
    """

    __slots__ = (
        "_closed",
        "_established",
        "_incoming",
        "_outgoing",
        "_server_side",
        "_tls",
        "_verified",
        "_verifier",
        "peer",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        verifier: PeerVerifier | None = None,
        server_name: str | None = None,
    ) -> None:
        if not server_side and verifier is None:
            raise LocalProtocolError("a TLS client needs a verifier for the server's certificates")
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._server_side = server_side
        self._verifier = verifier
        self._verified = False
        self._established = False
        self._closed = False
        try:
            self._tls = context.wrap_bio(
                self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
            )
        except (ValueError, UnicodeError) as error:
            raise ConfigError(f"'{server_name}' is not a host name: {error}") from error
        self.peer: VerifiedPeer | None = None

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer; no bytes mean that it has closed."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def data_to_send(self) -> bytes:
        """Return and forget the bytes for the peer: everything in one piece, for one write."""
        return self._outgoing.read()

    def handshake(self) -> bool:
        """Go on with the handshake; True once it is done.

        Raises:
            VerificationError: The peer's certificates were refused.
            AuthenticationError: The peer refused ours.
            TransportError: TLS failed, or the peer closed.
        """
        if self._established:
            return True
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._judge_server()
            return False
        except ssl.SSLError as error:
            self._judge_server()  # what is wrong with the server comes before what is wrong with its records
            if not self._server_side and not self._verified:
                self._outgoing.read()  # nothing of ours for a stranger, not even the reason
            raise translate(error, "TLS handshake failed") from error
        self._judge_server()
        if not self._server_side and not self._verified:
            self._outgoing.read()
            raise VerificationError("the server showed no certificate", reason=Reason.NO_CERTIFICATE)
        self._established = True
        return True

    def read(self) -> bytes:
        """Return decrypted bytes, at most one record; none when there are none just now or the peer has closed.

        Raises:
            AuthenticationError: The peer refused our certificate; in TLS 1.3 that shows only now.
            TransportError: TLS failed.
        """
        try:
            data = self._tls.read(RECORD_BYTES)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            raise translate(error, "TLS failed") from error
        self._closed = not data  # this is how `ssl` tells of a closing alert
        return data

    def write(self, message: bytes) -> None:
        """Encrypt a message into records of its own; none are shared with other messages.

        Raises:
            LocalProtocolError: Before the end of the handshake.
            TransportError: TLS failed.
        """
        if not self._established:
            raise LocalProtocolError("nothing can be sent before the TLS handshake is done")
        rest = memoryview(message)
        while rest:
            try:
                rest = rest[self._tls.write(rest) :]
            except ssl.SSLError as error:
                raise translate(error, "TLS failed") from error

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` would return anything."""
        return self._outgoing.pending > 0

    @property
    def cipher(self) -> str | None:
        """OpenSSL's name of the cipher suite agreed on, or None before."""
        found = self._tls.cipher()
        return None if found is None else found[0]

    @property
    def is_closed(self) -> bool:
        """Whether `read` met the peer's closing alert; grid peers mostly close without one."""
        return self._closed

    @property
    def is_established(self) -> bool:
        """Whether the handshake is done, and on a client the server is proven."""
        return self._established

    @property
    def version(self) -> TLSVersion | None:
        """The version agreed on, or None before."""
        name = self._tls.version()
        return TLSVersion(name.removeprefix("TLSv")) if name in ("TLSv1.2", "TLSv1.3") else None

    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        """The peer's certificates as it sent them, DER, leaf first; empty for an anonymous client."""
        return chain_of(self._tls)

    def verify_peer(
        self,
        anchors: TrustAnchors,
        *,
        now: datetime,
        options: ValidationOptions | None = None,
        cache: VerificationCache | None = None,
    ) -> VerifiedPeer | None:
        """Judge the client's certificates in full and return the proven peer, or None for an anonymous one.

        A resumed session is judged anew like any other, and refused when it brings no certificates: with resumption
        OpenSSL may know the leaf of the first connection but not its chain, so anonymity cannot be told from loss.

        Raises:
            VerificationError: The chain is not to be trusted.
            LocalProtocolError: Before the end of the handshake.
        """
        from gsi.trust.options import ValidationOptions
        from gsi.trust.verify import verify_chain

        if not self._established:
            raise LocalProtocolError("the peer cannot be judged before the TLS handshake is done")
        chain = self.peer_chain
        if not chain:
            if self._tls.session_reused or self._tls.getpeercert(binary_form=True):
                raise VerificationError(
                    "the client resumed an earlier session without its certificates",
                    reason=Reason.NO_CERTIFICATE,
                    hint="connect anew, without session resumption",
                )
            self.peer = None
            return None
        self.peer = verify_chain(chain, anchors, now=now, options=options or ValidationOptions(), cache=cache)
        return self.peer

    def refuse_peer(self, error: VerificationError) -> bool:
        """End the handshake with an alert in place of what was due next.

        Args:
            error: What `verify_peer` or the verifier raised; its reason chooses the alert.

        Returns:
            False when it is too late: on a client, the handshake is done; on a server, the last flight is sent, or this
            is TLS 1.3, where a client is done before the server has seen its certificate.
        """
        if self._server_side:
            if self.version is not TLSVersion.TLS1_2 or not self._outgoing.pending:
                return False
        elif self._established:
            return False
        self._outgoing.read()
        # As a plain record. A client turns decryption on at our ChangeCipherSpec, which never went out; a server still
        # reads plain alerts as long as nothing encrypted came from the client (RFC 8446 section 6).
        self._outgoing.write(bytes((21, 3, 3, 0, 2, 2, alert_for(error.reason))))
        return True

    def _judge_server(self) -> None:
        """On a client: ask the verifier as soon as the server's chain is there, with all output still held."""
        if self._server_side or self._verified or self._verifier is None:
            return
        chain = self.peer_chain
        if not chain:
            return
        try:
            self.peer = self._verifier(chain)
        except BaseException:
            self._outgoing.read()  # our certificate may be in it
            raise
        self._verified = True


def chain_of(tls: ssl.SSLObject | ssl.SSLSocket) -> tuple[bytes, ...]:
    """Return the chain as the peer sent it, DER, leaf first; empty for an anonymous client. Nobody has judged it yet.

    Public from Python 3.13, before that on the inner object only.
    """
    public = getattr(tls, "get_unverified_chain", None)
    if public is None:
        inner = tls._sslobj.get_unverified_chain()  # type: ignore[union-attr]  # noqa: SLF001  no other way on 3.11 and 3.12
        found = [one for one in inner or () if one is not None]  # a server sees [None] for an anonymous client
        return tuple(one.public_bytes(_ENCODING_DER) for one in found)
    try:
        return tuple(public())
    except AttributeError:
        return ()  # Python 3.13 stumbles over that same None; nobody has shown a certificate
