"""Subject hashes against the openssl program."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from gsi.errors import ParseError
from gsi.trust.hashes import hash_names, subject_hash, subject_hash_old
from tests.harness import ca as harness

ORGANIZATION = NameOID.ORGANIZATION_NAME


def name_of(*values: tuple[x509.ObjectIdentifier, str, _ASN1Type | None]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value, _type=kind) for oid, value, kind in values])


NAMES = {
    "plain": harness.parse_name("/O=Grid/CN=Test CA"),
    "many": harness.parse_name("/C=DE/DC=org/DC=example/O=Grid/OU=a/UID=x/CN=y/emailAddress=A@B.C"),
    "spaces": name_of((ORGANIZATION, "  Many   Spaces  ", None)),
    "tabs": name_of((ORGANIZATION, "a \t b\n", None)),
    "umlauts": name_of((ORGANIZATION, "ÄÖÜ Universität", None)),
    "BMP": name_of((ORGANIZATION, "Grid Ω", _ASN1Type.BMPString)),
    "T61": name_of((ORGANIZATION, "Grid", _ASN1Type.T61String)),
    "printable": name_of((ORGANIZATION, "GRID", _ASN1Type.PrintableString)),
    "multi-valued": x509.Name(
        [
            x509.RelativeDistinguishedName(
                [x509.NameAttribute(NameOID.COMMON_NAME, "B"), x509.NameAttribute(ORGANIZATION, "A")]
            )
        ]
    ),
    "empty": x509.Name([]),
}


@pytest.mark.parametrize("which", NAMES)
def test_against_openssl(which: str) -> None:
    ca = harness.TestCA(NAMES[which], key="p256")
    name_der = ca.certificate.subject.public_bytes()
    assert subject_hash(name_der) == harness.subject_hash(ca.certificate)
    assert subject_hash_old(name_der) == harness.subject_hash(ca.certificate, old=True)
    assert hash_names(name_der) == (subject_hash(name_der), subject_hash_old(name_der))


def test_new_hash_folds_and_old_does_not() -> None:
    one, other = (harness.parse_name(text).public_bytes() for text in ("/O=Grid/CN=CA", "/O=GRID/CN=ca"))
    assert subject_hash(one) == subject_hash(other)
    assert subject_hash_old(one) != subject_hash_old(other)


def test_garbage() -> None:
    with pytest.raises(ParseError):
        subject_hash(b"garbage")
