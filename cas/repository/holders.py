"""Who may do something: the other way round than a capability is found; judges single statements in SQL.

    find_holders(connection, action, on, circumstances, after="", limit=100)

From the statements to their groups, to the groups within these, to users; those are taken away whom a denial reaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cas.policy.conditions import Proxies
from cas.policy.model import SERVER, SUPERUSER, Effect, Feed, FeedSource, Kind, Ref
from cas.repository.base import MAX_PAGE, Holders
from cas.repository.closures import down
from cas.repository.rows import chunks, find_id, place_refs, refs_of, rows, run, scalar, statements_of
from cas.repository.speaking import targets
from cas.repository.tables import CODES, EVERYONE_ID
from gsi.errors import NotFoundError
from gsi.sql.columns import seconds

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Connection, RowMapping

    from cas.policy.conditions import Circumstances

__all__ = ["GroupedUsers", "find_feeds", "find_holders", "has_superuser"]

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
    permitted, denied = (down(connection, groups, Kind.USER_GROUP) for groups in (yes, no))
    everyone = EVERYONE_ID in permitted
    total = 0
    users: tuple[str, ...] = ()
    if permitted and EVERYONE_ID not in denied:
        query = GroupedUsers(connection, permitted, denied, everyone=everyone)
        total, users = query.count(), query.page(after=after, limit=limit)
    names = refs_of(connection, yes)
    return Holders(
        total=total,
        users=users,
        groups=tuple(sorted(ref.name for ref in names.values())),
        everyone=everyone and not denied,
        feeds=() if EVERYONE_ID in denied else _feeds(connection, permitted, denied),
        conditional=statements_of(connection, conditional[:MAX_PAGE]),
    )


def has_superuser(connection: Connection, now: datetime) -> bool:
    """Say whether an enrolled user is superuser for good: by a statement that has begun, has no end and may be used."""
    (pair,) = targets(connection, SUPERUSER, SERVER).permits
    found = run(
        connection,
        "SELECT s.group_id FROM statements s WHERE s.object_id IN :objects AND s.action_id IN :actions AND s.effect = 1"
        " AND s.not_after IS NULL AND (s.not_before IS NULL OR s.not_before <= :now) AND s.proxies IN ('any', 'full')",
        objects=pair[1],
        actions=pair[0],
        now=seconds(now),
    )
    groups = down(connection, {int(row[0]) for row in found}, Kind.USER_GROUP)
    if not groups:
        return False
    return GroupedUsers(connection, groups, frozenset(), everyone=EVERYONE_ID in groups).count() > 0


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
                now=seconds(circumstances.now),
                proxies=(Proxies.LIMITED if circumstances.limited else Proxies.FULL).value,
                strength=int(circumstances.strength),
            )
            .mappings()
            .all()
        )
    return found


class GroupedUsers:
    """Users in some groups, but for those in others."""

    def __init__(
        self, connection: Connection, permitted: frozenset[int], denied: frozenset[int], *, everyone: bool
    ) -> None:
        """Ask for users.

        Args:
            connection: In a transaction.
            permitted: Which groups, all within them among these.
            denied: But for whom of these.
            everyone: Whether the whole community is one of the groups.
        """
        self._connection = connection
        self._values: dict[str, object] = {"user": CODES[Kind.USER]}
        yes, no = self._in("yes", permitted), self._in("no", denied)
        but = f" AND {{}} NOT IN (SELECT member_id FROM members WHERE {no} AND member_kind = :user)" if denied else ""
        self._is_everyone = everyone
        if everyone:
            where = f"kind = :user AND scope = 0{but.format('id')}"
            self._counted = f"SELECT count(*) FROM entities WHERE {where}"
            self._numbered = f"SELECT id FROM entities WHERE {where} LIMIT :limit"
            self._paged = f"SELECT name FROM entities WHERE {where} AND name > :after ORDER BY name LIMIT :limit"
        else:
            where = f"{yes} AND member_kind = :user{but.format('member_id')}"
            self._counted = f"SELECT count(DISTINCT member_id) FROM members WHERE {where}"
            self._numbered = f"SELECT DISTINCT member_id FROM members WHERE {where} LIMIT :limit"
            self._paged = (
                f"SELECT DISTINCT member_id FROM members WHERE {where} AND member_id > :after"
                " ORDER BY member_id LIMIT :limit"
            )

    def _in(self, name: str, groups: frozenset[int]) -> str:
        """Return the condition that a row of `members` is of one of these groups, of which there may be 100,000.

        That is more than databases take in one list; so it is one value, written as each of them reads it.
        """
        numbers = ",".join(map(str, groups))
        if self._connection.dialect.name == "sqlite":
            self._values[name] = f"[{numbers}]"
            return f"container_id IN (SELECT value FROM json_each(:{name}))"
        self._values[name] = f"{{{numbers}}}"
        return f"container_id = ANY(CAST(:{name} AS bigint[]))"

    def count(self) -> int:
        """Return how many they are."""
        return int(scalar(self._connection, self._counted, **self._values))

    def numbers(self, limit: int) -> list[int]:
        """Return their numbers, in no order; so many at most."""
        return [int(row[0]) for row in rows(self._connection, self._numbered, **self._values, limit=limit)]

    def page(self, *, after: str, limit: int) -> tuple[str, ...]:
        """Return the first nicknames behind one: of the whole community by name, else as they were enrolled.

        Either is the order of an index; to sort a third of a million takes a second.
        """
        if self._is_everyone:
            found = rows(self._connection, self._paged, **self._values, after=after, limit=limit)
            return tuple(str(row[0]) for row in found)
        last = find_id(self._connection, Ref(Kind.USER, after)) if after else 0
        if last is None:
            raise NotFoundError(f"there is no {Ref(Kind.USER, after)}")
        found = rows(self._connection, self._paged, **self._values, after=last, limit=limit)
        return tuple(ref.name for ref in place_refs(self._connection, found))


def _feeds(connection: Connection, permitted: frozenset[int], denied: frozenset[int]) -> tuple[Feed, ...]:
    """Return the attributes that make somebody a member of some groups and not of others; some where they are many."""
    yes = find_feeds(connection, permitted, limit=MAX_PAGE)
    values: dict[str, set[str]] = {}
    for one in yes:
        values.setdefault(one.source.value, set()).add(one.value)
    no: set[Feed] = set()
    for source, some in values.items():
        for part in chunks(sorted(some)):
            query = "SELECT group_id, value FROM feeds WHERE source = :source AND value IN :values"
            got = rows(connection, query, source=source, values=part)
            no.update(Feed(FeedSource(source), str(value)) for group, value in got if group in denied)
    return tuple(sorted(yes - no)[:MAX_PAGE])


def find_feeds(connection: Connection, groups: frozenset[int], *, limit: int) -> frozenset[Feed]:
    """Return the attributes that make somebody a member of groups; where they are more than a limit, so many at least.

    Args:
        connection: In a transaction.
        groups: Which groups, all within them among these.
        limit: How many are asked for.
    """
    found: set[Feed] = set()
    for part in chunks(groups):
        query = "SELECT DISTINCT source, value FROM feeds WHERE group_id IN :ids LIMIT :limit"
        for source, value in rows(connection, query, ids=part, limit=limit):
            found.add(Feed(FeedSource(str(source)), str(value)))
        if len(found) >= limit:
            break
    return frozenset(found)
