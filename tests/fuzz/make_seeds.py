"""Writes the seeds of every harness: small valid inputs, made with the test CA and OpenSSL and not with our encoders.

    python -m tests.fuzz.make_seeds                 # rewrites tests/fuzz/seeds
    python -m tests.fuzz.make_seeds crl pem         # those of two harnesses

Seeds are committed, so that a run starts from the same bytes everywhere; this is how they came about. The keys among
them are made for this and used nowhere.
"""

from __future__ import annotations

import base64
import hmac
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.fuzz.decoders import NAMES, SEEDS
from tests.harness import kx509_peers
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
TO Issuer "self" DENY Subject "/O=Grid/CN=(x|y)[a-z]*"
"""
_COMMUNITY: Final = (
    b"""\
Resource: FTPDirectoryTree|ftp://sample1.org/data/*
 file read
 file lookup
Resource: uri:samlResourceWildcard
 uri:samlActionNSWildcard uri:samlActionWildcard
""",
    b"""\
# first
ta-name=defaultTrustAnchor
ta-authMethod=X509
ta-authData=/O=Grid/CN=CA
user-name=superUser
user-subject=/O=Grid/CN=Admin
userGroupname=superUserGroup
""",
    b"alice\t/O=Grid/CN=Alice\tca\treaders,writers\nbob\tCN=Bob,O=Grid\tca\n",
    b"""\
{"format":"cas-policy","version":1}
{"do":"enrol","entity":{"kind":"user","nickname":"a","subject":"/CN=A","anchor":"ca"},"owner":null}
{"do":"grant","statement":{"group":"g","effect":"deny","action":["serviceAction","file","read"],"object":["object","F",\
"ftp://h/*"],"terms":[null,1893456000,"full",3]}}
""",
    "\u0430\u043b\u0438\u0441\u0430".encode(),
    b"FTP://Host:2811/data/a b/*",
)
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
    "OID.1.2.3.4=#1303414243,CN=\\ a\\#b\\ ",
    "CN=#1301 41".replace(" ", ""),
    "CN=#1201 41".replace(" ", ""),
)
_PATTERNS: Final = (
    "/O=Grid/CN=(Alice|Bob)[a-z0-9]{1,3}\n/O=Grid/CN=Bobx1",
    "^a*b+c?.$\naabbcx",
    "[^[:digit:]]*\\.x$\nabc.x",
    "(a*)*b\naaaaaaaaaaaaaaaaaaaaaaaac",
)


_GRIDMAP: Final = b"""\
# a comment
"/O=Grid/CN=Alice" alice,grid
/O=Grid/CN=Bob bob
"/O=Grid/CN=a \\"b\\"\\x41" c
"/DC=org/CN=host/www.example.org" .pool
"""
_RULES: Final = (
    (
        b'permit dn "/O=Grid/CN=Alice Adams" to read, lookup on /data/alice/**\n'
        b'deny anyone to delete on /data/archive/** proxy limited because "no"\n'
    ),
    b"permit fqan /atlas/Role=production to read on ftp://*/data/** as atlasprd\n",
    b'permit group staff to job:start during "Mon-Fri 08:00-18:00 UTC" from 192.0.2.0/24\n',
    b'dn "/O=Grid/CN=Mallory" because "stolen"\nserial "/O=Grid/CN=CA" 0x1f4a\naddress 192.0.2.0/24\n',
    b'"/atlas/Role=production" atlasprd\n"/atlas/*" .atlas\n',
)
_GRAM: Final = (
    b'protocol-version: 2\r\njob-state-mask: 1048575\r\ncallback-url: https://h:1/\r\nrsl: "&(a=\\"b\\")"\r\n\0',
    b"protocol-version: 2\r\ncommand: version\r\n\0",
    b"signal 3 now",
)
_CALLOUTS: Final = b"""\
# mapping
globus_mapping libgsi_authz_callout gsi_authz_mapping ENV:A=b C=d
|GLOBUS_GSI_AUTHORIZE_ASYNC libx y
"""
_TOML: Final = b'listen = "h"\nworkers = 3\ngrace = "5m"\nnames = ["a", "b"]\nstrict = false\n'
_INDEX: Final = (
    b"V\t300101000000Z\t\t1000\tunknown\t/O=Grid/CN=Alice\n"
    b"R\t20500101000000Z\t250101000000Z,keyCompromise\t0A\tunknown\t/O=Grid/CN=B\n"
)
_SOURCES: Final = (
    b"# list\nhttp://ca.example.org/crl.pem\nhttps://b.example.org/x\n",
    b'alias = X\nurl = http://a/\ncrl_url.0 = http://a/b ; http://c/d\nsubjectdn = "/O=Grid/CN=CA"\nversion = 1.1\n',
)
_XACML: Final = (
    (
        b'{"Request":{"AccessSubject":{"Attribute":[{"AttributeId":"urn:oasis:names:tc:xacml:1.0:subject:subject-id",'
        b'"Value":"CN=Alice,O=Grid","DataType":"x500Name"},{"AttributeId":"urn:x-gsi-toolkit:xacml:1.0:subject:fqan",'
        b'"Value":["/a","/b/Role=c"]},{"AttributeId":"urn:x-gsi-toolkit:xacml:1.0:subject:limited","Value":true}]},'
        b'"Action":{"Attribute":{"AttributeId":"urn:oasis:names:tc:xacml:1.0:action:action-id","Value":"read"}},'
        b'"Category":[{"CategoryId":"Resource","Attribute":[{"AttributeId":'
        b'"urn:x-gsi-toolkit:xacml:1.0:resource-attribute:x","Value":"y"}]}]}}'
    ),
    (
        b'{"Request":{"AccessSubject":{"Attribute":[{"AttributeId":"http://authz-interop.org/xacml/subject/'
        b'subject-x509-id","Value":"/O=Grid/CN=A"},{"AttributeId":"http://glite.org/xacml/attribute/fqan","Value":"/a"}]},'
        b'"Action":{"Attribute":[{"AttributeId":"urn:oasis:names:tc:xacml:1.0:action:action-id","Value":"x"}]}}}'
    ),
    (
        b'{"Response":[{"Decision":"Permit","Status":{"StatusCode":{"Value":"urn:oasis:names:tc:xacml:1.0:status:ok"},'
        b'"StatusMessage":"m"},"Obligations":[{"Id":"http://authz-interop.org/xacml/obligation/uidgid",'
        b'"AttributeAssignment":[{"AttributeId":"http://authz-interop.org/xacml/attribute/posix-uid","Value":500},'
        b'{"AttributeId":"http://authz-interop.org/xacml/attribute/posix-gid","Value":"600"}]}]}]}'
    ),
)
_RSL: Final = (
    b'&(executable=/bin/echo)(arguments="a ""b""" $(HOME)/x \'y\' ^@z@)(environment=(A b)(C d))(count=3)',
    b"&(rsl_substitution=(A $(HOME)/a)(B $(A)$(A)))(* c *)(stdout=$(B)#.txt)(file_stage_in=($(A) /tmp/x))",
    b"+(&(a>=1))(|(b!=2)(&(c<3)(d=(e (f g)))))",
    (
        b"# jobs\npermit fqan /vo/Role=x to start, restart executable /bin/*, $(HOME)/**\n  count <=4 environment A=*\n"
        b'  max_time 1..60 file_stage_in "https://h/** -> /tmp/*" allow stdout, rsl:xcount as bo\n'
        b'require anyone to * jobtag NULL, "A B*"\n'
        b'deny dn-like "/O=G/**" to signal signals suspend jobowner self, /O=G/**\n'
    ),
)
_REQUEST_CONF: Final = (
    (
        b"[ req ]\ndefault_bits = 2048\ndistinguished_name = dn\n[ dn ]\n0.organizationName = Organization\n"
        b"0.organizationName_default = Grid\ncommonName = Name (e.g., John M. Smith)\ncommonName_default =\n"
    ),
    b'GSI_CA_NAME="Grid CA"\nA=${GSI_CA_NAME:-x}\nexport A\nB=$A/c\n',
)
_FTP: Final = (
    b"220-localhost\r\n more\r\n220 ready\r\n227 Entering Passive Mode (127,0,0,1,200,10)\r\n",
    b"AUTH GSSAPI\r\nADAT QUJD\r\n229 ok (|||50000|)\r\n",
)
_GATEKEEPER: Final = (
    (
        b"POST ping/jobmanager@alice HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-globus-gram\r\n"
        b"Content-Length: 2\r\n\r\nab"
    ),
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na\0",
)
_CLOCKS: Final = (
    bytes((0x24, 2)) + bytes(22) + b"12345678" + bytes.fromhex("ed02a50000000000ed02a50180000000"),
    b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n",
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


def _with_points(ca: TestCA) -> bytes:
    """A certificate that names distribution points."""
    points = x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier("http://a.example.org/crl")], None, None, None)]
    )
    return ca.issue("/O=Grid/CN=Points", "p256", extensions=[(points, False)]).der


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
    small = rsa.generate_private_key(65537, 2048)
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
    with tempfile.NamedTemporaryFile() as bundle:  # openssl reads it twice
        bundle.write(alice.bundle() + ca.pem)
        bundle.flush()
        yield from _openssl_pkcs12(bundle.name)


def _openssl_pkcs12(path: str) -> Iterator[bytes]:
    once = ("-noiter", "-nomaciter", "-passout", "pass:fuzz")
    for words in (
        ["-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC"],
        ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"],
        ["-keypbe", "NONE", "-certpbe", "NONE"],
    ):
        yield _openssl("pkcs12", "-export", "-in", path, *words, *once)


def _requests(alice: Issued) -> Iterator[bytes]:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "NULL SUBJECT NAME ENTRY")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    plain = rsa.generate_private_key(65537, 2048)
    yield builder.sign(plain, hashes.SHA256()).public_bytes(Encoding.DER)
    extension, critical = raw_extension("1.3.6.1.5.5.7.1.14", LIMITED_INFO, critical=True)
    yield builder.add_extension(extension, critical).sign(alice.key, hashes.SHA256()).public_bytes(Encoding.DER)


_PRINCIPALS: Final = (
    "alice@EXAMPLE.ORG",
    "alice/grid@EXAMPLE.ORG",
    "a/b/c@R",
    "alice/admin@EXAMPLE.ORG",
    "host/www.example.org@EXAMPLE.ORG",
    "x\\/CN=admin@EXAMPLE.ORG",
    "a\\@b@R",
    "krbtgt/EXAMPLE.ORG@OTHER.ORG",
    "proxy@R",
)


def _pkinit() -> Iterator[bytes]:
    """SubjectAltName with one principal, with several names, and ExtendedKeyUsage."""
    value = bytes.fromhex("3020a00a1b084d49542e54455354a1123010a003020101a10930071b05616c696365")
    name = tlv(0xA0, tlv(6, bytes.fromhex("2b0601050202")) + tlv(0xA0, value))
    yield tlv(0x30, name)
    yield tlv(0x30, tlv(0x82, b"www.example.org") + name + tlv(0x81, b"a@example.org") + name)
    yield tlv(0x30, tlv(6, bytes.fromhex("2b060105020304")) + tlv(6, bytes.fromhex("2b06010505070302")))


def _kx509(alice: Issued) -> Iterator[bytes]:
    """Requests of every kind and replies of every kind, sealed with the key that the harness has."""
    key, version, ap_req = bytes(range(32)), bytes((0, 0, 2, 0)), bytes.fromhex("6e023000")
    assert isinstance(alice.key, ec.EllipticCurvePrivateKey)
    bare = rsa.generate_private_key(65537, 2048).public_key()
    raw = bare.public_bytes(Encoding.DER, serialization.PublicFormat.PKCS1)
    for public in (raw, kx509_peers.csr_plus(kx509_peers.csr_without_attributes(alice.key)), b""):
        seal = hmac.digest(key, version + (public or ap_req), "sha1")
        yield version + tlv(0x30, tlv(4, ap_req) + tlv(4, seal) + tlv(4, public))
    yield version + tlv(0x30, tlv(4, b"") + tlv(4, bytes(20)) + tlv(4, b""))
    yield version + tlv(0x30, tlv(4, ap_req) + tlv(4, bytes(20)) + tlv(4, raw) + tlv(0x80, b"KRB5 1.0"))
    for code, certificate, text in ((b"", alice.der, b""), (b"\x04", b"", b"no"), (b"\x03\xf4", b"", b"policy")):
        seal = hmac.digest(key, version + code + certificate + text, "sha1")
        fields = tlv(0xA0, tlv(2, code)) if code else b""
        fields += tlv(0xA1, tlv(4, seal))
        fields += tlv(0xA2, tlv(4, certificate)) if certificate else b""
        yield version + tlv(0x30, fields + (tlv(0xA3, tlv(0x1A, text)) if text else b""))


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


def _callout(alice: Issued) -> Iterator[bytes]:
    """Bodies and a frame, made by the encoder: the layout is nobody's but ours."""
    from gsi.authz.callout import messages

    chain = alice.chain_der
    name = "/O=Grid/CN=Alice"
    asked: tuple[messages.Request, ...] = (
        messages.MapRequest("file", 64, "alice", chain, name, "/O=Grid/CN=host/a"),
        messages.SessionRequest("file", chain, name, "", resumed=True),
        messages.OperationRequest("read", "ftp://h/a/b", messages.Fact(1), "/a/b", "/a/b"),
    )
    frames = [messages.encode_request(one) for one in asked]
    yield from (frame[4:] for frame in frames)
    answer = messages.encode_answer(messages.Answer(messages.Verdict.PERMIT, account="alice", decision_id="c0ffee"))
    yield answer[4:]
    yield b"".join(frames[1:]) + answer


_LSC: Final = (
    b"/O=Grid/CN=host/voms.example.org\n/O=Grid/CN=CA\n------ NEXT CHAIN ------\n/O=a/E=a@b\n/O=b\n/O=b\n/O=c\n",
    b'# VOs\n"vo" "voms.example.org" "15000" "/O=Grid/CN=voms" "vo"\n"b" "h" "1" "/O=x" "b" "24"\n',
)
_VOMS_REQUESTS: Final = (
    b"0<voms><command>G/vo</command><base64>1</base64><targets>a,b</targets><version>4</version><lifetime></lifetime></voms>",
    b"0GET /generate-ac?fqans=/vo/g/Role=r,/vo&lifetime=43200&order=/vo:r&targets=a HTTP/1.0\nUser-Agent: x\n\n",
    b"GET /generate-ac?lifetime=43200&fqans=%2Fvo&colour=red HTTP/1.1\r\nHost: h:1\r\n\r\n",
    b"0<?xml version='1.0'?><voms><command>B/vo/g:r</command><command>A</command><order>/vo</order></voms>",
)
_SCOPES: Final = (
    "openid storage.read:/data/a%20b storage.create:/ compute.create wlcg.groups:/vo",
    "read:/x write:/y//z/./ queue execute offline_access",
    "/data/%C3%BC/%252e%252e/x",
)


def _voms(ca: TestCA, alice: Issued) -> tuple[list[bytes], list[bytes]]:
    """Attribute certificates and what is in them, and a server's answers."""
    from tests.harness.voms import VOMSServer, ac_extension, extension, target_list

    server = VOMSServer(ca, ca.issue("/O=Grid/CN=voms.example.org", "p256"))
    text = tlv(0x04, b"name") + tlv(0x04, b"value") + tlv(0x04, b"/testvo")
    tags = tlv(0x30, tlv(0x30, tlv(0x30, tlv(0x30, tlv(0x86, b"testvo://h:1")) + tlv(0x30, tlv(0x30, text)))))
    more = [extension("2.5.29.55", target_list("a.example.org"), critical=True)]
    more.append(extension("1.3.6.1.4.1.8005.100.100.11", tags))
    plain = server.attribute_certificate(alice)
    full = server.attribute_certificate(alice, fqans=["/testvo", "/testvo/g/Role=r"], extensions=more)
    carried, _ = ac_extension(plain, full)
    identifier = tlv(
        0x30, tlv(0x80, bytes(20)) + tlv(0xA1, tlv(0xA4, ca.certificate.subject.public_bytes())) + tlv(0x82, b"\5")
    )
    body = b"<?xml version='1.0'?><voms><ac>" + base64.encodebytes(plain) + b"</ac><warning>w</warning></voms>"
    item = b"<item><number>1001</number><message>no</message></item>"
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n",
        b"<vomsans><version>3</version><error>" + item + b"</error></vomsans>",
        b"<voms><error><code>NoSuchUser</code><message>no</message></error></voms>",
        base64.b64encode(plain),
    ]
    return [plain, full, carried.public_bytes(), target_list("a", "b"), tags, identifier], answers


def _tokens() -> tuple[list[bytes], list[bytes]]:
    from tests.harness.tokens import TokenIssuer, jwk_of

    issuer = TokenIssuer()
    when = {"iat": 1780272000, "nbf": 1780272000, "exp": 1780275600}
    claims = [
        issuer.claims(**when, wlcg_groups=["/vo", "/vo/g"]),
        issuer.claims(**when, wlcg_ver=None, ver="scitoken:2.0", aud=["ANY"], scope="read:/a%20b queue"),
        issuer.claims(**when, cnf={"x5t#S256": "abc"}, act={"sub": "x"}),
    ]
    cas = TestCA(key="p256").issue("/O=Grid/CN=cas", "p256")
    certified = jwk_of(cas.key, "certified", x5c=[base64.b64encode(cas.der).decode()])
    keys = [
        issuer.key_set(jwk_of(TestCA(key="ed25519").key, "ed", alg="EdDSA"), jwk_of(TestCA().key, "rsa", use="sig")),
        issuer.key_set(certified),
    ]
    return [issuer.sign(claims[0]).encode(), *(json.dumps(one).encode() for one in claims)], keys


def _saml(ca: TestCA, alice: Issued) -> list[bytes]:
    from tests.harness.saml import SAMLIssuer

    issuer = SAMLIssuer(ca.issue("/O=Grid/CN=cas", "p256"))
    return [
        issuer.sign(issuer.cas_assertion(alice)),
        issuer.sign(
            issuer.assertion_2(alice, conditions="<AudienceRestriction><Audience>a</Audience></AudienceRestriction>")
        ),
        issuer.cas_assertion(alice, conditions="<DoNotCacheCondition/>").encode(),
    ]


def _lines(*texts: str | bytes) -> list[bytes]:
    return [text.encode() if isinstance(text, str) else text for text in texts]


def _published() -> list[bytes]:
    from tests.harness.tokens import TokenIssuer

    moment = 1772323200
    claims = {"iss": "https://cas.example.org", "iat": moment, "exp": moment + 3600, "revoked": [["00" * 16, moment]]}
    header = {"typ": "revocations+jwt"}
    text = b"{\nOBJECT_NAME_TYPE=wildcard\nOBJECT_NAME=ftp://h/d/*\nSERVICE_TYPE=file\nSERVICE_ACTION=read\n}\n\0"
    return [text, TokenIssuer().sign(claims, header).encode()]


def _all() -> dict[str, list[bytes]]:
    ca = TestCA("/O=Grid/CN=Fuzz CA", "p256")
    alice = ca.issue("/O=Grid/CN=Alice", "p256")
    certificates = list(_certificates(ca, alice))
    locked = list(_locked_keys(alice))
    attribute_certificates, answers = _voms(ca, alice)
    tokens, token_keys = _tokens()
    return {
        "authz_callout": list(_callout(alice)),
        "authz_gram": list(_GRAM),
        "authz_gridmap": [_GRIDMAP],
        "authz_names": _lines(
            "/O=Grid/CN=a\\/b", "CN=a,O=Grid", "/vo/grp/Role=x/Capability=NULL", "ftp://h/a%2fb/../c"
        ),
        "authz_rsl": list(_RSL),
        "authz_rules": list(_RULES),
        "authz_xacml": list(_XACML),
        "ca_index": [_INDEX],
        "ca_names": _lines("DNS:www.example.org, IP:192.0.2.1, email:a@b.org, URI:http://x/", "IP:2001:db8::1"),
        "ca_request": list(_requests(alice)),
        "calloutconf": [_CALLOUTS],
        "cas_policy": list(_COMMUNITY),
        "cas_published": _published(),
        "cas_voms_request": list(_VOMS_REQUESTS),
        "certificate": certificates,
        "certificate_block": list(_block(alice)),
        "clocks": list(_CLOCKS),
        "credential": [
            alice.bundle(),
            alice.proxy(key="p256").bundle(traditional=True),
            b"text before\n" + alice.key_pem() + alice.pem,
        ],
        "crl": list(_crls(ca, alice)),
        "crl_sources": [*_SOURCES, _with_points(ca)],
        "delegation_request": list(_requests(alice)),
        "der": [certificates[0], FULL_INFO, *_names(alice)],
        "extensions": list(_extension_values(ca)),
        "ftp": list(_FTP),
        "gatekeeper": list(_GATEKEEPER),
        "gsi_conf": [_GSI_CONF],
        "kca_principal": _lines(*_PRINCIPALS),
        "keylocks": locked,
        "keys": list(_keys()),
        "kx509": list(_kx509(alice)),
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
        "pkinit_san": list(_pkinit()),
        "policies": list(_policies()),
        "proxy_info": [
            FULL_INFO,
            LIMITED_INFO,
            INDEPENDENT_INFO,
            proxy_info("1.3.6.1.5.5.7.21.1", path_length=2),
            proxy_info("1.2.3.4", path_length=0, policy=b"hello"),
        ],
        "proxy_legacy": list(_legacy(alice)),
        "request_config": list(_REQUEST_CONF),
        "saml": _saml(ca, alice),
        "signing_policy": [_POLICY],
        "token": tokens,
        "token_keys": token_keys,
        "token_scopes": _lines(*_SCOPES),
        "toml_config": [_TOML],
        "trust_files": [ca.pem, ca.crl([alice]), _POLICY, _NAMESPACES],
        "voms_ac": attribute_certificates,
        "voms_answer": answers,
        "voms_files": list(_LSC),
    }


def main() -> None:
    """Write those named, or all, anew."""
    seeds = _all()
    assert set(seeds) == set(NAMES), set(seeds) ^ set(NAMES)
    for name in sys.argv[1:] or NAMES:
        listed = seeds[name]
        directory = Path(SEEDS) / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for number, data in enumerate(listed):
            (directory / f"{number:02}").write_bytes(data)


if __name__ == "__main__":
    main()
