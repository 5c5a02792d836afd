"""A policy decision point on loopback: a real HTTP server in front of `answer_request`, plain or over TLS.

Workflow:
    with Pdp(engine) as pdp:
        RemoteAuthorizer("remote", RemotePlace(url=pdp.url, ...)).decide(request)
        pdp.requests, pdp.clients
"""

from __future__ import annotations

import ssl
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from gsi.authz.xacml.answer import answer_request
from gsi.authz.xacml.document import MEDIA_TYPE
from gsi.transport.tls import chain_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from gsi.authz.engine import Engine
    from gsi.trust.peer import VerifiedPeer

__all__ = ["Pdp"]


class Pdp:
    """The server.

    Args:
        engine: Decides.
        context: For TLS; None for plain HTTP.
        verify: As for `answer_request`.

    Attributes:
        requests: The bodies that came.
        clients: How many certificates each client has shown.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        context: ssl.SSLContext | None = None,
        verify: Callable[[tuple[bytes, ...]], VerifiedPeer] | None = None,
    ) -> None:
        self.requests: list[bytes] = []
        self.clients: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                connection: object = self.connection
                if isinstance(connection, ssl.SSLSocket):
                    outer.clients.append(len(chain_of(connection)))
                assert self.headers["Content-Type"] == MEDIA_TYPE
                data = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append(data)
                body = answer_request(data, engine, now=datetime.now(UTC), verify=verify)
                self.send_response(200)
                self.send_header("Content-Type", f"{MEDIA_TYPE}; charset=utf-8")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                half = len(body) // 2
                for part in (body[:half], body[half:], b""):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in the base class
                del format, args

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                del request, client_address  # clients that refuse us close the connection

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._scheme = "http" if context is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{self._scheme}://localhost:{self._server.server_address[1]}/authorize"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
