"""One accepted connection: bytes in and out through asyncio and TLS; not who may connect, nor for how long.

raw = RawConnection(accepted, lost)              # asyncio's protocol object, made by `gsi.transport.serve`
connection = Connection(raw, tls_session)
await connection.handshake()
data = await connection.receive()
await connection.send(answer)
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from gsi.errors import GridError, TransportError, VerificationError
from gsi.transport.stream import HostPort

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.transport.tls import TLSSession

__all__ = ["Connection", "RawConnection"]

READ_BYTES: Final = 16384
"""One buffer of this size serves all connections of a process; asyncio's own would be 256 KiB for each with TLS."""
HELD_BYTES: Final = 65536
"""What a peer may have sent ahead of the handler before its socket is no longer read."""
READS_PER_TURN: Final = 8
"""Records that one connection may read before the others have their turn: what came ahead is read without waiting, and
64 KiB can be two thousand records."""
FIRST_WORDS_SECONDS: Final = 1.0
"""How long a client refused after a TLS 1.3 handshake may take to speak: most send their request right behind their
Finished; those that wait for a record first take its absence for a failed handshake."""


class Connection:
    """One accepted connection, as the handler sees it: bytes in and out, TLS already done.

    Attributes:
        peer: The other side's numeric address and port.
        tls: The TLS state, for `verify_peer`; None on a plain connection.
        has_spoken: Whether the other side has sent anything, the handshake aside.
    """

    __slots__ = ("_raw", "_reads", "_unread", "has_spoken", "peer", "tls")

    def __init__(self, raw: RawConnection, tls: TLSSession | None) -> None:
        self._raw = raw
        self._reads = 0
        self._unread = b""
        self.peer = raw.peer
        self.tls = tls
        self.has_spoken = False

    async def receive(self) -> bytes:
        """Wait for bytes; none mean that the peer has closed.

        Raises:
            TransportError: TLS or the connection failed.
        """
        if self.tls is None:
            data = await self._raw.receive()
        elif self._unread:
            data, self._unread = self._unread, b""
        else:
            data = await self._read(self.tls, flush=True)
        self.has_spoken = self.has_spoken or bool(data)
        return data

    async def _read(self, tls: TLSSession, *, flush: bool) -> bytes:
        """Read what is decrypted, else wait for more; before waiting send what TLS itself has to say, if so wished."""
        self._reads += 1
        if self._reads % READS_PER_TURN == 0:
            await asyncio.sleep(0)
        while not (data := tls.read()):
            if flush:  # the handshake's last flight, or answers that a peer could pile up in our memory
                await self._raw.send(tls.data_to_send())
            received = await self._raw.receive()
            tls.receive_data(received)
            if not received:
                return tls.read()
        return data

    async def receive_within(self, seconds: float) -> bytes | None:
        """Wait for bytes, but no longer than this; None when the peer stayed silent.

        Raises:
            TransportError: TLS or the connection failed.
        """
        if self.tls is not None and (data := self._read_at_once(self.tls)):
            self.has_spoken = True
            return data
        try:
            async with asyncio.timeout(seconds):
                return await self.receive()
        except TimeoutError:
            return None

    def _read_at_once(self, tls: TLSSession) -> bytes:
        """Read what is there without waiting, as long as it is not others' turn: no clock has to be set for it."""
        if self._unread or (self._reads + 1) % READS_PER_TURN == 0:
            return b""
        data = tls.read()
        if not data and (received := self._raw.take()):
            tls.receive_data(received)
            data = tls.read()
        self._reads += bool(data)
        return data

    async def send(self, *messages: bytes) -> None:
        """Send messages, each in TLS records of its own, all handed over in one piece.

        Raises:
            TransportError: TLS or the connection failed.
        """
        if self.tls is None:
            await self._raw.send(b"".join(messages))
            return
        for message in messages:
            self.tls.write(message)
        await self._raw.send(self.tls.data_to_send())

    async def handshake(self) -> None:
        """Do the TLS handshake but for our last flight; called before the handler sees the connection."""
        if self.tls is None:
            return
        try:
            while not self.tls.handshake():
                await self._raw.send(self.tls.data_to_send())
                self.tls.receive_data(await self._raw.receive())
        except GridError:
            with contextlib.suppress(TransportError):  # the first error is the one to report
                await self._raw.send(self.tls.data_to_send())  # an alert
            raise

    async def refuse_peer(self, error: VerificationError) -> bool:
        """Refuse the client for its certificates as part of the handshake, as far as that is possible.

        C clients that need no certificate try again without one when the handshake fails, and only then. TLS 1.2 has
        an alert for that. In TLS 1.3 the client is done before us; but a C client then waits for one more record, and
        takes a closed connection for a failed handshake. All others speak at once and can be told why.

        Args:
            error: What `TLSSession.verify_peer` raised. To be called before anything is received or sent.

        Returns:
            True when the connection is to be closed; False when the client awaits an answer in the protocol's words.

        Raises:
            TransportError: TLS or the connection failed.
        """
        if self.tls is None:
            return False
        if self.tls.refuse_peer(error):
            await self._raw.send(self.tls.data_to_send())
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_WORDS_SECONDS):
                self._unread = await self._read(self.tls, flush=False)
        return not self._unread


class RawConnection(asyncio.BufferedProtocol):
    """The socket below a connection. All connections of a process read into one buffer and copy from it at once.

    Args:
        accepted: Called once the connection is there.
        lost: Called when it is gone.

    Attributes:
        peer: The other side's numeric address and port.
    """

    _shared = bytearray(READ_BYTES)

    def __init__(self, accepted: Callable[[RawConnection], None], lost: Callable[[RawConnection], None]) -> None:
        self._accepted = accepted
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._closed = False
        self._paused = False
        self._error: Exception | None = None
        self._wake_reader: asyncio.Future[None] | None = None
        self._wake_writer: asyncio.Future[None] | None = None
        self.peer = HostPort("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BufferedProtocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        address = transport.get_extra_info("peername")
        self.peer = HostPort(str(address[0]), int(address[1])) if isinstance(address, tuple) else HostPort("local", 0)
        self._accepted(self)

    def get_buffer(self, sizehint: int) -> bytearray:
        """See `asyncio.BufferedProtocol`."""
        del sizehint
        return self._shared

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._received += memoryview(self._shared)[:nbytes]
        if len(self._received) >= HELD_BYTES and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        _wake(self._wake_reader)

    def eof_received(self) -> bool:
        """See `asyncio.BufferedProtocol`."""
        self._closed = True
        _wake(self._wake_reader)
        return True  # we may still have to answer; `close` ends it

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._closed = True
        self._error = exc or ConnectionResetError("the connection is closed")
        self._transport = None
        _wake(self._wake_reader)
        _wake(self._wake_writer)
        self._lost(self)

    def pause_writing(self) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._wake_writer = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """See `asyncio.BufferedProtocol`."""
        _wake(self._wake_writer)
        self._wake_writer = None

    async def receive(self) -> bytes:
        """Wait for bytes; none at the end, also when the peer broke off: nobody is left to be told of it."""
        while not self._received and not self._closed:
            self._wake_reader = asyncio.get_running_loop().create_future()
            try:
                await self._wake_reader
            finally:
                self._wake_reader = None
        return self.take()

    def take(self) -> bytes:
        """Return what has come, none where nothing has."""
        data = bytes(self._received)
        self._received.clear()
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def send(self, data: bytes) -> None:
        """Hand over all of the data, waiting while the peer takes none."""
        if not data:
            return
        if self._transport is None or self._transport.is_closing():
            raise TransportError(f"sending to {self.peer} failed: {self._error or 'the connection is closed'}")
        self._transport.write(data)
        if self._wake_writer is not None:
            await self._wake_writer
            if self._error is not None:
                raise TransportError(f"sending to {self.peer} failed: {self._error}")

    def close(self) -> None:
        """Close once all is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, forgetting what is not sent."""
        if self._transport is not None:
            self._transport.abort()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
