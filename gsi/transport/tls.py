"""TLS between grid peers: contexts that admit proxy chains, sessions without sockets; the only door to `ssl`.

A client, blocking:

    tls = ClientTLS(credential)                          # or ClientTLS() to stay anonymous
    stream = TLSStream(connect(...), tls.session(verifier))
    stream.handshake()
    stream.send(b"0", request)                           # one record each at least, one write to the kernel

A server (`gsi.transport.serve` drives it):

    tls = ServerTLS(credential, trust_directory.anchors)
    session = tls.session()                              # one per connection
    peer = session.verify_peer(anchors, now=now)         # after the handshake; None = anonymous

Who judges. A client's session asks its `verifier` as soon as the server's certificates are there, and lets nothing of
its own, above all not its certificate, leave before the verifier agreed; OpenSSL judges nothing, so that the reasons
are `gsi.trust`'s. A server can ask for certificates only by letting OpenSSL look at them first: that look is made as
lenient as OpenSSL's rules for proxies allow (no CRLs, partial chains, security level 1), and `verify_peer` is the
judgement. Between the two the server's last flight should wait, so that `refuse_peer` can still end the handshake: some
clients go on without a certificate only then. What OpenSSL alone refuses is legacy (GT2, GT3) proxies and end entities
not meant for TLS clients.

Server names are not compared here (`gsi.trust.peername` does), SNI and ALPN are not sent; nothing is resumed.
Agrees with gct:gsi/gssapi on the wire: plain TLS records, minimum 1.2.
"""

from __future__ import annotations

import os
import ssl
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from gsi.errors import (
    ConfigError,
    CredentialError,
    CredentialProblem,
    GridError,
    LocalProtocolError,
    Reason,
    VerificationError,
)
from gsi.names import oneline
from gsi.transport.tls_errors import alert_for, reason_of, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.credential import Credential
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.options import ValidationOptions
    from gsi.trust.verify import VerificationCache, VerifiedPeer

__all__ = [
    "RECORD_BYTES",
    "ClientTLS",
    "PeerVerifier",
    "ServerTLS",
    "TLSSession",
    "TLSVersion",
    "chain_of",
    "parse_tls_version",
]

RECORD_BYTES: Final = 16384
"""The most plaintext in one TLS record (RFC 8446 section 5.1), and the unit of every read."""
SESSIONS_PER_CONTEXT: Final = 1000
"""OpenSSL keeps up to 20,480 finished sessions of a context for resumption, some 5 KiB each with a chain; a fresh
context after this many connections bounds that to a few megabytes."""
_CIPHERS: Final = "HIGH:!aNULL:!eNULL:!MD5:!RC4:!3DES:!PSK:!SRP:@SECLEVEL=1"
"""As the C side's `HIGH`, without anonymous and broken ones, for TLS 1.2. Level 1, because level 2 would refuse key
sizes and digests before our own validator can say why; SHA-1 signatures stay refused at level 1."""

_ENCODING_DER: Final = 2  # X509_FILETYPE_ASN1, for `_ssl.Certificate.public_bytes`

PeerVerifier: TypeAlias = "Callable[[tuple[bytes, ...]], VerifiedPeer]"
"""Judges the peer's chain (DER, leaf first): returns the proven peer or raises `VerificationError`."""


class TLSVersion(StrEnum):
    """The versions in use; older ones are not offered at all."""

    TLS1_2 = "1.2"
    TLS1_3 = "1.3"


_VERSIONS: Final = {TLSVersion.TLS1_2: ssl.TLSVersion.TLSv1_2, TLSVersion.TLS1_3: ssl.TLSVersion.TLSv1_3}
_VERSION_NAMES: Final = {
    "TLS1_2_VERSION": TLSVersion.TLS1_2,
    "TLS1_3_VERSION": TLSVersion.TLS1_3,
    "1.2": TLSVersion.TLS1_2,
    "1.3": TLSVersion.TLS1_3,
}


def parse_tls_version(text: str, *, default: TLSVersion) -> TLSVersion:
    """Read a version as `gsi.conf` and `GLOBUS_GSSAPI_MIN_TLS_PROTOCOL` write it; `0` and empty give the default.

    Raises:
        ConfigError: A version that is not known or no longer offered.
    """
    if text in ("", "0"):
        return default
    try:
        return _VERSION_NAMES[text]
    except KeyError:
        raise ConfigError(
            f"'{text}' is no TLS version that can be used", hint="TLS1_2_VERSION or TLS1_3_VERSION"
        ) from None


class ClientTLS:
    """What a client needs for connections: its credential, loaded once.

    Args:
        credential: Whom to be, or None to show no certificate.
        minimum: The lowest version to offer.
        maximum: The highest.

    Raises:
        CredentialError: OpenSSL cannot use the credential.
        ConfigError: The minimum is above the maximum.
    """

    __slots__ = ("_context",)

    def __init__(
        self,
        credential: Credential | None = None,
        *,
        minimum: TLSVersion = TLSVersion.TLS1_2,
        maximum: TLSVersion = TLSVersion.TLS1_3,
    ) -> None:
        context = _make_context(ssl.PROTOCOL_TLS_CLIENT, minimum, maximum)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the session's verifier judges, see the module's docstring
        if credential is not None:
            _load_credential(context, credential)
        self._context = context

    def session(self, verifier: PeerVerifier, *, server_name: str | None = None) -> TLSSession:
        """Start one connection.

        Args:
            verifier: Judges the server's chain before anything of ours leaves.
            server_name: A host name to tell the server (SNI, RFC 6066 section 3), so that it can choose its
                certificate; not compared with anything here.

        Raises:
            ConfigError: The name is none that SNI can carry.
        """
        return TLSSession(self._context, verifier=verifier, server_name=server_name)


class ServerTLS:
    """What a server needs for connections: its credential, and the trust anchors as they change.

    Args:
        credential: The server's own. Its issuers as far as the anchors know them are sent along, since clients
            without any trust yet take them from there.
        anchors: Returns the current snapshot; asked at every connection, so it has to be cheap.
        minimum: The lowest version to accept.
        maximum: The highest.
        ask_certificate: Whether clients are asked for a certificate; they may stay anonymous unless one is required.
        require_certificate: Refuse anonymous clients within the handshake.
        tickets: TLS 1.3 session tickets to send, 1 or 0. With one no client has to wait for data of ours before it may
            speak; GSS contexts send none, because they have a byte of their own for that.

    New anchors that no context can be made with leave the one before in use: its look at clients is only the first, and
    `verify_peer` judges by the new ones. An authority that OpenSSL cannot read is left out. Both are logged, to the
    logger of this module's name.

    Raises:
        CredentialError: OpenSSL cannot use the credential.
        ConfigError: The minimum is above the maximum.
    """

    __slots__ = (
        "_anchors",
        "_ask",
        "_context",
        "_credential",
        "_generation",
        "_is_stale",
        "_maximum",
        "_minimum",
        "_require",
        "_tickets",
        "_unreadable",
        "_used",
    )

    def __init__(
        self,
        credential: Credential,
        anchors: Callable[[], TrustAnchors],
        *,
        minimum: TLSVersion = TLSVersion.TLS1_2,
        maximum: TLSVersion = TLSVersion.TLS1_3,
        ask_certificate: bool = True,
        require_certificate: bool = False,
        tickets: int = 1,
    ) -> None:
        self._credential = credential
        self._anchors = anchors
        self._minimum = minimum
        self._maximum = maximum
        self._ask = ask_certificate
        self._require = require_certificate
        self._tickets = tickets
        self._used = 0
        self._is_stale = False
        self._unreadable: frozenset[str] = frozenset()
        snapshot = anchors()
        self._generation = snapshot.generation
        self._context = self._make(snapshot)

    def session(self) -> TLSSession:
        """Start one connection."""
        return TLSSession(self.context(), server_side=True)

    def context(self) -> ssl.SSLContext:
        """Return the context for one connection of a server that makes its own sessions, such as a web server's.

        Whoever uses it has to judge `chain_of` each connection: the handshake lets strangers in.
        """
        snapshot = self._anchors()
        if self._used >= SESSIONS_PER_CONTEXT or snapshot.generation != self._generation:
            self._renew(snapshot)
        self._used += 1
        return self._context

    def replace_credential(self, credential: Credential) -> None:
        """Use another credential from the next connection on.

        Raises:
            CredentialError: OpenSSL cannot use it; the old one stays.
        """
        before, self._credential = self._credential, credential
        try:
            self._context = self._make(self._anchors())
        except GridError:
            self._credential = before
            raise
        self._used = 0

    def _renew(self, anchors: TrustAnchors) -> None:
        """Make the context anew, or keep the old one and try again at the next connection."""
        try:
            self._context = self._make(anchors)
        except GridError as error:
            if not self._is_stale:
                _warn(f"the TLS context cannot be renewed, the old one stays in use: {error.message}")
            self._is_stale = True
            return
        self._is_stale = False
        self._generation = anchors.generation
        self._used = 0

    def _make(self, anchors: TrustAnchors) -> ssl.SSLContext:
        context = _make_context(ssl.PROTOCOL_TLS_SERVER, self._minimum, self._maximum)
        asked = ssl.CERT_REQUIRED if self._require else ssl.CERT_OPTIONAL
        context.verify_mode = asked if self._ask else ssl.CERT_NONE
        context.verify_flags = (
            ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST
            | ssl.VerifyFlags.VERIFY_ALLOW_PROXY_CERTS
            | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        )
        # At most one ticket, and that one stateful: in TLS 1.3 C clients wait for one more record after their Finished
        # and take a second one for an empty message; other clients take the NUL byte that the C server sends instead
        # for an empty response. One ticket serves them all.
        context.num_tickets = self._tickets
        context.options |= ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
        self._load_anchors(context, [authority.certificate for authority in anchors.authorities])
        _load_credential(context, self._credential, _find_issuers(self._credential, anchors))
        return context

    def _load_anchors(self, context: ssl.SSLContext, certificates: Sequence[Certificate]) -> None:
        """Load all that OpenSSL can read: its parser is not ours, and one certificate must not spoil the others."""
        try:
            if certificates:
                context.load_verify_locations(cadata=b"".join(certificate.der for certificate in certificates))
            self._unreadable = frozenset()
            return
        except ssl.SSLError:
            unreadable = set()
        for certificate in certificates:
            try:
                context.load_verify_locations(cadata=certificate.der)
            except ssl.SSLError as error:
                unreadable.add(certificate.fingerprint)
                if certificate.fingerprint not in self._unreadable:
                    name = oneline(certificate.subject_der)
                    _warn(f"OpenSSL cannot read the CA {name}, whose clients are refused: {reason_of(error)}")
        self._unreadable = frozenset(unreadable)


def _warn(message: str) -> None:
    import logging  # only servers come here, and clients start without it

    logging.getLogger(__name__).warning("%s", message)


def _make_context(protocol: int, minimum: TLSVersion, maximum: TLSVersion) -> ssl.SSLContext:
    if minimum > maximum:
        raise ConfigError(f"the lowest TLS version {minimum} is above the highest {maximum}")
    context = ssl.SSLContext(protocol)
    context.minimum_version = _VERSIONS[minimum]
    context.maximum_version = _VERSIONS[maximum]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Grid peers close without a closing alert; whether a message is whole its own protocol knows.
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    context.set_ciphers(_CIPHERS)
    return context


def _find_issuers(credential: Credential, anchors: TrustAnchors) -> list[Certificate]:
    """The authorities above the credential, from the anchors, root last."""
    issuers: list[Certificate] = []
    last = credential.certificates[-1]
    while not last.is_self_issued and len(issuers) < 10:  # no authority sits deeper; a loop must end
        found = anchors.find_authorities(last.issuer_der)
        if not found:
            break
        last = found[0].certificate
        issuers.append(last)
    return issuers


def _load_credential(context: ssl.SSLContext, credential: Credential, issuers: Sequence[Certificate] = ()) -> None:
    """Give OpenSSL the key and chain. `ssl` reads only files, so they pass through memory that has a path.

    An anonymous memory file never touches a disk and is gone when closed. Where there is none (not Linux, or /proc not
    mounted), a 0600 file in a private directory serves for the moment of reading.
    """
    pem = credential.encode() + b"".join(issuer.pem() for issuer in issuers)
    try:
        descriptor = os.memfd_create("credential", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        descriptor = -1
    try:
        if descriptor >= 0 and os.path.exists(path := f"/proc/self/fd/{descriptor}"):
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(pem)
            context.load_cert_chain(path)
        else:
            _load_through_disk(context, pem)
    except (ssl.SSLError, OSError) as error:
        raise CredentialError(
            f"OpenSSL cannot use the credential of {credential.subject}: {reason_of(error)}",
            problem=CredentialProblem.UNSUPPORTED_KEY,
        ) from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _load_through_disk(context: ssl.SSLContext, pem: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="gsi-") as directory:  # mode 0700
        path = os.path.join(directory, "credential.pem")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        context.load_cert_chain(path)


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
