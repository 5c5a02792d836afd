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

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from gunicorn.app.base import BaseApplication

from gsi.authz.web.chain_headers import MAX_TEXT_CHARS
from gsi.authz.web.config import make_application
from gsi.errors import ConfigError
from gsi.system.credential_files import load_user_credential
from gsi.system.environ import read_locations
from gsi.system.trustdir import TrustDirectory
from gsi.transport.listening import listen_unix
from gsi.transport.tls import ServerTLS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from wsgiref.types import WSGIApplication

    from gsi.authz.web.config import EndpointConfig

__all__ = ["grid_ssl_context", "serve_endpoint"]

_MAX_HEADERS: Final = 64
"""Header fields of one question: a dozen, and `NAME-0` to `NAME-15`."""

_MAX_LINE: Final = 1024
"""The request line of a question: the endpoint's own path."""

_contexts: dict[tuple[int, str, str], ServerTLS] = {}
_lock: Final = threading.Lock()


def grid_ssl_context(config: Any, default_ssl_context_factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:  # noqa: ANN401  gunicorn has no types
    """Return the context for one connection: gunicorn's setting `ssl_context`.

    Args:
        config: gunicorn's configuration; `certfile` and `keyfile` are the server's credential.
        default_ssl_context_factory: What gunicorn would do; not called.

    Raises:
        CredentialError: The server's credential cannot be used.
        ConfigError: The trust directory cannot be read, or no file is named.
    """
    del default_ssl_context_factory
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


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with the endpoint."""

    def __init__(self, config: EndpointConfig, settings: dict[str, object]) -> None:
        self._config = config
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Take the settings; those that an older gunicorn does not know are left out."""
        for name, value in self._settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """Make the application, in each worker."""
        return make_application(self._config)


def serve_endpoint(config: EndpointConfig, *, on_ready: Callable[[], None] = lambda: None) -> int:
    """Serve the endpoint until SIGTERM or SIGINT; return the exit status. SIGHUP starts new workers.

    Args:
        config: The configuration.
        on_ready: Called when connections are being accepted.

    Raises:
        ConfigError: It is not possible to listen.
        GridError: Policy, trust directory, secret or audit cannot be used.
    """
    make_application(config)  # what is wrong shows now, and not in workers that die one after the other
    path = config.server.listen
    listening = listen_unix(path, config.server.socket_mode) if path.startswith("/") else None
    settings: dict[str, object] = {
        "bind": [f"fd://{listening.fileno()}" if listening else config.server.listen],
        "workers": config.server.workers,
        "threads": config.server.threads,
        "worker_class": "gthread",
        "timeout": 60,  # questions wait for the policy's time limits, which are shorter
        "keepalive": 75,
        "limit_request_line": _MAX_LINE,
        "limit_request_fields": _MAX_HEADERS,
        "limit_request_field_size": MAX_TEXT_CHARS + 1024,
        "forwarder_headers": "",
        "header_map": "refuse",
        "errorlog": "-",
        "accesslog": None,
        "loglevel": "warning",
        "control_socket_disable": True,
        "umask": 0o077,
        "proc_name": "gsi-authz-http",
        "when_ready": lambda _arbiter: on_ready(),
    }
    try:
        _Server(config, settings).run()
    except SystemExit as stop:  # this is how gunicorn returns
        return stop.code if isinstance(stop.code, int) else 0
    finally:
        if listening is not None:
            listening.close()
            if os.path.exists(path):
                os.unlink(path)
    return 0
