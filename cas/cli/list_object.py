"""The command `cas-list-object`: list what a community knows, as in GT 3.2 to 4.2."""

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

PROG: Final = "cas-list-object"
FORMS: Final = (
    "KIND",
    "object [NAMESPACE]",
    "serviceAction [TYPE]",
)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(
        PROG,
        "list what a community knows",
        FORMS,
        "of which kind; of objects and actions those of one namespace or service type",
    )
    add_question_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.wants_version:
        return print_version(PROG)

    from cas.cli.asking import list_names, print_lines, spec
    from cas.cli.words import Words
    from cas.policy.changes import encode_ref
    from cas.policy.model import Kind

    words = Words(PROG, FORMS, arguments.words)
    kind = words.take_kind([one for one in Kind if one is not Kind.SERVER])
    scope = words.take("NAME") if words.left and kind in {Kind.OBJECT, Kind.SERVICE_ACTION} else ""
    words.end()
    found = list_names(connect(arguments), kind, scope)
    if arguments.json:
        write_json([encode_ref(one) for one in found])
    else:
        print_lines(map(spec, found))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
