"""A mail server for tests: real sockets, plain or with STARTTLS and a password; keeps what it is given.

Workflow:
    with MailServer() as server:
        ...                                         # send to localhost:{server.port}
    (mail,) = server.mails
"""

from __future__ import annotations

import base64
import contextlib
import socketserver
import ssl
import threading
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Self, cast

if TYPE_CHECKING:
    from email.message import EmailMessage

__all__ = ["MailServer"]


class _Handler(socketserver.StreamRequestHandler):
    """One conversation."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # a client that does not trust us hangs up
            self._converse()

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def _converse(self) -> None:
        server = cast("MailServer", self.server)
        self._say(b"220 here")
        while line := self.rfile.readline(1000):
            word = line.split()[0].upper() if line.split() else b""
            if word == b"EHLO":
                self._say(b"250-here" + (b"\r\n250-STARTTLS" if server.context else b"") + b"\r\n250 AUTH PLAIN")
            elif word == b"STARTTLS" and server.context is not None:
                self._say(b"220 go on")
                self.connection = server.context.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
            elif word == b"AUTH":
                server.passwords.append(base64.b64decode(line.split()[2]).split(b"\0")[-1].decode())
                self._say(b"235 yes")
            elif word == b"RCPT" and server.refuses and server.refuses in line:
                self._say(b"550 nobody of that name")
            elif word == b"DATA":
                self._say(b"354 go on")
                lines = []
                while (line := self.rfile.readline(1000)) not in {b".\r\n", b""}:
                    lines.append(line)
                server.mails.append(message_from_bytes(b"".join(lines), policy=policy.default))
                self._say(b"250 taken")
            elif word == b"QUIT":
                self._say(b"221 bye")
                return
            else:
                self._say(b"250 yes")

    def _say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")


class MailServer(socketserver.ThreadingTCPServer):
    """The server.

    Attributes:
        mails: What it was given.
        passwords: What people proved themselves with.
    """

    daemon_threads = True

    def __init__(self, *, context: ssl.SSLContext | None = None, refuses: bytes = b"") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.context = context
        self.refuses = refuses
        self.mails: list[EmailMessage] = []
        self.passwords: list[str] = []
        self.port = cast("tuple[str, int]", self.server_address)[1]
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
