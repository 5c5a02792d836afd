"""Pass phrases in memory: hidden from logs and compared in constant time; not where they come from.

passphrase = Passphrase(b"correct horse")
repr(passphrase)            # Passphrase(***)
passphrase.reveal()         # b"correct horse", at the one place that needs the bytes
"""

from __future__ import annotations

import hmac
from typing import NoReturn

__all__ = ["Passphrase"]


class Passphrase:
    """A secret typed by a person. Its text never reaches repr, str, format or pickle."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes | str) -> None:
        self._secret = secret.encode("utf-8") if isinstance(secret, str) else bytes(secret)

    def reveal(self) -> bytes:
        """Return the bytes, for the one call that needs them."""
        return self._secret

    def __len__(self) -> int:
        return len(self._secret)

    def __bool__(self) -> bool:
        return bool(self._secret)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Passphrase):
            return NotImplemented
        return hmac.compare_digest(self._secret, other._secret)

    __hash__ = None  # type: ignore[assignment]  # a hash would be a fingerprint of the secret

    def __repr__(self) -> str:
        return "Passphrase(***)"

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Passphrase is not serialised")
