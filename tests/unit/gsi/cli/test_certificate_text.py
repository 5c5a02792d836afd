"""Certificates as text, line by line as OpenSSL writes them, and numbers of every size and sign."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import cryptography_vectors
import pytest

from gsi import der
from gsi.certificate import Certificate
from gsi.cli.certificate_text import certificate_text
from gsi.cli.name_text import slash_name, spaced_name
from tests.harness import inputs
from tests.harness.ca import Issued, KeyKind, TestCA


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", ca=None)


def lines_below(text: str, title: str) -> list[str]:
    """The line that begins with this title and the one below it."""
    lines = [line.rstrip() for line in text.splitlines()]
    (at,) = [number for number, line in enumerate(lines) if line.strip().startswith(title)]
    return lines[at : at + 2]


def by_openssl(certificate_der: bytes) -> str:
    command = ["openssl", "x509", "-inform", "DER", "-noout", "-text"]
    return subprocess.run(command, input=certificate_der, capture_output=True, check=True).stdout.decode()


@pytest.mark.parametrize(
    "serial",
    [1, 0, 255, 2**63 - 1, 2**63, 2**159 - 1, -2, -128, -(2**63) + 1, -(2**63) - 1, -(2**100), -(2**158) - 12345],
)
def test_serial_numbers_of_every_size_and_sign(ca: TestCA, alice: Issued, serial: int) -> None:
    odd = inputs.certificate_with(alice, ca, serial=der.encode_integer(serial))
    ours, theirs = (
        lines_below(text, "Serial Number:") for text in (certificate_text(Certificate.parse(odd)), by_openssl(odd))
    )
    if theirs[0].strip() != "Serial Number:":  # in one line
        ours, theirs = ours[:1], theirs[:1]
    assert ours == theirs


@pytest.mark.parametrize("bits", [1, 3, 63, 64, 127, 128, 129, 160, 16_000])
@pytest.mark.parametrize("is_ca", [True, False])
def test_path_lengths_of_every_size(ca: TestCA, alice: Issued, bits: int, is_ca: bool) -> None:
    value = der.encode_sequence(der.encode_boolean(True) if is_ca else b"", der.encode_integer(2**bits - 1))
    odd = inputs.certificate_with(alice, ca, extra_extensions=(inputs.extension("2.5.29.19", value),))
    ours, theirs = (
        lines_below(text, "X509v3 Basic Constraints")[1]
        for text in (certificate_text(Certificate.parse(odd)), by_openssl(odd))
    )
    assert ours == theirs


VECTORS: Final = Path(cryptography_vectors.__file__).parent / "x509"
KNOWN: Final = (
    "cryptography-scts.pem",
    "cryptography.io.pem",
    "department-of-state-root.pem",
    "letsencryptx3.pem",
    "wildcard_san.pem",
    "custom/all_key_usages.pem",
    "custom/all_supported_names.pem",
    "custom/authority_key_identifier.pem",
    "custom/authority_key_identifier_no_keyid.pem",
    "custom/bc_path_length_zero.pem",
    "custom/cdp_crl_issuer.pem",
    "custom/cp_cps_uri.pem",
    "custom/cp_user_notice_no_explicit_text.pem",
    "custom/cp_user_notice_with_notice_reference.pem",
    "custom/freshestcrl.pem",
    "custom/inhibit_any_policy_5.pem",
    "custom/nc_permitted_excluded.pem",
    "custom/policy_constraints_explicit.pem",
    "custom/san_dirname.pem",
    "custom/san_idna_names.pem",
    "custom/san_ipaddr.pem",
    "custom/san_other_name.pem",
    "custom/san_registered_id.pem",
    "custom/utf8_common_name.pem",
)
"""Certificates of the cryptography library's test vectors, chosen for the extensions and names in them."""
RUN_TOGETHER: Final = {"custom/freshestcrl.pem"}
"""OpenSSL forgets a line end there: between the names and the reasons of a distribution point."""

CONFIG: Final = """\
[req]
distinguished_name = dn
x509_extensions = v
prompt = no
string_mask = utf8only
utf8 = yes
[dn]
C = DE
O = Grid
0.OU = a / b + c, "d"
1.OU = Zo\u00eb \u2603
CN = host/foo.example.org
emailAddress = a@b.c
DC = org
UID = al
serialNumber = 17
[v]
basicConstraints = critical,CA:true,pathlen:3
keyUsage = critical,keyCertSign,cRLSign,digitalSignature
extendedKeyUsage = serverAuth,clientAuth,codeSigning,emailProtection,timeStamping,OCSPSigning,1.2.3.4,ipsecIKE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always,issuer:always
subjectAltName = DNS:*.bar,IP:1.2.3.4,IP:2001:db8::17,email:a@b.c,URI:http://x/y,RID:1.2.3.4,dirName:dn,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:me@x
issuerAltName = issuer:copy,DNS:iss
crlDistributionPoints = URI:http://a/b.crl,URI:ldap://c
certificatePolicies = 1.2.3.4,@pol
authorityInfoAccess = OCSP;URI:http://o,caIssuers;URI:http://i
nameConstraints = permitted;DNS:foo,permitted;IP:10.0.0.0/255.0.0.0,excluded;email:.x,permitted;dirName:dn
nsCertType = client,server,email,objsign,sslCA
nsComment = "Hello World"
nsCaRevocationUrl = http://n
policyConstraints = requireExplicitPolicy:3,inhibitPolicyMapping:1
policyMappings = 1.2.3.4:1.2.3.5
inhibitAnyPolicy = 2
1.2.3.4.5 = ASN1:UTF8String:h\u00e4llo
[pol]
policyIdentifier = 1.3.5.8
CPS.1 = http://cps
userNotice.1 = @un
[un]
explicitText = Explicit Text Here
organization = Org
noticeNumbers = 1,2
"""


def same_text(certificate: Certificate) -> None:
    ours = certificate_text(certificate, name=spaced_name).splitlines()
    assert ours == by_openssl(certificate.der).splitlines()


@pytest.mark.parametrize("name", KNOWN)
def test_known_certificates_line_by_line(name: str) -> None:
    certificate = Certificate.parse_pem((VECTORS / name).read_bytes())
    if name in RUN_TOGETHER:
        ours = "".join(certificate_text(certificate, name=spaced_name).split())
        assert ours == "".join(by_openssl(certificate.der).split())
        return
    same_text(certificate)


def test_every_extension_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "c").write_text(CONFIG, encoding="utf-8")
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-config", "c"]
    command = ["openssl", *words, "-keyout", "k", "-out", "p"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    same_text(Certificate.parse_pem((tmp_path / "p").read_bytes()))


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519"])
def test_every_kind_of_key_line_by_line(kind: KeyKind, ca: TestCA) -> None:
    same_text(Certificate.parse(ca.issue("/O=Grid/CN=Alice", kind).der))


@pytest.mark.parametrize("value", [b"", b"\x30", b"\x04\x01", b"\x30\x03\x02\x01\x05", b"\xff" * 40])
@pytest.mark.parametrize(
    "oid",
    ["14", "15", "17", "18", "19", "30", "31", "32", "33", "35", "36", "37", "54", "46"],
)
def test_malformed_extensions_are_said_to_be(ca: TestCA, alice: Issued, oid: str, value: bytes) -> None:
    odd = inputs.certificate_with(alice, ca, extra_extensions=(inputs.extension(f"2.5.29.{oid}", value),))
    text = certificate_text(Certificate.parse(odd))
    assert text.count("\n    Signature Value:") == 1
    assert text.isprintable() is False
    assert all(line.isprintable() for line in text.splitlines())


def test_names_with_a_slash(ca: TestCA) -> None:
    subject = Certificate.parse(ca.issue("/O=Grid/CN=host/www.example.org").der).subject_der
    assert slash_name(subject) == "/O=Grid/CN=host/www.example.org"
    assert spaced_name(subject) == "O = Grid, CN = host/www.example.org"
