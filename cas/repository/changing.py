"""Changes of a policy, in SQL, each within the transaction of its call; decides no rights (`cas.service`).

    Changer(connection, first_id).make(change)           # True when it changed anything

What a group holds and what holds a group is looked at while the one row of `policy` is locked, so that two
administrators can neither close a circle together nor orphan what the other one uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from cas.policy.caller import name_forms
from cas.policy.changes import (
    AddFeed,
    AddMember,
    Change,
    Enrol,
    Grant,
    Remove,
    RemoveFeed,
    RemoveMember,
    Revoke,
    SetFqan,
)
from cas.policy.model import (
    CAS,
    DEFAULT_NAMESPACE,
    EVERYONE,
    GRANT_ALL,
    Effect,
    Entity,
    Kind,
    Namespace,
    ObjectName,
    Ref,
    ServiceAction,
    Statement,
    TrustAnchor,
    User,
    check_new,
    is_member_kind,
)
from cas.policy.nicknames import skeleton
from cas.repository.base import MAX_DEPTH
from cas.repository.closures import depth_above, depth_below, up
from cas.repository.rows import find_id, get_id, refs_of, rows, run, scalar, statements_of, terms_text
from cas.repository.speaking import find_namespace
from cas.repository.tables import (
    CODES,
    EFFECTS,
    ENTITIES,
    EVERYONE_ID,
    FEEDS,
    FQANS,
    MEMBERS,
    NAMESPACES,
    STATEMENTS,
    TRUST_ANCHORS,
    USERS,
)
from gsi.authz.principals import normal_fqan
from gsi.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from cas.policy.model import Feed

__all__ = ["Changer", "entity_row", "normal_change", "statement_row", "user_row"]

_NICKNAMED: Final = frozenset(
    {
        Kind.TRUST_ANCHOR,
        Kind.USER,
        Kind.USER_GROUP,
        Kind.NAMESPACE,
        Kind.OBJECT_GROUP,
        Kind.SERVICE_TYPE,
        Kind.SERVICE_ACTION_GROUP,
    }
)
_FIXED: Final = frozenset(
    {Ref(Kind.USER_GROUP, EVERYONE), Ref(Kind.NAMESPACE, DEFAULT_NAMESPACE), Ref(Kind.SERVICE_TYPE, CAS)}
)
_IN_USE: Final = {
    Kind.TRUST_ANCHOR: (("users", "SELECT 1 FROM users WHERE anchor_id = :id LIMIT 1"),),
    Kind.NAMESPACE: (("objects", "SELECT 1 FROM entities WHERE kind = 5 AND scope = :id LIMIT 1"),),
    Kind.SERVICE_TYPE: (("actions", "SELECT 1 FROM entities WHERE kind = 8 AND scope = :id LIMIT 1"),),
    Kind.SERVICE_ACTION: (("statements", "SELECT 1 FROM statements WHERE action_id = :id LIMIT 1"),),
    Kind.SERVICE_ACTION_GROUP: (
        ("statements", "SELECT 1 FROM statements WHERE action_id = :id LIMIT 1"),
        ("members", "SELECT 1 FROM members WHERE container_id = :id LIMIT 1"),
    ),
    Kind.OBJECT_GROUP: (("members", "SELECT 1 FROM members WHERE container_id = :id LIMIT 1"),),
    Kind.USER_GROUP: (
        ("statements", "SELECT 1 FROM statements WHERE group_id = :id LIMIT 1"),
        ("members", "SELECT 1 FROM members WHERE container_id = :id LIMIT 1"),
        ("feeds", "SELECT 1 FROM feeds WHERE group_id = :id LIMIT 1"),
        ("an FQAN", "SELECT 1 FROM fqans WHERE group_id = :id LIMIT 1"),
    ),
}
"""What keeps a thing from being removed, besides that it is in a group."""


def normal_change(connection: Connection, change: Change) -> Change:
    """Return a change with the full names of objects, as they are stored.

    Raises:
        NotFoundError: A namespace is not enrolled.
        ParseError: A name that no object can have.
    """

    def ref(one: Ref) -> Ref:
        return one if one.kind is not Kind.OBJECT else Ref(one.kind, full(one.scope, one.name), one.scope)

    def full(namespace: str, name: str) -> str:
        found = find_namespace(connection, namespace)
        if found is None:
            raise NotFoundError(f"there is no {Ref(Kind.NAMESPACE, namespace)}")
        return found[1].full_name(name)

    match change:
        case Enrol(entity=ObjectName(namespace=namespace, name=name), owner=owner):
            return Enrol(ObjectName(namespace, full(namespace, name)), owner)
        case Remove(ref=one):
            return Remove(ref(one))
        case AddMember(group=group, member=member):
            return AddMember(group, ref(member))
        case RemoveMember(group=group, member=member):
            return RemoveMember(group, ref(member))
        case Grant(statement=one):
            return Grant(Statement(one.group, one.effect, one.action, ref(one.object), one.terms))
        case Revoke(statement=one):
            return Revoke(Statement(one.group, one.effect, one.action, ref(one.object), one.terms))
        case _:
            return change


class Changer:
    """Makes the changes of one transaction.

    Attributes:
        next_id: The first number that is free, which goes up with what is made.
        purged: The statements that went with the change made last.
    """

    def __init__(self, connection: Connection, next_id: int, *, restoring: bool = False) -> None:
        """Change a policy.

        Args:
            connection: In the transaction.
            next_id: The first number that is free.
            restoring: What is enrolled had its name before, by the rules of that time, and keeps it.
        """
        self._connection = connection
        self._is_restoring = restoring
        self.next_id = next_id
        self.purged: tuple[Statement, ...] = ()

    def take_id(self) -> int:
        """Return a number that nothing has."""
        self.next_id += 1
        return self.next_id - 1

    def make(self, change: Change) -> bool:
        """Make a change whose names are normal; return whether it changed anything.

        Raises:
            ConflictError: The policy does not allow it, as `PolicyRepository.apply` says.
            NotFoundError: Something that it needs is not enrolled.
            ParseError: A name that nothing can have.
        """
        self.purged = ()
        match change:
            case Enrol(entity=entity, owner=owner):
                self._enrol(entity, owner)
                return True
            case Remove(ref=ref):
                return self._remove(ref)
            case AddMember(group=group, member=member):
                return self._add_member(group, member)
            case RemoveMember(group=group, member=member):
                return self._remove_member(group, member)
            case Grant(statement=statement):
                return self._grant(statement)
            case Revoke(statement=statement):
                return self._revoke(statement)
            case SetFqan(group=group_name, fqan=fqan):
                return self._set_fqan(group_name, fqan)
            case AddFeed(group=group_name, feed=feed):
                return self._add_feed(group_name, feed)
            case RemoveFeed(group=group_name, feed=feed):
                return self._remove_feed(group_name, feed)

    # --- things -------------------------------------------------------------------------------------------------------

    def _enrol(self, entity: Entity, owner: str | None) -> None:
        ref = entity.ref
        if not self._is_restoring:
            check_new(entity)
        if isinstance(entity, ServiceAction) and entity.service_type == CAS:
            raise ConflictError("CAS's own actions are what they are")
        scope = self._scope_of(entity)
        owner_id = None if owner is None else get_id(self._connection, Ref(Kind.USER_GROUP, owner))
        if find_id(self._connection, ref) is not None:
            raise ConflictError(f"{ref} is enrolled already")
        is_twin = self._check_look(ref)
        number = self.take_id()
        if isinstance(entity, User):
            self._check_subject(entity)
        row = entity_row(ref, number, scope)
        if is_twin:
            row["skeleton"] = f"{row['skeleton']}|{number}"
        self._connection.execute(sa.insert(ENTITIES).values(row))
        match entity:
            case TrustAnchor():
                self._enrol_anchor(entity, number)
            case User():
                anchor = get_id(self._connection, Ref(Kind.TRUST_ANCHOR, entity.anchor))
                self._connection.execute(sa.insert(USERS).values(user_row(entity, number, anchor)))
            case Namespace():
                values = {"id": number, "base": entity.base, "comparison": entity.comparison.value}
                self._connection.execute(sa.insert(NAMESPACES).values(values))
            case _:
                pass
        if owner_id is not None:
            grant = Statement(str(owner), Effect.PERMIT, GRANT_ALL, ref)
            action = get_id(self._connection, GRANT_ALL)
            values = statement_row(grant, self.take_id(), owner_id, action, number)
            self._connection.execute(sa.insert(STATEMENTS).values(values))

    def _scope_of(self, entity: Entity) -> int:
        if isinstance(entity, ObjectName):
            return get_id(self._connection, Ref(Kind.NAMESPACE, entity.namespace))
        if isinstance(entity, ServiceAction):
            return get_id(self._connection, Ref(Kind.SERVICE_TYPE, entity.service_type))
        return 0

    def _enrol_anchor(self, anchor: TrustAnchor, number: int) -> None:
        key = name_forms(anchor.data)[1]
        query = "SELECT e.name FROM trust_anchors a JOIN entities e ON e.id = a.id WHERE a.data_key = :key"
        other = scalar(self._connection, query, key=key)
        if other is not None:
            raise ConflictError(f"the CA {anchor.data} is enrolled as {other}")
        values = {
            "id": number,
            "method": anchor.method,
            "data": anchor.data,
            "data_key": key,
            "strength": int(anchor.strength),
        }
        self._connection.execute(sa.insert(TRUST_ANCHORS).values(values))

    def _check_subject(self, user: User) -> None:
        """Insist that a person has one nickname."""
        other = scalar(
            self._connection,
            "SELECT e.name FROM users u JOIN entities e ON e.id = u.id"
            " WHERE u.subject_key = :key AND u.anchor_id = :anchor",
            key=name_forms(user.subject)[1],
            anchor=get_id(self._connection, Ref(Kind.TRUST_ANCHOR, user.anchor)),
        )
        if other is not None:
            raise ConflictError(f"{user.subject} of {user.anchor} is enrolled as {other}")

    def _check_look(self, ref: Ref) -> bool:
        """Insist that nothing of a kind looks like something else of it; say whether it does and may, having done so.

        Of those that look alike one has the look, and the others the same with their number behind a stroke.
        """
        if ref.kind not in _NICKNAMED:
            return False
        query = "SELECT name FROM entities WHERE kind = :kind AND skeleton = :skeleton"
        other = scalar(self._connection, query, kind=CODES[ref.kind], skeleton=skeleton(ref.name))
        if other is not None and not self._is_restoring:
            raise ConflictError(f"{ref.name!a} looks like the {ref.kind.value} {other!a}", hint="choose another name")
        return other is not None

    def _remove(self, ref: Ref) -> bool:
        if ref in _FIXED or ref.kind is Kind.SERVER or ref.scope == CAS:
            raise ConflictError(f"{ref} is part of every policy")
        number = find_id(self._connection, ref)
        if number is None:
            return False
        around = scalar(self._connection, "SELECT container_id FROM members WHERE member_id = :id LIMIT 1", id=number)
        if around is not None:
            raise ConflictError(f"{ref} is in {refs_of(self._connection, [around])[around]}", hint="take it out first")
        for what, query in _IN_USE.get(ref.kind, ()):
            if scalar(self._connection, query, id=number) is not None:
                raise ConflictError(f"{ref} has {what}", hint="these go first; a removal never takes them along")
        found = run(self._connection, "SELECT * FROM statements WHERE object_id = :id", id=number).mappings().all()
        self.purged = statements_of(self._connection, found)
        run(self._connection, "DELETE FROM statements WHERE object_id = :id", id=number)
        for table in ("users", "trust_anchors", "namespaces"):
            run(self._connection, f"DELETE FROM {table} WHERE id = :id", id=number)
        look = scalar(self._connection, "SELECT skeleton FROM entities WHERE id = :id", id=number)
        run(self._connection, "DELETE FROM entities WHERE id = :id", id=number)
        if look is not None:
            self._pass_on(ref.kind, str(look))
        if ref.kind is Kind.USER:
            self._forget_files()
        return True

    def _pass_on(self, kind: Kind, look: str) -> None:
        """Give the look of what has gone to the next one that has looked like it all along."""
        query = (
            "SELECT id FROM entities WHERE kind = :kind AND skeleton > :low AND skeleton < :high ORDER BY id LIMIT 1"
        )
        found = scalar(self._connection, query, kind=CODES[kind], low=f"{look}|", high=f"{look}}}")
        if found is not None:
            run(self._connection, "UPDATE entities SET skeleton = :look WHERE id = :id", look=look, id=found)

    def _forget_files(self) -> None:
        """Let every file of users begin anew: somebody whom its lines enrolled may not be there any more."""
        run(self._connection, "DELETE FROM enrolments")

    # --- members ------------------------------------------------------------------------------------------------------

    def _add_member(self, group: Ref, member: Ref) -> bool:
        if not is_member_kind(group.kind, member.kind):
            raise ConflictError(f"{member} cannot be in {group}")
        container, inner = get_id(self._connection, group), get_id(self._connection, member)
        if container == EVERYONE_ID:
            raise ConflictError(f"the group {EVERYONE} is the whole community and has no list")
        query = "SELECT 1 FROM members WHERE container_id = :group AND member_kind = :kind AND member_id = :member"
        key = {"group": container, "kind": CODES[member.kind], "member": inner}
        if scalar(self._connection, query, **key) is not None:
            return False
        if group.kind is member.kind:
            self._check_nesting(group, member, container, inner)
        if group.kind is Kind.OBJECT_GROUP:
            self._check_self_reference(container, inner)
        self._connection.execute(
            sa.insert(MEMBERS).values(
                container_id=container,
                member_kind=CODES[member.kind],
                member_id=inner,
                container_kind=CODES[group.kind],
            )
        )
        self._touch(container)
        up(self._connection, [inner], group.kind)  # raises where it would be in too many
        return True

    def _check_nesting(self, group: Ref, member: Ref, container: int, inner: int) -> None:
        around = up(self._connection, [container], group.kind) | {container}
        if inner in around:
            raise ConflictError(f"{group} would be in itself, through {member}")
        depth = depth_above(self._connection, container, group.kind) + depth_below(self._connection, inner, group.kind)
        if depth + 2 > MAX_DEPTH:
            raise ConflictError(f"groups would be nested deeper than {MAX_DEPTH}")

    def _check_self_reference(self, container: int, inner: int) -> None:
        """Insist that no user group holds `grantAll` on a group of objects in which it is."""
        around = up(self._connection, [container], Kind.OBJECT_GROUP) | {container}
        inside = rows(
            self._connection,
            "WITH RECURSIVE down(id) AS (SELECT id FROM entities WHERE id = :id UNION SELECT m.member_id FROM down"
            " CROSS JOIN members m WHERE m.container_id = down.id AND m.container_kind = :kind)"
            " SELECT s.group_id FROM statements s WHERE s.object_id IN :around AND s.action_id IN :actions"
            " AND s.group_id IN (SELECT id FROM down) LIMIT 1",
            id=inner,
            kind=CODES[Kind.OBJECT_GROUP],
            around=around,
            actions=self._governing(),
        )
        if inside:
            raise ConflictError("a user group would hold grantAll over itself")

    def _governing(self) -> frozenset[int]:
        """Return `grantAll`, and the groups of actions with it."""
        number = get_id(self._connection, GRANT_ALL)
        return frozenset(up(self._connection, [number], Kind.SERVICE_ACTION_GROUP) | {number})

    def _remove_member(self, group: Ref, member: Ref) -> bool:
        container, inner = get_id(self._connection, group), find_id(self._connection, member)
        if inner is None:
            return False
        gone = run(
            self._connection,
            "DELETE FROM members WHERE container_id = :group AND member_kind = :kind AND member_id = :member",
            group=container,
            kind=CODES[member.kind],
            member=inner,
        )
        if not gone.rowcount:
            return False
        self._touch(container)
        if group.kind is Kind.USER_GROUP:
            self._forget_files()
        return True

    # --- statements ---------------------------------------------------------------------------------------------------

    def _grant(self, statement: Statement) -> bool:
        group = get_id(self._connection, Ref(Kind.USER_GROUP, statement.group))
        action = get_id(self._connection, statement.action)
        on = get_id(self._connection, statement.object)
        if action in self._governing():
            around = up(self._connection, [group], Kind.OBJECT_GROUP) | {group}
            if on in around:
                raise ConflictError("a user group would hold grantAll over itself")
        row = statement_row(statement, 0, group, action, on)
        if self._find_statement(row) is not None:
            return False
        self._connection.execute(sa.insert(STATEMENTS).values(row | {"id": self.take_id()}))
        self._touch(group)
        self._touch(on)
        return True

    def _revoke(self, statement: Statement) -> bool:
        group = find_id(self._connection, Ref(Kind.USER_GROUP, statement.group))
        action, on = find_id(self._connection, statement.action), find_id(self._connection, statement.object)
        if group is None or action is None or on is None:
            return False
        number = self._find_statement(statement_row(statement, 0, group, action, on))
        if number is None:
            return False
        run(self._connection, "DELETE FROM statements WHERE id = :id", id=number)
        self._touch(group)
        self._touch(on)
        return True

    def _find_statement(self, row: dict[str, object]) -> int | None:
        number = scalar(
            self._connection,
            "SELECT id FROM statements WHERE group_id = :group_id AND object_id = :object_id"
            " AND action_id = :action_id AND effect = :effect AND terms = :terms",
            **{name: row[name] for name in ("group_id", "object_id", "action_id", "effect", "terms")},
        )
        return None if number is None else int(number)

    # --- attributes of groups -----------------------------------------------------------------------------------------

    def _set_fqan(self, group: str, fqan: str | None) -> bool:
        number = get_id(self._connection, Ref(Kind.USER_GROUP, group))
        before = scalar(self._connection, "SELECT fqan FROM fqans WHERE group_id = :id", id=number)
        normal = None if fqan is None else normal_fqan(fqan)
        if before == normal:
            return False
        run(self._connection, "DELETE FROM fqans WHERE group_id = :id", id=number)
        if normal is not None:
            if scalar(self._connection, "SELECT 1 FROM fqans WHERE fqan = :fqan", fqan=normal) is not None:
                raise ConflictError(f"another user group has the FQAN {normal}")
            self._connection.execute(sa.insert(FQANS).values(group_id=number, fqan=normal))
        self._touch(number)
        return True

    def _add_feed(self, group: str, feed: Feed) -> bool:
        number = get_id(self._connection, Ref(Kind.USER_GROUP, group))
        if number == EVERYONE_ID:
            raise ConflictError(f"the group {EVERYONE} is the whole community")
        key = {"source": feed.source.value, "value": feed.value, "group_id": number}
        query = "SELECT 1 FROM feeds WHERE source = :source AND value = :value AND group_id = :group_id"
        if scalar(self._connection, query, **key) is not None:
            return False
        self._connection.execute(sa.insert(FEEDS).values(key))
        self._touch(number)
        return True

    def _remove_feed(self, group: str, feed: Feed) -> bool:
        number = get_id(self._connection, Ref(Kind.USER_GROUP, group))
        key = {"source": feed.source.value, "value": feed.value, "group_id": number}
        query = "DELETE FROM feeds WHERE source = :source AND value = :value AND group_id = :group_id"
        if not run(self._connection, query, **key).rowcount:
            return False
        self._touch(number)
        return True

    def _touch(self, number: int) -> None:
        run(self._connection, "UPDATE entities SET version = version + 1 WHERE id = :id", id=number)


def entity_row(ref: Ref, number: int, scope: int) -> dict[str, object]:
    """Return the row of something new."""
    return {
        "id": number,
        "kind": CODES[ref.kind],
        "scope": scope,
        "name": ref.name,
        "skeleton": skeleton(ref.name) if ref.kind in _NICKNAMED else None,
        "version": 1,
    }


def user_row(user: User, number: int, anchor: int) -> dict[str, object]:
    """Return the row of a user beside that of the name."""
    return {
        "id": number,
        "subject": user.subject,
        "subject_key": name_forms(user.subject)[1],
        "anchor_id": anchor,
    }


def statement_row(statement: Statement, number: int, group: int, action: int, on: int) -> dict[str, object]:
    """Return the row of a statement."""
    not_before, not_after, proxies, strength = statement.terms.encode()
    return {
        "id": number,
        "group_id": group,
        "effect": EFFECTS[statement.effect],
        "action_id": action,
        "object_id": on,
        "not_before": not_before,
        "not_after": not_after,
        "proxies": proxies,
        "strength": strength,
        "terms": terms_text(statement.terms),
    }
