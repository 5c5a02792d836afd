"""What an authentication yields, whatever the method; not the methods, not what a proven client may do.

Each method turns what the client sent into a `Proof` or raises `AuthenticationError`; there is no third outcome. A
proof of a method that opens the stored key carries that key, so that whoever holds the proof needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Method", "Proof"]


class Method(StrEnum):
    """How the client proved that it may have the credential; the words go into the audit."""

    PASSPHRASE = "pass phrase"


@dataclass(frozen=True, slots=True)
class Proof:
    """An authentication that succeeded.

    Attributes:
        method: What convinced.
        key: The stored private key in clear, PEM; never logged.
    """

    method: Method
    key: bytes = field(repr=False)
