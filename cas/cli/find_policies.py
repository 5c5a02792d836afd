"""The command `cas-find-policies`: list the statements that name something, as in GT 3.2 to 4.2."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.asking import add_question_options
from cas.cli.changing import print_version
from cas.cli.common import connect, write_json
from gsi.cli.arguments import CommandParser, Completion
from gsi.cli.run import EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

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
    parser = CommandParser(
        PROG, "list the statements that name something", usage=[f"[options] {form}".rstrip() for form in FORMS]
    )
    parser.operand("WORD", dest="words", many=True, completion=Completion.NOTHING, text="which thing")
    add_question_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.wants_version:
        return print_version(PROG)

    from cas.cli.asking import objects, print_lines
    from cas.cli.words import Words
    from cas.policy.changes import decode_statement, encode_ref

    words = Words(PROG, FORMS, arguments.words)
    ref = words.take_ref(words.take_kind())
    words.end()
    answer = connect(arguments).call("POST", "/cas/v1/policies", {"name": encode_ref(ref)})
    statements = objects(answer.get("statements"))
    if arguments.json:
        write_json(statements)
    else:
        print_lines(str(decode_statement(one)) for one in statements)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
