"""The command `myproxy-destroy`: remove a stored credential from the server; the talking is `myproxy.client`'s.

Agrees with gct:myproxy/source/myproxy_destroy.c in options, output line and exit status (0, or 1 for any error).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.run import EXIT_OK, printable, run
from myproxy.cli.options import LongOptionParser, add_server_options, filled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "myproxy-destroy"


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "remove a credential from a MyProxy server")
    add_server_options(parser)
    which = parser.section("Which credential")
    which.value("-l", "--username", dest="username", metavar="NAME", text="the account name there (default: $LOGNAME)")
    which.flag("-d", "--dn_as_username", dest="dn_as_username", text="use your certificate's subject as account name")
    which.value(
        "-k",
        "--credname",
        dest="credname",
        metavar="NAME",
        convert=filled,
        text="the credential's name (default: the unnamed one)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.system.environ import read_locations
    from myproxy.cli.common import choose_username, load_anchors, open_client, read_address, require_credential

    address = read_address(arguments)
    locations = read_locations()
    credential = require_credential(locations)
    username = choose_username(arguments, credential)
    open_client(arguments, credential, load_anchors(locations), address).destroy(username, arguments.credname)
    which = (
        "Default MyProxy credential"
        if arguments.credname is None
        else f"MyProxy credential '{printable(arguments.credname)}'"
    )
    sys.stdout.write(f"{which} for user {printable(username)} was successfully removed.\n")
    return EXIT_OK
