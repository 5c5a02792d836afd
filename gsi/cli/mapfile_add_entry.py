"""The command `grid-mapfile-add-entry`: map a name to accounts; `gsi.authz.gridmap_edit` makes the change.

Agrees with gct:gsi/gss_assist/source/programs/grid-mapfile-add-entry.in in options, main lines of output and exit
status: 0 also when nothing had to be added, 1 for every error. Unlike it, finds a name as the services find it,
changes its line where it stands, and keeps comments, mode and owner.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import CommandParser, Completion, UsageError
from gsi.cli.run import EXIT_OK, run, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.authz.gridmap_edit import Addition
    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "grid-mapfile-add-entry"
_LIKE_A_PROXY = r"/CN=(?:[0-9]{6,}|(?:limited )?proxy)$"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "add an entry to a grid-mapfile",
        usage=("-dn DN -ln ACCOUNT... [-mapfile FILE] [-dryrun] [-force]",),
        help_names=("-help", "-usage", "-h"),
        versions=True,
        any_case=True,
    )
    entry = parser.section("The entry")
    entry.value("-dn", metavar="DN", text="the name, in the form /O=Grid/CN=Alice, in quotes if it holds blanks")
    entry.value(
        "-ln",
        metavar="ACCOUNT...",
        many=True,
        text="local accounts; the first is the default of a new entry; .NAME is any free account of a pool",
    )
    entry.flag("-force", text="add accounts that do not exist on this machine, too")
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
    from gsi.authz.gridmap_edit import add_accounts
    from gsi.authz.gridmap_file import edit_file
    from gsi.nametext import escape_oneline

    if not arguments.dn or not arguments.ln:
        raise UsageError("-dn and -ln are needed", hint=f"{PROG} -dn /O=Grid/CN=Alice -ln alice")
    dn, accounts = escape_oneline(_check_name(arguments.dn)), tuple(dict.fromkeys(arguments.ln))
    _check_accounts(accounts, force=arguments.force)
    path = arguments.mapfile or _default_mapfile()
    if not arguments.json:
        sys.stdout.write(f"Modifying {path} ...\n")
        if dn != arguments.dn:
            sys.stdout.write(f"Services see this name as {dn}\n")
    made: list[Addition] = []

    def change(data: bytes) -> bytes:
        made.append(add_accounts(data, dn, accounts))
        return made[0].data

    edit_file(path, change, create=True, dry_run=arguments.dryrun)
    _show(arguments, path, dn, made[0])
    return EXIT_OK


def _default_mapfile() -> str:
    """Return the place that the C tool takes: GRIDMAP, else the system's."""
    from gsi.system.environ import read_locations

    return read_locations().gridmaps[0]


def _check_name(text: str) -> str:
    """Return a name in one-line form.

    Raises:
        UsageError: It is in another form, or none.
    """
    import re

    from gsi.errors import ParseError

    if text.startswith("/"):
        if re.search(_LIKE_A_PROXY, text):
            warn(PROG, f"{text} looks like the name of a proxy", hint="services look up the identity without that CN")
        return text
    from gsi import names

    try:
        hint = f"-dn '{names.oneline(names.parse_rfc4514(text))}'"
    except ParseError:
        hint = "grid-cert-info -subject prints a name in the right form"
    raise UsageError(f"'{text}' is not in the form /O=Grid/CN=Alice", hint=hint)


def _check_accounts(accounts: Sequence[str], *, force: bool) -> None:
    """See that the accounts exist, and tell of those with the rights of root.

    Raises:
        NotFoundError: One does not, and that is not forced.
    """
    from gsi.authz.pool import find_system_user
    from gsi.errors import NotFoundError

    for account in accounts:
        if account.startswith("."):
            continue  # a pool
        user = find_system_user(account)
        if user is None and not force:
            raise NotFoundError(
                f"entry not added: there is no account {account} here", hint="-force adds it all the same"
            )
        if user is not None and user.uid == 0:
            warn(PROG, f"the account {account} has the rights of root")


def _show(arguments: Namespace, path: str, dn: str, made: Addition) -> None:
    if arguments.json:
        import json

        found = {
            "mapfile": path,
            "dn": dn,
            "entry": made.entry,
            "new": made.is_new,
            "added": made.added,
            "present": made.present,
            "dryrun": arguments.dryrun,
        }
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    known = f", already present and ignored: {' '.join(made.present)}" if made.present else ""
    if not made.is_new:
        sys.stdout.write(f"DN {dn} already exists\n")
    if not made.added:
        sys.stdout.write(f"No changes were made{known.replace(',', ' -', 1)}\n")
        return
    if arguments.dryrun:
        sys.stdout.write(f"{'Appending new entry' if made.is_new else 'Updating entry to'} {made.entry}\n")
        sys.stdout.write("Since the dryrun option was used, no actions were carried out\n")
        return
    if made.is_new:
        sys.stdout.write(f"New entry:\n{made.entry}\n(1) entry added\n")
        return
    sys.stdout.write(f"(added mappings: {' '.join(made.added)}{known})\n")
    sys.stdout.write(f"Updated entry: {made.entry}\n(1) entry modified\n")


if __name__ == "__main__":
    sys.exit(main())
