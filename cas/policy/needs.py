"""Which of CAS's own rights a change needs; looks nothing up.

    needs(Enrol(User(...), owner="superUserGroup"))       # (Need("enroll_user", SERVER),)

To grant something one must hold it, for as long and for all for whom it is granted. The rest follows from that: what
gives rights without a grant needs the rights of one. So an object joins or leaves a group of objects only by whoever
holds `grantAll` on it, since all who have rights on the group get them on the object, or lose them; only a superuser
changes a group of actions that statements use. And what lifts a denial needs what revoking it needs.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

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
from cas.policy.conditions import ALWAYS, Terms
from cas.policy.model import CAS, GRANT_ALL, SERVER, SUPERUSER, Effect, Kind, Ref

__all__ = ["CAS_ACTIONS", "Clear", "Hold", "Lifts", "Need", "Unused", "needs"]

CAS_ACTIONS: Final = (
    "enroll_trustAnchor",
    "enroll_user",
    "enroll_namespace",
    "enroll_object",
    "enroll_serviceType",
    "create_user_group",
    "create_object_group",
    "create_serviceAction_group",
    "query",
    "superuser",
    "grantAll",
    "grant",
    "revoke",
    "remove",
    "add_group_entry",
    "remove_group_entry",
    "create_group_entry",
    "delete_group_entry",
    "delete_user_group",
)
"""CAS's own actions, as GT had them."""


class Need(NamedTuple):
    """One of CAS's own actions has to be permitted."""

    action: str
    on: Ref

    def __str__(self) -> str:
        return f"{CAS}/{self.action} on {self.on}"


class Hold(NamedTuple):
    """An action, or every one of a group of actions, has to be permitted to whoever grants it, under terms as wide."""

    action: Ref
    on: Ref
    terms: Terms = ALWAYS

    def __str__(self) -> str:
        return f"{self.action} on {self.on} {self.terms}".rstrip() + ", to grant it"


class Lifts(NamedTuple):
    """What revoking needs has to be permitted, for each denial on something; or on a group of objects, for a member."""

    what: Ref
    member: Ref | None = None

    def __str__(self) -> str:
        return f"what it needs to revoke the denials on {self.what}"


class Unused(NamedTuple):
    """No statement may name this group of actions, or else one has to be superuser."""

    group: Ref

    def __str__(self) -> str:
        return f"{CAS}/{SUPERUSER.name}, since statements use {self.group}"


class Clear(NamedTuple):
    """No object of others may be in this one, nor this one in an object of others."""

    object: Ref

    def __str__(self) -> str:
        return f"{CAS}/{GRANT_ALL.name} on every object that is within {self.object} or around it"


_Need: TypeAlias = Need | Hold | Lifts | Unused | Clear

_ENROL: Final = {
    Kind.TRUST_ANCHOR: "enroll_trustAnchor",
    Kind.USER: "enroll_user",
    Kind.NAMESPACE: "enroll_namespace",
    Kind.OBJECT: "enroll_object",
    Kind.SERVICE_TYPE: "enroll_serviceType",
    Kind.USER_GROUP: "create_user_group",
    Kind.OBJECT_GROUP: "create_object_group",
    Kind.SERVICE_ACTION_GROUP: "create_serviceAction_group",
}


def needs(change: Change) -> tuple[_Need, ...]:
    """Return all that has to be permitted for a change; a superuser needs nothing else."""
    match change:
        case Enrol(entity=entity):
            return _to_enrol(entity.ref)
        case Remove(ref=ref):
            if ref.kind is Kind.SERVICE_ACTION:
                return (Need("delete_group_entry", Ref(Kind.SERVICE_TYPE, ref.scope)),)
            return Need("delete_user_group" if ref.kind is Kind.USER_GROUP else "remove", ref), Lifts(ref)
        case AddMember(group=group, member=member):
            held = (Hold(GRANT_ALL, member),) if group.kind is Kind.OBJECT_GROUP else ()
            return (Need("add_group_entry", group), *_of_member(group, member), *held)
        case RemoveMember(group=group, member=member):
            lifted = (Lifts(group, member),) if group.kind is Kind.OBJECT_GROUP else ()
            return (Need("remove_group_entry", group), *_of_member(group, member), *lifted)
        case Grant(statement=one):
            if one.effect is Effect.DENY:
                return (Need("grant", one.object),)
            return Need("grant", one.object), Hold(one.action, one.object, one.terms)
        case Revoke(statement=one):
            if one.effect is Effect.DENY:  # whoever lifts a denial gives what was denied
                held_for = Terms(not_after=one.terms.not_after)
                return Need("revoke", one.object), Need("grant", one.object), Hold(one.action, one.object, held_for)
            return (Need("revoke", one.object),)
        case SetFqan():  # sites believe it
            return (Need(SUPERUSER.name, SERVER),)
        case AddFeed(group=name):
            return (Need("add_group_entry", Ref(Kind.USER_GROUP, name)),)
        case RemoveFeed(group=name):
            return (Need("remove_group_entry", Ref(Kind.USER_GROUP, name)),)


def _to_enrol(ref: Ref) -> tuple[_Need, ...]:
    if ref.kind is Kind.SERVICE_ACTION:
        return (Need("create_group_entry", Ref(Kind.SERVICE_TYPE, ref.scope)),)
    need = Need(_ENROL[ref.kind], SERVER)
    return (need, Clear(ref)) if ref.kind is Kind.OBJECT else (need,)


def _of_member(group: Ref, member: Ref) -> tuple[_Need, ...]:
    if group.kind is Kind.OBJECT_GROUP:
        return (Need(GRANT_ALL.name, member),)
    if group.kind is Kind.SERVICE_ACTION_GROUP:
        return (Unused(group),)
    return ()
