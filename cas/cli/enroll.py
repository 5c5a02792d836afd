"""The command `cas-enroll`: make something known to a community, as in GT 3.2 to 4.2."""

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

PROG: Final = "cas-enroll"
FORMS: Final = (
    "trustAnchor GROUP NICKNAME METHOD DATA",
    "user GROUP NICKNAME SUBJECT TRUSTANCHOR",
    "namespace GROUP NICKNAME BASE ALGORITHM",
    "object GROUP NAME NAMESPACE",
    "serviceType GROUP NAME",
)
KINDS: Final = tuple(form.split()[0] for form in FORMS)
STRENGTHS: Final = ("low", "medium", "high")


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(PROG, "make something known to a community", FORMS, "what, and who gets grantAll on it")
    section = parser.section("Trust anchors")
    section.value(
        "-strength",
        metavar="NAME",
        choices=STRENGTHS,
        text="how sure one may be of the names that it certifies (medium)",
    )
    add_change_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    return change(PROG, arguments, FORMS, _read)


def _read(words: Words, arguments: Namespace) -> Sequence[Change]:
    from cas.policy.changes import Enrol
    from cas.policy.conditions import Strength
    from cas.policy.model import ObjectName, ServiceType, TrustAnchor, User
    from gsi.cli.arguments import UsageError

    kind = words.pick("KIND", KINDS)
    if arguments.strength and kind != "trustAnchor":
        raise UsageError("-strength says something of trust anchors alone", hint="users have that of theirs")
    owner = words.take("GROUP")
    match kind:
        case "trustAnchor":
            nickname, method, data = words.take("NICKNAME"), words.take("METHOD"), words.take("DATA")
            strength = Strength[(arguments.strength or "medium").upper()]
            return [Enrol(TrustAnchor(nickname, data, method, strength), owner)]
        case "user":
            nickname, subject = words.take("NICKNAME"), words.take("SUBJECT")
            return [Enrol(User(nickname, subject, words.take("TRUSTANCHOR")), owner)]
        case "namespace":
            return [_namespace(words, owner)]
        case "object":
            name = words.take("NAME")
            return [Enrol(ObjectName(words.take("NAMESPACE"), name), owner)]
        case _:
            return [Enrol(ServiceType(words.take("NAME")), owner)]


def _namespace(words: Words, owner: str) -> Change:
    from cas.assertion.value import Comparison
    from cas.policy.changes import Enrol
    from cas.policy.model import Namespace as Names

    nickname, base = words.take("NICKNAME"), words.take("BASE", may_be_empty=True)
    algorithm = words.pick("ALGORITHM", [one.value for one in Comparison])
    return Enrol(Names(nickname, base, Comparison(algorithm)), owner)


if __name__ == "__main__":
    sys.exit(main())
