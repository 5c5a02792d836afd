"""TLS between grid peers: contexts that admit proxy chains and start sessions (`gsi.transport.tls_session`).

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
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, CredentialError, CredentialProblem, GridError
from gsi.names import oneline
from gsi.transport.tls_errors import reason_of
from gsi.transport.tls_session import RECORD_BYTES, PeerVerifier, TLSSession, TLSVersion, chain_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gsi.certificate import Certificate
    from gsi.credential import Credential
    from gsi.trust.anchors import TrustAnchors

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

SESSIONS_PER_CONTEXT: Final = 1000
"""OpenSSL keeps up to 20,480 finished sessions of a context for resumption, some 5 KiB each with a chain; a fresh
context after this many connections bounds that to a few megabytes."""
_CIPHERS: Final = "HIGH:!aNULL:!eNULL:!MD5:!RC4:!3DES:!PSK:!SRP:@SECLEVEL=1"
"""As the C side's `HIGH`, without anonymous and broken ones, for TLS 1.2. Level 1, because level 2 would refuse key
sizes and digests before our own validator can say why; SHA-1 signatures stay refused at level 1."""

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
