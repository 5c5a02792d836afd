"""The command `cas-action`: add an action to a service type, or take one away, as in GT 3.2 to 4.2."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.changing import add_change_options, change
from cas.cli.common import word_parser
from gsi.cli.run import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cas.cli.words import Words
    from cas.policy.changes import Change
    from gsi.cli.arguments import CommandParser, Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "cas-action"
FORMS: Final = (
    "add TYPE ACTION",
    "remove TYPE ACTION",
)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(PROG, "add or remove an action of a service type", FORMS, "what to do")
    add_change_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    return change(PROG, arguments, FORMS, _read)


def _read(words: Words, _arguments: Namespace) -> Sequence[Change]:
    from cas.policy.changes import Enrol, Remove
    from cas.policy.model import Kind, Ref, ServiceAction

    is_new = words.pick("VERB", ("add", "remove")) == "add"
    service_type, name = words.take("TYPE"), words.take("ACTION")
    if is_new:
        return [Enrol(ServiceAction(service_type, name))]
    return [Remove(Ref(Kind.SERVICE_ACTION, name, service_type))]


if __name__ == "__main__":
    sys.exit(main())
