"""The portal under gunicorn: listens, forks, makes the application in each worker; answers nothing itself.

    serve_portal(config, on_ready=announce)      # until SIGTERM or SIGINT; SIGHUP starts new workers

TLS ends here where `[http]` names a certificate, else at a front end on this machine.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from gunicorn.app.base import BaseApplication

from gsi.keys import generate_key
from myproxy.portal.app import create_app, open_portal, open_ways
from myproxy.portal.codes import open_authenticators
from myproxy.portal.config import split_address
from myproxy.portal.keypool import KeyPool

if TYPE_CHECKING:
    from collections.abc import Callable
    from wsgiref.types import WSGIApplication

    from myproxy.portal.config import PortalConfig

__all__ = ["bind_address", "make_application", "serve_portal"]

KEYS: Final = 24
"""RSA keys that each worker makes in advance: enough for a dozen logons with a download at once."""
_MAX_HEADERS: Final = 64
_MAX_LINE: Final = 4096
_MAX_FIELD: Final = 16 << 10
"""The longest header: Negotiate tokens with the group lists of Active Directory take 12 kB."""


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with the application."""

    def __init__(self, config: PortalConfig, settings: dict[str, object]) -> None:
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


def make_application(config: PortalConfig) -> WSGIApplication:
    """Open all that the configuration names and return the application; for the life of a process.

    Raises:
        GridError: Something cannot be used.
    """
    pool = KeyPool(generate_key, size=KEYS)
    authenticators = open_authenticators(config.codes) if config.codes.server_config else None
    return create_app(open_portal(config, make_key=pool.take), authenticators, open_ways(config))


def bind_address(listen: str) -> str:
    """Return the address as gunicorn takes it."""
    host, port = split_address(listen)
    if not host:
        host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104  as configured
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve_portal(config: PortalConfig, *, on_ready: Callable[[], None] = lambda: None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Raises:
        GridError: Something that the configuration names cannot be used.
    """
    http = config.http
    opened = open_portal(config)  # what is wrong shows now
    opened.store.close()
    opened.audit.close()
    values: dict[str, object] = {
        "bind": [bind_address(http.listen)],
        "workers": http.workers,
        "threads": http.threads,
        "worker_class": "gthread",
        "timeout": 90,
        "keepalive": 15,
        "limit_request_line": _MAX_LINE,
        "limit_request_fields": _MAX_HEADERS,
        "limit_request_field_size": _MAX_FIELD,
        "forwarder_headers": "",
        "header_map": "refuse",
        "certfile": http.certificate or None,
        "keyfile": http.key or http.certificate or None,
        "errorlog": "-",
        "accesslog": None,
        "loglevel": "warning",
        "control_socket_disable": True,
        "umask": 0o077,
        "proc_name": "myproxy-portal",
        "when_ready": lambda _arbiter: on_ready(),
    }
    try:
        _Server(config, {name: value for name, value in values.items() if value is not None}).run()
    except SystemExit as stop:  # this is how gunicorn returns
        return stop.code if isinstance(stop.code, int) else 0
    return 0
