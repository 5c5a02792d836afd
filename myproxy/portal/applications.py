"""Proxies for other web applications, after OAuth 2.0: users allow it here, the application keeps its key.

| address | who asks | what |
|---|---|---|
| `/authorize` | the user | is asked whether the application may have proxies (RFC 6749 section 4.1, RFC 7636) |
| `/applications` | the user | sees and ends what is allowed |
| `/api/v1/token` | the application | a code becomes a token |
| `/api/v1/getcert` | the application | a certificate request becomes a proxy |
| `/api/v1/grant` | the application | how long the grant lasts, and whose it is |
| `/api/v1/revoke` | the application | the grant ends (RFC 7009) |
| `/api/v1/openapi.json`, `/.well-known/oauth-authorization-server` | anybody | what there is (RFC 8414) |

A token is good for a grant's whole life, but only together with its application's secret. The user's proxy is sealed
with it: the portal signs for an application only while that application asks, and until the user ends it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, abort, g, redirect, render_template, request

from gsi.credential import parse_credential
from gsi.delegation import MAX_REQUEST_BYTES
from gsi.errors import CredentialError, NotFoundError, ParseError, RefusedError, VerificationError
from gsi.sql.columns import time_of
from gsi.system.audit import Verdict
from myproxy.auth.base import ThrottledError
from myproxy.portal.config import Insistence
from myproxy.portal.desk import identify
from myproxy.portal.grants import PER_MINUTE, Content, Grants
from myproxy.portal.guard import address, current, machine, public
from myproxy.portal.openapi import describe, metadata
from myproxy.portal.registered import FULL, LIMITED
from myproxy.portal.vault import Ticket
from myproxy.portal.views import LIFETIMES, FormError, attempt, away, check_owner, code, field, log_on, notice, secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from werkzeug.datastructures import MultiDict
    from werkzeug.wrappers import Response as AnyResponse

    from gsi.credential import Credential
    from myproxy.portal.grants import KeptGrant
    from myproxy.portal.guard import Portal, Session
    from myproxy.portal.registered import ApplicationSettings

__all__ = ["API", "make_pages"]

API: Final = "/api/v1"
MAX_STATE: Final = 512
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z", re.ASCII)
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}\Z", re.ASCII)
_MIN_LIFETIME: Final = timedelta(minutes=5)
_STATUSES: Final = {"invalid_client": 401, "invalid_token": 401, "slow_down": 429}
_NO_CODE: Final = "the code stands for nothing, or not for this application"


class _OAuthError(Exception):
    """What an application is told (RFC 6749 section 5.2, RFC 6750 section 3.1)."""

    def __init__(self, error: str, text: str, *, retry_seconds: int = 0) -> None:
        super().__init__(text)
        self.error = error
        self.retry_seconds = retry_seconds


class _Asked(NamedTuple):
    """A request for a user's consent that may be shown."""

    name: str
    settings: ApplicationSettings
    redirect: str
    state: str
    scope: str
    challenge: str


def make_pages(portal: Portal) -> Blueprint:
    """Return the pages and what applications ask."""
    pages = Blueprint("applications", __name__)
    grants = Grants(portal.store.database)
    known: Mapping[str, ApplicationSettings] = portal.config.applications
    issuer = f"https://{portal.config.names[0]}"

    # --- users --------------------------------------------------------------------------------------------------------

    def leave(asked: _Asked, **answer: str) -> AnyResponse:
        """Send the user back; `iss` says by whom (RFC 9207)."""
        told = {**answer, **({"state": asked.state} if asked.state else {}), "iss": issuer}
        joint = "&" if urlsplit(asked.redirect).query else "?"
        return redirect(f"{asked.redirect}{joint}{urlencode(told)}", 303)

    def read(values: MultiDict[str, str]) -> tuple[_Asked, tuple[str, str] | None]:
        """Return what is asked for, and what is wrong with it; a page where it is not known who asks."""
        found = {name: values.getlist(name) for name in values}
        one = {name: texts[0] for name, texts in found.items() if len(texts) == 1}
        settings = known.get(one.get("client_id", ""))
        if settings is None:
            abort(400, "An application that is not registered here has sent you.")
        where = one.get("redirect_uri", "")
        if where not in settings.redirects:
            abort(400, "The application wants you to be sent to an address that is not registered for it.")
        state = one.get("state", "")
        scope = one.get("scope", "") or LIMITED
        asked = _Asked(one["client_id"], settings, where, state, scope, one.get("code_challenge", ""))
        if len(state) > MAX_STATE or not (state.isascii() and (state.isprintable() or not state)):
            return asked._replace(state=""), ("invalid_request", "the state cannot be sent back")
        if any(len(texts) > 1 for texts in found.values()):
            return asked, ("invalid_request", "a parameter is there twice")
        if one.get("response_type") != "code":
            return asked, ("unsupported_response_type", "response_type is to be code")
        if one.get("code_challenge_method") != "S256" or not _CHALLENGE.match(asked.challenge):
            return asked, ("invalid_request", "a code_challenge of the method S256 is needed")
        if scope not in settings.scopes:
            return asked, ("invalid_scope", f"one of: {' '.join(settings.scopes)}")
        return asked, None

    def show(asked: _Asked, error: FormError | None = None) -> str:
        left = current().proxy.not_after - portal.clock()
        most = asked.settings.longest
        allow_form_target(asked.redirect)
        return render_template(
            "authorize.html",
            error=error,
            asked=asked,
            place=urlsplit(asked.redirect).netloc,
            full=asked.scope == FULL,
            left=min(left, most),
            short=[(hours, span) for hours, span in LIFETIMES.items() if span < min(left, most)],
            long=[(hours, span) for hours, span in LIFETIMES.items() if left + _MIN_LIFETIME < span <= most],
            codes=Insistence,
        )

    @pages.get("/authorize")
    def ask() -> AnyResponse:
        asked, wrong = read(request.args)
        if wrong is not None:
            return leave(asked, error=wrong[0], error_description=wrong[1])
        return Response(show(asked), mimetype="text/html")

    @pages.post("/authorize")
    def answer() -> AnyResponse:
        session = current()
        asked, wrong = read(request.form)
        if wrong is not None:
            return leave(asked, error=wrong[0], error_description=wrong[1])
        if field("answer") != "yes":
            portal.note(
                "GRANT",
                Verdict.DENY,
                session.username,
                identity=session.identity,
                reason="by the user",
                detail=asked.name,
            )
            return leave(asked, error="access_denied")

        def act() -> AnyResponse:
            proxy, ends = source(session, asked)
            portal.note(
                "GRANT",
                Verdict.PERMIT,
                session.username,
                identity=session.identity,
                detail=f"{asked.name}: {asked.scope}, until {ends:%Y-%m-%d %H:%M}",
            )
            content = Content(proxy.encode().decode("ascii"), int(ends.timestamp()), asked.redirect, asked.challenge)
            made = grants.offer(
                session.username,
                session.identity,
                asked.name,
                asked.scope,
                content,
                now=portal.clock(),
                address=address(),
            )
            return leave(asked, code=made.text)

        return attempt(lambda error: show(asked, error), act)

    def source(session: Session, asked: _Asked) -> tuple[Credential, datetime]:
        """Return the proxy that a grant rests on, and when it ends; a longer one than the session's costs a proof."""
        now, hours = portal.clock(), field("hours")
        span = asked.settings.longest if hours == "0" else LIFETIMES.get(int(hours) if hours.isdecimal() else 0)
        if span is None or span > asked.settings.longest:
            raise FormError("Choose how long.")
        if hours == "0" or now + span <= session.proxy.not_after:
            proxy = session.proxy
        else:
            proxy = log_on(portal, session.username, secret("passphrase"), code(), lifetime=span, name=session.name)
            check_owner(session, proxy)
        return proxy, min(now + span, proxy.not_after)

    @pages.get("/applications")
    def applications() -> str:
        session = current()
        found = grants.of(session.username, session.identity, now=portal.clock())
        titles = {name: one.title for name, one in known.items()}
        return render_template("applications.html", notice=notice(), grants=found, titles=titles, full=FULL)

    @pages.post("/applications")
    def end() -> AnyResponse:
        session = current()
        row = field("grant")
        mine = grants.of(session.username, session.identity, now=portal.clock())
        found = next((one for one in mine if one.row == row), None)
        if found is not None:
            portal.note(
                "GRANT END", Verdict.PERMIT, session.username, identity=session.identity, detail=found.application
            )
            grants.end(row, username=session.username, identity=session.identity)
        return away("applications.applications", notice="grant_ended")

    # --- applications -------------------------------------------------------------------------------------------------

    def told(work: Callable[[str], dict[str, object] | Response]) -> Response:
        """Do what an application asks, once it has proved who it is."""
        try:
            if request.mimetype != "application/x-www-form-urlencoded":
                raise _OAuthError("invalid_request", "the body is to be a form")
            if any(len(request.form.getlist(name)) > 1 for name in request.form):
                raise _OAuthError("invalid_request", "a parameter is there twice")
            made = work(authenticate())
        except _OAuthError as error:
            status = _STATUSES.get(error.error, 400)
            response = _json({"error": error.error, "error_description": str(error)}, status)
            if error.retry_seconds:
                response.headers["Retry-After"] = str(error.retry_seconds)
            if status == 401:
                response.headers["WWW-Authenticate"] = 'Basic realm="applications"'
            return response
        return made if isinstance(made, Response) else _json(made)

    def authenticate() -> str:
        """Return which application asks.

        Raises:
            _OAuthError: It has not proved that, or there were too many wrong tries.
        """
        given = request.authorization
        if given is not None and given.type == "basic":
            name, word = given.username or "", given.password or ""
        else:
            name, word = request.form.get("client_id", ""), request.form.get("client_secret", "")

        settings = known.get(name)
        if settings is not None and settings.knows(word):  # 256 random bits: nobody guesses them, so nobody waits
            return name

        def refuse() -> None:
            raise RefusedError("no such application, or not its secret")

        try:
            portal.limits.judge("an application", address(), refuse)
        except ThrottledError as error:
            wait = max(1, int(error.seconds) + 1)
            words = f"too many wrong secrets from this network; try again in {wait} seconds"
            raise _OAuthError("slow_down", words, retry_seconds=wait) from error
        except RefusedError as error:
            portal.note("GRANT PROXY", Verdict.DENY, "", reason=error.message, detail=name[:64])
            raise _OAuthError("invalid_client", error.message) from error
        raise AssertionError

    def take_code(name: str) -> tuple[Ticket, KeptGrant, Content]:
        """Return what the code of the request stands for; wrong or right, it is used then."""
        ticket = Ticket.parse(request.form.get("code"))
        taken = None if ticket is None else grants.take(ticket, now=portal.clock())
        if ticket is None or taken is None:
            raise _OAuthError("invalid_grant", _NO_CODE)
        kept, content = taken
        verifier = request.form.get("code_verifier", "")
        made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii", "replace")).digest())
        if (
            kept.application != name
            or request.form.get("redirect_uri", "") != content.redirect
            or not _VERIFIER.match(verifier)
            or not hmac.compare_digest(made.decode("ascii").rstrip("="), content.challenge)
        ):
            portal.note("GRANT", Verdict.DENY, kept.username, reason="a code that is not the caller's", detail=name)
            raise _OAuthError("invalid_grant", _NO_CODE)
        return ticket, kept, content

    @pages.post(f"{API}/token")
    @machine
    def token() -> Response:
        def work(name: str) -> dict[str, object]:
            if request.form.get("grant_type") != "authorization_code":
                raise _OAuthError("unsupported_grant_type", "grant_type is to be authorization_code")
            ticket, kept, content = take_code(name)
            try:
                made = grants.give(ticket, kept, content, now=portal.clock())
            except NotFoundError as error:
                raise _OAuthError("invalid_grant", _NO_CODE) from error
            left = content.ends - int(portal.clock().timestamp())
            return {
                "access_token": made.text,
                "token_type": "Bearer",
                "expires_in": left,
                **_describe(kept, content),
            }

        return told(work)

    def find(name: str) -> tuple[KeptGrant, Content]:
        """Return the grant of the request's token."""
        given = request.authorization
        text = given.token if given is not None and given.type == "bearer" else request.form.get("access_token")
        ticket = Ticket.parse(text)
        found = None if ticket is None else grants.find(ticket, now=portal.clock())
        if found is None or found[0].application != name or found[0].scope not in known[name].scopes:
            raise _OAuthError("invalid_token", "the grant is over, or there is none")
        return found

    @pages.post(f"{API}/grant")
    @machine
    def grant() -> Response:
        return told(lambda name: _describe(*find(name)))

    @pages.post(f"{API}/getcert")
    @machine
    def getcert() -> Response:
        def work(name: str) -> Response:
            kept, content = find(name)
            now, settings = portal.clock(), known[name]
            proxy = parse_credential(content.proxy.encode("ascii"), source="the grant")
            span = min(_lifetime(request.form.get("certlifetime", ""), settings.proxy_lifetime), kept.ends - now)
            try:
                wanted = _read_request(request.form.get("certreq", ""))
                chain = portal.desk.sign_for(proxy, wanted, span, limited=kept.scope != FULL)
            except (ParseError, CredentialError, VerificationError) as error:
                raise _OAuthError("invalid_request", error.message) from error
            subject = identify(proxy).subject
            if not grants.use(kept, subject, now=now):
                wait = 60 - int(now.timestamp()) % 60
                raise _OAuthError("slow_down", f"{PER_MINUTE} proxies a minute", retry_seconds=wait)
            portal.note(
                "GRANT PROXY",
                Verdict.PERMIT,
                kept.username,
                identity=subject,
                detail=f"{name}: until {chain[0].not_after:%Y-%m-%d %H:%M}",
            )
            pem = b"".join(one.pem() for one in chain)
            head = f"username={kept.username}\n".encode()
            return Response(head + pem, mimetype="text/plain")

        return told(work)

    @pages.post(f"{API}/revoke")
    @machine
    def revoke() -> Response:
        def work(name: str) -> dict[str, object]:
            ticket = Ticket.parse(request.form.get("token"))
            found = None if ticket is None else grants.find(ticket, now=portal.clock())
            if found is not None and found[0].application == name:
                kept, content = found
                subject = _subject(content)
                portal.note("GRANT END", Verdict.PERMIT, kept.username, identity=subject, detail=f"{name}: by itself")
                grants.end(kept.row, username=kept.username, identity=kept.identity)
            return {}

        return told(work)

    @pages.get(f"{API}/openapi.json")
    @public
    def openapi() -> Response:
        return _json(describe(issuer))

    @pages.get("/.well-known/oauth-authorization-server")
    @public
    def well_known() -> Response:
        return _json(metadata(issuer))

    return pages


def allow_form_target(url: str) -> None:
    """Let the form of this page lead to another site, which browsers ask the content policy about."""
    parts = urlsplit(url)
    g.form_target = f"{parts.scheme}://{parts.netloc}"


def _describe(kept: KeptGrant, content: Content) -> dict[str, object]:
    return {
        "scope": kept.scope,
        "username": kept.username,
        "subject": _subject(content),
        "ends": f"{time_of(content.ends):%Y-%m-%dT%H:%M:%SZ}",
    }


def _subject(content: Content) -> str:
    return identify(parse_credential(content.proxy.encode("ascii"), source="the grant")).subject


def _lifetime(text: str, most: timedelta) -> timedelta:
    """Return how long a proxy is to be; seconds, as MyProxy's."""
    if not text:
        return most
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise _OAuthError("invalid_request", "certlifetime: not a number of seconds")
    return max(_MIN_LIFETIME, min(timedelta(seconds=int(text)), most))


def _read_request(text: str) -> bytes:
    """Return the certificate request of a form: PEM, or its base64 alone.

    Raises:
        ParseError: It is neither.
    """
    if len(text) > 2 * MAX_REQUEST_BYTES:
        raise ParseError("certreq: too long", what="certreq")
    lines = [line for line in text.split() if line]
    joined = "".join(lines)
    found = re.fullmatch(
        r"-----BEGIN(?:NEW)?CERTIFICATEREQUEST-----(.*)-----END(?:NEW)?CERTIFICATEREQUEST-----", joined
    )
    try:
        return base64.b64decode(found[1] if found else joined, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ParseError("certreq: neither PEM nor base64", what="certreq") from error


def _json(content: dict[str, object], status: int = 200) -> Response:
    return Response(json.dumps(content) + "\n", status, mimetype="application/json")
