"""The Unix socket shell of the deciding daemon: connections, time, processes, signals; the judging is `judge.py`'s.

    sockets = given.listen(settings.socket, mode=settings.socket_mode)      # gsi.transport.activation
    status = serve_callouts(sockets, make_service, workers=2)

Every connection is bound to the process that opened it: the kernel tells its pid and uid (SO_PEERCRED), and the library
passes no connection on. Questions that cannot wait for anything are answered in the event loop; all others in threads.
How much of all that a uid gets is `capacity.py`'s subject.

SIGTERM and SIGINT stop accepting, let questions under way finish, and close the rest; the library then opens its
sessions anew with whoever listens next. SIGHUP reads configuration and policies again; what is broken changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import select
import signal
import socket
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gsi.authz.callout.capacity import Limits, Seats, Turns
from gsi.authz.callout.session import CalloutSession, State
from gsi.errors import GridError, RemoteProtocolError
from gsi.transport.listening import BACKLOG, ManagedSocket
from gsi.transport.workers import EXIT_OK, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gsi.authz.callout.config import ServerSettings
    from gsi.authz.callout.messages import Answer, Request

__all__ = ["Conversation", "DecidingService", "Peer", "serve_callouts"]

RESERVED_DESCRIPTORS: Final = 128
"""Open files of a worker besides its connections: threads reading policies, pools, directories."""

MAX_DESCRIPTORS: Final = 1 << 17
"""What the limit of open files is raised to at most: twice the most connections that can be configured."""


SWITCH_SECONDS: Final = 0.0005
"""How long a thread computes before another may: a tenth of the usual, because file operations and logins need a few
thousandths of a second while long descriptions of jobs are being read."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who opened a connection, as the kernel says.

    Attributes:
        pid: The process, at the time.
        uid: Its effective user.
        gid: Its effective group.
    """

    pid: int
    uid: int
    gid: int


class Conversation(Protocol):
    """What one connection asks, one question after the other; made by `DecidingService.open`."""

    def is_quick(self, request: Request) -> bool:
        """Whether judging it waits for nothing: no directory, no disk, no lock."""

    def judge(self, request: Request) -> Answer:
        """Judge one question. Called in the event loop if `is_quick`, else in a thread. Must not raise."""


class DecidingService(Protocol):
    """What a worker decides with. All methods but `Conversation.judge` are called in its event loop."""

    @property
    def settings(self) -> ServerSettings:
        """The settings now; asked at every connection."""

    def is_service(self, uid: int) -> bool:
        """Whether a uid is one of the services' own, whose connections and questions are apart from all others."""

    def open(self, peer: Peer) -> Conversation:
        """Begin a connection."""

    def report(self, peer: Peer | None, error: GridError) -> None:
        """Take note of what went wrong outside a question."""

    def reload(self) -> None:
        """Read configuration and policies again; the old ones stay if this raises."""

    def close(self) -> None:
        """Give back what is held."""


class _Connection(asyncio.Protocol):
    """One connection. At most one question is under way."""

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker
        self._session = CalloutSession()
        self._transport: asyncio.Transport | None = None
        self._conversation: Conversation | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.peer: Peer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        raw = transport.get_extra_info("socket")
        self.peer = _peer_of(raw)
        if not self._worker.admit(self):
            transport.abort()
            return
        self._conversation = self._worker.service.open(self.peer)
        self._arm(self._worker.service.settings.request_time.total_seconds())

    def data_received(self, data: bytes) -> None:
        if self._conversation is None:
            return
        try:
            request = self._session.receive(data)
        except RemoteProtocolError as error:
            self._worker.service.report(self.peer, error)
            self.abort()
            return
        if request is None:
            self._hold(data)
            return
        self._disarm()
        if self._conversation.is_quick(request):
            self._answer(self._conversation.judge(request))
        elif self._hold(data):
            self._worker.judge_in_thread(self, self._conversation, request)

    def _hold(self, data: bytes) -> bool:
        """Count bytes that are kept; with too many of its user's, close the connection."""
        if self._worker.seats.hold(self, len(data)):
            return True
        self._worker.service.report(self.peer, GridError("connection closed: its user has too much under way"))
        self.abort()
        return False

    def eof_received(self) -> bool:
        return self._session.state is State.DECIDING  # the gate and single questions may have closed their side

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._disarm()
        self._transport = None
        self._worker.forget(self)

    def finish(self, answer: Answer) -> None:
        """Send the answer that a thread has found."""
        if self._transport is not None:
            self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        assert self._transport is not None
        self._worker.seats.release(self)
        try:
            self._transport.write(self._session.answer(answer))
        except GridError as error:  # an account that no service may be told
            self._worker.service.report(self.peer, error)
            self.abort()
            return
        if self._session.finished or self._worker.stopping:
            self._transport.close()
        else:
            self._arm(self._worker.service.settings.idle_time.total_seconds())

    @property
    def is_deciding(self) -> bool:
        """Whether a question is under way."""
        return self._session.state is State.DECIDING

    @property
    def is_open(self) -> bool:
        """Whether it is a session."""
        return self._session.state is State.OPEN

    def is_gone(self) -> bool:
        """Whether the peer has closed the whole connection, not only its side of it: nobody waits for an answer."""
        if self._transport is None:
            return True
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), 0)
        return any(found & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, found in poll.poll(0))

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        if self._session.state is not State.OPEN or self._session.in_request:
            self._worker.service.report(self.peer, RemoteProtocolError("no question in time"))
        self.abort()


class _Worker:
    """The connections of one process."""

    def __init__(self, service: DecidingService) -> None:
        self.service = service
        self.stopping = False
        self.seats: Seats[_Connection] = Seats()
        self._room = max(2, _descriptor_limit() - RESERVED_DESCRIPTORS)
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        settings = service.settings
        self._users: Turns[Answer] = Turns(settings.threads, share=settings.user_threads, name="judge")
        self._services: Turns[Answer] = Turns(
            settings.service_threads, share=settings.service_threads, name="judge-service"
        )

    async def run(self, sockets: Sequence[socket.socket], ready: Callable[[], None], parent: int | None) -> None:
        """Serve until told to stop, then drain."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._report_loop_error)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        if parent is not None:
            loop.add_reader(parent, self._stop.set)  # readable only when the supervisor is gone
        servers = [await loop.create_server(lambda: _Connection(self), sock=one, backlog=BACKLOG) for one in sockets]
        ready()
        await self._stop.wait()
        self.stopping = True
        if parent is not None:
            loop.remove_reader(parent)
        for server in servers:
            server.close()
        await self._drain()
        self._users.close()
        self._services.close()
        self.service.close()

    async def _drain(self) -> None:
        for one in self.seats.every():
            if not one.is_deciding:
                one.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.service.settings.drain_time.total_seconds()):
                while len(self.seats):
                    self._changed.clear()
                    await self._changed.wait()
        for one in self.seats.every():
            one.abort()

    def admit(self, connection: _Connection) -> bool:
        """Count a new connection; False when there are too many."""
        peer = connection.peer
        assert peer is not None
        if self.stopping:
            return False
        settings = self.service.settings
        services = min(settings.service_connections, self._room // 2)
        limits = Limits(min(settings.connections, self._room - services), settings.per_user, services)
        is_service = self.service.is_service(peer.uid)
        admission = self.seats.admit(connection, peer.uid, is_service=is_service, limits=limits)
        if admission.refusal:
            self.service.report(peer, GridError(f"connection refused: {admission.refusal}"))
            return False
        if admission.victim is not None:
            self.service.report(admission.victim.peer, GridError("connection closed: others need the room"))
            admission.victim.abort()
        return True

    def forget(self, connection: _Connection) -> None:
        """Take a closed connection off the count."""
        self.seats.leave(connection)
        self._changed.set()

    def judge_in_thread(self, connection: _Connection, conversation: Conversation, request: Request) -> None:
        """Judge a question that may have to wait."""
        peer = connection.peer
        assert peer is not None

        def done(found: asyncio.Future[Answer]) -> None:
            if found.cancelled():
                connection.abort()
            elif (error := found.exception()) is not None:
                self.service.report(connection.peer, _defect(error))
                connection.abort()
            else:
                connection.finish(found.result())

        def is_gone() -> bool:
            if connection.is_gone():
                connection.abort()
                return True
            return False

        turns = self._services if self.service.is_service(peer.uid) else self._users
        turns.submit(peer.uid, lambda: conversation.judge(request), done, is_gone=is_gone)

    def _reload(self) -> None:
        try:
            self.service.reload()
        except GridError as error:
            self.service.report(None, error)

    def _report_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        del loop
        error = context.get("exception")
        self.service.report(None, _defect(error if isinstance(error, BaseException) else None, context.get("message")))


def _defect(error: BaseException | None, message: object = "") -> GridError:
    report = GridError(f"internal error: {message} {type(error).__name__}: {error}")
    report.__cause__ = error
    return report


def _peer_of(raw: socket.socket) -> Peer:
    return Peer(*struct.unpack("3i", raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))


# --- the socket and the processes -------------------------------------------------------------------------------------


def serve_callouts(
    sockets: Sequence[socket.socket],
    make_service: Callable[[], DecidingService],
    *,
    workers: int = 1,
    on_ready: Callable[[], None] = lambda: None,
    on_reload: Callable[[], bool] = lambda: True,
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Args:
        sockets: From `Given.listen`; closed at the end, and those of our own unlinked.
        make_service: Called once in every worker.
        workers: Processes; 1 serves in this one.
        on_ready: Called in this process when connections are being accepted.
        on_reload: With several workers, called in this process at SIGHUP; they hear of it when it returns True.

    Raises:
        GridError: With one worker: `make_service` failed.
    """
    _raise_descriptor_limit()
    owned = [one.getsockname() for one in sockets if not isinstance(one, ManagedSocket)]
    places = [(path, _place_of(path)) for path in owned]
    try:
        if workers <= 1:
            asyncio.run(_run_worker(make_service, sockets, on_ready, None))
            return EXIT_OK

        def work(ready: Callable[[], None], parent: int) -> None:
            asyncio.run(_run_worker(make_service, sockets, ready, parent))

        return Supervisor(sockets, work, workers, on_reload).run(on_ready)
    finally:
        for one in sockets:
            one.close()
        for path, place in places:
            if place is not None and _place_of(path) == place:  # not that of a daemon which has begun meanwhile
                with contextlib.suppress(OSError):
                    os.unlink(path)


def _place_of(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


async def _run_worker(
    make_service: Callable[[], DecidingService],
    sockets: Sequence[socket.socket],
    ready: Callable[[], None],
    parent: int | None,
) -> None:
    sys.setswitchinterval(SWITCH_SECONDS)
    await _Worker(make_service()).run(sockets, ready, parent)


def _descriptor_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # what there is has to do
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
