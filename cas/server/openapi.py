"""The OpenAPI document of the server, made of the table of operations; serves nothing.

document(operations)                                  # plain values for JSON
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cas.server.operation import Operation

__all__ = ["DISCOVERY", "PUBLIC_PATHS", "document"]

_HEALTH: Final = "/health"
_WITHDRAWN: Final = "/cas/v1/withdrawn"
PUBLIC_PATHS: Final = {
    "/openapi.json": "This document.",
    _HEALTH: "Whether the server's parts work, as they did a few seconds ago.",
    _WITHDRAWN: "The signed list of withdrawn capabilities (a JWS of the type revocations+jwt).",
    "/jwks": "The keys of tokens and of the list (RFC 7517).",
}
"""What needs no certificate, with its summary; besides the discovery documents, whose place the issuer says."""

_KINDS: Final = {_HEALTH: "text/plain", _WITHDRAWN: "application/jwt", "/jwks": "application/jwk-set+json"}

DISCOVERY: Final = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")
"""Where these are if the issuer's URL has no path."""

_TEXT: Final = {"type": "string"}
_ID: Final = {"X-Request-Id": {"description": "As `request_id`.", "schema": _TEXT}}
_WAIT: Final = {"Retry-After": {"description": "Seconds.", "schema": _TEXT}}
_ERROR: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_MEANINGS: Final = {
    "400": "The request cannot be understood.",
    "401": "No certificate was shown, or one that proves nothing.",
    "403": "It is not the caller's to do; or a browser asks.",
    "404": "There is no such thing.",
    "409": "It is in the way of something, or of another change.",
    "413": "The body is longer than `max_request_bytes`.",
    "415": "The body is of another type.",
    "429": "The identity asks too often.",
    "500": "Trouble on this side; the log has more.",
    "503": "The database or a directory does not answer.",
}
"""What else than yes may be answered."""


def _refusals(*statuses: str) -> dict[str, object]:
    return {
        status: {
            "description": _MEANINGS[status],
            "headers": _ID | (_WAIT if status in {"429", "503"} else {}),
            "content": _ERROR,
        }
        for status in statuses
    }


def _json(schema: dict[str, object]) -> dict[str, object]:
    return {"application/json": {"schema": schema}}


_ANY: Final = tuple(status for status in _MEANINGS if status != "415")

_TOKEN: Final[dict[str, object]] = {
    "type": "object",
    "properties": {
        "access_token": _TEXT,
        "issued_token_type": _TEXT,
        "token_type": {"type": "string", "enum": ["Bearer"]},
        "expires_in": {"type": "integer", "description": "Seconds."},
        "scope": _TEXT,
    },
    "required": ["access_token", "expires_in", "issued_token_type", "scope", "token_type"],
}
_REFUSED_TOKEN: Final[dict[str, object]] = {
    "type": "object",
    "properties": {"error": _TEXT, "error_description": _TEXT, "request_id": _TEXT},
    "required": ["error"],
}

_SCHEMAS: Final[dict[str, object]] = {
    "Error": {
        "type": "object",
        "properties": {
            "error": {"type": "string"},
            "message": {"type": "string"},
            "hint": {"type": "string"},
            "request_id": {"type": "string"},
        },
        "required": ["error", "message", "request_id"],
    },
    "Name": {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 2,
        "maxItems": 3,
        "description": 'Kind and name: ["user", "alice"]; with the scope between them for objects and actions: '
        '["object", "FTPDirectoryTree", "ftp://host/d/*"], ["serviceAction", "file", "read"].',
    },
    "Right": {
        "type": "object",
        "properties": {
            "resource": {"type": "string", "description": "NAMESPACE|NAME; every one where it is missing"},
            "actions": {"type": "array", "items": {"type": "string"}, "description": "TYPE/ACTION"},
        },
        "additionalProperties": False,
    },
    "Change": {
        "type": "object",
        "properties": {
            "do": {
                "type": "string",
                "enum": [
                    "enrol",
                    "remove",
                    "add-member",
                    "remove-member",
                    "grant",
                    "revoke",
                    "set-fqan",
                    "add-feed",
                    "remove-feed",
                ],
            }
        },
        "required": ["do"],
        "description": "As in an exported policy.",
    },
}


def document(operations: Iterable[Operation], discovery: Iterable[str] = DISCOVERY) -> dict[str, object]:
    """Return the document (OpenAPI 3.1).

    Args:
        operations: What clients with a certificate may ask.
        discovery: The paths of the discovery documents; the first has the issuer's path before it.
    """
    discovery = tuple(discovery)
    prefix = discovery[0].removesuffix(DISCOVERY[0]) if discovery else ""
    paths: dict[str, object] = {}
    described = "Where the keys and the endpoint of tokens are (OpenID Connect Discovery 1.0, RFC 8414)."
    for path, summary in (PUBLIC_PATHS | dict.fromkeys(discovery, described)).items():
        kind = _KINDS.get(path, "application/json")
        schema = {"type": "object"} if kind.endswith("json") else _TEXT
        answers = {"200": {"description": "It.", "content": {kind: {"schema": schema}}}}
        signed = _refusals("500", "503") if path == _WITHDRAWN else {}
        if path == _HEALTH:
            answers["503"] = {**answers["200"], "description": "A line for each part that fails."}
        paths[path] = {"get": {"summary": summary, "security": [], "responses": answers | signed}}
    for one in operations:
        paths[one.path] = {one.method.lower(): _describe(one)}
    paths["/oauth2/token"] = {
        "post": {
            "summary": "Give a token for a certificate or for a token (RFC 6749, RFC 8693).",
            "requestBody": {
                "required": True,
                "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
            },
            "responses": {
                "200": {"description": "RFC 6749 section 5.1.", "content": _json(_TOKEN)},
                "400": {"description": "Section 5.2.", "content": _json(_REFUSED_TOKEN)},
                "401": {"description": "`invalid_client`: no good certificate.", "content": _json(_REFUSED_TOKEN)},
            }
            | _refusals("404", "409", "413", "429", "500", "503"),
        }
    }
    if prefix:  # the issuer's own: the same
        paths |= {f"{prefix}{path}": paths[path] for path in ("/jwks", "/oauth2/token")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Community authorization",
            "version": __version__,
            "description": "Clients authenticate with a certificate or a proxy certificate (RFC 3820) over TLS.",
        },
        "paths": paths,
        "components": {"schemas": _SCHEMAS, "securitySchemes": {"proxy": {"type": "mutualTLS"}}},
        "security": [{"proxy": []}],
    }


def _describe(operation: Operation) -> dict[str, object]:
    found: dict[str, object] = {
        "summary": operation.summary,
        "responses": {
            "200": {
                "description": "Done.",
                "headers": _ID,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {name: {"description": text} for name, text in operation.answers.items()}
                            | {"request_id": {"description": "under which log and audit have more"}},
                        }
                    }
                },
            }
        }
        | _refusals(*_ANY),
    }
    if operation.method == "POST":
        schema: dict[str, object] = {
            "type": "object",
            "properties": {one.name: {**one.schema, "description": one.text} for one in operation.fields},
            "additionalProperties": False,
        }
        required = [one.name for one in operation.fields if one.required]
        if required:
            schema["required"] = required
        found["requestBody"] = {"content": {"application/json": {"schema": schema}}, "required": bool(required)}
    return found
