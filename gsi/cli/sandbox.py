"""The command `grid-sandbox`: a demo virtual organisation and a tour of it; `gsi.sandbox` does the work."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, UsageError
from gsi.cli.run import EXIT_ERROR, EXIT_OK, run, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "grid-sandbox"
DEEDS: Final = ("up", "down", "status", "env", "tour", "reset")
SHELLS: Final = ("sh", "csh", "fish")
_OPTIONS: Final = {
    "once": (),
    "no_tour": (),
    "keep": (),
    "kerberos": ("up",),
    "delete": ("down",),
    "json": ("status",),
    "user": ("env",),
    "shell": ("env",),
}
"""Options, and for which deeds they are beside the sandbox in the foreground; `-dir` is for all."""


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "a demo virtual organisation, and a tour of it",
        usage=(
            "[-once] [-no-tour] [-keep] [-kerberos] [-dir DIR]",
            "up [-kerberos] | tour | status [-json] | reset | down [-delete]",
            "env [-user NAME] [-shell sh|csh|fish]",
        ),
    )
    parser.operand(
        "DEED",
        dest="deed",
        text="up starts it in the background, down ends it, status says how it is, env prints the lines that make a "
        "shell a user's, tour shows around in it, reset makes everything new; without one it runs in the foreground "
        "until Ctrl-C, beginning with the tour, and nothing stays of it",
        completion=Completion.NOTHING,
    )
    section = parser.section("In the foreground")
    section.flag("-once", text="end after the tour: exit 0 if every step worked, else 1")
    section.flag("-no-tour", dest="no_tour", text="only start the services")
    section.flag("-keep", text="leave the temporary directory behind")
    section = parser.section("What it has")
    section.flag("-kerberos", text="a private Kerberos realm and its authority, too, where an MIT KDC is installed")
    section.value(
        "-dir",
        dest="directory",
        metavar="DIR",
        completion=Completion.DIRECTORY,
        text="its directory; by default GRID_SANDBOX, or ~/.grid-sandbox, and in the foreground a temporary one",
    )
    section = parser.section("One deed's options")
    section.flag("-delete", text="down: delete the directory, too, with all that is in it")
    section.flag("-json", text="status: print one JSON object")
    section.value("-user", metavar="NAME", text="env: whose shell: alice (the default), bob, admin, elsewhere")
    section.value("-shell", metavar="SHELL", choices=SHELLS, text="env: in whose words: sh (the default), csh or fish")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    deed: str | None = arguments.deed
    _check(deed, arguments)
    match deed:
        case None:
            return _run(arguments)
        case "env":
            return _show_env(arguments)
        case "status":
            return _show_status(arguments)
    from gsi.sandbox.run import bring_down, bring_up, reset, take_tour
    from gsi.sandbox.state import choose_root

    root = choose_root(arguments.directory)
    match deed:
        case "up":
            bring_up(root, kerberos=arguments.kerberos, out=sys.stdout)
        case "down":
            bring_down(root, delete=arguments.delete, out=sys.stdout)
        case "reset":
            reset(root, out=sys.stdout)
        case _:
            return EXIT_OK if take_tour(root, out=sys.stdout) else EXIT_ERROR
    return EXIT_OK


def _check(deed: str | None, arguments: Namespace) -> None:
    """Refuse what would be overlooked.

    Raises:
        UsageError: There is no such deed, or it has no such option.
    """
    if deed is not None and deed not in DEEDS:
        raise UsageError(f"{deed[:100]!r} is not one of {', '.join(DEEDS)}")
    for name, deeds in _OPTIONS.items():
        here = deed in deeds if deed else not deeds or name == "kerberos"
        if getattr(arguments, name) and not here:
            option = f"-{name.replace('_', '-')}"
            raise UsageError(f"{option} does nothing here", hint=f"'{PROG} -help' says what it belongs to")


def _run(arguments: Namespace) -> int:
    from gsi.sandbox.run import run_sandbox

    good = run_sandbox(
        directory=arguments.directory,
        once=arguments.once,
        keep=arguments.keep,
        tour=not arguments.no_tour,
        kerberos=arguments.kerberos,
    )
    return EXIT_OK if good else EXIT_ERROR


def _show_env(arguments: Namespace) -> int:
    from gsi.sandbox.report import Shell, exports_of, is_up
    from gsi.sandbox.state import choose_root, load_state

    state = load_state(choose_root(arguments.directory))
    text = exports_of(state, arguments.user or "alice", Shell(arguments.shell or "sh"))
    if not is_up(state):
        warn(PROG, "not everything is up", hint="`grid-sandbox up` starts what does not run")
    sys.stdout.write(text)
    return EXIT_OK


def _show_status(arguments: Namespace) -> int:
    from gsi.sandbox.report import is_up, status_json, status_text
    from gsi.sandbox.state import choose_root, load_state

    root = choose_root(arguments.directory)
    state = load_state(root)
    sys.stdout.write((status_json if arguments.json else status_text)(root, state))
    return EXIT_OK if is_up(state) else EXIT_ERROR
