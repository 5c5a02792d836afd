"""The configuration of the community's server: one TOML file as a value; opens nothing but the file itself.

    community = "climate"

    [http]
    listen = "*:8443"
    certificate = "/etc/cas/hostcert.pem"
    key = "/etc/cas/hostkey.pem"

    [[key]]                                     # signs assertions, attribute certificates and tokens
    place = "/etc/cas/sign-2026a.pem"           # or "pkcs11:..."
    certificates = "/etc/cas/sign-2026a-cert.pem"
    begins = "2026-01-01"
    ends = "2026-07-01"

    [voms]
    listen = "*:15000"

    [tokens]
    issuer = "https://cas.example.org:8443"

    [[tokens.base]]
    namespace = "FTPDirectoryTree"
    prefix = "ftp://se.example.org/climate"
    audiences = ["https://se.example.org:8443"]

What is not a key is refused, with file, line and the nearest key. `cas-server` reads it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cas.assertion.keys import KeySpec
from cas.assertion.scopes import ScopeBase, ScopeMapping, ScopeRule
from cas.assertion.token import TokenContent, TokenOptions
from cas.policy.caller import name_forms
from cas.policy.conditions import Strength
from cas.service import Settings
from gsi.authz.ldap_groups import By, DirectorySettings
from gsi.errors import ConfigError, ParseError
from gsi.system.config import bind, option, read_table
from gsi.tokens.rules import Profile
from gsi.transport.listening import split_address
from gsi.trust.options import CRLPolicy

__all__ = [
    "CAS_PORT",
    "DEFAULT_CONFIG",
    "MAX_LIFETIME",
    "CASConfig",
    "CapabilitySettings",
    "HTTPSettings",
    "KeySettings",
    "StoreSettings",
    "StrengthRule",
    "TokenSettings",
    "TrustSettings",
    "UserDirectorySettings",
    "VOMSListenerSettings",
    "load_config",
]

DEFAULT_CONFIG: Final = "/etc/cas/cas.toml"
CAS_PORT: Final = 8443
VOMS_PORT: Final = 15000
MAX_LIFETIME: Final = timedelta(days=7)
"""The longest life of a capability that a configuration can allow."""

_OID: Final = re.compile(r"[012](\.(0|[1-9][0-9]{0,38})){1,64}\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The `[store]` table.

    Attributes:
        directory: Where the policy (SQLite), the audit and the names of keys are; mode 0700, made if it is missing.
        database: A PostgreSQL URI without password, for several nodes; empty for SQLite.
        connections: How many connections to PostgreSQL each worker uses at most.
        patience: How long a failover of the database may take before requests fail.
        audit: The audit file; empty for `audit.log` in `directory`.
    """

    directory: str = "/var/lib/cas"
    database: str = ""
    connections: int = option(8, minimum=1, maximum=256)
    patience: timedelta = option(timedelta(0), minimum=timedelta(0), maximum=timedelta(minutes=5))
    audit: str = ""

    def __post_init__(self) -> None:
        """Refuse names that depend on where the program was started, and other databases."""
        _check_paths(self.directory, self.audit)
        if self.database and not self.database.startswith(("postgresql://", "postgres://")):
            raise ConfigError(
                "database: not the URI of a PostgreSQL database",
                hint="postgresql://USER@HOST/NAME?passfile=/path; without the key SQLite is used",
            )

    @property
    def audit_path(self) -> str:
        """The audit file."""
        return self.audit or os.path.join(self.directory, "audit.log")

    def path(self, name: str) -> str:
        """Return a file of the store."""
        return os.path.join(self.directory, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPSettings:
    """The `[http]` table.

    Attributes:
        listen: ADDRESS:PORT, `*` for every address.
        certificate: The server's certificate with its chain, PEM.
        key: Its key; empty where it is in the same file.
        workers: Processes.
        threads: Of each.
        max_request_bytes: The longest body.
        requests_per_minute: Of one identity, or of one address without a certificate; further ones get 429.
    """

    listen: str = f"*:{CAS_PORT}"
    certificate: str = "/etc/grid-security/hostcert.pem"
    key: str = "/etc/grid-security/hostkey.pem"
    workers: int = option(2, minimum=1, maximum=64)
    threads: int = option(8, minimum=1, maximum=256)
    max_request_bytes: int = option(262_144, minimum=4096, maximum=1 << 22)
    requests_per_minute: int = option(6000, minimum=1, maximum=10_000_000)

    def __post_init__(self) -> None:
        """Check the place."""
        split_address(self.listen)
        _check_paths(self.certificate, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class VOMSListenerSettings:
    """The `[voms]` table: the listener for `voms-proxy-init`.

    Attributes:
        listen: ADDRESS:PORT, `*` for every address.
        place: The `host:port` that stands in attribute certificates and in users' vomses; empty for this host's name
            with the port.
        certificate: The listener's certificate; empty for the one of `[http]`.
        key: Its key.
        workers: Processes.
    """

    listen: str = f"*:{VOMS_PORT}"
    place: str = ""
    certificate: str = ""
    key: str = ""
    workers: int = option(1, minimum=1, maximum=64)

    def __post_init__(self) -> None:
        """Check the places."""
        split_address(self.listen)
        if self.place:
            split_address(self.place)
        _check_paths(self.certificate, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrengthRule:
    """A `[[trust.strength]]` table: how sure one may be of those whose certificates name a policy.

    Attributes:
        issuer: The CA, by its distinguished name; nobody else's certificates are meant.
        strength: `low`, `medium`, `high`; goes before that of the trust anchor.
        policy: The certificate policy (OID) that a certificate has to name; empty for all of the CA's.
    """

    issuer: str
    strength: str
    policy: str = ""

    def __post_init__(self) -> None:
        """Check the words."""
        _ = self.level, self._issuer_key
        if self.policy and not _OID.match(self.policy):
            raise ConfigError(f"policy: {self.policy[:80]!r} is no OID", hint="like 1.2.840.113612.5.2.2.1")

    @property
    def level(self) -> Strength:
        """The strength.

        Raises:
            ConfigError: There is no such word.
        """
        known = {one.name.lower(): one for one in Strength if one is not Strength.NONE}
        if self.strength not in known:
            raise ConfigError(f"strength must be one of {', '.join(known)}")
        return known[self.strength]

    @property
    def _issuer_key(self) -> str:
        try:
            return name_forms(self.issuer)[1]
        except ParseError as error:
            raise ConfigError(f"issuer: {error.message}", hint=error.hint) from error

    def suits(self, issuer_key: str, policies: frozenset[str]) -> bool:
        """Say whether it is about a certificate, by the key of its issuer's name and the policies that it names."""
        return issuer_key == self._issuer_key and (not self.policy or self.policy in policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings:
    """The `[trust]` table: whom clients' certificates have to come from.

    Attributes:
        directory: The trust directory; empty for that of X509_CERT_DIR, or the system's.
        crl: What to do about revocation lists: `require`, `if-present`, `off`.
        vomsdir: Other communities' VOMS servers whose attributes feed groups of users; empty for none.
        strength: How sure one may be of whom, where a trust anchor's word is too coarse; the first that fits counts.
    """

    directory: str = ""
    crl: CRLPolicy = CRLPolicy.IF_PRESENT
    vomsdir: str = ""
    strength: tuple[StrengthRule, ...] = ()

    def __post_init__(self) -> None:
        """Check the paths."""
        _check_paths(self.directory, self.vomsdir)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDirectorySettings(DirectorySettings):
    """The `[directory]` table: an LDAP directory whose groups feed groups of users; as in authorization policies."""

    def __post_init__(self) -> None:
        """Refuse what means something to authorization policies alone, and names that depend on the start."""
        DirectorySettings.__post_init__(self)
        _check_paths(self.ca_file, self.password_file)
        if self.by is not By.DN or self.claims or self.actions != ("*",):
            raise ConfigError("[directory] looks people up by their names, for their groups: no by, claims or actions")
        if not self.group_base and not self.groups_from:
            raise ConfigError("[directory] gives no groups", hint="group_base, or groups_from")


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilitySettings:
    """The `[capability]` table.

    Attributes:
        default_lifetime: Of a capability that was asked for without one.
        max_lifetime: Of any.
    """

    default_lifetime: timedelta = option(timedelta(hours=12), minimum=timedelta(minutes=1), maximum=MAX_LIFETIME)
    max_lifetime: timedelta = option(timedelta(hours=24), minimum=timedelta(minutes=1), maximum=MAX_LIFETIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """A `[[key]]` or `[[tokens.key]]` table.

    Attributes:
        place: A file, or a `pkcs11:` URI.
        certificates: The PEM file of its certificate and those above it; tokens need none.
        begins: From when it may sign: `2026-01-01`, or with a time and its zone.
        ends: Until when, at most a year later.
    """

    place: str
    begins: str
    ends: str
    certificates: str = ""

    def __post_init__(self) -> None:
        """Check the times."""
        self.spec()

    def spec(self) -> KeySpec:
        """Return the key as `cas.assertion.keys` wants it."""
        return KeySpec(
            place=self.place,
            begins=_moment("begins", self.begins),
            ends=_moment("ends", self.ends),
            certificates=self.certificates,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleGroup:
    """A `[[tokens.role]]` table: the group that stands for a role in tokens.

    Attributes:
        fqan: The role: `/vo/group/Role=r`.
        group: The group: `/vo/group/r`.
    """

    fqan: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """A `[[tokens.rule]]` table: when a scope is written, in place of the profile's own rules.

    Attributes:
        scope: `storage.read`.
        service_type: `file`.
        actions: Of which all must be granted.
    """

    scope: str
    service_type: str
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """The `[tokens]` table.

    Attributes:
        issuer: The exact `iss`: an https URL, below which this server is reached.
        profile: `wlcg`, `scitokens` or `rfc9068`; clients may ask for another one.
        content: `capabilities`, `groups` or `both`.
        max_lifetime: The longest life of a token.
        base: Where rights become scopes.
        rule: Which rights become which scopes; none for the profile's own rules.
        role: Groups that stand for roles.
        key: Keys that sign tokens alone; none for those that sign all.
    """

    issuer: str
    profile: Profile = Profile.WLCG
    content: TokenContent = TokenContent.CAPABILITIES
    max_lifetime: timedelta = timedelta(hours=1)
    base: tuple[ScopeBase, ...] = ()
    rule: tuple[RuleSettings, ...] = ()
    role: tuple[RoleGroup, ...] = ()
    key: tuple[KeySettings, ...] = ()

    def __post_init__(self) -> None:
        """Check all of it together."""
        self.options(self.profile)

    def options(self, profile: Profile) -> TokenOptions:
        """Return how tokens of a profile are written; SciTokens say rights alone."""
        rules = tuple(
            ScopeRule(scope=one.scope, service_type=one.service_type, actions=frozenset(one.actions))
            for one in self.rule
        )
        content = self.content
        if profile is Profile.SCITOKENS and profile is not self.profile:
            content = TokenContent.CAPABILITIES
        own = rules if profile is self.profile else ()
        return TokenOptions(
            issuer=self.issuer,
            mapping=ScopeMapping(bases=self.base, rules=own),
            profile=profile,
            content=content,
            role_groups=tuple((one.fqan, one.group) for one in self.role),
            max_lifetime=self.max_lifetime,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CASConfig:
    """The whole file.

    Attributes:
        community: The community's name, with which its FQANs begin.
        key: What signs.
        http: The HTTPS form.
        voms: The listener of VOMS; None for none.
        tokens: What tokens are; None for none.
        store: Where the policy is.
        trust: Whom to believe.
        directory: Whose groups feed groups of users; None for none.
        capability: How long capabilities last.
        metrics: ADDRESS:PORT, on the loopback interface, where monitors get `/metrics` and `/health`; empty for none.
        policy: The authorization policy: a name, or an absolute path. Where the named one does not exist, the one that
            comes with the program is used, which permits whatever the community's own rules allow.
    """

    community: str
    key: tuple[KeySettings, ...]
    http: HTTPSettings = field(default_factory=HTTPSettings)
    voms: VOMSListenerSettings | None = None
    tokens: TokenSettings | None = None
    store: StoreSettings = field(default_factory=StoreSettings)
    trust: TrustSettings = field(default_factory=TrustSettings)
    directory: UserDirectorySettings | None = None
    capability: CapabilitySettings = field(default_factory=CapabilitySettings)
    metrics: str = ""
    policy: str = "cas"

    def __post_init__(self) -> None:
        """Check the name and the lifetimes, and that there is something to sign with."""
        self.settings()
        if not self.key:
            raise ConfigError("no [[key]] to sign with")
        for one in self.key:
            if not one.certificates:
                raise ConfigError(
                    f"the key {one.place} has no certificates, so it signs tokens alone",
                    hint="put it under [[tokens.key]]",
                )

    def settings(self) -> Settings:
        """Return what the service is told."""
        return Settings(
            community=self.community,
            default_lifetime=min(self.capability.default_lifetime, self.capability.max_lifetime),
            max_lifetime=self.capability.max_lifetime,
        )


def load_config(path: str) -> CASConfig:
    """Read the file.

    Raises:
        ConfigError: It cannot be read or used, or others than its owner can write it.
    """
    return bind(read_table(path, check_writers=True), CASConfig)


def _check_paths(*paths: str) -> None:
    for path in paths:
        if path and not os.path.isabs(path):
            raise ConfigError(f"{path!r} is no absolute path")


def _moment(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{name}: {text[:40]!r} is no time", hint="like 2026-01-01, or 2026-01-01T12:00Z") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
