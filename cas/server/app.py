"""The server over HTTPS: JSON in, JSON out, for whoever shows a certificate or proxy; `cas.server.gunicorn` serves it.

    application = create_app(community, rates=RateCap(600))

The client's chain is that of its TLS connection, judged by `gsi.trust` at every request. A proxy that is an identity of
its own gets nothing; a limited one gets what the policy says of limited ones, and changes nothing. The site's policy is
asked first, the community's then. `cas.server.operations` and `tokens` are what can be asked.

Errors are JSON: `error` (a stable word), `message`, sometimes `hint`, and `request_id`, under which log and audit have
more. What browsers send is refused, since a page elsewhere could have them ask with the user's certificate.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from cas.assertion.jwks import KEY_SET_SECONDS, discovery_document, key_set, well_known_paths
from cas.assertion.revocations import RevocationList, sign_revocations
from cas.server import tokens
from cas.server.openapi import document
from cas.server.operation import Asked
from cas.server.operations import OPERATIONS
from gsi.authz.web.peer import presented_in_environ
from gsi.errors import (
    AuthenticationError,
    CapabilityError,
    ConflictError,
    DeniedError,
    GridError,
    IssuanceError,
    IssuanceStep,
    NotFoundError,
    ParseError,
    StorageError,
    TransportError,
    VerificationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cas.server.operation import Operation
    from cas.wiring.service import OpenedCommunity
    from gsi.transport.rates import RateCap

__all__ = ["LIST_SECONDS", "create_app"]

LIST_SECONDS: Final = 600
"""How long a list of withdrawn capabilities proves something: so late a withdrawal may arrive."""

LIST_PAUSE_SECONDS: Final = 1.0
"""How long one signed list is given to all who ask for it."""

RETRY_SECONDS: Final = 5
_HEALTH: Final = "/health"
_BROWSERS: Final = ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Pragma": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
}
_STATUSES: Final = (
    (tokens.TokenRefusalError, 400),
    (VerificationError, 401),
    (AuthenticationError, 401),
    (DeniedError, 403),
    (CapabilityError, 403),
    (ParseError, 400),
    (NotFoundError, 404),
    (ConflictError, 409),
)
_log: Final = logging.getLogger("cas.http")


class _TooManyError(DeniedError):
    """One identity asks too often."""

    def __init__(self, wait: float) -> None:
        super().__init__("too many requests")
        self.wait = int(wait) + 1


class _TooLongError(ParseError):
    """A body beyond the limit, though nothing said so in advance."""


class _App:
    """The views."""

    def __init__(self, community: OpenedCommunity, rates: RateCap, count: Callable[[str], None], limit: int) -> None:
        self._community = community
        self._rates = rates
        self._count = count
        self._limit = limit
        self._list: tuple[float, str] | None = None

    # --- who asks -----------------------------------------------------------------------------------------------------

    def _admit(self, request_id: str, site_action: str, on: str) -> Asked:
        """Return who asks, if the site lets them.

        Raises:
            GridError: It does not, or it is not known who they are.
        """
        if any(name in request.headers for name in _BROWSERS):
            raise DeniedError("not for browsers")
        presented = presented_in_environ(request.environ, None)
        if not presented.chain:
            self._hold(f"address {presented.address}")
            raise AuthenticationError("a certificate is needed", hint="make a proxy with grid-proxy-init")
        try:
            peer = self._community.verify(presented.chain)
        except VerificationError:
            self._hold(f"address {presented.address}")
            raise
        self._hold(peer.identity)
        try:
            caller = self._community.caller(peer, address=presented.address, request_id=request_id)
            self._community.gate.require(peer, site_action, on, address=presented.address, request_id=request_id)
        except DeniedError as error:
            self._community.note_refusal(
                site_action, error, peer=peer.identity, address=presented.address, request_id=request_id
            )
            raise
        return Asked(self._community, caller, peer, {}, self._count)

    def _hold(self, who: str) -> None:
        wait = self._rates.admit(who, time.monotonic())
        if wait:
            raise _TooManyError(wait)

    def _read(self) -> bytes:
        body = request.get_data(cache=False, parse_form_data=False)
        if len(body) >= self._limit and request.content_length is None:
            raise _TooLongError("the request is too long", what="request")
        return body

    def _read_json(self) -> dict[str, object]:
        data = self._read()
        if not data:
            return {}
        if request.mimetype != "application/json":
            raise ParseError("the body is to be application/json", what="request")
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ParseError("the body is no JSON", what="request") from error
        if not isinstance(found, dict):
            raise ParseError("the body is no JSON object", what="request")
        if b"\\u" in data:
            _check_texts(found)
        return found

    # --- views --------------------------------------------------------------------------------------------------------

    def operation(self, one: Operation) -> Response:
        """Carry out an operation."""
        request_id = secrets.token_hex(8)
        try:
            body = self._read_json() if one.method == "POST" else {}
            on = str(body.get("form") or "saml1")[:40] if one.site_action == "ISSUE" else one.path.rpartition("/")[2]
            asked = self._admit(request_id, one.site_action, on)
            one.check(body)
            answer = one.run(Asked(asked.community, asked.caller, asked.peer, body, asked.count))
        except GridError as error:
            return self.refuse(error, request_id)
        response = _json({**answer, "request_id": request_id})
        response.headers["X-Request-Id"] = request_id
        return response

    def token(self) -> Response:
        """Answer the OAuth endpoint."""
        request_id = secrets.token_hex(8)
        try:
            if request.mimetype != "application/x-www-form-urlencoded":
                raise tokens.TokenRefusalError("invalid_request", "the body is to be a form")
            form = _read_form(self._read())
            asked = self._admit(request_id, "ISSUE", "jwt")
            made = self._exchange(asked, form)
        except tokens.TokenRefusalError as error:
            _log.info("%s: %s: %s", request_id, error.code, error)
            return _json({"error": error.code, "error_description": error.message, "request_id": request_id}, 400)
        except (VerificationError, AuthenticationError) as error:
            return _json({"error": "invalid_client", "error_description": error.message}, 401)
        except GridError as error:
            refused = self.refuse(error, request_id)
            if refused.status_code == 403:
                return _json(
                    {"error": "access_denied", "error_description": error.message, "request_id": request_id}, 400
                )
            return refused
        seconds = _left(str(made["expires"]), self._community)
        return _json(
            {
                "access_token": made["access_token"],
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": seconds,
                "scope": made["scope"],
            }
        )

    def _exchange(self, asked: Asked, form: dict[str, list[str]]) -> dict[str, object]:
        """Return what `tokens.exchange` does; its own refusals are in the audit, as the service's are by themselves."""
        try:
            return tokens.exchange(asked, form)
        except tokens.TokenRefusalError as error:
            caller = asked.caller
            self._community.note_refusal(
                "exchange", error, peer=caller.identity, address=caller.address, request_id=caller.request_id
            )
            raise

    def withdrawn(self) -> Response:
        """Tell which capabilities are withdrawn; signed anew when a second has gone by, since everybody may ask."""
        moment = time.monotonic()
        signed = self._list
        if signed is None or not 0 <= moment - signed[0] < LIST_PAUSE_SECONDS:
            try:
                signed = (moment, self._sign_list())
            except GridError as error:
                return self.refuse(error, secrets.token_hex(8))
            self._list = signed
        return Response(signed[1] + "\n", mimetype="application/jwt", headers={"Cache-Control": "max-age=60"})

    def _sign_list(self) -> str:
        community = self._community
        now = community.now()
        until = now + timedelta(seconds=LIST_SECONDS)
        listed = RevocationList(community.forms.issuer, now, until, community.withdrawn.read(now=now))
        return sign_revocations(listed, community.forms.list_key(now))

    def jwks(self) -> Response:
        """Publish the keys."""
        body = key_set(self._community.forms.published(self._community.now()))
        headers = {"Cache-Control": f"public, max-age={KEY_SET_SECONDS}"}
        return Response(body, mimetype="application/jwk-set+json", headers=headers)

    def refuse(self, error: GridError, request_id: str) -> Response:
        """Answer an error: what the client may know of it to them, all of it to the log."""
        status, headers = 500, {"X-Request-Id": request_id}
        if isinstance(error, _TooManyError):
            status, headers["Retry-After"] = 429, str(error.wait)
        elif isinstance(error, _TooLongError):
            status = 413
        elif isinstance(error, IssuanceError):
            status = 400 if error.step is IssuanceStep.GRANT else 500
        else:
            status = next((number for kind, number in _STATUSES if isinstance(error, kind)), 500)
            if status == 500 and isinstance(error, StorageError | TransportError):
                status, headers["Retry-After"] = 503, str(RETRY_SECONDS)
        if status >= 500:
            _log.error("%s: %s: %s", request_id, error.slug, error)
            message, hint = ("not now; try again" if status == 503 else "internal server error"), None
        else:
            _log.info("%s: %s: %s", request_id, error.slug, error)
            message, hint = error.message, error.hint
        body: dict[str, object] = {"error": error.slug, "message": message, "request_id": request_id}
        if hint:
            body["hint"] = hint
        return _json(body, status, headers)


def create_app(
    community: OpenedCommunity,
    *,
    rates: RateCap,
    count: Callable[[str], None] = lambda _form: None,
    answered: Callable[[int], None] = lambda _status: None,
    standing: Callable[[], tuple[str, int]] = lambda: ("ok\n", 200),
) -> Flask:
    """Return the application.

    Args:
        community: The service.
        rates: Who asks too often.
        count: Told the form of each capability that was signed.
        answered: Told the status of each answer, but those about health.
        standing: Returns the health page and its status.

    Raises:
        ConfigError: The issuer of tokens cannot be published.
    """
    limit = community.config.http.max_request_bytes
    app = Flask("cas", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = limit
    views = _App(community, rates, count, limit)
    issuer = "" if community.config.tokens is None else community.config.tokens.issuer
    discovery = well_known_paths(issuer) if issuer else ()
    described = json.dumps(document(OPERATIONS, discovery), indent=1).encode("utf-8") + b"\n"

    @app.after_request
    def finish(response: Response) -> Response:
        for name, value in _HEADERS.items():
            if name not in {"Cache-Control", "Pragma"} or "Cache-Control" not in response.headers:
                response.headers[name] = value
        if request.path != _HEALTH:  # a balancer's questions are nobody's requests
            answered(response.status_code)
        return response

    @app.errorhandler(Exception)
    def fail(error: Exception) -> Response:
        request_id = secrets.token_hex(8)
        if isinstance(error, HTTPException):
            word = (error.name or "error").lower().replace(" ", "-")
            return _json({"error": word, "message": error.name, "request_id": request_id}, error.code or 500)
        _log.error("%s: internal error", request_id, exc_info=error)
        return _json({"error": "error", "message": "internal server error", "request_id": request_id}, 500)

    def add(path: str, method: str, view: Callable[[], Response]) -> None:
        app.add_url_rule(path, f"{method} {path}", view, methods=[method], provide_automatic_options=False)

    for operation in OPERATIONS:
        add(operation.path, operation.method, lambda one=operation: views.operation(one))  # type: ignore[misc]  # a default binds it
    add("/oauth2/token", "POST", views.token)
    add("/openapi.json", "GET", lambda: Response(described, mimetype="application/json"))
    add(_HEALTH, "GET", lambda: Response(*standing(), mimetype="text/plain"))
    add("/cas/v1/withdrawn", "GET", views.withdrawn)
    add("/jwks", "GET", views.jwks)
    if issuer:
        base = issuer.rstrip("/")
        found = discovery_document(issuer, jwks_uri=f"{base}/jwks", token_endpoint=f"{base}/oauth2/token")
        prefix = discovery[0].removesuffix("/.well-known/openid-configuration")
        for path in dict.fromkeys(discovery):
            add(
                path,
                "GET",
                lambda: Response(found, mimetype="application/json", headers={"Cache-Control": "max-age=3600"}),
            )
        if prefix:
            add(f"{prefix}/jwks", "GET", views.jwks)
            add(f"{prefix}/oauth2/token", "POST", views.token)
    return app


def _check_texts(value: object) -> None:
    """Refuse what JSON can escape though it is no text (half of a surrogate pair), and NUL, which no store takes.

    Raises:
        ParseError: Such a thing is in it.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and ("\0" in one or any("\ud800" <= char <= "\udfff" for char in one)):
            raise ParseError("the body holds what is no Unicode text", what="request")


def _json(value: dict[str, object], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(value) + "\n", status, headers, mimetype="application/json")


def _read_form(data: bytes) -> dict[str, list[str]]:
    from urllib.parse import parse_qs

    try:
        return parse_qs(data.decode("ascii"), strict_parsing=True, max_num_fields=256, errors="strict")
    except (ValueError, UnicodeError) as error:
        raise tokens.TokenRefusalError("invalid_request", "the form cannot be read") from error


def _left(expires: str, community: OpenedCommunity) -> int:
    return max(0, int((datetime.fromisoformat(expires) - community.now()).total_seconds()))
