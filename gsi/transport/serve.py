"""The accept loop of every server: asyncio in one or several processes, limits, graceful stop; no protocol of its own.

    sockets = listen(None, 7512)                     # all addresses, IPv6 and IPv4
    status = serve(sockets, make_service, workers=2)

`make_service` runs in each worker after the fork and returns a `Service`: what databases, threads and caches it opens
belongs to that worker. For every connection within the limits the service gives a TLS session (or None), the handshake
is done here under a time limit, then `Service.handle` has the connection until it returns or its time is up.

SIGTERM and SIGINT stop accepting, wait for running requests (`Limits.drain_seconds`), then end. SIGHUP calls
`Service.reload`. With several workers the first process only supervises: it passes signals on and replaces workers that
died; workers stop when it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gsi.errors import ConfigError, GridError, TimeoutExpiredError, TransportError
from gsi.transport.stream import HostPort
from gsi.transport.workers import EXIT_OK, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gsi.transport.tls import TLSSession

__all__ = ["Connection", "Limits", "Service", "bound_port", "listen", "serve"]

READ_BYTES: Final = 16384
"""One buffer of this size serves all connections of a process; asyncio's own would be 256 KiB for each with TLS."""
HELD_BYTES: Final = 65536
"""What a peer may have sent ahead of the handler before its socket is no longer read."""
BACKLOG: Final = 512
"""Connections that the kernel holds for us: a burst of that many logons waits instead of being refused."""
CLOSE_SECONDS: Final = 1.0
"""At the end, for the last bytes of finished connections."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What strangers may take, per worker process. Times in seconds; None is no limit.

    Attributes:
        connections: Open connections in all: at some 60 KiB each, a worker stays under 150 MB.
        per_source: Open connections from one address; portals log many users on from one.
        handshake_seconds: From accepting to the end of the TLS handshake, for the slowest line.
        request_seconds: For all that follows (the C server's `request_timeout`).
        drain_seconds: For running requests after SIGTERM.
    """

    connections: int = 2048
    per_source: int = 256
    handshake_seconds: float | None = 30.0
    request_seconds: float | None = 120.0
    drain_seconds: float = 30.0


class Service(Protocol):
    """What a server does with connections. All methods are called in the worker's event loop."""

    @property
    def limits(self) -> Limits:
        """The limits now; asked at every connection."""

    def tls_session(self) -> TLSSession | None:
        """Return the TLS state for a new connection, or None to speak plainly."""

    async def handle(self, connection: Connection) -> None:
        """Talk to one peer. The connection is closed afterwards, also when this raises."""

    def report(self, peer: HostPort | None, error: GridError) -> None:
        """Take note of what went wrong outside `handle`, or came out of it: limits, handshakes, time, defects."""

    def reload(self) -> None:
        """Read the configuration again (SIGHUP); the old one stays if this raises."""

    def close(self) -> None:
        """Give back what the service holds; no connection is left."""


class Connection:
    """One accepted connection, as the handler sees it: bytes in and out, TLS already done.

    Attributes:
        peer: The other side's numeric address and port.
        tls: The TLS state, for `verify_peer`; None on a plain connection.
    """

    __slots__ = ("_raw", "peer", "tls")

    def __init__(self, raw: _RawConnection, tls: TLSSession | None) -> None:
        self._raw = raw
        self.peer = raw.peer
        self.tls = tls

    async def receive(self) -> bytes:
        """Wait for bytes; none mean that the peer has closed.

        Raises:
            TransportError: TLS or the connection failed.
        """
        if self.tls is None:
            return await self._raw.receive()
        while not (data := self.tls.read()):
            received = await self._raw.receive()
            self.tls.receive_data(received)
            if not received:
                return self.tls.read()
        return data

    async def receive_within(self, seconds: float) -> bytes | None:
        """Wait for bytes, but no longer than this; None when the peer stayed silent.

        Raises:
            TransportError: TLS or the connection failed.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self.receive()
        except TimeoutError:
            return None

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
        """Do the TLS handshake; called before the handler sees the connection."""
        if self.tls is None:
            return
        try:
            while not self.tls.handshake():
                await self._raw.send(self.tls.data_to_send())
                self.tls.receive_data(await self._raw.receive())
        finally:  # the last flight, or an alert
            await self._raw.send(self.tls.data_to_send())


class _RawConnection(asyncio.BufferedProtocol):
    """The socket below a connection. All connections of a process read into one buffer and copy from it at once."""

    _shared = bytearray(READ_BYTES)

    def __init__(self, accepted: Callable[[_RawConnection], None], lost: Callable[[_RawConnection], None]) -> None:
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
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        address = transport.get_extra_info("peername")
        self.peer = HostPort(str(address[0]), int(address[1])) if isinstance(address, tuple) else HostPort("local", 0)
        self._accepted(self)

    def get_buffer(self, sizehint: int) -> bytearray:
        del sizehint
        return self._shared

    def buffer_updated(self, nbytes: int) -> None:
        self._received += memoryview(self._shared)[:nbytes]
        if len(self._received) >= HELD_BYTES and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        _wake(self._wake_reader)

    def eof_received(self) -> bool:
        self._closed = True
        _wake(self._wake_reader)
        return True  # we may still have to answer; `close` ends it

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._error = exc or ConnectionResetError("the connection is closed")
        self._transport = None
        _wake(self._wake_reader)
        _wake(self._wake_writer)
        self._lost(self)

    def pause_writing(self) -> None:
        self._wake_writer = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
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


class _Worker:
    """The connections of one process."""

    def __init__(self, service: Service, *, once: bool) -> None:
        self._service = service
        self._once = once
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[str, int] = {}
        self._count = 0
        self._stop = asyncio.Event()
        self._idle = asyncio.Event()
        self._stopping = False

    async def run(self, sockets: Sequence[socket.socket], ready: Callable[[], None], parent: int | None) -> None:
        """Serve until told to stop, then drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        if parent is not None:
            loop.add_reader(parent, self._stop.set)  # readable only when the supervisor is gone
        servers = [
            await loop.create_server(lambda: _RawConnection(self._accept, self._forget), sock=one, backlog=BACKLOG)
            for one in sockets
        ]
        ready()
        await self._stop.wait()
        self._stopping = True
        if parent is not None:
            loop.remove_reader(parent)
        for server in servers:
            server.close()
        await self._drain()
        self._service.close()

    async def _drain(self) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._service.limits.drain_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._count:  # transports still write what is left; a peer that takes nothing is not waited for
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._idle.wait()

    def _reload(self) -> None:
        try:
            self._service.reload()
        except GridError as error:
            self._service.report(None, error)

    def _accept(self, raw: _RawConnection) -> None:
        """Take a connection in, or close it at once when there are too many."""
        source = raw.peer.host
        limits = self._service.limits
        mine = self._open.get(source, 0)
        self._open[source] = mine + 1
        self._count += 1
        self._idle.clear()
        if self._count > limits.connections or mine >= limits.per_source or self._stopping:
            which = f"{mine} connections from {source}" if mine >= limits.per_source else "too many connections"
            self._service.report(raw.peer, TransportError(f"connection refused: {which}"))
            raw.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(raw, limits))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget(self, raw: _RawConnection) -> None:
        source = raw.peer.host
        self._count -= 1
        if not self._count:
            self._idle.set()
        left = self._open[source] - 1
        if left:
            self._open[source] = left
        else:
            del self._open[source]

    async def _serve(self, raw: _RawConnection, limits: Limits) -> None:
        """Serve one connection; whatever happens, only this connection ends."""
        what = "TLS handshake"
        try:
            connection = Connection(raw, self._service.tls_session())
            async with asyncio.timeout(limits.handshake_seconds):
                await connection.handshake()
            what = "request"
            async with asyncio.timeout(limits.request_seconds):
                await self._service.handle(connection)
        except GridError as error:
            self._service.report(raw.peer, error)
        except TimeoutError:
            self._service.report(raw.peer, TimeoutExpiredError(f"the {what} took too long"))
            raw.abort()
        except asyncio.CancelledError:
            raw.abort()
            raise
        except Exception as error:  # noqa: BLE001  a defect in one request must not end the others
            self._service.report(raw.peer, GridError(f"internal error: {type(error).__name__}: {error}"))
        finally:
            raw.close()
            if self._once:
                self._stop.set()


def listen(host: str | None, port: int) -> list[socket.socket]:
    """Open listening sockets, each address family its own.

    Args:
        host: A name or address, or None for every address of the machine.
        port: The port; 0 takes a free one, the same for all families.

    Raises:
        ConfigError: The name or port cannot be listened on.
    """
    where = f"{host or '*'}:{port}"
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot listen on {where}: {error}") from error
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in sorted(found, key=lambda one: one[0] != socket.AF_INET6):
            if sockets and port == 0:
                address = (address[0], bound_port(sockets), *address[2:])  # noqa: PLW2901  the same port for all
            # The protocol is named: asyncio sets TCP_NODELAY only on sockets that say they are TCP.
            made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            sockets.append(made)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                made.bind(address)
            except OSError:
                if family != socket.AF_INET6 or host is not None:
                    raise
                sockets.remove(made)  # a machine without IPv6 still serves IPv4
                made.close()
                continue
            made.listen(BACKLOG)
            made.setblocking(False)
    except OSError as error:
        for made in sockets:
            made.close()
        raise ConfigError(f"cannot listen on {where}: {error.strerror or error}") from error
    return sockets


def bound_port(sockets: Sequence[socket.socket]) -> int:
    """Return the port that sockets from `listen` are bound to."""
    return int(sockets[0].getsockname()[1])


def serve(
    sockets: Sequence[socket.socket],
    make_service: Callable[[], Service],
    *,
    workers: int = 1,
    once: bool = False,
    on_ready: Callable[[], None] = lambda: None,
    on_reload: Callable[[], bool] = lambda: True,
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Args:
        sockets: From `listen`; closed at the end.
        make_service: Called once in every worker.
        workers: Processes; 1 serves in this one.
        once: End after the first connection. Only with one worker.
        on_ready: Called in this process when connections are being accepted.
        on_reload: With several workers, called in this process at SIGHUP, so that workers made later start from the
            same state; the workers hear of it only when it returns True. It must not raise.

    Raises:
        GridError: With one worker: `make_service` failed. With several the failure is reported by the worker's own
            exit status, and 1 is returned.
    """
    try:
        if workers <= 1:
            service = make_service()
            asyncio.run(_Worker(service, once=once).run(sockets, on_ready, None))
            return EXIT_OK

        def work(ready: Callable[[], None], parent: int) -> None:
            asyncio.run(_Worker(make_service(), once=False).run(sockets, ready, parent))

        return Supervisor(sockets, work, workers, on_reload).run(on_ready)
    finally:
        for one in sockets:
            one.close()
