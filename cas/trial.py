"""What changes would do: finds the rights that they touch, and compares who holds them before and after; makes none.

    touched = find(view, changes)                          # in the policy before them, and in that after them
    plan = make_plan(before, after, now)
    compare(plan, look(view_before, plan), look(view_after, plan), revision)

Objects of statements are single names or trees, so two of them are nested or apart. Who holds a right is the same at
all places of an object that are in no smaller one on which statements are. So one place of each object is asked about:
of those that changed statements name, and of all within these. In the same way one moment is asked about for each
window of time, one peer for each kind of proxy and strength, of all that the statements there tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, product
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from cas.policy.changes import AddMember, Enrol, Grant, Remove, RemoveMember, Revoke
from cas.policy.conditions import ALWAYS, Circumstances, Proxies, Strength
from cas.policy.matching import below, covers
from cas.policy.model import CAS, EVERYONE, GRANT_ALL, SERVER, SUPERUSER, Effect, Kind, Ref
from cas.repository.base import MAX_PAGE
from gsi.errors import NotFoundError, ParseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from cas.assertion.value import Comparison
    from cas.policy.changes import Change
    from cas.policy.conditions import Terms
    from cas.policy.model import Statement
    from cas.repository.base import View

__all__ = ["Difference", "Look", "Plan", "Preview", "Right", "Sight", "Touched", "compare", "find", "look", "make_plan"]

MAX_LOOKS: Final = 200
"""How many rights are compared, each under its circumstances; where changes touch more, the answer says so."""

MAX_NAMED: Final = 10_000
"""How many holders of a right are compared by name; above that their numbers are."""

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


@dataclass(frozen=True, slots=True)
class Touched:
    """What changes touch in one state of the policy.

    Attributes:
        rights: Which rights, each with the terms of the statements that speak of it.
        is_complete: Whether these are all.
    """

    rights: dict[Right, frozenset[Terms]]
    is_complete: bool


class Look(NamedTuple):
    """A right under certain circumstances."""

    right: Right
    circumstances: Circumstances


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be compared.

    Attributes:
        looks: Those of one right together.
        is_complete: Whether changes touch nothing else.
    """

    looks: tuple[Look, ...]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Sight:
    """The holders of a right, at one state.

    Attributes:
        total: How many.
        names: Their nicknames, or None where there are too many.
    """

    total: int
    names: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What becomes of the holders of a right.

    Attributes:
        action: What they may do.
        on: To what; of a tree, to all in it that no smaller object covers.
        gains: Who gets it, sorted.
        loses: Who has it no longer, sorted.
        before: How many had it.
        after: How many have it. Where there are too many to compare them by name, these numbers alone say something.
        when: Under which circumstances, in words; empty for all.
    """

    action: Ref
    on: Ref
    gains: tuple[str, ...]
    loses: tuple[str, ...]
    before: int
    after: int
    when: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What changes would do.

    Attributes:
        differences: The rights whose holders would be others.
        revision: The policy's revision; when the changes are made for it, this is what they do.
        is_complete: Whether all rights that the changes touch were looked at.
    """

    differences: tuple[Difference, ...]
    revision: int
    is_complete: bool


# --- what is touched --------------------------------------------------------------------------------------------------


def find(view: View, changes: Sequence[Change]) -> Touched:
    """Return the rights that changes may touch, as far as this state of the policy has them.

    To find all, look at the policy before the changes, which knows what they take away, and at that after them.
    """
    finder = _Finder(view)
    for change in changes:
        finder.add(change)
    return Touched({right: view.terms_at(right.action, right.at) for right in finder.rights}, finder.is_complete)


class _Finder:
    """The rights that changes touch, in one state of the policy."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._comparisons: dict[str, Comparison | None] = {}
        self._spots: dict[tuple[Ref, bool], tuple[tuple[Ref, Ref], ...]] = {}
        self.rights: dict[Right, None] = {}
        self.is_complete = True

    def add(self, change: Change) -> None:
        """Add what a change touches."""
        match change:
            case Grant(statement=one) | Revoke(statement=one):
                self._add_statement(one)
            case Enrol(entity=entity, owner=owner):
                if owner is not None:
                    self._add([GRANT_ALL], self._normal(entity.ref), Effect.PERMIT)
                if entity.ref.kind is Kind.USER:
                    self._add_members_of(Ref(Kind.USER_GROUP, EVERYONE))
            case Remove(ref=ref):
                for statement in self._statements(self._normal(ref)):
                    self._add_statement(statement)
                if ref.kind is Kind.USER:
                    self._add_members_of(Ref(Kind.USER_GROUP, EVERYONE))
            case AddMember(group=group, member=member) | RemoveMember(group=group, member=member):
                self._add_member(group, self._normal(member))
            case _:  # what others prove of themselves is known to nobody here
                return

    def _add_member(self, group: Ref, member: Ref) -> None:
        if group.kind is Kind.USER_GROUP:
            self._add_members_of(group)
            return
        for around in self._around(group):
            for one in self._statements(around):
                if group.kind is Kind.OBJECT_GROUP and one.object == around:
                    self._add(self._actions(one.action), member, one.effect)
                elif one.action == around:
                    self._add(self._actions(member), one.object, one.effect)

    def _add_members_of(self, group: Ref) -> None:
        """Add what all members of a user group have; of a superuser all that is permitted is to be superuser."""
        found = [one for around in self._around(group) for one in self._statements(around) if one.group == around.name]
        is_all = any(one.action == SUPERUSER and one.object == SERVER and one.terms == ALWAYS for one in found)
        for one in found:
            if not is_all or one.effect is Effect.DENY or one.action == SUPERUSER:
                self._add_statement(one)

    def _add_statement(self, one: Statement) -> None:
        self._add(self._actions(one.action), self._normal(one.object), one.effect)

    def _add(self, actions: Sequence[Ref], on: Ref, effect: Effect) -> None:
        is_denial = effect is Effect.DENY
        for shown, at in self._spots_of(on, everywhere=is_denial):
            for action in actions:
                if is_denial and action.scope == CAS:  # never denied
                    continue
                right = Right(action, shown, at)
                if right in self.rights:
                    continue
                if len(self.rights) >= MAX_LOOKS:
                    self.is_complete = False
                    return
                self.rights[right] = None

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


# --- before and after -------------------------------------------------------------------------------------------------


def make_plan(before: Touched, after: Touched, now: datetime) -> Plan:
    """Return what is to be compared of what changes touch in the policy before and after them."""
    looks: list[Look] = []
    rights = dict.fromkeys((*before.rights, *after.rights))
    is_complete = before.is_complete and after.is_complete
    for right in rights:
        terms = before.rights.get(right, frozenset()) | after.rights.get(right, frozenset())
        some = _tell_apart(terms, now)
        if len(looks) + len(some) > MAX_LOOKS:
            return Plan((*looks, *(Look(right, one) for one in some[: MAX_LOOKS - len(looks)])), is_complete=False)
        looks += (Look(right, one) for one in some)
    return Plan(tuple(looks), is_complete)


def _tell_apart(terms: Iterable[Terms], now: datetime) -> list[Circumstances]:
    """Return one of all circumstances under which the same terms hold, from now on."""
    terms = [one for one in terms if one.not_after is None or one.not_after > now]
    moments = {moment for one in terms for moment in (one.not_before, one.not_after) if moment and moment > now}
    kinds = [False, True] if any(one.proxies is not Proxies.ANY for one in terms) else [False]
    levels = sorted({one.strength for one in terms} - {Strength.NONE})
    strengths = [Strength(levels[0] - 1), *levels] if levels else [Strength.MEDIUM]
    return [Circumstances(*one) for one in product([now, *sorted(moments)], kinds, strengths)]


def look(view: View, plan: Plan) -> tuple[Sight, ...]:
    """Return the holders of rights at a state of the policy."""
    return tuple(_look(view, one) for one in plan.looks)


def _look(view: View, one: Look) -> Sight:
    names: list[str] = []
    right = one.right
    while True:
        try:
            found = view.holders(right.action, right.at, one.circumstances, after=names[-1] if names else "")
        except NotFoundError:
            return Sight(0, frozenset())
        if found.total > MAX_NAMED:
            return Sight(found.total, None)
        names += found.users
        if len(found.users) < MAX_PAGE:
            return Sight(found.total, frozenset(names))


class _Change(NamedTuple):
    gains: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    numbers: tuple[int, int] | None = None  # where they are all that is known


def compare(plan: Plan, before: Sequence[Sight], after: Sequence[Sight], revision: int) -> Preview:
    """Return what is different between two states of the policy."""
    differences: list[Difference] = []
    compared = zip(plan.looks, before, after, strict=True)
    for right, group in groupby(compared, key=lambda one: one[0].right):
        all_of_it: list[Circumstances] = []
        changed: dict[_Change, list[tuple[Circumstances, int, int]]] = {}
        for one, first, second in group:
            all_of_it.append(one.circumstances)
            found = (one.circumstances, first.total, second.total)
            changed.setdefault(_change(first, second), []).append(found)
        for change, some in changed.items():
            if change == _Change():
                continue
            _, total, total_after = some[0]
            when = _tell_when([one for one, _, _ in some], all_of_it)
            differences.append(Difference(right.action, right.on, change.gains, change.loses, total, total_after, when))
    return Preview(tuple(differences), revision, plan.is_complete)


def _change(first: Sight, second: Sight) -> _Change:
    if first.names is None or second.names is None:
        return _Change(numbers=(first.total, second.total))
    return _Change(tuple(sorted(second.names - first.names)), tuple(sorted(first.names - second.names)))


def _tell_when(some: Sequence[Circumstances], all_of_it: Sequence[Circumstances]) -> str:
    """Return in words what some of the circumstances have in common that the others have not."""
    lowest = min(one.strength for one in all_of_it)
    tellers: tuple[Callable[[Circumstances], str], ...] = (
        lambda one: "now" if one.now == all_of_it[0].now else f"from {one.now:%Y-%m-%dT%H:%M:%SZ}",
        lambda one: f"with {'limited' if one.limited else 'full'} proxies",
        lambda one: f"{'below' if one.strength is lowest else 'at'} strength {_level(one.strength, lowest)}",
    )
    chosen = [dict.fromkeys(map(tell, some)) for tell in tellers]
    if prod(map(len, chosen)) != len(some):
        return "; ".join(_tell_when([one], all_of_it) for one in some)
    possible = [len(set(map(tell, all_of_it))) for tell in tellers]
    return ", ".join(" or ".join(words) for words, count in zip(chosen, possible, strict=True) if len(words) < count)


def _level(strength: Strength, lowest: Strength) -> str:
    return Strength(strength + 1 if strength is lowest else strength).name.lower()
