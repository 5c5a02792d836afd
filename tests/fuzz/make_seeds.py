"""Writes the seeds of every harness: small valid inputs, made with the test CA and OpenSSL and not with our encoders.

    python -m tests.fuzz.make_seeds           # rewrites tests/fuzz/seeds

Seeds are committed, so that a run starts from the same bytes everywhere; this is how they came about. The keys among
them are made for this and used nowhere.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from cryptography.x509.oid import NameOID

from tests.fuzz.decoders import NAMES, SEEDS
from tests.harness.ca import (
    FULL_INFO,
    INDEPENDENT_INFO,
    LIMITED_INFO,
    Issued,
    TestCA,
    encoded_oid,
    named_bits,
    proxy_info,
    raw_extension,
    tlv,
)

__all__ = ["main"]

_POLICY: Final = b"""\
# Grid CA
access_id_CA   X509    '/O=Grid/CN=CA'
pos_rights     globus  CA:sign
cond_subjects  globus  '"/O=Grid/*" "/O=Other/CN=a*b"'
"""
_NAMESPACES: Final = b"""\
TO Issuer "/O=Grid/CN=CA" \\
  PERMIT Subject "/O=Grid/.*"
TO Issuer "self" DENY Subject "/O=Grid/CN=(x|y)+[a-z]{2,3}"
"""
_GSI_CONF: Final = b"# settings\nMIN_TLS_PROTOCOL=TLS1_2_VERSION_DEPRECATED\nCIPHERS = HIGH:!aNULL # c\n\n"
_CONFIG: Final = b"""\
accepted_credentials  "/O=Grid/*"
authorized_retrievers "SUBJECT:/O=Grid/CN=\\*"
default_retrievers    "*"
authorized_renewers   "/O=Grid/CN=host/(a|b)\\.example\\.org"
max_proxy_lifetime 24 # hours
passphrase_policy_program /bin/true
cert_dir '/etc/grid-security/certificates'
request_size_limit 65536
"""
_REQUEST: Final = (
    b"VERSION=MYPROXYv2\nCOMMAND=0\nUSERNAME=alice\nPASSPHRASE=open sesame\nLIFETIME=43200\n",
    b"VERSION=MYPROXYv2\nCOMMAND=1\nUSERNAME=alice\nPASSPHRASE=secret1\nLIFETIME=9\nCRED_NAME=w\nCRED_DESC=x y\n\0",
    b"VERSION=MYPROXYv2\nCOMMAND=5\nUSERNAME=alice\nPASSPHRASE=\nLIFETIME=604800\nRETRIEVER=/O=Grid/CN=*\nRENEWER=*\n",
    b"VERSION=MYPROXYv2\nCOMMAND=2\nUSERNAME=alice\nPASSPHRASE=PASSPHRASE\nLIFETIME=0\n",
    b"VERSION=MYPROXYv2\nCOMMAND=4\nUSERNAME=a\nPASSPHRASE=secret1\nNEW_PHRASE=secret2\nLIFETIME=0\n",
    b'VERSION=MYPROXYv2\nCOMMAND=7\nUSERNAME=\nPASSPHRASE=\nLIFETIME=0\nTRUSTED_CERTS=1\nVONAME=vo\nVOMSES="a" "b"\n',
)
_INFO: Final = b"""\
VERSION=MYPROXYv2
RESPONSE=0
CRED_START_TIME=1700000000
CRED_END_TIME=1800000000
CRED_OWNER=/O=Grid/CN=A
ADDL_CREDS=work,home
CRED_work_START_TIME=1
CRED_work_END_TIME=2
CRED_work_OWNER=/O=Grid/CN=A
CRED_home_START_TIME=3
CRED_home_END_TIME=4
CRED_home_DESC=at home
CRED_home_OWNER=/O=Grid/CN=A
"""
_RESPONSE: Final = (
    b"VERSION=MYPROXYv2\nRESPONSE=0\n\0",
    b"VERSION=MYPROXYv2\nRESPONSE=1\nERROR=no such user\nERROR=try again\n",
    b"VERSION=MYPROXYv2\nRESPONSE=2\nAUTHORIZATION_DATA=X509_certificate:0123456789abcdef\n",
    _INFO,
    b"VERSION=MYPROXYv2\nRESPONSE=0\nTRUSTED_CERTS=a.0,b.x\nFILEDATA_a.0=QUJD\nFILEDATA_b.x=REVG\n",
)
_ONELINE: Final = (
    "/O=Grid/OU=Test/CN=Alice",
    "/DC=org/DC=example/CN=host\\/www.example.org/emailAddress=a@b",
    "/C=DE/O=M\\xC3\\xBCnchen+OU=a/CN=\\x00B",
    "/CN=x=y/z\\\\/uid=7/1.2.3.4=v",
)
_RFC4514: Final = (
    "CN=Alice,OU=Test,O=Grid",
    'CN="a, b"+UID=7;O=M\\C3\\BCnchen',
    "OID.1.2.3.4=#0403414243,CN=\\ a\\#b\\ ",
    "CN=#1301 41".replace(" ", ""),
)
_PATTERNS: Final = (
    "/O=Grid/CN=(Alice|Bob)[a-z0-9]{1,3}\n/O=Grid/CN=Bobx1",
    "^a*b+c?.$\naabbcx",
    "[^[:digit:]]*\\.x$\nabc.x",
    "(a*)*b\naaaaaaaaaaaaaaaaaaaaaaaac",
)


def _openssl(*words: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=True, timeout=60).stdout


def _certificates(ca: TestCA, alice: Issued) -> Iterator[bytes]:
    yield ca.der
    yield alice.der
    yield ca.issue_host("www.example.org", "p256").der
    for info in (FULL_INFO, LIMITED_INFO, proxy_info("1.2.3.4", path_length=1, policy=b"hello")):
        yield alice.proxy(info=info, key="p256").der
    yield alice.proxy(info_oid=None, cn="limited proxy", key="p256").der
    constraints = x509.NameConstraints([x509.DNSName("example.org")], [x509.RFC822Name(".example.com")])
    yield TestCA("/O=Grid/CN=Constrained", "p256", parent=ca, extensions=[(constraints, True)]).der
    yield TestCA("/O=Grid/CN=Ed", "ed25519").der


def _names(alice: Issued) -> Iterator[bytes]:
    yield alice.certificate.subject.public_bytes()
    yield x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "München"),
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@example.org"),
            x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "org"),
        ]
    ).public_bytes()
    common = encoded_oid("2.5.4.3")
    for tag, value in ((0x1E, b"\x00A\x00/"), (0x14, b"M\xfcller"), (0x1C, b"\x00\x00\x00A"), (0x13, b"a+b\\/c")):
        yield tlv(0x30, tlv(0x31, tlv(0x30, common + tlv(tag, value))))
    yield tlv(0x30, tlv(0x31, tlv(0x30, common + tlv(0x13, b"a")) + tlv(0x30, encoded_oid("1.2.3") + tlv(0x0C, b"b"))))


def _keys() -> Iterator[bytes]:
    small = rsa.generate_private_key(65537, 1024)
    for issued in (TestCA(key="p256"), TestCA(key="ed25519")):
        yield issued.key.private_bytes(Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        yield issued.key.public_key().public_bytes(Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        yield small.private_bytes(Encoding.DER, form, serialization.NoEncryption())
    yield TestCA(key="p384").key.private_bytes(
        Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _locked_keys(alice: Issued) -> Iterator[bytes]:
    pem = alice.key_pem()
    for words in (
        ["-v2", "aes-256-cbc", "-iter", "1"],
        ["-v2", "des3", "-iter", "1", "-v2prf", "hmacWithSHA1"],
        ["-scrypt", "-scrypt_N", "2", "-scrypt_r", "1", "-scrypt_p", "1"],
        ["-v1", "PBE-SHA1-3DES", "-iter", "1"],
    ):
        yield _openssl("pkcs8", "-topk8", "-outform", "DER", *words, "-passout", "pass:fuzz", stdin=pem)
    for cipher in ("-aes128", "-des3"):
        yield _openssl("ec", cipher, "-passout", "pass:fuzz", stdin=pem)


def _pkcs12(ca: TestCA, alice: Issued) -> Iterator[bytes]:
    lock = serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(1)
    for builder in (
        lock.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC),
        lock.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1()),
    ):
        yield pkcs12.serialize_key_and_certificates(
            b"fuzz", alice.key, alice.certificate, [ca.certificate], builder.build(b"fuzz")
        )
    yield pkcs12.serialize_key_and_certificates(
        b"fuzz", alice.key, alice.certificate, None, serialization.NoEncryption()
    )


def _requests(alice: Issued) -> Iterator[bytes]:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "NULL SUBJECT NAME ENTRY")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    plain = rsa.generate_private_key(65537, 2048)
    yield builder.sign(plain, hashes.SHA256()).public_bytes(Encoding.DER)
    extension, critical = raw_extension("1.3.6.1.5.5.7.1.14", LIMITED_INFO, critical=True)
    yield builder.add_extension(extension, critical).sign(alice.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _crls(ca: TestCA, alice: Issued) -> Iterator[bytes]:
    pem = ca.crl([alice, 5])
    yield pem
    yield x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER)
    entry = x509.RevokedCertificateBuilder().serial_number(9).revocation_date(alice.certificate.not_valid_before_utc)
    entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), False)
    builder = x509.CertificateRevocationListBuilder(
        ca.certificate.subject, ca.certificate.not_valid_before_utc, ca.certificate.not_valid_after_utc
    )
    crl = builder.add_revoked_certificate(entry.build()).add_extension(x509.CRLNumber(7), False)
    yield crl.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _extension_values(ca: TestCA) -> Iterator[bytes]:
    for certificate in (ca.certificate, ca.issue_host("a.example.org", "p256").certificate):
        for extension in certificate.extensions:
            yield extension.value.public_bytes()
    name = x509.DirectoryName(ca.certificate.subject)
    yield x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier("http://a/b"), name], None, None, None)]
    ).public_bytes()
    yield named_bits("digital_signature", "key_agreement", "encipher_only").public_bytes()


def _name_constraints(ca: TestCA) -> Iterator[bytes]:
    import ipaddress

    yield x509.NameConstraints(
        [x509.DNSName("example.org"), x509.DirectoryName(ca.certificate.subject)],
        [x509.RFC822Name(".example.com"), x509.IPAddress(ipaddress.ip_network("127.0.0.0/8"))],
    ).public_bytes()
    yield x509.NameConstraints(None, [x509.UniformResourceIdentifier(".example.org")]).public_bytes()
    yield x509.SubjectAlternativeName(
        [x509.DNSName("a.example.org"), x509.RFC822Name("a@b.org"), x509.IPAddress(ipaddress.ip_address("::1"))]
    ).public_bytes()
    yield ca.certificate.subject.public_bytes()


def _policies() -> Iterator[bytes]:
    one, two = (encoded_oid(f"1.2.3.{number}") for number in (1, 2))
    yield b"\x00" + tlv(0x30, tlv(0x30, one) + tlv(0x30, two + tlv(0x30, b"")))
    yield b"\x00" + tlv(0x30, tlv(0x30, encoded_oid("2.5.29.32.0")))
    yield b"\x01" + tlv(0x30, tlv(0x30, one + two))
    yield b"\x02" + tlv(0x30, tlv(0x80, b"\x00") + tlv(0x81, b"\x01"))
    yield b"\x03" + tlv(0x02, b"\x00")


def _block(alice: Issued) -> Iterator[bytes]:
    chain = alice.proxy(key="p256").chain_der
    yield bytes((len(chain),)) + b"".join(chain)
    yield b"\x03\x30\x00\x30\x03\x02\x01\x05\x30\x81\x80" + bytes(128) + b"rest"


def _legacy(alice: Issued) -> Iterator[bytes]:
    yield bytes.fromhex("3011300A06082B06010505071501A103020102")
    yield LIMITED_INFO
    for cn in ("proxy", "limited proxy"):
        yield alice.proxy(info_oid=None, cn=cn, key="p256").certificate.subject.public_bytes()


def _lines(*texts: str | bytes) -> list[bytes]:
    return [text.encode() if isinstance(text, str) else text for text in texts]


def _all() -> dict[str, list[bytes]]:
    ca = TestCA("/O=Grid/CN=Fuzz CA", "p256")
    alice = ca.issue("/O=Grid/CN=Alice", "p256")
    certificates = list(_certificates(ca, alice))
    locked = list(_locked_keys(alice))
    return {
        "certificate": certificates,
        "certificate_block": list(_block(alice)),
        "credential": [
            alice.bundle(),
            alice.proxy(key="p256").bundle(traditional=True),
            b"text before\n" + alice.key_pem() + alice.pem,
        ],
        "crl": list(_crls(ca, alice)),
        "delegation_request": list(_requests(alice)),
        "der": [certificates[0], FULL_INFO, *_names(alice)],
        "extensions": list(_extension_values(ca)),
        "gsi_conf": [_GSI_CONF],
        "keylocks": locked,
        "keys": list(_keys()),
        "myproxy_config": [_CONFIG],
        "myproxy_request": list(_REQUEST),
        "myproxy_response": list(_RESPONSE),
        "name_constraints": list(_name_constraints(ca)),
        "names_der": list(_names(alice)),
        "names_oneline": _lines(*_ONELINE, '"/O=Grid/CN=a \\"b\\"" alice'),
        "names_rfc4514": _lines(*_RFC4514),
        "namespaces": [_NAMESPACES],
        "patterns": _lines(*_PATTERNS),
        "pem": [alice.bundle(), locked[-1]],
        "pkcs12": list(_pkcs12(ca, alice)),
        "policies": list(_policies()),
        "proxy_info": [
            FULL_INFO,
            LIMITED_INFO,
            INDEPENDENT_INFO,
            proxy_info("1.3.6.1.5.5.7.21.1", path_length=2),
            proxy_info("1.2.3.4", path_length=0, policy=b"hello"),
        ],
        "proxy_legacy": list(_legacy(alice)),
        "signing_policy": [_POLICY],
        "trust_files": [ca.pem, ca.crl([alice]), _POLICY, _NAMESPACES],
    }


def main() -> None:
    """Write them all anew."""
    seeds = _all()
    assert set(seeds) == set(NAMES), set(seeds) ^ set(NAMES)
    for name, listed in seeds.items():
        directory = Path(SEEDS) / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for number, data in enumerate(listed):
            (directory / f"{number:02}").write_bytes(data)


if __name__ == "__main__":
    main()
