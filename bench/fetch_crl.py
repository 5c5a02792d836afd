"""Fetching the lists of a hundred CAs from a local server of which three hang: how long beyond the time-out.

The command runs whole, with its defaults but for the time-out. That the others were installed is checked.

    python bench/fetch_crl.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pairs import Figure, show
from tests.harness.ca import TestCA, subject_hash, write_trust_dir
from tests.harness.environment import clean_environment
from tests.harness.web import Answer, Drip, Hang, Script, WebServer

CAS = 100
HANGING = 3
TIMEOUT_S = 5
LIMIT_S = 5.0
TURNS = 3


def figures(turns: int = TURNS) -> list[Figure]:
    """Measure and return the figures."""
    cas = [TestCA(f"/O=Grid/CN=CA {number}", key="p256") for number in range(CAS)]
    stems = [subject_hash(ca.certificate) for ca in cas]
    routes: dict[str, Script] = {
        f"/{stem}": Answer(ca.crl(revoked=range(1, 1001))) for ca, stem in zip(cas, stems, strict=True)
    }
    for number, stem in enumerate(stems[10 :: CAS // HANGING][:HANGING]):
        routes[f"/{stem}"] = Drip() if number % 2 else Hang()
    times = []
    with tempfile.TemporaryDirectory() as directory:
        for turn in range(turns):
            trust = write_trust_dir(Path(directory) / str(turn), *cas)
            with WebServer(routes) as web:
                for stem in stems:
                    (trust / f"{stem}.crl_url").write_text(web.url(f"/{stem}\n"))
                times.append(_run(trust))
    beyond = statistics.median(times) - TIMEOUT_S
    return [
        Figure(
            f"grid-fetch-crl, {CAS} CAs, {HANGING} hanging, beyond the time-out",
            beyond,
            None,
            f"<= {LIMIT_S:g} s",
            beyond <= LIMIT_S,
            "s",
        )
    ]


def _run(trust: Path) -> float:
    """Return the seconds that the command takes."""
    command = Path(sys.executable).parent / "grid-fetch-crl"
    begin = time.perf_counter()
    done = subprocess.run(
        [command, "-dir", trust, "-timeout", str(TIMEOUT_S)],
        env=clean_environment(trust),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begin
    if f"{CAS - HANGING} updated, {HANGING} failed" not in done.stdout:
        raise RuntimeError(f"not what was to be done: {done.stdout}{done.stderr}")
    return seconds


def main() -> int:
    """Print the table; exit status 0 when every figure was reached."""
    return 0 if show(figures()) else 1


if __name__ == "__main__":
    sys.exit(main())
