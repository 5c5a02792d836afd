"""Which rights changes can touch, in one state of the policy; compares nothing (`trial`).

    find(view, changes, is_over).rights                  # before them, and again after them

Objects of statements are single names or trees, so two of them are nested or apart. Who holds a right is the same at
all places of an object that are in no smaller one on which statements are. So one place of each object is asked about:
of those that changed statements name, and of all within these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from cas.policy.changes import AddFeed, AddMember, Enrol, Grant, Remove, RemoveFeed, RemoveMember, Revoke, SetFqan
from cas.policy.conditions import ALWAYS
from cas.policy.matching import below, covers
from cas.policy.model import CAS, EVERYONE, GRANT_ALL, SERVER, SUPERUSER, Effect, Kind, Ref, User
from cas.repository.base import MAX_PAGE
from gsi.authz.principals import normal_fqan
from gsi.errors import NotFoundError, ParseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cas.assertion.value import Comparison
    from cas.policy.changes import Change
    from cas.policy.model import Statement
    from cas.repository.base import View

__all__ = ["MAX_LOOKS", "Fqan", "Right", "Touched", "find"]

MAX_LOOKS: Final = 200
"""How many rights are compared, each under its circumstances; where changes touch more, the answer says so."""

T = TypeVar("T")

_ANYWHERE: Final = "|"
"""A name in a tree that nothing smaller covers: no object has a stroke in its name."""


class Right(NamedTuple):
    """A right whose holders a change may change.

    Attributes:
        action: To do what.
        on: On what, for people.
        at: The same, or a place in it that is in nothing smaller.
    """

    action: Ref
    on: Ref
    at: Ref


class Fqan(NamedTuple):
    """The right to be told by an FQAN, in attribute certificates and tokens."""

    fqan: str


@dataclass(frozen=True, slots=True)
class Touched:
    """What changes touch in one state of the policy.

    Attributes:
        rights: Which rights.
        groups: The user groups, by their numbers, in which somebody comes or goes by name.
        is_complete: Whether these are all.
    """

    rights: tuple[Right | Fqan, ...] = ()
    groups: frozenset[int] = frozenset()
    is_complete: bool = True


def find(view: View, changes: Sequence[Change], is_over: Callable[[], bool]) -> Touched:
    """Return the rights that changes may touch, as far as this state of the policy has them.

    To find all, look at the policy before the changes, which knows what they take away, and at that after them.

    Args:
        view: The policy in one state.
        changes: What is tried.
        is_over: Says when to look no further.
    """
    finder = _Finder(view, is_over)
    for change in changes:
        finder.add(change)
    return Touched(tuple(finder.rights), _moved(view, changes), finder.is_complete)


def _moved(view: View, changes: Sequence[Change]) -> frozenset[int]:
    """Return the user groups in which somebody comes or goes by name."""
    everyone = Ref(Kind.USER_GROUP, EVERYONE)
    groups: set[Ref] = set()
    for change in changes:
        match change:
            case Enrol(entity=User()) | Remove(ref=Ref(kind=Kind.USER)):
                groups.add(everyone)
            case AddMember(group=group) | RemoveMember(group=group) if group.kind is Kind.USER_GROUP:
                groups.add(group)
            case _:
                pass
    return frozenset(number for number in map(view.number_of, groups) if number is not None)


class _Finder:
    """The rights that changes touch, in one state of the policy."""

    def __init__(self, view: View, is_over: Callable[[], bool]) -> None:
        self._view = view
        self._is_over = is_over
        self._comparisons: dict[str, Comparison | None] = {}
        self._spots: dict[tuple[Ref, bool], tuple[tuple[Ref, Ref], ...]] = {}
        self.rights: dict[Right | Fqan, None] = {}
        self._groups: set[Ref] = set()
        self.is_complete = True

    def add(self, change: Change) -> None:
        """Add what a change touches."""
        if self._is_over():
            self.is_complete = False
            return
        match change:
            case Grant(statement=one) | Revoke(statement=one):
                self._add_statement(one)
            case Enrol(entity=entity, owner=owner):
                if owner is not None:
                    self._add([GRANT_ALL], self._normal(entity.ref), Effect.PERMIT)
                self._add_thing(entity.ref)
            case Remove(ref=ref):
                for statement in self._statements(self._normal(ref)):
                    self._add_statement(statement)
                self._add_thing(ref)
            case AddMember(group=group, member=member) | RemoveMember(group=group, member=member):
                self._add_member(group, self._normal(member))
            case SetFqan(group=name, fqan=fqan):
                found = self._view.find(Ref(Kind.USER_GROUP, name))
                for one_fqan in (fqan, None if found is None else found.fqan):
                    if one_fqan is not None:
                        self._add_right(Fqan(normal_fqan(one_fqan)))
            case AddFeed(group=name) | RemoveFeed(group=name):
                self._add_members_of(Ref(Kind.USER_GROUP, name))

    def _add_thing(self, ref: Ref) -> None:
        """Add what somebody has because a thing is there: of an action, whoever may do all."""
        if ref.kind is Kind.USER:
            self._add_members_of(Ref(Kind.USER_GROUP, EVERYONE))
        elif ref.kind is Kind.SERVICE_ACTION:
            found = self._view.grants_of_all(limit=MAX_PAGE)
            if len(found) >= MAX_PAGE:
                self.is_complete = False
            for one in found:
                self._add([ref], one.object, Effect.PERMIT)

    def _add_member(self, group: Ref, member: Ref) -> None:
        if group.kind is Kind.USER_GROUP:
            self._add_members_of(group)
            return
        for around in self._around(group):
            for one in self._statements(around):
                if self._is_over():
                    self.is_complete = False
                    return
                if group.kind is Kind.OBJECT_GROUP and one.object == around:
                    self._add(self._actions(one.action), member, one.effect)
                elif one.action == around:
                    self._add(self._actions(member), one.object, one.effect)

    def _add_members_of(self, group: Ref) -> None:
        """Add what all members of a user group have; of a superuser all that is permitted is to be superuser."""
        if group in self._groups:
            return
        self._groups.add(group)
        found: list[Statement] = []
        for around in self._around(group):
            if self._is_over():
                self.is_complete = False
                return
            found += (one for one in self._statements(around) if one.group == around.name)
        is_all = any(one.action == SUPERUSER and one.object == SERVER and one.terms == ALWAYS for one in found)
        for one in found:
            if not is_all or one.effect is Effect.DENY or one.action == SUPERUSER:
                self._add_statement(one)
        for fqan in self._view.fqans_around(group):
            self._add_right(Fqan(fqan))

    def _add_statement(self, one: Statement) -> None:
        self._add(self._actions(one.action), self._normal(one.object), one.effect)

    def _add(self, actions: Sequence[Ref], on: Ref, effect: Effect) -> None:
        is_denial = effect is Effect.DENY
        for shown, at in self._spots_of(on, everywhere=is_denial):
            for action in actions:
                if is_denial and action.scope == CAS:  # never denied
                    continue
                if not self._add_right(Right(action, shown, at)):
                    return

    def _add_right(self, right: Right | Fqan) -> bool:
        """Add one right; say whether others may follow."""
        if right not in self.rights and (len(self.rights) >= MAX_LOOKS or self._is_over()):
            self.is_complete = False
            return False
        self.rights[right] = None
        return True

    # --- where --------------------------------------------------------------------------------------------------------

    def _spots_of(self, on: Ref, *, everywhere: bool) -> tuple[tuple[Ref, Ref], ...]:
        """Return what is within something, each with where to ask; a denial holds for a place in every namespace."""
        key = (on, everywhere)
        if key not in self._spots:
            self._spots[key] = tuple(self._find_spots(on, everywhere=everywhere))
        return self._spots[key]

    def _find_spots(self, on: Ref, *, everywhere: bool) -> Iterator[tuple[Ref, Ref]]:
        if on.kind is Kind.OBJECT:
            yield from self._in_object(on, everywhere=everywhere)
            return
        yield on, on
        if on.kind is Kind.OBJECT_GROUP:
            for member in self._inside(on):
                if member.kind is Kind.OBJECT:
                    yield from self._in_object(member, everywhere=everywhere)
                else:
                    yield member, member

    def _inside(self, group: Ref) -> Iterable[Ref]:
        found: dict[Ref, None] = {}
        left = [group]
        while left:
            one, after = left.pop(), None
            while page := _or_nothing(lambda: self._view.list_members(one, after=after)):  # noqa: B023  called at once
                after = page[-1]
                left += [member for member in page if member.kind is Kind.OBJECT_GROUP and member not in found]
                found.update(dict.fromkeys(page))
                if len(found) > MAX_LOOKS:
                    self.is_complete = False
                    return tuple(found)[:MAX_LOOKS]
        return found

    def _in_object(self, on: Ref, *, everywhere: bool) -> Iterator[tuple[Ref, Ref]]:
        how = self._comparison(on.scope)
        if how is None:
            return
        near = self._view.objects_near(on, limit=MAX_LOOKS, stated=True)
        if len(near) >= MAX_LOOKS:
            self.is_complete = False
        known = dict.fromkeys((on, *near))
        spots: dict[tuple[Ref, Ref], None] = {}
        for one in known:
            own = self._comparison(one.scope)
            if own is None or not covers(on.name, one.name, how):
                continue
            prefix = below(one.name, own)
            name = one.name if prefix is None else prefix + _ANYWHERE
            scopes = {other.scope for other in known} if everywhere else {on.scope}
            if prefix is None and "*" in name:  # no place
                scopes &= {one.scope}
            for scope in sorted(scopes):
                if any(other.scope == scope and self._covers(other, name) for other in known):
                    spots[Ref(Kind.OBJECT, one.name, scope), Ref(Kind.OBJECT, name, scope)] = None
        yield from spots

    def _covers(self, one: Ref, name: str) -> bool:
        how = self._comparison(one.scope)
        return how is not None and covers(one.name, name, how)

    # --- what the policy says -----------------------------------------------------------------------------------------

    def _comparison(self, namespace: str) -> Comparison | None:
        if namespace not in self._comparisons:
            found = self._view.find_namespace(namespace)
            self._comparisons[namespace] = None if found is None else found.comparison
        return self._comparisons[namespace]

    def _normal(self, ref: Ref) -> Ref:
        namespace = self._view.find_namespace(ref.scope) if ref.kind is Kind.OBJECT else None
        if namespace is None:
            return ref
        try:
            return Ref(ref.kind, namespace.full_name(ref.name), ref.scope)
        except ParseError:  # the change is refused
            return ref

    def _actions(self, action: Ref) -> Sequence[Ref]:
        if action.kind is Kind.SERVICE_ACTION:
            return (action,)
        return [Ref(Kind.SERVICE_ACTION, one.name, one.service_type) for one in sorted(self._view.actions_of(action))]

    def _statements(self, ref: Ref) -> Sequence[Statement]:
        found = _or_nothing(lambda: self._view.list_statements(ref))
        if len(found) >= MAX_PAGE:
            self.is_complete = False
        return found

    def _around(self, group: Ref) -> Sequence[Ref]:
        return (group, *_or_nothing(lambda: self._view.groups_around(group)))


def _or_nothing(ask: Callable[[], tuple[T, ...]]) -> tuple[T, ...]:
    try:
        return ask()
    except NotFoundError:  # something that is there before or after the changes alone
        return ()
