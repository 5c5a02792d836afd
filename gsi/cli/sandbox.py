"""The command `grid-sandbox`: a demo virtual organisation and a tour of it; `gsi.sandbox` does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.cli.arguments import CommandParser, Completion
from gsi.cli.run import EXIT_ERROR, EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "grid-sandbox"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "start a demo virtual organisation and show a tour of it", usage=("[options]",))
    section = parser.section("What to do")
    section.flag("-once", text="end after the tour: exit 0 if every step worked, else 1")
    section.flag("-no-tour", dest="no_tour", text="only start the services")
    section.flag("-kerberos", text="add a private Kerberos realm and its authority, where an MIT KDC is installed")
    section = parser.section("Where")
    section.value(
        "-dir",
        dest="directory",
        metavar="DIR",
        completion=Completion.DIRECTORY,
        text="use and keep DIR, which must be empty, instead of a private temporary directory",
    )
    section.flag("-keep", text="leave the temporary directory behind")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    from gsi.sandbox.run import run_sandbox

    good = run_sandbox(
        directory=arguments.directory,
        once=arguments.once,
        keep=arguments.keep,
        tour=not arguments.no_tour,
        kerberos=arguments.kerberos,
    )
    return EXIT_OK if good else EXIT_ERROR
