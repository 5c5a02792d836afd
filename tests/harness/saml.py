"""Assertions for tests: XML written by hand and signed by pyca over lxml's canonical form; every rule can be broken.

xmlsec1 is asked about the result in `xmlsec1_accepts`.

Workflow:
    issuer = SAMLIssuer(ca.issue("/O=Grid/CN=cas"))
    xml = issuer.sign(issuer.cas_assertion(alice))
    proxy = alice.proxy(extensions=[assertion_extension(xml)])
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from tests.harness.ca import Extra, Issued, raw_extension, tlv
from tests.harness.environment import clean_environment
from tests.harness.run import c_program

__all__ = ["DS", "EXC", "SAML1", "SAML2", "SAMLIssuer", "assertion_extension", "one_line_of", "xmlsec1_accepts"]

SAML1: Final = "urn:oasis:names:tc:SAML:1.0:assertion"
SAML2: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
DS: Final = "http://www.w3.org/2000/09/xmldsig#"
EXC: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"
X509_NAME: Final = "urn:oasis:names:tc:SAML:1.1:nameid-format:X509SubjectName"


def one_line_of(name: x509.Name) -> str:
    """The one-line form."""
    from tests.harness.ca import one_line

    return one_line(name)


def assertion_extension(xml: bytes, *, oid: str = "1.3.6.1.4.1.3536.1.1.1.12", raw: bool = False) -> Extra:
    """The extension of a proxy that carries an assertion."""
    return raw_extension(oid, xml if raw else tlv(0x0C, xml))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


class SAMLIssuer:
    """Makes and signs assertions.

    Attributes:
        credential: Its certificate and key.
        name: What it calls itself.
    """

    def __init__(self, credential: Issued, name: str | None = None) -> None:
        self.credential = credential
        self.name = name or credential.subject

    def cas_assertion(
        self,
        holder: Issued,
        *,
        statements: Sequence[tuple[str, Sequence[str]]] = (("FTPDirectoryTree|ftp://h/data/*", ("read", "lookup")),),
        decision: str = "Permit",
        subject: str | None = None,
        qualifier: str | None = None,
        name_format: str = X509_NAME,
        method: str | None = "urn:oasis:names:tc:SAML:1.0:am:X509-PKI",
        confirmation: str = "",
        issuer: str | None = None,
        identifier: str | None = None,
        minor: str = "1",
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        conditions: str = "",
        more: str = "",
    ) -> str:
        """A SAML 1.1 assertion as CAS writes it, unsigned.

        Args:
            holder: The end entity whose it is.
            statements: Resources with their actions.
            decision: Of all of them.
            subject: Another name than the holder's.
            qualifier: Another CA than the holder's; empty for none.
            name_format: The form of the name.
            method: The confirmation method; None for no confirmation.
            confirmation: More within the confirmation.
            issuer: Another issuer.
            identifier: The id.
            minor: The minor version.
            not_before: Start of validity; five minutes ago by default.
            not_after: Its end; twelve hours from now by default.
            conditions: More within the conditions.
            more: More within the assertion, behind the statements.
        """
        now = datetime.now(UTC).replace(microsecond=0)
        eec = holder.certificate
        ca = one_line_of(eec.issuer) if qualifier is None else qualifier
        confirm = (
            f"<SubjectConfirmation><ConfirmationMethod>{method}</ConfirmationMethod>{confirmation}"
            "</SubjectConfirmation>"
            if method
            else ""
        )
        whom = (
            f"<Subject><NameIdentifier{f' NameQualifier={chr(34)}{ca}{chr(34)}' if ca else ''} "
            f'Format="{name_format}">{subject or one_line_of(eec.subject)}</NameIdentifier>{confirm}</Subject>'
        )
        listed = "".join(
            f'<AuthorizationDecisionStatement Decision="{decision}" Resource="{resource}">{whom}'
            + "".join(f'<Action Namespace="file">{action}</Action>' for action in actions)
            + "</AuthorizationDecisionStatement>"
            for resource, actions in statements
        )
        return (
            f'<Assertion xmlns="{SAML1}" MajorVersion="1" MinorVersion="{minor}" '
            f'AssertionID="{identifier or "_" + uuid.uuid4().hex}" Issuer="{issuer or self.name}" '
            f'IssueInstant="{_time(now)}">'
            f'<Conditions NotBefore="{_time(not_before or now - timedelta(minutes=5))}" '
            f'NotOnOrAfter="{_time(not_after or now + timedelta(hours=12))}">{conditions}</Conditions>'
            f"{listed}{more}</Assertion>"
        )

    def assertion_2(
        self,
        holder: Issued,
        *,
        subject: str | None = None,
        name_format: str = X509_NAME,
        confirmations: str | None = None,
        issuer: str | None = None,
        identifier: str | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        conditions: str = "",
        statements: str | None = None,
    ) -> str:
        """A SAML 2.0 assertion with an attribute and a decision, unsigned; arguments as for `cas_assertion`."""
        now = datetime.now(UTC).replace(microsecond=0)
        bearer = '<SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"/>'
        default = (
            '<AttributeStatement><Attribute Name="role"><AttributeValue>writer</AttributeValue>'
            "<AttributeValue>reader</AttributeValue></Attribute></AttributeStatement>"
            '<AuthzDecisionStatement Resource="ftp://h/data/*" Decision="Permit">'
            '<Action Namespace="file">read</Action></AuthzDecisionStatement>'
        )
        return (
            f'<Assertion xmlns="{SAML2}" Version="2.0" ID="{identifier or "_" + uuid.uuid4().hex}" '
            f'IssueInstant="{_time(now)}"><Issuer>{issuer or self.name}</Issuer>'
            f'<Subject><NameID Format="{name_format}">{subject or holder.certificate.subject.rfc4514_string()}</NameID>'
            f"{bearer if confirmations is None else confirmations}</Subject>"
            f'<Conditions NotBefore="{_time(not_before or now - timedelta(minutes=5))}" '
            f'NotOnOrAfter="{_time(not_after or now + timedelta(hours=12))}">{conditions}</Conditions>'
            f"{default if statements is None else statements}</Assertion>"
        )

    def sign(
        self,
        xml: str | bytes,
        *,
        key: object | None = None,
        certificates: Sequence[x509.Certificate] | None = None,
        transforms: Sequence[str] = (f"{DS}enveloped-signature", EXC),
        canonicalization: str = EXC,
        reference: str | None = None,
        digest: str = _SHA256,
        method: str | None = None,
        references: int = 1,
        key_info: str | None = None,
    ) -> bytes:
        """Sign a document, enveloped, as the last child of its root (behind the Issuer for SAML 2.0).

        Args:
            xml: The document.
            key: The signing key.
            certificates: What KeyInfo shows; the credential's chain by default, none leave it out.
            transforms: Their algorithms.
            canonicalization: The algorithm of SignedInfo.
            reference: The URI of the reference.
            digest: The algorithm of the digest.
            method: The algorithm of the signature.
            references: How many of them.
            key_info: The whole of KeyInfo.
        """
        root = etree.fromstring(xml)
        key = key or self.credential.key
        own = root.get("AssertionID") or root.get("ID")
        content = etree.tostring(root, method="c14n", exclusive=True, with_comments=False)
        made = hashlib.sha1(content) if digest.endswith("sha1") else hashlib.sha256(content)
        if method is None:
            method = f"{_MORE}{'rsa' if isinstance(key, rsa.RSAPrivateKey) else 'ecdsa'}-sha256"
        listed = "".join(f'<ds:Transform Algorithm="{one}"/>' for one in transforms)
        single = (
            f'<ds:Reference URI="{f"#{own}" if reference is None else reference}"><ds:Transforms>{listed}'
            f'</ds:Transforms><ds:DigestMethod Algorithm="{digest}"/><ds:DigestValue>'
            f"{base64.b64encode(made.digest()).decode()}</ds:DigestValue></ds:Reference>"
        )
        shown = (self.credential.certificate, *self.credential.chain) if certificates is None else certificates
        if key_info is None and shown:
            ders = "".join(
                f"<ds:X509Certificate>{base64.b64encode(one.public_bytes(Encoding.DER)).decode()}</ds:X509Certificate>"
                for one in shown
            )
            key_info = f"<ds:KeyInfo><ds:X509Data>{ders}</ds:X509Data></ds:KeyInfo>"
        signature = etree.fromstring(
            f'<ds:Signature xmlns:ds="{DS}"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="{canonicalization}"/>'
            f'<ds:SignatureMethod Algorithm="{method}"/>{single * references}</ds:SignedInfo><ds:SignatureValue/>'
            f"{key_info or ''}</ds:Signature>"
        )
        root.insert(1 if root.tag == f"{{{SAML2}}}Assertion" else len(root), signature)
        signed = etree.tostring(signature[0], method="c14n", exclusive=True, with_comments=False)
        signature[1].text = base64.b64encode(_sign(key, method, signed)).decode()
        result: bytes = etree.tostring(root)
        return result


def _sign(key: object, method: str, data: bytes) -> bytes:
    digest: hashes.HashAlgorithm = hashes.SHA1() if method.endswith("sha1") else hashes.SHA256()
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), digest)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def xmlsec1_accepts(xml: bytes, trusted_pem: Path, directory: Path) -> bool:
    """Whether the xmlsec1 program verifies the signature, with certificates of this CA alone."""
    path = directory / "assertion.xml"
    path.write_bytes(xml)
    done = subprocess.run(
        [
            c_program("xmlsec1"), "--verify", "--enabled-key-data", "x509", "--trusted-pem", trusted_pem,
            "--id-attr:AssertionID", f"{SAML1}:Assertion", "--id-attr:ID", f"{SAML2}:Assertion", path,
        ],
        env=clean_environment(directory),
        capture_output=True,
        timeout=60,
    )  # fmt: skip
    return done.returncode == 0
