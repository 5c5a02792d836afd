"""The command `grid-mapfile-check-consistency`: say which lines of a grid-mapfile do not do what they seem to.

Agrees with gct:gsi/gss_assist/source/programs/grid-mapfile-check-consistency.in in options, main lines of output and
exit status (0 to 4). Unlike it, reads the lines as the services do, and exits with 5 where the script prints ERROR and
exits with 0.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import CommandParser, Completion
from gsi.cli.run import EXIT_OK, printable, run, warn
from gsi.errors import ConfigError, GridError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.authz.gridmap import Gridmap
    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "grid-mapfile-check-consistency"

EXIT_UNREADABLE = 1
EXIT_EMPTY = 2
EXIT_NOT_LOADED = 3
EXIT_BAD_ACCOUNT = 4
EXIT_BAD_LINES = 5
"""Lines that do not mean what they seem to; ours alone."""


class _CheckError(GridError):
    """A file that could not be looked at, with the exit status for it."""

    slug = "gridmap-check"

    def __init__(self, error: GridError, status: int) -> None:
        super().__init__(error.message, hint=error.hint)
        self.status = status


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "check a grid-mapfile",
        usage=("[-mapfile FILE] [-json]",),
        help_names=("-help", "-usage", "-h"),
        version_names=("-version", "-v"),
        versions=True,
        any_case=True,
    )
    files = parser.section("Where")
    files.value("-mapfile", "-file", "-f", metavar="FILE", completion=Completion.FILE, text="the grid-mapfile")
    output = parser.section("Output")
    output.flag("-json", text="print what was found as one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, exit_code=_exit_code, short_lived=True)


def _exit_code(error: GridError) -> int:
    return error.status if isinstance(error, _CheckError) else EXIT_UNREADABLE


def _execute(arguments: Namespace) -> int:
    path = arguments.mapfile or _default_mapfile()
    tell = _tell_nothing if arguments.json else sys.stdout.write
    tell(f"Checking {path} grid mapfile\nVerifying grid mapfile existence...")
    try:
        data, exposure = _load(path)
    except _CheckError:
        tell("\n")
        sys.stdout.flush()
        raise
    tell("OK\nChecking for duplicate entries...")
    gridmap = _parse(data)
    problems = [*([exposure] if exposure else []), *(f"line {one.line}: {one.message}" for one in gridmap.problems)]
    if gridmap.problem_count > len(gridmap.problems):
        problems.append(f"and {gridmap.problem_count - len(gridmap.problems)} more")
    tell("OK\n" if not problems else "\n" + "".join(f"ERROR: {printable(text)}\n" for text in problems))
    tell("Checking for valid user names...")
    unknown = _find_unknown_accounts(gridmap)
    status = EXIT_BAD_ACCOUNT if unknown else EXIT_BAD_LINES if problems else EXIT_OK
    if unknown:
        tell("\n" + "".join(f"ERROR: {printable(name)} is not a valid local username\n" for name in unknown))
        tell(f"ERROR: Found {len(unknown)} invalid username(s)\n")
    else:
        tell("OK\n")
    if arguments.json:
        _print_json(path, gridmap, exposure, unknown, status)
    return status


def _tell_nothing(text: str) -> int:
    return len(text)


def _default_mapfile() -> str:
    """Return the place that the C tool takes: GRIDMAP, or a user's own file where it can be read, or the system's."""
    import os

    from gsi.system.environ import read_locations

    places = read_locations().gridmaps
    return next((path for path in reversed(places) if os.access(path, os.R_OK)), places[0])


def _load(path: str) -> tuple[bytes, str]:
    """Return the content, and in a sentence who else may write to it, if anyone."""
    import os

    from gsi.authz.gridmap import MAX_GRIDMAP_BYTES
    from gsi.errors import CredentialError, CredentialProblem, ParseError
    from gsi.system.files import read_public

    exposure = ""
    try:
        try:
            data = read_public(path, max_bytes=MAX_GRIDMAP_BYTES, check_writers=True)
        except CredentialError as error:
            if error.problem is not CredentialProblem.UNSAFE_FILE:
                raise
            data, exposure = read_public(path, max_bytes=MAX_GRIDMAP_BYTES), error.message
    except GridError as error:
        error.hint = "GRIDMAP or -mapfile names another grid-mapfile"
        raise _CheckError(error, EXIT_NOT_LOADED if isinstance(error, ParseError) else EXIT_UNREADABLE) from error
    if not data:
        raise _CheckError(ConfigError("the grid-mapfile is empty", path=path, hint="nobody is mapped"), EXIT_EMPTY)
    if not os.access(path, os.W_OK):
        warn(PROG, f"you cannot write to {path}")
    return data, exposure


def _parse(data: bytes) -> Gridmap:
    from gsi.authz.gridmap import parse_gridmap

    return parse_gridmap(data)


def _find_unknown_accounts(gridmap: Gridmap) -> list[str]:
    """Return the accounts that do not exist here, in order; a pool's are in its directory."""
    from gsi.authz.pool import find_system_user

    known: dict[str, bool] = {}
    for entry in gridmap.entries():
        for account in entry.accounts:
            if account not in known:
                known[account] = account.startswith(".") or find_system_user(account) is not None
    return [account for account, exists in known.items() if not exists]


def _print_json(path: str, gridmap: Gridmap, exposure: str, unknown: list[str], status: int) -> None:
    import json

    found = {
        "mapfile": path,
        "entries": len(gridmap),
        "writable_by_others": exposure or None,
        "problems": [{"line": one.line, "kind": one.kind, "message": one.message} for one in gridmap.problems],
        "problem_count": gridmap.problem_count,
        "unknown_accounts": unknown,
        "status": status,
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
