"""The command `myproxy-admin-otp`: give users authenticators for one-time codes, on the server's machine.

New; no C command does this. Exit status 0, or 1 for any error. Works beside running servers. The secret is shown once,
on standard output, and never again.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import UsageError
from gsi.cli.run import EXIT_OK, printable, run
from gsi.cli.secret_source import parse_secret_source
from myproxy.cli.desk import add_place_options, find_username
from myproxy.cli.options import LongOptionParser, filled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "myproxy-admin-otp"
DEFAULT_ISSUER = "MyProxy"


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "let MyProxy users log on with one-time codes")
    add_place_options(parser.section("Which server"))
    what = parser.section("What to do (default: give a user a new secret, in place of any former one)")
    what.value("-l", "--username", dest="username", metavar="NAME", text="the account name (default: $LOGNAME)")
    what.flag("-r", "--remove", dest="remove", text="take the user's secret away")
    what.flag("-L", "--list", dest="list", text="show who has a secret")
    secret = parser.section("The secret")
    secret.value(
        "-i",
        "--issuer",
        dest="issuer",
        metavar="TEXT",
        convert=filled,
        text=f"what the authenticator shows beside the account ({DEFAULT_ISSUER})",
    )
    secret.value(
        "-a",
        "--algorithm",
        dest="algorithm",
        metavar="HASH",
        choices=("SHA1", "SHA256", "SHA512"),
        default="SHA1",
        text="SHA1 (default, which every authenticator has), SHA256 or SHA512",
    )
    secret.value(
        "--secret",
        dest="secret",
        metavar="SOURCE",
        convert=parse_secret_source,
        text="the secret of a hardware token, in base32, from file:PATH, fd:NUMBER or stdin",
    )
    secret.flag("-q", "--quiet", dest="quiet", text="print the otpauth:// address alone")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.remove and arguments.list:
        raise UsageError("--remove and --list are mutually exclusive")
    if arguments.list and arguments.username is not None:
        raise UsageError("--list shows everybody; leave --username out")
    username = "" if arguments.list else find_username(arguments)
    secret = None if arguments.secret is None or arguments.remove else _read_secret(arguments)

    from myproxy.cli.desk import open_codes

    with open_codes(arguments) as desk:
        if arguments.list:
            for name in desk.usernames():
                sys.stdout.write(f"{printable(name)}\n")
            return EXIT_OK
        if arguments.remove:
            desk.remove(username)
            sys.stdout.write(f"User {printable(username)} has no one-time codes any more.\n")
            return EXIT_OK
        made = desk.enrol(
            username, issuer=arguments.issuer or DEFAULT_ISSUER, algorithm=arguments.algorithm, secret=secret
        )
    if not arguments.quiet:
        sys.stdout.write(f"Secret of user {printable(username)}: {made.secret.reveal().decode()}\n")
    sys.stdout.write(f"{made.uri.reveal().decode()}\n")
    return EXIT_OK


def _read_secret(arguments: Namespace) -> bytes:
    import base64
    import binascii

    from gsi.cli.secret_source import read_secret

    text = read_secret(arguments.secret, "Enter the secret in base32:", option="--secret").reveal()
    text = bytes(byte for byte in text.upper() if byte not in b" -=")
    try:
        return base64.b32decode(text + b"=" * (-len(text) % 8))
    except binascii.Error:
        raise UsageError("the secret is not base32 (letters A to Z, digits 2 to 7)") from None
