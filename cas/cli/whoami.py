"""The command `cas-whoami`: print what a community calls the caller, as in GT 3.2 to 4.2."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.common import add_service_options, load_credential, make_client
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
    add_service_options(parser.section("Which server"))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    client = make_client(arguments, load_credential(arguments))
    sys.stdout.write(f"{printable(client.whoami())}\n")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
