"""The command `myproxy-renewd`: options; `myproxy.renewal` renews.

New; no C command does this. It stays in the foreground and logs to standard error.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import Completion, UsageError
from gsi.cli.run import EXIT_OK, printable, run
from myproxy.cli.options import LongOptionParser, add_config_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace
    from myproxy.renewal.config import RenewalConfig

__all__ = ["build_parser", "main"]

PROG: Final = "myproxy-renewd"
DEFAULT_CONFIG: Final = "/etc/myproxy/renewd.toml"
EXIT_NOT_WELL: Final = 2
"""With --once and --status: a credential is not as it should be."""


def build_parser() -> LongOptionParser:
    """Return the command's parser."""
    parser = LongOptionParser(PROG, "renew credentials before they end")
    add_config_option(parser.section("What to renew"), "MYPROXY_RENEWD_CONFIG", DEFAULT_CONFIG)
    section = parser.section("How to run")
    section.flag("-1", "--once", dest="once", text="renew what is due or has failed before, tell of it, and exit")
    section.flag(
        "-n", "--check", "-check", dest="check", text="read the configuration and the credentials, say so, and exit"
    )
    section.flag("-s", "--status", dest="status", text="print how every credential is, and exit")
    section.flag("-j", "--json", dest="json", text="print the status as one JSON list")
    section.value(
        "-P",
        "--pidfile",
        dest="pidfile",
        metavar="FILE",
        completion=Completion.FILE,
        text="a file to write the process id to",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    if arguments.json and not arguments.status:
        raise UsageError("--json is for --status")
    if arguments.once + arguments.check + arguments.status > 1:
        raise UsageError("--once, --check and --status are mutually exclusive")
    from gsi.cli.server_log import log_to_stderr
    from gsi.system.environ import get_variable
    from myproxy.renewal.config import load_config

    path = os.path.abspath(arguments.config or get_variable("MYPROXY_RENEWD_CONFIG") or DEFAULT_CONFIG)
    os.umask(0o077)
    if arguments.status or arguments.check:
        return _show(arguments, load_config(path))
    log_to_stderr("myproxy.renewal")

    from gsi.system.files import write_public
    from gsi.system.notify import Manager
    from myproxy.renewal.agent import Agent

    manager = Manager.from_environment()
    agent = Agent(lambda: load_config(path), manager=manager)
    with agent.open():
        if arguments.once:
            return EXIT_OK if agent.run_once() else EXIT_NOT_WELL
        if arguments.pidfile:
            write_public(arguments.pidfile, f"{os.getpid()}\n".encode())
        with contextlib.ExitStack() as stack:
            if agent.metrics:
                from gsi.system.clock import now
                from myproxy.renewal.monitor import telling

                stack.enter_context(telling(agent.metrics, lambda: agent.numbers, clock=now))
            agent.run()
    return EXIT_OK


def _show(arguments: Namespace, config: RenewalConfig) -> int:
    from gsi.system.clock import now
    from myproxy.renewal.schedule import State
    from myproxy.renewal.status import format_table, take_status

    present = now()
    rows = take_status(config, now=present)
    if arguments.json:
        import json

        sys.stdout.write(json.dumps([row.as_json() for row in rows], indent=2) + "\n")
    elif arguments.status:
        sys.stdout.write("".join(printable(line) + "\n" for line in format_table(rows, now=present).splitlines()))
    else:
        unusable = [row for row in rows if row.state is State.UNREADABLE]
        for row in unusable:
            sys.stdout.write(f"{row.name}: {printable(row.error)}\n")
        if not unusable:
            sys.stdout.write(f"the configuration can be used; {len(rows)} credentials\n")
        return EXIT_NOT_WELL if unusable else EXIT_OK
    return EXIT_OK if all(row.state is State.OK for row in rows) else EXIT_NOT_WELL


if __name__ == "__main__":
    sys.exit(main())
