"""The command `cas-who-can`: say who may do something now. New; GT had none."""

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

PROG: Final = "cas-who-can"
FORMS: Final = (
    "TYPE/ACTION KIND NAME",
    "TYPE/ACTION object NAMESPACE NAME",
    "TYPE/ACTION server",
)
WHO_CAN: Final = "/cas/v1/who-can"
PAGE: Final = 1000
"""As many names as the server gives at a time."""


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(PROG, "say who may do something", FORMS, "what, and on what")
    section = parser.section("About whom")
    section.flag("-limited", text="with a limited proxy")
    section.flag("-first", text="no more than the first thousand")
    add_question_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.wants_version:
        return print_version(PROG)

    from cas.cli.asking import objects, print_lines, texts
    from cas.cli.words import Words
    from cas.policy.changes import decode_statement, encode_ref
    from cas.policy.model import Kind, parse_ref

    words = Words(PROG, FORMS, arguments.words)
    action = parse_ref(Kind.SERVICE_ACTION, [words.take("TYPE/ACTION")])
    on = words.take_ref(words.take_kind())
    words.end()
    body = {"action": encode_ref(action), "on": encode_ref(on), "limited": arguments.limited}
    client = connect(arguments)
    answer = client.call("POST", WHO_CAN, body)
    users = page = texts(answer.get("users"))
    while not arguments.first and len(page) >= PAGE:
        page = texts(client.call("POST", WHO_CAN, {**body, "after": page[-1]}).get("users"))
        users = users + page
    if arguments.json:
        write_json({**answer, "users": users})
        return EXIT_OK
    print_lines(users)
    if len(users) != answer.get("total"):
        print_lines([f"({len(users)} of {answer.get('total')})"])
    feeds = answer.get("feeds")
    print_lines(f"and whoever proves {' '.join(one)}" for one in (feeds if isinstance(feeds, list) else []))
    conditional = [decode_statement(one) for one in objects(answer.get("conditional"))]
    print_lines(f"if it holds: {one}" for one in conditional)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
