"""Pass phrases: the rules for new ones and the proof by opening a sealed key; not how keys are sealed.

    check_new_passphrase(request.passphrase)                   # DeniedError: too short
    proof = authenticate(stored, request.passphrase, sealer)   # AuthenticationError: one text, one duration

An absent credential, an unsealed one and a wrong pass phrase give the same text after the same work, so that a stranger
learns neither which users exist nor how their keys are kept.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from gsi.errors import AuthenticationError, DeniedError
from myproxy.auth.base import Method, Proof
from myproxy.repository.seal import INVALID_PASSPHRASE, Place, Sealer, is_sealed

if TYPE_CHECKING:
    from gsi.secret import Passphrase
    from myproxy.repository.base import StoredCredential

__all__ = ["MIN_PASSPHRASE_BYTES", "authenticate", "check_new_passphrase", "open_key", "place_of"]

MIN_PASSPHRASE_BYTES: Final = 6
"""MIN_PASS_PHRASE_LEN of the C server and its clients."""


def check_new_passphrase(passphrase: Passphrase) -> None:
    """Insist that a new pass phrase is absent or long enough.

    Raises:
        DeniedError: It is too short; the words are those of the C server.
    """
    if passphrase and len(passphrase) < MIN_PASSPHRASE_BYTES:
        raise DeniedError(f"Pass phrase too short.  Must be at least {MIN_PASSPHRASE_BYTES} characters long.")


def place_of(username: str, name: str | None, owner: str, leaf_der: bytes) -> Place:
    """Return the place that a key is sealed for; the certificate is named by its fingerprint (SHA-256)."""
    return Place(username, name, owner, hashlib.sha256(leaf_der).hexdigest())


def authenticate(stored: StoredCredential | None, passphrase: Passphrase, sealer: Sealer) -> Proof:
    """Prove the right to a credential by its pass phrase.

    Args:
        stored: The credential, or None where there is none.
        passphrase: What the client sent. An empty one never proves anything.
        sealer: Opens the key.

    Raises:
        AuthenticationError: Anything but the right pass phrase of a sealed credential.
        StorageError: The stored key is damaged.
    """
    if stored is None or not is_sealed(stored.sealed_key):
        sealer.pretend(passphrase)
        raise AuthenticationError(INVALID_PASSPHRASE)
    return Proof(Method.PASSPHRASE, open_key(stored, passphrase, sealer))


def open_key(stored: StoredCredential, passphrase: Passphrase, sealer: Sealer) -> bytes:
    """Return the stored key in clear; an unsealed one with the empty pass phrase. For its owner.

    Raises:
        AuthenticationError: The pass phrase is wrong.
        StorageError: The stored key is damaged.
    """
    place = place_of(stored.username, stored.name, stored.owner, stored.certificates[0])
    return sealer.open(stored.sealed_key, passphrase, place)
