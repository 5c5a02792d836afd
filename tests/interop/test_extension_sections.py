"""Extension sections: what we make of one is, byte for byte, what `openssl x509 -extfile` makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gsi import oids
from gsi.ca.extsection import parse_extension_section
from gsi.certificate import load_certificates
from tests.harness.ca import pooled_key
from tests.harness.environment import clean_environment
from tests.harness.run import c_program, run

CASES = {
    "usual": """
        keyUsage = critical, digitalSignature, keyEncipherment ,dataEncipherment
        extendedKeyUsage=clientAuth,serverAuth, 1.3.6.1.4.1.311.20.2.2
        basicConstraints=critical,CA:FALSE
        subjectAltName = email:alice@example.org, DNS:www.example.org,URI:https://example.org/a;b?c=d,IP:192.0.2.1
        certificatePolicies=1.2.3.4, 1.3.6.1.4.1.99999.1
        crlDistributionPoints=URI:http://ca.example.org/a.crl,URI:ldap://ldap.example.org/cn=a
        authorityInfoAccess=OCSP;URI:http://ocsp.example.org/,caIssuers;URI:http://ca.example.org/ca.der
        nsCertType=client, email,objsign
        nsComment="A comment, with a comma # and more"  # this is one
        """,
    "long names": "keyUsage=Digital Signature,Key Agreement , Decipher Only\nnsCertType=SSL Client,S/MIME\n",
    "path length": "basicConstraints = CA:true , pathlen:3\n",
    "all usages": "keyUsage=digitalSignature,nonRepudiation,keyEncipherment,dataEncipherment,keyAgreement,keyCertSign,"
    "cRLSign,encipherOnly,decipherOnly\n",
    "purposes": "extendedKeyUsage=critical,codeSigning,emailProtection,timeStamping,OCSPSigning,msSmartcardLogin,"
    "pkInitClientAuth,pkInitKDC,anyExtendedKeyUsage,ipsecEndSystem,ipsecTunnel,ipsecUser,ipsecIKE,msCodeInd,msCodeCom,"
    "msCTLSign,msEFS\n",
    "values by number": """
        1.2.3.4 = DER:30:03:02:01:05
        1.2.3.5=critical,DER:0c0141
        1.2.3.6 = ASN1:UTF8String:Grid, and more
        1.2.3.7 = critical, ASN1:FORMAT:UTF8,UTF8:J\u00f6rg
        1.2.3.8 = ASN1:IA5STRING:a@b
        1.2.3.9 = ASN1:PRINTABLESTRING:a b
        1.2.3.10 = ASN1:NULL
        1.2.3.11 = ASN1:INTEGER:-129
        1.2.3.12 = ASN1:INT:0x1234
        1.2.3.13 = ASN1:OID:1.2.840.113549
        1.2.3.14 = ASN1:BOOL:yes
        1.2.3.15 = ASN1:OCT:text
        1.2.3.16 = ASN1:FORMAT:HEX,OCTETSTRING:00ff10
        1.2.3.17 = ASN1:VISIBLE:visible
        1.2.3.18 = ASN1:NUMERIC:12 34
        """,
    "known extensions in bytes": "keyUsage=critical,DER:03020780\n1.3.6.1.5.5.7.1.24=DER:30:03:02:01:05\n",
    "sections": """
        subjectAltName = critical,@names
        certificatePolicies = 1.2.3, @policy ,@other
        crlDistributionPoints = point, URI:http://b/
        authorityInfoAccess = @access
        extendedKeyUsage = @purposes
        [names]
        DNS.1 = a.example.org
        DNS.2 = b.example.org
        email = x@example.org
        IP.1 = 2001:db8::1
        RID.1 = 1.2.3.4
        otherName.1 = 1.3.6.1.4.1.311.20.2.3;UTF8:alice@EXAMPLE.ORG
        [policy]
        policyIdentifier = 1.3.5.8
        CPS.1 = http://example.org/cps
        CPS.2 = https://example.org/cps
        userNotice.1 = @notice
        userNotice.2 = @utf8
        [notice]
        explicitText = Be nice, please
        [utf8]
        explicitText = "UTF8:Freundlich sein"
        [other]
        policyIdentifier = 1.3.5.9
        [point]
        fullname = URI:http://a/, URI:http://c/
        [access]
        OCSP;URI.1 = http://one/
        OCSP;URI.2 = http://two/
        caIssuers;URI = http://three/
        [purposes]
        1.x = clientAuth
        two = 1.2.3
        """,
    "grammar": """
        # a comment
        [ more ]
        base = http://ca.example.org
        [default]
        nsComment = one \\
           two\\# three \\"quoted\\" \\\\ end
        nsBaseUrl = ${more::base}/x$(more::base)
        nsSslServerName = 'it''s $more::base'
        default::nsCaPolicyUrl = "  kept  "
        """,
    "email in two forms": "subjectAltName=email:a@b.org,email:c.d+e@sub.b.org\n",
}


def openssl_extensions(directory: Path, text: str) -> list[tuple[str, bool, bytes]]:
    environment = clean_environment(directory) | {"OPENSSL_CONF": "/dev/null"}
    key = directory / "key.pem"
    pooled = pooled_key("p256")
    key.write_bytes(
        pooled.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (directory / "ext.cnf").write_text(text)
    (directory / "req.cnf").write_text("[req]\ndistinguished_name=dn\n[dn]\n")
    openssl = c_program("openssl")
    words: list[str | Path] = [openssl, "req", "-new", "-key", key, "-subj", "/CN=x", "-config", directory / "req.cnf"]
    run([*words, "-out", directory / "req.pem"], env=environment).check()
    words = [openssl, "x509", "-req", "-in", directory / "req.pem", "-signkey", key, "-extfile", directory / "ext.cnf"]
    run([*words, "-extensions", "default", "-out", directory / "cert.pem"], env=environment).check()
    (certificate,) = load_certificates((directory / "cert.pem").read_bytes(), what="test")
    return [(one.oid, one.critical, one.value) for one in certificate.extensions]


@pytest.mark.parametrize("name", CASES)
def test_the_same_bytes_as_openssl(tmp_path: Path, name: str) -> None:
    text = CASES[name]
    ours = parse_extension_section(text, path="ext.cnf")
    theirs = openssl_extensions(tmp_path, text)
    if theirs[-1][0] == oids.SUBJECT_KEY_IDENTIFIER:  # some releases add it unasked
        theirs.pop()
    assert [(one.oid, one.critical, one.value) for one in ours.extensions] == theirs


def test_key_identifiers_are_asked_for(tmp_path: Path) -> None:
    text = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always, issuer\n"
    ours = parse_extension_section(text, path="ext.cnf")
    assert (ours.extensions, ours.wants_key_identifier, ours.wants_authority_identifier) == ((), True, True)
    theirs = [oid for oid, _, _ in openssl_extensions(tmp_path, text)]
    assert theirs == [oids.SUBJECT_KEY_IDENTIFIER, oids.AUTHORITY_KEY_IDENTIFIER]
