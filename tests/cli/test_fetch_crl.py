"""grid-fetch-crl as its user sees it on a terminal, and what it leaves when it is interrupted."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pexpect
import pytest

from tests.harness.ca import TestCA, subject_hash
from tests.harness.environment import UserEnvironment
from tests.harness.run import our_program
from tests.harness.web import Answer, Hang, WebServer

CA = TestCA("/O=Grid/CN=CA", key="p256")
STEM = subject_hash(CA.certificate)


def heed_interrupts() -> None:
    """Children of what runs under nohup ignore them from the start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(user: UserEnvironment, *arguments: str) -> pexpect.spawn[str]:
    return pexpect.spawn(
        our_program("grid-fetch-crl"),
        list(arguments),
        env=dict(user.variables) | {"TERM": "xterm"},
        encoding="utf-8",
        timeout=30,
        preexec_fn=heed_interrupts,
    )


@pytest.fixture
def user(tmp_path: Path) -> UserEnvironment:
    made = UserEnvironment(tmp_path)
    made.trust(CA)
    return made


def test_progress_on_a_terminal(user: UserEnvironment) -> None:
    with WebServer({f"/{STEM}.r0": Answer(CA.crl())}) as web:
        session = start(user, "-base", web.url())
        session.expect_exact("[0/1]")
        session.expect_exact(f"[1/1] {STEM}: updated")
        session.expect_exact("1 updated")
        session.expect(pexpect.EOF)
        session.close()
        assert session.exitstatus == 0
        quiet = start(user, "-base", web.url(), "-quiet")
        quiet.expect(pexpect.EOF)
        assert quiet.before == ""
        quiet.close()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_only_the_lock_behind(user: UserEnvironment, number: int, status: int) -> None:
    before = sorted(os.listdir(user.trust_dir))
    with WebServer({f"/{STEM}.r0": Hang()}) as web:
        session = start(user, "-base", web.url())
        session.expect_exact("[0/1]")
        session.kill(number)
        session.expect(pexpect.EOF)
        session.close()
        assert session.exitstatus == status
    assert sorted(os.listdir(user.trust_dir)) == sorted([*before, ".grid-fetch-crl.lock"])
