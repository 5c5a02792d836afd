"""Processes that are killed at each call by which bytes reach a disk or a socket, or whose disk is full from there on.

Not here: what they do. The calls are counted by a library that is preloaded (`native/killpoints.c`), so a test goes
through all of them: the first run ends at the first call, the second at the second, until one comes to its end. Each is
a fork of one process that has everything imported, and takes milliseconds.

Workflow, in a module that `run_with_killpoints` runs:
    def body(tell):                              # in a child; tells what is done
        store(...)
        tell("stored")
    for trial in trials(How.KILL_BEFORE, body):
        check(trial.told)                        # in the parent, afterwards
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.harness.run import Done, c_program, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LIBRARY", "How", "Trial", "build_library", "run_with_killpoints", "trials"]

LIBRARY: Final = "GSI_TEST_KILLPOINTS"
MAX_TRIALS: Final = 2000
"""More calls than any of our changes makes: a loop that never ends is a defect of the test."""


class How(IntEnum):
    """What happens at the call."""

    KILL_BEFORE = 1
    KILL_HALFWAY = 2
    DISK_FULL = 3


class Trial:
    """One process.

    Attributes:
        number: The call at which it happened.
        told: What the process has told before that, or before its end.
        ended: Whether it came to its end.
    """

    def __init__(self, number: int, told: list[str], status: int) -> None:
        self.number = number
        self.told = told
        self.ended = os.WIFEXITED(status)
        assert self.ended or os.WTERMSIG(status) == signal.SIGKILL, (number, told, status)
        assert not self.ended or os.WEXITSTATUS(status) == 0, (number, told)


def build_library(directory: Path) -> Path:
    """Compile the library."""
    source, target = Path(__file__).parent / "native" / "killpoints.c", directory / "killpoints.so"
    compiler: list[str | Path] = [
        c_program("gcc"),
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Werror",
        "-o",
        target,
        source,
        "-ldl",
    ]
    run(compiler, env={"PATH": "/usr/bin:/bin"}).check()
    return target


def run_with_killpoints(module: str, *arguments: str | Path, library: Path, timeout: float = 240) -> Done:
    """Run a module of the tests with the library in its process."""
    root = Path(__file__).parents[2]
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "LD_PRELOAD": str(library),
        LIBRARY: str(library),
    }
    return run([sys.executable, "-m", module, *arguments], env=environment, timeout=timeout)


def trials(how: How, body: Callable[[Callable[[str], None]], None], *, step: int = 1) -> Iterator[Trial]:
    """Run the body in one process after the other, each ended one call later, until one comes to its end.

    Args:
        how: What happens at the call.
        body: What the process does; given a way to tell how far it came.
        step: How many calls later.
    """
    library = ctypes.CDLL(os.environ[LIBRARY])
    for number in range(1, MAX_TRIALS, step):
        trial = _run(library, how, number, body)
        yield trial
        if trial.ended and (how is not How.DISK_FULL or trial.told[-1:] == ["untouched"]):
            return
    raise AssertionError("it never comes to its end")


def _run(library: ctypes.CDLL, how: How, number: int, body: Callable[[Callable[[str], None]], None]) -> Trial:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reader)
            library.killpoints_arm(int(how), ctypes.c_long(number))
            body(lambda text: _tell(writer, text))
            if library.killpoints_count() < number:
                _tell(writer, "untouched")
            status = 0
        except BaseException:  # what went wrong is for the parent's output
            import traceback

            library.killpoints_arm(0, ctypes.c_long(0))
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    told = b""
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    return Trial(number, told.decode().splitlines(), status)


def _tell(writer: int, text: str) -> None:
    os.write(writer, f"{text}\n".encode())
