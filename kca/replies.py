"""Replies given lately, for requests that come again: shared by all worker processes, without a lock; decides nothing.

    replies = ReplyCache()                             # before the workers are forked
    replies.begin(peer, message, now=...)              # in any of them: somebody is at work on it
    replies.put(peer, message, reply, now=...)
    replies.find(peer, message, now=...)               # None where there is none, UNDER_WAY where there is none yet

A datagram that is sent again, because its reply was lost, is a replay to Kerberos, and may reach another worker than
the first time; so the reply is kept. A table in memory that is shared over fork, its place given by the hash of the
request, newer replies over older ones. Readers know by a checksum when they have met a writer, and find nothing then.
The client's address belongs to the request, so that nobody can have replies sent to others.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from typing import Final

__all__ = ["KEEP_SECONDS", "MAX_REPLY_BYTES", "UNDER_WAY", "WORK_SECONDS", "ReplyCache"]

KEEP_SECONDS: Final = 60.0
"""Clients give up after half of it."""
WORK_SECONDS: Final = 30.0
"""How long somebody may be at work on a request before he is taken for dead."""
UNDER_WAY: Final = b""
"""In place of a reply, which is never empty."""
SLOTS: Final = 8192
"""Twelve seconds of replies at the pace of a busy server; clients send again after one. Pages are taken when used."""
SLOT_BYTES: Final = 4096
_HEADER: Final = struct.Struct("!32s16sdI")  # request, checksum, time, length
MAX_REPLY_BYTES: Final = SLOT_BYTES - _HEADER.size
"""A chain of three RSA certificates takes 4 KB; a longer reply does not come again."""


class ReplyCache:
    """The table. Any number of threads and processes may use it."""

    __slots__ = ("_memory", "_secret", "_slots")

    def __init__(self, slots: int = SLOTS) -> None:
        """Make an empty table, to be shared by all processes forked later.

        Args:
            slots: How many replies it holds.
        """
        self._slots = slots
        self._memory = mmap.mmap(-1, slots * SLOT_BYTES)
        self._secret = os.urandom(16)  # nobody can choose requests that push out the reply of another

    def begin(self, peer: str, message: bytes, *, now: float) -> None:
        """Take note that somebody is at work on a request; `put` ends it. Arguments as there."""
        self._write(self._digest(peer, message), UNDER_WAY, now)

    def put(self, peer: str, message: bytes, reply: bytes, *, now: float) -> None:
        """Keep a reply, in place of whatever is there; of one that is too long nothing is kept.

        Args:
            peer: The client's address, without its port.
            message: The request as it came.
            reply: What was answered.
            now: Seconds of a clock that all processes share (`time.monotonic`).
        """
        request = self._digest(peer, message)
        if len(reply) <= MAX_REPLY_BYTES:
            self._write(request, reply, now)
        else:
            begin = self._place(request)
            self._memory[begin : begin + _HEADER.size] = bytes(_HEADER.size)

    def _write(self, request: bytes, reply: bytes, now: float) -> None:
        begin = self._place(request)
        header = _HEADER.pack(request, _checksum(request, now, reply), now, len(reply))
        self._memory[begin : begin + len(header) + len(reply)] = header + reply

    def find(self, peer: str, message: bytes, *, now: float) -> bytes | None:
        """Return the reply to the same message of the same client; None where there is none, or `UNDER_WAY`."""
        request = self._digest(peer, message)
        begin = self._place(request)
        found, checksum, then, length = _HEADER.unpack(self._memory[begin : begin + _HEADER.size])
        keep = KEEP_SECONDS if length else WORK_SECONDS
        if found != request or not 0 <= now - then <= keep or length > MAX_REPLY_BYTES:
            return None
        begin += _HEADER.size
        reply = self._memory[begin : begin + length]
        return reply if _checksum(request, then, reply) == checksum else None

    def _digest(self, peer: str, message: bytes) -> bytes:
        return hashlib.blake2b(
            peer.encode("utf-8", "replace") + b"\0" + message, digest_size=32, key=self._secret
        ).digest()

    def _place(self, request: bytes) -> int:
        return int.from_bytes(request[:8], "big") % self._slots * SLOT_BYTES


def _checksum(request: bytes, then: float, reply: bytes) -> bytes:
    return hashlib.blake2b(request + struct.pack("!d", then) + reply, digest_size=16).digest()
