"""The accept loop of every server: asyncio in one or several processes, limits, graceful stop; no protocol of its own.

    sockets = listen(None, 7512)                     # all addresses, IPv6 and IPv4
    status = serve(sockets, make_service, workers=2)

`make_service` runs in each worker after the fork and returns a `Service`: what databases, threads and caches it opens
belongs to that worker. For every connection within the limits the service gives a TLS session (or None), the handshake
is done here under a time limit, then `Service.handle` has the connection until it returns or its time is up. The last
flight of the handshake waits until the handler receives or sends: before that it can still refuse the client.

SIGTERM and SIGINT stop accepting, wait for running requests (`Limits.drain_seconds`), then end; who has asked for
nothing yet is not waited for. SIGHUP calls
`Service.reload`. With several workers the first process only supervises: it passes signals on and replaces workers that
died; workers stop when it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import resource
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from gsi.errors import ConfigError, GridError, TimeoutExpiredError, TransportError
from gsi.transport.connection import Connection, RawConnection
from gsi.transport.workers import EXIT_OK, Supervisor, Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gsi.transport.stream import HostPort
    from gsi.transport.tls import TLSSession

__all__ = [
    "FREE_PORT_TRIES",
    "Connection",
    "Limits",
    "Service",
    "Watcher",
    "adopt",
    "bind_all",
    "bound_port",
    "listen",
    "raise_descriptor_limit",
    "serve",
    "serve_one",
    "source_of",
]

Place: TypeAlias = "tuple[int, int, int, str, Any]"
"""Family, kind, protocol, canonical name and address, as `socket.getaddrinfo` has them."""
BACKLOG: Final = 512
"""Connections that the kernel holds for us: a burst of that many logons waits instead of being refused."""
FREE_PORT_TRIES: Final = 16
"""How many ports are looked at for one that is free in every family, or for datagrams too: the kernel looks at one."""
SILENT_SECONDS: Final = 1.0
"""At the end, for peers that have sent nothing yet: their request may be under way."""
CLOSE_SECONDS: Final = 1.0
"""At the end, for the last bytes of finished connections."""
ACCEPT_BATCH: Final = 32
"""Connections that asyncio takes in without a look at how many there are: each holds a descriptor until it is refused.
It is also the number of its attempts, and complaints, when there are none left."""
MAX_DESCRIPTORS: Final = 1 << 20
"""What the limit of open files is raised to at most, the kernel's own default: containers allow a billion, and programs
that close every possible number before they start another take minutes over that."""
RESERVED_DESCRIPTORS: Final = 256
"""Open files of a worker besides its connections: 32 threads with a database each, files being read, two batches."""
COMPLAIN_SECONDS: Final = 60.0
"""Between two reports that no connections can be accepted; asyncio tries every second."""
_NO_FAMILY: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Limits:
    """What strangers may take, per worker process. Times in seconds; None is no limit.

    Attributes:
        connections: Open connections in all: at some 60 KiB each, a worker stays under 150 MB. The limit of open files
            may allow fewer.
        per_source: Open connections from one address, with IPv6 from one network of 64 bits, which is what a single
            subscriber has; portals log many users on from one.
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

    async def started(self) -> None:
        """Begin what else runs in this loop; called once, when connections are being accepted."""

    def reload(self) -> Awaitable[None] | None:
        """Read the configuration again (SIGHUP); the old one stays if this raises, or what it returns to be awaited."""

    def close(self) -> None:
        """Give back what the service holds; no connection is left."""


class _Worker:
    """The connections of one process."""

    def __init__(self, service: Service, *, once: bool, watcher: Watcher | None = None) -> None:
        self._service = service
        self._once = once
        self._watcher = watcher or Watcher()
        self._tasks: dict[asyncio.Task[None], Connection | None] = {}
        self._open: dict[str, int] = {}
        self._count = 0
        self._stop = asyncio.Event()
        self._idle = asyncio.Event()
        self._stopping = False
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        self._ceiling = _connection_ceiling()
        self._complained: float | None = None

    async def run(self, sockets: Sequence[socket.socket], ready: Callable[[], None], parent: int | None) -> None:
        """Serve until told to stop, then drain."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._report_loop_error)
        if self._service.limits.connections > self._ceiling:
            self._service.report(
                None,
                ConfigError(
                    f"the limit of open files allows {self._ceiling} connections only",
                    hint="raise it (ulimit -n, LimitNOFILE=)",
                ),
            )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
        if parent is not None:
            loop.add_reader(parent, self._stop.set)  # readable only when the supervisor is gone
        servers = [
            await loop.create_server(lambda: RawConnection(self._accept, self._forget), sock=one, backlog=ACCEPT_BATCH)
            for one in sockets
        ]
        for one in sockets:
            one.listen(BACKLOG)  # the kernel's queue may be longer than asyncio's batch
        await self._service.started()
        ready()
        self._watcher.ready()
        self._tick()
        await self._stop.wait()
        self._stopping = True
        self._watcher.stopping()
        if parent is not None:
            loop.remove_reader(parent)
        for server in servers:
            server.close()
        await self._drain()
        async with self._reloading:
            self._service.close()

    async def run_one(self, connection: socket.socket) -> None:
        """Serve one connection, then end."""
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: RawConnection(self._accept, self._forget), connection)
        await self._stop.wait()
        await self._drain()
        self._service.close()

    def _tick(self) -> None:
        if self._watcher.seconds is not None and not self._stopping:
            self._watcher.alive()
            asyncio.get_running_loop().call_later(self._watcher.seconds, self._tick)

    async def _drain(self) -> None:
        patience = self._service.limits.drain_seconds
        first = min(patience, SILENT_SECONDS)
        for seconds, only_silent in ((first, True), (patience - first, False)):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=seconds)
            late = [task for task in self._tasks if not (only_silent and self._has_spoken(task))]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._count:  # transports still write what is left; a peer that takes nothing is not waited for
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._idle.wait()

    def _has_spoken(self, task: asyncio.Task[None]) -> bool:
        connection = self._tasks.get(task)
        return connection is not None and connection.has_spoken

    def _begin_reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        """Have the service read its configuration again: one reload after the other, and none when it is closed."""
        async with self._reloading:
            if self._stopping:
                return
            self._watcher.reloading()
            try:
                outcome = self._service.reload()
                if outcome is not None:
                    await outcome
            except GridError as error:
                self._service.report(None, error)
            self._watcher.reloaded()

    def _report_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Take note of an error in the loop itself, in one line, and now and then where it repeats itself."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _EXHAUSTED:
            report = GridError(f"internal error: {context.get('message')}: {type(error).__name__}: {error}")
            report.__cause__ = error if isinstance(error, BaseException) else None
            self._service.report(None, report)
        elif self._complained is None or loop.time() - self._complained >= COMPLAIN_SECONDS:
            self._complained = loop.time()
            self._service.report(None, TransportError(f"no connections can be accepted now: {error.strerror}"))

    def _accept(self, raw: RawConnection) -> None:
        """Take a connection in, or close it at once when there are too many."""
        source = source_of(raw.peer)
        limits = self._service.limits
        mine = self._open.get(source, 0)
        self._open[source] = mine + 1
        self._count += 1
        self._idle.clear()
        if self._count > min(limits.connections, self._ceiling) or mine >= limits.per_source or self._stopping:
            which = f"{mine} connections from {source}" if mine >= limits.per_source else "too many connections"
            self._service.report(raw.peer, TransportError(f"connection refused: {which}"))
            raw.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(raw, limits))
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    def _forget(self, raw: RawConnection) -> None:
        source = source_of(raw.peer)
        self._count -= 1
        if not self._count:
            self._idle.set()
        left = self._open[source] - 1
        if left:
            self._open[source] = left
        else:
            del self._open[source]

    async def _serve(self, raw: RawConnection, limits: Limits) -> None:
        """Serve one connection; whatever happens, only this connection ends."""
        what = "TLS handshake"
        try:
            connection = Connection(raw, self._service.tls_session())
            task = asyncio.current_task()
            assert task is not None
            self._tasks[task] = connection
            async with asyncio.timeout(limits.handshake_seconds) as limit:
                await connection.handshake()
                what = "request"
                seconds = limits.request_seconds
                limit.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)
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


def source_of(peer: HostPort) -> str:
    """Return what counts as one source: an IPv4 address, or an IPv6 network of 64 bits."""
    if ":" not in peer.host:
        return peer.host
    address = ipaddress.IPv6Address(peer.host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


def raise_descriptor_limit() -> None:
    """Use as many open files as the administrator allows; the lower limit is meant for programs that use select."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # what there is has to do
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _connection_ceiling() -> int:
    """How many connections the limit of open files leaves room for; with a tiny limit half of it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    return max(most - RESERVED_DESCRIPTORS, most // 2)


def listen(host: str | None, port: int) -> list[socket.socket]:
    """Open listening sockets, each address family its own.

    Args:
        host: A name or address, or None for every address of the machine.
        port: The port; 0 takes a free one, the same for all families.

    Raises:
        ConfigError: The name or port cannot be listened on.
    """
    where = f"{host or '*'}:{port}"
    try:  # the protocol is named: asyncio sets TCP_NODELAY only on sockets that say they are TCP
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot listen on {where}: {error}") from error
    tries = 1 if port else FREE_PORT_TRIES
    while True:
        tries -= 1
        try:
            return bind_all(found, everywhere=host is None)
        except OSError as error:
            if not tries or error.errno != errno.EADDRINUSE:
                raise ConfigError(f"cannot listen on {where}: {error.strerror or error}") from error


def bind_all(
    places: Sequence[Place], *, everywhere: bool, prepare: Callable[[socket.socket], None] = lambda _: None
) -> list[socket.socket]:
    """Open a socket that does not block for each place, all or none; those for streams listen.

    Args:
        places: What `socket.getaddrinfo` found. With port 0 all get the same free one.
        everywhere: Whether these are all addresses of the machine, of which one without IPv6 has some.
        prepare: Called with each socket before it is bound.

    Raises:
        OSError: One cannot be had.
    """
    with contextlib.ExitStack() as undo:
        sockets: list[socket.socket] = []
        for *rest, address in sorted(places, key=lambda one: one[0] != socket.AF_INET6):
            if sockets and address[1] == 0:
                address = (address[0], bound_port(sockets), *address[2:])  # noqa: PLW2901  the same port for all
            made = _bind((*rest, address), prepare, may_lack=everywhere)
            if made is not None:
                sockets.append(undo.enter_context(made))
        if not sockets:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        undo.pop_all()
        return sockets


def _bind(place: Place, prepare: Callable[[socket.socket], None], *, may_lack: bool) -> socket.socket | None:
    """Open one socket; None where its family is lacking and may be."""
    family, kind, protocol, _, address = place
    with contextlib.ExitStack() as undo:
        try:
            made = undo.enter_context(socket.socket(family, kind, protocol))
            if kind == socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            prepare(made)
            made.bind(address)
        except OSError as error:
            if may_lack and error.errno in _NO_FAMILY:
                return None
            raise
        if kind == socket.SOCK_STREAM:
            made.listen(BACKLOG)
        made.setblocking(False)
        undo.pop_all()
        return made


def serve_one(connection: socket.socket, make_service: Callable[[], Service]) -> None:
    """Serve one connection that somebody else has accepted, as inetd does, to its end.

    Raises:
        GridError: `make_service` failed.
    """

    async def body() -> None:
        await _Worker(make_service(), once=True).run_one(connection)

    asyncio.run(body())


def adopt(descriptors: Sequence[int]) -> list[socket.socket]:
    """Take over listening sockets that somebody else has opened, as systemd does.

    Raises:
        ConfigError: One of them is no listening TCP socket.
    """
    sockets: list[socket.socket] = []
    for descriptor in descriptors:
        try:
            # The protocol is named for the same reason as in `listen`.
            with socket.socket(fileno=os.dup(descriptor)) as found:
                family, kind = found.family, found.type
                listening = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if family not in {socket.AF_INET, socket.AF_INET6} or kind != socket.SOCK_STREAM or not listening:
                raise ConfigError(f"descriptor {descriptor} is not a listening TCP socket")
            sockets.append(socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, descriptor))
        except OSError as error:
            raise ConfigError(f"descriptor {descriptor} cannot be listened on: {error.strerror}") from error
        sockets[-1].setblocking(False)
        sockets[-1].set_inheritable(False)
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
    on_worker: Callable[[int], None] = lambda _number: None,
    watcher: Watcher | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status. The limit of open files is raised as far as it goes.

    Args:
        sockets: From `listen`; closed at the end.
        make_service: Called once in every worker.
        workers: Processes; 1 serves in this one.
        once: End after the first connection. Only with one worker.
        on_ready: Called in this process when connections are being accepted.
        on_reload: With several workers, called in this process at SIGHUP, so that workers made later start from the
            same state; the workers hear of it only when it returns True. It must not raise.
        on_worker: With several workers, called in each before `make_service`, with its number from 0.
        watcher: Hears in this process what becomes of the server.

    Raises:
        GridError: With one worker: `make_service` failed. With several the failure is reported by the worker's own
            exit status, and 1 is returned.
    """
    try:
        raise_descriptor_limit()
        if workers <= 1:
            service = make_service()
            asyncio.run(_Worker(service, once=once, watcher=watcher).run(sockets, on_ready, None))
            return EXIT_OK

        def work(ready: Callable[[], None], parent: int) -> None:
            asyncio.run(_Worker(make_service(), once=False).run(sockets, ready, parent))

        supervisor = Supervisor(sockets, work, workers, on_reload, on_worker=on_worker, watcher=watcher)
        return supervisor.run(on_ready)
    finally:
        for one in sockets:
            one.close()
