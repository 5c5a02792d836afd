"""The command `myproxy-destroy`: remove a stored credential from the server; the talking is `myproxy.client`'s.

Agrees with gct:myproxy/source/myproxy_destroy.c in options, output line and exit status (0, or 1 for any error).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.run import EXIT_OK, printable, run
from myproxy.cli.options import LongOptionParser, add_address_options, add_server_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "myproxy-destroy"


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "remove a credential from a MyProxy server")
    add_server_options(parser)
    add_address_options(parser.section("Which credential"), credname="the credential's name (default: the unnamed one)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from myproxy.cli.common import open_as_owner

    client, username = open_as_owner(arguments)
    client.destroy(username, arguments.credname)
    which = (
        "Default MyProxy credential"
        if arguments.credname is None
        else f"MyProxy credential '{printable(arguments.credname)}'"
    )
    sys.stdout.write(f"{which} for user {printable(username)} was successfully removed.\n")
    return EXIT_OK
