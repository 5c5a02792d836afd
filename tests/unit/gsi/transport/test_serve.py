"""The accept loop with real sockets: limits, time, signals, workers; an echo service stands for a protocol."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO, NamedTuple, Self, cast

import pytest

from gsi.errors import ConfigError
from gsi.transport import serve
from gsi.transport.connection import READS_PER_TURN, Connection, RawConnection
from gsi.transport.serve import bound_port, listen
from gsi.transport.stream import HostPort
from gsi.transport.tls import TLSSession
from tests.harness.ca import Issued, TestCA, write_trust_dir

CA_ = TestCA("/O=Grid/CN=CA", "p256")
ALICE = CA_.issue("/O=Grid/CN=Alice", "p256")
MALLORY = CA_.issue("/O=Grid/CN=Mallory", "p256")
WAIT = 30.0  # seconds; nothing here takes one
ROOT = Path(__file__).parents[4]
PROGRAM = """
import asyncio, os, resource, sys
from datetime import UTC, datetime
from gsi.credential import parse_credential
from gsi.errors import GridError, VerificationError
from gsi.system.trustdir import TrustDirectory
from gsi.transport.tls import ServerTLS
from gsi.transport.serve import Limits, bound_port, listen, serve

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

files = {files}
if files:
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
trust = {trust!r}
if trust:
    anchors = TrustDirectory(trust).anchors
    tls = ServerTLS(parse_credential(open(trust + "/../host.pem", "rb").read()), anchors)
eaten = []
loaded = asyncio.Event()

class Echo:
    limits = Limits({limits})
    def __init__(self):
        say("made")
    def tls_session(self):
        return tls.session() if trust else None
    def report(self, peer, error):
        say("report", type(error).__name__, error)
    async def started(self):
        pass
    def reload(self):
        say("reload")
        if {slow_reload}:
            return self.read()
        if {fail_reload}:
            raise GridError("bad configuration")
    async def read(self):
        await loaded.wait()
        loaded.clear()
        raise GridError("read slowly")
    def close(self):
        say("closed")
    async def handle(self, connection):
        say("handling")
        if trust:
            try:
                connection.tls.verify_peer(anchors(), now=datetime.now(UTC))
            except VerificationError as error:
                if not await connection.refuse_peer(error):
                    await connection.receive()
                    await connection.send(b"no: " + error.reason.encode())
                return
        while data := await connection.receive():
            if data == b"fail":
                raise ValueError("a defect")
            if data == b"die":
                os._exit(9)
            if data == b"files":
                data = str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]).encode()
            if data == b"eat":
                while True:
                    try:
                        eaten.append(open("/dev/null"))
                    except OSError:
                        break
            if data == b"spit":
                for one in eaten:
                    one.close()
            if data == b"load":
                loaded.set()
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
def server(
    *,
    limits: str = "",
    workers: int = 1,
    once: bool = False,
    fail_reload: bool = False,
    slow_reload: bool = False,
    files: tuple[int, int] | None = None,
    trust: Path | None = None,
) -> Iterator[Running]:
    program = textwrap.dedent(PROGRAM).format(
        limits=limits,
        workers=workers,
        once=once,
        fail_reload=fail_reload,
        slow_reload=slow_reload,
        files=files,
        trust=None if trust is None else str(trust),
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT, bufsize=0)
    assert process.stdout is not None
    try:
        running = Running(process, process.stdout, 0)
        while not (line := running.line()).startswith("ready"):
            assert line == "made" or line.startswith("report ConfigError the limit of open files")
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


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("local", "local"),
    ],
)
def test_what_counts_as_one_source(address: str, source: str) -> None:
    assert serve.source_of(HostPort(address, 1)) == source


def test_the_limit_of_open_files_is_raised_and_kept_clear_of() -> None:
    """Half of a tiny limit is for connections; the next one is refused in order, not by a failing accept."""
    with server(files=(64, 80)) as running, contextlib.ExitStack() as stack:
        many = [stack.enter_context(running.connect()) for _ in range(40)]
        assert ask(many[0], b"files") == b"80!"
        assert [ask(one, b"1") for one in many] == [b"1!"] * 40
        with running.connect() as late:
            assert _closed(late)
        running.wait_for("report TransportError connection refused: too many connections")


def test_no_files_left() -> None:
    """One line, no traceback, and service goes on where there is one, and for everyone once there are files again."""
    with server(files=(64, 64)) as running, running.connect() as one:
        assert ask(one, b"eat") == b"eat!"
        with running.connect() as two:
            two.sendall(b"2")
            running.wait_for("report TransportError no connections can be accepted now: Too many open files")
            assert ask(one, b"still") == b"still!"
            assert ask(one, b"spit") == b"spit!"
            assert two.recv(100) == b"2!"
        assert running.line() == "handling"


def _closed(connection: socket.socket) -> bool:
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


def test_a_slow_peer_is_dropped() -> None:
    with server(limits="request_seconds=0.05") as running, running.connect() as one:
        assert _closed(one)
        running.wait_for("report TimeoutExpiredError the request took too long")


# TLS


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trust directory whose CA has revoked Mallory, and the host's credential beside it."""
    directory = tmp_path_factory.mktemp("tls")
    CA_.issue_host().write_bundle(directory / "host.pem")
    return write_trust_dir(directory / "certificates", CA_, crl=CA_.crl([MALLORY]))


class Client:
    """A TLS client in pieces: what it sends and when is the test's."""

    def __init__(self, running: Running, issued: Issued | None, version: str, tmp_path: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion[version]
        if issued is not None:
            issued.write_bundle(tmp_path / "client.pem")
            context.load_cert_chain(tmp_path / "client.pem")
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        self.socket = running.connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        if data := self.outgoing.read():
            self.socket.sendall(data)

    def handshake(self) -> None:
        """Up to the point where nothing more has to come; the last bytes stay in `outgoing`."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                self.fill()
            else:
                return

    def fill(self) -> None:
        if data := self.socket.recv(65536):
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def read(self) -> bytes:
        self.flush()
        while True:
            try:
                return self.tls.read(1000)
            except ssl.SSLWantReadError:
                self.fill()
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b""


VERSIONS = ["TLSv1_2", "TLSv1_3"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("issued", [None, ALICE])
def test_an_echo_through_tls(trust: Path, tmp_path: Path, version: str, issued: Issued | None) -> None:
    with server(trust=trust) as running, Client(running, issued, version, tmp_path) as client:
        client.handshake()
        client.tls.write(b"hello")
        client.flush()
        client.socket.shutdown(socket.SHUT_WR)  # the other direction stays open
        assert [client.read(), client.read(), client.read()] == [b"hello", b"!", b""]


def test_a_refused_client_on_tls_1_2_sees_its_handshake_fail(trust: Path, tmp_path: Path) -> None:
    with server(trust=trust) as running, Client(running, MALLORY, "TLSv1_2", tmp_path) as client:
        with pytest.raises(ssl.SSLError, match="REVOKED"):
            client.handshake()
        assert client.socket.recv(100) == b""


def test_a_refused_client_on_tls_1_3_that_speaks_is_told_why(trust: Path, tmp_path: Path) -> None:
    with server(trust=trust) as running, Client(running, MALLORY, "TLSv1_3", tmp_path) as client:
        client.handshake()
        client.tls.write(b"hello")
        assert client.read() == b"no: revoked"


def test_a_refused_client_on_tls_1_3_that_waits_gets_nothing(trust: Path, tmp_path: Path) -> None:
    """Not even the ticket, which would tell a C client that the handshake went well."""
    with server(trust=trust) as running, Client(running, MALLORY, "TLSv1_3", tmp_path) as client:
        client.handshake()
        client.flush()
        assert client.socket.recv(100) == b""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_slow_handshake_is_dropped_however_busy(trust: Path, tmp_path: Path, version: str) -> None:
    """Byte by byte: the time counts from the beginning, not from the last byte."""
    with (
        server(trust=trust, limits="handshake_seconds=0.3") as running,
        Client(running, None, version, tmp_path) as client,
    ):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.do_handshake()
        hello = client.outgoing.read()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for at in range(len(hello) - 1):
                client.socket.sendall(hello[at : at + 1])
                if select.select([client.socket], [], [], 0.01)[0]:
                    break
        assert _closed(client.socket)
        running.wait_for("report TimeoutExpiredError the TLS handshake took too long")


class Talkative:
    """Stands for a TLS session whose peer has sent a great many records at once."""

    def __init__(self, records: int) -> None:
        self._records = records

    def read(self) -> bytes:
        self._records -= 1
        return b"x"


@pytest.mark.parametrize("read", [Connection.receive, lambda connection: connection.receive_within(WAIT)])
def test_reading_what_is_there_yields_to_the_others(read: Callable[[Connection], Awaitable[bytes | None]]) -> None:
    async def count_turns(reads: int) -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        raw = cast("RawConnection", SimpleNamespace(peer=HostPort("local", 0)))
        connection = Connection(raw, cast("TLSSession", Talkative(reads)))
        task = asyncio.get_running_loop().create_task(others())
        for _ in range(reads):
            await read(connection)
        task.cancel()
        return turns

    assert asyncio.run(count_turns(1000)) >= 1000 // READS_PER_TURN


# Signals and workers


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


def test_a_stop_waits_for_nobody_who_has_said_nothing() -> None:
    """The limit is an hour: only who has begun to speak is worth it."""
    with server(limits="drain_seconds=3600") as running, running.connect() as busy, running.connect() as idle:
        assert ask(busy, b"hello") == b"hello!"
        running.process.terminate()
        assert _closed(idle)
        assert ask(busy, b"still") == b"still!"
        busy.close()
        assert running.process.wait(WAIT) == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stop_waits_for_no_handshake(trust: Path, tmp_path: Path, version: str) -> None:
    with (
        server(trust=trust, limits="drain_seconds=3600") as running,
        Client(running, None, version, tmp_path) as client,
    ):
        running.process.terminate()
        assert _closed(client.socket)
        assert running.process.wait(WAIT) == 0


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


def test_reloads_take_turns_and_hold_nobody_up() -> None:
    with server(slow_reload=True) as running, running.connect() as one:
        for _ in range(2):
            running.process.send_signal(signal.SIGHUP)
            running.wait_for("reload")
            running.process.send_signal(signal.SIGHUP)
            assert ask(one, b"still") == b"still!"
            assert ask(one, b"load") == b"load!"
            running.wait_for("report GridError read slowly")
            running.wait_for("reload")
            assert ask(one, b"load") == b"load!"
            running.wait_for("report GridError read slowly")


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


@pytest.mark.parametrize("taken_for_ever", [False, True])
def test_a_free_port_that_somebody_has_in_the_other_family(
    monkeypatch: pytest.MonkeyPatch, taken_for_ever: bool
) -> None:
    """Two addresses stand for the two families; the kernel is made to choose a port that the second one lacks."""
    tried: list[int] = []
    with socket.create_server(("127.0.0.2", 0)) as somebody:

        def choose(sockets: list[socket.socket]) -> int:
            tried.append(sockets[0].fileno())
            return bound_port([somebody] if taken_for_ever or len(tried) < 3 else sockets)

        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("127.0.0.1", "127.0.0.2")]
        monkeypatch.setattr("gsi.transport.serve.bound_port", choose)
        monkeypatch.setattr("gsi.transport.serve.socket.getaddrinfo", lambda *_, **__: found)
        if taken_for_ever:
            with pytest.raises(ConfigError, match="already in use"):
                listen(None, 0)
            assert len(tried) == serve.FREE_PORT_TRIES
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(tried[-1])
            return
        sockets = listen(None, 0)
    try:
        assert len(tried) == 3
        assert [one.getsockname() for one in sockets] == [
            (host, bound_port(sockets)) for host in ("127.0.0.1", "127.0.0.2")
        ]
    finally:
        for one in sockets:
            one.close()


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EACCES])
def test_only_a_machine_without_ipv6_serves_ipv4_alone(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Where somebody else has the port in that family, its clients would come to him."""
    make = socket.socket

    def without(family: int, *rest: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(number, os.strerror(number))
        return make(family, *rest)

    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr("gsi.transport.serve.socket.getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr("gsi.transport.serve.socket.socket", without)
    if number in {errno.EADDRINUSE, errno.EACCES}:
        with pytest.raises(ConfigError, match=os.strerror(number)):
            listen(None, 0)
        return
    (only,) = listen(None, 0)
    with only:
        assert only.family == socket.AF_INET
    with pytest.raises(ConfigError, match=os.strerror(number)):
        listen("localhost", 0)
    found.pop()
    with pytest.raises(ConfigError, match="not supported"):
        listen(None, 0)
