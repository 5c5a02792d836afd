"""nginx on a loopback port, in the foreground as whoever runs the tests, and requests of it as bytes.

Workflow:
    with nginx(text, directory) as port:
        answer = ask(port, "GET", "/data/f", credential=alice)
        answer.status, answer.headers["x-authz-decision"], answer.body
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.harness.daemons import free_port, running
from tests.harness.environment import clean_environment
from tests.harness.run import c_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["WebAnswer", "ask", "client_context", "exchange", "nginx", "parse_answer"]

_MAIN = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr info;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {http}
}}
"""


class WebAnswer(NamedTuple):
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: str


@contextlib.contextmanager
def nginx(server: str, directory: Path, *, port: int | None = None) -> Iterator[int]:
    """Run nginx with these `server` blocks.

    Args:
        server: The blocks; `listen 443` becomes the port.
        directory: A private directory.
        port: Where to listen.
    """
    port = port or free_port()
    config = directory / "nginx.conf"
    text = server.replace("listen 443", f"listen 127.0.0.1:{port}")
    config.write_text(_MAIN.format(directory=directory, http=text))
    argv: list[str | Path] = [c_program("nginx"), "-p", directory, "-c", config]
    with running(argv, env=clean_environment(directory), port=port, directory=directory):
        yield port


def client_context(bundle: Path | None, *, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """The context of a client that trusts any server, and shows the credential of a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if bundle is not None:
        context.load_cert_chain(bundle)
    return context


def ask(
    place: int | Path,
    method: str,
    target: str,
    *,
    context: ssl.SSLContext | None = None,
    headers: Sequence[str] = (),
    body: bytes = b"",
) -> WebAnswer:
    """Send one request, to a port or a Unix socket, its target and header lines as they stand, and read the answer."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return exchange(place, "\r\n".join([*lines, "", ""]).encode("latin-1") + body, context=context)


def exchange(place: int | Path, data: bytes, *, context: ssl.SSLContext | None = None) -> WebAnswer:
    """Send bytes and read the answer to the end."""
    with _connect(place) as plain:
        stream = context.wrap_socket(plain) if context is not None else plain
        with stream, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            stream.sendall(data)
            found = b""
            while part := stream.recv(65536):
                found += part
    return parse_answer(found)


def _connect(place: int | Path) -> socket.socket:
    if isinstance(place, int):
        return socket.create_connection(("127.0.0.1", place), timeout=30)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(30)
    made.connect(str(place))
    return made


def parse_answer(data: bytes) -> WebAnswer:
    """Take an answer apart; status 0 for none."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    if headers.get("transfer-encoding") == "chunked":
        body = _dechunk(body)
    return WebAnswer(int(first.split(" ")[1]) if first.startswith("HTTP/") else 0, headers, body.decode("latin-1"))


def _dechunk(data: bytes) -> bytes:
    found = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        found += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]
    return found
