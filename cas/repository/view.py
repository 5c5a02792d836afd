"""Questions to one state of the policy, in SQL; changes nothing (`changing`).

    SQLView(connection).groups_of(user)

Every question takes as many steps as its answer is large, not as the policy is: see `tables` for the indexes,
`closures` for the walks through groups, `speaking` for the statements of a question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from cas.assertion.value import Comparison
from cas.policy.conditions import Strength
from cas.policy.model import (
    ActionGroup,
    Feed,
    FeedSource,
    Kind,
    Namespace,
    ObjectGroup,
    ObjectName,
    Ref,
    ServiceAction,
    ServiceType,
    TrustAnchor,
    User,
    UserGroup,
)
from cas.repository import reach, speaking
from cas.repository.base import MAX_PAGE, Found, FoundUser
from cas.repository.cache import MAX_KEPT_STATEMENTS
from cas.repository.closures import up
from cas.repository.history import read_history
from cas.repository.holders import find_holders
from cas.repository.near import objects_near
from cas.repository.rows import chunks, find_id, get_id, place_refs, refs_of, rows, run, scalar, statements_of
from cas.repository.tables import CODES, EVERYONE_ID
from gsi.errors import ParseError, StorageError
from gsi.sql.columns import time_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection, RowMapping

    from cas.policy.conditions import Circumstances
    from cas.policy.evaluate import Applicable, Matched
    from cas.policy.model import ActionName, Entity, Statement
    from cas.policy.request import PolicyRequest
    from cas.repository.base import HistoryEntry, Holders
    from cas.repository.cache import ViewCache
    from cas.repository.sets import Clause, Person, Reach

__all__ = ["SQLView"]

T = TypeVar("T")

_USER: Final = (
    "SELECT u.id, e.name, a.strength FROM users u JOIN entities e ON e.id = u.id"
    " JOIN trust_anchors a ON a.id = u.anchor_id"
)
_SCOPES: Final = {Kind.OBJECT: Kind.NAMESPACE, Kind.SERVICE_ACTION: Kind.SERVICE_TYPE}


class SQLView:
    """See `base.View`."""

    def __init__(self, connection: Connection, cache: ViewCache | None = None) -> None:
        """Look at the policy through a connection.

        Args:
            connection: In a transaction.
            cache: Answers to take and add to; None within a transaction that changes the policy.
        """
        self._connection = connection
        self._cache = cache
        self._state: tuple[int, int] | None = None
        self._fresh: dict[Hashable, object] = {}

    def revision(self) -> int:
        """See `View.revision`."""
        return self._now()[0]

    def latest(self) -> datetime:
        """See `View.latest`."""
        return time_of(self._now()[1])

    def keep(self) -> None:
        """Add to the cache what was asked for, which has to be of one state."""
        if self._cache is not None and self._fresh:
            self._cache.put(self.revision(), self._fresh)

    def _now(self) -> tuple[int, int]:
        if self._state is None or self._cache is None:
            ((revision, latest),) = rows(self._connection, "SELECT revision, latest FROM policy")
            self._state = int(revision), int(latest)
        return self._state

    def _kept(self, key: Hashable, ask: Callable[[], T]) -> T:
        """Return the answer of a key, which stands for the question and its values."""
        if self._cache is None:
            return ask()
        found = self._cache.get(self.revision(), key)
        if found is None:
            found = self._fresh.get(key)
        if found is None:
            found = self._fresh[key] = ask()
            if isinstance(found, tuple) and len(found) > MAX_KEPT_STATEMENTS:
                del self._fresh[key]
        return cast("T", found)

    # --- things -------------------------------------------------------------------------------------------------------

    def find(self, ref: Ref) -> Found | None:
        """See `View.find`."""
        number = find_id(self._connection, ref)
        if number is None or ref.kind is Kind.SERVER:
            return None
        version = int(scalar(self._connection, "SELECT version FROM entities WHERE id = :id", id=number))
        try:
            entity = self._entity(ref, number)
            if ref.kind is not Kind.USER_GROUP:
                return Found(entity, version)
            fqan = scalar(self._connection, "SELECT fqan FROM fqans WHERE group_id = :id", id=number)
            query = "SELECT source, value FROM feeds WHERE group_id = :id ORDER BY source, value"
            feeds = [Feed(FeedSource(str(row[0])), str(row[1])) for row in rows(self._connection, query, id=number)]
            return Found(entity, version, None if fqan is None else str(fqan), tuple(feeds))
        except (ParseError, ValueError) as error:
            raise StorageError(f"what is stored as {ref} is damaged") from error

    def _entity(self, ref: Ref, number: int) -> Entity:
        def one(query: str) -> Sequence[Any]:
            (row,) = rows(self._connection, query, id=number)
            return row

        match ref.kind:
            case Kind.TRUST_ANCHOR:
                data, method, strength = one("SELECT data, method, strength FROM trust_anchors WHERE id = :id")
                return TrustAnchor(ref.name, str(data), str(method), Strength(int(strength)))
            case Kind.USER:
                subject, anchor = one(
                    "SELECT u.subject, e.name FROM users u JOIN entities e ON e.id = u.anchor_id WHERE u.id = :id"
                )
                return User(ref.name, str(subject), str(anchor))
            case Kind.NAMESPACE:
                base, comparison = one("SELECT base, comparison FROM namespaces WHERE id = :id")
                return Namespace(ref.name, str(base), Comparison(str(comparison)))
            case Kind.OBJECT:
                return ObjectName(ref.scope, ref.name)
            case Kind.SERVICE_ACTION:
                return ServiceAction(ref.scope, ref.name)
            case Kind.USER_GROUP:
                return UserGroup(ref.name)
            case Kind.OBJECT_GROUP:
                return ObjectGroup(ref.name)
            case Kind.SERVICE_TYPE:
                return ServiceType(ref.name)
            case _:
                return ActionGroup(ref.name)

    def find_namespace(self, nickname: str) -> Namespace | None:
        """See `View.find_namespace`."""
        found = self._kept(("namespace", nickname), lambda: speaking.find_namespace(self._connection, nickname))
        return None if found is None else found[1]

    def list_names(self, kind: Kind, *, scope: str = "", after: str = "", limit: int = MAX_PAGE) -> tuple[str, ...]:
        """See `View.list_names`."""
        number: int | None = 0
        if kind in _SCOPES:
            number = find_id(self._connection, Ref(_SCOPES[kind], scope))
        found = rows(
            self._connection,
            "SELECT name FROM entities WHERE kind = :kind AND scope = :scope AND name > :after"
            " ORDER BY name LIMIT :limit",
            kind=CODES[kind],
            scope=-1 if number is None else number,
            after=after,
            limit=min(limit, MAX_PAGE),
        )
        return tuple(str(row[0]) for row in found)

    def list_members(self, group: Ref, *, after: Ref | None = None, limit: int = MAX_PAGE) -> tuple[Ref, ...]:
        """See `View.list_members`."""
        found = rows(
            self._connection,
            "SELECT m.member_id FROM members m WHERE m.container_id = :id AND"
            " (m.member_kind > :kind OR (m.member_kind = :kind AND m.member_id > :after))"
            " ORDER BY m.member_kind, m.member_id LIMIT :limit",
            id=get_id(self._connection, group),
            kind=-1 if after is None else CODES[after.kind],
            after=-1 if after is None else get_id(self._connection, after),
            limit=min(limit, MAX_PAGE),
        )
        return place_refs(self._connection, found)

    def list_statements(self, ref: Ref, *, limit: int = MAX_PAGE) -> tuple[Statement, ...]:
        """See `View.list_statements`."""
        number = get_id(self._connection, ref)
        found: dict[int, RowMapping] = {}
        for column in ("group_id", "action_id", "object_id"):
            query = f"SELECT * FROM statements WHERE {column} = :id ORDER BY id LIMIT :limit"
            got = run(self._connection, query, id=number, limit=limit).mappings()
            found.update((row["id"], row) for row in got)
        return statements_of(self._connection, [row for _, row in sorted(found.items())][:limit])

    # --- users and their groups ---------------------------------------------------------------------------------------

    def find_user(self, subject_key: str, issuer_key: str) -> FoundUser | None:
        """See `View.find_user`."""
        query = f"{_USER} WHERE u.subject_key = :subject AND a.data_key = :issuer"

        def ask() -> FoundUser | None:
            return _user(rows(self._connection, query, subject=subject_key, issuer=issuer_key))

        return self._kept(("user", subject_key, issuer_key), ask)

    def find_user_named(self, nickname: str) -> FoundUser | None:
        """See `View.find_user_named`."""
        number = find_id(self._connection, Ref(Kind.USER, nickname))
        return None if number is None else _user(rows(self._connection, f"{_USER} WHERE u.id = :id", id=number))

    def groups_of(
        self, user: int | None, *, fqans: frozenset[str] = frozenset(), groups: frozenset[str] = frozenset()
    ) -> frozenset[int]:
        """See `View.groups_of`."""
        return self._kept(("groups", user, fqans, groups), lambda: self._groups_of(user, fqans, groups))

    def _groups_of(self, user: int | None, fqans: frozenset[str], groups: frozenset[str]) -> frozenset[int]:
        fed: set[int] = set()
        for source, values in ((FeedSource.VOMS, fqans), (FeedSource.LDAP, groups)):
            for part in chunks(sorted(values)):
                query = "SELECT group_id FROM feeds WHERE source = :source AND value IN :values"
                fed.update(int(row[0]) for row in rows(self._connection, query, source=source.value, values=part))
        start = fed | {EVERYONE_ID}
        around = up(self._connection, start if user is None else start | {user}, Kind.USER_GROUP)
        return frozenset(start | around)

    def fqans_of(self, groups: frozenset[int]) -> tuple[str, ...]:
        """See `View.fqans_of`."""
        return self._kept(("fqans", groups), lambda: self._fqans_of(groups))

    def _fqans_of(self, groups: frozenset[int]) -> tuple[str, ...]:
        found: list[str] = []
        for part in chunks(groups):
            query = "SELECT fqan FROM fqans WHERE group_id IN :ids"
            found += [str(row[0]) for row in rows(self._connection, query, ids=part)]
        return tuple(sorted(found))

    def chain(self, user: int, group: str) -> tuple[str, ...]:
        """See `View.chain`."""
        target = get_id(self._connection, Ref(Kind.USER_GROUP, group))
        if target == EVERYONE_ID:
            return (group,)
        parents: dict[int, int] = {}
        level = [user]
        while level and target not in parents:
            found: list[Sequence[Any]] = []
            for part in chunks(level):
                query = "SELECT member_id, container_id FROM members WHERE member_id IN :ids AND container_kind = :kind"
                found += rows(self._connection, query, ids=part, kind=CODES[Kind.USER_GROUP])
            level = []
            for member, container in found:
                if container not in parents:
                    parents[int(container)] = int(member)
                    level.append(int(container))
        if target not in parents:
            return ()
        steps = [target]
        while parents[steps[-1]] != user:
            steps.append(parents[steps[-1]])
        query = "SELECT id, name FROM entities WHERE id IN :ids"
        names = {row[0]: str(row[1]) for row in rows(self._connection, query, ids=steps)}
        return tuple(names[step] for step in reversed(steps))

    # --- statements ---------------------------------------------------------------------------------------------------

    def matched(self, groups: frozenset[int], action: Ref, on: Ref) -> tuple[Matched, ...]:
        """See `View.matched`."""
        return speaking.matched(self._connection, groups, action, on)

    def applicable(self, groups: frozenset[int], request: PolicyRequest) -> tuple[Applicable, ...]:
        """See `View.applicable`."""
        key = ("applicable", groups, request)
        return self._kept(key, lambda: speaking.applicable(self._connection, groups, request))

    def all_actions(self) -> frozenset[ActionName]:
        """See `View.all_actions`."""
        return self._kept("actions", lambda: speaking.all_actions(self._connection))

    def actions_of(self, action: Ref) -> frozenset[ActionName]:
        """See `View.actions_of`."""
        return speaking.actions_in(self._connection, action)

    def holders(
        self, action: Ref, on: Ref, circumstances: Circumstances, *, after: str = "", limit: int = MAX_PAGE
    ) -> Holders:
        """See `View.holders`."""
        return find_holders(self._connection, action, on, circumstances, after=after, limit=min(limit, MAX_PAGE))

    def groups_around(self, group: Ref) -> tuple[Ref, ...]:
        """See `View.groups_around`."""
        found = refs_of(self._connection, up(self._connection, [get_id(self._connection, group)], group.kind))
        return tuple(sorted(found.values()))

    def statements(self, numbers: Sequence[int]) -> tuple[Statement, ...]:
        """See `View.statements`."""
        query = "SELECT * FROM statements WHERE id IN :ids ORDER BY id"
        return statements_of(self._connection, run(self._connection, query, ids=list(numbers)).mappings().all())

    def page_statements(self, *, after: int, limit: int = MAX_PAGE) -> tuple[tuple[int, Statement], ...]:
        """See `View.page_statements`."""
        query = "SELECT * FROM statements WHERE id > :after ORDER BY id LIMIT :limit"
        found = run(self._connection, query, after=after, limit=min(limit, MAX_PAGE)).mappings().all()
        return tuple(zip((row["id"] for row in found), statements_of(self._connection, found), strict=True))

    def has_denials(self, groups: frozenset[int]) -> bool:
        """See `View.has_denials`."""
        query = "SELECT 1 FROM statements WHERE effect = 0 AND group_id IN :groups LIMIT 1"
        return any(scalar(self._connection, query, groups=part) is not None for part in chunks(groups))

    def is_used(self, group: Ref) -> bool:
        """See `View.is_used`."""
        number = get_id(self._connection, group)
        around = up(self._connection, [number], Kind.SERVICE_ACTION_GROUP) | {number}
        query = "SELECT 1 FROM statements WHERE action_id IN :ids LIMIT 1"
        return scalar(self._connection, query, ids=around) is not None

    def clauses(self, action: Ref, on: Ref) -> frozenset[Clause]:
        """See `View.clauses`."""
        return reach.find_clauses(self._connection, action, on)

    def fqan_clauses(self, fqan: str) -> frozenset[Clause]:
        """See `View.fqan_clauses`."""
        return reach.fqan_clauses(self._connection, fqan)

    def fqans_around(self, group: Ref) -> tuple[str, ...]:
        """See `View.fqans_around`."""
        return reach.fqans_around(self._connection, group)

    def grants_of_all(self, *, limit: int) -> tuple[Statement, ...]:
        """See `View.grants_of_all`."""
        return reach.grants_of_all(self._connection, limit=limit)

    def number_of(self, ref: Ref) -> int | None:
        """See `View.number_of`."""
        return find_id(self._connection, ref)

    def reach(self, permitted: Collection[int], denied: Collection[int], *, limit: int) -> Reach:
        """See `View.reach`."""
        return reach.reach(self._connection, permitted, denied, limit=limit)

    def people(self, numbers: Collection[int]) -> dict[int, Person]:
        """See `View.people`."""
        return reach.find_people(self._connection, numbers)

    def objects_near(self, ref: Ref, *, limit: int, stated: bool = False) -> tuple[Ref, ...]:
        """See `View.objects_near`."""
        return objects_near(self._connection, ref, limit=limit, stated=stated)

    def history(self, *, about: Ref | None = None, after: int = 0, limit: int = MAX_PAGE) -> tuple[HistoryEntry, ...]:
        """See `View.history`."""
        return read_history(self._connection, about=about, after=after, limit=min(limit, MAX_PAGE))


def _user(found: Sequence[Sequence[Any]]) -> FoundUser | None:
    if not found:
        return None
    ((number, nickname, strength),) = found
    return FoundUser(int(number), str(nickname), Strength(int(strength)))
