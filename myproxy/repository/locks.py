"""Locks that the server has not made, or not for itself: owners' PEM blocks, copies for the C server, crypt(3) hashes.

    check_lock(block)                               # CredentialError: a try would cost too much
    copy = lock_for_export(key_pem, passphrase)     # PKCS#8 under scrypt, which the C server's OpenSSL opens
    matches_crypt(hash, passphrase)                 # as very old stores of the C server kept pass phrases

A guess at what `lock_for_export` makes takes three times as long as one at the argon2id of `seal` at its default, in
twice the memory: scrypt with the numbers that OpenSSL writes, N=2^14, r=8, p=1.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hmac
import os
import threading
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

from gsi import der, keys, pem
from gsi.errors import CredentialError, CredentialProblem, GridError, ParseError, StorageError
from gsi.keylocks import kdf_cost

if TYPE_CHECKING:
    from gsi.pem import PEMBlock
    from gsi.secret import Passphrase

__all__ = [
    "CRYPT_BYTES",
    "MAX_UPLOADED_ITERATIONS",
    "check_lock",
    "is_crypt",
    "lock_cost",
    "lock_for_export",
    "matches_crypt",
    "open_lock",
]

MAX_UPLOADED_ITERATIONS: Final = 2_000_000
"""What one try of a pass phrase may cost on an uploaded key: a second. Its owner chooses it, but strangers may try."""

CRYPT_BYTES: Final = 13
"""The length of a DES hash of crypt(3): two characters of salt and eleven of hash."""

EXPORT_N: Final = 1 << 14
EXPORT_R: Final = 8
EXPORT_P: Final = 1

_PBES2: Final = "1.2.840.113549.1.5.13"
_SCRYPT: Final = "1.3.6.1.4.1.11591.4.11"
_SCRYPT_DER: Final = der.encode_oid(_SCRYPT)
_AES_256_CBC: Final = "2.16.840.1.101.3.4.1.42"
_CRYPT_CHARACTERS: Final = frozenset(b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_crypt_guard: Final = threading.Lock()


def check_lock(block: PEMBlock) -> None:
    """Insist that trying a pass phrase on a locked key costs no more than the server will pay.

    Raises:
        CredentialError: It does, or how it is locked is not known.
        ParseError: It cannot be read.
    """
    cost = _cost(block)
    if cost > MAX_UPLOADED_ITERATIONS:
        raise CredentialError(
            f"the key's lock costs {cost} iterations a try; at most {MAX_UPLOADED_ITERATIONS} are accepted",
            problem=CredentialProblem.UNSUPPORTED_KEY,
        )


def lock_cost(text: bytes) -> int | None:
    """Return how many iterations a try on a PEM block costs; None where that is not a count of hashes."""
    try:
        (block,) = pem.split_pem(text, what="stored key")
        return None if _SCRYPT_DER in block.data[:256] else _cost(block)
    except (GridError, ValueError):
        return None


def _cost(block: PEMBlock) -> int:
    if block.headers:  # the older form: one round of MD5
        return 0
    reader = der.Reader(block.data, what="locked private key").sequence()
    return kdf_cost(reader.take_raw(der.SEQUENCE))


def open_lock(text: bytes, passphrase: Passphrase) -> bytes:
    """Return the key in a PEM block that its owner has locked, as an open PEM block.

    Raises:
        CredentialError: WRONG_PASSPHRASE, NEEDS_PASSPHRASE, or it is no key that can be used.
        ParseError: It cannot be read.
    """
    try:
        (block,) = pem.split_pem(text, what="stored key")
    except ValueError as error:
        raise ParseError("not exactly one PEM block", what="stored key") from error
    return keys.encode_private_key(keys.parse_private_key(block, passphrase))


def lock_for_export(key: bytes, passphrase: Passphrase) -> bytes:
    """Return a key as a PEM block under its pass phrase that every OpenSSL since 1.1 opens.

    Args:
        key: The key as an open PEM block, PKCS#8.
        passphrase: Not empty.

    Raises:
        StorageError: It is no such block.
    """
    try:
        (block,) = pem.split_pem(key, what="key")
    except (ParseError, ValueError) as error:
        raise StorageError("a key cannot be locked: it is no PEM block") from error
    salt, vector = os.urandom(16), os.urandom(16)
    derived = Scrypt(salt, 32, EXPORT_N, EXPORT_R, EXPORT_P).derive(passphrase.reveal())
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(derived), modes.CBC(vector)).encryptor()
    locked = encryptor.update(padder.update(block.data) + padder.finalize()) + encryptor.finalize()
    numbers = map(der.encode_integer, (EXPORT_N, EXPORT_R, EXPORT_P))
    scrypt = der.encode_sequence(
        der.encode_oid(_SCRYPT), der.encode_sequence(der.encode_octet_string(salt), *numbers, der.encode_integer(32))
    )
    cipher = der.encode_sequence(der.encode_oid(_AES_256_CBC), der.encode_octet_string(vector))
    algorithm = der.encode_sequence(der.encode_oid(_PBES2), der.encode_sequence(scrypt, cipher))
    return pem.encode_pem("ENCRYPTED PRIVATE KEY", der.encode_sequence(algorithm, der.encode_octet_string(locked)))


def is_crypt(text: bytes) -> bool:
    """Say whether a text can be a DES hash of crypt(3)."""
    return len(text) == CRYPT_BYTES and _CRYPT_CHARACTERS.issuperset(text)


def matches_crypt(expected: bytes, passphrase: Passphrase) -> bool:
    """Say whether a pass phrase has this DES hash; only its first eight bytes count, as ever with crypt(3).

    Raises:
        StorageError: The C library has no crypt(3) with DES.
    """
    text = passphrase.reveal()
    if not is_crypt(expected) or b"\0" in text:
        return False
    library = ctypes.util.find_library("crypt")
    try:
        crypt = ctypes.CDLL(library or "libcrypt.so.1").crypt
    except (OSError, AttributeError) as error:
        raise StorageError("a pass phrase of an old store cannot be checked: there is no crypt(3) here") from error
    crypt.argtypes, crypt.restype = (ctypes.c_char_p, ctypes.c_char_p), ctypes.c_char_p
    with _crypt_guard:  # it keeps its answer in one place for all threads
        found: bytes | None = crypt(text, expected[:2])
    if found is None or len(found) != CRYPT_BYTES:
        raise StorageError("a pass phrase of an old store cannot be checked: crypt(3) knows no DES here")
    return hmac.compare_digest(found, expected)
