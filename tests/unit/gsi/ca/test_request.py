"""Requests: read as sent, proved by their signature, whatever odd writers do to the rest."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gsi import der, keys, oids
from gsi.ca import CertificateRequest, load_request, parse_request
from gsi.errors import CredentialError, CredentialProblem, ParseError, Reason, VerificationError
from gsi.names import oneline
from gsi.pem import encode_pem
from tests.harness.ca import KeyKind
from tests.unit.gsi.ca.support import make_csr


def sign_body(key: keys.PrivateKey, body: bytes) -> bytes:
    signature, algorithm = keys.sign(key, body)
    return der.encode_sequence(body, algorithm, der.encode_bit_string(signature))


def make_body(key: keys.PrivateKey, *, version: int = 0, tail: bytes = b"\xa0\x00") -> bytes:
    return der.encode_sequence(der.encode_integer(version), der.encode_sequence(), keys.spki_der(key), tail)


@pytest.fixture(scope="module")
def key() -> keys.PrivateKey:
    return keys.generate_key(keys.KeyType.P256)


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519"])
def test_requests_of_pyca(kind: KeyKind) -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("a.example")])
    request = parse_request(make_csr(kind, "/O=Grid/CN=Bob", extensions=[names]))
    assert request.is_proven
    assert oneline(request.subject_der) == "/O=Grid/CN=Bob"
    found = request.find_extension(oids.SUBJECT_ALT_NAME)
    assert found is not None
    assert found.value == names.public_bytes()
    assert request.find_extension(oids.KEY_USAGE) is None


def test_attributes_may_be_missing_and_versions_odd(key: keys.PrivateKey) -> None:
    assert parse_request(sign_body(key, make_body(key, tail=b""))).extensions == ()
    for version in (0, 1, 2):
        assert parse_request(sign_body(key, make_body(key, version=version))).is_proven
    with pytest.raises(ParseError):
        parse_request(sign_body(key, make_body(key, version=3)))


def test_a_body_ends_with_its_attributes(key: keys.PrivateKey) -> None:
    for tail in (b"\x05\x00", der.encode_tlv(0xA0, b"") + b"\x05\x00", der.encode_tlv(0xA0, b"") * 2):
        with pytest.raises(ParseError):
            parse_request(sign_body(key, make_body(key, tail=tail)))


def test_other_attributes_are_passed_over(key: keys.PrivateKey) -> None:
    challenge = der.encode_sequence(
        der.encode_oid("1.2.840.113549.1.9.7"), der.encode_set(der.encode_tlv(der.UTF8_STRING, b"secret"))
    )
    request = parse_request(sign_body(key, make_body(key, tail=der.encode_tlv(0xA0, challenge))))
    assert request.extensions == ()
    assert b"secret" not in repr(request).encode()


def wish(*extensions: bytes) -> bytes:
    listed = der.encode_set(der.encode_sequence(*extensions))
    return der.encode_tlv(0xA0, der.encode_sequence(der.encode_oid(oids.EXTENSION_REQUEST), listed))


def test_an_extension_asked_for_twice_is_refused(key: keys.PrivateKey) -> None:
    one = der.encode_sequence(der.encode_oid("1.2.3"), der.encode_octet_string(b""))
    assert len(parse_request(sign_body(key, make_body(key, tail=wish(one)))).extensions) == 1
    with pytest.raises(ParseError, match="twice"):
        parse_request(sign_body(key, make_body(key, tail=wish(one, one))))


def test_a_wrong_signature_is_refused(key: keys.PrivateKey) -> None:
    good = make_csr("p256")
    for position in (len(good) // 2, len(good) - 1):
        bad = bytearray(good)
        bad[position] ^= 1
        with pytest.raises((VerificationError, ParseError)):
            parse_request(bytes(bad))
    with pytest.raises(VerificationError) as caught:
        parse_request(sign_body(keys.generate_key(keys.KeyType.P256), make_body(key)))
    assert caught.value.reason is Reason.BAD_SIGNATURE
    assert "request" in (caught.value.hint or "")  # the general hint is about certificates


def test_weak_and_foreign_keys_are_refused() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(CredentialError) as caught:
        parse_request(make_csr(weak))
    assert caught.value.problem is CredentialProblem.WEAK_KEY
    with pytest.raises(CredentialError) as caught:
        parse_request(make_csr(ec.generate_private_key(ec.SECP256K1())))
    assert caught.value.problem is CredentialProblem.UNSUPPORTED_KEY


def test_too_long_or_more_than_one(key: keys.PrivateKey) -> None:
    good = make_csr("p256")
    for bad in (good + b"\x00", good[:-1], b"", b"\x30\x00", b"x" * (64 << 10) + good):
        with pytest.raises(ParseError):
            parse_request(bad)


def test_files() -> None:
    good = make_csr("p256")
    text = b"This is a request.\n\n" + encode_pem("NEW CERTIFICATE REQUEST", good)
    assert load_request(text).der == load_request(good).der == good
    with pytest.raises(ParseError, match=r"x\.pem: no certificate request"):
        load_request(encode_pem("CERTIFICATE", good), what="x.pem")
    with pytest.raises(ParseError, match="2 certificate requests"):  # which one is meant is not known
        load_request(text + text)
    with pytest.raises(ParseError):
        load_request(b" " * ((1 << 20) + 1))


def test_a_bare_key_is_not_proven(key: keys.PrivateKey) -> None:
    request = CertificateRequest.from_public_key(keys.spki_der(key))
    assert not request.is_proven
    assert request.spki_der == keys.spki_der(key)
    with pytest.raises(ParseError):
        CertificateRequest.from_public_key(b"\x30\x00")
