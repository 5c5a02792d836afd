"""The command `gsi-doctor`: look over this machine's grid services, say what is wrong and what to do; repairs nothing.

New; no C program does it. What is looked at is in `gsi.doctor` and in the services' own packages. The exit status is
what monitoring plug-ins use: 0 nothing is wrong, 1 warnings alone, 2 errors.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, UsageError, count
from gsi.cli.run import EXIT_OK, printable, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from gsi.cli.arguments import Namespace
    from gsi.doctor.visit import Look, Visit
    from gsi.trust.diagnose import Finding, Severity

__all__ = ["EXIT_WARNINGS", "EXIT_WRONG", "build_parser", "main"]

PROG: Final = "gsi-doctor"
EXIT_WARNINGS: Final = 1
EXIT_WRONG: Final = 2
TIME_SERVER: Final = "time.nist.gov"
TIMEOUT_SECONDS: Final = 5
NOBODY: Final = "none"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "look over this machine's grid services, and say what to do")
    what = parser.section("What to look at (everything that is set up here)")
    what.value("-only", metavar="SECTION", repeatable=True, text="this alone; -list names the sections")
    what.value("-skip", metavar="SECTION", repeatable=True, text="everything but this")
    what.flag("-list", text="name the sections, and end")
    where = parser.section("Where things are, if not at their usual places")
    where.value("-config", metavar="SECTION=FILE", repeatable=True, text="a service's configuration")
    where.value("-store", metavar="SECTION=DIRECTORY", repeatable=True, text="a service's storage (myproxy)")
    where.value("-at", metavar="SECTION=HOST:PORT", repeatable=True, text="where a service listens")
    where.value("-certdir", metavar="DIR", completion=Completion.DIRECTORY, text="the trust directory")
    where.value("-host", metavar="NAME", text="what clients call this machine (its full name)")
    where.value(
        "-time-server",
        metavar="HOST[:PORT]",
        default=TIME_SERVER,
        text=f"whom to ask for the time, by SNTP, or {NOBODY} ({TIME_SERVER})",
    )
    how = parser.section("How to judge")
    how.value(
        "-crl",
        metavar="POLICY",
        choices=("require", "if-present", "off"),
        default="if-present",
        text="a CA without revocation list is an error (require), a warning (if-present, default) or fine (off)",
    )
    how.value(
        "-timeout",
        metavar="SECONDS",
        convert=lambda text: count(text, minimum=1, maximum=3600),
        default=TIMEOUT_SECONDS,
        text=f"how long to wait for a server ({TIMEOUT_SECONDS})",
    )
    output = parser.section("Output")
    output.flag("-q", dest="quiet", text="print only warnings and errors")
    output.flag("-json", text="print the findings as one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, exit_code=lambda _: EXIT_WRONG, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.doctor.run import examine, find_looks
    from gsi.trust import diagnose

    looks = find_looks()
    if arguments.list:
        sys.stdout.write("".join(f"{look.section:<10} {look.title}\n" for look in looks))
        return EXIT_OK
    visit = _visit(arguments, {look.section for look in looks})
    found: list[tuple[Look, Finding]] = []
    title = ""
    for look, finding in examine(visit, _chosen(arguments, looks)):
        found.append((look, finding))
        if arguments.json or (arguments.quiet and finding.severity in {diagnose.Severity.OK, diagnose.Severity.NOTE}):
            continue
        if look.title != title and not arguments.quiet:
            sys.stdout.write(f"{title and chr(10)}{look.title}\n")
            title = look.title
        sys.stdout.write(_lines(finding))
        sys.stdout.flush()  # a server that is slow to answer must not hold back what is known
    counts = {severity: sum(finding.severity is severity for _, finding in found) for severity in diagnose.Severity}
    if arguments.json:
        _print_json(found, counts, visit.now)
    elif not arguments.quiet:
        sys.stdout.write(f"\n{counts[diagnose.Severity.ERROR]} errors, {counts[diagnose.Severity.WARNING]} warnings\n")
    if counts[diagnose.Severity.ERROR]:
        return EXIT_WRONG
    return EXIT_WARNINGS if counts[diagnose.Severity.WARNING] else EXIT_OK


def _visit(arguments: Namespace, sections: set[str]) -> Visit:
    import socket

    from gsi.doctor.visit import Visit
    from gsi.errors import ConfigError, GridError
    from gsi.system import clock
    from gsi.system.environ import read_locations
    from gsi.system.gsi_conf import find_setting, load_gsi_conf
    from gsi.system.trustdir import TrustDirectory
    from gsi.trust.options import CRLPolicy
    from gsi.trust.peername import NameMode

    locations = read_locations()
    trust_dir = arguments.certdir or locations.trust_dir
    try:
        anchors = TrustDirectory(trust_dir).anchors()
    except GridError:
        anchors = None  # the look at the trust directory tells why
    try:
        mode = NameMode(find_setting("NAME_COMPATIBILITY", load_gsi_conf(locations.gsi_conf)) or NameMode.HYBRID)
    except (ConfigError, ValueError):
        mode = NameMode.STRICT_RFC2818
    return Visit(
        now=clock.now(),
        locations=locations,
        trust_dir=trust_dir,
        anchors=anchors,
        crl=CRLPolicy(arguments.crl),
        mode=mode,
        host=arguments.host or socket.getfqdn(),
        timeout=arguments.timeout,
        time_server=None if arguments.time_server == NOBODY else arguments.time_server,
        configs=_pairs("-config", arguments.config, sections),
        stores=_pairs("-store", arguments.store, sections),
        places=_pairs("-at", arguments.at, sections | {"voms", "kca-http"}),
    )


def _pairs(option: str, words: Sequence[str], sections: set[str]) -> dict[str, str]:
    """Read `SECTION=VALUE`, each section once."""
    found: dict[str, str] = {}
    for word in words:
        section, equals, value = word.partition("=")
        if not equals or not value:
            raise UsageError(f"{option}: {word!r} is not SECTION=VALUE")
        _known(option, section, sections)
        found[section] = value
    return found


def _known(option: str, section: str, sections: Iterable[str]) -> None:
    if section not in sections:
        raise UsageError(f"{option}: there is no section {section!r}", hint=f"one of {', '.join(sorted(sections))}")


def _chosen(arguments: Namespace, looks: Sequence[Look]) -> list[Look]:
    names = [look.section for look in looks]
    for option, given in (("-only", arguments.only), ("-skip", arguments.skip)):
        for section in given:
            _known(option, section, names)
    wanted = set(arguments.only or names) - set(arguments.skip)
    return [look for look in looks if look.section in wanted]


def _lines(finding: Finding) -> str:
    """Write a finding: how bad, where, what; on a line of its own, what to do."""
    text = f"{finding.where}: {finding.message}".replace("\n", " ")
    line = f"  {finding.severity:<8} {printable(text)}\n"
    if finding.hint is None:
        return line
    return line + f"           -> {printable(finding.hint.replace(chr(10), ' '))}\n"


def _print_json(found: Sequence[tuple[Look, Finding]], counts: dict[Severity, int], now: datetime) -> None:
    import json

    shown = {
        "at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "counts": {str(severity): number for severity, number in counts.items()},
        "findings": [
            {
                "section": look.section,
                "severity": finding.severity,
                "check": finding.check,
                "where": finding.where,
                "message": finding.message,
                "hint": finding.hint,
            }
            for look, finding in found
        ],
    }
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
