"""The bytes of KX.509. The vectors were made with `hmac` and pyasn1, not with this codec."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gsi import der, keys
from gsi.certificate import Certificate, Extension
from gsi.errors import CredentialError, GridError, ParseError
from gsi.keys import KeyType
from gsi.secret import Passphrase
from kca.protocol.codec import (
    MAX_REQUEST_BYTES,
    MAX_RESPONSE_BYTES,
    check_modulus,
    check_request_mac,
    check_response_mac,
    clean_text,
    encode_certificates,
    encode_csr_plus,
    encode_frame,
    encode_request,
    encode_response,
    frame_length,
    parse_certificates,
    parse_csr_plus,
    parse_request,
    parse_response,
    parse_rsa_key,
    request_mac,
    sealed,
)
from kca.protocol.messages import CSRPlus, MACDialect, MACError, Request, RequestKind, Response, VersionError
from tests.harness.ca import TestCA
from tests.harness.kx509_peers import tlv

KEY = Passphrase(bytes(range(32)))
PK_KEY = bytes.fromhex("300602010b020103")
CERTIFICATE = bytes.fromhex("3003020105")
AUTHENTICATOR = bytes.fromhex("6e00")
REQUEST = bytes.fromhex("00000200302404026e00041468bf7a8fb62cebcabebe2f2f30684fa675f659200408300602010b020103")
REPLY_RFC = bytes.fromhex("000002003021a11604149937b2e83468953d41c92ecae6c73bb516a3838aa20704053003020105")
MAC_HEIMDAL = bytes.fromhex("779b6c2b468ad9747ca47330dbd126583516ac88")
ERROR_4 = bytes.fromhex("000002003023a003020104a1160414ad86c058806ea4a98fde0e7b848d4dd7316ce4bea3041a026e6f")
MAC_1012 = bytes.fromhex("732c6ad8b2890d9c33e1d4b39650cef0355de74c")


def test_request_vector() -> None:
    request = Request(AUTHENTICATOR, b"", PK_KEY)
    request = request._replace(pk_hash=request_mac(request, KEY))
    assert encode_request(request) == REQUEST
    assert parse_request(REQUEST) == request
    assert request.kind is RequestKind.RSA_KEY
    check_request_mac(request, KEY)


def test_request_of_another() -> None:
    request = parse_request(REQUEST)
    for altered in (
        request._replace(pk_key=b"\x30\x06\x02\x01\x0d\x02\x01\x03"),
        request._replace(pk_hash=bytes(20)),
        request._replace(pk_hash=request.pk_hash[:19]),
        request._replace(pk_hash=b""),
    ):
        with pytest.raises(MACError):
            check_request_mac(altered, KEY)
    with pytest.raises(MACError):
        check_request_mac(request, Passphrase(bytes(32)))


def test_probe_covers_the_ticket() -> None:
    """Without a key the code is over the AP-REQ, so that a probe cannot be made of another's."""
    probe = Request(AUTHENTICATOR, b"", b"")
    assert probe.kind is RequestKind.AUTHENTICATED_PROBE
    assert request_mac(probe, KEY) != request_mac(probe._replace(authenticator=b"\x6e\x01\0"), KEY)
    assert Request(b"", b"", b"").kind is RequestKind.PROBE
    assert Request(AUTHENTICATOR, b"", b"\x7f\x23\x00").kind is RequestKind.CSR


def test_name_of_the_client() -> None:
    """Michigan's fourth field is read, and written where it is wanted."""
    message = encode_request(Request(AUTHENTICATOR, bytes(20), PK_KEY, "KRB5 1.0"))
    assert message.endswith(b"\x80\x08KRB5 1.0")
    assert parse_request(message).client_version == "KRB5 1.0"


@pytest.mark.parametrize(
    ("response", "dialect", "mac"),
    [
        (Response(certificate=CERTIFICATE), MACDialect.RFC, REPLY_RFC[10:30]),
        (Response(certificate=CERTIFICATE), MACDialect.HEIMDAL8, MAC_HEIMDAL),
        (Response(4, text="no"), MACDialect.RFC, ERROR_4[15:35]),
        (Response(4, text="no"), MACDialect.HEIMDAL8, ERROR_4[15:35]),
        (Response(1012, text="no"), MACDialect.RFC, MAC_1012),
        (Response(1012, text="no"), MACDialect.HEIMDAL8, MAC_1012),
    ],
)
def test_response_vectors(response: Response, dialect: MACDialect, mac: bytes) -> None:
    made = sealed(response, KEY, dialect)
    assert made.mac == mac
    assert parse_response(encode_response(made)) == made
    found = check_response_mac(made, KEY)
    assert found is (dialect if not response.error_code else MACDialect.RFC)


def test_response_bytes() -> None:
    assert encode_response(sealed(Response(certificate=CERTIFICATE), KEY, MACDialect.RFC)) == REPLY_RFC
    assert encode_response(sealed(Response(4, text="no"), KEY, MACDialect.RFC)) == ERROR_4


def test_code_of_two_bytes_is_signed() -> None:
    """DER's content octets: 128 takes two, which is where Michigan's own form would differ."""
    assert b"\xa0\x04\x02\x02\x00\x80" in encode_response(Response(128))
    assert parse_response(encode_response(Response(128))).error_code == 128


def test_response_of_another() -> None:
    for reply in (REPLY_RFC, ERROR_4):
        response = parse_response(reply)
        for altered in (
            response._replace(mac=None),
            response._replace(mac=bytes(20)),
            response._replace(certificate=b"\x30\x00"),
            response._replace(text="yes"),
            response._replace(error_code=5),
        ):
            with pytest.raises(MACError):
                check_response_mac(altered, KEY)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0\0\2",
        REQUEST[4:],
        REQUEST[:-1],
        REQUEST + b"\0",
        b"\0\0\2\0" + b"\x30\x80",
        b"\0\1" + REQUEST[2:],
        REPLY_RFC,
        ERROR_4,
        b"\0\0\2\0" + b"\x30\x02\x04\x00",
        b"\0\0\2\0" + bytes(MAX_REQUEST_BYTES),
    ],
)
def test_no_request(message: bytes) -> None:
    """A reply is none either: what is sent back to its sender goes nowhere."""
    with pytest.raises(ParseError):
        parse_request(message)


def test_other_versions() -> None:
    """Another version is told from noise by what follows; the minor number does not matter."""
    with pytest.raises(VersionError):
        parse_request(b"\0\0\3\0" + REQUEST[4:])
    with pytest.raises(ParseError):
        parse_request(b"\0\0\3\0" + REQUEST[4:-1])
    parse_request(b"\0\0\2\1" + REQUEST[4:])
    with pytest.raises(VersionError):
        parse_response(b"\0\0\1\0" + REPLY_RFC[4:])


@pytest.mark.parametrize(
    "message",
    [
        b"",
        REQUEST,
        REPLY_RFC[:-1],
        REPLY_RFC + b"\0",
        b"\0\0\2\0" + bytes(MAX_RESPONSE_BYTES),
        b"\0\0\2\0" + tlv(b"\x30", b"\xa0\x03\x02\x01\xff"),  # -1
        b"\0\0\2\0" + tlv(b"\x30", b"\xa0\x07\x02\x05\x7f\xff\xff\xff\xff"),
        b"\0\0\2\0" + tlv(b"\x30", tlv(b"\xa3", tlv(b"\x1a", bytes(5000)))),
        b"\0\0\2\0" + tlv(b"\x30", b"\xa2\x02\x04\x00" + b"\xa1\x02\x04\x00"),
    ],
)
def test_no_response(message: bytes) -> None:
    with pytest.raises(ParseError):
        parse_response(message)


def test_rsa_key() -> None:
    assert parse_rsa_key(PK_KEY) == bytes.fromhex("301a300d06092a864886f70d0101010500030900") + PK_KEY
    for bad in (b"", b"\x30\x00", PK_KEY + b"\0", bytes.fromhex("30060201f5020103"), bytes.fromhex("300302010b")):
        with pytest.raises(ParseError):
            parse_rsa_key(bad)


def test_modulus_of_no_key() -> None:
    """What looks strong by its length alone; keys of every make pass."""

    def bare(modulus: int) -> bytes:
        return parse_rsa_key(der.encode_sequence(der.encode_integer(modulus), der.encode_integer(65537)))

    key = keys.spki_der(keys.generate_key(KeyType.RSA))
    check_modulus(key)
    reader = der.parse_one(key, what="key")
    reader.take_raw(der.SEQUENCE)
    genuine = der.parse_one(reader.bit_string(), what="key").integer()
    check_modulus(bare(genuine))
    for weak in (2**4096 - 1, 997 * genuine, 3 * genuine):
        with pytest.raises(CredentialError, match="small factors"):
            check_modulus(bare(weak))


def test_csr_plus() -> None:
    extension = Extension("2.5.29.37", True, b"\x30\x00")
    end = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    for plus in (CSRPlus(b"csr"), CSRPlus(b"csr", (extension,)), CSRPlus(b"", (), end), CSRPlus(b"x" * 300, (), end)):
        encoded = encode_csr_plus(plus)
        assert encoded[:2] == b"\x7f\x23"
        assert parse_csr_plus(encoded) == plus
    assert encode_csr_plus(CSRPlus(b"csr")) == bytes.fromhex("7f2307300504") + b"\x03csr"


def test_csr_plus_is_extensible() -> None:
    assert parse_csr_plus(tlv(b"\x7f\x23", tlv(b"\x30", b"\x04\x01x" + b"\x0c\x01y"))).csr == b"x"


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\x7f",
        b"\x7f\x23",
        b"\x7f\x24\x02\x30\x00",
        b"\x7f\x23\x02\x30\x00",
        tlv(b"\x7f\x23", tlv(b"\x30", b"\x04\x01x" + tlv(b"\x18", b"20261340000000Z"))),
        tlv(b"\x7f\x23", tlv(b"\x30", b"\x04\x01x" + tlv(b"\x18", b"2026112112000Z"))),
        tlv(b"\x7f\x23", tlv(b"\x30", b"\x04\x01x")) + b"\0",
        tlv(b"\x7f\x23", tlv(b"\x30", b"\x04\x01x" + tlv(b"\x30", tlv(b"\x30", b"\x06\x01\x2a\x04\x00") * 70))),
    ],
)
def test_no_csr_plus(encoded: bytes) -> None:
    with pytest.raises(ParseError):
        parse_csr_plus(encoded)


def test_certificates_in_both_forms() -> None:
    """One, or a list of them, whatever was asked for: Heimdal answers a bare key with a list of one."""
    ca = TestCA(key="p256")
    leaf = Certificate.parse(ca.issue("/O=Grid/CN=A", key="p256").der)
    root = Certificate.parse(ca.der)
    assert parse_certificates(leaf.der) == (leaf,)
    assert parse_certificates(encode_certificates([leaf])) == (leaf,)
    assert parse_certificates(encode_certificates([leaf, root])) == (leaf, root)
    for bad in (b"", b"\x30\x00", b"\x30\x02\x30\x00", leaf.der[:-1], encode_certificates([root] * 17)):
        with pytest.raises(GridError):
            parse_certificates(bad)


def test_texts_are_harmless() -> None:
    assert clean_text("a\x1b[31m\nb\u00e9") == "a?[31m b?"
    assert len(clean_text("x" * 1000)) == 200


def test_frames() -> None:
    assert encode_frame(b"abc") == b"\0\0\0\3abc"
    assert frame_length(b"\0\0\0", limit=10) is None
    assert frame_length(b"\0\0\0\3a", limit=10) == 3
    for bad in (b"\0\0\0\0", b"\0\0\0\x0b", b"GET / HTTP"):
        with pytest.raises(ParseError):
            frame_length(bad, limit=10)
