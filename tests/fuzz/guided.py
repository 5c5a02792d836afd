"""One process of coverage-guided fuzzing: the decoder instrumented, libFuzzer's loop around it. Never returns.

    python -m tests.fuzz.guided proxy_info full -runs=10000 corpus seeds
    python -m tests.fuzz.guided proxy_info blocks -runs=10000 corpus seeds

`full` traces what atheris can: how often each block of the code runs, and which values are compared. That takes three
to five times as long as the decoder itself. `blocks` traces only whether a block runs, which takes a tenth of that; in
exchange it changes, half of the time, any input of the corpus, also those that only `full` has a reason to keep.

`tests.fuzz.run` starts it with limits and reads what it prints.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import atheris
from atheris.import_hook import HookManager

if TYPE_CHECKING:
    from tests.fuzz.rule import Target

FULL: Final = sys.argv[2] == "full"

with HookManager({"gsi", "myproxy", "cas", "kca"}, set(), enable_loader_override=False, trace_dataflow=FULL):
    from tests.fuzz.decoders import load
    from tests.fuzz.mutate import MUTATORS
    from tests.fuzz.rule import watched

    DECODER = load(sys.argv[1])

__all__ = ["DECODER", "main"]

_OPTIONS: Final = sys.argv[3:]
_RNG: Final = Random()
_KEPT: Final[list[bytes]] = []
"""The corpus at the start, for `blocks`."""


def _mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change the structure half of the time, else let libFuzzer change bytes by what it has learnt."""
    if seed & 1:
        found = MUTATORS[DECODER.shape](_RNG.choice(_KEPT) if _KEPT else data, _RNG)
        if 0 < len(found) <= max_size:
            return found
    changed: bytes = atheris.Mutate(data, max_size)
    return changed


def _by_blocks(target: Target) -> Target:
    """Return a harness that tells libFuzzer once of each block that ran, instead of at every pass through it."""
    seen: set[int] = set()
    tell = None

    def run(data: bytes) -> None:
        nonlocal tell
        if tell is None:  # not before the first input: `Fuzz` puts its own function there
            tell = atheris._trace_branch  # there is no public way, and a set takes a tenth of the time
            atheris._trace_branch = seen.add
        seen.clear()
        target(data)
        for block in seen:
            tell(block)

    return run


def main() -> None:
    """Run until the number of executions is reached or something is found."""
    target = watched(DECODER.target)
    if not FULL:
        folders = [Path(option) for option in _OPTIONS if not option.startswith("-")]
        _KEPT.extend(path.read_bytes() for folder in folders for path in folder.iterdir())
        target = _by_blocks(target)
    atheris.Setup([sys.argv[0], *_OPTIONS], target, custom_mutator=_mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
