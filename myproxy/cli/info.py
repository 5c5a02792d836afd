"""The command `myproxy-info`: what the server holds for the user; the talking is `myproxy.client`'s.

Agrees with gct:myproxy/source/myproxy_info.c in options, output lines and exit status (0, or 1 for any error).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.run import EXIT_OK, printable, run
from myproxy.cli.options import LongOptionParser, add_address_options, add_server_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.cli.arguments import Namespace
    from myproxy.protocol.messages import CredentialInfo

__all__ = ["build_parser", "main"]

PROG = "myproxy-info"


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "show the credentials that a MyProxy server holds for you")
    add_server_options(parser)
    add_address_options(parser.section("Which credential"), credname="only the credential of this name (default: all)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.system.clock import now
    from myproxy.cli.common import open_as_owner

    client, username = open_as_owner(arguments)
    credentials = client.info(username, arguments.credname)
    sys.stdout.write(f"username: {printable(username)}\n")
    for info in credentials:
        sys.stdout.write(_describe(info, now()))
    return EXIT_OK


def _describe(info: CredentialInfo, now: datetime) -> str:
    """Lay out one credential as the C command does."""
    from gsi.lifetime import format_timeleft

    lines = [("owner", info.owner)]
    lines += [
        (f"  {label}", value)
        for label, value in (
            ("name", info.name),
            ("description", info.description),
            ("retrieval policy", info.retriever),
            ("renewal policy", info.renewer),
            ("key retrieval policy", info.key_retrievers),
            ("trusted retrieval policy", info.trusted_retriever),
            ("locked", info.lock_message),
        )
        if value is not None
    ]
    lines.append(("  timeleft", format_timeleft(info.end_time - now)))
    return "".join(f"{label}: {printable(value)}\n" for label, value in lines)
