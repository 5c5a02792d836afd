"""The command `grid-sandbox`: a demo virtual organisation with every service, and a tour of it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gsi.cli.run import run

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "make_parser"]

PROG = "grid-sandbox"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser, from which the man page and the completion are made too."""
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="Make a demo virtual organisation, start its services on free loopback ports and show a tour.",
        allow_abbrev=False,
    )
    parser.add_argument("--once", action="store_true", help="end after the tour; exit 0 if every step worked, else 1")
    parser.add_argument(
        "--dir", metavar="DIR", help="use and keep DIR (must be empty) instead of a temporary directory"
    )
    parser.add_argument("--keep", action="store_true", help="leave the temporary directory behind")
    parser.add_argument("--no-tour", action="store_true", help="only start the services")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = make_parser().parse_args(argv)

    def body() -> int:
        from gsi.sandbox.run import run_sandbox

        good = run_sandbox(
            directory=arguments.dir, once=arguments.once, keep=arguments.keep, tour=not arguments.no_tour
        )
        return 0 if good else 1

    return run(PROG, body)
