"""The application: the pages behind the guard; no gunicorn, no sockets.

    app = create_app(config, open_portal(config))

Other packages add pages by the entry-point group `myproxy.portal_pages`: each names a function that takes a `Host` and
returns a `Page`-like object with `title` and `blueprint`. Their pages are reached below `/<name of the entry point>/`,
behind the same guard, and extend the template `page.html`.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import logging
import os
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from flask import Flask, Response, abort, g, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge

from gsi.errors import ConfigError, GridError, StorageError, TransportError
from gsi.keys import generate_key
from gsi.system import clock
from gsi.system.audit import AuditLog, Verdict
from gsi.system.credential_files import load_user_credential
from gsi.system.environ import read_locations
from gsi.system.metrics import CONTENT_TYPE
from gsi.system.trustdir import TrustDirectory
from myproxy.client import ServerAddress
from myproxy.portal import applications, codes, site, terminals, upload, views, vouched
from myproxy.portal.desk import Desk
from myproxy.portal.gate import Gate
from myproxy.portal.guard import Guard, Portal, current, machine, request_id
from myproxy.portal.limits import Limits
from myproxy.portal.oidc import Provider
from myproxy.portal.shown import FILTERS
from myproxy.portal.store import open_store
from myproxy.portal.watch import Watch
from myproxy.portal.webtls import WebCertificate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from flask import Blueprint

    from gsi.credential import Credential
    from gsi.kerberos.negotiate import Negotiator
    from gsi.keys import PrivateKey
    from gsi.system.audit import AuditSink
    from gsi.trust.anchors import TrustAnchors
    from myproxy.portal.codes import Authenticators
    from myproxy.portal.config import HTTPSettings, PortalConfig

__all__ = ["GROUP", "Host", "Page", "Ways", "create_app", "open_portal", "open_watch", "open_ways"]

GROUP: Final = "myproxy.portal_pages"
MAX_FORM_PARTS: Final = 40
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
"""How long the MyProxy server may think: it holds tries on an account back for 10 seconds, and refusals as long."""
RETRY_SECONDS: Final = 10
"""When to come again to what was not available."""
REPLAY_NAME: Final = "http.rcache"
"""Which tickets were here before, for all workers; a file in the store's directory."""
_FOR_PROGRAMS: Final = ("/terminal/v1/", f"{applications.API}/")
_log: Final = logging.getLogger("myproxy.portal")


class Host:
    """What pages of other packages get: their settings, the user of the present request, nothing of the portal's own.

    Attributes:
        settings: Their table of the configuration, empty where there is none.
        anchors: Returns the CAs that servers are known by.
        now: The clock.
    """

    def __init__(self, portal: Portal, settings: Mapping[str, str]) -> None:
        self._portal = portal
        self.settings = settings
        self.anchors: Callable[[], TrustAnchors] = portal.desk.anchors
        self.now: Callable[[], datetime] = portal.clock

    def username(self) -> str:
        """Return the account of whoever is logged on."""
        return current().username

    def credential(self) -> Credential:
        """Return the user's proxy; not to be kept beyond the request."""
        return current().proxy

    def note(self, action: str, *, permitted: bool = True, reason: str = "", detail: str = "") -> None:
        """Write down what the user does, before it takes effect.

        Raises:
            StorageError: It cannot be written, so it must not happen.
        """
        verdict = Verdict.PERMIT if permitted else Verdict.DENY
        session = current()
        self._portal.note(action, verdict, session.username, reason=reason, detail=detail, identity=session.identity)


class Page(Protocol):
    """What a contribution returns; None in its place where its settings are missing, and it has nothing to show."""

    title: str
    blueprint: Blueprint


def open_portal(
    config: PortalConfig,
    *,
    now: Callable[[], datetime] = clock.now,
    make_key: Callable[[], PrivateKey] = generate_key,
    meter: Callable[[AuditSink], AuditSink] = lambda sink: sink,
) -> Portal:
    """Open what the pages work with; for the life of a process.

    Args:
        config: The configuration.
        now: The clock.
        make_key: Gives new keys.
        meter: Counts what is recorded.

    Raises:
        GridError: Something that the configuration names cannot be used.
    """
    directory = config.trust.directory or read_locations().trust_dir
    trust = TrustDirectory(directory, recheck_seconds=1.0)
    trust.anchors()
    base = ServerAddress.parse(config.server)
    address = ServerAddress(
        hosts=base.hosts,
        expected_dn=config.trust.server_dn or None,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
    )
    own = load_user_credential(config.own.certificate, config.own.key or None) if config.own.front_end else None
    store = open_store(config.store)
    audit = AuditLog(os.path.join(config.store.directory, "audit.log"))
    return Portal(
        config,
        Desk(address, trust.anchors, clock=now, make_key=make_key, front_end=own, slots=config.http.threads // 2),
        store,
        Limits(store.guesses, free_tries=config.logon.free_tries, clock=now),
        meter(audit),
        now,
        audit.close,
    )


def open_watch(config: PortalConfig, *, now: Callable[[], datetime] = clock.now) -> Watch:
    """Open what the site's administrators see.

    Raises:
        GridError: The server's store is named and cannot be used.
    """
    settings = config.admin
    if not settings.server_config:
        return Watch(settings, clock=now)
    from myproxy.server import load_config
    from myproxy.wiring.repository import open_repository

    return Watch(settings, clock=now, repository=open_repository(load_config(settings.server_config), settings.storage))


class Ways(NamedTuple):
    """Other ways to log on than with the pass phrase."""

    own: Credential
    provider: Provider | None = None
    negotiator: Negotiator | None = None
    binding: Callable[[], bytes | None] = lambda: None


def open_ways(config: PortalConfig, *, now: Callable[[], datetime] = clock.now) -> Ways | None:
    """Open the other ways that the configuration names, None when it names none.

    Raises:
        GridError: One cannot be used.
    """
    if not (config.oidc.issuer or config.kerberos.keytab):
        return None
    own = load_user_credential(config.own.certificate, config.own.key or None)
    provider = negotiator = None
    certificate = WebCertificate(config.http)
    if config.oidc.issuer:
        directory = config.trust.directory or read_locations().trust_dir
        provider = Provider(config.oidc, directory, clock=now, slots=config.http.threads // 4)
    if config.kerberos.keytab:
        from gsi.kerberos.accept import use_replay_cache
        from gsi.kerberos.negotiate import Negotiator

        use_replay_cache(os.path.join(config.store.directory, REPLAY_NAME))
        negotiator = Negotiator(keytab=config.kerberos.keytab)

    def bind() -> bytes | None:
        from gsi.kerberos.negotiate import server_end_point

        der = certificate.certificate()
        return None if der is None else server_end_point(der)

    return Ways(own, provider, negotiator, bind)


def create_app(
    portal: Portal,
    authenticators: Authenticators | None = None,
    ways: Ways | None = None,
    *,
    metrics: Callable[[], bytes] | None = None,
    standing: Callable[[], tuple[str, int]] = lambda: ("ok\n", 200),
) -> Flask:
    """Return the application.

    Args:
        portal: What the pages work with.
        authenticators: Where the secrets of one-time codes are; None where that is not known here.
        ways: Other ways to log on.
        metrics: Tells monitors; None where they are not to be told.
        standing: Returns the health page and its status.

    Raises:
        ConfigError: A contribution cannot be used.
    """
    app = Flask("myproxy.portal")
    app.debug = False  # whatever FLASK_DEBUG says
    app.config["MAX_CONTENT_LENGTH"] = upload.MAX_REQUEST_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = upload.MAX_REQUEST_BYTES
    app.config["MAX_FORM_PARTS"] = MAX_FORM_PARTS
    app.jinja_env.filters.update(FILTERS)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    style = _style_version(app)
    guard = Guard(portal)
    guard.install(app)
    app.register_blueprint(views.make_pages(portal, guard))
    app.register_blueprint(upload.make_pages(portal))
    app.register_blueprint(terminals.make_pages(portal))
    if portal.config.applications:
        app.register_blueprint(applications.make_pages(portal))
    if authenticators is not None:
        app.register_blueprint(codes.make_pages(portal, authenticators, None if ways is None else ways.own))
    others: list[tuple[str, str]] = []
    if ways is not None:
        pages = vouched.make_pages(
            portal, guard, ways.own, provider=ways.provider, negotiator=ways.negotiator, binding=ways.binding
        )
        app.register_blueprint(pages)
        if ways.provider is not None:
            others.append((portal.config.oidc.title, "/logon/oidc"))
        if ways.negotiator is not None:
            others.append((portal.config.kerberos.title, "/logon/kerberos"))
    if portal.config.admin.identities:
        app.register_blueprint(site.make_pages(portal, open_watch(portal.config, now=portal.clock), authenticators))
    extra = _contributed(app, portal)

    @app.context_processor
    def tell() -> dict[str, object]:
        session = g.get("session")
        is_admin = session is not None and session.identity in portal.config.admin.identities
        return {
            "is_admin": is_admin,
            "style": style,
            "contributed": extra,
            "has_codes": authenticators is not None,
            "others": others,
        }

    @app.get("/health")
    @machine
    def health() -> Response:
        return Response(*standing(), mimetype="text/plain")

    if metrics is not None:

        @app.get("/metrics", endpoint="metrics")
        @machine
        def tell_numbers() -> Response:
            if not _is_here(portal.config.http):
                abort(404)
            return Response(metrics(), content_type=CONTENT_TYPE)

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> tuple[str, int] | Response:
        if error.code is None or error.response is not None:
            return Response(status=error.code or 500)
        heading, text = str(error.name), str(error.description or "")
        if isinstance(error, RequestEntityTooLarge):
            heading = "Too large"
            text = upload.TOO_LARGE
        if isinstance(error, InternalServerError):
            text = "Something went wrong on this side. It is in the log under the number below."
        if request.path.startswith(_FOR_PROGRAMS):
            return Response(f"{text}\n", error.code, mimetype="text/plain")
        return render_template("error.html", heading=heading, text=text), error.code

    @app.errorhandler(GridError)
    def fail(error: GridError) -> Response:
        _log.error("%s: %s: %s", request_id(), error.slug, error)
        heading, status = "Internal Server Error", 500
        text = "Something went wrong on this side. It is in the log under the number below."
        if isinstance(error, StorageError | TransportError):
            heading, status = "Not available now", 503
            text = "The portal or its MyProxy server cannot do this at the moment. Try again in a minute."
        if request.path.startswith(_FOR_PROGRAMS):
            answer = Response(f"{text}\n{request_id()}\n", status, mimetype="text/plain")
        else:
            answer = Response(render_template("error.html", heading=heading, text=text), status)
        if status == 503:
            answer.headers["Retry-After"] = str(RETRY_SECONDS)
        return answer

    return app


def _is_here(http: HTTPSettings) -> bool:
    """Say whether the request comes from a program of this machine, and not from a front end for somebody else."""
    if http.address_header in request.headers if http.address_header else not http.certificate:
        return False
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def _style_version(app: Flask) -> str:
    """Return what changes with the style sheet, so that browsers may keep it for as long as they like."""
    assert app.static_folder is not None
    with open(os.path.join(app.static_folder, "portal.css"), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:12]


def _bound(pages: Blueprint, gate: Gate) -> None:
    """Let no more requests at once into pages of other packages, whose services may hang, than the gate has slots."""

    @pages.before_request
    def enter() -> None:
        g.gate = contextlib.ExitStack()
        g.gate.enter_context(gate.take(current().username))

    @pages.teardown_request
    def leave(_error: BaseException | None) -> None:
        if "gate" in g:
            g.gate.close()


def _contributed(app: Flask, portal: Portal) -> list[tuple[str, str]]:
    """Add the pages of other packages; return their titles and addresses."""
    found: list[tuple[str, str]] = []
    points = sorted(entry_points(group=GROUP), key=lambda one: one.name)
    unknown = sorted(portal.config.pages.keys() - {one.name for one in points})
    if unknown:
        raise ConfigError(f"[pages.{unknown[0]}]: no installed package has such pages")
    for point in points:
        try:
            page: Page | None = point.load()(Host(portal, portal.config.pages.get(point.name, {})))
            if page is None:
                continue
            _bound(page.blueprint, Gate(point.name, slots=portal.config.http.threads // 8))
            app.register_blueprint(page.blueprint, url_prefix=f"/{point.name}", name=f"contributed_{point.name}")
        except Exception as error:
            raise ConfigError(f"the pages {point.name!r} of {point.value} cannot be used: {error}") from error
        found.append((page.title, f"/{point.name}/"))
    return found
