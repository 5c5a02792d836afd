"""Where an HTTP/1.1 request ends in what a connection has brought; whether it is a good one, gunicorn's parser says.

    frame = find_frame(data, head_bytes=65536)          # None: the head is not whole yet
    end = frame.end(data)                               # None: the body is not

This decides when a request is handed on, never what it means. Whoever serves it has to close the connection where the
parser finds another end (RFC 9112 section 11.2).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Frame", "TooLongError", "UnclearError", "find_frame"]

_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([0-9]{1,18})[ \t]*(?=\r\n)")
_ANY_LENGTH: Final = re.compile(rb"\r\ncontent-length[ \t]*:")
_CODING: Final = re.compile(rb"\r\ntransfer-encoding[ \t]*:")
_EXPECT: Final = re.compile(rb"\r\nexpect[ \t]*:[ \t]*100-continue[ \t]*(?=\r\n)")
_SIZE: Final = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;|\Z)")
_MAX_CHUNK_LINE: Final = 256
"""A size, and extensions that nobody uses."""


class TooLongError(Exception):
    """The head is longer than it may be."""


class UnclearError(Exception):
    """The head says more than one thing of the length, or it or a chunk nothing that is a length."""


class Frame:
    """What the head says of the length.

    Attributes:
        head: Bytes of the head, with the empty line.
        body: Bytes of the body; None where it comes in chunks.
        least: Bytes of the whole request at least, as far as `end` has seen it.
        expects: Whether the client waits for a word before it sends the body.
    """

    __slots__ = ("_chunk", "body", "expects", "head", "least")

    def __init__(self, head: int, body: int | None, expects: bool) -> None:
        self.head = head
        self.body = body
        self.expects = expects
        self.least = head + (body or 0)
        self._chunk = head  # where the first chunk begins that was not whole; none is looked at twice

    def end(self, data: bytes | bytearray) -> int | None:
        """Return where the request ends, or None where more has to come.

        Args:
            data: All that has come, from the head on.

        Raises:
            UnclearError: What should be the size of a chunk is none.
        """
        if self.body is not None:
            end = self.head + self.body
            return end if len(data) >= end else None
        return self._end_of_chunks(data)

    def _end_of_chunks(self, data: bytes | bytearray) -> int | None:
        """Return where a body in chunks ends (RFC 9112 section 7.1); see `end`."""
        while True:
            line = data.find(b"\r\n", self._chunk, self._chunk + _MAX_CHUNK_LINE)
            if line < 0:
                if len(data) >= self._chunk + _MAX_CHUNK_LINE:
                    raise UnclearError
                return None
            found = _SIZE.match(bytes(data[self._chunk : line]))
            if found is None:
                raise UnclearError
            size = int(found[1], 16)
            if not size:
                break
            self.least = after = line + 2 + size + 2
            if len(data) < after:
                return None
            self._chunk = after
        if data[line : line + 4] == _END:
            return line + 4
        trailers = data.find(_END, line)
        return None if trailers < 0 else trailers + len(_END)


def find_frame(data: bytes | bytearray, *, head_bytes: int) -> Frame | None:
    """Return what the head says, or None where it is not whole.

    Raises:
        TooLongError: It has more than so many bytes.
        UnclearError: Where the body ends is open to interpretation (RFC 9112 section 6.3): nobody may guess.
    """
    end = data.find(_END, 0, head_bytes)
    if end < 0:
        if len(data) >= head_bytes:
            raise TooLongError
        return None
    head = bytes(data[: end + 2]).lower()
    size = end + len(_END)
    expects = head.partition(b"\r\n")[0].endswith(b" http/1.1") and _EXPECT.search(head) is not None
    said, lengths, coded = _ANY_LENGTH.findall(head), _LENGTH.findall(head), _CODING.search(head) is not None
    if len(said) + coded > 1 or len(said) != len(lengths):
        raise UnclearError
    if coded:
        return Frame(size, None, expects)
    return Frame(size, int(lengths[0]) if lengths else 0, expects)
