"""What an LDAP directory knows of a subject: groups and attributes for other authorizers, or a decision by groups.

    sources = ["directory"]

    [source.directory]
    type = "ldap"
    servers = ["ldaps://ldap.example.org"]
    user_base = "ou=people,dc=example,dc=org"
    user_attribute = "x509subject"              # holds the distinguished name in one-line form
    group_base = "ou=groups,dc=example,dc=org"  # entries with the person in `member` or `uniqueMember`

    [authorizer.members]
    type = "ldap"                               # the same settings, and:
    permit = ["staff"]
    deny = ["suspended"]
    account_attribute = "uid"

A subject is looked up by its name (`by = "dn"`), or by the account that the service says it runs as (`by = "account"`),
never by an account that a client has merely asked for. What the directory's idea of equality lets through is compared
once more here. Whoever has no entry has no groups; a directory that cannot be asked, or that answers with two entries,
makes the decision indeterminate, and so does an answer that is not whole (references to other servers, size limits,
groups within groups deeper than is followed), because the group that denies might be what is missing. Answers are kept
for a short time.

Groups in `deny` are asked about for every action, those in `permit` for `actions`: to log in, unless it says otherwise.

A subject without a distinguished name is passed over, and so is a proxy that is an identity of its own (independent,
restricted): it has none of its owner's groups.

Needs the extra `ldap`.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping  # noqa: TC003  the policy's reader looks the type of a setting up
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gsi import names
from gsi.authz.decision import Account, Decision, deny, indeterminate, not_applicable, permit
from gsi.authz.principals import Glob, dn_key, has_own_identity, parse_dn, skeleton_text
from gsi.authz.registry import Plugin, SourcePlugin
from gsi.errors import AuthenticationError, ConfigError, ParseError, TimeoutExpiredError, TransportError
from gsi.ldap import LDAPPlace, any_of, connect, equals
from gsi.secret import Passphrase
from gsi.system.config import option
from gsi.system.files import read_private

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gsi.authz.decision import AuthorizationRequest
    from gsi.authz.registry import Place
    from gsi.ldap import LDAPDirectory, LDAPEntry

__all__ = [
    "PLUGIN",
    "SOURCE_PLUGIN",
    "By",
    "DirectorySettings",
    "Found",
    "GroupAuthorizer",
    "GroupSettings",
    "GroupSource",
    "People",
]

MAX_GROUPS: Final = 2048
"""Groups of one person: those of the busiest fill a kilobyte, and a directory that gives more gives everybody's."""

GROUPS_AT_ONCE: Final = 50
"""Groups whose own groups are asked for in one search; servers bound the length of a filter."""

MAX_CACHED: Final = 4096
"""Subjects that are remembered: as many as a service sees in the longest time that an answer may be kept."""

MAX_IDLE: Final = 4
"""Connections that are kept open."""

MAX_PASSWORD_BYTES: Final = 1024

_DN: Final = "dn"
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ACTION: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9_.-]*):)?(\*|[A-Za-z][A-Za-z0-9_.-]*)\Z", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}\Z", re.ASCII)


class By(StrEnum):
    """By what a subject is looked up."""

    DN = "dn"
    ACCOUNT = "account"


class DNForm(StrEnum):
    """How the directory writes distinguished names of certificates."""

    SLASH = "slash"
    RFC4514 = "rfc4514"


def _usual_members() -> Mapping[str, str]:
    """Return what RFC 4519 has for groups: `groupOfNames` and `groupOfUniqueNames`."""
    return {"member": _DN, "uniqueMember": _DN}


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySettings:
    """What a policy file says of a directory.

    Attributes:
        servers: `ldaps://`, `ldapi://`, or `ldap://` with `start_tls`; the first that can be reached counts. Plain
            `ldap://` is for this machine.
        user_base: Where people are.
        user_attribute: The attribute that holds what is looked up.
        start_tls: Whether to go over to TLS.
        ca_file: The CAs that vouch for the servers, PEM; empty for those of the system's ldap.conf.
        bind_dn: Whom to be; empty to stay anonymous.
        password_file: The password of that entry, in a file of mode 0600.
        by: By what people are looked up.
        dn_form: How `user_attribute` writes distinguished names.
        user_filter: What else an entry must be: "(objectClass=person)".
        group_base: Where groups are; empty for none.
        group_members: The attributes of a group that hold its members, and what each holds: "dn" for the name of the
            member's entry, or an attribute of it: `memberUid = "uid"`.
        group_depth: How many levels of groups that contain groups are followed; 0 for none. Where there are more, it
            is an error.
        group_name: The attribute that groups are called by.
        groups_from: Attributes of the person whose values are groups (`memberOf`).
        prefix: What is put before the name of each group.
        claims: Claims to make of attributes: `mail = "mail"`.
        actions: For which actions the directory is asked.
        cache_time: How long an answer is kept.
        absent_time: How long it is kept that there is no entry.
        answer_within: How long the directory may take for each step.
    """

    servers: tuple[str, ...]
    user_base: str
    user_attribute: str
    start_tls: bool = False
    ca_file: str = ""
    bind_dn: str = ""
    password_file: str = ""
    by: By = By.DN
    dn_form: DNForm = DNForm.SLASH
    user_filter: str = ""
    group_base: str = ""
    group_members: Mapping[str, str] = field(default_factory=_usual_members)
    group_depth: int = option(5, minimum=0, maximum=20)
    group_name: str = "cn"
    groups_from: tuple[str, ...] = ()
    prefix: str = ""
    claims: Mapping[str, str] = field(default_factory=dict)
    actions: tuple[str, ...] = ("*",)
    cache_time: timedelta = option(timedelta(minutes=1), minimum=timedelta(0), maximum=timedelta(hours=1))
    absent_time: timedelta = option(timedelta(seconds=10), minimum=timedelta(0), maximum=timedelta(minutes=10))
    answer_within: timedelta = option(
        timedelta(seconds=2), minimum=timedelta(milliseconds=10), maximum=timedelta(minutes=1)
    )

    def __post_init__(self) -> None:
        """Refuse what could not work, or would let others decide."""
        for attribute in (
            self.user_attribute,
            *self.group_members,
            *self.group_members.values(),
            self.group_name,
            *self.groups_from,
            *self.claims.values(),
        ):
            equals(attribute, "x")
        if self.group_base and not self.group_members:
            raise ConfigError("group_base without group_members: nobody would be in a group")
        if self.user_filter and not (self.user_filter.startswith("(") and self.user_filter.endswith(")")):
            raise ConfigError(f"{self.user_filter!r} is no filter", hint="(objectClass=person)")
        if bool(self.bind_dn) is not bool(self.password_file):
            raise ConfigError("bind_dn and password_file go together")
        for claim in self.claims:
            if not _NAME.match(claim):
                raise ConfigError(f"{claim[:80]!r} is no name of a claim")
        _check_actions(self.actions)
        place = LDAPPlace(uris=self.servers, start_tls=self.start_tls)
        if not place.is_private and not all(urlsplit(uri).hostname in _LOCAL for uri in self.servers):
            raise ConfigError("over plain LDAP anybody on the way decides", hint="ldaps://, or start_tls = true")


def _check_actions(actions: Iterable[str]) -> None:
    for action in actions:
        if not _ACTION.match(action):
            raise ParseError(f"{action[:80]!r} is no action", what="action", hint="login, job:start, file:* or *")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings(DirectorySettings):
    """What a policy file says of the authorizer, beyond the directory.

    Attributes:
        actions: For which actions `permit` counts.
        deny_actions: For which actions `deny` counts. None for all of them; where people are looked up by the account,
            which services do not always tell, for those of `actions`.
        permit: Groups that are permitted; `*` within a name is any text, and `*` alone is everybody with an entry.
        deny: Groups that are denied.
        account_attribute: The attribute that holds the account of a permit; empty for none.
    """

    actions: tuple[str, ...] = ("login",)
    deny_actions: tuple[str, ...] | None = None
    permit: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    account_attribute: str = ""

    def __post_init__(self) -> None:
        """Refuse an authorizer that would say nothing."""
        DirectorySettings.__post_init__(self)
        if not self.permit and not self.deny:
            raise ConfigError("neither permit nor deny: it would never speak")
        if self.deny_actions is not None:
            _check_actions(self.deny_actions)
            if not self.deny or not self.deny_actions:
                raise ConfigError("deny_actions goes with deny, and is not empty")
        if self.account_attribute:
            equals(self.account_attribute, "x")
            if not self.permit:
                raise ConfigError("account_attribute goes with permit")


@dataclass(frozen=True, slots=True)
class Found:
    """What the directory knows of somebody.

    Attributes:
        entry: The name of the entry.
        groups: Groups, with the prefix.
        claims: Claims, by name.
        accounts: Values of the account attribute.
    """

    entry: str
    groups: frozenset[str]
    claims: Mapping[str, tuple[str, ...]]
    accounts: tuple[str, ...] = ()


class People:
    """The people of a directory, asked and remembered. Safe for several threads."""

    def __init__(
        self, settings: DirectorySettings, *, passphrase: Passphrase | None = None, account_attribute: str = ""
    ) -> None:
        """Make it; nothing is asked yet.

        Args:
            settings: The directory; `ca_file` is an absolute name, or empty.
            passphrase: The password of `bind_dn`.
            account_attribute: The attribute whose values are accounts.
        """
        self._settings = settings
        self._passphrase = passphrase
        self._account_attribute = account_attribute
        self._place = LDAPPlace(
            uris=settings.servers,
            start_tls=settings.start_tls,
            ca_file=settings.ca_file or None,
            seconds=settings.answer_within.total_seconds(),
        )
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, Found | None]] = OrderedDict()
        self._idle: list[LDAPDirectory] = []

    def speaks_of(self, request: AuthorizationRequest) -> bool:
        """Say whether the directory is asked about an action."""
        return _is_among(request, self._settings.actions)

    def find(self, request: AuthorizationRequest) -> Found | None:
        """Return what is known of a request's subject; None where it has no entry.

        Raises:
            GridError: The directory cannot be asked, or its answer is none.
        """
        key = self._key(request)
        if key is None:
            return None
        now = time.monotonic()
        with self._lock:
            known = self._known.get(key)
            if known is not None and known[0] > now:
                return known[1]
        found = self._ask(key)
        kept = self._settings.cache_time if found is not None else self._settings.absent_time
        with self._lock:
            self._known.pop(key, None)
            if kept:
                # From before it was asked, so that nothing is believed for longer than was said.
                self._known[key] = (now + kept.total_seconds(), found)
            while len(self._known) > MAX_CACHED:
                self._known.popitem(last=False)
        return found

    def _key(self, request: AuthorizationRequest) -> str | None:
        """Return what to look for, or None for a subject that is not looked up."""
        subject = request.subject
        if self._settings.by is By.DN:
            if not subject.identity_der or has_own_identity(subject):
                return None
            name = subject.identity_der
            return names.oneline(name) if self._settings.dn_form is DNForm.SLASH else names.rfc4514(name)
        if subject.is_anonymous or has_own_identity(subject):
            return None
        accounts = request.resource.attributes.get("account", ())
        if len(accounts) != 1 or not accounts[0]:
            raise ParseError("the service does not say which account this is", what="LDAP")
        return accounts[0]

    def _ask(self, key: str) -> Found | None:
        idle = self._take()
        if idle is not None:
            try:
                return self._ask_once(key, idle)
            except TimeoutExpiredError:
                raise
            except TransportError:  # the server may have closed it long ago
                self._drop_idle()
        return self._ask_once(key, None)

    def _ask_once(self, key: str, directory: LDAPDirectory | None) -> Found | None:
        directory = directory or self._connect()
        try:
            found = self._look_up(key, directory)
        except BaseException:
            directory.close()
            raise
        with self._lock:
            if len(self._idle) < MAX_IDLE:
                self._idle.append(directory)
                return found
        directory.close()
        return found

    def _connect(self) -> LDAPDirectory:
        directory = connect(self._place)
        if self._passphrase is not None:
            try:
                directory.bind(self._settings.bind_dn, self._passphrase)
            except BaseException as error:
                directory.close()
                if isinstance(error, AuthenticationError):
                    raise ConfigError(error.message, hint="look at bind_dn and password_file") from error
                raise
        return directory

    def _take(self) -> LDAPDirectory | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _drop_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for directory in idle:
            directory.close()

    def _look_up(self, key: str, directory: LDAPDirectory) -> Found | None:
        settings = self._settings
        wanted = {settings.user_attribute, *settings.groups_from, *settings.claims.values()}
        wanted |= {holds for holds in settings.group_members.values() if holds != _DN}
        if self._account_attribute:
            wanted.add(self._account_attribute)
        search = equals(settings.user_attribute, key)
        if settings.user_filter:
            search = f"(&{settings.user_filter}{search})"
        entry = directory.find_entry(settings.user_base, search, sorted(wanted))
        if entry is None or not self._is_really(key, entry):
            return None
        groups = {group for attribute in settings.groups_from for group in entry.values(attribute)}
        if settings.group_base:
            groups |= self._groups(entry, directory)
        if len(groups) > MAX_GROUPS:
            raise ParseError(f"{entry.dn} is in more than {MAX_GROUPS} groups", what="LDAP")
        return Found(
            entry.dn,
            frozenset(f"{settings.prefix}{group}" for group in groups),
            {claim: entry.values(attribute) for claim, attribute in settings.claims.items()},
            entry.values(self._account_attribute) if self._account_attribute else (),
        )

    def _is_really(self, key: str, entry: LDAPEntry) -> bool:
        """Compare once more: directories take look-alikes for equal (RFC 4518)."""
        values = entry.values(self._settings.user_attribute)
        if self._settings.by is By.ACCOUNT:
            return key in values
        wanted = dn_key(parse_dn(key))
        for value in values:
            try:
                if dn_key(parse_dn(value)) == wanted:
                    return True
            except ParseError:
                continue
        return False

    def _groups(self, entry: LDAPEntry, directory: LDAPDirectory) -> set[str]:
        """Return the names of the groups that somebody is in, and of those that these are in.

        Raises:
            ParseError: Groups are nested deeper than is followed, or there are too many.
        """
        settings = self._settings
        holding = [
            equals(attribute, value)
            for attribute, holds in settings.group_members.items()
            for value in ((entry.dn,) if holds == _DN else entry.values(holds))
        ]
        found = self._search_groups(holding, directory)
        by_dn = [attribute for attribute, holds in settings.group_members.items() if holds == _DN]
        newest, level = list(found), 0
        while newest and by_dn and settings.group_depth:
            above: dict[str, tuple[str, ...]] = {}
            for start in range(0, len(newest), GROUPS_AT_ONCE):
                some = newest[start : start + GROUPS_AT_ONCE]
                above |= self._search_groups([equals(word, dn) for dn in some for word in by_dn], directory)
            newest = [dn for dn in above if dn not in found]  # a circle ends here
            if newest and level == settings.group_depth:
                raise ParseError(f"groups within groups are more than {level} deep", what="LDAP")
            found |= above
            level += 1
            if len(found) > MAX_GROUPS:
                raise ParseError(f"{entry.dn} is in more than {MAX_GROUPS} groups", what="LDAP")
        return {name for group in found.values() for name in group}

    def _search_groups(self, filters: list[str], directory: LDAPDirectory) -> dict[str, tuple[str, ...]]:
        """Return the groups that one of the filters finds: their names by the names of their entries."""
        if not filters:
            return {}
        name = self._settings.group_name
        groups = directory.find_entries(self._settings.group_base, any_of(filters), (name,), limit=MAX_GROUPS)
        return {group.dn: group.values(name) for group in groups}


def _is_among(request: AuthorizationRequest, actions: Iterable[str]) -> bool:
    name, service = request.action.name, request.action.service
    for word in actions:
        kind, _, own = word.rpartition(":")
        if own in {"*", name} and kind in {"", service}:
            return True
    return False


class GroupSource:
    """Adds the groups and claims that a directory knows. Safe for several threads."""

    def __init__(self, name: str, people: People) -> None:
        self._name = name
        self._people = people

    @property
    def name(self) -> str:
        """What the policy calls it."""
        return self._name

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        """Return the request with what is known of its subject.

        Raises:
            GridError: The directory cannot be asked, or its answer is none.
        """
        if not self._people.speaks_of(request):
            return request
        found = self._people.find(request)
        if found is None:
            return request
        subject = request.subject
        taken = subject.claims.keys() & found.claims.keys()
        if taken:
            raise ParseError(f"the claim {min(taken)!r} comes from elsewhere as well", what="LDAP")
        return replace(
            request,
            subject=replace(subject, groups=subject.groups | found.groups, claims={**subject.claims, **found.claims}),
        )


class GroupAuthorizer:
    """Decides by the groups that a directory knows. Safe for several threads."""

    def __init__(self, name: str, people: People, settings: GroupSettings) -> None:
        self._name = name
        self._people = people
        self._permit = tuple(Glob(group) for group in settings.permit)
        self._deny = tuple(Glob(skeleton_text(group)) for group in settings.deny)
        self._needs_account = bool(settings.account_attribute)
        self._permit_actions = settings.actions if settings.permit else ()
        self._deny_actions: tuple[str, ...] = ()
        if settings.deny:
            usual = ("*",) if settings.by is By.DN else settings.actions
            self._deny_actions = usual if settings.deny_actions is None else settings.deny_actions

    @property
    def name(self) -> str:
        """What the policy calls it."""
        return self._name

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Judge one request.

        Raises:
            GridError: The directory cannot be asked, or its answer is none.
        """
        denies, permits = _is_among(request, self._deny_actions), _is_among(request, self._permit_actions)
        if not denies and not permits:
            return not_applicable(self._name, "it speaks of other actions")
        found = self._people.find(request)
        if found is None:
            return not_applicable(self._name, "the directory has no entry of the subject")
        for group in sorted(found.groups) if denies else ():
            if any(glob.matches(skeleton_text(group)) for glob in self._deny):
                return deny(self._name, f"{found.entry} is in {group}")
        if not permits:
            return not_applicable(self._name, f"{found.entry} is in no group that is denied")
        for glob in self._permit:
            if glob.text == "*" or any(glob.matches(group) for group in found.groups):
                return self._permitted(request.environment.desired_account, found, glob.text)
        return not_applicable(self._name, f"{found.entry} is in none of the groups")

    def _permitted(self, desired: str | None, found: Found, group: str) -> Decision:
        reason = f"{found.entry} is in {group}"
        if not self._needs_account:
            return permit(self._name, reason)
        if desired is not None:
            if desired not in found.accounts:
                return not_applicable(self._name, f"{found.entry} has no account {desired!r}")
            return permit(self._name, reason, Account(desired))
        if len(found.accounts) != 1:
            return indeterminate(self._name, f"{found.entry} has {len(found.accounts)} accounts")
        return permit(self._name, reason, Account(found.accounts[0]))


def _people(settings: DirectorySettings, place: Place, account_attribute: str = "") -> People:
    passphrase = None
    if settings.password_file:
        data = read_private(place.resolve(settings.password_file), max_bytes=MAX_PASSWORD_BYTES)
        passphrase = Passphrase(data.rstrip(b"\r\n"))
        if not passphrase:
            raise ConfigError("the password is empty", path=place.resolve(settings.password_file))
    ca_file = settings.ca_file
    if ca_file:
        ca_file = place.resolve(ca_file)
        if not os.path.exists(ca_file):
            raise ConfigError("the file of CAs does not exist", path=ca_file)
    return People(replace(settings, ca_file=ca_file), passphrase=passphrase, account_attribute=account_attribute)


def _build_source(name: str, settings: DirectorySettings, place: Place) -> GroupSource:
    return GroupSource(name, _people(settings, place))


def _build(name: str, settings: GroupSettings, place: Place) -> GroupAuthorizer:
    return GroupAuthorizer(name, _people(settings, place, settings.account_attribute), settings)


PLUGIN: Final = Plugin(GroupSettings, _build, "decides by the groups of an LDAP directory", may_block=True)
SOURCE_PLUGIN: Final = SourcePlugin(
    DirectorySettings, _build_source, "groups and attributes of an LDAP directory", may_block=True
)
