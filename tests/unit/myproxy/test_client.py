"""What a client lets a server have signed. Its conversations are tested with real servers (`tests/interop`)."""

from __future__ import annotations

import pytest

from gsi.credential import Credential, parse_credential
from gsi.errors import RefusedError, RemoteProtocolError
from gsi.secret import Passphrase
from gsi.transport.tls_stream import TLSStream
from myproxy.exchange import Exchange
from myproxy.protocol.messages import (
    AuthorizationMethod,
    AuthorizationOffer,
    AuthorizationReply,
    Command,
    Request,
    Response,
)
from tests.harness.ca import TestCA

REQUEST = Request(Command.GET, "alice", Passphrase(b""))
RENEWING = parse_credential(TestCA("/O=Grid/CN=CA", "p256").issue("/O=Grid/CN=Alice", "p256").proxy().bundle())


def offer(challenge: str) -> Response:
    return Response.ask(AuthorizationOffer("X509_certificate_SHA256", challenge))


def authorize(response: Response, renewing: Credential | None, request: Request = REQUEST) -> AuthorizationReply:
    """What is answered to an offer; nothing is sent."""
    return Exchange(TLSStream.__new__(TLSStream))._authorize(response, request, renewing)


@pytest.mark.parametrize("challenge", ["0123456789abcdef" * 2, "0123456789ABCDEF" * 2])
def test_a_challenge_is_signed(challenge: str) -> None:
    reply = authorize(offer(challenge), RENEWING)
    assert reply.method is AuthorizationMethod.CERTIFICATE_SHA256
    assert reply.signature is not None
    assert reply.signature.certificates == tuple(one.der for one in RENEWING.certificates)


@pytest.mark.parametrize(
    "challenge", ["", "ab", "0" * 31, "0" * 33, "0" * 31 + "g", "0" * 32 + "\n", "pay 100 to Mallory, signed Alice."]
)
def test_nothing_else_is_signed(challenge: str) -> None:
    with pytest.raises(RemoteProtocolError, match="challenge"):
        authorize(offer(challenge), RENEWING)


def test_nothing_is_signed_unasked() -> None:
    with pytest.raises(RefusedError):
        authorize(offer("0" * 32), None)


def test_sasl_is_not_begun_where_nobody_can_be_asked() -> None:
    offers = Response.ask(AuthorizationOffer("SASL", "words"), AuthorizationOffer("password", "Enter"))
    request = Request(Command.GET, "alice", Passphrase("correct horse"))
    assert authorize(offers, None, request).method is AuthorizationMethod.PASSWORD
    with pytest.raises(RefusedError, match="SASL or password"):
        authorize(offers, None)
