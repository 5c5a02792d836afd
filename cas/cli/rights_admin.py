"""The command `cas-rights-admin`: grant and revoke rights, as in GT 3.2 to 4.2.

New are denials, which `deny` makes and `lift` takes back, and the terms under which a statement holds.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.changing import add_change_options, change
from cas.cli.common import word_parser
from gsi.cli.run import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cas.cli.words import Words
    from cas.client import CASClient
    from cas.policy.changes import Change
    from gsi.cli.arguments import CommandParser, Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "cas-rights-admin"
FORMS: Final = (
    "grant|revoke GROUP KIND NAME... serviceAction TYPE ACTION",
    "grant|revoke GROUP KIND NAME... serviceActionGp NAME",
    "deny|lift GROUP KIND NAME... serviceAction TYPE ACTION",
    "deny|lift GROUP KIND NAME... serviceActionGp NAME",
)
VERBS: Final = ("grant", "revoke", "deny", "lift")
ACTIONS: Final = ("serviceAction", "serviceActionGp")


def _time(text: str) -> object:
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"needs a time like 2026-01-01T08:00Z, not '{text}'") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = word_parser(
        PROG, "grant and revoke rights", FORMS, "what to do: for which user group, on what, which action"
    )
    section = parser.section("When and for whom it holds")
    section.value("-from", dest="not_before", metavar="TIME", convert=_time, text="from when: 2026-01-01T08:00Z")
    section.value(
        "-until", dest="not_after", metavar="TIME", convert=_time, text="until when, exclusive; UTC if it has no zone"
    )
    section.value(
        "-proxies",
        metavar="KIND",
        choices=("any", "full", "limited"),
        default="any",
        text="with which proxies: any (the default), full or limited",
    )
    section.value(
        "-strength",
        metavar="NAME",
        choices=("none", "low", "medium", "high"),
        default="none",
        text="a permit: for who is authenticated at least so; a denial: for who is less (none: for all)",
    )
    add_change_options(parser, versioned="the user group")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    return change(PROG, arguments, FORMS, _read, near=_others)


def _others(client: CASClient, done: Change) -> Sequence[str]:
    """Say what there is for the same group, action and object with other terms, or the other effect, as far as one may.

    Whoever takes a right back must not believe that it is gone when a statement with other terms still gives it.
    """
    from cas.cli.asking import objects
    from cas.client import CASRefusedError
    from cas.policy.changes import Revoke, decode_statement, encode_ref

    if not isinstance(done, Revoke):
        return ()
    wanted = done.statement
    try:
        answer = client.call("POST", "/cas/v1/policies", {"name": encode_ref(wanted.object)})
    except CASRefusedError:
        return ("hint: there may be one with other terms; cas-find-policies shows them",)
    found = map(decode_statement, objects(answer.get("statements")))
    return [f"There is: {one}" for one in found if (one.group, one.action) == (wanted.group, wanted.action)]


def _read(words: Words, arguments: Namespace) -> Sequence[Change]:
    from cas.policy.changes import Grant, Revoke
    from cas.policy.conditions import Proxies, Strength, Terms
    from cas.policy.model import Effect, Kind, Statement
    from gsi.cli.arguments import UsageError
    from gsi.system import clock

    verb = words.pick("VERB", VERBS)
    group = words.take("GROUP")
    on = words.take_ref(words.take_kind([kind for kind in Kind if kind.value not in ACTIONS]))
    action = words.take_ref(Kind(words.pick("KIND of action", ACTIONS)))
    terms = Terms(
        arguments.not_before, arguments.not_after, Proxies(arguments.proxies), Strength[arguments.strength.upper()]
    )
    if verb in {"grant", "deny"} and terms.not_after is not None and terms.not_after <= clock.now():
        raise UsageError(f"-until: that is over already, so {verb} would do nothing")
    effect = Effect.PERMIT if verb in {"grant", "revoke"} else Effect.DENY
    statement = Statement(group, effect, action, on, terms)
    return [Grant(statement) if verb in {"grant", "deny"} else Revoke(statement)]


if __name__ == "__main__":
    sys.exit(main())
