"""The command `grid-mapfile-delete-entry`: take mappings out; `gsi.authz.gridmap_edit` makes the change.

Agrees with gct:gsi/gss_assist/source/programs/grid-mapfile-delete-entry.in in options, main lines of output and exit
status: 1 also when there was nothing to delete. Unlike it, takes -dn or -ln alone, as its own help says, finds a name
as the services find it, and leaves every other line as it is: the script turns comments into entries or loses them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import CommandParser, Completion, UsageError
from gsi.cli.run import EXIT_OK, run, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.authz.gridmap_edit import Removal
    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "grid-mapfile-delete-entry"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "delete entries from a grid-mapfile",
        usage=("-dn DN [-ln ACCOUNT...] [-mapfile FILE] [-dryrun]", "-ln ACCOUNT... [-mapfile FILE] [-dryrun]"),
        help_names=("-help", "-usage", "-h"),
        versions=True,
        any_case=True,
    )
    entry = parser.section("What to delete")
    entry.value("-dn", metavar="DN", text="the entries of this name, or of them the accounts given with -ln")
    entry.value("-ln", metavar="ACCOUNT...", many=True, text="these accounts; without -dn, of every name")
    files = parser.section("Where")
    files.value("-mapfile", "-f", metavar="FILE", completion=Completion.FILE, text="the grid-mapfile")
    files.flag("-dryrun", "-d", text="only say what would be done")
    output = parser.section("Output")
    output.flag("-json", text="print what was done as one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.authz.gridmap_edit import remove_accounts
    from gsi.authz.gridmap_file import edit_file
    from gsi.errors import NotFoundError
    from gsi.system.environ import read_locations

    if not arguments.dn and not arguments.ln:
        raise UsageError("-dn or -ln is needed", hint=f"{PROG} -dn /O=Grid/CN=Alice")
    path = arguments.mapfile or read_locations().gridmaps[0]
    if not arguments.json:
        sys.stdout.write(f"Modifying {path} ...\n")
    made: list[Removal] = []

    def change(data: bytes) -> bytes:
        made.append(remove_accounts(data, dn=arguments.dn or None, accounts=tuple(arguments.ln)))
        if not made[0].removed:
            raise NotFoundError(
                "no such entry or mapping exists", hint="grid-mapfile-check-consistency shows odd lines"
            )
        return made[0].data

    edit_file(path, change, dry_run=arguments.dryrun)
    _show(arguments, path, made[0])
    for entry in made[0].revealed:
        warn(PROG, f"a later line counts now: {entry}", hint="a name's first line alone counts; delete the others, too")
    return EXIT_OK


def _show(arguments: Namespace, path: str, made: Removal) -> None:
    if arguments.json:
        import json

        found = {
            "mapfile": path,
            "removed": made.removed,
            "ignored": made.ignored,
            "changed": made.changed,
            "deleted": made.deleted,
            "revealed": made.revealed,
            "dryrun": arguments.dryrun,
        }
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    for entry in made.changed:
        sys.stdout.write(f"Current entry: {entry}\n")
    for entry in made.deleted:
        sys.stdout.write(f"No local mappings remained, deleting entry: {entry}\n")
    if arguments.dryrun:
        count = "1 entry" if made.removed == 1 else f"{made.removed} entries"
        sys.stdout.write(f"{count} would have been deleted\n")
        sys.stdout.write("Since the dryrun option was used, no actions were carried out\n")
        return
    sys.stdout.write(f"({made.removed}) mapping(s) removed, ({made.ignored}) not present and ignored\n")


if __name__ == "__main__":
    sys.exit(main())
