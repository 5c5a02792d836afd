"""The OAuth endpoint: tokens for whoever shows a proxy, and narrower ones for tokens they hold (RFC 6749, RFC 8693).

    answer = exchange(asked, {"grant_type": TOKEN_EXCHANGE, "subject_token": token, "scope": "storage.read:/data"})

| grant | what is given |
|---|---|
| `client_credentials` | a token for the owner of the client's certificate (RFC 8705 section 2.1) |
| token exchange | the same within what the `subject_token` says: one of ours, of the same user, still good |

Never more than is asked for, than the subject token says, and than the policy grants now. Tokens are bound to the
client's certificate (`cnf`), unless `bound=false` is asked for. Errors have the words of RFC 6749 section 5.2.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from cas.assertion.jwks import TOKEN_EXCHANGE, key_set
from cas.assertion.revocations import identifier_of
from cas.assertion.scopes import SCITOKENS_RULES, WLCG_RULES
from cas.assertion.value import subject_of
from cas.issuing import Form, FormOptions
from cas.policy.model import ActionName
from cas.policy.request import EVERYTHING, MAX_WANTED, PolicyRequest, Wanted
from cas.server.capabilities import issue
from cas.service import CapabilityRequest
from gsi.errors import CapabilityError, DeniedError, GridError, IssuanceError, IssuanceStep
from gsi.tokens.compact import CompactToken
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.tokens.rules import ANY_AUDIENCES, EVERY_GROUP, IssuerRules, Profile, TokenRules
from gsi.tokens.scopes import Scopes, parse_scopes
from gsi.tokens.verify import TokenVerifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cas.assertion.token import TokenOptions
    from cas.server.operation import Asked
    from gsi.tokens.scopes import Capability
    from gsi.tokens.verify import VerifiedToken

__all__ = ["CLIENT_CREDENTIALS", "TOKEN_EXCHANGE", "TokenRefusalError", "exchange", "request_of"]

CLIENT_CREDENTIALS: Final = "client_credentials"
_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
_OURS: Final = frozenset({_ACCESS_TOKEN, _JWT})
_MAX_AUDIENCES: Final = 64
_GROUPS: Final = "wlcg.groups"


class TokenRefusalError(DeniedError):
    """A refusal in the words of RFC 6749.

    Attributes:
        code: `invalid_request`, `invalid_scope`, ...
    """

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class _Narrowing(NamedTuple):
    """What is asked for.

    Attributes:
        policy: The rights; None for none.
        fqans: The groups; empty for all of them, None for none.
        allowed: What the token's scopes have to be within; None for no bound.
    """

    policy: PolicyRequest | None
    fqans: tuple[str, ...] | None
    allowed: tuple[Capability, ...] | None


def exchange(asked: Asked, form: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """Return the answer to a request.

    Args:
        asked: Who asks.
        form: The fields of the body, each with all of its values.

    Raises:
        TokenRefusalError: There is no token.
        GridError: It cannot be issued.
    """
    tokens = asked.community.forms.tokens
    if tokens is None:
        raise TokenRefusalError("invalid_request", "this server gives no tokens")
    grant = _one(form, "grant_type")
    if grant not in {TOKEN_EXCHANGE, CLIENT_CREDENTIALS}:
        raise TokenRefusalError("unsupported_grant_type", "only token exchange and client credentials")
    if _one(form, "requested_token_type") not in {"", *_OURS}:
        raise TokenRefusalError("invalid_request", "only access tokens are given")
    if form.get("actor_token"):
        raise TokenRefusalError("invalid_request", "nobody acts for others here")
    audience = tuple(dict.fromkeys((*form.get("audience", ()), *form.get("resource", ()))))
    if len(audience) > _MAX_AUDIENCES:
        raise TokenRefusalError("invalid_target", "too many audiences")
    profile = _profile(_one(form, "profile"), tokens.profile)
    options = tokens.options(profile)
    try:
        wanted = parse_scopes(_one(form, "scope"))
    except CapabilityError as error:
        raise TokenRefusalError("invalid_scope", error.message) from error
    subject = None
    lifetime = _lifetime(_one(form, "lifetime"))
    if grant == TOKEN_EXCHANGE:
        subject = _subject(asked, form, tokens.issuer)
        audience = _narrow_audience(audience, subject)
        wanted = _narrow_scopes(wanted, subject)
        left = subject.not_after - asked.community.now()
        lifetime = min(lifetime or left, left)
    narrowing = request_of(wanted, options, audience, says_groups=asked.community.says_groups(profile))
    if subject is not None:
        narrowing = _narrow_groups(narrowing, subject)
    fqans = narrowing.fqans
    if fqans is not None:
        fqans = asked.community.bound_fqans(asked.peer, fqans)
    nickname = asked.community.service.whoami(asked.caller)
    request = CapabilityRequest(
        policy=narrowing.policy,
        fqans=fqans,
        lifetime=lifetime,
        audience=audience,
        bind_key=_one(form, "bound") != "false" or (subject is not None and subject.is_bound),
        form=Form.JWT.value,
    )
    client = nickname if profile is Profile.RFC9068 else ""
    _, made = issue(asked, Form.JWT, request, FormOptions(profile=profile, client_id=client))
    scope = str(made["scope"])
    _check_within(scope, narrowing.allowed)
    return {"access_token": made["capability"], "scope": scope, "expires": made["not_after"], "jti": made["id"]}


# --- reading ----------------------------------------------------------------------------------------------------------


def _one(form: Mapping[str, Sequence[str]], name: str) -> str:
    values = form.get(name, ())
    if len(values) > 1:  # RFC 6749 section 3.2
        raise TokenRefusalError("invalid_request", f"{name} is there several times")
    return values[0] if values else ""


def _profile(text: str, default: Profile) -> Profile:
    try:
        return Profile(text) if text else default
    except ValueError as error:
        raise TokenRefusalError("invalid_request", f"profile is one of {', '.join(Profile)}") from error


def _lifetime(text: str) -> timedelta | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < len(text) < 10:
        raise TokenRefusalError("invalid_request", "lifetime is a number of seconds")
    return timedelta(seconds=int(text)) or None


def request_of(
    wanted: Scopes, options: TokenOptions, audience: Sequence[str] = (), *, says_groups: bool = False
) -> _Narrowing:
    """Return the rights and groups that scopes stand for, the way back of `cas.assertion.scopes`.

    Args:
        wanted: What is asked for; nothing asks for all.
        options: How tokens are written.
        audience: For whom.
        says_groups: Whether tokens say groups.

    Raises:
        TokenRefusalError: A scope that stands for nothing here.
    """
    groups: list[str] = []
    all_groups = not wanted.capabilities and not wanted.others
    for other in wanted.others:
        name, colon, group = other.partition(":")
        if name == _GROUPS:
            all_groups = all_groups or not colon
            groups += [group] if colon else []
        elif name not in {"openid", "wlcg", "offline_access"}:
            raise TokenRefusalError("invalid_scope", f"the scope {other[:80]!r} is not given here")
    fqans = None if not says_groups else () if all_groups else tuple(groups) or None
    if not wanted.capabilities:
        if wanted.others and fqans is None:
            raise TokenRefusalError("invalid_scope", "none of these scopes stands for a right or a group here")
        return _Narrowing(None if wanted.others else EVERYTHING, fqans, None)
    own = SCITOKENS_RULES if options.profile is Profile.SCITOKENS else WLCG_RULES
    found: dict[Wanted, None] = {}
    for one in wanted.capabilities:
        for rule in options.mapping.rules or own:
            if rule.scope != one.name:
                continue
            actions = frozenset(ActionName(rule.service_type, name) for name in rule.actions)
            for base in options.mapping.bases:
                if not frozenset(audience) <= base.audiences:
                    continue
                place = "/".join((base.prefix.removesuffix("/"), *(one.path or ())))
                found[Wanted(base.namespace, f"{place}/*", actions)] = None
                if base.single_files and one.path:
                    found[Wanted(base.namespace, place, actions)] = None
    if not found or len(found) > MAX_WANTED:
        raise TokenRefusalError("invalid_scope", "none of these scopes is given here, or too many are asked for")
    return _Narrowing(PolicyRequest(tuple(found)), fqans, wanted.capabilities)


# --- the subject token ------------------------------------------------------------------------------------------------


def _subject(asked: Asked, form: Mapping[str, Sequence[str]], issuer: str) -> VerifiedToken:
    """Return what the subject token proves: one of ours, of the caller's own.

    Raises:
        TokenRefusalError: It does not.
    """
    text, kind = _one(form, "subject_token"), _one(form, "subject_token_type")
    if not text or kind not in _OURS:
        raise TokenRefusalError("invalid_request", f"subject_token and subject_token_type ({_ACCESS_TOKEN}) are needed")
    community = asked.community
    now = community.now()
    try:
        audiences = _audiences(CompactToken.parse(text).claims.get("aud"))
        rules = TokenRules(
            issuers=(IssuerRules(issuer=issuer, groups=(EVERY_GROUP,)),),
            audiences=(audiences - frozenset(ANY_AUDIENCES.values())) | {issuer},
        )
        keys = StaticKeys({issuer: parse_key_set(key_set(community.forms.published(now)))})
        found = TokenVerifier(rules, keys).verify(text, now=now, peer=asked.peer)
        identifier = identifier_of(found.token_id)
    except CapabilityError as error:
        raise TokenRefusalError("invalid_request", f"the subject token: {error.message}") from error
    except GridError as error:
        raise TokenRefusalError("invalid_request", "the subject token cannot be judged") from error
    if identifier in community.withdrawn.read(now=now):
        raise TokenRefusalError("invalid_request", "the subject token was withdrawn")
    if found.subject != subject_of(community.service.whoami(asked.caller)):
        raise TokenRefusalError("invalid_request", "the subject token is another user's")
    return found


def _audiences(claim: object) -> frozenset[str]:
    listed = [claim] if isinstance(claim, str) else claim
    if not isinstance(listed, list) or len(listed) > _MAX_AUDIENCES or not all(isinstance(one, str) for one in listed):
        return frozenset()
    return frozenset(listed) - {""}


def _narrow_audience(audience: tuple[str, ...], subject: VerifiedToken) -> tuple[str, ...]:
    known = _audiences(subject.claims.get("aud"))
    if ANY_AUDIENCES.get(subject.profile) in known:
        return audience
    if not audience:
        return tuple(sorted(known))
    if not known.issuperset(audience):
        raise TokenRefusalError("invalid_target", "the subject token is not meant for this audience")
    return audience


def _narrow_scopes(wanted: Scopes, subject: VerifiedToken) -> Scopes:
    if not wanted.capabilities and not wanted.others:
        return Scopes(subject.capabilities, tuple(f"{_GROUPS}:{group}" for group in subject.groups))
    for one in wanted.capabilities:
        if not any(_covers(held, one) for held in subject.capabilities):
            raise TokenRefusalError("invalid_scope", "the subject token does not have all of these scopes")
    return wanted


def _narrow_groups(narrowing: _Narrowing, subject: VerifiedToken) -> _Narrowing:
    fqans = narrowing.fqans
    if fqans is not None:
        held = subject.groups
        fqans = held if not fqans else tuple(one for one in fqans if one in held)
    policy = narrowing.policy if narrowing.allowed is not None else None
    return narrowing._replace(fqans=fqans or None, policy=policy)


def _covers(held: Capability, wanted: Capability) -> bool:
    return held.allows(wanted.name) and (wanted.path is None or held.covers(wanted.path))


def _check_within(scope: str, allowed: tuple[Capability, ...] | None) -> None:
    """Insist that a token says no more than was asked for, whatever way it came about.

    Raises:
        IssuanceError: GRANT: it does.
    """
    if allowed is None:
        return
    for one in parse_scopes(scope).capabilities:
        if not any(_covers(held, one) for held in allowed):
            raise IssuanceError("the token would say more than was asked for", step=IssuanceStep.GRANT)
