"""The service's side of one exchange, sans-IO: what came, is it proved, what is answered; issues nothing.

    opened = open_request(datagram)                       # ParseError: say nothing; VersionError: `refuse_version`
    if opened.kind is RequestKind.PROBE: reply = probe_reply(...)
    exchange = Exchange(opened, session_key, ...)         # once the AP-REQ was verified
    exchange.check()                                      # MACError
    reply = exchange.grant(issued.chain)                  # for exchange.wanted()

What is answered before the AP-REQ was verified is never longer than what came, so that nobody can be flooded with
replies to requests in his name; after that every reply is sealed with the ticket's key. RFC 6717; which of the two
dialects of sealing is used is in `choose_dialect`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.ca.request import CertificateRequest
from gsi.ca.request import parse_request as parse_csr
from gsi.errors import (
    AuthenticationError,
    CredentialError,
    DeniedError,
    GridError,
    ParseError,
    StorageError,
    TransportError,
    VerificationError,
)
from kca.protocol.codec import (
    MAX_TEXT_BYTES,
    check_modulus,
    check_request_mac,
    clean_text,
    encode_certificates,
    encode_response,
    parse_csr_plus,
    parse_request,
    parse_rsa_key,
    sealed,
)
from kca.protocol.messages import (
    HEIMDAL_GENERIC,
    HEIMDAL_POLICY,
    HEIMDAL_PREAUTHENTICATION,
    ErrorCode,
    MACDialect,
    MACError,
    MACPolicy,
    Request,
    RequestKind,
    Response,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.certificate import Certificate
    from gsi.secret import Passphrase

__all__ = [
    "Exchange",
    "choose_dialect",
    "code_of",
    "open_request",
    "probe_reply",
    "public_text",
    "refuse_unauthenticated",
    "refuse_version",
]

AVAILABLE: Final = "kx509 service is available"
TROUBLE: Final = "the service is in trouble; try again later or tell its administrator"


def open_request(data: bytes) -> Request:
    """Return what came.

    Raises:
        VersionError: A request of another version; `refuse_version` answers it.
        ParseError: No request: over UDP it is not answered at all.
    """
    return parse_request(data)


def probe_reply(request: Request, *, length: int) -> bytes | None:
    """Answer an unauthenticated probe: the service is there. It proves nothing, to anybody.

    Args:
        request: The probe.
        length: How long the message was.
    """
    del request
    return _bounded(Response(text=AVAILABLE), length)


def refuse_version(length: int) -> bytes | None:
    """Answer a request of another version, as Michigan's service does: with error 1 under version 2.0."""
    return _bounded(Response(ErrorCode.CLIENT_BAD, text="unsupported version of kx509; version 2.0 is spoken"), length)


def refuse_unauthenticated(error: GridError, *, length: int, protocol_code: int | None = None) -> bytes | None:
    """Answer a request whose AP-REQ could not be verified: without a seal, as there is no key.

    Args:
        error: Why.
        length: How long the message was; the reply is not longer, and None where that is not possible.
        protocol_code: The error's number within Kerberos, where it has one.
    """
    code = ErrorCode.CLIENT_TEMPORARY if isinstance(error, AuthenticationError) else code_of(error, MACDialect.RFC)
    text = public_text(error)
    if protocol_code is not None:
        number = f" (Kerberos error {protocol_code})"
        text = clean_text(text, MAX_TEXT_BYTES - len(number)) + number
    return _bounded(Response(code, text=clean_text(text)), length)


def choose_dialect(policy: MACPolicy, kind: RequestKind, *, wants_mutual: bool, has_subkey: bool) -> MACDialect:
    """Return how to seal replies to a client.

    Probes and PKCS#10 requests are Heimdal's own. A bare RSA key comes from Michigan's clients, which ask for mutual
    authentication and send no subkey, or from Heimdal 8 in its old mode, which does the opposite.
    """
    match policy:
        case MACPolicy.RFC:
            return MACDialect.RFC
        case MACPolicy.HEIMDAL8:
            return MACDialect.HEIMDAL8
        case MACPolicy.AUTO:
            if kind is not RequestKind.RSA_KEY or (has_subkey and not wants_mutual):
                return MACDialect.HEIMDAL8
            return MACDialect.RFC


def code_of(error: GridError, dialect: MACDialect) -> int:
    """Return the error code for an error, in the numbers that the client knows."""
    if dialect is MACDialect.HEIMDAL8:
        if isinstance(error, DeniedError):
            return HEIMDAL_POLICY
        return HEIMDAL_PREAUTHENTICATION if isinstance(error, MACError) else HEIMDAL_GENERIC
    if isinstance(error, DeniedError | CredentialError | VerificationError | ParseError):
        return ErrorCode.CLIENT_FIX
    if isinstance(error, AuthenticationError):
        return ErrorCode.CLIENT_TEMPORARY
    if isinstance(error, StorageError | TransportError):
        return ErrorCode.SERVER_TEMPORARY
    return ErrorCode.SERVER_BAD


def public_text(error: GridError) -> str:
    """Return what the client is told: what is the matter with it, but no more of our own trouble than that."""
    about_client = DeniedError | CredentialError | VerificationError | ParseError | AuthenticationError
    return clean_text(error.message if isinstance(error, about_client) else TROUBLE)


def _bounded(response: Response, length: int) -> bytes | None:
    """Return the reply, its text shortened until it is not longer than what it answers; None where nothing fits."""
    reply = encode_response(response)
    while len(reply) > length and response.text:
        # A length field may shrink with its content, so it is tried again.
        response = response._replace(text=response.text[: max(0, len(response.text) - (len(reply) - length))] or None)
        reply = encode_response(response)
    return reply if len(reply) <= length else None


class Exchange:
    """One request whose AP-REQ was verified.

    Attributes:
        request: What came.
        dialect: How replies are sealed.
    """

    __slots__ = ("_key", "dialect", "request")

    def __init__(
        self,
        request: Request,
        session_key: Passphrase,
        *,
        wants_mutual: bool,
        has_subkey: bool,
        policy: MACPolicy = MACPolicy.AUTO,
    ) -> None:
        """Take over a request.

        Args:
            request: The request, not an unauthenticated probe.
            session_key: The key of its ticket.
            wants_mutual: The AP-REQ asks for mutual authentication.
            has_subkey: The AP-REQ carries a subkey.
            policy: Which dialect to answer in.
        """
        self.request = request
        self._key = session_key
        self.dialect = choose_dialect(policy, request.kind, wants_mutual=wants_mutual, has_subkey=has_subkey)

    def check(self) -> None:
        """Return when the whole request was made by whom the ticket is for.

        Raises:
            MACError: It was not.
        """
        check_request_mac(self.request, self._key)

    def wanted(self) -> CertificateRequest:
        """Return the key to certify; a PKCS#10 has proved by its signature that the client holds it.

        Raises:
            ParseError: It is none.
            CredentialError: WEAK_KEY or UNSUPPORTED_KEY.
            VerificationError: The signature of the PKCS#10 is no good.
        """
        if self.request.kind is RequestKind.CSR:
            return parse_csr(parse_csr_plus(self.request.pk_key).csr)
        spki_der = parse_rsa_key(self.request.pk_key)
        check_modulus(spki_der)
        return CertificateRequest.from_public_key(spki_der)

    def grant(self, chain: Sequence[Certificate]) -> bytes:
        """Return the reply with a certificate: alone for a bare key, with its chain for a PKCS#10."""
        if self.request.kind is RequestKind.CSR:
            return self._seal(Response(certificate=encode_certificates(chain)))
        return self._seal(Response(certificate=chain[0].der))

    def confirm(self) -> bytes:
        """Return the reply to an authenticated probe: yes."""
        return self._seal(Response(text=AVAILABLE))

    def refuse(self, error: GridError) -> bytes:
        """Return the reply with an error."""
        return self._seal(Response(code_of(error, self.dialect), text=public_text(error)))

    def _seal(self, response: Response) -> bytes:
        return encode_response(sealed(response, self._key, self.dialect))
