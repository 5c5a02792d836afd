"""Asking whether a certificate is revoked (RFC 6960): the question and the judgement of the answer; sends nothing.

    question = make_ocsp_request(certificate, issuer)             # to be posted as application/ocsp-request
    answer = judge_ocsp_response(data, certificate=certificate, issuer=issuer, now=now)
    answer.status is OCSPStatus.REVOKED

An answer counts when it is about this certificate, holds now, and is signed by the issuer itself, by a responder whose
certificate the issuer has signed for that purpose (section 4.2.2.2), or by one of the responders named by the caller.
Questions carry no nonce, which responders with prepared answers do not give back, so an answer's age bounds what a
replay can do. Agrees with gct:myproxy/source/myproxy_ocsp.c, but that answers without an end are not taken at any age.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import der, names, oids
from gsi.certificate import Certificate
from gsi.errors import ParseError, Reason, RefusedError, VerificationError
from gsi.trust.signatures import check_certificate_signature, check_signature, load_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import ocsp

__all__ = [
    "MAX_AGE",
    "MAX_RESPONSE_BYTES",
    "OCSP_SKEW",
    "OCSPAnswer",
    "OCSPStatus",
    "find_ocsp_url",
    "judge_ocsp_response",
    "make_ocsp_request",
]

OCSP_SKEW: Final = timedelta(minutes=5)
"""How far a responder's clock may be off, as in C (MYPROXY_DEFAULT_CLOCK_SKEW)."""
MAX_AGE: Final = timedelta(days=1)
"""Of an answer that does not say until when it holds; such responders make each answer anew."""
MAX_RESPONSE_BYTES: Final = 256 << 10  # with a chain of certificates some 10 kB
_MAX_CERTIFICATES: Final = 16  # in an answer; one is usual
_OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"  # RFC 6960 section 4.2.2.2, id-kp-OCSPSigning
_WHAT: Final = "OCSP response"


class OCSPStatus(StrEnum):
    """What a responder says of a certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


class OCSPAnswer(NamedTuple):
    """A judged answer.

    Attributes:
        status: What it says.
        this_update: As of when (aware UTC).
        next_update: Until when, or None.
        revoked_at: Since when, for a revoked certificate.
    """

    status: OCSPStatus
    this_update: datetime
    next_update: datetime | None
    revoked_at: datetime | None


def find_ocsp_url(certificate: Certificate) -> str | None:
    """Return the first http or https responder that a certificate names (RFC 5280 section 4.2.2.1), or None.

    Raises:
        ParseError: AuthorityInfoAccess is malformed.
    """
    extension = certificate.find_extension(oids.AUTHORITY_INFO_ACCESS)
    if extension is None:
        return None
    reader = der.parse_one(extension.value, what="AuthorityInfoAccess")
    while not reader.at_end():
        description = reader.sequence()
        method = description.oid()
        tag, content, _ = description.take_any()
        description.finish()
        url = content.decode("latin-1")
        if method == oids.ACCESS_OCSP and tag == der.context(6, constructed=False) and url.lower().startswith("http"):
            return url
    return None


def make_ocsp_request(certificate: Certificate, issuer: Certificate) -> bytes:
    """Return the question about one certificate, OCSPRequest in DER.

    The hash that names the issuer is SHA-1, which every responder knows; nothing depends on its strength.
    """
    name_hash, key_hash = _issuer_hashes(issuer, "sha1")
    sha1 = der.encode_sequence(der.encode_oid("1.3.14.3.2.26"), b"\x05\x00")
    cert_id = der.encode_sequence(
        sha1,
        der.encode_octet_string(name_hash),
        der.encode_octet_string(key_hash),
        der.encode_integer(certificate.serial),
    )
    return der.encode_sequence(der.encode_sequence(der.encode_sequence(der.encode_sequence(cert_id))))


def judge_ocsp_response(
    data: bytes,
    *,
    certificate: Certificate,
    issuer: Certificate,
    now: datetime,
    responders: Sequence[Certificate] = (),
) -> OCSPAnswer:
    """Return what a responder has said, if it is to be believed.

    Args:
        data: Its answer, OCSPResponse in DER.
        certificate: The certificate in question.
        issuer: The CA that signed it.
        now: The time, aware UTC.
        responders: Certificates whose keys are believed without more ado.

    Raises:
        ParseError: Not such a response.
        RefusedError: The responder answers with an error, or about something else.
        VerificationError: Who signed it may not, the signature is wrong (BAD_SIGNATURE and others), or it does not
            hold now (EXPIRED, NOT_YET_VALID).
    """
    response = _load(data)
    _check_signed(response, data, issuer, now, responders)
    single = _find_single(response, certificate, issuer)
    this_update, next_update = single.this_update_utc, single.next_update_utc
    if this_update > now + OCSP_SKEW:
        raise VerificationError(
            f"{_WHAT}: not valid before {this_update:%Y-%m-%d %H:%M:%S}Z", reason=Reason.NOT_YET_VALID
        )
    end = this_update + MAX_AGE if next_update is None else next_update
    if end < now - OCSP_SKEW:
        raise VerificationError(f"{_WHAT}: it held until {end:%Y-%m-%d %H:%M:%S}Z", reason=Reason.EXPIRED)
    status = OCSPStatus[single.certificate_status.name]
    return OCSPAnswer(status, this_update, next_update, single.revocation_time_utc)


def _load(data: bytes) -> ocsp.OCSPResponse:
    from cryptography.x509 import ocsp

    if len(data) > MAX_RESPONSE_BYTES:
        raise ParseError(f"{_WHAT}: {len(data)} bytes, limit {MAX_RESPONSE_BYTES}", what=_WHAT)
    try:
        response = ocsp.load_der_ocsp_response(data)
        status = response.response_status
    except ValueError as error:
        raise ParseError(f"{_WHAT}: {error}", what=_WHAT) from error
    if status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise RefusedError(f"the OCSP responder says {status.name.lower()}")
    return response


def _find_single(response: ocsp.OCSPResponse, certificate: Certificate, issuer: Certificate) -> ocsp.OCSPSingleResponse:
    """Return what is said of this certificate; where that is several things, the worst."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509.ocsp import OCSPCertStatus

    found: ocsp.OCSPSingleResponse | None = None
    try:
        for single in response.responses:
            if single.serial_number != certificate.serial:
                continue
            hashes = _issuer_hashes(issuer, single.hash_algorithm.name)
            if hashes != (single.issuer_name_hash, single.issuer_key_hash):
                continue
            if found is None or single.certificate_status is OCSPCertStatus.REVOKED:
                found = single
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ParseError(f"{_WHAT}: {error}", what=_WHAT) from error
    if found is None:
        raise RefusedError("the OCSP responder speaks of another certificate")
    return found


def _issuer_hashes(issuer: Certificate, algorithm: str) -> tuple[bytes, bytes]:
    """Return the hashes of the issuer's name and key (RFC 6960 section 4.1.1)."""
    return (
        hashlib.new(algorithm, issuer.subject_der, usedforsecurity=False).digest(),
        hashlib.new(algorithm, _key_bits(issuer), usedforsecurity=False).digest(),
    )


def _key_bits(certificate: Certificate) -> bytes:
    reader = der.parse_one(certificate.spki_der, what="public key")
    reader.sequence()
    return reader.bit_string()


def _check_signed(
    response: ocsp.OCSPResponse, data: bytes, issuer: Certificate, now: datetime, responders: Sequence[Certificate]
) -> None:
    """Find who signed, and insist that it may, and did."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        enclosed = [one.public_bytes(_der_encoding()) for one in response.certificates[:_MAX_CERTIFICATES]]
        name, key_hash = response.responder_name, response.responder_key_hash
        signature, signed = response.signature, response.tbs_response_bytes
        name_der = None if name is None else name.public_bytes()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ParseError(f"{_WHAT}: {error}", what=_WHAT) from error
    delegated = [Certificate.parse(one) for one in enclosed]
    for signer in (issuer, *responders, *delegated):
        if not _is_named(signer, name_der, key_hash):
            continue
        if signer != issuer and signer not in responders:
            _check_delegated(signer, issuer, now)
        check_signature(load_key(signer, None), _algorithm(data), signature, signed)
        return
    raise VerificationError(f"{_WHAT}: signed by nobody that is known", reason=Reason.UNTRUSTED)


def _der_encoding() -> Encoding:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER


def _is_named(signer: Certificate, name_der: bytes | None, key_hash: bytes | None) -> bool:
    if name_der is not None:
        return names.same_name(signer.subject_der, name_der)
    return hashlib.sha1(_key_bits(signer), usedforsecurity=False).digest() == key_hash


def _check_delegated(signer: Certificate, issuer: Certificate, now: datetime) -> None:
    """Insist that the issuer itself has made this certificate for signing its answers.

    Raises:
        VerificationError: It has not, or the certificate does not hold now.
    """
    purposes = signer.find_extension(oids.EXTENDED_KEY_USAGE)
    if not names.same_name(signer.issuer_der, issuer.subject_der) or purposes is None:
        raise VerificationError(f"{_WHAT}: its signer is no responder of this issuer", reason=Reason.UNTRUSTED)
    reader = der.parse_one(purposes.value, what="ExtendedKeyUsage")
    found: list[str] = []
    while not reader.at_end():
        found.append(reader.oid())
    if _OCSP_SIGNING not in found:
        raise VerificationError(f"{_WHAT}: its signer is no responder", reason=Reason.EXTENDED_KEY_USAGE)
    if not signer.not_before <= now <= signer.not_after:
        raise VerificationError(f"{_WHAT}: its signer's certificate does not hold now", reason=Reason.EXPIRED)
    check_certificate_signature(signer, load_key(issuer, None), None)


def _algorithm(data: bytes) -> bytes:
    """Return the AlgorithmIdentifier of the signature (RFC 6960 section 4.2.1, BasicOCSPResponse)."""
    outer = der.parse_one(data, what=_WHAT)
    outer.take(der.ENUMERATED)
    response_bytes = outer.enter(der.context(0)).sequence()
    response_bytes.oid()
    basic = der.parse_one(response_bytes.octet_string(), what=_WHAT)
    basic.take_raw(der.SEQUENCE)
    return basic.take_raw(der.SEQUENCE)
