from __future__ import annotations

import gc
import io
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gsi.cli.arguments import CommandParser
from gsi.cli.hints import find_hint
from gsi.cli.run import (
    EXIT_BROKEN_PIPE,
    EXIT_ERROR,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_OK,
    printable,
    report,
    run,
    warn,
)
from gsi.errors import CredentialError, CredentialProblem, GridError, Reason, VerificationError
from tests.harness.environment import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from gsi.cli.arguments import Namespace


def parser() -> CommandParser:
    made = CommandParser("grid-thing", "do a thing")
    made.section("S").flag("-quick", text="be quick")
    return made


class Raising:
    """A command body that raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, arguments: Namespace) -> int:
        raise self.error


def test_the_body_gives_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    def body(arguments: Namespace) -> int:
        print("quick" if arguments.quick else "slow")
        return 3

    assert run(parser, body, ["-quick"]) == 3
    assert capsys.readouterr() == ("quick\n", "")


def test_an_error_is_one_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parser, Raising(GridError("it broke", hint="mend it")), []) == EXIT_ERROR
    assert capsys.readouterr() == ("", "grid-thing: error: it broke\nhint: mend it\n")


def test_a_command_can_have_its_own_status() -> None:
    error = CredentialError("old", problem=CredentialProblem.EXPIRED)
    assert run(parser, Raising(error), [], exit_code=lambda found: 2 if found is error else 1) == 2


def test_a_bad_command_line_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parser, Raising(AssertionError()), ["-slow"]) == EXIT_ERROR
    assert capsys.readouterr().err == (
        "grid-thing: error: unrecognized arguments: -slow\nhint: 'grid-thing -help' lists the options\n"
    )


def test_help_is_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parser, Raising(AssertionError()), ["-help"]) == EXIT_OK
    assert capsys.readouterr().out == parser().format_help()


def test_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parser, Raising(KeyboardInterrupt()), []) == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "\ngrid-thing: interrupted\n"


def test_a_closed_pipe_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parser, Raising(BrokenPipeError()), []) == EXIT_BROKEN_PIPE
    assert capsys.readouterr() == ("", "")


def test_a_defect_is_told_shortly_and_with_debug_at_length(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parser, Raising(KeyError("oops")), []) == EXIT_INTERNAL
    assert capsys.readouterr().err == (
        "grid-thing: internal error: KeyError: 'oops'\nhint: -debug shows where; please report it with that output\n"
    )
    assert run(parser, Raising(KeyError("oops")), ["-debug"]) == EXIT_INTERNAL
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "test_run.py" in told


def test_debug_shows_the_cause_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    error = GridError("it broke")
    error.__cause__ = ValueError("the cause")
    run(parser, Raising(error), ["-debug"])
    assert "ValueError: the cause" in capsys.readouterr().err
    run(parser, Raising(error), [])
    assert "the cause" not in capsys.readouterr().err


class _Full(io.StringIO):
    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_output_that_cannot_be_written_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", _Full())
    assert run(parser, lambda _: EXIT_OK, []) == EXIT_ERROR
    assert "No space left on device" in capsys.readouterr().err


def test_an_error_without_a_hint_gets_a_general_one(capsys: pytest.CaptureFixture[str]) -> None:
    report("p", CredentialError("no", problem=CredentialProblem.WRONG_PASSPHRASE))
    report("p", VerificationError("no", reason=Reason.UNTRUSTED))
    report("p", VerificationError("no", reason=Reason.UNTRUSTED, hint="its own"))
    hints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hint: ")]
    assert len(hints) == 3
    assert hints[2] == "hint: its own"


def test_every_problem_has_a_hint() -> None:
    for problem in CredentialProblem:
        assert find_hint(CredentialError("no", problem=problem)), problem


def test_only_the_process_itself_goes_without_garbage_collection() -> None:
    assert run(parser, lambda _: int(gc.isenabled()), [], short_lived=True) == 1
    assert gc.isenabled()


def test_foreign_text_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report("p", GridError("a\x1b[2Jb\rc\x85d\u202ee\U000e0001f", hint="one\ntwo"))
    warn("p", "x\x07", hint="y\x00")
    assert capsys.readouterr().err == (
        "p: error: a\\x1b[2Jb\\x0dc\\x85d\\u202ee\\U000e0001f\nhint: one\n    two\np: warning: x\\x07\nhint: y\\x00\n"
    )


def test_nor_can_it_from_within_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    error = GridError("a\x1b]0;title\x07b")
    error.__cause__ = ValueError("c\x9bd\rgrid-thing: all is well")
    run(parser, Raising(error), ["-debug"])
    run(parser, Raising(KeyError("e\x1bf")), ["-debug"])
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert all(character.isprintable() or character == "\n" for character in told)
    assert "\n  File" in told  # its lines stay lines


_STOPPED = """
import os, signal, sys
from gsi.cli.arguments import CommandParser
from gsi.cli.run import run
{before}
def body(arguments):
    try:
        os.kill(os.getpid(), signal.{first})
        os.kill(os.getpid(), signal.SIGURG)
    finally:
        os.kill(os.getpid(), signal.{second})
        print("tidied up")
    return 0
sys.argv = ["grid-thing"]
sys.exit(run(lambda: CommandParser("grid-thing", "do a thing"), body, short_lived={short_lived}))
"""


def _stopped(first: str, second: str = "SIGURG", *, before: str = "", short_lived: bool = True) -> tuple[int, str, str]:
    code = _STOPPED.format(first=first, second=second, before=before, short_lived=short_lived)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("first", "second"), [("SIGTERM", "SIGHUP"), ("SIGHUP", "SIGTERM"), ("SIGTERM", "SIGTERM")])
def test_signals_end_a_command_orderly(first: str, second: str) -> None:
    """Also when the end of a session brings two of them."""
    assert _stopped(first, second) == (128 + signal.Signals[first], "tidied up\n", "")


def test_an_ignored_signal_stays_ignored() -> None:
    assert _stopped("SIGHUP", before="signal.signal(signal.SIGHUP, signal.SIG_IGN)") == (0, "tidied up\n", "")


def test_a_server_keeps_its_own_ways() -> None:
    assert _stopped("SIGTERM", short_lived=False)[0] == -signal.SIGTERM


def test_a_second_line_cannot_pass_for_ours() -> None:
    assert printable("no such host\ngrid-thing: error: all is lost\n") == (
        "no such host\n    grid-thing: error: all is lost"
    )


def test_undecodable_file_names_are_shown() -> None:
    assert printable("a\udcffb") == "a\\udcffb"


def test_output_that_cannot_be_written_is_told_by_the_programs_name(tmp_path: Path) -> None:
    """On a full device, whether the output waits for the end or not."""
    program = "import sys\nfrom gsi.cli.proxy_info import main\nsys.argv[0] = 'grid-proxy-info'\nsys.exit(main())"
    for unbuffered in ("", "1"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-c", program, "-help"],
                stdout=full,
                stderr=subprocess.PIPE,
                env=clean_environment(tmp_path) | {"PYTHONUNBUFFERED": unbuffered},
                check=False,
            )
        assert done.returncode == 1
        assert re.fullmatch(rb"grid-proxy-info: error: [^\n\[]*No space left on device\n", done.stderr), done
