"""The sandbox from end to end: what `make run ARGS=--once` does, as a user sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
COMMAND = str(BIN / "grid-sandbox")


def _processes_of(directory: Path) -> list[str]:
    """Return the command lines of all running processes that name the directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(directory) in line:
                found.append(line)
    return found


def test_the_tour_works_and_leaves_nothing_running(tmp_path: Path) -> None:
    root = tmp_path / "vo"
    done = subprocess.run([COMMAND, "--once", "--dir", str(root)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in (
        "Proxy Verify OK",
        "RFC 3820 compliant limited proxy",
        "RFC 3820 compliant restricted proxy",
        "bad-signature",
        "expired",
        "revoked",
        "gsi-authz-server listens on",
        "denied: no permission to delete /data/public/results",
        "published data stays as it is",
        "A credential has been received for user alice",
        "otpauth://totp/MyProxy:alice?",
        "the one-time code has been used before",
        "== 9. A job service renews her proxy",
        "MyProxy credential 'jobs' for user alice was successfully removed",
        "every step worked",
    ):
        assert shown in done.stdout
    assert "FAILED" not in done.stdout
    assert _processes_of(root) == []
    assert oct(root.stat().st_mode & 0o777) == "0o700"


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    done = subprocess.run([COMMAND, "--once", "--dir", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert "hint:" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_services(tmp_path: Path, number: signal.Signals) -> None:
    root = tmp_path / "vo"
    with subprocess.Popen([COMMAND, "--no-tour", "--dir", str(root)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "until Ctrl-C" in line:
                break
        assert _processes_of(root) != []
        process.send_signal(number)
        process.stdout.read()
        assert process.wait(timeout=60) == 0
    assert _processes_of(root) == []


def test_a_signal_during_the_tour_stops_it(tmp_path: Path) -> None:
    root = tmp_path / "vo"
    with subprocess.Popen([COMMAND, "--once", "--dir", str(root)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("$ "):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 130
    assert "interrupted: ending the services" in rest
    assert rest.count("\n$ ") <= 1  # the command that ran may end; at most one had begun
    assert "every step worked" not in rest
    assert _processes_of(root) == []
