"""A community without sockets: real certificates, a real store, a clock that stands still; and a policy told naively.

Workflow:
    with make_community(ca, tmp_path) as community:
        community.service.grant(community.admin, Statement(...))
        community.service.capability(community.caller("alice"), CapabilityRequest())
    NaivePolicy().make(change)                     # the same rules, by looking at everything
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cas.assertion.value import Comparison
from cas.policy.bootstrap import Bootstrap, bootstrap_changes, implicit_changes
from cas.policy.caller import Caller
from cas.policy.changes import (
    AddFeed,
    AddMember,
    Change,
    Enrol,
    Grant,
    Remove,
    RemoveFeed,
    RemoveMember,
    Revoke,
    SetFqan,
)
from cas.policy.conditions import Circumstances
from cas.policy.matching import covers, is_place, meets
from cas.policy.model import (
    CAS,
    EVERYONE,
    GRANT_ALL,
    SERVER,
    SUPERUSER,
    ActionName,
    Effect,
    Feed,
    Kind,
    Namespace,
    Ref,
    Statement,
    TrustAnchor,
    User,
    UserGroup,
)
from cas.repository.base import Author
from cas.repository.sql import SQLPolicy, open_sqlite_policy
from cas.service import PolicyService, Settings
from gsi.certificate import Certificate
from gsi.errors import StorageError
from gsi.system.audit import AuditRecord
from tests.harness.ca import TestCA
from tests.harness.stores import lay_store

__all__ = [
    "ADMINS",
    "CA_NAME",
    "FTP",
    "NOW",
    "READ",
    "WRITE",
    "Community",
    "NaivePolicy",
    "Sink",
    "action",
    "begin",
    "dn",
    "group",
    "make_community",
    "object_ref",
    "permit",
    "user",
]

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
CA_NAME = "/O=Grid/CN=CA"
ADMINS = "superUserGroup"
FTP = "FTPDirectoryTree"


def dn(nickname: str) -> str:
    """The name in a user's certificate."""
    return f"/O=Grid/CN={nickname}"


def user(nickname: str) -> Ref:
    return Ref(Kind.USER, nickname)


def group(name: str) -> Ref:
    return Ref(Kind.USER_GROUP, name)


def action(name: str, service_type: str = "file") -> Ref:
    return Ref(Kind.SERVICE_ACTION, name, service_type)


def object_ref(name: str, namespace: str = FTP) -> Ref:
    return Ref(Kind.OBJECT, name, namespace)


READ, WRITE = action("read"), action("write")


def permit(who: str, what: Ref, on: Ref | str, effect: Effect = Effect.PERMIT) -> Statement:
    """A statement without terms."""
    return Statement(who, effect, what, object_ref(on) if isinstance(on, str) else on)


def begin() -> list[Change]:
    """The changes with which the communities of tests begin."""
    first = Bootstrap(TrustAnchor("ca", CA_NAME), User("admin", dn("admin"), "ca"), UserGroup(ADMINS))
    return [*bootstrap_changes(first), *implicit_changes(ADMINS)]


class Sink:
    """Remembers records; refuses them when it is `broken`."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.broken = False

    def record(self, record: AuditRecord) -> None:
        if self.broken:
            raise StorageError("no space left")
        self.records.append(record)


@dataclass
class Community:
    """A service with its store, audit and clock."""

    ca: TestCA
    repository: SQLPolicy
    sink: Sink = field(default_factory=Sink)
    now: datetime = NOW
    _certificates: dict[str, Certificate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.service = PolicyService(self.repository, Settings(community="climate"), self.sink, lambda: self.now)

    def caller(self, nickname: str, **more: object) -> Caller:
        """A caller with a certificate of the CA, enrolled or not."""
        if nickname not in self._certificates:
            issued = self.ca.issue(
                dn(nickname), "p256", not_before=NOW - timedelta(days=9), not_after=NOW + timedelta(days=900)
            )
            self._certificates[nickname] = Certificate.parse(issued.chain_der[0])
        eec = self._certificates[nickname]
        options: dict[str, object] = {"request_id": "r1", "address": "192.0.2.1"} | more
        return Caller(eec=eec, key_thumbprint=b"t" * 32, not_after=eec.not_after, **options)  # type: ignore[arg-type]  # fields by name

    @property
    def admin(self) -> Caller:
        """The first superuser."""
        return self.caller("admin")

    def make(self, *changes: Change) -> None:
        """Make changes, past all rights."""
        self.repository.apply(changes, Author("/O=Grid/CN=test", self.now, "test"))

    def enrol(self, nickname: str, *groups: str) -> None:
        """Enrol a user, and what groups are missing."""
        if self.repository.reading(lambda view: view.find(user(nickname))) is None:
            self.make(Enrol(User(nickname, dn(nickname), "ca")))
        for name in groups:
            if self.repository.reading(lambda view: view.find(group(name))) is None:  # noqa: B023  called at once
                self.make(Enrol(UserGroup(name)))
            self.make(AddMember(group(name), user(nickname)))


@contextlib.contextmanager
def make_community(ca: TestCA, directory: Path) -> Iterator[Community]:
    """A community of one superuser, with what GridFTP needs."""
    lay_store(open_sqlite_policy, directory / "store")
    repository = open_sqlite_policy(str(directory / "store"))
    try:
        community = Community(ca, repository)
        community.make(*begin())
        yield community
    finally:
        repository.close()


# --- the same, naively ------------------------------------------------------------------------------------------------


class NaivePolicy:
    """The rules as they are written down, each answered by looking at every statement."""

    def __init__(self) -> None:
        self.namespaces: dict[str, Namespace] = {"casDefaultNS": Namespace("casDefaultNS", "", Comparison.EXACT)}
        self.refs: set[Ref] = {SERVER, Ref(Kind.USER_GROUP, EVERYONE), Ref(Kind.SERVICE_TYPE, CAS)}
        self.members: set[tuple[Ref, Ref]] = set()
        self.feeds: set[tuple[str, Feed]] = set()
        self.statements: set[Statement] = set()
        self.persons: dict[str, str] = {}
        self.fqans: dict[str, str] = {}

    def make(self, changes: Iterable[Change]) -> None:
        """Make changes that are known to be allowed, their names normal."""
        for change in changes:
            match change:
                case Enrol(entity=entity, owner=owner):
                    if isinstance(entity, Namespace):
                        self.namespaces[entity.nickname] = entity
                    if isinstance(entity, User):
                        self.persons[entity.nickname] = entity.subject
                    self.refs.add(entity.ref)
                    if owner is not None:
                        self.statements.add(Statement(owner, Effect.PERMIT, GRANT_ALL, entity.ref))
                case Remove(ref=ref):
                    self.refs.discard(ref)
                    self.statements = {one for one in self.statements if one.object != ref}
                case AddMember(group=container, member=member):
                    self.members.add((container, member))
                case RemoveMember(group=container, member=member):
                    self.members.discard((container, member))
                case Grant(statement=statement):
                    self.statements.add(statement)
                case Revoke(statement=statement):
                    self.statements.discard(statement)
                case AddFeed(group=name, feed=feed):
                    self.feeds.add((name, feed))
                case RemoveFeed(group=name, feed=feed):
                    self.feeds.discard((name, feed))
                case SetFqan(group=name, fqan=fqan):
                    self.fqans.pop(name, None)
                    if fqan is not None:
                        self.fqans[name] = fqan

    def _within(self, member: Ref, container: Ref) -> bool:
        return member == container or any(
            self._within(outer, container) for outer, inner in self.members if inner == member
        )

    def told_by(self, fqan: str) -> list[str]:
        """The groups that are told by an FQAN."""
        return [name for name, told in self.fqans.items() if told == fqan]

    def holds(self, container: Ref, member: Ref) -> bool:
        """Whether something is another thing, or in it."""
        return self._within(member, container)

    def is_in(self, nickname: str, name: str, feeds: frozenset[Feed] = frozenset()) -> bool:
        container = group(name)
        return (
            self._within(user(nickname), container)
            or self._within(group(EVERYONE), container)
            or any(feed in feeds and self._within(group(into), container) for into, feed in self.feeds)
        )

    def _says_action(self, statement: Statement, wanted: Ref) -> bool:
        return self._within(wanted, statement.action)

    def _says_object(self, statement: Statement, on: Ref) -> bool:
        if on.kind is not Kind.OBJECT:
            return self._within(on, statement.object)
        comparison = self.namespaces[on.scope].comparison
        is_denial = statement.effect is Effect.DENY
        for one in self.refs:
            if one.kind is not Kind.OBJECT or not self._within(one, statement.object):
                continue
            if one.scope == on.scope and covers(one.name, on.name, comparison):
                return True
            same = one.scope == on.scope or (is_place(one.name) and is_place(on.name))
            if is_denial and same and meets(one.name, self.namespaces[one.scope].comparison, on.name, comparison):
                return True
        return False

    def _speaks(self, one: Statement, wanted: Ref, on: Ref) -> bool:
        """Whether a statement is about an action on something, whoever does it."""
        if one.effect is Effect.DENY:
            return wanted.scope != CAS and self._says_action(one, wanted) and self._says_object(one, on)
        if one.object == SERVER and self._within(SUPERUSER, one.action):
            return wanted != SUPERUSER or on == SERVER
        if wanted == SUPERUSER or not self._says_object(one, on):
            return False
        return self._says_action(one, wanted) or self._within(GRANT_ALL, one.action)

    def may(
        self, nickname: str, wanted: Ref, on: Ref, how: Circumstances, feeds: frozenset[Feed] = frozenset()
    ) -> bool:
        said = [
            one.effect
            for one in self.statements
            if self.is_in(nickname, one.group, feeds)
            and one.terms.holds(how, is_denial=one.effect is Effect.DENY)
            and self._speaks(one, wanted, on)
        ]
        return Effect.PERMIT in said and Effect.DENY not in said

    def all_rights(
        self, actions: Iterable[Ref], places: Iterable[Ref], hows: Iterable[Circumstances]
    ) -> set[tuple[str, Ref, Ref, Circumstances]]:
        """Who may do what with which object and how."""
        hows = tuple(hows)
        kinds = {Kind.OBJECT, Kind.OBJECT_GROUP, Kind.SERVER}
        about_places = [one for one in self.statements if one.object.kind in kinds]
        groups = {one.group for one in self.statements}
        members = {name: {one for one in groups if self.is_in(name, one)} for name in self.users()}
        found: set[tuple[str, Ref, Ref, Circumstances]] = set()
        for wanted, on in itertools.product(actions, places):
            speaking = [one for one in about_places if self._speaks(one, wanted, on)]
            for how in hows:
                holding = [one for one in speaking if one.terms.holds(how, is_denial=one.effect is Effect.DENY)]
                for name, inside in members.items():
                    said = {one.effect for one in holding if one.group in inside}
                    if said == {Effect.PERMIT}:
                        found.add((name, wanted, on, how))
        return found

    def actions(self) -> set[ActionName]:
        return {ActionName(ref.scope, ref.name) for ref in self.refs if ref.kind is Kind.SERVICE_ACTION}

    def users(self) -> set[str]:
        return {ref.name for ref in self.refs if ref.kind is Kind.USER}
