"""What a policy means to people: why somebody may, and who gains or loses by a change; decides and changes nothing.

found = probes(view, changes)                        # what to ask before and after
compare(found, look(before, found), look(after, found), revision)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from cas.policy.changes import AddMember, Enrol, Grant, Remove, RemoveMember, Revoke, SetFqan
from cas.policy.model import EVERYONE, GRANT_ALL, Kind, Ref
from cas.repository.base import MAX_PAGE
from gsi.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cas.policy.changes import Change
    from cas.policy.conditions import Circumstances
    from cas.policy.evaluate import Matched, Verdict
    from cas.policy.model import Statement
    from cas.repository.base import FoundUser, View

__all__ = ["Difference", "Explanation", "Preview", "Probe", "Sight", "compare", "describe", "explain", "look", "probes"]

MAX_PROBES: Final = 200
"""How many rights are compared; a change that touches more says so."""

MAX_NAMED: Final = 10_000
"""How many holders of a right are compared by name; above that their numbers are."""


class Probe(NamedTuple):
    """A right whose holders a change may change."""

    action: Ref
    on: Ref


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
        on: To what.
        gains: Who gets it, sorted.
        loses: Who has it no longer, sorted.
        before: How many had it.
        after: How many have it. Where there are too many to compare them by name, these numbers alone say something.
    """

    action: Ref
    on: Ref
    gains: tuple[str, ...]
    loses: tuple[str, ...]
    before: int
    after: int


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


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why somebody may do something, or why not.

    Attributes:
        permitted: Whether they may.
        lines: For each statement that decided: what it is and how they are in its group; then those that would hold
            at another time or for another peer.
    """

    permitted: bool
    lines: tuple[str, ...]


# --- who gains, who loses ---------------------------------------------------------------------------------------------


def probes(view: View, changes: Sequence[Change]) -> tuple[Probe, ...]:
    """Return the rights that changes may touch; one more than `MAX_PROBES` where they are too many."""
    found: dict[Probe, None] = {}
    for change in changes:
        for probe in _of_change(view, change):
            found[probe] = None
            if len(found) > MAX_PROBES:
                return tuple(found)
    return tuple(found)


def _of_change(view: View, change: Change) -> Iterable[Probe]:
    match change:
        case Grant(statement=one) | Revoke(statement=one):
            yield from _of_statement(view, one)
        case Enrol(entity=entity, owner=owner):
            if owner is not None:
                yield Probe(GRANT_ALL, entity.ref)
        case Remove(ref=ref):
            yield from _of_statements(view, ref)
        case AddMember(group=group, member=member) | RemoveMember(group=group, member=member):
            for around in _around(view, group):
                for statement in _statements(view, around):
                    if group.kind is Kind.OBJECT_GROUP:
                        yield from _of_statement(view, statement, on=member)
                    elif group.kind is Kind.SERVICE_ACTION_GROUP:
                        yield Probe(member, statement.object)
                    else:
                        yield from _of_statement(view, statement)
        case _:  # what others prove of themselves is known to nobody here
            return


def _of_statement(view: View, statement: Statement, *, on: Ref | None = None) -> Iterable[Probe]:
    on = statement.object if on is None else on
    if statement.action.kind is Kind.SERVICE_ACTION:
        yield Probe(statement.action, on)
    for one in sorted(view.actions_of(statement.action)):
        yield Probe(Ref(Kind.SERVICE_ACTION, one.name, one.service_type), on)


def _of_statements(view: View, ref: Ref) -> Iterable[Probe]:
    for statement in _statements(view, ref):
        yield from _of_statement(view, statement)


def _statements(view: View, ref: Ref) -> Sequence[Statement]:
    try:
        return view.list_statements(ref)
    except NotFoundError:  # something that an earlier one of the changes makes
        return ()


def _around(view: View, group: Ref) -> Sequence[Ref]:
    try:
        return (group, *view.groups_around(group))
    except NotFoundError:
        return (group,)


def look(view: View, wanted: Sequence[Probe], circumstances: Circumstances) -> tuple[Sight, ...]:
    """Return the holders of rights at a state of the policy."""
    return tuple(_look(view, probe, circumstances) for probe in wanted[:MAX_PROBES])


def _look(view: View, probe: Probe, circumstances: Circumstances) -> Sight:
    names: list[str] = []
    while True:
        try:
            found = view.holders(probe.action, probe.on, circumstances, after=names[-1] if names else "")
        except NotFoundError:
            return Sight(0, frozenset())
        if found.total > MAX_NAMED:
            return Sight(found.total, None)
        names += found.users
        if len(found.users) < MAX_PAGE:
            return Sight(found.total, frozenset(names))


def compare(wanted: Sequence[Probe], before: Sequence[Sight], after: Sequence[Sight], revision: int) -> Preview:
    """Return what is different between two states of the policy."""
    differences = []
    for probe, first, second in zip(wanted, before, after, strict=False):
        if first == second and first.names is not None:
            continue
        gains: frozenset[str] = frozenset()
        loses: frozenset[str] = frozenset()
        if first.names is not None and second.names is not None:
            gains, loses = second.names - first.names, first.names - second.names
        elif first.total == second.total:
            continue
        differences.append(
            Difference(probe.action, probe.on, tuple(sorted(gains)), tuple(sorted(loses)), first.total, second.total)
        )
    return Preview(tuple(differences), revision, len(wanted) <= MAX_PROBES)


# --- why --------------------------------------------------------------------------------------------------------------


def explain(view: View, user: FoundUser, verdict: Verdict, circumstances: Circumstances) -> Explanation:
    """Return a verdict in words."""
    lines = [_line(view, user, one) for one in verdict.by]
    for one in verdict.idle:
        is_later = one.terms.not_before is not None and circumstances.now < one.terms.not_before
        when = "begins later" if is_later else "has ended" if not one.terms.is_current(circumstances.now) else "not so"
        lines.append(f"{when}: {_line(view, user, one)}")
    if not verdict.by:
        lines.insert(0, "no statement permits it")
    return Explanation(verdict.permitted, tuple(lines))


def _line(view: View, user: FoundUser, matched: Matched) -> str:
    steps = view.chain(user.number, matched.group)
    if matched.group == EVERYONE:
        how = "everybody is in it"
    elif steps:
        how = f"{user.nickname} is in " + ", which is in ".join(steps)
    else:
        how = "by an attribute"
    (statement,) = view.statements([matched.number])
    return f"{statement} ({how})"


def describe(change: Change) -> str:
    """Return a change as one line for the audit."""
    match change:
        case Enrol(entity=entity, owner=owner):
            return f"enrol {entity.ref}" + ("" if owner is None else f", grantAll for {owner}")
        case Remove(ref=ref):
            return f"remove {ref}"
        case AddMember(group=group, member=member):
            return f"add {member} to {group}"
        case RemoveMember(group=group, member=member):
            return f"take {member} out of {group}"
        case Grant(statement=statement):
            return f"grant {statement}"
        case Revoke(statement=statement):
            return f"revoke {statement}"
        case SetFqan(group=name, fqan=fqan):
            return f"set the FQAN of {name} to {fqan}"
        case _:
            return f"{type(change).__name__} {change.group} {change.feed.source.value} {change.feed.value}"
