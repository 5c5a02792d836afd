"""The form over HTTP under gunicorn: listens, forks, makes the application in each worker; answers nothing itself.

    serve_http(config, on_ready=announce)            # until SIGTERM or SIGINT; SIGHUP starts new workers

TLS ends here where `[http]` names a certificate, else at a front end on this machine. Headers are as long as Negotiate
tokens with the group lists of Active Directory make them.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Final

from gunicorn.app.base import BaseApplication

from gsi.certificate import load_certificates
from gsi.errors import ConfigError
from gsi.kerberos.accept import use_replay_cache
from gsi.kerberos.negotiate import MAX_TOKEN_BYTES, Negotiator, server_end_point
from gsi.system.files import read_public
from gsi.transport.listening import listen_unix, split_address
from kca.http import create_app
from kca.metrics import Metrics, render
from kca.wiring.service import open_service, prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from wsgiref.types import WSGIApplication

    from kca.config import HTTPSettings, KCAConfig

__all__ = ["find_binding", "make_application", "serve_http"]

SERVICE: Final = "HTTP"
REPLAY_NAME: Final = "http.rcache"
"""Which tokens were here before, for all workers; a file in the storage directory."""

_MAX_HEADERS: Final = 64
"""Header fields of a request: a dozen, and what front ends add."""

_MAX_LINE: Final = 8190
"""The request line: gunicorn's own most; a PKCS#10 in a query takes a kilobyte or two."""

_MAX_CERTIFICATE_BYTES: Final = 1 << 20
_SOCKET_MODE: Final = 0o660


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with the application."""

    def __init__(self, config: KCAConfig, settings: dict[str, object], metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Take the settings; those that an older gunicorn does not know are left out."""
        for name, value in self._settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """Make the application, in each worker."""
        return make_application(self._config, self._metrics)


def make_application(config: KCAConfig, metrics: Metrics | None = None) -> WSGIApplication:
    """Open the service and return the application; for the life of a process.

    Raises:
        ConfigError: The configuration cannot be used.
        GridError: The CA's key, the books or the audit cannot be used.
    """
    settings = config.http
    binding = find_binding(settings)
    negotiator = Negotiator(SERVICE, keytab=settings.keytab, hostname=settings.hostname)
    counted = metrics or Metrics()
    return create_app(
        open_service(config, meter=counted.meter).service,
        negotiator,
        settings,
        binding=binding,
        metrics=(lambda: render(counted)) if settings.metrics else None,
    )


def _give_row(arbiter: Any, worker: Any) -> None:  # noqa: ANN401  gunicorn has no types
    """Give a worker that is about to be forked the counters of one that has ended."""
    used = {getattr(one, "kca_row", -1) for one in arbiter.WORKERS.values()}
    worker.kca_row = next(row for row in range(len(used) + 1) if row not in used) % _rows(arbiter.cfg.workers)


def _bind_address(listen: str) -> str:
    """Return the address as gunicorn takes it."""
    host, port = split_address(listen)
    if not host:
        host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104  as configured
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _rows(workers: int) -> int:
    return 2 * workers  # a reload starts new ones while the old ones finish


def find_binding(settings: HTTPSettings) -> bytes | None:
    """Return the channel binding of connections to the web server, or None where there is none.

    Raises:
        ConfigError: The certificate cannot be used, or has no binding although one is required.
    """
    path = settings.certificate or settings.front_end_certificate
    if not path:
        return None
    found = load_certificates(read_public(path, max_bytes=_MAX_CERTIFICATE_BYTES), what=path)
    if not found:
        raise ConfigError(f"[http] certificate: {path} holds no certificate")
    binding = server_end_point(found[0].der)
    if binding is None and settings.require_channel_binding:
        raise ConfigError(
            f"[http] require_channel_binding: {path} is signed in a way that has no binding (RFC 5929 section 4.1)",
            hint="use a certificate that is signed with RSA or ECDSA",
        )
    return binding


def serve_http(config: KCAConfig, *, on_ready: Callable[[], None] = lambda: None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Raises:
        ConfigError: It is not possible to listen.
        GridError: Something that the configuration names cannot be used.
    """
    settings = config.http
    if not settings.is_private:
        raise ConfigError(
            "[http] listen: without TLS everybody on the way could take the certificates and change the keys",
            hint="name a certificate, or listen on 127.0.0.1 behind a front end",
        )
    prepare(config)
    use_replay_cache(os.path.join(config.store.directory, REPLAY_NAME))
    find_binding(settings)
    Negotiator(SERVICE, keytab=settings.keytab, hostname=settings.hostname)  # what is wrong shows now
    metrics = Metrics(workers=_rows(settings.workers))
    path = settings.listen
    listening = listen_unix(path, _SOCKET_MODE) if path.startswith("/") else None
    values: dict[str, object] = {
        "bind": [f"fd://{listening.fileno()}" if listening else _bind_address(path)],
        "workers": settings.workers,
        "threads": settings.threads,
        "worker_class": "gthread",
        "timeout": 60,
        "keepalive": 15,
        "limit_request_line": _MAX_LINE,
        "limit_request_fields": _MAX_HEADERS,
        "limit_request_field_size": MAX_TOKEN_BYTES * 4 // 3 + 1024,
        "forwarder_headers": "",
        "header_map": "refuse",
        "certfile": settings.certificate or None,
        "keyfile": settings.key or None,
        "errorlog": "-",
        "accesslog": None,
        "loglevel": "warning",
        "control_socket_disable": True,
        "umask": 0o077,
        "proc_name": "kca-http",
        "when_ready": lambda _arbiter: on_ready(),
        "pre_fork": _give_row,
        "post_fork": lambda _arbiter, worker: metrics.use(worker.kca_row),
    }
    try:
        _Server(config, {name: value for name, value in values.items() if value is not None}, metrics).run()
    except SystemExit as stop:  # this is how gunicorn returns
        return stop.code if isinstance(stop.code, int) else 0
    finally:
        if listening is not None:
            listening.close()
            if os.path.exists(path):
                os.unlink(path)
    return 0
