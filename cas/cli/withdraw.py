"""The command `cas-withdraw`: withdraw a capability before its time. New; GT had none."""

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

PROG: Final = "cas-withdraw"
FORMS: Final = ("ID",)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(
        PROG,
        "withdraw a capability before its time",
        FORMS,
        "its identifier in hex: from the audit, from what was issued, or the jti of a token",
    )
    parser.section("Why").value("-reason", metavar="TEXT", text="why, for the audit")
    add_question_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.wants_version:
        return print_version(PROG)

    from cas.cli.asking import print_lines
    from cas.cli.words import Words

    words = Words(PROG, FORMS, arguments.words)
    body = {"id": words.take("ID")} | ({"reason": arguments.reason} if arguments.reason else {})
    words.end()
    answer = connect(arguments).call("POST", "/cas/v1/withdraw", body)
    if arguments.json:
        write_json(answer)
    else:
        print_lines([f"{answer.get('id')} is in the list of withdrawn capabilities until {answer.get('until')}."])
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
