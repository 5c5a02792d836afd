"""Which enrolled objects are around one, and below it; judges nothing.

objects_near(connection, ref, limit=1000)                        # whoever enrols it needs rights on these
objects_near(connection, ref, limit=200, stated=True)            # where a right on it can have other holders
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cas.policy.matching import below
from cas.policy.model import SERVER, SUPERUSER, Kind, Ref
from cas.repository.closures import DOWN, down
from cas.repository.rows import chunks, rows
from cas.repository.speaking import find_namespace, namespaces_like, objects_around, range_end, targets
from cas.repository.tables import CODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

__all__ = ["objects_near", "superuser_groups"]

_OBJECT: Final = CODES[Kind.OBJECT]
_OBJECT_GROUP: Final = CODES[Kind.OBJECT_GROUP]
_BELOW: Final = (
    "SELECT e.scope, e.name FROM entities e"
    " WHERE e.kind = :kind AND e.scope IN :scopes AND e.name > :low AND e.name < :high"
)


def objects_near(connection: Connection, ref: Ref, *, limit: int, stated: bool = False) -> tuple[Ref, ...]:
    """Return the enrolled objects around one, in whichever namespace, and so many of those below it.

    Of those below it all, or only what statements are on that tell users apart.
    """
    namespace = find_namespace(connection, ref.scope)
    if namespace is None:
        return ()
    found = [
        Ref(Kind.OBJECT, place.name, place.namespace)
        for place in objects_around(connection, namespace, ref.name).values()
    ]
    prefix = below(ref.name, namespace[1].comparison)
    if prefix is not None:
        there = namespaces_like(connection, namespace, ref.name)
        within: dict[str, object] = {"scopes": list(there), "low": prefix, "high": range_end(prefix), "limit": limit}
        if stated:
            inside = _stated_below(connection, within)
        else:
            inside = list(rows(connection, f"{_BELOW} ORDER BY e.name LIMIT :limit", kind=_OBJECT, **within))
        refs = [Ref(Kind.OBJECT, str(name), there[int(scope)].nickname) for scope, name in inside]
        found += [one for one in refs if one.name != ref.name]
    return tuple(found)


def _stated_below(connection: Connection, within: dict[str, object]) -> list[Sequence[Any]]:
    """Return scope and name of objects in a range that statements are on, or on a group that holds them."""
    supers = superuser_groups(connection)
    counts = "(s.effect = 0 OR s.group_id NOT IN :supers)"
    found = rows(
        connection,
        f"{_BELOW} AND EXISTS (SELECT 1 FROM statements s WHERE s.object_id = e.id AND {counts})"
        " ORDER BY e.name LIMIT :limit",
        kind=_OBJECT,
        supers=supers,
        **within,
    )
    groups = rows(
        connection,
        "SELECT e.id FROM entities e WHERE e.kind = :kind"
        f" AND EXISTS (SELECT 1 FROM statements s WHERE s.object_id = e.id AND {counts})",
        kind=_OBJECT_GROUP,
        supers=supers,
    )
    more = list(found)
    for part in chunks([int(row[0]) for row in groups]):
        more += rows(
            connection,
            DOWN + "SELECT DISTINCT e.scope, e.name FROM down CROSS JOIN members m CROSS JOIN entities e"
            " WHERE m.container_id = down.id AND m.member_kind = :leaf AND e.id = m.member_id AND e.scope IN :scopes"
            " AND e.name > :low AND e.name < :high ORDER BY e.name LIMIT :limit",
            ids=part,
            kind=_OBJECT_GROUP,
            leaf=_OBJECT,
            **within,
        )
    return more


def superuser_groups(connection: Connection) -> frozenset[int]:
    """Return the groups whose members are superusers whatever the circumstances."""
    ((actions, objects),) = targets(connection, SUPERUSER, SERVER).permits
    found = rows(
        connection,
        "SELECT DISTINCT s.group_id FROM statements s WHERE s.object_id IN :objects AND s.action_id IN :actions"
        " AND s.effect = 1 AND s.not_before IS NULL AND s.not_after IS NULL AND s.proxies = 'any' AND s.strength = 0",
        objects=objects,
        actions=actions,
    )
    return down(connection, {int(row[0]) for row in found}, Kind.USER_GROUP)
