"""The commands `cas-group-add-entry` and `cas-group-remove-entry`: who and what is in groups, as in GT 3.2 to 4.2.

New are groups in groups, and feeds: attributes that make whoever proves them a member of a user group.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.changing import add_change_options, change
from cas.cli.common import word_parser
from gsi.cli.run import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cas.cli.words import Words
    from cas.policy.changes import Change
    from cas.policy.model import Feed, Ref
    from gsi.cli.arguments import CommandParser, Namespace

__all__ = ["build_parser", "build_remove_parser", "main", "main_remove"]

PROG: Final = "cas-group-add-entry"
REMOVE_PROG: Final = "cas-group-remove-entry"
FORMS: Final = (
    "user GROUP NICKNAME",
    "user GROUP userGroup|voms|ldap NAME",
    "object GROUP KIND NAME...",
    "serviceAction GROUP TYPE ACTION",
    "serviceAction GROUP serviceActionGp NAME",
)


def build_parser() -> CommandParser:
    """Return the parser of `cas-group-add-entry`."""
    return _parser(PROG, "put something into a group")


def build_remove_parser() -> CommandParser:
    """Return the parser of `cas-group-remove-entry`."""
    return _parser(REMOVE_PROG, "take something out of a group")


def _parser(prog: str, summary: str) -> CommandParser:
    parser = word_parser(prog, summary, FORMS, "which group, and what")
    add_change_options(parser, versioned="the group")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cas-group-add-entry` and return its exit status."""
    return run(build_parser, lambda arguments: change(PROG, arguments, FORMS, _add), argv, short_lived=True)


def main_remove(argv: Sequence[str] | None = None) -> int:
    """Run `cas-group-remove-entry` and return its exit status."""
    return run(
        build_remove_parser, lambda arguments: change(REMOVE_PROG, arguments, FORMS, _remove), argv, short_lived=True
    )


def _add(words: Words, _arguments: Namespace) -> Sequence[Change]:
    from cas.policy.changes import AddFeed, AddMember
    from cas.policy.model import Feed

    group, member = _entry(words)
    return [AddFeed(group.name, member) if isinstance(member, Feed) else AddMember(group, member)]


def _remove(words: Words, _arguments: Namespace) -> Sequence[Change]:
    from cas.policy.changes import RemoveFeed, RemoveMember
    from cas.policy.model import Feed

    group, member = _entry(words)
    return [RemoveFeed(group.name, member) if isinstance(member, Feed) else RemoveMember(group, member)]


def _entry(words: Words) -> tuple[Ref, Ref | Feed]:
    from cas.policy.model import Feed, FeedSource, Kind, Ref, is_member_kind

    what = words.pick("KIND of group", ("user", "object", "serviceAction"))
    name = words.take("GROUP")
    if what == "object":
        inner = words.take_kind([kind for kind in Kind if is_member_kind(Kind.OBJECT_GROUP, kind)])
        return Ref(Kind.OBJECT_GROUP, name), words.take_ref(inner)
    if what == "user":
        group = Ref(Kind.USER_GROUP, name)
        if words.left < 2:
            return group, Ref(Kind.USER, words.take("NICKNAME"))
        match words.pick("KIND of member", ("user", "userGroup", "voms", "ldap")):
            case "voms" | "ldap" as source:
                return group, Feed(FeedSource(source), words.take("NAME"))
            case kind:
                return group, Ref(Kind(kind), words.take("NAME"))
    group = Ref(Kind.SERVICE_ACTION_GROUP, name)
    if words.is_next(Kind.SERVICE_ACTION_GROUP.value):
        words.take("KIND")
        return group, words.take_ref(Kind.SERVICE_ACTION_GROUP)
    return group, words.take_ref(Kind.SERVICE_ACTION)


if __name__ == "__main__":
    sys.exit(main())
