"""argon2id (RFC 9106) by what is fastest on this machine; neither its price (`sealforms`) nor how often (`seal`).

    derived = derive(secret, salt, SealParameters())

All implementations give the same bytes, and an attacker takes the fastest anyway. libsodium's uses AVX2 and AVX-512 and
needs about half the time of OpenSSL's, which `cryptography` has. So libsodium is used where it is installed, does what
is asked (one lane), and has given a known answer when it was loaded; else `cryptography`, which is always there.
"""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

if TYPE_CHECKING:
    from myproxy.repository.sealforms import SealParameters

__all__ = ["KEY_BYTES", "derive", "is_fast"]

KEY_BYTES: Final = 32
"""What is derived: a key for AES-256."""

_LIBRARIES: Final = ("libsodium.so.23", "libsodium.so.26")
_SALT_BYTES: Final = 16
_ARGON2ID_13: Final = 2
_KNOWN: Final = (b"secret", b"sixteen bytes...", 8, 1)
_KNOWN_ANSWER: Final = bytes.fromhex("bafe48da42b8648634e3babb911723772dc89d4c925376e7b27fb14062948f2a")


def derive(secret: bytes, salt: bytes, cost: SealParameters) -> bytes:
    """Return a key of `KEY_BYTES`; runs outside the interpreter lock.

    Args:
        secret: What it is derived from.
        salt: 16 bytes.
        cost: The price.
    """
    if cost.lanes == 1 and is_fast():
        found = _by_libsodium(secret, salt, cost.memory_kib, cost.iterations)
        if found is not None:
            return found
    return Argon2id(
        salt=salt, length=KEY_BYTES, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib
    ).derive(secret)


@functools.cache
def is_fast() -> bool:
    """Say whether libsodium is there and right."""
    secret, salt, memory_kib, iterations = _KNOWN
    return _by_libsodium(secret, salt, memory_kib, iterations) == _KNOWN_ANSWER


def _by_libsodium(secret: bytes, salt: bytes, memory_kib: int, iterations: int) -> bytes | None:
    """Return the key, None where libsodium cannot: it is not there, or has not enough memory."""
    library = _load()
    if library is None or len(salt) != _SALT_BYTES:
        return None
    derived = ctypes.create_string_buffer(KEY_BYTES)
    price = iterations, memory_kib * 1024, _ARGON2ID_13
    failed = library.crypto_pwhash_argon2id(derived, KEY_BYTES, secret, len(secret), salt, *price)
    return None if failed else derived.raw


@functools.cache
def _load() -> ctypes.CDLL | None:
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
            function = library.crypto_pwhash_argon2id
            initialised = library.sodium_init()
        except (OSError, AttributeError):  # it is not there, or was built without it
            continue
        long, text = ctypes.c_ulonglong, ctypes.c_char_p
        function.argtypes = (text, long, text, long, text, long, ctypes.c_size_t, ctypes.c_int)
        return library if initialised >= 0 else None
    return None
