"""The way to a GridFTP server's certificates: its greeting, `AUTH GSSAPI`, and TLS in ADAT lines; no context is made.

    channel = ControlProbe(stream)
    greeting = channel.begin()
    view = look(ClientTLS().session(verifier), channel.exchange)

For looking at servers from outside: the exchange ends where the client would show itself. A real client is
`gsi.context.ftp_client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.context.framing import decode_base64, encode_base64
from gsi.context.ftp import FTPRefusedError, LineReader, Reply, ReplyAssembler, encode_command
from gsi.errors import RemoteProtocolError

if TYPE_CHECKING:
    from gsi.transport.stream import Stream

__all__ = ["MAX_READS", "ControlProbe"]

MAX_READS: Final = 1000  # pieces of one reply, preliminary ones before it included
_READY: Final = 220
_GO_ON: Final = (334, 335)  # RFC 2228 section 3; for the first one C servers send 334
_TOKEN: Final = (235, 335)
_PREFIX: Final = "ADAT="


class ControlProbe:
    """A control channel before authentication.

    Args:
        stream: The connection.
    """

    __slots__ = ("_lines", "_replies", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._lines = LineReader()
        self._replies = ReplyAssembler()

    def begin(self) -> str:
        """Read the greeting and ask for GSSAPI; return the greeting.

        Raises:
            FTPRefusedError: The server refuses to serve, or knows no GSSAPI.
            RemoteProtocolError: It does not speak FTP.
            TransportError: The connection failed.
        """
        greeting = self._expect(self._read(), (_READY,))
        self._stream.send(encode_command("AUTH GSSAPI"))
        self._expect(self._read(), _GO_ON)
        return greeting.text

    def exchange(self, data: bytes) -> bytes:
        """Send a token and return the server's, as `gsi.transport.probe.look` wants it.

        Raises:
            FTPRefusedError: The server says no.
            RemoteProtocolError: It answers with something else than a token, or there is nothing to send.
            TransportError: The connection failed.
        """
        if not data:
            raise RemoteProtocolError("the server's token is incomplete")
        self._stream.send(encode_command(f"ADAT {encode_base64(data)}"))
        text = self._expect(self._read(), _TOKEN).text.strip()
        token = decode_base64(text[len(_PREFIX) :]) if text.startswith(_PREFIX) else b""
        if not token:
            raise RemoteProtocolError("the server answers without a token")
        return token

    def _read(self) -> Reply:
        for _ in range(MAX_READS):
            while (line := self._lines.next_line()) is not None:
                reply = self._replies.add(line)
                if reply is not None and not reply.is_preliminary:
                    return reply
            data = self._stream.receive()
            if not data:
                raise RemoteProtocolError("the server closed the connection")
            self._lines.feed(data)
        raise RemoteProtocolError(f"no answer in {MAX_READS} pieces")

    @staticmethod
    def _expect(reply: Reply, codes: tuple[int, ...]) -> Reply:
        if reply.code in codes:
            return reply
        if reply.is_refusal:
            raise FTPRefusedError(reply)
        raise RemoteProtocolError(f"an unexpected answer: {reply}")
