"""A decorator for single views of Flask applications; the whole application is `wsgi.py`'s subject.

    gate = open_gate("web", understands=(Account,))

    @app.get("/reports/<name>")
    @authorized(gate)                                        # method and path as usual
    def report(name): ...

    @app.post("/jobs")
    @authorized(gate, action="submit", resource="/queues/long")
    def submit():
        g.gsi.account                                        # the `Outcome`

A refusal is the gate's whole answer, raised by `flask.abort`. The decorator has to stand below the route.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from flask import Response, abort, current_app, g, request

from gsi.authz.web.mapping import path_of_environ
from gsi.authz.web.peer import presented_in_environ

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.authz.web.gate import Gate, Outcome
    from gsi.authz.web.peer import FrontEnd

__all__ = ["authorized"]

P = ParamSpec("P")
T = TypeVar("T")


def authorized(
    gate: Gate,
    *,
    action: str | None = None,
    resource: str | Callable[..., str] | None = None,
    front_end: FrontEnd | None = None,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a view called only for requests that the engine permits.

    Args:
        gate: Who judges.
        action: The action in place of the method's: a word of the mapping's type of service, or `type:word`.
        resource: The resource in place of the path, or a function that makes it from the view's arguments.
        front_end: The server that ends TLS before this one, or None where this one does.
    """

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(view)
        def judged(*args: P.args, **kwargs: P.kwargs) -> T:
            name = resource(*args, **kwargs) if callable(resource) else resource
            outcome = _judge(gate, action, name, front_end)
            if not outcome.is_permit:
                abort(Response(outcome.body, outcome.status, outcome.headers))
            g.gsi = outcome
            answer: T = current_app.ensure_sync(view)(*args, **kwargs)
            return answer

        return judged

    return decorate


def _judge(gate: Gate, action: str | None, resource: str | None, front_end: FrontEnd | None) -> Outcome:
    environ = request.environ
    try:
        presented = presented_in_environ(environ, front_end)
        path = path_of_environ(environ)
    except Exception as error:  # noqa: BLE001  whatever it is, nobody gets in
        return gate.refusal(
            error, method=request.method, path=environ.get("PATH_INFO"), address=environ.get("REMOTE_ADDR")
        )
    return gate.judge(request.method, path, presented, action=action, resource=resource)
