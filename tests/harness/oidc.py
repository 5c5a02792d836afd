"""An OpenID Connect provider on loopback over TLS, built with Authlib's server: one client, one user, and twists.

Workflow:
    with oidc_provider(host, redirect_uri) as provider:
        provider.user = "alice"
        provider.twist = {"claims": {"aud": "somebody else"}}       # what it does wrong
        location = provider.answer(url)                             # what the browser would do there
"""

from __future__ import annotations

import contextlib
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9207 import IssuerParameter
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from flask import Flask, Response, jsonify
from joserfc import jwt
from joserfc.jwk import ECKey
from werkzeug.serving import make_server

from tests.harness.ca import Issued

__all__ = ["CLIENT", "CLIENT_SECRET", "Provider", "oidc_provider"]

CLIENT = "portal"
CLIENT_SECRET = "words that the portal and its provider share"


class _Client(ClientMixin):  # type: ignore[misc]  # Authlib has no types
    """The portal, as the provider knows it."""

    client_id = CLIENT

    def __init__(self, redirect_uri: str) -> None:
        self._redirect_uri = redirect_uri

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return self._redirect_uri

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self._redirect_uri

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_post"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


class _Code:
    """An authorization code with what belongs to it."""

    def __init__(self, code: str, asked: Any, username: str) -> None:
        data = asked.payload.data
        self.code = code
        self.username = username
        self.nonce = data.get("nonce")
        self.redirect_uri = asked.payload.redirect_uri
        self.scope = asked.payload.scope
        self.code_challenge = data.get("code_challenge")
        self.code_challenge_method = data.get("code_challenge_method")

    def get_redirect_uri(self) -> str:
        return str(self.redirect_uri)

    def get_scope(self) -> str:
        return str(self.scope)

    def get_nonce(self) -> str | None:
        return None if self.nonce is None else str(self.nonce)

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> str | None:
        return None

    def get_amr(self) -> list[str] | None:
        return ["pwd", "otp"]


class Provider:
    """The provider.

    Attributes:
        issuer: What it calls itself.
        user: Who is logged on there.
        twist: What it does wrong: `claims` over those of the token, `header` and `key` of its signature, `metadata`
            over its own, `iss` of its answer.
    """

    def __init__(self, redirect_uri: str) -> None:
        self.issuer = ""
        self.user = "alice"
        self.twist: dict[str, Any] = {}
        self.key = ECKey.generate_key("P-256", {"kid": "first", "use": "sig", "alg": "ES256"})
        self.codes: dict[str, _Code] = {}
        self.app = self._make(_Client(redirect_uri))

    def answer(self, url: str) -> str:
        """Consent in the place of a browser; return where it is sent."""
        parts = urlsplit(url)
        answer = self.app.test_client().post(f"{parts.path}?{parts.query}", base_url=self.issuer)
        return answer.headers["Location"]

    def _make(self, client: _Client) -> Flask:
        provider = self

        class CodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc]  # Authlib has no types
            TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]  # noqa: RUF012  as its base has it

            def save_authorization_code(self, code: str, request: Any) -> None:
                provider.codes[code] = _Code(code, request, provider.user)

            def query_authorization_code(self, code: str, client: Any) -> _Code | None:
                return provider.codes.get(code)

            def delete_authorization_code(self, authorization_code: _Code) -> None:
                del provider.codes[authorization_code.code]

            def authenticate_user(self, authorization_code: _Code) -> str:
                return authorization_code.username

        class IDToken(OpenIDCode):  # type: ignore[misc]  # Authlib has no types
            def exists_nonce(self, nonce: str, request: Any) -> bool:
                return False

            def resolve_client_private_key(self, client: Any) -> ECKey:
                return provider.key

            def get_client_algorithm(self, client: Any) -> str:
                return "ES256"

            def get_client_claims(self, client: Any) -> dict[str, Any]:
                return {"iss": provider.issuer, "exp": int(time.time()) + 300}

            def generate_user_info(self, user: str, scope: str) -> UserInfo:
                return UserInfo(sub=f"sub of {user}", preferred_username=user)

        class Issuer(IssuerParameter):  # type: ignore[misc]  # Authlib has no types
            def get_issuer(self) -> str:
                return str(provider.twist.get("iss", provider.issuer))

        app = Flask("provider")
        server = AuthorizationServer(app, query_client=lambda _name: client, save_token=lambda _token, _request: None)
        server.register_grant(CodeGrant, [CodeChallenge(required=True), IDToken(require_nonce=True)])
        server.register_extension(Issuer())

        @app.get("/.well-known/openid-configuration")
        def metadata() -> Response:
            told = {
                "issuer": provider.issuer,
                "authorization_endpoint": f"{provider.issuer}/authorize",
                "token_endpoint": f"{provider.issuer}/token",
                "jwks_uri": f"{provider.issuer}/jwks",
                "authorization_response_iss_parameter_supported": True,
            }
            return jsonify(told | provider.twist.get("metadata", {}))

        @app.get("/jwks")
        def jwks() -> Response:
            return jsonify({"keys": [provider.key.as_dict(private=False)]})

        @app.get("/authorize")
        def ask() -> str:
            return '<!doctype html><title>x</title><h1>Provider</h1><form method="post"><button>Agree</button></form>'

        @app.post("/authorize")
        def agree() -> Any:
            grant = server.get_consent_grant(end_user=provider.user)
            return server.create_authorization_response(grant=grant, grant_user=provider.user)

        @app.post("/token")
        def token() -> Any:
            made = server.create_token_response()
            if made.status_code == 200 and {"claims", "header", "key"} & provider.twist.keys():
                return provider._twisted(made)
            return made

        return app

    def _twisted(self, made: Response) -> Response:
        """Sign the token again with something wrong in it."""
        told = json.loads(made.get_data())
        decoded = jwt.decode(told["id_token"], self.key, algorithms=["ES256"])
        claims = {
            name: value for name, value in (decoded.claims | self.twist.get("claims", {})).items() if value is not None
        }
        header = {"alg": "ES256", "kid": "first"} | self.twist.get("header", {})
        told["id_token"] = jwt.encode(header, claims, self.twist.get("key", self.key), algorithms=[header["alg"]])
        return jsonify(told)


@contextlib.contextmanager
def oidc_provider(host: Issued, redirect_uri: str) -> Iterator[Provider]:
    """Start a provider for one client."""
    provider = Provider(redirect_uri)
    with tempfile.TemporaryDirectory() as place:
        host.write(Path(place) / "cert.pem", Path(place) / "key.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(place) / "cert.pem", Path(place) / "key.pem")
    server = make_server("127.0.0.1", 0, provider.app, threaded=True, ssl_context=context)
    provider.issuer = f"https://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
