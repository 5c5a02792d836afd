"""Walks through groups within groups, up to what holds something and down to what is held; judges nothing.

    up(connection, [user], Kind.USER_GROUP)          # every group around
    leaves(connection, [group], Kind.SERVICE_ACTION_GROUP, Kind.SERVICE_ACTION)

Each is one recursive query. `UNION` drops what was met before: even a cycle, which `changing` never makes, would end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cas.repository.base import MAX_DEPTH, MAX_GROUPS
from cas.repository.rows import chunks, rows, scalar
from cas.repository.tables import CODES
from gsi.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.engine import Connection

    from cas.policy.model import Kind

__all__ = ["DOWN", "depth_above", "depth_below", "leaves", "up", "up_pairs"]

_UP: Final = """
    WITH RECURSIVE up(id) AS (
        SELECT container_id FROM members WHERE member_id IN :ids AND container_kind = :kind
        UNION SELECT m.container_id FROM up JOIN members m ON m.member_id = up.id AND m.container_kind = :kind
    ) SELECT id FROM up LIMIT :limit"""

_UP_PAIRS: Final = """
    WITH RECURSIVE up(origin, id) AS (
        SELECT member_id, container_id FROM members WHERE member_id IN :ids AND container_kind = :kind
        UNION SELECT up.origin, m.container_id FROM up
            JOIN members m ON m.member_id = up.id AND m.container_kind = :kind
    ) SELECT origin, id FROM up LIMIT :limit"""

DOWN: Final = """
    WITH RECURSIVE down(origin, id) AS (
        SELECT id, id FROM entities WHERE id IN :ids
        UNION SELECT down.origin, m.member_id FROM down
            JOIN members m ON m.container_id = down.id AND m.member_kind = :kind
    ) """
"""The groups within groups, each with the one it was found from; something has to be selected from `down`."""

_DEPTH_ABOVE: Final = """
    WITH RECURSIVE up(id, depth) AS (
        SELECT container_id, 1 FROM members WHERE member_id = :id AND container_kind = :kind
        UNION SELECT m.container_id, up.depth + 1 FROM up
            JOIN members m ON m.member_id = up.id AND m.container_kind = :kind WHERE up.depth <= :limit
    ) SELECT max(depth) FROM up"""

_DEPTH_BELOW: Final = """
    WITH RECURSIVE down(id, depth) AS (
        SELECT member_id, 1 FROM members WHERE container_id = :id AND member_kind = :kind
        UNION SELECT m.member_id, down.depth + 1 FROM down
            JOIN members m ON m.container_id = down.id AND m.member_kind = :kind WHERE down.depth <= :limit
    ) SELECT max(depth) FROM down"""


def up(connection: Connection, numbers: Collection[int], kind: Kind) -> frozenset[int]:
    """Return the groups of a kind that hold one of these, directly or through others.

    Raises:
        StorageError: They are more than `MAX_GROUPS`.
    """
    found: set[int] = set()
    for part in chunks(numbers):
        got = rows(connection, _UP, ids=part, kind=CODES[kind], limit=MAX_GROUPS + 1)
        found.update(int(row[0]) for row in got)
        _check(len(got))
    return frozenset(found)


def up_pairs(connection: Connection, numbers: Collection[int], kind: Kind) -> list[tuple[int, int]]:
    """Return which of these is held by which groups of a kind.

    Raises:
        StorageError: They are more than `MAX_GROUPS`.
    """
    found: list[tuple[int, int]] = []
    for part in chunks(numbers):
        got = rows(connection, _UP_PAIRS, ids=part, kind=CODES[kind], limit=MAX_GROUPS + 1)
        found += [(int(origin), int(number)) for origin, number in got]
        _check(len(got))
    return found


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
            + " JOIN members m ON m.container_id = down.id AND m.member_kind = :leaf LIMIT :limit",
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
    return scalar(connection, _DEPTH_ABOVE, id=number, kind=CODES[kind], limit=MAX_DEPTH) or 0


def depth_below(connection: Connection, number: int, kind: Kind) -> int:
    """Return how many groups of a kind are in one, one in the other."""
    return scalar(connection, _DEPTH_BELOW, id=number, kind=CODES[kind], limit=MAX_DEPTH) or 0


def _check(count: int) -> None:
    if count > MAX_GROUPS:
        raise StorageError(f"something is in more than {MAX_GROUPS} groups")
