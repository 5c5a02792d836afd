"""The command `kxlist`: the certificate in a credential cache; `kca.stores` reads it.

Agrees with Michigan's kxlist in `-o`, `-p` and the lines of its output; shows what Heimdal's programs have put there,
too.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion
from gsi.cli.run import EXIT_OK, printable, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace
    from kca.stores import Stored

__all__ = ["build_parser", "main"]

PROG: Final = "kxlist"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "show the certificate that kx509 has put into the credential cache")
    section = parser.section("Which cache")
    section.value(
        "-cache",
        "-c",
        metavar="CCACHE",
        completion=Completion.FILE,
        text="the credential cache (KRB5CCNAME, or what krb5.conf says)",
    )
    section = parser.section("What to do with it")
    section.value(
        "-o",
        dest="out",
        metavar="FILE",
        completion=Completion.FILE,
        text="write certificate, key and chain to a file; - is standard output",
    )
    section.flag("-p", dest="to_proxy", text="write them where grid programs look for a proxy (X509_USER_PROXY)")
    section.flag("-quiet", "-q", text="print only errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.errors import CredentialError, CredentialProblem
    from gsi.system.credential_files import save_proxy
    from gsi.system.environ import read_locations
    from kca.stores import open_store

    with open_store(arguments.cache) as store:
        found = store.find_all()
        if not found:
            raise CredentialError(
                f"no certificate in the credential cache {store.name}",
                problem=CredentialProblem.MISSING,
                hint="kx509 gets one",
            )
    if not arguments.quiet and arguments.out != "-":
        for one in found:
            _show(one)
    newest = max(found, key=lambda one: one.chain[0].not_after)
    if arguments.out == "-":
        sys.stdout.buffer.write(newest.credential.encode())
    elif arguments.out:
        save_proxy(arguments.out, newest.credential)
    if arguments.to_proxy:
        save_proxy(read_locations().proxy, newest.credential)
    return EXIT_OK


def _show(stored: Stored) -> None:
    from gsi.lifetime import asctime
    from gsi.names import oneline
    from gsi.trust.hashes import subject_hash

    certificate = stored.chain[0]
    serial = f"{certificate.serial:X}"
    sys.stdout.write(
        f"Service {stored.form}\n"
        f" issuer= {printable(oneline(certificate.issuer_der))}\n"
        f" subject= {printable(oneline(certificate.subject_der))}\n"
        f" serial={serial.zfill(len(serial) + len(serial) % 2)}\n"
        f" hash={subject_hash(certificate.subject_der)}\n"
        f" valid until {asctime(certificate.not_after)}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
