"""A web server on loopback whose answers are scripted, good and bad ones; for what fetches documents.

Workflow:
    with WebServer({"/crl": Answer(crl), "/hang": Hang()}) as web:
        fetch(web.url("/crl"), ...)
        web.requests
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

__all__ = ["Answer", "Drip", "Hang", "Raw", "Redirect", "Script", "WebServer"]

_POLL_SECONDS: Final = 0.02


class Answer(NamedTuple):
    """A document, or another status with this body."""

    body: bytes
    status: str = "200 OK"
    headers: tuple[str, ...] = ()


class Redirect(NamedTuple):
    """A redirection; {url} stands for the server's own URL."""

    location: str
    status: str = "302 Found"


class Raw(NamedTuple):
    """Exactly these bytes, then the end of the connection."""

    data: bytes


class Hang(NamedTuple):
    """Nothing, until the client or the test has enough."""


class Drip(NamedTuple):
    """A byte now and then, without end."""

    head: bytes = b"HTTP/1.1 200 OK\r\nX: "


Script: TypeAlias = Answer | Redirect | Raw | Hang | Drip


class WebServer:
    """The server; one thread for each connection.

    Attributes:
        requests: The request lines that came, in order.
        port: Where it listens.
    """

    def __init__(self, routes: Mapping[str, Script], *, context: ssl.SSLContext | None = None) -> None:
        self.routes = dict(routes)
        self.requests: list[str] = []
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener.settimeout(_POLL_SECONDS)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def url(self, path: str = "") -> str:
        """The URL of a path here."""
        return f"{'http' if self._context is None else 'https'}://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._acceptor.join()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connected, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(connected,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connected: socket.socket) -> None:
        connected.settimeout(30)
        with contextlib.suppress(OSError), connected:
            if self._context is not None:
                with self._context.wrap_socket(connected, server_side=True) as secured:
                    self._answer(secured)
            else:
                self._answer(connected)

    def _answer(self, connected: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = connected.recv(65536)
            if not part:
                return
            head += part
            if head.startswith(b"\x16"):  # TLS, to a server without
                connected.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
        line = head.split(b"\r\n", 1)[0].decode("latin-1")
        with self._lock:
            self.requests.append(line)
        method, target, _ = line.split(" ", 2)
        if method == "CONNECT":
            self._tunnel(connected, target)
            return
        path = target.removeprefix("http://").partition("/")[2] if target.startswith("http://") else target[1:]
        script = self.routes.get("/" + path.partition("?")[0], Answer(b"", "404 Not Found"))
        match script:
            case Answer(body, status, headers):
                lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
                connected.sendall("\r\n".join(lines).encode("latin-1") + body)
            case Redirect(location, status):
                where = location.replace("{url}", self.url())
                connected.sendall(
                    f"HTTP/1.1 {status}\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
                )
            case Raw(data):
                connected.sendall(data)
            case Hang():
                self._wait(connected)
            case Drip(drip_head):
                connected.sendall(drip_head)
                while not self._stopped.wait(_POLL_SECONDS):
                    connected.sendall(b"x")

    def _wait(self, connected: socket.socket) -> None:
        """Wait until the client has gone or the server is stopped."""
        connected.settimeout(_POLL_SECONDS)
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                if not connected.recv(1):
                    return

    def _tunnel(self, connected: socket.socket, target: str) -> None:
        """Be a proxy: pass bytes on in both directions."""
        host, _, port = target.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=30) as other:
            connected.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(other, connected), daemon=True)
            back.start()
            _pump(connected, other)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
