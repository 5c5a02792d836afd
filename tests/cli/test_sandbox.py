"""The sandbox from end to end: what `make run ARGS=--once` does, as a user sees it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.run import require_peer

COMMAND = str(Path(sys.executable).parent / "grid-sandbox")
KDC = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")


def _sandbox(root: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a deed on a sandbox that stays up."""
    env = {"PATH": os.environ["PATH"], "HOME": str(root.parent), "GRID_SANDBOX": str(root), **variables}
    return subprocess.run([COMMAND, *words], env=env, capture_output=True, text=True, timeout=120)


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


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose name leaves room for sockets of the gatekeeper's."""
    with tempfile.TemporaryDirectory(prefix="gs-") as directory:
        yield Path(directory).resolve()


def test_the_tour_works_and_leaves_nothing_running(short: Path) -> None:
    require_peer("globus-gridftp-server", "globus-url-copy", "globus-gatekeeper", "globus-job-run", "cc", *KDC)
    root = short / "vo"
    argv = [COMMAND, "--once", "--kerberos", "--dir", str(root)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280)
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
        "otpauth://totp/MyProxy:alice-jobs?",
        "the one-time code has been used before",
        "== 9. A job service renews her proxy",
        "Default MyProxy credential for user alice-jobs was successfully removed",
        "1 users enrolled; 1 lines are done",
        "Wrote cas.pem, until ",
        "grants file/read on ftp://localhost/data/run1",
        "does not grant file/write on 'ftp://localhost/data/run1'",
        "attribute certificate ",
        "the site lets climate grant nothing of the kind: file/read on 'ftp://localhost/other/run1'",
        "myproxy-portal listens on https://localhost:",
        "GET /: 200\n    Your credentials\n",
        "POST /terminal: 200\n",
        "\n    A credential has been received in ",
        "UTC Proxy for a terminal terminal at 127.0.0.1",
        "globus-gridftp-server listens on gsiftp://localhost:",
        "/files/public/results (decision ",
        "globus-gatekeeper listens on localhost:",
        "\ndone as a job\n",
        "you are not authorized to start this job (decision ",
        "krb5kdc listens on 127.0.0.1:",
        "kca-server listens on 127.0.0.1:",
        "Password for alice@GRID.EXAMPLE",
        "identity : /O=Grid Sandbox/OU=Kerberos/CN=alice\n",
        " alice@GRID.EXAMPLE /O=Grid Sandbox/OU=Kerberos/CN=alice\n",
        "every step worked",
    ):
        assert shown in done.stdout
    assert "FAILED" not in done.stdout
    assert done.stdout.count("this would be decided: permit\n") == 3
    assert done.stdout.count("this would be decided: deny\n") == 3
    assert _processes_of(root) == []
    secrets = ["", "elsewhere/kerberos-password", "state/kca-server/ca.key", "state/myproxy-portal/portal.toml"]
    assert [oct((root / name).stat().st_mode & 0o777) for name in secrets] == ["0o700", "0o600", "0o600", "0o600"]


def test_without_a_kdc_it_says_so_and_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "vo"
    argv = [COMMAND, "--once", "--no-tour", "--kerberos", "--dir", str(root)]
    done = subprocess.run(argv, env={"PATH": ""}, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no Kerberos realm: krb5kdc, kdb5_util, kadmin.local, kinit not found on PATH" in done.stdout
    assert "myproxy-server listens on" in done.stdout
    assert "kca-server listens on" not in done.stdout
    assert not (root / "state/krb5kdc").exists()


def test_a_kdc_that_cannot_be_set_up_is_named(tmp_path: Path) -> None:
    """Whatever has begun by then is ended."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in KDC:
        (programs / name).write_text("#!/bin/sh\necho the disk is full\nexit 3\n")
        (programs / name).chmod(0o755)
    root = tmp_path / "vo"
    argv = [COMMAND, "--once", "--kerberos", "--dir", str(root)]
    done = subprocess.run(argv, env={"PATH": str(programs)}, capture_output=True, text=True, timeout=280)
    assert done.returncode == 1
    assert "kdb5_util ended with status 3" in done.stderr
    assert "the disk is full" in done.stderr
    assert _processes_of(root) == []


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    done = subprocess.run([COMMAND, "--once", "--dir", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert "hint:" in done.stderr


def test_a_signal_ends_the_services(tmp_path: Path) -> None:
    root = tmp_path / "vo"
    with subprocess.Popen([COMMAND, "--no-tour", "--dir", str(root)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = []
        for line in process.stdout:
            shown.append(line)
            if "until Ctrl-C" in line:
                break
        assert f"export GRID_SANDBOX={root}\n" in shown
        assert _sandbox(root, "status").returncode == 0
        assert "in the foreground, as process" in _sandbox(root, "down").stderr
        assert _processes_of(root) != []
        process.send_signal(signal.SIGTERM)
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


def test_who_breaks_off_its_making_has_nothing(short: Path) -> None:
    root = short / "vo"
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(short)}
    argv = [COMMAND, "up", "-dir", str(root)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "gsi-authz-server listens on" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert _processes_of(root) == []
    assert list(short.iterdir()) == []


def test_a_life_in_the_background(tmp_path: Path) -> None:
    """Up, hurt, mended, down, up again with what was there, anew, gone; and nothing keeps running."""
    root = tmp_path / "vo"
    assert "there is no sandbox" in _sandbox(root, "down").stderr
    try:
        done = _sandbox(root, "up")
        assert done.returncode == 0, done.stderr
        assert "myproxy-portal listens on https://localhost:" in done.stdout
        assert "is up already" in _sandbox(root, "up").stdout
        told = json.loads(_sandbox(root, "status", "-json").stdout)
        assert told["state"] == "up"
        services = {one["name"]: one for one in told["services"]}
        assert set(services) >= {"cas-server", "gsi-authz-server", "myproxy-portal", "myproxy-server"}
        modes = {path.name: path.stat().st_mode & 0o777 for path in (root, *root.iterdir())}
        assert {name for name, mode in modes.items() if mode & 0o077} <= {
            "certificates",
            "vomsdir",
            "vomses",
            "authz.socket",
            "files",
            "callout",
            "gridftp",
            "gatekeeper",
        }
        assert modes["sandbox.json"] == 0o600

        os.kill(services["gsi-authz-server"]["pid"], signal.SIGKILL)
        hurt = _sandbox(root, "status")
        assert hurt.returncode == 1
        assert re.search(r"^gsi-authz-server +(down|silent) ", hurt.stdout, re.MULTILINE)
        mended = _sandbox(root, "up")
        assert "gsi-authz-server listens on" in mended.stdout
        assert "myproxy-server listens on" not in mended.stdout
        assert _sandbox(root, "status").returncode == 0

        certificate = (root / "host/hostcert.pem").read_bytes()
        assert _sandbox(root, "down").returncode == 0
        assert _processes_of(root) == []
        assert "is down" in _sandbox(root, "status").stdout
        with socket.create_server(("127.0.0.1", int(services["myproxy-server"]["place"].rpartition(":")[2]))):
            refused = _sandbox(root, "up")
        assert refused.returncode == 1
        assert "of myproxy-server is in use by another program" in refused.stderr
        assert _processes_of(root) == []
        again = _sandbox(root, "up")
        assert f"myproxy-server listens on {services['myproxy-server']['place']}:" in again.stdout, again.stderr
        assert (root / "host/hostcert.pem").read_bytes() == certificate

        anew = _sandbox(root, "reset")
        assert f"myproxy-server listens on {services['myproxy-server']['place']}:" in anew.stdout, anew.stderr
        assert (root / "host/hostcert.pem").read_bytes() != certificate
    finally:
        gone = _sandbox(root, "down", "-delete")
    assert gone.returncode == 0, gone.stderr
    assert not root.exists()
    assert _processes_of(root) == []


def test_options_that_would_be_overlooked_are_refused() -> None:
    for words in (["up", "-once"], ["down", "-kerberos"], ["-json"], ["env", "-delete"], ["upp"]):
        done = subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, words
        assert "error:" in done.stderr
