"""Walks through groups within groups, up to what holds something and down to what is held; judges nothing.

    up(connection, [user], Kind.USER_GROUP)          # every group around
    leaves(connection, [group], Kind.SERVICE_ACTION_GROUP, Kind.SERVICE_ACTION)

Most go level by level, one query for each level, of which communities have five. (As one recursive query, SQLite may
read all members first, to make a filter of them.) Those that need the origin of what they find are recursive queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cas.repository.base import MAX_DEPTH, MAX_GROUPS
from cas.repository.rows import chunks, rows
from cas.repository.tables import CODES
from gsi.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy.engine import Connection

    from cas.policy.model import Kind

__all__ = ["DOWN", "depth_above", "depth_below", "down", "leaves", "up", "up_pairs"]

_ABOVE: Final = "SELECT member_id, container_id FROM members WHERE member_id IN :ids AND container_kind = :kind"
_BELOW: Final = "SELECT container_id, member_id FROM members WHERE container_id IN :ids AND member_kind = :kind"

DOWN: Final = """
    WITH RECURSIVE down(origin, id) AS (
        SELECT id, id FROM entities WHERE id IN :ids
        UNION SELECT down.origin, m.member_id FROM down
            CROSS JOIN members m WHERE m.container_id = down.id AND m.member_kind = :kind
    ) """
"""The groups within groups, each with the one it was found from; something has to be selected from `down`.

`CROSS JOIN` tells SQLite to begin with what was found before.
"""


def up(connection: Connection, numbers: Collection[int], kind: Kind) -> frozenset[int]:
    """Return the groups of a kind that hold one of these, directly or through others.

    Raises:
        StorageError: They are more than `MAX_GROUPS`.
    """
    found: set[int] = set()
    level = set(numbers)
    while level:
        level = {container for _, container in _step(connection, _ABOVE, level, kind)} - found
        found |= level
        _check(found)
    return frozenset(found)


def up_pairs(connection: Connection, numbers: Collection[int], kind: Kind) -> set[tuple[int, int]]:
    """Return which of these is held by which groups of a kind.

    Raises:
        StorageError: They are more than `MAX_GROUPS`.
    """
    found: set[tuple[int, int]] = set()
    level = {(number, number) for number in numbers}
    while level:
        origins: dict[int, set[int]] = {}
        for origin, number in level:
            origins.setdefault(number, set()).add(origin)
        steps = _step(connection, _ABOVE, origins, kind)
        level = {(origin, container) for number, container in steps for origin in origins[number]} - found
        found |= level
        _check(found)
    return found


def down(connection: Connection, numbers: Collection[int], kind: Kind) -> frozenset[int]:
    """Return these groups of a kind and all within them."""
    found = set(numbers)
    level = found
    while level:
        level = {member for _, member in _step(connection, _BELOW, level, kind)} - found
        found |= level
    return frozenset(found)


def leaves(
    connection: Connection, numbers: Collection[int], group: Kind, leaf: Kind, *, limit: int
) -> list[tuple[int, int]]:
    """Return what groups of a kind hold of another kind, with the group that it was found from; so many at most."""
    found: list[tuple[int, int]] = []
    for part in chunks(numbers):
        got = rows(
            connection,
            DOWN
            + "SELECT DISTINCT down.origin, m.member_id FROM down"
            + " CROSS JOIN members m WHERE m.container_id = down.id AND m.member_kind = :leaf LIMIT :limit",
            ids=part,
            kind=CODES[group],
            leaf=CODES[leaf],
            limit=limit - len(found),
        )
        found += [(int(origin), int(number)) for origin, number in got]
        if len(found) >= limit:
            break
    return found


def depth_above(connection: Connection, number: int, kind: Kind) -> int:
    """Return how many groups of a kind are around one, one in the other."""
    return _depth(connection, _ABOVE, number, kind)


def depth_below(connection: Connection, number: int, kind: Kind) -> int:
    """Return how many groups of a kind are in one, one in the other."""
    return _depth(connection, _BELOW, number, kind)


def _depth(connection: Connection, query: str, number: int, kind: Kind) -> int:
    level, depth = {number}, 0
    while level and depth <= MAX_DEPTH:
        level = {other for _, other in _step(connection, query, level, kind)}
        depth += 1 if level else 0
    return depth


def _step(connection: Connection, query: str, numbers: Collection[int], kind: Kind) -> Iterable[tuple[int, int]]:
    for part in chunks(numbers):
        for one, other in rows(connection, query, ids=part, kind=CODES[kind]):
            yield int(one), int(other)


def _check(found: Collection[object]) -> None:
    if len(found) > MAX_GROUPS:
        raise StorageError(f"something is in more than {MAX_GROUPS} groups")
