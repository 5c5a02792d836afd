"""What several verdicts amount to: the combining algorithms, as tables; asks nobody.

    combine(Combining.DENY_OVERRIDES, [Effect.PERMIT, Effect.INDETERMINATE])      # INDETERMINATE

| algorithm | answers in this order | ends at the first |
|---|---|---|
| first-applicable | whatever comes first of PERMIT, DENY, INDETERMINATE | of these |
| deny-overrides | DENY, INDETERMINATE, PERMIT | DENY |
| permit-overrides | PERMIT, DENY, INDETERMINATE | PERMIT |

and NOT_APPLICABLE where none of them is among the verdicts.

They are the policy combining algorithms of XACML 2.0 (appendix C), with one deviation: there, deny-overrides turns
INDETERMINATE into DENY. Here it stays INDETERMINATE, so that the log tells a broken ban list from a ban; both refuse,
wherever such a chain is nested. Those of GT4 are others: its first-applicable passes INDETERMINATE over, so that the
failure of a ban list would permit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gsi.authz.decision import Effect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["ENDS", "RANK", "Combining", "combine"]


class Combining(StrEnum):
    """How the verdicts of a chain become one."""

    FIRST_APPLICABLE = "first-applicable"
    DENY_OVERRIDES = "deny-overrides"
    PERMIT_OVERRIDES = "permit-overrides"


_P, _D, _N, _I = Effect.PERMIT, Effect.DENY, Effect.NOT_APPLICABLE, Effect.INDETERMINATE

ENDS: Final[Mapping[Combining, frozenset[Effect]]] = {
    Combining.FIRST_APPLICABLE: frozenset({_P, _D, _I}),
    Combining.DENY_OVERRIDES: frozenset({_D}),
    Combining.PERMIT_OVERRIDES: frozenset({_P}),
}
"""The verdicts after which no further member of a chain is asked."""

RANK: Final[Mapping[Combining, Mapping[Effect, int]]] = {
    Combining.FIRST_APPLICABLE: {_N: 0, _I: 1, _P: 1, _D: 1},
    Combining.DENY_OVERRIDES: {_N: 0, _P: 1, _I: 2, _D: 3},
    Combining.PERMIT_OVERRIDES: {_N: 0, _I: 1, _D: 2, _P: 3},
}
"""Which of two verdicts counts: the higher, and of equal ones the first."""


def combine(algorithm: Combining, effects: Iterable[Effect]) -> Effect:
    """Return what the verdicts amount to; NOT_APPLICABLE where there are none."""
    rank, ends = RANK[algorithm], ENDS[algorithm]
    found = _N
    for effect in effects:
        if rank[effect] > rank[found]:
            found = effect
        if effect in ends:
            break
    return found
