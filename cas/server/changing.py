"""Operations that change the policy, or say what a change would do; the changes are `cas.policy.changes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cas.policy.changes import decode_change, decode_ref, encode_ref
from cas.repository.sql import MAX_REASON_CHARS
from cas.server.operation import NUMBER, TEXT, YES, Field, Operation, odd, take

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cas.policy.changes import Change
    from cas.policy.model import Ref
    from cas.server.operation import Asked
    from cas.trial import Difference

__all__ = ["CHANGE_OPERATIONS", "MAX_CHANGES"]

MAX_CHANGES: Final = 1000
"""In one request; each is looked up and made in one transaction."""


def _changes(asked: Asked) -> dict[str, object]:
    body = asked.body
    listed = body.get("changes")
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_CHANGES:
        raise odd(f"changes are to be a list of 1 to {MAX_CHANGES}")
    changes: list[Change] = [decode_change(one) for one in listed]
    if take(body, "dry_run", bool, False):
        return _preview(asked, changes)
    revision = None if body.get("expected_revision") is None else take(body, "expected_revision", int, 0)
    applied = asked.community.service.apply(
        asked.caller,
        changes,
        reason=_reason(body),
        expected_revision=revision,
        expected=_versions(body.get("expected_versions")),
    )
    return {"revision": applied.revision, "changed": list(applied.changed)}


def _reason(body: Mapping[str, object]) -> str:
    reason = take(body, "reason", str, "")
    if len(reason) > MAX_REASON_CHARS or "\0" in reason:
        raise odd(f"a reason has {MAX_REASON_CHARS} characters at most, and no NUL")
    return reason


def _versions(value: object) -> dict[Ref, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > MAX_CHANGES:
        raise odd("expected_versions are to be a list of [name, version]")
    found: dict[Ref, int] = {}
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or type(pair[1]) is not int:
            raise odd("expected_versions are to be a list of [name, version]")
        found[decode_ref(pair[0])] = pair[1]
    return found


def _preview(asked: Asked, changes: Sequence[Change]) -> dict[str, object]:
    found = asked.community.service.preview(asked.caller, changes)
    differences = [_encode(one) for one in found.differences]
    return {"revision": found.revision, "differences": differences, "complete": found.is_complete}


def _encode(one: Difference) -> dict[str, object]:
    what: dict[str, object] = {"fqan": one.fqan}
    if one.action is not None and one.on is not None:
        what = {"action": encode_ref(one.action), "on": encode_ref(one.on)}
    return what | {
        "gains": list(one.gains),
        "loses": list(one.loses),
        "feeds_gain": [[feed.source.value, feed.value] for feed in one.feeds_gain],
        "feeds_lose": [[feed.source.value, feed.value] for feed in one.feeds_lose],
        "before": one.before,
        "after": one.after,
        "when": one.when,
    }


CHANGE_OPERATIONS: Final = (
    Operation(
        "/cas/v1/changes",
        "POST",
        "Change the policy: all of it or nothing.",
        "CHANGE",
        _changes,
        (
            Field(
                "changes",
                {"type": "array", "items": {"$ref": "#/components/schemas/Change"}, "maxItems": MAX_CHANGES},
                "the changes in their order",
                required=True,
            ),
            Field("reason", TEXT, "why, for the history"),
            Field("dry_run", YES, "only say who would gain and lose what"),
            Field("expected_revision", NUMBER, "the revision that they were prepared for"),
            Field("expected_versions", {"type": "array"}, "pairs of a name and the version it had"),
        ),
        {
            "revision": "the policy's revision",
            "changed": "for each change whether it changed anything",
            "differences": "of a dry run: rights (action, on) and FQANs (fqan), each with who gains and who loses it"
            " by name, and by attributes that are proven (feeds_gain, feeds_lose), how many have it by name before and"
            " after, and when it is so",
            "complete": "of a dry run: whether all that the changes touch was compared",
        },
    ),
)
"""What changes the policy."""
