"""The command `myproxy-admin-export`: write the repository as a store of the C server, on the server's machine.

Exit status 0 when every credential was written, 2 when some could not be (each is named with its user), 1 for any
error. What can be written is the matter of `myproxy.repository.exporting`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import Completion, UsageError
from gsi.cli.run import EXIT_OK, printable, run
from myproxy.cli.desk import add_place_options
from myproxy.cli.options import LongOptionParser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace
    from myproxy.repository.exporting import ExportReport

__all__ = ["EXIT_INCOMPLETE", "build_parser", "main"]

PROG: Final = "myproxy-admin-export"
EXIT_INCOMPLETE: Final = 2


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "write a store of the C server")
    what = parser.section("Where to")
    what.value(
        "-t",
        "--to",
        dest="target",
        metavar="DIRECTORY",
        completion=Completion.DIRECTORY,
        text="the directory to write; made if missing, and only its owner may be able to write it",
    )
    what.flag("-r", "--replace", dest="replace", text="replace other credentials that are there already")
    add_place_options(parser.section("Which repository"))
    parser.section("Output").flag("--json", dest="json", text="print one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    import os

    from myproxy.cli.desk import open_upkeep

    if not arguments.target:
        raise UsageError("--to says which directory to write", hint=f"'{PROG} --help' lists the options")
    target = os.path.abspath(arguments.target)

    def tell(report: ExportReport) -> None:
        if arguments.debug:
            print(f"{PROG}: {report.seen} looked at, {report.written} written", file=sys.stderr)

    with open_upkeep(arguments) as desk:
        report = desk.export_to(target, replace=arguments.replace, progress=tell)
    if arguments.json:
        import json

        print(json.dumps(_as_json(report), indent=2))
    else:
        for left in report.left:
            name = "default" if left.name is None else f"name: {printable(left.name)}"
            who = f"user {printable(left.username)} ({name}), owner {printable(left.owner)}"
            print(f"{PROG}: not written: {who}: {printable(left.reason)}", file=sys.stderr)
        noun = "credential" if report.written == 1 else "credentials"
        print(f"{report.written} {noun} written, {report.known} were there already, {len(report.left)} not.")
    return EXIT_INCOMPLETE if report.left else EXIT_OK


def _as_json(report: ExportReport) -> dict[str, object]:
    return {
        "written": report.written,
        "known": report.known,
        "not_written": [
            {"username": left.username, "name": left.name, "owner": left.owner, "reason": left.reason}
            for left in report.left
        ],
    }
