"""The command `cas-remove`: let a community forget something that is not in use, as in GT 3.2 to 4.2."""

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

PROG: Final = "cas-remove"
FORMS: Final = (
    "trustAnchor NICKNAME",
    "user NICKNAME",
    "namespace NICKNAME",
    "object NAME NAMESPACE",
    "serviceType NAME",
)
KINDS: Final = tuple(form.split()[0] for form in FORMS)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(PROG, "let a community forget something", FORMS, "what")
    add_change_options(parser, versioned="what is removed")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    return change(PROG, arguments, FORMS, _read)


def _read(words: Words, _arguments: Namespace) -> Sequence[Change]:
    from cas.policy.changes import Remove
    from cas.policy.model import Kind, Ref

    kind = Kind(words.pick("KIND", KINDS))
    name = words.take("NAME" if kind in {Kind.OBJECT, Kind.SERVICE_TYPE} else "NICKNAME")
    return [Remove(Ref(kind, name, words.take("NAMESPACE") if kind is Kind.OBJECT else ""))]


if __name__ == "__main__":
    sys.exit(main())
