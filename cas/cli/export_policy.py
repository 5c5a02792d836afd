"""The command `cas-export`: write a community's policy to a file, of one state of it. New; GT had none.

`cas-server-bootstrap -export` writes the same file, on the server's own machine and without any right.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.changing import print_version
from cas.cli.common import add_old_options, add_service_options, connect
from gsi.cli.arguments import CommandParser, UsageError
from gsi.cli.run import EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cas.client import CASClient
    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main", "read_policy"]

PROG: Final = "cas-export"
TRIES: Final = 3
"""How often it is begun again when the policy is changed meanwhile."""

_CONFLICT: Final = 409


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "write a community's policy to a file", usage=("[options] FILE",))
    parser.operand("FILE", dest="file", text="the file to write (mode 0600); - for the output")
    section = parser.section("What to write")
    section.flag("-history", text="the history, too")
    section = parser.section("Which server")
    add_service_options(section)
    add_old_options(section)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.system.files import write_private

    if arguments.wants_version:
        return print_version(PROG)
    if not arguments.file:
        raise UsageError("FILE is missing", hint=f"{PROG} FILE, or {PROG} - for the output")
    client = connect(arguments)
    revision, changes = read_policy(client)
    lines = [_line({"format": "cas-policy", "version": 1, "revision": revision}), *map(_line, changes)]
    if arguments.history:
        from cas.cli.history import read_history

        # The history goes on; what came after the policy was read is none of it.
        entries = read_history(client, None, 0)
        lines += [_line({"history": _entry(one)}) for one in entries if int(str(one.get("revision"))) <= revision]
    if arguments.file == "-":
        sys.stdout.writelines(lines)
    else:
        write_private(arguments.file, "".join(lines).encode("ascii"))
    return EXIT_OK


def read_policy(client: CASClient) -> tuple[int, list[dict[str, object]]]:
    """Return a policy's revision, and the changes that make it as plain values; all of one state of it.

    Raises:
        CASRefusedError: It was changed each time while it was read, or one may not ask.
        GridError: The server cannot be asked.
    """
    from cas.client import CASRefusedError

    for _ in range(TRIES - 1):
        try:
            return _read_once(client)
        except CASRefusedError as error:
            if error.status != _CONFLICT:
                raise
    return _read_once(client)


def _read_once(client: CASClient) -> tuple[int, list[dict[str, object]]]:
    from cas.cli.asking import objects

    changes: list[dict[str, object]] = []
    body: dict[str, object] = {}
    while True:
        page = client.call("POST", "/cas/v1/export", body)
        changes += objects(page.get("changes"))
        if page.get("after") is None:
            return int(str(page.get("revision"))), changes
        body = {"after": page["after"], "revision": page.get("revision")}


def _entry(entry: Mapping[str, object]) -> dict[str, object]:
    return {("request" if name == "request_id" else name): value for name, value in entry.items()}


def _line(value: object) -> str:
    import json

    return json.dumps(value, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    sys.exit(main())
