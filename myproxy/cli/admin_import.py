"""The command `myproxy-admin-import`: take over a store of the C server, on the server's machine.

The files are only read. Works beside a running server of ours, and may be interrupted and done again. Exit status 0
when everything is there, 2 when some credentials could not be taken over (each is named), 1 for any error.
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
    from myproxy.repository.importing import ImportReport
    from myproxy.repository.spool import SpoolFault

__all__ = ["EXIT_INCOMPLETE", "build_parser", "main"]

PROG: Final = "myproxy-admin-import"
EXIT_INCOMPLETE: Final = 2


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "take over a store of the C server")
    what = parser.section("What to import")
    what.value(
        "-f",
        "--from",
        dest="source",
        metavar="DIRECTORY",
        completion=Completion.DIRECTORY,
        text="the C server's storage directory; its files are left as they are",
    )
    what.flag("-n", "--dry-run", dest="dry_run", text="only read the files and tell what cannot be used")
    add_place_options(parser.section("Where to"))
    parser.section("Output").flag("--json", dest="json", text="print one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    if not arguments.source:
        raise UsageError("--from says which directory to import", hint=f"'{PROG} --help' lists the options")
    report = _look(arguments) if arguments.dry_run else _import(arguments)
    if arguments.json:
        import json

        print(json.dumps(_as_json(report), indent=2))
    else:
        for fault in report.faults:
            _name(fault, "not imported")
        for warning in report.warnings:
            _name(warning, "warning")
        verb = "can be imported" if arguments.dry_run else "imported"
        noun = "credential" if report.imported == 1 else "credentials"
        print(f"{report.imported} {noun} {verb}, {report.known} were here already, {len(report.faults)} not.")
    return EXIT_INCOMPLETE if report.faults else EXIT_OK


def _import(arguments: Namespace) -> ImportReport:
    import os

    from myproxy.cli.desk import open_upkeep

    source = os.path.abspath(arguments.source)

    def tell(report: ImportReport) -> None:
        if arguments.debug:
            print(f"{PROG}: {report.seen} looked at, {report.imported} imported", file=sys.stderr)

    with open_upkeep(arguments, creates=True) as desk:
        return desk.import_from(source, progress=tell)


def _look(arguments: Namespace) -> ImportReport:
    """Read the directory, as far as that goes without a store."""
    from myproxy.repository.importing import ImportReport, find_warnings
    from myproxy.repository.spool import SpoolFault, read_spool

    report = ImportReport()
    for found in read_spool(arguments.source):
        if isinstance(found, SpoolFault):
            report.faults.append(found)
        else:
            report.imported += 1
            report.warnings.extend(find_warnings(found))
    return report


def _name(fault: SpoolFault, what: str) -> None:
    print(f"{PROG}: {what}: {printable(fault.stem)}: {printable(fault.reason)}", file=sys.stderr)


def _as_json(report: ImportReport) -> dict[str, object]:
    return {
        "imported": report.imported,
        "known": report.known,
        "not_imported": [{"file": fault.stem, "reason": fault.reason} for fault in report.faults],
        "warnings": [{"file": fault.stem, "reason": fault.reason} for fault in report.warnings],
    }
