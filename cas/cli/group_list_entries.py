"""The command `cas-group-list-entries`: list what is in a group, as in GT 3.2 to 4.2."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.asking import add_question_options
from cas.cli.changing import print_version
from cas.cli.common import connect, word_parser, write_json
from gsi.cli.run import EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import CommandParser, Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "cas-group-list-entries"
FORMS: Final = (
    "user NAME",
    "object NAME",
    "serviceAction NAME",
)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(PROG, "list what is in a group", FORMS, "which group")
    add_question_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.wants_version:
        return print_version(PROG)

    from cas.cli.asking import list_members, print_lines, spec
    from cas.cli.words import Words
    from cas.policy.changes import encode_ref
    from cas.policy.model import Kind, Ref

    kinds = {"user": Kind.USER_GROUP, "object": Kind.OBJECT_GROUP, "serviceAction": Kind.SERVICE_ACTION_GROUP}
    words = Words(PROG, FORMS, arguments.words)
    what = words.pick("KIND of group", tuple(kinds))
    group = Ref(kinds[what], words.take("NAME"))
    words.end()
    client = connect(arguments)
    members = list(list_members(client, group))
    feeds = client.call("POST", "/cas/v1/get", {"name": encode_ref(group)}).get("feeds") if what == "user" else []
    if arguments.json:
        write_json({"members": [encode_ref(one) for one in members], "feeds": feeds})
    else:
        plain = {Kind.USER, Kind.SERVICE_ACTION} if what != "object" else frozenset()
        print_lines(str(one) if one.kind not in plain else spec(one) for one in members)
        print_lines(" ".join(one) for one in (feeds if isinstance(feeds, list) else []))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
