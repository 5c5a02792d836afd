from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

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


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_exchange(host: str) -> None:
    """Answers go back to where the question came from; silence is silence; a defect ends one answer only."""
    sockets = listen_udp(host, 0)
    asked: list[tuple[bytes, str]] = []

    def answer(message: bytes, peer: str) -> bytes | None:
        asked.append((message, peer))
        if message == b"defect":
            raise RuntimeError("on purpose")
        return None if message == b"silence" else b"re: " + message

    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as executor:
            shell = DatagramShell(sockets, answer, executor, threads=1, admit=lambda source, _: source != "refused")
            shell.start(loop)
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect(sockets[0].getsockname())
                for message in (b"silence", b"defect", b"hello"):
                    client.send(message)
                reply = await asyncio.wait_for(loop.sock_recv(client, 100), 10)
            shell.stop()
            shell.stop()
        return reply

    try:
        assert asyncio.run(run()) == b"re: hello"
    finally:
        for one in sockets:
            one.close()
    assert asked == [(b"silence", host), (b"defect", host), (b"hello", host)]


@pytest.mark.parametrize("address", ["127.0.0.2", "127.9.9.9"])
def test_answers_leave_from_where_the_question_came_to(address: str) -> None:
    """A machine with several addresses; a connected client hears no other."""
    sockets = listen_udp("0.0.0.0", 0)

    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as executor:
            shell = DatagramShell(
                sockets, lambda message, _: b"re: " + message, executor, threads=1, admit=lambda *_: True
            )
            shell.start(loop)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.bind(("127.0.0.1", 0))  # by itself it would take the address that it asks
                client.connect((address, sockets[0].getsockname()[1]))
                client.send(b"hello")
                try:
                    return await asyncio.wait_for(loop.sock_recv(client, 100), 10)
                finally:
                    shell.stop()

    try:
        assert asyncio.run(run()) == b"re: hello"
    finally:
        for one in sockets:
            one.close()


def test_more_than_threads_can_take() -> None:
    """What is too much waits in the kernel, and is answered when there is time again."""
    sockets = listen_udp("127.0.0.1", 0)

    async def run() -> set[bytes]:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as executor:
            shell = DatagramShell(sockets, lambda message, _: message, executor, threads=1, admit=lambda *_: True)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect(sockets[0].getsockname())
                for number in range(64):
                    client.send(bytes((number,)))
                shell.start(loop)
                found = {await asyncio.wait_for(loop.sock_recv(client, 10), 10) for _ in range(64)}
            shell.stop()
        return found

    try:
        assert asyncio.run(run()) == {bytes((number,)) for number in range(64)}
    finally:
        for one in sockets:
            one.close()


def test_source_not_admitted() -> None:
    sockets = listen_udp("127.0.0.1", 0)
    admitted: list[str] = []

    def admit(source: str, message: bytes) -> bool:
        assert message in {b"one", b"two"}
        admitted.append(source)
        return len(admitted) > 1

    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as executor:
            shell = DatagramShell(sockets, lambda message, _: message, executor, threads=1, admit=admit)
            shell.start(loop)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect(sockets[0].getsockname())
                client.send(b"one")
                client.send(b"two")
                reply = await asyncio.wait_for(loop.sock_recv(client, 10), 10)
            shell.stop()
        return reply

    try:
        assert asyncio.run(run()) == b"two"
    finally:
        for one in sockets:
            one.close()
    assert admitted == ["127.0.0.1"] * 2
