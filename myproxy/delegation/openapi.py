"""What the delegation service tells programs about itself: its OpenAPI document; serves nothing.

describe()                                            # plain values for JSON
"""

from __future__ import annotations

from typing import Final

from gsi._version import __version__

__all__ = ["describe"]

_TEXT: Final = {"type": "string"}
_PLAIN: Final = {"text/plain": {"schema": _TEXT}}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_VERSION: Final = {
    "type": "object",
    "properties": {name: {"type": "integer"} for name in ("major", "minor", "patch")},
    "required": ["major", "minor", "patch"],
}
_ERROR: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_PEM: Final = "application/x-pem-file"
_WAIT: Final = {"Retry-After": {"description": "Seconds until the next request is taken.", "schema": _TEXT}}

_REFUSALS: Final[dict[str, dict[str, object]]] = {
    "400": {"description": "It is no good proxy, request or lifetime.", "content": _ERROR},
    "401": {"description": "No certificate was shown, or one that proves nothing.", "content": _ERROR},
    "403": {"description": "It is not the caller's to do; or a browser asks.", "content": _ERROR},
    "404": {"description": "There is no such delegation, or no request waits.", "content": _ERROR},
    "409": {"description": "The identity has too many delegations.", "content": _ERROR},
    "413": {"description": "The body is longer than 1 MiB, and not looked at.", "content": _ERROR | _PLAIN},
    "429": {"description": "The identity asks too often.", "content": _ERROR, "headers": _WAIT},
    "500": {"description": "Trouble on this side; the log has more.", "content": _ERROR},
    "503": {"description": "The store does not answer; the log has more.", "content": _ERROR},
}
_ID: Final = {
    "name": "ID",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "The first 16 hexadecimal digits of the SHA-1 of name and VOMS attributes, as `whoami` tells it.",
}


def _json(description: str, schema: dict[str, object]) -> dict[str, object]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _public(summary: str, answer: dict[str, object]) -> dict[str, object]:
    return {"get": {"summary": summary, "security": [], "responses": {"200": answer}}}


def _operation(
    summary: str,
    status: str,
    answer: dict[str, object],
    refusals: tuple[str, ...] = (),
    *,
    sent: str = "",
    parameters: tuple[dict[str, object], ...] = (_ID,),
) -> dict[str, object]:
    """Describe what needs a certificate: each may be refused with 401, 403, 429, 500 and 503."""
    possible = sorted({"401", "403", "429", "500", "503", *refusals})
    found: dict[str, object] = {
        "summary": summary,
        "responses": {status: answer} | {one: _REFUSALS[one] for one in possible},
    }
    if parameters:
        found["parameters"] = list(parameters)
    if sent:
        schema = {"type": "string", "description": sent}
        found["requestBody"] = {"required": True, "content": {"application/x-pem-file": {"schema": schema}}}
    return found


_TAKE: Final = _operation(
    "Leave the signed proxy.",
    "201",
    {"description": "It is kept."},
    ("400", "404", "413"),
    sent="The proxy and its issuers, PEM. Whatever its Content-Type.",
)
_PATHS: Final[dict[str, object]] = {
    "/": _public(
        "The versions of the service.",
        _json("They.", _object({"delegation": _VERSION, "api": _VERSION, "schema": _VERSION, "software": _TEXT})),
    ),
    "/whoami": {
        "get": _operation(
            "Who the caller is here.",
            "200",
            _json(
                "In the words of FTS3.",
                _object(
                    {
                        "user_dn": {"type": "string", "description": "The name, one-line form."},
                        "dn": _TEXTS,
                        "delegation_id": {"type": "string", "description": "`ID` in the other addresses."},
                        "voms_cred": {"type": "array", "items": _TEXT, "description": "VOMS attributes."},
                        "vos": _TEXTS,
                        "method": {"type": "string", "enum": ["certificate"]},
                        "roles": _TEXTS,
                        "level": {"type": "object"},
                        "is_root": {"type": "boolean"},
                    }
                ),
            ),
            parameters=(),
        )
    },
    "/delegation/{ID}": {
        "get": _operation(
            "Until when there is a delegation.",
            "200",
            _json(
                "`null` where there is none.",
                {
                    "type": ["object", "null"],
                    "properties": {
                        "termination_time": {"type": "string", "description": "UTC, without a zone."},
                        "voms_attrs": _TEXTS,
                    },
                    "required": ["termination_time", "voms_attrs"],
                },
            ),
        ),
        "delete": _operation("Remove a delegation.", "204", {"description": "It is removed."}, ("404",)),
    },
    "/delegation/{ID}/request": {
        "get": _operation(
            "A certificate request to sign; the same one for an hour.",
            "200",
            {
                "description": "PKCS#10, PEM.",
                "headers": {"X-Delegation-ID": {"required": True, "schema": _TEXT}},
                "content": {"text/plain": {"schema": _TEXT}},
            },
            ("409",),
        )
    },
    "/delegation/{ID}/credential": {"put": _TAKE, "post": _TAKE},
    "/delegation/{ID}/proxy": {
        "post": _operation(
            "A proxy below a user's, for a service that the configuration names.",
            "200",
            {"description": "The proxy for the request's key, and its issuers.", "content": {_PEM: {"schema": _TEXT}}},
            ("400", "404", "413"),
            sent="A certificate request (PKCS#10), PEM. Whatever its Content-Type.",
            parameters=(
                _ID,
                {
                    "name": "lifetime",
                    "in": "query",
                    "schema": {"type": "integer", "minimum": 1},
                    "description": "Seconds; it can only shorten.",
                },
            ),
        )
    },
    "/health": {
        "get": {
            "summary": "Whether the service's parts work, as they did a few seconds ago.",
            "security": [],
            "responses": {
                "200": {"description": "`ok`, and what else is to be known.", "content": _PLAIN},
                "503": {"description": "A line for each part that fails.", "content": _PLAIN},
            },
        }
    },
    "/metrics": {
        "get": {
            "summary": "Numbers for monitors.",
            "security": [],
            "responses": {
                "200": {"description": "Prometheus's text format.", "content": _PLAIN},
                "404": {
                    "description": "`metrics` is not set in the configuration, or the request comes from elsewhere.",
                    "content": _ERROR,
                },
            },
        }
    },
    "/openapi.json": _public("This document.", _json("It.", {"type": "object"})),
}


def describe() -> dict[str, object]:
    """Return the document (OpenAPI 3.1)."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Delegated proxies",
            "version": __version__,
            "description": "Clients authenticate with a certificate or a proxy certificate (RFC 3820) over TLS. "
            "What is no HTTP, too long or too slow is refused before anything here, in plain text.",
        },
        "paths": _PATHS,
        "components": {
            "schemas": {
                "Error": _object(
                    {
                        "status": {"type": "string", "description": "Number and phrase."},
                        "message": {"type": "string", "description": "What the clients of FTS3 show."},
                    }
                )
            },
            "securitySchemes": {"proxy": {"type": "mutualTLS"}},
        },
        "security": [{"proxy": []}],
    }
