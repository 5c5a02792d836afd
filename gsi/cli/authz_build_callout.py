"""The command `gsi-authz-build-callout`: compile the callout library, install it, write `gsi-authz.conf`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, count
from gsi.cli.run import EXIT_OK, run, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "gsi-authz-build-callout"
DEFAULT_SOCKET: Final = "/run/gsi-authz/socket"


def _milliseconds(text: str) -> int:
    return count(text, minimum=1, maximum=600000)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "build the library with which C services ask")
    section = parser.section("What to make")
    section.value(
        "-install",
        metavar="DIRECTORY",
        completion=Completion.DIRECTORY,
        text="where to put the library, gsi-authz.conf and gridftp-authz.conf; nobody else may be able to write there",
    )
    section.flag("-print-conf", text="print gsi-authz.conf for a library in that directory, and build nothing")
    section.flag(
        "-disable-renames", text="disable renames in gridftp-authz.conf; the daemon's configuration has to say so, too"
    )
    section.value("-cc", metavar="COMMAND", text="the compiler, with options if need be (cc)")
    section = parser.section("What gsi-authz.conf says")
    section.value("-socket", metavar="PATH", default=DEFAULT_SOCKET, text=f"the daemon's socket ({DEFAULT_SOCKET})")
    section.value("-server-user", metavar="NAME", default="root", text="the account that the daemon runs as (root)")
    section.value(
        "-timeout",
        metavar="MS",
        convert=_milliseconds,
        default=10000,
        text="how long a service waits for an answer, in milliseconds (10000)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.authz.callout.build import (
        LIBRARY_NAME,
        ConfOptions,
        compile_library,
        render_conf,
        render_gridftp_conf,
    )
    from gsi.authz.callout.config import uids_of
    from gsi.cli.arguments import UsageError
    from gsi.system.files import write_public

    if not arguments.install:
        raise UsageError("-install names no directory", hint=f"'{PROG} -help' lists the options")
    directory = os.path.abspath(arguments.install)
    (uid,) = uids_of([arguments.server_user])
    options = ConfOptions(
        library=os.path.join(directory, LIBRARY_NAME),
        socket=arguments.socket,
        server_uid=uid,
        timeout_ms=arguments.timeout,
    )
    conf = render_conf(options)
    if arguments.print_conf:
        sys.stdout.write(conf)
        return EXIT_OK
    sys.stdout.write(f"{compile_library(directory, compiler=arguments.cc)}\n")
    for name, text in (
        ("gsi-authz.conf", conf),
        ("gridftp-authz.conf", render_gridftp_conf(renames=not arguments.disable_renames)),
    ):
        path = os.path.join(directory, name)
        write_public(path, text.encode())
        sys.stdout.write(f"{path}\n")
    if not os.path.exists(arguments.socket):
        warn(PROG, f"nothing listens on {arguments.socket} yet", hint="start gsi-authz-server before the services")
    return EXIT_OK
