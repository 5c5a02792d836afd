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

PUBLIC_PATHS: Final = {
    "/openapi.json": "This document.",
    "/health": "Whether the server answers.",
    "/cas/v1/withdrawn": "The signed list of withdrawn capabilities (a JWS of the type revocations+jwt).",
    "/jwks": "The keys of tokens and of the list (RFC 7517).",
}
"""What needs no certificate, with its summary; besides the discovery documents, whose place the issuer says."""

DISCOVERY: Final = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")
"""Where these are if the issuer's URL has no path."""

_ERROR: Final = {
    "description": "No.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_STATUSES: Final = ("400", "401", "403", "404", "409", "413", "429", "500", "503")

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
        discovery: The paths of the discovery documents.
    """
    paths: dict[str, object] = {}
    described = "Where the keys and the endpoint of tokens are (OpenID Connect Discovery 1.0, RFC 8414)."
    for path, summary in (PUBLIC_PATHS | dict.fromkeys(discovery, described)).items():
        paths[path] = {"get": {"summary": summary, "security": [], "responses": {"200": {"description": "It."}}}}
    for one in operations:
        paths[one.path] = {one.method.lower(): _describe(one)}
    paths["/oauth2/token"] = {
        "post": {
            "summary": "Give a token for a certificate or for a token (RFC 6749, RFC 8693).",
            "requestBody": {
                "required": True,
                "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
            },
            "responses": {"200": {"description": "RFC 6749 section 5.1."}, "400": {"description": "Section 5.2."}},
        }
    }
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
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {name: {"description": text} for name, text in operation.answers.items()},
                        }
                    }
                },
            }
        }
        | dict.fromkeys(_STATUSES, _ERROR),
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
