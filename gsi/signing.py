"""Signatures: made with a digest that follows the key, and checked; judges no key and knows no certificate.

    signature, algorithm_der = sign(key, tbs_der)
    verify_signature(public_key, algorithm_der, signature, tbs_der)

SHA-256, SHA-384 for P-384, SHA-512 for P-521, none for Ed25519. SHA-1 and MD5 are neither made nor accepted.
"""

from __future__ import annotations

from typing import Final, NoReturn, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from gsi import der
from gsi.errors import Reason, VerificationError

__all__ = [
    "PrivateKey",
    "PublicKey",
    "sign",
    "signature_algorithm_der",
    "signature_digest",
    "verify_signature",
]

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_RSA_PSS: Final = "1.2.840.113549.1.1.10"
_MAX_PSS_SALT: Final = 2048  # OpenSSL salts requests with as much as the key has room for; 16384 bits have no more
_SHA256: Final = hashes.SHA256()
_SHA384: Final = hashes.SHA384()
_SHA512: Final = hashes.SHA512()
_PKCS1: Final = padding.PKCS1v15()


def _algorithm(oid_content: str, *, null: bool = False) -> bytes:
    return der.encode_sequence(der.encode_tlv(der.OID, bytes.fromhex(oid_content)), b"\x05\x00" if null else b"")


_RSA_ARC: Final = "2a864886f70d0101"
_ECDSA_ARC: Final = "2a8648ce3d0403"
# Signature algorithms by their whole AlgorithmIdentifier; RSA with NULL as RFC 4055 writes it, and without, as some do;
# ECDSA without parameters as RFC 5758 writes it, and with NULL, as old Java did.
_RSA_ALGORITHMS: Final = {
    _algorithm(f"{_RSA_ARC}{number}", null=null): digest
    for number, digest in (("0b", _SHA256), ("0c", _SHA384), ("0d", _SHA512))
    for null in (True, False)
}
_ECDSA_ALGORITHMS: Final = {
    _algorithm(f"{_ECDSA_ARC}{number}", null=null): digest
    for number, digest in (("02", _SHA256), ("03", _SHA384), ("04", _SHA512))
    for null in (True, False)
}
_ED25519_ALGORITHM: Final = _algorithm("2b6570")
_RSA_SHA256: Final = _algorithm(f"{_RSA_ARC}0b", null=True)
_WEAK_ALGORITHMS: Final = {
    "1.2.840.113549.1.1.2": "MD2",
    "1.2.840.113549.1.1.3": "MD4",
    "1.2.840.113549.1.1.4": "MD5",
    "1.2.840.113549.1.1.5": "SHA-1",
    "1.3.14.3.2.29": "SHA-1",
    "1.2.840.10045.4.1": "SHA-1",
    "1.2.840.10040.4.3": "SHA-1",
}


def signature_digest(key: PrivateKey | PublicKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """Return the digest a key signs with: SHA-256, SHA-384 for P-384, SHA-512 for P-521, None for Ed25519."""
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        size = key.curve.key_size
        return _SHA256 if size <= 256 else _SHA384 if size <= 384 else _SHA512
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return None
    return _SHA256


def sign(key: PrivateKey, data: bytes) -> tuple[bytes, bytes]:
    """Return (signature, AlgorithmIdentifier in DER) over `data`; the digest is `signature_digest(key)`."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, _PKCS1, _SHA256), _RSA_SHA256
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data), _ED25519_ALGORITHM
    digest = signature_digest(key)
    assert digest is not None  # only Ed25519 has none
    return key.sign(data, ec.ECDSA(digest)), signature_algorithm_der(key)


def signature_algorithm_der(key: PrivateKey | PublicKey) -> bytes:
    """Return the AlgorithmIdentifier that `sign` uses with this key, which stands inside what is signed, too."""
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return _RSA_SHA256
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return _ED25519_ALGORITHM
    size = key.curve.key_size
    return _algorithm(f"{_ECDSA_ARC}{'02' if size <= 256 else '03' if size <= 384 else '04'}")


def verify_signature(key: object, algorithm_der: bytes, signature: bytes, data: bytes) -> None:
    """Return if `signature` over `data` is good under this public key and AlgorithmIdentifier.

    RSA (PKCS#1 v1.5, PSS) and ECDSA with SHA-256, SHA-384 or SHA-512, and Ed25519. The key itself is judged by
    `check_public_key`.

    Raises:
        VerificationError: BAD_SIGNATURE, WEAK_SIGNATURE (SHA-1, MD5), UNSUPPORTED_ALGORITHM.
        ParseError: `algorithm_der` is no AlgorithmIdentifier.
    """
    try:
        if isinstance(key, rsa.RSAPublicKey):
            digest = _RSA_ALGORITHMS.get(algorithm_der)
            if digest is not None:
                key.verify(signature, data, _PKCS1, digest)
            else:
                key.verify(signature, data, *_pss(algorithm_der))
            return
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm_der in _ECDSA_ALGORITHMS:
            key.verify(signature, data, ec.ECDSA(_ECDSA_ALGORITHMS[algorithm_der]))
            return
        if isinstance(key, ed25519.Ed25519PublicKey) and algorithm_der == _ED25519_ALGORITHM:
            key.verify(signature, data)
            return
    except InvalidSignature as error:
        raise VerificationError("the signature is wrong", reason=Reason.BAD_SIGNATURE) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise VerificationError(f"the signature cannot be checked: {error}", reason=Reason.BAD_SIGNATURE) from error
    _refuse_algorithm(der.parse_one(algorithm_der, what="signature algorithm").oid())


def _refuse_algorithm(oid: str) -> NoReturn:
    weak = _WEAK_ALGORITHMS.get(oid)
    if weak is not None:
        raise VerificationError(f"the signature uses {weak}, which is broken", reason=Reason.WEAK_SIGNATURE)
    raise VerificationError(
        f"signature algorithm {oid} is not known or does not fit the signer's key", reason=Reason.UNSUPPORTED_ALGORITHM
    )


_SHA1: Final = "1.3.14.3.2.26"
_PSS_DIGESTS: Final[dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "2.16.840.1.101.3.4.2.1": _SHA256,
    "2.16.840.1.101.3.4.2.2": _SHA384,
    "2.16.840.1.101.3.4.2.3": _SHA512,
}


def _pss(algorithm_der: bytes) -> tuple[padding.PSS, hashes.SHA256 | hashes.SHA384 | hashes.SHA512]:
    """Read RSASSA-PSS parameters (RFC 4055 section 3.1); the digest of the mask must be that of the message."""
    reader = der.parse_one(algorithm_der, what="signature algorithm")
    oid = reader.oid()
    if oid != _RSA_PSS:
        _refuse_algorithm(oid)
    found = ["", ""]
    salt = 20
    parameters = reader.sequence()
    for number in range(4):
        if parameters.peek() != der.context(number):
            continue
        field = parameters.enter(der.context(number))
        if number == 0:
            found[0] = field.sequence().oid()
        elif number == 1:
            mask = field.sequence()
            if mask.oid() != "1.2.840.113549.1.1.8":
                _refuse_algorithm(oid)
            found[1] = mask.sequence().oid()
        elif number == 2:
            salt = field.integer()
        elif field.integer() != 1:
            _refuse_algorithm(oid)
        field.finish()
    parameters.finish()
    digest = _PSS_DIGESTS.get(found[0])
    if not {"", _SHA1}.isdisjoint(found):  # SHA-1 is the default of both
        raise VerificationError("the signature uses SHA-1, which is broken", reason=Reason.WEAK_SIGNATURE)
    if digest is None or found[0] != found[1] or not 0 <= salt <= _MAX_PSS_SALT:
        _refuse_algorithm(oid)
    return padding.PSS(padding.MGF1(digest), salt), digest
