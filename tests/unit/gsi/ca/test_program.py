"""Programs: bounded in time and words, fed and heard at once, nothing of them left running."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from gsi.ca import run_program
from gsi.ca.program import split_command
from gsi.errors import ConfigError, TimeoutExpiredError, TransportError

SH = "/bin/sh"


def test_much_in_and_much_out_at_once() -> None:
    data = os.urandom(1 << 20)
    assert run_program((SH, "-c", "cat"), stdin=data, max_bytes=1 << 20) == data
    with pytest.raises(TransportError, match="more than 1048575"):
        run_program((SH, "-c", "cat"), stdin=data, max_bytes=(1 << 20) - 1)


def test_a_program_need_not_listen() -> None:
    assert run_program((SH, "-c", "exec 0<&-; echo yes"), stdin=bytes(1 << 20)) == b"yes\n"


def test_its_words_are_told_but_not_all() -> None:
    with pytest.raises(TransportError) as caught:
        run_program((SH, "-c", "yes no | head -c 9000 >&2; exit 7"), stdin=b"")
    assert "ended with status 7: no" in caught.value.message
    assert len(caught.value.message) < 700


def test_time_is_up_for_it_and_its_children(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/child; wait"
    with pytest.raises(TimeoutExpiredError):
        run_program((SH, "-c", script), stdin=b"", seconds=0.5)
    child = int((tmp_path / "child").read_text())
    # It was killed: it ends as soon as it has its turn; its number may linger until init has waited for it.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)


def test_what_cannot_be_run(tmp_path: Path) -> None:
    for path in (str(tmp_path / "none"), str(tmp_path), "/bin/x\x00y"):
        with pytest.raises(TransportError, match="cannot be run"):
            run_program((path,), stdin=b"")


def test_command_lines() -> None:
    assert split_command("/bin/check --name 'a b' $HOME") == ("/bin/check", "--name", "a b", "$HOME")
    for text in ("", "check", "'", "~/check"):
        with pytest.raises(ConfigError):
            split_command(text)
