from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from gsi.errors import ConfigError
from kca.datagrams import MAX_SOURCES, DatagramShell, RateCap, listen_udp, share


def test_rate() -> None:
    cap = RateCap(2.0)
    assert [cap.admit("a", 0.0) for _ in range(6)] == [True] * 4 + [False] * 2  # two seconds' worth at once
    assert cap.admit("b", 0.0)
    assert not cap.admit("a", 0.4)
    assert cap.admit("a", 0.5)
    assert not cap.admit("a", 0.5)
    assert [cap.admit("a", 1000.0) for _ in range(5)] == [True] * 4 + [False]


def test_rate_is_bounded() -> None:
    """A flood from everywhere takes no more memory, and the one that is known longest without asking goes first."""
    cap = RateCap(1.0)
    for number in range(MAX_SOURCES + 10):
        cap.admit(str(number), 0.0)
    assert len(cap._buckets) == MAX_SOURCES


@pytest.mark.parametrize(("per_second", "workers", "mine"), [(50, 2, 25.0), (1, 8, 1.0), (5, 2, 3.0)])
def test_share(per_second: int, workers: int, mine: float) -> None:
    assert share(per_second, workers) == mine


def test_no_place() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        listen_udp("192.0.2.1", 9)


@contextlib.contextmanager
def serving(
    host: str,
    answer: Callable[[bytes, str], bytes | None] = lambda message, _: message,
    admit: Callable[[str, bytes], bool] = lambda *_: True,
    *,
    threads: int = 1,
) -> Iterator[socket.socket]:
    """Yield a socket that is served; its clients wait no longer than ten seconds."""
    sockets = listen_udp(host, 0)
    shell = DatagramShell(sockets, answer, threads=threads, admit=admit)
    shell.start()
    try:
        yield sockets[0]
    finally:
        shell.stop()
        for one in sockets:
            one.close()


@contextlib.contextmanager
def client(server: socket.socket, address: str | None = None) -> Iterator[socket.socket]:
    """Yield a connected socket."""
    host, port = server.getsockname()[:2]
    with socket.socket(server.family, socket.SOCK_DGRAM) as made:
        made.settimeout(10)
        if address is not None:
            made.bind(("127.0.0.1", 0))  # by itself it would take the address that it asks
        made.connect((address or host, port))
        yield made


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_exchange(host: str) -> None:
    """Answers go back to where the question came from; silence is silence; a defect ends one answer only."""
    asked: list[tuple[bytes, str]] = []

    def answer(message: bytes, peer: str) -> bytes | None:
        asked.append((message, peer))
        if message == b"defect":
            raise RuntimeError("on purpose")
        return None if message == b"silence" else b"re: " + message

    with serving(host, answer) as server, client(server) as made:
        for message in (b"silence", b"defect", b"hello"):
            made.send(message)
        assert made.recv(100) == b"re: hello"
    assert asked == [(b"silence", host), (b"defect", host), (b"hello", host)]


@pytest.mark.parametrize("address", ["127.0.0.2", "127.9.9.9"])
def test_answers_leave_from_where_the_question_came_to(address: str) -> None:
    """A machine with several addresses; a connected client hears no other."""
    with serving("0.0.0.0", lambda message, _: b"re: " + message) as server, client(server, address) as made:
        made.send(b"hello")
        assert made.recv(100) == b"re: hello"


def test_more_than_threads_can_take() -> None:
    """A worker takes what it has threads for; the rest waits where other workers find it."""
    busy, release = threading.Semaphore(0), threading.Event()

    def answer(message: bytes, _peer: str) -> bytes:
        busy.release()
        assert release.wait(10)
        return message

    with serving("127.0.0.1", answer, threads=2) as server, client(server) as made:
        for number in range(5):
            made.send(bytes((number,)))
        assert all(busy.acquire(timeout=10) for _ in range(2))
        left = [server.recv(10) for _ in range(3)]
        release.set()
        assert left == [b"\2", b"\3", b"\4"]
        assert {made.recv(10) for _ in range(2)} == {b"\0", b"\1"}


def test_what_is_in_hand_is_answered_before_the_end() -> None:
    sockets = listen_udp("127.0.0.1", 0)
    begun, release = threading.Event(), threading.Event()

    def answer(message: bytes, _peer: str) -> bytes:
        begun.set()
        assert release.wait(10)
        return message

    shell = DatagramShell(sockets, answer, threads=2, admit=lambda *_: True)
    shell.start()
    with client(sockets[0]) as made:
        made.send(b"in hand")
        assert begun.wait(10)
        stopping = threading.Thread(target=shell.stop)
        stopping.start()
        release.set()
        stopping.join(10)
        assert made.recv(10) == b"in hand"
        shell.stop()
        made.send(b"late")
        assert sockets[0].recv(10) == b"late"  # nobody has taken it
    sockets[0].close()


def test_source_not_admitted() -> None:
    """Nor does a defect there end a thread."""
    admitted: list[tuple[str, bytes]] = []

    def admit(source: str, message: bytes) -> bool:
        admitted.append((source, message))
        if message == b"defect":
            raise RuntimeError("on purpose")
        return message == b"two"

    with serving("127.0.0.1", admit=admit) as server, client(server) as made:
        for message in (b"defect", b"one", b"two"):
            made.send(message)
        assert made.recv(10) == b"two"
    assert admitted == [("127.0.0.1", message) for message in (b"defect", b"one", b"two")]
