"""Replacing workers: with pauses that grow while they keep failing, each with the number of the one before."""

from __future__ import annotations

import asyncio
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gsi.errors import ConfigError
from gsi.transport import refusals
from gsi.transport.refusals import LineThinner
from gsi.transport.serve import adopt, bound_port, listen
from gsi.transport.workers import PROVEN_SECONDS, Supervisor, _Running

ROOT = Path(__file__).parents[4]
WAIT = 30.0
FAILING = """
import os, sys, time
from gsi.errors import StorageError
from gsi.transport.workers import Supervisor, Watcher

begun = time.monotonic()
marks = os.open({marks!r}, os.O_RDWR | os.O_CREAT | os.O_APPEND)

class Telling(Watcher):
    def __getattribute__(self, name):
        if name in ("ready", "reloading", "reloaded", "stopping"):
            os.write(1, name.encode() + b"\\n")
        return super().__getattribute__(name)

number = None
def numbered(given):
    global number
    number = given

def work(ready, parent):
    tries = os.pread(marks, 100, 0).count(str(number).encode())
    os.write(marks, str(number).encode())
    os.write(1, f"try {{number}} {{time.monotonic() - begun}}\\n".encode())
    if tries < {good}:
        ready()
        sys.stdin.buffer.raw.read(1)
    raise StorageError("the disk is broken")

sys.exit(Supervisor([], work, 2, on_worker=numbered, watcher=Telling()).run(lambda: None))
"""


def test_a_worker_that_keeps_failing_is_tried_less_and_less(tmp_path: Path) -> None:
    """Each worker fails when it is told to, and all later ones at once."""
    program = FAILING.format(marks=str(tmp_path / "marks"), good=1)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def line() -> str:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], WAIT)[0]
        return process.stdout.readline().decode().strip()

    try:
        assert [line().split()[:2], line().split()[:2], line()] == [["try", "0"], ["try", "1"], "ready"]
        process.stdin.write(b"..")
        times: dict[str, list[float]] = {"0": [], "1": []}
        while min(map(len, times.values())) < 2:
            _, number, moment = line().split()
            times[number].append(float(moment))
        assert all(second - first >= 1 for first, second in times.values())
        process.terminate()
        while (told := line()) != "stopping":
            assert told.startswith("try")
        assert process.wait(WAIT) == 0
    finally:
        process.kill()
        process.communicate()


def test_pauses_double_up_to_a_minute_and_end_with_a_worker_that_lives() -> None:
    supervisor = Supervisor([], lambda _ready, _parent: None, 1)
    now = time.monotonic()
    failed, proven = _Running(0, now), _Running(0, now - PROVEN_SECONDS)
    assert [supervisor._pause(failed) for _ in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert supervisor._pause(_Running(1, now)) == 0
    assert supervisor._pause(proven) == 0
    assert [supervisor._pause(failed) for _ in range(2)] == [0, 1]


def test_the_lines_about_one_source_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MAX_SOURCES", 2)
    monkeypatch.setattr(refusals, "WINDOW_SECONDS", 0.01)
    summaries: list[str] = []

    async def body() -> None:
        told = asyncio.Event()

        def summarize(text: str) -> None:
            summaries.append(text)
            told.set()

        thinner = LineThinner(summarize)
        admitted = [thinner.admit("a", "denied") for _ in range(refusals.BURST + 2)]
        assert sum(admitted) == refusals.BURST
        assert thinner.admit("b", "denied")
        admitted = [thinner.admit(f"c{number}", "transport") for number in range(refusals.BURST + 1)]
        assert sum(admitted) == refusals.BURST
        thinner.admit("a", "transport")
        await told.wait()
        await asyncio.sleep(0)
        thinner.close()
        assert thinner.admit("a", "denied")
        thinner.close()

    asyncio.run(body())
    assert summaries == [
        "a: 3 more refusals within 0.01 seconds: 2 denied, 1 transport",
        "other sources: 1 more refusals within 0.01 seconds: 1 transport",
    ]


def test_sockets_of_somebody_else() -> None:
    sockets = listen("127.0.0.1", 0)
    port = bound_port(sockets)
    (adopted,) = adopt([one.detach() for one in sockets])
    with adopted:
        assert bound_port([adopted]) == port
        assert adopted.proto == socket.IPPROTO_TCP
        assert not adopted.getblocking()
        assert not adopted.get_inheritable()
    with socket.socket() as idle, pytest.raises(ConfigError, match="not a listening TCP socket"):
        adopt([idle.fileno()])
    with open("/dev/null") as file, pytest.raises(ConfigError, match="cannot be listened on"):
        adopt([file.fileno()])
