"""What a site's program says by its status, and what it leaves unsaid."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi.errors import AuthenticationError
from gsi.secret import Passphrase
from myproxy.auth.base import UnjudgedError
from myproxy.auth.program import ProgramMethod
from tests.harness.ca import write_file


def judge(directory: Path, line: str) -> ProgramMethod:
    write_file(directory / "check", f"#!/bin/sh\n{line}\n".encode(), 0o755)
    return ProgramMethod(str(directory / "check"), seconds=5)


def test_status_0_is_a_yes(tmp_path: Path) -> None:
    judge(tmp_path, 'read -r word; [ "$1:$word" = "alice:secret" ]').check("alice", Passphrase("secret"))


@pytest.mark.parametrize("status", [1, 2, 74, 76, 126, 255])
def test_another_status_is_a_no(tmp_path: Path, status: int) -> None:
    with pytest.raises(AuthenticationError) as caught:
        judge(tmp_path, f"exit {status}").check("alice", Passphrase("secret"))
    assert not isinstance(caught.value, UnjudgedError)


@pytest.mark.parametrize("line", ["exit 75", "kill -9 $$", "exec sleep 60"])
def test_what_a_program_does_that_cannot_tell(tmp_path: Path, line: str) -> None:
    method = judge(tmp_path, line)
    if "sleep" in line:
        method = ProgramMethod(str(tmp_path / "check"), seconds=0.5)
    with pytest.raises(UnjudgedError) as caught:
        method.check("alice", Passphrase("secret"))
    assert caught.value.asked


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnjudgedError):
        ProgramMethod(str(tmp_path / "nothing")).check("alice", Passphrase("secret"))


@pytest.mark.parametrize(
    ("username", "words"), [("alice", ""), ("alice", "a\nb"), ("-alice", "x"), ("\udcff\ud800", "x")]
)
def test_what_is_refused_unasked(tmp_path: Path, username: str, words: str) -> None:
    method = judge(tmp_path, f"touch {tmp_path}/asked")
    with pytest.raises(AuthenticationError):
        method.check(username, Passphrase(words))
    assert not (tmp_path / "asked").exists()
