"""The operation that enrols many users: some lines of a file at a time, all of them or none; reads no file.

    operation = ENROL_USERS
    operation.run(asked)          # {"done": 4000, "enrolled": 2000, "refused": []}

The client says which file it has (by its SHA-256) and which lines it sends. How far a file is done is kept with what
was done, so that lines whose answer was lost are passed over when they come again, and nothing is enrolled by halves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cas.policy.userfile import MAX_LINE_CHARS, parse_users
from cas.repository.base import LinesRefusedError
from cas.server.operation import TEXT, Field, Operation, odd, take
from cas.service import BATCH_LINES
from gsi.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cas.server.operation import Asked

__all__ = ["ENROL_USERS", "MAX_LINES"]

MAX_LINES: Final = BATCH_LINES
"""In one request, which is one transaction."""

_DIGEST_CHARS: Final = 64  # SHA-256 in hex


def _run(asked: Asked) -> dict[str, object]:
    body = asked.body
    service = asked.community.service
    owner, digest = take(body, "owner", str, ""), take(body, "file", str, "")
    if len(digest) != _DIGEST_CHARS or set(digest) - set("0123456789abcdef"):
        raise odd("file is to be the SHA-256 of a file in hex")
    done = service.enrolled_lines(asked.caller, owner=owner, digest=digest)
    lines = _lines(body)
    if not lines:
        return {"done": done, "enrolled": 0, "refused": []}
    first = take(body, "first", int, 0)
    if first < 1:
        raise odd("first is to be the number of the first line")
    if first > done + 1:
        raise ConflictError(
            f"line {done + 1} of the file has not been enrolled yet",
            hint="where somebody was removed meanwhile, it begins anew: give the same command again",
        )
    try:
        progress = service.enrol_users(
            asked.caller,
            parse_users(lines, first=first),
            owner=owner,
            digest=digest,
            reason=take(body, "reason", str, ""),
        )
    except LinesRefusedError as error:
        return {"done": done, "enrolled": 0, "refused": [list(line) for line in error.lines]}
    return {"done": progress.lines, "enrolled": progress.enrolled, "refused": []}


def _lines(body: Mapping[str, object]) -> list[str]:
    value = body.get("lines")
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_LINES:
        raise odd(f"lines is to be a list of at most {MAX_LINES}")
    if not all(isinstance(one, str) and len(one) <= MAX_LINE_CHARS for one in value):
        raise odd(f"lines is to be a list of texts of at most {MAX_LINE_CHARS} characters")
    return value


ENROL_USERS: Final = Operation(
    "/cas/v1/enrol-users",
    "POST",
    "Enrol the users of some lines of a file, all of them or none; without lines, say how far the file is done.",
    "CHANGE",
    _run,
    (
        Field("file", TEXT, "SHA-256 of the file in hex, by which it is known again", required=True),
        Field("owner", TEXT, "the user group that gets grantAll on each user", required=True),
        Field("first", {"type": "integer", "minimum": 1}, "the number of the first line"),
        Field("lines", {"type": "array", "items": TEXT, "maxItems": MAX_LINES}, "the lines, as in the file"),
        Field("reason", TEXT, "why, for the history"),
    ),
    {
        "done": "how many lines of the file are done",
        "enrolled": "users that were not enrolled before",
        "refused": "pairs of a line's number and a reason; where there is one, none of the lines was enrolled",
    },
)
"""The operation."""
