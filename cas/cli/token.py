"""The command `cas-token`: fetch a capability as a token, for services that speak HTTP. New; GT had none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.common import add_service_options, load_credential, make_client
from gsi.cli.arguments import CommandParser, Completion, count
from gsi.cli.run import EXIT_OK, printable, run, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "cas-token"
MAX_MINUTES: Final = 6 * 60


def _minutes(text: str) -> int:
    return count(text, minimum=1, maximum=MAX_MINUTES)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "fetch a community's capability as a token")
    what = parser.section("What to ask for")
    what.value(
        "-f",
        "-b",
        dest="policyfile",
        metavar="FILE",
        completion=Completion.FILE,
        text="ask for no more than what this policy request file says (else for everything)",
    )
    what.value("-audience", metavar="URL", repeatable=True, text="the service it is meant for; may be repeated")
    what.value("-minutes", metavar="N", convert=_minutes, text="for how long (else as long as the server gives)")
    what.value(
        "-profile",
        metavar="NAME",
        choices=("wlcg", "scitokens", "rfc9068"),
        text="the text that it follows (else the server's own)",
    )
    what.flag("-bind", text="make it of use only with the proxy that asks for it")
    what.value("-fqan", metavar="FQAN", repeatable=True, text="these groups alone; may be repeated")
    what = parser.section("Where to put it")
    what.value(
        "-out", "-o", metavar="FILE", completion=Completion.FILE, text="a file (mode 0600); else standard output"
    )
    add_service_options(parser.section("Which server"))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from cas.cli.common import read_request
    from gsi.system.files import write_private

    rights = read_request(arguments.policyfile)
    client = make_client(arguments, load_credential(arguments))
    given = client.capability(
        form="jwt",
        rights=rights,
        audience=arguments.audience or None,
        lifetime=None if arguments.minutes is None else arguments.minutes * 60,
        profile=arguments.profile,
        bind_key=True if arguments.bind else None,
        fqans=list(arguments.fqan) or None,
    )
    if given.left_out:
        warn(PROG, f"the token does not speak of {printable(', '.join(given.left_out))}")
    if arguments.out:
        write_private(arguments.out, f"{given.text}\n".encode("ascii"))
    else:
        sys.stdout.write(f"{printable(given.text)}\n")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
