"""The command `myproxy-change-pass-phrase`: seal a stored credential under another pass phrase, on the server.

Agrees with gct:myproxy/source/myproxy_change_passphrase.c in options, prompts, output line and exit status (0, or 1 for
any error). An empty new pass phrase leaves the key on the server unsealed, and is taken only with --no_passphrase.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import UsageError
from gsi.cli.run import EXIT_OK, run
from gsi.cli.secret_source import parse_secret_source
from gsi.errors import CredentialError, CredentialProblem
from myproxy.cli.options import LongOptionParser, add_address_options, add_passphrase_options, add_server_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace
    from gsi.secret import Passphrase

__all__ = ["NEW_PROMPT", "OLD_PROMPT", "build_parser", "main", "read_new"]

PROG = "myproxy-change-pass-phrase"
OLD_PROMPT = "Enter (current) MyProxy pass phrase:"
NEW_PROMPT = "Enter new MyProxy pass phrase:"


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "change the pass phrase of a stored credential")
    add_server_options(parser)
    add_address_options(parser.section("Which credential"), credname="the credential's name (default: the unnamed one)")
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
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.no_passphrase and arguments.passout is not None:
        raise UsageError("--no_passphrase and --passout are mutually exclusive")

    from myproxy.cli.common import open_as_owner, passphrase_source, read_passphrase_from
    from myproxy.protocol.messages import Command, Request

    client, username = open_as_owner(arguments)
    source = passphrase_source(arguments)
    old = read_passphrase_from(source, OLD_PROMPT)
    request = Request(
        Command.CHANGE_PASSPHRASE,
        username,
        passphrase=old,
        new_passphrase=read_new(arguments),
        credential_name=arguments.credname,
    )
    client.change_passphrase(request)
    sys.stdout.write("Pass phrase changed.\n")
    return EXIT_OK


def read_new(arguments: Namespace) -> Passphrase:
    """Ask for the new pass phrase, or take the second line of where the old one came from.

    Raises:
        CredentialError: There is none, it is too short, or the two entries differ.
    """
    from gsi.secret import Passphrase
    from myproxy.cli.common import passphrase_source, read_passphrase_from

    if arguments.no_passphrase:
        return Passphrase(b"")
    old_source = passphrase_source(arguments)
    source = arguments.passout or (old_source if arguments.stdin_pass else None)
    line = 2 if source is not None and source == old_source else 1
    new = read_passphrase_from(source, NEW_PROMPT, twice=True, line=line, option="--passout")
    if not new:
        raise CredentialError(
            "the new pass phrase is empty",
            problem=CredentialProblem.WRONG_PASSPHRASE,
            hint="to leave the key on the server unsealed, say --no_passphrase",
        )
    return new
