"""What a policy means to people: why somebody may do something, and what a change is; decides and changes nothing.

explain(view, user, judge(matched, circumstances), circumstances).lines
describe(Grant(statement))                           # one line for the audit
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cas.policy.changes import AddMember, Enrol, Grant, Remove, RemoveMember, Revoke, SetFqan
from cas.policy.model import EVERYONE

if TYPE_CHECKING:
    from cas.policy.changes import Change
    from cas.policy.conditions import Circumstances
    from cas.policy.evaluate import Matched, Verdict
    from cas.repository.base import FoundUser, View

__all__ = ["Explanation", "describe", "explain"]


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
