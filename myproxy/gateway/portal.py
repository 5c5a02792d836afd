"""Proxies by way of a MyProxy portal, where the user logs on and agrees; the portal's side is `myproxy.portal`.

    portal = Portal("https://portal.example.org", "gateway", secret, redirect="https://gateway.example.org/grid/back")
    url, asked = portal.begin()                    # keep `asked` in the user's session, send the browser to `url`
    grant = portal.finish(request.url, asked)      # where the browser comes back to
    proxy = portal.issue(grant)
    portal.end(grant)

OAuth 2.0 with PKCE: state and verifier stay in the session, so that nobody's answer can be slipped under another user;
the issuer in the answer has to be the portal (RFC 9207).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from gsi.certificate import load_certificates
from gsi.delegation import DelegationRequester
from gsi.errors import AuthenticationError, ConfigError, RefusedError, RemoteProtocolError, TransportError
from gsi.keys import KeyType, generate_key
from gsi.system import clock
from gsi.transport.http import Post, fetch, make_context, read_proxies
from myproxy.gateway.base import Grant, LogOnAgainError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from gsi.credential import Credential
    from gsi.keys import PrivateKey
    from gsi.secret import Passphrase

__all__ = ["Portal"]

TIMEOUT_SECONDS: Final = 30.0
MAX_ANSWER_BYTES: Final = 1 << 20
"""A chain of ten proxies with attribute certificates of 60 kB each stays below."""
MAX_URL: Final = 8 << 10
_ANSWERS: Final = frozenset({200, 400, 401, 429})
_NAMES: Final = frozenset({"state", "verifier"})


class Portal:
    """A portal at which the application is registered. Safe for use by several threads."""

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: Passphrase,
        *,
        redirect: str,
        scope: str = "proxy:limited",
        trust_dir: str | None = None,
        now: Callable[[], datetime] = clock.now,
        make_key: Callable[[], PrivateKey] = lambda: generate_key(KeyType.RSA),
    ) -> None:
        """Know the portal; asks nothing yet.

        Args:
            url: Its address, `https://portal.example.org`.
            client_id: What it calls the application.
            client_secret: The application's secret.
            redirect: Where it sends users back to, as registered.
            scope: `proxy:limited`, good for data transfers, or `proxy:full`.
            trust_dir: CAs that its certificate may be of besides the system's; None for the system's alone.
            now: The clock.
            make_key: Makes keys; some C programs can do nothing with others than RSA.

        Raises:
            ConfigError: The address is not one of https.
        """
        self._issuer = url.rstrip("/")
        if not self._issuer.startswith("https://") or any(letter in self._issuer for letter in "?#@ "):
            raise ConfigError(f"{url[:200]!r} is no https address of a portal")
        self._client_id = client_id
        self._secret = client_secret
        self._redirect = redirect
        self._scope = scope
        self._trust_dir = trust_dir
        self._now = now
        self._make_key = make_key

    def begin(self) -> tuple[str, dict[str, str]]:
        """Return where to send the browser, and what has to be in the user's session when it comes back."""
        verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
        digest = hashlib.sha256(verifier.encode("ascii")).digest()
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect,
            "scope": self._scope,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).decode("ascii").rstrip("="),
            "code_challenge_method": "S256",
        }
        return f"{self._issuer}/authorize?{urlencode(asked)}", {"state": state, "verifier": verifier}

    def finish(self, url: str, asked: Mapping[str, str] | None) -> Grant:
        """Return what the user has allowed.

        Args:
            url: The address that the browser came back to, with all its parameters.
            asked: What `begin` gave for the session; take it out of there, it is good once.

        Raises:
            LogOnAgainError: The user has refused, took too long, or it was begun in another session.
            AuthenticationError: The answer is not the portal's to this question.
            GridError: No connection, or what came makes no sense.
        """
        if asked is None or asked.keys() != _NAMES:
            raise LogOnAgainError("this was begun in another session")
        if len(url) > MAX_URL:
            raise AuthenticationError("the answer is too long")
        found = parse_qs(urlsplit(url).query, keep_blank_values=True, max_num_fields=20)
        told = {name: values[0] for name, values in found.items() if len(values) == 1}
        if not hmac.compare_digest(told.get("state", "").encode(), asked["state"].encode()):
            raise LogOnAgainError("the answer is to another question")
        if told.get("iss") != self._issuer:
            raise AuthenticationError(
                "the answer is of another portal", hint="the address has to be the first of the portal's names"
            )
        if "error" in told:
            raise LogOnAgainError(f"the portal says: {_short(told['error'])}")
        form = {
            "grant_type": "authorization_code",
            "code": told.get("code", ""),
            "redirect_uri": self._redirect,
            "code_verifier": asked["verifier"],
        }
        return self._grant(self._ask_json("token", form))

    def issue(self, grant: Grant, *, lifetime: timedelta | None = None) -> Credential:
        """Return a new proxy with a key made here.

        Raises:
            LogOnAgainError: The grant is over.
            GridError: No connection, or what came makes no sense.
        """
        requester = DelegationRequester(self._make_key())
        form = {
            "access_token": grant.token,
            "certreq": base64.b64encode(requester.request_der).decode("ascii"),
        }
        if lifetime is not None:
            form["certlifetime"] = str(int(lifetime.total_seconds()))
        data = self._ask("getcert", form)
        if not data.startswith(b"username="):
            raise _refusal(_read_json(data))
        found = load_certificates(data, what="the portal's answer")
        return requester.accept([one.der for one in found], now=self._now())

    def end(self, grant: Grant) -> None:
        """End what the user has allowed; proxies that were fetched are good until they end.

        Raises:
            GridError: No connection, or the portal refuses.
        """
        self._ask_json("revoke", {"token": grant.token})

    def _grant(self, told: Mapping[str, object]) -> Grant:
        texts = [told.get(name) for name in ("username", "ends", "access_token", "subject")]
        username, ends, token, subject = (one if isinstance(one, str) else "" for one in texts)
        if not username or not token or not re.fullmatch(r"[0-9-]{10}T[0-9:]{8}Z", ends, re.ASCII):
            raise RemoteProtocolError("the portal's answer has no token")
        try:
            moment = datetime.strptime(ends, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError as error:
            raise RemoteProtocolError("the portal's answer has no time") from error
        return Grant(username, moment, token, subject)

    def _ask_json(self, what: str, form: Mapping[str, str]) -> dict[str, object]:
        told = _read_json(self._ask(what, form))
        if "error" in told:
            raise _refusal(told)
        return told

    def _ask(self, what: str, form: Mapping[str, str]) -> bytes:
        secret = self._secret.reveal().decode("utf-8", "surrogateescape")
        body = urlencode({"client_id": self._client_id, "client_secret": secret, **form}).encode()
        answer = fetch(
            f"{self._issuer}/api/v1/{what}",
            timeout=TIMEOUT_SECONDS,
            max_bytes=MAX_ANSWER_BYTES,
            proxies=read_proxies(),
            context=self._context(),
            post=Post("application/x-www-form-urlencoded", body, accepts=_ANSWERS),
        )
        return answer.data

    def _context(self) -> ssl.SSLContext:
        return make_context(self._trust_dir)


def _read_json(data: bytes) -> dict[str, object]:
    try:
        told = json.loads(data)
    except ValueError as error:
        raise RemoteProtocolError("the portal's answer is no JSON", hint="is that the address of a portal?") from error
    if not isinstance(told, dict):
        raise RemoteProtocolError("the portal's answer is no JSON object")
    return told


def _refusal(told: Mapping[str, object]) -> Exception:
    error = told.get("error")
    text = f"the portal says: {_short(str(error))}: {_short(str(told.get('error_description', '')))}"
    if error in {"invalid_token", "invalid_grant"}:
        return LogOnAgainError(text)
    if error == "slow_down":
        return TransportError(text)
    return RefusedError(text)


def _short(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])
