"""The initiating side of a GSI security context: proves the peer before it shows itself, then says `0` or `D`.

    context = Initiator(credential, anchors, target=Target.parse("host@data.example.org"), now=now)
    step = context.step()                           # the first token
    while not step.done:
        step = context.step(receive_token())        # send step.output whenever it is not empty

The peer's chain and name are judged as soon as TLS brings them, with nothing but the hello sent: a stranger never sees
our certificate. The C initiator looks at the name only after the handshake, and hangs up before its last byte.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gsi.context.base import NUL, SecurityContext, State
from gsi.context.exchange import DELEGATE, ObjectCollector
from gsi.context.info import ContextFlag
from gsi.context.target import check_target
from gsi.delegation import MAX_REQUEST_BYTES, grant_delegation, parse_delegation_request
from gsi.errors import ConfigError, RemoteProtocolError, VerificationError
from gsi.proxy.kinds import ProxyKind, classify
from gsi.transport.tls import ClientTLS
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.verify import verify_chain

if TYPE_CHECKING:
    from gsi.context.base import Anchors, Clock
    from gsi.context.target import Target
    from gsi.credential import Credential
    from gsi.proxy.issue import ProxyOptions
    from gsi.trust.peer import VerifiedPeer
    from gsi.trust.verify import VerificationCache

__all__ = ["Initiator"]

NO_DELEGATION: Final = b"0"


class Initiator(SecurityContext):
    """The side that begins.

    Args:
        credential: Whom to be; None to stay anonymous.
        anchors: Whom to trust.
        target: Who the peer has to be; None takes anyone whom the anchors vouch for.
        now: The time, aware UTC, or what tells it.
        delegate: What to delegate (`DELEGATE_FULL`, `DELEGATE_LIMITED`, or any other), None to say `0`.
        ssl_compatible: Only a TLS handshake, no byte after it; both sides must have agreed on that.
        accept_limited: Take a peer with a limited proxy.
        options: How the peer's chain is judged; by default as that of a server, or, for a target that is an identity,
            of anyone, because users' proxies serve, too. Its `accept_limited` counts as well.
        cache: Where verified issuers are remembered.
        tls: Made before from the same credential, to limit versions or to save work for many contexts.

    Raises:
        ConfigError: Delegation without a credential, without a target, or in an SSL-compatible context.
        CredentialError: OpenSSL cannot use the credential.
    """

    __slots__ = ("_collector", "_delegate", "_granted", "_options", "_target", "_verify_cache")

    def __init__(
        self,
        credential: Credential | None,
        anchors: Anchors,
        *,
        target: Target | None,
        now: Clock,
        delegate: ProxyOptions | None = None,
        ssl_compatible: bool = False,
        accept_limited: bool = True,
        options: ValidationOptions | None = None,
        cache: VerificationCache | None = None,
        tls: ClientTLS | None = None,
    ) -> None:
        if delegate is not None:
            _check_delegation(credential, target, ssl_compatible=ssl_compatible)
        if options is None:
            is_identity = target is None or target.identity is not None
            options = ValidationOptions(purpose=Purpose.SERVER, ignore_extended_key_usage=is_identity)
        if not accept_limited:
            options = replace(options, accept_limited=False)
        self._delegate = delegate
        self._options = options
        self._target = target
        self._verify_cache = cache
        self._granted = ContextFlag(0)
        self._collector = ObjectCollector(limit=MAX_REQUEST_BYTES, total=MAX_REQUEST_BYTES)
        server_name = None if target is None else target.server_name
        session = (tls or ClientTLS(credential)).session(self._judge, server_name=server_name)
        super().__init__(session, credential, anchors, now, ssl_compatible=ssl_compatible)

    def _judge(self, chain: tuple[bytes, ...]) -> VerifiedPeer:
        peer = verify_chain(chain, self._anchors(), now=self._clock(), options=self._options, cache=self._verify_cache)
        if self._target is not None:
            check_target(peer, self._target)
        return peer

    def _begin(self, token: bytes) -> bool:
        if token:
            raise RemoteProtocolError("a token came before the initiator's first")
        self._shake_hands()
        return False

    def _shake_hands(self) -> bool:
        try:
            return self._session.handshake()
        except VerificationError as error:
            self._session.refuse_peer(error)
            raise

    def _finish_handshake(self) -> None:
        self._state = State.FLAGS
        if not self._session.has_data_to_send:  # TLS 1.2, where the acceptor had the last word
            self._send_flag()

    def _receive_plain(self, data: bytes) -> None:
        if self._state is State.FLAGS:
            if data not in (b"", NUL):  # nothing, where the acceptor's last word was a session ticket
                raise RemoteProtocolError("the acceptor sent data before the context was established")
            if not self._session.is_closed:
                self._send_flag()
            return
        self._collector.feed(data)
        request_der = self._collector.take_only()
        if request_der is None:
            return
        assert self._own is not None
        request = parse_delegation_request(request_der)
        certificate = grant_delegation(self._own, request, self._delegate, now=self._clock())[0]
        self._session.write(certificate.der)
        self._granted = ContextFlag.DELEG
        if classify(certificate).kind is ProxyKind.LIMITED:
            self._granted |= ContextFlag.DELEG_LIMITED
        self._state = State.ESTABLISHED

    def _send_flag(self) -> None:
        self._session.write(NO_DELEGATION if self._delegate is None else DELEGATE)
        self._state = State.ESTABLISHED if self._delegate is None else State.DELEGATION

    def _own_flags(self) -> ContextFlag:
        return self._granted

    def _is_initiator(self) -> bool:
        return True


def _check_delegation(credential: Credential | None, target: Target | None, *, ssl_compatible: bool) -> None:
    """Refuse what the C mechanism refuses, too."""
    if credential is None:
        raise ConfigError("without a credential nothing can be delegated")
    if target is None:
        raise ConfigError("nothing is delegated to just anybody", hint="name the peer that is meant")
    if ssl_compatible:
        raise ConfigError("an SSL-compatible context has no place for delegation", hint="delegate once established")
