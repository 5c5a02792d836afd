"""The command `cas-server-bootstrap`: begin a community's policy, export and import it; on the server's own machine.

As in GT 4: `-d` says where the policy is kept, `-b` names the file with the first trust anchor and superuser, and
`-implicit` enrols what GridFTP needs. The rest is ours. Whoever can run it on the store needs no right in the policy.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, UsageError
from gsi.cli.run import EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cas.policy.changes import Change
    from cas.repository.base import Author
    from cas.repository.sql import SQLPolicy
    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "cas-server-bootstrap"
DEFAULT_GROUP: Final = "superUserGroup"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "begin a community's policy")
    section = parser.section("Where the policy is")
    section.value(
        "-d",
        dest="place",
        metavar="PLACE",
        completion=Completion.DIRECTORY,
        text="the server's directory, or a connection string that begins with postgresql://",
    )
    section = parser.section("What it begins with")
    section.value(
        "-b", dest="bootstrap", metavar="FILE", completion=Completion.FILE, text="the first trust anchor and superuser"
    )
    section.flag("-implicit", text="the service type file and its actions, and the namespaces of GridFTP")
    section.value(
        "-group",
        metavar="NAME",
        text=f"with -implicit and without -b, who gets grantAll on these ({DEFAULT_GROUP})",
    )
    section = parser.section("The whole policy")
    section.value(
        "-export",
        metavar="FILE",
        completion=Completion.FILE,
        text="write it to a new file (0600), or to - for the output",
    )
    section.flag("-history", text="with -export, the history, too")
    section.value(
        "-import", dest="import_", metavar="FILE", completion=Completion.FILE, text="read it into a new store"
    )
    section.flag("-accept-clock", text="take now for the time of the newest change, after a clock that was ahead")
    section.value("-reason", metavar="TEXT", default="", text="why, for the history")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    begins = bool(arguments.bootstrap or arguments.implicit)
    chosen = [begins, bool(arguments.export), bool(arguments.import_), bool(arguments.accept_clock)]
    hint = f"'{PROG} -help' lists the options"
    if not arguments.place:
        raise UsageError("-d does not say where the policy is", hint=hint)
    if sum(chosen) != 1:
        raise UsageError("one of -b and -implicit, -export, -import, -accept-clock is to be given", hint=hint)
    repository = _open(arguments.place)
    try:
        if begins:
            _begin(repository, arguments)
        elif arguments.export:
            _export(repository, arguments)
        elif arguments.import_:
            _import(repository, arguments)
        else:
            from gsi.system.clock import now

            repository.accept_clock(now())
    finally:
        repository.close()
    return EXIT_OK


def _open(place: str) -> SQLPolicy:
    from cas.repository.sql import open_postgres_policy, open_sqlite_policy

    is_server = place.startswith(("postgresql://", "postgres://"))
    return open_postgres_policy(place) if is_server else open_sqlite_policy(place)


def _author(reason: str) -> Author:
    import os
    import pwd

    from cas.repository.base import Author
    from gsi.system.clock import now

    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid {uid}"
    return Author(f"{PROG} by {name}", now(), reason)


def _begin(repository: SQLPolicy, arguments: Namespace) -> None:
    from cas.policy.bootstrap import MAX_BOOTSTRAP_BYTES, bootstrap_changes, implicit_changes, parse_bootstrap
    from gsi.system.files import read_public

    changes: list[Change] = []
    owner = arguments.group or DEFAULT_GROUP
    if arguments.bootstrap:
        found = parse_bootstrap(read_public(arguments.bootstrap, max_bytes=MAX_BOOTSTRAP_BYTES, check_writers=True))
        if arguments.group:
            raise UsageError("-group goes with -implicit alone: the file names the group")
        owner = found.group.name
        changes += bootstrap_changes(found)
    if arguments.implicit:
        changes += implicit_changes(owner)
    applied = repository.apply(changes, _author(arguments.reason))
    sys.stdout.write(f"{sum(applied.changed)} changes made; the policy has revision {applied.revision}.\n")


def _export(repository: SQLPolicy, arguments: Namespace) -> None:
    from cas.repository.transfer import export_lines
    from gsi.system.files import write_private

    lines = export_lines(repository, history=arguments.history)
    if arguments.export == "-":
        sys.stdout.writelines(lines)
        return
    write_private(arguments.export, "".join(lines).encode("ascii"))


def _import(repository: SQLPolicy, arguments: Namespace) -> None:
    from cas.repository.transfer import import_lines

    applied = import_lines(repository, _lines(arguments.import_), _author(arguments.reason))
    sys.stdout.write(f"{sum(applied.changed)} changes made; the policy has revision {applied.revision}.\n")


def _lines(path: str) -> Iterator[str]:
    from cas.repository.transfer import MAX_LINE_CHARS
    from gsi.errors import ConfigError

    try:
        with open(path, encoding="ascii", errors="replace") as file:
            while line := file.readline(MAX_LINE_CHARS + 1):
                yield line
    except OSError as error:
        raise ConfigError(f"cannot read it: {error.strerror}", path=path) from error
