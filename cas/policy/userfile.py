r"""Files of many users to enrol: one line each; reads no file, enrols nobody.

    for line in parse_users(text): ...

A line is `NICKNAME<TAB>SUBJECT<TAB>TRUSTANCHOR`, and then, if there is one more tab, the names of user groups that they
join, with commas between. Empty lines and lines that begin with `#` count, but say nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cas.policy.model import User, check_new
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MAX_LINE_CHARS", "UserLine", "parse_line", "parse_users"]

MAX_LINE_CHARS: Final = 16384
"""The longest line: a name, a subject, and some hundred groups."""


class UserLine(NamedTuple):
    """A line of the file.

    Attributes:
        number: From 1.
        user: Who; None for a line that says nothing.
        groups: The user groups that they join.
    """

    number: int
    user: User | None
    groups: tuple[str, ...]


def parse_users(lines: Iterable[str], *, first: int = 1) -> Iterator[UserLine]:
    """Read lines as they are needed.

    Args:
        lines: The lines.
        first: The number of the first of them.

    Raises:
        ParseError: A line does not follow the grammar; those before it were given.
    """
    for number, raw in enumerate(lines, start=first):
        yield parse_line(number, raw)


def parse_line(number: int, raw: str) -> UserLine:
    """Read one line.

    Raises:
        ParseError: It does not follow the grammar; the message begins with its number.
    """
    if len(raw) > MAX_LINE_CHARS:
        raise ParseError(f"line {number}: longer than {MAX_LINE_CHARS} characters", what="file of users")
    if "\0" in raw:
        raise ParseError(f"line {number}: a NUL", what="file of users")
    line = raw.rstrip("\r\n")
    if not line.strip() or line.startswith("#"):
        return UserLine(number, None, ())
    words = [word.strip() for word in line.split("\t")]
    if len(words) not in {3, 4}:
        raise ParseError(
            f"line {number}: not NICKNAME, SUBJECT and TRUSTANCHOR with tabs between, and perhaps GROUP,GROUP",
            what="file of users",
        )
    try:
        user = User(*words[:3])
        check_new(user)
    except ParseError as error:
        raise ParseError(f"line {number}: {error.message}", what="file of users", hint=error.hint) from error
    groups = words[3].split(",") if len(words) == 4 and words[3] else []
    if any(not group.strip() for group in groups):
        raise ParseError(f"line {number}: a group without a name", what="file of users")
    return UserLine(number, user, tuple(dict.fromkeys(group.strip() for group in groups)))
