"""The daemon's socket is open to every local user: what one of them can do there to others, with public certificates.

A real daemon; who asks is this process, which takes on another effective user for as long as it connects.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from gsi.authz.callout.messages import (
    MAX_GATE_RSL_BYTES,
    MAX_REQUEST_BYTES,
    Answer,
    Fact,
    FrameReader,
    GateRequest,
    JobRequest,
    MapRequest,
    OperationRequest,
    Request,
    SessionRequest,
    Verdict,
    encode_request,
    parse_answer,
)
from tests.harness.ca import TestCA
from tests.harness.callout import authz_server, callout_site, service_account
from tests.harness.run import our_program, run
from tests.interop.conftest import ALICE, Grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.callout import AuthzServer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it asks as several users")

LOGIN: Final = f'permit dn "{ALICE}" to login as {service_account()}\n'
PATIENCE: Final = 10.0
"""Seconds: as long as the library waits, which then refuses the login."""
STRANGERS: Final = ("games", "news")
FACTS: Final = Fact.RESOLVED | Fact.EXISTS


@pytest.fixture(scope="module")
def chain(grid: Grid) -> tuple[bytes, ...]:
    """Alice's certificates, as everybody may have them: no key."""
    return grid.cas["rsa2048"].issue(ALICE).proxy().chain_der


@pytest.fixture
def path() -> Iterator[Path]:
    with callout_site() as site:
        yield site.socket


@contextlib.contextmanager
def _connected(path: Path, account: str = "root", count: int = 1) -> Iterator[list[socket.socket]]:
    """Connections that the daemon sees as an account's."""
    entry = pwd.getpwnam(account)
    opened: list[socket.socket] = []
    try:
        os.setegid(entry.pw_gid)
        os.seteuid(entry.pw_uid)
        try:
            for _ in range(count):
                one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                opened.append(one)
                one.settimeout(PATIENCE)
                one.connect(str(path))
        finally:
            os.seteuid(0)
            os.setegid(0)
        yield opened
    finally:
        for one in opened:
            one.close()


def _answer(connection: socket.socket) -> Answer:
    reader = FrameReader(4096)
    while (body := reader.next_body()) is None:
        data = connection.recv(4096)
        assert data, "the daemon has closed the connection"
        reader.feed(data)
    return parse_answer(body)


def _ask(connection: socket.socket, request: Request) -> Answer:
    connection.sendall(encode_request(request))
    return _answer(connection)


def _map(path: Path, chain: tuple[bytes, ...]) -> Answer:
    with _connected(path) as (one,):
        return _ask(one, MapRequest(service="file", buffer_bytes=64, chain=chain))


def _gate(chain: tuple[bytes, ...], rsl: str = "&(executable=/bin/evil)") -> GateRequest:
    return GateRequest(service="jobmanager-fork", rsl=rsl, chain=chain, source=ALICE)


def _operation(action: str = "read", target: str = "/data/f") -> OperationRequest:
    return OperationRequest(
        action=action, object=f"ftp://localhost{target}", facts=FACTS, real_path=target, link_path=target
    )


# --- room -------------------------------------------------------------------------------------------------------------


def test_idle_connections_keep_nobody_out(grid: Grid, path: Path, chain: tuple[bytes, ...]) -> None:
    """Logins have room of their own, and of the rest nobody has all."""
    with (
        authz_server(
            path, grid.trust_dir, LOGIN, server="connections = 8\nper_user = 4", service_users='["root"]'
        ) as daemon,
        _connected(path, "games", 4) as first,
        _connected(path, "news", 4) as second,
    ):
        assert _map(path, chain).verdict is Verdict.PERMIT
        with _connected(path, service_account()) as (one,):
            assert _ask(one, SessionRequest(service="file", chain=chain)).verdict is Verdict.PERMIT
            daemon.await_log("others need the room")
            with _connected(path, "games") as (another,):  # it has no fewer than anybody else
                assert another.recv(1) == b""
            daemon.await_log("connection refused: too many connections")
            assert _ask(one, _operation()).verdict is Verdict.DENY
        assert first
        assert second


def test_half_questions_fill_no_memory(grid: Grid, path: Path) -> None:
    """What one user has sent of questions, without their last byte, is bounded; in all, not for each connection."""
    with (
        authz_server(path, grid.trust_dir, LOGIN, service_users='["root"]') as daemon,
        _connected(path, "games", 80) as opened,
    ):
        half = MAX_REQUEST_BYTES.to_bytes(4, "big") + bytes(MAX_REQUEST_BYTES - 1)
        refused = 0
        for one in opened:
            try:
                one.sendall(half)
            except OSError:
                refused += 1
        daemon.await_log("its user has too much under way")
        assert refused


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port where nobody answers: what waits for it waits."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(256)
        yield listening.getsockname()[1]


def test_questions_that_hang_do_not_stop_logins(grid: Grid, path: Path, chain: tuple[bytes, ...], deaf: int) -> None:
    """However many questions of one user wait for something, others are answered: services, and other users."""
    remote = f'[authorizer.remote]\ntype = "xacml"\nurl = "http://127.0.0.1:{deaf}/"\ntime_limit = 4\n'
    with (
        authz_server(
            path,
            grid.trust_dir,
            LOGIN,
            gram=f'order = ["remote"]\n{remote}answer_within = 3\n',
            service_users='["root"]',
        ) as daemon,
        contextlib.ExitStack() as stack,
    ):
        for account in STRANGERS:
            for one in stack.enter_context(_connected(path, account, 40)):
                one.sendall(encode_request(_gate(chain)))
        assert _map(path, chain).verdict is Verdict.PERMIT
        with _connected(path, service_account()) as (one,):
            assert _ask(one, SessionRequest(service="file", chain=chain)).verdict is Verdict.PERMIT
        assert daemon.process.poll() is None


def test_logins_use_other_threads_of_a_slow_service(
    grid: Grid, path: Path, chain: tuple[bytes, ...], deaf: int
) -> None:
    """The same where it is one policy: the threads that ask another service are not all the users' either."""
    remote = f'[authorizer.remote]\ntype = "xacml"\nurl = "http://127.0.0.1:{deaf}/"\n'
    policy = (
        'order = ["remote", "rules"]\ncombining = "permit-overrides"\n[authorizer.rules]\ntype = "rules"\n'
        f'file = "rules"\n{remote}time_limit = 3\nanswer_within = 2\n'
    )
    with (
        authz_server(path, grid.trust_dir, LOGIN, policy=policy, service_users='["root"]'),
        contextlib.ExitStack() as stack,
    ):
        for account in STRANGERS:
            for one in stack.enter_context(_connected(path, account, 40)):
                one.sendall(encode_request(SessionRequest(service="file", chain=chain)))
        assert _map(path, chain).verdict is not Verdict.DENY  # an answer, in time: within the authorizer's own limit


def test_a_job_longer_than_gram_takes_is_no_question(grid: Grid, path: Path, chain: tuple[bytes, ...]) -> None:
    longest = f"&(arguments={'a ' * (MAX_GATE_RSL_BYTES // 2 - 8)})"
    with (
        authz_server(path, grid.trust_dir, LOGIN, service_users='["root"]'),
        _connected(path, "games", 2) as (long, longer),
    ):
        assert _ask(long, _gate(chain, longest)).verdict is Verdict.DENY
        longer.sendall(encode_request(_gate(chain, longest.ljust(MAX_GATE_RSL_BYTES + 1))))
        assert longer.recv(1) == b""


REFUSED: Final = {
    "by the policy": _operation(target="/other"),
    "without being asked": _operation("delete")._replace(facts=FACTS | Fact.DIRECTORY),
}


@pytest.mark.parametrize("how", REFUSED)
def test_a_disk_that_does_not_keep_up_holds_up_nobody_else(
    grid: Grid, path: Path, chain: tuple[bytes, ...], how: str
) -> None:
    """Refusals are recorded behind the answer; whoever makes more of them than the disk takes waits alone."""
    refused = REFUSED[how]
    rules = f'{LOGIN}permit dn "{ALICE}" to read on /data/**\n'
    with (
        authz_server(path, grid.trust_dir, rules, service_users='["root"]') as daemon,
        _connected(path, service_account(), 2) as (noisy, quiet),
    ):
        for one in (noisy, quiet):
            assert _ask(one, SessionRequest(service="file", chain=chain)).verdict is Verdict.PERMIT
        assert _ask(noisy, refused).verdict is Verdict.DENY
        noisy.settimeout(1.0)
        quiet.settimeout(PATIENCE / 2)  # the audit itself gives up after as long as the library
        with open(daemon.audit_path, "rb") as audit:
            fcntl.flock(audit, fcntl.LOCK_EX)
            with contextlib.suppress(TimeoutError):
                for _ in range(1100):
                    assert _ask(noisy, refused).verdict is Verdict.DENY
                pytest.fail("refusals that cannot be recorded have no end")
            assert _ask(quiet, _operation()).verdict is Verdict.PERMIT


# --- traces -----------------------------------------------------------------------------------------------------------


def _records(daemon: AuthzServer) -> list[dict[str, object]]:
    return [json.loads(line) for line in daemon.audit.splitlines()]


def test_permits_in_somebody_elses_name_are_told_apart(grid: Grid, path: Path, chain: tuple[bytes, ...]) -> None:
    """Whoever has the certificates can ask what their owner may; the audit says who did, and that nothing proves it."""
    rules = f'{LOGIN}permit dn "{ALICE}" to job:start, job:cancel\n'
    environment = (("REMOTE_ADDR", "192.0.2.66"),)
    with authz_server(path, grid.trust_dir, rules, service_users='["root"]') as daemon:
        with _connected(path, "games", 2) as (gate, job):
            assert _ask(gate, _gate(chain)._replace(environment=environment)).verdict is Verdict.PERMIT
            query = JobRequest(job_id="1.2", query="cancel", chain=chain, source=ALICE, target=ALICE)
            assert _ask(job, query).verdict is Verdict.PERMIT
        assert _map(path, chain).verdict is Verdict.PERMIT
        start, cancel, login = _records(daemon)
        assert [each["action"] for each in (start, cancel, login)] == ["start", "cancel", "login"]
        for record in (start, cancel):
            assert record["uid"] == pwd.getpwnam("games").pw_uid
            assert record["pid"] == os.getpid()
            assert record["proof"] == "none"
        assert (login["uid"], login["proof"]) == (0, "service")
        assert "permitted, for certificates it shows" in daemon.log


def test_every_refusal_is_found_under_its_id(grid: Grid, path: Path, chain: tuple[bytes, ...]) -> None:
    """In the audit, and by `gsi-authz explain`: with name and path, also where the policy was not asked."""
    rules = f'{LOGIN}permit dn "{ALICE}" to read, lookup, write, create, delete on /data/**\n'
    policy = 'order = ["rules"]\nrecord = "decisions"\n[authorizer.rules]\ntype = "rules"\nfile = "rules"\n'
    stranger = TestCA("/O=Grid/CN=Elsewhere").issue(ALICE).chain_der
    tree = REFUSED["without being asked"]
    new = _operation("write", "/data/new")._replace(facts=Fact.RESOLVED | Fact.FOLLOWED)
    told: list[tuple[Answer, str, str, str]] = []
    with authz_server(path, grid.trust_dir, rules, policy=policy, gram=policy, service_users='["root"]') as daemon:
        with _connected(path, service_account()) as (one,):
            assert _ask(one, SessionRequest(service="file", chain=chain)).verdict is Verdict.PERMIT
            told.append((_ask(one, tree), ALICE, "the directory is not empty", tree.object))
            found = _ask(one, _operation("lookup", "/data/d")._replace(facts=FACTS | Fact.DIRECTORY))
            assert found.verdict is Verdict.PERMIT
            told.append((_ask(one, new), ALICE, "could be a rename of a directory", new.object))
        for account, shown, who, words in (
            ("games", chain, ALICE, "the account 'games' was asked for"),
            (service_account(), stranger, "<unverified>", f"they show {ALICE}"),
        ):
            with _connected(path, account) as (one,):
                told.append((_ask(one, SessionRequest(service="file", chain=shown)), who, words, ""))
        with _connected(path, "games") as (one,):
            told.append((_ask(one, MapRequest(service="file", buffer_bytes=64, chain=chain)), "", "may not ask", ""))
        daemon.process.send_signal(signal.SIGTERM)  # what waits is written
        daemon.process.wait(PATIENCE)
        lines = {record["id"]: record for record in _records(daemon)}
        for answer, who, words, resource in told:
            assert answer.verdict is Verdict.DENY
            line = lines[answer.decision_id]
            assert line["verdict"] == "deny"
            assert line["peer"] == (who or "<anonymous>")
            assert words in str(line["reason"])
            assert line["resource"] == resource
            assert line["uid"]
            explained = run(
                [our_program("gsi-authz"), "explain", answer.decision_id, "-record", daemon.directory / "decisions"],
                env=daemon.variables,
            ).check()
            assert words in explained.stdout
            assert resource in explained.stdout


def test_only_mappings_lease(grid: Grid, path: Path, chain: tuple[bytes, ...]) -> None:
    """A pool's account is taken by those who may ask for mappings, whatever the policy maps."""
    with tempfile.TemporaryDirectory(prefix="gsi-pool-") as name:
        directory = Path(name)
        pool = directory / "pool"
        pool.mkdir()
        for account in (service_account(), "news"):
            (pool / account).touch()
        (directory / "gridmap").write_text(f'"{ALICE}" .\n')
        policy = (
            f'order = ["pool"]\n[authorizer.pool]\ntype = "gridmap"\nfile = "{directory}/gridmap"\n'
            f'gridmap_dir = "{pool}"\nactions = ["login", "job:*", "file:*"]\n'
        )
        before = {each.name for each in pool.iterdir()}
        with authz_server(path, grid.trust_dir, "", policy=policy, gram=policy, service_users='["root"]'):
            with _connected(path, "games", 3) as (gate, job, session):
                _ask(gate, _gate(chain))
                _ask(job, JobRequest(job_id="1.2", query="cancel", chain=chain, source=ALICE, target=ALICE))
                _ask(session, SessionRequest(service="file", chain=chain))
            assert {each.name for each in pool.iterdir()} == before
            answer = _map(path, chain)
            assert answer.verdict is Verdict.PERMIT
            assert {each.name for each in pool.iterdir()} != before
            with _connected(path, answer.account, 2) as (gate, session):
                assert _ask(gate, _gate(chain)).verdict is Verdict.PERMIT  # by the lease that there is
                assert _ask(session, SessionRequest(service="file", chain=chain)).verdict is Verdict.PERMIT
                assert _ask(session, _operation()).verdict is Verdict.PERMIT


# --- what is open already ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["another policy", "the rules", "the login", "the service's policy is gone"])
def test_open_sessions_follow_what_has_changed(grid: Grid, path: Path, chain: tuple[bytes, ...], how: str) -> None:
    rules = f'{LOGIN}permit dn "{ALICE}" to read on /data/**\n'
    with authz_server(path, grid.trust_dir, rules) as daemon, _connected(path, service_account()) as (session,):
        assert _ask(session, SessionRequest(service="file", chain=chain)).verdict is Verdict.PERMIT
        assert _ask(session, _operation()).verdict is Verdict.PERMIT
        config = daemon.directory / "server.toml"
        match how:
            case "another policy":
                shutil.copy(daemon.directory / "gridftp.toml", daemon.directory / "strict.toml")
                text = (daemon.directory / "strict.toml").read_text().replace('"rules"\n', '"strict"\n')
                (daemon.directory / "strict.toml").write_text(text.replace('type = "strict"', 'type = "rules"'))
                (daemon.directory / "strict").write_text(f'deny dn "{ALICE}" to *\n')
                config.write_text(config.read_text().replace("gridftp.toml", "strict.toml"))
            case "the service's policy is gone":
                config.write_text(config.read_text().replace('name = "file"', 'name = "other"'))
            case "the rules":
                (daemon.directory / "rules").write_text(f'{LOGIN}permit dn "{ALICE}" to read on /other/**\n')
            case _:
                (daemon.directory / "rules").write_text(rules.replace(LOGIN, ""))
        if "policy" in how:
            daemon.process.send_signal(signal.SIGHUP)
            daemon.await_log("configuration read again")
        else:
            _await_change(daemon, path, chain)
        assert _ask(session, _operation()).verdict is not Verdict.PERMIT


def _await_change(daemon: AuthzServer, path: Path, chain: tuple[bytes, ...]) -> None:
    """Ask until the changed file is in force: files are looked at when somebody asks."""
    for _ in range(2000):
        if "is in force as changed" in daemon.log:
            return
        _map(path, chain)
    daemon.await_log("is in force as changed")
