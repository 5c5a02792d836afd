"""Private keys at rest: argon2id and AES-256-GCM under the holder's pass phrase; not where the result is kept.

    sealer = Sealer(SealParameters())
    blob = sealer.seal(key_pem, passphrase, place)
    sealer.open(blob, passphrase, place)            # AuthenticationError: 'invalid credential passphrase'

Format, version 1 (numbers big-endian):

    offset 0   4 bytes  magic "MPSK"
           4   1        format version, 1
           5   1        outer layer: 0 none; other values are kept for a server key around all of this
           6   1        method: 0 = not sealed, 1 = argon2id + AES-256-GCM, 2 = locked by its owner
    method 1:
           7   4        argon2 memory in KiB
          11   4        argon2 iterations
          15   1        argon2 lanes
          16  16        salt
          32  12        nonce
          44  n+16      ciphertext and tag
    method 0:
           7   n        the key (a credential stored without a pass phrase, for renewal)
    method 2:
           7   n        the key's PEM block as its owner had locked it: the server has never known the pass phrase.
                        It is sealed by method 1 once the right pass phrase has been given (`is_current`)

The additional authenticated data are the 44 bytes of the header and the `Place`: user name, credential name, owner and
the SHA-256 of the leaf certificate, each after its length. So a blob opens only in the row that it was made for, and
nobody can weaken the parameters of an existing one. Parameters are bounded when read, so that a damaged or hostile row
cannot ask for gigabytes.

A derivation costs about 15 ms and 7 MiB. It runs outside the interpreter lock; `Sealer` bounds how many run at once.

After the administrator has changed the price, rows of several prices lie in the store. Then every attempt does one
derivation of each price in use, whether it opens a row of one of them or pretends for a row that is not there: to pay
the dearest only, and fill up cheaper ones, would be less work but not the same duration, since memory and passes do not
weigh alike. A row is sealed anew at its owner's next logon, so the extra work goes away (`is_current`).
"""

from __future__ import annotations

import os
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from gsi import keys, pem
from gsi.errors import AuthenticationError, ConfigError, CredentialError, CredentialProblem, ParseError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gsi.secret import Passphrase

__all__ = [
    "INVALID_PASSPHRASE",
    "MAX_KEY_BYTES",
    "PRICE_BYTES",
    "Place",
    "SealParameters",
    "Sealer",
    "is_sealed",
    "locked_block",
    "read_price",
]

INVALID_PASSPHRASE: Final = "invalid credential passphrase"
"""The one text for a wrong pass phrase; C clients and their scripts look for it."""

MAX_KEY_BYTES: Final = 65536
"""The largest key that is sealed or opened; an RSA key of 16384 bits takes 13 KiB as PEM."""

MAX_MEMORY_KIB: Final = 1024 * 1024
"""1 GiB: above every recommendation, below what would stop a server."""

MAX_ITERATIONS: Final = 64
"""Above every recommendation; a second or so at the default memory."""

MAX_LANES: Final = 16
"""Above every recommendation."""

PRICE_BYTES: Final = 16
"""How much of a blob's beginning `read_price` needs."""

_MAGIC: Final = b"MPSK"
_VERSION: Final = 1
_NO_OUTER_LAYER: Final = 0
_UNSEALED: Final = 0
_ARGON2ID_AES256GCM: Final = 1
_LOCKED_BY_OWNER: Final = 2
_METHODS: Final = frozenset({_UNSEALED, _ARGON2ID_AES256GCM, _LOCKED_BY_OWNER})
_PREFIX: Final = struct.Struct(">4sBBB")
_PRICE: Final = struct.Struct(">4sBBBIIB")
_HEADER: Final = struct.Struct(">4sBBBIIB16s12s")
_KEY_BYTES: Final = 32
_TAG_BYTES: Final = 16


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
class Place:
    """The row that a blob belongs to; part of what is authenticated.

    Attributes:
        username: Account name.
        name: Credential name, or None.
        owner: Owner in the one-line form.
        fingerprint: SHA-256 of the leaf certificate, as hexadecimal text.
    """

    username: str
    name: str | None
    owner: str
    fingerprint: str

    def encode(self) -> bytes:
        """Return the fields, each after its length; an absent name differs from every present one."""
        parts = [self.username, self.owner, self.fingerprint]
        if self.name is not None:
            parts.append(self.name)
        encoded = [part.encode("utf-8", "surrogateescape") for part in parts]
        return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


class Sealer:
    """Seals and opens keys with a bounded number of derivations at once. Safe for use by several threads."""

    def __init__(
        self, parameters: SealParameters, *, in_use: Iterable[SealParameters] = (), concurrency: int | None = None
    ) -> None:
        """Set what new seals cost.

        Args:
            parameters: The price of new seals.
            in_use: The prices of the seals that are in the store already.
            concurrency: How many derivations may run at once; one per processor by default.
        """
        self._parameters = parameters
        self._slots = threading.BoundedSemaphore(concurrency or os.cpu_count() or 1)
        self._prices = tuple(sorted({parameters, *in_use}))
        self._learning = threading.Lock()

    @property
    def prices(self) -> tuple[SealParameters, ...]:
        """Every price in use: that of new seals, of those in the store, and of those met since."""
        return self._prices

    def is_current(self, blob: bytes) -> bool:
        """Say whether a blob has the form and price of new ones, or none because it is not sealed."""
        return not is_sealed(blob) or read_price(blob) == self._parameters

    @staticmethod
    def keep(block: bytes) -> bytes:
        """Wrap a key that its owner has locked with a pass phrase of which the server knows nothing.

        Args:
            block: The key's PEM block.

        Raises:
            StorageError: The key is too large.
        """
        if len(block) > MAX_KEY_BYTES:
            raise StorageError(f"a private key of {len(block)} bytes is too large to be stored")
        return _PREFIX.pack(_MAGIC, _VERSION, _NO_OUTER_LAYER, _LOCKED_BY_OWNER) + block

    def seal(self, key: bytes, passphrase: Passphrase, place: Place) -> bytes:
        """Seal a key for one place; with an empty pass phrase it is only wrapped, for renewal without one.

        Raises:
            StorageError: The key is too large.
        """
        if len(key) > MAX_KEY_BYTES:
            raise StorageError(f"a private key of {len(key)} bytes is too large to be stored")
        if not passphrase:
            return _PREFIX.pack(_MAGIC, _VERSION, _NO_OUTER_LAYER, _UNSEALED) + key
        salt, nonce = os.urandom(16), os.urandom(12)
        cost = self._parameters
        header = _HEADER.pack(
            _MAGIC,
            _VERSION,
            _NO_OUTER_LAYER,
            _ARGON2ID_AES256GCM,
            cost.memory_kib,
            cost.iterations,
            cost.lanes,
            salt,
            nonce,
        )
        derived = self._derive(passphrase, salt, cost)
        return header + AESGCM(derived).encrypt(nonce, key, header + place.encode())

    def open(self, blob: bytes, passphrase: Passphrase, place: Place) -> bytes:
        """Return the key.

        An unsealed blob opens with the empty pass phrase only; any other is refused after the same work as a wrong
        one, so that the answer does not tell which credentials are sealed.

        Raises:
            AuthenticationError: The pass phrase is wrong, or the blob belongs to another place.
            StorageError: The blob is damaged or of a kind this version does not know.
        """
        if not is_sealed(blob):
            if passphrase:
                self.pretend(passphrase)
                raise AuthenticationError(INVALID_PASSPHRASE)
            return blob[_PREFIX.size :]
        if locked_block(blob) is not None:
            return self._unlock(blob, passphrase)
        if not _HEADER.size + _TAG_BYTES <= len(blob) <= _HEADER.size + _TAG_BYTES + MAX_KEY_BYTES:
            raise _damaged("its size is wrong")
        cost = read_price(blob)
        if cost is None:
            raise _damaged("its parameters are out of range")
        *_, salt, nonce = _HEADER.unpack_from(blob)
        derived = self._derive_each(passphrase, salt, cost)
        header, ciphertext = blob[: _HEADER.size], blob[_HEADER.size :]
        try:
            return AESGCM(derived).decrypt(nonce, ciphertext, header + place.encode())
        except InvalidTag as error:
            raise AuthenticationError(INVALID_PASSPHRASE) from error

    def pretend(self, passphrase: Passphrase) -> None:
        """Do the work of opening for nothing, so that an absent credential takes as long as a wrong guess."""
        self._derive_each(passphrase, bytes(16), self._parameters)

    def _unlock(self, blob: bytes, passphrase: Passphrase) -> bytes:
        """Open what its owner has locked, after the same work as anything else costs; its own comes on top."""
        self.pretend(passphrase)
        try:
            (block,) = pem.split_pem(blob[_PREFIX.size :], what="stored key")
            with self._slots:
                key = keys.parse_private_key(block, passphrase)
        except CredentialError as error:
            if error.problem in {CredentialProblem.WRONG_PASSPHRASE, CredentialProblem.NEEDS_PASSPHRASE}:
                raise AuthenticationError(INVALID_PASSPHRASE) from error
            raise _damaged(error.message) from error
        except (ParseError, ValueError) as error:
            raise _damaged("its PEM block cannot be read") from error
        return keys.encode_private_key(key)

    def _derive_each(self, passphrase: Passphrase, salt: bytes, cost: SealParameters) -> bytes:
        """Derive once at every price in use, in an order that tells nothing, and return what the one at `cost` gave."""
        with self._learning:
            if cost not in self._prices:  # another process has sealed it
                self._prices = tuple(sorted({cost, *self._prices}))
        derived = {price: self._derive(passphrase, salt, price) for price in self._prices}
        return derived[cost]

    def _derive(self, passphrase: Passphrase, salt: bytes, cost: SealParameters) -> bytes:
        derivation = Argon2id(
            salt=salt,
            length=_KEY_BYTES,
            iterations=cost.iterations,
            lanes=cost.lanes,
            memory_cost=cost.memory_kib,
        )
        with self._slots:
            return derivation.derive(passphrase.reveal())


def is_sealed(blob: bytes) -> bool:
    """Say whether a blob needs a pass phrase.

    Raises:
        StorageError: The blob is damaged or of a kind this version does not know.
    """
    if len(blob) < _PREFIX.size:
        raise _damaged("it is cut short")
    magic, version, layer, method = _PREFIX.unpack_from(blob)
    if magic != _MAGIC:
        raise _damaged("it does not start with the right mark")
    if version != _VERSION or layer != _NO_OUTER_LAYER or method not in _METHODS:
        raise StorageError(
            f"a stored key has format {version}.{layer}.{method}, which this version does not know",
            hint="it was written by a newer version",
        )
    return bool(method != _UNSEALED)


def locked_block(blob: bytes) -> bytes | None:
    """Return the PEM block of a key that its owner has locked, None when the blob is of another kind.

    Raises:
        StorageError: The blob is damaged or of a kind this version does not know.
    """
    return blob[_PREFIX.size :] if is_sealed(blob) and blob[6] == _LOCKED_BY_OWNER else None


def read_price(blob: bytes) -> SealParameters | None:
    """Return what opening a blob costs, from its first `PRICE_BYTES`; None when it is not sealed, or damaged."""
    if len(blob) < _PRICE.size:
        return None
    magic, version, layer, method, memory_kib, iterations, lanes = _PRICE.unpack_from(blob)
    if (magic, version, layer, method) != (_MAGIC, _VERSION, _NO_OUTER_LAYER, _ARGON2ID_AES256GCM):
        return None
    try:
        return SealParameters(memory_kib, iterations, lanes)
    except ConfigError:
        return None


def _damaged(why: str) -> StorageError:
    return StorageError(f"a stored key is damaged: {why}")
