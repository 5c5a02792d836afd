"""Two streams joined in memory, for tests and examples: what one sends the other receives; no sockets.

ours, theirs = joined_streams()
ours.send(b"hello")
theirs.receive()                           # b"hello"
"""

from __future__ import annotations

import queue
from typing import Final

from gsi.errors import TimeoutExpiredError, TransportError

__all__ = ["MemoryStream", "joined_streams"]

WAIT_SECONDS: Final = 30.0
"""A receiver gives up after this: two ends that wait for each other are a mistake in a test."""


class MemoryStream:
    """One end of a pair. The ends may be used by different threads."""

    __slots__ = ("_closed", "_from_peer", "_portion", "_rest", "_to_peer")

    def __init__(self, to_peer: queue.Queue[bytes], from_peer: queue.Queue[bytes], portion: int | None) -> None:
        self._to_peer = to_peer
        self._from_peer = from_peer
        self._portion = portion
        self._rest = b""
        self._closed = False

    def send(self, data: bytes, /) -> None:
        """Hand the data to the other end."""
        if self._closed:
            raise TransportError("the stream is closed")
        if data:
            self._to_peer.put(data)

    def receive(self) -> bytes:
        """Wait for bytes; none mean that the peer has closed."""
        if not self._rest:
            try:
                self._rest = self._from_peer.get(timeout=WAIT_SECONDS)
            except queue.Empty:
                raise TimeoutExpiredError(f"nothing came within {WAIT_SECONDS:g} seconds") from None
            if not self._rest:
                self._from_peer.put(b"")  # the end stays the end
                return b""
        size = len(self._rest) if self._portion is None else self._portion
        portion, self._rest = self._rest[:size], self._rest[size:]
        return portion

    def close(self) -> None:
        """Close this end; the other one still receives what was sent."""
        if not self._closed:
            self._closed = True
            self._to_peer.put(b"")


def joined_streams(*, portion: int | None = None) -> tuple[MemoryStream, MemoryStream]:
    """Make a pair.

    Args:
        portion: The most bytes that one `receive` returns; 1 makes the worst network there is.
    """
    one: queue.Queue[bytes] = queue.Queue()
    other: queue.Queue[bytes] = queue.Queue()
    return MemoryStream(one, other, portion), MemoryStream(other, one, portion)
