"""WSGI middleware: every request is asked about before the application sees it; judges nothing itself.

    application = AuthorizationMiddleware(application, open_gate("web"), front_end=None)

What the application finds in its environment:

| key | value |
|---|---|
| `gsi.subject` | who asks, a `gsi.authz.decision.Subject` |
| `gsi.decision` | the permit, a `Decision` with its obligations |
| `gsi.decision_id` | its id, for logs |
| `REMOTE_USER` | the account that the permit names, else the identity; absent for an anonymous client |

Where certificates come from, and what is taken away from requests, is `peer.py`'s subject. The middleware has to be the
outermost: one around it that rewrites `REMOTE_ADDR` or the path would decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.authz.web.mapping import path_of_environ
from gsi.authz.web.peer import Presented, presented_in_environ, strip_environ

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from gsi.authz.web.gate import Gate, Outcome
    from gsi.authz.web.peer import FrontEnd

__all__ = ["REASONS", "AuthorizationMiddleware", "judge_environ", "refuse"]

REASONS: Final = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden"}
"""The statuses that a refusal or a permit may have, with their phrases."""


class AuthorizationMiddleware:
    """Stands in front of a WSGI application.

    Args:
        application: What is protected.
        gate: Who judges.
        front_end: The server that ends TLS before this one, or None where this one does.
    """

    def __init__(self, application: WSGIApplication, gate: Gate, *, front_end: FrontEnd | None = None) -> None:
        self._application = application
        self._gate = gate
        self._front_end = front_end

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        outcome = judge_environ(environ, self._gate, self._front_end)
        if not outcome.is_permit:
            return refuse(outcome, environ, start_response)
        return self._application(environ, start_response)


def judge_environ(environ: WSGIEnvironment, gate: Gate, front_end: FrontEnd | None) -> Outcome:
    """Judge a request, and leave in its environment what the application may know of it."""
    method = environ.get("REQUEST_METHOD")
    try:
        presented: Presented | Exception = presented_in_environ(environ, front_end)
        path = path_of_environ(environ)
    except Exception as error:  # noqa: BLE001  whatever it is, nobody gets in
        presented, path = error, ""
    strip_environ(environ, front_end)
    for key in ("REMOTE_USER", "gsi.subject", "gsi.decision", "gsi.decision_id"):
        environ.pop(key, None)
    if isinstance(presented, Exception):
        told, address = environ.get("PATH_INFO"), environ.get("REMOTE_ADDR")
        return gate.refusal(presented, method=method, path=told, address=address)
    outcome = gate.judge(method if isinstance(method, str) else "", path, presented)
    if outcome.is_permit:
        environ["gsi.subject"] = outcome.subject
        environ["gsi.decision"] = outcome.decision
        environ["gsi.decision_id"] = outcome.decision_id
        user = outcome.account or outcome.subject.identity
        if user:
            environ["REMOTE_USER"] = user
    return outcome


def refuse(outcome: Outcome, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a refused request."""
    start_response(f"{outcome.status} {REASONS[outcome.status]}", outcome.headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [outcome.body]
