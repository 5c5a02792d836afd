"""A MyProxy client: a connection, a session, and one method per thing a user does; no files, no prompts.

    client = MyProxyClient(ServerAddress.parse("myproxy.example.org"), anchors, credential=credential)
    client.put(Request(Command.PUT, "alice", passphrase, lifetime=timedelta(hours=12)), signer)
    proxy = client.get(Request(Command.GET, "alice", passphrase, lifetime=timedelta(hours=12)), generate_key())
    client.info("alice"), client.destroy("alice")

Every call is one connection: connect, prove the server (`gsi.trust`), ask, close. What a server refuses is a
`RefusedError` with the server's words; when it refuses our certificate, in the handshake or in words, an
`AuthenticationError`: without a certificate it may be of another mind. Must agree with gct:myproxy/source/myproxy.c
and myproxy_*.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TypeVar

from gsi.errors import (
    AuthenticationError,
    CredentialError,
    CredentialProblem,
    GridError,
    Reason,
    RefusedError,
    RemoteProtocolError,
    TransportError,
    VerificationError,
)
from gsi.system import clock
from gsi.transport.stream import CONNECT_TIMEOUT, READ_TIMEOUT, HostPort, PortRange, connect, parse_hosts
from gsi.transport.tls import ClientTLS, TLSVersion
from gsi.transport.tls_stream import TLSStream
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.peername import NameMode, check_peer_name
from gsi.trust.verify import verify_chain
from myproxy.protocol.client import ClientSession
from myproxy.protocol.codec import DUMMY_PASSPHRASE
from myproxy.protocol.events import (
    NEED_DATA,
    CertificateRequestReceived,
    CertificatesReceived,
    Event,
    ResponseReceived,
)
from myproxy.protocol.messages import (
    METHOD_NAMES,
    AuthorizationMethod,
    AuthorizationReply,
    Command,
    CredentialInfo,
    Request,
    Response,
    ResponseType,
    SignatureBlock,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.credential import Credential
    from gsi.keys import PrivateKey
    from gsi.proxy.issue import ProxyOptions
    from gsi.transport.stream import TCPStream
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer

__all__ = ["DEFAULT_PORT", "MAX_ROUNDS", "MyProxyClient", "ServerAddress"]

DEFAULT_PORT: Final = 7512
MAX_ROUNDS: Final = 32
"""Authorization rounds: SASL mechanisms take three; a server must not keep a client forever."""
REFUSES_CERTIFICATE: Final = "authentication failed"
"""How a server's refusal begins when it is about the client's certificate."""
_CHALLENGE: Final = re.compile(r"[0-9a-fA-F]{32}")
"""What a server may have signed: 16 random bytes in hexadecimal, and nothing that could mean something elsewhere."""
_Binary = TypeVar("_Binary", CertificateRequestReceived, CertificatesReceived)
_SERVER_OPTIONS: Final = ValidationOptions(
    purpose=Purpose.SERVER,
    # Servers may run under a user's credential; the C clients do not look at this extension either.
    ignore_extended_key_usage=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where the server is, who it must be, and how long to wait.

    Attributes:
        hosts: Tried in this order.
        expected_dn: The one-line name that the server must have; None goes by the host name.
        name_mode: How the host name is compared with the certificate.
        connect_timeout: Seconds for each address.
        read_timeout: Seconds of silence.
        port_range: Local ports, or None for any.
        minimum_tls: The lowest TLS version.
        maximum_tls: The highest.
    """

    hosts: tuple[HostPort, ...]
    expected_dn: str | None = None
    name_mode: NameMode = NameMode.STRICT_RFC2818
    connect_timeout: float = CONNECT_TIMEOUT
    read_timeout: float = READ_TIMEOUT
    port_range: PortRange | None = None
    minimum_tls: TLSVersion = TLSVersion.TLS1_2
    maximum_tls: TLSVersion = TLSVersion.TLS1_3

    @classmethod
    def parse(cls, hosts: str, *, port: int = DEFAULT_PORT) -> ServerAddress:
        """Return the address that `host[:port],...` stands for.

        Raises:
            ConfigError: It is no such list.
        """
        return cls(hosts=parse_hosts(hosts, default_port=port))


class MyProxyClient:
    """Talks to one server, or to the first of several that answers.

    Args:
        address: The server.
        anchors: Whom to trust.
        credential: Whom to be; None is anonymous, which is enough for `get` with a pass phrase.
        now: The clock.
        progress: Told what happens, in words for a person; for `--verbose`.

    Attributes:
        connected_to: The entry of the list that the last call reached; None before.
        server: Who the server of the last call proved to be; None before.
    """

    def __init__(
        self,
        address: ServerAddress,
        anchors: TrustAnchors,
        *,
        credential: Credential | None = None,
        now: Callable[[], datetime] = clock.now,
        progress: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._address = address
        self._anchors = anchors
        self._now = now
        self._progress = progress
        self._tls = ClientTLS(credential, minimum=address.minimum_tls, maximum=address.maximum_tls)
        self.connected_to: HostPort | None = None
        self.server: VerifiedPeer | None = None

    def info(self, username: str, credential_name: str | None = None) -> tuple[CredentialInfo, ...]:
        """Return what the server tells about the caller's stored credentials, the unnamed one first.

        Raises:
            RefusedError: The server said no; also when there are none.
            GridError: No connection, or the server is not trusted.
        """
        request = Request(Command.INFO, username, DUMMY_PASSPHRASE, credential_name=credential_name)
        with self._converse() as conversation:
            return conversation.ask(request).credentials

    def destroy(self, username: str, credential_name: str | None = None) -> None:
        """Remove a stored credential.

        Raises:
            RefusedError: The server said no.
            GridError: No connection, or the server is not trusted.
        """
        with self._converse() as conversation:
            conversation.ask(Request(Command.DESTROY, username, DUMMY_PASSPHRASE, credential_name=credential_name))

    def put(self, request: Request, signer: Credential, options: ProxyOptions | None = None) -> None:
        """Store a proxy: the server makes a key, the signer signs for it.

        Args:
            request: Command PUT with all that is to be stored along.
            signer: What the stored proxy is made from; its lifetime is that of the stored proxy.
            options: The stored proxy; by default of the signer's kind and as long as the signer.

        Raises:
            RefusedError: The server said no.
            CredentialError: The signer cannot sign, or the server's key is too weak.
            GridError: No connection, or the server is not trusted.
        """
        from datetime import timedelta

        from gsi.delegation import grant_delegation, parse_delegation_request
        from gsi.proxy.issue import ProxyOptions

        wanted = options or ProxyOptions(lifetime=timedelta(0))
        with self._converse() as conversation:
            conversation.ask(request)
            der = conversation.expect(CertificateRequestReceived).der
            try:
                chain = grant_delegation(signer, parse_delegation_request(der), wanted, now=self._now())
            except GridError as error:
                conversation.fail(error)
                raise
            conversation.deliver(chain)

    def get(self, request: Request, key: PrivateKey, *, renewing: Credential | None = None) -> Credential:
        """Receive a proxy, or from a server in CA mode an end entity's certificate, for a new key.

        Args:
            request: Command GET.
            key: The new key.
            renewing: The credential to be renewed, whose key proves the right to it.

        Raises:
            RefusedError: The server said no.
            VerificationError: What it sent does not hold together.
            GridError: No connection, or the server is not trusted.
        """
        from gsi.delegation import DelegationRequester

        requester = DelegationRequester(key)
        certificates = self._fetch(request, requester.request_der, renewing)
        return requester.accept(certificates, now=self._now(), allow_end_entity=True)

    def get_for_request(
        self, request: Request, request_der: bytes, *, renewing: Credential | None = None
    ) -> tuple[Certificate, ...]:
        """Receive certificates for a PKCS#10 request whose key is elsewhere, new certificate first.

        Raises:
            CredentialError: They are for another key.
            ParseError: The request or a certificate is malformed.
            GridError: As `get`.
        """
        from gsi.certificate import Certificate
        from gsi.delegation import parse_delegation_request

        wanted = parse_delegation_request(request_der)
        received = tuple(Certificate.parse(der) for der in self._fetch(request, request_der, renewing))
        if received[0].spki_der != wanted.spki_der:
            raise CredentialError(
                "the server's certificate is not for the key of the request", problem=CredentialProblem.KEY_MISMATCH
            )
        return received

    def authenticate(self, request: Request, *, renewing: Credential | None = None) -> None:
        """Prove the right to a credential without fetching it.

        Raises:
            RefusedError: The server said no.
            GridError: No connection, or the server is not trusted.
        """
        with self._converse() as conversation:
            conversation.ask(request, renewing=renewing)

    def _fetch(self, request: Request, request_der: bytes, renewing: Credential | None) -> tuple[bytes, ...]:
        with self._converse() as conversation:
            conversation.ask(request, renewing=renewing)
            conversation.send(conversation.session.send_certificate_request(request_der))
            return conversation.expect(CertificatesReceived).certificates

    def _converse(self) -> _Conversation:
        """Connect, prove the server, and return the conversation, not yet begun."""
        address = self._address
        stream, entry = connect(
            address.hosts,
            timeout=address.connect_timeout,
            read_timeout=address.read_timeout,
            port_range=address.port_range,
        )
        self.connected_to = entry
        self._progress(f"connected to {entry} ({stream.peer})")
        tls = TLSStream(stream, self._tls.session(lambda chain: self._judge(chain, stream, entry)))
        try:
            tls.handshake()
        except GridError:
            stream.close()
            raise
        self._progress(f"TLS {tls.session.version} with {self.server.identity if self.server else '?'}")
        return _Conversation(tls)

    def _judge(self, chain: tuple[bytes, ...], stream: TCPStream, entry: HostPort) -> VerifiedPeer:
        """Prove the server, before anything of ours is sent."""
        address = self._address
        peer = verify_chain(chain, self._anchors, now=self._now(), options=_SERVER_OPTIONS)
        host = entry.host if address.name_mode is NameMode.STRICT_RFC2818 else _canonical_name(stream.peer)
        try:
            check_peer_name(peer, host, address.name_mode, expected_dn=address.expected_dn)
        except VerificationError as error:
            if error.reason is not Reason.PEER_NAME:
                raise
            raise VerificationError(
                f"Server authorization failed: {error.message}",
                reason=error.reason,
                position=error.position,
                hint=f'if that is the right server, set MYPROXY_SERVER_DN="{peer.identity}" and try again',
            ) from error
        self.server = peer
        return peer


def _canonical_name(peer: HostPort) -> str:
    """The name that GSI looks for in its old modes: of the address, or of this machine where the peer is on it."""
    import ipaddress
    import socket

    if ipaddress.ip_address(peer.host.partition("%")[0]).is_loopback:
        return socket.gethostname()
    try:
        return socket.getnameinfo((peer.host, peer.port), socket.NI_NAMEREQD)[0]
    except OSError:
        return peer.host


class _Conversation:
    """One connection with its session."""

    def __init__(self, stream: TLSStream) -> None:
        self._stream = stream
        self.session = ClientSession()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stream.close()

    def send(self, *messages: bytes) -> None:
        self._stream.send(*messages)

    def ask(self, request: Request, *, renewing: Credential | None = None) -> Response:
        """Ask, go through authorization if the server wants it, and return its yes.

        Raises:
            RefusedError: It said no, or wants a way of authorization that we do not have.
        """
        self.send(self.session.send_start(), self.session.send_request(request))
        response = self._response()
        for _ in range(MAX_ROUNDS):
            if response.type is ResponseType.OK:
                return response
            self.send(self.session.send_authorization(_authorize(response, request, renewing)))
            response = self._response()
        raise RemoteProtocolError(f"the server asks for authorization more than {MAX_ROUNDS} times")

    def expect(self, kind: type[_Binary]) -> _Binary:
        """Wait for a message that is no text."""
        event = self._event()
        if not isinstance(event, kind):
            raise RemoteProtocolError("the server answered with something else than was due")
        return event

    def deliver(self, chain: Sequence[Certificate]) -> None:
        """Send certificates and wait for the server's word that they are stored."""
        self.send(self.session.send_certificates(chain))
        self._response()

    def fail(self, error: GridError) -> None:
        """Tell the server that no certificates come; it may be gone, and the first error counts."""
        try:
            self.send(self.session.send_failure(error.message))
        except TransportError:
            return

    def _response(self) -> Response:
        event = self._event()
        if isinstance(event, ResponseReceived):
            return event.response
        raise RemoteProtocolError("the server closed the connection without an answer")

    def _event(self) -> Event:
        """Wait for the next event; a refusal is raised."""
        while (event := self.session.next_event()) is NEED_DATA:
            self.session.receive_data(self._stream.receive())
        if isinstance(event, ResponseReceived) and event.response.type is ResponseType.ERROR:
            errors = event.response.errors
            kind = AuthenticationError if errors[0] == REFUSES_CERTIFICATE else RefusedError
            raise kind("\n".join(("ERROR from myproxy-server:", *errors)))
        return event


def _authorize(response: Response, request: Request, renewing: Credential | None) -> AuthorizationReply:
    """Answer an offer: with the key of the credential to be renewed, or with the pass phrase."""
    offers = {offer.method: offer.data for offer in response.offers}
    challenge = offers.get(METHOD_NAMES[AuthorizationMethod.CERTIFICATE_SHA256])
    if renewing is not None and challenge is not None:
        return _sign_challenge(challenge, renewing)
    if METHOD_NAMES[AuthorizationMethod.PASSWORD] in offers and request.passphrase:
        return AuthorizationReply(AuthorizationMethod.PASSWORD, text=request.passphrase)
    raise RefusedError(
        f"the server wants authorization by {' or '.join(offers)}, which cannot be given",
        hint="give a pass phrase, or name the credential to renew with --authorization",
    )


def _sign_challenge(challenge: str, renewing: Credential) -> AuthorizationReply:
    """Sign the server's challenge text, with SHA-256 as this method demands.

    Raises:
        RemoteProtocolError: It is no challenge: a signature over a text of the server's choice could be used elsewhere.
        CredentialError: The key cannot sign this way.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    if not _CHALLENGE.fullmatch(challenge):
        raise RemoteProtocolError("the server's challenge is not 32 hexadecimal digits")
    data = challenge.encode("ascii")
    match renewing.key:
        case rsa.RSAPrivateKey() as key:
            signature = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        case ec.EllipticCurvePrivateKey() as key:
            signature = key.sign(data, ec.ECDSA(hashes.SHA256()))
        case _:
            raise CredentialError(
                "renewal needs an RSA or EC key: the protocol signs with SHA-256",
                problem=CredentialProblem.UNSUPPORTED_KEY,
            )
    certificates = tuple(certificate.der for certificate in renewing.certificates)
    return AuthorizationReply(AuthorizationMethod.CERTIFICATE_SHA256, signature=SignatureBlock(signature, certificates))
