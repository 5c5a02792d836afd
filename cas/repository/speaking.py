"""Finds the statements that speak of a question, with the groups of actions and objects written out; judges nothing.

    matched(connection, groups, action, on)              # for one question
    applicable(connection, groups, request)              # for a capability

What is around an object is found by its name: of names that cover it there are as many as its path is deep. What is
below a place is found from the statements of the groups, which are few, and not from the objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from cas.assertion.value import Comparison
from cas.policy.evaluate import Applicable, Matched, Place, reaches
from cas.policy.matching import below, covering_names, is_place
from cas.policy.model import CAS, GRANT_ALL, SERVER, SUPERUSER, ActionName, Effect, Kind, Namespace, Ref
from cas.repository.base import MAX_ROWS
from cas.repository.closures import DOWN, leaves, up, up_pairs
from cas.repository.rows import chunks, find_id, get_id, refs_of, rows, run, terms_of
from cas.repository.tables import CAS_TYPE_ID, CODES, SERVER_ID
from gsi.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.engine import Connection, RowMapping

    from cas.policy.request import PolicyRequest, Wanted

    _Add: TypeAlias = Callable[[RowMapping, str, str, Comparison], None]

__all__ = [
    "Targets",
    "actions_in",
    "all_actions",
    "applicable",
    "find_namespace",
    "matched",
    "namespaces_like",
    "objects_around",
    "range_end",
    "targets",
]

_COLUMNS: Final = (
    "s.id, s.group_id, s.effect, s.action_id, s.object_id, s.not_before, s.not_after, s.proxies, s.strength"
)
_OBJECT: Final = CODES[Kind.OBJECT]
_OBJECT_GROUP: Final = CODES[Kind.OBJECT_GROUP]


# --- one question -----------------------------------------------------------------------------------------------------


class Targets:
    """What statements have to name in order to speak of an action on something.

    Attributes:
        permits: Pairs of actions and objects; a permit speaks of it that names both of one pair.
        denials: The same of denials.
    """

    __slots__ = ("denials", "permits")

    def __init__(
        self,
        permits: list[tuple[frozenset[int], frozenset[int]]],
        denials: list[tuple[frozenset[int], frozenset[int]]],
    ) -> None:
        self.permits = permits
        self.denials = denials


def targets(connection: Connection, action: Ref, on: Ref) -> Targets:
    """Return what statements have to name.

    Raises:
        NotFoundError: The action is not known.
    """
    number = get_id(connection, action)
    actions = up(connection, [number], Kind.SERVICE_ACTION_GROUP) | {number}
    super_number = get_id(connection, SUPERUSER)
    supers = up(connection, [super_number], Kind.SERVICE_ACTION_GROUP) | {super_number}
    anything = (supers, frozenset({SERVER_ID}))
    if action == SUPERUSER:
        return Targets([anything] if on == SERVER else [], [])
    all_number = get_id(connection, GRANT_ALL)
    permitted = actions | up(connection, [all_number], Kind.SERVICE_ACTION_GROUP) | {all_number}
    around, touched = _objects_of(connection, on)
    permits = [anything]
    if around:
        permits.append((permitted, around))
    return Targets(permits, [(actions, touched)] if touched and action.scope != CAS else [])


def _objects_of(connection: Connection, on: Ref) -> tuple[frozenset[int], frozenset[int]]:
    """Return the objects, and groups of them, that a permit and that a denial has to name."""
    if on.kind is not Kind.OBJECT:
        number = find_id(connection, on)
        if number is None:
            return frozenset(), frozenset()
        found = up(connection, [number], Kind.OBJECT_GROUP) | {number}
        return found, found
    namespace = find_namespace(connection, on.scope)
    if namespace is None:
        return frozenset(), frozenset()
    number, known = namespace
    covering = _named(connection, number, covering_names(on.name, known.comparison))
    around = covering | up(connection, covering, Kind.OBJECT_GROUP)
    named = frozenset(objects_around(connection, namespace, on.name))
    touched = around | named | up(connection, named, Kind.OBJECT_GROUP)
    prefix = below(on.name, known.comparison)
    if prefix is None:
        return around, touched
    return around, touched | _denied_below(
        connection, list(namespaces_like(connection, namespace, on.name)), prefix, range_end(prefix)
    )


def _denied_below(connection: Connection, scopes: list[int], low: str, high: str) -> frozenset[int]:
    """Return the objects in a range of names, and the groups that hold one, on which something is denied to anybody.

    Those of all namespaces that could mean it: a resource is the same one, whichever it was named in. Denials are few
    and have an index of their own; of the objects there may be a million.
    """
    within = {"scopes": scopes, "low": low, "high": high}
    found = rows(
        connection,
        "SELECT DISTINCT s.object_id FROM statements s CROSS JOIN entities e WHERE s.effect = 0 AND e.id = s.object_id"
        " AND e.kind = :kind AND e.scope IN :scopes AND e.name > :low AND e.name < :high",
        kind=_OBJECT,
        **within,
    )
    groups = rows(
        connection,
        "SELECT DISTINCT s.object_id FROM statements s CROSS JOIN entities e WHERE s.effect = 0 AND e.id = s.object_id"
        " AND e.kind = :kind",
        kind=_OBJECT_GROUP,
    )
    inside = rows(
        connection,
        DOWN + "SELECT DISTINCT down.origin FROM down CROSS JOIN members m CROSS JOIN entities e"
        " WHERE m.container_id = down.id AND m.member_kind = :leaf AND e.id = m.member_id AND e.scope IN :scopes"
        " AND e.name > :low AND e.name < :high",
        ids=[int(row[0]) for row in groups],
        kind=_OBJECT_GROUP,
        leaf=_OBJECT,
        **within,
    )
    return frozenset(int(row[0]) for row in (*found, *inside))


def matched(connection: Connection, groups: frozenset[int], action: Ref, on: Ref) -> tuple[Matched, ...]:
    """Return the statements of groups that speak of an action on something.

    Raises:
        NotFoundError: The action is not known.
    """
    wanted = targets(connection, action, on)
    found: dict[int, RowMapping] = {}
    for effect, pairs in ((1, wanted.permits), (0, wanted.denials)):
        for actions, objects in pairs:
            for of_groups in chunks(groups):
                for of_objects in chunks(objects):
                    got = run(
                        connection,
                        f"SELECT {_COLUMNS} FROM statements s WHERE s.object_id IN :objects AND s.group_id IN :groups"
                        " AND s.action_id IN :actions AND s.effect = :effect",
                        objects=of_objects,
                        groups=of_groups,
                        actions=actions,
                        effect=effect,
                    )
                    found.update((row["id"], row) for row in got.mappings())
    names = refs_of(connection, {row["group_id"] for row in found.values()})
    return tuple(
        Matched(number, names[row["group_id"]].name, _effect(row), terms_of(row))
        for number, row in sorted(found.items())
    )


# --- a capability -----------------------------------------------------------------------------------------------------


def applicable(connection: Connection, groups: frozenset[int], request: PolicyRequest) -> tuple[Applicable, ...]:
    """Return the statements of groups that touch a request.

    Raises:
        DeniedError: They are more than `MAX_ROWS`.
    """
    found: dict[int, RowMapping] = {}
    places: dict[int, set[Place]] = {}

    def add(row: RowMapping, namespace: str, name: str, comparison: Comparison) -> None:
        found[row["id"]] = row
        places.setdefault(row["id"], set()).add(Place(namespace, name, comparison))
        if len(found) > MAX_ROWS:
            raise DeniedError(
                f"more than {MAX_ROWS} statements would have to be looked at", hint="ask for less: name the resources"
            )

    for want in request.wanted:
        if want.namespace is None:
            _add_below(connection, groups, None, add)
            continue
        namespace = find_namespace(connection, want.namespace)
        if namespace is None:
            continue
        known = namespace[1]
        _add_around(connection, groups, namespace, want.name, add)
        prefix = below(want.name, known.comparison)
        if prefix is not None:
            _add_below(connection, groups, (prefix, range_end(prefix)), add)
    answer = _write_out(connection, found, places)
    asked = [want for want in request.wanted if want.namespace is not None]
    return (*answer, *_of_superusers(connection, groups, asked)) if asked else answer


def _add_around(
    connection: Connection, groups: frozenset[int], within: tuple[int, Namespace], name: str, add: _Add
) -> None:
    """Add the statements on objects that cover a name, in whichever namespace, and on groups of these."""
    names = objects_around(connection, within, name)
    if not names:
        return
    by_object: dict[int, set[int]] = {one: {one} for one in names}
    for origin, group in up_pairs(connection, names, Kind.OBJECT_GROUP):
        by_object.setdefault(group, set()).add(origin)
    for of_groups in chunks(groups):
        for of_objects in chunks(by_object):
            got = run(
                connection,
                f"SELECT {_COLUMNS} FROM statements s WHERE s.object_id IN :objects AND s.group_id IN :groups",
                objects=of_objects,
                groups=of_groups,
            ).mappings()
            for row in got:
                for origin in by_object[row["object_id"]]:
                    add(row, *names[origin])


def _add_below(connection: Connection, groups: frozenset[int], within: tuple[str, str] | None, add: _Add) -> None:
    """Add the statements on objects in a range of names, or on all, and on groups of these."""
    where = "" if within is None else " AND o.name >= :low AND o.name < :high"
    values: dict[str, object] = {} if within is None else dict(zip(("low", "high"), within, strict=True))
    for part in chunks(groups):
        direct = run(
            connection,
            f"SELECT {_COLUMNS}, o.name AS place, n.comparison, ne.name AS namespace FROM statements s"
            " JOIN entities o ON o.id = s.object_id"
            " JOIN namespaces n ON n.id = o.scope JOIN entities ne ON ne.id = n.id"
            f" WHERE s.group_id IN :groups AND o.kind = :kind{where} LIMIT :limit",
            groups=part,
            kind=_OBJECT,
            limit=MAX_ROWS + 1,
            **values,
        )
        for row in direct.mappings():
            add(row, row["namespace"], row["place"], Comparison(row["comparison"]))
        on_groups = run(
            connection,
            f"SELECT {_COLUMNS} FROM statements s JOIN entities o ON o.id = s.object_id"
            " WHERE s.group_id IN :groups AND o.kind = :kind LIMIT :limit",
            groups=part,
            kind=_OBJECT_GROUP,
            limit=MAX_ROWS + 1,
        ).mappings()
        by_object: dict[int, list[RowMapping]] = {}
        for row in on_groups:
            by_object.setdefault(row["object_id"], []).append(row)
        for some in chunks(by_object):
            inside = rows(
                connection,
                DOWN + "SELECT DISTINCT down.origin, o.name AS place, n.comparison, ne.name AS namespace"
                " FROM down CROSS JOIN members m CROSS JOIN entities o CROSS JOIN namespaces n CROSS JOIN entities ne"
                " WHERE m.container_id = down.id AND m.member_kind = :leaf AND o.id = m.member_id AND n.id = o.scope"
                f" AND ne.id = n.id{where} LIMIT :limit",
                ids=some,
                kind=_OBJECT_GROUP,
                leaf=_OBJECT,
                limit=MAX_ROWS + 1,
                **values,
            )
            if len(inside) > MAX_ROWS:
                raise DeniedError("a group of objects is too large for a capability", hint="name the resources")
            for origin, place, comparison, namespace in inside:
                for row in by_object[origin]:
                    add(row, namespace, place, Comparison(comparison))


def _of_superusers(connection: Connection, groups: frozenset[int], asked: list[Wanted]) -> list[Applicable]:
    """Return for each statement that makes a superuser that everything asked for by name is permitted."""
    places: list[Place] = []
    for want in asked:
        namespace = None if want.namespace is None else find_namespace(connection, want.namespace)
        if namespace is not None:
            places.append(Place(namespace[1].nickname, want.name, namespace[1].comparison))
    if not places:
        return []
    found = matched(connection, groups, SUPERUSER, SERVER)
    return [Applicable(one.number, Effect.PERMIT, None, tuple(places), one.terms) for one in found]


def _write_out(
    connection: Connection, found: dict[int, RowMapping], places: dict[int, set[Place]]
) -> tuple[Applicable, ...]:
    names = refs_of(connection, {row["action_id"] for row in found.values()})
    groups = [number for number, ref in names.items() if ref.kind is Kind.SERVICE_ACTION_GROUP]
    actions: dict[int, set[ActionName]] = {
        number: {ActionName(ref.scope, ref.name)} for number, ref in names.items() if ref.kind is Kind.SERVICE_ACTION
    }
    pairs = leaves(connection, groups, Kind.SERVICE_ACTION_GROUP, Kind.SERVICE_ACTION, limit=MAX_ROWS)
    inside = refs_of(connection, {number for _, number in pairs})
    for group, number in pairs:
        actions.setdefault(group, set()).add(ActionName(inside[number].scope, inside[number].name))
    everything = ActionName(CAS, GRANT_ALL.name)
    answer = []
    for number, row in sorted(found.items()):
        named = actions.get(row["action_id"], set())
        effect = _effect(row)
        whole = effect is Effect.PERMIT and everything in named
        useful = frozenset(one for one in named if one.service_type != CAS)
        if whole or useful:
            answer.append(
                Applicable(number, effect, None if whole else useful, tuple(sorted(places[number])), terms_of(row))
            )
    return tuple(answer)


# --- names ------------------------------------------------------------------------------------------------------------


def all_actions(connection: Connection) -> frozenset[ActionName]:
    """Return every action of every service type but CAS's own."""
    found = rows(
        connection,
        "SELECT t.name, a.name FROM entities a JOIN entities t ON t.id = a.scope"
        " WHERE a.kind = :kind AND a.scope <> :cas LIMIT :limit",
        kind=CODES[Kind.SERVICE_ACTION],
        cas=CAS_TYPE_ID,
        limit=MAX_ROWS,
    )
    return frozenset(ActionName(str(service_type), str(name)) for service_type, name in found)


def actions_in(connection: Connection, action: Ref) -> frozenset[ActionName]:
    """Return the actions of a group of them, or the one that is named; empty for what is not known."""
    number = find_id(connection, action)
    if number is None:
        return frozenset()
    if action.kind is Kind.SERVICE_ACTION:
        return frozenset({ActionName(action.scope, action.name)})
    pairs = leaves(connection, [number], Kind.SERVICE_ACTION_GROUP, Kind.SERVICE_ACTION, limit=MAX_ROWS)
    return frozenset(ActionName(ref.scope, ref.name) for ref in refs_of(connection, {one for _, one in pairs}).values())


def find_namespace(connection: Connection, nickname: str) -> tuple[int, Namespace] | None:
    """Return a namespace and its number, or None."""
    number = find_id(connection, Ref(Kind.NAMESPACE, nickname))
    if number is None:
        return None
    ((base, comparison),) = rows(connection, "SELECT base, comparison FROM namespaces WHERE id = :id", id=number)
    return number, Namespace(nickname, str(base), Comparison(str(comparison)))


def namespaces_like(connection: Connection, own: tuple[int, Namespace], name: str) -> dict[int, Namespace]:
    """Return the namespaces in which a name of one of them means the same, by number: all, for a URL or a path."""
    if not is_place(name):
        return dict([own])
    found = rows(
        connection,
        "SELECT n.id, e.name, n.base, n.comparison FROM namespaces n CROSS JOIN entities e WHERE e.id = n.id",
    )
    return {
        int(number): Namespace(str(nickname), str(base), Comparison(str(comparison)))
        for number, nickname, base, comparison in found
    }


def objects_around(connection: Connection, own: tuple[int, Namespace], name: str) -> dict[int, Place]:
    """Return the enrolled objects that cover a name of a namespace, in whichever: by number, as they are compared."""
    there = namespaces_like(connection, own, name)
    names = set(covering_names(name, Comparison.WILDCARD if is_place(name) else own[1].comparison)) | {name}
    found = rows(
        connection,
        "SELECT id, scope, name FROM entities WHERE kind = :kind AND scope IN :scopes AND name IN :names",
        kind=_OBJECT,
        scopes=list(there),
        names=[one for one in names if "\0" not in one],
    )
    places = {
        int(number): Place(there[scope].nickname, str(other), there[scope].comparison) for number, scope, other in found
    }
    asked = Place(own[1].nickname, name, own[1].comparison)
    return {number: place for number, place in places.items() if reaches(place, asked)}


def _named(connection: Connection, namespace: int, names: Iterable[str]) -> frozenset[int]:
    found = rows(
        connection,
        "SELECT id FROM entities WHERE kind = :kind AND scope = :scope AND name IN :names",
        kind=_OBJECT,
        scope=namespace,
        names=[name for name in names if "\0" not in name],
    )
    return frozenset(int(row[0]) for row in found)


def range_end(prefix: str) -> str:
    """Return the first text behind all that begin with a prefix which ends with a slash."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _effect(row: RowMapping) -> Effect:
    return Effect.PERMIT if row["effect"] else Effect.DENY
