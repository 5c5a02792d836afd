"""The command `cas-group-admin`: create and delete groups of users, objects or actions, as in GT 3.2 to 4.2.

New is `user fqan`, by which VOMS-aware services are told of membership.
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
    from gsi.cli.arguments import CommandParser, Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "cas-group-admin"
FORMS: Final = (
    "user|object|serviceAction create GROUP NAME",
    "user|object|serviceAction delete NAME",
    "user fqan NAME FQAN|none",
)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(
        PROG,
        "create and delete groups of users, objects and actions",
        FORMS,
        "what to do; GROUP gets grantAll on the new one",
    )
    add_change_options(parser, versioned="the group that is deleted or changed")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    return change(PROG, arguments, FORMS, _read)


def _read(words: Words, _arguments: Namespace) -> Sequence[Change]:
    from cas.policy.changes import Enrol, Remove, SetFqan
    from cas.policy.model import ActionGroup, Kind, ObjectGroup, Ref, UserGroup

    what = words.pick("KIND", ("user", "object", "serviceAction"))
    forms: dict[str, type[UserGroup | ObjectGroup | ActionGroup]]
    forms = {"user": UserGroup, "object": ObjectGroup, "serviceAction": ActionGroup}
    kinds = {"user": Kind.USER_GROUP, "object": Kind.OBJECT_GROUP, "serviceAction": Kind.SERVICE_ACTION_GROUP}
    match words.pick("VERB", ("create", "delete", "fqan") if what == "user" else ("create", "delete")):
        case "create":
            owner = words.take("GROUP")
            return [Enrol(forms[what](words.take("NAME")), owner)]
        case "delete":
            return [Remove(Ref(kinds[what], words.take("NAME")))]
        case _:
            name, fqan = words.take("NAME"), words.take("FQAN")
            return [SetFqan(name, None if fqan == "none" else fqan)]


if __name__ == "__main__":
    sys.exit(main())
