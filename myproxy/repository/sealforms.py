"""The byte layout of keys at rest; neither encryption (`seal`, `serverkeys`) nor where they are kept.

    form = parse_form(describe_form(blob))          # method, price, server key: what an index can hold
    is_sealed(blob), read_price(blob)               # from the beginning alone, also below a server key

Numbers are big-endian. An inner blob:

    offset 0   4 bytes  magic "MPSK"
           4   1        format version, 1
           5   1        layer: 0
           6   1        method
    method 0, not sealed (a credential stored without a pass phrase, for renewal):
           7   n        the key
    method 1, argon2id + AES-256-GCM:
           7   4        argon2 memory in KiB
          11   4        argon2 iterations
          15   1        argon2 lanes
          16  16        salt
          32  12        nonce
          44  n+16      ciphertext and tag
    method 2, locked by its owner:
           7   n        the key's PEM block as its owner had locked it: the server has never known the pass phrase
    method 3, as method 1 with a copy that the C server can open:
           7  37        as method 1
          44   4        length of ciphertext and tag
          48  n+16      ciphertext and tag
              m         the key's PEM block, locked by scrypt under the same pass phrase
    method 4, in clear with the crypt(3) hash of its pass phrase (old stores of the C server):
           7  13        the hash
          20   n        the key

An outer blob holds an inner one, encrypted under a key of the server:

           4   1        format version, 1
           5   1        layer: 1
           6   1        the inner blob's method
           7   9        the inner blob's price: argon2's numbers, or the iterations of its owner's lock in the middle
          16   8        which server key
          24  16        salt
          40  12        nonce
          52  n+16      the inner blob, AES-256-GCM
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from gsi.errors import ConfigError, GridError, StorageError
from myproxy.repository.locks import lock_cost

__all__ = [
    "BARE",
    "GUARDED",
    "HEADER",
    "KEY_ID_BYTES",
    "LOCKED_BY_OWNER",
    "MAGIC",
    "MAX_KEY_BYTES",
    "OUTER",
    "PREFIX",
    "SEALED",
    "SEALED_WITH_COPY",
    "UNSEALED",
    "VERSION",
    "WRAPPED",
    "KeyForm",
    "SealParameters",
    "check_form",
    "damaged",
    "describe_form",
    "is_sealed",
    "is_wrapped",
    "method_of",
    "parse_form",
    "price_fields",
    "read_price",
    "server_key_id",
]

MAX_KEY_BYTES: Final = 65536
"""The largest key that is sealed or opened; an RSA key of 16384 bits takes 13 KiB as PEM."""

MAX_MEMORY_KIB: Final = 1024 * 1024
"""1 GiB: above every recommendation, below what would stop a server."""

MAX_ITERATIONS: Final = 64
"""Above every recommendation; a second or so at the default memory."""

MAX_LANES: Final = 16
"""Above every recommendation."""

MAGIC: Final = b"MPSK"
VERSION: Final = 1
BARE: Final = 0
WRAPPED: Final = 1
UNSEALED: Final = 0
SEALED: Final = 1
LOCKED_BY_OWNER: Final = 2
SEALED_WITH_COPY: Final = 3
GUARDED: Final = 4
KEY_ID_BYTES: Final = 8
PREFIX: Final = struct.Struct(">4sBBB")
PRICE: Final = struct.Struct(">4sBBBIIB")
HEADER: Final = struct.Struct(">4sBBBIIB16s12s")
OUTER: Final = struct.Struct(">4sBBBIIB8s16s12s")
_LAYERS: Final = frozenset({BARE, WRAPPED})
_METHODS: Final = frozenset(range(5))
_PRICED: Final = frozenset({SEALED, SEALED_WITH_COPY})


@dataclass(frozen=True, slots=True, order=True)
class SealParameters:
    """The price of a guess (argon2id, RFC 9106); the default is one of OWASP's equivalent choices.

    Attributes:
        memory_kib: Memory of a derivation in KiB.
        iterations: Passes over it.
        lanes: Degree of parallelism.
    """

    memory_kib: int = 7168
    iterations: int = 5
    lanes: int = 1

    def __post_init__(self) -> None:
        fits = (
            8 * self.lanes <= self.memory_kib <= MAX_MEMORY_KIB
            and 1 <= self.iterations <= MAX_ITERATIONS
            and 1 <= self.lanes <= MAX_LANES
        )
        if not fits:
            raise ConfigError("argon2id parameters are out of range")


@dataclass(frozen=True, slots=True)
class KeyForm:
    """How a key rests.

    Attributes:
        method: The inner blob's method, or None where the blob cannot be read.
        price: What a guess costs, where the server has sealed it.
        lock_cost: How many iterations a guess costs, where its owner has locked it.
        server_key: The id of the server key around it, hexadecimal, or None.
    """

    method: int | None
    price: SealParameters | None = None
    lock_cost: int | None = None
    server_key: str | None = None


def check_form(blob: bytes) -> tuple[int, int]:
    """Return layer and method of a blob.

    Raises:
        StorageError: The blob is damaged or of a kind this version does not know.
    """
    if len(blob) < PREFIX.size:
        raise damaged("it is cut short")
    magic, version, layer, method = PREFIX.unpack_from(blob)
    if magic != MAGIC:
        raise damaged("it does not start with the right mark")
    if version != VERSION or layer not in _LAYERS or method not in _METHODS:
        raise StorageError(
            f"a stored key has format {version}.{layer}.{method}, which this version does not know",
            hint="it was written by a newer version",
        )
    if layer == WRAPPED and len(blob) < OUTER.size:
        raise damaged("it is cut short")
    return layer, method


def is_sealed(blob: bytes) -> bool:
    """Say whether a blob needs a pass phrase.

    Raises:
        StorageError: The blob is damaged or of a kind this version does not know.
    """
    return check_form(blob)[1] != UNSEALED


def is_wrapped(blob: bytes) -> bool:
    """Say whether a blob lies under a server key; raises as `is_sealed`."""
    return check_form(blob)[0] == WRAPPED


def method_of(blob: bytes) -> int:
    """Return the method of the (inner) blob; raises as `is_sealed`."""
    return check_form(blob)[1]


def server_key_id(blob: bytes) -> bytes | None:
    """Return which server key a blob lies under, None for none; raises as `is_sealed`."""
    if not is_wrapped(blob):
        return None
    found: bytes = OUTER.unpack_from(blob)[7]
    return found


def read_price(blob: bytes) -> SealParameters | None:
    """Return what opening a blob costs; None when the server has not sealed it, or it is damaged."""
    try:
        _, method = check_form(blob)
        if method not in _PRICED or len(blob) < PRICE.size:
            return None
        memory_kib, iterations, lanes = PRICE.unpack_from(blob)[4:]
        return SealParameters(memory_kib, iterations, lanes)
    except GridError:
        return None


def price_fields(inner: bytes) -> tuple[int, int, int]:
    """Return what an outer blob tells of its inner blob's price."""
    price = read_price(inner)
    if price is not None:
        return price.memory_kib, price.iterations, price.lanes
    return 0, _lock_cost(inner) or 0, 0


def describe_form(blob: bytes) -> str:
    """Return the form of a blob as a short text, the same for all blobs of one form; '?' for what is none."""
    try:
        layer, method = check_form(blob)
    except StorageError:
        return "?"
    text = str(method)
    if (price := read_price(blob)) is not None:
        text += f":{price.memory_kib}/{price.iterations}/{price.lanes}"
    elif method == LOCKED_BY_OWNER:
        text += f":{_lock_cost(blob) or 0}"
    return text if layer == BARE else f"{text}@{(server_key_id(blob) or b'').hex()}"


def parse_form(text: str) -> KeyForm:
    """Return what `describe_form` said; what cannot be read has no method."""
    form, _, server_key = text.partition("@")
    method, _, numbers = form.partition(":")
    try:
        counts = [int(number) for number in numbers.split("/") if number]
        return KeyForm(
            int(method),
            SealParameters(*counts) if len(counts) == 3 else None,
            counts[0] if len(counts) == 1 else None,
            server_key or None,
        )
    except (ValueError, ConfigError):
        return KeyForm(None)


def _lock_cost(blob: bytes) -> int | None:
    """Return the iterations of an owner's lock, None where they do not count or cannot be told."""
    layer, method = check_form(blob)
    if method != LOCKED_BY_OWNER:
        return None
    if layer == WRAPPED:
        iterations: int = OUTER.unpack_from(blob)[5]
        return iterations
    return lock_cost(blob[PREFIX.size :])


def damaged(why: str) -> StorageError:
    """Return the error for a blob that cannot be what it should be."""
    return StorageError(f"a stored key is damaged: {why}")
