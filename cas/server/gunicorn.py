"""The application under gunicorn: TLS contexts that admit proxy chains, workers, limits; answers nothing itself.

    serve_https(load, sockets, metrics, on_ready=announce)     # until SIGTERM or SIGINT; SIGHUP starts new workers

Clients are asked for a certificate and may stay anonymous, who then get the public documents alone. No tickets are
given out, so that each connection brings its chain.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final

from gunicorn.app.base import BaseApplication

from cas.server.app import create_app
from cas.server.rates import RateCap
from cas.wiring.service import open_community
from gsi.errors import GridError
from gsi.system.credential_files import load_user_credential
from gsi.system.environ import read_locations
from gsi.system.trustdir import TrustDirectory
from gsi.transport.tls import ServerTLS

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Sequence
    from wsgiref.types import WSGIApplication

    from cas.config import CASConfig
    from cas.metrics import Metrics

__all__ = ["load_server_tls", "make_application", "rows", "serve_https"]

_MAX_HEADERS: Final = 64
_MAX_LINE: Final = 4096
_MAX_FIELD: Final = 8190
_log: Final = logging.getLogger("cas.http")


class _TLS:
    """The contexts of one worker."""

    def __init__(self) -> None:
        self._place: tuple[int, str] | None = None
        self._tls: ServerTLS | None = None

    def context(self, config: CASConfig) -> ssl.SSLContext:
        """Return the context for one connection. A worker makes its own: it has another trust directory's snapshot."""
        place = (os.getpid(), config.http.certificate)
        if self._tls is None or self._place != place:
            self._tls, self._place = load_server_tls(config), place
        return self._tls.context()


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with the application."""

    def __init__(
        self, config: CASConfig, load: Callable[[], CASConfig], settings: dict[str, object], metrics: Metrics
    ) -> None:
        self._config = config
        self._is_begun = False
        self._load = load
        self._metrics = metrics
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Take the settings; those that an older gunicorn does not know are left out.

        Called in gunicorn's first process, again at SIGHUP: workers get what was good then, and never read the file
        themselves, in which somebody may be writing when one is replaced.
        """
        if self._is_begun:
            try:
                self._config = self._load()
            except GridError as error:
                _log.error("the new configuration is not used, the old one stays: %s", error)
        self._is_begun = True
        for name, value in self._settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """Make the application, in each worker."""
        try:
            return make_application(self._config, self._metrics)
        except GridError as error:
            _log.error("a worker cannot start: %s: %s", error.slug, error)
            raise


def load_server_tls(config: CASConfig) -> ServerTLS:
    """Return what makes the TLS contexts of the server.

    Raises:
        CredentialError: The credential cannot be used.
        ConfigError: The trust directory cannot be read.
    """
    credential = load_user_credential(config.http.certificate, config.http.key or None)
    trust = TrustDirectory(config.trust.directory or read_locations().trust_dir, recheck_seconds=1.0)
    return ServerTLS(credential, trust.anchors, tickets=0)


def make_application(config: CASConfig, metrics: Metrics) -> WSGIApplication:
    """Open the community and return the application; for the life of a process.

    Raises:
        GridError: Something that the configuration names cannot be used.
    """
    community = open_community(config, meter=metrics.meter)
    rates = RateCap(max(1.0, config.http.requests_per_minute / config.http.workers))
    return create_app(community, rates=rates, count=metrics.issued, answered=metrics.answered)


def rows(config: CASConfig) -> int:
    """Return how many rows of counters the workers need: a reload starts new ones while the old ones finish."""
    return 2 * config.http.workers


def serve_https(
    config: CASConfig,
    load: Callable[[], CASConfig],
    sockets: Sequence[socket.socket],
    metrics: Metrics,
    *,
    on_ready: Callable[[], None] = lambda: None,
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Args:
        config: The configuration.
        load: Reads it again, at SIGHUP.
        sockets: The listening sockets.
        metrics: Counts; its first rows are used.
        on_ready: Called when connections are being accepted.

    Raises:
        GridError: Something that the configuration names cannot be used.
    """
    contexts = _TLS()

    def give_row(arbiter: Any, worker: Any) -> None:  # noqa: ANN401  gunicorn has no types
        used = {getattr(one, "cas_row", -1) for one in arbiter.WORKERS.values()}
        worker.cas_row = next(row for row in range(len(used) + 1) if row not in used) % rows(config)

    values: dict[str, object] = {
        "bind": [f"fd://{one.fileno()}" for one in sockets],
        "workers": config.http.workers,
        "threads": config.http.threads,
        "worker_class": "gthread",
        "timeout": 60,
        "keepalive": 15,
        "limit_request_line": _MAX_LINE,
        "limit_request_fields": _MAX_HEADERS,
        "limit_request_field_size": _MAX_FIELD,
        "forwarder_headers": "",
        "header_map": "refuse",
        "certfile": config.http.certificate,
        "keyfile": config.http.key or config.http.certificate,
        "ssl_context": lambda _config, _factory: contexts.context(config),
        "errorlog": "-",
        "accesslog": None,
        "loglevel": "warning",
        "control_socket_disable": True,
        "umask": 0o077,
        "proc_name": "cas-server",
        "when_ready": lambda _arbiter: on_ready(),
        "pre_fork": give_row,
        "post_fork": lambda _arbiter, worker: metrics.use(worker.cas_row),
    }
    try:
        _Server(config, load, {name: value for name, value in values.items() if value is not None}, metrics).run()
    except SystemExit as stop:  # this is how gunicorn returns
        return stop.code if isinstance(stop.code, int) else 0
    return 0
