"""The server of the repository: `gsi.transport.serve` on one side, the service on the other; no decisions of its own.

    options = ServerOptions(config_path=..., storage=...)
    factory = ServerFactory(options)
    serve(listen(None, 7512), factory.make, workers=factory.config.worker_processes, on_reload=factory.reload)

Each worker process makes its own `MyProxyServer`: trust directory, store, audit file, threads; configuration and host
credential are read before, so that a worker that died comes back with what the others run with, whatever has become of
the files. SIGHUP reads these anew and reopens the audit file; if anything of that fails all of the old state stays in
use, and the log says so. The trust directory follows its files by itself.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from gsi import oids
from gsi.errors import ConfigError, CredentialError, CredentialProblem, DeniedError, GridError, VerificationError
from gsi.proxy.kinds import ProxyKind
from gsi.system import clock
from gsi.system.audit import AuditLog
from gsi.system.credential_files import load_proxy, load_user_credential
from gsi.system.environ import get_variable, read_locations
from gsi.system.files import read_public
from gsi.system.gsi_conf import find_setting, load_gsi_conf
from gsi.system.memory import limit_arenas
from gsi.system.notify import Manager
from gsi.system.trustdir import TrustDirectory
from gsi.transport.documents_server import listen_loopback, offer
from gsi.transport.refusals import LineThinner
from gsi.transport.serve import Limits, Watcher, source_of
from gsi.transport.tls import ServerTLS, TLSVersion, parse_tls_version
from gsi.trust.options import ValidationOptions
from gsi.trust.verify import VerificationCache, verify_chain
from myproxy.config import DEFAULT_REQUEST_BYTES, MAX_CONFIG_BYTES, ServerConfig, parse_config
from myproxy.conversation import Conversation, Haste
from myproxy.logs import find_facility
from myproxy.metrics import MeteredSink, Metrics
from myproxy.monitor import SILENT_SECONDS, Monitor, Sources
from myproxy.protocol.server import ServerSession
from myproxy.repository.census import take_census
from myproxy.repository.sweep import ServerStart
from myproxy.service import MyProxyService
from myproxy.wiring.attributes import make_client_attributes, make_requested_attributes
from myproxy.wiring.authority import make_authority
from myproxy.wiring.extensions import make_proxy_extensions
from myproxy.wiring.methods import make_methods
from myproxy.wiring.repository import make_sealer, make_sweeper, open_repository, prepare_repository
from myproxy.wiring.revocation import asks_responders, make_verifier
from myproxy.wiring.rules import make_settings, make_site_rules, make_trust_roots

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.credential import Credential
    from gsi.transport.serve import Connection
    from gsi.transport.stream import HostPort
    from gsi.transport.tls import TLSSession
    from gsi.trust.verify import VerifiedPeer
    from myproxy.grants import Caller
    from myproxy.repository.seal import Sealer

__all__ = [
    "ManagedWatcher",
    "MyProxyServer",
    "ServerFactory",
    "ServerOptions",
    "ServerSetup",
    "audit_path",
    "audit_paths",
    "load_config",
    "load_server_credential",
    "load_setup",
]

AUDIT_NAME: Final = "audit.log"
"""File name of the audit inside the storage directory, unless `audit_log` names another."""

THREADS: Final = 128
"""Requests that wait for the store, a derivation or an outside judge at once, per worker, made when needed; the sealer
lets few of them compute, and `myproxy.wiring.methods.OUTSIDE_SLOTS` fewer than all ask outside."""

HANDSHAKE_SECONDS: Final = 30.0
"""For the TLS handshake of the slowest line; less where `request_timeout` is."""

BEAT_SECONDS: Final = 1.0
"""Between two signs of life of a worker."""

TRUST_RECHECK_SECONDS: Final = 1.0
"""How old the view of the trust directory may be."""

_log: Final = logging.getLogger("myproxy.server")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the command line decides.

    Attributes:
        config_path: The configuration file, absolute.
        storage: The storage directory, absolute.
    """

    config_path: str
    storage: str


@dataclass(frozen=True, slots=True)
class ServerSetup:
    """What is read from files at the start and at SIGHUP.

    Attributes:
        config: The configuration.
        credential: The server's own credential.
    """

    config: ServerConfig
    credential: Credential = field(repr=False)


def load_setup(options: ServerOptions) -> ServerSetup:
    """Read configuration and host credential.

    Raises:
        GridError: One of them cannot be used.
    """
    return ServerSetup(load_config(options.config_path), load_server_credential())


def load_config(path: str) -> ServerConfig:
    """Read and parse the configuration file.

    Raises:
        ConfigError: It cannot be read or used.
    """
    try:
        data = read_public(path, max_bytes=MAX_CONFIG_BYTES, check_writers=True)
        return parse_config(data.decode("utf-8", "surrogateescape"), path=path)
    except ConfigError:
        raise
    except GridError as error:
        missing = isinstance(error, CredentialError) and error.problem is CredentialProblem.MISSING
        hint = (
            "write one (myproxy-server(8) lists what goes into it), or name another file with -c"
            if missing
            else error.hint
        )
        raise ConfigError(f"cannot read the configuration: {error.message}", hint=hint) from error


def load_server_credential() -> Credential:
    """Load the server's own credential from where the C server looks: X509_USER_CERT and X509_USER_KEY, the proxy in
    X509_USER_PROXY, the host's files.

    Raises:
        CredentialError: There is none, or it cannot be used.
        ParseError: Its file is malformed.
    """  # noqa: D205  # the list of places is one sentence
    locations = read_locations()
    explicit = get_variable("X509_USER_CERT") and get_variable("X509_USER_KEY")
    if not explicit and get_variable("X509_USER_PROXY"):
        return load_proxy(locations.proxy)
    return load_user_credential(*locations.find_host_credential())


class MyProxyServer:
    """One worker: what `gsi.transport.serve` calls for each connection."""

    def __init__(
        self,
        options: ServerOptions,
        setup: ServerSetup,
        *,
        metrics: Metrics | None = None,
        monitors: Sequence[socket.socket] = (),
        worker: int = 0,
        started: ServerStart | None = None,
    ) -> None:
        """Open everything that the worker needs.

        Args:
            options: What the command line decides.
            setup: What was read from files; `reload` reads it anew.
            metrics: Where all workers count.
            monitors: The sockets on which monitors are answered.
            worker: Which of the workers this is.
            started: When the server was started, of which this is a worker; None for now.

        Raises:
            GridError: Some of it cannot be used.
        """
        self._options = options
        self._metrics = metrics or Metrics()
        self._monitors = monitors
        self._worker = worker
        self._thinner = LineThinner(lambda text: _log.warning("%s", text))
        self._trust = TrustDirectory(read_locations().trust_dir, recheck_seconds=TRUST_RECHECK_SECONDS)
        self._client_attributes = make_client_attributes(self._trust.anchors)
        self._cache = VerificationCache()
        self._haste = Haste()
        self._validation = ValidationOptions()
        self._config = setup.config
        self._limits = _limits(setup.config)
        self._credential = setup.credential
        self._tls = self._make_tls(setup.credential)
        self._repository = open_repository(setup.config, options.storage, patient=True, create=False)
        self._audit = AuditLog(self._audit_path(self._config), node=self._config.node_name)
        self._sealer = make_sealer(self._config, self._repository)
        self._service = self._make_service(self._config, self._sealer)
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="myproxy")
        self._sweeper = make_sweeper(lambda: self._config, self._repository, self._audit, started)
        self._monitor = Monitor(self._metrics, self._sources())
        self._report_notes()

    @property
    def limits(self) -> Limits:
        """See `gsi.transport.serve.Service`."""
        return self._limits

    def tls_session(self) -> TLSSession:
        """See `gsi.transport.serve.Service`."""
        self._metrics.connect()
        return self._tls.session()

    async def handle(self, connection: Connection) -> None:
        """Verify the client, then serve its request."""
        self._metrics.open(1)
        try:
            await self._converse(connection)
        finally:
            self._metrics.open(-1)

    async def _converse(self, connection: Connection) -> None:
        request_id = secrets.token_hex(8)
        limit = self._config.request_size_limit
        session = ServerSession(max_request_bytes=limit if limit > 0 else DEFAULT_REQUEST_BYTES)
        conversation = Conversation(
            connection,
            session,
            self._service,
            self._executor,
            seconds=self.limits.request_seconds,
            observe=self._metrics.observe,
            may_log=functools.partial(self._thinner.admit, source_of(connection.peer)),
            haste=self._haste,
        )
        try:
            caller = await self._admit(connection, request_id)
        except VerificationError as error:
            if self._thinner.admit(source_of(connection.peer), error.slug):
                _log.info("%s: %s: client refused: %s: %s", request_id, connection.peer, error.reason.value, error)
            if not await connection.refuse_peer(error):
                denied = DeniedError(f"authentication failed\n{error.message}")
                await conversation.refuse_after_request(denied, request_id)
            return
        except GridError as error:  # verified but not welcome, or the audit cannot be written
            await conversation.refuse_after_request(error, request_id)
            return
        _log.debug("%s: connection from %s by %r", request_id, connection.peer, caller.client.name)
        await conversation.run(caller)

    def report(self, peer: HostPort | None, error: GridError) -> None:
        """Log what went wrong outside a conversation; a certificate refused in the handshake is a decision, too."""
        ours = peer is None or type(error) is GridError
        if peer is not None:
            self._metrics.trouble(error)
        if ours:
            _log.error("%s: %s: %s", peer or "server", error.slug, error, exc_info=error.__cause__)
        elif peer is not None and self._thinner.admit(source_of(peer), error.slug):
            _log.info("%s: %s: %s", peer, error.slug, error)
        if peer is not None and isinstance(error, VerificationError):
            self._executor.submit(self._record_failed_handshake, peer, error)

    async def started(self) -> None:
        """Show signs of life, and answer monitors."""
        self._beat()
        await offer(self._monitors, self._monitor.answer, on_defect=lambda error: _log.error("monitor: %r", error))

    def _beat(self) -> None:
        self._metrics.beat()
        asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)

    def reload(self) -> None:
        """Read configuration and host credential again, and reopen the audit file.

        Raises:
            GridError: Something is wrong with one of them; everything stays as it was.
        """
        try:
            setup = load_setup(self._options)
            _check_same_places(self._config, setup.config)
            tls = self._make_tls(setup.credential)
            sealer = make_sealer(setup.config, self._repository)
            service = self._make_service(setup.config, sealer)
            # The last that can fail, and the first that counts.
            self._audit.reopen(self._audit_path(setup.config))
        except GridError as error:
            self._metrics.reload(works=False)
            raise _kept(error) from error
        self._metrics.reload(works=True)
        self._credential = setup.credential
        self._config, self._limits = setup.config, _limits(setup.config)
        self._tls, self._sealer, self._service = tls, sealer, service
        _log.info("configuration read again from %s", self._options.config_path)
        self._report_notes()

    def begin_upkeep(self) -> None:
        """Look after the store now and then, beside the requests."""
        self._sweeper.start()

    def close(self) -> None:
        """Give back threads, store and audit file."""
        self._thinner.close()
        self._monitor.close()
        self._sweeper.stop()
        self._executor.shutdown()
        self._repository.close()
        self._audit.close()

    def _make_tls(self, credential: Credential) -> ServerTLS:
        settings = load_gsi_conf(read_locations().gsi_conf)
        low, high = (find_setting(f"{which}_TLS_PROTOCOL", settings) or "" for which in ("MIN", "MAX"))
        return ServerTLS(
            credential,
            self._trust.anchors,
            minimum=parse_tls_version(low, default=TLSVersion.TLS1_2),
            maximum=parse_tls_version(high, default=TLSVersion.TLS1_3),
        )

    def _make_service(self, config: ServerConfig, sealer: Sealer) -> MyProxyService:
        verify = make_verifier(config, self._verify_stored, self._audit)
        return MyProxyService(
            make_settings(config),
            repository=self._repository,
            sealer=sealer,
            audit=MeteredSink(self._audit, self._metrics),
            verify=verify,
            clock=clock.now,
            methods=make_methods(config, verify, self._repository.database),
            trust_roots=make_trust_roots(config),
            site_rules=make_site_rules(config),
            proxy_extensions=make_proxy_extensions(config),
            attributes=make_requested_attributes(config, verify, self._trust.anchors),
            authority=make_authority(config, self._verify_stored, self._trust.anchors, _warn),
            is_near=config.database is None and not asks_responders(config),
        )

    def _audit_path(self, config: ServerConfig) -> str:
        return audit_path(config, self._options.storage, self._worker)

    def _sources(self) -> Sources:
        return Sources(
            census=lambda: take_census(self._repository.database, now=clock.now()),
            anchors=self._trust.anchors,
            check_issuer=lambda: self._service.check_issuer(),  # noqa: PLW0108  a reload brings another service
            host_expiry=lambda: min(one.not_after for one in (self._credential.certificate, *self._credential.chain)),
            clock=clock.now,
        )

    async def _admit(self, connection: Connection, request_id: str) -> Caller:
        """Judge the client's certificates. Refusals are recorded when this raises.

        Judging takes a tenth of a millisecond and nothing of the machine: a thread is asked only where files have to be
        looked at, or a refusal to be recorded.
        """
        tls, address, now = connection.tls, connection.peer.host, clock.now()
        assert tls is not None
        anchors = self._trust.recent()
        if anchors is None:
            anchors = await self._in_thread(self._trust.anchors)
        try:
            peer = tls.verify_peer(anchors, now=now, options=self._validation, cache=self._cache)
        except VerificationError as refusal:
            record = functools.partial(self._service.refuse_client, refusal, presented=tls.peer_chain)
            await self._in_thread(functools.partial(record, address=address, request_id=request_id))
            raise
        admit = functools.partial(self._service.admit, peer, address=address, request_id=request_id)
        if _is_plain(peer):
            return admit()
        return await self._in_thread(lambda: admit(fqans=self._client_attributes(peer, now=now)))

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _record_failed_handshake(self, peer: HostPort, error: VerificationError) -> None:
        """Record a refusal of OpenSSL's. Nobody is answered: the alert is out, and OpenSSL keeps the chain."""
        try:
            self._service.refuse_client(error, address=peer.host, request_id=secrets.token_hex(8))
        except GridError as trouble:
            _log.error("%s: a failed handshake is not in the audit: %s", peer, trouble)

    def _verify_stored(self, chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
        return verify_chain(chain, self._trust.anchors(), now=now, options=self._validation, cache=self._cache)

    def _report_notes(self) -> None:
        for note in self._config.notes:
            _log.warning("%s", note)
        if find_facility(self._config.syslog_facility) is None:
            _log.warning("there is no syslog_facility %r: daemon is used", self._config.syslog_facility)
        for problem in self._trust.problems:
            _log.warning("trust directory: %s %s", problem.path, problem.message)


def _limits(config: ServerConfig) -> Limits:
    timeout = config.request_timeout or 120
    return Limits(
        connections=config.max_connections,
        per_source=config.max_connections_per_source,
        handshake_seconds=min(timeout, HANDSHAKE_SECONDS) if timeout > 0 else HANDSHAKE_SECONDS,
        request_seconds=timeout if timeout > 0 else None,
    )


def _is_plain(peer: VerifiedPeer | None) -> bool:
    """Tell whether a client is let in without a look at a file or into the audit."""
    if peer is None:
        return True
    carries = any(one.find_extension(oids.VOMS_AC_SEQUENCE) is not None for one in peer.chain)
    return not carries and not peer.independent and peer.kind is not ProxyKind.RESTRICTED


class ManagedWatcher(Watcher):
    """Tells the service manager, if there is one, what becomes of the server.

    It hears that all is well as long as this process turns and some worker does: one that hangs is told to monitors.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._manager = Manager.from_environment()
        self.seconds = self._manager.watchdog_seconds

    def ready(self) -> None:
        """Tell that connections are accepted."""
        self._manager.tell("READY=1", f"MAINPID={os.getpid()}", "STATUS=serving")

    def reloading(self) -> None:
        """Tell that the configuration is being read."""
        self._manager.tell_reloading()

    def reloaded(self) -> None:
        """Tell that it was."""
        self._manager.tell("READY=1", "STATUS=serving")

    def stopping(self) -> None:
        """Tell that running requests are waited for."""
        self._manager.tell("STOPPING=1", "STATUS=waiting for running requests")

    def alive(self) -> None:
        """Tell that all is well, if it is."""
        if min(self._metrics.silences()) < SILENT_SECONDS:
            self._manager.tell("WATCHDOG=1")


class ServerFactory:
    """Makes the server of each worker from the last configuration and credential that were good.

    It lives in the process that starts the workers. What is on disk counts at the start and at SIGHUP only.
    """

    def __init__(self, options: ServerOptions, *, monitored: bool = True) -> None:
        """Read the files, make or upgrade the store, and try whether a server can be made from them.

        Args:
            options: What the command line decides.
            monitored: Whether to answer monitors.

        Raises:
            GridError: It cannot.
        """
        self._options = options
        setup = load_setup(options)
        prepare_repository(setup.config, options.storage, audit_path(setup.config, options.storage))
        self._setup = self._try(setup)
        self._worker = 0
        self._started = ServerStart(clock.now(), time.monotonic())
        self.metrics = Metrics(workers=setup.config.worker_processes)
        where = setup.config.monitor_listen
        self._monitors = listen_loopback(where) if where and monitored else []

    @property
    def config(self) -> ServerConfig:
        """The configuration in use."""
        return self._setup.config

    def set_worker(self, number: int) -> None:
        """Say in a worker, before `make`, which one it is."""
        self._worker = number

    def make(self) -> MyProxyServer:
        """Make a server; called in each worker.

        Raises:
            GridError: Something other than configuration and credential cannot be used.
        """
        limit_arenas()
        self.metrics.use(self._worker)
        try:
            server = MyProxyServer(
                self._options,
                self._setup,
                metrics=self.metrics,
                monitors=self._monitors,
                worker=self._worker,
                started=self._started,
            )
        except GridError as error:
            _log.error("worker %d cannot start: %s: %s", self._worker + 1, error.slug, error)
            raise
        server.begin_upkeep()
        return server

    def reload(self) -> bool:
        """Read the files again; False, and all stays as it was, when they are not good."""
        try:
            setup = load_setup(self._options)
            _check_same_places(self._setup.config, setup.config)
            self._setup = self._try(setup)
        except GridError as error:
            self.metrics.supervise()  # no worker hears of it
            self.metrics.reload(works=False)
            _log.error("%s", _kept(error))
            return False
        return True

    def _try(self, setup: ServerSetup) -> ServerSetup:
        MyProxyServer(self._options, setup).close()
        return setup


def _check_same_places(old: ServerConfig, new: ServerConfig) -> None:
    """Insist on a restart for what is open in every worker."""
    for name in ("database", "monitor_listen"):
        if getattr(old, name) != getattr(new, name):
            raise ConfigError(f"{name} cannot be changed while the server runs", hint="restart it")


def audit_path(config: ServerConfig, storage: str, worker: int = 0) -> str:
    """Return the audit file of a worker: each but the first has one of its own, with a number before the ending."""
    path = config.audit_log or os.path.join(storage, AUDIT_NAME)
    if not worker:
        return path
    stem, ending = os.path.splitext(path)
    return f"{stem}-{worker + 1}{ending}"


def audit_paths(config: ServerConfig, storage: str) -> list[list[str]]:
    """Return the audit files that are there, each with those that rotation has moved away (`.1`, `.2`), oldest first.

    Raises:
        ConfigError: Their directory cannot be read.
    """
    found: list[list[str]] = []
    stem, ending = os.path.splitext(audit_path(config, storage))
    directory, name = os.path.split(stem)
    pattern = re.compile(re.escape(name) + r"(?:-(\d{1,4}))?" + re.escape(ending) + r"(?:\.(\d{1,6}))?")
    try:
        names = [match for match in map(pattern.fullmatch, os.listdir(directory or ".")) if match]
    except OSError as error:
        raise ConfigError(f"cannot read {directory}: {error.strerror}") from error
    for worker in sorted({int(match[1] or 1) for match in names}):
        mine = [match for match in names if int(match[1] or 1) == worker]
        mine.sort(key=lambda match: -int(match[2] or 0))
        found.append([os.path.join(directory, match[0]) for match in mine])
    return found


def _warn(text: str) -> None:
    _log.warning("%s", text)


def _kept(error: GridError) -> ConfigError:
    return ConfigError(f"the new configuration is not used, the old one stays: {error.message}", hint=error.hint)
