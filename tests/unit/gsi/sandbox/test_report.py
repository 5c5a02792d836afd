"""What is shown of a sandbox: lines that shells understand, and how the services are."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gsi.errors import ConfigError, NotFoundError
from gsi.sandbox.report import Shell, exports, exports_of, status_json, status_text
from gsi.sandbox.services import Started
from gsi.sandbox.state import State, load_state, save_state
from tests.harness.run import c_program

AWKWARD = '/O=Grid Sandbox/it\'s \\ `$HOME` "quoted"; !x'
DEAD = Started("server", 2**22 + 1, 1, 7512, "", "keeps credentials", "")


@pytest.mark.parametrize("shell", [Shell.SH, Shell.FISH])
def test_shells_read_back_what_was_meant(shell: Shell, tmp_path: Path) -> None:
    lines = exports({"NAME": AWKWARD}, shell) + "/usr/bin/env\n"
    done = subprocess.run(
        [c_program(shell.value)], input=lines, env={"HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert f"NAME={AWKWARD}\n" in done.stdout, done.stderr


def test_csh_has_words_of_its_own() -> None:
    assert exports({"A": "b c!"}, Shell.CSH) == "setenv A 'b c\\!';\n"


def test_the_own_path_stays_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/mine:/sandbox/bin:/usr/bin")
    state = State(exports={"alice": {"PATH": "/sandbox/bin:/bin"}})
    assert exports_of(state, "alice") == "export PATH=/sandbox/bin:/mine:/usr/bin\n"
    with pytest.raises(ConfigError, match="no 'mallory'"):
        exports_of(state, "mallory")
    with pytest.raises(ConfigError, match="never been up"):
        exports_of(State(), "alice")


def test_what_was_remembered_is_found_again(tmp_path: Path) -> None:
    state = State(kerberos=True, ports={"server": 7512}, services=(DEAD,), exports={"alice": {"A": "b"}}, notices=["n"])
    save_state(tmp_path, state)
    assert load_state(tmp_path) == state
    assert (tmp_path / "sandbox.json").stat().st_mode & 0o777 == 0o600


def test_a_place_without_sandbox_and_a_broken_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no sandbox"):
        load_state(tmp_path)
    for broken in ("", "[]", '{"services": [{"name": "x"}]}', '{"services": [], "colour": 1}'):
        (tmp_path / "sandbox.json").write_text(broken)
        with pytest.raises(ConfigError, match="cannot be used"):
            load_state(tmp_path)


def test_the_status_of_what_was_killed(tmp_path: Path) -> None:
    state = State(services=(DEAD,), exports={"alice": {}}, notices=["no Kerberos realm"])
    assert "is down" in status_text(tmp_path, state)
    told = json.loads(status_json(tmp_path, state))
    assert told["state"] == "down"
    assert told["services"] == [
        {
            "name": "server",
            "state": "down",
            "place": "127.0.0.1:7512",
            "pid": DEAD.pid,
            "log": f"{tmp_path}/state/server/log",
            "summary": "keeps credentials",
        }
    ]
    assert told["notices"] == ["no Kerberos realm"]
