"""Token issuers for tests, by pyca/cryptography alone: tokens made by hand, every rule can be broken; and an HTTPS one.

Workflow:
    issuer = TokenIssuer("https://localhost:1234/")
    text = issuer.token(scope="storage.read:/data")
    issuer.key_set()
    with HTTPSSite(ca) as site:
        site.documents["/jwks"] = issuer.key_set()
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.harness.ca import PrivateKey, TestCA, pooled_key

__all__ = ["AUDIENCE", "HTTPSSite", "TokenIssuer", "b64", "jwk_of"]

AUDIENCE: Final = "https://se.example.org"


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def jwk_of(key: PrivateKey, kid: str | None = "k1", **more: object) -> dict[str, object]:
    """The public half as a JWK."""
    public = key.public_key()
    found: dict[str, object]
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        found = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    elif isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        size = (public.curve.key_size + 7) // 8
        curve = f"P-{public.curve.key_size}"
        found = {"kty": "EC", "crv": curve, "x": _number(point.x, size), "y": _number(point.y, size)}
    else:
        found = {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}
    return found | ({} if kid is None else {"kid": kid}) | more


def _sign(key: PrivateKey, algorithm: str, data: bytes) -> bytes:
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}.get(
        algorithm[2:], hashes.SHA256()
    )
    if isinstance(key, rsa.RSAPrivateKey):
        if algorithm.startswith("PS"):
            return key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return key.sign(data, padding.PKCS1v15(), digest)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    size = (key.curve.key_size + 7) // 8
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


class TokenIssuer:
    """Signs tokens.

    Attributes:
        url: Its name.
        key: Its key.
        kid: That key's name.
        algorithm: The algorithm of its signatures.
    """

    def __init__(
        self, url: str = "https://vo.example.org/", key: PrivateKey | None = None, *, algorithm: str = "ES256"
    ) -> None:
        self.url = url
        self.key: PrivateKey = key or pooled_key("p256")
        self.kid = "k1"
        self.algorithm = algorithm

    def key_set(self, *more: Mapping[str, object]) -> bytes:
        """Its JWK set, with more keys."""
        return json.dumps({"keys": [jwk_of(self.key, self.kid), *more]}).encode()

    def claims(self, **changes: object) -> dict[str, object]:
        """The claims of a good WLCG token, with changes; None takes a claim away. `wlcg_ver` is `wlcg.ver`."""
        now = int(time.time())
        found: dict[str, object] = {
            "iss": self.url,
            "sub": "alice",
            "aud": AUDIENCE,
            "iat": now,
            "nbf": now - 60,
            "exp": now + 3600,
            "jti": uuid.uuid4().hex,
            "wlcg.ver": "1.0",
            "scope": "storage.read:/data",
        }
        found |= {name.replace("wlcg_", "wlcg."): value for name, value in changes.items()}
        return {name: value for name, value in found.items() if value is not None}

    def token(self, **changes: object) -> str:
        """A good WLCG token with changes of its claims."""
        return self.sign(self.claims(**changes))

    def scitoken(self, **changes: object) -> str:
        """A good SciToken 2.0 with changes."""
        base: dict[str, object] = {"wlcg_ver": None, "ver": "scitoken:2.0", "jti": None}
        return self.token(**(base | changes))

    def access_token(self, **changes: object) -> str:
        """A good token of RFC 9068 with changes."""
        base: dict[str, object] = {"wlcg_ver": None, "client_id": "portal"}
        return self.sign(self.claims(**(base | changes)), {"typ": "at+jwt"})

    def sign(
        self,
        claims: Mapping[str, object] | bytes,
        header: Mapping[str, object] | None = None,
        *,
        key: PrivateKey | None = None,
        whole_header: bytes | None = None,
    ) -> str:
        """Sign anything at all."""
        made = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"} | dict(header or {})
        head = whole_header or json.dumps({name: value for name, value in made.items() if value is not None}).encode()
        body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        signed = f"{b64(head)}.{b64(body)}"
        return f"{signed}.{b64(_sign(key or self.key, self.algorithm, signed.encode()))}"

    def hmac_token(self, secret: bytes, algorithm: str = "HS256") -> str:
        """A token "signed" with a secret that is no secret."""
        head = json.dumps({"alg": algorithm, "kid": self.kid}).encode()
        signed = f"{b64(head)}.{b64(json.dumps(self.claims()).encode())}"
        maker = hmac.HMAC(secret, hashes.SHA256())
        maker.update(signed.encode())
        return f"{signed}.{b64(maker.finalize())}"


class HTTPSSite:
    """Documents over https on this machine.

    Attributes:
        documents: By path; bytes, or the URL of a redirection as text.
        asked: The paths that were asked for.
        port: Where it listens.
    """

    def __init__(self, ca: TestCA) -> None:
        self.documents: dict[str, bytes | str] = {}
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                site.asked.append(self.path)
                found = site.documents.get(self.path)
                if isinstance(found, bytes):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(found)))
                    self.end_headers()
                    with contextlib.suppress(OSError):
                        self.wfile.write(found)
                    return
                self.send_response(404 if found is None else 302)
                if found is not None:
                    self.send_header("Location", found)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class calls it so
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Clients that do not trust us end the handshake."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "host.pem"
            ca.issue_host("localhost").write_bundle(path)
            context.load_cert_chain(path)
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
