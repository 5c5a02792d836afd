"""gsi.pkcs12: the survey before anything is opened, and the opening.

The bounds of key derivation are lowered, as in `keylocks`.
"""

from __future__ import annotations

from typing import Final

from gsi import keylocks
from gsi.credential import parse_pkcs12
from gsi.secret import Passphrase
from tests.fuzz.rule import Target, each, lowered

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

_PASSPHRASE: Final = Passphrase("fuzz")
_BOUNDS: Final = {"MAX_KDF_ITERATIONS": 2048, "MAX_SCRYPT_BYTES": 1 << 20, "MAX_SCRYPT_WORK": 1 << 13}

TARGET: Final[Target] = lowered(keylocks, _BOUNDS, each(lambda data: parse_pkcs12(data, _PASSPHRASE)))
