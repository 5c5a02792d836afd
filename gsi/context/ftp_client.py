"""The client's half of an FTP control channel with GSSAPI security, sans-IO: authentication, then protected commands.

    control = ControlClient(Initiator(...))
    control.receive_data(data)
    reply = control.next_reply()                    # the greeting
    send(control.begin())                           # AUTH GSSAPI
    while not control.is_secured:
        send(control.authenticate(reply))           # ADAT, as long as it returns something
    send(control.command("USER :globus-mapping:"))

Commands go out as `ENC`, replies come as 631, 632 or 633, one token for each line (RFC 2228 sections 3, 5 and 9). After
authentication a reply in the clear is an error: anybody could have written it. Agrees with gct:gridftp/control.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from gsi.context.framing import decode_base64, encode_base64
from gsi.context.ftp import FTPRefusedError, LineReader, Reply, ReplyAssembler, encode_command
from gsi.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from gsi.context.initiator import Initiator

__all__ = ["ControlClient"]

_PROTECTED: Final = frozenset({631, 632, 633})  # integrity, both, confidentiality; C servers send the first two
_CONTINUES: Final = 335
_DONE: Final = 235
_PREFIX: Final = "ADAT="


class _Stage(Enum):
    GREETING = "greeting"
    ASKED = "asked"
    TOKENS = "tokens"
    SECURED = "secured"
    FAILED = "failed"


class ControlClient:
    """One control channel.

    Args:
        context: A fresh initiator.

    Attributes:
        context: The same.
    """

    __slots__ = ("_inner", "_lines", "_outer", "_stage", "context")

    def __init__(self, context: Initiator) -> None:
        self.context = context
        self._lines = LineReader()
        self._outer = ReplyAssembler()
        self._inner = ReplyAssembler()
        self._stage = _Stage.GREETING

    @property
    def is_secured(self) -> bool:
        """Whether commands can be sent."""
        return self._stage is _Stage.SECURED

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the server."""
        self._lines.feed(data)

    def next_reply(self) -> Reply | None:
        """Return the next reply, unwrapped, or None while it is incomplete.

        Raises:
            RemoteProtocolError: No reply, one in the clear that should be protected, or a bad token.
            GridError: As `SecurityContext.unwrap`.
        """
        while (line := self._lines.next_line()) is not None:
            reply = self._outer.add(line)
            if not self.is_secured:
                if reply is not None:
                    return reply
                continue
            inner = self._unwrap_line(line)
            if reply is None:
                if inner is not None:
                    raise RemoteProtocolError("a protected reply ended before its last line")
                continue
            if inner is None:
                raise RemoteProtocolError("a protected reply did not end with its last line")
            return inner
        return None

    def _unwrap_line(self, line: str) -> Reply | None:
        """Unwrap one line of a protected reply; return the reply that it ends."""
        if not line[:3].isdigit() or int(line[:3]) not in _PROTECTED:
            raise RemoteProtocolError(f"a reply without protection: {line[:80]!r}")
        text = LineReader()
        text.feed(self.context.unwrap(decode_base64(line[4:].strip())))
        reply = None
        while (found := text.next_line()) is not None:
            if reply is not None:
                raise RemoteProtocolError("two replies in one token")
            reply = self._inner.add(found)
        if not text.is_empty:
            raise RemoteProtocolError("a protected line without its end")
        return reply

    def begin(self) -> bytes:
        """Return the command that asks for authentication; the greeting must have come.

        Raises:
            LocalProtocolError: It has been asked for already.
        """
        if self._stage is not _Stage.GREETING:
            raise LocalProtocolError("the authentication has begun already")
        self._stage = _Stage.ASKED
        return encode_command("AUTH GSSAPI")

    def authenticate(self, reply: Reply) -> bytes:
        """Take the reply to `AUTH` or `ADAT`; return what to send next, nothing once the channel is secured.

        Raises:
            FTPRefusedError: The server refuses the mechanism, or us.
            RemoteProtocolError: A reply that has no place here, or a success that comes too early.
            GridError: As `SecurityContext.step`; the server then has to be left.
        """
        if self._stage not in (_Stage.ASKED, _Stage.TOKENS):
            raise LocalProtocolError("no authentication is going on")
        try:
            if self._stage is _Stage.ASKED:
                if reply.code not in (334, _CONTINUES):
                    raise _refusal(reply)
                self._stage = _Stage.TOKENS
                return self._adat(b"")
            return self._continue(reply)
        except Exception:
            self._stage = _Stage.FAILED
            raise

    def _continue(self, reply: Reply) -> bytes:
        if reply.code not in (_CONTINUES, _DONE):
            raise _refusal(reply)
        text = reply.text.strip()
        token = decode_base64(text[len(_PREFIX) :]) if text.startswith(_PREFIX) else b""
        if reply.code == _CONTINUES:
            if not token:
                raise RemoteProtocolError("the server goes on without a token")
            if self.context.is_established:
                raise RemoteProtocolError("the server goes on after the last token")
            return self._adat(token)
        if token and not self.context.is_established:
            step = self.context.step(token)
            if step.output:
                raise RemoteProtocolError("the server ended before our last token")
        if not self.context.is_established:
            raise RemoteProtocolError("the server says that it knows us before we know it")
        self._stage = _Stage.SECURED
        return b""

    def _adat(self, token: bytes) -> bytes:
        step = self.context.step(token)
        if not step.output:
            raise RemoteProtocolError("the server's token is incomplete")
        return encode_command(f"ADAT {encode_base64(step.output)}")

    def command(self, line: str) -> bytes:
        """Return a protected command.

        Raises:
            LocalProtocolError: The channel is not secured, or the line cannot be one command.
        """
        if not self.is_secured:
            raise LocalProtocolError("commands are sent once the control channel is secured")
        return encode_command(f"ENC {encode_base64(self.context.wrap(encode_command(line)))}")


def _refusal(reply: Reply) -> FTPRefusedError | RemoteProtocolError:
    if reply.is_refusal:
        return FTPRefusedError(reply, hint="the server's words say why; connect anew before another attempt")
    return RemoteProtocolError(f"no answer to an authentication: {reply}")
