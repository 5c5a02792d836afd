"""What `gsi-authz-http` tells programs about itself: its OpenAPI document; serves nothing.

describe(config.front_end)                            # plain values for JSON
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi._version import __version__
from gsi.authz.web.subrequest import METHOD_HEADER, TARGET_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gsi.authz.web.config import FrontEndSettings

__all__ = ["describe"]

_TEXT: Final = {"type": "string"}
_DECISION: Final = {
    "X-Authz-Decision": {"description": "The identifier of the decision.", "schema": _TEXT, "required": True},
    "X-Authz-Identity": {"description": "Who asks; ASCII.", "schema": _TEXT},
}
_REASON: Final = {"X-Authz-Reason": {"description": "Words for the client.", "schema": _TEXT, "required": True}}
_NO: Final = _DECISION | _REASON


def describe(front_end: FrontEndSettings) -> dict[str, object]:
    """Return the document (OpenAPI 3.1).

    Args:
        front_end: The names of the headers.
    """
    asked = {
        METHOD_HEADER: "The client's method. Required.",
        TARGET_HEADER: "The raw target, as the client sent it. Required.",
        front_end.certificate_header: "The client's certificate.",
        front_end.chain_header: "What stands above it (RFC 9440); or the same name with `-0`, `-1`, ...",
        front_end.address_header: "The client's address.",
    }
    headers = [
        {"name": name, "in": "header", "schema": _TEXT, "description": text} for name, text in asked.items() if name
    ]
    security: dict[str, object] = {}
    if front_end.secret_file:
        scheme = {"type": "apiKey", "in": "header", "name": front_end.secret_header}
        security = {"components": {"securitySchemes": {"front_end": scheme}}, "security": [{"front_end": []}]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "May this request be served?",
            "version": __version__,
            "description": "For front ends that ask before they serve (nginx `auth_request`).",
        },
        "paths": {
            "/": {
                "get": {
                    "summary": "Judge a request. Any method, and any path besides those below.",
                    "description": "No answer has a body. A header that is not named here refuses, unless "
                    "`only_own_headers` is off.",
                    "parameters": headers,
                    "responses": {
                        "200": {
                            "description": "Serve it.",
                            "headers": _DECISION
                            | {
                                "X-Authz-Account": {
                                    "description": "As whom, where the policy says it.",
                                    "schema": _TEXT,
                                }
                            },
                        },
                        "401": {
                            "description": "The client has shown no certificate, or one that proves nothing.",
                            "headers": _NO
                            | {"WWW-Authenticate": {"description": "A 401 has to have it.", "schema": _TEXT}},
                        },
                        "403": {"description": "The policy refuses, or the question is none.", "headers": _NO},
                    },
                }
            },
            "/health": _page("Whether the endpoint answers; a second line while an older configuration is in force."),
            "/metrics": _page("Numbers for monitors, in Prometheus's text format."),
            "/openapi.json": _page("This document.", "application/json", {"type": "object"}),
        },
        **security,
    }


def _page(summary: str, kind: str = "text/plain", schema: Mapping[str, object] = _TEXT) -> dict[str, object]:
    answer = {"description": "It.", "content": {kind: {"schema": schema}}}
    return {"get": {"summary": summary, "security": [], "responses": {"200": answer}}}
