"""Who an OpenID Connect provider says that the user is: the code flow with PKCE; no pages, no MyProxy.

    provider = Provider(settings, ca_directory, clock=now)
    url, pending = provider.begin("https://portal.example.org/logon/oidc/back")
    username = provider.finish(query_url, pending, "https://portal.example.org/logon/oidc/back")

`state` ties the answer to the browser, `nonce` the token to the question, the code verifier the code to us (RFC 7636).
An answer that names another issuer is refused (RFC 9207), and one that names none where the provider says that it does.
The token's signature, issuer, audience, times and nonce are judged; what comes over TLS from the provider is not more
trusted than that. OpenID Connect Core 1.0 section 3.1.
"""

from __future__ import annotations

import hmac
import json
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.common.security import generate_token
from authlib.oauth2.rfc6749.parameters import parse_authorization_code_response, prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gsi.errors import AuthenticationError, GridError, RefusedError, RemoteProtocolError, TransportError
from gsi.secret import Passphrase
from gsi.system.files import read_private
from gsi.transport.http import Post, fetch, make_context, read_proxies
from myproxy.portal.gate import BusyBackendError, Gate

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from joserfc.jwk import KeySetSerialization

    from myproxy.portal.config import OIDCSettings

__all__ = ["USERNAME", "NotTakenError", "Pending", "Provider"]

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
"""With public keys only: with a shared secret a client could sign for the provider."""
TIMEOUT_SECONDS: Final = 5.0
REST_SECONDS: Final = 10.0
"""For how long a provider that has not said what it is, is not asked again."""
MAX_DOCUMENT_BYTES: Final = 1 << 20
KEPT_SECONDS: Final = 600.0
"""How long what the provider says of itself is taken for true."""
LEEWAY_SECONDS: Final = 60
MAX_SECRET_FILE_BYTES: Final = 4096
USERNAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}\Z")
"""What of somebody else's word can be an account."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What is remembered, sealed in the browser, while the user is at the provider.

    Attributes:
        state: Comes back with the answer.
        nonce: Comes back in the token.
        verifier: Goes with the code.
    """

    state: str
    nonce: str
    verifier: str


class NotTakenError(AuthenticationError):
    """A code that the provider does not know: it may have been guessed."""


class Provider:
    """One provider. Safe for use by several threads."""

    def __init__(
        self, settings: OIDCSettings, ca_directory: str | None, *, clock: Callable[[], datetime], slots: int = 2
    ) -> None:
        """Know the provider; nothing is asked yet.

        Args:
            settings: The `[oidc]` table.
            ca_directory: CAs that may vouch for the provider's web server besides the system's.
            clock: The time.
            slots: How many questions may be open at once.

        Raises:
            GridError: The client's secret cannot be read.
        """
        self._settings = settings
        self._clock = clock
        self._context = make_context(ca_directory)
        self._proxies = read_proxies()
        self._secret: Passphrase | None = None
        if settings.client_secret_file:
            content = read_private(settings.client_secret_file, max_bytes=MAX_SECRET_FILE_BYTES)
            self._secret = Passphrase(content.strip())
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, dict[str, object]]] = {}
        self._failed: dict[str, float] = {}
        self._gate = Gate("the provider", slots=slots)

    def begin(self, redirect_uri: str) -> tuple[str, Pending]:
        """Return where to send the browser, and what to remember.

        Raises:
            TransportError: The provider cannot be reached.
            RemoteProtocolError: It says what makes no sense.
        """
        pending = Pending(generate_token(43), generate_token(43), generate_token(64))
        url = prepare_grant_uri(
            self._endpoint("authorization_endpoint"),
            self._settings.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=self._settings.scope,
            state=pending.state,
            nonce=pending.nonce,
            code_challenge=create_s256_code_challenge(pending.verifier),
            code_challenge_method="S256",
        )
        return url, pending

    def finish(self, answer_url: str, pending: Pending, redirect_uri: str) -> str:
        """Return the account that the provider's answer proves.

        Args:
            answer_url: The address with which the browser came back.
            pending: What was remembered.
            redirect_uri: As for `begin`.

        Raises:
            RefusedError: The provider or the user said no.
            AuthenticationError: The answer proves nothing.
            TransportError: The provider cannot be reached.
            RemoteProtocolError: It says what makes no sense.
        """
        told_no = dict(parse_qsl(urlsplit(answer_url).query))
        if "error" in told_no and hmac.compare_digest(told_no.get("state", "").encode(), pending.state.encode()):
            self._check_issuer(told_no.get("iss"))
            raise RefusedError(f"the provider says: {told_no['error']}"[:200])
        try:
            found = parse_authorization_code_response(answer_url, pending.state)
        except AuthlibBaseError as error:
            raise AuthenticationError(f"the provider's answer is not one to our question: {error}") from error
        self._check_issuer(found.get("iss"))
        form = {
            "grant_type": "authorization_code",
            "code": found["code"],
            "redirect_uri": redirect_uri,
            "client_id": self._settings.client_id,
            "code_verifier": pending.verifier,
        }
        if self._secret is not None:
            form["client_secret"] = self._secret.reveal().decode("utf-8")
        told = self._ask(
            self._endpoint("token_endpoint"), Post("application/x-www-form-urlencoded", urlencode(form).encode("ascii"))
        )
        token = told.get("id_token")
        if not isinstance(token, str):
            raise AuthenticationError("the provider has given no ID token")
        return self._read(token, pending, cast("str | None", told.get("access_token")))

    def _read(self, token: str, pending: Pending, access_token: str | None) -> str:
        """Judge an ID token (section 3.1.3.7), and return the account that it names."""
        settings = self._settings
        try:
            try:
                decoded = jwt.decode(token, self._keys(), algorithms=list(ALGORITHMS))
            except JoseError:  # the provider may have a new key
                decoded = jwt.decode(token, self._keys(anew=True), algorithms=list(ALGORITHMS))
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                options={
                    "iss": {"essential": True, "value": settings.issuer},
                    "aud": {"essential": True, "value": settings.client_id},
                    "sub": {"essential": True},
                },
                params={"nonce": pending.nonce, "client_id": settings.client_id, "access_token": access_token},
            )
            claims.validate(now=int(self._clock().timestamp()), leeway=LEEWAY_SECONDS)
        except (JoseError, AuthlibBaseError, ValueError, TypeError, KeyError) as error:
            raise AuthenticationError(f"the provider's ID token proves nothing: {error}") from error
        audience = decoded.claims["aud"]
        if audience not in (settings.client_id, [settings.client_id]):
            raise AuthenticationError("the provider's ID token is for others, too")
        for name, wanted in settings.required.items():
            held = decoded.claims.get(name)
            if wanted != held and not (isinstance(held, list) and wanted in held):
                raise AuthenticationError(f"the provider's ID token lacks {name} {wanted!r}")
        username = decoded.claims.get(settings.claim)
        if not isinstance(username, str) or not USERNAME.match(username):
            raise AuthenticationError(f"the provider's ID token has no {settings.claim} that could be an account")
        return username

    def _check_issuer(self, told: str | None) -> None:
        """Refuse an answer of another provider (RFC 9207)."""
        tells = self._metadata().get("authorization_response_iss_parameter_supported") is True
        if told is None and not tells:
            return
        if told != self._settings.issuer:
            raise AuthenticationError("the answer is not from the provider that was asked")

    # --- what the provider says of itself -----------------------------------------------------------------------------

    def _metadata(self) -> dict[str, object]:
        issuer = self._settings.issuer
        found = self._keep(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise RemoteProtocolError(f"{issuer}: the provider calls itself {found.get('issuer')!r}"[:300])
        return found

    def _endpoint(self, name: str) -> str:
        url = self._metadata().get(name)
        if not isinstance(url, str) or urlsplit(url).scheme != "https":
            raise RemoteProtocolError(f"{self._settings.issuer}: no {name} with https")
        return url

    def _keys(self, *, anew: bool = False) -> KeySet:
        found = self._keep(self._endpoint("jwks_uri"), anew=anew)
        try:
            return KeySet.import_key_set(cast("KeySetSerialization", found))
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise RemoteProtocolError(f"{self._settings.issuer}: no key set: {error}"[:300]) from error

    def _keep(self, url: str, *, anew: bool = False) -> dict[str, object]:
        moment = time.monotonic()
        with self._lock:
            kept, failed = self._kept.get(url), self._failed.get(url)
        if kept is not None and moment - kept[0] < KEPT_SECONDS and not anew:
            return kept[1]
        if failed is not None and moment - failed < REST_SECONDS:
            raise TransportError(f"{urlsplit(url).netloc}: the provider has failed a moment ago")
        try:
            found = self._ask(url)
        except BusyBackendError:
            raise  # it was not asked
        except GridError:
            with self._lock:
                self._failed[url] = time.monotonic()
            raise
        with self._lock:
            self._kept[url] = (moment, found)
            self._failed.pop(url, None)
        return found

    def _ask(self, url: str, post: Post | None = None) -> dict[str, object]:
        try:
            with self._gate.take(url if post is None else generate_token(16)):  # what all want to know is asked once
                answer = fetch(
                    url,
                    timeout=TIMEOUT_SECONDS,
                    max_bytes=MAX_DOCUMENT_BYTES,
                    proxies=self._proxies,
                    context=self._context,
                    max_redirects=0,
                    post=post,
                )
            found = json.loads(answer.data)
        except RefusedError as error:
            if post is not None:
                raise NotTakenError(f"the provider does not take the code: {error.message}") from error
            raise TransportError(error.message) from error
        except ValueError as error:
            raise RemoteProtocolError(f"{urlsplit(url).netloc}: no JSON") from error
        if not isinstance(found, dict):
            raise RemoteProtocolError(f"{urlsplit(url).netloc}: no JSON object")
        return found
