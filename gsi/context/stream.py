"""A GSI security context over a blocking stream, for clients and small servers; the context does the work.

    secured = ContextStream(stream, Initiator(...))
    secured.establish()
    secured.send(b"request")
    answer = secured.receive()

Deadlines are the stream's: each wait for bytes ends after its timeout (`gsi.transport.stream`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.context.framing import MAX_TOKEN_BYTES, Framing, TokenReader, frame_token
from gsi.errors import GridError, TransportError

if TYPE_CHECKING:
    from gsi.context.base import SecurityContext
    from gsi.transport.stream import Stream

__all__ = ["ContextStream"]


class ContextStream:
    """A stream protected by a context; itself a `gsi.transport.stream.Stream`.

    Args:
        stream: What carries the tokens; closed with this one.
        context: The context, not established yet.
        framing: What goes before our tokens; the peer's are taken in every framing.

    Attributes:
        context: The context.
    """

    __slots__ = ("_framing", "_reader", "_stream", "_unread", "context")

    def __init__(self, stream: Stream, context: SecurityContext, *, framing: Framing = Framing.BARE) -> None:
        self._stream = stream
        self._framing = framing
        self._reader = TokenReader()
        self._unread = b""
        self.context = context

    def establish(self, *, initiate: bool = True) -> None:
        """Exchange tokens until the context is established.

        Args:
            initiate: Whether the first token is ours.

        Raises:
            GridError: As `SecurityContext.step`; the alert that tells the peer has been sent.
            TransportError: The connection failed.
        """
        try:
            step = self.context.step(b"" if initiate else self._next_token())
            while True:
                if step.output:
                    self._stream.send(frame_token(step.output, self._framing))
                if step.done:
                    break
                step = self.context.step(self._next_token())
        except GridError:
            self._send_alert()
            raise
        self._unread = step.rest
        self._reader.raise_limit(MAX_TOKEN_BYTES)

    def send(self, *messages: bytes) -> None:
        """Send messages, each wrapped, all handed over in one piece.

        Raises:
            TransportError: The connection failed.
            LocalProtocolError: A message is empty, or the context is not established.
        """
        framing = Framing.BARE if self._framing is Framing.BARE else Framing.MIXED
        self._stream.send(b"".join(frame_token(self.context.wrap(message), framing) for message in messages))

    def receive(self) -> bytes:
        """Wait for bytes; none mean that the peer has closed.

        Raises:
            GridError: As `SecurityContext.unwrap`.
            TransportError: The connection failed, or ended within a token.
        """
        try:
            while True:
                token, self._unread = self._unread or self._find_token(), b""
                if not token:
                    return b""
                message = self.context.unwrap(token)
                if message or self.context.is_closed:
                    return message
        except GridError:
            self._send_alert()
            raise

    def take_clear(self) -> bytes:
        """Return what came behind the last token of the handshake, where nothing is protected after it (`PROT C`)."""
        clear, self._unread = self._unread + self._reader.take_rest(), b""
        return clear

    def close(self) -> None:
        """Close the connection, without a closing alert: grid peers send none and do not expect one."""
        self._stream.close()

    def _next_token(self) -> bytes:
        token = self._find_token()
        if not token:
            self.context.receive_end()
        return token

    def _find_token(self) -> bytes:
        """The next token; empty at the end of the stream."""
        while (token := self._reader.next_token()) is None:
            data = self._stream.receive()
            if not data:
                if self._reader.take_rest():
                    raise TransportError("the peer closed the connection within a message")
                return b""
            self._reader.feed(data)
        return token

    def _send_alert(self) -> None:
        """Tell the peer; the first error is the one to report."""
        if self.context.alert_token:
            try:
                self._stream.send(frame_token(self.context.alert_token, self._framing))
            except TransportError:
                return
