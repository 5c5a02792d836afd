"""A gunicorn worker whose threads never wait for a client: one loop accepts, does TLS, reads and writes for all.

    worker_class = "gsi.transport.wsgi_worker.Worker"          # in a gunicorn.conf.py

A thread gets a request when all of it is there, and its answer is sent by the loop. So connections that say nothing,
that stop within the TLS handshake, or that bring their head or body by the byte cost a descriptor for a bounded time,
and nobody else's turn. One address (with IPv6 one network of 64 bits) has so many connections at most; beyond that, and
where there are too many in all, the oldest that is being waited for gives way to the newest. Where too much is kept of
unfinished requests, the longest of the source that has most of it goes.

Requests and answers are kept in memory, so this is for services whose messages are small. HTTP is read by gunicorn's
parser and answered by its response object; this is the way there and back. HTTP/2 and protocol upgrades are not spoken.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, Final

from gunicorn import sock as gunicorn_sock
from gunicorn.workers import base

from gsi.errors import GridError
from gsi.transport.serve import source_of
from gsi.transport.stream import HostPort
from gsi.transport.wsgi_connection import Complaints, Connection, State, WebLimits
from gsi.transport.wsgi_exchange import CAREFUL, Exchange
from gsi.transport.wsgi_framing import TooLongError, UnclearError, find_frame

__all__ = ["Worker"]

LINGER_SECONDS: Final = 2.0
"""For a client to take an answer off the line before the connection is closed (RFC 9112 section 9.6)."""

SILENT_SECONDS: Final = 1.0
"""At the end, for clients whose next request may be under way."""

PAUSE_SECONDS: Final = 1.0
"""Without accepting, where there is no descriptor left, or the system has another reason not to."""

_SWEEP_SECONDS: Final = 0.25
_BATCH: Final = 16
_CHUNK: Final = 64 << 10
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_AGAIN: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError, InterruptedError)
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_GONE: Final = frozenset({errno.EAGAIN, errno.ECONNABORTED, errno.EPROTO, errno.EINTR})
_EVICTED: Final = frozenset({State.HANDSHAKE, State.READING, State.LINGERING})


class Worker(base.Worker):  # type: ignore[misc]  # gunicorn has no types
    """The worker. The application may have `web_limits`, as `serve_wsgi` gives it; else the usual ones hold.

    Attributes:
        alive: Whether it is to go on.
        nr: Requests that it has served.
    """

    alive: bool
    nr: int

    def init_process(self) -> None:
        """Make what belongs to this process, then serve.

        Raises:
            RuntimeError: gunicorn's `proxy_protocol` is on: it would read the line within TLS, from whoever connects.
        """
        if getattr(self.cfg, "proxy_protocol", "off") not in {False, "off"}:
            raise RuntimeError("proxy_protocol does not go with this worker")
        self._limits: WebLimits = getattr(self.app, "web_limits", None) or WebLimits()
        self._selector = selectors.DefaultSelector()
        self._pool = ThreadPoolExecutor(max_workers=self.cfg.threads, thread_name_prefix="request")
        self._finished: SimpleQueue[tuple[Connection, bytearray, bool]] = SimpleQueue()
        self._wake_reader, self._wake_writer = os.pipe()
        for one in (self._wake_reader, self._wake_writer):
            os.set_blocking(one, False)
        self._open: dict[Connection, None] = {}  # the oldest first
        self._sources: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._held_by_all = 0
        self._accepting = False
        self._paused_until = 0.0
        self._complaints = Complaints(self.log)
        super().init_process()

    # --- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until told to stop, then finish what is in hand."""
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._take_finished)
        self._selector.register(self.PIPE[0], selectors.EVENT_READ, self._drain_signals)
        self._swept = 0.0
        self._accept_connections(True)
        while self.alive and self.ppid == os.getppid():
            self._turn()
        self.alive = False
        self._accept_connections(False)
        for listener in self.sockets:
            listener.close()
        now = time.monotonic()
        for one in self._open:
            if one.state in _EVICTED and not one.data:
                one.deadline = min(one.deadline, now + SILENT_SECONDS)
        while self._open and time.monotonic() < now + self.cfg.graceful_timeout:
            self._turn()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for one in list(self._open):
            self._close(one)

    def handle_quit(self, sig: int, frame: object) -> None:
        """Stop at once."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        super().handle_quit(sig, frame)

    def _turn(self) -> None:
        self.notify()
        for key, _ in self._selector.select(_SWEEP_SECONDS if self._open else 1.0):
            if isinstance(key.data, Connection):
                if key.data in self._open:  # it may have given way to another in this turn
                    self._go_on(key.data)
            else:
                key.data(key.fileobj)
        now = time.monotonic()
        if now - self._swept >= _SWEEP_SECONDS:
            self._swept = now
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        """End what has had its time."""
        for one in [one for one in self._open if one.state is not State.WORKING and one.deadline <= now]:
            if one.state is State.HANDSHAKE or one.data:
                self._complaints.note("no whole request in time")
            elif one.state is State.WRITING:
                self._complaints.note("an answer that the client does not take")
            self._close(one)
        if self.alive and not self._accepting and now >= self._paused_until:
            self._accept_connections(True)

    def _drain_signals(self, reader: int) -> None:
        with contextlib.suppress(OSError):
            os.read(reader, 4096)

    def _accept_connections(self, wanted: bool) -> None:
        if wanted is self._accepting:
            return
        self._accepting = wanted
        for listener in self.sockets:
            if wanted:
                listener.setblocking(False)
                self._selector.register(listener, selectors.EVENT_READ, self._accept)
            else:
                self._selector.unregister(listener)

    # --- beginning and end of connections -----------------------------------------------------------------------------

    def _accept(self, listener: Any) -> None:  # noqa: ANN401  gunicorn has no types
        for _ in range(_BATCH):
            try:
                connected, client = listener.accept()
            except OSError as error:
                if error.errno not in _GONE:
                    self._complaints.note(f"no connections can be accepted now: {error.strerror}")
                    if error.errno not in _NO_ROOM or not self._evict(None):
                        self._accept_connections(False)
                        self._paused_until = time.monotonic() + PAUSE_SECONDS
                return
            connected.setblocking(False)
            source = "" if connected.family == socket.AF_UNIX else source_of(HostPort(client[0], client[1]))
            if self._make_room(source):
                exchange = Exchange(self.cfg, client, listener.getsockname())
                self._take_in(Connection(connected, source, exchange))
            else:
                connected.close()

    def _make_room(self, source: str) -> bool:
        """Have the oldest that is being waited for give way where there are too many; say whether there is room."""
        if source and self._sources.get(source, 0) >= self._limits.per_source:
            self._complaints.note(f"too many connections from {source}")
            if not self._evict(source):
                return False
        if len(self._open) >= self.cfg.worker_connections:
            self._complaints.note("too many connections")
            return self._evict(None)
        return True

    def _evict(self, source: str | None) -> bool:
        for one in self._open:
            if one.state in _EVICTED and source in {None, one.source}:
                self._close(one)
                return True
        return False

    def _take_in(self, one: Connection) -> None:
        self._open[one] = None
        self._sources[one.source] = self._sources.get(one.source, 0) + 1
        one.deadline = time.monotonic() + self._limits.head_seconds
        if self.cfg.is_ssl:
            try:
                context = gunicorn_sock.ssl_context(self.cfg)
                one.sock = context.wrap_socket(one.sock, server_side=True, do_handshake_on_connect=False)
            except (GridError, OSError, ValueError) as error:
                if not isinstance(error, OSError) or error.errno != errno.ENOTCONN:
                    self._complaints.note(f"TLS is not possible: {error}")
                self._close(one)
                return
            except Exception:
                self.log.exception("internal error")
                self._close(one)
                return
            one.state = State.HANDSHAKE
        self._watch(one, selectors.EVENT_READ)

    def _watch(self, one: Connection, events: int) -> None:
        """Wait for a socket; 0 for nothing."""
        if events == one.events:
            return
        if not one.events:
            self._selector.register(one.sock, events, one)
        elif events:
            self._selector.modify(one.sock, events, one)
        else:
            self._selector.unregister(one.sock)
        one.events = events

    def _close(self, one: Connection) -> None:
        if one not in self._open:
            return
        self._watch(one, 0)
        del self._open[one]
        self._drop(one)
        left = self._sources[one.source] - 1
        if left:
            self._sources[one.source] = left
        else:
            del self._sources[one.source]
        with contextlib.suppress(OSError):
            one.sock.close()

    def _linger(self, one: Connection) -> None:
        """Say that nothing more comes, and give the client time to read what came."""
        try:
            one.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(one)
            return
        self._drop(one)
        one.state = State.LINGERING
        one.deadline = time.monotonic() + LINGER_SECONDS
        self._watch(one, selectors.EVENT_READ)

    def _keep(self, one: Connection, data: bytes) -> bool:
        """Add to what is kept of unfinished requests; say whether it may be kept.

        Where all together hold too much, who has most gives way: somebody with a small request seldom does.
        """
        one.data += data
        mine = self._held[one.source] = self._held.get(one.source, 0) + len(data)
        self._held_by_all += len(data)
        if one.source and mine > self._limits.held_bytes // 4:
            return False
        while self._held_by_all > self._limits.held_bytes:
            holders = (each for each in self._open if each.data and each.state is State.READING)
            most = max(holders, key=lambda each: (self._held[each.source], len(each.data)), default=one)
            if most is one:
                return False
            self._complaints.note("too much data of unfinished requests")
            self._close(most)
        return True

    def _drop(self, one: Connection) -> None:
        """Forget what is kept of a request."""
        if one.data:
            self._held_by_all -= len(one.data)
            self._held[one.source] -= len(one.data)
            if not self._held[one.source]:
                del self._held[one.source]
            one.data.clear()

    # --- one step of a connection -------------------------------------------------------------------------------------

    def _go_on(self, one: Connection) -> None:
        try:
            match one.state:
                case State.HANDSHAKE:
                    self._shake_hands(one)
                case State.READING:
                    self._read(one)
                case State.WRITING:
                    self._write(one)
                case State.LINGERING:
                    if not one.sock.recv(_CHUNK):
                        self._close(one)
                case State.WORKING:  # not watched
                    pass
        except _AGAIN:
            pass
        except (OSError, ValueError):  # the peer has reset it, or what it sends is no TLS
            if one.state is State.HANDSHAKE:
                self._linger(one)  # an alert may be on its way
            else:
                self._close(one)
        except Exception:
            self.log.exception("internal error")
            self._close(one)

    def _shake_hands(self, one: Connection) -> None:
        assert isinstance(one.sock, ssl.SSLSocket)
        try:
            one.sock.do_handshake()
        except ssl.SSLWantWriteError:
            self._watch(one, selectors.EVENT_WRITE)
            return
        except ssl.SSLWantReadError:
            self._watch(one, selectors.EVENT_READ)
            return
        one.state = State.READING
        self._watch(one, selectors.EVENT_READ)
        self._read(one)

    def _read(self, one: Connection) -> None:
        """Take what has come, until it is a whole request or no more is there."""
        while one.state is State.READING:
            try:
                data = one.sock.recv(_CHUNK)
            except ssl.SSLWantWriteError:
                self._watch(one, selectors.EVENT_READ | selectors.EVENT_WRITE)
                return
            except _AGAIN:
                self._watch(one, selectors.EVENT_READ)
                return
            if not data:
                self._close(one)
                return
            if one.is_idle:
                one.is_idle, one.deadline = False, time.monotonic() + self._limits.head_seconds
            if not self._keep(one, data):
                self._complaints.note("too much data of unfinished requests")
                self._close(one)
                return
            self._look(one)

    def _look(self, one: Connection) -> None:
        """See whether there is a whole request, and hand it on."""
        try:
            if one.frame is None:
                one.frame = find_frame(one.data, head_bytes=self._limits.head_bytes)
                if one.frame is None:
                    return
                one.deadline = time.monotonic() + self._limits.body_seconds
            frame, most = one.frame, one.frame.head + self._limits.body_bytes
            if not self._limits.takes_bodies and frame.body != 0:
                self._hand_on(one, frame.head, is_last=True)
                return
            end = frame.end(one.data)
        except TooLongError:
            self._refuse(one, 431, "Request Header Fields Too Large")
            return
        except UnclearError:
            self._refuse(one, 400, "Bad Request")
            return
        if (max(frame.least, len(one.data)) if end is None else end) > most:
            self._refuse(one, 413, "Content Too Large", "What was sent is larger than this server takes.\n")
            return
        if end is None:
            if frame.expects and len(one.data) == frame.head:
                with contextlib.suppress(OSError):
                    one.sock.send(_CONTINUE)
            return
        self._hand_on(one, end)

    def _hand_on(self, one: Connection, end: int, *, is_last: bool = False) -> None:
        """Give a request to a thread, and keep what has come after it."""
        data = bytes(one.data[:end])
        rest = bytes(one.data[end:])
        self._drop(one)
        self._keep(one, rest)
        one.frame, one.state = None, State.WORKING
        self._watch(one, 0)
        self._pool.submit(self._work, one, data, is_last)

    def _refuse(self, one: Connection, status: int, words: str, more: str = "") -> None:
        self._drop(one)
        text = f"{words}\n{more}".encode("ascii")  # without any, browsers show a page of their own
        head = f"HTTP/1.1 {status} {words}\r\nConnection: close\r\nContent-Length: {len(text)}\r\n"
        kind = b"Content-Type: text/plain; charset=utf-8\r\n"
        self._send(one, bytearray(head.encode("ascii") + CAREFUL + kind + b"\r\n" + text))

    # --- answers ------------------------------------------------------------------------------------------------------

    def _take_finished(self, reader: int) -> None:
        with contextlib.suppress(OSError):
            os.read(reader, 4096)
        with contextlib.suppress(Empty):
            while True:
                one, answer, keep = self._finished.get_nowait()
                self._send(one, answer, keep=keep)

    def _send(self, one: Connection, answer: bytearray, *, keep: bool = False) -> None:
        one.out, one.sent, one.keep = memoryview(bytes(answer)), 0, keep
        one.state = State.WRITING
        one.deadline = time.monotonic() + self._limits.write_seconds
        self._watch(one, selectors.EVENT_WRITE)
        self._go_on(one)

    def _write(self, one: Connection) -> None:
        while one.sent < len(one.out):
            try:
                one.sent += one.sock.send(one.out[one.sent :])
            except ssl.SSLWantReadError:
                self._watch(one, selectors.EVENT_READ)
                return
            except _AGAIN:
                self._watch(one, selectors.EVENT_WRITE)
                return
        one.out = memoryview(b"")
        if not one.keep or not self.alive:
            self._linger(one)
            return
        one.state, one.is_idle = State.READING, not one.data
        patience = self.cfg.keepalive if one.is_idle else self._limits.head_seconds
        one.deadline = time.monotonic() + patience
        self._watch(one, selectors.EVENT_READ)
        if one.data:
            self._look(one)
        if one.state is State.READING:
            self._read(one)  # what TLS has taken off the socket already wakes nobody up

    # --- in threads ---------------------------------------------------------------------------------------------------

    def _work(self, one: Connection, data: bytes, is_last: bool) -> None:
        """Serve one request. Never raises."""
        answer, keep = bytearray(), False
        try:
            answer, keep = one.exchange.answer(self, one.sock, data, is_last=is_last)
        except BaseException:  # the loop has to hear of it, or the connection stays for ever
            self.log.exception("internal error")
        self._finished.put((one, answer, keep))
        with contextlib.suppress(OSError):  # a full pipe wakes it, too
            os.write(self._wake_writer, b"x")
