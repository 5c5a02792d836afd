"""A whole request through gunicorn's parser, the application and gunicorn's response; reads and writes no socket.

    exchange = Exchange(worker.cfg, client, server)              # one for a connection
    answer, keep = exchange.answer(worker, connected, data)      # in a thread

The application finds the connection in its environment (`gunicorn.socket`), to ask it for the client's certificates.
"""

from __future__ import annotations

import io
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from gunicorn.http import wsgi
from gunicorn.http.errors import NoMoreData
from gunicorn.http.parser import RequestParser

from gsi.errors import GridError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

__all__ = ["CAREFUL", "Exchange"]

MAX_ANSWER_BYTES: Final = 64 << 20
"""Of one answer: a thousand times the longest document that these services have."""

_CHUNK: Final = 64 << 10


class _Feed:
    """The request, as the parser's source; then the end."""

    def __init__(self) -> None:
        self.data = b""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data, self.data = self.data, b""
        return data


class _Outbox:
    """What a response is written to in place of the socket."""

    def __init__(self) -> None:
        self.data = bytearray()

    def sendall(self, data: bytes) -> None:
        """Take a part of the answer.

        Raises:
            GridError: It is too long.
        """
        if len(self.data) + len(data) > MAX_ANSWER_BYTES:
            raise GridError(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
        self.data += data

    def send(self, data: bytes) -> int:
        """Take no notice: gunicorn sends `100 Continue` in this way, and the body is there already."""
        return len(data)

    def gettimeout(self) -> float:
        """Tell gunicorn that nothing here blocks."""
        return 0.0


CAREFUL: Final = (
    b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'\r\n"
)
"""Headers of answers that no application has made, so that browsers make nothing of them."""


class Exchange:
    """The requests of one connection, one after the other."""

    def __init__(self, config: Any, client: Any, server: Any) -> None:  # noqa: ANN401  gunicorn has no types
        """Begin.

        Args:
            config: gunicorn's configuration.
            client: The client's address, as `accept` gave it.
            server: The address that it connected to.
        """
        self._config = config
        self._client = client
        self._server = server
        self._feed = _Feed()
        # One for the whole connection: gunicorn takes a PROXY line before the first request only.
        self._parser = RequestParser(config, self._feed, client)

    def answer(
        self,
        worker: Any,  # noqa: ANN401  gunicorn has no types
        connected: socket.socket,
        data: bytes,
        *,
        is_last: bool = False,
    ) -> tuple[bytearray, bool]:
        """Return the answer to a request, and whether another may follow.

        Args:
            worker: gunicorn's worker, whose application is called.
            connected: The connection, which is not read or written here.
            data: The whole request, and nothing else.
            is_last: Whether the connection ends after it.
        """
        outbox, request = _Outbox(), None
        self._feed.data = data
        try:
            request = next(self._parser)
            if not is_last:  # what is no body is the client's fault, not one of the application that reads it
                request.body = io.BytesIO(request.body.read())
            return outbox.data, self._serve(worker, connected, request, outbox, is_last)
        except (StopIteration, NoMoreData):
            pass
        except Exception as error:
            if outbox.data:
                worker.log.exception("an answer that was begun cannot be finished")
            else:
                worker.handle_error(request, outbox, self._client, error)
                outbox.data[:] = outbox.data.replace(b"\r\n", b"\r\n" + CAREFUL, 1)
        return outbox.data, False

    def _serve(
        self,
        worker: Any,  # noqa: ANN401  gunicorn has no types
        connected: socket.socket,
        request: Any,  # noqa: ANN401  gunicorn has no types
        outbox: _Outbox,
        is_last: bool,
    ) -> bool:
        config, environ, response = self._config, {}, None
        begun = time.monotonic()
        config.pre_request(worker, request)
        try:
            response, environ = wsgi.create(request, outbox, self._client, self._server, config)
            environ["wsgi.multithread"] = True
            environ["gunicorn.socket"] = connected
            worker.nr += 1
            if worker.nr >= worker.max_requests:
                worker.alive = False
            if is_last or not worker.alive or not config.keepalive:
                response.force_close()
            parts = worker.wsgi(environ, response.start_response)
            try:
                for part in parts:
                    response.write(part)
                response.close()
            finally:
                worker.log.access(response, request, environ, timedelta(seconds=time.monotonic() - begun))
                if hasattr(parts, "close"):
                    parts.close()
        finally:
            config.post_request(worker, request, environ, response)
        if response.should_close():
            return False
        while request.body.read(_CHUNK):
            pass
        return not self._parser.unreader.read()  # another end than ours: what follows is nobody's request
