"""Certificates and CRLs as bytes: the fields in, strict DER out; decides nothing, signs through a `Signer`.

    extensions = end_entity_extensions(grant, request, ca_certificate)
    tbs_der = encode_tbs(serial=..., algorithm_der=signer.algorithm_der, ..., extensions=extensions)
    der = sign_tbs(tbs_der, signer)

Built by hand and not by pyca's builder, which signs only with keys that it holds itself.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gsi import der, keys, oids
from gsi.ca.general_names import encode_general_names, uri
from gsi.ca.grant import DATA_ENCIPHERMENT, KEY_ENCIPHERMENT
from gsi.certificate import Extension
from gsi.extensions import CRL_SIGN, KEY_CERT_SIGN, encode_extension, encode_named_bits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.ca.grant import Grant
    from gsi.ca.request import CertificateRequest
    from gsi.ca.signer import Signer
    from gsi.certificate import Certificate

__all__ = [
    "authority_extensions",
    "authority_key_identifier",
    "encode_tbs",
    "end_entity_extensions",
    "key_identifier",
    "sign_tbs",
]

_VERSION_3: Final = der.encode_explicit(0, der.encode_integer(2))
_KEY_AGREEMENT: Final = 1 << 4
_ENCIPHER_OR_DECIPHER_ONLY: Final = 1 << 7 | 1 << 8  # they mean something beside keyAgreement alone


def key_identifier(spki_der: bytes) -> bytes:
    """Return the identifier of a key: SHA-1 over the bits of the public key (RFC 5280 section 4.2.1.2, method 1).

    A name, not a protection; it is what OpenSSL and pyca write, too.
    """
    reader = der.parse_one(spki_der, what="public key")
    reader.sequence()
    return hashlib.sha1(reader.bit_string(), usedforsecurity=False).digest()


def authority_key_identifier(ca: Certificate) -> bytes:
    """Return the value of AuthorityKeyIdentifier for what this CA signs: the CA's own identifier for its key."""
    own = ca.find_extension(oids.SUBJECT_KEY_IDENTIFIER)
    if own is None:
        identifier = key_identifier(ca.spki_der)
    else:
        reader = der.Reader(own.value, what="SubjectKeyIdentifier")
        identifier = reader.octet_string()
        reader.finish()
    return der.encode_sequence(der.encode_tlv(der.context(0, constructed=False), identifier))


def usable_key_usage(wanted: int, public_key: keys.PublicKey) -> int:
    """Return the bits of a key usage that a key of this kind can serve (RFC 3279 section 2.3, RFC 8410 section 5)."""
    if keys.is_rsa(public_key):
        return wanted & ~(_KEY_AGREEMENT | _ENCIPHER_OR_DECIPHER_ONLY)
    wanted &= ~(KEY_ENCIPHERMENT | DATA_ENCIPHERMENT)
    if isinstance(public_key, Ed25519PublicKey):
        wanted &= ~_KEY_AGREEMENT
    return wanted if wanted & _KEY_AGREEMENT else wanted & ~_ENCIPHER_OR_DECIPHER_ONLY


def end_entity_extensions(grant: Grant, request: CertificateRequest, ca: Certificate) -> tuple[Extension, ...]:
    """Return the extensions of the certificate that a grant gives for a key, under this CA.

    SubjectAltName is critical when the subject is empty (RFC 5280 section 4.2.1.6).
    """
    found = [
        Extension(oids.BASIC_CONSTRAINTS, True, der.encode_sequence()),
        Extension(oids.KEY_USAGE, True, encode_named_bits(usable_key_usage(grant.key_usage, request.public_key))),
        Extension(oids.SUBJECT_KEY_IDENTIFIER, False, der.encode_octet_string(key_identifier(request.spki_der))),
        Extension(oids.AUTHORITY_KEY_IDENTIFIER, False, authority_key_identifier(ca)),
    ]
    if grant.extended_key_usage:
        purposes = der.encode_sequence(*map(der.encode_oid, grant.extended_key_usage))
        found.append(Extension(oids.EXTENDED_KEY_USAGE, False, purposes))
    if grant.alternative_names:
        has_no_subject = grant.subject_der == der.encode_sequence()
        names = encode_general_names(grant.alternative_names)
        found.append(Extension(oids.SUBJECT_ALT_NAME, has_no_subject, names))
    if grant.policies:
        policies = [der.encode_sequence(der.encode_oid(policy)) for policy in grant.policies]
        found.append(Extension(oids.CERTIFICATE_POLICIES, False, der.encode_sequence(*policies)))
    if grant.crl_urls:
        found.append(Extension(oids.CRL_DISTRIBUTION_POINTS, False, _distribution_points(grant.crl_urls)))
    places = [(oids.ACCESS_OCSP, url) for url in grant.ocsp_urls]
    places += [(oids.ACCESS_CA_ISSUERS, url) for url in grant.issuer_urls]
    if places:
        access = [der.encode_sequence(der.encode_oid(method), uri(url)) for method, url in places]
        found.append(Extension(oids.AUTHORITY_INFO_ACCESS, False, der.encode_sequence(*access)))
    replaced = {extension.oid for extension in grant.extensions}
    return (*(extension for extension in found if extension.oid not in replaced), *grant.extensions)


def _distribution_points(urls: Sequence[str]) -> bytes:
    """Return CRLDistributionPoints: one point with all places, since they hold the same list (section 4.2.1.13)."""
    full_name = der.encode_explicit(0, b"".join(map(uri, urls)))
    return der.encode_sequence(der.encode_sequence(der.encode_explicit(0, full_name)))


def authority_extensions(spki_der: bytes, *, path_length: int | None = None) -> tuple[Extension, ...]:
    """Return the extensions of a root's own certificate."""
    limit = b"" if path_length is None else der.encode_integer(path_length)
    return (
        Extension(oids.BASIC_CONSTRAINTS, True, der.encode_sequence(der.encode_boolean(True), limit)),
        Extension(oids.KEY_USAGE, True, encode_named_bits(KEY_CERT_SIGN | CRL_SIGN)),
        Extension(oids.SUBJECT_KEY_IDENTIFIER, False, der.encode_octet_string(key_identifier(spki_der))),
    )


def encode_tbs(
    *,
    serial: int,
    algorithm_der: bytes,
    issuer_der: bytes,
    not_before: datetime,
    not_after: datetime,
    subject_der: bytes,
    spki_der: bytes,
    extensions: Sequence[Extension],
) -> bytes:
    """Return a TBSCertificate of version 3 (RFC 5280 section 4.1)."""
    return der.encode_sequence(
        _VERSION_3,
        der.encode_integer(serial),
        algorithm_der,
        issuer_der,
        der.encode_sequence(der.encode_time(not_before), der.encode_time(not_after)),
        subject_der,
        spki_der,
        der.encode_explicit(3, der.encode_sequence(*[encode_extension(*extension) for extension in extensions])),
    )


def sign_tbs(tbs_der: bytes, signer: Signer) -> bytes:
    """Return the signed object around what was built: a Certificate or CertificateList.

    Raises:
        IssuanceError: SIGN, as `Signer.sign`.
    """
    return der.encode_sequence(tbs_der, signer.algorithm_der, der.encode_bit_string(signer.sign(tbs_der)))
