"""The commands `myproxy-admin-adduser` and `-addservice`: make a key, have its certificate signed, store both.

Agrees with gct:myproxy/source/myproxy-admin-adduser in options, prompts and exit status (0, or 1 for any error); `-s`,
which is only documented there, works. The pieces are those of `grid-cert-request`, `grid-ca-sign` and
`myproxy-admin-load-credential`, in this process. The key is on disk only while the command runs, locked by its pass
phrase, in a directory that nobody else enters, and wiped.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import Completion
from gsi.cli.run import EXIT_ERROR, EXIT_OK, printable, run
from gsi.cli.secret_source import parse_secret_source
from myproxy.cli.admin_load_credential import add_deposit_options, read_deposit, store
from myproxy.cli.desk import add_place_options
from myproxy.cli.options import LongOptionParser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "build_service_parser", "main", "main_service"]

USER_PROG = "myproxy-admin-adduser"
SERVICE_PROG = "myproxy-admin-addservice"
PREFIX = "myproxy_adduser_"
NAME_PROMPT = "Enter common name for the certificate: "
USERNAME_PROMPT = "Enter username [use DN by default]: "


def build_parser() -> LongOptionParser:
    """Return the parser of myproxy-admin-adduser."""
    return _build(USER_PROG, "make and store a user's credential")


def build_service_parser() -> LongOptionParser:
    """Return the parser of myproxy-admin-addservice."""
    return _build(SERVICE_PROG, "make and store a service's credential")


def _build(prog: str, summary: str) -> LongOptionParser:
    parser = LongOptionParser(prog, summary)
    add_place_options(parser.section("Which repository"), config_letter=None)
    ca = parser.section("The authority")
    ca.value(
        "--ca_dir",
        dest="ca_dir",
        metavar="DIRECTORY",
        completion=Completion.DIRECTORY,
        text="its directory (default: that of grid-ca-sign)",
    )
    ca.value(
        "-p",
        "--ca_passin",
        dest="ca_passin",
        metavar="SOURCE",
        convert=parse_secret_source,
        text="where the pass phrase of its key comes from: file:PATH, fd:NUMBER or stdin (default: the terminal)",
    )
    ca.flag("--force", dest="force", text="revoke a good certificate of the same subject, and make this in its place")
    what = parser.section("What is made")
    what.value(
        "-c", "--common_name", dest="common_name", metavar="NAME", text="the common name; asked for if not given"
    )
    what.value(
        "--passout",
        dest="passout",
        metavar="SOURCE",
        convert=parse_secret_source,
        text="where the pass phrase of the new key comes from: file:PATH, fd:NUMBER or stdin (default: the terminal)",
    )
    add_deposit_options(parser, what)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run myproxy-admin-adduser and return its exit status."""
    return run(build_parser, lambda arguments: _execute(arguments, is_service=False), argv)


def main_service(argv: Sequence[str] | None = None) -> int:
    """Run myproxy-admin-addservice and return its exit status."""
    return run(build_service_parser, lambda arguments: _execute(arguments, is_service=True), argv)


def _execute(arguments: Namespace, *, is_service: bool) -> int:
    import os
    import tempfile

    from gsi.cli import ca_sign, cert_request
    from gsi.system.wipe import wipe_file

    name = arguments.common_name or _ask(NAME_PROMPT)
    if is_service:
        if arguments.retrieve_key is None:
            arguments.given = (*arguments.given, ("regex_dn_match", None), ("retrieve_key", "*"))
        arguments.credname = arguments.credname or name
    with tempfile.TemporaryDirectory(prefix=PREFIX) as directory:
        place = os.path.join(directory, PREFIX)
        key = f"{place}key.pem"
        try:
            request = ["-cn", name, "-prefix", PREFIX, "-dir", directory]
            if arguments.no_passphrase:
                request.append("-nopassphrase")
            elif arguments.passout is not None:
                request += ["-passout", str(arguments.passout)]
            sign = ["-in", f"{place}cert_request.pem", "-out", f"{place}cert.pem", "-q"]
            if arguments.ca_dir is not None:
                sign += ["-dir", arguments.ca_dir]
            if arguments.ca_passin is not None:
                sign += ["-passin", str(arguments.ca_passin)]
            if arguments.force:
                sign.append("-force")
            if not _run(cert_request.main, request, "grid-cert-request"):
                return EXIT_ERROR
            if not _run(ca_sign.main, sign, "grid-ca-sign"):
                return EXIT_ERROR
            if arguments.username is None and not arguments.dn_as_username:
                arguments.username = _ask(USERNAME_PROMPT) or None
                arguments.dn_as_username = arguments.username is None
            arguments.certfile, arguments.keyfile = f"{place}cert.pem", key
            given = read_deposit(arguments)
        finally:
            if os.path.exists(key):
                wipe_file(key)
    told = store(arguments, given)
    if arguments.json:
        import json

        print(json.dumps(told))
    else:
        sys.stdout.write("Credential stored successfully\nCertificate subject is:\n")
        sys.stdout.write(f"{printable(str(told['subject']))}\n")
    return EXIT_OK


def _run(command: Callable[[Sequence[str]], int], words: Sequence[str], name: str) -> bool:
    """Run another command of ours; what it prints for people who run it themselves is left out."""
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        status = command(words)
    if status:
        sys.stderr.write(f"{name} failed.\n")
    return status == EXIT_OK


def _ask(prompt: str) -> str:
    """Ask for a line."""
    sys.stdout.write(prompt)
    sys.stdout.flush()
    return sys.stdin.readline().strip()
