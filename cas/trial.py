"""What changes would do: compares who has what before them and after them; makes none, and opens no transaction.

    trial = Trial(changes, now)
    for is_after, step in trial.steps: ...               # each with the policy before the changes, or after them
    trial.preview(revision)

While the policy is looked at with the changes made, nobody else can change it. So what can be found out before them is,
and all that is asked of the policy is sets: the groups that statements name, and the people in these. Which of them
hold a right under which circumstances is found here. One moment is asked about for each window of time, and one peer
for each kind of proxy and strength, of all that the statements of either state tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cas.policy.conditions import Circumstances, Proxies, Strength
from cas.policy.model import Effect
from cas.touched import MAX_LOOKS, Fqan, Right, Touched, find

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from cas.policy.changes import Change
    from cas.policy.conditions import Terms
    from cas.policy.model import Feed, Ref
    from cas.repository.base import View
    from cas.repository.sets import Clause, Person, Reach

__all__ = ["Difference", "Preview", "Trial"]

MAX_NAMED: Final = 10_000
"""How many holders of a right are told apart; above that their numbers are compared."""

_Groups: TypeAlias = tuple[frozenset[int], frozenset[int]]
"""To whom something is permitted, and to whom it is denied."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What becomes of the holders of a right.

    A nickname that becomes another person's is in both lists, with the subject; who is named `NICKNAME (by voms/ldap)`
    has the right, or not, by what they prove.

    Attributes:
        action: What they may do; None for an FQAN.
        on: To what; of a tree, to all in it that no smaller object covers. None for an FQAN.
        fqan: The FQAN by which they are told in attribute certificates and tokens; empty for a right.
        gains: Who gets it, sorted.
        loses: Who has it no longer, sorted.
        feeds_gain: By which attributes it is got, sorted.
        feeds_lose: By which attributes it is no longer had, sorted.
        before: How many had it by name.
        after: How many have it by name. Where they are too many to compare them, these numbers alone say something.
        when: Under which circumstances, in words; empty for all.
    """

    action: Ref | None
    on: Ref | None
    fqan: str
    gains: tuple[str, ...]
    loses: tuple[str, ...]
    feeds_gain: tuple[Feed, ...]
    feeds_lose: tuple[Feed, ...]
    before: int
    after: int
    when: str


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


class _Look(NamedTuple):
    """A right under certain circumstances, and to which groups it is then permitted and denied in both states."""

    right: Right | Fqan
    circumstances: Circumstances
    before: _Groups
    after: _Groups


class _Who(NamedTuple):
    """Whom changes are about, of the holders of one right; users are numbers.

    Attributes:
        gains: Who gets it.
        loses: Who has it no longer.
        proof_gains: Who gets it with what they prove: it was denied to them by name.
        proof_loses: Who has it no longer with what they prove.
        feeds_gain: What is to be proven to get it.
        feeds_lose: With what it is had no longer.
        is_counted: Whether users are too many, and their numbers all that is known.
        is_part: Whether what is proven cannot be compared.
    """

    gains: frozenset[int] = frozenset()
    loses: frozenset[int] = frozenset()
    proof_gains: frozenset[int] = frozenset()
    proof_loses: frozenset[int] = frozenset()
    feeds_gain: frozenset[Feed] = frozenset()
    feeds_lose: frozenset[Feed] = frozenset()
    is_counted: bool = False
    is_part: bool = False


class _Told(NamedTuple):
    """What is said of a right under some circumstances."""

    gains: tuple[str, ...]
    loses: tuple[str, ...]
    feeds_gain: tuple[Feed, ...]
    feeds_lose: tuple[Feed, ...]
    before: int
    after: int


class Trial:
    """Changes that are tried."""

    def __init__(self, changes: Sequence[Change], now: datetime) -> None:
        """Try changes.

        Args:
            changes: In their order.
            now: The time (aware UTC).
        """
        self._changes = changes
        self._now = now
        self._before = self._after = Touched()
        self._rights: tuple[Right | Fqan, ...] = ()
        self._clauses: tuple[frozenset[Clause], ...] = ()
        self._looks: tuple[_Look, ...] = ()
        self._is_whole = False
        self._first: tuple[Reach, ...] = ()
        self._changed: tuple[tuple[Reach, _Who], ...] = ()
        self._gainers: tuple[Mapping[int, Person], ...] = ()
        self._losers: tuple[Mapping[int, Person], ...] = ()

    @property
    def steps(self) -> tuple[tuple[bool, Callable[[View, Callable[[], bool]], None]], ...]:
        """What is to be done, in this order: each with whether the policy after the changes is looked at.

        All have to see the policy at one revision. Each may be done again, and ends soon when the time is over.
        """
        return (
            (False, self._find_before),
            (True, self._find_after),
            (False, self._look_before),
            (True, self._look_after),
            (False, self._name_losers),
        )

    def _find_before(self, view: View, is_over: Callable[[], bool]) -> None:
        self._before = find(view, self._changes, is_over)

    def _find_after(self, view: View, is_over: Callable[[], bool]) -> None:
        self._after = find(view, self._changes, is_over)
        self._rights = tuple(dict.fromkeys((*self._before.rights, *self._after.rights)))
        self._clauses = _clauses(view, self._rights[:MAX_LOOKS], is_over)

    def _look_before(self, view: View, is_over: Callable[[], bool]) -> None:
        looks: list[_Look] = []
        first = _clauses(view, self._rights[: len(self._clauses)], is_over)
        for right, before, after in zip(self._rights, first, self._clauses, strict=False):
            apart = _tell_apart({clause.terms for clause in before | after}, self._now)
            looks += (_Look(right, one, _groups(before, one), _groups(after, one)) for one in apart)
        self._looks = tuple(looks[:MAX_LOOKS])
        self._is_whole = len(looks) <= MAX_LOOKS and len(first) == len(self._rights)
        self._first = _reached(view, [one.before for one in self._looks], is_over)

    def _look_after(self, view: View, is_over: Callable[[], bool]) -> None:
        second = _reached(view, [one.after for one in self._looks[: len(self._first)]], is_over)
        moved = self._before.groups | self._after.groups
        self._changed = tuple(
            (after, _compare(before, after, moved)) for before, after in zip(self._first, second, strict=False)
        )
        self._gainers = _people(view, [one.gains | one.proof_gains for _, one in self._changed], is_over)

    def _name_losers(self, view: View, is_over: Callable[[], bool]) -> None:
        named = self._changed[: len(self._gainers)]
        self._losers = _people(view, [one.loses | one.proof_loses for _, one in named], is_over)

    def preview(self, revision: int) -> Preview:
        """Return what the steps have found, at a revision of the policy."""
        by_right: dict[Right | Fqan, dict[_Told, list[Circumstances]]] = {}
        hows: dict[Right | Fqan, list[Circumstances]] = {}
        is_complete = self._before.is_complete and self._after.is_complete and self._is_whole
        seen = zip(self._looks, self._first, self._changed, self._gainers, self._losers, strict=False)
        for look, before, (after, who), gainers, losers in seen:
            hows.setdefault(look.right, []).append(look.circumstances)
            is_complete = is_complete and not who.is_part
            told = _tell(before, after, who, losers, gainers)
            if told[:4] != ((), (), (), ()) or who.is_counted:
                by_right.setdefault(look.right, {}).setdefault(told, []).append(look.circumstances)
        differences = tuple(
            _difference(right, told, _tell_when(some, hows[right]))
            for right, found in by_right.items()
            for told, some in found.items()
        )
        return Preview(differences, revision, is_complete and len(self._losers) == len(self._looks))


# --- what is asked of the policy --------------------------------------------------------------------------------------


def _clauses(view: View, rights: Sequence[Right | Fqan], is_over: Callable[[], bool]) -> tuple[frozenset[Clause], ...]:
    """Return what statements say of rights, as far as there is time."""
    found: list[frozenset[Clause]] = []
    for right in rights:
        if is_over():
            break
        found.append(view.fqan_clauses(right.fqan) if isinstance(right, Fqan) else view.clauses(right.action, right.at))
    return tuple(found)


def _reached(view: View, groups: Sequence[_Groups], is_over: Callable[[], bool]) -> tuple[Reach, ...]:
    """Return whom statements reach, as far as there is time; most rights are those of the same groups."""
    known: dict[_Groups, Reach] = {}
    found: list[Reach] = []
    for pair in groups:
        if pair not in known:
            if is_over():
                break
            known[pair] = view.reach(*pair, limit=MAX_NAMED)
        found.append(known[pair])
    return tuple(found)


def _people(
    view: View, numbers: Sequence[frozenset[int]], is_over: Callable[[], bool]
) -> tuple[Mapping[int, Person], ...]:
    """Return who users are, for each set of their numbers, as far as there is time; nothing for who is not there."""
    known: dict[int, Person] = {}
    asked: set[int] = set()
    found: list[Mapping[int, Person]] = []
    for some in numbers:
        new = some - asked
        if new:
            if is_over():
                break
            known |= view.people(new)
            asked |= new
        found.append(known)
    return tuple(found)


def _tell_apart(terms: Iterable[Terms], now: datetime) -> list[Circumstances]:
    """Return one of all circumstances under which the same terms hold, from now on."""
    terms = [one for one in terms if one.not_after is None or one.not_after > now]
    moments = {moment for one in terms for moment in (one.not_before, one.not_after) if moment and moment > now}
    kinds = [False, True] if any(one.proxies is not Proxies.ANY for one in terms) else [False]
    levels = sorted({one.strength for one in terms} - {Strength.NONE})
    strengths = [Strength(levels[0] - 1), *levels] if levels else [Strength.MEDIUM]
    return [Circumstances(*one) for one in product([now, *sorted(moments)], kinds, strengths)]


def _groups(clauses: Collection[Clause], circumstances: Circumstances) -> _Groups:
    """Return to which groups something is permitted and denied."""
    held: dict[Effect, set[int]] = {Effect.PERMIT: set(), Effect.DENY: set()}
    for one in clauses:
        if one.terms.holds(circumstances, is_denial=one.effect is Effect.DENY):
            held[one.effect].add(one.group)
    return frozenset(held[Effect.PERMIT]), frozenset(held[Effect.DENY])


# --- before and after -------------------------------------------------------------------------------------------------


def _compare(before: Reach, after: Reach, moved: frozenset[int]) -> _Who:
    """Return whom changes are about.

    Args:
        before: Who had a right.
        after: Who has it.
        moved: The groups in which somebody comes or goes by name; in all others the same people are as before.
    """
    feeds = _compare_feeds(before, after)
    is_same = before.groups == after.groups and not moved & (before.groups[0] | before.groups[1])
    if is_same:
        return feeds
    if before.users is None or after.users is None:
        return feeds._replace(is_counted=True)
    gains, loses = after.users - before.users, before.users - after.users
    found = feeds._replace(gains=gains, loses=loses)
    if not all(one.everyone or one.feeds for one in (before, after)):
        return found
    if before.barred is None or after.barred is None:
        return found._replace(is_part=True)
    return found._replace(
        proof_gains=before.barred - after.barred - gains - loses,
        proof_loses=after.barred - before.barred - gains - loses,
    )


def _compare_feeds(before: Reach, after: Reach) -> _Who:
    """Return by which attributes a right is got, and by which it is had no longer, by whoever proves them."""
    had, has, barred, is_barred = before.feeds, after.feeds, before.barring, after.barring
    if had is None or has is None or barred is None or is_barred is None:
        return _Who(is_part=True)
    every = had | has | barred | is_barred
    first = frozenset(one for one in every if one not in barred and (before.everyone or one in had))
    second = frozenset(one for one in every if one not in is_barred and (after.everyone or one in has))
    gains, loses = second - first, first - second
    if before.total or before.everyone or had:  # who had it otherwise, and now proves this in vain
        loses |= is_barred - barred - first
    if after.total or after.everyone or has:
        gains |= barred - is_barred - second
    return _Who(feeds_gain=gains, feeds_lose=loses)


def _tell(before: Reach, after: Reach, who: _Who, losers: Mapping[int, Person], gainers: Mapping[int, Person]) -> _Told:
    """Return in words whom changes are about; who has been enrolled anew as the same person is not."""
    loses = {losers[number] for number in who.loses if number in losers}
    gains = {gainers[number] for number in who.gains if number in gainers}
    gains, loses = gains - loses, loses - gains
    return _Told(
        _named(gains, loses, who.proof_gains, gainers),
        _named(loses, gains, who.proof_loses, losers),
        tuple(sorted(who.feeds_gain)),
        tuple(sorted(who.feeds_lose)),
        before.total,
        after.total,
    )


def _named(
    people: Collection[Person], others: Collection[Person], by_proof: Collection[int], known: Mapping[int, Person]
) -> tuple[str, ...]:
    """Return the names of people: where another one of these has the nickname, with whose it is."""
    taken = {one.nickname: one for one in others}
    names = [one.nickname if one.nickname not in taken else _in_full(one, taken[one.nickname]) for one in people]
    names += [f"{known[number].nickname} (by voms/ldap)" for number in by_proof if number in known]
    return tuple(sorted(names))


def _in_full(one: Person, other: Person) -> str:
    if one.subject != other.subject:
        return f"{one.nickname} ({one.subject})"
    return f"{one.nickname} ({one.subject} of {one.issuer}, strength {Strength(one.strength).name.lower()})"


def _difference(right: Right | Fqan, told: _Told, when: str) -> Difference:
    if isinstance(right, Fqan):
        return Difference(None, None, right.fqan, *told, when)
    return Difference(right.action, right.on, "", *told, when)


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
