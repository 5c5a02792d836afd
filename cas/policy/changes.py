"""Changes of a policy as values, and the same as plain JSON; makes none of them (`cas.repository`).

    change = Enrol(User("alice", "/O=Grid/CN=Alice", "defaultTrustAnchor"), owner="superUserGroup")
    decode_change(encode_change(change)) == change

What an administrator asks for, what the history keeps, what a file of the whole policy holds and what is tried without
being done are these values.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from cas.assertion.value import Comparison
from cas.policy.conditions import ALWAYS, Strength, Terms
from cas.policy.model import (
    ActionGroup,
    Effect,
    Entity,
    Feed,
    FeedSource,
    Kind,
    Namespace,
    ObjectGroup,
    ObjectName,
    Ref,
    ServiceAction,
    ServiceType,
    Statement,
    TrustAnchor,
    User,
    UserGroup,
)
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AddFeed",
    "AddMember",
    "Change",
    "Enrol",
    "Grant",
    "Remove",
    "RemoveFeed",
    "RemoveMember",
    "Revoke",
    "SetFqan",
    "about",
    "decode_change",
    "decode_entity",
    "decode_ref",
    "decode_statement",
    "encode_change",
    "encode_entity",
    "encode_ref",
    "encode_statement",
]

_E = TypeVar("_E", bound=Enum)


@dataclass(frozen=True, slots=True)
class Enrol:
    """Something becomes known.

    Attributes:
        entity: What.
        owner: The user group that gets `grantAll` on it; None for an action, and where nobody is to.
    """

    entity: Entity
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Something is forgotten, with the statements on it; refused while it is in use."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class AddMember:
    """Something joins a group."""

    group: Ref
    member: Ref


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Something leaves a group; what is not in it changes nothing."""

    group: Ref
    member: Ref


@dataclass(frozen=True, slots=True)
class Grant:
    """A statement becomes part of the policy; one that is there already changes nothing."""

    statement: Statement


@dataclass(frozen=True, slots=True)
class Revoke:
    """A statement is taken out of the policy; one that is not there changes nothing."""

    statement: Statement


@dataclass(frozen=True, slots=True)
class SetFqan:
    """Membership in a user group is told to VOMS-aware services by this FQAN; None for not at all."""

    group: str
    fqan: str | None


@dataclass(frozen=True, slots=True)
class AddFeed:
    """Whoever proves an attribute is a member of a user group."""

    group: str
    feed: Feed


@dataclass(frozen=True, slots=True)
class RemoveFeed:
    """An attribute makes nobody a member any more."""

    group: str
    feed: Feed


Change: TypeAlias = Enrol | Remove | AddMember | RemoveMember | Grant | Revoke | SetFqan | AddFeed | RemoveFeed
"""One step of administration."""


def about(change: Change) -> tuple[Ref, ...]:
    """Return the things whose history a change belongs to."""
    match change:
        case Enrol(entity=entity):
            return (entity.ref,)
        case Remove(ref=ref):
            return (ref,)
        case AddMember(group=group, member=member) | RemoveMember(group=group, member=member):
            return group, member
        case Grant(statement=statement) | Revoke(statement=statement):
            return Ref(Kind.USER_GROUP, statement.group), statement.object
        case SetFqan(group=name) | AddFeed(group=name) | RemoveFeed(group=name):
            return (Ref(Kind.USER_GROUP, name),)


# --- JSON -------------------------------------------------------------------------------------------------------------

_ENTITIES: Final[Mapping[str, type[Entity]]] = {
    "trustAnchor": TrustAnchor,
    "user": User,
    "userGroup": UserGroup,
    "namespace": Namespace,
    "object": ObjectName,
    "objectGroup": ObjectGroup,
    "serviceType": ServiceType,
    "serviceAction": ServiceAction,
    "serviceActionGp": ActionGroup,
}
_KINDS_OF: Final = {kind: word for word, kind in _ENTITIES.items()}


def encode_entity(entity: Entity) -> dict[str, object]:
    """Return a thing as plain values."""
    values = {field.name: _plain(getattr(entity, field.name)) for field in fields(entity)}
    return {"kind": _KINDS_OF[type(entity)], **values}


def decode_entity(value: object) -> Entity:
    """Return the thing of plain values.

    Raises:
        ParseError: They describe none.
    """
    words = _object(value)
    kind = words.pop("kind", None)
    form = _ENTITIES.get(kind) if isinstance(kind, str) else None
    if form is None:
        raise _no("kind of thing")
    if "strength" in words:
        words["strength"] = _strength(words["strength"])
    if "comparison" in words:
        words["comparison"] = _word(Comparison, words["comparison"])
    known = {field.name for field in fields(form)}
    for name, item in words.items():
        if name not in known or not isinstance(item, str | Strength):
            raise _no(f"{kind}'s {name[:40]!r}")
    try:
        return form(**words)  # type: ignore[arg-type]  # the names are its own, and all are texts but those made above
    except TypeError as error:
        raise _no(f"{kind}: something is missing") from error


def encode_ref(ref: Ref) -> list[str]:
    """Return a name as plain values."""
    return [ref.kind.value, ref.scope, ref.name] if ref.scope else [ref.kind.value, ref.name]


def decode_ref(value: object) -> Ref:
    """Return the name of plain values.

    Raises:
        ParseError: They are none.
    """
    if not isinstance(value, list) or len(value) not in {2, 3} or not all(isinstance(one, str) for one in value):
        raise _no("name")
    kind = _word(Kind, value[0])
    if (kind in {Kind.OBJECT, Kind.SERVICE_ACTION}) is not (len(value) == 3) or not all(value):
        raise _no("name")
    return Ref(kind, value[-1], value[1] if len(value) == 3 else "")


def encode_statement(statement: Statement) -> dict[str, object]:
    """Return a statement as plain values."""
    found: dict[str, object] = {
        "group": statement.group,
        "effect": statement.effect.value,
        "action": encode_ref(statement.action),
        "object": encode_ref(statement.object),
    }
    if statement.terms != ALWAYS:
        found["terms"] = list(statement.terms.encode())
    return found


def decode_statement(value: object) -> Statement:
    """Return the statement of plain values.

    Raises:
        ParseError: They are none.
    """
    words = _object(value)
    terms = words.pop("terms", None)
    if set(words) != {"group", "effect", "action", "object"}:
        raise _no("statement")
    return Statement(
        _text(words["group"]),
        _word(Effect, words["effect"]),
        decode_ref(words["action"]),
        decode_ref(words["object"]),
        ALWAYS if terms is None else _terms(terms),
    )


def encode_change(change: Change) -> dict[str, object]:
    """Return a change as plain values."""
    match change:
        case Enrol(entity=entity, owner=owner):
            return {"do": "enrol", "entity": encode_entity(entity), "owner": owner}
        case Remove(ref=ref):
            return {"do": "remove", "ref": encode_ref(ref)}
        case AddMember(group=group, member=member):
            return {"do": "add-member", "group": encode_ref(group), "member": encode_ref(member)}
        case RemoveMember(group=group, member=member):
            return {"do": "remove-member", "group": encode_ref(group), "member": encode_ref(member)}
        case Grant(statement=statement):
            return {"do": "grant", "statement": encode_statement(statement)}
        case Revoke(statement=statement):
            return {"do": "revoke", "statement": encode_statement(statement)}
        case SetFqan(group=name, fqan=fqan):
            return {"do": "set-fqan", "group": name, "fqan": fqan}
        case AddFeed(group=name, feed=feed):
            return {"do": "add-feed", "group": name, "source": feed.source.value, "value": feed.value}
        case RemoveFeed(group=name, feed=feed):
            return {"do": "remove-feed", "group": name, "source": feed.source.value, "value": feed.value}


def decode_change(value: object) -> Change:
    """Return the change of plain values.

    Raises:
        ParseError: They are none.
    """
    words = _object(value)
    do = words.pop("do", None)
    try:
        change = _decode(do, words)
    except KeyError as error:
        raise _no(f"change: {error.args[0]} is missing") from error
    if set(encode_change(change)) - {"do"} != set(words):
        raise _no("change: something in it is not known")
    return change


def _decode(do: object, words: Mapping[str, object]) -> Change:
    match do:
        case "enrol":
            owner = words["owner"]
            return Enrol(decode_entity(words["entity"]), None if owner is None else _text(owner))
        case "remove":
            return Remove(decode_ref(words["ref"]))
        case "add-member":
            return AddMember(decode_ref(words["group"]), decode_ref(words["member"]))
        case "remove-member":
            return RemoveMember(decode_ref(words["group"]), decode_ref(words["member"]))
        case "grant":
            return Grant(decode_statement(words["statement"]))
        case "revoke":
            return Revoke(decode_statement(words["statement"]))
        case "set-fqan":
            fqan = words["fqan"]
            return SetFqan(_text(words["group"]), None if fqan is None else _text(fqan))
        case "add-feed":
            return AddFeed(_text(words["group"]), _feed(words))
        case "remove-feed":
            return RemoveFeed(_text(words["group"]), _feed(words))
        case _:
            raise _no("change")


def _feed(words: Mapping[str, object]) -> Feed:
    return Feed(_word(FeedSource, words["source"]), _text(words["value"]))


def _terms(value: object) -> Terms:
    if not isinstance(value, list) or len(value) != 4:
        raise _no("terms")
    not_before, not_after, proxies, strength = value
    for moment in (not_before, not_after):
        if moment is not None and type(moment) is not int:
            raise _no("time")
    if type(strength) is not int:
        raise _no("strength")
    return Terms.decode(not_before, not_after, _text(proxies), strength)


def _strength(value: object) -> Strength:
    if type(value) is not int or value not in set(Strength):
        raise _no("strength")
    return Strength(value)


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _no("object")
    return dict(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _no("text")
    return value


def _word(form: type[_E], value: object) -> _E:
    try:
        return form(value)
    except ValueError as error:
        raise _no(form.__name__) from error


def _no(what: str) -> ParseError:
    return ParseError(f"not a {what}", what="policy change")
