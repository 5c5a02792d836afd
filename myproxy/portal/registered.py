"""Applications that may ask users for proxies: how they are registered, and how they prove who they are; no HTTP.

    [applications.gateway]
    title = "Climate Gateway"
    redirects = ["https://gateway.example.org/grid/back"]
    secret_sha256 = "..."                        # myproxy-portal --register makes it

Secrets are made here, 256 random bits, so that a plain hash of one tells nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gsi.errors import ConfigError
from gsi.system.config import option

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FULL", "LIMITED", "SCOPES", "ApplicationSettings", "check_names", "hash_secret", "make_secret", "register"]

LIMITED: Final = "proxy:limited"
"""Limited proxies: good for data transfers, not for starting jobs."""
FULL: Final = "proxy:full"
SCOPES: Final = (LIMITED, FULL)
MAX_REDIRECT: Final = 512
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationSettings:
    """A table `[applications.ID]`.

    Attributes:
        title: What users are asked about.
        redirects: Where users may be sent back to; compared letter by letter.
        secret_sha256: The SHA-256 of the application's secret, in hexadecimal.
        scopes: What it may ask for: `proxy:limited`, `proxy:full`.
        longest: How long a user's consent lasts at most.
        proxy_lifetime: How long each proxy is at most.
    """

    title: str
    redirects: tuple[str, ...]
    secret_sha256: str
    scopes: tuple[str, ...] = (LIMITED,)
    longest: timedelta = option(timedelta(hours=12), minimum=5 * _MINUTE, maximum=timedelta(days=30))
    proxy_lifetime: timedelta = option(timedelta(hours=12), minimum=5 * _MINUTE, maximum=timedelta(days=11))

    def __post_init__(self) -> None:
        """Refuse what could send users, or their proxies, to somebody else."""
        if not self.title or not self.redirects:
            raise ConfigError("title and redirects are needed")
        if not _HASH.match(self.secret_sha256):
            raise ConfigError("secret_sha256: not a SHA-256 in hexadecimal", hint="myproxy-portal --register makes one")
        for one in self.redirects:
            _check_redirect(one)
        for scope in self.scopes:
            if scope not in SCOPES:
                raise ConfigError(f"scopes: {scope!r} is not one of {', '.join(SCOPES)}")
        if not self.scopes:
            raise ConfigError("scopes: without one the application can ask for nothing")

    def knows(self, secret: str) -> bool:
        """Say whether a secret is the application's, in constant time."""
        return hmac.compare_digest(hash_secret(secret), self.secret_sha256)


def _check_redirect(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    own = parts.scheme == "http" and host in _LOOPBACK
    if not host or not (parts.scheme == "https" or own) or parts.username is not None or len(url) > MAX_REDIRECT:
        raise ConfigError(f"redirects: {url!r} is no https URL", hint="http is for localhost alone")
    if "#" in url or not url.isascii() or not url.isprintable() or any(letter in url for letter in " \\\"'<>;,*"):
        raise ConfigError(f"redirects: {url!r} has what cannot be in such a URL")


def check_names(names: Iterable[str]) -> None:
    """Refuse identifiers that cannot travel.

    Raises:
        ConfigError: One of them is such.
    """
    for name in names:
        if not _ID.match(name):
            raise ConfigError(
                f"applications: {name!r} is no identifier", hint="letters, digits, dot, hyphen, underscore"
            )


def make_secret() -> str:
    """Return a new secret."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def register(name: str, redirect: str) -> tuple[str, str]:
    """Return a new application's table for the configuration, and its secret.

    Args:
        name: Its identifier.
        redirect: Where users are sent back to.

    Raises:
        ConfigError: One of them is not good.
    """
    check_names([name])
    secret = make_secret()
    made = ApplicationSettings(title=name, redirects=(redirect,), secret_sha256=hash_secret(secret))
    key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
    lines = (
        f"[applications.{key}]",
        f'title = "{made.title}"',
        f'redirects = ["{redirect}"]',
        f'secret_sha256 = "{made.secret_sha256}"',
        f'scopes = ["{LIMITED}"]',
        'longest = "12h"',
    )
    return "\n".join((*lines, "")), secret
