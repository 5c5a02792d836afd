"""Both sides of KX.509 joined in memory: every shape, every refusal, every way in which somebody could interfere."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gsi import keys
from gsi.certificate import Certificate
from gsi.errors import (
    AuthenticationError,
    ConfigError,
    CredentialError,
    DeniedError,
    GridError,
    LocalProtocolError,
    ParseError,
    RemoteProtocolError,
    StorageError,
    VerificationError,
)
from gsi.keys import KeyType
from gsi.request import make_request
from gsi.secret import Passphrase
from kca.protocol.client import ClientSession, csr_plus, rsa_key
from kca.protocol.codec import encode_response, parse_response, sealed
from kca.protocol.messages import (
    MACDialect,
    MACError,
    MACPolicy,
    RefusedByKCAError,
    RequestKind,
    Response,
    VersionError,
)
from kca.protocol.server import Exchange, open_request, probe_reply, refuse_unauthenticated, refuse_version
from tests.harness import kx509_peers
from tests.harness.ca import TestCA

KEY = Passphrase(b"k" * 32)
AP_REQ = b"\x6e\x03abc"
CA = TestCA(key="p256")
CHAIN = [Certificate.parse(CA.issue("/CN=A", key="p256").der), Certificate.parse(CA.der)]


@pytest.fixture(scope="module")
def ec_request() -> bytes:
    return make_request(keys.generate_key(KeyType.P256), b"\x30\x00")


@pytest.fixture(scope="module")
def rsa_spki() -> bytes:
    return keys.spki_der(keys.generate_key(KeyType.RSA))


def _accept(
    message: bytes, *, mutual: bool = False, subkey: bool = True, policy: MACPolicy = MACPolicy.AUTO
) -> Exchange:
    exchange = Exchange(open_request(message), KEY, wants_mutual=mutual, has_subkey=subkey, policy=policy)
    exchange.check()
    return exchange


def test_request_with_proof(ec_request: bytes) -> None:
    client = ClientSession(AP_REQ, KEY)
    exchange = _accept(client.ask(csr_plus(ec_request)))
    assert exchange.request.kind is RequestKind.CSR
    assert exchange.request.authenticator == AP_REQ
    wanted = exchange.wanted()
    assert wanted.is_proven
    assert wanted.der == ec_request
    assert client.receive(exchange.grant(CHAIN)) == tuple(CHAIN)


def test_bare_key(rsa_spki: bytes) -> None:
    client = ClientSession(AP_REQ, KEY)
    exchange = _accept(client.ask(rsa_key(rsa_spki), client_version="KRB5 1.0"))
    wanted = exchange.wanted()
    assert not wanted.is_proven
    assert wanted.spki_der == rsa_spki
    assert client.receive(exchange.grant(CHAIN)) == (CHAIN[0],)


def test_probe() -> None:
    client = ClientSession(AP_REQ, KEY)
    exchange = _accept(client.probe())
    assert exchange.request.kind is RequestKind.AUTHENTICATED_PROBE
    assert client.receive(exchange.confirm()) == ()


@pytest.mark.parametrize(
    ("policy", "mutual", "subkey", "bare", "other"),
    [
        (MACPolicy.AUTO, True, False, MACDialect.RFC, MACDialect.HEIMDAL8),
        (MACPolicy.AUTO, False, True, MACDialect.HEIMDAL8, MACDialect.HEIMDAL8),
        (MACPolicy.AUTO, False, False, MACDialect.RFC, MACDialect.HEIMDAL8),
        (MACPolicy.AUTO, True, True, MACDialect.RFC, MACDialect.HEIMDAL8),
        (MACPolicy.RFC, False, True, MACDialect.RFC, MACDialect.RFC),
        (MACPolicy.HEIMDAL8, True, False, MACDialect.HEIMDAL8, MACDialect.HEIMDAL8),
    ],
)
def test_dialects(
    rsa_spki: bytes,
    ec_request: bytes,
    policy: MACPolicy,
    mutual: bool,
    subkey: bool,
    bare: MACDialect,
    other: MACDialect,
) -> None:
    """Whatever the server chooses, our client understands it."""
    for key, wanted in ((rsa_key(rsa_spki), bare), (csr_plus(ec_request), other)):
        client = ClientSession(AP_REQ, KEY)
        exchange = _accept(client.ask(key), mutual=mutual, subkey=subkey, policy=policy)
        assert exchange.dialect is wanted
        assert client.receive(exchange.grant(CHAIN))[0] == CHAIN[0]


REFUSALS = [
    (DeniedError("no rule for you"), 2, 1012, "no rule for you"),
    (ParseError("no key", what="key"), 2, 1060, "no key"),
    (MACError("wrong seal"), 3, 1024, "wrong seal"),
    (AuthenticationError("who?"), 3, 1060, "who?"),
    (StorageError("disk sda1 is full"), 5, 1060, None),
    (ConfigError("key in /etc/kca/key.pem is unreadable"), 4, 1060, None),
    (GridError("internal"), 4, 1060, None),
]


@pytest.mark.parametrize(("error", "rfc", "heimdal", "told"), REFUSALS, ids=lambda one: getattr(one, "slug", None))
def test_refusals(rsa_spki: bytes, error: GridError, rfc: int, heimdal: int, told: str | None) -> None:
    """Each family gets its own numbers, under a seal; nobody is told of the server's inside."""
    for policy, code in ((MACPolicy.RFC, rfc), (MACPolicy.HEIMDAL8, heimdal)):
        client = ClientSession(AP_REQ, KEY)
        reply = _accept(client.ask(rsa_key(rsa_spki)), policy=policy).refuse(error)
        with pytest.raises(RefusedByKCAError) as refused:
            client.receive(reply)
        assert refused.value.code == code
        assert refused.value.authenticated
        text = parse_response(reply).text or ""
        if told is None:
            assert error.message not in text
            assert "administrator" in text
        else:
            assert told in text


def test_unproved_refusal() -> None:
    """Before the ticket is verified there is no seal, and no more bytes than came."""
    client = ClientSession(AP_REQ, KEY)
    message = client.probe()
    reply = refuse_unauthenticated(AuthenticationError("x" * 500), length=len(message), protocol_code=37)
    assert reply is not None
    assert len(reply) <= len(message)
    with pytest.raises(RefusedByKCAError) as refused:
        client.receive(reply)
    assert not refused.value.authenticated
    assert refused.value.code == 3


@pytest.mark.parametrize("length", range(4, 120))
def test_no_amplification(length: int) -> None:
    for reply in (
        refuse_version(length),
        refuse_unauthenticated(AuthenticationError("the clocks differ"), length=length, protocol_code=37),
        probe_reply(open_request(bytes.fromhex("00000200301a04000414") + bytes(20) + b"\x04\0"), length=length),
    ):
        assert reply is None or len(reply) <= length


def test_request_of_another_ticket(rsa_spki: bytes) -> None:
    """The key is put in the place of another's: the code does not fit."""
    mine = ClientSession(AP_REQ, Passphrase(b"other key of 32 bytes...........")).ask(rsa_key(rsa_spki))
    with pytest.raises(MACError):
        _accept(mine)


def test_reply_of_another(rsa_spki: bytes) -> None:
    forged = sealed(Response(certificate=CHAIN[0].der), Passphrase(b"not the key"), MACDialect.RFC)
    client = ClientSession(AP_REQ, KEY)
    client.ask(rsa_key(rsa_spki))
    with pytest.raises(MACError):
        client.receive(encode_response(forged))
    with pytest.raises(RefusedByKCAError) as refused:  # no seal at all is no yes
        client.receive(encode_response(Response(certificate=CHAIN[0].der)))
    assert not refused.value.authenticated


def test_known_bytes() -> None:
    """Both sides with the messages of docs/wire/kx509.md, byte for byte: what goes out, and what is believed."""
    key, pk_key = Passphrase(bytes(range(32))), bytes.fromhex("300602010b020103")
    request = bytes.fromhex("00000200302404026e00041468bf7a8fb62cebcabebe2f2f30684fa675f659200408") + pk_key
    reply = bytes.fromhex("000002003021a11604149937b2e83468953d41c92ecae6c73bb516a3838aa20704053003020105")
    no = bytes.fromhex("000002003023a003020104a1160414ad86c058806ea4a98fde0e7b848d4dd7316ce4bea3041a026e6f")
    client = ClientSession(b"\x6e\0", key)
    assert client.ask(pk_key) == request
    for mac in ("9937b2e83468953d41c92ecae6c73bb516a3838a", "779b6c2b468ad9747ca47330dbd126583516ac88"):
        with pytest.raises(ParseError):  # believed, as far as the seal goes; three bytes are no certificate
            client.receive(reply[:10] + bytes.fromhex(mac) + reply[30:])
    with pytest.raises(MACError):
        client.receive(reply[:10] + bytes(20) + reply[30:])
    with pytest.raises(RefusedByKCAError) as refused:
        client.receive(no)
    assert (refused.value.code, refused.value.authenticated) == (4, True)
    server = Exchange(open_request(request), key, wants_mutual=True, has_subkey=False)
    server.check()
    assert server.dialect is MACDialect.RFC


@pytest.mark.parametrize("code", [2, 4, 1012])
def test_error_of_another(rsa_spki: bytes, code: int) -> None:
    """A seal makes no error the service's unless it is made with the ticket's key."""
    client = ClientSession(AP_REQ, KEY)
    client.ask(rsa_key(rsa_spki))
    for dialect in MACDialect:
        forged = sealed(Response(code, text="no"), Passphrase(b"not the key"), dialect)
        with pytest.raises(MACError):
            client.receive(encode_response(forged))
    other = sealed(Response(code, text="no"), KEY, MACDialect.RFC)
    for altered in (other._replace(error_code=code + 1), other._replace(text="yes"), other._replace(mac=b"f" * 20)):
        with pytest.raises(MACError):
            client.receive(encode_response(altered))
    with pytest.raises(RefusedByKCAError) as refused:
        client.receive(encode_response(other))
    assert refused.value.authenticated


def test_yes_without_certificate(rsa_spki: bytes) -> None:
    client = ClientSession(AP_REQ, KEY)
    client.ask(rsa_key(rsa_spki))
    with pytest.raises(RemoteProtocolError):
        client.receive(encode_response(sealed(Response(text="yes"), KEY, MACDialect.RFC)))


def test_no_reply(rsa_spki: bytes) -> None:
    client = ClientSession(AP_REQ, KEY)
    sent = client.ask(rsa_key(rsa_spki))
    for noise in (b"", b"\0\0\2\0", sent):
        with pytest.raises(ParseError):
            client.receive(noise)
    with pytest.raises(VersionError):
        client.receive(b"\0\0\1\0\x30\0")


def test_order(rsa_spki: bytes) -> None:
    client = ClientSession(AP_REQ, KEY)
    with pytest.raises(LocalProtocolError):
        client.receive(b"")
    with pytest.raises(LocalProtocolError):
        client.ask(b"")
    client.probe()
    with pytest.raises(LocalProtocolError):  # a second request would be a replay
        client.ask(rsa_key(rsa_spki))


def test_only_rsa_goes_bare() -> None:
    with pytest.raises(LocalProtocolError):
        rsa_key(keys.spki_der(keys.generate_key(KeyType.P256)))


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_request_without_attributes(kind: str) -> None:
    """As Heimdal 8 writes it; the signature counts over the bytes as they came."""
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    client = ClientSession(AP_REQ, KEY)
    exchange = _accept(client.ask(kx509_peers.csr_plus(kx509_peers.csr_without_attributes(key))))
    assert exchange.wanted().is_proven
    tampered = kx509_peers.csr_plus(kx509_peers.csr_without_attributes(key, tampered=True))
    exchange = _accept(ClientSession(AP_REQ, KEY).ask(tampered))
    with pytest.raises((VerificationError, ParseError)):
        exchange.wanted()


def test_weak_keys() -> None:
    weak = rsa.generate_private_key(65537, 1024)  # the default of Michigan's client
    spki = weak.public_key().public_numbers()
    from gsi import der

    raw = der.encode_sequence(der.encode_integer(spki.n), der.encode_integer(spki.e))
    exchange = _accept(ClientSession(AP_REQ, KEY).ask(raw))
    with pytest.raises(CredentialError, match="1024"):
        exchange.wanted()
