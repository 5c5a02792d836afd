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
    from collections.abc import Iterator, Mapping, Sequence

    from cas.client import CASClient
    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

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
    from cas.client import CASRefusedError
    from gsi.system.files import write_private

    if arguments.wants_version:
        return print_version(PROG)
    if not arguments.file:
        raise UsageError("FILE is missing", hint=f"{PROG} FILE, or {PROG} - for the output")
    client = connect(arguments)
    for tries in range(1, TRIES + 1):
        try:
            lines = list(_lines(client, with_history=arguments.history))
            break
        except CASRefusedError as error:
            if error.status != _CONFLICT or tries == TRIES:
                raise
    if arguments.file == "-":
        sys.stdout.writelines(lines)
    else:
        write_private(arguments.file, "".join(lines).encode("ascii"))
    return EXIT_OK


def _lines(client: CASClient, *, with_history: bool) -> Iterator[str]:
    from cas.cli.asking import objects

    body: dict[str, object] = {}
    while True:
        page = client.call("POST", "/cas/v1/export", body)
        if not body:
            yield _line({"format": "cas-policy", "version": 1, "revision": page.get("revision")})
        yield from map(_line, objects(page.get("changes")))
        if page.get("after") is None:
            break
        body = {"after": page["after"], "revision": page.get("revision")}
    if with_history:
        from cas.cli.history import read_history

        yield from (_line({"history": _entry(one)}) for one in read_history(client, None, 0))


def _entry(entry: Mapping[str, object]) -> dict[str, object]:
    return {("request" if name == "request_id" else name): value for name, value in entry.items()}


def _line(value: object) -> str:
    import json

    return json.dumps(value, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    sys.exit(main())
