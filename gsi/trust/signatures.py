"""Checking one signature of a certificate or CRL under its issuer's key; judges algorithm and key, not names.

    key = load_key(issuer, position=1)
    check_certificate_signature(certificate, key, position=0)

MD5 and SHA-1 are verified only when the caller's switch says so; `gsi.keys` refuses them by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from gsi import der, keys
from gsi.errors import CredentialError, CredentialProblem, ParseError, Reason, VerificationError

if TYPE_CHECKING:
    from gsi.certificate import Certificate
    from gsi.keys import PublicKey

__all__ = ["check_certificate_signature", "check_signature", "load_key"]

_WEAK_RSA: Final[dict[str, hashes.HashAlgorithm]] = {
    "1.2.840.113549.1.1.4": hashes.MD5(),  # noqa: S303  known so that the switch for old CAs can take it
    "1.2.840.113549.1.1.5": hashes.SHA1(),  # noqa: S303  likewise
}
_WEAK_ECDSA: Final[dict[str, hashes.HashAlgorithm]] = {"1.2.840.10045.4.1": hashes.SHA1()}  # noqa: S303  likewise

_KNOWN: Final = frozenset(
    {
        "1.2.840.113549.1.1.11",  # RSA PKCS#1 v1.5 with SHA-256, -384, -512 (RFC 8017)
        "1.2.840.113549.1.1.12",
        "1.2.840.113549.1.1.13",
        "1.2.840.10045.4.3.2",  # ECDSA with SHA-256, -384, -512 (RFC 5758)
        "1.2.840.10045.4.3.3",
        "1.2.840.10045.4.3.4",
        "1.3.101.112",  # Ed25519 (RFC 8410)
    }
)


def load_key(certificate: Certificate, position: int | None) -> PublicKey:
    """Return a certificate's public key, strong enough to be used.

    Raises:
        VerificationError: WEAK_KEY, UNSUPPORTED_ALGORITHM or MALFORMED.
    """
    try:
        return certificate.find_once(_strong_key)
    except ParseError as error:
        raise VerificationError(error.message, reason=Reason.MALFORMED, position=position) from error
    except CredentialError as error:
        weak = error.problem is CredentialProblem.WEAK_KEY
        raise VerificationError(
            error.message,
            reason=Reason.WEAK_KEY if weak else Reason.UNSUPPORTED_ALGORITHM,
            position=position,
            hint=error.hint,
        ) from error


def _strong_key(certificate: Certificate) -> PublicKey:
    key = _read_key(certificate)
    keys.check_public_key(key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        keys.parse_public_key(certificate.spki_der)  # refuses a curve spelled out, which pyca lets pass
    return cast("PublicKey", key)  # check_public_key has let only these pass


def _read_key(certificate: Certificate) -> object:
    try:
        return certificate.public_key()
    except ParseError:
        keys.parse_public_key(certificate.spki_der)  # calls weak what pyca calls malformed, such as an exponent of 1
        raise


def check_signature(
    key: object, algorithm_der: bytes, signature: bytes, data: bytes, *, accept_weak: bool = False
) -> None:
    """Check one signature; how strong the key is was judged by `load_key`, or does not matter to the caller.

    Raises:
        VerificationError: BAD_SIGNATURE, WEAK_SIGNATURE, UNSUPPORTED_ALGORITHM or MALFORMED; without a position,
            which the caller knows.
    """
    try:
        keys.verify_signature(key, algorithm_der, signature, data)
    except VerificationError as error:
        if error.reason is Reason.WEAK_SIGNATURE and accept_weak:
            _verify_weak(key, algorithm_der, signature, data)
        elif error.reason is Reason.UNSUPPORTED_ALGORITHM and _is_known(algorithm_der):
            raise VerificationError(
                "the signature was made with a key of another kind than the issuer's", reason=Reason.BAD_SIGNATURE
            ) from error
        else:
            raise
    except ParseError as error:
        raise VerificationError(error.message, reason=Reason.MALFORMED) from error


def _is_known(algorithm_der: bytes) -> bool:
    return der.parse_one(algorithm_der, what="signature algorithm").oid() in _KNOWN


def _verify_weak(key: object, algorithm_der: bytes, signature: bytes, data: bytes) -> None:
    oid = der.parse_one(algorithm_der, what="signature algorithm").oid()
    try:
        if isinstance(key, rsa.RSAPublicKey) and oid in _WEAK_RSA:
            key.verify(signature, data, padding.PKCS1v15(), _WEAK_RSA[oid])
        elif isinstance(key, ec.EllipticCurvePublicKey) and oid in _WEAK_ECDSA:
            key.verify(signature, data, ec.ECDSA(_WEAK_ECDSA[oid]))
        else:
            raise VerificationError(f"signature algorithm {oid} is not known", reason=Reason.UNSUPPORTED_ALGORITHM)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm) as error:
        raise VerificationError("the signature is wrong", reason=Reason.BAD_SIGNATURE) from error


def check_certificate_signature(
    certificate: Certificate, issuer_key: PublicKey, position: int | None, *, accept_weak: bool = False
) -> None:
    """Check that the holder of this key signed the certificate, with one algorithm named inside and outside.

    Raises:
        VerificationError: BAD_SIGNATURE, WEAK_SIGNATURE, UNSUPPORTED_ALGORITHM or MALFORMED.
    """
    algorithm_der = certificate.signature_algorithm_der
    if algorithm_der != certificate.inner_signature_algorithm_der:
        raise VerificationError(
            "the certificate names two different signature algorithms", reason=Reason.MALFORMED, position=position
        )
    try:
        check_signature(issuer_key, algorithm_der, certificate.signature, certificate.tbs_der, accept_weak=accept_weak)
    except VerificationError as error:
        error.position = position
        raise
