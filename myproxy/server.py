"""One worker of the server: `gsi.transport.serve` on one side, the service on the other; no decisions of its own.

    server = MyProxyServer(options, load_setup(options))        # `myproxy.supervision` makes one in each worker
    serve(listen(None, 7512), lambda: server)

Each worker process has its own trust directory, store, audit file and threads. SIGHUP reads configuration and host
credential anew in a thread and reopens the audit file; if anything of that fails all of the old state stays in use, and
the log says so. Connections that are open then end with what they began with (`myproxy.equipment`). The trust directory
follows its files by itself.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import secrets
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
from gsi.system.trustdir import TrustDirectory
from gsi.transport.documents_server import offer
from gsi.transport.refusals import LineThinner
from gsi.transport.serve import Limits, source_of
from gsi.transport.tls import ServerTLS, TLSVersion, parse_tls_version
from gsi.trust.options import ValidationOptions
from gsi.trust.verify import VerificationCache, verify_chain
from myproxy.config import DEFAULT_REQUEST_BYTES, MAX_CONFIG_BYTES, ServerConfig, parse_config
from myproxy.conversation import Conversation, Haste
from myproxy.equipment import Equipment
from myproxy.logs import find_facility
from myproxy.metrics import MeteredSink, Metrics
from myproxy.monitor import Monitor, Sources
from myproxy.protocol.server import ServerSession
from myproxy.repository.census import take_census
from myproxy.repository.events import SQLEvents
from myproxy.repository.history import History
from myproxy.service import MyProxyService
from myproxy.wiring.attributes import make_client_attributes, make_requested_attributes
from myproxy.wiring.authority import make_authority
from myproxy.wiring.extensions import make_proxy_extensions
from myproxy.wiring.methods import make_methods
from myproxy.wiring.repository import make_sealer, make_sweeper, open_repository
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
    from myproxy.repository.sweep import ServerStart

__all__ = [
    "MyProxyServer",
    "ServerOptions",
    "ServerSetup",
    "audit_path",
    "audit_paths",
    "check_same_places",
    "kept",
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
        self._stored_cache = VerificationCache(keeps_leaves=True)
        self._haste = Haste()
        self._validation = ValidationOptions()
        self._repository = open_repository(setup.config, options.storage, patient=True, create=False)
        self._history = History(SQLEvents(self._repository.database), clock=clock.now)
        self._audit = AuditLog(self._audit_path(setup.config), node=setup.config.node_name)
        self._equipment = self._equip(setup)
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="myproxy")
        self._sweeper = make_sweeper(lambda: self._equipment.setup.config, self._repository, self._audit, started)
        self._monitor = Monitor(self._metrics, self._sources())
        self._report_notes()

    @property
    def limits(self) -> Limits:
        """See `gsi.transport.serve.Service`."""
        return self._equipment.limits

    def tls_session(self) -> TLSSession:
        """See `gsi.transport.serve.Service`."""
        self._metrics.connect()
        return self._equipment.tls.session()

    async def handle(self, connection: Connection) -> None:
        """Verify the client, then serve its request."""
        self._metrics.open(1)
        equipment = self._equipment
        try:
            with equipment.in_use() as service:
                await self._converse(connection, service, equipment.setup.config)
        finally:
            self._metrics.open(-1)

    async def _converse(self, connection: Connection, service: MyProxyService, config: ServerConfig) -> None:
        request_id = secrets.token_hex(8)
        limit = config.request_size_limit
        session = ServerSession(max_request_bytes=limit if limit > 0 else DEFAULT_REQUEST_BYTES)
        conversation = Conversation(
            connection,
            session,
            service,
            self._executor,
            seconds=self.limits.request_seconds,
            observe=self._metrics.observe,
            may_log=functools.partial(self._thinner.admit, source_of(connection.peer)),
            haste=self._haste,
        )
        try:
            caller = await self._admit(connection, service, request_id)
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

    async def reload(self) -> None:
        """Read configuration and host credential again, and reopen the audit file, while the loop goes on.

        Connections that are open end with what they began with, and so does its authority's key.

        Raises:
            GridError: Something is wrong with one of them; everything stays as it was.
        """
        try:
            equipment = await self._in_thread(self._equip_anew)
        except GridError as error:
            self._metrics.reload(works=False)
            raise kept(error) from error
        self._metrics.reload(works=True)
        before, self._equipment = self._equipment, equipment
        before.retire(lambda service: self._executor.submit(service.close))
        _log.info("configuration read again from %s", self._options.config_path)
        self._report_notes()

    def _equip_anew(self) -> Equipment:
        setup = load_setup(self._options)
        check_same_places(self._equipment.setup.config, setup.config)
        equipment = self._equip(setup)
        try:
            # The last that can fail, and the first that counts.
            self._audit.reopen(self._audit_path(setup.config))
        except GridError:
            equipment.service.close()
            raise
        return equipment

    def begin_upkeep(self) -> None:
        """Look after the store now and then, beside the requests."""
        self._sweeper.start()
        self._history.start()

    def close(self) -> None:
        """Give back threads, store and audit file."""
        self._thinner.close()
        self._monitor.close()
        self._sweeper.stop()
        self._executor.shutdown()
        self._equipment.service.close()
        self._history.stop()
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

    def _equip(self, setup: ServerSetup) -> Equipment:
        return Equipment(
            setup,
            limits=_limits(setup.config),
            tls=self._make_tls(setup.credential),
            service=self._make_service(setup.config),
        )

    def _make_service(self, config: ServerConfig) -> MyProxyService:
        verify = make_verifier(config, self._verify_stored, self._audit)
        return MyProxyService(
            make_settings(config),
            repository=self._repository,
            sealer=make_sealer(config, self._repository),
            audit=MeteredSink(self._audit, self._metrics),
            verify=verify,
            clock=clock.now,
            methods=make_methods(config, verify, self._repository.database),
            trust_roots=make_trust_roots(config),
            site_rules=make_site_rules(config),
            proxy_extensions=make_proxy_extensions(config),
            attributes=make_requested_attributes(config, verify, self._trust.anchors),
            authority=make_authority(config, self._verify_stored, self._trust.anchors, _warn),
            history=self._history,
            is_near=config.database is None and not asks_responders(config),
        )

    def _audit_path(self, config: ServerConfig) -> str:
        return audit_path(config, self._options.storage, self._worker)

    def _sources(self) -> Sources:
        return Sources(
            census=lambda: take_census(self._repository.database, now=clock.now()),
            anchors=self._trust.anchors,
            check_issuer=self._check_issuer,
            host_expiry=lambda: min(one.not_after for one in self._equipment.setup.credential.certificates),
            clock=clock.now,
        )

    def _check_issuer(self) -> None:
        equipment = self._equipment
        try:
            equipment.service.check_issuer()
        except GridError:
            if equipment is self._equipment:
                raise
            self._equipment.service.check_issuer()  # a reload has put that one's key away meanwhile

    async def _admit(self, connection: Connection, service: MyProxyService, request_id: str) -> Caller:
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
            record = functools.partial(service.refuse_client, refusal, presented=tls.peer_chain)
            await self._in_thread(functools.partial(record, address=address, request_id=request_id))
            raise
        admit = functools.partial(service.admit, peer, address=address, request_id=request_id)
        if _is_plain(peer):
            return admit()
        return await self._in_thread(lambda: admit(fqans=self._client_attributes(peer, now=now)))

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _record_failed_handshake(self, peer: HostPort, error: VerificationError) -> None:
        """Record a refusal of OpenSSL's. Nobody is answered: the alert is out, and OpenSSL keeps the chain."""
        try:
            self._equipment.service.refuse_client(error, address=peer.host, request_id=secrets.token_hex(8))
        except GridError as trouble:
            _log.error("%s: a failed handshake is not in the audit: %s", peer, trouble)

    def _verify_stored(self, chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
        anchors = self._trust.anchors()
        return verify_chain(chain, anchors, now=now, options=self._validation, cache=self._stored_cache)

    def _report_notes(self) -> None:
        config = self._equipment.setup.config
        for note in config.notes:
            _log.warning("%s", note)
        if find_facility(config.syslog_facility) is None:
            _log.warning("there is no syslog_facility %r: daemon is used", config.syslog_facility)
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


def check_same_places(old: ServerConfig, new: ServerConfig) -> None:
    """Insist on a restart for what is open in every worker.

    Raises:
        ConfigError: That is to be changed.
    """
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


def kept(error: GridError) -> ConfigError:
    """Return what the administrator is told of a reload that failed."""
    return ConfigError(f"the new configuration is not used, the old one stays: {error.message}", hint=error.hint)
