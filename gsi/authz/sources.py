"""Attribute sources for signed capabilities: VOMS attributes, tokens and assertions, verified before anybody decides.

    sources = ["voms", "tokens"]

    [source.voms]
    type = "voms"                                # FQANs from the attribute certificates of the proxies

    [source.tokens]
    type = "tokens"                              # claims, groups and scopes of tokens that were shown
    audiences = ["https://se.example.org"]
    [source.tokens.issuers.vo]
    url = "https://vo.example.org/"
    base_path = "/vo"

    [source.cas]
    type = "saml"                                # assertions in proxies, or shown on the control channel
    [source.cas.issuers.community]
    subject = "/O=Grid/CN=cas/cas.example.org"

What is there and cannot be verified refuses the request; `on_failure = "ignore"` leaves it out with a note in the log
and in the environment (`<source>.ignored`). What is found goes into the subject: FQANs, groups, claims, and the
verified values themselves into its assertions, for authorizers that know them (`gsi.authz.scopes`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping  # noqa: TC003  the settings' types are read at run time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gsi.authz.decision import Subject
from gsi.authz.registry import SourcePlugin
from gsi.certificate import load_certificates
from gsi.errors import CapabilityError, CapabilityProblem, ConfigError, ParseError
from gsi.proxy.kinds import Role, classify
from gsi.saml.carriers import find_assertions
from gsi.saml.trust import AssertionIssuer
from gsi.saml.verify import AssertionOptions, AssertionVerifier, VerifiedAssertion
from gsi.system.config import option
from gsi.system.environ import read_locations
from gsi.system.trustdir import TrustDirectory
from gsi.system.vomsdir import VOMSDirectory, vomsdir_path
from gsi.tokens.keycache import DEFAULT_LIFE, MAX_LIFE, MIN_LIFE, KeyCache
from gsi.tokens.keys import MAX_KEY_SET_BYTES, StaticKeys, parse_key_set
from gsi.tokens.replay import ReplayMemory
from gsi.tokens.rules import Binding, IssuerRules, Profile, TokenRules
from gsi.tokens.scopes import parse_path
from gsi.tokens.verify import TokenVerifier, VerifiedToken
from gsi.trust.peer import VerifiedPeer
from gsi.voms.verify import AttributeVerifier, VOMSOptions

if TYPE_CHECKING:
    from gsi.authz.decision import AuthorizationRequest
    from gsi.authz.registry import Place
    from gsi.certificate import Certificate
    from gsi.tokens.keys import KeySource

__all__ = [
    "SAML_PLUGIN",
    "TOKENS_PLUGIN",
    "VOMS_PLUGIN",
    "OnFailure",
    "PresentedAssertion",
    "PresentedToken",
    "SAMLSource",
    "TokenSource",
    "VOMSSource",
    "token_subject",
]

MAX_PRESENTED: Final = 8
"""Tokens or assertions of one request: a client has one, a service on its behalf two."""

_MAX_CERTIFICATE_FILE_BYTES: Final = 256 << 10  # a few pinned certificates
_CACHED_PEERS: Final = 256  # chains taken apart; each keeps its certificates alive
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_LOG: Final = logging.getLogger("gsi.authz")


class OnFailure(StrEnum):
    """What is done about something that is there and cannot be verified."""

    REFUSE = "refuse"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, repr=False)
class PresentedToken:
    """A token as a client showed it; a service puts it into the subject's assertions. Its text is never shown."""

    text: str

    def __repr__(self) -> str:
        return f"PresentedToken(<{len(self.text)} characters>)"


@dataclass(frozen=True, slots=True, repr=False)
class PresentedAssertion:
    """An assertion as a client showed it, XML."""

    data: bytes

    def __repr__(self) -> str:
        return f"PresentedAssertion(<{len(self.data)} bytes>)"


def token_subject(token: VerifiedToken) -> Subject:
    """Return the subject that a token alone proves: for services whose clients show no certificate.

    Its identity is `issuer#subject`, so that ban lists and rules can name it.

    Raises:
        CapabilityError: The token names no subject, which some SciTokens do not.
    """
    if not token.subject:
        raise CapabilityError("token: it names no subject", problem=CapabilityProblem.CONTENT, issuer=token.issuer)
    return Subject(
        identity=token.identity,
        not_after=token.not_after,
        issuer=token.issuer,
        authenticated_by="token",
        groups=frozenset(token.groups),
        claims=token.claims,
        assertions=(token,),
    )


# --- what the sources have in common ----------------------------------------------------------------------------------


def _peer_of(subject: Subject) -> VerifiedPeer | None:
    """Return the subject's chain as what it proves, or None without one."""
    if not subject.chain:
        return None
    return _peer(subject.chain, subject.identity_der, subject.limited, subject.independent, subject.not_after)


@lru_cache(maxsize=_CACHED_PEERS)
def _peer(
    chain: tuple[Certificate, ...], identity_der: bytes, limited: bool, independent: bool, not_after: datetime | None
) -> VerifiedPeer:
    eec = next((one for one in chain if classify(one).role is not Role.PROXY), chain[-1])
    return VerifiedPeer(
        leaf=chain[0],
        eec=eec,
        chain=chain,
        identity_der=identity_der,
        kind=None,
        format=None,
        limited=limited,
        independent=independent,
        depth_left=None,
        not_after=not_after or _NEVER,
        restrictions=(),
        grants=None,
        verified_at=chain[0].not_before,
    )


class _Collector:
    """Gathers what one source finds in one request."""

    def __init__(self, name: str, on_failure: OnFailure, request: AuthorizationRequest) -> None:
        self._name = name
        self._on_failure = on_failure
        self._request = request
        self._ignored: list[str] = []
        self._ends: datetime | None = request.subject.not_after
        self.fqans: list[str] = list(request.subject.fqans)
        self.groups: set[str] = set()
        self.claims: dict[str, object] = {}
        self.assertions: list[object] = []

    def fail(self, error: CapabilityError) -> None:
        """Refuse, or make a note, as the policy says.

        Raises:
            CapabilityError: The same, where the policy says so.
        """
        if self._on_failure is OnFailure.REFUSE:
            raise error
        _LOG.warning("%s: ignored for %a: %a", self._name, self._request.subject.identity, error.message)
        self._ignored.append(error.message)

    def until(self, moment: datetime) -> None:
        """Note when something that was found ends."""
        self._ends = moment if self._ends is None else min(self._ends, moment)

    def result(self, *, without: tuple[type, ...] = (), texts: frozenset[str] = frozenset()) -> AuthorizationRequest:
        """Return the request with what was found.

        Args:
            without: Types of assertions that have been dealt with.
            texts: Texts among the assertions that have been dealt with.
        """
        subject, environment = self._request.subject, self._request.environment
        kept = [one for one in subject.assertions if not isinstance(one, without) and one not in texts]
        if self._ignored:
            note = {f"{self._name}.ignored": tuple(self._ignored)}
            environment = replace(environment, attributes=MappingProxyType({**environment.attributes, **note}))
        elif not self.assertions:
            return self._request
        found = replace(
            subject,
            fqans=tuple(dict.fromkeys(self.fqans)),
            groups=subject.groups | self.groups,
            claims=MappingProxyType({**self.claims, **subject.claims}) if self.claims else subject.claims,
            assertions=(*kept, *self.assertions),
            not_after=self._ends,
        )
        return replace(self._request, subject=found, environment=environment)


# --- VOMS -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class VOMSSettings:
    """What a policy says of a source of VOMS attributes.

    Attributes:
        vomsdir: The directory of trusted servers; empty for X509_VOMS_DIR or the system's.
        trust_dir: The directory of trusted CAs; empty for X509_CERT_DIR or the system's.
        hosts: The own host's names, for attribute certificates that are meant for certain hosts; none for its name.
        max_lifetime: Refuse attribute certificates that are valid for longer.
        nearest_only: Take those of the lowest proxy that carries any and no others.
        on_failure: What is done about one that cannot be verified.
    """

    vomsdir: str = ""
    trust_dir: str = ""
    hosts: tuple[str, ...] = ()
    max_lifetime: timedelta | None = None
    nearest_only: bool = False
    on_failure: OnFailure = OnFailure.REFUSE


class VOMSSource:
    """Adds the FQANs of the attribute certificates in a subject's proxies."""

    may_block = False

    def __init__(self, name: str, verifier: AttributeVerifier, on_failure: OnFailure = OnFailure.REFUSE) -> None:
        self.name = name
        self._verifier = verifier
        self._on_failure = on_failure

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        """Add what the subject's proxies carry."""
        peer = _peer_of(request.subject)
        if peer is None:
            return request
        found = _Collector(self.name, self._on_failure, request)
        for one in self._verifier.verify_chain(peer, now=request.environment.now):
            if one.error is not None:
                found.fail(one.error)
            if one.attributes is not None:
                found.fqans += one.attributes.fqans
                found.assertions.append(one.attributes)
                found.until(one.attributes.usable_until)
        return found.result()


def _build_voms(name: str, settings: VOMSSettings, place: Place) -> VOMSSource:  # noqa: ARG001  the same for all
    trust = TrustDirectory(settings.trust_dir or read_locations().trust_dir)
    options = VOMSOptions(
        hosts=frozenset(settings.hosts or (os.uname().nodename,)),
        max_lifetime=settings.max_lifetime,
        nearest_only=settings.nearest_only,
    )
    servers = VOMSDirectory(settings.vomsdir or vomsdir_path())
    return VOMSSource(name, AttributeVerifier(servers, trust.anchors, options), settings.on_failure)


VOMS_PLUGIN: Final = SourcePlugin(
    VOMSSettings, _build_voms, "VOMS attributes from the proxies of a chain, verified", may_block=False
)


# --- tokens -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuerSettings:
    """What a policy says of one issuer of tokens.

    Attributes:
        url: The exact `iss`.
        profiles: Which tokens of it; none for all that are known.
        max_lifetime: The longest time from `iat` to `exp`.
        base_path: What stands before every path in its scopes.
        jwks_uri: Where its keys are, instead of asking its discovery document.
        jwks_file: A file with its keys; nothing is then fetched.
    """

    url: str
    profiles: tuple[Profile, ...] = ()
    max_lifetime: timedelta = timedelta(hours=6)
    base_path: str = "/"
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
    """Verifies the tokens that a subject has shown, and adds their groups, claims and scopes."""

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

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        """Add what the tokens among the subject's assertions prove."""
        shown = {text: None for one in request.subject.assertions if (text := _token_text(one)) is not None}
        if not shown:
            return request
        found = _Collector(self.name, self._on_failure, request)
        if len(shown) > MAX_PRESENTED:
            raise CapabilityError("token: too many of them", problem=CapabilityProblem.CONTENT)
        if request.subject.is_anonymous:
            raise CapabilityError(
                "token: shown by nobody",
                problem=CapabilityProblem.HOLDER,
                hint="a service whose clients have no certificate makes the subject of the token (token_subject)",
            )
        peer = _peer_of(request.subject)
        for text in shown:
            try:
                token = self._verifier.verify(text, now=request.environment.now, peer=peer)
            except CapabilityError as error:
                found.fail(error)
                continue
            found.groups |= set(token.groups)
            found.claims = {**token.claims, **found.claims}
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
    replay = ReplayMemory() if settings.one_time else None
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
    return IssuerRules(
        issuer=settings.url,
        profiles=frozenset(settings.profiles or Profile),
        max_lifetime=settings.max_lifetime,
        base_path=base_path,
        jwks_uri=settings.jwks_uri or None,
    )


def _key_source(settings: TokenSettings, rules: TokenRules, place: Place) -> KeySource:
    """Return where keys come from: files where every issuer has one, the net where none has."""
    files = {one.url: one.jwks_file for one in settings.issuers.values() if one.jwks_file}
    if files and len(files) < len(settings.issuers):
        raise ConfigError("some issuers have a jwks_file and others have none", hint="use two sources")
    if files:
        sets = {}
        for url, file in files.items():
            path, data = place.read(file, max_bytes=MAX_KEY_SET_BYTES)
            try:
                sets[url] = parse_key_set(data)
            except ParseError as error:
                raise ConfigError(error.message, path=path) from error
            place.problems.extend(f"{path}: {problem}" for problem in sets[url].problems)
        return StaticKeys(sets)
    from gsi.transport.documents import HTTPSFetcher
    from gsi.transport.http import make_context, read_proxies

    fetcher = HTTPSFetcher(make_context(settings.trust_dir or None), proxies=read_proxies())
    return KeyCache(rules, fetcher, life=settings.key_life)


TOKENS_PLUGIN: Final = SourcePlugin(
    TokenSettings, _build_tokens, "tokens (JWT) that were shown with a certificate, verified"
)


# --- SAML -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionIssuerSettings:
    """What a policy says of one issuer of assertions.

    Attributes:
        subject: The subject of its certificate, which needs a path to a trusted CA.
        name: What it calls itself; empty for its subject.
        certificates: Instead of the subject a file of certificates that alone may sign for it.
    """

    subject: str = ""
    name: str = ""
    certificates: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SAMLSettings:
    """What a policy says of a source of assertions.

    Attributes:
        issuers: Whose assertions count.
        audiences: The service's own names.
        require_audience: Refuse assertions for everybody.
        require_key: Refuse assertions that are not bound to a key.
        max_lifetime: The longest life of one.
        accept_gt3: Also look where CAS of GT 3 and 4.0 put them.
        accept_sha1: Take signatures of old CAS servers, which are broken.
        trust_dir: The directory of trusted CAs; empty for X509_CERT_DIR or the system's.
        on_failure: What is done about one that cannot be verified.
    """

    issuers: Mapping[str, AssertionIssuerSettings] = field(default_factory=dict)
    audiences: tuple[str, ...] = ()
    require_audience: bool = False
    require_key: bool = False
    max_lifetime: timedelta = timedelta(days=7)
    accept_gt3: bool = False
    accept_sha1: bool = False
    trust_dir: str = ""
    on_failure: OnFailure = OnFailure.REFUSE


class SAMLSource:
    """Verifies assertions: those that were shown, and where none were those in the subject's proxies."""

    may_block = False

    def __init__(
        self,
        name: str,
        verifier: AssertionVerifier,
        on_failure: OnFailure = OnFailure.REFUSE,
        *,
        accept_gt3: bool = False,
    ) -> None:
        self.name = name
        self._verifier = verifier
        self._on_failure = on_failure
        self._accept_gt3 = accept_gt3

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        """Add what the subject's assertions prove."""
        subject = request.subject
        peer = _peer_of(subject)
        shown = tuple(dict.fromkeys(one for one in subject.assertions if _assertion_data(one) is not None))
        if peer is None and not shown:
            return request
        found = _Collector(self.name, self._on_failure, request)
        if peer is None:
            raise CapabilityError("assertion: shown by nobody with a certificate", problem=CapabilityProblem.HOLDER)
        if len(shown) > MAX_PRESENTED:
            raise CapabilityError("assertion: too many of them", problem=CapabilityProblem.CONTENT)
        documents = [data for one in shown if (data := _assertion_data(one)) is not None]
        if not shown:
            for carried in find_assertions(peer.chain, accept_gt3=self._accept_gt3):
                if carried.error is not None:
                    found.fail(carried.error)
                else:
                    documents.append(carried.data)
        for data in documents:
            self._verify(data, peer, request.environment.now, found)
        texts = frozenset(one for one in shown if isinstance(one, str))
        return found.result(without=(PresentedAssertion,), texts=texts)

    def _verify(self, data: bytes, peer: VerifiedPeer, now: datetime, found: _Collector) -> None:
        try:
            assertion: VerifiedAssertion = self._verifier.verify(data, peer, now=now)
        except CapabilityError as error:
            found.fail(error)
            return
        found.assertions.append(assertion)
        found.until(assertion.not_after)


def _assertion_data(one: object) -> bytes | None:
    """Return the XML of an assertion: shown as one, or over a control channel as plain text of its form."""
    if isinstance(one, PresentedAssertion):
        return one.data
    if isinstance(one, str) and one.lstrip().startswith("<"):
        return one.encode("utf-8", "surrogateescape")
    return None


def _build_saml(name: str, settings: SAMLSettings, place: Place) -> SAMLSource:
    if not settings.issuers:
        raise ConfigError("no issuer of assertions", hint=f"[source.{name}.issuers.NAME] with a subject")
    issuers = tuple(_assertion_issuer(one, place) for one in settings.issuers.values())
    trust = TrustDirectory(settings.trust_dir or read_locations().trust_dir)
    options = AssertionOptions(
        audiences=frozenset(settings.audiences),
        require_audience=settings.require_audience,
        require_key=settings.require_key,
        max_lifetime=settings.max_lifetime,
        accept_sha1=settings.accept_sha1,
    )
    verifier = AssertionVerifier(issuers, trust.anchors, options, replay=ReplayMemory())
    return SAMLSource(name, verifier, settings.on_failure, accept_gt3=settings.accept_gt3)


def _assertion_issuer(settings: AssertionIssuerSettings, place: Place) -> AssertionIssuer:
    certificates: tuple[Certificate, ...] = ()
    if settings.certificates:
        path, data = place.read(settings.certificates, max_bytes=_MAX_CERTIFICATE_FILE_BYTES)
        try:
            certificates = load_certificates(data, what=path)
        except ParseError as error:
            raise ConfigError(error.message, path=path) from error
        if not certificates:
            raise ConfigError("no certificate in it", path=path)
    return AssertionIssuer(name=settings.name, subject=settings.subject, certificates=certificates)


SAML_PLUGIN: Final = SourcePlugin(
    SAMLSettings, _build_saml, "SAML assertions in proxies or shown by the client, verified", may_block=False
)
