"""The command `grid-fetch-crl`: keep a trust directory's revocation lists current; `gsi.system.fetch_crl` does it.

Takes the place of fetch-crl (dlgroep/fetch-crl), whose most used options it knows: -l, -o, -a, -T, -p, -r, -q, -v.
Exit status 0 when every list is current, or recent enough by -agingtolerance; 1 when one is not, or for any error.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, count
from gsi.cli.run import EXIT_ERROR, EXIT_OK, printable, run, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace
    from gsi.system.fetch_crl import FetchReport, FetchResult, FetchSettings

__all__ = ["build_parser", "main"]

PROG = "grid-fetch-crl"
DEFAULT_TIMEOUT: Final = 60  # seconds; the longest lists of grid CAs take ten over a slow line
DEFAULT_TOTAL: Final = 900  # a timer starts the next run long after that
DEFAULT_PARALLEL: Final = 10  # kind to the servers that several CAs share
DEFAULT_TOLERANCE: Final = 24  # hours, as fetch-crl
MAX_SECONDS: Final = 86400
MAX_PARALLEL: Final = 100
MAX_HOURS: Final = 24 * 365


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "fetch the revocation lists of a trust directory", usage=("[options] [CA...]",))
    files = parser.section("Where")
    files.value(
        "-dir", "-certdir", "-infodir", "-l",
        metavar="DIR", completion=Completion.DIRECTORY,
        text="the trust directory with the CAs' certificates and what tells where their lists are",
    )  # fmt: skip
    files.value(
        "-output", "-o",
        metavar="DIR", completion=Completion.DIRECTORY,
        text="the directory of the lists; default: the trust directory",
    )  # fmt: skip
    files.value("-base", metavar="URL", text="take every list from below this URL or directory, as URL/HASH.r0")
    limits = parser.section("Limits")
    limits.value(
        "-timeout", "-httptimeout", "-T",
        metavar="SECONDS", convert=_seconds, default=DEFAULT_TIMEOUT,
        text=f"time for one CA, all its sources together; default: {DEFAULT_TIMEOUT}",
    )  # fmt: skip
    limits.value(
        "-totaltimeout",
        metavar="SECONDS", convert=_seconds, default=DEFAULT_TOTAL,
        text=f"time for all CAs together; default: {DEFAULT_TOTAL}",
    )  # fmt: skip
    limits.value(
        "-parallel", "-parallelism", "-p",
        metavar="N", convert=_parallel, default=DEFAULT_PARALLEL,
        text=f"how many CAs are asked at a time; default: {DEFAULT_PARALLEL}",
    )  # fmt: skip
    limits.value("-retries", metavar="N", convert=_retries, default=1, text="try again so often; default: 1")
    limits.value(
        "-agingtolerance", "-a",
        metavar="HOURS", convert=_hours, default=DEFAULT_TOLERANCE,
        text=f"a list that holds may miss updates for so long; default: {DEFAULT_TOLERANCE}",
    )  # fmt: skip
    limits.value(
        "-randomwait", "-r",
        metavar="SECONDS", convert=_wait, default=0,
        text="wait up to so long before anything, so that not all sites come at once",
    )  # fmt: skip
    limits.flag("-acceptweak", text="accept lists signed with SHA-1 or MD5, which only C services use")
    output = parser.section("Output")
    output.flag("-quiet", "-q", text="print failures only")
    output.flag("-verbose", "-v", text="print a line for every CA")
    output.flag("-dryrun", "-d", text="fetch and judge, but change nothing")
    output.flag("-json", text="print what became of each list as one JSON object")
    parser.operand(
        "CA", dest="only", many=True, completion=Completion.NOTHING, text="hash, alias or name of a CA; default: all"
    )
    return parser


def _seconds(text: str) -> int:
    return count(text, minimum=1, maximum=MAX_SECONDS)


def _wait(text: str) -> int:
    return count(text, maximum=MAX_SECONDS)


def _parallel(text: str) -> int:
    return count(text, minimum=1, maximum=MAX_PARALLEL)


def _retries(text: str) -> int:
    return count(text, maximum=10)


def _hours(text: str) -> int:
    return count(text, maximum=MAX_HOURS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.system.fetch_crl import fetch_crls

    settings = _settings(arguments)
    if arguments.randomwait:
        _wait_at_random(arguments.randomwait)
    show = _Progress(active=sys.stderr.isatty() and not arguments.quiet and not arguments.json)
    try:
        report = fetch_crls(settings, progress=show)
    finally:
        show.clear()
    if arguments.json:
        _print_json(settings, report)
    else:
        _print(report, quiet=arguments.quiet, verbose=arguments.verbose)
    return EXIT_ERROR if report.has_failed else EXIT_OK


def _settings(arguments: Namespace) -> FetchSettings:
    from gsi.system.environ import read_locations
    from gsi.system.fetch_crl import FetchSettings
    from gsi.transport.http import read_proxies

    return FetchSettings(
        directory=arguments.dir or read_locations().trust_dir,
        output=arguments.output,
        base=_base(arguments.base),
        only=tuple(arguments.only),
        timeout=arguments.timeout,
        total_timeout=arguments.totaltimeout,
        parallel=arguments.parallel,
        retries=arguments.retries,
        tolerance_hours=arguments.agingtolerance,
        accept_weak=arguments.acceptweak,
        dry_run=arguments.dryrun,
        proxies=read_proxies(),
    )


def _base(text: str | None) -> str | None:
    """Return the base as a URL; a path will do for one."""
    import os
    from urllib.parse import quote

    from gsi.errors import ConfigError
    from gsi.trust.crl_sources import is_url

    if text is None or is_url(text):
        return text
    if os.path.isdir(text):
        return f"file://{quote(os.path.abspath(text))}"
    raise ConfigError(f"'{text}' is neither a URL nor a directory", hint="-base http://crl.example.org/certificates")


def _wait_at_random(limit: int) -> None:
    import os
    import time

    time.sleep(limit * int.from_bytes(os.urandom(4), "big") / 2**32)


class _Progress:
    """A line on the terminal that is written over and over."""

    def __init__(self, *, active: bool) -> None:
        self._active = active
        self._width = 0

    def __call__(self, done: int, total: int, latest: FetchResult | None) -> None:
        """Show how far it is."""
        if not self._active:
            return
        text = f"[{done}/{total}] {'' if latest is None else f'{latest.job.name}: {latest.status}'}"
        text = printable(text)[:78]
        sys.stderr.write(f"\r{text.ljust(self._width)}")
        sys.stderr.flush()
        self._width = len(text)

    def clear(self) -> None:
        """Take the line away."""
        if self._width:
            sys.stderr.write(f"\r{' ' * self._width}\r")
            sys.stderr.flush()
            self._width = 0


def _print(report: FetchReport, *, quiet: bool, verbose: bool) -> None:
    from gsi.system.fetch_crl import FetchStatus

    totals: dict[str, int] = {}
    for result in report.results:
        totals[result.status] = totals.get(result.status, 0) + 1
        label = _label(result)
        if result.status is FetchStatus.FAILED:
            warn(PROG, f"{label}: {result.message}")
        elif verbose and not quiet:
            detail = result.message or _until(result)
            sys.stdout.write(printable(f"{label}: {result.status}{f' ({detail})' if detail else ''}") + "\n")
    for problem in report.problems:
        warn(PROG, problem)
    if not quiet:
        counts = ", ".join(f"{totals[status]} {status}" for status in FetchStatus if status in totals)
        sys.stdout.write(f"{counts or 'nothing to fetch'}\n")


def _label(result: FetchResult) -> str:
    job = result.job
    name = job.hash if job.name == job.hash else f"{job.name} ({job.hash})"
    return f"{name} {job.subject}" if not job.position else f"{name} {job.subject}, list {job.position}"


def _until(result: FetchResult) -> str:
    return "" if result.update is None else f"until {result.update.crl.next_update:%Y-%m-%dT%H:%M:%SZ}"


def _print_json(settings: FetchSettings, report: FetchReport) -> None:
    import json

    found = {
        "directory": settings.directory,
        "dryrun": settings.dry_run,
        "failed": report.has_failed,
        "problems": report.problems,
        "lists": [_json(result) for result in report.results],
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


def _json(result: FetchResult) -> dict[str, object]:
    update = result.update
    return {
        "ca": result.job.name,
        "subject": result.job.subject,
        "hash": result.job.hash,
        "status": result.status,
        "message": result.message or None,
        "file": result.file,
        "url": result.url,
        "number": None if update is None else update.number,
        "this_update": None if update is None else f"{update.crl.this_update:%Y-%m-%dT%H:%M:%SZ}",
        "next_update": None if update is None else f"{update.crl.next_update:%Y-%m-%dT%H:%M:%SZ}",
        "seconds": round(result.seconds, 3),
    }


if __name__ == "__main__":
    sys.exit(main())
