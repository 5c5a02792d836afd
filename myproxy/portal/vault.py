"""What is kept sealed between two requests: the key is in the user's cookie alone; no storing, no HTTP.

    ticket = Ticket.make()                       # for the cookie: ticket.text
    ticket.row                                   # under what the store keeps it; tells nothing of the key
    sealed = ticket.seal(b"...")
    Ticket.parse(cookie).open(sealed)            # None: another's, or damaged
    ticket.form_token                            # for hidden fields of forms

Everything is derived from 256 random bits by HMAC-SHA-256 with different labels, so that one value does not give
another. What is sealed is bound to its row: it cannot be moved to another one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Ticket"]

_BYTES: Final = 32
_TEXT: Final = 43  # base64 of 32 bytes, without the equals sign
_NONCE: Final = 12


class Ticket:
    """The random value of one cookie."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    @classmethod
    def make(cls) -> Self:
        """Return a new one."""
        return cls(secrets.token_bytes(_BYTES))

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the one in a cookie, None when there is none or it is malformed."""
        if text is None or len(text) != _TEXT or not text.isascii():
            return None
        try:
            value = base64.b64decode(text + "=", altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        return cls(value) if len(value) == _BYTES else None

    @property
    def text(self) -> str:
        """The cookie's value."""
        return base64.urlsafe_b64encode(self._value).decode("ascii").rstrip("=")

    @property
    def row(self) -> str:
        """Under what the store keeps what belongs to it."""
        return self._derive(b"row").hex()

    @property
    def form_token(self) -> str:
        """What a form carries to show that one of our pages made it for this browser."""
        return self._derive(b"form").hex()

    def is_form_token(self, text: str | None) -> bool:
        """Compare, in constant time."""
        return text is not None and hmac.compare_digest(text.encode("utf-8", "replace"), self.form_token.encode())

    def seal(self, data: bytes) -> bytes:
        """Return data as it may rest."""
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._derive(b"seal")).encrypt(nonce, data, self.row.encode("ascii"))

    def open(self, sealed: bytes) -> bytes | None:
        """Return what was sealed; None when it was sealed for another, or is damaged."""
        if len(sealed) <= _NONCE:
            return None
        try:
            return AESGCM(self._derive(b"seal")).decrypt(sealed[:_NONCE], sealed[_NONCE:], self.row.encode("ascii"))
        except InvalidTag:
            return None

    def _derive(self, label: bytes) -> bytes:
        return hmac.digest(self._value, b"myproxy portal " + label, "sha256")

    def __repr__(self) -> str:
        return "Ticket(***)"
