"""Long runs of the fuzzer over one decoder after the other, resumed where they stopped; `make fuzz` calls it.

    python -m tests.fuzz.run                              # every decoder up to 10,000,000 executions
    python -m tests.fuzz.run crl pem --runs 50000         # two of them
    python -m tests.fuzz.run crl --replay FILE            # one input, outside the fuzzer: seconds and what is raised

A decoder runs in rounds, each a process of its own (`tests.fuzz.guided`): the first of ten, and so on, traced in full,
the others by blocks of code alone, which is several times as fast. In the corpus folder, which is not committed,
`<decoder>/inputs` holds what reached new code, `<decoder>/findings` what broke the rule, `<decoder>/executions` the
count so far. A finding ends the decoder's run; exit status 1 says that there is one.

The limits: a second per input, and 50 MB, by the kernel's high-water mark (`rule.watched`); libFuzzer's own limit
stands behind that for what stays in use. On a busy machine a second by the
clock proves nothing, so an input that seems slow is run again alone, by processor time and without instrumentation.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.fuzz.decoders import NAMES, SEEDS, TRAPS, load
from tests.fuzz.rule import MAX_MEGABYTES, watched

__all__ = ["Run", "main"]

ROOT: Final = Path(__file__).parents[2]
RUNS: Final = 10_000_000
ROUND: Final = 500_000
"""Executions per process: what libFuzzer itself remembers must not grow into the memory limit."""
FULL_EVERY: Final = 10
"""Of so many rounds one is traced in full."""
MIN_LENGTH: Final = 256
"""Inputs grow to this, or to twice the longest seed: more only repeats what is in them, and takes its time."""
MAX_SECONDS: Final = 1
_TIMEOUT_STATUS: Final = 70  # libFuzzer's exit status for an input that took too long
_DONE: Final = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
_PEAK: Final = re.compile(r"^stat::peak_rss_mb:\s*(\d+)", re.MULTILINE)
_COUNTER: Final = re.compile(r"^#(\d+)\s", re.MULTILINE)


class Run:
    """The state of one decoder on disk, and its rounds."""

    def __init__(self, name: str, corpus: Path, *, seed: int = 0) -> None:
        self.name = name
        self._seed = seed
        self._inputs = corpus / name / "inputs"
        self._findings = corpus / name / "findings"
        self._count = corpus / name / "executions"
        self._max_length = max(MIN_LENGTH, *(2 * len(seed) for seed in load(name).seeds()))
        for directory in (self._inputs, self._findings):
            directory.mkdir(parents=True, exist_ok=True)

    @property
    def executions(self) -> int:
        """How many there were so far."""
        return int(self._count.read_text()) if self._count.exists() else 0

    @property
    def findings(self) -> list[Path]:
        """The inputs that broke the rule."""
        return sorted(self._findings.iterdir())

    def reach(self, runs: int) -> bool:
        """Run until there were so many executions; False when something was found."""
        if self.executions >= runs:
            return not self.findings
        limit = self._find_memory_limit()
        while self.executions < runs:
            begin, before = time.monotonic(), self.executions
            status, output = self._round(min(ROUND, runs - before), limit)
            done = self.executions - before
            print(
                f"{self.name}: {self.executions:,} of {runs:,} executions, "
                f"{done / (time.monotonic() - begin):,.0f}/s, {len(list(self._inputs.iterdir()))} inputs",
                flush=True,
            )
            if status == _TIMEOUT_STATUS and self._forgive():
                continue
            if status or self.findings:
                print(f"{self.name}: exit status {status}, see {self._findings}\n{output[-4000:]}", flush=True)
                return False
        return True

    def _find_memory_limit(self) -> int:
        """Return the megabytes that a round may take: what the seeds need, and what one input may need beyond."""
        done = self._start("full", "-runs=0", seeds_only=True)
        found = _PEAK.search(done.stderr)
        if done.returncode or found is None:
            raise SystemExit(f"{self.name}: the seeds alone fail\n{done.stderr[-4000:]}")
        corpus = sum(path.stat().st_size for path in self._inputs.iterdir()) >> 20
        return int(found[1]) + MAX_MEGABYTES + 2 * corpus

    def _round(self, runs: int, limit: int) -> tuple[int, str]:
        manner = "blocks" if self.executions // ROUND % FULL_EVERY else "full"
        done = self._start(manner, f"-runs={runs}", f"-rss_limit_mb={limit}", f"-timeout={MAX_SECONDS}")
        found = _DONE.search(done.stderr)
        counters = _COUNTER.findall(done.stderr)
        count = int(found[1]) if found else int(counters[-1]) if counters else 0
        self._count.write_text(str(self.executions + count))
        return done.returncode, done.stderr

    def _start(self, manner: str, *options: str, seeds_only: bool = False) -> subprocess.CompletedProcess[str]:
        committed = [str(SEEDS / self.name)] if self.name not in TRAPS else []
        folders = committed if seeds_only else [str(self._inputs), *committed]
        command = [sys.executable, "-m", "tests.fuzz.guided", self.name, manner, *options]
        command += [f"-seed={self._seed}", f"-max_len={self._max_length}", "-print_final_stats=1"]
        command += [f"-artifact_prefix={self._findings}/", *folders]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)

    def _forgive(self) -> bool:
        """Run what seemed slow again, alone, and drop it when the machine was slow; True when nothing is left."""
        for path in self.findings:
            if path.name.startswith(("timeout-", "slow-unit-")) and _replay_apart(self.name, path) < MAX_SECONDS:
                path.unlink()
        return not self.findings


def _replay_apart(name: str, path: Path) -> float:
    """Return the seconds of processor time that an input takes in a process without instrumentation."""
    command = [sys.executable, "-m", "tests.fuzz.run", name, "--replay", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.search(r"^([0-9.]+) s$", done.stdout, re.MULTILINE)
    return float(found[1]) if found and done.returncode == 0 else float("inf")


def _replay(name: str, path: Path) -> None:
    target = watched(load(name).target)
    target(path.read_bytes())  # once before, so that imports on first use do not count
    begin = time.process_time()
    target(path.read_bytes())
    print(f"{time.process_time() - begin:.3f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments and run; exit status 1 when there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run")
    parser.add_argument("decoders", nargs="*", help=f"which, all by default: {', '.join(NAMES)}")
    parser.add_argument("--runs", type=int, default=RUNS, help="executions to reach for each, earlier runs included")
    parser.add_argument("--corpus", type=Path, default=ROOT / "tests" / "fuzz" / "corpus")
    parser.add_argument("--seed", type=int, default=0, help="begin like any other run with this number; 0: like none")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input outside the fuzzer")
    given = parser.parse_args(arguments)
    names = given.decoders or list(NAMES)
    unknown = sorted(set(names) - set(NAMES) - set(TRAPS))
    if unknown:
        parser.error(f"no such decoder: {', '.join(unknown)}")
    if given.replay is not None:
        _replay(names[0], given.replay)
        return 0
    good = [Run(name, given.corpus, seed=given.seed).reach(given.runs) for name in names]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
