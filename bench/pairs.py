"""Timing two commands in turn, A B A B ..., so that a machine whose speed drifts is fair to both."""

from __future__ import annotations

import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Figure", "alternate", "command", "show"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure beside what it must reach."""

    name: str
    ours: float
    peer: float | None
    limit: str
    reached: bool
    unit: str = "ms"


def alternate(rounds: int, *bodies: Callable[[], object]) -> list[list[float]]:
    """Call the bodies in turn, once to warm up and then `rounds` times; return the seconds of each, body by body."""
    taken: list[list[float]] = [[] for _ in bodies]
    for number in range(rounds + 1):
        for body, times in zip(bodies, taken, strict=True):
            start = time.perf_counter()
            body()
            if number:
                times.append(time.perf_counter() - start)
    return taken


def command(argv: Sequence[str], environment: Mapping[str, str], stdin: bytes = b"") -> Callable[[], object]:
    """Return a body that runs a program to its end and insists on exit status 0."""

    def body() -> None:
        done = subprocess.run(argv, env=dict(environment), input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{argv[0]} failed: {done.stderr.decode('utf-8', 'replace')}")

    return body


def median_ms(times: Sequence[float]) -> float:
    """Return the median in milliseconds."""
    return statistics.median(times) * 1000


def show(figures: Sequence[Figure]) -> bool:
    """Print a table and tell whether every figure was reached."""
    print(f"{'figure':58} {'ours':>10} {'peer':>10} {'ratio':>7}  must reach")
    for figure in figures:
        peer = "-" if figure.peer is None else f"{figure.peer:.2f}"
        ratio = "-" if not figure.peer else f"{figure.ours / figure.peer:.2f}"
        verdict = "" if figure.reached else "  NOT REACHED"
        print(f"{figure.name:58} {figure.ours:>7.2f} {figure.unit:2} {peer:>10} {ratio:>7}  {figure.limit}{verdict}")
    return all(figure.reached for figure in figures)
