"""Whom statements reach, in sets that can be compared between two states of the policy; judges nothing.

    clauses = find_clauses(connection, action, on)       # what is said of it, to which groups
    reach(connection, permitted, denied, limit=10_000)   # who is in those groups and not in these

People are numbers here, which are never used again: a nickname may become another person's, a number does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cas.policy.model import GRANT_ALL, Effect, Kind, Ref
from cas.repository.base import MAX_ROWS
from cas.repository.closures import down, up
from cas.repository.holders import GroupedUsers, find_feeds
from cas.repository.near import superuser_groups
from cas.repository.rows import chunks, find_id, get_id, rows, run, statements_of, terms_of
from cas.repository.sets import Clause, Person, Reach
from cas.repository.speaking import targets
from cas.repository.tables import CODES, EVERYONE_ID

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.engine import Connection

    from cas.policy.model import Feed, Statement

__all__ = ["find_clauses", "find_people", "fqan_clauses", "fqans_around", "grants_of_all", "reach"]

_OBJECTS: Final = (CODES[Kind.OBJECT], CODES[Kind.OBJECT_GROUP])


def find_clauses(connection: Connection, action: Ref, on: Ref) -> frozenset[Clause]:
    """Return what statements say of an action on something; nothing for what is not known."""
    if find_id(connection, action) is None:
        return frozenset()
    wanted = targets(connection, action, on)
    found: set[Clause] = set()
    for effect, pairs in ((Effect.PERMIT, wanted.permits), (Effect.DENY, wanted.denials)):
        for actions, objects in pairs:
            for part in chunks(objects):
                got = run(
                    connection,
                    "SELECT s.group_id, s.not_before, s.not_after, s.proxies, s.strength FROM statements s"
                    " WHERE s.object_id IN :objects AND s.action_id IN :actions AND s.effect = :effect",
                    objects=part,
                    actions=actions,
                    effect=int(effect is Effect.PERMIT),
                )
                found.update(Clause(int(row["group_id"]), effect, terms_of(row)) for row in got.mappings())
    return frozenset(found)


def fqan_clauses(connection: Connection, fqan: str) -> frozenset[Clause]:
    """Return to which group an FQAN is said, as a permit; nothing where no group has it."""
    found = rows(connection, "SELECT group_id FROM fqans WHERE fqan = :fqan", fqan=fqan)
    return frozenset(Clause(int(row[0]), Effect.PERMIT) for row in found)


def fqans_around(connection: Connection, group: Ref) -> tuple[str, ...]:
    """Return the FQANs of a user group and of those that it is in, sorted; none where it is not there."""
    number = find_id(connection, group)
    if number is None:
        return ()
    found: list[str] = []
    for part in chunks(up(connection, [number], Kind.USER_GROUP) | {number}):
        found += (str(row[0]) for row in rows(connection, "SELECT fqan FROM fqans WHERE group_id IN :ids", ids=part))
    return tuple(sorted(found))


def grants_of_all(connection: Connection, *, limit: int) -> tuple[Statement, ...]:
    """Return statements by which every action on objects is permitted, but to whom everything is."""
    number = get_id(connection, GRANT_ALL)
    found = run(
        connection,
        "SELECT s.* FROM statements s CROSS JOIN entities e WHERE s.action_id IN :actions AND s.effect = 1"
        " AND s.group_id NOT IN :supers AND e.id = s.object_id AND e.kind IN :kinds ORDER BY s.id LIMIT :limit",
        actions=up(connection, [number], Kind.SERVICE_ACTION_GROUP) | {number},
        supers=superuser_groups(connection),
        kinds=_OBJECTS,
        limit=limit,
    )
    return statements_of(connection, found.mappings().all())


def reach(connection: Connection, permitted: Collection[int], denied: Collection[int], *, limit: int) -> Reach:
    """Return whom permits to some groups and denials to others reach.

    Args:
        connection: In a transaction.
        permitted: The groups of the permits.
        denied: Those of the denials.
        limit: How many people are told apart.
    """
    yes, no = (down(connection, groups, Kind.USER_GROUP) for groups in (permitted, denied))
    if not yes or EVERYONE_ID in no:
        return Reach(groups=(frozenset(), frozenset()))
    everyone = EVERYONE_ID in yes
    if everyone:
        yes = frozenset({EVERYONE_ID})
    found = GroupedUsers(connection, yes, no, everyone=everyone)
    total = found.count()
    feeds, barring = (_feeds(connection, groups) for groups in (yes, no))
    barred: frozenset[int] | None = frozenset()
    if no and (feeds or everyone):
        barred = _bounded(GroupedUsers(connection, no, frozenset(), everyone=False).numbers(limit + 1), limit)
    return Reach(
        total,
        None if total > limit else frozenset(found.numbers(limit)),
        everyone=everyone,
        feeds=None if feeds is None or barring is None else feeds - barring,
        barring=barring,
        barred=barred,
        groups=(yes, no),
    )


def _bounded(numbers: list[int], limit: int) -> frozenset[int] | None:
    return None if len(numbers) > limit else frozenset(numbers)


def _feeds(connection: Connection, groups: frozenset[int]) -> frozenset[Feed] | None:
    """Return the attributes that make somebody a member of groups; None for too many."""
    found = find_feeds(connection, groups, limit=MAX_ROWS)
    return found if len(found) < MAX_ROWS else None


def find_people(connection: Connection, numbers: Collection[int]) -> dict[int, Person]:
    """Return who users are, by their numbers."""
    found: dict[int, Person] = {}
    for part in chunks(numbers):
        got = rows(
            connection,
            "SELECT u.id, e.name, u.subject, a.data, a.strength FROM users u CROSS JOIN entities e"
            " CROSS JOIN trust_anchors a WHERE u.id IN :ids AND e.id = u.id AND a.id = u.anchor_id",
            ids=part,
        )
        for number, nickname, subject, issuer, strength in got:
            found[int(number)] = Person(str(nickname), str(subject), str(issuer), int(strength))
    return found
