"""ASGI middleware: every request and WebSocket is asked about before the application sees it; judges nothing itself.

    application = AuthorizationMiddleware(application, open_gate("web"), front_end=None)

The application finds `scope["gsi"]`: a dictionary with `subject`, `decision` and `decision_id`. Certificates come from
the front end's headers or from the `tls` extension of the server (peer.py). A WebSocket is a `GET` of its path, judged
once; one that should end when the permit does has to look at `decision.not_after`. `lifespan` passes; a type of
connection that is not known does not.

The server must not take clients' addresses from their headers (`uvicorn --no-proxy-headers`); see peer.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gsi.authz.web.mapping import path_of_scope
from gsi.authz.web.peer import Presented, address_of_scope, presented_in_scope, strip_scope
from gsi.errors import ConfigError, LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from gsi.authz.web.gate import Gate, Outcome
    from gsi.authz.web.peer import FrontEnd

__all__ = ["AuthorizationMiddleware"]

Message: TypeAlias = "MutableMapping[str, Any]"  # as ASGI defines it
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
Application: TypeAlias = "Callable[[Message, Receive, Send], Awaitable[None]]"

_POLICY_VIOLATION: Final = 1008
"""The code with which a WebSocket is closed (RFC 6455 section 7.4.1); before it was accepted the client sees a 403."""


class AuthorizationMiddleware:
    """Stands in front of an ASGI application.

    Args:
        application: What is protected.
        gate: Who judges.
        front_end: The server that ends TLS before this one, or None where this one does.

    Raises:
        ConfigError: The front end would be known by its address alone, which ASGI servers take from headers.
    """

    def __init__(self, application: Application, gate: Gate, *, front_end: FrontEnd | None = None) -> None:
        if front_end is not None and front_end.addresses and front_end.secret is None:
            raise ConfigError(
                "front end: an ASGI server may take addresses from what clients say, so one alone proves nothing",
                hint="a secret beside addresses, or unix_socket alone",
            )
        self._application = application
        self._gate = gate
        self._front_end = front_end

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection.

        Raises:
            LocalProtocolError: It is of a type that is not known here.
        """
        kind = scope.get("type")
        if kind == "lifespan":
            await self._application(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            raise LocalProtocolError(f"a connection of the type {kind!r} cannot be authorized")
        outcome = await self._judge(scope, "GET" if kind == "websocket" else scope.get("method"))
        if outcome.is_permit:
            told = {"subject": outcome.subject, "decision": outcome.decision, "decision_id": outcome.decision_id}
            await self._application({**strip_scope(scope, self._front_end), "gsi": told}, receive, send)
        elif kind == "http":
            await _refuse(outcome, scope, send)
        else:
            await _refuse_websocket(outcome, scope, receive, send)

    async def _judge(self, scope: Message, method: object) -> Outcome:
        try:
            presented: Presented = presented_in_scope(scope, self._front_end)
            path = path_of_scope(scope)
        except Exception as error:  # noqa: BLE001  whatever it is, nobody gets in
            address = _address(scope)
            return await self._gate.refusal_async(error, method=method, path=scope.get("path"), address=address)
        return await self._gate.judge_async(method if isinstance(method, str) else "", path, presented)


def _address(scope: Message) -> str:
    """Return the address for the record of a request that may be no request at all."""
    try:
        return address_of_scope(scope)
    except Exception:  # noqa: BLE001  headers that are none
        return ""


def _headers(outcome: Outcome) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in outcome.headers]


async def _refuse(outcome: Outcome, scope: Message, send: Send, prefix: str = "http") -> None:
    await send({"type": f"{prefix}.response.start", "status": outcome.status, "headers": _headers(outcome)})
    body = b"" if scope.get("method") == "HEAD" else outcome.body
    await send({"type": f"{prefix}.response.body", "body": body})


async def _refuse_websocket(outcome: Outcome, scope: Message, receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect, which comes before anything may be answered
    extensions = scope.get("extensions")
    if isinstance(extensions, dict) and "websocket.http.response" in extensions:
        await _refuse(outcome, scope, send, "websocket.http")
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": outcome.decision_id})
