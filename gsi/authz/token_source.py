"""The attribute source for tokens: verifies those that a subject has shown, and adds groups, claims and scopes.

    [source.tokens]
    type = "tokens"
    audiences = ["https://se.example.org"]

    [source.tokens.issuers.vo]
    url = "https://vo.example.org/"
    base_path = "/vo"
    groups = ["/vo"]                             # of which it may speak; none conveys none

A token is shown as a `PresentedToken` among the subject's assertions, or over GridFTP's control channel as text of its
form. `gsi.authz.sources` has what all sources share, `gsi.authz.scopes` the authorizer that acts upon scopes.

A request has one token at most: what two of them say would be one set of claims and groups to whoever decides, and give
together what neither gives. So several that are good refuse the request. In a session the next one replaces the last.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  the settings' types are read at run time
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from gsi.authz.registry import SourcePlugin
from gsi.authz.sources import MAX_PRESENTED, Collector, OnFailure, PresentedToken, peer_of, replay_memory
from gsi.errors import CapabilityError, CapabilityProblem, ConfigError, ParseError
from gsi.system.config import option
from gsi.tokens.keycache import DEFAULT_LIFE, MAX_LIFE, MIN_LIFE, KeyCache
from gsi.tokens.keys import MAX_KEY_SET_BYTES, KeysByIssuer, StaticKeys, parse_key_set
from gsi.tokens.rules import EVERY_GROUP, Binding, IssuerRules, Profile, TokenRules
from gsi.tokens.scopes import parse_path
from gsi.tokens.verify import TokenVerifier, VerifiedToken

if TYPE_CHECKING:
    from gsi.authz.decision import AuthorizationRequest
    from gsi.authz.registry import Place
    from gsi.tokens.keys import KeySource

__all__ = ["PLUGIN", "TokenIssuerSettings", "TokenSettings", "TokenSource"]

_TOLD: Final = 8
"""How many groups a note names; a token has up to 512."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuerSettings:
    """What a policy says of one issuer of tokens.

    Attributes:
        url: The exact `iss`.
        profiles: Which tokens of it; none for all that are known.
        max_lifetime: The longest time from `iat` to `exp`.
        base_path: What stands before every path in its scopes.
        groups: Of which groups it may speak, each with those below it; none for no group at all.
        jwks_uri: Where its keys are, instead of asking its discovery document.
        jwks_file: A file with its keys; nothing is then fetched.
    """

    url: str
    profiles: tuple[Profile, ...] = ()
    max_lifetime: timedelta = timedelta(hours=6)
    base_path: str = "/"
    groups: tuple[str, ...] = ()
    jwks_uri: str = ""
    jwks_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """What a policy says of a source of tokens.

    Attributes:
        audiences: The service's own names.
        issuers: Whose tokens count.
        accept_any_audience: Also take tokens that are meant for everybody.
        binding: Whether tokens must be bound to the subject's certificate. One that is not says nothing about who shows
            it: then it is its own identity that ban lists would have to name.
        one_time: Take each token for one decision, as far as this process remembers: for services that ask once.
        key_life: How long fetched keys are used.
        trust_dir: CAs for the issuers' servers beside the system's; empty for none.
        on_failure: What is done about a token that cannot be verified.
    """

    audiences: tuple[str, ...]
    issuers: Mapping[str, TokenIssuerSettings]
    accept_any_audience: bool = True
    binding: Binding = Binding.REQUIRED
    one_time: bool = False
    key_life: timedelta = option(DEFAULT_LIFE, minimum=MIN_LIFE, maximum=MAX_LIFE)
    trust_dir: str = ""
    on_failure: OnFailure = OnFailure.REFUSE


class TokenSource:
    """Verifies the token that a subject has shown, and adds its groups, claims and scopes."""

    takes_one = True

    def __init__(
        self,
        name: str,
        verifier: TokenVerifier,
        on_failure: OnFailure = OnFailure.REFUSE,
        *,
        may_block: bool = True,
    ) -> None:
        self.name = name
        self.may_block = may_block
        self._verifier = verifier
        self._on_failure = on_failure

    def takes(self, shown: object) -> bool:
        """Say whether something that was shown is a token, by its form."""
        return _token_text(shown) is not None

    def may_wait(self, request: AuthorizationRequest) -> bool:
        """Say whether `collect` would ask an issuer for this request: who brings no token never waits for one."""
        now = request.environment.now
        shown = (text for one in request.subject.assertions if (text := _token_text(one)) is not None)
        return any(self._verifier.would_fetch(text, now=now) for text in islice(shown, MAX_PRESENTED))

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        """Add what the token among the subject's assertions proves."""
        shown = {text: None for one in request.subject.assertions if (text := _token_text(one)) is not None}
        if not shown:
            return request
        found = Collector(self.name, self._on_failure, request)
        if len(shown) > MAX_PRESENTED:
            raise CapabilityError("token: too many of them", problem=CapabilityProblem.CONTENT)
        if request.subject.is_anonymous:
            raise CapabilityError(
                "token: shown by nobody",
                problem=CapabilityProblem.HOLDER,
                hint="a service whose clients have no certificate makes the subject of the token (token_subject)",
            )
        peer = peer_of(request.subject)
        tokens = [one for one in request.subject.assertions if isinstance(one, VerifiedToken)]
        for text in shown:
            try:
                tokens.append(self._verifier.verify(text, now=request.environment.now, peer=peer))
            except CapabilityError as error:
                found.fail(error)
                continue
            if len(tokens) > 1:
                raise CapabilityError(
                    "token: more than one of them: together they could say what none of them says",
                    problem=CapabilityProblem.CONTENT,
                    hint="show one with each request; in a session the next one replaces the last",
                )
            token = tokens[0]
            if token.foreign_groups:
                told = ", ".join(group[:80] for group in token.foreign_groups[:_TOLD])
                more = ", ..." * (len(token.foreign_groups) > _TOLD)
                found.note(f"token: {token.issuer[:80]} may not speak of the groups {told}{more}")
            found.groups |= set(token.groups)
            found.claims = dict(token.claims)
            found.assertions.append(token)
            found.until(token.not_after)
        return found.result(without=(PresentedToken,), texts=frozenset(shown))


def _token_text(one: object) -> str | None:
    """Return the text of a token: shown as one, or over a control channel as plain text of its form."""
    if isinstance(one, PresentedToken):
        return one.text
    return one if isinstance(one, str) and one.startswith("ey") and one.count(".") == 2 else None


def _build_tokens(name: str, settings: TokenSettings, place: Place) -> TokenSource:
    rules = TokenRules(
        issuers=tuple(_issuer_rules(one) for one in settings.issuers.values()),
        audiences=frozenset(settings.audiences),
        accept_any_audience=settings.accept_any_audience,
        binding=settings.binding,
        one_time=settings.one_time,
    )
    keys = _key_source(settings, rules, place)
    replay = replay_memory(place, name) if settings.one_time else None
    return TokenSource(
        name,
        TokenVerifier(rules, keys, replay=replay),
        settings.on_failure,
        may_block=not isinstance(keys, StaticKeys),
    )


def _issuer_rules(settings: TokenIssuerSettings) -> IssuerRules:
    try:
        base_path = parse_path(settings.base_path)
    except CapabilityError as error:
        raise ConfigError(f"base_path: {error.message.removeprefix('token: ')}") from error
    if EVERY_GROUP in settings.groups:
        raise ConfigError(f"groups: {EVERY_GROUP!r} would be those of every VO", hint="the issuer's own VO: /atlas")
    return IssuerRules(
        issuer=settings.url,
        profiles=frozenset(settings.profiles or Profile),
        max_lifetime=settings.max_lifetime,
        base_path=base_path,
        groups=settings.groups,
        jwks_uri=settings.jwks_uri or None,
    )


def _key_source(settings: TokenSettings, rules: TokenRules, place: Place) -> KeySource:
    """Return where keys come from: files for the issuers that have one, the net for the others."""
    files = {one.url: one.jwks_file for one in settings.issuers.values() if one.jwks_file}
    static = None
    if files:
        sets = {}
        for url, file in files.items():
            path, data = place.read(file, max_bytes=MAX_KEY_SET_BYTES)
            try:
                sets[url] = parse_key_set(data)
            except ParseError as error:
                raise ConfigError(error.message, path=path) from error
            place.problems.extend(f"{path}: {problem}" for problem in sets[url].problems)
        static = StaticKeys(sets)
        if len(files) == len(settings.issuers):
            return static
    from gsi.transport.documents import HTTPSFetcher
    from gsi.transport.http import make_context, read_proxies

    fetcher = HTTPSFetcher(make_context(settings.trust_dir or None), proxies=read_proxies())
    cache = KeyCache(rules, fetcher, life=settings.key_life)
    return cache if static is None else KeysByIssuer(dict.fromkeys(files, static), cache)


PLUGIN: Final = SourcePlugin(TokenSettings, _build_tokens, "a token (JWT) that was shown with a certificate, verified")
