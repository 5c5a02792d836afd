"""The form over HTTP under gunicorn: listens, forks, makes the application in each worker; answers nothing itself.

    serve_http(config, load, on_ready=announce)            # until SIGTERM or SIGINT; SIGHUP reads the file again

TLS ends here where `[http]` names a certificate, else at a front end on this machine. Headers are as long as Negotiate
tokens with the group lists of Active Directory make them.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from typing import TYPE_CHECKING, Final

from gsi.certificate import load_certificates
from gsi.errors import ConfigError, GridError
from gsi.kerberos.accept import use_replay_cache
from gsi.kerberos.negotiate import MAX_TOKEN_BYTES, Negotiator, server_end_point
from gsi.system import clock
from gsi.system.files import read_public
from gsi.system.health import Health, check_dates
from gsi.transport.activation import Given
from gsi.transport.wsgi_server import Held, Reloads, WebLimits, WebSettings, rows, serve_wsgi
from kca.http import create_app
from kca.metrics import Metrics, render
from kca.wiring.service import open_service, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from wsgiref.types import WSGIApplication

    from gsi.certificate import Certificate
    from kca.config import HTTPSettings, KCAConfig
    from kca.wiring.service import OpenedService

__all__ = ["WebCertificate", "find_binding", "make_application", "serve_http"]

SERVICE: Final = "HTTP"
REPLAY_NAME: Final = "http.rcache"
"""Which tokens were here before, for all workers; a file in the storage directory."""

_MAX_LINE: Final = 8190
"""The request line: gunicorn's own most; a PKCS#10 in a query takes a kilobyte or two."""

_MAX_FIELD: Final = MAX_TOKEN_BYTES * 4 // 3 + 1024
_MAX_HEAD: Final = _MAX_LINE + _MAX_FIELD + (16 << 10)
_FRAMING: Final = 1024
"""With the double of a body room for one in chunks, their sizes and ends; `kca.http` holds the body to its limit."""

_MAX_CERTIFICATE_BYTES: Final = 1 << 20
_SOCKET_MODE: Final = 0o660
_PREFIX: Final = "kca_http"
_LOG: Final = "kca.http"
_log: Final = logging.getLogger(_LOG)


class WebCertificate:
    """The web server's certificate, or the front end's, followed as its files change. Safe for several threads."""

    def __init__(self, settings: HTTPSettings) -> None:
        """Read it.

        Raises:
            ConfigError: It cannot be used, or has no binding although one is required.
        """
        self._settings = settings
        self._lock = threading.Lock()
        self._stamp: object = None
        self._found: tuple[ssl.SSLContext | None, bytes | None] = (None, None)
        self._follow()

    def context(self) -> ssl.SSLContext:
        """Return the TLS context of a connection; only where TLS ends here."""
        context, _ = self._follow()
        assert context is not None
        return context

    def binding(self) -> bytes | None:
        """Return the channel binding of connections to the web server, or None where there is none."""
        return self._follow()[1]

    def _follow(self) -> tuple[ssl.SSLContext | None, bytes | None]:
        settings = self._settings
        named = [one for one in (settings.certificate, settings.key, settings.front_end_certificate) if one]
        with self._lock:
            stamp = [_stamp_of(one) for one in named]
            if stamp != self._stamp:
                try:
                    self._found = _load_context(settings), find_binding(settings)
                except GridError as error:
                    if self._stamp is None:
                        raise
                    _log.error("the new certificate is not used, the old one stays: %s", error)
                self._stamp = stamp
            return self._found


def _stamp_of(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _load_context(settings: HTTPSettings) -> ssl.SSLContext | None:
    """Return the context of the server's own TLS, which asks nobody for a certificate.

    Raises:
        ConfigError: Certificate and key cannot be used.
    """
    if not settings.certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.certificate, settings.key or None)
    except (OSError, ValueError) as error:
        raise ConfigError(f"[http] certificate: {settings.certificate}: {error.args[-1]}") from error
    return context


def find_binding(settings: HTTPSettings) -> bytes | None:
    """Return the channel binding of connections to the web server, or None where there is none.

    Raises:
        ConfigError: The certificate cannot be used, or has no binding although one is required.
    """
    path = settings.certificate or settings.front_end_certificate
    if not path:
        return None
    binding = server_end_point(_load_certificate(path).der)
    if binding is None and settings.require_channel_binding:
        raise ConfigError(
            f"[http] require_channel_binding: {path} is signed in a way that has no binding (RFC 5929 section 4.1)",
            hint="use a certificate that is signed with RSA or ECDSA",
        )
    return binding


def _load_certificate(path: str) -> Certificate:
    found = load_certificates(read_public(path, max_bytes=_MAX_CERTIFICATE_BYTES), what=path)
    if not found:
        raise ConfigError(f"[http] certificate: {path} holds no certificate")
    return found[0]


def make_application(
    config: KCAConfig, metrics: Metrics | None = None, reloads: Reloads | None = None
) -> WSGIApplication:
    """Open the service and return the application; for the life of a process.

    Raises:
        ConfigError: The configuration cannot be used.
        GridError: The CA's key, the books or the audit cannot be used.
    """
    settings, counted, told = config.http, metrics or Metrics(), reloads or Reloads()
    certificate = WebCertificate(settings)
    negotiator = Negotiator(SERVICE, keytab=settings.keytab, hostname=settings.hostname)
    opened = open_service(config, meter=counted.meter)
    health = Health(_parts(settings, opened, negotiator), log=_LOG)

    def tell() -> bytes:
        return render(counted, [health.family(_PREFIX)]) + told.render(_PREFIX)

    return create_app(
        opened.service,
        negotiator,
        settings,
        binding=certificate.binding,
        metrics=tell if settings.metrics else None,
        standing=lambda: health.page(told.words),
    )


def _parts(settings: HTTPSettings, opened: OpenedService, negotiator: Negotiator) -> Mapping[str, Callable[[], object]]:
    """Return what the web server needs; a front end's certificate is the front end's."""

    def look_at_certificates() -> None:
        opened.check_certificates()
        if settings.certificate:
            check_dates(_load_certificate(settings.certificate), now=clock.now(), what=settings.certificate)

    return {"keytab": negotiator.check, "certificate": look_at_certificates, "store": opened.check_books}


def serve_http(
    config: KCAConfig,
    load: Callable[[], KCAConfig] | None = None,
    *,
    on_ready: Callable[[], None] = lambda: None,
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Args:
        config: The configuration.
        load: Reads it again, at SIGHUP; None to keep it, and open anew what it names.
        on_ready: Called when connections are being accepted.

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
    certificate = WebCertificate(settings)
    Negotiator(SERVICE, keytab=settings.keytab, hostname=settings.hostname)  # what is wrong shows now
    metrics, reloads = Metrics(workers=rows(settings.workers)), Reloads()
    held = Held(config, load or (lambda: config), _check)
    with Given.from_environment() as given:
        sockets = given.listen(settings.listen, mode=_SOCKET_MODE)
    return serve_wsgi(
        lambda: _describe(held.config),
        sockets,
        lambda: make_application(held.config, metrics, reloads),
        renew=held.renew,
        context=certificate.context if settings.certificate else None,
        reloads=reloads,
        on_ready=on_ready,
        on_worker=metrics.use,
    )


def _describe(config: KCAConfig) -> WebSettings:
    settings = config.http
    return WebSettings(
        name="kca-http",
        log=_LOG,
        workers=settings.workers,
        threads=settings.threads,
        certificate=settings.certificate,
        limits=WebLimits(head_bytes=_MAX_HEAD, body_bytes=2 * settings.max_request_bytes + _FRAMING),
        max_line=_MAX_LINE,
        max_field=_MAX_FIELD,
    )


def _check(old: KCAConfig, new: KCAConfig) -> None:
    """Try a configuration.

    Raises:
        ConfigError: It needs a restart.
        GridError: It cannot be used.
    """
    same = (
        ("http.listen", old.http.listen, new.http.listen),
        ("http.workers", old.http.workers, new.http.workers),
        ("http.certificate", old.http.certificate, new.http.certificate),
        ("http.key", old.http.key, new.http.key),
        ("store", old.store, new.store),
    )
    for name, before, after in same:
        if before != after:
            raise ConfigError(f"{name} cannot be changed while the server runs", hint="restart it")
    WebCertificate(new.http)
    Negotiator(SERVICE, keytab=new.http.keytab, hostname=new.http.hostname)
    open_service(new).close()
