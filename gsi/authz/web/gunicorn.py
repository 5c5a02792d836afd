"""What gunicorn needs of this package: a TLS context that admits proxy chains, and the endpoint's server.

    # gunicorn.conf.py
    from gsi.authz.web.gunicorn import grid_ssl_context

    certfile = "/etc/grid-security/hostcert.pem"
    keyfile = "/etc/grid-security/hostkey.pem"
    ssl_context = grid_ssl_context

Clients are asked for a certificate and may stay anonymous. The handshake looks at chains only as OpenSSL does; the
middleware judges them. No tickets are given out, so that each connection brings its chain. The trust directory is that
of `X509_CERT_DIR`, or the system's, and is followed as it changes.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any, Final

from gsi.authz.web.chain_headers import MAX_TEXT_CHARS
from gsi.authz.web.config import make_application
from gsi.authz.web.openapi import describe
from gsi.authz.web.subrequest import METHOD_HEADER
from gsi.errors import ConfigError
from gsi.system.credential_files import load_user_credential
from gsi.system.environ import read_locations
from gsi.system.trustdir import TrustDirectory
from gsi.transport.activation import Given
from gsi.transport.tls import ServerTLS
from gsi.transport.wsgi_server import Held, Reloads, WebLimits, WebSettings, serve_wsgi

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from gsi.authz.web.config import EndpointConfig

__all__ = ["grid_ssl_context", "serve_endpoint"]

_MAX_HEADERS: Final = 64
"""Header fields of one question: a dozen, and `NAME-0` to `NAME-15`."""

_MAX_HEAD: Final = 4 * MAX_TEXT_CHARS
"""All of them: a certificate, and more above it than there are in any chain."""

_ASKED: Final = f"HTTP_{METHOD_HEADER.upper().replace('-', '_')}"

_MAX_LINE: Final = 1024
"""The request line of a question: the endpoint's own path."""

_PAGES: Final = {
    "/health": "text/plain",
    "/metrics": "text/plain; version=0.0.4",
    "/openapi.json": "application/json",
}

_contexts: dict[tuple[int, str, str], ServerTLS] = {}
_lock: Final = threading.Lock()


def grid_ssl_context(config: Any, default_ssl_context_factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:  # noqa: ANN401  gunicorn has no types
    """Return the context for one connection: gunicorn's setting `ssl_context`.

    Args:
        config: gunicorn's configuration; `certfile` and `keyfile` are the server's credential.
        default_ssl_context_factory: What gunicorn would do; not called.

    Raises:
        CredentialError: The server's credential cannot be used.
        ConfigError: The trust directory cannot be read, or no file is named; or `proxy_protocol` is on, whose line
            gunicorn would take from within TLS, where any client can write one.
    """
    del default_ssl_context_factory
    if getattr(config, "proxy_protocol", "off") not in {False, "off"}:
        raise ConfigError("gunicorn: proxy_protocol does not go with TLS", hint="leave it out")
    certificate, key = config.certfile, config.keyfile or config.certfile
    if not certificate:
        raise ConfigError("gunicorn: certfile and keyfile are missing")
    # Per process: workers are forked, and a context shared with the parent would be made by another's trust directory.
    place = (os.getpid(), certificate, key)
    with _lock:
        found = _contexts.get(place)
        if found is None:
            trust = TrustDirectory(read_locations().trust_dir, recheck_seconds=1.0)
            found = ServerTLS(load_user_credential(certificate, key), trust.anchors, tickets=0)
            _contexts.clear()
            _contexts[place] = found
        return found.context()


def serve_endpoint(
    config: EndpointConfig,
    load: Callable[[], EndpointConfig] | None = None,
    *,
    on_ready: Callable[[], None] = lambda: None,
) -> int:
    """Serve the endpoint until SIGTERM or SIGINT; return the exit status.

    Args:
        config: The configuration.
        load: Reads it again, at SIGHUP; None to keep it, and open anew what it names.
        on_ready: Called when connections are being accepted.

    Raises:
        ConfigError: It is not possible to listen.
        GridError: Policy, trust directory, secret or audit cannot be used.
    """
    make_application(config)  # what is wrong shows now, and not in workers that come up one after the other
    server, reloads = config.server, Reloads()
    held = Held(config, load or (lambda: config), _check)
    with Given.from_environment() as given:
        sockets = given.listen(server.listen, mode=server.socket_mode)
    return serve_wsgi(
        lambda: _describe(held.config),
        sockets,
        lambda: _Pages(make_application(held.config), reloads, describe(held.config.front_end)),
        renew=held.renew,
        reloads=reloads,
        on_ready=on_ready,
    )


def _describe(config: EndpointConfig) -> WebSettings:
    return WebSettings(
        name="gsi-authz-http",
        log="gsi.authz.web",
        workers=config.server.workers,
        threads=config.server.threads,
        limits=WebLimits(head_bytes=_MAX_HEAD, takes_bodies=False),
        max_line=_MAX_LINE,
        max_headers=_MAX_HEADERS,
        max_field=MAX_TEXT_CHARS + 1024,
        keepalive_seconds=75,
    )


class _Pages:
    """The endpoint, and beside it pages of its own, which tell nothing that a client has asked."""

    def __init__(self, endpoint: WSGIApplication, reloads: Reloads, described: dict[str, object]) -> None:
        self._endpoint = endpoint
        self._reloads = reloads
        self._described = described

    def _tell(self, path: str) -> bytes:
        if path == "/metrics":
            return self._reloads.render("gsi_authz_http")
        return (f"ok\n{self._reloads.words}" if path == "/health" else f"{json.dumps(self._described)}\n").encode()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one question."""
        path = environ.get("PATH_INFO", "")
        kind = _PAGES.get(path)
        if kind is None or _ASKED in environ:
            return self._endpoint(environ, start_response)
        told = self._tell(path)
        headers = [("Content-Type", kind), ("Content-Length", str(len(told))), ("Cache-Control", "no-store")]
        start_response("200 OK", headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [told]


def _check(old: EndpointConfig, new: EndpointConfig) -> None:
    """Try a configuration.

    Raises:
        ConfigError: It needs a restart.
        GridError: It cannot be used.
    """
    for name in ("listen", "socket_mode", "workers"):
        if getattr(old.server, name) != getattr(new.server, name):
            raise ConfigError(f"server.{name} cannot be changed while the server runs", hint="restart it")
    make_application(new)
