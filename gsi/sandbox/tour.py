"""The guided tour: runs each step's commands on the sandbox and shows them so that a person can repeat them.

The output is a terminal session: a sentence, `$ command`, and what the command printed. A command whose status or
output is not the expected one makes the tour fail, and says so on the spot.
"""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING, Final, TextIO

from gsi.sandbox.report import exports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gsi.sandbox.plan import Command, Step
    from gsi.sandbox.vo import VO

__all__ = ["run_tour"]

COMMAND_SECONDS: Final = 60.0  # every command of the tour answers within a second or two


def run_tour(steps: Iterable[Step], vo: VO, out: TextIO, is_stopped: Callable[[], bool] = lambda: False) -> bool:
    """Run the steps in order, showing everything on `out`; tell whether every command did what it should.

    `is_stopped` is asked before each command; once it says yes, nothing more is run.
    """
    good = True
    shell_of: str | None = None
    for number, step in enumerate(steps, start=1):
        out.write(f"\n== {number}. {step.title}\n{step.text}\n\n")
        for command in step.commands:
            if is_stopped():
                return False
            if command.user != shell_of:
                shell_of = command.user
                out.write(f"# in the shell of {shell_of}\n{exports(vo.person(shell_of).environment)}")
            out.write(f"$ {_typed(command)}\n")
            out.flush()
            good = _run(command, vo, out) and good
    return good


def _run(command: Command, vo: VO, out: TextIO) -> bool:
    person = vo.person(command.user)
    if command.prepare is not None:
        command.prepare()
    stdin = subprocess.DEVNULL if command.stdin_path is None else open(command.stdin_path, "rb")  # noqa: SIM115  # closed below
    try:
        done = subprocess.run(
            command.argv,
            env={**person.environment, **dict(command.environment)},
            cwd=person.home,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            check=False,
            start_new_session=True,  # Ctrl-C is for the tour, which lets the command finish
        )
        status, printed = done.returncode, done.stdout.decode("utf-8", "replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        status, printed = -1, f"{error}\n"
    finally:
        if not isinstance(stdin, int):
            stdin.close()
    out.write(printed if printed.endswith("\n") or not printed else f"{printed}\n")
    if status:
        out.write(f"[exit status {status}]\n")
    missing = [text for text in command.expect if text not in printed]
    if status == command.status and not missing:
        return True
    out.write(f"!! this step FAILED: exit status {status}, expected {command.status}")
    out.write("".join(f"; no {text!r} in the output" for text in missing) + "\n")
    return False


def _typed(command: Command) -> str:
    words = [f"{name}={shlex.quote(value)}" for name, value in command.environment]
    words.append(shlex.join(command.argv))
    if command.stdin_path is not None:
        words.append(f"< {shlex.quote(str(command.stdin_path))}")
    return " ".join(words)
