"""What administrators' forms say, as changes of the policy; pure, asks nobody.

read_change({"do": "add-member", "group": "readers", "member": "alice", "member_kind": "user"})
read_action("file/read"), read_object("FTPDirectoryTree", "ftp://host/data/*")
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cas.policy.changes import (
    AddMember,
    Enrol,
    Grant,
    Remove,
    RemoveMember,
    Revoke,
    decode_change,
    decode_statement,
)
from cas.policy.model import Effect, Kind, ObjectName, Ref, Statement, User, UserGroup, check_new, parse_ref
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cas.policy.changes import Change

__all__ = ["MAX_CHANGE_CHARS", "decode", "read_action", "read_change", "read_object"]

MAX_CHANGE_CHARS: Final = 16 << 10
"""A change that goes through a form: a statement with two long names takes 10 kB."""


def read_action(text: str) -> Ref:
    """Return the action of `TYPE/ACTION`.

    Raises:
        ParseError: It is none.
    """
    return parse_ref(Kind.SERVICE_ACTION, [text])


def read_object(namespace: str, name: str) -> Ref:
    """Return the object of a namespace and a name, or of `NAMESPACE|NAME` in the name.

    Raises:
        ParseError: It is none.
    """
    return parse_ref(Kind.OBJECT, [namespace, name] if namespace else [name])


def decode(text: str) -> object:
    """Return the value of a hidden field.

    Raises:
        ParseError: It is none.
    """
    if len(text) > MAX_CHANGE_CHARS:
        raise ParseError("the form is too long", what="form")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ParseError("the form was changed on its way", what="form") from error


def read_change(fields: Mapping[str, str]) -> tuple[Change, ...]:
    """Return the changes of a form; its field `do` says which form it is.

    Raises:
        ParseError: It is none, or something in it is missing.
    """

    def take(name: str) -> str:
        value = fields.get(name, "").strip()
        if not value:
            raise ParseError(f"fill in the field {name.replace('_', ' ')!r}", what="form")
        return value

    def group() -> Ref:
        return Ref(Kind.USER_GROUP, take("group"))

    def member() -> Ref:
        kind = Kind.USER_GROUP if fields.get("member_kind") == Kind.USER_GROUP.value else Kind.USER
        return Ref(kind, take("member"))

    match fields.get("do"):
        case "add-member":
            return (AddMember(group(), member()),)
        case "remove-member":
            return (RemoveMember(group(), member()),)
        case "enrol-user":
            return (_enrol(User(take("nickname"), take("subject"), take("anchor")), take("owner")),)
        case "remove-user":
            return (Remove(Ref(Kind.USER, take("nickname"))),)
        case "create-group":
            return (_enrol(UserGroup(take("group")), take("owner")),)
        case "remove-group":
            return (Remove(group()),)
        case "enrol-object":
            return (Enrol(ObjectName(take("namespace"), take("name")), take("owner")),)
        case "grant":
            effect = Effect.DENY if fields.get("effect") == Effect.DENY.value else Effect.PERMIT
            on = read_object(take("namespace"), take("name"))
            return (Grant(Statement(take("group"), effect, read_action(take("action")), on)),)
        case "revoke":
            return (Revoke(decode_statement(decode(take("statement")))),)
        case "same":
            value = decode(take("changes"))
            if not isinstance(value, list) or len(value) != 1:
                raise ParseError("the form was changed on its way", what="form")
            return (decode_change(value[0]),)
        case _:
            raise ParseError("no such form", what="form")


def _enrol(entity: User | UserGroup, owner: str) -> Enrol:
    check_new(entity)
    return Enrol(entity, owner)
