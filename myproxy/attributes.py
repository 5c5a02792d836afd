"""VOMS attributes: those of a client that proves them, and those that a delegated proxy is to carry; decides nothing.

    fqans = ClientAttributes(verifier)(peer, now=now)                  # what FQAN: rules are compared with
    given = RequestedAttributes(servers, entries, anchors, verify, clock)(request, credential, lifetime)
    given.extension, given.fqans

A client asks for attributes by VONAME lines; the stored credential asks the VO's server for them, and the extension
goes into the delegated proxy. Agrees with gct:myproxy/source/vomsclient.c and gsi_socket_voms.c, but that what a server
gave is always judged before it is passed on, and that a client's VOMSES lines lead only to servers that the site's
vomsdir trusts for the VO: any other would give nothing to be believed, and the server connects to nobody for clients.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from gsi import oids
from gsi.certificate import Extension
from gsi.errors import DeniedError, GridError, RefusedError, TransportError
from gsi.transport.voms import fetch_attributes
from gsi.voms.attribute_cert import encode_sequence_of
from gsi.voms.verify import AttributeVerifier, VOMSOptions
from gsi.voms.vomses import parse_vomses
from gsi.voms.wishes import make_questions, parse_wish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from gsi.certificate import Certificate
    from gsi.credential import Credential
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer
    from gsi.voms.attribute_cert import AttributeCertificate
    from gsi.voms.verify import ServerTrust
    from gsi.voms.vomses import VOMSEntry
    from gsi.voms.wishes import Question
    from myproxy.protocol.messages import Request

    class ChainVerifier(Protocol):
        """Judges a chain against the trust anchors of the moment."""

        def __call__(self, chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
            """Return the proven identity, or raise VerificationError."""
            ...


__all__ = ["AttributeSource", "ClientAttributes", "GivenAttributes", "RequestedAttributes"]

MAX_VOS: Final = 10
"""VOs of one request: as many as C clients pass on."""

MAX_SERVERS: Final = 4
"""Servers of one VO that are tried: a VO has two or three."""

AT_ONCE: Final = 8
"""Requests of one worker that may ask VOMS servers together: a VO whose servers hang must not take all threads."""

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 20.0
"""For a server's silence; the client waits meanwhile, and C clients for two minutes."""

WORDS: Final = "Couldn't get VOMS User Information."
"""What the C server says."""

_log: Final = logging.getLogger("myproxy.server")


class GivenAttributes(NamedTuple):
    """What a proxy is to carry.

    Attributes:
        extension: With the attribute certificates.
        fqans: What they say, for the audit.
    """

    extension: Extension
    fqans: tuple[str, ...]


class AttributeSource(Protocol):
    """Finds the attributes that a request asks for. Called in threads, by several at once."""

    def __call__(self, request: Request, credential: Credential, lifetime: timedelta) -> GivenAttributes:
        """Return them; raises DeniedError, fit for the client, when they cannot be had."""
        ...


class ClientAttributes:
    """What the proxies of clients prove. Safe for several threads.

    Only the proxy nearest to the client counts, as for libvomsapi. What is not believed is left out, with a line in
    the log: the client is judged without it.
    """

    def __init__(self, servers: ServerTrust, anchors: Callable[[], TrustAnchors], hosts: frozenset[str]) -> None:
        """Prepare.

        Args:
            servers: Which VOMS servers are believed.
            anchors: Returns the trust anchors.
            hosts: The names of this host.
        """
        self._verifier = AttributeVerifier(servers, anchors, VOMSOptions(hosts=hosts, nearest_only=True))

    def __call__(self, peer: VerifiedPeer | None, *, now: datetime) -> tuple[str, ...]:
        """Return the FQANs that a client proves, in the order of its certificates."""
        fqans: list[str] = []
        for found in () if peer is None else self._verifier.verify_chain(peer, now=now):
            if found.attributes is not None:
                fqans += found.attributes.fqans
            else:
                _log.info("attributes of %s do not count: %s", peer.identity if peer else "", found.error)
        return tuple(fqans)


class RequestedAttributes:
    """Asks VOMS servers with the stored credential. Safe for several threads."""

    def __init__(
        self,
        servers: ServerTrust,
        entries: Callable[[], Sequence[VOMSEntry]],
        anchors: Callable[[], TrustAnchors],
        verify: ChainVerifier,
        clock: Callable[[], datetime],
    ) -> None:
        """Prepare.

        Args:
            servers: Which VOMS servers are believed.
            entries: Returns where they are; asked each time.
            anchors: Returns the trust anchors.
            verify: Judges chains of stored credentials.
            clock: The time.
        """
        self._servers = servers
        self._entries = entries
        self._anchors = anchors
        self._verify = verify
        self._clock = clock
        self._verifier = AttributeVerifier(servers, anchors, VOMSOptions(any_host=True))
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def __call__(self, request: Request, credential: Credential, lifetime: timedelta) -> GivenAttributes:
        """See `AttributeSource`."""
        questions = self._make_questions(request, lifetime)
        if not self._turns.acquire(timeout=CONNECT_SECONDS):
            raise DeniedError(f"{WORDS}\nThe server is busy; try again later.")
        try:
            holder = self._verify(credential.certificates, now=self._clock())
            certificates = [self._ask(question, credential, holder) for question in questions]
        except RefusedError as error:
            raise DeniedError(f"{WORDS}\n{error.message}") from error
        except GridError as error:
            raise DeniedError(WORDS) from error
        finally:
            self._turns.release()
        return GivenAttributes(
            Extension(oids.VOMS_AC_SEQUENCE, False, encode_sequence_of(certificates)),
            tuple(fqan for certificate in certificates for fqan in certificate.info.fqans),
        )

    def _make_questions(self, request: Request, lifetime: timedelta) -> tuple[Question, ...]:
        """Return what to ask whom.

        Raises:
            DeniedError: What is asked for cannot be understood, or no server for it is known and trusted.
        """
        try:
            entries = parse_vomses("\n".join(request.vomses).encode()) if request.vomses else self._entries()
            wishes = [parse_wish(_with_slash(name)) for name in request.vo_names]
            questions = make_questions(entries, wishes, lifetime=lifetime)
        except ValueError as error:
            raise DeniedError(f"{WORDS}\n{error}") from error
        except GridError as error:
            raise DeniedError(f"{WORDS}\n{error.message}") from error
        if len(questions) > MAX_VOS:
            raise DeniedError(f"{WORDS}\nMore than {MAX_VOS} VOs.")
        return tuple(self._keep_trusted(question) for question in questions)

    def _keep_trusted(self, question: Question) -> Question:
        """Leave out servers that nobody here would believe; nothing is sent to them."""
        try:
            trusted = tuple(entry for entry in question.servers if self._servers.find(question.vo, entry.host))
        except GridError as error:
            raise DeniedError(WORDS) from error
        if not trusted:
            raise DeniedError(f"{WORDS}\nNo server of the VO {question.vo} is trusted here.")
        return question._replace(servers=trusted[:MAX_SERVERS])

    def _ask(self, question: Question, credential: Credential, holder: VerifiedPeer) -> AttributeCertificate:
        """Return what the first server gives that gives anything.

        Raises:
            GridError: None gave anything, or what one gave must not be believed.
        """
        refusals: list[GridError] = []
        for server in question.servers:
            try:
                fetched = fetch_attributes(
                    [server],
                    question.request,
                    credential,
                    anchors=self._anchors,
                    now=self._clock,
                    timeout=CONNECT_SECONDS,
                    answer_timeout=ANSWER_SECONDS,
                )
            except (RefusedError, TransportError) as error:
                _log.warning("no attributes of %s for %s: %s", question.vo, holder.identity, error)
                refusals.append(error)
            else:
                given = self._verifier.verify(fetched.certificate, holder, now=self._clock())
                if given.authority.vo != question.vo:
                    raise RefusedError(f"The server of {question.vo} gave attributes of another VO.")
                return fetched.certificate
        raise next((error for error in refusals if isinstance(error, RefusedError)), refusals[0])


def _with_slash(name: str) -> str:
    """Return a VONAME with the slash that C clients may leave out: `vo:group` is `vo:/group`."""
    vo, colon, attribute = name.partition(":")
    return f"{vo}:/{attribute}" if colon and attribute and not attribute.startswith("/") else name
