"""A program for each connection, and in the end nothing is left of any, whatever it has become meanwhile."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from gsi.sandbox.vo import free_port

# Answers one line with its process id, and leaves a daemon behind.
PROGRAM = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        for number in (0, 1):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        time.sleep(60)
    os._exit(0)
sys.stdout.write(sys.stdin.readline())
print("told", file=sys.stderr)
"""


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_each_connection_is_a_programs_input_and_output(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    argv = [sys.executable, "-m", "gsi.sandbox.inetd", str(port), "", str(log), sys.executable, "-c", PROGRAM]
    daemons = []
    with subprocess.Popen(argv) as process:
        try:
            for line in ("one\n", "two\n"):
                while True:
                    try:
                        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
                        break
                    except ConnectionRefusedError:
                        time.sleep(0.02)
                with connection, connection.makefile("rw") as stream:
                    stream.write(line)
                    stream.flush()
                    answers = sorted((stream.readline(), stream.readline()))
                    assert answers[1] == line
                    daemons.append(int(answers[0]))
                    assert stream.readline() == "", "it holds no connection open"
            assert all(map(_runs, daemons))
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert not any(map(_runs, daemons))
    assert log.read_text() == "told\ntold\n"
