"""What an issuer of tokens publishes: its keys as a JWK set, and the document that leads there; serves nothing.

    body = key_set(ring.published(now))
    body = discovery_document("https://cas.example.org/climate", jwks_uri=..., token_endpoint=...)

The document stands at `<issuer>/.well-known/openid-configuration` (OpenID Connect Discovery) and, for those who read
RFC 8414, at `.../oauth-authorization-server`; `well_known_paths` says where that is on a host.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gsi.errors import ConfigError
from gsi.tokens.rules import check_https

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cas.assertion.signing import SigningKey

__all__ = ["KEY_SET_SECONDS", "TOKEN_EXCHANGE", "discovery_document", "key_set", "well_known_paths"]

KEY_SET_SECONDS: Final = 3600
"""How long a key set may be kept (`Cache-Control: max-age`): WLCG's shortest life of a cache."""

TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # RFC 8693 section 2.1


def key_set(keys: Iterable[SigningKey]) -> bytes:
    """Return the JWK set (RFC 7517 section 5) with the public halves of keys, and certificates where they have some."""
    return _json({"keys": [{**key.jwk(), **_certificates(key)} for key in keys]})


def _certificates(key: SigningKey) -> dict[str, list[str]]:
    """Return `x5c` (RFC 7517 section 4.7): whoever trusts the CA can see when the key must not be trusted any more."""
    if not key.certificates:
        return {}
    return {"x5c": [base64.b64encode(one.der).decode("ascii") for one in key.certificates]}


def discovery_document(
    issuer: str,
    *,
    jwks_uri: str,
    token_endpoint: str,
    scopes: Sequence[str] = (),
    more: dict[str, object] | None = None,
) -> bytes:
    """Return the metadata of an issuer (RFC 8414 section 2, OpenID Connect Discovery section 3).

    Args:
        issuer: The exact `iss` of its tokens.
        jwks_uri: Where its keys are.
        token_endpoint: Where tokens are given for proxies and other tokens (RFC 8693).
        scopes: Names of scopes to tell of.
        more: Further members; none of the above can be changed by them.

    Raises:
        ConfigError: One of these is no https URL.
    """
    found: dict[str, object] = dict(more or {})
    found |= {
        "issuer": check_https(issuer, "the issuer of tokens"),
        "jwks_uri": check_https(jwks_uri, "the place of keys"),
        "token_endpoint": check_https(token_endpoint, "the place of tokens"),
        "grant_types_supported": [TOKEN_EXCHANGE],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "RS256"],
        "token_endpoint_auth_methods_supported": ["tls_client_auth"],
        "tls_client_certificate_bound_access_tokens": True,
    }
    if scopes:
        found["scopes_supported"] = list(scopes)
    return _json(found)


def well_known_paths(issuer: str) -> tuple[str, ...]:
    """Return the paths on the issuer's host at which readers look for the document.

    Raises:
        ConfigError: The issuer is no https URL.
    """
    path = urlsplit(check_https(issuer, "the issuer of tokens")).path.rstrip("/")
    if "//" in path or "/." in path:
        raise ConfigError(f"the issuer {issuer[:80]!r} has a path that servers change")
    return (
        f"{path}/.well-known/openid-configuration",
        f"{path}/.well-known/oauth-authorization-server",  # as SciTokens append it
        f"/.well-known/oauth-authorization-server{path}",  # RFC 8414 section 3.1
    )


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode("ascii") + b"\n"
