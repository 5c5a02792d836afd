"""Connections that a server ought not to wait for: they say nothing, stop halfway, or announce what does not come.

Workflow:
    with crowd(port, source="127.0.0.2", tls=True):
        ...                                     # somebody else is served meanwhile
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HALVES", "crowd", "open_from"]

_HELLO: Final = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""The beginning of a ClientHello that has 512 bytes."""

HALVES: Final = (
    b"",
    b"G",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx",
)
"""What they say before they stop, where TLS is somebody else's matter."""


def open_from(source: str, port: int, data: bytes = b"") -> socket.socket:
    """Connect from an address of this machine, and say something."""
    made = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0))
    if data:
        made.sendall(data)
    return made


@contextlib.contextmanager
def crowd(port: int, *, count: int = 60, source: str = "127.0.0.2", tls: bool = False) -> Iterator[list[socket.socket]]:
    """Hold so many connections, of every sort."""
    halves = (b"", _HELLO[:1], _HELLO) if tls else HALVES
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(open_from(source, port, halves[n % len(halves)])) for n in range(count)]
