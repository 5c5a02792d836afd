"""The command `myproxy-info`: what the server holds for the user; the talking is `myproxy.client`'s.

Agrees with gct:myproxy/source/myproxy_info.c in options, output lines and exit status (0, or 1 for any error).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.run import EXIT_OK, printable, run
from myproxy.cli.listing import as_json, describe, describe_history, history_as_json
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
    if arguments.json or arguments.debug:
        account = client.account(username, arguments.credname)
        credentials, history = account.credentials, account.history
    else:
        credentials, history = client.info(username, arguments.credname), None
    moment = now()
    if arguments.json:
        import json

        told = [as_json(username, info, moment) | history_as_json(info, history) for info in credentials]
        print(json.dumps(told, indent=2))
        return EXIT_OK
    sys.stdout.write(f"username: {printable(username)}\n")
    for info in credentials:
        sys.stdout.write(describe(info, moment))
    if history:
        sys.stdout.write(f"history:\n{describe_history(history)}")
    return EXIT_OK
