"""Private keys at rest: argon2id and AES-256-GCM under the holder's pass phrase; not where the result is kept.

    sealer = Sealer(SealParameters())
    blob = sealer.seal(key_pem, passphrase, place)
    sealer.open(blob, passphrase, place)            # AuthenticationError: 'invalid credential passphrase'

The layout is in `sealforms`, the keys of the server around it in `serverkeys`, locks of others' making in `locks`.

The additional authenticated data are the header and the `Place`: user name, credential name, owner and the SHA-256 of
the leaf certificate, each after its length. So a blob opens only in the row that it was made for, and nobody can weaken
the parameters of an existing one. Parameters are bounded when read, so that a damaged or hostile row cannot ask for
gigabytes.

A derivation costs 7 MiB and about 8 ms (`argon2`). It runs outside the interpreter lock; `Sealer` bounds how many run
at once.

After the administrator has changed the price, rows of several prices lie in the store. Then every attempt does one
derivation of each price in use, whether it opens a row of one of them or pretends for a row that is not there: to pay
the dearest only, and fill up cheaper ones, would be less work but not the same duration, since memory and passes do not
weigh alike. A row is sealed anew at its owner's next logon, so the extra work goes away (`is_current`).

A key that its owner has locked costs those derivations, too, and the lock's own iterations on top. Iterations of a hash
do weigh alike: while locks of up to `MAX_SHARED_ITERATIONS` are in use, every attempt at anything is filled up to the
dearest of them. A dearer lock, or one with scrypt, is its owner's choice and stays visible until its first logon.
"""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gsi.errors import AuthenticationError, CredentialError, CredentialProblem, ParseError, StorageError
from myproxy.repository.argon2 import derive
from myproxy.repository.locks import CRYPT_BYTES, lock_cost, lock_for_export, matches_crypt, open_lock
from myproxy.repository.sealforms import (
    BARE,
    GUARDED,
    HEADER,
    LOCKED_BY_OWNER,
    MAGIC,
    MAX_KEY_BYTES,
    PREFIX,
    SEALED,
    SEALED_WITH_COPY,
    UNSEALED,
    VERSION,
    SealParameters,
    damaged,
    is_sealed,
    method_of,
    read_price,
)
from myproxy.repository.serverkeys import ServerKeys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gsi.secret import Passphrase

__all__ = [
    "INVALID_PASSPHRASE",
    "MAX_KEY_BYTES",
    "MAX_SHARED_ITERATIONS",
    "ExportedKey",
    "Place",
    "SealParameters",
    "Sealer",
    "is_sealed",
    "read_price",
]

INVALID_PASSPHRASE: Final = "invalid credential passphrase"
"""The one text for a wrong pass phrase; C clients and their scripts look for it."""

MAX_SHARED_ITERATIONS: Final = 10_000
"""The dearest owner's lock that everybody pays for: 3 ms. OpenSSL writes 2,048."""

_TAG_BYTES: Final = 16
_SIZE: Final = 4


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


@dataclass(frozen=True, slots=True)
class ExportedKey:
    """A key as the C server keeps it.

    Attributes:
        block: Its PEM block: in clear, or locked with the pass phrase.
        crypt: The crypt(3) hash of the pass phrase of a key in clear, or None.
    """

    block: bytes
    crypt: bytes | None = None


class Sealer:
    """Seals and opens keys with a bounded number of derivations at once. Safe for use by several threads."""

    def __init__(
        self,
        parameters: SealParameters,
        *,
        in_use: Iterable[SealParameters] = (),
        locks_in_use: Iterable[int] = (),
        server_keys: ServerKeys | None = None,
        keeps_copies: bool = False,
        concurrency: int | None = None,
    ) -> None:
        """Set what new seals cost.

        Args:
            parameters: The price of new seals.
            in_use: The prices of the seals that are in the store already.
            locks_in_use: The iterations of owners' locks that are in the store already.
            server_keys: The keys of the server around everything; none by default.
            keeps_copies: Whether each new seal holds a copy that the C server could open.
            concurrency: How many derivations may run at once; one per processor by default.
        """
        self._parameters = parameters
        self._server_keys = server_keys or ServerKeys()
        self._method = SEALED_WITH_COPY if keeps_copies else SEALED
        self._slots = threading.BoundedSemaphore(concurrency or os.cpu_count() or 1)
        self._prices = tuple(sorted({parameters, *in_use}))
        self._shared_iterations = max((cost for cost in locks_in_use if cost <= MAX_SHARED_ITERATIONS), default=0)
        self._learning = threading.Lock()
        self._decoy = self._server_keys.wrap(PREFIX.pack(MAGIC, VERSION, BARE, UNSEALED) + bytes(2048), b"")

    @property
    def prices(self) -> tuple[SealParameters, ...]:
        """Every price in use: that of new seals, of those in the store, and of those met since."""
        return self._prices

    @property
    def server_keys(self) -> ServerKeys:
        """The keys of the server."""
        return self._server_keys

    def is_current(self, blob: bytes) -> bool:
        """Say whether a blob has the form, the price and the server key of new ones."""
        if not self._server_keys.is_current(blob):
            return False
        return not is_sealed(blob) or (method_of(blob) == self._method and read_price(blob) == self._parameters)

    def keep(self, block: bytes, place: Place) -> bytes:
        """Wrap a key that its owner has locked with a pass phrase of which the server knows nothing.

        Args:
            block: The key's PEM block.
            place: The row.

        Raises:
            StorageError: The key is too large.
        """
        return self._finish(LOCKED_BY_OWNER, block, place)

    def guard(self, key: bytes, crypt: bytes, place: Place) -> bytes:
        """Wrap a key in clear with the crypt(3) hash of its pass phrase, as very old C servers kept them.

        Raises:
            StorageError: The key is too large.
        """
        return self._finish(GUARDED, crypt + key, place)

    def seal(self, key: bytes, passphrase: Passphrase, place: Place) -> bytes:
        """Seal a key for one place; with an empty pass phrase it is only wrapped, for renewal without one.

        Raises:
            StorageError: The key is too large.
        """
        if not passphrase:
            return self._finish(UNSEALED, key, place)
        _check_size(key)
        copy = b""
        if self._method == SEALED_WITH_COPY:
            with self._slots:
                copy = lock_for_export(key, passphrase)
        salt, nonce = os.urandom(16), os.urandom(12)
        cost = self._parameters
        numbers = cost.memory_kib, cost.iterations, cost.lanes
        header = HEADER.pack(MAGIC, VERSION, BARE, self._method, *numbers, salt, nonce)
        derived = self._derive(passphrase, salt, cost)
        sealed = AESGCM(derived).encrypt(nonce, key, header + place.encode() + copy)
        if self._method == SEALED_WITH_COPY:
            sealed = len(sealed).to_bytes(_SIZE, "big") + sealed + copy
        return self._server_keys.wrap(header + sealed, place.encode())

    def renew(self, blob: bytes, key: bytes, passphrase: Passphrase, place: Place) -> bytes:
        """Return the blob in the form of new ones, after it has been opened.

        Args:
            blob: The blob.
            key: The key that was in it.
            passphrase: What it was opened with; of no account for one that is not sealed.
            place: The row.

        Raises:
            StorageError: The key is too large.
        """
        return self.seal(key, passphrase, place) if is_sealed(blob) else self.rewrap(blob, place)

    def rewrap(self, blob: bytes, place: Place) -> bytes:
        """Return the blob under the current server key, or without where there is none. Needs no pass phrase.

        Raises:
            StorageError: The blob is damaged, or lies under a key that the server does not have.
        """
        return self._server_keys.wrap(self._server_keys.unwrap(blob, place.encode()), place.encode())

    def open(self, blob: bytes, passphrase: Passphrase, place: Place) -> bytes:
        """Return the key.

        An unsealed blob opens with the empty pass phrase only; any other is refused after the same work as a wrong
        one, so that the answer does not tell which credentials are sealed.

        Raises:
            AuthenticationError: The pass phrase is wrong, or the blob belongs to another place.
            StorageError: The blob is damaged, of a kind this version does not know, or under a server key that is not
                there.
        """
        blob = self._server_keys.unwrap(blob, place.encode())
        method = method_of(blob)
        if method == UNSEALED:
            if passphrase:
                self.pretend(passphrase)
                raise AuthenticationError(INVALID_PASSPHRASE)
            return blob[PREFIX.size :]
        if method == LOCKED_BY_OWNER:
            return self._unlock(blob[PREFIX.size :], passphrase)
        if method == GUARDED:
            return self._pass_guard(blob[PREFIX.size :], passphrase)
        header, sealed, copy = split_sealed(blob)
        cost = read_price(blob)
        assert cost is not None  # split_sealed has looked
        *_, salt, nonce = HEADER.unpack(header)
        derived = self._derive_each(passphrase, salt, cost)
        self._fill(0)
        try:
            return AESGCM(derived).decrypt(nonce, sealed, header + place.encode() + copy)
        except InvalidTag as error:
            raise AuthenticationError(INVALID_PASSPHRASE) from error

    def pretend(self, passphrase: Passphrase) -> None:
        """Do the work of opening for nothing, so that an absent credential takes as long as a wrong guess."""
        self._server_keys.unwrap(self._decoy, b"")
        self._derive_each(passphrase, bytes(16), self._parameters)
        self._fill(0)

    def locked_block(self, blob: bytes, place: Place) -> bytes | None:
        """Return the PEM block of a key that its owner has locked, None when the blob is of another kind.

        Raises:
            StorageError: The blob is damaged, of a kind this version does not know, or under a server key that is not
                there.
        """
        if method_of(blob) != LOCKED_BY_OWNER:
            return None
        return self._server_keys.unwrap(blob, place.encode())[PREFIX.size :]

    def check(self, blob: bytes, place: Place) -> bytes:
        """Return the inner blob, found to be whole as far as that can be seen without a pass phrase.

        Raises:
            StorageError: It is not.
        """
        inner = self._server_keys.unwrap(blob, place.encode())
        match method_of(inner):
            case method if method in {SEALED, SEALED_WITH_COPY}:
                split_sealed(inner)
            case method if method == GUARDED and len(inner) <= PREFIX.size + CRYPT_BYTES:
                raise damaged("it is cut short")
            case _:
                pass
        return inner

    def export(self, blob: bytes, place: Place) -> ExportedKey | None:
        """Return a key as the C server keeps it, None for one that only its pass phrase could bring into that form.

        Raises:
            StorageError: The blob is damaged, or lies under a key that the server does not have.
        """
        inner = self.check(blob, place)
        content = inner[PREFIX.size :]
        match method_of(inner):
            case method if method == SEALED:
                return None
            case method if method == SEALED_WITH_COPY:
                return ExportedKey(split_sealed(inner)[2])
            case method if method == GUARDED:
                return ExportedKey(content[CRYPT_BYTES:], content[:CRYPT_BYTES])
            case _:
                return ExportedKey(content)

    def _finish(self, method: int, content: bytes, place: Place) -> bytes:
        _check_size(content)
        inner = PREFIX.pack(MAGIC, VERSION, BARE, method) + content
        return self._server_keys.wrap(inner, place.encode())

    def _unlock(self, text: bytes, passphrase: Passphrase) -> bytes:
        """Open what its owner has locked, after the same work as anything else costs; its own counts to the filling."""
        cost = lock_cost(text)
        if cost is not None and self._shared_iterations < cost <= MAX_SHARED_ITERATIONS:
            self._shared_iterations = cost  # another process has kept it
        self._server_keys.unwrap(self._decoy, b"")
        self._derive_each(passphrase, bytes(16), self._parameters)
        self._fill(cost or 0)
        try:
            with self._slots:
                return open_lock(text, passphrase)
        except CredentialError as error:
            if error.problem in {CredentialProblem.WRONG_PASSPHRASE, CredentialProblem.NEEDS_PASSPHRASE}:
                raise AuthenticationError(INVALID_PASSPHRASE) from error
            raise damaged(error.message) from error
        except ParseError as error:
            raise damaged("its PEM block cannot be read") from error

    def _pass_guard(self, content: bytes, passphrase: Passphrase) -> bytes:
        self.pretend(passphrase)
        if not matches_crypt(content[:CRYPT_BYTES], passphrase):
            raise AuthenticationError(INVALID_PASSPHRASE)
        return content[CRYPT_BYTES:]

    def _fill(self, paid: int) -> None:
        """Hash for nothing as long as the dearest owner's lock in use would take."""
        rest = self._shared_iterations - paid
        if rest > 0:
            with self._slots:
                hashlib.pbkdf2_hmac("sha256", b"", b"", rest)

    def _derive_each(self, passphrase: Passphrase, salt: bytes, cost: SealParameters) -> bytes:
        """Derive once at every price in use, in an order that tells nothing, and return what the one at `cost` gave."""
        with self._learning:
            if cost not in self._prices:  # another process has sealed it
                self._prices = tuple(sorted({cost, *self._prices}))
        derived = {price: self._derive(passphrase, salt, price) for price in self._prices}
        return derived[cost]

    def _derive(self, passphrase: Passphrase, salt: bytes, cost: SealParameters) -> bytes:
        with self._slots:
            return derive(passphrase.reveal(), salt, cost)


def split_sealed(blob: bytes) -> tuple[bytes, bytes, bytes]:
    """Return header, ciphertext with tag, and the copy for the C server (empty where there is none).

    Raises:
        StorageError: A size or a parameter is wrong.
    """
    header, rest, copy = blob[: HEADER.size], blob[HEADER.size :], b""
    if method_of(blob) == SEALED_WITH_COPY:
        size = int.from_bytes(rest[:_SIZE], "big")
        rest, copy = rest[_SIZE : _SIZE + size], rest[_SIZE + size :]
        if len(rest) != size or not 0 < len(copy) <= 2 * MAX_KEY_BYTES:
            raise damaged("its size is wrong")
    if len(header) < HEADER.size or not _TAG_BYTES <= len(rest) <= _TAG_BYTES + MAX_KEY_BYTES:
        raise damaged("its size is wrong")
    if read_price(blob) is None:
        raise damaged("its parameters are out of range")
    return header, rest, copy


def _check_size(content: bytes) -> None:
    if len(content) > MAX_KEY_BYTES:
        raise StorageError(f"a private key of {len(content)} bytes is too large to be stored")
