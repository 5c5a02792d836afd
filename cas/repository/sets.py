"""What is compared of two states of a policy, as values: who is reached by what is said; asks nothing (`reach`).

    Clause(group, Effect.PERMIT, terms), Reach(total=2, users=frozenset({17, 20})), Person("alice", subject, issuer, 2)

People and groups are numbers, which are never used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cas.policy.conditions import ALWAYS

if TYPE_CHECKING:
    from cas.policy.conditions import Terms
    from cas.policy.model import Effect, Feed

__all__ = ["Clause", "Person", "Reach"]


class Clause(NamedTuple):
    """What a statement says of one action on one thing.

    Attributes:
        group: To which user group, by its number.
        effect: Permit or deny.
        terms: When and for whom.
    """

    group: int
    effect: Effect
    terms: Terms = ALWAYS


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom permits and denials reach.

    Attributes:
        total: How many enrolled users may do it, by name.
        users: Their numbers; None where there are too many.
        everyone: Whether all may but for whom it is denied to.
        feeds: Attributes by which others may, who prove them; None where there are too many.
        barring: Attributes by which it is denied to whoever proves them; None where there are too many.
        barred: To whom it is denied by name, where others may by what they prove; None where there are too many.
        groups: The groups of the permits and those of the denials, all within them among these.
    """

    total: int = 0
    users: frozenset[int] | None = frozenset()
    everyone: bool = False
    feeds: frozenset[Feed] | None = frozenset()
    barring: frozenset[Feed] | None = frozenset()
    barred: frozenset[int] | None = frozenset()
    groups: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())


class Person(NamedTuple):
    """Who a user is: another one may get the nickname.

    Attributes:
        nickname: What the community calls them.
        subject: The name in their certificate.
        issuer: That of its CA.
        strength: What the trust anchor says of its names.
    """

    nickname: str
    subject: str
    issuer: str
    strength: int
