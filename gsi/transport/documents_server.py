"""A few small documents over HTTP for monitors on the same machine: GET and HEAD, one request per connection.

    sockets = listen_loopback("127.0.0.1:9512")
    await offer(sockets, answer, on_defect=report)   # answer(path) -> Document or None

Only loopback addresses are listened on, because nobody is asked who he is. Not a web server: no TLS, no other method,
no body, a request of 8 KiB in five seconds, a few dozen connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import ConfigError
from gsi.transport.serve import listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["Document", "listen_loopback", "offer"]

MAX_REQUEST_BYTES: Final = 8192
"""Request line and headers: monitors send a few hundred bytes."""
REQUEST_SECONDS: Final = 5.0
"""For one request, from connecting to the last byte of the answer, on the same machine."""
MAX_CONNECTIONS: Final = 32
"""Monitors that ask at once, per process."""


class Document(NamedTuple):
    """An answer."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


def listen_loopback(where: str) -> list[socket.socket]:
    """Open the listening sockets of an address: `127.0.0.1:9512`, `[::1]:9512`, `localhost:9512`.

    Raises:
        ConfigError: It cannot be listened on, or is not on the loopback interface.
    """
    host, colon, port = where.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(f"{where!r} is not of the form ADDRESS:PORT", hint="for example 127.0.0.1:9512")
    sockets = listen(host, int(port))
    if not all(ipaddress.ip_address(one.getsockname()[0].partition("%")[0]).is_loopback for one in sockets):
        for one in sockets:
            one.close()
        raise ConfigError(
            f"{where} is not an address of the loopback interface",
            hint="nobody is asked who he is there; let a proxy with authentication stand before it for others",
        )
    return sockets


async def offer(
    sockets: Sequence[socket.socket],
    answer: Callable[[str], Awaitable[Document | None]],
    *,
    on_defect: Callable[[Exception], None],
) -> list[asyncio.Server]:
    """Answer requests on these sockets in the running loop.

    Args:
        sockets: From `listen_loopback`.
        answer: Gets the path that is asked for, without what follows a question mark.
        on_defect: Gets what `answer` raises; the monitor gets status 500.
    """
    free = asyncio.Semaphore(MAX_CONNECTIONS)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            if free.locked():
                writer.write(_encode(Document(b"busy\n", status=HTTPStatus.SERVICE_UNAVAILABLE), head=False))
            else:
                async with free, asyncio.timeout(REQUEST_SECONDS):
                    writer.write(await _answer(await reader.readuntil(b"\r\n\r\n"), answer, on_defect))
                    await writer.drain()
        writer.close()

    return [await asyncio.start_server(serve, sock=one, limit=MAX_REQUEST_BYTES) for one in sockets]


async def _answer(
    request: bytes, answer: Callable[[str], Awaitable[Document | None]], on_defect: Callable[[Exception], None]
) -> bytes:
    method, _, rest = request.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    if method not in {"GET", "HEAD"}:
        return _encode(Document(b"only GET\n", status=HTTPStatus.METHOD_NOT_ALLOWED), head=False)
    try:
        document = await answer(path)
    except Exception as error:  # noqa: BLE001  # whatever it is, the monitor hears that something is wrong
        on_defect(error)
        document = Document(b"internal error\n", status=HTTPStatus.INTERNAL_SERVER_ERROR)
    return _encode(document or Document(b"not found\n", status=HTTPStatus.NOT_FOUND), head=method == "HEAD")


def _encode(document: Document, *, head: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {document.status.value} {document.status.phrase}",
        f"Content-Type: {document.content_type}",
        f"Content-Length: {len(document.body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if document.status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (b"" if head else document.body)
