"""The people of an LDAP directory and their groups: asked, remembered for a short time; decides nothing.

    people = People(settings, passphrase=passphrase)
    found = people.find(request)                 # None: the directory has no entry of the subject

What becomes of it is `ldap_groups.py`'s subject. An answer that is not whole is none: references to other servers, size
limits, groups within groups deeper than is followed.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping  # noqa: TC003  the policy's reader looks the type of a setting up
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gsi import names
from gsi.authz.principals import dn_key, has_own_identity, parse_dn
from gsi.errors import AuthenticationError, ConfigError, ParseError, TimeoutExpiredError, TransportError
from gsi.ldap import LDAPPlace, any_of, connect, equals
from gsi.system.config import option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gsi.authz.decision import AuthorizationRequest
    from gsi.ldap import LDAPDirectory, LDAPEntry
    from gsi.secret import Passphrase

__all__ = ["By", "DNForm", "DirectorySettings", "Found", "People", "check_actions", "is_among"]

MAX_GROUPS: Final = 2048
"""Groups of one person: those of the busiest fill a kilobyte, and a directory that gives more gives everybody's."""

GROUPS_AT_ONCE: Final = 50
"""Groups whose own groups are asked for in one search; servers bound the length of a filter."""

MAX_CACHED: Final = 4096
"""Subjects that are remembered: as many as a service sees in the longest time that an answer may be kept."""

MAX_IDLE: Final = 4
"""Connections that are kept open."""

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
        check_actions(self.actions)
        place = LDAPPlace(uris=self.servers, start_tls=self.start_tls)
        if not place.is_private and not all(urlsplit(uri).hostname in _LOCAL for uri in self.servers):
            raise ConfigError("over plain LDAP anybody on the way decides", hint="ldaps://, or start_tls = true")


def check_actions(actions: Iterable[str]) -> None:
    """Insist on words that can be actions.

    Raises:
        ParseError: One is none.
    """
    for action in actions:
        if not _ACTION.match(action):
            raise ParseError(f"{action[:80]!r} is no action", what="action", hint="login, job:start, file:* or *")


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
        return is_among(request, self._settings.actions)

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


def is_among(request: AuthorizationRequest, actions: Iterable[str]) -> bool:
    """Say whether a request's action is one of these words."""
    name, service = request.action.name, request.action.service
    for word in actions:
        kind, _, own = word.rpartition(":")
        if own in {"*", name} and kind in {"", service}:
            return True
    return False
