"""Certificate requests as bytes: what pyca reads in them, string types, and what is refused."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from gsi import der, keys, oids
from gsi.errors import ConfigError
from gsi.keys import KeyType
from gsi.names import attributes, parse_oneline
from gsi.request import (
    MAX_ALTERNATIVE_NAMES,
    check_host_name,
    encode_request_pem,
    encode_subject,
    make_request,
)

KEY = keys.generate_key(KeyType.P256)
SUBJECT = parse_oneline("/O=Grid/CN=Alice")


@pytest.mark.parametrize("kind", [KeyType.RSA, KeyType.P256, KeyType.P384, KeyType.ED25519])
def test_pyca_reads_what_was_asked_for(kind: KeyType) -> None:
    key = keys.generate_key(kind)
    addresses = [ipaddress.ip_address("10.0.0.1").packed, ipaddress.ip_address("::1").packed]
    made = make_request(key, SUBJECT, dns_names=["A.example.org", "*.b"], ip_addresses=addresses)
    read = x509.load_pem_x509_csr(encode_request_pem(made))
    assert read.is_signature_valid
    assert read.public_key() == key.public_key()
    assert read.subject.public_bytes() == SUBJECT
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example.org", "*.b"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["10.0.0.1", "::1"]
    assert kind is KeyType.ED25519 or read.signature_hash_algorithm is not None
    assert kind is not KeyType.RSA or str(getattr(read.signature_hash_algorithm, "name", "")) == "sha256"


def test_without_alternative_names_nothing_is_requested() -> None:
    assert not list(x509.load_der_x509_csr(make_request(KEY, SUBJECT)).extensions)


def test_string_types_are_those_of_openssl_req() -> None:
    wanted = {
        oids.COUNTRY: ("DE", der.PRINTABLE_STRING),
        oids.SERIAL_NUMBER: ("17", der.PRINTABLE_STRING),
        oids.DOMAIN_COMPONENT: ("org", der.IA5_STRING),
        oids.EMAIL_ADDRESS: ("a@b.c", der.IA5_STRING),
        oids.ORGANIZATION: ("Grid", der.UTF8_STRING),
        oids.COMMON_NAME: ("Zo\u00eb", der.UTF8_STRING),
    }
    read = attributes(encode_subject((oid, value) for oid, (value, _) in wanted.items()))
    assert [(one.oid, one.text(), one.tag) for (one,) in read] == [
        (oid, value, tag) for oid, (value, tag) in wanted.items()
    ]
    ((grid,), (zoe,)) = attributes(
        encode_subject([(oids.ORGANIZATION, "Grid"), (oids.COMMON_NAME, "Zo\u00eb")], printable=True)
    )
    assert (grid.tag, zoe.tag) == (der.PRINTABLE_STRING, der.UTF8_STRING)


@pytest.mark.parametrize(
    "pair",
    [
        (oids.COMMON_NAME, ""),
        (oids.COMMON_NAME, "a\nb"),
        (oids.COMMON_NAME, " a"),
        (oids.COMMON_NAME, "a" * 65),
        (oids.COUNTRY, "DEU"),
        (oids.COUNTRY, "D\u00c9"),
        (oids.EMAIL_ADDRESS, "\u00e9@b"),
        (oids.USER_ID, "a" * 100_000),
    ],
)
def test_values_that_do_not_fit(pair: tuple[str, str]) -> None:
    with pytest.raises(ConfigError):
        encode_subject([pair])


def test_an_empty_subject_is_refused() -> None:
    with pytest.raises(ConfigError, match="subject"):
        encode_subject([])


@pytest.mark.parametrize("text", ["a", "a.b", "*.a", "a-b.c1", "a_b", "1.2.3.4", "a" * 63 + ".b"])
def test_host_names(text: str) -> None:
    assert check_host_name(text.upper()) == text


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "a..b", "-a", "a-", "*", "a.*", "a b", "a/b", "b\u00fccher.de", "a" * 64, "a." * 127 + "a"],
)
def test_no_host_names(text: str) -> None:
    with pytest.raises(ConfigError):
        check_host_name(text)
    with pytest.raises(ConfigError):
        make_request(KEY, SUBJECT, dns_names=[text])


def test_bounds_on_alternative_names() -> None:
    make_request(KEY, SUBJECT, dns_names=["a"] * MAX_ALTERNATIVE_NAMES)
    with pytest.raises(ConfigError, match="more than"):
        make_request(KEY, SUBJECT, dns_names=["a"] * MAX_ALTERNATIVE_NAMES, ip_addresses=[b"1234"])
    with pytest.raises(ConfigError, match="four or sixteen"):
        make_request(KEY, SUBJECT, ip_addresses=[b"12345"])


def test_the_type_of_a_name_by_pyca() -> None:
    read = x509.load_der_x509_csr(make_request(KEY, encode_subject([(oids.USER_ID, "al")])))
    assert read.subject.get_attributes_for_oid(NameOID.USER_ID)[0].value == "al"
