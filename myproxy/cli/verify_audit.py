"""What `myproxy-admin-query --verify-audit` says about the audit files; the judging is `gsi.system.audit_chain`'s."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import UsageError
from gsi.cli.run import EXIT_OK, printable

if TYPE_CHECKING:
    from gsi.cli.arguments import Namespace
    from gsi.system.audit_chain import ChainReport

__all__ = ["EXIT_CHANGED", "verify_audit"]

EXIT_CHANGED = 2


def verify_audit(arguments: Namespace) -> int:
    """Judge the audit files of the server that the options name, and print what there is to say.

    Raises:
        ConfigError: The configuration or the directory cannot be read.
        StorageError: A file cannot be read.
        UsageError: There is no audit file.
    """
    from gsi.system.audit_chain import verify_files
    from myproxy.cli.desk import read_config
    from myproxy.cli.places import find_storage
    from myproxy.server import audit_paths

    chains = audit_paths(read_config(arguments), find_storage(arguments.storage))
    if not chains:
        raise UsageError("there is no audit file", hint="name the server's storage directory with -s")
    reports = [report for paths in chains for report in verify_files(paths)]
    if arguments.json:
        import json

        print(json.dumps([_as_json(report) for report in reports], indent=2))
    else:
        for report in reports:
            _show(report)
    return EXIT_CHANGED if any(report.faults for report in reports) else EXIT_OK


def _show(report: ChainReport) -> None:
    """Print a report; the last link is there to be kept elsewhere, since a cut end cannot be seen in the file."""
    sys.stdout.write(
        f"{printable(report.path)}: {report.records} records of {', '.join(map(printable, report.nodes)) or 'nobody'}, "
        f"up to number {report.state.sequence}, last link {report.state.link.hex()}\n"
    )
    for one in report.findings:
        where = f"line {one.line} " if one.line else ""
        sys.stdout.write(f"  {'FAULT' if one.is_fault else 'note'}: {where}{printable(one.text)}\n")


def _as_json(report: ChainReport) -> dict[str, object]:
    return {
        "path": report.path,
        "records": report.records,
        "nodes": report.nodes,
        "first": report.first,
        "last": report.state.sequence,
        "last_link": report.state.link.hex(),
        "findings": [{"line": one.line, "fault": one.is_fault, "text": one.text} for one in report.findings],
    }
