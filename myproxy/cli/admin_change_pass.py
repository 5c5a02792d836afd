"""The command `myproxy-admin-change-pass`: seal a stored credential under another pass phrase, on the server's machine.

Agrees with gct:myproxy/source/myproxy_admin_change_passphrase.c in options, prompts, output line and exit status (0, or
1 for any error). Works beside running servers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import UsageError
from gsi.cli.run import EXIT_OK, run
from gsi.cli.secret_source import parse_secret_source
from myproxy.cli.desk import add_place_options
from myproxy.cli.options import LongOptionParser, add_passphrase_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "myproxy-admin-change-pass"


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "change the pass phrase of a stored credential")
    add_place_options(parser.section("Which repository"))
    which = parser.section("Which credential")
    which.value("-l", "--username", dest="username", metavar="NAME", text="the account name (default: $LOGNAME)")
    which.value("-k", "--credname", dest="credname", metavar="NAME", text="its name (default: the unnamed one)")
    proof = parser.section("Pass phrases")
    add_passphrase_options(proof, text="read the old and the new pass phrase from standard input, one per line")
    proof.value(
        "--passout",
        dest="passout",
        metavar="SOURCE",
        convert=parse_secret_source,
        text="read the new pass phrase from file:PATH, fd:NUMBER or stdin",
    )
    proof.flag(
        "-n", "--no_passphrase", dest="no_passphrase", text="let the new one be empty: the key then lies there unsealed"
    )
    parser.section("Output").flag("--json", dest="json", text="print a JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    if arguments.no_passphrase and arguments.passout is not None:
        raise UsageError("--no_passphrase and --passout are mutually exclusive")

    from myproxy.cli.change_pass_phrase import OLD_PROMPT, read_new
    from myproxy.cli.common import passphrase_source, read_passphrase_from
    from myproxy.cli.desk import find_username, open_deposit

    username = find_username(arguments)
    with open_deposit(arguments) as desk:
        old = read_passphrase_from(passphrase_source(arguments), OLD_PROMPT)
        desk.change_passphrase(username, arguments.credname, old, read_new(arguments))
    if arguments.json:
        import json

        print(json.dumps({"username": username, "name": arguments.credname, "changed": True}))
    else:
        sys.stdout.write("Pass phrase changed.\n")
    return EXIT_OK
