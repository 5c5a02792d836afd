"""The application under gunicorn: TLS contexts that admit proxy chains, workers, limits; answers nothing itself.

    serve_https(config, load, sockets, metrics, reloads=reloads)     # until SIGTERM or SIGINT

Clients are asked for a certificate and may stay anonymous, who then get the public documents alone. No tickets are
given out, so that each connection brings its chain.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cas.server.app import create_app
from cas.wiring.service import open_community
from gsi.system.credential_files import load_user_credential
from gsi.system.environ import read_locations
from gsi.system.health import Health, check_dates
from gsi.system.trustdir import TrustDirectory
from gsi.transport.rates import RateCap
from gsi.transport.tls import ServerTLS
from gsi.transport.wsgi_server import Held, WebLimits, WebSettings, serve_wsgi

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Sequence
    from wsgiref.types import WSGIApplication

    from cas.config import CASConfig
    from cas.metrics import Metrics
    from cas.wiring.service import OpenedCommunity
    from gsi.transport.wsgi_server import Reloads

__all__ = ["LOG", "load_server_tls", "make_application", "make_health", "serve_https"]

LOG: Final = "cas.server"
_MAX_LINE: Final = 4096
_MAX_FIELD: Final = 8190
_MAX_HEAD: Final = 64 << 10


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


def load_server_tls(config: CASConfig) -> ServerTLS:
    """Return what makes the TLS contexts of the server.

    Raises:
        CredentialError: The credential cannot be used.
        ConfigError: The trust directory cannot be read.
    """
    credential = load_user_credential(config.http.certificate, config.http.key or None)
    trust = TrustDirectory(config.trust.directory or read_locations().trust_dir, recheck_seconds=1.0)
    return ServerTLS(credential, trust.anchors, tickets=0)


def make_health(community: OpenedCommunity) -> Health:
    """Return what looks at the parts of the server.

    Raises:
        CredentialError: The server's certificate cannot be used.
    """
    http = community.config.http
    certificate = load_user_credential(http.certificate, http.key or None).certificate  # as the TLS contexts have it
    own = {"certificate": lambda: check_dates(certificate, now=community.now(), what=http.certificate)}
    return Health({**own, **community.parts()}, log=LOG)


def make_application(config: CASConfig, metrics: Metrics, reloads: Reloads) -> WSGIApplication:
    """Open the community and return the application; for the life of a process.

    Raises:
        GridError: Something that the configuration names cannot be used.
    """
    community = open_community(config, meter=metrics.meter)
    rates = RateCap(max(1.0, config.http.requests_per_minute / config.http.workers))
    health = make_health(community)
    return create_app(
        community,
        rates=rates,
        count=metrics.issued,
        answered=metrics.answered,
        standing=lambda: health.page(reloads.words),
    )


def serve_https(
    config: CASConfig,
    load: Callable[[], CASConfig],
    sockets: Sequence[socket.socket],
    metrics: Metrics,
    *,
    reloads: Reloads,
    on_ready: Callable[[], None] = lambda: None,
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Args:
        config: The configuration.
        load: Reads it again, at SIGHUP.
        sockets: The listening sockets; they are taken over.
        metrics: Counts; its first rows are used.
        reloads: Hears how reloads went.
        on_ready: Called when connections are being accepted.
    """
    contexts = _TLS()
    held = Held(config, load, _check)
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


def _describe(config: CASConfig) -> WebSettings:
    http = config.http
    return WebSettings(
        name="cas-server",
        log=LOG,
        workers=http.workers,
        threads=http.threads,
        certificate=http.certificate,
        limits=WebLimits(head_bytes=_MAX_HEAD, body_bytes=http.max_request_bytes),
        max_line=_MAX_LINE,
        max_field=_MAX_FIELD,
    )


def _check(old: CASConfig, new: CASConfig) -> None:
    """Open all that the web server needs and close it again.

    Raises:
        GridError: Something cannot be used.
    """
    del old  # the supervisor has compared the two
    load_server_tls(new)
    open_community(new).close()
