"""Fetching attribute certificates from VOMS servers over TLS: the blocking shell around `gsi.voms.exchange`.

    fetched = fetch_attributes(entries, request, credential, anchors=directory.anchors, now=clock.now)
    fetched.certificate, fetched.warnings, fetched.entry

Each server is asked by REST first and, when that is no answer, by the legacy protocol; then the next one. A server's
no is an answer: nobody else is asked. What was fetched is not judged here; `gsi.voms.verify` does that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import GridError, LocalProtocolError, RefusedError, TransportError
from gsi.transport.stream import CONNECT_TIMEOUT, HostPort, connect
from gsi.transport.tls import ClientTLS
from gsi.transport.tls_stream import TLSStream
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.peername import check_peer_name
from gsi.trust.verify import verify_chain
from gsi.voms.exchange import FetchSession, Protocol, accept

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from gsi.credential import Credential
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer
    from gsi.voms.answers import Answer
    from gsi.voms.attribute_cert import AttributeCertificate
    from gsi.voms.exchange import FetchRequest
    from gsi.voms.vomses import VOMSEntry

__all__ = ["ANSWER_TIMEOUT", "Fetched", "fetch_attributes"]

ANSWER_TIMEOUT: Final = 60.0
"""Seconds of silence before a server counts as dead; its database may be slow."""

_SERVER: Final = ValidationOptions(purpose=Purpose.SERVER)
_BOTH: Final = (Protocol.REST, Protocol.LEGACY)


class Fetched(NamedTuple):
    """What a server gave."""

    certificate: AttributeCertificate
    warnings: tuple[str, ...]
    entry: VOMSEntry
    protocol: Protocol


def fetch_attributes(
    entries: Sequence[VOMSEntry],
    request: FetchRequest,
    credential: Credential,
    *,
    anchors: Callable[[], TrustAnchors],
    now: Callable[[], datetime],
    protocols: Sequence[Protocol] = _BOTH,
    timeout: float = CONNECT_TIMEOUT,
    answer_timeout: float = ANSWER_TIMEOUT,
) -> Fetched:
    """Ask servers in turn for an attribute certificate.

    Args:
        entries: The servers of the VO.
        request: What is asked for.
        credential: Who asks.
        anchors: Returns the trust anchors for the servers' certificates.
        now: The clock.
        protocols: How each is asked, in order.
        timeout: Seconds for a connection.
        answer_timeout: Seconds of silence within one.

    Raises:
        RefusedError: A server said no, or there is none to ask.
        TransportError: None of them answered; each with its reason is in the message.
        LocalProtocolError: The request cannot be written.
    """
    tls = ClientTLS(credential)

    def ask(entry: VOMSEntry, protocol: Protocol) -> Answer:
        def verify(chain: tuple[bytes, ...]) -> VerifiedPeer:
            peer = verify_chain(chain, anchors(), now=now(), options=_SERVER)
            check_peer_name(peer, entry.host, expected_dn=entry.server_dn)
            return peer

        place = HostPort(entry.host, entry.port)
        session = FetchSession(request, protocol, host=str(place))
        connected, _ = connect([place], timeout=timeout, read_timeout=answer_timeout)
        return _converse(TLSStream(connected, tls.session(verify)), session)

    failures: list[str] = []
    for entry in entries:
        for protocol in protocols:
            try:
                answer = ask(entry, protocol)
                return Fetched(accept(answer), answer.warnings, entry, protocol)
            except (RefusedError, LocalProtocolError):
                raise
            except GridError as error:
                failures.append(f"{entry.place} ({protocol.value}): {error.message}")
    if not failures:
        raise RefusedError(f"no server is known for the VO {request.vo!r}", hint="look at the vomses files")
    raise TransportError(f"no VOMS server answered: {'; '.join(failures)}")


def _converse(stream: TLSStream, session: FetchSession) -> Answer:
    try:
        stream.handshake()
        stream.send(session.data_to_send())
        while (answer := session.receive_data(stream.receive())) is None:
            pass
        return answer
    finally:
        stream.close()
