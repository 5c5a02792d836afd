"""Delegation over an established context, in either direction and as often as wanted; three tokens, no I/O.

    sender = context.delegate(DELEGATE_LIMITED)      receiver = context.receive_delegation()
    step = sender.step()              "D" -->        step = receiver.step(token)
    step = sender.step(token)         <-- request    step = receiver.step(token)
                                      certificates -->
                                                     receiver.credential

Not here: the byte `D` and what follows it while a context is being established, which are the context's. There only one
certificate travels; here the issuers follow it, each in a TLS record of its own, because the C receiver looks for more
certificates only behind the end of a record and dies when it finds none (gct:gsi/gssapi/source/library/
accept_delegation.c). In an SSL-compatible context the tokens are bare and their protection is the caller's.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import der, names
from gsi.certificate import MAX_CERTIFICATE_BYTES, Certificate
from gsi.delegation import (
    MAX_BLOCK_BYTES,
    MAX_CHAIN,
    MAX_REQUEST_BYTES,
    DelegationRequester,
    grant_delegation,
    parse_delegation_request,
)
from gsi.errors import GridError, LocalProtocolError, Reason, RemoteProtocolError, VerificationError
from gsi.proxy.issue import ProxyOptions
from gsi.proxy.kinds import ProxyKind, Role, classify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from gsi.credential import Credential
    from gsi.keys import PrivateKey
    from gsi.trust.peer import VerifiedPeer

__all__ = [
    "DELEGATE_FULL",
    "DELEGATE_LIMITED",
    "DelegationReceiver",
    "DelegationSender",
    "ObjectCollector",
    "Step",
]

DELEGATE_FULL: Final = ProxyOptions(lifetime=timedelta(0))
"""A proxy of the signer's own kind for as long as the signer lasts: what C clients delegate when told to."""
DELEGATE_LIMITED: Final = ProxyOptions(kind=ProxyKind.LIMITED, lifetime=timedelta(0))
"""A limited proxy, with which no job can be started: what globus-url-copy delegates."""

DELEGATE: Final = b"D"
_WHAT: Final = "delegation"


class Step(NamedTuple):
    """What one step gives.

    Attributes:
        output: The token for the peer; empty when nothing is to be sent.
        done: Whether this was the last step.
        rest: After the last step, bytes that followed in the same token: messages to unwrap, or, where nothing is
            protected any more (`PROT C`), clear ones.
    """

    output: bytes
    done: bool
    rest: bytes = b""


class ObjectCollector:
    """Collects DER objects that arrive in pieces.

    Args:
        limit: The most bytes of one object.
        total: The most bytes of all.
    """

    __slots__ = ("_buffer", "_limit", "_received", "_total", "objects")

    def __init__(self, *, limit: int, total: int) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._total = total
        self._received = 0
        self.objects: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            ParseError: What came is not DER, or an object is too long.
            RemoteProtocolError: All together is too long, or too many objects came.
        """
        self._received += len(data)
        if self._received > self._total:
            raise RemoteProtocolError(f"{_WHAT}: more than {self._total} bytes came")
        self._buffer += data
        while self._buffer:
            head = bytes(self._buffer[:8])
            if head[0] != der.SEQUENCE:
                raise RemoteProtocolError(f"{_WHAT}: something came that is neither a request nor a certificate")
            length = der.object_length(head, what=_WHAT, limit=self._limit)
            if length is None or len(self._buffer) < length:
                return
            self.objects.append(bytes(self._buffer[:length]))
            del self._buffer[:length]
            if len(self.objects) > MAX_CHAIN:
                raise RemoteProtocolError(f"{_WHAT}: more than {MAX_CHAIN} certificates came")

    @property
    def is_whole(self) -> bool:
        """Whether objects have come and no part of another."""
        return bool(self.objects) and not self._buffer

    def take_only(self) -> bytes | None:
        """Return the one object that is due, or None while it is incomplete.

        Raises:
            RemoteProtocolError: More than it came.
        """
        if not self.objects:
            return None
        if len(self.objects) > 1 or self._buffer:
            raise RemoteProtocolError(f"{_WHAT}: more came than the one object that is due")
        return self.objects[0]


class _Exchange:
    """What both ends share: tokens in and out, and an end."""

    __slots__ = ("_ended", "_protect", "_unprotect")

    def __init__(self, protect: Callable[[Sequence[bytes]], bytes], unprotect: Callable[[bytes], bytes]) -> None:
        self._protect = protect
        self._unprotect = unprotect
        self._ended = False

    def step(self, token: bytes = b"") -> Step:
        """Take the peer's token, none at the beginning of the sender, and return ours.

        Raises:
            RemoteProtocolError: The peer left the protocol.
            ParseError: It sent no request or certificate.
            CredentialError: Nothing can be delegated, or the certificate is not for our key.
            VerificationError: What was delegated must not be trusted.
            LocalProtocolError: The exchange is over.
        """
        if self._ended:
            raise LocalProtocolError(f"{_WHAT}: the exchange is over")
        try:
            output, done = self._advance(token)
        except GridError:
            self._ended = True
            raise
        self._ended = done
        return Step(output, done)

    def _advance(self, token: bytes) -> tuple[bytes, bool]:
        raise NotImplementedError


class DelegationSender(_Exchange):
    """The end that gives. Made by `SecurityContext.delegate`."""

    __slots__ = ("_clock", "_collector", "_credential", "_options", "_started")

    def __init__(
        self,
        credential: Credential,
        options: ProxyOptions,
        *,
        protect: Callable[[Sequence[bytes]], bytes],
        unprotect: Callable[[bytes], bytes],
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(protect, unprotect)
        self._credential = credential
        self._options = options
        self._clock = clock
        self._started = False
        self._collector = ObjectCollector(limit=MAX_REQUEST_BYTES, total=MAX_REQUEST_BYTES)

    def _advance(self, token: bytes) -> tuple[bytes, bool]:
        if not self._started:
            if token:
                raise LocalProtocolError(f"{_WHAT}: whoever gives speaks first")
            self._started = True
            return self._protect((DELEGATE,)), False
        self._collector.feed(self._unprotect(token))
        request_der = self._collector.take_only()
        if request_der is None:
            return b"", False
        request = parse_delegation_request(request_der)
        chain = grant_delegation(self._credential, request, self._options, now=self._clock())
        return self._protect([certificate.der for certificate in chain]), True


class DelegationReceiver(_Exchange):
    """The end that receives. Made by `SecurityContext.receive_delegation`.

    The last token has to come whole: nothing in it says how many certificates follow, so it ends with the end entity's,
    or with what followed that in the same token.

    Attributes:
        credential: What was delegated, once done.
        peer: What its chain proves, once done.
    """

    __slots__ = ("_asked", "_clock", "_collector", "_expected", "_judge", "_requester", "credential", "peer")

    def __init__(
        self,
        key: PrivateKey,
        *,
        judge: Callable[[Sequence[Certificate]], VerifiedPeer],
        expected: VerifiedPeer | None,
        protect: Callable[[Sequence[bytes]], bytes],
        unprotect: Callable[[bytes], bytes],
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(protect, unprotect)
        self._requester = DelegationRequester(key)
        self._judge = judge
        self._expected = expected
        self._clock = clock
        self._asked = False
        self._collector = ObjectCollector(limit=MAX_CERTIFICATE_BYTES, total=MAX_BLOCK_BYTES)
        self.credential: Credential | None = None
        self.peer: VerifiedPeer | None = None

    def _advance(self, token: bytes) -> tuple[bytes, bool]:
        data = self._unprotect(token)
        if not self._asked:
            if not data:
                return b"", False
            if data != DELEGATE:
                raise RemoteProtocolError(f"{_WHAT}: the peer did not begin with D")
            self._asked = True
            return self._protect((self._requester.request_der,)), False
        self._collector.feed(data)
        if not self._collector.is_whole or not self._has_end_entity():
            return b"", False
        credential = self._requester.accept(self._collector.objects, now=self._clock())
        peer = self._judge(credential.certificates)
        if self._expected is not None and not names.same_name(peer.eec.subject_der, self._expected.eec.subject_der):
            raise VerificationError(
                f"{peer.identity} was delegated by {self._expected.identity}", reason=Reason.PEER_NAME, position=0
            )
        self.credential, self.peer = credential, peer
        return b"", True

    def _has_end_entity(self) -> bool:
        """Whether the certificates that have come reach an end entity."""
        return any(classify(Certificate.parse(one)).role is not Role.PROXY for one in self._collector.objects)
