"""The C package's own test, `myproxy-test`, over every pair of client and server in which one side is ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness.environment import clean_environment
from tests.harness.run import c_program, our_program, run

CLIENTS = [
    f"myproxy-{name}"
    for name in (
        "init", "logon", "get-delegation", "info", "destroy", "change-pass-phrase", "store", "retrieve",
        "get-trustroots",
    )
]  # fmt: skip
SERVER = ["myproxy-server", "myproxy-admin-query"]


@pytest.mark.parametrize(
    "programs",
    [
        pytest.param(CLIENTS, id="our-clients"),
        pytest.param(SERVER, id="our-server"),
        pytest.param(CLIENTS + SERVER, id="both-ours"),
    ],
)
@pytest.mark.timeout(600)
def test_the_c_packages_own_test(tmp_path: Path, programs: list[str]) -> None:
    script = c_program("myproxy-test")
    ours = tmp_path / "ours"
    ours.mkdir()
    for name in programs:
        (ours / name).symlink_to(our_program(name))
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    environment = clean_environment(home) | {
        "HOME": str(home),
        "USER": "tester",
        "LOGNAME": "tester",
        "TMPDIR": str(tmp_path),
        "PATH": f"{ours}:/usr/sbin:/usr/bin:/sbin:/bin",
        "X509_USER_PROXY": str(tmp_path / "proxy.pem"),
    }
    done = run(["perl", script, "-startserver", "-generatecerts"], env=environment, timeout=500, cwd=tmp_path)
    assert done.returncode == 0, done
    counts = re.search(r"MyProxy Tests Complete: (\d+) tests passed, (\d+) tests failed", done.stdout)
    assert counts is not None, done
    assert (int(counts[1]), int(counts[2])) == (56, 0)
