"""The command `myproxy-admin-fsck`: check every stored item, repair it or put it aside, on the server's machine.

Works beside running servers; nothing is ever deleted. Exit status 0 when nothing is wrong any more, 2 when something
is, 1 for any error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import UsageError
from gsi.cli.run import EXIT_OK, printable, run
from myproxy.cli.desk import add_place_options
from myproxy.cli.options import LongOptionParser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace
    from myproxy.admin import Outcome, UpkeepDesk
    from myproxy.repository.fsck import Finding

__all__ = ["EXIT_FINDINGS", "build_parser", "main"]

PROG: Final = "myproxy-admin-fsck"
EXIT_FINDINGS: Final = 2
_MODES: Final = ("rewrap", "list", "restore")


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "check the credentials in a MyProxy repository")
    add_place_options(parser.section("Which repository"))
    what = parser.section("What to do about what is wrong (default: tell it)")
    what.flag("-r", "--repair", dest="repair", text="set anew what can be told from the rest, and make indexes anew")
    what.flag("-q", "--quarantine", dest="quarantine", text="put aside what cannot be used; nothing is deleted")
    other = parser.section("In place of a check")
    other.flag("-w", "--rewrap", dest="rewrap", text="bring every key under the first server key, or out of all")
    other.flag("-l", "--list", dest="list", text="show what was put aside")
    other.value("--restore", dest="restore", metavar="N", convert=_number, text="bring number N back from there")
    parser.section("Output").flag("--json", dest="json", text="print one JSON array")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _number(text: str) -> object:
    from gsi.cli.arguments import count

    return count(text, maximum=2**62)


def _execute(arguments: Namespace) -> int:
    from myproxy.cli.desk import open_upkeep

    modes = [name for name in _MODES if getattr(arguments, name) not in (None, False)]
    if len(modes) > 1 or (modes and (arguments.repair or arguments.quarantine)):
        raise UsageError(f"--{modes[0]} goes with none of the others")
    with open_upkeep(arguments) as desk:
        if arguments.rewrap:
            return _rewrap(desk, arguments)
        if arguments.list:
            return _list(desk, arguments)
        if arguments.restore is not None:
            desk.restore(arguments.restore)
            print(f"number {arguments.restore} restored.")
            return EXIT_OK
        return _check(desk, arguments)


def _check(desk: UpkeepDesk, arguments: Namespace) -> int:
    from myproxy.admin import Outcome

    found = left = 0
    items: list[dict[str, object]] = []
    for finding, outcome in desk.check(repair=arguments.repair, quarantine=arguments.quarantine):
        found += 1
        left += outcome is Outcome.LEFT
        if arguments.json:
            items.append(_as_json(finding, outcome))
        else:
            print(f"{_place(finding)}: {printable(finding.problem)} [{_said(finding, outcome)}]")
    if arguments.json:
        import json

        print(json.dumps(items, indent=2))
    else:
        noun = "finding" if found == 1 else "findings"
        print(f"{found} {noun}, {left} left." if found else "Nothing is wrong.")
    return EXIT_FINDINGS if left else EXIT_OK


def _place(finding: Finding) -> str:
    if finding.row is None:
        return f"table {finding.table}"
    name = "default" if finding.name is None else f"name: {printable(finding.name)}"
    return f"row {finding.row}, user {printable(finding.username or '?')} ({name})"


def _said(finding: Finding, outcome: Outcome) -> str:
    from myproxy.admin import Outcome
    from myproxy.repository.fsck import Mend

    hints = {Mend.REPAIR: "--repair mends it", Mend.QUARANTINE: "--quarantine puts it aside", Mend.NONE: "left"}
    return hints[finding.mend] if outcome is Outcome.LEFT else outcome.value


def _as_json(finding: Finding, outcome: Outcome) -> dict[str, object]:
    return {
        "table": finding.table,
        "row": finding.row,
        "username": finding.username,
        "name": finding.name,
        "problem": finding.problem,
        "mend": finding.mend.value,
        "outcome": outcome.value,
    }


def _rewrap(desk: UpkeepDesk, arguments: Namespace) -> int:
    done = 0
    left: list[dict[str, object]] = []
    for stored, why in desk.rewrap():
        if why is None:
            done += 1
            continue
        left.append({"username": stored.username, "name": stored.name, "reason": why})
        if not arguments.json:
            name = "default" if stored.name is None else f"name: {printable(stored.name)}"
            print(f"user {printable(stored.username)} ({name}): {printable(why)}")
    if arguments.json:
        import json

        print(json.dumps({"rewrapped": done, "left": left}, indent=2))
    else:
        print(f"{done} {'key' if done == 1 else 'keys'} rewrapped, {len(left)} left.")
    return EXIT_FINDINGS if left else EXIT_OK


def _list(desk: UpkeepDesk, arguments: Namespace) -> int:
    found = list(desk.quarantined())
    if arguments.json:
        import json

        fields = ("number", "moved", "reason", "username", "name", "owner")
        print(json.dumps([{name: getattr(row, name) for name in fields} for row in found], indent=2))
        return EXIT_OK
    for row in found:
        name = "default" if not row.name else f"name: {printable(str(row.name))}"
        print(f"number {row.number}: user {printable(str(row.username))} ({name}): {printable(row.reason)}")
    if not found:
        print("Nothing lies in quarantine.")
    return EXIT_OK
