"""What the portal tells programs about its API: the OpenAPI document and the metadata of RFC 8414; serves nothing."""

from __future__ import annotations

from typing import Final

from gsi._version import __version__
from myproxy.portal.registered import SCOPES

__all__ = ["describe", "metadata"]

_FORM: Final = "application/x-www-form-urlencoded"
_TEXT: Final = {"type": "string"}
_WORDS: Final = {"text/plain": {"schema": _TEXT}}
_WAIT: Final = {"Retry-After": {"description": "Seconds until the next try is judged.", "schema": _TEXT}}
_CHALLENGE: Final = {"WWW-Authenticate": {"description": "`Basic`.", "schema": _TEXT, "required": True}}
_GRANT: Final = {
    "scope": {"type": "string", "enum": list(SCOPES)},
    "username": {"type": "string", "description": "The user's account at the MyProxy server."},
    "subject": {"type": "string", "description": "The name of the user's certificate, one-line form."},
    "ends": {"type": "string", "format": "date-time", "description": "When the grant ends."},
}


def _json(description: str, properties: dict[str, object]) -> dict[str, object]:
    schema = {"type": "object", "properties": properties, "required": sorted(properties)}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _operation(
    summary: str, fields: dict[str, object], required: list[str], answer: dict[str, object]
) -> dict[str, object]:
    schema = {"type": "object", "properties": fields, "required": required}
    refused = _json("", {"error": _TEXT, "error_description": _TEXT})
    responses: dict[str, object] = {
        "200": answer,
        "400": refused | {"description": "What was sent cannot be understood, or is not to be had."},
        "401": refused | {"description": "The application or its token is not known.", "headers": _CHALLENGE},
        "403": {"description": "A browser asks.", "content": _WORDS},
        "413": {"description": "What was sent is larger than 256 kB.", "content": _WORDS},
        "429": refused | {"description": "`slow_down`.", "headers": _WAIT},
        "500": {"description": "Trouble on this side; the log has more.", "content": _WORDS},
        "503": {"description": "The store does not answer.", "headers": _WAIT, "content": _WORDS},
    }
    return {
        "post": {
            "summary": summary,
            "security": [{"application": []}],
            "requestBody": {"required": True, "content": {_FORM: {"schema": schema}}},
            "responses": responses,
        }
    }


_TOKEN: Final = {"type": "string", "description": "Or as Authorization: Bearer, with client_id and client_secret here."}
_PATHS: Final[dict[str, object]] = {
    "/api/v1/token": _operation(
        "A code becomes a token, once.",
        {
            "grant_type": {"type": "string", "enum": ["authorization_code"]},
            "code": _TEXT,
            "redirect_uri": _TEXT,
            "code_verifier": _TEXT,
        },
        ["grant_type", "code", "redirect_uri", "code_verifier"],
        _json(
            "The token, good with the application's secret until the grant ends.",
            {
                "access_token": _TEXT,
                "token_type": {"type": "string", "enum": ["Bearer"]},
                "expires_in": {"type": "integer", "description": "Seconds."},
                **_GRANT,
            },
        ),
    ),
    "/api/v1/getcert": _operation(
        "A proxy for a key of the application.",
        {
            "access_token": _TOKEN,
            "certreq": {"type": "string", "description": "The certificate request (PKCS#10): PEM, or base64 alone."},
            "certlifetime": {"type": "integer", "description": "Seconds; at most what the site and the grant allow."},
        },
        ["certreq"],
        {
            "description": "A line username=..., then the certificates, the proxy first, PEM.",
            "content": {"text/plain": {"schema": _TEXT}},
        },
    ),
    "/api/v1/grant": _operation(
        "Whose the grant is, and how long it lasts.", {"access_token": _TOKEN}, [], _json("The grant.", _GRANT)
    ),
    "/api/v1/revoke": _operation(
        "The grant ends.",
        {"token": _TEXT},
        ["token"],
        _json("It is over, or was never there.", {}),
    ),
    "/api/v1/openapi.json": {
        "get": {
            "summary": "This document.",
            "security": [],
            "responses": {
                "200": {"description": "It.", "content": {"application/json": {"schema": {"type": "object"}}}}
            },
        }
    },
}


def describe(issuer: str) -> dict[str, object]:
    """Return the OpenAPI document (3.1).

    Args:
        issuer: The portal's address.
    """
    flow = {
        "authorizationUrl": f"{issuer}/authorize",
        "tokenUrl": f"{issuer}/api/v1/token",
        "scopes": {"proxy:limited": "Limited proxies, for data transfers.", "proxy:full": "Proxies for everything."},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "MyProxy portal", "version": __version__, "description": "Proxies for web applications."},
        "servers": [{"url": issuer}],
        "paths": _PATHS,
        "components": {
            "securitySchemes": {
                "application": {"type": "http", "scheme": "basic", "description": "Identifier and secret."},
                "user": {"type": "oauth2", "flows": {"authorizationCode": flow}},
            }
        },
    }


def metadata(issuer: str) -> dict[str, object]:
    """Return what OAuth libraries set themselves up by (RFC 8414).

    Args:
        issuer: The portal's address.
    """
    methods = ["client_secret_basic", "client_secret_post"]
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/api/v1/token",
        "revocation_endpoint": f"{issuer}/api/v1/revoke",
        "service_documentation": f"{issuer}/api/v1/openapi.json",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "scopes_supported": list(SCOPES),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "authorization_response_iss_parameter_supported": True,
    }
