"""argon2id (RFC 9106) by the fastest implementation; neither its price (`sealforms`) nor how often (`seal`).

    derived = derive(secret, salt, SealParameters())

All implementations give the same bytes, and an attacker takes the fastest anyway. libsodium's uses AVX2 and needs about
half the time of OpenSSL's, which `cryptography` has; but it knows one lane alone. `SealParameters` of several lanes are
left to `cryptography`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from nacl.bindings import crypto_pwhash_alg, crypto_pwhash_ALG_ARGON2ID13
from nacl.exceptions import CryptoError

if TYPE_CHECKING:
    from myproxy.repository.sealforms import SealParameters

__all__ = ["KEY_BYTES", "derive"]

KEY_BYTES: Final = 32
"""What is derived: a key for AES-256."""


def derive(secret: bytes, salt: bytes, cost: SealParameters) -> bytes:
    """Return a key of `KEY_BYTES`; runs outside the interpreter lock.

    Args:
        secret: What it is derived from.
        salt: 16 bytes.
        cost: The price.

    Raises:
        MemoryError: There is not enough memory for the price.
    """
    if cost.lanes == 1:
        return _by_libsodium(secret, salt, cost)
    return Argon2id(
        salt=salt, length=KEY_BYTES, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib
    ).derive(secret)


def _by_libsodium(secret: bytes, salt: bytes, cost: SealParameters) -> bytes:
    memory = cost.memory_kib * 1024
    try:
        return crypto_pwhash_alg(KEY_BYTES, secret, salt, cost.iterations, memory, crypto_pwhash_ALG_ARGON2ID13)
    except CryptoError as error:  # nothing else is left that can fail
        raise MemoryError(f"argon2id of {cost.memory_kib} KiB failed") from error
