"""The delegation service under gunicorn: listens, forks, makes the application in each worker; answers nothing itself.

serve(config, load, on_ready=announce)     # until SIGTERM or SIGINT; SIGHUP reads the file again
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gsi.delegation import MAX_BLOCK_BYTES
from gsi.errors import ConfigError
from gsi.system import clock
from gsi.system.audit import AuditLog
from gsi.system.credential_files import load_user_credential
from gsi.system.environ import read_locations
from gsi.system.health import Health, check_anchors, check_dates
from gsi.system.metrics import OTHER, AuditMetrics, write_text
from gsi.system.trustdir import TrustDirectory
from gsi.transport.activation import Given
from gsi.transport.tls import ServerTLS
from gsi.transport.wsgi_server import Held, Reloads, WebLimits, WebSettings, rows, serve_wsgi
from myproxy.delegation.app import create_app
from myproxy.delegation.service import DelegationService
from myproxy.delegation.store import open_store

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from wsgiref.types import WSGIApplication

    from myproxy.delegation.config import DelegationConfig

__all__ = ["ACTIONS", "check", "make_application", "serve"]

ACTIONS: Final = ("DELEGATE", "FETCH", "REMOVE", OTHER)
_PREFIX: Final = "myproxy_delegation"
_LOG: Final = "myproxy.delegation"


def _trust(config: DelegationConfig) -> TrustDirectory:
    trust = TrustDirectory(config.trust.directory or read_locations().trust_dir, recheck_seconds=1.0)
    trust.anchors()
    return trust


def _tls(config: DelegationConfig) -> ServerTLS:
    credential = load_user_credential(config.http.certificate, config.http.key or None)
    return ServerTLS(credential, _trust(config).anchors, tickets=0)


def make_application(config: DelegationConfig, metrics: AuditMetrics, reloads: Reloads) -> WSGIApplication:
    """Open all that the configuration names and return the application; for the life of a process.

    Raises:
        GridError: Something cannot be used.
    """
    store = open_store(config.store)
    audit = metrics.meter(AuditLog(os.path.join(config.store.directory, "audit.log")))
    anchors, path = _trust(config).anchors, config.http.certificate
    certificate = load_user_credential(path, config.http.key or None).certificate
    parts = {
        "trust": lambda: check_anchors(anchors()),
        "certificate": lambda: check_dates(certificate, now=clock.now(), what=path),
        "store": store.check,
    }
    health = Health(parts, log=_LOG)

    def tell() -> bytes:
        families = [metrics.decision_family(), *metrics.audit_families(), health.family(_PREFIX)]
        return write_text(families) + reloads.render(_PREFIX)

    return create_app(
        DelegationService(config, store, anchors),
        audit,
        metrics=tell if config.http.metrics else None,
        standing=lambda: health.page(reloads.words),
    )


def check(config: DelegationConfig) -> None:
    """Open all that the configuration names.

    Raises:
        GridError: Something cannot be used.
    """
    _tls(config)
    open_store(config.store).close()
    AuditLog(os.path.join(config.store.directory, "audit.log")).close()


class _Contexts:
    """The TLS contexts of one worker: each has its own snapshot of the trust directory."""

    def __init__(self) -> None:
        self._place: tuple[int, str] | None = None
        self._tls: ServerTLS | None = None

    def context(self, config: DelegationConfig) -> ssl.SSLContext:
        """Return the context for one connection."""
        place = (os.getpid(), config.http.certificate)
        if self._tls is None or self._place != place:
            self._tls, self._place = _tls(config), place
        return self._tls.context()


def serve(
    config: DelegationConfig, load: Callable[[], DelegationConfig], *, on_ready: Callable[[], None] = lambda: None
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Args:
        config: The configuration.
        load: Reads it again, at SIGHUP.
        on_ready: Called when connections are being accepted.

    Raises:
        ConfigError: It is not possible to listen.
        GridError: Something that the configuration names cannot be used.
    """
    check(config)  # what is wrong shows now
    workers = rows(config.http.workers)
    metrics, reloads = AuditMetrics(_PREFIX, actions=ACTIONS, names=(), workers=workers), Reloads()
    held, contexts = Held(config, load, _compare), _Contexts()
    with Given.from_environment() as given:
        sockets = given.listen(config.http.listen)
    return serve_wsgi(
        lambda: _describe(held.config),
        sockets,
        lambda: make_application(held.config, metrics, reloads),
        renew=held.renew,
        context=lambda: contexts.context(held.config),
        reloads=reloads,
        on_ready=on_ready,
        on_worker=metrics.use,
    )


def _describe(config: DelegationConfig) -> WebSettings:
    http = config.http
    return WebSettings(
        name="myproxy-delegation",
        log=_LOG,
        workers=http.workers,
        threads=http.threads,
        certificate=http.certificate,
        limits=WebLimits(body_bytes=MAX_BLOCK_BYTES),
    )


def _compare(old: DelegationConfig, new: DelegationConfig) -> None:
    """Try a configuration.

    Raises:
        ConfigError: It needs a restart.
        GridError: It cannot be used.
    """
    for name, before, after in (
        ("http.listen", old.http.listen, new.http.listen),
        ("http.workers", old.http.workers, new.http.workers),
        ("store.directory", old.store.directory, new.store.directory),
        ("store.database", old.store.database, new.store.database),
    ):
        if before != after:
            raise ConfigError(f"{name} cannot be changed while the server runs", hint="restart it")
    check(new)
