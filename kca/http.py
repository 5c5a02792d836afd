"""The form over HTTP: a PKCS#10 and a Negotiate token in, a certificate chain out; `kca.gunicorn` serves it.

    application = create_app(service, negotiator, settings, binding=certificate.binding)

| request | answer |
|---|---|
| `POST /kca/v1/certificate`, a PKCS#10 in PEM or DER as body, `?lifetime=SECONDS` | 200, the chain in PEM, leaf first |
| the same with `Accept: application/json` | 200, `{"certificate", "chain", "subject", "not_after"}` |
| `GET /get-cert?csr=BASE64` (or `/bx509`), the request of Heimdal's bx509d, `lifetime` as there | the same |
| `GET /health` | whether its parts work: 200, or 503 |
| `GET /metrics`, where the settings say so | 200, numbers for monitors |
| `GET /openapi.json` | 200, all of this for programs |

The first three need `Authorization: Negotiate TOKEN`; without it the answer is 401 and says so. The token's
ticket goes through the same service as a datagram. Refusals are 401 (proves nothing), 400 (the request), 403 (rules,
limits, policy), 429 (rate), 503 (try again), 500, each with a line or two of text. What browsers send is refused, since
a page elsewhere could have them ask with the user's ticket.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import json
import logging
import re
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NoReturn

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from gsi.ca.request import load_request
from gsi.errors import (
    AuthenticationError,
    CredentialError,
    CredentialProblem,
    DeniedError,
    GridError,
    ParseError,
    StorageError,
    TransportError,
    VerificationError,
)
from gsi.kerberos.negotiate import MAX_TOKEN_BYTES
from gsi.names import oneline
from gsi.system import clock
from kca.metrics import CONTENT_TYPE
from kca.openapi import describe
from kca.service import TooManyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from gsi.ca.issuer import Issued
    from gsi.ca.request import CertificateRequest
    from gsi.kerberos.negotiate import Negotiated, Negotiator
    from kca.config import HTTPSettings
    from kca.service import CertificateService

__all__ = ["PATH", "create_app"]

PATH: Final = "/kca/v1/certificate"
TRANSPORT: Final = "http"
MAX_QUERY_BYTES: Final = 8 << 10
"""The longest query: a request for a 4096-bit RSA key takes 2.3 kB in base64; gunicorn reads 8190 bytes at most."""

UNPROVEN_RECORDS_PER_SECOND: Final = 20
"""Tokens that prove nothing which a worker writes into the audit in a second: each costs a write to the disk, which
anybody on the net could cause."""

RETRY_SECONDS: Final = 5
"""When to come again after trouble on this side."""

_PEM: Final = "application/pem-certificate-chain"  # RFC 8555 section 9.1
_SCHEME: Final = "Negotiate"
_DURATION: Final = re.compile(r"(\d{1,9})([smhd]?)\Z", re.ASCII)
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_WISHES: Final = frozenset({"dNSName", "rfc822Name", "krb5PrincipalName", "ms-upn", "xMPPName", "registeredID", "eku"})
"""What bx509d can be asked to put in."""
_BROWSERS: Final = ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Pragma": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
}
_WEAK: Final = frozenset({CredentialProblem.WEAK_KEY, CredentialProblem.UNSUPPORTED_KEY})
_log: Final = logging.getLogger("kca.http")


class _AnsweredError(Exception):
    """An answer that is no certificate."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.response = Response(f"{text}\n", status, dict(headers or {}), mimetype="text/plain")


class _Drops:
    """So many a second, and a line in the log about those beyond. Safe for several threads."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._second = 0
        self._count = 0

    def admit(self) -> bool:
        """Say whether this one is within the rate."""
        second = int(time.monotonic())
        with self._lock:
            over = self._count - self._rate if second != self._second else 0
            if second != self._second:
                self._second, self._count = second, 0
            self._count += 1
            admitted = self._count <= self._rate
        if over > 0:
            _log.warning("%d tokens that prove nothing were refused without a record", over)
        return admitted


class _Form:
    """One request's way through the service."""

    def __init__(
        self,
        service: CertificateService,
        negotiator: Negotiator,
        settings: HTTPSettings,
        binding: Callable[[], bytes | None],
        now: Callable[[], datetime],
    ) -> None:
        self._service = service
        self._negotiator = negotiator
        self._settings = settings
        self._binding = binding
        self._now = now
        self._unproven = _Drops(UNPROVEN_RECORDS_PER_SECOND)

    def answer(self, read: Callable[[], bytes]) -> Response:
        """Return the certificate, or why there is none."""
        try:
            return self._answer(read)
        except _AnsweredError as error:
            return error.response

    def _answer(self, read: Callable[[], bytes]) -> Response:
        _refuse_browsers()
        peer = self._peer()
        token = _read_token()
        met = self._authenticate(token, peer)
        headers = {"WWW-Authenticate": f"{_SCHEME} {base64.b64encode(met.answer).decode()}"} if met.answer else {}
        try:
            issued = self._issue(met, read(), peer)
        except _AnsweredError as error:
            error.response.headers.extend(headers)
            raise
        response = _write(issued)
        response.headers.extend(headers)
        return response

    def _peer(self) -> str:
        """Return where the request comes from; the front end's word counts only where the settings say so.

        Raises:
            _AnsweredError: The front end says nothing that is an address.
        """
        import ipaddress

        name = self._settings.address_header
        if not name:
            return request.remote_addr or "local"
        values = request.headers.getlist(name)
        try:
            (value,) = values
            return str(ipaddress.ip_address(value.strip()))
        except ValueError as error:
            _log.error("the front end does not say in %s where requests come from", name)
            raise _AnsweredError(500, "the front end does not say where the request comes from") from error

    def _authenticate(self, token: bytes, peer: str) -> Negotiated:
        try:
            met = self._negotiator.accept(token, binding=self._binding())
            if self._settings.require_channel_binding and not met.bound:
                raise AuthenticationError("Negotiate: the ticket is not bound to the TLS connection")
        except AuthenticationError as error:
            if self._unproven.admit():
                self._note(error, peer, hashlib.sha256(token).digest(), None)
            raise _AnsweredError(401, error.message, {"WWW-Authenticate": _SCHEME}) from error
        except GridError as error:
            self._note(error, peer, hashlib.sha256(token).digest(), None)
            self._give_up(error)
        return met

    def _issue(self, met: Negotiated, body: bytes, peer: str) -> Issued:
        # The token alone is what the books keep unique: with another body it is somebody else's, at every node.
        try:
            wanted = _read_request(body)
            lifetime = _read_lifetime()
        except (ParseError, VerificationError, CredentialError) as error:
            self._note(error, peer, met.digest, met)
            raise _AnsweredError(400, _told(error)) from error
        try:
            return self._service.issue(
                met.ticket, wanted, peer=peer, transport=TRANSPORT, request_hash=met.digest, lifetime=lifetime
            )
        except TooManyError as error:
            wait = max(1, int((error.until - self._now()).total_seconds()) + 1)
            raise _AnsweredError(429, _told(error), {"Retry-After": str(wait)}) from error
        except DeniedError as error:
            raise _AnsweredError(403, _told(error)) from error
        except GridError as error:
            if isinstance(error, CredentialError) and error.problem in _WEAK:
                raise _AnsweredError(400, _told(error)) from error
            self._give_up(error)

    def _note(self, error: GridError, peer: str, digest: bytes, met: Negotiated | None) -> None:
        """Write a refusal down that the service does not hear of.

        Raises:
            _AnsweredError: It could not be.
        """
        try:
            self._service.refuse(
                error,
                peer=peer,
                transport=TRANSPORT,
                request_hash=digest,
                principal=None if met is None else met.ticket.client,
            )
        except GridError as trouble:
            self._give_up(trouble)

    def _give_up(self, error: GridError) -> NoReturn:
        """Say no more than that there is trouble on this side.

        Raises:
            _AnsweredError: Always.
        """
        _log.error("%s", error.message)
        if isinstance(error, StorageError | TransportError):
            raise _AnsweredError(503, "not now; try again", {"Retry-After": str(RETRY_SECONDS)}) from error
        raise _AnsweredError(500, "the authority cannot issue certificates now") from error


def create_app(
    service: CertificateService,
    negotiator: Negotiator,
    settings: HTTPSettings,
    *,
    binding: Callable[[], bytes | None] = lambda: None,
    standing: Callable[[], tuple[str, int]] = lambda: ("ok\n", 200),
    metrics: Callable[[], bytes] | None = None,
    now: Callable[[], datetime] = clock.now,
) -> Flask:
    """Return the application.

    Args:
        service: Issues.
        negotiator: Knows who comes.
        settings: The `[http]` table.
        binding: Returns the channel binding of its TLS connections; None where there is none to check.
        standing: Returns the health page and its status.
        metrics: Tells monitors; None where they are not to be told.
        now: The time.
    """
    app = Flask("kca", static_folder=None)
    # The framework cuts what says no length in advance silently, so it is let through to where that shows.
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes + 1
    form = _Form(service, negotiator, settings, binding, now)

    @app.after_request
    def finish(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers[name] = value
        return response

    @app.errorhandler(HTTPException)
    def fail(error: HTTPException) -> Response:
        allowed = [pair for pair in error.get_headers() if pair[0] == "Allow"]
        return Response(f"{error.name.lower()}\n", error.code, allowed, mimetype="text/plain")

    @app.post(PATH, provide_automatic_options=False)
    def certificate() -> Response:
        return form.answer(functools.partial(_read_body, settings.max_request_bytes))

    def heimdal() -> Response:
        return form.answer(_read_query)

    for rule in ("/get-cert", "/bx509"):
        app.add_url_rule(rule, rule, _only_get(heimdal), methods=["GET"], provide_automatic_options=False)

    @app.get("/openapi.json", provide_automatic_options=False)
    def openapi() -> Response:
        return Response(json.dumps(describe()) + "\n", mimetype="application/json")

    @app.get("/health", provide_automatic_options=False)
    def health() -> Response:
        return Response(*standing(), mimetype="text/plain")

    if metrics is not None:
        app.add_url_rule("/metrics", "metrics", lambda: Response(metrics(), content_type=CONTENT_TYPE), methods=["GET"])
    return app


def _only_get(view: Callable[[], Response]) -> Callable[[], Response]:
    """Refuse HEAD, which the framework would take for GET: a certificate that nobody reads is not to be issued."""

    def look() -> Response:
        return view() if request.method == "GET" else Response(status=405, headers={"Allow": "GET"})

    return look


def _refuse_browsers() -> None:
    """Refuse what a page may have made a browser send.

    Raises:
        _AnsweredError: It was.
    """
    if any(name in request.headers for name in _BROWSERS):
        raise _AnsweredError(403, "not for browsers")


def _read_token() -> bytes:
    """Return the client's token.

    Raises:
        _AnsweredError: There is none, or no such.
    """
    scheme, _, text = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != _SCHEME.lower() or not text.strip():
        raise _AnsweredError(401, "a Kerberos ticket is needed: Negotiate", {"WWW-Authenticate": _SCHEME})
    try:
        token = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _AnsweredError(400, "the Negotiate token is no base64") from error
    if len(token) > MAX_TOKEN_BYTES:
        raise _AnsweredError(400, "the Negotiate token is too long")
    return token


def _read_body(limit: int) -> bytes:
    """Return the body.

    Raises:
        _AnsweredError: It is longer than the limit.
    """
    body = request.get_data(cache=False)
    if len(body) > limit:
        raise _AnsweredError(413, "the request is too long")
    return body


def _read_query() -> bytes:
    """Return the request in the query, as bx509d takes it.

    Raises:
        _AnsweredError: There is none, or it asks for what is not the client's to choose.
    """
    if len(request.query_string) > MAX_QUERY_BYTES:
        raise _AnsweredError(414, "the query is too long")
    wishes = sorted(_WISHES.intersection(request.args))
    if wishes:
        raise _AnsweredError(403, f"{wishes[0]}: what a certificate holds is the authority's to say")
    values = request.args.getlist("csr")
    if len(values) != 1:
        raise _AnsweredError(400, "the query needs one csr=, a PKCS#10 in base64")
    try:
        # A plus sign that was not percent-encoded has become a blank.
        return base64.b64decode(values[0].replace(" ", "+").replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _AnsweredError(400, "csr is no base64") from error


def _read_request(body: bytes) -> CertificateRequest:
    if not body:
        raise ParseError("no certificate request in the body", what="certificate request")
    return load_request(body, what="the body")


def _read_lifetime() -> timedelta | None:
    """Return the lifetime that the query asks for.

    Raises:
        ParseError: It is none.
    """
    text = request.args.get("lifetime")
    if text is None:
        return None
    found = _DURATION.match(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds < 1 << 31:
        raise ParseError(f"{text[:40]!r} is no lifetime", what="lifetime", hint="seconds, or 30m, 12h, 1d")
    return timedelta(seconds=seconds)


def _write(issued: Issued) -> Response:
    chain = [certificate.pem().decode("ascii") for certificate in issued.chain]
    if request.accept_mimetypes.best_match([_PEM, "application/json"], default=_PEM) == _PEM:
        return Response("".join(chain), mimetype=_PEM)
    told = {
        "certificate": chain[0],
        "chain": chain[1:],
        "subject": oneline(issued.certificate.subject_der),
        "not_after": f"{issued.certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
    }
    return Response(json.dumps(told) + "\n", mimetype="application/json")


def _told(error: GridError) -> str:
    return f"{error.message}\nhint: {error.hint}" if error.hint else error.message
