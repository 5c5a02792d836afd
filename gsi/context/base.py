"""What initiator and acceptor of a GSI security context share: states, limits, messages; no sockets, no clock.

    step = context.step(token)                      # until step.done; send step.output whenever it is not empty
    token = context.wrap(b"message")
    message = context.unwrap(token)
    info = context.inquire()

The shape is that of GSS-API (RFC 2743), the bytes are those of gct:gsi/gssapi: tokens are TLS records, nothing
around them. A token may come cut into any pieces. When a call raises, `alert_token` holds what the peer should still be
sent before the connection is closed. How long a handshake may take is the caller's to say.

Not offered: message integrity codes (`gss_get_mic`, and `gss_wrap` without encryption), because the mechanism uses one
key and nonce in both directions, so that codes can be forged by whoever saw one from each side; exporting contexts;
ciphers without encryption; renegotiation and resumption.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from gsi import keys
from gsi.context.exchange import DELEGATE_FULL, DelegationReceiver, DelegationSender, Step
from gsi.context.framing import MAX_HANDSHAKE_BYTES, MAX_TOKEN_BYTES, RecordSplitter
from gsi.context.info import ContextFlag, ContextInfo
from gsi.errors import (
    AuthenticationError,
    CredentialError,
    CredentialProblem,
    GridError,
    LocalProtocolError,
    RemoteProtocolError,
    TransportError,
)
from gsi.keys import KeyType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.credential import Credential
    from gsi.proxy.issue import ProxyOptions
    from gsi.transport.tls import TLSSession
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer

__all__ = ["NUL", "Anchors", "Clock", "SecurityContext", "State"]

Clock: TypeAlias = "datetime | Callable[[], datetime]"
"""The time, aware UTC: a value, or what returns the present one."""
Anchors: TypeAlias = "TrustAnchors | Callable[[], TrustAnchors]"
"""The trust anchors: a snapshot, or what returns the current one."""

NUL: Final = b"\0"
"""What an acceptor says when TLS gave it nothing to say at the end of its handshake."""


class State(Enum):
    """Where a context stands; each is left for one further down."""

    START = "start"
    HANDSHAKE = "handshake"
    """TLS."""
    FLAGS = "flags"
    """The byte `0` or `D` is due."""
    DELEGATION = "delegation"
    """After `D`: a request or a certificate is due."""
    ESTABLISHED = "established"
    FAILED = "failed"


class SecurityContext:
    """One side of a security context. Made as `Initiator` or `Acceptor`.

    Attributes:
        alert_token: After a call raised: what to send before closing; empty when there is nothing.
    """

    __slots__ = ("_anchors", "_clock", "_own", "_received", "_session", "_splitter", "_ssl", "_state", "alert_token")

    def __init__(
        self, session: TLSSession, own: Credential | None, anchors: Anchors, now: Clock, *, ssl_compatible: bool
    ) -> None:
        self._session = session
        self._own = own
        self._anchors: Callable[[], TrustAnchors] = anchors if callable(anchors) else lambda: anchors
        self._clock: Callable[[], datetime] = now if callable(now) else lambda: now
        self._ssl = ssl_compatible
        self._splitter = RecordSplitter()
        self._received = 0
        self._state = State.START
        self.alert_token = b""

    # --- establishing ---

    def step(self, token: bytes = b"") -> Step:
        """Take the peer's next token or a part of it, none at an initiator's beginning, and return ours.

        Raises:
            VerificationError: The peer's certificates, its name, or what it delegated are refused.
            AuthenticationError: The peer refuses our certificate.
            RemoteProtocolError: The peer left the protocol: no TLS, an empty token, too much, data too early.
            TransportError: TLS failed.
            ParseError: What should be a request or a certificate is none.
            CredentialError: Our credential cannot delegate, or the peer delegated a certificate for another key.
            LocalProtocolError: The context is established or has failed already.
        """
        if self._state in (State.ESTABLISHED, State.FAILED):
            raise LocalProtocolError(f"the context is {self._state.value}: it takes no further step")
        try:
            self._take(token)
        except GridError:
            self._fail()
            raise
        done = self.is_established
        return Step(self._session.data_to_send(), done, self._splitter.take_rest() if done else b"")

    def receive_end(self) -> NoReturn:
        """Say what it means that the peer has closed the connection just now.

        Raises:
            TransportError: Always; with a hint where the state suggests a reason.
        """
        state, self._state = self._state, State.FAILED
        if state is State.ESTABLISHED:
            raise TransportError("the peer closed the connection")
        hint = None
        if state is State.FLAGS:
            hint = "the peer hung up after the handshake: it may not accept our name or our certificate, see its log"
        elif state is State.DELEGATION:
            hint = "the peer hung up while delegating"
        raise TransportError("the peer closed the connection before the context was established", hint=hint)

    def _take(self, token: bytes) -> None:
        if self._state is State.START:
            self._state = State.HANDSHAKE
            if not self._begin(token):
                return
        if not token:
            raise RemoteProtocolError("the peer sent an empty token")
        self._received += len(token)
        if self._received > MAX_HANDSHAKE_BYTES:
            raise RemoteProtocolError(f"more than {MAX_HANDSHAKE_BYTES} bytes before the context was established")
        self._splitter.feed(token)
        while self._state is not State.ESTABLISHED and (record := self._splitter.next_record()) is not None:
            self._session.receive_data(record)
            if self._state is not State.HANDSHAKE:
                self._receive_plain(self._session.read())
                if self._session.is_closed:
                    self.receive_end()
            elif self._shake_hands():
                if self._ssl:
                    self._state = State.ESTABLISHED
                else:
                    self._finish_handshake()

    def _begin(self, token: bytes) -> bool:
        """Begin; False when there is no token to go on with."""
        raise NotImplementedError

    def _shake_hands(self) -> bool:
        """Go on with the TLS handshake; True once it is done and the peer proven."""
        raise NotImplementedError

    def _finish_handshake(self) -> None:
        """Go on to FLAGS."""
        raise NotImplementedError

    def _receive_plain(self, data: bytes) -> None:
        """Take decrypted bytes in FLAGS and DELEGATION; none when the record held something of TLS's own."""
        raise NotImplementedError

    def _fail(self) -> None:
        self._state = State.FAILED
        self.alert_token = self._session.data_to_send()

    # --- messages ---

    @property
    def is_established(self) -> bool:
        """Whether messages can be exchanged."""
        return self._state is State.ESTABLISHED

    @property
    def is_closed(self) -> bool:
        """Whether the peer has said, in TLS, that nothing more will come. Many grid peers just close the connection."""
        return self._session.is_closed

    def wrap(self, message: bytes) -> bytes:
        """Encrypt a message; more than 16384 bytes give several records in one token.

        Raises:
            LocalProtocolError: The message is empty, which the mechanism cannot say, or too long; or the context is not
                established.
            TransportError: TLS failed.
        """
        self._require_established()
        if not message or len(message) > MAX_TOKEN_BYTES // 2:
            raise LocalProtocolError(f"a message has 1 to {MAX_TOKEN_BYTES // 2} bytes, not {len(message)}")
        self._session.write(message)
        return self._session.data_to_send()

    def unwrap(self, token: bytes) -> bytes:
        """Decrypt the peer's next token or a part of it; empty while a record is incomplete.

        Raises:
            RemoteProtocolError: An empty or oversized token, or one that is no TLS.
            AuthenticationError: The peer refuses our certificate after all.
            TransportError: TLS failed: forged, repeated, reordered.
            LocalProtocolError: The context is not established.
        """
        self._require_established()
        try:
            return self._decrypt(token)
        except GridError:
            self._fail()
            raise

    def _decrypt(self, token: bytes) -> bytes:
        if not token:
            raise RemoteProtocolError("the peer sent an empty token")
        if len(token) > MAX_TOKEN_BYTES:
            raise RemoteProtocolError(f"a token of {len(token)} bytes, limit {MAX_TOKEN_BYTES}")
        self._splitter.feed(token)
        parts = []
        while (record := self._splitter.next_record()) is not None:
            self._session.receive_data(record)
            parts.append(self._session.read())  # a record holds no more than one read returns
        return b"".join(parts)

    def _require_established(self) -> None:
        if self._state is not State.ESTABLISHED:
            raise LocalProtocolError("the context is not established")

    # --- delegation afterwards ---

    def delegate(
        self, options: ProxyOptions = DELEGATE_FULL, *, credential: Credential | None = None
    ) -> DelegationSender:
        """Begin to give the peer a credential.

        Args:
            options: What to give: by default a proxy of the signer's kind for as long as the signer lasts.
            credential: The signer; our own by default.

        Raises:
            LocalProtocolError: The context is not established.
            AuthenticationError: The peer is anonymous.
            CredentialError: There is no credential to delegate.
        """
        self._require_established()
        if self._session.peer is None:
            raise AuthenticationError("nothing is delegated to an anonymous peer")
        signer = credential or self._own
        if signer is None:
            raise CredentialError("there is no credential to delegate", problem=CredentialProblem.MISSING)
        return DelegationSender(signer, options, protect=self._protect, unprotect=self._unprotect, clock=self._clock)

    def receive_delegation(
        self, *, key: keys.PrivateKey | None = None, any_identity: bool = False
    ) -> DelegationReceiver:
        """Begin to receive a credential from the peer.

        Args:
            key: The key for it; made when None, as long as the peer's.
            any_identity: Take somebody else's credential, too, and from an anonymous peer.

        Raises:
            LocalProtocolError: The context is not established.
            AuthenticationError: The peer is anonymous.
        """
        self._require_established()
        peer = self._session.peer
        if peer is None and not any_identity:
            raise AuthenticationError("an anonymous peer cannot delegate")
        return DelegationReceiver(
            key or make_delegation_key(peer),
            judge=self._judge_delegated,
            expected=None if any_identity else peer,
            protect=self._protect,
            unprotect=self._unprotect,
            clock=self._clock,
        )

    def _protect(self, messages: Sequence[bytes]) -> bytes:
        """Each message in records of its own, or all of them bare."""
        return b"".join(messages) if self._ssl else b"".join(self.wrap(message) for message in messages)

    def _unprotect(self, token: bytes) -> bytes:
        if not self._ssl:
            return self.unwrap(token)
        if not token:
            raise RemoteProtocolError("the peer sent an empty token")
        return token

    def _judge_delegated(self, certificates: Sequence[Certificate]) -> VerifiedPeer:
        from gsi.trust.options import Purpose, ValidationOptions
        from gsi.trust.verify import verify_chain

        options = ValidationOptions(purpose=Purpose.CLIENT, ignore_extended_key_usage=True)
        return verify_chain(certificates, self._anchors(), now=self._clock(), options=options)

    # --- what there is to know ---

    def inquire(self) -> ContextInfo:
        """Describe the established context.

        Raises:
            LocalProtocolError: The context is not established.
        """
        self._require_established()
        peer, version, cipher = self._session.peer, self._session.version, self._session.cipher
        assert version is not None
        assert cipher is not None
        flags = ContextFlag.REPLAY | ContextFlag.SEQUENCE | ContextFlag.CONF | ContextFlag.INTEG
        flags |= ContextFlag.PROT_READY | self._own_flags()
        if peer is not None and self._own is not None:
            flags |= ContextFlag.MUTUAL
        else:
            flags |= ContextFlag.ANON
        if peer is not None and peer.limited:
            flags |= ContextFlag.PEER_LIMITED
        if self._ssl:
            flags |= ContextFlag.SSL_COMPATIBLE
        ends = [one.not_after for one in (peer, self._own) if one is not None]
        not_after = min(ends)
        now = self._clock()
        return ContextInfo(
            peer=peer,
            own_subject=None if self._own is None else self._own.subject,
            is_initiator=self._is_initiator(),
            flags=flags,
            not_after=not_after,
            lifetime=max(not_after - now, now - now),
            version=version,
            cipher=cipher,
        )

    def _own_flags(self) -> ContextFlag:
        """The flags that only this side knows of."""
        raise NotImplementedError

    def _is_initiator(self) -> bool:
        raise NotImplementedError


def make_delegation_key(peer: VerifiedPeer | None) -> keys.PrivateKey:
    """Make a key for what the peer delegates: RSA, which every peer can sign for, as long as the peer's own."""
    bits = 0
    if peer is not None:
        public_key = keys.parse_public_key(peer.leaf.spki_der)
        bits = keys.key_bits(public_key) if keys.is_rsa(public_key) else 0
    return keys.generate_key(KeyType.RSA, bits=bits if bits in keys.RSA_SIZES else min(keys.RSA_SIZES))
