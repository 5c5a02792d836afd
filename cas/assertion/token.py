"""A capability as a signed token (JWT): of the WLCG profile, of SciTokens 2.0, or of RFC 9068.

    issuer = TokenIssuer(key, TokenOptions(issuer="https://cas.example.org/climate", mapping=mapping))
    token = issuer.issue(capability, now=now)
    token.text, token.scopes, token.left_out, token.expires

What the rights say becomes scopes (`scopes`), what the groups say `wlcg.groups`; neither more than the capability. A
capability that names a key is bound to it (`cnf`, RFC 8705). The life is the capability's, cut to the profile's. Signed
by the key's one algorithm, named by its thumbprint. `gsi.tokens` is the side that believes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from cas.assertion.scopes import SCITOKENS_RULES, WLCG_RULES, ScopeMapping, map_rights
from cas.assertion.signing import b64url
from cas.assertion.value import subject_of
from gsi.errors import CapabilityError, ConfigError, DeniedError, IssuanceError, IssuanceStep
from gsi.tokens.compact import MAX_TOKEN_CHARS
from gsi.tokens.rules import Profile, check_https
from gsi.tokens.scopes import MAX_GROUPS, MAX_SCOPES, parse_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cas.assertion.signing import SigningKey
    from cas.assertion.value import Capability, Right

__all__ = ["MAX_LIFETIME", "IssuedToken", "TokenContent", "TokenIssuer", "TokenOptions", "groups_of", "sign_claims"]

MAX_LIFETIME: Final = timedelta(hours=6)
"""Of an access token: WLCG profile; the others say nothing and get the same."""

_MAX_TEXT_CHARS: Final = 255  # of sub and client_id: WLCG profile
_MAX_AUDIENCES: Final = 64  # what `gsi.tokens.verify` reads
_WLCG_VERSION: Final = "1.0"
_SCITOKENS_VERSION: Final = "scitoken:2.0"


class TokenContent(StrEnum):
    """What of a capability a token says."""

    CAPABILITIES = "capabilities"
    """The rights, as scopes."""
    GROUPS = "groups"
    """The groups: for services that know themselves what these may do."""
    BOTH = "both"
    """Both; where there are scopes, services pass over the groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """How tokens are written.

    Attributes:
        issuer: The exact `iss`: an https URL, below which the discovery document is.
        mapping: How rights become scopes.
        profile: The text that they follow.
        content: What they say. SciTokens have no groups.
        role_groups: FQANs with a role, in short form (`/vo/group/Role=r`), and the group that stands for each; other
            roles have no place in a token.
        max_lifetime: The longest life, at most that of the profile.

    Raises:
        ConfigError: An issuer that is no https URL, a life beyond the profile's, groups in SciTokens.
    """

    issuer: str
    mapping: ScopeMapping
    profile: Profile = Profile.WLCG
    content: TokenContent = TokenContent.CAPABILITIES
    role_groups: tuple[tuple[str, str], ...] = ()
    max_lifetime: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        check_https(self.issuer, "the issuer of tokens")
        if not timedelta() < self.max_lifetime <= MAX_LIFETIME:
            raise ConfigError(f"tokens live for more than nothing and at most {MAX_LIFETIME}")
        if self.profile is Profile.SCITOKENS and self.content is not TokenContent.CAPABILITIES:
            raise ConfigError("SciTokens have no groups", hint="use the WLCG profile")


class IssuedToken(NamedTuple):
    """A token with what became of the capability.

    Attributes:
        text: The token; a secret, unless it is bound.
        identifier: Its `jti`.
        scopes: What it allows.
        groups: What else it says.
        left_out: Rights that it does not say.
        expires: When it ends (aware UTC, whole seconds).
    """

    text: str
    identifier: str
    scopes: tuple[str, ...]
    groups: tuple[str, ...]
    left_out: tuple[Right, ...]
    expires: datetime

    def __repr__(self) -> str:
        return f"<IssuedToken {self.identifier}, until {self.expires:%Y-%m-%d %H:%M:%S}Z>"


def groups_of(fqans: Sequence[str], role_groups: Sequence[tuple[str, str]] = ()) -> tuple[str, ...]:
    """Return the groups of FQANs in their order: those without a role, and those that stand for one."""
    known = dict(role_groups)
    found: dict[str, None] = {}
    for fqan in fqans:
        short = fqan.removesuffix("/Capability=NULL").removesuffix("/Role=NULL")
        group = short if "/Role=" not in short and "/Capability=" not in short else known.get(short)
        if group is not None:
            found[group] = None
    return tuple(found)


def sign_claims(key: SigningKey, claims: dict[str, object], *, kind: str) -> str:
    """Return claims as a signed token (RFC 7515 section 7.1).

    Args:
        key: Signs.
        claims: The claims.
        kind: The header's `typ`.

    Raises:
        IssuanceError: SIGN: the key could not be used.
    """
    header = {"alg": key.algorithm, "kid": key.kid, "typ": kind}
    head, body = (b64url(json.dumps(one, separators=(",", ":")).encode("utf-8")) for one in (header, claims))
    signed = f"{head}.{body}"
    return f"{signed}.{b64url(key.sign_jws(signed.encode('ascii')))}"


class TokenIssuer:
    """Writes and signs tokens. Safe for several threads.

    Args:
        key: Signs.
        options: How they are written.
    """

    __slots__ = ("_key", "_options")

    def __init__(self, key: SigningKey, options: TokenOptions) -> None:
        self._key = key
        self._options = options

    def issue(self, capability: Capability, *, now: datetime, client_id: str = "", actor: str = "") -> IssuedToken:
        """Return the token of a capability.

        Args:
            capability: What is granted.
            now: The present time (aware UTC).
            client_id: The nickname of who asked; RFC 9068 needs one.
            actor: Who acts for the holder (RFC 8693 section 4.1), if anybody.

        Raises:
            DeniedError: The capability has nothing that can be said in such a token.
            IssuanceError: GRANT: something in it cannot be written, or it is too long; SIGN: the key could not be used.
        """
        options = self._options
        scopes, groups, audiences, left_out = self._content(capability)
        begins, issued = _seconds(capability.not_before), _seconds(capability.issued_at)
        ends = min(_seconds(capability.not_after), issued + int(options.max_lifetime.total_seconds()))
        ends = min(ends, _seconds(capability.holder.eec.not_after))
        if ends <= max(begins, issued, _seconds(now)):
            raise IssuanceError("its time is over before it begins", step=IssuanceStep.GRANT)
        claims: dict[str, object] = {
            "iss": options.issuer,
            "sub": _plain(subject_of(capability.holder.nickname), "the user's nickname"),
            "aud": audiences[0] if len(audiences) == 1 else list(audiences),
            "iat": issued,
            "nbf": begins,
            "exp": ends,
            "jti": capability.identifier.hex(),
        }
        if not capability.identifier:
            raise IssuanceError("a capability without an identifier", step=IssuanceStep.SERIAL)
        if scopes:
            claims["scope"] = " ".join(scopes)
        if groups:
            claims["wlcg.groups"] = list(groups)
        if capability.holder.key_thumbprint is not None:
            claims["cnf"] = {"x5t#S256": b64url(capability.holder.key_thumbprint)}
        if actor:
            claims["act"] = {"sub": actor}
        text = sign_claims(self._key, claims, kind=self._profile(claims, client_id))
        if len(text) > MAX_TOKEN_CHARS:
            raise IssuanceError(
                f"a token of {len(text)} characters, limit {MAX_TOKEN_CHARS}",
                step=IssuanceStep.GRANT,
                hint="ask for fewer rights",
            )
        expires = datetime.fromtimestamp(ends, capability.not_after.tzinfo)
        return IssuedToken(text, capability.identifier.hex(), scopes, groups, left_out, expires)

    def _content(
        self, capability: Capability
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[Right, ...]]:
        """Return scopes, groups, audiences, and the rights that cannot be said."""
        options = self._options
        rules = SCITOKENS_RULES if options.profile is Profile.SCITOKENS else WLCG_RULES
        mapped = map_rights(capability.rights, options.mapping, audience=capability.audience, rules=rules)
        if options.content is TokenContent.GROUPS:
            mapped = mapped._replace(scopes=(), left_out=capability.rights)
        scopes = mapped.scopes
        groups: tuple[str, ...] = ()
        if options.content is not TokenContent.CAPABILITIES:
            groups = groups_of(capability.fqans, options.role_groups)
        audiences = capability.audience or mapped.audiences
        if not scopes and not groups:
            raise DeniedError(
                "nothing in this capability can be said in a token",
                hint="rights become scopes for one service at a time, and only below the bases of the configuration",
            )
        if not audiences:
            raise DeniedError("a token has to be meant for somebody", hint="name the service as the audience")
        if len(scopes) > MAX_SCOPES or len(groups) > MAX_GROUPS or len(audiences) > _MAX_AUDIENCES:
            raise IssuanceError("more scopes, groups or audiences than a token holds", step=IssuanceStep.GRANT)
        try:
            parse_groups(list(groups))
        except CapabilityError as error:
            raise IssuanceError(error.message, step=IssuanceStep.GRANT) from error
        for one in audiences:
            _plain(one, "an audience")
        return scopes, groups, audiences, mapped.left_out

    def _profile(self, claims: dict[str, object], client_id: str) -> str:
        """Add what the profile asks for; return the token's type."""
        profile = self._options.profile
        if client_id:
            claims["client_id"] = _plain(subject_of(client_id), "the client's name")
        if profile is Profile.WLCG:
            claims["wlcg.ver"] = _WLCG_VERSION
        elif profile is Profile.SCITOKENS:
            claims["ver"] = _SCITOKENS_VERSION
        elif not client_id:
            raise IssuanceError("a token of RFC 9068 names the client that asked", step=IssuanceStep.GRANT)
        # Then all is there that RFC 9068 section 2.2 asks for. SciTokens are a kind of their own.
        return "at+jwt" if client_id and profile is not Profile.SCITOKENS else "JWT"


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _plain(text: str, what: str) -> str:
    if not 0 < len(text) <= _MAX_TEXT_CHARS or not text.isascii() or not text.isprintable():
        raise IssuanceError(
            f"{what} {text[:80]!r} is no text of at most {_MAX_TEXT_CHARS} printable ASCII characters",
            step=IssuanceStep.GRANT,
        )
    return text
