"""The command `cas-why`: say whether somebody may do something, and by which statements. New; GT had none."""

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

PROG: Final = "cas-why"
FORMS: Final = (
    "TYPE/ACTION KIND NAME",
    "TYPE/ACTION object NAMESPACE NAME",
    "TYPE/ACTION server",
)
EXIT_DENIED: Final = 2
"""They may not; 1 is for what could not be found out."""


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(PROG, "say why somebody may do something, or may not", FORMS, "what, and on what")
    section = parser.section("About whom")
    section.flag("-limited", text="with a limited proxy")
    section.value("-user", metavar="NICKNAME", text="who; you if it is not said")
    add_question_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.wants_version:
        return print_version(PROG)

    from cas.cli.asking import print_lines, texts
    from cas.cli.words import Words
    from cas.policy.changes import encode_ref
    from cas.policy.model import Kind, parse_ref

    words = Words(PROG, FORMS, arguments.words)
    action = parse_ref(Kind.SERVICE_ACTION, [words.take("TYPE/ACTION")])
    on = words.take_ref(words.take_kind())
    words.end()
    body = {"action": encode_ref(action), "on": encode_ref(on), "limited": arguments.limited}
    if arguments.user:
        body["user"] = arguments.user
    answer = connect(arguments).call("POST", "/cas/v1/why", body)
    permitted = answer.get("permitted") is True
    if arguments.json:
        write_json(answer)
    else:
        print_lines([f"{answer.get('user')}: {'yes' if permitted else 'no'}"])
        print_lines(f"  {line}" for line in texts(answer.get("lines")))
    return EXIT_OK if permitted else EXIT_DENIED


if __name__ == "__main__":
    sys.exit(main())
