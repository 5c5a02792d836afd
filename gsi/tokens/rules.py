"""What a site accepts of tokens: from whom, for whom, for how long; values, checked when they are made.

rules = TokenRules(
    (IssuerRules("https://vo.example.org/", base_path=("vo",), groups=("/vo",)),),
    audiences=frozenset({"https://se.example.org:8443"}),
)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from gsi.errors import CapabilityError, ConfigError
from gsi.tokens.scopes import parse_groups

__all__ = ["ANY_AUDIENCES", "EVERY_GROUP", "Binding", "IssuerRules", "Profile", "TokenRules", "check_https"]

_MAX_LIFETIME: Final = timedelta(hours=6)  # of an access token, WLCG profile
_SKEW: Final = timedelta(seconds=60)  # by which the WLCG profile has issuers backdate
_MAX_URL_CHARS: Final = 1024


class Profile(StrEnum):
    """Which text a token follows."""

    WLCG = "wlcg"
    SCITOKENS = "scitokens"
    RFC9068 = "rfc9068"


ANY_AUDIENCES: Final = {
    Profile.WLCG: "https://wlcg.cern.ch/jwt/v1/any",
    Profile.SCITOKENS: "ANY",
}
"""The audience that means everybody, for the profiles that have one."""


EVERY_GROUP: Final = "/"
"""In `IssuerRules.groups` whatever an issuer says: for an issuer that judges its own tokens. No setting says it."""


class Binding(StrEnum):
    """Whether a token must be bound to the certificate of whoever presents it (`cnf`, RFC 8705)."""

    REQUIRED = "required"
    IF_PRESENT = "if-present"


def check_https(url: str, what: str) -> str:
    """Return a URL that is https, with a host and without user, query or fragment.

    Raises:
        ConfigError: It is not.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{what} {url[:80]!r} is no URL: {error}") from error
    if (
        parts.scheme != "https"
        or not url.startswith("https://")
        or not parts.hostname
        or parts.username is not None
        or "?" in url
        or "#" in url
        or port == 0
        or len(url) > _MAX_URL_CHARS
        or not url.isascii()
        or not url.isprintable()
        or " " in url
        or "\\" in url
    ):
        raise ConfigError(f"{what} {url[:80]!r} is no https URL", hint="https://host[:port][/path]")
    return url


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerRules:
    """What is accepted from one issuer.

    Attributes:
        issuer: The exact `iss`, an https URL; a final slash matters.
        profiles: Which tokens of it.
        max_lifetime: The longest time from `iat` to `exp`.
        base_path: Before every path in its scopes: the part of the storage that is the issuer's.
        groups: Of which groups it may speak, each with those below it: its own VO. None of any other in a token of
            its counts, and without any it conveys no group at all.
        jwks_uri: Where its keys are, instead of asking its discovery document.

    Raises:
        ConfigError: A URL that is not https, no profile, a lifetime or a group that is none.
    """

    issuer: str
    profiles: frozenset[Profile] = frozenset(Profile)
    max_lifetime: timedelta = _MAX_LIFETIME
    base_path: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    jwks_uri: str | None = None

    def __post_init__(self) -> None:
        check_https(self.issuer, "the issuer")
        if self.jwks_uri is not None:
            check_https(self.jwks_uri, "the place of keys")
        if not self.profiles or self.max_lifetime <= timedelta():
            raise ConfigError(f"{self.issuer}: no profile, or no lifetime above zero")
        try:
            parse_groups([group for group in self.groups if group != EVERY_GROUP])
        except CapabilityError as error:
            message = f"{self.issuer}: groups: {error.message.removeprefix('token: ')}"
            raise ConfigError(message, hint="the VO: /atlas, or a group of it") from error

    def may_speak_of(self, group: str) -> bool:
        """Say whether a group is one of the issuer's, or below one: `/atlas` has `/atlas/prod`, and no `/atlasx`."""
        return any(own in {EVERY_GROUP, group} or group.startswith(f"{own}/") for own in self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """What a site accepts.

    Attributes:
        issuers: From whom; nobody else's keys are ever looked for.
        audiences: Its own names, compared with their case; a token must name one of them.
        accept_any_audience: Also take tokens that are meant for everybody.
        skew: By how much `iat` and `nbf` may lie in the future.
        binding: Whether tokens must be bound to a certificate. One that is bound is never taken from others.
        one_time: Take each `jti` once; needs a replay guard.

    Raises:
        ConfigError: Two issuers of one name, or nobody to accept or be.
    """

    issuers: tuple[IssuerRules, ...]
    audiences: frozenset[str]
    accept_any_audience: bool = True
    skew: timedelta = _SKEW
    binding: Binding = Binding.IF_PRESENT
    one_time: bool = False

    def __post_init__(self) -> None:
        if not self.issuers or not self.audiences or not all(self.audiences):
            raise ConfigError("token rules need an issuer and an audience")
        if len({one.issuer for one in self.issuers}) != len(self.issuers):
            raise ConfigError("two sets of rules for one issuer")
        if not self.audiences.isdisjoint(ANY_AUDIENCES.values()):
            raise ConfigError("an own audience that means everybody", hint="accept_any_audience says that")

    def find(self, issuer: str) -> IssuerRules | None:
        """Return the rules for an issuer, or None."""
        return next((one for one in self.issuers if one.issuer == issuer), None)
