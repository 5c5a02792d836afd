"""A certificate as a value: what is kept, what is refused."""

from __future__ import annotations

import pickle
import warnings

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gsi import der, oids
from gsi.certificate import MAX_CERTIFICATE_BYTES, Certificate, load_certificates
from gsi.errors import ParseError
from gsi.pem import encode_pem
from tests.harness.ca import TestCA

CA = TestCA("/O=Grid/CN=Certificate CA")
ALICE = CA.issue("/O=Grid/CN=Alice", key="p256").certificate
DER = ALICE.public_bytes(Encoding.DER)


def _replace(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


def test_fields_agree_with_pyca() -> None:
    mine = Certificate.parse(DER)
    assert mine.version == 3
    assert mine.serial == ALICE.serial_number
    assert mine.subject_der == ALICE.subject.public_bytes()
    assert mine.issuer_der == ALICE.issuer.public_bytes()
    assert mine.tbs_der == ALICE.tbs_certificate_bytes
    assert mine.signature == ALICE.signature
    assert mine.spki_der == ALICE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert (mine.not_before, mine.not_after) == (ALICE.not_valid_before_utc, ALICE.not_valid_after_utc)
    assert mine.inner_signature_algorithm_der == mine.signature_algorithm_der
    assert [(e.oid, e.critical) for e in mine.extensions] == [
        (e.oid.dotted_string, e.critical) for e in ALICE.extensions
    ]
    assert not mine.has_duplicate_extensions
    assert not mine.is_self_issued
    assert mine.find_extension(oids.PROXY_CERT_INFO) is None
    found = mine.find_extension(oids.BASIC_CONSTRAINTS)
    assert found is not None
    assert found.critical


def test_value_semantics() -> None:
    one, two = Certificate.parse(DER), Certificate.parse_pem(encode_pem("CERTIFICATE", DER))
    assert one == two
    assert len({one, two}) == 1
    assert pickle.loads(pickle.dumps(one)) == one
    assert one.pem() == encode_pem("CERTIFICATE", DER)
    with pytest.raises(AttributeError, match="immutable"):
        one.der = b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30\x00",
        DER[:-1],
        DER + b"\x00",
        b"\x30\x80" + DER[4:] + b"\x00\x00",
        der.encode_octet_string(bytes(MAX_CERTIFICATE_BYTES)),
    ],
)
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        Certificate.parse(data)


def test_doubled_extensions_are_kept_for_the_validator() -> None:
    basic = next(e for e in Certificate.parse(DER).extensions if e.oid == oids.BASIC_CONSTRAINTS)
    one = der.encode_sequence(der.encode_oid(basic.oid), der.encode_boolean(True), der.encode_octet_string(basic.value))
    parsed = Certificate.parse(DER)
    inner = der.parse_one(parsed.tbs_der, what="tbs")
    parts = []
    while not inner.at_end():
        parts.append(inner.take_raw())
    parts[-1] = der.encode_explicit(3, der.encode_sequence(one, one))
    doubled = der.encode_sequence(
        der.encode_sequence(*parts), parsed.signature_algorithm_der, der.encode_bit_string(parsed.signature)
    )
    assert Certificate.parse(doubled).has_duplicate_extensions


def test_serial_zero_is_read_without_a_warning() -> None:
    parsed = Certificate.parse(DER)
    inner = der.parse_one(parsed.tbs_der, what="tbs")
    parts = [inner.take_raw(), inner.take_raw() and der.encode_integer(0)]
    while not inner.at_end():
        parts.append(inner.take_raw())
    zero = der.encode_sequence(
        der.encode_sequence(*parts), parsed.signature_algorithm_der, der.encode_bit_string(parsed.signature)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Certificate.parse(zero).serial == 0


def test_a_bundle_names_the_broken_certificate() -> None:
    bundle = (
        encode_pem("CERTIFICATE", DER) + encode_pem("PRIVATE KEY", b"k") + encode_pem("CERTIFICATE", DER[:-4] + b"junk")
    )
    assert load_certificates(encode_pem("PRIVATE KEY", b"k")) == ()
    with pytest.raises(ParseError, match="no certificate"):
        Certificate.parse_pem(b"", what="some file")
    broken = encode_pem("CERTIFICATE", DER) + encode_pem("CERTIFICATE", DER[:-4])
    with pytest.raises(ParseError, match=r"chain\.pem: certificate 1"):
        load_certificates(broken, what="chain.pem")
    assert len(load_certificates(bundle)) == 2


def test_an_unknown_key_is_a_parse_error() -> None:
    strange = _replace(DER, der.encode_oid("1.2.840.10045.3.1.7"), der.encode_oid("1.2.840.10045.3.1.9"))
    with pytest.raises(ParseError, match="public key"):
        Certificate.parse(strange).public_key()


def test_versions_are_read_as_they_are() -> None:
    strange = _replace(DER[:40], bytes.fromhex("a003020102"), bytes.fromhex("a003020103")) + DER[40:]
    with pytest.raises(ParseError, match="version"):
        Certificate.parse(strange)


def test_what_is_found_in_a_certificate_is_found_once() -> None:
    calls: list[Certificate] = []

    def count(certificate: Certificate) -> int:
        calls.append(certificate)
        if len(calls) == 1:
            raise ParseError("not yet", what="test")
        return len(calls)

    mine, other = Certificate.parse(DER), Certificate.parse(DER)
    with pytest.raises(ParseError):
        mine.find_once(count)
    assert [mine.find_once(count), mine.find_once(count), other.find_once(count)] == [2, 2, 3]
