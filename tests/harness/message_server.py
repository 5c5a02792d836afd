"""A service on UDP and TCP in threads of the test, which does with each message what it is told; speaks no protocol.

Workflow:
    with serving(udp=lambda data, number: [b"reply"], tcp=lambda data: None) as server:
        exchange([server.place], ...)
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from kca.sending import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Server", "serving"]


class Server:
    """Both transports on one port.

    Attributes:
        place: Its address.
        received: What came by UDP.
    """

    def __init__(
        self,
        udp: Callable[[bytes, int], list[bytes]] | None,
        tcp: Callable[[bytes], bytes | None] | None,
    ) -> None:
        self.received: list[bytes] = []
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        stream.bind(("127.0.0.1", 0))
        self.place = Address(socket.AF_INET, stream.getsockname())
        if tcp is None:
            stream.close()
        else:
            stream.listen(4)
            self._start(stream, lambda: self._serve_stream(stream, tcp))
        if udp is not None:
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            datagrams.bind(self.place.place)
            self._start(datagrams, lambda: self._serve_datagrams(datagrams, udp))

    def _start(self, made: socket.socket, body: Callable[[], None]) -> None:
        self._sockets.append(made)
        thread = threading.Thread(target=body)
        self._threads.append(thread)
        thread.start()

    def _serve_datagrams(self, made: socket.socket, udp: Callable[[bytes, int], list[bytes]]) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, place = made.recvfrom(65535)
                if not data:
                    return
                self.received.append(data)
                for reply in udp(data, len(self.received)):
                    made.sendto(reply, place)

    def _serve_stream(self, made: socket.socket, tcp: Callable[[bytes], bytes | None]) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = made.accept()
                with connection:
                    data = connection.recv(65535)
                    if not data:
                        return
                    reply = tcp(data)
                    if reply is not None:
                        connection.sendall(reply[:3])
                        connection.sendall(reply[3:])

    def close(self) -> None:
        for made in self._sockets:
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET, made.type) as waker:
                waker.connect(self.place.place)
                if made.type == socket.SOCK_DGRAM:
                    waker.send(b"")
        for thread in self._threads:
            thread.join()
        for made in self._sockets:
            made.close()


@contextlib.contextmanager
def serving(
    udp: Callable[[bytes, int], list[bytes]] | None = None, tcp: Callable[[bytes], bytes | None] | None = None
) -> Iterator[Server]:
    """Run a service.

    Args:
        udp: Gives the replies to a datagram, of which this is the nth; None has nobody listen there.
        tcp: Gives what is written to a connection on which this was read, None to close it; None likewise.
    """
    server = Server(udp, tcp)
    try:
        yield server
    finally:
        server.close()
