"""The gate as the gatekeeper starts it, without a gatekeeper: what it reads, asks, becomes, or writes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from gsi.authz.callout.messages import Answer, GateRequest, Verdict, encode_answer
from tests.harness.ca import TestCA
from tests.harness.callout import CalloutSite, FakeDaemon, callout_site, permit
from tests.harness.environment import clean_environment
from tests.harness.run import our_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.harness.ca import Issued

RSL: Final = '&(executable="/bin/true")'
BODY: Final = (
    b"protocol-version: 2\r\njob-state-mask: 1\r\ncallback-url: https://h:1/\r\n"
    b'rsl: "' + RSL.replace('"', '\\"').encode() + b'"\r\n\0'
)
VERSION: Final = b"protocol-version: 2\r\ncommand: version\r\n\0"
COMMAND: Final = (sys.executable, "job-manager", "-c", "import os; print('JM', os.environ['GSI_AUTHZ_GATE'])")


@pytest.fixture(scope="module")
def site() -> Iterator[CalloutSite]:
    with callout_site() as made:
        yield made


@pytest.fixture
def fake(site: CalloutSite) -> Iterator[FakeDaemon]:
    with FakeDaemon(site.socket) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def proxy() -> Issued:
    return TestCA("/O=Grid/CN=CA").issue("/O=Grid/CN=Alice").proxy()


class Gate:
    """Runs the gate with a request on a descriptor, as the gatekeeper does."""

    def __init__(self, site: CalloutSite, proxy: Issued, directory: Path) -> None:
        self._site = site
        self._directory = directory
        pem = proxy.pem.decode()
        self.variables: dict[str, str] = clean_environment(directory) | {
            "SSL_CLIENT_CERT": pem,
            "SSL_CLIENT_CERT_CHAIN0": pem,
            "SSL_CLIENT_CERT_CHAIN1": proxy.chain_pem.decode(),
            "SCRIPT_NAME": "jobmanager-fork",
            "REMOTE_ADDR": "192.0.2.1",
            "GLOBUS_ID": "/O=Grid/CN=Alice",
        }

    def run(
        self,
        body: bytes = BODY,
        *,
        changes: Mapping[str, str | None] | None = None,
        options: tuple[str, ...] = (),
        command: tuple[str, ...] = COMMAND,
        offset: int = 0,
        uid: int | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        path = self._directory / "body"
        path.write_bytes(body)
        with open(path, "rb") as file:
            os.lseek(file.fileno(), offset, os.SEEK_SET)
            variables: dict[str, str | None] = {
                **self.variables,
                "GRID_SECURITY_HTTP_BODY_FD": str(file.fileno()),
                "CONTENT_LENGTH": str(len(body)),
                **(changes or {}),
            }
            return subprocess.run(
                [
                    our_program("gsi-authz-gram-gate"),
                    *("-socket", str(self._site.socket), "-server-uid", str(os.geteuid() if uid is None else uid)),
                    *("-timeout", "1000", *options, "--", *command),
                ],
                env={name: value for name, value in variables.items() if value is not None},
                pass_fds=[file.fileno()],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
            )


@pytest.fixture
def gate(site: CalloutSite, proxy: Issued, tmp_path: Path) -> Gate:
    return Gate(site, proxy, tmp_path)


def _status(done: subprocess.CompletedProcess[bytes]) -> int:
    """The GRAM error of a refusal, which must be well-formed."""
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head == b"Content-Type: application/x-globus-gram\r\nContent-Length: %d" % len(body), done
    lines = body.decode("ascii").split("\r\n")
    assert lines[0] == "protocol-version: 2"
    return int(lines[1].removeprefix("status: "))


def test_permit(gate: Gate, fake: FakeDaemon, proxy: Issued) -> None:
    done = gate.run()
    assert done.stdout == b"JM 0123456789abcdef\n", done
    (request,) = fake.of(GateRequest)
    assert isinstance(request, GateRequest)
    assert request.rsl == RSL
    assert request.service == "jobmanager-fork"
    assert request.chain == proxy.chain_der
    assert dict(request.environment)["REMOTE_ADDR"] == "192.0.2.1"


def test_the_job_manager_reads_the_whole_request(gate: Gate, fake: FakeDaemon) -> None:
    code = "import os; print(os.read(int(os.environ['GRID_SECURITY_HTTP_BODY_FD']), 65536))"
    done = gate.run(command=(sys.executable, "job-manager", "-c", code))
    assert done.stdout.decode().strip() == repr(BODY)


def test_version_request_is_not_asked_about(gate: Gate, fake: FakeDaemon) -> None:
    assert gate.run(VERSION).stdout == b"JM version\n"
    assert not fake.requests


def test_denied(gate: Gate, fake: FakeDaemon) -> None:
    fake.answer = lambda _: encode_answer(Answer(Verdict.DENY, reason='not "you"', decision_id="c0ffee"))
    done = gate.run()
    assert _status(done) == 162
    assert b'gt3-failure-message: "not ?you? (decision c0ffee)"\r\n' in done.stdout
    assert b'not "you"' in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"SSL_CLIENT_CERT": None}, 163),
        ({"SSL_CLIENT_CERT": "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----"}, 163),
        ({"SSL_CLIENT_CERT_CHAIN1": "nonsense"}, 163),
        ({"CONTENT_LENGTH": None}, 163),
        ({"CONTENT_LENGTH": "3"}, 163),
        ({"CONTENT_LENGTH": "99999999"}, 163),
        ({"CONTENT_LENGTH": "-1"}, 163),
        ({"GRID_SECURITY_HTTP_BODY_FD": "77"}, 163),
        ({"GRID_SECURITY_HTTP_BODY_FD": "x"}, 163),
    ],
    ids=str,
)
def test_odd_environments(gate: Gate, fake: FakeDaemon, changes: dict[str, str | None], status: int) -> None:
    assert _status(gate.run(changes=changes)) == status
    assert not fake.requests


@pytest.mark.parametrize(
    "body",
    [b"x", b"\0", BODY + b"x", BODY.replace(b"rsl:", b"RSL:"), BODY.replace(b"\0", b'rsl: "y"\r\n\0'), BODY * 2],
)
def test_malformed_requests(gate: Gate, fake: FakeDaemon, body: bytes) -> None:
    assert _status(gate.run(body)) == 10
    assert not fake.requests


def test_a_request_that_somebody_has_begun_to_read(gate: Gate, fake: FakeDaemon) -> None:
    assert _status(gate.run(offset=5)) == 163


def test_nobody_there(gate: Gate) -> None:
    done = gate.run()
    assert _status(done) == 163
    assert b"cannot reach" in done.stderr


def test_somebody_else_there(gate: Gate, fake: FakeDaemon) -> None:
    assert _status(gate.run(uid=4711)) == 163
    assert not fake.requests


def test_no_answer_in_time(gate: Gate, fake: FakeDaemon) -> None:
    fake.answer = lambda _: None
    done = gate.run(options=("-timeout", "200"))
    assert _status(done) == 163
    assert b"no answer" in done.stderr


@pytest.mark.parametrize("command", [("/nonexistent/job-manager", "x"), ("job-manager", "x"), ("/bin/true",)])
def test_command_that_cannot_be_run(gate: Gate, fake: FakeDaemon, command: tuple[str, ...]) -> None:
    """A misconfigured line still answers the client."""
    fake.answer = permit
    assert _status(gate.run(command=command)) == 163


def test_started_by_hand(gate: Gate, fake: FakeDaemon) -> None:
    done = gate.run(changes={"GRID_SECURITY_HTTP_BODY_FD": None})
    assert b"not started by a gatekeeper" in done.stderr
