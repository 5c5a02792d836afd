"""The command `cas-find-policies`: list the statements that name something, as in GT 3.2 to 4.2."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.asking import add_question_options, ask_about, objects, print_lines
from cas.cli.changing import print_version
from cas.cli.common import word_parser, write_json
from gsi.cli.run import EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import CommandParser, Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "cas-find-policies"
FORMS: Final = (
    "KIND NAME",
    "object NAMESPACE NAME",
    "serviceAction TYPE ACTION",
    "server",
)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(PROG, "list the statements that name something", FORMS, "which thing")
    add_question_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.wants_version:
        return print_version(PROG)

    from cas.policy.changes import decode_statement

    statements = objects(ask_about("/cas/v1/policies", PROG, FORMS, arguments).get("statements"))
    if arguments.json:
        write_json(statements)
    else:
        print_lines(str(decode_statement(one)) for one in statements)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
