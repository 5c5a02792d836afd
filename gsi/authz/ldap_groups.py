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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gsi.authz.decision import Account, Decision, deny, indeterminate, not_applicable, permit
from gsi.authz.ldap_people import By, DirectorySettings, DNForm, Found, People, check_actions, is_among
from gsi.authz.principals import Glob, skeleton_text
from gsi.authz.registry import Plugin, SourcePlugin
from gsi.errors import ConfigError, ParseError
from gsi.ldap import equals
from gsi.secret import Passphrase
from gsi.system.files import read_private

if TYPE_CHECKING:
    from gsi.authz.decision import AuthorizationRequest
    from gsi.authz.registry import Place

__all__ = [
    "PLUGIN",
    "SOURCE_PLUGIN",
    "By",
    "DNForm",
    "DirectorySettings",
    "Found",
    "GroupAuthorizer",
    "GroupSettings",
    "GroupSource",
    "People",
]

MAX_PASSWORD_BYTES: Final = 1024


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
            check_actions(self.deny_actions)
            if not self.deny or not self.deny_actions:
                raise ConfigError("deny_actions goes with deny, and is not empty")
        if self.account_attribute:
            equals(self.account_attribute, "x")
            if not self.permit:
                raise ConfigError("account_attribute goes with permit")


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
        denies, permits = is_among(request, self._deny_actions), is_among(request, self._permit_actions)
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
