"""The guided tour: runs each step's commands on the sandbox and shows them so that a person can repeat them.

The output is a terminal session: a sentence, `$ command`, and what the command printed, in the order of the step also
where commands ran side by side. A command whose status or output is not the expected one makes the tour fail, and says
so on the spot.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TextIO

from gsi.sandbox.report import exports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gsi.sandbox.plan import Command, Step
    from gsi.sandbox.vo import VO

__all__ = ["run_tour"]

COMMAND_SECONDS: Final = 60.0  # every command of the tour answers within a second or two


def run_tour(steps: Iterable[Step], vo: VO, out: TextIO, is_stopped: Callable[[], bool] = lambda: False) -> bool:
    """Run the steps in order, showing everything on `out`; tell whether every command did what it should.

    `is_stopped` is asked before each command; once it says yes, nothing more is run or shown.
    """
    good = True
    shell_of: str | None = None
    with ThreadPoolExecutor(thread_name_prefix="tour") as pool:
        for number, step in enumerate(steps, start=1):
            out.write(f"\n== {number}. {step.title}\n{step.text}\n\n")
            for together in _groups(step):
                if is_stopped():
                    return False
                for command in together:
                    if command.prepare is not None:
                        command.prepare()
                running = [pool.submit(_run, command, vo) for command in together]
                for command, done in zip(together, running, strict=True):
                    if is_stopped():
                        return False
                    if command.user != shell_of:
                        shell_of = command.user
                        out.write(f"# in the shell of {shell_of}\n{exports(vo.person(shell_of).environment)}")
                    out.write(f"$ {_typed(command)}\n")
                    out.flush()
                    good = _judge(command, *done.result(), out) and good
    return good


def _groups(step: Step) -> Iterator[list[Command]]:
    """Yield the commands that may run at the same time."""
    together: list[Command] = []
    for command in step.commands:
        if together and not command.beside:
            yield together
            together = []
        together.append(command)
    if together:
        yield together


def _run(command: Command, vo: VO) -> tuple[int, str]:
    """Run a command; return its exit status, -1 where there is none, and what it has printed."""
    person = vo.person(command.user)
    try:
        with open(command.stdin_path or os.devnull, "rb") as stdin:
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
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, f"{error}\n"
    return done.returncode, done.stdout.decode("utf-8", "replace")


def _judge(command: Command, status: int, printed: str, out: TextIO) -> bool:
    """Show what came out, and tell whether it is what was expected."""
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
