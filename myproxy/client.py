"""A MyProxy client: a connection, a session, and one method per thing a user does; no files, no prompts.

    client = MyProxyClient(ServerAddress.parse("myproxy.example.org"), anchors, credential=credential)
    client.put(Request(Command.PUT, "alice", passphrase, lifetime=timedelta(hours=12)), signer)
    proxy = client.get(Request(Command.GET, "alice", passphrase, lifetime=timedelta(hours=12)), generate_key())
    client.info("alice"), client.destroy("alice")

Every call is one connection: connect, prove the server (`gsi.trust`), ask, close; `open` does the first two before it
is known what to ask. What a server refuses is a `RefusedError` with the server's words; when it refuses our
certificate, in the handshake or in words, an `AuthenticationError`: without a certificate it may be of another mind.
Must agree with gct:myproxy/source/myproxy.c and myproxy_*.c.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi.errors import (
    CredentialError,
    CredentialProblem,
    GridError,
    Reason,
    VerificationError,
)
from gsi.system import clock
from gsi.transport.stream import CONNECT_TIMEOUT, READ_TIMEOUT, HostPort, PortRange, connect, parse_hosts
from gsi.transport.tls import ClientTLS, TLSVersion
from gsi.transport.tls_stream import TLSStream
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.peername import NameMode, check_peer_name
from gsi.trust.verify import verify_chain
from myproxy.exchange import Exchange
from myproxy.protocol.codec import DUMMY_PASSPHRASE
from myproxy.protocol.events import CertificateRequestReceived, CertificatesReceived, CredentialReceived
from myproxy.protocol.messages import Account, Command, CredentialInfo, Request, TrustRootFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.credential import Credential
    from gsi.keys import PrivateKey
    from gsi.proxy.issue import ProxyOptions
    from gsi.secret import Passphrase
    from gsi.transport.stream import TCPStream
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer

__all__ = ["DEFAULT_PORT", "MyProxyClient", "ServerAddress"]

DEFAULT_PORT: Final = 7512
HELD_SECONDS: Final = 60.0
"""How long a connection may wait for the user: half of what servers give a connection by default."""
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
        ask_user: Asks the user something, with a prompt and whether what is typed is hidden; for SASL. None where
            nobody can be asked: then no server's offer of SASL is taken.

    Attributes:
        connected_to: The entry of the list that the last call reached; None before.
        server: Who the server of the last call proved to be; None before.
        trust_roots: The server's trust roots, as far as the last call asked for them and they came.
    """

    def __init__(
        self,
        address: ServerAddress,
        anchors: TrustAnchors,
        *,
        credential: Credential | None = None,
        now: Callable[[], datetime] = clock.now,
        progress: Callable[[str], None] = lambda _text: None,
        ask_user: Callable[[str, bool], Passphrase] | None = None,
    ) -> None:
        self._ask_user = ask_user
        self._address = address
        self._anchors = anchors
        self._now = now
        self._progress = progress
        self._tls = ClientTLS(credential, minimum=address.minimum_tls, maximum=address.maximum_tls)
        self._opened: tuple[Exchange, float] | None = None
        self.connected_to: HostPort | None = None
        self.server: VerifiedPeer | None = None
        self.trust_roots: tuple[TrustRootFile, ...] = ()

    def open(self) -> None:
        """Connect and prove the server before the first call, which then goes on with this connection.

        For whoever has a user to ask: a server that is away, or not the right one, is known before that. A connection
        that has waited for longer than `HELD_SECONDS` is left, and the call makes one of its own.

        Raises:
            AuthenticationError: The server refuses the credential; with TLS 1.3 that shows only in the first call.
            GridError: No connection, or the server is not trusted.
        """
        self.close()
        self._opened = self._connect_and_prove(), time.monotonic()

    def close(self) -> None:
        """Leave the connection that `open` has made and no call has used."""
        if self._opened is not None:
            exchange, self._opened = self._opened[0], None
            exchange.close()

    def info(self, username: str, credential_name: str | None = None) -> tuple[CredentialInfo, ...]:
        """Return what the server tells about the caller's stored credentials, the unnamed one first.

        Raises:
            RefusedError: The server said no; also when there are none.
            GridError: No connection, or the server is not trusted.
        """
        request = Request(Command.INFO, username, DUMMY_PASSPHRASE, credential_name=credential_name)
        with self._converse() as conversation:
            return conversation.ask(request).credentials

    def account(self, username: str, credential_name: str | None = None) -> Account:
        """Return the same, and what happened to the credentials, where the server tells that.

        Raises:
            RefusedError: The server said no; also when there are none.
            GridError: No connection, or the server is not trusted.
        """
        request = Request(Command.INFO, username, DUMMY_PASSPHRASE, credential_name=credential_name, wants_history=True)
        with self._converse() as conversation:
            answer = conversation.ask(request)
            return Account(answer.credentials, answer.history)

    def destroy(self, username: str, credential_name: str | None = None) -> None:
        """Remove a stored credential.

        Raises:
            RefusedError: The server said no.
            GridError: No connection, or the server is not trusted.
        """
        with self._converse() as conversation:
            conversation.ask(Request(Command.DESTROY, username, DUMMY_PASSPHRASE, credential_name=credential_name))

    def change_passphrase(self, request: Request) -> None:
        """Seal a stored key under another pass phrase.

        Args:
            request: Command CHANGE_PASSPHRASE with both pass phrases.

        Raises:
            RefusedError: The server said no.
            GridError: No connection, or the server is not trusted.
        """
        with self._converse() as conversation:
            conversation.ask(request)

    def store(self, request: Request, text: bytes) -> None:
        """Store a credential of the caller's own making, its key as the caller has locked it.

        Args:
            request: Command STORE.
            text: PEM: certificate, key, further certificates.

        Raises:
            RefusedError: The server said no.
            LocalProtocolError: The text cannot travel.
            GridError: No connection, or the server is not trusted.
        """
        with self._converse() as conversation:
            conversation.ask(request)
            conversation.deliver_credential(text)

    def retrieve(self, request: Request, *, renewing: Credential | None = None) -> bytes:
        """Receive a stored credential itself as PEM text: certificate, key, further certificates.

        The key is locked as it is stored, with the pass phrase that the request has.

        Args:
            request: Command RETRIEVE.
            renewing: A credential whose key proves the right to it.

        Raises:
            RefusedError: The server said no.
            GridError: No connection, or the server is not trusted.
        """
        with self._converse() as conversation:
            self.trust_roots = conversation.ask(request, renewing=renewing).trust_roots
            return conversation.expect(CredentialReceived).pem

    def get_trust_roots(self) -> tuple[TrustRootFile, ...]:
        """Receive the server's trust roots.

        Raises:
            RefusedError: The server said no.
            GridError: No connection, or the server is not trusted.
        """
        request = Request(Command.GET_TRUSTROOTS, "", wants_trust_roots=True)
        with self._converse() as conversation:
            self.trust_roots = conversation.ask(request).trust_roots
        return self.trust_roots

    def look_at_server(self) -> tuple[Certificate, ...]:
        """Return the chain that the server presents, leaf first, without believing or sending anything.

        For bootstrapping trust where there is none: whoever is in between can present a chain, too.

        Raises:
            GridError: No connection, or no server that speaks TLS.
        """
        from gsi.certificate import Certificate

        seen: list[tuple[bytes, ...]] = []

        def look(chain: tuple[bytes, ...]) -> VerifiedPeer:
            seen.append(chain)
            raise VerificationError("only looked at", reason=Reason.UNTRUSTED)

        stream, self.connected_to = self._connect()
        try:
            TLSStream(stream, self._tls.session(look)).handshake()
        except VerificationError:
            if not seen:
                raise
        finally:
            stream.close()
        return tuple(map(Certificate.parse, seen[0]))

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
            self.trust_roots = conversation.ask(request, renewing=renewing).trust_roots
            conversation.send(conversation.session.send_certificate_request(request_der))
            return conversation.expect(CertificatesReceived).certificates

    def _converse(self) -> Exchange:
        """Return a conversation with a proven server, not yet begun."""
        if self._opened is not None and time.monotonic() - self._opened[1] < HELD_SECONDS:
            exchange, self._opened = self._opened[0], None
            return exchange
        self.close()
        return self._connect_and_prove()

    def _connect_and_prove(self) -> Exchange:
        stream, entry = self._connect()
        self.connected_to = entry
        self._progress(f"connected to {entry} ({stream.peer})")
        tls = TLSStream(stream, self._tls.session(lambda chain: self._judge(chain, stream, entry)))
        try:
            tls.handshake()
        except GridError:
            stream.close()
            raise
        self._progress(f"TLS {tls.session.version} with {self.server.identity if self.server else '?'}")
        return Exchange(tls, host=lambda: _canonical_name(stream.peer), ask_user=self._ask_user)

    def _connect(self) -> tuple[TCPStream, HostPort]:
        address = self._address
        return connect(
            address.hosts,
            timeout=address.connect_timeout,
            read_timeout=address.read_timeout,
            port_range=address.port_range,
        )

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
