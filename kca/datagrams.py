"""The UDP side of a server: sockets, reading and replying, who may ask how often; not what is answered.

    sockets = listen_udp(None, 9878)
    shell = DatagramShell(sockets, answer, threads=8, admit=admit)
    shell.start()
    shell.stop()

All workers read the same sockets. In each, one thread at a time waits for a datagram; when it has one, the next thread
takes its place, and it answers. So a worker takes no more than it has threads for, and what comes while all are busy is
free for other workers, or waits in the kernel, up to the socket's buffer; then it is lost, and sent again. On machines
with several addresses a reply leaves from the address that the request came to (IP_PKTINFO), as clients insist.
"""

from __future__ import annotations

import logging
import math
import os
import select
import socket
import struct
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import ConfigError
from gsi.transport.serve import bind_all, source_of
from gsi.transport.stream import HostPort

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["MAX_SOURCES", "DatagramShell", "RateCap", "listen_udp", "prepare_datagrams", "share"]

MAX_DATAGRAM: Final = 65535
BUFFER_BYTES: Final = 4 << 20
"""Wished for the kernel's queue: some thousand requests, a burst at the begin of a class."""
MAX_SOURCES: Final = 8192
"""Addresses whose pace is known at a time; when there are more the fullest buckets are forgotten."""
BURST_SECONDS: Final = 2.0
_IP_PKTINFO: Final = 8  # <linux/in.h>; Python names it from 3.14 on
_IN_PKTINFO: Final = struct.Struct("@I4s4s")  # interface, local address, address in the header
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(20)
_log = logging.getLogger("kca.server")


class RateCap:
    """How many requests one source may make: a token bucket for each. Used by one thread at a time."""

    def __init__(self, per_second: float) -> None:
        """Let so many requests of a source through in a second; twice as many at once."""
        self._rate = per_second
        self._most = max(1.0, per_second * BURST_SECONDS)
        self._buckets: dict[str, tuple[float, float]] = {}

    def admit(self, source: str, now: float) -> bool:
        """Say whether a request may be looked at.

        Args:
            source: What counts as one source.
            now: Seconds of a clock that does not go back.
        """
        tokens, then = self._buckets.pop(source, (self._most, now))
        tokens = min(self._most, tokens + (now - then) * self._rate)
        admitted = tokens >= 1.0
        if len(self._buckets) >= MAX_SOURCES:
            self._buckets.pop(next(iter(self._buckets)))  # the one that has been silent for the longest time
        self._buckets[source] = (tokens - 1.0 if admitted else tokens, now)
        return admitted


def listen_udp(host: str | None, port: int) -> list[socket.socket]:
    """Open sockets for datagrams, each address family its own.

    Args:
        host: A name or address, or None for every address of the machine.
        port: The port.

    Raises:
        ConfigError: The name or port cannot be listened on.
    """
    where = f"{host or '*'}:{port} (UDP)"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot listen on {where}: {error}") from error
    try:
        return bind_all(found, everywhere=host is None, prepare=prepare_datagrams)
    except OSError as error:
        raise ConfigError(f"cannot listen on {where}: {error.strerror or error}") from error


def prepare_datagrams(made: socket.socket) -> None:
    """Have a UDP socket tell to which of our addresses a datagram came, and wait for us with more than a burst."""
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        made.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)


class _Taken(NamedTuple):
    """A datagram that is to be answered."""

    source: socket.socket
    message: bytes
    ancillary: list[tuple[int, int, bytes]]
    place: tuple[str, int]


class DatagramShell:
    """Threads that take a datagram each and answer it."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        answer: Callable[[bytes, str], bytes | None],
        *,
        threads: int,
        admit: Callable[[str, bytes], bool],
    ) -> None:
        """Put the parts together.

        Args:
            sockets: From `listen_udp`; they stay the caller's.
            answer: Gives the reply to a message of an address, or None for silence; called by several threads at once.
            threads: How many there are.
            admit: Says whether a message of a source may be looked at now; called by one thread at a time.
        """
        self._sockets = {one.fileno(): one for one in sockets}
        self._answer = answer
        self._admit = admit
        self._turn = threading.Lock()
        self._stopping = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.epoll()
        self._poll.register(self._wake, select.EPOLLIN)
        for number in self._sockets:
            self._poll.register(number, select.EPOLLIN | select.EPOLLEXCLUSIVE)  # else each wakes all workers
        self._threads = [threading.Thread(target=self._run, name=f"udp-{number}") for number in range(threads)]

    def start(self) -> None:
        """Begin to read."""
        for one in self._threads:
            one.start()

    def stop(self) -> None:
        """Read no more, and return when what is in hand is answered."""
        if self._stopping:
            return
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        for one in self._threads:
            if one.ident is not None:
                one.join()
        self._poll.close()
        os.close(self._wake)

    def _run(self) -> None:
        """Answer one datagram after the other: the body of each thread."""
        while True:
            with self._turn:
                taken = self._take()
            if taken is None:
                return
            self._serve(*taken)

    def _take(self) -> _Taken | None:
        """Wait for a datagram that may be looked at; None at the end. One thread at a time."""
        while not self._stopping:
            try:
                for number, _ in self._poll.poll(maxevents=1):
                    source = self._sockets.get(number)
                    taken = None if source is None else self._receive(source)
                    if taken is not None:
                        return taken
            except Exception:  # noqa: BLE001  the last door of a thread
                _log.exception("internal error")
        return None

    def _receive(self, source: socket.socket) -> _Taken | None:
        try:
            message, ancillary, _, place = source.recvmsg(MAX_DATAGRAM, _ANCILLARY_BYTES)
        except (BlockingIOError, InterruptedError):  # another worker has it
            return None
        except OSError as error:  # an ICMP error for an earlier reply, kept by the kernel
            _log.debug("datagram: %s", error)
            return None
        if not message or not self._admit(source_of(HostPort(str(place[0]), int(place[1]))), message):
            return None
        return _Taken(source, message, ancillary, place)

    def _serve(
        self, source: socket.socket, message: bytes, ancillary: list[tuple[int, int, bytes]], place: tuple[str, int]
    ) -> None:
        try:
            reply = self._answer(message, str(place[0]).partition("%")[0])
            if reply is not None:
                source.sendmsg([reply], _return_path(ancillary), 0, place)
        except OSError as error:
            _log.debug("%s: the reply could not be sent: %s", place[0], error)
        except Exception:  # noqa: BLE001  the last door of a thread
            _log.exception("%s: internal error", place[0])


def _return_path(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Return what has a reply leave from the address that the request came to."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(data) >= _IN_PKTINFO.size:
            _, local, _ = _IN_PKTINFO.unpack(data[: _IN_PKTINFO.size])
            return [(level, kind, _IN_PKTINFO.pack(0, local, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return [(level, kind, data)]
    return []


def share(per_second: int, workers: int) -> float:
    """Return one worker's part of a rate; at least one request in a second."""
    return max(1.0, math.ceil(per_second / max(1, workers)))
