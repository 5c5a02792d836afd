"""The command `cas-wrap`: run a program with the proxy of `cas-proxy-init`, as in GT 3.2 to 4.2."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from cas.cli.common import add_output_options, find_output
from gsi.cli.arguments import CommandParser, UsageError
from gsi.cli.run import run
from gsi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "cas-wrap"
_WITH_VALUE: Final = frozenset({"p", "w", "t", "u"})


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "run a program with a proxy that carries a capability",
        usage=("[-p FILE | -w FILE | -t TAG] command [arguments ...]",),
    )
    add_output_options(parser.section("Which proxy"))
    parser.operand("command", dest="command", many=True, text="the program and its arguments, as they are")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; where the program can be run, do not return."""
    words = list(sys.argv[1:] if argv is None else argv)
    place = _find_command(words)
    own, command = words[:place], words[place:]
    return run(build_parser, lambda arguments: _execute(arguments, command), own)


def _find_command(words: Sequence[str]) -> int:
    """Return where the program's name stands: what begins with a dash behind it is the program's."""
    place = 0
    while place < len(words) and words[place].startswith("-"):
        if words[place] == "--":
            return place + 1
        place += 2 if words[place].lstrip("-") in _WITH_VALUE else 1
    return place


def _execute(arguments: Namespace, command: Sequence[str]) -> int:
    from gsi.system.credential_files import load_proxy
    from gsi.system.environ import all_variables

    if not command:
        raise UsageError("no program to run", hint=f"'{PROG} -help' says how")
    path = find_output(arguments)
    load_proxy(path)  # a missing one, or one that others can read, shows here and not in the program
    # What C programs prefer to a proxy where it is set.
    kept = {name: value for name, value in all_variables().items() if name not in {"X509_USER_CERT", "X509_USER_KEY"}}
    sys.stdout.flush()
    try:
        os.execvpe(command[0], list(command), kept | {"X509_USER_PROXY": os.path.abspath(path)})  # noqa: S606  as asked
    except OSError as error:
        raise ConfigError(f"cannot run {command[0]}: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
