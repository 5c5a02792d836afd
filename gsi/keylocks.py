"""Private keys under a pass phrase (PKCS#8, RFC 5958 section 3, and the older PEM form); knows not what kind of key.

    locked_der = lock(private_key_info_der, passphrase)
    private_key_info_der = unlock(locked_der, passphrase)     # None: a form that is left to the cryptography library

`kdf_cost` bounds what a try costs before the first try. The common form, PBES2 with PBKDF2 and AES or 3DES in CBC mode
(RFC 8018), is opened here: that costs 2 ms of start-up instead of 7, and shows the key before a decoder meets it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import der
from gsi.errors import CredentialError, CredentialProblem, ParseError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherAlgorithm

    from gsi.secret import Passphrase

__all__ = [
    "MAX_KDF_ITERATIONS",
    "MAX_SCRYPT_BYTES",
    "MAX_SCRYPT_WORK",
    "WRONG_PASSPHRASE_HINT",
    "WRONG_PASSPHRASE_TEXT",
    "check_kdf_cost",
    "kdf_cost",
    "lock",
    "unlock",
    "unlock_traditional",
]

MAX_KDF_ITERATIONS: Final = 10_000_000  # some 5 s; OWASP asks for 600,000, OpenSSL writes 2,048
MAX_SCRYPT_BYTES: Final = 256 << 20  # OpenSSL writes 16 MiB
MAX_SCRYPT_WORK: Final = 8 << 20  # N * r * p, some 5 s; OpenSSL writes 1/64 of it
PBKDF2_ITERATIONS: Final = 600_000  # OWASP's figure for HMAC-SHA-256; the C tools read any number
_MAX_SALT_BYTES: Final = 1024  # 8 to 16 are in use

_PBES2: Final = "1.2.840.113549.1.5.13"
_PBKDF2: Final = "1.2.840.113549.1.5.12"
_SCRYPT: Final = "1.3.6.1.4.1.11591.4.11"
_PBE_ARCS: Final = ("1.2.840.113549.1.5.", "1.2.840.113549.1.12.1.")  # PBES1 and PKCS#12 forms: salt and iterations
_HMAC_SHA1: Final = "1.2.840.113549.2.7"
_HMAC_SHA256: Final = "1.2.840.113549.2.9"
_HMACS: Final = {
    _HMAC_SHA1: "sha1",  # PBKDF2's default, in every older file; as a pseudo-random function it is not broken
    "1.2.840.113549.2.8": "sha224",
    _HMAC_SHA256: "sha256",
    "1.2.840.113549.2.10": "sha384",
    "1.2.840.113549.2.11": "sha512",
}
_AES_256_CBC: Final = "2.16.840.1.101.3.4.1.42"
_KEY_BYTES: Final = {
    "2.16.840.1.101.3.4.1.2": 16,
    "2.16.840.1.101.3.4.1.22": 24,
    _AES_256_CBC: 32,
    "1.2.840.113549.3.7": 24,  # 3DES
}
_TRIPLE_DES: Final = "1.2.840.113549.3.7"
_PEM_CIPHERS: Final = {
    "DES-EDE3-CBC": _TRIPLE_DES,
    "AES-128-CBC": "2.16.840.1.101.3.4.1.2",
    "AES-192-CBC": "2.16.840.1.101.3.4.1.22",
    "AES-256-CBC": _AES_256_CBC,
}
_WHAT: Final = "private key"
_NEEDS: Final = f"{_WHAT}: locked with a pass phrase, and none was given"
WRONG_PASSPHRASE_TEXT: Final = f"{_WHAT}: the pass phrase is wrong, or the key is damaged"
WRONG_PASSPHRASE_HINT: Final = "type it again; a forgotten one cannot be recovered, only a new certificate be requested"


class _Scheme(NamedTuple):
    """An encryption AlgorithmIdentifier, read."""

    cost: int
    prf: str | None = None
    salt: bytes = b""
    cipher: str = ""
    vector: bytes = b""


def _unsupported(message: str, hint: str | None = None) -> CredentialError:
    return CredentialError(f"{_WHAT}: {message}", problem=CredentialProblem.UNSUPPORTED_KEY, hint=hint)


def kdf_cost(algorithm_der: bytes) -> int:
    """Return how many iterations it takes to try one pass phrase against this encryption AlgorithmIdentifier.

    Known are PBES2 with PBKDF2 or scrypt (RFC 8018, RFC 7914), PBES1 and the PKCS#12 forms. scrypt is counted as one
    per unit of N * r * p.

    Raises:
        ParseError: Not such a value.
        CredentialError: UNSUPPORTED_KEY: another method, or more than `MAX_KDF_ITERATIONS`, `MAX_SCRYPT_BYTES` or
            `MAX_SCRYPT_WORK`.
    """
    return _read_scheme(algorithm_der).cost


def check_kdf_cost(count: int) -> int:
    """Return a number of iterations that is within bounds.

    Raises:
        CredentialError: UNSUPPORTED_KEY: it is not between 1 and `MAX_KDF_ITERATIONS`.
    """
    if not 0 < count <= MAX_KDF_ITERATIONS:
        raise _unsupported(
            f"the number of key derivation rounds is not between 1 and {MAX_KDF_ITERATIONS}",
            "write it anew with a usual number: openssl pkcs8 -topk8 -in KEY -out NEW",
        )
    return count


def _read_scheme(algorithm_der: bytes) -> _Scheme:
    reader = der.parse_one(algorithm_der, what=_WHAT)
    method = reader.oid()
    if method != _PBES2:
        if not method.startswith(_PBE_ARCS):
            raise _unsupported(f"locked by method {method}, which is not known")
        parameters = reader.sequence()
        parameters.octet_string()
        return _Scheme(check_kdf_cost(parameters.integer()))
    both = reader.sequence()
    derivation = both.sequence()
    method = derivation.oid()
    parameters = derivation.sequence()
    if method not in {_PBKDF2, _SCRYPT}:
        raise _unsupported(f"key derivation {method} is not known")
    salt = parameters.octet_string()
    if len(salt) > _MAX_SALT_BYTES:
        raise _unsupported(f"a salt of {len(salt)} bytes")
    if method == _SCRYPT:
        n, r, p = parameters.integer(), parameters.integer(), parameters.integer()
        if min(n, r, p) < 1 or 128 * n * r > MAX_SCRYPT_BYTES or n * r * p > MAX_SCRYPT_WORK:
            raise _unsupported("scrypt with these numbers costs too much memory or time")
        if n < 2 or n & (n - 1) or n.bit_length() > 16 * r:  # RFC 7914 section 2: a power of two below 2^(128 * r / 8)
            raise _unsupported("scrypt with a cost that it does not have")
        return _Scheme(n * r * p)
    cost = check_kdf_cost(parameters.integer())
    if parameters.peek() == der.INTEGER:
        parameters.integer()  # the key length, which the cipher fixes
    prf = _HMAC_SHA1 if parameters.at_end() else parameters.sequence().oid()
    cipher = both.sequence()
    name = cipher.oid()
    vector = cipher.octet_string() if name in _KEY_BYTES else b""
    return _Scheme(cost, prf, salt, name, vector)


def unlock(data: bytes, passphrase: Passphrase | None) -> bytes | None:
    """Return the PrivateKeyInfo inside an EncryptedPrivateKeyInfo, or None when another decoder must open it.

    A wrong pass phrase can, once in some 256 times, give bytes that are no PrivateKeyInfo; it is then for the caller to
    see that.

    Raises:
        ParseError: Not an EncryptedPrivateKeyInfo.
        CredentialError: NEEDS_PASSPHRASE, WRONG_PASSPHRASE (or damaged: the two look alike), and as `kdf_cost`.
    """
    outer = der.parse_one(data, what=_WHAT)
    scheme = _read_scheme(outer.take_raw(der.SEQUENCE))
    locked = outer.octet_string()
    outer.finish()
    if passphrase is None:
        raise CredentialError(_NEEDS, problem=CredentialProblem.NEEDS_PASSPHRASE)
    digest = _HMACS.get(scheme.prf or "")
    size = _KEY_BYTES.get(scheme.cipher)
    if digest is None or size is None:
        return None
    derived = hashlib.pbkdf2_hmac(digest, passphrase.reveal(), scheme.salt, scheme.cost, size)
    return _decrypt(locked, scheme.cipher, derived, scheme.vector)


def unlock_traditional(data: bytes, dek_info: str, passphrase: Passphrase | None) -> bytes:
    """Return the key inside a block with `Proc-Type: 4,ENCRYPTED`, as OpenSSL wrote them before PKCS#8.

    The key of the cipher is one round of MD5 over pass phrase and salt, so this lock holds nobody off for long.

    Args:
        data: The locked bytes.
        dek_info: The value of the DEK-Info header: cipher, comma, vector in hexadecimal.
        passphrase: Opens it.

    Raises:
        ParseError: The header or the length is malformed.
        CredentialError: UNSUPPORTED_KEY (another cipher than 3DES or AES), NEEDS_PASSPHRASE, WRONG_PASSPHRASE.
    """
    name, _, digits = dek_info.partition(",")
    cipher = _PEM_CIPHERS.get(name.strip())
    if cipher is None:
        raise _unsupported(
            f"locked with {name[:40] or 'an unnamed cipher'}, which is not read",
            "write it anew: openssl pkcs8 -topk8 -in KEY -out NEW",
        )
    try:
        vector = bytes.fromhex(digits.strip())
    except ValueError as error:
        raise ParseError(f"{_WHAT}: malformed DEK-Info header", what=_WHAT) from error
    if passphrase is None:
        raise CredentialError(_NEEDS, problem=CredentialProblem.NEEDS_PASSPHRASE)
    derived = last = b""
    while len(derived) < _KEY_BYTES[cipher]:
        last = hashlib.md5(last + passphrase.reveal() + vector[:8], usedforsecurity=False).digest()
        derived += last
    return _decrypt(data, cipher, derived[: _KEY_BYTES[cipher]], vector)


def _decrypt(locked: bytes, cipher: str, derived: bytes, vector: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    width = 8 if cipher == _TRIPLE_DES else 16
    if len(vector) != width or not locked or len(locked) % width:
        raise ParseError(f"{_WHAT}: the locked bytes or their vector are cut off", what=_WHAT)
    decryptor = Cipher(_block_cipher(cipher, derived), modes.CBC(vector)).decryptor()
    content = decryptor.update(locked) + decryptor.finalize()
    padding = content[-1]
    if not 1 <= padding <= width or content[-padding:] != bytes((padding,)) * padding:
        raise CredentialError(
            WRONG_PASSPHRASE_TEXT, problem=CredentialProblem.WRONG_PASSPHRASE, hint=WRONG_PASSPHRASE_HINT
        )
    return content[:-padding]


def _block_cipher(oid: str, key: bytes) -> CipherAlgorithm:
    if oid == _TRIPLE_DES:
        from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

        return TripleDES(key)
    from cryptography.hazmat.primitives.ciphers.algorithms import AES

    return AES(key)


def lock(content: bytes, passphrase: Passphrase) -> bytes:
    """Return an EncryptedPrivateKeyInfo: PBKDF2-HMAC-SHA-256 over 600,000 rounds, AES-256-CBC, random salt and vector.

    Raises:
        CredentialError: WRONG_PASSPHRASE: the pass phrase is empty.
    """
    if not passphrase:
        raise CredentialError(
            "a private key is not locked with an empty pass phrase", problem=CredentialProblem.WRONG_PASSPHRASE
        )
    from secrets import token_bytes

    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    salt, vector = token_bytes(16), token_bytes(16)
    derived = hashlib.pbkdf2_hmac("sha256", passphrase.reveal(), salt, PBKDF2_ITERATIONS, 32)
    padding = 16 - len(content) % 16
    encryptor = Cipher(_block_cipher(_AES_256_CBC, derived), modes.CBC(vector)).encryptor()
    locked = encryptor.update(content + bytes((padding,)) * padding) + encryptor.finalize()
    prf = der.encode_sequence(der.encode_oid(_HMAC_SHA256), b"\x05\x00")
    derivation = der.encode_sequence(
        der.encode_oid(_PBKDF2),
        der.encode_sequence(der.encode_octet_string(salt), der.encode_integer(PBKDF2_ITERATIONS), prf),
    )
    cipher = der.encode_sequence(der.encode_oid(_AES_256_CBC), der.encode_octet_string(vector))
    scheme = der.encode_sequence(der.encode_oid(_PBES2), der.encode_sequence(derivation, cipher))
    return der.encode_sequence(scheme, der.encode_octet_string(locked))
