"""One process of coverage-guided fuzzing: the decoder instrumented, libFuzzer's loop around it. Never returns.

    python -m tests.fuzz.guided proxy_info -runs=10000 corpus seeds

`tests.fuzz.run` starts it with limits and reads what it prints.
"""

from __future__ import annotations

import sys
from random import Random

import atheris

with atheris.instrument_imports(include=["gsi", "myproxy", "cas", "kca"], enable_loader_override=False):
    from tests.fuzz.decoders import load
    from tests.fuzz.mutate import MUTATORS
    from tests.fuzz.rule import watched

    DECODER = load(sys.argv[1])

__all__ = ["DECODER", "main"]

_RNG = Random()


def _mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change the structure half of the time, else let libFuzzer change bytes by what it has learnt."""
    if seed & 1:
        _RNG.seed(seed)
        found = MUTATORS[DECODER.shape](data, _RNG)
        if 0 < len(found) <= max_size:
            return found
    changed: bytes = atheris.Mutate(data, max_size)
    return changed


def main() -> None:
    """Run until the number of executions is reached or something is found."""
    atheris.Setup([sys.argv[0], *sys.argv[2:]], watched(DECODER.target), custom_mutator=_mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
