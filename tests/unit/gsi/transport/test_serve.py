"""The accept loop with real sockets: limits, time, signals, workers; a plain echo service stands for a protocol."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from gsi.errors import ConfigError
from gsi.transport.serve import bound_port, listen

WAIT = 30.0  # seconds; nothing here takes one
ROOT = Path(__file__).parents[4]
PROGRAM = """
import asyncio, os, sys
from gsi.errors import GridError
from gsi.transport.serve import Limits, bound_port, listen, serve

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

class Echo:
    limits = Limits({limits})
    def __init__(self):
        say("made")
    def tls_session(self):
        return None
    def report(self, peer, error):
        say("report", type(error).__name__, error)
    def reload(self):
        say("reload")
        if {fail_reload}:
            raise GridError("bad configuration")
    def close(self):
        say("closed")
    async def handle(self, connection):
        say("handling")
        while data := await connection.receive():
            if data == b"fail":
                raise ValueError("a defect")
            if data == b"die":
                os._exit(9)
            if data == b"pid":
                data = str(os.getpid()).encode()
            if data == b"patient":
                data = b"silent" if await connection.receive_within(0.01) is None else b"spoke"
            await connection.send(data, b"!")
        say("done")

sockets = listen("127.0.0.1", 0)
sys.exit(serve(sockets, Echo, workers={workers}, once={once}, on_ready=lambda: say("ready", bound_port(sockets))))
"""


class Running(NamedTuple):
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    port: int

    def line(self) -> str:
        """The next line that the server says."""
        assert select.select([self.output], [], [], WAIT)[0], "the server says nothing"
        return self.output.readline().decode().strip()

    def wait_for(self, text: str) -> None:
        while self.line() != text:
            pass

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


def ask(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return connection.recv(100)


@contextlib.contextmanager
def server(*, limits: str = "", workers: int = 1, once: bool = False, fail_reload: bool = False) -> Iterator[Running]:
    program = textwrap.dedent(PROGRAM).format(limits=limits, workers=workers, once=once, fail_reload=fail_reload)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT, bufsize=0)
    assert process.stdout is not None
    try:
        running = Running(process, process.stdout, 0)
        while not (line := running.line()).startswith("ready"):
            assert line == "made"
        yield running._replace(port=int(line.split()[1]))
    finally:
        process.terminate()
        process.wait(WAIT)
        process.stdout.close()


def test_connections_are_served_side_by_side() -> None:
    with server() as running, running.connect() as one, running.connect() as other:
        assert ask(other, b"hello") == b"hello!"
        assert ask(one, b"there") == b"there!"
        assert ask(one, b"patient") == b"silent!"


def test_much_data_in_both_directions() -> None:
    """More than any buffer on the way, so that both sides have to wait for the other."""
    size = 8 << 20
    with server() as running, running.connect() as one:
        pid = os.fork()
        if not pid:
            try:
                one.sendall(b"x" * size)
                one.shutdown(socket.SHUT_WR)
            finally:
                os._exit(0)
        received = 0
        while data := one.recv(1 << 16):
            received += data.count(b"x")
        os.waitpid(pid, 0)
        assert received == size


def test_a_defect_ends_one_connection_only() -> None:
    with server() as running, running.connect() as one, running.connect() as other:
        assert ask(one, b"fail") == b""
        running.wait_for("report GridError internal error: ValueError: a defect")
        assert ask(other, b"hello") == b"hello!"


def test_too_many_from_one_source() -> None:
    with server(limits="per_source=2") as running, running.connect() as one, running.connect() as two:
        assert ask(one, b"1") + ask(two, b"2") == b"1!2!"
        with running.connect() as three:
            assert _closed(three)
        running.wait_for("report TransportError connection refused: 2 connections from 127.0.0.1")
        one.close()
        running.wait_for("done")
        with running.connect() as four:
            assert ask(four, b"4") == b"4!"


def test_too_many_in_all() -> None:
    with server(limits="connections=1") as running, running.connect() as one:
        assert ask(one, b"1") == b"1!"
        with running.connect() as two:
            assert _closed(two)
        running.wait_for("report TransportError connection refused: too many connections")


def _closed(connection: socket.socket) -> bool:
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


def test_a_slow_peer_is_dropped() -> None:
    with server(limits="request_seconds=0.05") as running, running.connect() as one:
        assert _closed(one)
        running.wait_for("report TimeoutExpiredError the request took too long")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_waits_for_running_requests(workers: int, number: signal.Signals) -> None:
    with server(workers=workers) as running, running.connect() as one:
        assert ask(one, b"hello") == b"hello!"
        running.process.send_signal(number)
        while True:  # until the port is closed
            try:
                running.connect().close()
            except ConnectionError:
                break
        assert ask(one, b"still") == b"still!"
        one.close()
        assert running.process.wait(WAIT) == 0


def test_a_stop_does_not_wait_for_ever() -> None:
    with server(limits="drain_seconds=0.05") as running, running.connect() as one:
        assert ask(one, b"hello") == b"hello!"
        running.process.terminate()
        assert running.process.wait(WAIT) == 0
        assert _closed(one)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_reaches_every_worker_and_drops_nothing(workers: int) -> None:
    with server(workers=workers) as running, running.connect() as one:
        assert ask(one, b"hello") == b"hello!"
        running.process.send_signal(signal.SIGHUP)
        for _ in range(workers):
            running.wait_for("reload")
        assert ask(one, b"still") == b"still!"


def test_a_reload_that_fails_is_reported() -> None:
    with server(fail_reload=True) as running:
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("report GridError bad configuration")
        with running.connect() as one:
            assert ask(one, b"still") == b"still!"


def test_one_connection_and_no_more() -> None:
    with server(once=True) as running:
        with running.connect() as one:
            assert ask(one, b"hello") == b"hello!"
        assert running.process.wait(WAIT) == 0


def test_a_worker_that_died_is_replaced() -> None:
    with server(workers=2) as running:
        with running.connect() as one:
            first = ask(one, b"pid")
            one.sendall(b"die")
            assert _closed(one)
        running.wait_for("made")
        with running.connect() as one:
            assert ask(one, b"pid") != first


def test_workers_end_when_their_supervisor_is_killed() -> None:
    with server(workers=2) as running:
        with running.connect() as one:
            worker = int(ask(one, b"pid").removesuffix(b"!"))
            watch = os.pidfd_open(worker)
        running.process.kill()
        assert select.select([watch], [], [], WAIT)[0]
        os.close(watch)


def test_a_service_that_cannot_start() -> None:
    program = (
        "import sys\nfrom gsi.errors import ConfigError\nfrom gsi.transport.serve import listen, serve\n"
        "def make():\n    raise ConfigError('no store')\n"
        "try:\n    sys.exit(serve(listen('127.0.0.1', 0), make, workers={}))\n"
        "except ConfigError as error:\n    sys.exit(f'raised {{error}}')\n"
    )
    for workers, words in ((1, b"raised no store\n"), (2, b"worker: no store\n")):
        done = subprocess.run(
            [sys.executable, "-c", program.format(workers)], cwd=ROOT, stderr=subprocess.PIPE, timeout=WAIT, check=False
        )
        assert done.returncode == 1
        assert words in done.stderr


# Listening


def test_all_addresses_of_both_families_on_one_port() -> None:
    sockets = listen(None, 0)
    try:
        families = {one.family for one in sockets}
        assert socket.AF_INET in families
        assert {one.getsockname()[1] for one in sockets} == {bound_port(sockets)}
        assert all(one.proto == socket.IPPROTO_TCP for one in sockets)
    finally:
        for one in sockets:
            one.close()


def test_a_port_that_is_taken() -> None:
    sockets = listen("127.0.0.1", 0)
    try:
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1"):
            listen("127.0.0.1", bound_port(sockets))
        with pytest.raises(ConfigError, match=r"no\.such\.host\.invalid"):
            listen("no.such.host.invalid", 0)
    finally:
        for one in sockets:
            one.close()
