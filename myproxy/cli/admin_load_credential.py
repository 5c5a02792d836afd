"""The command `myproxy-admin-load-credential`: put a certificate and its key into the store, on the server's machine.

Agrees with gct:myproxy/source/myproxy_admin_load_credential.c in options, output line and exit status (0, or 1 for any
error). As root it acts as the owner of the storage directory that was named; the C command takes the owner of
/var/lib/myproxy instead. The files are read before that, as whoever called.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from gsi.cli.arguments import Completion, UsageError
from gsi.cli.run import EXIT_OK, run
from myproxy.cli.desk import add_place_options
from myproxy.cli.options import LongOptionParser, add_address_options, hours
from myproxy.cli.policies import add_policy_options, read_policies
from myproxy.cli.store import add_lock_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace, Section
    from myproxy.protocol.messages import Request

__all__ = ["Deposit", "add_deposit_options", "build_parser", "main", "read_deposit", "store"]

PROG = "myproxy-admin-load-credential"
DEFAULT_PROXY_HOURS = 12


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "put a credential into a MyProxy repository")
    add_place_options(parser.section("Which repository"), config_letter=None)
    which = parser.section("What is stored")
    which.value(
        "-c",
        "--certfile",
        dest="certfile",
        metavar="FILE",
        completion=Completion.FILE,
        text="the certificate, with those above it (required)",
    )
    which.value(
        "-y",
        "--keyfile",
        dest="keyfile",
        metavar="FILE",
        completion=Completion.FILE,
        text="its private key, stored under the pass phrase that the file has (required)",
    )
    add_deposit_options(parser, which)
    return parser


def add_deposit_options(parser: LongOptionParser, which: Section) -> None:
    """Add the options that say where a credential goes and who may have it."""
    add_address_options(which, credname="a name for the credential (default: none)", dn="the certificate's subject")
    which.value("-K", "--creddesc", dest="creddesc", metavar="TEXT", text="a description of the credential")
    which.value(
        "-t",
        "--proxy_lifetime",
        dest="proxy_lifetime",
        metavar="HOURS",
        convert=hours,
        text="the most that proxies made from it may live (default 12)",
    )
    add_lock_options(which, "store")
    add_policy_options(parser.section("Who may have it"), keys=True)
    parser.section("Output").flag("--json", dest="json", text="print a JSON object")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    missing = [f"--{name}" for name in ("certfile", "keyfile") if getattr(arguments, name) is None]
    if missing:
        raise UsageError(f"{' and '.join(missing)} must be given")
    told = store(arguments, read_deposit(arguments))
    if arguments.json:
        import json

        print(json.dumps(told))
    else:
        sys.stdout.write("Credential stored successfully\n")
    return EXIT_OK


class Deposit(NamedTuple):
    """What is to be stored."""

    request: Request
    text: bytes
    subject: str


def read_deposit(arguments: Namespace) -> Deposit:
    """Read the files that the options name, as whoever called.

    Raises:
        GridError: They are not what they should be.
    """
    from datetime import timedelta

    from gsi.certificate import Certificate
    from gsi.names import oneline
    from gsi.pem import split_pem
    from gsi.system.environ import read_locations
    from myproxy.cli.desk import find_username
    from myproxy.cli.store import read_files
    from myproxy.protocol.messages import Command, Request

    policies = read_policies(arguments.given)
    text = read_files(PROG, arguments, read_locations(), policies)
    first = next(block for block in split_pem(text, what="certificate") if block.label == "CERTIFICATE")
    subject = oneline(Certificate.parse(first.data).subject_der)
    lifetime: timedelta | None = arguments.proxy_lifetime
    request = Request(
        Command.STORE,
        subject if arguments.dn_as_username and arguments.username is None else find_username(arguments),
        lifetime=timedelta(hours=DEFAULT_PROXY_HOURS) if lifetime is None else lifetime,
        retriever=policies.get("retriever"),
        renewer=policies.get("renewer"),
        key_retrievers=policies.get("key"),
        trusted_retriever=policies.get("trusted"),
        credential_name=arguments.credname,
        description=arguments.creddesc,
    )
    return Deposit(request, text, subject)


def store(arguments: Namespace, given: Deposit) -> dict[str, object]:
    """Store it, as root in the name of the directory's owner; return what there is to tell.

    Raises:
        GridError: It cannot be done.
    """
    from myproxy.cli.desk import open_deposit

    with open_deposit(arguments) as desk:
        owner = desk.load(given.request, given.text)
    request = given.request
    return {"username": request.username, "name": request.credential_name, "owner": owner, "subject": given.subject}
