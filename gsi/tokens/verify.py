"""Judging tokens: the rules of the WLCG profile, of SciTokens 2.0 and of RFC 9068, in a written order; pure.

    verifier = TokenVerifier(rules, keys)
    token = verifier.verify(text, now=now, peer=peer)
    token.capabilities                         # what scopes allow, below the issuer's base path
    token.groups                               # those of its issuer, and only where there are no capabilities

The order: A take apart, B the header, C the issuer (before any key is looked for), D the key and the signature, E the
claims of the profile, F time, G audience, H binding to the presenter's certificate, I scopes and groups, J one use.
Nothing that a token says is acted upon before D but the choice of its issuer and key.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gsi.errors import CapabilityError, CapabilityProblem
from gsi.tokens.compact import CompactToken
from gsi.tokens.rules import ANY_AUDIENCES, Binding, Profile
from gsi.tokens.scopes import Capability, parse_groups, parse_scopes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gsi.certificate import Certificate
    from gsi.tokens.keys import KeySource
    from gsi.tokens.replay import ReplayGuard
    from gsi.tokens.rules import IssuerRules, TokenRules
    from gsi.trust.peer import VerifiedPeer

__all__ = ["TokenVerifier", "VerifiedToken", "certificate_thumbprint"]

P: Final = CapabilityProblem

_TYPES: Final = frozenset({"jwt", "at+jwt"})
_FORBIDDEN_HEADERS: Final = frozenset({"jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"})
_KNOWN_HEADERS: Final = frozenset({"alg", "kid", "typ", "cty", "x5t", "x5t#S256"})
_REQUIRED: Final[Mapping[Profile, tuple[str, ...]]] = MappingProxyType(
    {
        Profile.WLCG: ("iss", "sub", "aud", "exp", "iat", "jti", "wlcg.ver"),
        Profile.SCITOKENS: ("iss", "aud", "exp", "scope", "ver"),
        Profile.RFC9068: ("iss", "sub", "aud", "exp", "iat", "jti", "client_id"),
    }
)
_GROUPS: Final = "wlcg.groups"
_WLCG_VERSION: Final = re.compile(r"1\.\d{1,4}\Z", re.ASCII)
_SCITOKENS_VERSION: Final = "scitoken:2.0"
_MAX_TEXT_CHARS: Final = 255  # of sub and jti: WLCG profile
_MAX_AUDIENCES: Final = 64
_LAST: Final = 253402300799  # the end of the year 9999


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """What a token proves.

    Attributes:
        issuer: Who says so.
        subject: Of whom; empty for a SciToken without `sub`.
        profile: The text that it follows.
        capabilities: What its scopes allow; paths as the token has them.
        base_path: What stands before these paths on this site.
        groups: `wlcg.groups` in their order, as far as its issuer may speak of them; none where there are capabilities.
        foreign_groups: Those that are not its issuer's to give: they count for nothing.
        not_before: When it begins (aware UTC).
        not_after: When it ends.
        token_id: Its `jti`, or empty.
        is_bound: Whether it is bound to the presenter's certificate; else whoever has it can use it.
        claims: All of its claims, without the foreign groups. Those that are not known here are what its issuer says,
            and must not decide anything unless it is asked who that is.
        key_thumbprint: Of the key that has signed it (RFC 7638): equal keys, equal thumbprints.
        key_certificates: What its issuer has published with this key, its own first; nobody has judged them.
    """

    issuer: str
    subject: str
    profile: Profile
    capabilities: tuple[Capability, ...]
    base_path: tuple[str, ...]
    groups: tuple[str, ...]
    foreign_groups: tuple[str, ...] = ()
    not_before: datetime
    not_after: datetime
    token_id: str
    is_bound: bool
    claims: Mapping[str, object] = field(repr=False, hash=False)
    key_thumbprint: str = ""
    key_certificates: tuple[Certificate, ...] = field(default=(), repr=False)

    @property
    def identity(self) -> str:
        """The name to authorise: issuer and subject, joined by `#`."""
        return f"{self.issuer}#{self.subject}"


def _refuse(message: str, problem: CapabilityProblem) -> CapabilityError:
    return CapabilityError(f"token: {message}", problem=problem)


def certificate_thumbprint(certificate_der: bytes) -> str:
    """Return `x5t#S256` of a certificate (RFC 8705 section 3.1)."""
    return base64.urlsafe_b64encode(hashlib.sha256(certificate_der).digest()).rstrip(b"=").decode("ascii")


class TokenVerifier:
    """Judges tokens by a site's rules. Safe for several threads.

    Args:
        rules: What the site accepts.
        keys: The issuers' keys.
        replay: Remembers tokens that may be used once; needed where the rules say so.
    """

    __slots__ = ("_keys", "_replay", "_rules")

    def __init__(self, rules: TokenRules, keys: KeySource, *, replay: ReplayGuard | None = None) -> None:
        self._rules = rules
        self._keys = keys
        self._replay = replay

    def verify(self, text: str, *, now: datetime, peer: VerifiedPeer | None = None) -> VerifiedToken:
        """Judge a token; return what it proves.

        Args:
            text: The token, without `Bearer`.
            now: The present time (aware UTC).
            peer: Who presents it, as far as a certificate chain proved that.

        Raises:
            CapabilityError: It must not be believed.
        """
        token = CompactToken.parse(text)  # A
        issuer = token.claims.get("iss")
        try:
            return self._verify(token, issuer, now, peer)
        except CapabilityError as error:
            if error.issuer is None and isinstance(issuer, str):
                error.issuer = issuer[:_MAX_TEXT_CHARS]
            raise

    def would_fetch(self, text: str, *, now: datetime) -> bool:
        """Say whether `verify` would have the issuer's keys fetched, and so wait: only for what gets as far as D."""
        ask = getattr(self._keys, "would_fetch", None)
        if ask is None:
            return False
        try:
            token = CompactToken.parse(text)
            kid = _check_header(token.header)
        except CapabilityError:
            return False
        issuer = token.claims.get("iss")
        return isinstance(issuer, str) and self._rules.find(issuer) is not None and bool(ask(issuer, kid, now=now))

    def _verify(self, token: CompactToken, issuer: object, now: datetime, peer: VerifiedPeer | None) -> VerifiedToken:
        kid = _check_header(token.header)  # B
        if not isinstance(issuer, str):
            raise _refuse("without an issuer", P.ISSUER)
        rules = self._rules.find(issuer)  # C
        if rules is None:
            raise _refuse(f"the issuer {issuer[:80]!r} is not trusted here", P.ISSUER)
        key = self._keys.find_key(issuer, kid, now=now)  # D
        key.verify(token)
        claims = token.claims
        profile = _find_profile(claims, token.header)  # E
        _check_claims(claims, profile, rules)
        not_before, not_after = self._check_times(claims, rules, now)  # F
        self._check_audience(claims, profile)  # G
        is_bound = self._check_binding(claims, peer)  # H
        capabilities, groups, foreign = _read_rights(claims, rules)  # I
        token_id = str(claims.get("jti", ""))
        if self._rules.one_time:  # J
            self._use_once(issuer, token_id, not_after, now)
        return VerifiedToken(
            issuer=issuer,
            subject=str(claims.get("sub", "")),
            profile=profile,
            capabilities=capabilities,
            base_path=rules.base_path,
            groups=() if capabilities else groups,
            foreign_groups=foreign,
            not_before=not_before,
            not_after=not_after,
            token_id=token_id,
            is_bound=is_bound,
            claims=MappingProxyType({**claims, _GROUPS: list(groups)} if foreign else dict(claims)),
            key_thumbprint=key.thumbprint,
            key_certificates=key.certificates,
        )

    def _check_times(
        self, claims: Mapping[str, object], rules: IssuerRules, now: datetime
    ) -> tuple[datetime, datetime]:
        expires = _time(claims, "exp")
        issued = _time(claims, "iat")
        begins = _time(claims, "nbf")
        start = issued or begins
        if expires is None or start is None:
            raise _refuse("it does not say when it was issued and when it ends", P.CONTENT)
        if now >= expires:
            raise _refuse(f"expired at {expires:%Y-%m-%dT%H:%M:%SZ}", P.EXPIRED)
        latest = max(start, begins or start)
        if latest > now + self._rules.skew:
            raise _refuse(f"not valid before {latest:%Y-%m-%dT%H:%M:%SZ}", P.NOT_YET_VALID)
        if not timedelta() < expires - start <= rules.max_lifetime:
            raise _refuse(f"its life is not between 0 and {rules.max_lifetime}", P.LIFETIME)
        return begins or start, expires

    def _check_audience(self, claims: Mapping[str, object], profile: Profile) -> None:
        claim = claims.get("aud")
        audiences = [claim] if isinstance(claim, str) else claim
        if (
            not isinstance(audiences, list)
            or not 0 < len(audiences) <= _MAX_AUDIENCES
            or not all(isinstance(one, str) and one for one in audiences)
        ):
            raise _refuse("its audience is no text and no list of texts", P.AUDIENCE)
        if not self._rules.audiences.isdisjoint(audiences):
            return
        everybody = ANY_AUDIENCES.get(profile)
        if not self._rules.accept_any_audience or everybody not in audiences:
            raise _refuse(f"it is meant for {audiences[0][:80]!r}, not for this service", P.AUDIENCE)

    def _check_binding(self, claims: Mapping[str, object], peer: VerifiedPeer | None) -> bool:
        """Check that the presenter is who the token is bound to (RFC 8705 section 3)."""
        if "cnf" not in claims:
            if self._rules.binding is Binding.REQUIRED:
                raise _refuse("it is not bound to a certificate", P.HOLDER)
            return False
        claim = claims["cnf"]
        if not isinstance(claim, dict) or set(claim) != {"x5t#S256"}:
            raise _refuse("it is bound in a way that is not known here", P.HOLDER)
        if peer is None or claim["x5t#S256"] not in _thumbprints(peer):
            raise _refuse("it is bound to another certificate than the presenter's", P.HOLDER)
        return True

    def _use_once(self, issuer: str, token_id: str, not_after: datetime, now: datetime) -> None:
        if self._replay is None or not token_id:
            raise _refuse("it may be used once only, and nobody can remember it", P.REPLAYED)
        if not self._replay.remember(issuer, token_id, until=not_after, now=now):
            raise _refuse("it was used before", P.REPLAYED)


def _check_header(header: Mapping[str, object]) -> str:
    """Return the kid of a header that says nothing that could lead astray."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm.lower() == "none" or algorithm.startswith("HS"):
        raise _refuse(f"the algorithm {str(algorithm)[:20]!r} proves nothing here", P.ALGORITHM)
    if "crit" in header:
        raise _refuse("its header has critical members that are not known here", P.CRITICAL)
    found = sorted(_FORBIDDEN_HEADERS & header.keys())
    if found:
        raise _refuse(f"its header brings {found[0]!r}, and keys are never taken from a token", P.KEY)
    if not _KNOWN_HEADERS.issuperset(header) or not all(isinstance(value, str) for value in header.values()):
        raise _refuse("its header has members that are not known here", P.CONTENT)
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise _refuse(f"of the type {str(kind)[:40]!r}, not an access token", P.VERSION)
    kid = header.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_TEXT_CHARS:
        raise _refuse("without a kid", P.KEY)
    return kid


def _find_profile(claims: Mapping[str, object], header: Mapping[str, object]) -> Profile:
    """Tell which text a token follows; its version must be one that is understood."""
    if "wlcg.ver" in claims:
        version = claims["wlcg.ver"]
        if not isinstance(version, str) or not _WLCG_VERSION.match(version):
            raise _refuse(f"of the version {str(version)[:20]!r} of the WLCG profile", P.VERSION)
        return Profile.WLCG
    if "ver" in claims:
        if claims["ver"] != _SCITOKENS_VERSION:
            raise _refuse(f"of the version {str(claims['ver'])[:40]!r}", P.VERSION)
        return Profile.SCITOKENS
    if str(header.get("typ", "")).lower().removeprefix("application/") == "at+jwt":
        return Profile.RFC9068
    raise _refuse("of no profile that is known here", P.VERSION)


def _check_claims(claims: Mapping[str, object], profile: Profile, rules: IssuerRules) -> None:
    if profile not in rules.profiles:
        raise _refuse(f"of the profile {profile.value}, which is not accepted from its issuer", P.VERSION)
    missing = [name for name in _REQUIRED[profile] if name not in claims]
    if missing:
        raise _refuse(f"without the claim {missing[0]!r}", P.CONTENT)
    for name in ("sub", "jti", "client_id"):
        if name in claims and not _is_plain(claims[name]):
            raise _refuse(
                f"its claim {name!r} is no text of at most {_MAX_TEXT_CHARS} printable ASCII characters", P.CONTENT
            )


def _is_plain(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT_CHARS and value.isascii() and value.isprintable()


def _time(claims: Mapping[str, object], name: str) -> datetime | None:
    """Return a NumericDate (RFC 7519 section 2), or None where there is none."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST:
        raise _refuse(f"its claim {name!r} is no time", P.CONTENT)
    return datetime.fromtimestamp(value, UTC)


def _thumbprints(peer: VerifiedPeer) -> set[str]:
    """Return the thumbprints that stand for a presenter: its own certificate's, and what gave it all its rights.

    A full or limited proxy acts for whoever stands above it; one with an identity of its own for itself alone.
    """
    own = peer.chain[: peer.chain.index(peer.eec) + 1]
    if peer.identity_der != peer.eec.subject_der:
        own = own[:1]
    return {certificate_thumbprint(certificate.der) for certificate in own}


def _read_rights(
    claims: Mapping[str, object], rules: IssuerRules
) -> tuple[tuple[Capability, ...], tuple[str, ...], tuple[str, ...]]:
    """Return what a token's scopes allow, the groups that its issuer may speak of, and those that it may not."""
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise _refuse("its scope is no text", P.CONTENT)
    capabilities = parse_scopes(scope).capabilities
    groups = parse_groups(claims[_GROUPS]) if _GROUPS in claims else ()
    own = tuple(group for group in groups if rules.may_speak_of(group))
    return capabilities, own, tuple(group for group in groups if group not in own)
