"""From a message to its answer, step by step; knows no socket. One call, in one thread, for each request.

    answerer = Answerer(service, acceptors, replies=cache)
    reply = answerer.answer(message, peer="192.0.2.7", transport="udp")     # None: say nothing

    1. form        no KX.509 at all: silence, and a record now and then; another version: one word, likewise; a probe
                   without a ticket: one word, unproved
    2. again?      the same message of the same client: the same reply, or while it is being made silence (TCP waits)
    3. ticket      krb5_rd_req with the service's key, and the client's address where the ticket names some; a replay
                   over UDP: silence, the first one's reply is on its way
    4. seal        the request's HMAC, made with the ticket's key
    5. key         form, strength, and in a PKCS#10 the proof that the client has it
    6. service     decides, issues, and writes down (`kca.service`); here everything that fails before is written down
    7. reply       sealed with the ticket's key

What is answered before step 4 is never longer than the request.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from gsi.errors import AuthenticationError, GridError, ParseError, RemoteProtocolError
from gsi.kerberos.accept import ReplayError
from gsi.kerberos.libkrb5 import WRONG_PRINCIPAL, KerberosError
from kca.protocol.messages import KRB_AP_ERR_REPEAT, MACPolicy, RequestKind, VersionError
from kca.protocol.server import Exchange, open_request, probe_reply, refuse_unauthenticated, refuse_version
from kca.replies import UNDER_WAY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gsi.kerberos.accept import Accepted, Acceptor
    from gsi.kerberos.ticket import Principal
    from kca.protocol.messages import Request
    from kca.replies import ReplyCache
    from kca.service import CertificateService

__all__ = ["MALFORMED_RECORDS_PER_SECOND", "UNPROVEN_RECORDS_PER_SECOND", "Answerer", "Outcome"]

UNPROVEN_RECORDS_PER_SECOND: Final = 20
"""Requests without a good ticket that a worker writes into the audit in a second; each costs a write to the disk, which
anybody on the net could cause. What is beyond is counted in the log."""
MALFORMED_RECORDS_PER_SECOND: Final = 1
"""The same for messages that are no requests, which cost their senders nothing, not even a true address: so many lines
are some 40 MB in a day. The next one that is written down says how many were not."""
WAIT_SECONDS: Final = 10.0
"""How long a connection waits for the reply to the same message over UDP that another thread is making."""
_LOOK_SECONDS: Final = 0.05
_WRONG_SERVICE: Final = frozenset({35, 44, 45})
"""KRB_AP_ERR_NOT_US, BADKEYVER, NOKEY: another of our names may be meant."""
_log = logging.getLogger("kca.server")


class Outcome:
    """Names of what became of a message, for counting."""

    GARBAGE = "garbage"
    VERSION = "version"
    PROBE = "probe"
    REPEATED = "repeated"
    REPLAY = "replay"
    UNPROVEN = "unproven"
    REFUSED = "refused"
    CONFIRMED = "confirmed"
    ISSUED = "issued"
    TROUBLE = "trouble"


class _Pace:
    """Lets so many through in a second, and counts the rest."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._lock = threading.Lock()
        self._second = 0.0
        self._count = 0
        self._held_back = 0

    def admit(self, now: float) -> tuple[bool, int]:
        """Return whether one may go through, and how many have been held back before, when a new second begins."""
        with self._lock:
            told = 0
            if now - self._second >= 1.0:
                self._second, self._count = now, 0
                told, self._held_back = self._held_back, 0
            self._count += 1
            if self._count <= self._per_second:
                return True, told
            self._held_back += 1
            return False, told


class Answerer:
    """Answers messages. Safe for several threads."""

    def __init__(
        self,
        service: CertificateService,
        acceptors: Sequence[Acceptor],
        *,
        replies: ReplyCache,
        policy: MACPolicy = MACPolicy.AUTO,
        observe: Callable[[str, float], None] = lambda _outcome, _seconds: None,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Put the parts together.

        Args:
            service: Decides and issues.
            acceptors: The names under which tickets are taken, tried in order.
            replies: Replies given lately.
            policy: The dialect of replies.
            observe: Hears what became of each message, and how many seconds that took.
            monotonic: A clock that all processes share.
            pause: Lets so many seconds go by.
        """
        self._service = service
        self._acceptors = acceptors
        self._replies = replies
        self._policy = policy
        self._observe = observe
        self._monotonic = monotonic
        self._pause = pause
        self._pace = _Pace(UNPROVEN_RECORDS_PER_SECOND)
        self._pace_malformed = _Pace(MALFORMED_RECORDS_PER_SECOND)

    def answer(self, message: bytes, *, peer: str, transport: str) -> bytes | None:
        """Return the reply, or None for silence. Raises nothing that a client could cause.

        Args:
            message: What came, without the length in front of it.
            peer: The client's address.
            transport: "udp" or "tcp".
        """
        begun = self._monotonic()
        outcome, reply = self._judge(message, peer, transport)
        self._observe(outcome, self._monotonic() - begun)
        return reply

    def _judge(self, message: bytes, peer: str, transport: str) -> tuple[str, bytes | None]:
        try:
            request = open_request(message)
        except VersionError as error:
            self._record_malformed(error, _Visit(peer, transport, hashlib.sha256(message).digest()))
            return Outcome.VERSION, refuse_version(len(message))
        except ParseError as error:
            self._record_malformed(error, _Visit(peer, transport, hashlib.sha256(message).digest()))
            return Outcome.GARBAGE, None
        if request.kind is RequestKind.PROBE:
            return Outcome.PROBE, probe_reply(request, length=len(message))
        known = self._known(message, peer, transport)
        if known is not None:
            return Outcome.REPEATED, known or None
        visit = _Visit(peer, transport, hashlib.sha256(message).digest())
        try:
            accepted = self._accept(request.authenticator, peer)
        except ReplayError as error:
            known = self._known(message, peer, transport)  # it may have come in between
            if known is not None:
                return Outcome.REPEATED, known or None
            self._record(error, visit)
            # An error now could overtake the certificate that another worker is making.
            if transport == "udp":
                return Outcome.REPLAY, None
            return Outcome.REPLAY, refuse_unauthenticated(error, length=len(message), protocol_code=KRB_AP_ERR_REPEAT)
        except GridError as error:
            self._record(error, visit)
            code = error.protocol_code if isinstance(error, KerberosError) else None
            outcome = Outcome.UNPROVEN if isinstance(error, AuthenticationError) else Outcome.TROUBLE
            return outcome, refuse_unauthenticated(error, length=len(message), protocol_code=code)
        self._replies.begin(peer, message, now=self._monotonic())
        outcome, reply = self._serve(request, accepted, visit)
        self._replies.put(peer, message, reply, now=self._monotonic())
        return outcome, reply

    def _known(self, message: bytes, peer: str, transport: str) -> bytes | None:
        """Return the reply given before, `UNDER_WAY` where that is not there yet, None where nobody knows of any."""
        deadline = self._monotonic() + WAIT_SECONDS
        while True:
            found = self._replies.find(peer, message, now=self._monotonic())
            if found != UNDER_WAY or transport == "udp" or self._monotonic() >= deadline:
                return found
            self._pause(_LOOK_SECONDS)

    def _accept(self, ap_req: bytes, peer: str) -> Accepted:
        last: AuthenticationError | None = None
        for acceptor in self._acceptors:
            try:
                return acceptor.accept(ap_req, address=peer)
            except KerberosError as error:
                last = last or error
                if error.code != WRONG_PRINCIPAL and error.protocol_code not in _WRONG_SERVICE:
                    raise
        raise last or AuthenticationError("there is no service to take tickets for")

    def _serve(self, request: Request, accepted: Accepted, visit: _Visit) -> tuple[str, bytes]:
        """Go on with a genuine ticket; whatever happens, the reply is sealed."""
        exchange = Exchange(
            request,
            accepted.session_key,
            wants_mutual=accepted.wants_mutual,
            has_subkey=accepted.has_subkey,
            policy=self._policy,
        )
        ticket = accepted.ticket
        try:
            exchange.check()
            if request.kind is RequestKind.AUTHENTICATED_PROBE:
                wanted = None
            else:
                wanted = exchange.wanted()
        except GridError as error:
            self._record(error, visit, ticket.client)
            return Outcome.REFUSED, exchange.refuse(error)
        try:
            if wanted is None:
                self._service.probe(ticket, peer=visit.peer, transport=visit.transport)
                return Outcome.CONFIRMED, exchange.confirm()
            issued = self._service.issue(
                ticket, wanted, peer=visit.peer, transport=visit.transport, request_hash=visit.request_hash
            )
            return Outcome.ISSUED, exchange.grant(issued.chain)
        except GridError as error:
            _log.info("%s: %s: %s: %s", visit.peer, ticket.client.text, error.slug, error)
            return Outcome.REFUSED, exchange.refuse(error)
        except Exception as error:  # noqa: BLE001  a defect in one request must not leave its client waiting
            _log.exception("%s: internal error", visit.peer)
            trouble = GridError(f"internal error: {type(error).__name__}")
            return Outcome.TROUBLE, exchange.refuse(trouble)

    def _record(self, error: GridError, visit: _Visit, principal: Principal | None = None) -> None:
        """Write down why there is no certificate; strangers' only as fast as the disk can take them."""
        if principal is None:
            admitted, held_back = self._pace.admit(self._monotonic())
            if held_back:
                _log.warning("%d more requests without a good ticket were not written down", held_back)
            if not admitted:
                return
            if not isinstance(error, AuthenticationError):
                _log.error("%s: %s", visit.peer, error)
        self._write(error, visit, principal)

    def _record_malformed(self, error: GridError, visit: _Visit) -> None:
        """Write down what was no request, and how many of these were not since the last."""
        admitted, held_back = self._pace_malformed.admit(self._monotonic())
        if admitted:
            more = f"; and {held_back} more" if held_back else ""
            self._write(RemoteProtocolError(f"{error.message}{more}"), visit, None)

    def _write(self, error: GridError, visit: _Visit, principal: Principal | None) -> None:
        try:
            self._service.refuse(
                error,
                peer=visit.peer,
                transport=visit.transport,
                request_hash=visit.request_hash,
                principal=principal,
            )
        except GridError as trouble:
            _log.error("%s: a refusal is not in the audit: %s", visit.peer, trouble)


class _Visit:
    """Who came, how, and with what."""

    __slots__ = ("peer", "request_hash", "transport")

    def __init__(self, peer: str, transport: str, request_hash: bytes) -> None:
        self.peer = peer
        self.transport = transport
        self.request_hash = request_hash
