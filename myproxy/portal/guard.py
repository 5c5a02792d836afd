"""What holds for every request: host, origin, form token, session, headers; knows no page.

    guard = Guard(portal)
    guard.install(app)
    @public                                      # reachable without a session; everything else is not
    def logon(): ...
    guard.begin(username, proxy, method)         # the one place where a session begins
    session = current()                          # in a view that is not public

A request whose `Host` is not one of ours is refused before anything is looked up. What changes something (POST) needs
an `Origin` of ours where the browser tells one, and the form token of its cookie. A view is reached without a session
only if it was marked `public` (a page) or `machine` (for programs; those take no cookies, and nothing from browsers).
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar, cast
from urllib.parse import quote, urlsplit

from flask import Flask, Response, abort, g, redirect, request, url_for
from markupsafe import Markup

from gsi.credential import Credential, parse_credential
from gsi.errors import GridError, StorageError
from gsi.system.audit import AuditRecord, Verdict
from myproxy.auth.throttle import network_of
from myproxy.portal.desk import identify
from myproxy.portal.repeats import Repeats
from myproxy.portal.store import Event, KeptSession
from myproxy.portal.vault import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    from gsi.system.audit import AuditSink
    from myproxy.portal.config import PortalConfig
    from myproxy.portal.desk import Desk
    from myproxy.portal.limits import Limits
    from myproxy.portal.store import PortalStore

__all__ = ["FORM_COOKIE", "SESSION_COOKIE", "Guard", "Portal", "Session", "current", "machine", "own_path", "public"]

SESSION_COOKIE: Final = "__Host-session"
FORM_COOKIE: Final = "__Host-form"
"""Ties the forms before a logon to the browser."""
TOKEN_FIELD: Final = "form_token"
MAX_PATH: Final = 2048
"""The longest address of our own that a logon leads back to: applications send users with as much."""
MAX_BROWSER: Final = 200
SEEN_SECONDS: Final = 20
"""How exactly the last request of a session is kept: writing at each would cost more than it tells."""

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers would hide the origin of our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_BROWSERS: Final = ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode")
_PUBLIC: Final = "_portal_public"
_MACHINE: Final = "_portal_machine"
_log: Final = logging.getLogger("myproxy.portal")

V = TypeVar("V", bound="Callable[..., object]")


@dataclass(frozen=True, slots=True)
class Portal:
    """What the pages work with.

    Attributes:
        config: The configuration.
        desk: Asks the server.
        store: What lasts.
        limits: Slows guessing down.
        audit: Who did what.
        clock: The time.
        close_audit: Closes the file of the audit.
        repeats: What need not be written down each time.
    """

    config: PortalConfig
    desk: Desk
    store: PortalStore
    limits: Limits
    audit: AuditSink
    clock: Callable[[], datetime]
    close_audit: Callable[[], None] = lambda: None
    repeats: Repeats = field(default_factory=Repeats)

    def close(self) -> None:
        """Close the files."""
        self.store.close()
        self.close_audit()

    def note(
        self,
        action: str,
        verdict: Verdict,
        username: str,
        *,
        reason: str = "",
        detail: str = "",
        identity: str = "<anonymous>",
        shown: bool = True,
    ) -> None:
        """Write down what was decided, before it is answered; what was done is shown to its user, too.

        Raises:
            StorageError: It cannot be written, so it must not happen.
        """
        self.audit.record(
            AuditRecord(
                time=self.clock(),
                request_id=request_id(),
                service="myproxy-portal",
                action=action,
                verdict=verdict,
                reason=reason,
                peer=identity,
                address=address(),
                details={"username": username, "detail": detail},
            )
        )
        if verdict is Verdict.PERMIT and shown:
            self._show(action, username, identity, detail)

    def note_again(self, action: str, username: str, reason: str) -> None:
        """Write down a refusal that costs whoever asks nothing: once in a while for each network, with their number.

        Raises:
            StorageError: It cannot be written.
        """
        left_out = self.repeats.look(f"{action} {network_of(address())}", self.clock())
        if left_out is not None:
            more = f"; {left_out} more since the last record" if left_out else ""
            self.note(action, Verdict.DENY, username, reason=reason + more)

    @contextlib.contextmanager
    def doing(self, action: str, username: str, *, identity: str, detail: str = "") -> Iterator[None]:
        """Write down what the server is about to be asked to change, for the time of a `with` statement.

        What it refuses is written down again, with the reason. What is done is shown to its user; where that cannot be
        kept it is done all the same, and nobody must hear otherwise.

        Raises:
            StorageError: It cannot be written, so the server is not asked.
        """
        self.note(action, Verdict.PERMIT, username, detail=detail, identity=identity, shown=False)
        try:
            yield
        except GridError as error:
            self.note(action, Verdict.DENY, username, reason=error.message, detail=detail, identity=identity)
            raise
        try:
            self._show(action, username, identity, detail)
        except StorageError as error:
            _log.error("%s: %s is done, and cannot be shown to %r: %s", request_id(), action, username, error)

    def _show(self, action: str, username: str, identity: str, detail: str) -> None:
        self.store.activity.add(Event(username, identity, self.clock(), action, address(), detail))


@dataclass(frozen=True, slots=True)
class Session:
    """Who is logged on.

    Attributes:
        ticket: The cookie's value.
        kept: As it rests.
        username: The account.
        proxy: With which the portal is the user.
        name: The stored credential that it comes from; None is the unnamed one.
        method: How the user logged on.
        has_code: Whether a one-time code was part of that.
    """

    ticket: Ticket
    kept: KeptSession
    username: str
    proxy: Credential
    name: str | None
    method: str
    has_code: bool

    @property
    def identity(self) -> str:
        """The end entity's name."""
        return identify(self.proxy).subject


def public(view: V) -> V:
    """Mark a page that is reached without a session."""
    setattr(view, _PUBLIC, True)
    return view


def machine(view: V) -> V:
    """Mark what programs ask: without a session, without cookies, and never by browsers."""
    setattr(view, _MACHINE, True)
    return view


def current() -> Session:
    """Return the session of this request; 403 where there is none, which no view should ever see."""
    found = g.get("session")
    if found is None:
        abort(403)
    return cast("Session", found)


def request_id() -> str:
    """Return what this request is called in the log, in the audit and on error pages."""
    if "request_id" not in g:
        g.request_id = secrets.token_hex(8)
    return cast("str", g.request_id)


def address() -> str:
    """Return where the request comes from."""
    return cast("str", g.get("address", "unknown"))


def own_path(text: str | None) -> str | None:
    """Return a path on this site to which a logon may lead, None when it is not one."""
    if not text or len(text) > MAX_PATH or not text.startswith("/") or text.startswith("//"):
        return None
    if not text.isascii() or not text.isprintable() or "\\" in text or " " in text:
        return None
    parts = urlsplit(text)
    return text if not parts.scheme and not parts.netloc and not parts.fragment else None


class Guard:
    """Stands before every view of an application."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def install(self, app: Flask) -> None:
        """Stand before the views of an application."""
        app.before_request(self._check)
        app.after_request(self._finish)

        @app.context_processor
        def tell() -> dict[str, object]:
            return {
                "visit": g.get("session"),  # `session` is Flask's own name for another thing
                "hidden": self._hidden,
                "portal": self._portal.config,
                "request_id": request_id(),
                "now": self._portal.clock(),
            }

    # --- sessions -----------------------------------------------------------------------------------------------------

    def begin(
        self, username: str, proxy: Credential, method: str, *, name: str | None = None, has_code: bool = False
    ) -> Session:
        """Begin a session with a proxy that the server has given for a proof; any former one of this browser ends.

        Args:
            username: The account.
            proxy: What the server gave.
            method: How the user proved itself.
            name: The stored credential it comes from.
            has_code: Whether a one-time code was part of the proof.

        Raises:
            StorageError: It cannot be kept.
        """
        self.end()
        portal, now, ticket = self._portal, self._portal.clock(), Ticket.make()
        content = {"proxy": proxy.encode().decode("ascii"), "name": name, "method": method, "has_code": has_code}
        kept = KeptSession(
            ticket.row,
            username,
            identify(proxy).subject,
            ticket.seal(json.dumps(content).encode()),
            now,
            now,
            min(now + portal.config.session.longest, proxy.not_after),
            address(),
            request.headers.get("User-Agent", "")[:MAX_BROWSER],
        )
        portal.store.sessions.put(kept)
        g.session = Session(ticket, kept, username, proxy, name, method, has_code)
        g.new_ticket = ticket
        return cast("Session", g.session)

    def end(self) -> None:
        """End the session of this request, if there is one; the browser forgets it whatever becomes of the store.

        Raises:
            StorageError: It cannot be ended in the store.
        """
        g.session = None
        g.session_ended = True
        ticket = Ticket.parse(request.cookies.get(SESSION_COOKIE))
        if ticket is not None:
            self._portal.store.sessions.remove(ticket.row)

    def form_ticket(self) -> Ticket:
        """Return what the forms of this browser are tied to: the session, or before a logon a cookie of its own."""
        session = cast("Session | None", g.get("session"))
        if session is not None:
            return session.ticket
        if "form_ticket" not in g:
            found = Ticket.parse(request.cookies.get(FORM_COOKIE))
            g.form_ticket = found or Ticket.make()
            g.form_ticket_is_new = found is None
        return cast("Ticket", g.form_ticket)

    def _hidden(self) -> Markup:
        """Return the hidden field that every form needs."""
        return Markup('<input type="hidden" name="{}" value="{}">').format(TOKEN_FIELD, self.form_ticket().form_token)

    def _find(self) -> Session | None:
        """Return the session of the request's cookie."""
        ticket = Ticket.parse(request.cookies.get(SESSION_COOKIE))
        kept = None if ticket is None else self._portal.store.sessions.find(ticket.row)
        if ticket is None or kept is None:
            return None
        now, limits = self._portal.clock(), self._portal.config.session
        idle: timedelta = now - kept.seen
        if now >= kept.ends or idle > limits.idle or now - kept.begun > limits.longest:
            self._portal.store.sessions.remove(kept.row)
            return None
        data = ticket.open(kept.sealed)
        if data is None:  # damaged
            _log.error("a session of %r cannot be opened and is ended", kept.username)
            self._portal.store.sessions.remove(kept.row)
            return None
        content = json.loads(data)
        proxy = parse_credential(content["proxy"].encode("ascii"), source="the session")
        if idle.total_seconds() >= SEEN_SECONDS:
            self._portal.store.sessions.touch(kept.row, identify(proxy).subject, now=now)
        has_code = bool(content.get("has_code"))  # sessions of an earlier version do not say
        return Session(ticket, kept, kept.username, proxy, content["name"], content["method"], has_code)

    # --- every request ------------------------------------------------------------------------------------------------

    def _check(self) -> Response | None:
        request_id()
        if request.endpoint in {"health", "metrics"}:
            return None
        if request.headers.get("Host", "").lower() not in self._portal.config.names:
            abort(400, "This is not the name of this site.")
        g.address = self._source()
        view = _view()
        if view is None or request.endpoint == "static":
            return None  # not found, or the style sheet
        if getattr(view, _MACHINE, False):
            if any(name in request.headers for name in _BROWSERS):
                abort(403, "This address is for programs.")
            return None
        g.session = self._find()
        if request.method not in _SAFE_METHODS:
            self._check_form()
        if g.session is None and not getattr(view, _PUBLIC, False):
            if request.method not in _SAFE_METHODS:
                return _away(url_for("pages.logon", notice="over"))
            wanted = request.full_path.rstrip("?") if request.query_string else request.path
            if wanted == "/":
                return _away(url_for("pages.logon"))
            notice = "over" if request.cookies.get(SESSION_COOKIE) else "first"
            return _away(f"{url_for('pages.logon', notice=notice)}&next={quote(wanted, safe='/')}")
        return None

    def _check_form(self) -> None:
        """Refuse what none of our pages has made."""
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() not in {f"https://{name}" for name in self._portal.config.names}:
            abort(403, "The form was sent from another site.")
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            abort(403, "The form was sent from another site.")
        if not self.form_ticket().is_form_token(request.form.get(TOKEN_FIELD)):
            abort(403, "The form is too old, or your browser keeps no cookies. Go back, load the page again and retry.")

    def _source(self) -> str:
        """Return the address of the user; a front end's word counts only where the settings say so."""
        name = self._portal.config.http.address_header
        if not name:
            return request.remote_addr or "local"
        values = request.headers.getlist(name)
        try:
            (value,) = values
            return str(ipaddress.ip_address(value.strip()))
        except ValueError:
            _log.error("the front end does not say in %s where requests come from", name)
            abort(500)

    def _finish(self, response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers[name] = value
        if "form_target" in g:  # browsers hold redirections after a form to the policy as well
            policy = CONTENT_SECURITY_POLICY.replace("form-action 'self'", f"form-action 'self' {g.form_target}")
            response.headers["Content-Security-Policy"] = policy
        if request.endpoint == "static" and response.status_code == 200:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        else:
            response.headers["Cache-Control"] = "no-store"
        if "new_ticket" in g:
            _set(response, SESSION_COOKIE, g.new_ticket)
            _clear(response, FORM_COOKIE)
        elif g.get("session_ended"):
            _clear(response, SESSION_COOKIE)
        if g.get("form_ticket_is_new") and "new_ticket" not in g:
            _set(response, FORM_COOKIE, g.form_ticket)
        return response


def _view() -> Callable[..., object] | None:
    from flask import current_app

    return None if request.endpoint is None else current_app.view_functions.get(request.endpoint)


def _away(target: str) -> Response:
    return cast("Response", redirect(target, 303))


def _set(response: Response, name: str, ticket: Ticket) -> None:
    response.set_cookie(name, ticket.text, secure=True, httponly=True, samesite="Lax", path="/")


def _clear(response: Response, name: str) -> None:
    response.delete_cookie(name, secure=True, httponly=True, samesite="Lax", path="/")


def told(error: GridError) -> str:
    """Return what a user is told of an error."""
    text = error.message.removeprefix("ERROR from myproxy-server:\n")
    return text[:1].upper() + text[1:]
