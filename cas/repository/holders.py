"""Who may do something: the other way round than a capability is found; judges single statements in SQL.

    find_holders(connection, action, on, circumstances, after="", limit=100)

From the statements to their groups, to the groups within these, to users; those are taken away whom a denial reaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cas.policy.conditions import Proxies
from cas.policy.model import Effect, Feed, FeedSource, Kind
from cas.repository.base import MAX_PAGE, Holders
from cas.repository.rows import refs_of, rows, run, scalar, statements_of
from cas.repository.speaking import targets
from cas.repository.tables import CODES, EVERYONE_ID

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, RowMapping

    from cas.policy.conditions import Circumstances
    from cas.policy.model import Ref

__all__ = ["find_holders"]

_TERMS: Final = (
    "(s.not_before IS NULL OR s.not_before <= :now) AND (s.not_after IS NULL OR s.not_after > :now)"
    " AND s.proxies IN ('any', :proxies)"
)
_STRENGTH: Final = {
    Effect.PERMIT: "s.strength <= :strength",
    Effect.DENY: "(s.strength = 0 OR s.strength > :strength)",
}


def find_holders(
    connection: Connection, action: Ref, on: Ref, circumstances: Circumstances, *, after: str, limit: int
) -> Holders:
    """Return who may do something.

    Raises:
        NotFoundError: The action is not known.
    """
    wanted = targets(connection, action, on)
    permits = _statements(connection, wanted.permits, Effect.PERMIT, circumstances)
    denials = _statements(connection, wanted.denials, Effect.DENY, circumstances)
    yes = {int(row["group_id"]) for row in permits}
    no = {int(row["group_id"]) for row in denials}
    conditional = [row for row in (*permits, *denials) if row["proxies"] != "any" or row["strength"]]
    everyone = _is_everyone(connection, yes)
    total = 0
    users: tuple[str, ...] = ()
    if yes and not _is_everyone(connection, no):
        total, users = _users(connection, yes, no, after=after, limit=limit, everyone=everyone)
    names = refs_of(connection, yes)
    return Holders(
        total=total,
        users=users,
        groups=tuple(sorted(ref.name for ref in names.values())),
        everyone=everyone and not no,
        feeds=_feeds(connection, yes),
        conditional=statements_of(connection, conditional[:MAX_PAGE]),
    )


def _statements(
    connection: Connection,
    pairs: list[tuple[frozenset[int], frozenset[int]]],
    effect: Effect,
    circumstances: Circumstances,
) -> list[RowMapping]:
    found: list[RowMapping] = []
    for actions, objects in pairs:
        found += (
            run(
                connection,
                "SELECT s.* FROM statements s WHERE s.object_id IN :objects AND s.action_id IN :actions"
                f" AND s.effect = :effect AND {_TERMS} AND {_STRENGTH[effect]}",
                objects=objects,
                actions=actions,
                effect=int(effect is Effect.PERMIT),
                now=int(circumstances.now.timestamp()),
                proxies=(Proxies.LIMITED if circumstances.limited else Proxies.FULL).value,
                strength=int(circumstances.strength),
            )
            .mappings()
            .all()
        )
    return found


def _within(name: str) -> str:
    """Return the part of a query that defines the groups of a list and all groups within them."""
    return (
        f"{name}(id) AS (SELECT id FROM entities WHERE id IN :{name}_ids UNION SELECT m.member_id FROM {name}"
        f" JOIN members m ON m.container_id = {name}.id AND m.member_kind = :group)"
    )


def _is_everyone(connection: Connection, groups: set[int]) -> bool:
    if not groups:
        return False
    query = f"WITH RECURSIVE {_within('yes')} SELECT 1 FROM yes WHERE id = :everyone"
    values = {"yes_ids": groups, "group": CODES[Kind.USER_GROUP], "everyone": EVERYONE_ID}
    return EVERYONE_ID in groups or scalar(connection, query, **values) is not None


def _users(
    connection: Connection, yes: set[int], no: set[int], *, after: str, limit: int, everyone: bool
) -> tuple[int, tuple[str, ...]]:
    values: dict[str, object] = {"user": CODES[Kind.USER], "group": CODES[Kind.USER_GROUP], "yes_ids": yes}
    parts = [_within("yes")]
    but = ""
    if no:
        parts.append(_within("no"))
        values["no_ids"] = no
        but = (
            " AND e.id NOT IN (SELECT m.member_id FROM no JOIN members m ON m.container_id = no.id"
            " AND m.member_kind = :user)"
        )
    beginning = f"WITH RECURSIVE {', '.join(parts)} "
    if everyone:
        source = f"FROM entities e WHERE e.kind = :user{but}"
    else:
        source = (
            "FROM (SELECT DISTINCT m.member_id AS id FROM yes JOIN members m ON m.container_id = yes.id"
            f" AND m.member_kind = :user) u JOIN entities e ON e.id = u.id WHERE e.kind = :user{but}"
        )
    total = int(str(scalar(connection, f"{beginning}SELECT count(*) {source}", **values)))
    page = rows(
        connection,
        f"{beginning}SELECT e.name {source} AND e.name > :after ORDER BY e.name LIMIT :limit",
        **values,
        after=after,
        limit=limit,
    )
    return total, tuple(str(row[0]) for row in page)


def _feeds(connection: Connection, groups: set[int]) -> tuple[Feed, ...]:
    if not groups:
        return ()
    found = rows(
        connection,
        f"WITH RECURSIVE {_within('yes')} SELECT DISTINCT f.source, f.value FROM yes"
        " JOIN feeds f ON f.group_id = yes.id ORDER BY f.source, f.value LIMIT :limit",
        yes_ids=groups,
        group=CODES[Kind.USER_GROUP],
        limit=MAX_PAGE,
    )
    return tuple(Feed(FeedSource(str(source)), str(value)) for source, value in found)
