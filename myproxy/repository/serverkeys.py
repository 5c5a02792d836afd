"""Keys of the server around everything at rest: wrapping and unwrapping, not where they come from (`keysources`).

    keys = ServerKeys([current, former])
    outer = keys.wrap(inner, place)                 # under the first
    inner = keys.unwrap(outer, place)               # StorageError: under a key that is not among them

A stolen database is then worth nothing without the server key, not even for guessing pass phrases, and what is stored
without a pass phrase is not in clear. A server key has 32 bytes; its id is derived from it. Each blob gets an AES key
of its own (HKDF-SHA256 over a fresh salt), so that one server key may wrap any number of blobs. The header and the
place of the row are authenticated: a blob opens only in the row that it was made for.

To change a key, name the new one behind the old one on every node, then before it; `rewrap` and each owner's next logon
bring the blobs under the first. When none lies under the old one any more it can be left out.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gsi.errors import StorageError
from myproxy.repository.sealforms import (
    KEY_ID_BYTES,
    MAGIC,
    OUTER,
    VERSION,
    WRAPPED,
    check_form,
    damaged,
    price_fields,
    server_key_id,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SERVER_KEY_BYTES", "ServerKey", "ServerKeys"]

SERVER_KEY_BYTES: Final = 32
_BLOB_KEY: Final = b"MPSK outer layer 1, key of a blob"
_KEY_ID: Final = b"MPSK outer layer 1, id of a server key"


class ServerKey:
    """One key of the server.

    Attributes:
        id: Its name, derived from it; tells nothing of it.
    """

    __slots__ = ("_secret", "id")

    def __init__(self, secret: bytes) -> None:
        """Take 32 random bytes."""
        if len(secret) != SERVER_KEY_BYTES:
            raise ValueError("a server key has 32 bytes")
        self._secret = secret
        self.id = _derive(secret, b"", _KEY_ID, KEY_ID_BYTES)

    def cipher(self, salt: bytes) -> AESGCM:
        """Return the cipher of one blob."""
        return AESGCM(_derive(self._secret, salt, _BLOB_KEY, 32))

    def __repr__(self) -> str:
        return f"<ServerKey {self.id.hex()}>"


class ServerKeys:
    """The keys of the server, of which the first wraps and all unwrap. Immutable."""

    def __init__(self, known: Sequence[ServerKey] = (), *, wraps: bool = True) -> None:
        """Put them together.

        Args:
            known: The keys.
            wraps: Whether the first is to be used for new blobs; otherwise they get no outer layer.
        """
        self._known = {key.id: key for key in known}
        self._current = known[0] if known and wraps else None

    @property
    def current(self) -> bytes | None:
        """The id of the key that wraps, None where none does."""
        return None if self._current is None else self._current.id

    @property
    def known(self) -> frozenset[str]:
        """The ids of all keys, hexadecimal."""
        return frozenset(key.hex() for key in self._known)

    def is_current(self, blob: bytes) -> bool:
        """Say whether a blob lies under the key that it would get now, or under none if so."""
        return server_key_id(blob) == self.current

    def wrap(self, inner: bytes, place: bytes) -> bytes:
        """Return a blob under the current key, or as it is where there is none."""
        if self._current is None:
            return inner
        _, method = check_form(inner)
        salt, nonce = os.urandom(16), os.urandom(12)
        header = OUTER.pack(MAGIC, VERSION, WRAPPED, method, *price_fields(inner), self._current.id, salt, nonce)
        return header + self._current.cipher(salt).encrypt(nonce, inner, header + place)

    def unwrap(self, blob: bytes, place: bytes) -> bytes:
        """Return the inner blob; of a blob without outer layer, itself.

        Raises:
            StorageError: The blob lies under a key that is not known, belongs to another place, or is damaged.
        """
        name = server_key_id(blob)
        if name is None:
            return blob
        key = self._known.get(name)
        if key is None:
            raise StorageError(
                f"a stored key lies under server key {name.hex()}, which this server does not have",
                hint="name it in the configuration with server_key, behind the current one",
            )
        *_, salt, nonce = OUTER.unpack_from(blob)
        try:
            inner = key.cipher(salt).decrypt(nonce, blob[OUTER.size :], blob[: OUTER.size] + place)
        except InvalidTag as error:
            raise damaged("its server key does not open it, or it belongs to another credential") from error
        if check_form(inner) != (0, check_form(blob)[1]):
            raise damaged("its two layers do not agree")
        return inner


def _derive(secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=size, salt=salt, info=info).derive(secret)
