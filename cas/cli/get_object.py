"""The command `cas-get-object`: show one thing that a community knows, as in GT 3.2 to 4.2."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.asking import add_question_options, ask_about, print_lines
from cas.cli.changing import print_version
from cas.cli.common import word_parser, write_json
from gsi.cli.run import EXIT_OK, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cas.policy.model import Entity
    from gsi.cli.arguments import CommandParser, Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "cas-get-object"
FORMS: Final = (
    "KIND NAME",
    "object NAMESPACE NAME",
    "serviceAction TYPE ACTION",
)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(PROG, "show one thing that a community knows", FORMS, "which thing")
    add_question_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.wants_version:
        return print_version(PROG)

    from cas.policy.changes import decode_entity

    answer = ask_about("/cas/v1/get", PROG, FORMS, arguments, but=frozenset({"server"}))
    if arguments.json:
        write_json(answer)
    else:
        print_lines(_describe(decode_entity(answer.get("entity")), answer))
    return EXIT_OK


def _describe(entity: Entity, answer: Mapping[str, object]) -> Iterator[str]:
    from cas.policy.changes import encode_entity
    from cas.policy.conditions import Strength

    for name, value in encode_entity(entity).items():
        if isinstance(value, int):
            yield f"{name}: {Strength(value).name.lower()}"
        elif value != "":
            yield f"{name}: {value}"
    if answer.get("fqan"):
        yield f"fqan: {answer['fqan']}"
    feeds = answer.get("feeds")
    yield from (f"feed: {' '.join(one)}" for one in (feeds if isinstance(feeds, list) else []))
    yield f"version: {answer.get('version')}"


if __name__ == "__main__":
    sys.exit(main())
