"""The grammar of an FTP control channel with GSSAPI security (RFC 959, RFC 2228): lines, replies, commands; no state.

    lines = LineReader()
    lines.feed(data)
    reply = ReplyAssembler().add(lines.next_line())      # Reply(220, ("localhost GridFTP Server ready.",))
    line = encode_reply(211, "Extensions supported:", " MLST", "End.")

What may follow what is `ftp_client`'s and `ftp_server`'s matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gsi.context.framing import MAX_HANDSHAKE_BYTES
from gsi.errors import LocalProtocolError, RefusedError, RemoteProtocolError

__all__ = [
    "MAX_LINE_BYTES",
    "MAX_REPLY_BYTES",
    "Command",
    "DataAuthentication",
    "FTPRefusedError",
    "LineReader",
    "Protection",
    "Reply",
    "ReplyAssembler",
    "encode_command",
    "encode_reply",
    "parse_command",
    "parse_data_address",
]

MAX_LINE_BYTES: Final = MAX_HANDSHAKE_BYTES // 3 * 4 + 64
"""A handshake token of the largest size in base64, with its verb or code. Every line is shorter."""
MAX_REPLY_BYTES: Final = 8 << 20
"""A reply of many lines: a listing of 50,000 files over the control channel (`STAT`) stays below."""
_REPLY_LINE: Final = re.compile(r"([1-6][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_VERB: Final = re.compile(r"[A-Za-z]{3,8}")
_PASSIVE: Final = re.compile(r"\(?([0-9]{1,3}(?:,[0-9]{1,3}){5})\)?")
_EXTENDED: Final = re.compile(r"\(([!-~])\1\1([0-9]{1,5})\1\)")  # RFC 2428 section 3


class Protection(StrEnum):
    """`PROT`: what is done to data on its channel (RFC 2228 section 3)."""

    CLEAR = "C"
    """Nothing."""
    SAFE = "S"
    """Said to authenticate; in this mechanism it encrypts just as PRIVATE."""
    PRIVATE = "P"
    """Encrypted."""


class DataAuthentication(StrEnum):
    """`DCAU`: who has to be at the other end of a data channel (GFD.20 section 5)."""

    NONE = "N"
    """Anybody who connects first."""
    SELF = "A"
    """The identity that the control channel belongs to; the server needs a delegated credential for it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply.

    Attributes:
        code: 100 to 659.
        lines: Its text, line by line, without the code; lines in between come as they are.
    """

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All lines, joined by line feeds."""
        return "\n".join(self.lines)

    @property
    def is_preliminary(self) -> bool:
        """Whether another reply will follow (1xx)."""
        return self.code < 200

    @property
    def is_refusal(self) -> bool:
        """Whether it is a no (4xx, 5xx)."""
        return 400 <= self.code < 600

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


@dataclass(frozen=True, slots=True)
class Command:
    """A client's command: its verb in upper case, and the argument as sent."""

    verb: str
    argument: str = ""


class FTPRefusedError(RefusedError):
    """A server's no.

    Attributes:
        reply: Its words.
    """

    def __init__(self, reply: Reply, *, hint: str | None = None) -> None:
        super().__init__(f"the server says: {reply}", hint=hint)
        self.reply = reply


class LineReader:
    """Cuts bytes into lines, which end with CR LF or LF.

    Args:
        limit: The most bytes of a line.
    """

    __slots__ = ("_buffer", "_limit", "_searched")

    def __init__(self, *, limit: int = MAX_LINE_BYTES) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data

    def next_line(self) -> str | None:
        """Return the next line without its end, or None while there is none.

        Bytes that are no UTF-8 are kept as surrogates, because file names may be anything.

        Raises:
            RemoteProtocolError: The line is too long.
        """
        end = self._buffer.find(b"\n", self._searched)
        if (len(self._buffer) if end < 0 else end) > self._limit:
            raise RemoteProtocolError(f"a line of more than {self._limit} bytes")
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        self._searched = 0
        return line.decode("utf-8", "surrogateescape")

    @property
    def is_empty(self) -> bool:
        """Whether all bytes have been returned as lines."""
        return not self._buffer


class ReplyAssembler:
    """Puts replies together from their lines (RFC 959 section 4.2)."""

    __slots__ = ("_code", "_lines", "_size")

    def __init__(self) -> None:
        self._code: int | None = None
        self._lines: list[str] = []
        self._size = 0

    def add(self, line: str) -> Reply | None:
        """Take a line; return the reply that it ends, or None.

        Raises:
            RemoteProtocolError: No reply, or too long a one.
        """
        matched = _REPLY_LINE.fullmatch(line)
        self._size += len(line)
        if self._size > MAX_REPLY_BYTES:
            raise RemoteProtocolError(f"a reply of more than {MAX_REPLY_BYTES} bytes")
        if self._code is None:
            if matched is None:
                raise RemoteProtocolError(f"no reply of an FTP server: {line[:80]!r}", hint="check host and port")
            self._code = int(matched[1])
        is_own = matched is not None and int(matched[1]) == self._code
        self._lines.append((matched[3] or "") if matched is not None and is_own else line)
        if not is_own or (matched is not None and matched[2] == "-"):
            return None
        reply = Reply(self._code, tuple(self._lines))
        self._code, self._lines, self._size = None, [], 0
        return reply

    @property
    def is_within(self) -> bool:
        """Whether a reply has begun and not ended."""
        return self._code is not None


def encode_command(line: str) -> bytes:
    """Return a command as bytes, its end included.

    Raises:
        LocalProtocolError: It is empty, or holds what would end it.
    """
    if not line or set("\r\n\0") & set(line):
        raise LocalProtocolError(f"{line!r} cannot be sent as one FTP command")
    return line.encode("utf-8", "surrogateescape") + b"\r\n"


def parse_command(line: str) -> Command:
    """Read a command.

    Raises:
        RemoteProtocolError: It does not begin with a verb.
    """
    verb, _, argument = line.partition(" ")
    if not _VERB.fullmatch(verb):
        raise RemoteProtocolError("no FTP command")
    return Command(verb.upper(), argument)


def encode_reply(code: int, *lines: str) -> list[bytes]:
    """Return the lines of a reply, each with its end: the first and the last with the code, the others after a blank.

    Raises:
        LocalProtocolError: No line, or one that holds what would end it.
    """
    if not lines or not 100 <= code <= 659 or any(set("\r\n\0") & set(line) for line in lines):
        raise LocalProtocolError(f"{code} {lines!r} cannot be sent as an FTP reply")
    first, *between = lines
    if not between:
        return [f"{code} {first}\r\n".encode("utf-8", "surrogateescape")]
    *between, last = between
    text = [f"{code}-{first}", *(f" {line}" for line in between), f"{code} {last}"]
    return [f"{line}\r\n".encode("utf-8", "surrogateescape") for line in text]


def parse_data_address(reply: Reply, *, host: str) -> tuple[str, int]:
    """Return where to connect to, from the reply to `PASV` (227) or `EPSV` (229).

    Args:
        reply: The reply.
        host: The address of the control channel, which a 229 reply refers to.

    Raises:
        RemoteProtocolError: The reply names no address.
    """
    if reply.code == 229 and (extended := _EXTENDED.search(reply.text)) is not None and 0 < int(extended[2]) < 65536:
        return host, int(extended[2])
    if reply.code == 227 and (passive := _PASSIVE.search(reply.text)) is not None:
        numbers = [int(number) for number in passive[1].split(",")]
        port = numbers[4] * 256 + numbers[5]
        if max(numbers) < 256 and port:
            return ".".join(str(number) for number in numbers[:4]), port
    raise RemoteProtocolError(f"no address of a data channel: {reply}")
