"""The command `myproxy-info`: what the server holds for the user; the talking is `myproxy.client`'s.

Agrees with gct:myproxy/source/myproxy_info.c in options, output lines and exit status (0, or 1 for any error).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.run import EXIT_OK, printable, run
from myproxy.cli.listing import as_json, describe
from myproxy.cli.options import LongOptionParser, add_address_options, add_server_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "myproxy-info"


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "show the credentials that a MyProxy server holds for you")
    add_server_options(parser)
    add_address_options(parser.section("Which credential"), credname="only the credential of this name (default: all)")
    parser.section("How it is shown").flag("--json", dest="json", text="print one JSON array")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.system.clock import now
    from myproxy.cli.common import open_as_owner

    client, username = open_as_owner(arguments)
    credentials = client.info(username, arguments.credname)
    moment = now()
    if arguments.json:
        import json

        print(json.dumps([as_json(username, info, moment) for info in credentials], indent=2))
        return EXIT_OK
    sys.stdout.write(f"username: {printable(username)}\n")
    for info in credentials:
        sys.stdout.write(describe(info, moment))
    return EXIT_OK
