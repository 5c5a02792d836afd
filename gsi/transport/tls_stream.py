"""A TLS connection over a blocking stream, for clients; the TLS itself is `gsi.transport.tls`'s.

stream = TLSStream(connect(...), tls.session(verifier))
stream.handshake()
stream.send(b"0", request)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.errors import GridError, TransportError

if TYPE_CHECKING:
    from gsi.transport.stream import Stream
    from gsi.transport.tls import TLSSession

__all__ = ["TLSStream"]


class TLSStream:
    """A TLS connection over a blocking stream; itself a `Stream`.

    Args:
        stream: What carries the records; closed with this one.
        session: The TLS state.
    """

    __slots__ = ("_stream", "session")

    def __init__(self, stream: Stream, session: TLSSession) -> None:
        self._stream = stream
        self.session = session

    def handshake(self) -> None:
        """Do the handshake; on return a client has proven the server.

        The last flight is not sent yet but goes out together with the first message: a round trip and a packet less.

        Raises:
            VerificationError: The peer's certificates were refused.
            TransportError: TLS or the connection failed.
        """
        try:
            while not self.session.handshake():
                self._flush()
                self.session.receive_data(self._stream.receive())
        except GridError:
            self._flush_quietly()
            raise

    def send(self, *messages: bytes) -> None:
        """Send messages, each in records of its own, all handed over in one piece.

        Raises:
            TransportError: The connection failed.
        """
        for message in messages:
            self.session.write(message)
        self._flush()

    def receive(self) -> bytes:
        """Wait for bytes and return those of one record; none mean that the peer has closed.

        Raises:
            TransportError: TLS or the connection failed.
        """
        while not (data := self.session.read()):
            received = self._stream.receive()
            self.session.receive_data(received)
            if not received:
                return self.session.read()
        return data

    def flush(self) -> None:
        """Send what is still held back, where no message follows a handshake."""
        self._flush()

    def close(self) -> None:
        """Close the connection, without a closing alert: grid peers send none and do not expect one."""
        self._stream.close()

    def _flush(self) -> None:
        data = self.session.data_to_send()
        if data:
            self._stream.send(data)

    def _flush_quietly(self) -> None:
        """Send an alert if there is one; the first error is the one to report."""
        try:
            self._flush()
        except TransportError:
            return
