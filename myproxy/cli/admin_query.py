"""The command `myproxy-admin-query`: look at, lock, unlock and remove what is stored, on the server's machine.

Agrees with gct:myproxy/source/myproxy_admin_query.c in options, output lines and exit status (0, also when nothing is
found; 1 for any error; ours: 2 when the audit was changed). Works beside running servers. Unlike the C command it asks
a person at a terminal before it removes, locks or unlocks every credential of everybody.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import UsageError
from gsi.cli.run import EXIT_OK, printable, run
from myproxy.cli.desk import add_place_options
from myproxy.cli.options import LongOptionParser, hours

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gsi.cli.arguments import Namespace
    from myproxy.admin import AdminDesk
    from myproxy.repository.base import Selection, StoredCredential

__all__ = ["build_parser", "main"]

PROG = "myproxy-admin-query"
NOTHING = "No credentials found.\n"


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "look after the credentials in a MyProxy repository")
    add_place_options(parser.section("Which repository"))
    which = parser.section("Which credentials (all that is given has to fit)")
    which.value("-l", "--username", dest="username", metavar="NAME", text="of this account name")
    which.value("-k", "--credname", dest="credname", metavar="NAME", text="of this name; an empty one is the unnamed")
    which.value("-o", "--owner", dest="owner", metavar="DN", text="of this owner")
    which.value(
        "-e", "--expiring_in", dest="expiring_in", metavar="HOURS", convert=hours, text="that last less than this"
    )
    which.value(
        "-t", "--time_left", dest="time_left", metavar="HOURS", convert=hours, text="that last longer than this"
    )
    which.flag("-i", "--invalid", dest="invalid", text="whose chains are not valid: expired, revoked, not trusted")
    which.flag(
        "--all",
        dest="all",
        text="everything; -r, -L and -U without a query ask before, at a terminal, unless this is given",
    )
    what = parser.section("What to do with them (default: show them)")
    what.flag("-r", "--remove", dest="remove", text="remove them")
    what.value("-L", "--lock", dest="lock", metavar="MESSAGE", text="let nobody have them; who asks is told this")
    what.flag("-U", "--unlock", dest="unlock", text="undo --lock")
    what.flag("--json", dest="json", text="print one JSON array")
    other = parser.section("In place of credentials")
    other.flag(
        "--verify-audit",
        dest="verify_audit",
        text="look whether lines of the audit files were altered, removed or put in; exit status 2 when so",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    changes = [name for name in ("remove", "lock", "unlock") if getattr(arguments, name) not in (None, False)]
    if len(changes) > 1:
        raise UsageError(f"--{changes[0]} and --{changes[1]} are mutually exclusive")
    queries = ("username", "credname", "owner", "expiring_in", "time_left")
    is_query = arguments.invalid or any(getattr(arguments, name) is not None for name in queries)
    if changes and not is_query and not arguments.all:
        _confirm(changes[0])

    if arguments.verify_audit:
        if changes or is_query or arguments.all:
            raise UsageError("--verify-audit goes with none of the others")
        from myproxy.cli.verify_audit import verify_audit

        return verify_audit(arguments)

    from myproxy.cli.desk import is_unused, open_desk

    if is_unused(arguments):
        sys.stdout.write("[]\n" if arguments.json and not changes else NOTHING)
        return EXIT_OK
    with open_desk(arguments) as desk:
        found = desk.find(_selection(arguments), only_invalid=arguments.invalid)
        if changes:
            _change(desk, list(found), arguments)
        else:
            _show(found, arguments)
    return EXIT_OK


def _confirm(change: str) -> None:
    """Ask whether everything is meant; a script that says so means it, as with the C command.

    Raises:
        UsageError: A person does not mean it.
    """
    if not sys.stdin.isatty():
        return
    sys.stderr.write(f"{PROG}: --{change} every credential of everybody? [yes/no] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != "yes":
        raise UsageError("nothing was done", hint="--all says beforehand that everything is meant")


def _selection(arguments: Namespace) -> Selection:
    from gsi.system.clock import now
    from myproxy.repository.base import Selection

    moment = now()
    return Selection(
        username=arguments.username,
        name=arguments.credname,
        owner=arguments.owner,
        ends_before=None if arguments.expiring_in is None else moment + arguments.expiring_in,
        ends_after=None if arguments.time_left is None else moment + arguments.time_left,
    )


def _show(found: Iterable[StoredCredential], arguments: Namespace) -> None:
    from gsi.system.clock import now
    from myproxy.cli.listing import as_json, describe
    from myproxy.commands import describe as tell

    moment = now()
    if arguments.json:
        import json

        print(json.dumps([as_json(one.username, tell(one), moment) for one in found], indent=2))
        return
    count = 0
    for one in found:
        count += 1
        sys.stdout.write(describe(tell(one), moment, username=one.username))
    if not count:
        sys.stdout.write(NOTHING)


def _change(desk: AdminDesk, found: list[StoredCredential], arguments: Namespace) -> None:
    from gsi.errors import NotFoundError

    for one in found:
        try:
            if arguments.remove:
                desk.remove(one)
                done = "removed"
            elif arguments.unlock:
                desk.unlock(one)
                done = "unlocked"
            else:
                desk.lock(one, arguments.lock)
                done = "locked"
        except NotFoundError:
            continue  # its owner was faster
        name = "default" if one.name is None else printable(one.name)
        sys.stdout.write(f"Credential for user {printable(one.username)} (name: {name}) {done}.\n")
    if not found:
        sys.stdout.write(NOTHING)
