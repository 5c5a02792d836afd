"""The server's half of an FTP control channel with GSSAPI security, sans-IO: authentication, then protected commands.

    control = ControlServer(lambda: Acceptor(credential, anchors, now=now), greeting="data.example.org ready.")
    send(control.data_to_send())                    # 220
    control.receive_data(data)
    command = control.next_command()                # None while there is none; authentication goes on inside
    control.reply(331, "Password required.")
    send(control.data_to_send())

`AUTH` and `ADAT` are answered here; a command comes out only from a secured channel. What it means is the caller's.
After authentication a command in the clear ends the conversation, as with the C server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.context.framing import decode_base64, encode_base64
from gsi.context.ftp import Command, LineReader, encode_reply, parse_command
from gsi.errors import GridError, LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.context.acceptor import Acceptor

__all__ = ["ControlServer"]

MAX_COMMAND_BYTES: Final = 64 << 10
"""One unwrapped command: paths have 4,096 bytes."""
MAX_CLEAR_COMMANDS: Final = 64
"""Commands before authentication; a client needs two and one for each token."""
_PROTECTED: Final = frozenset({"MIC", "ENC", "CONF"})


class ControlServer:
    """One control channel.

    Args:
        make_context: Makes the acceptor, once a client asks for authentication.
        greeting: What to say first.
    """

    __slots__ = ("_clear_commands", "_context", "_failed", "_lines", "_make_context", "_outgoing")

    def __init__(self, make_context: Callable[[], Acceptor], *, greeting: str = "GridFTP server ready.") -> None:
        self._make_context = make_context
        self._context: Acceptor | None = None
        self._lines = LineReader()
        self._outgoing = bytearray()
        self._clear_commands = 0
        self._failed = False
        self._say(220, greeting)

    @property
    def context(self) -> Acceptor:
        """The context.

        Raises:
            LocalProtocolError: Nobody has asked for one yet.
        """
        if self._context is None:
            raise LocalProtocolError("the client has not asked for authentication")
        return self._context

    @property
    def is_secured(self) -> bool:
        """Whether the client is authenticated."""
        return self._context is not None and self._context.is_established

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._lines.feed(data)

    def data_to_send(self) -> bytes:
        """Return and forget the bytes for the client, also after a call raised."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def next_command(self) -> Command | None:
        """Return the next command that came protected, or None while there is none.

        Raises:
            RemoteProtocolError: No command, one in the clear, or a bad token; the connection has to be closed.
            GridError: As `SecurityContext.step` and `unwrap`; likewise.
        """
        if self._failed:
            raise LocalProtocolError("the control channel has failed")
        try:
            while (line := self._lines.next_line()) is not None:
                command = parse_command(line)
                if self.is_secured:
                    return self._unwrap(command)
                self._answer(command)
        except GridError:
            self._failed = True
            raise
        return None

    def reply(self, code: int, *lines: str) -> None:
        """Answer a command, protected.

        Raises:
            LocalProtocolError: The channel is not secured, or the lines cannot be a reply.
        """
        if not self.is_secured:
            raise LocalProtocolError("replies are sent once the control channel is secured")
        self._say(code, *lines)

    def _say(self, code: int, *lines: str) -> None:
        encoded = encode_reply(code, *lines)
        if not self.is_secured:
            self._outgoing += b"".join(encoded)
            return
        for number, line in enumerate(encoded, start=1):
            separator = " " if number == len(encoded) else "-"
            self._outgoing += f"632{separator}{encode_base64(self.context.wrap(line))}\r\n".encode()

    def _answer(self, command: Command) -> None:
        """Answer what comes in the clear."""
        self._clear_commands += 1
        if self._clear_commands > MAX_CLEAR_COMMANDS:
            raise RemoteProtocolError("too many commands without authentication")
        if command.verb == "AUTH":
            if command.argument.strip().upper() != "GSSAPI":
                self._say(504, "Unknown authentication type.")
            elif self._context is not None:
                self._say(503, "The authentication has begun already.")
            else:
                self._context = self._make_context()
                self._say(334, "Using authentication type; ADAT must follow.")
        elif command.verb == "ADAT" and self._context is not None:
            self._take_token(self._context, command.argument)
        else:
            self._say(530, "Must perform GSSAPI authentication.")

    def _take_token(self, context: Acceptor, text: str) -> None:
        try:
            step = context.step(decode_base64(text.strip()))
            if not step.output and not step.done:
                raise RemoteProtocolError("the client's token is incomplete")
        except GridError:
            # RFC 2228 has no place for a token beside a failure, so the alert stays here.
            self._outgoing += b"535 GSSAPI Authentication failed.\r\n"
            raise
        if not step.done:
            self._outgoing += f"335 ADAT={encode_base64(step.output)}\r\n".encode()
        elif step.output:
            self._outgoing += f"235 ADAT={encode_base64(step.output)}\r\n".encode()
        else:
            self._outgoing += b"235 GSSAPI Authentication successful.\r\n"

    def _unwrap(self, command: Command) -> Command:
        if command.verb not in _PROTECTED:
            raise RemoteProtocolError(f"the command {command.verb} came without protection")
        line = self.context.unwrap(decode_base64(command.argument.strip())).removesuffix(b"\0")
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if not line or len(line) > MAX_COMMAND_BYTES or b"\n" in line or b"\0" in line:
            raise RemoteProtocolError("what came protected is not one command")
        return parse_command(line.decode("utf-8", "surrogateescape"))
