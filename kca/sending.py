"""One message to one service, by UDP and TCP, until an answer is good; knows neither tickets nor what is asked.

    reply = exchange(addresses("kca.example.org", 9878), message, take=session.receive)

UDP goes first where the message fits into a packet of every network, and is sent again, the same bytes, after one,
two, four seconds; TCP joins in after the first second, and the other addresses of the host one by one. The first answer
that `take` accepts wins. What proves nothing (an answer without a seal, or with a wrong one) can be anybody's, and the
service may be at work all the while: so it is remembered, TCP joins in at once, and the wait ends early only when each
copy of the message that was sent has had its answer, one of them over a connection.
"""

from __future__ import annotations

import selectors
import socket
import time
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from gsi.errors import GridError, ParseError, ProtocolError, TimeoutExpiredError, TransportError
from kca.protocol.codec import FRAME_BYTES, MAX_RESPONSE_BYTES, encode_frame, frame_length
from kca.protocol.messages import KRB_AP_ERR_REPEAT, MACError, RefusedByKCAError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Address", "SilenceError", "addresses", "exchange"]

UDP_BYTES: Final = 1400
"""A longer message is sent by TCP first, as Kerberos does at 1465: fragments get lost."""
FIRST_WAIT: Final = 1.0
"""Seconds until a datagram is sent again, and the next way is tried; doubles."""
GRACE_SECONDS: Final = 1.0
"""How long an answer that proves something is waited for when no other is due any more."""
_MAX_DATAGRAM: Final = 65535
_T = TypeVar("_T")


class SilenceError(TransportError):
    """Nobody answered, or the connection was closed without an answer.

    Attributes:
        closed: Somebody is there, who took the message and hung up: Heimdal 7's way to say no.
    """

    def __init__(self, message: str, *, closed: bool, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.closed = closed


class Address(NamedTuple):
    """Where to send to."""

    family: socket.AddressFamily
    place: tuple[str, int] | tuple[str, int, int, int]

    def __str__(self) -> str:
        host, port = self.place[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def addresses(host: str, port: int) -> list[Address]:
    """Return all addresses of a host.

    Raises:
        TransportError: It has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise TransportError(f"{host}: {error}") from error
    return [
        Address(one[0], one[4])  # type: ignore[arg-type]  # the addresses of IPv4 and IPv6 have no other form
        for one in found
    ]


class _Way:
    """One open socket."""

    def __init__(self, address: Address, kind: socket.SocketKind) -> None:
        self.address = address
        self.is_stream = kind == socket.SOCK_STREAM
        self.received = b""
        self.connecting = self.is_stream
        self.answered = False
        self.socket = socket.socket(address.family, kind)
        self.socket.setblocking(False)

    def __str__(self) -> str:
        return f"{self.address} ({'TCP' if self.is_stream else 'UDP'})"


def exchange(
    places: Sequence[Address],
    message: bytes,
    take: Callable[[bytes], _T],
    *,
    timeout: float,
    udp: bool = True,
    tcp: bool = True,
) -> _T:
    """Return what the first good answer means.

    Args:
        places: The addresses of one service, in the order in which to try them.
        message: What to send.
        take: Turns an answer into what is wanted, or raises GridError.
        timeout: Seconds for everything.
        udp: Whether to use UDP.
        tcp: Whether to use TCP.

    Raises:
        SilenceError: There was no answer.
        RefusedByKCAError: A no, maybe one that proves nothing.
        GridError: What `take` raised on the last answer.
        TransportError: No way was open.
    """
    return _Exchange(places, message, take, udp=udp, tcp=tcp).run(timeout)


class _Exchange(Generic[_T]):
    def __init__(
        self, places: Sequence[Address], message: bytes, take: Callable[[bytes], _T], *, udp: bool, tcp: bool
    ) -> None:
        datagrams = [(place, socket.SOCK_DGRAM) for place in places if udp]
        streams = [(place, socket.SOCK_STREAM) for place in places if tcp]
        # One datagram and one connection to the first address, then the same to the next.
        both = [way for pair in zip(datagrams, streams, strict=False) for way in pair] or datagrams or streams
        if len(message) > UDP_BYTES:
            both.sort(key=lambda way: way[1] == socket.SOCK_DGRAM)
        self._pending = both
        self._message = message
        self._take = take
        self._selector = selectors.DefaultSelector()
        self._ways: list[_Way] = []
        self._failures: list[str] = []
        self._worst: GridError | None = None
        self._closed = False
        self._told_by_stream = False
        self._came_before = False

    def run(self, timeout: float) -> _T:
        begun = time.monotonic()
        deadline = begun + timeout
        settled: float | None = None
        wait, due = FIRST_WAIT, begun
        try:
            while True:
                now = time.monotonic()
                if now >= due:
                    self._resend()
                    due = now + wait
                    wait *= 2
                    self._open_next()
                while not self._ways and self._pending:
                    self._open_next()
                settled = (settled or now) if self._nothing_is_due() else None
                end = deadline if settled is None else min(deadline, settled + GRACE_SECONDS)
                if not self._ways or now >= end:
                    break
                for key, _ in self._selector.select(max(0.0, min(due, end) - now)):
                    found = self._serve(key.data)
                    if found is not None:
                        return found[0]
        finally:
            for way in self._ways:
                way.socket.close()
            self._selector.close()
        raise self._give_up(time.monotonic() - begun)

    def _nothing_is_due(self) -> bool:
        """Say whether the service has had its say, as far as can be known.

        Datagrams can be forged by whoever guesses a port, so they settle nothing by themselves. A service that has had
        the message before (from another address of ours, say) is at work on it, or its answer is on its way.
        """
        if self._worst is None:
            return self._closed
        return self._told_by_stream and not self._came_before and all(way.answered for way in self._ways)

    def _open_next(self) -> None:
        if not self._pending:
            return
        address, kind = self._pending.pop(0)
        try:
            way = _Way(address, kind)
        except OSError as error:
            self._failures.append(f"{address}: {error.strerror}")
            return
        self._ways.append(way)
        self._selector.register(way.socket, selectors.EVENT_WRITE if way.is_stream else selectors.EVENT_READ, way)
        try:
            way.socket.connect(way.address.place)
            if not way.is_stream:
                way.socket.send(self._message)
        except BlockingIOError:
            pass
        except OSError as error:
            self._drop(way, error.strerror or str(error))

    def _resend(self) -> None:
        for way in list(self._ways):
            if not way.is_stream:
                try:
                    way.socket.send(self._message)
                except BlockingIOError:
                    pass
                except OSError as error:
                    self._drop(way, error.strerror or str(error))

    def _drop(self, way: _Way, why: str) -> None:
        self._failures.append(f"{way}: {why}")
        self._selector.unregister(way.socket)
        way.socket.close()
        self._ways.remove(way)

    def _serve(self, way: _Way) -> tuple[_T] | None:
        """Go on with a socket that has something for us; return what a good answer means, in a tuple."""
        try:
            if way.connecting:
                self._connected(way)
                return None
            data = way.socket.recv(_MAX_DATAGRAM)
        except BlockingIOError:
            return None
        except OSError as error:
            self._drop(way, error.strerror or str(error))
            return None
        if not way.is_stream:
            found = self._judge(data)
            way.answered = True
            if found is None and self._pending and self._pending[0][1] == socket.SOCK_STREAM:
                self._open_next()
            return found
        if not data:
            self._closed = self._closed or not way.received
            self._drop(way, "closed without an answer")
            return None
        way.received += data
        try:
            length = frame_length(way.received, limit=MAX_RESPONSE_BYTES)
        except ParseError as error:
            self._drop(way, error.message)
            return None
        if length is None or len(way.received) < FRAME_BYTES + length:
            return None
        found = self._judge(way.received[FRAME_BYTES : FRAME_BYTES + length])
        if found is None:
            self._told_by_stream = True
            self._drop(way, "an answer that was not good")
        return found

    def _connected(self, way: _Way) -> None:
        failed = way.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, _strerror(failed))
        way.connecting = False
        way.socket.settimeout(FIRST_WAIT)  # a message fits into the buffers of a new connection
        way.socket.sendall(encode_frame(self._message))
        way.socket.setblocking(False)
        self._selector.modify(way.socket, selectors.EVENT_READ, way)

    def _judge(self, data: bytes) -> tuple[_T] | None:
        try:
            return (self._take(data),)
        except RefusedByKCAError as error:
            if error.authenticated:
                raise
            came_before = error.kerberos_error == KRB_AP_ERR_REPEAT
            self._came_before = self._came_before or came_before
            if not isinstance(self._worst, RefusedByKCAError) or not came_before:
                self._worst = error  # that it came before only says what became of a copy
        except (MACError, ParseError, ProtocolError) as error:
            if self._worst is None:
                self._worst = error
        return None

    def _give_up(self, seconds: float) -> GridError:
        if self._worst is not None:
            return self._worst
        told = "; ".join(self._failures)
        if self._closed:
            return SilenceError(f"the service has closed the connection without an answer ({told})", closed=True)
        if self._ways:
            names = ", ".join(map(str, self._ways))
            return SilenceError(f"no answer within {seconds:.0f} seconds from {names}", closed=False)
        if not self._failures:
            return TimeoutExpiredError("nowhere to send to")
        return TransportError(
            f"nobody to talk to ({told})", hint="check host and port, and that the service is running"
        )


def _strerror(number: int) -> str:
    import os

    return os.strerror(number)
