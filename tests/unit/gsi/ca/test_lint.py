"""Faults of form: each rule has a certificate that breaks it and nothing else, made by pyca or byte by byte."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
from cryptography import x509

from gsi import der, keys, oids
from gsi.ca import find_faults
from gsi.ca.build import authority_key_identifier, key_identifier
from gsi.certificate import Certificate, Extension
from gsi.extensions import encode_extension
from gsi.names import parse_oneline
from tests.harness.ca import TestCA, named_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CA: Final = TestCA("/O=Grid/CN=CA", "p256", not_before=NOW - timedelta(days=9), not_after=NOW + timedelta(days=9000))
ISSUER: Final = Certificate.parse(CA.der)
KEY: Final = keys.generate_key(keys.KeyType.P256)
SPKI: Final = keys.spki_der(KEY)
RIGHT: Final = (
    Extension(oids.BASIC_CONSTRAINTS, True, der.encode_sequence()),
    Extension(oids.KEY_USAGE, True, bytes.fromhex("03020780")),
    Extension(oids.SUBJECT_KEY_IDENTIFIER, False, der.encode_octet_string(key_identifier(SPKI))),
    Extension(oids.AUTHORITY_KEY_IDENTIFIER, False, authority_key_identifier(ISSUER)),
)


def utc(text: str) -> bytes:
    return der.encode_tlv(der.UTC_TIME, text.encode())


def generalized(text: str) -> bytes:
    return der.encode_tlv(der.GENERALIZED_TIME, text.encode())


def make(
    *,
    serial: bytes = b"\x02\x01\x05",
    subject: bytes | str = "/O=Grid/CN=Alice",
    issuer: bytes = ISSUER.subject_der,
    times: Sequence[bytes] = (utc("261121120000Z"), utc("271121120000Z")),
    extensions: Sequence[Extension] = RIGHT,
) -> Certificate:
    """A certificate with a meaningless signature: form is all that is judged."""
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    tbs = der.encode_sequence(
        der.encode_explicit(0, der.encode_integer(2)),
        serial,
        algorithm,
        issuer,
        der.encode_sequence(*times),
        parse_oneline(subject) if isinstance(subject, str) else subject,
        SPKI,
        der.encode_explicit(3, der.encode_sequence(*[encode_extension(*one) for one in extensions])),
    )
    return Certificate.parse(der.encode_sequence(tbs, algorithm, der.encode_bit_string(bytes(72))))


def replaced(oid: str, *others: Extension) -> tuple[Extension, ...]:
    return (*(one for one in RIGHT if one.oid != oid), *others)


def test_a_right_one_has_none() -> None:
    assert find_faults(make(), issuer=ISSUER) == ()


SAN = oids.SUBJECT_ALT_NAME


def san(tag: int, content: bytes) -> Extension:
    return Extension(SAN, False, der.encode_sequence(der.encode_tlv(tag, content)))


@pytest.mark.parametrize(
    ("certificate", "fault"),
    [
        (make(serial=b"\x02\x01\x00"), "serial"),
        (make(serial=b"\x02\x01\xff"), "serial"),
        (make(serial=der.encode_integer(1 << 159)), "serial"),
        (make(times=(utc("261121120000Z"), utc("251121120000Z"))), "ends before"),
        (make(times=(generalized("20261121120000Z"), utc("271121120000Z"))), "UTCTime is for"),
        (make(times=(utc("261121120000Z"), generalized("20491121120000Z"))), "UTCTime is for"),
        (make(times=(utc("161121120000Z"), utc("271121120000Z"))), "beyond the CA's"),
        (make(times=(utc("261121120000Z"), generalized("20711121120000Z"))), "beyond the CA's"),
        (make(issuer=parse_oneline("/O=Grid/CN=CA")), "byte by byte"),
        (make(subject="/"), "empty subject"),
        (make(subject="/O=Grid/C=DEU"), "country"),
        (make(subject=f"/CN={'x' * 65}"), "65 characters"),
        (make(subject="/O=Grid/CN=Al\\x00ice"), "control character"),
        (make(subject="/o=GRID/CN=ca"), "the CA's own name"),
        (make(subject="/O=Grid/CN=Alice/CN=Proxy"), "makes it a proxy"),
        (make(subject="/O=Grid/CN=Alice/CN=limited proxy"), "makes it a proxy"),
        (
            make(extensions=replaced(oids.KEY_USAGE, Extension(oids.KEY_USAGE, True, bytes.fromhex("03020182")))),
            "may sign certificates or CRLs",
        ),
        (make(extensions=replaced(oids.BASIC_CONSTRAINTS)), "must be there"),
        (
            make(extensions=replaced(oids.BASIC_CONSTRAINTS, Extension(oids.BASIC_CONSTRAINTS, False, b"\x30\x00"))),
            "not critical",
        ),
        (
            make(
                extensions=replaced(
                    oids.BASIC_CONSTRAINTS, Extension(oids.BASIC_CONSTRAINTS, True, bytes.fromhex("3003010100"))
                )
            ),
            "default out",
        ),
        (make(extensions=replaced(oids.KEY_USAGE)), "must be there"),
        (
            make(extensions=replaced(oids.KEY_USAGE, Extension(oids.KEY_USAGE, False, bytes.fromhex("03020780")))),
            "not critical",
        ),
        (make(extensions=replaced(oids.KEY_USAGE, Extension(oids.KEY_USAGE, True, bytes.fromhex("030100")))), "bit"),
        (
            make(extensions=replaced(oids.KEY_USAGE, Extension(oids.KEY_USAGE, True, bytes.fromhex("03020284")))),
            "may sign",
        ),
        (
            make(extensions=replaced(oids.KEY_USAGE, Extension(oids.KEY_USAGE, True, bytes.fromhex("030205a0")))),
            "cannot encipher",
        ),
        (make(extensions=replaced(oids.SUBJECT_KEY_IDENTIFIER)), "no subjectKeyIdentifier"),
        (
            make(
                extensions=replaced(
                    oids.SUBJECT_KEY_IDENTIFIER, Extension(oids.SUBJECT_KEY_IDENTIFIER, True, b"\x04\x01x")
                )
            ),
            "is critical",
        ),
        (
            make(
                extensions=replaced(
                    oids.SUBJECT_KEY_IDENTIFIER, Extension(oids.SUBJECT_KEY_IDENTIFIER, False, b"\x04\x00")
                )
            ),
            "empty subjectKeyIdentifier",
        ),
        (make(extensions=replaced(oids.AUTHORITY_KEY_IDENTIFIER)), "no authorityKeyIdentifier"),
        (
            make(
                extensions=replaced(
                    oids.AUTHORITY_KEY_IDENTIFIER,
                    Extension(oids.AUTHORITY_KEY_IDENTIFIER, False, bytes.fromhex("3003800101")),
                )
            ),
            "is not the CA's",
        ),
        (
            make(
                extensions=replaced(
                    oids.AUTHORITY_KEY_IDENTIFIER, Extension(oids.AUTHORITY_KEY_IDENTIFIER, False, b"\x30\x00")
                )
            ),
            "without a key identifier",
        ),
        (make(extensions=(*RIGHT, RIGHT[0])), "twice"),
        (make(extensions=(*RIGHT, Extension(oids.EXTENDED_KEY_USAGE, False, b"\x30\x00"))), "empty"),
        (
            make(
                extensions=(
                    *RIGHT,
                    Extension(oids.EXTENDED_KEY_USAGE, True, bytes.fromhex("30060604551d2500")),
                )
            ),
            "any purpose",
        ),
        (make(extensions=(*RIGHT, Extension(SAN, False, b"\x30\x00"))), "empty"),
        (make(extensions=(*RIGHT, Extension(SAN, False, bytes.fromhex("30028200")))), "is no host name"),
        (make(extensions=(*RIGHT, Extension(SAN, False, bytes.fromhex("300482026120")))), "is no host name"),
        (make(extensions=(*RIGHT, Extension(SAN, False, bytes.fromhex("30038201e9")))), "is no host name"),
        (make(extensions=(*RIGHT, Extension(SAN, False, bytes.fromhex("3003870100")))), "octets"),
        (make(extensions=(*RIGHT, Extension(SAN, False, bytes.fromhex("300a8708" + "01" * 8)))), "octets"),
        (make(extensions=(*RIGHT, san(0x82, b"bank.example.org\0.evil"))), "is no host name"),
        (make(extensions=(*RIGHT, san(0x82, b"*"))), "is no host name"),
        (make(extensions=(*RIGHT, san(0x82, b"a..b"))), "is no host name"),
        (make(extensions=(*RIGHT, san(0x81, b"not-a-mail"))), "is no e-mail address"),
        (make(extensions=(*RIGHT, san(0x86, b"notauri"))), "is no absolute URI"),
        (make(extensions=(*RIGHT, Extension(SAN, False, bytes.fromhex("3006820161820161")))), "twice"),
        (make(extensions=(*RIGHT, Extension(SAN, False, bytes.fromhex("3003040100")))), "tag"),
        (make(subject=b"\x30\x00", extensions=(*RIGHT, Extension(SAN, False, b"\x30\x03\x82\x01a"))), "empty subject"),
    ],
)
def test_each_rule_is_broken_alone(certificate: Certificate, fault: str) -> None:
    faults = find_faults(certificate, issuer=ISSUER)
    assert len(faults) == 1, faults
    assert fault in faults[0]


def test_roots_and_old_certificates() -> None:
    faults = find_faults(ISSUER, issuer=ISSUER)
    assert faults == ()
    bare = TestCA("/O=Grid/CN=CA", "p256", key_usage=None)
    assert any("must be there" in fault for fault in find_faults(Certificate.parse(bare.der), issuer=ISSUER))
    weak = TestCA("/O=Grid/CN=CA", "p256", key_usage=named_bits("crl_sign"))
    faults = find_faults(Certificate.parse(weak.der), issuer=Certificate.parse(weak.der))
    assert faults == ("a CA without keyCertSign",)


def test_what_cannot_be_read_is_a_fault_and_no_exception() -> None:
    broken = Extension(oids.KEY_USAGE, True, b"junk")
    (fault,) = find_faults(make(extensions=replaced(oids.KEY_USAGE, broken)), issuer=ISSUER)
    assert "KeyUsage" in fault
    # The names of pyca's own certificates pass.
    theirs = CA.issue(
        "/O=Grid/CN=Bob",
        "p256",
        extensions=[
            (x509.SubjectKeyIdentifier(b"x" * 20), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(CA.key.public_key()), False),
        ],
        not_before=NOW,
        not_after=NOW + timedelta(days=1),
    )
    assert find_faults(Certificate.parse(theirs.der), issuer=ISSUER) == ()
