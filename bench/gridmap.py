"""Looking names up in grid-mapfiles of three lengths beside the C library, which reads the file each time; loading one.

A lookup through `GridmapFile` is timed, as services make it: one stat of the file, then the index. The load runs in a
process of its own, whose highest resident memory is taken with everything in it, Python included.

    python bench/gridmap.py
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pairs import Figure, show
from gsi.authz.gridmap_file import GridmapFile
from tests.harness.gss_assist import GssAssist

LINES = (1_000, 100_000, 1_000_000)
LOOKUPS = 2_000  # of different names, in one turn
TURNS = 7
C_LOOKUPS = {1_000: 300, 100_000: 5, 1_000_000: 1}
LIMIT_US = 20.0
LIMIT_FLAT = 2.0  # the shortest file stays in the processor's cache, the longest does not
LIMIT_LOAD_S = 4.0
LIMIT_LOAD_MB = 400.0


def name(number: int) -> str:
    """Return a name as long as those of real grids."""
    return f"/DC=org/DC=example/O=Grid/OU=Department {number % 97}/CN=User Number {number}"


def write_mapfile(path: Path, lines: int) -> None:
    """Write a grid-mapfile, every user with an account of their own."""
    with path.open("w", encoding="ascii") as file:
        file.writelines(f'"{name(number)}" user{number},group{number % 50}\n' for number in range(lines))


def figures(turns: int = TURNS) -> list[Figure]:
    """Measure and return the figures."""
    with tempfile.TemporaryDirectory() as directory:
        paths = {lines: Path(directory) / f"grid-mapfile-{lines}" for lines in LINES}
        for lines, path in paths.items():
            write_mapfile(path, lines)
        time.sleep(0.2)  # a file that has just changed would be read twice
        return [*_lookups(paths, turns), *_load(paths[LINES[-1]])]


def _lookups(paths: dict[int, Path], turns: int) -> list[Figure]:
    ours: dict[int, list[float]] = {lines: [] for lines in paths}
    theirs: dict[int, list[float]] = {lines: [] for lines in paths}
    mapfiles = {lines: GridmapFile(str(path)) for lines, path in paths.items()}
    libraries = {lines: GssAssist(gridmap=path) for lines, path in paths.items()}
    rng = random.Random(7)
    try:
        for turn in range(turns + 1):
            for lines, mapfile in mapfiles.items():
                dns = [name(rng.randrange(lines)) for _ in range(LOOKUPS)]
                taken = _time(mapfile, dns)
                count = C_LOOKUPS[lines]
                c_taken = libraries[lines].time_lookups(name(lines // 2).encode(), count) / count / 1000
                if turn:
                    ours[lines].append(taken)
                    theirs[lines].append(c_taken)
    finally:
        for library in libraries.values():
            library.__exit__(None, None, None)
    found = []
    for lines in paths:
        value, peer = statistics.median(ours[lines]), statistics.median(theirs[lines])
        found.append(
            Figure(f"grid-mapfile lookup, {lines:,} lines", value, peer, f"<= {LIMIT_US:g} us", value <= LIMIT_US, "us")
        )
    short, long = (statistics.median(ours[lines]) for lines in (LINES[0], LINES[-1]))
    flat = long / short <= LIMIT_FLAT
    found.append(Figure("the longest beside the shortest", long, short, f"<= {LIMIT_FLAT:g} x", flat, "us"))
    return found


def _time(mapfile: GridmapFile, dns: list[str]) -> float:
    """Return the microseconds that one lookup takes."""
    begin = time.perf_counter_ns()
    for dn in dns:
        if mapfile.gridmap().find_account(dn) is None:
            raise RuntimeError(f"{dn} was not found")
    return (time.perf_counter_ns() - begin) / len(dns) / 1000


def _load(path: Path) -> list[Figure]:
    runs = [
        json.loads(subprocess.run([sys.executable, __file__, str(path)], check=True, capture_output=True).stdout)
        for _ in range(3)
    ]
    seconds = statistics.median(run["seconds"] for run in runs)
    megabytes = statistics.median(run["megabytes"] for run in runs)
    lines = f"{LINES[-1]:,} lines"
    return [
        Figure(f"loading {lines}", seconds, None, f"<= {LIMIT_LOAD_S:g} s", seconds <= LIMIT_LOAD_S, "s"),
        Figure(
            f"highest memory while loading {lines}",
            megabytes,
            None,
            f"<= {LIMIT_LOAD_MB:g} MB",
            megabytes <= LIMIT_LOAD_MB,
            "MB",
        ),
    ]


def load(path: str) -> None:
    """Load a file and print what that took."""
    import resource

    mapfile = GridmapFile(path)
    begin = time.perf_counter()
    mapfile.gridmap()
    seconds = time.perf_counter() - begin
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "megabytes": megabytes}))


def main() -> int:
    """Print the table; exit status 0 when every figure was reached."""
    if len(sys.argv) == 2:
        load(sys.argv[1])
        return 0
    return 0 if show(figures()) else 1


if __name__ == "__main__":
    sys.exit(main())
