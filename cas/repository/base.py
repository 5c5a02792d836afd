"""What a store of policies offers, and the values that it gives back; no SQL.

    repository.reading(lambda view: view.find_user(subject_key, issuer_key))
    repository.apply([Grant(statement)], by=Author("/O=Grid/CN=Admin", now=now, reason="ticket 12"))

All that a reading does sees one state of the policy. All changes of one call are made, or none; changes follow one
another, each with a revision. A change that was prepared at a revision, or for certain versions of things, is refused
when another administrator was faster.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from gsi.errors import ConflictError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from cas.policy.changes import Change
    from cas.policy.conditions import Circumstances, Strength
    from cas.policy.evaluate import Applicable, Matched
    from cas.policy.model import ActionName, Entity, Feed, Kind, Namespace, Ref, Statement
    from cas.policy.request import PolicyRequest
    from cas.policy.userfile import UserLine
    from cas.repository.sets import Clause, Person, Reach

__all__ = [
    "MAX_DEPTH",
    "MAX_GROUPS",
    "MAX_PAGE",
    "MAX_ROWS",
    "MAX_SKEW",
    "Applied",
    "Author",
    "Found",
    "FoundUser",
    "HistoryEntry",
    "Holders",
    "LinesRefusedError",
    "PolicyRepository",
    "View",
    "check_clock",
]

MAX_PAGE: Final = 1000
"""The most names in one answer; whoever wants more asks for those behind the last one."""

MAX_GROUPS: Final = 4096
"""The most groups that anything may be in, through others as well: each takes part in every question."""

MAX_DEPTH: Final = 32
"""How deep groups may be nested: six times what communities have."""

MAX_ROWS: Final = 16_384
"""The most statements looked at for one capability, which can hold a sixteenth of that."""

MAX_SKEW: Final = timedelta(minutes=5)
"""How far a node's clock may be behind that of the node which changed the policy last."""

T = TypeVar("T")

_SHOWN_LINES: Final = 3


class LinesRefusedError(ConflictError):
    """Lines of a file of users that cannot be enrolled, all of a batch.

    Attributes:
        lines: Their numbers, each with the reason, in their order.
    """

    def __init__(self, lines: Sequence[tuple[int, str]]) -> None:
        self.lines = tuple(lines)
        shown = "; ".join(f"line {number}: {reason}" for number, reason in self.lines[:_SHOWN_LINES])
        more = len(self.lines) - _SHOWN_LINES
        super().__init__(f"{shown}; and {more} more" if more > 0 else shown)


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes a policy.

    Attributes:
        name: The distinguished name, or whatever else says who it is.
        now: When (aware UTC).
        reason: Why, in their own words.
        request_id: The id that log and audit know it by.
    """

    name: str
    now: datetime
    reason: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of changes.

    Attributes:
        revision: The policy's revision with them.
        changed: For each change whether it changed anything.
    """

    revision: int
    changed: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is enrolled.

    Attributes:
        entity: What.
        version: How often it was changed, from 1; goes with a change that must not meet another.
        fqan: Of a user group: how its members are told to VOMS-aware services.
        feeds: Of a user group: attributes that make somebody a member.
    """

    entity: Entity
    version: int
    fqan: str | None = None
    feeds: tuple[Feed, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundUser:
    """An enrolled user.

    Attributes:
        number: Which one, for other questions to the same view.
        nickname: What the community calls them.
        strength: What their trust anchor says of its names.
    """

    number: int
    nickname: str
    strength: Strength


@dataclass(frozen=True, slots=True)
class Holders:
    """Who may do something.

    Attributes:
        total: How many enrolled users.
        users: Nicknames, in an order that stays; the first of them, or those behind the one that was named.
        groups: The groups to which it is permitted, by the statements' own words; sorted.
        everyone: Whether it is permitted to the whole community.
        feeds: Attributes that make others, who prove them, members of these groups.
        conditional: Statements that hold for some peers only, and were taken to hold.
    """

    total: int
    users: tuple[str, ...]
    groups: tuple[str, ...]
    everyone: bool
    feeds: tuple[Feed, ...] = ()
    conditional: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change that was made.

    Attributes:
        revision: The policy's revision with it.
        time: When (aware UTC).
        actor: Who.
        reason: Why.
        request_id: The id that log and audit know it by.
        change: What, as plain values (`changes.decode_change` reads them, but for `purged`).
        purged: The statements that went with something that was removed.
    """

    revision: int
    time: datetime
    actor: str
    reason: str
    request_id: str
    change: Change
    purged: tuple[Statement, ...] = field(default=())


class View(Protocol):
    """One state of the policy. Numbers of users and groups mean something in it alone."""

    def revision(self) -> int:
        """Return how many changes there were."""
        ...

    def latest(self) -> datetime:
        """Return when the newest change was made."""
        ...

    def find(self, ref: Ref) -> Found | None:
        """Return what has a name, or None."""
        ...

    def find_namespace(self, nickname: str) -> Namespace | None:
        """Return a namespace, or None."""
        ...

    def list_names(self, kind: Kind, *, scope: str = "", after: str = "", limit: int = MAX_PAGE) -> tuple[str, ...]:
        """Return names of a kind in their order, behind one of them."""
        ...

    def list_members(self, group: Ref, *, after: Ref | None = None, limit: int = MAX_PAGE) -> tuple[Ref, ...]:
        """Return what is in a group itself, behind one of its members.

        Raises:
            NotFoundError: There is no such group.
        """
        ...

    def list_statements(self, ref: Ref, *, limit: int = MAX_PAGE) -> tuple[Statement, ...]:
        """Return the statements that name something: as whose right, as the action, or as the object.

        Raises:
            NotFoundError: It is not enrolled.
        """
        ...

    def find_user(self, subject_key: str, issuer_key: str) -> FoundUser | None:
        """Return the user whom a name in a certificate of a CA belongs to, or None."""
        ...

    def find_user_named(self, nickname: str) -> FoundUser | None:
        """Return the user of a nickname, or None."""
        ...

    def groups_of(
        self, user: int | None, *, fqans: frozenset[str] = frozenset(), groups: frozenset[str] = frozenset()
    ) -> frozenset[int]:
        """Return the groups that somebody is in: by name, by attributes, through other groups; the whole community's.

        Raises:
            StorageError: They are more than `MAX_GROUPS`.
        """
        ...

    def fqans_of(self, groups: frozenset[int]) -> tuple[str, ...]:
        """Return the FQANs of groups, sorted."""
        ...

    def matched(self, groups: frozenset[int], action: Ref, on: Ref) -> tuple[Matched, ...]:
        """Return the statements of groups that speak of an action on something; see `evaluate.judge`.

        Raises:
            NotFoundError: The action is not known.
        """
        ...

    def applicable(self, groups: frozenset[int], request: PolicyRequest) -> tuple[Applicable, ...]:
        """Return the statements of groups that touch a request whose names are normal; see `evaluate.narrow`.

        Raises:
            DeniedError: They are more than `MAX_ROWS`.
        """
        ...

    def all_actions(self) -> frozenset[ActionName]:
        """Return every action of every service type."""
        ...

    def actions_of(self, action: Ref) -> frozenset[ActionName]:
        """Return the actions of a group of them, or the one that is named; empty for what is not known."""
        ...

    def holders(
        self, action: Ref, on: Ref, circumstances: Circumstances, *, after: str = "", limit: int = MAX_PAGE
    ) -> Holders:
        """Return who may do something.

        Raises:
            NotFoundError: The action is not known.
        """
        ...

    def chain(self, user: int, group: str) -> tuple[str, ...]:
        """Return how somebody is in a group: the names of the groups between, the group last; empty if not by name."""
        ...

    def groups_around(self, group: Ref) -> tuple[Ref, ...]:
        """Return the groups that a group is in, directly or through others.

        Raises:
            NotFoundError: There is no such group.
        """
        ...

    def statements(self, numbers: Sequence[int]) -> tuple[Statement, ...]:
        """Return statements by their numbers."""
        ...

    def page_statements(self, *, after: int, limit: int = MAX_PAGE) -> tuple[tuple[int, Statement], ...]:
        """Return all statements behind one in the order of their numbers, with these."""
        ...

    def has_denials(self, groups: frozenset[int]) -> bool:
        """Say whether anything is denied to groups."""
        ...

    def is_used(self, group: Ref) -> bool:
        """Say whether a statement names a group of actions."""
        ...

    def clauses(self, action: Ref, on: Ref) -> frozenset[Clause]:
        """Return what statements say of an action on something; nothing for what is not known."""
        ...

    def fqan_clauses(self, fqan: str) -> frozenset[Clause]:
        """Return to which group an FQAN is said, as a permit; nothing where no group has it."""
        ...

    def fqans_around(self, group: Ref) -> tuple[str, ...]:
        """Return the FQANs of a user group and of those that it is in, sorted; none where it is not there."""
        ...

    def grants_of_all(self, *, limit: int) -> tuple[Statement, ...]:
        """Return statements by which every action on objects is permitted, but to whom everything is."""
        ...

    def number_of(self, ref: Ref) -> int | None:
        """Return the number of what has a name, or None."""
        ...

    def reach(self, permitted: Collection[int], denied: Collection[int], *, limit: int) -> Reach:
        """Return whom permits to some groups and denials to others reach; so many people are told apart."""
        ...

    def people(self, numbers: Collection[int]) -> dict[int, Person]:
        """Return who users are, by their numbers."""
        ...

    def objects_near(self, ref: Ref, *, limit: int, stated: bool = False) -> tuple[Ref, ...]:
        """Return the enrolled objects around one, and so many of those below it.

        Args:
            ref: The object.
            limit: How many of those below.
            stated: Of those below only the ones on which statements are, directly or by groups, that tell users apart:
                not what a superuser is permitted.
        """
        ...

    def history(self, *, about: Ref | None = None, after: int = 0, limit: int = MAX_PAGE) -> tuple[HistoryEntry, ...]:
        """Return changes in their order, from behind a revision on; all, or those of one thing.

        Changes that were made together are never parted: there may be more than the limit.
        """
        ...


class PolicyRepository(Protocol):
    """A store of one policy. Safe for use by several threads."""

    def reading(self, work: Callable[[View], T]) -> T:
        """Return what the work returns, all of whose questions see one state of the policy; it may be done again.

        Raises:
            StorageError: The store cannot be read.
        """
        ...

    def apply(
        self,
        changes: Sequence[Change],
        by: Author,
        *,
        guard: Callable[[View, Change], None] | None = None,
        confirm: Callable[[Applied], None] | None = None,
        expected_revision: int | None = None,
        expected: Mapping[Ref, int] | None = None,
        restoring: bool = False,
    ) -> Applied:
        """Make changes, all or none.

        Args:
            changes: In their order.
            by: Who makes them.
            guard: Asked before each change, with the policy as it is then; raises to refuse.
            confirm: Told before they are committed; raises to refuse.
            expected_revision: The revision at which they were prepared; None for any.
            expected: The versions that things are to have before the first change.
            restoring: They make again a policy that was there: what it enrols keeps names that the rules of today
                refuse, and what looks alike stays.

        Raises:
            ConflictError: Another administrator was faster; a name is taken, or looks like one that is; something is
                in use; a group would be in itself.
            NotFoundError: Something that a change needs is not enrolled.
            ParseError: A name that nothing can have.
            StorageError: The store cannot be written, or the clock is behind the newest change.
        """
        ...

    def preview(
        self, changes: Sequence[Change], by: Author, look: Callable[[View], T], *, guard: Callable[[View, Change], None]
    ) -> tuple[T, int]:
        """Return what a look at the policy says after changes, and the revision before them; none is made.

        No other change is made while they are tried and looked at, so the look has to be short.

        Raises:
            GridError: As `apply`.
        """
        ...

    def enrolled_lines(self, digest: str) -> int:
        """Return how many lines of a file of users have been dealt with.

        Raises:
            StorageError: The store cannot be read.
        """
        ...

    def enrol_users(
        self,
        lines: Sequence[UserLine],
        by: Author,
        *,
        owner: str,
        digest: str,
        guard: Callable[[View], None],
        confirm: Callable[[int], None],
    ) -> int:
        """Enrol the users of some lines, all or none, and note how far the file is done; return how many were new.

        Args:
            lines: The lines behind those that are done.
            by: Who makes the change.
            owner: The user group that gets `grantAll` on each.
            digest: Of the file.
            guard: Asked before; raises to refuse.
            confirm: Told how many are new before they are committed; raises to refuse.

        Raises:
            LinesRefusedError: A name or subject is enrolled as another's, or a trust anchor or group is not enrolled.
            ConflictError: Others were faster with the file.
            NotFoundError: The owner is not enrolled.
            StorageError: The store cannot be written.
        """
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...


def check_clock(now: datetime, latest: datetime) -> None:
    """Insist that the clock has not gone back: rights that have ended would come back with it.

    Raises:
        StorageError: It is behind the newest change by more than `MAX_SKEW`.
    """
    if now < latest - MAX_SKEW:
        raise StorageError(
            f"the clock says {now:%Y-%m-%d %H:%M:%S}Z, but the policy was changed at {latest:%Y-%m-%d %H:%M:%S}Z",
            hint="set the clock; if it was ahead when the policy was changed, let the store accept the time",
        )
