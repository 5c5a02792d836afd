"""The portal under gunicorn: listens, forks, makes the application in each worker; answers nothing itself.

    serve_portal(config, load, on_ready=announce)     # until SIGTERM or SIGINT; SIGHUP reads the file again

TLS ends here where `[http]` names a certificate, else at a front end on this machine. Headers are as long as Negotiate
tokens with the group lists of Active Directory make them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.certificate import Certificate, load_certificates
from gsi.credential import MAX_CREDENTIAL_BYTES
from gsi.errors import ConfigError
from gsi.keys import generate_key
from gsi.system.credential_files import load_user_credential
from gsi.system.files import read_public
from gsi.system.health import Health, check_anchors, check_dates
from gsi.transport.activation import Given
from gsi.transport.wsgi_server import Held, Reloads, WebLimits, WebSettings, rows, serve_wsgi
from myproxy.portal.app import create_app, open_portal, open_ways
from myproxy.portal.codes import open_authenticators
from myproxy.portal.config import Insistence
from myproxy.portal.keypool import KeyPool
from myproxy.portal.metrics import PREFIX, Metrics, render
from myproxy.portal.upload import MAX_REQUEST_BYTES
from myproxy.portal.webtls import WebCertificate

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from wsgiref.types import WSGIApplication

    from myproxy.portal.config import PortalConfig
    from myproxy.portal.guard import Portal

__all__ = ["check", "find_flaws", "make_application", "serve_portal"]

KEYS_PER_THREAD: Final = 3
"""RSA keys that each worker makes in advance: with 16 threads enough for twenty logons with a download at once, all at
one worker; with fewer, so many do not come at once."""
_MAX_FIELD: Final = 16 << 10
"""The longest header: Negotiate tokens with the group lists of Active Directory take 12 kB."""
_MAX_BODY: Final = 4 * MAX_REQUEST_BYTES
"""Beyond this a request is refused before it is here; below, forms that are too long are refused with a page."""
_BEHIND: Final = 1024
"""Connections of one address where that is a front end's."""


def make_application(
    config: PortalConfig, metrics: Metrics | None = None, reloads: Reloads | None = None
) -> WSGIApplication:
    """Open all that the configuration names and return the application; for the life of a process.

    Raises:
        GridError: Something cannot be used.
    """
    counted, told = metrics or Metrics(), reloads or Reloads()
    authenticators = open_authenticators(config) if config.codes.server_config else None
    ways = open_ways(config)
    pool = KeyPool(generate_key, size=KEYS_PER_THREAD * config.http.threads)
    portal = open_portal(config, make_key=pool.take, meter=counted.meter)
    health = Health(_parts(portal), log="myproxy.portal")

    def tell() -> bytes:
        return render(counted, [health.family(PREFIX)]) + told.render(PREFIX)

    return create_app(
        portal,
        authenticators,
        ways,
        metrics=tell if config.http.metrics else None,
        standing=lambda: health.page(told.words),
    )


def _parts(portal: Portal) -> Mapping[str, Callable[[], None]]:
    """Return what the portal needs of this node; the MyProxy server is everybody's, and has monitors of its own."""
    config, web = portal.config, WebCertificate(portal.config.http)
    own = None
    if config.own.front_end or config.oidc.issuer or config.kerberos.keytab:
        # As those have read it, for as long as this process lives.
        own = load_user_credential(config.own.certificate, config.own.key or None).certificate

    def look_at_certificates() -> None:
        der, now = web.certificate(), portal.clock()
        if der is not None:
            check_dates(Certificate.parse(der), now=now, what=config.http.certificate)
        if own is not None:
            check_dates(own, now=now, what=config.own.certificate)

    return {
        "trust": lambda: check_anchors(portal.desk.anchors()),
        "certificate": look_at_certificates,
        "store": portal.store.check,
    }


def check(config: PortalConfig) -> None:
    """Open all that the configuration names.

    Raises:
        GridError: Something cannot be used.
    """
    WebCertificate(config.http)
    authenticators = open_authenticators(config) if config.codes.server_config else None
    portal = open_portal(config)
    try:
        create_app(portal, authenticators, open_ways(config))
    finally:
        portal.close()


def find_flaws(config: PortalConfig, *, now: datetime) -> tuple[str, ...]:
    """Return what can be used and had better be different.

    Args:
        config: The configuration, which has passed `check`.
        now: The time (aware UTC).

    Raises:
        ConfigError: The portal's own certificate is none at this time: whoever needs it could not log on.
    """
    own, admin = config.own.certificate, config.admin
    if own:
        certificate = load_certificates(read_public(own, max_bytes=MAX_CREDENTIAL_BYTES), what=own)[0]
        check_dates(certificate, now=now, what=f"[own] certificate: {own}")
    if not admin.identities:
        return ()
    if not admin.second_factor:
        return ("[admin] second_factor is off: a pass phrase alone opens the pages of administrators",)
    if not config.codes.server_config and config.logon.one_time_codes is not Insistence.REQUIRED:
        return ("[admin]: the site has no one-time codes ([codes]): a pass phrase alone opens the pages",)
    return ()


def serve_portal(
    config: PortalConfig,
    load: Callable[[], PortalConfig] | None = None,
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
    check(config)  # what is wrong shows now
    metrics, reloads = Metrics(workers=rows(config.http.workers)), Reloads()
    held = Held(config, load or (lambda: config), _compare)
    contexts = _Contexts()
    with Given.from_environment() as given:
        sockets = given.listen(config.http.listen)
    return serve_wsgi(
        lambda: _describe(held.config),
        sockets,
        lambda: make_application(held.config, metrics, reloads),
        renew=held.renew,
        context=(lambda: contexts.context(held.config)) if config.http.certificate else None,
        reloads=reloads,
        on_ready=on_ready,
        on_worker=metrics.use,
    )


class _Contexts:
    """The TLS contexts of a process, whose configuration stays."""

    def __init__(self) -> None:
        self._certificate: WebCertificate | None = None

    def context(self, config: PortalConfig) -> ssl.SSLContext:
        """Return the context of one connection."""
        if self._certificate is None:
            self._certificate = WebCertificate(config.http)
        return self._certificate.context()


def _describe(config: PortalConfig) -> WebSettings:
    http = config.http
    limits = WebLimits(body_bytes=_MAX_BODY)
    if http.address_header:
        limits = WebLimits(body_bytes=_MAX_BODY, per_source=_BEHIND)
    return WebSettings(
        name="myproxy-portal",
        log="myproxy.portal",
        workers=http.workers,
        threads=http.threads,
        certificate=http.certificate,
        limits=limits,
        max_field=_MAX_FIELD,
    )


def _compare(old: PortalConfig, new: PortalConfig) -> None:
    """Try a configuration.

    Raises:
        ConfigError: It needs a restart.
        GridError: It cannot be used.
    """
    same: tuple[tuple[str, object, object], ...] = (
        ("http.listen", old.http.listen, new.http.listen),
        ("http.workers", old.http.workers, new.http.workers),
        ("http.certificate", bool(old.http.certificate), bool(new.http.certificate)),
        ("store.directory", old.store.directory, new.store.directory),
        ("store.database", old.store.database, new.store.database),
    )
    for name, before, after in same:
        if before != after:
            raise ConfigError(f"{name} cannot be changed while the portal runs", hint="restart it")
    check(new)
