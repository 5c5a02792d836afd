"""The accepting side of a GSI security context: proves the peer, takes its `0`, or its `D` and a credential.

    tls = make_acceptor_tls(credential, anchors)    # once for a service
    context = Acceptor(credential, anchors, now=now, tls=tls)
    step = context.step(receive_token())            # until step.done; send step.output whenever it is not empty
    context.inquire().identity, context.delegated

A peer whose certificates OpenSSL lets pass and our validation refuses learns of it by an alert on TLS 1.2. On TLS 1.3
it is done before we have seen its certificate; it finds the connection closed, which a peer that waits for our last
byte takes for the refusal it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gsi.certificate import MAX_CERTIFICATE_BYTES
from gsi.context.base import NUL, SecurityContext, State, make_delegation_key
from gsi.context.exchange import DELEGATE, ObjectCollector
from gsi.context.info import ContextFlag
from gsi.context.initiator import NO_DELEGATION
from gsi.delegation import DelegationRequester
from gsi.errors import AuthenticationError, Reason, RemoteProtocolError, VerificationError
from gsi.proxy.kinds import ProxyKind, classify
from gsi.transport.tls import ServerTLS, TLSVersion
from gsi.trust.options import ValidationOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi import keys
    from gsi.context.base import Anchors, Clock
    from gsi.credential import Credential
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.verify import VerificationCache

__all__ = ["Acceptor", "make_acceptor_tls"]


def make_acceptor_tls(
    credential: Credential,
    anchors: Anchors,
    *,
    allow_anonymous: bool = False,
    minimum: TLSVersion = TLSVersion.TLS1_2,
    maximum: TLSVersion = TLSVersion.TLS1_3,
) -> ServerTLS:
    """Make the TLS side of acceptors, once for many: reading a trust directory into OpenSSL takes its time.

    Args:
        credential: Whom to be.
        anchors: Whom to trust.
        allow_anonymous: Let peers without a certificate through the handshake.
        minimum: The lowest version to accept.
        maximum: The highest.

    Raises:
        CredentialError: OpenSSL cannot use the credential.
        ConfigError: The minimum is above the maximum.
    """
    snapshot: Callable[[], TrustAnchors] = anchors if callable(anchors) else lambda: anchors
    return ServerTLS(
        credential, snapshot, minimum=minimum, maximum=maximum, require_certificate=not allow_anonymous, tickets=0
    )


class Acceptor(SecurityContext):
    """The side that is called.

    Args:
        credential: Whom to be.
        anchors: Whom to trust.
        now: The time, aware UTC, or what tells it.
        ssl_compatible: Only a TLS handshake, no byte after it; both sides must have agreed on that.
        accept_limited: Take a peer with a limited proxy; services that start jobs do not.
        allow_anonymous: Take a peer without a certificate. Its identity is None, and it may do what anybody may.
        options: How the peer's chain is judged. Its `accept_limited` counts as well.
        cache: Where verified issuers are remembered.
        make_key: Makes the key for a delegated credential, which takes a tenth of a second and more; a service may
            have some ready. By default RSA, as long as the peer's.
        tls: Made before by `make_acceptor_tls` from the same credential and anchors.

    Attributes:
        delegated: The credential that the peer delegated; None when it did not.

    Raises:
        CredentialError: OpenSSL cannot use the credential.
    """

    __slots__ = ("_anonymous", "_collector", "_make_key", "_options", "_requester", "_verify_cache", "delegated")

    def __init__(
        self,
        credential: Credential,
        anchors: Anchors,
        *,
        now: Clock,
        ssl_compatible: bool = False,
        accept_limited: bool = True,
        allow_anonymous: bool = False,
        options: ValidationOptions | None = None,
        cache: VerificationCache | None = None,
        make_key: Callable[[], keys.PrivateKey] | None = None,
        tls: ServerTLS | None = None,
    ) -> None:
        options = options or ValidationOptions()
        if not accept_limited:
            options = replace(options, accept_limited=False)
        self._options = options
        self._anonymous = allow_anonymous
        self._verify_cache = cache
        self._make_key = make_key
        self._requester: DelegationRequester | None = None
        self._collector = ObjectCollector(limit=MAX_CERTIFICATE_BYTES, total=MAX_CERTIFICATE_BYTES)
        self.delegated: Credential | None = None
        tls = tls or make_acceptor_tls(credential, anchors, allow_anonymous=allow_anonymous)
        super().__init__(tls.session(), credential, anchors, now, ssl_compatible=ssl_compatible)

    def _begin(self, token: bytes) -> bool:
        del token  # the first record is taken like every other
        return True

    def _shake_hands(self) -> bool:
        if not self._session.handshake():
            return False
        try:
            peer = self._session.verify_peer(
                self._anchors(), now=self._clock(), options=self._options, cache=self._verify_cache
            )
            if peer is None and not self._anonymous:
                raise VerificationError("the peer showed no certificate", reason=Reason.NO_CERTIFICATE)
        except VerificationError as error:
            self._session.refuse_peer(error)
            raise
        return True

    def _finish_handshake(self) -> None:
        if not self._session.has_data_to_send:  # TLS 1.3, where the initiator had the last word
            self._session.write(NUL)
        self._state = State.FLAGS

    def _receive_plain(self, data: bytes) -> None:
        if not data:
            return
        if self._state is State.DELEGATION:
            self._receive_certificate(data)
        elif data == NO_DELEGATION:
            self._state = State.ESTABLISHED
        elif data == DELEGATE:
            self._ask()
        elif data[:1] in (NO_DELEGATION, DELEGATE):
            raise RemoteProtocolError("the initiator sent data before the context was established")
        else:
            raise RemoteProtocolError("the initiator said neither 0 nor D", hint="the peer does not speak GSI over TLS")

    def _ask(self) -> None:
        peer = self._session.peer
        if peer is None:
            raise AuthenticationError("an anonymous peer cannot delegate")
        key = make_delegation_key(peer) if self._make_key is None else self._make_key()
        self._requester = DelegationRequester(key)
        self._session.write(self._requester.request_der)
        self._state = State.DELEGATION

    def _receive_certificate(self, data: bytes) -> None:
        self._collector.feed(data)
        certificate_der = self._collector.take_only()
        if certificate_der is None:
            return
        assert self._requester is not None
        assert self._session.peer is not None
        # Only the new certificate travels: it continues the chain that was proven in the handshake, without the anchor.
        issuers = [certificate.der for certificate in self._session.peer.chain[:-1]]
        self.delegated = self._requester.accept((certificate_der, *issuers), now=self._clock())
        self._state = State.ESTABLISHED

    def _own_flags(self) -> ContextFlag:
        if self.delegated is None:
            return ContextFlag(0)
        is_limited = classify(self.delegated.certificate).kind is ProxyKind.LIMITED
        return ContextFlag.DELEG | (ContextFlag.DELEG_LIMITED if is_limited else ContextFlag(0))

    def _is_initiator(self) -> bool:
        return False
