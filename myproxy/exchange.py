"""One exchange of a client's with a server over one connection: what is asked, proved, sent and received; no decisions.

    with Exchange(stream) as exchange:
        exchange.ask(request, renewing=credential)       # authorization rounds included
        exchange.send(exchange.session.send_certificate_request(der))
        certificates = exchange.expect(CertificatesReceived).certificates

What a server refuses is a `RefusedError` with its words; when it refuses our certificate, an `AuthenticationError`.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final, Self, TypeVar

from gsi.errors import (
    AuthenticationError,
    CredentialError,
    CredentialProblem,
    GridError,
    RefusedError,
    RemoteProtocolError,
    TransportError,
)
from myproxy.protocol.client import ClientSession
from myproxy.protocol.events import (
    NEED_DATA,
    CertificateRequestReceived,
    CertificatesReceived,
    CredentialReceived,
    Event,
    ResponseReceived,
)
from myproxy.protocol.messages import (
    METHOD_NAMES,
    AuthorizationMethod,
    AuthorizationReply,
    Request,
    Response,
    ResponseType,
    SignatureBlock,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gsi.certificate import Certificate
    from gsi.credential import Credential
    from gsi.secret import Passphrase
    from gsi.transport.tls_stream import TLSStream
    from myproxy.auth.sasl_client import SASLAnswers

__all__ = ["MAX_ROUNDS", "Exchange"]

MAX_ROUNDS: Final = 32
"""Authorization rounds: SASL mechanisms take three; a server must not keep a client forever."""
REFUSES_CERTIFICATE: Final = "authentication failed"
"""How a server's refusal begins when it is about the client's certificate."""
_CHALLENGE: Final = re.compile(r"[0-9a-fA-F]{32}")
"""What a server may have signed: 16 random bytes in hexadecimal, and nothing that could mean something elsewhere."""
_Binary = TypeVar("_Binary", CertificateRequestReceived, CertificatesReceived, CredentialReceived)


class Exchange:
    """One connection with its session."""

    def __init__(
        self,
        stream: TLSStream,
        *,
        host: Callable[[], str] = lambda: "localhost",
        ask_user: Callable[[str, bool], Passphrase] | None = None,
    ) -> None:
        """Begin on a connection whose server has proved itself.

        Args:
            stream: The connection.
            host: Tells the server's full name, for SASL.
            ask_user: Asks the user something, hidden or not; None where there is nobody to ask, and then no SASL.
        """
        self._stream = stream
        self._host = host
        self._ask_user = ask_user
        self._sasl: SASLAnswers | None = None
        self._resources = contextlib.ExitStack()
        self.session = ClientSession()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._resources.close()
        self._stream.close()

    def send(self, *messages: bytes) -> None:
        """Send messages of the session's, each in TLS records of its own."""
        self._stream.send(*messages)

    def ask(self, request: Request, *, renewing: Credential | None = None) -> Response:
        """Ask, go through authorization if the server wants it, and return its yes.

        Raises:
            RefusedError: It said no, or wants a way of authorization that we do not have.
            RemoteProtocolError: It does not know what it means to ask on behalf of a user.
        """
        self.send(self.session.send_start(), self.session.send_request(request))
        response = self._response()
        for _ in range(MAX_ROUNDS):
            if response.type is ResponseType.OK:
                if self._sasl is not None and not self._sasl.is_done:
                    raise RefusedError("SASL: the server is content before it has proved itself")
                if response.on_behalf_of != request.on_behalf_of:  # it may have judged us in the user's place
                    raise RemoteProtocolError(
                        "the server has not judged the user on whose behalf it was asked",
                        hint="only a server that names this client in its trusted_front_ends does",
                    )
                return response
            self.send(self.session.send_authorization(self._authorize(response, request, renewing)))
            response = self._response()
        raise RemoteProtocolError(f"the server asks for authorization more than {MAX_ROUNDS} times")

    def expect(self, kind: type[_Binary]) -> _Binary:
        """Wait for a message that is no text."""
        event = self._event()
        if not isinstance(event, kind):
            raise RemoteProtocolError("the server answered with something else than was due")
        return event

    def deliver_credential(self, text: bytes) -> None:
        """Send a credential and wait for the server's word that it is stored."""
        self.send(self.session.send_credential(text))
        self._response()

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

    def _authorize(self, response: Response, request: Request, renewing: Credential | None) -> AuthorizationReply:
        """Answer an offer: with the key of the credential to be renewed, else by SASL, else with the pass phrase."""
        offers = {offer.method: offer.data for offer in response.offers}
        challenge = offers.get(METHOD_NAMES[AuthorizationMethod.CERTIFICATE_SHA256])
        if renewing is not None and challenge is not None:
            return _sign_challenge(challenge, renewing)
        sasl = offers.get(METHOD_NAMES[AuthorizationMethod.SASL])
        if sasl is not None and self._ask_user is not None:
            return self._answer_sasl(sasl, request.username, self._ask_user)
        if METHOD_NAMES[AuthorizationMethod.PASSWORD] in offers and request.passphrase:
            return AuthorizationReply(AuthorizationMethod.PASSWORD, text=request.passphrase)
        raise RefusedError(
            f"the server wants authorization by {' or '.join(offers)}, which cannot be given",
            hint="give a pass phrase, or name the credential to renew with --authorization",
        )

    def _answer_sasl(
        self, offer: str, username: str, ask_user: Callable[[str, bool], Passphrase]
    ) -> AuthorizationReply:
        if self._sasl is None:
            from myproxy.auth.sasl_client import SASLAnswers

            self._sasl = self._resources.enter_context(SASLAnswers(self._host(), username, ask_user))
        try:
            return self._sasl.reply(offer)
        except AuthenticationError as error:  # ours, where the caller expects the server's about our certificate
            raise RefusedError(error.message, hint=error.hint) from error

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
