"""The server for datagrams and streams: `gsi.transport.serve` and UDP on one side, the service on the other.

    factory = ServerFactory("/etc/kca/kca.toml")
    serve(factory.streams, factory.make, workers=factory.config.server.workers, on_reload=factory.reload)

Each worker process makes its own `KCAServer`: books, audit, the CA's key, threads; the sockets, the table of replies
and Kerberos's replay cache are shared. SIGHUP reads configuration, policy and the CA's key anew and reopens the audit;
if anything of that fails the old state stays in use, and the log says so. Requests under way end with what they began
with. The keytab is read at each request. Addresses, the number of workers and the store cannot change without a
restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, GridError, ParseError
from gsi.kerberos.accept import Acceptor, use_replay_cache
from gsi.kerberos.profile import default_realm
from gsi.system.health import Health
from gsi.system.memory import limit_arenas
from gsi.transport.activation import Given
from gsi.transport.documents_server import Document, listen_loopback, offer
from gsi.transport.listening import split_address
from gsi.transport.refusals import LineThinner
from gsi.transport.serve import FREE_PORT_TRIES, Limits, bound_port, listen, source_of
from kca.answering import Answerer
from kca.datagrams import DatagramShell, RateCap, listen_udp, prepare_datagrams, share
from kca.metrics import CONTENT_TYPE, Metrics, render
from kca.protocol.codec import FRAME_BYTES, MAX_REQUEST_BYTES, encode_frame, frame_length, looks_like_request
from kca.protocol.messages import MACPolicy
from kca.replies import ReplyCache
from kca.wiring.service import open_service, prepare

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from gsi.transport.serve import Connection
    from gsi.transport.stream import HostPort
    from gsi.transport.tls import TLSSession
    from kca.config import KCAConfig
    from kca.wiring.service import OpenedService

__all__ = ["REPLAY_NAME", "KCAServer", "ServerFactory", "check_same_places", "listen_both", "take_both"]

REPLAY_NAME: Final = "replay.rcache2"
"""Kerberos's replay cache, in the store's directory: one for all workers, and for nobody else."""
REQUESTS_PER_CONNECTION: Final = 32
"""Clients send one; those that keep a connection may send some more."""
CONNECTION_SECONDS: Final = 30.0
"""For all that happens on one connection."""
_log = logging.getLogger("kca.server")


class _Generation:
    """A service with its configuration, closed when it has been replaced and the last request is done with it."""

    def __init__(
        self, config: KCAConfig, opened: OpenedService, answerer: Answerer, acceptors: Sequence[Acceptor]
    ) -> None:
        self.config = config
        self._opened = opened
        self._answerer = answerer
        self._acceptors = acceptors
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False
        self._closed = False
        parts = {
            "keytab": self._check_keytab,
            "certificate": opened.check_certificates,
            "store": opened.check_books,
        }
        self.health = Health({name: self._while_in_use(look) for name, look in parts.items()}, log="kca.server")

    def answer(self, message: bytes, peer: str, transport: str) -> tuple[bytes | None] | None:
        """Return in a tuple what `Answerer.answer` gives; None when another generation has taken over."""
        with self._use() as is_current:
            return (self._answerer.answer(message, peer=peer, transport=transport),) if is_current else None

    def retire(self) -> None:
        """Close the service, now or when the last request is done with it; may be called once."""
        with self._lock:
            self._retired = True
        self._close_unused()

    def _check_keytab(self) -> None:
        for one in self._acceptors:
            one.check()

    def _while_in_use(self, check: Callable[[], object]) -> Callable[[], None]:
        """Return a look at a part; of a service that was replaced nothing is wrong."""

        def look() -> None:
            with self._use() as is_current:
                if is_current:
                    check()

        return look

    @contextlib.contextmanager
    def _use(self) -> Iterator[bool]:
        """Keep the service open; False where another has taken over."""
        with self._lock:
            is_current = not self._retired
            self._users += is_current
        try:
            yield is_current
        finally:
            if is_current:
                with self._lock:
                    self._users -= 1
                self._close_unused()

    def _close_unused(self) -> None:
        with self._lock:
            close = self._retired and not self._users and not self._closed
            self._closed = self._closed or close
        if close:
            self._opened.close()


def _open(config: KCAConfig, replies: ReplyCache, metrics: Metrics) -> _Generation:
    """Return a service that can be asked.

    Raises:
        GridError: Something that the configuration names cannot be used.
    """
    settings = config.server
    names = [settings.service]
    if settings.realm_tickets:
        realm = default_realm()
        if realm is None:
            raise ConfigError("realm_tickets: krb5.conf names no default realm")
        names.append(f"krbtgt/{realm}@{realm}")
    acceptors = [Acceptor(name, keytab=settings.keytab) for name in names]
    opened = open_service(config, meter=metrics.meter)
    answerer = Answerer(
        opened.service,
        acceptors,
        replies=replies,
        policy=MACPolicy(settings.response_mac.value),
        observe=metrics.observe,
    )
    return _Generation(config, opened, answerer, acceptors)


def _make_rates(config: KCAConfig) -> dict[str, RateCap]:
    """Return how much of each kind one source may send.

    Anybody can send datagrams in the name of another address, and those that are no requests most cheaply, so neither
    kind takes of what a connection, or a request, may have.
    """
    rate = share(config.server.requests_per_second, config.server.workers)
    return {kind: RateCap(rate) for kind in ("udp", "tcp", "noise")}


class KCAServer:
    """One worker: a `gsi.transport.serve.Service`."""

    def __init__(
        self,
        config: KCAConfig,
        load: Callable[[], KCAConfig],
        datagrams: Sequence[socket.socket],
        replies: ReplyCache,
        *,
        metrics: Metrics,
        monitors: Sequence[socket.socket] = (),
    ) -> None:
        """Open what a worker needs.

        Args:
            config: The configuration.
            load: Reads it again.
            datagrams: The UDP sockets, which all workers share.
            replies: The table of replies, which they share, too.
            metrics: Counts what becomes of each message.
            monitors: The sockets on which monitors are answered.

        Raises:
            GridError: Some of it cannot be used.
        """
        self._load = load
        self._replies = replies
        self._metrics = metrics
        self._monitors = monitors
        self._current = _open(config, replies, metrics)
        threads = config.server.threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="kca")
        self._rates = _make_rates(config)
        self._thinner = LineThinner(lambda text: _log.warning("%s", text))
        self._shell = DatagramShell(
            datagrams,
            self._answer_datagram,
            threads=threads,
            admit=self._admit_datagram,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._dropped: Counter[tuple[str, str]] = Counter()

    @property
    def limits(self) -> Limits:
        """See `gsi.transport.serve.Service`."""
        return Limits(connections=1024, per_source=64, request_seconds=CONNECTION_SECONDS)

    def tls_session(self) -> TLSSession | None:
        """Speak plainly: messages protect themselves."""
        return None

    async def handle(self, connection: Connection) -> None:
        """Answer the requests of one connection."""
        received = b""
        for _ in range(REQUESTS_PER_CONNECTION):
            while True:
                length = frame_length(received, limit=MAX_REQUEST_BYTES)
                if length is not None and len(received) >= FRAME_BYTES + length:
                    break
                data = await connection.receive()
                if not data:
                    if received:
                        raise ParseError("the connection ended within a message", what="KX.509 message")
                    return
                received += data
            message, received = received[FRAME_BYTES : FRAME_BYTES + length], received[FRAME_BYTES + length :]
            source = source_of(connection.peer)
            if not self._rates["tcp"].admit(source, time.monotonic()):
                self._metrics.observe("dropped")
                self._tell_dropped(source, "tcp")
                return
            peer = connection.peer.host.partition("%")[0]
            loop = asyncio.get_running_loop()
            reply = await loop.run_in_executor(self._executor, self._answer, message, peer, "tcp")
            if reply is None:
                return
            await connection.send(encode_frame(reply))

    def report(self, peer: HostPort | None, error: GridError) -> None:
        """Log what went wrong outside of an answer."""
        if peer is None or type(error) is GridError:
            _log.error("%s: %s: %s", peer or "server", error.slug, error, exc_info=error.__cause__)
        elif self._thinner.admit(source_of(peer), error.slug):
            _log.info("%s: %s: %s", peer, error.slug, error)

    async def started(self) -> None:
        """Begin to read datagrams, and to answer monitors."""
        self._loop = asyncio.get_running_loop()
        self._shell.start()
        await offer(self._monitors, self._tell, on_defect=lambda error: _log.error("monitor: %r", error))

    async def _tell(self, path: str) -> Document | None:
        health = self._current.health
        if path == "/metrics":
            family = await asyncio.to_thread(health.family, "kca")
            return Document(render(self._metrics, [family]), CONTENT_TYPE)
        if path == "/health":
            if not self._metrics.audit_works():
                return Document(b"the audit cannot be written\n", status=HTTPStatus.SERVICE_UNAVAILABLE)
            text, status = await asyncio.to_thread(health.page)
            return Document(text.encode(), status=HTTPStatus(status))
        return None

    def reload(self) -> None:
        """Read configuration, policy and the CA's key again, and reopen books and audit.

        Raises:
            GridError: Something is wrong with one of them; everything stays as it was.
        """
        config = self._load()
        check_same_places(self._current.config, config)
        fresh = _open(config, self._replies, self._metrics)
        old, self._current = self._current, fresh
        old.retire()
        self._rates = _make_rates(config)
        _log.info("configuration read again")

    def close(self) -> None:
        """Answer what is in hand, then give everything back."""
        self._shell.stop()
        self._executor.shutdown()
        self._thinner.close()
        self._current.retire()

    def _admit_datagram(self, source: str, message: bytes) -> bool:
        """Say whether a datagram may be looked at; called in the threads that read them, one at a time."""
        kind = "udp" if looks_like_request(message) else "noise"
        if self._rates[kind].admit(source, time.monotonic()):
            return True
        self._metrics.observe("dropped")
        with self._lock:  # a flood must not make the loop's queue long
            is_first = not self._dropped
            self._dropped[source, kind] += 1
        if is_first and self._loop is not None:
            self._loop.call_soon_threadsafe(self._tell_all_dropped)
        return False

    def _tell_all_dropped(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, Counter()
        for source, kind in dropped.elements():
            self._tell_dropped(source, kind)

    def _tell_dropped(self, source: str, kind: str) -> None:
        """Log that a request was dropped; in the loop."""
        if self._thinner.admit(source, f"rate {kind}"):
            _log.info("%s: too many requests (%s), some are dropped", source, kind)

    def _answer_datagram(self, message: bytes, peer: str) -> bytes | None:
        return self._answer(message, peer, "udp")

    def _answer(self, message: bytes, peer: str, transport: str) -> bytes | None:
        while True:
            answered = self._current.answer(message, peer, transport)
            if answered is not None:
                return answered[0]


class ServerFactory:
    """Makes the server of each worker from the last configuration that was good.

    Attributes:
        streams: The listening TCP sockets, for `gsi.transport.serve.serve`.
        port: The port of the first address.
    """

    def __init__(self, load: Callable[[], KCAConfig], *, listens: bool = True) -> None:
        """Read the configuration, make the store, try whether a server can be made, and listen.

        Args:
            load: Reads the configuration.
            listens: Whether to listen; else nothing can be served, and a server that runs is in nobody's way.

        Raises:
            GridError: It cannot.
        """
        self._load = load
        self._config = load()
        self._worker = 0
        self._metrics = Metrics(workers=self._config.server.workers)
        prepare(self._config)
        use_replay_cache(os.path.join(self._config.store.directory, REPLAY_NAME))
        self._replies = ReplyCache()
        self._try(self._config)
        self.streams: list[socket.socket] = []
        self._datagrams: list[socket.socket] = []
        self._monitors: list[socket.socket] = []
        self.port = 0
        if listens:
            self._listen()

    def _listen(self) -> None:
        try:
            if self._config.server.metrics:
                self._monitors = listen_loopback(self._config.server.metrics)
            with Given.from_environment() as given:
                for address in self._config.server.listen:
                    streams, datagrams = take_both(given, address)
                    self.streams += streams
                    self._datagrams += datagrams
        except BaseException:
            self.close()
            raise
        self.port = bound_port(self.streams)

    @property
    def config(self) -> KCAConfig:
        """The configuration in use."""
        return self._config

    def set_worker(self, number: int) -> None:
        """Say in a worker, before `make`, which one it is."""
        self._worker = number

    def make(self) -> KCAServer:
        """Make a server; called in each worker.

        Raises:
            GridError: Something cannot be used.
        """
        limit_arenas()
        self._metrics.use(self._worker)
        try:
            return KCAServer(
                self._config,
                self._load,
                self._datagrams,
                self._replies,
                metrics=self._metrics,
                monitors=self._monitors,
            )
        except GridError as error:
            _log.error("a worker cannot start: %s: %s", error.slug, error)
            raise

    def reload(self) -> bool:
        """Read the configuration again; False, and all stays as it was, when it is not good."""
        try:
            config = self._load()
            check_same_places(self._config, config)
            self._try(config)
        except GridError as error:
            _log.error("the new configuration is not used, the old one stays: %s", error)
            return False
        self._config = config
        return True

    def close(self) -> None:
        """Close the sockets."""
        for one in (*self.streams, *self._datagrams, *self._monitors):
            one.close()

    def _try(self, config: KCAConfig) -> None:
        _open(config, self._replies, self._metrics).retire()


def take_both(given: Given, place: str) -> tuple[list[socket.socket], list[socket.socket]]:
    """Return the sockets of a place, those of the service manager where it has opened them.

    Raises:
        ConfigError: It cannot be listened on, or the manager has only one of the two kinds.
    """
    streams, datagrams = given.take(place), given.take_datagrams(place)
    if bool(streams) != bool(datagrams):
        raise ConfigError(
            f"the service manager listens on {place} with {'TCP' if streams else 'UDP'} alone",
            hint="ListenStream= and ListenDatagram= for each address",
        )
    if not streams:
        host, port = split_address(place)
        return listen_both(host or None, port)
    for one in datagrams:
        prepare_datagrams(one)
    return streams, datagrams


def listen_both(host: str | None, port: int) -> tuple[list[socket.socket], list[socket.socket]]:
    """Open sockets for streams and for datagrams on the same port.

    Args:
        host: A name or address, or None for every address of the machine.
        port: The port; 0 takes one that is free for all of them.

    Raises:
        ConfigError: The name or port cannot be listened on.
    """
    tries = 1 if port else FREE_PORT_TRIES  # a free port of TCP may be somebody's of UDP
    while True:
        tries -= 1
        streams = listen(host, port)
        try:
            return streams, listen_udp(host, bound_port(streams))
        except ConfigError:
            for one in streams:
                one.close()
            if not tries:
                raise


def check_same_places(old: KCAConfig, new: KCAConfig) -> None:
    """Insist on a restart for what is open in every worker.

    Raises:
        ConfigError: Such a setting has changed.
    """
    for name in ("listen", "workers", "threads", "metrics"):
        if getattr(old.server, name) != getattr(new.server, name):
            raise ConfigError(f"server.{name} cannot be changed while the server runs", hint="restart it")
    if old.store != new.store:
        raise ConfigError("the store cannot be changed while the server runs", hint="restart it")
