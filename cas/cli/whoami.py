"""The command `cas-whoami`: print what a community calls the caller, as in GT 3.2 to 4.2."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.asking import add_question_options
from cas.cli.changing import print_version
from cas.cli.common import connect, write_json
from gsi.cli.arguments import CommandParser
from gsi.cli.run import EXIT_OK, printable, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "cas-whoami"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "print what a community calls you")
    add_question_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.wants_version:
        return print_version(PROG)
    client = connect(arguments)
    if arguments.json:
        write_json(client.call("GET", "/cas/v1/whoami"))
    else:
        sys.stdout.write(f"{printable(client.whoami())}\n")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
