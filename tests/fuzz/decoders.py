"""The harnesses by name: what to call, which seeds to start from, which shape the input has; runs nothing.

decoder = load("proxy_info")
decoder.target(seed) for seed in decoder.seeds()
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.rule import Target

__all__ = ["NAMES", "SEEDS", "Decoder", "load"]

_HERE: Final = Path(__file__).parent
SEEDS: Final = _HERE / "seeds"
NAMES: Final = tuple(sorted(path.stem for path in (_HERE / "harnesses").glob("*.py")))


TRAPS: Final = ("trap",)
"""No decoders: they break the rule, so that the tests can see that it is held."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """One harness.

    Attributes:
        name: Its name, that of its module and of its folder of seeds.
        target: Takes any bytes; an exception is a finding.
        shape: `der` or `text`, for the mutator.
    """

    name: str
    target: Target
    shape: str

    def seeds(self) -> list[bytes]:
        """The committed seeds, in the order of their names."""
        if self.name in TRAPS:
            return [b"a harmless seed"]
        return [path.read_bytes() for path in sorted((SEEDS / self.name).iterdir())]


def load(name: str) -> Decoder:
    """Import a harness, and with it the decoder."""
    module = importlib.import_module(f"tests.fuzz.{'' if name in TRAPS else 'harnesses.'}{name}")
    return Decoder(name, module.TARGET, module.SHAPE)
