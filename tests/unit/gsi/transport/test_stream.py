"""Host lists, port ranges, and TCP to loopback peers: every address tried, every failure named."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from gsi.errors import ConfigError, TimeoutExpiredError, TransportError
from gsi.transport.memory import joined_streams
from gsi.transport.stream import HostPort, PortRange, Stream, TCPStream, connect, parse_hosts, parse_port_range
from tests.harness.daemons import free_port


@contextlib.contextmanager
def listening(family: socket.AddressFamily = socket.AF_INET) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        server.listen(5)
        server.settimeout(30)
        yield server


def port_of(server: socket.socket) -> int:
    port: int = server.getsockname()[1]
    return port


# Lists and ranges


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a.example", [("a.example", 7512)]),
        ("a.example:1", [("a.example", 1)]),
        ("a, b:2 ,c", [("a", 7512), ("b", 2), ("c", 7512)]),
        ("127.0.0.1:80", [("127.0.0.1", 80)]),
        ("[::1]:7513", [("::1", 7513)]),
        ("[::1]", [("::1", 7512)]),
        ("::1", [("::1", 7512)]),
        ("fe80::1%lo,x", [("fe80::1%lo", 7512), ("x", 7512)]),
    ],
)
def test_host_lists(text: str, hosts: list[tuple[str, int]]) -> None:
    assert parse_hosts(text, default_port=7512) == tuple(HostPort(*host) for host in hosts)


@pytest.mark.parametrize(
    "text",
    ["", ",", "a,", "a:", "a:x", "a:0", "a:65536", "a:-1", "[::1", "[]:1", "[::1]x", "[::1]:", ":1", "a b", "a\n"],
)
def test_what_is_no_host_list(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_hosts(text.replace("\n", "\n:"), default_port=7512)


def test_how_a_host_is_shown() -> None:
    assert str(HostPort("::1", 1)) == "[::1]:1"
    assert str(HostPort("a", 1)) == "a:1"


def test_port_ranges() -> None:
    assert parse_port_range("") is None
    assert parse_port_range("20000,20010") == PortRange(20000, 20010)
    assert parse_port_range("20000 20000") == PortRange(20000, 20000)
    for text in ("1", "2,1", "0,5", "1,65536", "a,b", "1,2,3", "-1,5"):
        with pytest.raises(ConfigError):
            parse_port_range(text)


# TCP


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_both_families_carry_bytes(family: socket.AddressFamily) -> None:
    with listening(family) as server:
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        stream, entry = connect([HostPort(host, port_of(server))])
        accepted, _ = server.accept()
        with accepted:
            assert entry.host == stream.peer.host == host
            stream.send(b"x" * 100_000)
            received = b""
            while len(received) < 100_000:
                received += accepted.recv(65536)
            accepted.sendall(b"answer")
            assert stream.receive() == b"answer"
        assert stream.receive() == b""
        stream.close()
        stream.close()


def test_the_first_host_that_answers_is_taken() -> None:
    closed = free_port()
    with listening() as server:
        hosts = [
            HostPort("no.such.host.invalid", 1),
            HostPort("127.0.0.1", closed),
            HostPort("localhost", port_of(server)),
        ]
        stream, entry = connect(hosts)
        assert entry is hosts[2]
        stream.close()


def test_every_failure_is_named() -> None:
    closed = free_port()
    with pytest.raises(TransportError) as caught:
        connect([HostPort("no.such.host.invalid", 1), HostPort("127.0.0.1", closed)])
    assert "no.such.host.invalid" in caught.value.message
    assert f"127.0.0.1:{closed}: Connection refused" in caught.value.message
    assert caught.value.hint


def test_silence_ends_with_an_error() -> None:
    with listening() as server:
        stream, _ = connect([HostPort("127.0.0.1", port_of(server))], read_timeout=0.05)
        with pytest.raises(TimeoutExpiredError, match="silent"):
            stream.receive()
        stream.close()


def test_a_peer_that_says_something_now_and_then_gets_no_more_time() -> None:
    with listening() as server:
        stream, _ = connect([HostPort("127.0.0.1", port_of(server))], within=0.2)
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"x")
            assert stream.receive() == b"x"
            for _ in range(2):  # the first waits for what is left, not for a whole time-out; the second not at all
                with pytest.raises(TimeoutExpiredError, match="did not answer in time"):
                    stream.receive()
            with pytest.raises(TimeoutExpiredError, match="did not answer in time"):
                stream.send(b"x")
        stream.close()


def test_all_addresses_share_one_time() -> None:
    with pytest.raises(TimeoutExpiredError, match="no connection within 0 seconds"):
        connect([HostPort("127.0.0.1", 1), HostPort("localhost", 1)], within=0)


def test_a_peer_that_takes_nothing_ends_with_an_error() -> None:
    with listening() as server:
        stream, _ = connect([HostPort("127.0.0.1", port_of(server))], read_timeout=0.05)
        with pytest.raises(TimeoutExpiredError, match="took no data"):
            stream.send(bytes(64 << 20))
        stream.close()


def test_local_ports_come_from_the_range() -> None:
    taken, free = sorted((free_port(), free_port()))
    with listening() as server, socket.socket() as blocker:
        blocker.bind(("127.0.0.1", taken))
        blocker.listen(1)
        stream, _ = connect([HostPort("127.0.0.1", port_of(server))], port_range=PortRange(free, free))
        accepted, address = server.accept()
        accepted.close()
        assert address[1] == free
        stream.close()
        with pytest.raises(TransportError):
            connect([HostPort("127.0.0.1", port_of(server))], port_range=PortRange(taken, taken))


def test_sending_to_a_peer_that_is_gone() -> None:
    with listening() as server:
        stream, _ = connect([HostPort("127.0.0.1", port_of(server))])
        accepted, _ = server.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        accepted.close()  # a reset
        assert stream.receive() == b""  # the reset counts as the end
        with pytest.raises(TransportError, match="sending"):
            stream.send(bytes(64 << 20))
        stream.close()


# In memory


def test_joined_streams() -> None:
    one, other = joined_streams(portion=2)
    both: tuple[Stream, Stream] = (one, other)
    assert both
    one.send(b"abc")
    one.send(b"")
    assert [other.receive(), other.receive()] == [b"ab", b"c"]
    one.close()
    one.close()
    assert [other.receive(), other.receive()] == [b"", b""]
    other.send(b"x")
    assert one.receive() == b"x"
    with pytest.raises(TransportError):
        one.send(b"y")


def test_a_stream_is_a_stream() -> None:
    with listening() as server:
        stream: Stream = connect([HostPort("127.0.0.1", port_of(server))])[0]
        assert isinstance(stream, TCPStream)
        stream.close()
