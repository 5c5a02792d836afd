"""The delegation service over HTTP: what FTS3's REST interface calls delegation, and proxies for services.

| address | who | what |
|---|---|---|
| `GET /whoami` | the user | who that is, and the identifier of the delegation |
| `GET /delegation/ID` | the user | until when there is one, or `null` |
| `GET /delegation/ID/request` | the user | a certificate request, PEM |
| `PUT /delegation/ID/credential` | the user | the signed proxy with its chain, PEM |
| `DELETE /delegation/ID` | the user | removes it |
| `POST /delegation/ID/proxy` | a service | a certificate request becomes a proxy below the user's, PEM |
| `GET /health` | anybody | whether its parts work |
| `GET /openapi.json` | anybody | all of this, for programs |

Everybody shows a certificate or proxy in the handshake; it is judged by `gsi.trust` at every request. Errors are JSON
with `status` and `message`, which is what FTS3's clients show.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import secrets
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException

from gsi._version import __version__
from gsi.authz.web.peer import presented_in_environ
from gsi.certificate import load_certificates
from gsi.delegation import MAX_BLOCK_BYTES
from gsi.errors import (
    AuthenticationError,
    ConflictError,
    CredentialError,
    DeniedError,
    GridError,
    NotFoundError,
    ParseError,
    RemoteProtocolError,
    StorageError,
    VerificationError,
)
from gsi.pem import encode_pem
from gsi.system import clock
from gsi.system.audit import AuditRecord, Verdict
from gsi.system.metrics import CONTENT_TYPE
from gsi.transport.rates import RateCap
from myproxy.delegation.openapi import describe
from myproxy.delegation.service import Caller, read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from gsi.system.audit import AuditSink
    from myproxy.delegation.service import DelegationService

__all__ = ["create_app"]

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
}
_BROWSERS: Final = ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode")
_STATUSES: Final = (
    (AuthenticationError, 401),
    (DeniedError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (ParseError, 400),
    (CredentialError, 400),
    (VerificationError, 400),
    (RemoteProtocolError, 400),
)
PER_MINUTE: Final = 600
"""Requests of one identity to one worker: a service that fetches ten proxies a second is still served."""
_VERSION: Final = {"major": 1, "minor": 0, "patch": 0}
_log: Final = logging.getLogger("myproxy.delegation")


class _TooManyError(DeniedError):
    """One identity asks too often."""

    def __init__(self, wait: float) -> None:
        super().__init__("too many requests")
        self.wait = int(wait) + 1


class _Asked(NamedTuple):
    """One request."""

    id: str
    now: datetime
    caller: Caller
    address: str


class _App:
    """The views."""

    def __init__(
        self, service: DelegationService, audit: AuditSink, now: Callable[[], datetime], rates: RateCap
    ) -> None:
        self._service = service
        self._audit = audit
        self._now = now
        self._rates = rates

    def _note(
        self, asked: _Asked, action: str, verdict: Verdict, reason: str = "", **details: str | int | None
    ) -> None:
        self._audit.record(
            AuditRecord(
                time=asked.now,
                request_id=asked.id,
                service="myproxy-delegation",
                action=action,
                verdict=verdict,
                reason=reason,
                peer=asked.caller.owner.identity,
                address=asked.address,
                details=details,
            )
        )

    def _meet(self) -> _Asked:
        """Return who asks.

        Raises:
            GridError: It is not known.
        """
        if any(name in request.headers for name in _BROWSERS):
            raise DeniedError("not for browsers")
        presented = presented_in_environ(request.environ, None)
        if not presented.chain:
            raise AuthenticationError("a certificate or proxy is needed", hint="make a proxy with grid-proxy-init")
        now = self._now()
        try:
            caller = self._service.meet(presented.chain, now=now)
        except VerificationError as error:
            self._hold(f"address {presented.address}")
            raise AuthenticationError(error.message) from error
        self._hold(caller.owner.identity)
        return _Asked(secrets.token_hex(8), now, caller, presented.address)

    def _hold(self, who: str) -> None:
        wait = self._rates.admit(who, time.monotonic())
        if wait:
            raise _TooManyError(wait)

    def _mine(self, delegation_id: str) -> _Asked:
        """Return who asks, whose delegation it has to be."""
        asked = self._meet()
        if delegation_id != asked.caller.owner.id:
            raise DeniedError("the delegation is not of the certificate that was shown")
        return asked

    def whoami(self) -> Response:
        """Tell the caller who it is, in FTS3's words."""
        owner = self._meet().caller.owner
        vos = sorted({text.split("/")[1] for text in owner.fqans})
        return _json(
            {
                "user_dn": owner.identity,
                "dn": [owner.identity],
                "delegation_id": owner.id,
                "voms_cred": list(owner.fqans),
                "vos": vos,
                "method": "certificate",
                "roles": [],
                "level": {},
                "is_root": False,
            }
        )

    def look(self, delegation_id: str) -> Response:
        """Tell until when there is a delegation."""
        asked = self._mine(delegation_id)
        kept = self._service.look(asked.caller, now=asked.now)
        if kept is None:
            return _json(None)
        ends = f"{kept.ends:%Y-%m-%dT%H:%M:%S}"
        return _json({"termination_time": ends, "voms_attrs": list(kept.owner.fqans)})

    def ask(self, delegation_id: str) -> Response:
        """Give a certificate request."""
        asked = self._mine(delegation_id)
        der = self._service.ask(asked.caller, now=asked.now)
        return Response(
            encode_pem("CERTIFICATE REQUEST", der), mimetype="text/plain", headers={"X-Delegation-ID": delegation_id}
        )

    def take(self, delegation_id: str) -> Response:
        """Take the signed proxy."""
        asked = self._mine(delegation_id)
        try:
            found = load_certificates(_read(), what="the proxy")
            proxy, ends = self._service.check(asked.caller, [one.der for one in found], now=asked.now)
        except GridError as error:
            self._note(asked, "DELEGATE", Verdict.DENY, error.message, delegation=delegation_id)
            raise
        self._note(asked, "DELEGATE", Verdict.PERMIT, delegation=delegation_id, until=f"{ends:%Y-%m-%dT%H:%M:%SZ}")
        self._service.keep(asked.caller, proxy, ends)
        return Response(status=201)

    def remove(self, delegation_id: str) -> Response:
        """Remove a delegation."""
        asked = self._mine(delegation_id)
        self._note(asked, "REMOVE", Verdict.PERMIT, delegation=delegation_id)
        if not self._service.remove(asked.caller):
            raise NotFoundError("there is no such delegation")
        return Response(status=204)

    def give(self, delegation_id: str) -> Response:
        """Give a service a proxy for its own key."""
        asked = self._meet()
        try:
            wanted = read_request(_read())
            owner, chain = self._service.give(asked.caller, delegation_id, wanted, _lifetime(), now=asked.now)
        except GridError as error:
            self._note(asked, "FETCH", Verdict.DENY, error.message, delegation=delegation_id)
            raise
        until = f"{chain[0].not_after:%Y-%m-%dT%H:%M:%SZ}"
        self._note(asked, "FETCH", Verdict.PERMIT, delegation=delegation_id, owner=owner.identity, until=until)
        self._service.note_fetch(delegation_id, now=asked.now)
        return Response(b"".join(one.pem() for one in chain), mimetype="application/x-pem-file")


def create_app(
    service: DelegationService,
    audit: AuditSink,
    *,
    now: Callable[[], datetime] = clock.now,
    rates: RateCap | None = None,
    metrics: Callable[[], bytes] | None = None,
    standing: Callable[[], tuple[str, int]] = lambda: ("ok\n", 200),
) -> Flask:
    """Return the application.

    Args:
        service: Decides.
        audit: Who did what.
        now: The clock.
        rates: How often one identity may ask; None for `PER_MINUTE`.
        metrics: Tells monitors; None where they are not to be told.
        standing: Returns the health page and its status.
    """
    app = Flask("myproxy.delegation", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BLOCK_BYTES
    views = _App(service, audit, now, rates or RateCap(PER_MINUTE))
    one = "/delegation/<delegation_id>"
    for rule, method, name in (
        ("/whoami", "GET", "whoami"),
        (one, "GET", "look"),
        (one, "DELETE", "remove"),
        (f"{one}/request", "GET", "ask"),
        (f"{one}/credential", "PUT", "take"),
        (f"{one}/credential", "POST", "take"),
        (f"{one}/proxy", "POST", "give"),
    ):
        app.add_url_rule(rule, f"{name} {method}", getattr(views, name), methods=[method])

    @app.get("/")
    def about() -> Response:
        return _json(
            {"delegation": _VERSION, "api": _VERSION, "schema": _VERSION, "software": f"gsi-toolkit {__version__}"}
        )

    @app.get("/openapi.json")
    def openapi() -> Response:
        return _json(describe())

    @app.get("/health")
    def health() -> Response:
        return Response(*standing(), mimetype="text/plain")

    if metrics is not None:

        @app.get("/metrics")
        def tell_numbers() -> Response:
            if not _is_here():
                abort(404)
            return Response(metrics(), content_type=CONTENT_TYPE)

    @app.errorhandler(_TooManyError)
    def hold(error: _TooManyError) -> Response:
        response = _error(429, error.message)
        response.headers["Retry-After"] = str(error.wait)
        return response

    @app.errorhandler(GridError)
    def refuse(error: GridError) -> Response:
        status = next((code for kind, code in _STATUSES if isinstance(error, kind)), 500)
        if isinstance(error, StorageError) and status == 500:
            status = 503
        if status >= 500:
            number = secrets.token_hex(8)
            _log.error("%s: %s: %s", number, error.slug, error)
            return _error(status, f"not possible at the moment; the log has more under {number}")
        return _error(status, f"{error.message} ({error.hint})" if error.hint else error.message)

    @app.errorhandler(HTTPException)
    def fail(error: HTTPException) -> Response:
        return _error(error.code or 500, str(error.name))

    @app.after_request
    def finish(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers[name] = value
        return response

    app.wsgi_app = _single_slashes(app.wsgi_app)  # type: ignore[assignment, method-assign]  # Flask's own way to wrap it
    return app


def _single_slashes(application: WSGIApplication) -> WSGIApplication:
    """Take `//whoami` for `/whoami`, which FTS3's client asks for; a redirection would not be followed with a body."""

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["PATH_INFO"] = re.sub("//+", "/", environ.get("PATH_INFO", ""))
        return application(environ, start_response)

    return call


def _is_here() -> bool:
    """Say whether the request comes from this machine: nobody is asked who reads the numbers."""
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def _read() -> bytes:
    return request.get_data(cache=False, parse_form_data=False)


def _lifetime() -> timedelta | None:
    text = request.args.get("lifetime", "")
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,9}", text, re.ASCII) or int(text) < 1:
        raise ParseError("lifetime: not a number of seconds", what="lifetime")
    return timedelta(seconds=int(text))


def _json(content: object, status: int = 200) -> Response:
    return Response(json.dumps(content) + "\n", status, mimetype="application/json")


def _error(status: int, message: str) -> Response:
    from http import HTTPStatus

    return _json({"status": f"{status} {HTTPStatus(status).phrase}", "message": message}, status)
