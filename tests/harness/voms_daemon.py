"""A VOMS server for the clients of C and Java and for ours: TLS with the test CA, both protocols on one port.

Workflow:
    with VOMSDaemon(server, alice) as daemon:
        write_file(vomses, daemon.vomses.encode(), 0o644)
        run voms-proxy-init ...
    daemon.requests
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Final, Self

from tests.harness.ca import Issued, write_file
from tests.harness.voms import VOMSServer

__all__ = ["VOMSDaemon"]

_TIMEOUT: Final = 20.0


class VOMSDaemon:
    """Answers every client with an attribute certificate for one holder, or with what it was told.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        requests: What clients sent, whole.
        rest: The XML to answer REST with, or None for the certificate.
        legacy: Likewise for the legacy protocol.
        status: The HTTP status line's end.
    """

    def __init__(self, server: VOMSServer, holder: Issued) -> None:
        self.server = server
        self.holder = holder
        self.requests: list[bytes] = []
        self.rest: bytes | None = None
        self.legacy: bytes | None = None
        self.status = "200 OK"
        self.fqans: tuple[str, ...] = (f"/{server.vo}/Role=NULL/Capability=NULL",)
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            server.credential.write_bundle(directory / "host.pem")
            write_file(directory / "ca.pem", server.ca.pem, 0o644)
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(directory / "host.pem")
            self._context.load_verify_locations(directory / "ca.pem")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def vomses(self) -> str:
        """The line for a vomses file."""
        return f'"{self.server.vo}" "localhost" "{self.port}" "{self.server.credential.subject}" "{self.server.vo}"\n'

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_TIMEOUT)

    def _serve(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            with connected, contextlib.suppress(OSError):
                connected.settimeout(_TIMEOUT)
                with self._context.wrap_socket(connected, server_side=True) as tls:
                    self._answer(tls)

    def _answer(self, tls: ssl.SSLSocket) -> None:
        request = b""
        while not self._is_complete(request):
            data = tls.recv(4096)
            if not data:
                break
            request += data
        self.requests.append(request)
        asked = request.removeprefix(b"0")
        ac = self.server.attribute_certificate(self.holder, fqans=self.fqans)
        text = base64.encodebytes(ac)
        if asked.startswith(b"GET"):
            body = self.rest or b"<?xml version='1.0'?><voms><ac>" + text + b"</ac></voms>"
            tls.sendall(
                f"HTTP/1.1 {self.status}\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
        else:
            tls.sendall(
                self.legacy or b"<?xml version='1.0'?><vomsans><version>3</version><ac>" + text + b"</ac></vomsans>"
            )
        with contextlib.suppress(OSError):
            tls.unwrap()

    @staticmethod
    def _is_complete(request: bytes) -> bool:
        return b"\r\n\r\n" in request or b"\n\n" in request or b"</voms>" in request
