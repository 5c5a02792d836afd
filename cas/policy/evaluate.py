"""What a policy allows: one question judged, and all rights of somebody narrowed to a request; finds no statements.

    judge(matched, circumstances).permitted
    narrow(applicable, request, circumstances, until=not_after, all_actions=actions).rights

A store finds the statements that could speak of a question (`cas.repository`), by the groups of who asks, the groups of
the action and the names that cover the object. Here is decided what they say together:

- A statement counts while its terms hold for this peer at this time. A denial goes before every permit.
- `grantAll` on a thing is every action on it; `superuser` on the server is every action on everything.
- Of CAS's own actions nothing is ever denied, so that a community cannot lock itself out.
- A capability says what may be done and nothing else. A permission within which something is denied cannot be written
  so, and is withheld; whoever asks for a part of it that is free of denials gets that.
- A capability ends before a right in it ends, and before a denial begins that touches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from cas.assertion.value import Right
from cas.policy.matching import common, covering_names, is_place, meets
from cas.policy.model import CAS, ActionName, Effect
from gsi.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from cas.assertion.value import Comparison
    from cas.policy.conditions import Circumstances, Terms
    from cas.policy.request import PolicyRequest, Wanted

__all__ = ["MAX_RIGHTS", "Applicable", "Matched", "Outcome", "Place", "Verdict", "judge", "narrow", "reaches"]

MAX_RIGHTS: Final = 1024
"""The most rights in a capability: a hundred kilobytes of SAML, ten times what fits into a proxy for TLS."""

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Place(NamedTuple):
    """An object, as it is compared."""

    namespace: str
    name: str
    comparison: Comparison


def reaches(denied: Place, place: Place) -> bool:
    """Say whether a denial on an object reaches another: something is within both.

    A resource is the same one, whichever namespace it was named in. Whoever finds denials asks here (`cas.repository`).
    """
    if denied.namespace != place.namespace and not (is_place(denied.name) and is_place(place.name)):
        return False
    return meets(denied.name, denied.comparison, place.name, place.comparison)


class Matched(NamedTuple):
    """A statement that speaks of the action and object of one question.

    Attributes:
        number: Which one.
        group: Whose.
        effect: Permit or deny.
        terms: When and for whom.
    """

    number: int
    group: str
    effect: Effect
    terms: Terms


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question.

    Attributes:
        permitted: Whether it may be done.
        by: The statements that decided: the denials that hold, or else the permits that do.
        idle: The statements that would speak of it at another time or for another peer.
    """

    permitted: bool
    by: tuple[Matched, ...]
    idle: tuple[Matched, ...]


def judge(matched: Iterable[Matched], circumstances: Circumstances) -> Verdict:
    """Decide one question by the statements that speak of it."""
    held: dict[Effect, list[Matched]] = {Effect.PERMIT: [], Effect.DENY: []}
    idle: list[Matched] = []
    for one in matched:
        is_denial = one.effect is Effect.DENY
        (held[one.effect] if one.terms.holds(circumstances, is_denial=is_denial) else idle).append(one)
    denials, permits = held[Effect.DENY], held[Effect.PERMIT]
    return Verdict(bool(permits) and not denials, tuple(denials or permits), tuple(idle))


# --- capabilities -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Applicable:
    """A statement of one of somebody's groups, its groups of actions and objects written out.

    Attributes:
        number: Which one.
        effect: Permit or deny.
        actions: Which; None for all.
        places: On which objects.
        terms: When and for whom.
    """

    number: int
    effect: Effect
    actions: frozenset[ActionName] | None
    places: tuple[Place, ...]
    terms: Terms


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is left for a capability.

    Attributes:
        rights: What may be done, sorted; none of them is within another one.
        withheld: What was asked for and permitted, but that something within it is denied.
        not_after: Until when all of this is so: not later than was asked.
    """

    rights: tuple[Right, ...]
    withheld: tuple[Right, ...]
    not_after: datetime


class _Piece(NamedTuple):
    place: Place
    action: ActionName


def narrow(
    applicable: Sequence[Applicable],
    request: PolicyRequest,
    circumstances: Circumstances,
    *,
    until: datetime,
    all_actions: Collection[ActionName],
) -> Outcome:
    """Return the rights that somebody has of those that are asked for.

    Args:
        applicable: Every statement of their groups that touches the request.
        request: What is asked for.
        circumstances: Now, and how they are authenticated.
        until: Until when the capability is to last.
        all_actions: Every action there is, for `grantAll`.

    Raises:
        DeniedError: More than `MAX_RIGHTS` rights.
    """
    resources = tuple(action for action in all_actions if action.service_type != CAS)
    pieces: dict[_Piece, datetime] = {}
    for one in applicable:
        if one.effect is Effect.PERMIT and one.terms.holds(circumstances, is_denial=False):
            _add_pieces(one, request.wanted, resources, until, pieces)
    withheld, not_after = _take_denied(applicable, circumstances, pieces, until)
    kept = [piece for piece in pieces if not _is_within_another(piece, pieces)]
    not_after = min([not_after, *(pieces[piece] for piece in kept)])
    rights = _gather(kept)
    if len(rights) > MAX_RIGHTS:
        raise DeniedError(
            f"{len(rights)} rights are too many for one capability, limit {MAX_RIGHTS}",
            hint="ask for less, with a policy request file",
        )
    return Outcome(rights, _gather(withheld), not_after)


def _add_pieces(
    permit: Applicable,
    wanted: Sequence[Wanted],
    resources: Collection[ActionName],
    until: datetime,
    pieces: dict[_Piece, datetime],
) -> None:
    end = until if permit.terms.not_after is None else min(until, permit.terms.not_after)
    granted = resources if permit.actions is None else [one for one in permit.actions if one.service_type != CAS]
    for want in wanted:
        actions = [one for one in granted if want.actions is None or one in want.actions]
        for place in permit.places if actions else ():
            if want.namespace is None:
                name: str | None = place.name
            elif want.namespace != place.namespace:
                continue
            else:
                name = common(place.name, want.name, place.comparison)
            if name is None:
                continue
            for action in actions:
                piece = _Piece(Place(place.namespace, name, place.comparison), action)
                if (known := pieces.get(piece)) is None or known < end:
                    pieces[piece] = end


def _take_denied(
    applicable: Sequence[Applicable],
    circumstances: Circumstances,
    pieces: dict[_Piece, datetime],
    until: datetime,
) -> tuple[list[_Piece], datetime]:
    """Take out what is denied; return what was denied in part only, and when the first denial to come begins."""
    withheld: list[_Piece] = []
    not_after = until
    for one in applicable:
        if one.effect is not Effect.DENY or not one.terms.suits(circumstances, is_denial=True):
            continue
        begins = one.terms.not_before
        if one.terms.not_after is not None and one.terms.not_after <= circumstances.now:
            continue
        if begins is not None and begins >= until:
            continue
        for piece in [piece for piece in pieces if _touches(one, piece)]:
            if begins is not None and begins > circumstances.now:
                not_after = min(not_after, begins)
                continue
            del pieces[piece]
            if not any(
                reaches(place, piece.place)
                and common(place.name, piece.place.name, place.comparison) == piece.place.name
                for place in one.places
            ):
                withheld.append(piece)
    return withheld, not_after


def _touches(denial: Applicable, piece: _Piece) -> bool:
    if denial.actions is not None and piece.action not in denial.actions:
        return False
    return any(reaches(place, piece.place) for place in denial.places)


def _is_within_another(piece: _Piece, pieces: Mapping[_Piece, datetime]) -> bool:
    """Say whether another piece says the same of more, for at least as long."""
    place = piece.place
    return any(
        pieces.get(_Piece(place._replace(name=name), piece.action), _NEVER) >= pieces[piece]
        for name in covering_names(place.name, place.comparison)
        if name != place.name
    )


def _gather(pieces: Iterable[_Piece]) -> tuple[Right, ...]:
    gathered: dict[tuple[Place, str], set[str]] = {}
    for place, action in pieces:
        gathered.setdefault((place, action.service_type), set()).add(action.name)
    return tuple(
        Right(place.namespace, place.name, place.comparison, service_type, tuple(sorted(actions)))
        for (place, service_type), actions in sorted(gathered.items())
    )
