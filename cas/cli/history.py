"""The command `cas-history`: say who changed the policy, when and why. New; GT had none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.asking import add_question_options
from cas.cli.changing import print_version
from cas.cli.common import connect, word_parser, write_json
from gsi.cli.arguments import count
from gsi.cli.run import EXIT_OK, run, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cas.client import CASClient
    from gsi.cli.arguments import CommandParser, Namespace

__all__ = ["build_parser", "main", "read_history"]

PROG: Final = "cas-history"
FORMS: Final = (
    "",
    "KIND NAME",
    "object NAMESPACE NAME",
    "serviceAction TYPE ACTION",
)
PAGE: Final = 1000


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(PROG, "say who changed the policy, when and why", FORMS, "only of this thing")
    section = parser.section("Which changes")
    section.value("-after", metavar="N", convert=count, default=0, text="only those behind this revision of the policy")
    section.value("-last", metavar="N", convert=count, text="only so many, the newest")
    add_question_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.wants_version:
        return print_version(PROG)

    from collections import deque

    from cas.cli.asking import print_lines
    from cas.cli.words import Words
    from cas.policy.changes import encode_ref

    words = Words(PROG, FORMS, arguments.words)
    about = encode_ref(words.take_ref(words.take_kind())) if words.left else None
    words.end()
    entries = deque(read_history(connect(arguments), about, arguments.after), maxlen=arguments.last)
    if arguments.json:
        write_json(list(entries))
    else:
        for entry in entries:
            print_lines(_describe(entry))
    return EXIT_OK


def read_history(client: CASClient, about: list[str] | None, after: int) -> Iterator[dict[str, object]]:
    """Return changes in their order, from behind a revision on; all, or of one thing.

    Raises:
        GridError: The server cannot be asked, or says no.
    """
    from cas.cli.asking import objects

    while True:
        body = {"after": after, "limit": PAGE} | ({} if about is None else {"about": about})
        answer = client.call("POST", "/cas/v1/history", body)
        page = objects(answer.get("entries"))
        yield from page
        if len(page) < PAGE:
            return
        after = int(str(page[-1].get("revision")))
        if answer.get("left_out"):
            more = f"{answer['left_out']} more changes were made together with the last ones of revision {after}"
            warn(PROG, more, hint="'cas-server-bootstrap -export FILE -history' has all of them")


def _describe(entry: Mapping[str, object]) -> Iterator[str]:
    from cas.cli.asking import objects
    from cas.effects import describe
    from cas.policy.changes import decode_change, decode_statement

    yield f"{entry.get('revision')}  {entry.get('time')}  {entry.get('actor')}"
    yield f"    {describe(decode_change(entry.get('change')))}"
    yield from (f"    with it went: {decode_statement(one)}" for one in objects(entry.get("purged")))
    if entry.get("reason"):
        yield f"    reason: {entry['reason']}"


if __name__ == "__main__":
    sys.exit(main())
