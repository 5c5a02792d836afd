"""A worker of the deciding daemon: configuration, policies, trust, log and audit behind the `Judge` of each connection.

    factory = ServiceFactory(load_config(path), path)      # in the first process
    serve_callouts(sockets, factory.make, workers=2, on_reload=factory.reload)

Policies follow their files by themselves; the configuration is read again at SIGHUP. What is broken leaves the old in
force, and the log says so.

Audit: a decision about an account or a job is on disk before its answer leaves; what cannot be recorded is refused.
Refused file operations are recorded, too, but behind the answer: a refusal need not wait for a disk. Permitted ones
are not, since the service's own transfer log has them. What is refused without a decision of the policy (certificates,
a session, a directory that is not empty) is recorded likewise: a question has one line, or two where a permit is not
what it comes to. Each record has pid and uid of the process that asked, and in `proof` who vouches that the peer is who
its certificates name: with `none`, only that uid is known for sure.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from gsi.authz.callout.config import load_config, policy_path, uids_of
from gsi.authz.callout.judge import Judge
from gsi.authz.callout.standing import Setup
from gsi.authz.decision import Effect
from gsi.authz.refusals import peer_in_audit
from gsi.authz.reload import open_engine
from gsi.errors import ConfigError, GridError
from gsi.system import clock
from gsi.system.audit import AuditLog, AuditRecord, Verdict
from gsi.system.environ import read_locations
from gsi.system.trustdir import TrustDirectory
from gsi.trust.verify import VerificationCache

if TYPE_CHECKING:
    from gsi.authz.callout.config import CalloutConfig, ServerSettings
    from gsi.authz.callout.daemon import Peer
    from gsi.authz.decision import AuthorizationRequest, Decision
    from gsi.authz.engine import Engine

__all__ = ["CalloutService", "ServiceFactory"]

TRUST_RECHECK_SECONDS: Final = 1.0
"""How old the view of the trust directory may be."""

_WAITING_RECORDS: Final = 1000
"""Refusals whose records wait for the disk; behind that many, their answers wait as well."""

_CROWDED_RECORDS: Final = 500
"""From that many on, file operations are judged in threads, where such a wait holds up nobody else."""

_VERDICTS: Final = {Effect.PERMIT: Verdict.PERMIT, Effect.INDETERMINATE: Verdict.FAIL}

_log: Final = logging.getLogger("gsi.authz.callout")


class _Trail:
    """What is kept of decisions on a disk."""

    def __init__(self, settings: ServerSettings) -> None:
        self._audit = AuditLog(settings.audit) if settings.audit else None
        self._later = ThreadPoolExecutor(1, thread_name_prefix="trail")
        self._room = threading.Semaphore(_WAITING_RECORDS)
        self._count_lock = threading.Lock()
        self._waiting = 0

    def is_crowded(self) -> bool:
        """Say whether many records wait."""
        return self._waiting >= _CROWDED_RECORDS

    def _count(self, change: int) -> None:
        with self._count_lock:
            self._waiting += change

    def audit(self, request: AuthorizationRequest, decision: Decision) -> None:
        """Record a decision; called before it is acted upon.

        Raises:
            StorageError: It is not on disk.
        """
        if self._audit is None:
            return
        if request.action.service != "file":
            self._audit.record(_record_of(request, decision))
        elif decision.effect is not Effect.PERMIT:
            self._room.acquire()
            self._count(1)
            self._later.submit(self._record_later, self._audit, request, decision)

    def _record_later(self, audit: AuditLog, request: AuthorizationRequest, decision: Decision) -> None:
        try:
            audit.record(_record_of(request, decision))
        except GridError as error:
            _log.error("refusal %s is not in the audit: %s", decision.decision_id, error)
        finally:
            self._count(-1)
            self._room.release()

    def reopen(self, settings: ServerSettings) -> None:
        """Open the audit file again: it may have been moved away."""
        if self._audit is not None and settings.audit:
            self._audit.reopen(settings.audit)

    def close(self) -> None:
        """Write what waits."""
        self._later.shutdown()
        if self._audit is not None:
            self._audit.close()


def _record_of(request: AuthorizationRequest, decision: Decision) -> AuditRecord:
    return AuditRecord(
        time=request.environment.now,
        request_id=decision.decision_id,
        service=f"gsi-authz:{request.environment.service}",
        action=request.action.name,
        verdict=_VERDICTS.get(decision.effect, Verdict.DENY),
        reason=decision.reason,
        peer=peer_in_audit(request.subject),
        address=request.environment.peer_address,
        details={
            "resource": request.resource.name,
            "account": decision.account,
            "desired": request.environment.desired_account,
            "authorizer": decision.authorizer,
            "pid": _number_of(request, "asking-pid"),
            "uid": _number_of(request, "asking-uid"),
            "proof": next(iter(request.environment.attributes.get("proof", ())), None),
        },
    )


def _number_of(request: AuthorizationRequest, name: str) -> int | None:
    found = request.environment.attributes.get(name)
    return int(found[0]) if found else None


class CalloutService:
    """One worker: what `gsi.authz.callout.daemon` calls."""

    def __init__(self, config: CalloutConfig, path: str | None) -> None:
        """Open everything that the worker needs.

        Args:
            config: The configuration.
            path: The file that it was read from, to read it again; None for the built-in one.

        Raises:
            GridError: Some of it cannot be used.
        """
        self._path = path
        self._trust = TrustDirectory(read_locations().trust_dir, recheck_seconds=TRUST_RECHECK_SECONDS)
        self._cache = VerificationCache()
        self._trail = _Trail(config.server)
        self._setup = self._make_setup(config)

    @property
    def settings(self) -> ServerSettings:
        """See `gsi.authz.callout.daemon.DecidingService`."""
        return self._setup.config.server

    def is_service(self, uid: int) -> bool:
        """See `gsi.authz.callout.daemon.DecidingService`."""
        return uid in self._setup.service_uids

    def open(self, peer: Peer) -> Judge:
        """See `gsi.authz.callout.daemon.DecidingService`."""
        return Judge(self._current, peer)

    def report(self, peer: Peer | None, error: GridError) -> None:
        """Log what went wrong outside a question."""
        level = logging.ERROR if peer is None or type(error) is GridError else logging.WARNING
        who = "server" if peer is None else f"pid {peer.pid}, uid {peer.uid}"
        _log.log(level, "%s: %s: %s", who, error.slug, error, exc_info=error.__cause__)

    def reload(self) -> None:
        """Read configuration and policies again, and reopen the audit.

        Raises:
            GridError: Something is wrong with one of them; everything stays as it was.
        """
        config = self._setup.config if self._path is None else load_config(self._path)
        setup = self._make_setup(config)
        self._trail.reopen(config.server)
        self._setup = setup
        _log.info("configuration read again")

    def close(self) -> None:
        """Write what waits."""
        self._trail.close()

    def _current(self) -> Setup:
        return self._setup

    def _load_engine(self, policy: str) -> Engine:
        engine = open_engine(policy_path(policy), service="" if "/" in policy else policy, audit=self._trail.audit)
        for problem in engine.problems:
            _log.warning("policy %s: %s", policy, problem)
        return engine

    def _make_setup(self, config: CalloutConfig) -> Setup:
        engines = {name: self._load_engine(name) for name in config.policies()}
        if not engines:
            raise ConfigError(
                f"there is no policy: none of {', '.join(map(policy_path, config.policies(every=True)))}",
                hint="gsi-authz-server(8) shows one",
            )
        self._trust.anchors()  # a directory that cannot be read would refuse everybody: better to say so at once
        return Setup(
            config=config,
            engines=engines,
            service_uids=uids_of(config.server.service_users, self._path),
            anchors=self._trust.anchors,
            clock=clock.now,
            cache=self._cache,
            is_crowded=self._trail.is_crowded,
            audit=self._trail.audit,
        )


class ServiceFactory:
    """Makes the service of each worker from the last configuration that was good. Lives in the first process."""

    def __init__(self, config: CalloutConfig, path: str | None) -> None:
        """Try whether a service can be made.

        Raises:
            GridError: It cannot.
        """
        self._path = path
        self._config = config
        CalloutService(config, path).close()

    @property
    def config(self) -> CalloutConfig:
        """The configuration in use."""
        return self._config

    def make(self) -> CalloutService:
        """Make a service; called in each worker.

        Raises:
            GridError: Something other than the configuration cannot be used.
        """
        return CalloutService(self._config, self._path)

    def reload(self) -> bool:
        """Read the configuration again; False, and all stays as it was, when it is not good."""
        try:
            config = self._config if self._path is None else load_config(self._path)
            CalloutService(config, self._path).close()
        except GridError as error:
            _log.error("the new configuration is not used, the old one stays: %s", error)
            return False
        self._config = config
        return True
