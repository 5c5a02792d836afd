"""The tour's own honesty: what fails is called failed, and what is shown can be typed again."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gsi.errors import StorageError
from gsi.sandbox.plan import Command, Step
from gsi.sandbox.tour import run_tour
from gsi.sandbox.vo import VO, Person


def _vo(root: Path) -> VO:
    someone = Person("alice", root, {"PATH": "/usr/bin:/bin", "WHERE": "a place"})
    return VO(root, root, root, root / "cert", root / "key", {"alice": someone})


def _tour(root: Path, *commands: Command) -> tuple[bool, str]:
    out = io.StringIO()
    good = run_tour([Step("A title", "A sentence.", commands)], _vo(root), out)
    return good, out.getvalue()


def _move(source: Path, target: Path) -> None:
    source.rename(target)


def test_shows_what_was_typed_and_what_came_out(tmp_path: Path) -> None:
    answers = tmp_path / "my answers"
    answers.write_text("from a file\n")
    good, shown = _tour(
        tmp_path,
        Command(
            ("sh", "-c", 'echo "$WHERE $EXTRA"; cat'), "alice", (("EXTRA", "b c"),), answers, expect=("a place b c",)
        ),
    )
    assert good
    assert "export WHERE='a place'\n" in shown
    assert f"$ EXTRA='b c' sh -c 'echo \"$WHERE $EXTRA\"; cat' < '{answers}'\n" in shown
    assert "a place b c\nfrom a file\n" in shown


def test_what_depends_on_the_time_is_written_just_before(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.write_text("too early\n")
    answers = tmp_path / "answers"
    command = Command(("cat",), "alice", (), answers, expect=("now",), prepare=lambda: _move(made, answers))
    change = Command(("sh", "-c", f"echo now > {made}"), "alice")
    good, shown = _tour(tmp_path, change, command)
    assert good
    assert "too early" not in shown


def test_an_unexpected_status_fails(tmp_path: Path) -> None:
    good, shown = _tour(tmp_path, Command(("false",), "alice"), Command(("true",), "alice"))
    assert not good
    assert "FAILED: exit status 1, expected 0" in shown


def test_an_expected_refusal_is_a_success(tmp_path: Path) -> None:
    good, _ = _tour(tmp_path, Command(("sh", "-c", "echo no >&2; exit 1"), "alice", status=1, expect=("no",)))
    assert good


def test_missing_output_fails(tmp_path: Path) -> None:
    good, shown = _tour(tmp_path, Command(("true",), "alice", expect=("wonder",)))
    assert not good
    assert "no 'wonder' in the output" in shown


def test_a_missing_program_fails(tmp_path: Path) -> None:
    good, shown = _tour(tmp_path, Command(("no-such-program",), "alice"))
    assert not good
    assert "no-such-program" in shown


def test_commands_that_need_nothing_of_each_other_run_side_by_side(tmp_path: Path) -> None:
    """Each waits until the other is there; what they print is shown in the order of the step."""
    wait = 'echo "$0"; touch "$0"; until [ -e "$1" ]; do sleep 0.01; done'
    good, shown = _tour(
        tmp_path,
        Command(("sh", "-c", wait, "one", "two"), "alice", expect=("one",)),
        Command(("sh", "-c", wait, "two", "one"), "alice", beside=True, expect=("two",)),
        Command(("sh", "-c", "rm one two && echo after both"), "alice", expect=("after both",)),
    )
    assert good
    assert shown.index("\none\n") < shown.index("\ntwo\n") < shown.index("\nafter both\n")


def test_a_failure_beside_a_success_is_told(tmp_path: Path) -> None:
    good, shown = _tour(tmp_path, Command(("false",), "alice"), Command(("true",), "alice", beside=True))
    assert not good
    assert shown.count("FAILED") == 1


def test_steps_that_need_nothing_of_each_other_run_side_by_side(tmp_path: Path) -> None:
    out = io.StringIO()
    wait = 'touch "$0"; until [ -e "$1" ]; do sleep 0.01; done; echo saw "$1"'
    first = Step("First", "", (Command(("true",), "alice"), Command(("sh", "-c", wait, "one", "two"), "alice")))
    second = Step("Second", "", (Command(("sh", "-c", wait, "two", "one"), "alice"),), beside=True)
    assert run_tour([first, second, Step("Third", "", (Command(("rm", "one", "two"), "alice"),))], _vo(tmp_path), out)
    shown = out.getvalue()
    where = [shown.index(text) for text in ("== 1. First", "saw two", "== 2. Second", "saw one", "== 3. Third")]
    assert where == sorted(where)


def test_what_cannot_be_prepared_breaks_the_tour_off(tmp_path: Path) -> None:
    def fail() -> None:
        raise StorageError("the disk is full")

    with pytest.raises(StorageError, match="the disk is full"):
        _tour(tmp_path, Command(("true",), "alice"), Command(("touch", "made"), "alice", prepare=fail))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("beside", [False, True])
def test_once_stopped_nothing_more_is_run(tmp_path: Path, beside: bool) -> None:
    out = io.StringIO()
    until_one = Command(("sh", "-c", "until [ -e one ]; do sleep 0.01; done"), "alice")
    last = Command(("touch", "two"), "alice")
    steps = [Step("", "", (Command(("touch", "one"), "alice"), last)), Step("", "", (until_one, last), beside=beside)]
    assert not run_tour(steps, _vo(tmp_path), out, (tmp_path / "one").exists)
    assert (tmp_path / "one").exists()
    assert not (tmp_path / "two").exists()
