"""Why a chain must be refused: the suite's own words, each with its meaning; a validator maps its errors to them."""

from __future__ import annotations

from typing import Final

__all__ = ["REASONS"]

REASONS: Final = {
    "chain-too-long": "more certificates are presented than the limit allows",
    "malformed": "not DER, not a certificate, or a value that does not parse",
    "unsupported-version": "a version that has no extensions with extensions, or a version that does not exist",
    "duplicate-extension": "one extension twice",
    "unknown-critical-extension": "a critical extension that nobody processes",
    "no-end-entity": "no end entity where one must stand behind the proxies",
    "untrusted": "no path to a CA of the trust directory",
    "chain-broken": "a proxy's issuer is not the certificate above it",
    "bad-signature": "the signature is not the issuer's over these bytes",
    "weak-signature": "a digest that is broken: SHA-1, MD5",
    "weak-key": "a key that is too short, or has an unsafe exponent",
    "unsupported-algorithm": "a kind of key or signature that is not to be taken",
    "not-yet-valid": "a certificate's notBefore lies ahead",
    "expired": "a certificate's notAfter has passed",
    "not-a-ca": "an issuer that is no CA",
    "is-a-ca": "a CA where an end entity or a proxy belongs",
    "ca-path-length": "more CAs than one above allows",
    "path-too-complex": "more CAs or tries than the limits allow",
    "name-constraints": "a name that a CA above may not certify",
    "key-usage": "a key used against its key usage",
    "extended-key-usage": "an extended key usage that does not fit the purpose",
    "certificate-policy": "a certificate policy that a CA requires and the path does not have",
    "signing-policy-missing": "a CA without signing policy",
    "signing-policy-broken": "a signing policy that does not parse",
    "signing-policy": "a name that the CA's signing policy does not permit",
    "namespaces": "a name that the CA's namespaces file does not permit, or such a file that does not parse",
    "crl-missing": "a CA without CRL where one is required",
    "crl-broken": "a CRL that does not parse or does not speak for the whole CA",
    "crl-expired": "a CRL whose nextUpdate has passed",
    "crl-not-yet-valid": "a CRL whose thisUpdate lies ahead",
    "crl-bad-signature": "a CRL that its CA has not signed",
    "crl-signer": "a CRL of another CA, of another key, or of a CA that may not sign CRLs",
    "revoked": "a certificate that its CA has revoked",
    "proxy-name": "a proxy's subject is not its issuer's plus one common name",
    "proxy-info-not-critical": "a ProxyCertInfo that is not critical",
    "proxy-info-malformed": "a ProxyCertInfo that does not parse, is there twice, or contradicts the name",
    "proxy-is-ca": "a CA with a ProxyCertInfo",
    "proxy-alt-name": "a proxy with an alternative name",
    "proxy-path-length": "a proxy above allows no further one",
    "proxy-policy-present": "a policy beside a language that must have none",
    "proxy-limited": "wider than the limited proxy above it, or limited where that is not accepted",
    "proxy-restriction": "a restriction that nobody here can read",
    "proxy-mixed-formats": "proxies of two forms in one chain",
    "proxy-format": "a form older than RFC 3820 where that is not accepted",
}
"""Each reason with its meaning."""
