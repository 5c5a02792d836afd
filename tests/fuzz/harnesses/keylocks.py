"""gsi.keylocks: private keys under a pass phrase, in the forms of PKCS#8 and of the old PEM headers.

Key derivation may take five seconds by intent, where the owner of the key made it so. Its bounds are lowered here, so
that time and memory are those of the decoder.
"""

from __future__ import annotations

import contextlib
from typing import Final

from gsi import keylocks
from gsi.errors import GridError
from gsi.keys import parse_private_key
from gsi.pem import PEMBlock, encode_pem, split_pem
from gsi.secret import Passphrase
from tests.fuzz.rule import Target, each, lowered

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"

_PASSPHRASE: Final = Passphrase("fuzz")
_BOUNDS: Final = {"MAX_KDF_ITERATIONS": 2048, "MAX_SCRYPT_BYTES": 1 << 20, "MAX_SCRYPT_WORK": 1 << 13}


def _encrypted(data: bytes) -> None:
    label = "ENCRYPTED PRIVATE KEY"
    parse_private_key(PEMBlock(label, (), data, encode_pem(label, data)), _PASSPHRASE)


def _headers(data: bytes) -> None:
    for block in split_pem(data, what="fuzz"):
        with contextlib.suppress(GridError):
            parse_private_key(block, _PASSPHRASE)


TARGET: Final[Target] = lowered(keylocks, _BOUNDS, each(_encrypted, _headers))
