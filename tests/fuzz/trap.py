"""A harness that breaks the rule in each way, by the first byte of what it gets; for the tests of the rule itself."""

from __future__ import annotations

import time
from typing import Final

from gsi.errors import ParseError
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"
SPIKE_BYTES: Final = 80 << 20
"""Above the limit by more than the interpreter's own ups and downs."""
SLOW_SECONDS: Final = 2.2
"""libFuzzer looks once a second whether an input has taken one: what takes two is always seen."""


def _read(data: bytes) -> None:
    match data[:1]:
        case b"M":
            bytearray(SPIKE_BYTES)[::4096] = b"x" * (SPIKE_BYTES // 4096)  # touched, and given back at once
        case b"S":
            end = time.process_time() + SLOW_SECONDS
            while time.process_time() < end:
                pass
        case b"F":
            raise KeyError("foreign")
        case b"G":
            raise ParseError("ours", what="trap")


TARGET: Target = each(_read)
