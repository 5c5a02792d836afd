"""The daemon as a process: who may ask what, limits, time, signals, several workers."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import pytest

from gsi.authz.callout.messages import (
    MAX_ANSWER_BYTES,
    Answer,
    Fact,
    FrameReader,
    GateRequest,
    JobRequest,
    MapRequest,
    OperationRequest,
    Request,
    ServiceRequest,
    SessionRequest,
    Verdict,
    encode_request,
    parse_answer,
)
from gsi.transport.listening import listen_unix
from tests.harness.ca import TestCA, write_trust_dir
from tests.harness.callout import AuthzServer, CalloutSite, Driver, authz_server, callout_site, service_account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.ca import Issued

ALICE: Final = "/O=Grid/CN=Alice"
OWN: Final = f'["{os.geteuid()}"]'
"""Whoever runs the tests asks as a service would."""


def _rules() -> str:
    return f"""
permit dn "{ALICE}" to login as {service_account()}
permit dn "{ALICE}" to read on /tmp/**
permit dn "{ALICE}" to job:start
"""


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue(ALICE).proxy()


@pytest.fixture(scope="module")
def trust_dir(ca: TestCA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trust_dir(tmp_path_factory.mktemp("trust") / "certificates", ca, crl=True)


@pytest.fixture(scope="module")
def site() -> Iterator[CalloutSite]:
    with callout_site(timeout_ms=10000) as made:
        yield made


@pytest.fixture(scope="module")
def daemon(site: CalloutSite, trust_dir: Path) -> Iterator[AuthzServer]:
    with authz_server(site.socket, trust_dir, _rules(), service_users=OWN) as running:
        yield running


class Asker:
    """A connection to the daemon, as the library has one."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._reader = FrameReader(MAX_ANSWER_BYTES)

    def ask(self, request: Request) -> Answer:
        return self.exchange(encode_request(request))

    def exchange(self, data: bytes) -> Answer:
        """Send bytes and read an answer; `ConnectionError` when there is none."""
        self._socket.sendall(data)
        while (body := self._reader.next_body()) is None:
            received = self._socket.recv(4096)
            if not received:
                raise ConnectionError("closed")
            self._reader.feed(received)
        return parse_answer(body)

    def is_closed(self) -> bool:
        """Wait until the daemon closes."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ask(path: Path, request: Request) -> Answer:
    """One question on a connection of its own."""
    with Asker(path) as asker:
        return asker.ask(request)


@pytest.fixture
def asker(site: CalloutSite, daemon: AuthzServer) -> Iterator[Asker]:
    made = Asker(site.socket)
    yield made
    made.close()


def _read(path: str = "/tmp/x") -> OperationRequest:
    return OperationRequest(
        action="read", object=f"ftp://h{path}", facts=Fact.RESOLVED | Fact.EXISTS, real_path=path, link_path=path
    )


# --- questions --------------------------------------------------------------------------------------------------------


def test_mapping(asker: Asker, alice: Issued, daemon: AuthzServer) -> None:
    answer = asker.ask(MapRequest(service="file", buffer_bytes=64, chain=alice.chain_der))
    assert answer.verdict is Verdict.PERMIT
    assert answer.account == service_account()
    assert answer.decision_id in daemon.audit
    assert asker.is_closed()


@pytest.mark.parametrize(
    "request_",
    [
        MapRequest(service="file", buffer_bytes=64),
        MapRequest(service="file", buffer_bytes=64, chain=(b"no certificate",)),
        ServiceRequest(service="file"),
        SessionRequest(service="file"),
        GateRequest(service="jobmanager-fork", rsl="&(a=b)"),
        JobRequest(job_id="1", query="status"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_without_a_chain_nobody_is_anybody(asker: Asker, request_: Request) -> None:
    answer = asker.ask(request_)
    assert answer.verdict is Verdict.DENY
    assert "chain is refused" in answer.reason


def test_unknown_services_and_shares(site: CalloutSite, alice: Issued, daemon: AuthzServer) -> None:
    for service, verdict in (("ssh", Verdict.FAILURE), ("", Verdict.FAILURE), ("sharing", Verdict.DENY)):
        for request in (
            MapRequest(service=service, buffer_bytes=64, chain=alice.chain_der, shared="x"),
            ServiceRequest(service=service, chain=alice.chain_der),
        ):
            assert _ask(site.socket, request).verdict is verdict, request


def test_session(asker: Asker, alice: Issued) -> None:
    if os.geteuid() == 0:
        pytest.skip("root is nobody's account; the GridFTP server's tests open sessions as mapped users")
    assert asker.ask(SessionRequest(service="file", chain=alice.chain_der)).verdict is Verdict.PERMIT
    assert asker.ask(_read()).verdict is Verdict.PERMIT
    refused = asker.ask(_read("/etc/passwd"))
    assert refused.verdict is Verdict.DENY
    assert refused.reason == "no permission to read /etc/passwd"
    assert asker.ask(_read()).verdict is Verdict.PERMIT


def test_gate_and_job(site: CalloutSite, alice: Issued, daemon: AuthzServer) -> None:
    def ask(request: Request) -> Verdict:
        return _ask(site.socket, request).verdict

    gate = GateRequest(service="jobmanager-fork", rsl="&(executable=/bin/true)", chain=alice.chain_der)
    assert ask(gate) is Verdict.PERMIT
    start = JobRequest(job_id="1.2", query="start")
    assert ask(start) is Verdict.FAILURE
    assert ask(start._replace(environment=(("GSI_AUTHZ_GATE", "1"),))) is Verdict.PERMIT
    mine = JobRequest(job_id="1.2", query="status", chain=alice.chain_der, target=ALICE)
    assert ask(mine) is Verdict.PERMIT
    assert ask(mine._replace(target="/O=Grid/CN=Bob")) is Verdict.DENY
    assert ask(mine._replace(target="")) is Verdict.DENY
    assert ask(mine._replace(query="destroy")) is Verdict.DENY


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\2\1\x80",
        b"\0\0\0\2\2\1",
        encode_request(_read()),
        encode_request(ServiceRequest(service="file")) + b"x",
    ],
    ids=["no length", "oversized", "text", "an answer", "another version", "out of order", "two at once"],
)
def test_malformed(asker: Asker, data: bytes, daemon: AuthzServer) -> None:
    with pytest.raises((ConnectionError, BrokenPipeError)):
        asker.exchange(data)
    daemon.await_log("protocol-remote")


def test_half_a_question_does_not_stay(site: CalloutSite, trust_dir: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with authz_server(tmp_path / "socket", trust_dir, _rules(), server="request_time = 0.2") as running:
        for data in (b"", b"\0\0"):
            with Asker(tmp_path / "socket") as asker:
                asker._socket.sendall(data)
                assert asker.is_closed()
        running.await_log("no question in time")


def test_too_many_connections(trust_dir: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with authz_server(
        tmp_path / "socket", trust_dir, _rules(), server="connections = 3\nservice_connections = 3"
    ) as running:
        with Asker(tmp_path / "socket"), Asker(tmp_path / "socket"), Asker(tmp_path / "socket"):
            with Asker(tmp_path / "socket") as asker:
                assert asker.is_closed()
            running.await_log("too many connections")
        deadline = time.monotonic() + 10
        while True:  # the daemon hears of the closed ones in its own time
            try:
                assert _ask(tmp_path / "socket", ServiceRequest(service="file")).verdict is Verdict.DENY
                break
            except ConnectionError:
                assert time.monotonic() < deadline


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another account")
def test_too_many_connections_of_one_user(trust_dir: Path, site: CalloutSite, alice: Issued) -> None:
    path = site.directory / "run" / "other"
    other = CalloutSite(site.directory, site.library, site.conf, path)
    with (
        authz_server(path, trust_dir, _rules(), service_users='["root"]', server="per_user = 2") as running,
        Driver(other, account="nobody", timeout_ms=10000) as driver,
    ):
        driver.show_chain(alice.chain_der)
        assert driver.call("open", 4, "file") == "ok 2"
        running.await_log("too many connections of uid 65534")
        assert _ask(path, MapRequest(service="file", buffer_bytes=64, chain=alice.chain_der)).account == "nobody"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another account")
def test_users_ask_about_themselves_only(site: CalloutSite, trust_dir: Path, alice: Issued) -> None:
    path = site.directory / "run" / "third"
    other = CalloutSite(site.directory, site.library, site.conf, path)
    with authz_server(path, trust_dir, _rules(), service_users='["root"]') as running:
        with Driver(other, account="nobody", timeout_ms=10000) as driver:
            driver.show_chain(alice.chain_der)
            assert "may not ask for a mapping" in driver.call("map", "file", "-", 64)
            assert "may not ask for the use of a service" in driver.call("service", "file")
            assert driver.call("init", "file") == "ok"
            assert driver.call("op", "read", "ftp://h/tmp/x") == "ok"
            assert "no permission to read" in driver.call("op", "read", "ftp://h/etc/passwd")
        with Driver(other, account="games", timeout_ms=10000) as driver:
            driver.show_chain(alice.chain_der)
            assert "not authorized" in driver.call("init", "file")
        assert "may not ask for a mapping" in running.log


# --- signals and processes --------------------------------------------------------------------------------------------


def test_reload(trust_dir: Path, tmp_path: Path, alice: Issued) -> None:
    """A changed policy is in force within a second or two; a broken configuration changes nothing and is said so."""
    tmp_path.chmod(0o755)
    path = tmp_path / "socket"
    question = MapRequest(service="file", buffer_bytes=64, chain=alice.chain_der)
    with authz_server(path, trust_dir, _rules(), service_users=OWN, workers=2) as running:
        assert _ask(path, question).verdict is Verdict.PERMIT
        config = running.directory / "server.toml"
        good = config.read_text()
        config.write_text(good + "\n[nonsense]\n")
        running.process.send_signal(signal.SIGHUP)
        running.await_log("the new configuration is not used, the old one stays")
        assert _ask(path, question).verdict is Verdict.PERMIT
        config.write_text(good.replace('name = "file"', 'name = "elsewhere"'))
        running.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while _ask(path, question).verdict is not Verdict.FAILURE:
            assert time.monotonic() < deadline


def test_policy_follows_its_file(trust_dir: Path, tmp_path: Path, alice: Issued) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "socket"
    question = MapRequest(service="file", buffer_bytes=64, chain=alice.chain_der)
    with authz_server(path, trust_dir, _rules(), service_users=OWN) as running:
        assert _ask(path, question).verdict is Verdict.PERMIT
        (running.directory / "rules").write_text(f'deny dn "{ALICE}" to *\n')
        deadline = time.monotonic() + 10
        while _ask(path, question).verdict is not Verdict.DENY:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_stop_ends_sessions_and_removes_the_socket(trust_dir: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "socket"
    with authz_server(path, trust_dir, _rules(), service_users=OWN, workers=2) as running:
        with Asker(path) as asker:
            running.process.send_signal(signal.SIGTERM)
            assert asker.is_closed()
        assert running.process.wait(10) == 0
        assert not path.exists()


def test_stop_leaves_the_socket_of_the_next_daemon(trust_dir: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "socket"
    with authz_server(path, trust_dir, _rules(), service_users=OWN) as running:
        path.rename(tmp_path / "moved")
        listen_unix(str(path), 0o600).close()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0
        assert path.exists()


def test_workers_are_replaced(trust_dir: Path, tmp_path: Path, alice: Issued) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "socket"
    question = MapRequest(service="file", buffer_bytes=64, chain=alice.chain_der)
    with authz_server(path, trust_dir, _rules(), service_users=OWN, workers=2) as running:
        pid = running.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        assert _ask(path, question).verdict is Verdict.PERMIT  # waits in the kernel's queue for the next worker


def test_audit_that_cannot_be_written_refuses(trust_dir: Path, tmp_path: Path, alice: Issued) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "socket"
    with authz_server(path, trust_dir, _rules(), service_users=OWN) as running:
        question = MapRequest(service="file", buffer_bytes=64, chain=alice.chain_der)
        assert _ask(path, question).verdict is Verdict.PERMIT
        import resource

        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (running.audit_path.stat().st_size, -1))
        assert _ask(path, question).verdict is Verdict.FAILURE
