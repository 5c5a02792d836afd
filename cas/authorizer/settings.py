"""What a policy file says of the communities, and the authorizer that is made of it; judges nothing.

    [authorizer.communities]
    type = "cas"
    bans = "bans"

    [authorizer.communities.communities.climate]
    identity = "/O=Grid/CN=cas/cas.example.org"

    [[authorizer.communities.communities.climate.rights]]
    objects = ["ftp://se.example.org/data/*"]
    actions = ["file:read", "file:lookup"]

What could leave a hole is an error: two communities of one identity, account, VO or issuer; an action or object that is
none; a list of withdrawn capabilities that is not there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping  # noqa: TC003  the settings' types are read at run time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cas.assertion.revocations import MAX_LIST_CHARS
from cas.assertion.value import Comparison
from cas.authorizer.community import Community, Withdrawn
from cas.authorizer.decide import ACTIONS, CommunityAuthorizer, Options
from cas.authorizer.evidence import Finder, Verifiers
from cas.authorizer.rights import Grant, GroupGrant, Names, SiteRights, parse_object
from gsi.authz.ban import BanListAuthorizer, parse_bans
from gsi.authz.decision import Account, Action, AuthorizationRequest, Environment, Resource, Subject
from gsi.authz.lines import MAX_POLICY_BYTES
from gsi.authz.mapping import GRIDMAP_PLUGIN, MapSettings
from gsi.authz.principals import FqanPattern, dn_key, parse_dn
from gsi.authz.registry import Plugin
from gsi.authz.sources import OnFailure
from gsi.certificate import load_certificates
from gsi.errors import CapabilityError, ConfigError, ParseError
from gsi.saml.trust import AssertionIssuer
from gsi.saml.verify import AssertionOptions, AssertionVerifier
from gsi.system.config import option
from gsi.system.environ import read_locations
from gsi.system.trustdir import TrustDirectory
from gsi.system.vomsdir import VOMSDirectory, vomsdir_path
from gsi.tokens.keycache import DEFAULT_LIFE, MAX_LIFE, MIN_LIFE, KeyCache
from gsi.tokens.keys import MAX_KEY_SET_BYTES, KeySet, StaticKeys, parse_key_set
from gsi.tokens.rules import EVERY_GROUP, Binding, IssuerRules, Profile, TokenRules
from gsi.tokens.scopes import parse_path
from gsi.tokens.verify import TokenVerifier
from gsi.voms.verify import AttributeVerifier, VOMSOptions

if TYPE_CHECKING:
    from gsi.authz.registry import Place
    from gsi.certificate import Certificate
    from gsi.tokens.keys import KeySource
    from gsi.voms.lsc import TrustedServer

__all__ = ["NAMESPACES", "PLUGIN", "CASSettings", "CommunitySettings", "GroupSettings", "RightSettings"]

NAMESPACES: Final[Mapping[str, Comparison]] = {
    "FTPDirectoryTree": Comparison.WILDCARD,
    "FTPExact": Comparison.EXACT,
}
"""The namespaces with which every community begins."""

_MAX_CERTIFICATE_FILE_BYTES: Final = 256 << 10  # a few pinned certificates
_LOOKED_AT_FOR: Final = 1.0
"""Seconds for which a look at the trust directory is good: with hundreds of CAs it takes longer than all the rest, and
operations ask again and again. Chains are verified by directories of their services' own."""

_ACTION: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*):([A-Za-z][A-Za-z0-9_.-]*|\*)\Z", re.ASCII)
_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)  # a grid-mapfile does not look at it


@dataclass(frozen=True, slots=True, kw_only=True)
class RightSettings:
    """What the site lets a community grant.

    Attributes:
        objects: As the community writes them: `ftp://se.example.org/data/*`, `gram://ce.example.org/jobmanager-fork`.
        actions: `file:read`, `gram:start`, `file:*`.
    """

    objects: tuple[str, ...]
    actions: tuple[str, ...]

    def __post_init__(self) -> None:
        _grant(self.objects, self.actions)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """What the site lets groups and roles of a community do, which bring no rights of their own.

    Attributes:
        fqans: Patterns: `/climate/readers`, `/climate/*/Role=admin`.
        objects: As for `RightSettings`.
        actions: As for `RightSettings`.
    """

    fqans: tuple[str, ...]
    objects: tuple[str, ...]
    actions: tuple[str, ...]

    def __post_init__(self) -> None:
        _group_grant(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunitySettings:
    """What a policy says of one community.

    Attributes:
        identity: The subject of the certificate of its server, who signs.
        certificates: A file of certificates that alone may sign for it; empty for any of its name.
        account: Under which its members work; empty for what the grid-mapfile says of the identity.
        rights: What it may grant here; without any it can grant nothing.
        vo: The VO of its attribute certificates; empty for none.
        groups: What its groups and roles may do, within `rights`.
        token_issuer: The exact `iss` of its tokens; empty for none.
        base_path: What stands before every path in the scopes of its tokens.
        certified_tokens: Whether its tokens count only while a certificate of their key is known and trusted.
        jwks_uri: Where the keys of its tokens are, instead of asking its discovery document.
        jwks_file: A file with these keys; nothing is then fetched.
        withdrawn: A file with its signed list of withdrawn capabilities; empty where nobody looks at one.
        names: How it calls what services here call otherwise, with all below.
    """

    identity: str
    certificates: str = ""
    account: str = ""
    rights: tuple[RightSettings, ...] = ()
    vo: str = ""
    groups: tuple[GroupSettings, ...] = ()
    token_issuer: str = ""
    base_path: str = "/"
    certified_tokens: bool = False
    jwks_uri: str = ""
    jwks_file: str = ""
    withdrawn: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CASSettings:
    """What a policy says of the authorizer.

    Attributes:
        communities: Those that the site knows, asked in this order.
        gridmap: The grid-mapfile; empty for the place that GRIDMAP or the system's default names.
        accounts: Whether permits are bound to the communities' accounts; not for services that have none.
        bans: A file of bans; empty for none.
        required: Deny whoever brings no capability, whatever the rules that follow say.
        strangers: What is done about assertions and tokens of other issuers.
        audiences: The service's own names, for assertions and tokens.
        hosts: The own host's names, for attribute certificates; none for its name.
        require_audience: Refuse assertions for everybody.
        require_key: Refuse assertions that are not bound to a key.
        accept_any_audience: Also take tokens that are meant for everybody.
        binding: Whether tokens must be bound to the subject's certificate.
        max_lifetime: The longest life of an assertion.
        accept_gt3: Also look where CAS of GT 3 and 4.0 put assertions.
        accept_sha1: Take signatures of old CAS servers, which are broken.
        namespaces: How the objects of further namespaces are compared.
        actions: For further actions of requests what must be granted: `"http:read" = "web:get"`.
        key_life: How long fetched keys are used.
        trust_dir: The directory of trusted CAs; empty for X509_CERT_DIR or the system's.
        vomsdir: The directory of trusted VOMS servers; empty for X509_VOMS_DIR or the system's.
    """

    communities: Mapping[str, CommunitySettings]
    gridmap: str = ""
    accounts: bool = True
    bans: str = ""
    required: bool = False
    strangers: OnFailure = OnFailure.REFUSE
    audiences: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    require_audience: bool = False
    require_key: bool = False
    accept_any_audience: bool = False
    binding: Binding = Binding.REQUIRED
    max_lifetime: timedelta = timedelta(days=7)
    accept_gt3: bool = False
    accept_sha1: bool = False
    namespaces: Mapping[str, Comparison] = field(default_factory=dict)
    actions: Mapping[str, str] = field(default_factory=dict)
    key_life: timedelta = option(DEFAULT_LIFE, minimum=MIN_LIFE, maximum=MAX_LIFE)
    trust_dir: str = ""
    vomsdir: str = ""

    def __post_init__(self) -> None:
        for pair in self.actions.items():
            if "*" in "".join(pair):
                raise ParseError(f"{pair}: a wildcard in what is asked for", what="action")
            for word in pair:
                _action(word)


def _action(word: str) -> tuple[str, str]:
    found = _ACTION.match(word)
    if found is None:
        raise ParseError(f"{word[:80]!r} is no action", what="action", hint="like file:read, gram:start or file:*")
    return found[1], found[2]


def _grant(objects: tuple[str, ...], actions: tuple[str, ...]) -> Grant:
    if not objects or not actions:
        raise ParseError("a right needs objects and actions", what="right")
    return Grant(frozenset(map(_action, actions)), tuple(map(parse_object, objects)))


def _group_grant(settings: GroupSettings) -> GroupGrant:
    if not settings.fqans:
        raise ParseError("rights of groups without a group", what="right")
    return GroupGrant(tuple(map(FqanPattern, settings.fqans)), _grant(settings.objects, settings.actions))


# --- making it --------------------------------------------------------------------------------------------------------


def _build(name: str, settings: CASSettings, place: Place) -> CommunityAuthorizer:
    if not settings.communities:
        raise ConfigError("no community", hint=f"[authorizer.{name}.communities.NAME] with an identity")
    keys = _keys(settings, place)
    accounts = _accounts(settings, place)
    communities = tuple(
        _community(called, one, place, keys, accounts.get(called)) for called, one in settings.communities.items()
    )
    _check_apart(communities)
    trust = TrustDirectory(settings.trust_dir or read_locations().trust_dir, recheck_seconds=_LOOKED_AT_FOR)
    options = AssertionOptions(
        audiences=frozenset(settings.audiences),
        require_audience=settings.require_audience,
        require_key=settings.require_key,
        max_lifetime=settings.max_lifetime,
        accept_sha1=settings.accept_sha1,
    )
    finder = Finder(
        communities,
        Verifiers(
            AssertionVerifier(tuple(one.issuer for one in communities), trust.anchors, options),
            _attribute_verifier(settings, trust),
            _token_verifier(settings, keys),
        ),
        trust.anchors,
        accept_gt3=settings.accept_gt3,
        ignore_strangers=settings.strangers is OnFailure.IGNORE,
        bound_only=settings.binding is Binding.REQUIRED,
    )
    bans = None
    if settings.bans:
        path, data = place.read(settings.bans, max_bytes=MAX_POLICY_BYTES)
        bans = BanListAuthorizer(name, parse_bans(data, path=path), path=path)
    judging = Options(
        namespaces={**NAMESPACES, **settings.namespaces},
        actions={**ACTIONS, **{_action(asked): _action(granted) for asked, granted in settings.actions.items()}},
        binds_accounts=settings.accounts,
        required=settings.required,
        bans=bans,
    )
    return CommunityAuthorizer(name, finder, judging, may_block=isinstance(keys, KeyCache))


def _community(
    name: str, settings: CommunitySettings, place: Place, keys: KeySource | None, account: Account | None
) -> Community:
    identity_der = parse_dn(settings.identity)
    certificates: tuple[Certificate, ...] = ()
    if settings.certificates:
        path, data = place.read(settings.certificates, max_bytes=_MAX_CERTIFICATE_FILE_BYTES)
        try:
            certificates = load_certificates(data, what=path)
        except ParseError as error:
            raise ConfigError(error.message, path=path) from error
        if not certificates:
            raise ConfigError("no certificate in it", path=path)
    if not settings.rights:
        place.problems.append(f"{name} has no rights, so it can grant nothing")
    if settings.groups and not (settings.vo or settings.token_issuer):
        raise ConfigError(f"{name}: groups, but neither a VO nor an issuer of tokens that could name them")
    if settings.vo and not settings.groups:
        raise ConfigError(f"{name}: a VO, but nothing that its groups may do", hint="[[...groups]], or leave vo out")
    withdrawn = None
    if settings.withdrawn:
        if keys is None or not settings.token_issuer:
            raise ConfigError(f"{name}: a list of withdrawn capabilities needs a token_issuer, whose keys sign it")
        path, data = place.read(settings.withdrawn, max_bytes=MAX_LIST_CHARS)
        withdrawn = Withdrawn(data.decode("ascii", "replace").strip(), keys, settings.token_issuer, path)
    return Community(
        name=name,
        identity=settings.identity,
        identity_der=identity_der,
        issuer=AssertionIssuer(
            name=settings.identity if certificates else "",
            subject="" if certificates else settings.identity,
            certificates=certificates,
        ),
        certificates=certificates,
        account=account,
        site=SiteRights(tuple(_grant(one.objects, one.actions) for one in settings.rights)),
        names=Names(settings.names),
        vo=settings.vo,
        groups=tuple(map(_group_grant, settings.groups)),
        token_issuer=settings.token_issuer,
        base_path=_base_path(settings),
        withdrawn=withdrawn,
        certified_tokens=settings.certified_tokens,
    )


def _base_path(settings: CommunitySettings) -> tuple[str, ...]:
    try:
        return parse_path(settings.base_path)
    except CapabilityError as error:
        raise ConfigError(f"base_path: {error.message.removeprefix('token: ')}") from error


def _check_apart(communities: tuple[Community, ...]) -> None:
    """Check that nothing stands for two communities, so that rights of two can never be put together.

    Raises:
        ConfigError: Something does.
    """
    seen: dict[tuple[str, str], str] = {}
    for one in communities:
        for what, value in (
            ("identity", dn_key(one.identity_der)),
            ("account", "" if one.account is None else one.account.name),
            ("VO", one.vo),
            ("token_issuer", one.token_issuer),
        ):
            if value and seen.setdefault((what, value), one.name) != one.name:
                raise ConfigError(f"{seen[what, value]} and {one.name} have the same {what}")
        for pinned in one.certificates:
            if seen.setdefault(("certificate", pinned.der.hex()), one.name) != one.name:
                raise ConfigError(f"one certificate signs for {one.name} and another community")


def _accounts(settings: CASSettings, place: Place) -> dict[str, Account]:
    """Return the account of each community: its own setting, or what the site's grid-mapfile says of its identity."""
    if not settings.accounts:
        return {}
    found = {name: Account(one.account) for name, one in settings.communities.items() if one.account}
    others = {name: one for name, one in settings.communities.items() if not one.account}
    if not others:
        return found
    gridmap = GRIDMAP_PLUGIN.build("gridmap", MapSettings(file=settings.gridmap), place)
    for name, one in others.items():
        server = Subject(identity=one.identity, identity_der=parse_dn(one.identity), authenticated_by="x509")
        asked = AuthorizationRequest(server, Action("login", "login"), Resource(), Environment(now=_ANY_TIME))
        decision = getattr(gridmap, "preview", gridmap.decide)(asked)
        (account,) = [each for each in decision.obligations if isinstance(each, Account)][:1] or (None,)
        if account is None:
            place.problems.append(f"{name}: the grid-mapfile gives {one.identity} no account of its own")
        else:
            found[name] = account
    return found


# --- verifiers --------------------------------------------------------------------------------------------------------


class _CommunityServers:
    """The site's vomsdir, as far as it speaks of the communities."""

    def __init__(self, directory: VOMSDirectory, vos: frozenset[str]) -> None:
        self._directory = directory
        self._vos = vos

    def find(self, vo: str, host: str) -> TrustedServer | None:
        """Return what is trusted for a VO and host, or None."""
        return self._directory.find(vo, host) if vo in self._vos else None


def _attribute_verifier(settings: CASSettings, trust: TrustDirectory) -> AttributeVerifier | None:
    vos = frozenset(one.vo for one in settings.communities.values() if one.vo)
    if not vos:
        return None
    servers = _CommunityServers(VOMSDirectory(settings.vomsdir or vomsdir_path()), vos)
    hosts = frozenset(settings.hosts or (os.uname().nodename,))
    return AttributeVerifier(servers, trust.anchors, VOMSOptions(hosts=hosts))


def _token_rules(settings: CASSettings) -> TokenRules | None:
    issuers = tuple(
        IssuerRules(
            groups=(EVERY_GROUP,),  # each community's are compared with its own grants alone
            issuer=one.token_issuer,
            profiles=frozenset(Profile),
            base_path=_base_path(one),
            jwks_uri=one.jwks_uri or None,
        )
        for one in settings.communities.values()
        if one.token_issuer
    )
    if not issuers:
        return None
    if not settings.audiences:
        raise ConfigError("tokens need audiences: the service's own names")
    return TokenRules(
        issuers=issuers,
        audiences=frozenset(settings.audiences),
        accept_any_audience=settings.accept_any_audience,
        binding=settings.binding,
    )


def _token_verifier(settings: CASSettings, keys: KeySource | None) -> TokenVerifier | None:
    rules = _token_rules(settings)
    return None if rules is None or keys is None else TokenVerifier(rules, keys)


def _keys(settings: CASSettings, place: Place) -> KeySource | None:
    """Return where the keys of tokens come from: files where every issuer has one, the net where none has."""
    rules = _token_rules(settings)
    if rules is None:
        return None
    issuers = [one for one in settings.communities.values() if one.token_issuer]
    files = {one.token_issuer: one.jwks_file for one in issuers if one.jwks_file}
    if files and len(files) < len(issuers):
        raise ConfigError("some communities have a jwks_file and others have none", hint="use two authorizers")
    if files:
        sets: dict[str, KeySet] = {}
        for url, file in files.items():
            path, data = place.read(file, max_bytes=MAX_KEY_SET_BYTES)
            try:
                sets[url] = parse_key_set(data)
            except ParseError as error:
                raise ConfigError(error.message, path=path) from error
        return StaticKeys(sets)
    from gsi.transport.documents import HTTPSFetcher
    from gsi.transport.http import make_context, read_proxies

    fetcher = HTTPSFetcher(make_context(settings.trust_dir or None), proxies=read_proxies())
    return KeyCache(rules, fetcher, life=settings.key_life)


PLUGIN: Final = Plugin(CASSettings, _build, "what communities have granted, as far as the site lets them speak")
