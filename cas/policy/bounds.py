"""What the proxies of somebody who asks leave of their rights; grants nothing, and verifies nothing.

    bounds = Bounds(fqans=frozenset({"/climate/readers"}), without=JOB_TYPES)
    bounds.rights(rights)

Who holds a delegated proxy is to get no more than was delegated. What it carries of this community bounds what is
issued to it, whether or not it is still good: something forged, or over, could only narrow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cas.policy.matching import common

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cas.assertion.value import Right
    from gsi.saml.assertion import AuthorizationDecision

__all__ = ["JOB_TYPES", "UNBOUND", "Bounds"]

JOB_TYPES: Final = frozenset({"gram"})
"""The types of services that run jobs, with which a limited proxy has no business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The bounds of one caller.

    Attributes:
        fqans: The groups and roles, normal, that their proxies carry; None where they carry nothing that says any.
        groups_only: Whether rights come from these alone, too: they are what an attribute certificate says.
        decisions: What each assertion in the proxies says; of each one only what all others say as well is left.
        without: Types of services of which nothing is left.
    """

    fqans: frozenset[str] | None = None
    groups_only: frozenset[str] | None = None
    decisions: tuple[tuple[AuthorizationDecision, ...], ...] = ()
    without: frozenset[str] = frozenset()

    def rights(self, rights: Iterable[Right]) -> tuple[Right, ...]:
        """Return what is left of rights."""
        found = [one for one in rights if one.service_type not in self.without]
        for decisions in self.decisions:
            pieces: dict[Right, None] = {}
            for right in found:
                for one in decisions:
                    left = _both(right, one)
                    if left is not None:
                        pieces[left] = None
            found = list(pieces)
        return tuple(found)


UNBOUND: Final = Bounds()
"""Of somebody whose proxies carry nothing."""


def _both(right: Right, decision: AuthorizationDecision) -> Right | None:
    """Return what is in a right and in an assertion's statement; None for nothing."""
    if decision.decision != "Permit" or decision.namespace != right.namespace:
        return None
    stated = {one.name for one in decision.actions if one.namespace == right.service_type}
    actions = tuple(one for one in right.actions if one in stated)
    name = common(right.object, decision.object, right.comparison)
    return replace(right, object=name, actions=actions) if actions and name is not None else None
