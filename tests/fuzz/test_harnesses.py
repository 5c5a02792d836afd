"""Each harness over its seeds and some thousand changed copies of them: a value or a GridError, nothing else."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.fuzz.decoders import NAMES, SEEDS, load
from tests.fuzz.mutate import MUTATORS, mutate_bytes
from tests.fuzz.rule import MAX_MEGABYTES

ROOT: Final = Path(__file__).parents[2]
CHANGED: Final = 600
"""Changed copies per decoder: a second or less for nearly all."""
MAX_MEMORY: Final = MAX_MEGABYTES << 20
needs_atheris: Final = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python"
)


@pytest.mark.parametrize("name", NAMES)
def test_short(name: str) -> None:
    decoder = load(name)
    seeds = decoder.seeds()
    rng = Random(zlib.crc32(name.encode()))
    for seed in (*seeds, b"", b"\0", b"\xff" * 64, b"0" * 4096):
        decoder.target(seed)
    for number in range(CHANGED):
        data = seeds[number % len(seeds)]
        for _ in range(rng.choice((1, 1, 2))):
            data = MUTATORS[decoder.shape](data, rng) if rng.random() < 0.7 else mutate_bytes(data, rng)
        decoder.target(data)


@pytest.mark.parametrize("name", NAMES)
def test_memory(name: str) -> None:
    """Of the seeds and of what is as long as a fuzzer makes it; allocations of Python, which is where ours are."""
    decoder = load(name)
    long = [seed * (8192 // len(seed)) for seed in decoder.seeds()]
    tracemalloc.start()
    try:
        for data in (*decoder.seeds(), *long, b"0" * 8192, b"\x30\x80" * 4096, b"(" * 5000, b"/CN=" * 5000):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            decoder.target(data)
            assert tracemalloc.get_traced_memory()[1] - before < MAX_MEMORY
    finally:
        tracemalloc.stop()


def test_every_harness_has_seeds_and_every_seed_a_harness() -> None:
    assert {path.name for path in SEEDS.iterdir()} == set(NAMES)
    assert all(load(name).seeds() for name in NAMES)


def test_the_rule_lets_only_our_errors_through() -> None:
    target = load("trap").target
    target(b"G")
    with pytest.raises(KeyError):
        target(b"F")


def test_the_rule_sees_memory_that_comes_and_goes() -> None:
    program = (
        "from tests.fuzz.decoders import load\n"
        "from tests.fuzz.rule import TooMuchMemoryError, watched\n"
        "target = watched(load('trap').target)\n"
        "for data in (b'', b'G', b'x' * 100_000): target(data)\n"
        "try: target(b'M')\n"
        "except TooMuchMemoryError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("one input of 1 bytes took "), done


@needs_atheris
@pytest.mark.parametrize(("first", "kind"), [(b"M", "crash-"), (b"F", "crash-"), (b"S", "timeout-")])
def test_a_run_finds_what_breaks_the_rule(first: bytes, kind: str, tmp_path: Path) -> None:
    inputs = tmp_path / "trap" / "inputs"
    inputs.mkdir(parents=True)
    (inputs / "bad").write_bytes(first + b"bad")
    command = [sys.executable, "-m", "tests.fuzz.run", "trap", "--runs", "50", "--corpus", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done
    assert [path.name.startswith(kind) for path in (tmp_path / "trap" / "findings").iterdir()] == [True], done


@needs_atheris
@pytest.mark.parametrize("name", NAMES)
def test_guided_by_coverage(name: str, tmp_path: Path) -> None:
    """A real run of some thousand executions, in a corpus of its own; always the same ones, unlike the long run's."""
    command = [sys.executable, "-m", "tests.fuzz.run", name, "--runs", "1000", "--seed", "1", "--corpus", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_atheris
def test_tracing_by_blocks_alone_sees_new_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.guided", "proxy_info", "blocks", "-runs=1000"]
    command += [str(tmp_path), str(SEEDS / "proxy_info")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()), done.stderr
