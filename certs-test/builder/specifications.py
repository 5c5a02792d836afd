"""Where it is written what must come of a case: each place that cases cite, with its title; quotes no text.

title("RFC 3820 s. 3.1")            "Issuer"

A place is a section, or a step of one: `RFC 5280 s. 6.3.3 (g)`. What no numbered text says has a name in words, and the
title says what it means. Titles of sections stand before the colon as the document has them.
"""

from __future__ import annotations

from typing import Final

__all__ = ["SPECIFICATIONS", "title"]

SPECIFICATIONS: Final = {
    "RFC 3279 s. 2.3.1": "RSA Keys",
    "RFC 3820 s. 3.1": "Issuer",
    "RFC 3820 s. 3.2": "Issuer Alternative Name",
    "RFC 3820 s. 3.4": "Subject",
    "RFC 3820 s. 3.5": "Subject Alternative Name",
    "RFC 3820 s. 3.6": "Key Usage and Extended Key Usage",
    "RFC 3820 s. 3.7": "Basic Constraints",
    "RFC 3820 s. 3.8": "The ProxyCertInfo Extension",
    "RFC 3820 s. 3.8.1": "pCPathLenConstraint",
    "RFC 3820 s. 3.8.2": "proxyPolicy",
    "RFC 3820 s. 4": "Proxy Certificate Path Validation",
    "RFC 3820 s. 4.1": "Basic Proxy Certificate Path Validation",
    "RFC 3820 s. 4.1.3 (a) (1)": "Basic Proxy Certificate Processing: the signature",
    "RFC 3820 s. 4.1.3 (a) (2)": "Basic Proxy Certificate Processing: the validity period",
    "RFC 3820 s. 4.1.3 (a) (3)": "Basic Proxy Certificate Processing: the issuer name",
    "RFC 3820 s. 4.1.3 (b)": "Basic Proxy Certificate Processing: a ProxyCertInfo there must be",
    "RFC 3820 s. 4.1.3 (b) (1)": "Basic Proxy Certificate Processing: a smaller path length counts from here on",
    "RFC 3820 s. 4.1.3 (b) (2)": "Basic Proxy Certificate Processing: the policy language must be an accepted one",
    "RFC 3820 s. 4.1.4 (a)": "Preparation for next Proxy Certificate: the path length left must be above zero",
    "RFC 3820 s. 4.1.4 (f)": "Preparation for next Proxy Certificate: a key usage must have digitalSignature",
    "RFC 3820 s. 4.2": "Using the Path Validation Algorithm",
    "RFC 4055 s. 3.1": "RSASSA-PSS Public Keys",
    "RFC 4055 s. 5": "PKCS #1 Version 1.5 Signature Algorithm",
    "RFC 5280 s. 4.1": "Basic Certificate Fields",
    "RFC 5280 s. 4.1.1.2": "signatureAlgorithm",
    "RFC 5280 s. 4.1.1.3": "signatureValue",
    "RFC 5280 s. 4.1.2.1": "Version",
    "RFC 5280 s. 4.1.2.2": "Serial Number",
    "RFC 5280 s. 4.1.2.4": "Issuer: the form of all names",
    "RFC 5280 s. 4.1.2.5": "Validity",
    "RFC 5280 s. 4.1.2.5.1": "UTCTime",
    "RFC 5280 s. 4.1.2.5.2": "GeneralizedTime",
    "RFC 5280 s. 4.1.2.6": "Subject",
    "RFC 5280 s. 4.1.2.7": "Subject Public Key Info",
    "RFC 5280 s. 4.1.2.8": "Unique Identifiers",
    "RFC 5280 s. 4.2": "Certificate Extensions",
    "RFC 5280 s. 4.2.1": "Standard Extensions",
    "RFC 5280 s. 4.2.1.1": "Authority Key Identifier",
    "RFC 5280 s. 4.2.1.2": "Subject Key Identifier",
    "RFC 5280 s. 4.2.1.3": "Key Usage",
    "RFC 5280 s. 4.2.1.4": "Certificate Policies",
    "RFC 5280 s. 4.2.1.6": "Subject Alternative Name",
    "RFC 5280 s. 4.2.1.7": "Issuer Alternative Name",
    "RFC 5280 s. 4.2.1.9": "Basic Constraints",
    "RFC 5280 s. 4.2.1.10": "Name Constraints",
    "RFC 5280 s. 4.2.1.11": "Policy Constraints",
    "RFC 5280 s. 4.2.1.12": "Extended Key Usage",
    "RFC 5280 s. 5.1": "CRL Fields",
    "RFC 5280 s. 5.1.1.2": "signatureAlgorithm (of a CRL)",
    "RFC 5280 s. 5.1.2.1": "Version (of a CRL)",
    "RFC 5280 s. 5.1.2.2": "Signature (of a CRL)",
    "RFC 5280 s. 5.1.2.3": "Issuer Name (of a CRL)",
    "RFC 5280 s. 5.1.2.4": "This Update",
    "RFC 5280 s. 5.1.2.5": "Next Update",
    "RFC 5280 s. 5.1.2.6": "Revoked Certificates",
    "RFC 5280 s. 5.2": "CRL Extensions",
    "RFC 5280 s. 5.2.3": "CRL Number",
    "RFC 5280 s. 5.2.4": "Delta CRL Indicator",
    "RFC 5280 s. 5.2.5": "Issuing Distribution Point",
    "RFC 5280 s. 5.3": "CRL Entry Extensions",
    "RFC 5280 s. 5.3.1": "Reason Code",
    "RFC 5280 s. 5.3.3": "Certificate Issuer",
    "RFC 5280 s. 6.1": "Basic Path Validation",
    "RFC 5280 s. 6.1.3 (a) (1)": "Basic Certificate Processing: the signature",
    "RFC 5280 s. 6.1.3 (a) (2)": "Basic Certificate Processing: the validity period",
    "RFC 5280 s. 6.1.3 (a) (3)": "Basic Certificate Processing: not revoked",
    "RFC 5280 s. 6.1.4 (k)": "Preparation for Certificate i+1: whoever issues is a CA",
    "RFC 5280 s. 6.1.5 (g)": "Wrap-Up Procedure: the policies that are left",
    "RFC 5280 s. 6.3.3": "CRL Processing",
    "RFC 5280 s. 6.3.3 (a) (1)": "CRL Processing: past nextUpdate a current CRL is needed",
    "RFC 5280 s. 6.3.3 (b) (1)": "CRL Processing: the CRL's issuer is the certificate's",
    "RFC 5280 s. 6.3.3 (b) (2)": "CRL Processing: the scope of a partial CRL",
    "RFC 5280 s. 6.3.3 (f)": "CRL Processing: whose CRL it is, and that they may sign it",
    "RFC 5280 s. 6.3.3 (g)": "CRL Processing: the signature",
    "RFC 5280 s. 6.3.3 (j)": "CRL Processing: looking for issuer and serial number",
    "RFC 5280 s. 7.1": "Internationalized Names in Distinguished Names",
    "RFC 5280 appendix A.1": "Explicitly Tagged Module, 1988 Syntax",
    "RFC 5480 s. 2.1.1": "Unrestricted Algorithm Identifier and Parameters",
    "RFC 5480 s. 2.1.1.1": "Named Curve",
    "RFC 5480 s. 2.2": "Subject Public Key",
    "RFC 5758 s. 3.2": "ECDSA Signature Algorithm",
    "RFC 5937 s. 3.2": "Initialization",
    "RFC 7468 s. 2": "General Considerations",
    "RFC 7468 s. 6": "Textual Encoding of Certificate Revocation Lists",
    "RFC 8017 s. 3.1": "RSA Public Key",
    "RFC 8410 s. 4": "Subject Public Key Fields",
    "RFC 8446 s. 4.4.2": "Certificate",
    "RFC 8446 s. 4.4.2.4": "Receiving a Certificate Message",
    "X.690 s. 8.3": "Encoding of an integer value",
    "X.690 s. 10": "Distinguished encoding rules",
    "X.690 s. 11": "Restrictions on BER employed by both CER and DER",
    "X.690 s. 11.1": "Boolean values",
    "X.690 s. 11.2.1": "Unused bits",
    "X.690 s. 11.5": "Set and sequence components with default value",
    "FIPS 186-5 s. 5.1": "RSA Key Pair Generation",
    "NIST SP 800-131A s. 3": "Digital Signatures",
    "draft-ietf-pkix-proxy (GT3)": "the draft before RFC 3820 as Globus Toolkit 3 made it",
    "Globus legacy proxies (GT2)": "proxies that only their last common name marks, as Globus Toolkit 2 made them",
    "Globus limited proxies": "what follows a limited proxy is limited or independent, and starters of jobs take none",
    "Globus: one form in a chain": "GSI's C library takes no proxies of two forms in one chain",
    "Globus signing policy": "the file of a CA's names as GSI's C library reads it",
    "EUGridPMA namespaces format": "the other file of a CA's names, which distributions of the IGTF carry",
    "GSI: no partial chains": "a path ends at a root",
    "IGTF distributions carry both": "a CA's files are named by both of OpenSSL's hashes",
    "OpenSSL hashed directories": "a CA's file is named by the hash of its subject, a dot, and a number",
    "CA/B Forum practice, OpenSSL": "the extended key usages of a CA bind those below it",
    "switch": "what an option says, or what holds without it: `options` of the manifest",
    "a root on its own list": "what a root says against itself counts; RFC 5280 looks up no trust anchor",
    "fail closed": "what a CRL that cannot be used would have said is not known",
    "each for itself": "a fault in the files of one CA is no other CA's",
    "choice of algorithms": "kinds of keys, curves and digests, which standards leave to the validator",
    "limits of implementations": "a limit that no standard sets",
}
"""Each place with its title; every one of them is cited."""


def title(place: str) -> str:
    """Return the title of a place that a case cites.

    Raises:
        ValueError: No such place is known.
    """
    if place not in SPECIFICATIONS:
        raise ValueError(f"no specification is known as {place}")
    return SPECIFICATIONS[place]
