"""The guided tour: runs each step's commands on the sandbox and shows them so that a person can repeat them.

The output is a terminal session: a sentence, `$ command`, and what the command printed, in the order of the step also
where commands or whole steps ran side by side. A command whose status or output is not the expected one makes the tour
fail, and says so on the spot.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TextIO, TypeVar

from gsi.sandbox.plan import Command, Step
from gsi.sandbox.report import exports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gsi.sandbox.vo import VO

__all__ = ["run_tour"]

T = TypeVar("T", Command, Step)

PROCESSES: Final = 8
"""How many commands run at once at most; more would only wait for each other."""
COMMAND_SECONDS: Final = 60.0  # every command of the tour answers within a second or two


def run_tour(steps: Iterable[Step], vo: VO, out: TextIO, is_stopped: Callable[[], bool] = lambda: False) -> bool:
    """Run the steps in order, showing everything on `out`; tell whether every command did what it should.

    `is_stopped` is asked before each command; once it says yes, nothing more is run or shown.
    """
    good, number = True, 0
    shell_of: str | None = None
    with ThreadPoolExecutor(PROCESSES, thread_name_prefix="tour") as pool:
        for together in _groups(steps):
            running = [_Running(step, vo, pool, is_stopped) for step in together]
            for step, started in zip(together, running, strict=True):
                number += 1
                out.write(f"\n== {number}. {step.title}\n{step.text}\n\n")
                for command, done in zip(step.commands, started.results, strict=True):
                    if is_stopped():
                        return False
                    if command.user != shell_of:
                        shell_of = command.user
                        out.write(f"# in the shell of {shell_of}\n{exports(vo.person(shell_of).environment)}")
                    out.write(f"$ {_typed(command)}\n")
                    out.flush()
                    try:
                        status, printed = done.result()
                    except CancelledError:
                        return False
                    good = _judge(command, status, printed, out) and good
    return good


class _Running:
    """A step that runs.

    Attributes:
        results: Of each command its exit status, -1 where there is none, and what it has printed; cancelled where it
            did not begin before the tour was stopped.
    """

    def __init__(self, step: Step, vo: VO, pool: ThreadPoolExecutor, is_stopped: Callable[[], bool]) -> None:
        self.results: list[Future[tuple[int, str]]] = [Future() for _ in step.commands]
        self._step, self._vo, self._pool, self._is_stopped = step, vo, pool, is_stopped
        threading.Thread(target=self._run, name="step").start()

    def _run(self) -> None:
        try:
            waiting = iter(self.results)
            for together in _groups(self._step.commands):
                if self._is_stopped():
                    break
                for command in together:
                    if command.prepare is not None:
                        command.prepare()
                running = [self._pool.submit(_run, command, self._vo) for command in together]
                for done in running:
                    next(waiting).set_result(done.result())
        except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
            for result in self.results:
                if not result.done():
                    result.set_exception(error)
        for result in self.results:
            result.cancel()


def _groups(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield what may run at the same time."""
    together: list[T] = []
    for item in items:
        if together and not item.beside:
            yield together
            together = []
        together.append(item)
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
