"""Operations that ask about the policy: what is there, who may do what and why, who changed it; changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cas.policy.changes import decode_ref, encode_change, encode_entity, encode_ref, encode_statement
from cas.policy.model import Kind
from cas.repository.base import MAX_PAGE
from cas.repository.exporting import BEGINNING, Point
from cas.server.operation import NAME, NUMBER, TEXT, YES, Field, Operation, odd, take, take_kind, take_limit, time_text

if TYPE_CHECKING:
    from cas.server.operation import Asked

__all__ = ["QUESTION_OPERATIONS"]

MAX_HISTORY: Final = 5000
"""Entries of the history in one answer: changes made together are given together, and an import makes very many."""

MAX_STAGE: Final = 63  # more than an export has


def _list(asked: Asked) -> dict[str, object]:
    names = asked.community.service.list_names(
        asked.caller,
        take_kind(asked.body, "kind"),
        scope=take(asked.body, "scope", str, ""),
        after=take(asked.body, "after", str, ""),
    )
    return {"names": list(names), "more": len(names) >= MAX_PAGE}


def _get(asked: Asked) -> dict[str, object]:
    found = asked.community.service.get(asked.caller, decode_ref(asked.body.get("name")))
    return {
        "entity": encode_entity(found.entity),
        "version": found.version,
        "fqan": found.fqan,
        "feeds": [[one.source.value, one.value] for one in found.feeds],
    }


def _members(asked: Asked) -> dict[str, object]:
    after = asked.body.get("after")
    members = asked.community.service.list_members(
        asked.caller, decode_ref(asked.body.get("group")), after=None if after is None else decode_ref(after)
    )
    return {"members": [encode_ref(one) for one in members], "more": len(members) >= MAX_PAGE}


def _policies(asked: Asked) -> dict[str, object]:
    statements = asked.community.service.find_policies(asked.caller, decode_ref(asked.body.get("name")))
    return {"statements": [encode_statement(one) for one in statements]}


def _history(asked: Asked) -> dict[str, object]:
    about = asked.body.get("about")
    entries = asked.community.service.history(
        asked.caller,
        about=None if about is None else decode_ref(about),
        after=take(asked.body, "after", int, 0),
        limit=take_limit(asked.body),
    )
    return {
        "entries": [
            {
                "revision": one.revision,
                "time": time_text(one.time),
                "actor": one.actor,
                "reason": one.reason,
                "request_id": one.request_id,
                "change": encode_change(one.change),
                "purged": [encode_statement(statement) for statement in one.purged],
            }
            for one in entries[:MAX_HISTORY]
        ],
        "left_out": max(0, len(entries) - MAX_HISTORY),
    }


def _export(asked: Asked) -> dict[str, object]:
    after = asked.body.get("after")
    revision = None if asked.body.get("revision") is None else take(asked.body, "revision", int, 0)
    page = asked.community.service.export(
        asked.caller, after=BEGINNING if after is None else _point(after), revision=revision
    )
    return {
        "revision": page.revision,
        "changes": [encode_change(one) for one in page.changes],
        "after": None if page.point is None else list(page.point),
    }


def _point(value: object) -> Point:
    if not isinstance(value, list) or len(value) != 3:
        raise odd("after is to be what the part before said")
    stage, outer, inner = value
    if (
        type(stage) is not int
        or not 0 <= stage <= MAX_STAGE
        or not isinstance(outer, str)
        or not isinstance(inner, str)
    ):
        raise odd("after is to be what the part before said")
    return Point(stage, outer, inner)


def _who_can(asked: Asked) -> dict[str, object]:
    found = asked.community.service.who_can(
        asked.caller,
        decode_ref(asked.body.get("action")),
        decode_ref(asked.body.get("on")),
        limited=take(asked.body, "limited", bool, False),
        after=take(asked.body, "after", str, ""),
        limit=take_limit(asked.body),
    )
    return {
        "total": found.total,
        "users": list(found.users),
        "groups": list(found.groups),
        "everyone": found.everyone,
        "feeds": [[one.source.value, one.value] for one in found.feeds],
        "conditional": [encode_statement(one) for one in found.conditional],
    }


def _why(asked: Asked) -> dict[str, object]:
    nickname = take(asked.body, "user", str, "") or asked.community.service.whoami(asked.caller)
    found = asked.community.service.why(
        asked.caller,
        nickname,
        decode_ref(asked.body.get("action")),
        decode_ref(asked.body.get("on")),
        limited=take(asked.body, "limited", bool, False),
    )
    return {"user": nickname, "permitted": found.permitted, "lines": list(found.lines)}


QUESTION_OPERATIONS: Final = (
    Operation(
        "/cas/v1/list",
        "POST",
        "List names of a kind.",
        "QUERY",
        _list,
        (
            Field("kind", {"type": "string", "enum": [one.value for one in Kind]}, "the kind", required=True),
            Field("scope", TEXT, "the namespace of objects, the service type of actions"),
            Field("after", TEXT, "the last name of the page before"),
        ),
        {"names": "the names", "more": "whether there may be more"},
    ),
    Operation(
        "/cas/v1/get",
        "POST",
        "Return one thing.",
        "QUERY",
        _get,
        (Field("name", NAME, "its name", required=True),),
        {
            "entity": "the thing",
            "version": "how often it was changed",
            "fqan": "the group or role that it stands for in VOMS, or null",
            "feeds": "where members of a group come from: kind and value of each",
        },
    ),
    Operation(
        "/cas/v1/members",
        "POST",
        "List what is in a group.",
        "QUERY",
        _members,
        (Field("group", NAME, "the group", required=True), Field("after", NAME, "the last one of the page before")),
        {"members": "their names", "more": "whether there may be more"},
    ),
    Operation(
        "/cas/v1/policies",
        "POST",
        "List the statements that name something.",
        "QUERY",
        _policies,
        (Field("name", NAME, "the thing", required=True),),
        {"statements": "the statements"},
    ),
    Operation(
        "/cas/v1/history",
        "POST",
        "Say who changed what, when and why.",
        "QUERY",
        _history,
        (
            Field("about", NAME, "only of this thing"),
            Field("after", NUMBER, "only later revisions"),
            Field("limit", NUMBER, "how many at most"),
        ),
        {"entries": "the changes", "left_out": "how many more were made together with the last one"},
    ),
    Operation(
        "/cas/v1/export",
        "POST",
        "Give the policy as the changes that make it again, in parts.",
        "QUERY",
        _export,
        (
            Field("after", {"type": "array"}, "what the part before said; missing for the first part"),
            Field("revision", NUMBER, "the revision that the first part said, if the policy is to be the same still"),
        ),
        {"revision": "the policy's revision", "changes": "the changes", "after": "for the next part; null at the end"},
    ),
    Operation(
        "/cas/v1/who-can",
        "POST",
        "Say who may do something now.",
        "QUERY",
        _who_can,
        (
            Field("action", NAME, "the action", required=True),
            Field("on", NAME, "on what", required=True),
            Field("limited", YES, "with a limited proxy"),
            Field("after", TEXT, "the last nickname of the page before"),
            Field("limit", NUMBER, "how many at most"),
        ),
        {
            "total": "how many",
            "users": "nicknames",
            "groups": "the groups to which it is permitted",
            "everyone": "whether it is permitted to the whole community",
            "feeds": "attributes that make others, who prove them, members of these groups: kind and value of each",
            "conditional": "statements that hold for some peers only, and were taken to hold",
        },
    ),
    Operation(
        "/cas/v1/why",
        "POST",
        "Say whether a user may do something, and by which statements.",
        "QUERY",
        _why,
        (
            Field("user", TEXT, "the nickname; the caller's where it is missing"),
            Field("action", NAME, "the action", required=True),
            Field("on", NAME, "on what", required=True),
            Field("limited", YES, "with a limited proxy"),
        ),
        {"user": "whose", "permitted": "whether", "lines": "why"},
    ),
)
"""What is asked about the policy."""
