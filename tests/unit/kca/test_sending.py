"""One message over UDP and TCP to servers of all manners: prompt, silent, deaf on one side, and lying."""

from __future__ import annotations

import socket
import threading

import pytest

from gsi.errors import GridError, ParseError, TransportError
from kca import sending
from kca.protocol.messages import MACError, RefusedByKCAError
from kca.sending import Address, SilenceError, addresses, exchange
from tests.harness.message_server import Server, serving

MESSAGE = b"a message"


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the usual patience; no assertion looks at the time."""
    monkeypatch.setattr(sending, "FIRST_WAIT", 0.1)
    monkeypatch.setattr(sending, "GRACE_SECONDS", 0.1)


def _frame(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _take(data: bytes) -> str:
    if data == b"forged":
        raise MACError("forged")
    if data == b"noise":
        raise ParseError("noise", what="reply")
    if data == b"unproved no":
        raise RefusedByKCAError("no", code=3, authenticated=False)
    if data == b"came before":
        raise RefusedByKCAError("came before", code=3, authenticated=False, kerberos_error=34)
    if data == b"no":
        raise RefusedByKCAError("no", code=1012, authenticated=True)
    return data.decode()


def _send(server: Server, message: bytes = MESSAGE, *, udp: bool = True, tcp: bool = True, timeout: float = 5.0) -> str:
    return exchange([server.place], message, _take, timeout=timeout, udp=udp, tcp=tcp)


def test_datagram() -> None:
    with serving(udp=lambda data, _: [b"re: " + data]) as server:
        assert _send(server) == "re: a message"


def test_lost_and_sent_again() -> None:
    """The same bytes, not a new request."""
    with serving(udp=lambda _, number: [b"yes"] if number == 3 else []) as server:
        assert _send(server, tcp=False) == "yes"
        assert set(server.received) == {MESSAGE}


def test_silent_on_datagrams() -> None:
    with serving(udp=lambda *_: [], tcp=lambda data: _frame(b"re: " + data[4:])) as server:
        assert _send(server) == "re: a message"


def test_no_datagrams_at_all() -> None:
    with serving(tcp=lambda _: _frame(b"yes")) as server:
        assert _send(server) == "yes"
        assert _send(server, udp=False) == "yes"


def test_long_message_goes_by_tcp() -> None:
    with serving(udp=lambda *_: [b"UDP"], tcp=lambda _: _frame(b"TCP")) as server:
        assert _send(server, bytes(2000)) == "TCP"


UNPROVED = [b"forged", b"noise", b"unproved no"]


@pytest.mark.parametrize("first", UNPROVED)
def test_what_proves_nothing_ends_nothing(first: bytes) -> None:
    """A forged no is there at once; the service takes its time, as when its disk is busy, and wins."""
    with serving(udp=lambda _, number: [first] if number < 4 else [b"yes"]) as server:
        assert _send(server, tcp=False) == "yes"
    with serving(udp=lambda *_: [first]) as server, pytest.raises(GridError, match=first.decode().split()[-1]):
        _send(server, tcp=False, timeout=0.5)


@pytest.mark.parametrize("first", UNPROVED)
def test_forged_datagram_and_slow_connection(first: bytes) -> None:
    """A connection is asked at once, and waits as a service has it wait that is at work on the datagram."""
    done = threading.Event()

    def answer(_data: bytes) -> bytes:
        done.wait(1.0)  # longer than the client would wait if it believed the datagram
        return _frame(b"yes")

    with serving(udp=lambda *_: [first], tcp=answer) as server:
        assert _send(server) == "yes"


@pytest.mark.parametrize("reply", [None, b"unproved no", b"came before"])
def test_connection_from_another_address(reply: bytes | None) -> None:
    """Behind address translation a connection seems to be somebody else's, who repeats what came before; the datagram
    is at work, and its answer is still due."""
    frame = None if reply is None else _frame(reply)
    with serving(udp=lambda _, number: [b"unproved no"] if number < 4 else [b"yes"], tcp=lambda _: frame) as server:
        if reply == b"unproved no":  # the service has said it on every way
            with pytest.raises(RefusedByKCAError):
                _send(server, timeout=30.0)
        else:
            assert _send(server) == "yes"
    with serving(udp=lambda _, number: [] if number < 4 else [b"yes"], tcp=lambda _: _frame(b"unproved no")) as server:
        assert _send(server) == "yes"


def test_the_first_no_is_shown() -> None:
    """That copies came before says nothing about why."""
    with (
        serving(udp=lambda *_: [b"unproved no"], tcp=lambda _: _frame(b"came before")) as server,
        pytest.raises(RefusedByKCAError) as refused,
    ):
        _send(server, timeout=0.5)
    assert refused.value.kerberos_error is None


def test_proved_no() -> None:
    with serving(udp=lambda *_: [b"no", b"yes"]) as server, pytest.raises(RefusedByKCAError) as refused:
        _send(server)
    assert refused.value.authenticated


def test_hung_up() -> None:
    """Taken and closed: somebody is there who will not talk."""
    with serving(udp=lambda *_: [], tcp=lambda _: None) as server, pytest.raises(SilenceError) as silence:
        _send(server, timeout=30.0)
    assert silence.value.closed


def test_hung_up_while_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that closes what is too much for it may have taken the datagram before."""
    monkeypatch.setattr(sending, "GRACE_SECONDS", 1.0)
    with serving(udp=lambda _, number: [] if number < 3 else [b"yes"], tcp=lambda _: None) as server:
        assert _send(server) == "yes"


@pytest.mark.parametrize("reply", [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x05abc"])
def test_broken_stream(reply: bytes) -> None:
    with serving(tcp=lambda _: reply) as server, pytest.raises(TransportError):
        _send(server, udp=False)


def test_silence() -> None:
    with serving(udp=lambda *_: []) as server, pytest.raises(SilenceError, match="no answer") as silence:
        exchange([server.place], MESSAGE, _take, timeout=0.3, tcp=False)
    assert not silence.value.closed


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = Address(socket.AF_INET, free.getsockname())
    with pytest.raises(TransportError, match="refused"):
        exchange([place], MESSAGE, _take, timeout=5.0)
    with pytest.raises(TransportError):
        exchange([], MESSAGE, _take, timeout=5.0)


def test_second_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = Address(socket.AF_INET, free.getsockname())
    with serving(udp=lambda *_: [b"yes"]) as server:
        assert exchange([dead, server.place], MESSAGE, _take, timeout=5.0) == "yes"


def test_addresses() -> None:
    assert str(addresses("::1", 9878)[0]) == "[::1]:9878"
    assert str(addresses("127.0.0.1", 9878)[0]) == "127.0.0.1:9878"
    with pytest.raises(TransportError):
        addresses("no.such.host.invalid", 9878)
