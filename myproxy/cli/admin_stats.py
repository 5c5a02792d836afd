"""The command `myproxy-admin-stats`: operations, failures and rates of a MyProxy server, on its machine.

Asks the running server (`monitor_listen`), or counts what the audit files say; new, no C command does this. Exit status
0, or 1 for any error.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import UsageError
from gsi.cli.run import EXIT_OK, printable, run
from myproxy.cli.desk import add_place_options
from myproxy.cli.options import LongOptionParser, hours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "myproxy-admin-stats"
ANSWER_SECONDS = 10.0
MAX_ANSWER_BYTES = 1 << 20


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "show what a MyProxy server did")
    add_place_options(parser.section("Which server"))
    what = parser.section("What is counted")
    what.flag("-a", "--audit", dest="audit", text="what the audit files say; default where no monitor_listen is set")
    what.value(
        "-t", "--last", dest="last", metavar="HOURS", convert=hours, text="with --audit, only the last so many hours"
    )
    parser.section("Output").flag("--json", dest="json", text="print a JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    import json

    from myproxy.cli.desk import read_config

    config = read_config(arguments)
    where = config.monitor_listen
    if where is None or arguments.audit or arguments.last is not None:
        from myproxy.cli.places import find_storage
        from myproxy.server import audit_paths

        paths = [path for chain in audit_paths(config, find_storage(arguments.storage)) for path in chain]
        if not paths:
            raise UsageError("there is no audit file", hint="name the server's storage directory with -s")
        told = _count(paths, arguments)
    else:
        from gsi.transport.http import fetch

        told = json.loads(fetch(f"http://{where}/stats", timeout=ANSWER_SECONDS, max_bytes=MAX_ANSWER_BYTES).data)
    if arguments.json:
        print(json.dumps(told, indent=2))
    else:
        _show(told)
    return EXIT_OK


def _count(paths: Sequence[str], arguments: Namespace) -> dict[str, object]:
    """Count the records of audit files."""
    import json
    from collections import Counter
    from datetime import datetime

    from gsi.system.audit_chain import read_lines
    from gsi.system.clock import now

    since = None if arguments.last is None else now() - arguments.last
    operations: dict[str, Counter[str]] = {}
    failures: Counter[str] = Counter()
    throttled = unreadable = 0
    times: list[datetime] = []
    for line in (line for path in paths for line in read_lines(path)):
        try:
            record = json.loads(line)
            moment = datetime.fromisoformat(record["time"])
            action, verdict, reason = str(record["action"]), str(record["verdict"]), str(record["reason"])
        except (ValueError, KeyError, TypeError, RecursionError):
            unreadable += 1
            continue
        if since is not None and moment < since:
            continue
        times.append(moment)
        operations.setdefault(action, Counter())[verdict] += 1
        if verdict != "permit":
            failures[reason.partition(":")[0]] += 1
        throttled += bool(record.get("throttled"))
    seconds = max((max(times) - min(times)).total_seconds(), 1.0) if times else 1.0
    return {
        "since": min(times).isoformat() if times else None,
        "until": max(times).isoformat() if times else None,
        "operations": {action: dict(counts) for action, counts in sorted(operations.items())},
        "operations_per_second": round(len(times) / seconds, 3),
        "failures": dict(failures.most_common()),
        "throttled": throttled,
        "unreadable_lines": unreadable,
    }


def _show(told: object) -> None:
    """Print it as `name: value`, one value per line."""
    assert isinstance(told, dict)
    for name, value in told.items():
        label = printable(str(name)).replace("_", " ")
        if isinstance(value, dict):
            sys.stdout.write(f"{label}:\n")
            for inner, number in value.items():
                text = ", ".join(f"{k} {v}" for k, v in number.items()) if isinstance(number, dict) else number
                sys.stdout.write(f"  {printable(str(inner))}: {printable(str(text))}\n")
        elif isinstance(value, list):
            sys.stdout.write(f"{label}: {printable(', '.join(map(str, value))) or '-'}\n")
        else:
            sys.stdout.write(f"{label}: {'-' if value is None else printable(str(value))}\n")
