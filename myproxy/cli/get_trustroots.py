"""The command `myproxy-get-trustroots`: install the CA certificates, policies and CRLs that a server hands out.

Agrees with gct:myproxy/source/myproxy_get_trustroots.c in options, output line and exit status (0, or 1 for any
error). With a proxy at hand that the server refuses, it tries once more without one, as the C command does.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.run import EXIT_OK, printable, run, warn
from gsi.errors import AuthenticationError, CredentialError
from myproxy.cli.options import LongOptionParser, add_server_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "myproxy-get-trustroots"


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "install the trust roots of a MyProxy server")
    add_server_options(parser)
    trust = parser.section("Trust roots")
    trust.flag(
        "-b",
        "--bootstrap",
        dest="bootstrap",
        text="believe the server that answers, and show its CAs' fingerprints (so also where there are no trust roots)",
    )
    trust.flag("-q", "--quiet", dest="quiet", text="print only errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.system.environ import read_locations
    from myproxy.cli.common import find_credential, open_client, read_address
    from myproxy.cli.trustroots import install, load_or_bootstrap

    address = read_address(arguments)
    locations = read_locations()
    try:
        credential = find_credential(locations)
    except CredentialError as error:
        warn(PROG, f"asking without a certificate: {error.message}", hint=error.hint)
        credential = None
    anchors = load_or_bootstrap(arguments, locations, address, installs=True, force=arguments.bootstrap)
    try:
        files = open_client(arguments, credential, anchors, address).get_trust_roots()
    except AuthenticationError as error:
        if credential is None:
            raise
        warn(PROG, f"asking without a certificate: {error.message}")
        files = open_client(arguments, None, anchors, address).get_trust_roots()
    directory = install(PROG, locations, files)
    if files and not arguments.quiet:
        sys.stdout.write(f"Trust roots have been installed in {printable(directory)}.\n")
    return EXIT_OK
