"""The command `kxdestroy`: take the certificate and its key out of a credential cache; `kca.stores` does it.

The tickets stay. `kdestroy` removes the whole cache, certificate and key with it; proxies made with it are files of
their own (grid-proxy-destroy).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion
from gsi.cli.run import EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "kxdestroy"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "remove the certificate of kx509 and its key from the cache")
    section = parser.section("Which cache")
    section.value(
        "-cache",
        "-c",
        metavar="CCACHE",
        completion=Completion.FILE,
        text="the credential cache (KRB5CCNAME, or what krb5.conf says)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.errors import CredentialError, CredentialProblem
    from kca.stores import open_store

    with open_store(arguments.cache) as store:
        if not store.remove():
            raise CredentialError(
                f"no certificate in the credential cache {store.name}",
                problem=CredentialProblem.MISSING,
                hint="-cache or KRB5CCNAME names another cache",
            )
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
