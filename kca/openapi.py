"""What the authority over HTTP tells programs about itself: its OpenAPI document; serves nothing.

describe()                                            # plain values for JSON
"""

from __future__ import annotations

from typing import Final

from gsi._version import __version__

__all__ = ["describe"]

_TEXT: Final = {"type": "string"}
_WORDS: Final = {"text/plain": {"schema": {"type": "string", "description": "A line, and perhaps a hint."}}}
_OWN_TOKEN: Final = {
    "WWW-Authenticate": {"description": "The service's own token, `Negotiate TOKEN`.", "schema": _TEXT},
}
_WAIT: Final = {"Retry-After": {"description": "Seconds.", "schema": _TEXT, "required": True}}

_ISSUED: Final[dict[str, object]] = {
    "description": "The certificate.",
    "headers": _OWN_TOKEN,
    "content": {
        "application/pem-certificate-chain": {
            "schema": {"type": "string", "description": "The chain in PEM, leaf first (RFC 8555 section 9.1)."}
        },
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "certificate": {"type": "string", "description": "PEM."},
                    "chain": {"type": "array", "items": _TEXT, "description": "Its issuers, PEM."},
                    "subject": {"type": "string", "description": "One-line form."},
                    "not_after": {"type": "string", "format": "date-time"},
                },
                "required": ["certificate", "chain", "not_after", "subject"],
            }
        },
    },
}
_REFUSALS: Final[dict[str, dict[str, object]]] = {
    "400": {
        "description": "The request is no PKCS#10 with a good key, or the token no base64.",
        "headers": _OWN_TOKEN,
        "content": _WORDS,
    },
    "401": {
        "description": "No ticket, or one that proves nothing.",
        "headers": {"WWW-Authenticate": {"description": "`Negotiate`.", "schema": _TEXT, "required": True}},
        "content": _WORDS,
    },
    "403": {
        "description": "Rules, limits or policy; a token that another request had; or a browser asks.",
        "headers": _OWN_TOKEN,
        "content": _WORDS,
    },
    "413": {
        "description": "The body is longer than `max_request_bytes`.",
        "headers": _OWN_TOKEN,
        "content": _WORDS,
    },
    "414": {"description": "The query is longer than 8 KiB.", "headers": _OWN_TOKEN, "content": _WORDS},
    "429": {
        "description": "The principal has had as many certificates as it may have.",
        "headers": _OWN_TOKEN | _WAIT,
        "content": _WORDS,
    },
    "500": {"description": "The authority cannot issue.", "headers": _OWN_TOKEN, "content": _WORDS},
    "503": {
        "description": "Books, audit or directory do not answer.",
        "headers": _OWN_TOKEN | _WAIT,
        "content": _WORDS,
    },
}
_LIFETIME: Final = {
    "name": "lifetime",
    "in": "query",
    "schema": {"type": "string", "pattern": "^[0-9]{1,9}[smhd]?$"},
    "description": "Seconds, or `30m`, `12h`, `1d`; it can only shorten.",
}
_CSR: Final = {
    "name": "csr",
    "in": "query",
    "required": True,
    "schema": _TEXT,
    "description": "A certificate request (PKCS#10), DER or PEM, in base64 or base64url.",
}
_PKCS10: Final = {"type": "string", "description": "PEM or DER, whatever the Content-Type."}


def _answers(too_long: str) -> dict[str, object]:
    others = {"413", "414"} - {too_long}
    return {"200": _ISSUED, **{status: answer for status, answer in _REFUSALS.items() if status not in others}}


_BX509: Final[dict[str, object]] = {
    "get": {
        "summary": "The same, as bx509d of Heimdal is asked.",
        "description": "Its parameters for names and purposes are refused with 403.",
        "parameters": [_CSR, _LIFETIME],
        "responses": _answers("414"),
    }
}
_PATHS: Final[dict[str, object]] = {
    "/kca/v1/certificate": {
        "post": {
            "summary": "A certificate for a Kerberos ticket.",
            "parameters": [_LIFETIME],
            "requestBody": {"required": True, "content": {"application/pkcs10": {"schema": _PKCS10}}},
            "responses": _answers("413"),
        }
    },
    "/get-cert": _BX509,
    "/bx509": _BX509,
    "/health": {
        "get": {
            "summary": "Whether the service's parts work, as they did a few seconds ago.",
            "security": [],
            "responses": {
                "200": {
                    "description": "`ok`, and a second line while an older configuration is in force.",
                    "content": {"text/plain": {"schema": _TEXT}},
                },
                "503": {
                    "description": "A line for each part that fails.",
                    "content": {"text/plain": {"schema": _TEXT}},
                },
            },
        }
    },
    "/metrics": {
        "get": {
            "summary": "Numbers for monitors.",
            "security": [],
            "responses": {
                "200": {"description": "Prometheus's text format.", "content": {"text/plain": {"schema": _TEXT}}},
                "404": {"description": "`metrics` is not set in the configuration.", "content": _WORDS},
            },
        }
    },
    "/openapi.json": {
        "get": {
            "summary": "This document.",
            "security": [],
            "responses": {
                "200": {"description": "It.", "content": {"application/json": {"schema": {"type": "object"}}}}
            },
        }
    },
}


def describe() -> dict[str, object]:
    """Return the document (OpenAPI 3.1)."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Certificates for Kerberos tickets",
            "version": __version__,
            "description": "Clients authenticate with Negotiate (RFC 4559). What is no HTTP, too long or too slow is "
            "refused before anything here, in plain text.",
        },
        "paths": _PATHS,
        "components": {
            "securitySchemes": {"negotiate": {"type": "http", "scheme": "negotiate", "description": "RFC 4559."}}
        },
        "security": [{"negotiate": []}],
    }
