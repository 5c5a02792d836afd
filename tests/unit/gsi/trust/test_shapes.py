"""Extensions that decide nothing: well-formed ones pass, malformed ones refuse the certificate."""

from __future__ import annotations

from typing import Final

import pytest
from cryptography import x509

from gsi import der, names, oids
from gsi.errors import ParseError, Reason, VerificationError
from gsi.trust.shapes import check_shape
from gsi.trust.verify import verify_chain
from tests.harness.ca import Extra, TestCA, raw_extension, tlv
from tests.harness.trust import make_anchors, utc_now

NAME: Final = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])
URI: Final = tlv(0x86, b"http://example.org/crl")
GENERAL: Final = x509.GeneralNames(
    [
        x509.DNSName("a.example.org"),
        x509.RFC822Name("a@example.org"),
        x509.DirectoryName(NAME),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
        x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
    ]
)

GOOD: Final[list[x509.ExtensionType]] = [
    x509.SubjectAlternativeName(GENERAL),
    x509.IssuerAlternativeName(GENERAL),
    x509.SubjectKeyIdentifier(b"12345678"),
    x509.AuthorityKeyIdentifier(b"12345678", None, None),
    x509.AuthorityKeyIdentifier(b"12345678", [x509.DirectoryName(NAME)], 7),
    x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(NAME)], 7),
    x509.CRLDistributionPoints([x509.DistributionPoint([x509.DNSName("x")], None, None, None)]),
    x509.CRLDistributionPoints(
        [
            x509.DistributionPoint(None, None, None, [x509.DirectoryName(NAME)]),
            x509.DistributionPoint(
                [x509.UniformResourceIdentifier("http://x/y")],
                None,
                frozenset({x509.ReasonFlags.key_compromise}),
                [x509.DirectoryName(NAME)],
            ),
            x509.DistributionPoint(
                None,
                x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "b")]),
                None,
                [x509.DirectoryName(NAME)],
            ),
        ]
    ),
]


@pytest.mark.parametrize("value", GOOD, ids=repr)
def test_good(value: x509.ExtensionType) -> None:
    check_shape(value.oid.dotted_string, value.public_bytes())


def test_empty_sequences_that_may_be() -> None:
    check_shape(oids.AUTHORITY_KEY_IDENTIFIER, b"\x30\x00")
    check_shape(oids.CRL_DISTRIBUTION_POINTS, b"\x30\x02\x30\x00")


def test_other_extensions_are_not_looked_at() -> None:
    check_shape("1.2.3.4", b"anything")


def point(*members: bytes) -> bytes:
    return der.encode_sequence(der.encode_sequence(*members))


BAD: Final = {
    "empty alternative name": (oids.SUBJECT_ALT_NAME, b"\x30\x00"),
    "universal tag in it": (oids.SUBJECT_ALT_NAME, der.encode_sequence(tlv(0x0C, b"a"))),
    "other name without identifier": (oids.SUBJECT_ALT_NAME, der.encode_sequence(tlv(0xA0, b"www.example.org"))),
    "other name without value": (oids.ISSUER_ALT_NAME, der.encode_sequence(tlv(0xA0, der.encode_oid("1.2.3")))),
    "directory name that is none": (oids.SUBJECT_ALT_NAME, der.encode_sequence(tlv(0xA4, b"\x31\x00"))),
    "registered identifier cut off": (oids.SUBJECT_ALT_NAME, der.encode_sequence(tlv(0x88, b"\x2a\x83"))),
    "too many names": (oids.SUBJECT_ALT_NAME, der.encode_sequence(*[tlv(0x82, b"a")] * 1025)),
    "key identifier that is a number": (oids.SUBJECT_KEY_IDENTIFIER, b"\x02\x01\x05"),
    "key identifier and more": (oids.SUBJECT_KEY_IDENTIFIER, b"\x04\x01\x05\x00"),
    "authority key twice": (oids.AUTHORITY_KEY_IDENTIFIER, der.encode_sequence(tlv(0x80, b"a"), tlv(0x80, b"a"))),
    "authority key out of order": (
        oids.AUTHORITY_KEY_IDENTIFIER,
        der.encode_sequence(tlv(0x82, b"\1"), tlv(0x80, b"a")),
    ),
    "authority's name empty": (oids.AUTHORITY_KEY_IDENTIFIER, der.encode_sequence(tlv(0xA1, b""))),
    "no points": (oids.CRL_DISTRIBUTION_POINTS, b"\x30\x00"),
    "point without its tags": (oids.CRL_DISTRIBUTION_POINTS, point(URI)),
    "point that is a name": (oids.CRL_DISTRIBUTION_POINTS, der.encode_sequence(URI)),
    "full name empty": (oids.CRL_DISTRIBUTION_POINTS, point(tlv(0xA0, tlv(0xA0, b"")))),
    "name twice": (oids.CRL_DISTRIBUTION_POINTS, point(tlv(0xA0, tlv(0xA0, URI) + tlv(0xA0, URI)))),
    "constructed reasons": (oids.CRL_DISTRIBUTION_POINTS, point(tlv(0xA0, tlv(0xA0, URI)), tlv(0xA1, b""))),
    "relative name that is none": (oids.CRL_DISTRIBUTION_POINTS, point(tlv(0xA0, tlv(0xA1, URI)))),
    "issuer that is none": (oids.CRL_DISTRIBUTION_POINTS, point(tlv(0xA2, tlv(0x0C, b"a")))),
    "too many points": (oids.CRL_DISTRIBUTION_POINTS, der.encode_sequence(*[b"\x30\x00"] * 1025)),
}


@pytest.mark.parametrize("name", BAD)
def test_malformed(name: str) -> None:
    with pytest.raises(ParseError):
        check_shape(*BAD[name])


CA: Final = TestCA("/O=Grid/CN=CA", "p256")


def reason_of(extension: Extra, *, in_proxy: bool) -> Reason | None:
    alice = CA.issue("/O=Grid/CN=Alice", "p256", extensions=[] if in_proxy else [extension])
    leaf = alice.proxy(key="p256", extensions=[extension] if in_proxy else [])
    try:
        verify_chain(leaf.chain_der, make_anchors(CA), now=utc_now())
    except VerificationError as error:
        return error.reason
    return None


@pytest.mark.parametrize("in_proxy", [True, False])
def test_in_a_chain(in_proxy: bool) -> None:
    oid, value = BAD["point without its tags"]
    assert reason_of(raw_extension(oid, value), in_proxy=in_proxy) is Reason.MALFORMED
    points = x509.CRLDistributionPoints([x509.DistributionPoint([x509.DNSName("x")], None, None, None)])
    assert reason_of((points, False), in_proxy=in_proxy) is None


@pytest.mark.parametrize("in_proxy", [True, False])
def test_name_constraints_below_the_cas(in_proxy: bool) -> None:
    """They bind CAs: critical ones ask for what nobody does, others say nothing, malformed ones are malformed."""
    constraints = x509.NameConstraints(None, [x509.DirectoryName(x509.Name.from_rfc4514_string("O=Grid"))])
    assert reason_of((constraints, True), in_proxy=in_proxy) is Reason.UNKNOWN_CRITICAL_EXTENSION
    assert reason_of((constraints, False), in_proxy=in_proxy) is None
    subtree = der.encode_sequence(names.parse_oneline("/O=Grid"))
    broken = der.encode_sequence(der.encode_tlv(der.context(1), subtree))
    assert reason_of(raw_extension(oids.NAME_CONSTRAINTS, broken), in_proxy=in_proxy) is Reason.MALFORMED
