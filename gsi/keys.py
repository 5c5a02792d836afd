"""Private and public keys: make, read, write, judge their strength, sign and verify; knows no certificate, no file.

    block = split_pem(pem, what=path)[0]
    key = parse_private_key(block, passphrase)
    signature, algorithm_der = sign(key, tbs_der)

RSA of 2048 to 16384 bits, the NIST curves by name, and Ed25519. The digest follows the signer's key, never an older
signature: SHA-256, SHA-384 for P-384, none for Ed25519; SHA-1 is neither made nor accepted. Every key is judged before
it is used, and what a pass phrase costs to try is bounded before the first try.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gsi import der, keylocks
from gsi.errors import CredentialError, CredentialProblem, ParseError
from gsi.pem import encode_pem
from gsi.signing import (
    PrivateKey,
    PublicKey,
    sign,
    signature_algorithm_der,
    signature_digest,
    verify_signature,
)

if TYPE_CHECKING:
    from gsi.pem import PEMBlock
    from gsi.secret import Passphrase

__all__ = [
    "KEY_LABELS",
    "LEAST_RSA_BITS",
    "MAX_PRIVATE_KEY_BYTES",
    "MAX_RSA_BITS",
    "MIN_RSA_BITS",
    "KeyType",
    "PrivateKey",
    "PublicKey",
    "adopt_private_key",
    "check_public_key",
    "encode_private_key",
    "generate_key",
    "is_encrypted",
    "is_rsa",
    "key_bits",
    "parse_private_key",
    "parse_public_key",
    "same_key",
    "sign",
    "signature_algorithm_der",
    "signature_digest",
    "spki_der",
    "verify_signature",
]


MIN_RSA_BITS: Final = 2048  # NIST SP 800-131A: the least that still counts
LEAST_RSA_BITS: Final = 1024  # how far a caller may lower that for its own purpose; smaller ones are factored in public
MAX_RSA_BITS: Final = 16384  # OpenSSL verifies no larger one, and time grows with the square
MAX_EXPONENT_BITS: Final = 64  # OpenSSL's limit for moduli over 3072 bits, for the same reason
MIN_EXPONENT: Final = 65537  # FIPS 186-5 section 5.1; smaller ones live from perfect padding checks
MAX_PRIVATE_KEY_BYTES: Final = 16 << 10  # RSA of 16384 bits takes 9.3 kB
KNOWN_PUBLIC_KEYS: Final = 16  # who reads a request and who signs for its key both ask; a few requests at once
RSA_SIZES: Final = (2048, 3072, 4096)
KEY_LABELS: Final = frozenset({"PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"})
_WHAT: Final = "private key"
_WRONG: Final = keylocks.WRONG_PASSPHRASE_TEXT
_WRONG_HINT: Final = keylocks.WRONG_PASSPHRASE_HINT

_RSA: Final = "1.2.840.113549.1.1.1"
_EC: Final = "1.2.840.10045.2.1"
_ED25519: Final = "1.3.101.112"
_CURVES: Final = {
    "1.2.840.10045.3.1.7": ec.SECP256R1(),
    "1.3.132.0.34": ec.SECP384R1(),
    "1.3.132.0.35": ec.SECP521R1(),
}
_CURVE_OIDS: Final = {curve.name: oid for oid, curve in _CURVES.items()}


def _algorithm(oid: str, *parameters: bytes) -> bytes:
    return der.encode_sequence(der.encode_oid(oid), *parameters)


_RSA_KEY: Final = _algorithm(_RSA, b"\x05\x00")
_ED25519_KEY: Final = _algorithm(_ED25519)


class KeyType(StrEnum):
    """The kinds of key that are made here."""

    RSA = "rsa"
    P256 = "p256"
    P384 = "p384"
    ED25519 = "ed25519"


def _refuse(problem: CredentialProblem, message: str, hint: str | None = None) -> NoReturn:
    raise CredentialError(message, problem=problem, hint=hint)


def generate_key(key_type: KeyType = KeyType.RSA, *, bits: int = 2048) -> PrivateKey:
    """Return a fresh private key.

    Args:
        key_type: The kind; RSA is what every C peer can use.
        bits: Size of an RSA modulus: 2048, 3072 or 4096. The other kinds have one size and ignore it.

    Raises:
        CredentialError: WEAK_KEY for 512 or 1024 bits, UNSUPPORTED_KEY for any other size.
    """
    match KeyType(key_type):
        case KeyType.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyType.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyType.RSA:
            if bits not in RSA_SIZES:
                _refuse(
                    CredentialProblem.WEAK_KEY if bits < MIN_RSA_BITS else CredentialProblem.UNSUPPORTED_KEY,
                    f"RSA keys of {bits} bits are not made" + (": they are too weak" if bits < MIN_RSA_BITS else ""),
                    "use 2048, 3072 or 4096 bits",
                )
            return rsa.generate_private_key(public_exponent=65537, key_size=bits)


# --- reading ----------------------------------------------------------------------------------------------------------


def is_encrypted(block: PEMBlock) -> bool:
    """Tell whether a pass phrase is needed to read this block."""
    return block.label == "ENCRYPTED PRIVATE KEY" or any(
        name.lower() == "proc-type" and "ENCRYPTED" in value for name, value in block.headers
    )


def parse_private_key(block: PEMBlock, passphrase: Passphrase | None = None) -> PrivateKey:
    """Return the key in a PEM block: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017 A.1.2) or SEC1 (RFC 5915), locked or not.

    A pass phrase that is not needed is not looked at.

    Raises:
        ParseError: The block does not hold what its label says.
        CredentialError: NEEDS_PASSPHRASE, WRONG_PASSPHRASE (or a damaged locked key: the two look alike), WEAK_KEY,
            UNSUPPORTED_KEY (a kind, cipher or key derivation that is not read, or one that costs too much).
    """
    if block.label not in KEY_LABELS:
        _refuse(
            CredentialProblem.UNSUPPORTED_KEY,
            f"a key labelled {block.label!r} is not read",
            "convert it: openssl pkcs8 -topk8 -in KEY -out NEW",
        )
    if len(block.data) > MAX_PRIVATE_KEY_BYTES:
        raise ParseError(f"{_WHAT}: {len(block.data)} bytes, limit {MAX_PRIVATE_KEY_BYTES}", what=_WHAT)
    if is_encrypted(block):
        return _unlock(block, passphrase)
    if block.headers:
        raise ParseError(f"{_WHAT}: unknown PEM headers", what=_WHAT)
    return _read(block.label, block.data)


def _read(label: str, data: bytes) -> PrivateKey:
    if label == "PRIVATE KEY":
        return _read_pkcs8(data)
    if label == "RSA PRIVATE KEY":
        return _read_rsa(data)
    return _read_ec(data, None)


def _unlock(block: PEMBlock, passphrase: Passphrase | None) -> PrivateKey:
    if block.label == "ENCRYPTED PRIVATE KEY":
        content, label = keylocks.unlock(block.data, passphrase), "PRIVATE KEY"
    else:
        dek_info = next((value for name, value in block.headers if name.lower() == "dek-info"), "")
        content, label = keylocks.unlock_traditional(block.data, dek_info, passphrase), block.label
    if content is None:
        return _unlock_by_pyca(block, passphrase)
    try:
        return _read(label, content)
    except ParseError as error:  # the padding fitted by chance
        raise CredentialError(_WRONG, problem=CredentialProblem.WRONG_PASSPHRASE, hint=_WRONG_HINT) from error


def _unlock_by_pyca(block: PEMBlock, passphrase: Passphrase | None) -> PrivateKey:
    """Open the rarer locks: scrypt, PBES1, the PKCS#12 forms; `keylocks.unlock` has bounded their cost."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not passphrase:  # pyca takes an empty one for none
        _refuse(CredentialProblem.WRONG_PASSPHRASE, _WRONG, _WRONG_HINT)
    try:
        # adopt_private_key checks the numbers; pyca would spend 27 ms on proving the factors prime
        key = load_pem_private_key(block.text, passphrase.reveal(), unsafe_skip_rsa_key_validation=True)
    except InternalError as error:  # what OpenSSL refuses in a way that pyca does not foresee
        raise CredentialError(
            f"{_WHAT}: locked in a way that cannot be opened", problem=CredentialProblem.UNSUPPORTED_KEY
        ) from error
    except UnsupportedAlgorithm as error:
        raise CredentialError(f"{_WHAT}: {error}", problem=CredentialProblem.UNSUPPORTED_KEY) from error
    except (ValueError, TypeError) as error:
        raise CredentialError(_WRONG, problem=CredentialProblem.WRONG_PASSPHRASE, hint=_WRONG_HINT) from error
    return adopt_private_key(key)


def adopt_private_key(key: object) -> PrivateKey:
    """Return a key that some decoder made, judged as `parse_private_key` judges.

    Raises:
        CredentialError: WEAK_KEY or UNSUPPORTED_KEY, as `check_public_key`.
        ParseError: The numbers of an RSA key do not belong together.
    """
    if not isinstance(key, PrivateKey):
        _refuse(CredentialProblem.UNSUPPORTED_KEY, f"{_WHAT}: neither RSA nor a named curve nor Ed25519")
    check_public_key(key.public_key())
    if isinstance(key, rsa.RSAPrivateKey):
        _check_rsa(key.private_numbers())
    return key


def _read_pkcs8(data: bytes) -> PrivateKey:
    """Read a PrivateKeyInfo (RFC 5958); its attributes and public key are not looked at."""
    reader = der.parse_one(data, what=_WHAT)
    if reader.integer() not in {0, 1}:
        raise ParseError(f"{_WHAT}: this version of PKCS#8 is not known", what=_WHAT)
    algorithm = reader.sequence()
    oid = algorithm.oid()
    content = reader.octet_string()
    if oid == _RSA:
        return _read_rsa(content)
    if oid == _EC:
        return _read_ec(content, _read_curve(algorithm))
    if oid != _ED25519:
        _refuse(CredentialProblem.UNSUPPORTED_KEY, f"{_WHAT}: algorithm {oid} is not one of RSA, EC, Ed25519")
    inner = der.Reader(content, what=_WHAT)
    seed = inner.octet_string()
    inner.finish()
    if len(seed) != 32:
        raise ParseError(f"{_WHAT}: an Ed25519 key has 32 bytes", what=_WHAT)
    return ed25519.Ed25519PrivateKey.from_private_bytes(seed)


def _read_rsa(data: bytes) -> rsa.RSAPrivateKey:
    """Read an RSAPrivateKey (RFC 8017 appendix A.1.2)."""
    reader = der.parse_one(data, what=_WHAT)
    if reader.integer() != 0:
        _refuse(CredentialProblem.UNSUPPORTED_KEY, f"{_WHAT}: RSA keys of more than two primes are not used")
    n, e, d, p, q, dmp1, dmq1, iqmp = [reader.integer() for _ in range(8)]
    reader.finish()
    _check_rsa_public(n, e)
    numbers = rsa.RSAPrivateNumbers(
        p=p, q=q, d=d, dmp1=dmp1, dmq1=dmq1, iqmp=iqmp, public_numbers=rsa.RSAPublicNumbers(e, n)
    )
    _check_rsa(numbers)
    try:
        return numbers.private_key(unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError) as error:
        raise ParseError(f"{_WHAT}: malformed: {error}", what=_WHAT) from error


def _check_rsa(numbers: rsa.RSAPrivateNumbers) -> None:
    """Check that the numbers of an RSA key belong together (RFC 8017 section 3.2); whether p and q are prime is not.

    A key that fails leaks its factors with the first signature.
    """
    p, q, d = numbers.p, numbers.q, numbers.d
    public = numbers.public_numbers
    if (
        p < 3
        or q < 3
        or p * q != public.n
        or not 0 < d < public.n
        or (numbers.dmp1, numbers.dmq1) != (d % (p - 1), d % (q - 1))
        or public.e * numbers.dmp1 % (p - 1) != 1  # with the next: e * d is 1 modulo both, so modulo their lcm
        or public.e * numbers.dmq1 % (q - 1) != 1
        or not 0 < numbers.iqmp < p
        or numbers.iqmp * q % p != 1
    ):
        raise ParseError(f"{_WHAT}: its numbers do not belong together; the key is damaged", what=_WHAT)


def _read_ec(data: bytes, curve: ec.EllipticCurve | None) -> ec.EllipticCurvePrivateKey:
    """Read an ECPrivateKey (RFC 5915); a public key in it must be the one that follows from the secret."""
    reader = der.parse_one(data, what=_WHAT)
    if reader.integer() != 1:
        raise ParseError(f"{_WHAT}: this version of EC keys is not known", what=_WHAT)
    secret = int.from_bytes(reader.octet_string(), "big")
    if reader.peek() == der.context(0):
        named = _read_curve(reader.enter(der.context(0)))
        if curve is not None and curve.name != named.name:
            raise ParseError(f"{_WHAT}: it names two curves", what=_WHAT)
        curve = named
    if curve is None:
        raise ParseError(f"{_WHAT}: an EC key without its curve", what=_WHAT)
    try:
        key = ec.derive_private_key(secret, curve)
        if reader.peek() == der.context(1):
            stated = ec.EllipticCurvePublicKey.from_encoded_point(curve, reader.enter(der.context(1)).bit_string())
            if stated != key.public_key():
                raise ParseError(f"{_WHAT}: its two halves do not belong together; the key is damaged", what=_WHAT)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ParseError(f"{_WHAT}: malformed EC key: {error}", what=_WHAT) from error
    reader.finish()
    return key


def _read_curve(reader: der.Reader) -> ec.EllipticCurve:
    if reader.peek() != der.OID:
        _refuse(
            CredentialProblem.UNSUPPORTED_KEY,
            "an EC key must name its curve; explicit parameters can describe a broken one",
            "make a key with: openssl ecparam -name prime256v1 -genkey -noout",
        )
    oid = reader.oid()
    curve = _CURVES.get(oid)
    if curve is None:
        _refuse(CredentialProblem.UNSUPPORTED_KEY, f"curve {oid} is none of P-256, P-384, P-521")
    return curve


@lru_cache(maxsize=KNOWN_PUBLIC_KEYS)
def parse_public_key(spki: bytes, *, min_rsa_bits: int = MIN_RSA_BITS) -> PublicKey:
    """Return the public key in a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), judged by `check_public_key`.

    Args:
        spki: The key, DER.
        min_rsa_bits: Smallest RSA key to take, where a site asks for more than 2048 bits, or has decided to take less;
            under `LEAST_RSA_BITS` it has no effect.

    Raises:
        ParseError: Not a SubjectPublicKeyInfo.
        CredentialError: WEAK_KEY or UNSUPPORTED_KEY, as `check_public_key`, and explicit curve parameters.
    """
    what = "public key"
    outer = der.parse_one(spki, what=what)
    algorithm = outer.sequence()
    oid = algorithm.oid()
    content = outer.bit_string()
    outer.finish()
    try:
        if oid == _RSA:
            numbers = der.parse_one(content, what=what)
            n, e = numbers.integer(), numbers.integer()
            numbers.finish()
            _check_rsa_public(n, e, max(min_rsa_bits, LEAST_RSA_BITS))
            return rsa.RSAPublicNumbers(e, n).public_key()
        if oid == _EC:
            return ec.EllipticCurvePublicKey.from_encoded_point(_read_curve(algorithm), content)
        if oid == _ED25519:
            return ed25519.Ed25519PublicKey.from_public_bytes(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ParseError(f"{what}: malformed: {error}", what=what) from error
    _refuse(CredentialProblem.UNSUPPORTED_KEY, f"{what}: algorithm {oid} is not one of RSA, EC, Ed25519")


# --- judging ----------------------------------------------------------------------------------------------------------


def check_public_key(key: object) -> None:
    """Refuse a key that must not sign for anyone: RSA under 2048 or over 16384 bits, small or even exponents, curves.

    Raises:
        CredentialError: WEAK_KEY: too short, or an exponent below 65537 (1, 3 and 17 among them) or even.
            UNSUPPORTED_KEY: too long, an exponent over 64 bits, a curve other than P-256, P-384, P-521, another kind.
    """
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        _check_rsa_public(numbers.n, numbers.e)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        _curve_oid(key.curve)
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        _refuse(CredentialProblem.UNSUPPORTED_KEY, "the key is neither RSA nor a named curve nor Ed25519")


def _check_rsa_public(n: int, e: int, min_bits: int = MIN_RSA_BITS) -> None:
    bits = n.bit_length()
    if n < 0 or bits < min_bits:
        _refuse(
            CredentialProblem.WEAK_KEY,
            f"an RSA key of {bits} bits is too weak; at least {min_bits} bits are required",
            f"make one of at least {min_bits} bits",
        )
    if bits > MAX_RSA_BITS:
        _refuse(CredentialProblem.UNSUPPORTED_KEY, f"an RSA key of {bits} bits is over the limit of {MAX_RSA_BITS}")
    if n % 2 == 0:
        _refuse(CredentialProblem.WEAK_KEY, "an RSA key with an even modulus is no key")
    if e.bit_length() > MAX_EXPONENT_BITS:
        _refuse(
            CredentialProblem.UNSUPPORTED_KEY,
            f"an RSA key with an exponent of {e.bit_length()} bits is over the limit of {MAX_EXPONENT_BITS}",
        )
    if e < MIN_EXPONENT or e % 2 == 0:
        _refuse(
            CredentialProblem.WEAK_KEY,
            f"an RSA key with exponent {e} is not safe",
            "make a key with the usual exponent 65537",
        )


def key_bits(key: object) -> int:
    """Return the size that `openssl` prints for a public key: the modulus, the field of the curve, 253 for Ed25519.

    Raises:
        CredentialError: UNSUPPORTED_KEY for another kind.
    """
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.key_size
    if isinstance(key, ed25519.Ed25519PublicKey):
        return 253
    _refuse(CredentialProblem.UNSUPPORTED_KEY, "the key is neither RSA nor EC nor Ed25519")


def is_rsa(key: PrivateKey | PublicKey) -> bool:
    """Tell whether a key is an RSA key."""
    return isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey)


def spki_der(key: PrivateKey | PublicKey) -> bytes:
    """Return the SubjectPublicKeyInfo of a key, DER; the point of an EC key uncompressed.

    Raises:
        CredentialError: UNSUPPORTED_KEY: a curve other than P-256, P-384, P-521.
    """
    public = key.public_key() if isinstance(key, PrivateKey) else key
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        content = der.encode_sequence(der.encode_integer(numbers.n), der.encode_integer(numbers.e))
        return der.encode_sequence(_RSA_KEY, der.encode_bit_string(content))
    if isinstance(public, ed25519.Ed25519PublicKey):
        return der.encode_sequence(_ED25519_KEY, der.encode_bit_string(public.public_bytes_raw()))
    return der.encode_sequence(_ec_algorithm(public.curve), der.encode_bit_string(_point(public)))


def _ec_algorithm(curve: ec.EllipticCurve) -> bytes:
    return _algorithm(_EC, der.encode_oid(_curve_oid(curve)))


def _curve_oid(curve: ec.EllipticCurve) -> str:
    oid = _CURVE_OIDS.get(curve.name)
    if oid is None:
        _refuse(CredentialProblem.UNSUPPORTED_KEY, f"curve {curve.name} is none of P-256, P-384, P-521")
    return oid


def _point(public: ec.EllipticCurvePublicKey) -> bytes:
    size = (public.curve.key_size + 7) // 8
    numbers = public.public_numbers()
    return b"\x04" + numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")


def same_key(private: PrivateKey, spki: bytes) -> bool:
    """Tell whether a private key belongs to this SubjectPublicKeyInfo, however that is written.

    A SubjectPublicKeyInfo that cannot be read belongs to no key.
    """
    if spki_der(private) == spki:
        return True
    try:
        return bool(private.public_key() == parse_public_key(spki))  # a compressed point, or missing NULL parameters
    except (ParseError, CredentialError):
        return False


# --- writing ----------------------------------------------------------------------------------------------------------


def encode_private_key(key: PrivateKey, *, passphrase: Passphrase | None = None, traditional: bool = False) -> bytes:
    """Return the key as one PEM block.

    Args:
        key: The key.
        passphrase: Locks it, as `gsi.keylocks.lock` says; every OpenSSL since 1.1 opens it. None writes it open.
        traditional: `RSA PRIVATE KEY` and `EC PRIVATE KEY`, for old readers, instead of PKCS#8. Ed25519 has no such
            form and is written as PKCS#8.

    Raises:
        CredentialError: An empty pass phrase, or one together with `traditional`, whose locking is one round of MD5.
    """
    if traditional and passphrase is not None:
        _refuse(
            CredentialProblem.UNSUPPORTED_KEY,
            "the traditional key format is not locked safely",
            "leave out the pass phrase or write PKCS#8",
        )
    if isinstance(key, rsa.RSAPrivateKey):
        label, algorithm, content = "RSA PRIVATE KEY", _RSA_KEY, _encode_rsa(key)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        label, algorithm = "EC PRIVATE KEY", _ec_algorithm(key.curve)
        content = _encode_ec(key, named=traditional)
    else:
        label, algorithm, content = "", _ED25519_KEY, der.encode_octet_string(key.private_bytes_raw())
    if traditional and label:
        return encode_pem(label, content)
    info = der.encode_sequence(der.encode_integer(0), algorithm, der.encode_octet_string(content))
    if passphrase is not None:
        return encode_pem("ENCRYPTED PRIVATE KEY", keylocks.lock(info, passphrase))
    return encode_pem("PRIVATE KEY", info)


def _encode_rsa(key: rsa.RSAPrivateKey) -> bytes:
    one = key.private_numbers()
    public = one.public_numbers
    numbers = (0, public.n, public.e, one.d, one.p, one.q, one.dmp1, one.dmq1, one.iqmp)
    return der.encode_sequence(*map(der.encode_integer, numbers))


def _encode_ec(key: ec.EllipticCurvePrivateKey, *, named: bool) -> bytes:
    """Return an ECPrivateKey; inside PKCS#8 the curve stands outside, as OpenSSL writes it."""
    secret = key.private_numbers().private_value.to_bytes((key.curve.key_size + 7) // 8, "big")
    curve = der.encode_explicit(0, der.encode_oid(_curve_oid(key.curve))) if named else b""
    public = der.encode_explicit(1, der.encode_bit_string(_point(key.public_key())))
    return der.encode_sequence(der.encode_integer(1), der.encode_octet_string(secret), curve, public)
