"""The command `gsi-authz-gram-gate`, which the gatekeeper runs in place of the job manager; `gate.py` does the work.

    stderr_log,local_cred - /usr/bin/gsi-authz-gram-gate gsi-authz-gram-gate -- \
        /usr/sbin/globus-job-manager globus-job-manager -conf /etc/globus/globus-gram-job-manager.conf -type fork

What goes wrong must reach the client as a GRAM reply, so that this command ends with 0 whenever it could write one.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, UsageError, count
from gsi.cli.run import EXIT_OK, printable, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "gsi-authz-gram-gate"
DEFAULT_SOCKET: Final = "/run/gsi-authz/socket"


def _uid(text: str) -> int:
    return count(text, maximum=2**31 - 1)


def _milliseconds(text: str) -> int:
    return count(text, minimum=1, maximum=600000)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "ask before a GRAM job is started",
        usage=("[options] -- PROGRAM NAME [ARGUMENT...]",),
    )
    section = parser.section("Whom to ask")
    section.value(
        "-socket",
        metavar="PATH",
        default=DEFAULT_SOCKET,
        completion=Completion.FILE,
        text=f"the socket of gsi-authz-server ({DEFAULT_SOCKET})",
    )
    section.value("-server-uid", metavar="UID", convert=_uid, default=0, text="the uid that it must have (0)")
    section.value(
        "-timeout",
        metavar="MS",
        convert=_milliseconds,
        default=10000,
        text="how long to wait for its answer, in milliseconds (10000)",
    )
    parser.operand(
        "COMMAND",
        dest="command",
        many=True,
        text="the job manager as the service line would have it without the gate: program, name, arguments",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    own, mark, command = given, False, []
    if "--" in given:  # what follows has options of its own
        at = given.index("--")
        own, mark, command = given[:at], True, given[at + 1 :]

    def execute(arguments: Namespace) -> int:
        if not mark or len(command) < 2 or not command[0].startswith("/"):
            raise UsageError(
                "after '--' the job manager's program, by its absolute path, and its name are needed",
                hint="-- /usr/sbin/globus-job-manager globus-job-manager -conf FILE -type fork",
            )
        return _execute(arguments, command)

    status = run(build_parser, execute, own, short_lived=True)
    if status != EXIT_OK:
        _answer_anyway()
    return status


def _answer_anyway() -> None:
    """Refuse the request that a misconfigured gate cannot judge: its client would wait for minutes."""
    from gsi.system.environ import get_variable

    if get_variable("GRID_SECURITY_HTTP_BODY_FD"):
        from gsi.authz.callout.gram import AUTHORIZATION_SYSTEM_FAILURE, encode_refusal

        os.write(1, encode_refusal(AUTHORIZATION_SYSTEM_FAILURE, "the authorization gate is misconfigured"))


def _execute(arguments: Namespace, command: Sequence[str]) -> int:
    from gsi.authz.callout.gate import GateOptions, run_gate
    from gsi.system.environ import all_variables

    def report(line: str) -> None:
        sys.stderr.write(f"{PROG}: {printable(line)}\n")

    def write(reply: bytes) -> None:
        while reply:
            reply = reply[os.write(1, reply) :]

    run_gate(
        GateOptions(arguments.socket, arguments.server_uid, arguments.timeout / 1000),
        command,
        all_variables(),
        report=report,
        write=write,
    )
    return EXIT_OK
