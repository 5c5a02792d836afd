"""A real gatekeeper and job manager (fork) that ask our daemon: the gate before a start, the callout for queries.

What the gate and the callout remedy is shown beside what happens without them.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from gsi.authz.callout.messages import Answer, Code, GateRequest, JobRequest, MapRequest, Verdict, encode_answer
from gsi.system.credential_files import load_proxy
from gsi.system.trustdir import TrustDirectory
from tests.harness.callout import (
    AuthzServer,
    CalloutSite,
    FakeDaemon,
    authz_server,
    callout_site,
    permit,
    service_account,
)
from tests.harness.gram import Gram, gatekeeper
from tests.interop.conftest import ALICE, Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gsi.authz.callout.messages import Request
    from gsi.credential import Credential
    from gsi.trust.anchors import TrustAnchors
    from tests.harness.ca import Issued
    from tests.harness.environment import UserEnvironment

BOB: Final = "/O=Grid/OU=Test/CN=Bob"
MANAGER: Final = "/O=Grid/OU=Test/CN=Manager"
DENIED: Final = 162
SYSTEM_FAILURE: Final = 163


def _rules() -> str:
    """Alice may start jobs, Bob may log in, the manager may look after everybody's jobs."""
    account = service_account()
    return f"""
permit dn "{ALICE}", "{BOB}", "{MANAGER}" to login as {account}
permit dn "{ALICE}" to job:start
permit dn "{MANAGER}" to job:status, job:cancel, job:signal
"""


def _gate(site: CalloutSite) -> list[str | Path]:
    return ["-socket", site.socket, "-server-uid", str(os.geteuid()), "-timeout", "3000"]


class Site(NamedTuple):
    """A gatekeeper with what decides for it."""

    callout: CalloutSite
    daemon: AuthzServer
    gram: Gram


@pytest.fixture(scope="module")
def site(grid: Grid) -> Iterator[Site]:
    with (
        callout_site(timeout_ms=10000) as callout,
        authz_server(callout.socket, grid.trust_dir, _rules()) as daemon,
        gatekeeper(grid.host, grid.trust_dir, authz_conf=callout.conf, gate=_gate(callout)) as gram,
    ):
        yield Site(callout, daemon, gram)


@pytest.fixture(scope="module")
def proxies(grid: Grid) -> dict[str, Issued]:
    ca = grid.cas["rsa2048"]
    return {name: ca.issue(name).proxy() for name in (ALICE, BOB, MANAGER)}


@pytest.fixture
def alice(user: UserEnvironment, proxies: dict[str, Issued]) -> UserEnvironment:
    user.install_proxy(proxies[ALICE])
    return user


@pytest.fixture
def credentials(tmp_path: Path, proxies: dict[str, Issued]) -> dict[str, Credential]:
    found = {}
    for number, (name, issued) in enumerate(proxies.items()):
        path = tmp_path / f"proxy-{number}"
        issued.write_bundle(path)
        found[name] = load_proxy(str(path))
    return found


@pytest.fixture
def anchors(grid: Grid) -> TrustAnchors:
    return TrustDirectory(str(grid.trust_dir)).anchors()


def _touch(path: Path) -> str:
    return f"&(executable=/usr/bin/touch)(arguments={path})"


# --- starting ---------------------------------------------------------------------------------------------------------


def test_permitted_start(site: Site, alice: UserEnvironment) -> None:
    marker = site.gram.scratch / "permitted"
    done = site.gram.submit(alice, _touch(marker)).check()
    assert "JOB_STATE_DONE" in done.stdout
    assert marker.exists()
    assert '"action":"start","verdict":"permit"' in site.daemon.audit


def test_denied_start(site: Site, user: UserEnvironment, proxies: dict[str, Issued]) -> None:
    """The client is told at once and why; nothing is left that a job manager could run later."""
    user.install_proxy(proxies[BOB])
    marker = site.gram.scratch / "denied"
    begun = time.monotonic()
    done = site.gram.submit(user, _touch(marker), timeout=20)
    assert time.monotonic() - begun < 10  # without the gate it would wait until killed
    assert done.returncode == DENIED, done
    assert "you are not authorized to start this job (decision " in done.output
    assert not [path for path in site.gram.state_files if b"denied" in path.read_bytes()]
    assert not marker.exists()


def test_ping(site: Site, alice: UserEnvironment, user: UserEnvironment, grid: Grid) -> None:
    where = f"localhost:{site.gram.port}/jobmanager-fork"
    assert "success" in alice.theirs("globusrun", "-a", "-r", where).output
    user.install_proxy(grid.cas["rsa2048"].issue("/O=Grid/OU=Test/CN=Stranger").proxy())
    assert user.theirs("globusrun", "-a", "-r", where).returncode != 0


def test_desired_account(site: Site, alice: UserEnvironment) -> None:
    """The gatekeeper throws away what the callout writes and takes the account that was asked for."""
    marker = site.gram.scratch / "as-games"
    done = site.gram.submit(alice, _touch(marker), service="jobmanager-fork@games")
    assert done.returncode != 0
    assert not marker.exists()
    done = site.gram.submit(alice, _touch(marker), service=f"jobmanager-fork@{service_account()}")
    assert done.returncode == 0, done
    assert marker.exists()


def test_version_request_passes(site: Site, alice: UserEnvironment) -> None:
    """`globusrun -j` asks for the version of the job manager: there is no job in that."""
    done = alice.theirs("globusrun", "-j", "-r", site.gram.contact)
    assert "Toolkit" in done.output or "version" in done.output.lower(), done


def test_limited_proxy_starts_nothing(site: Site, user: UserEnvironment, grid: Grid) -> None:
    from tests.harness.ca import LIMITED_INFO

    user.install_proxy(grid.cas["rsa2048"].issue(ALICE).proxy(info=LIMITED_INFO))
    marker = site.gram.scratch / "limited"
    assert site.gram.submit(user, _touch(marker)).returncode != 0
    assert not marker.exists()


# --- managing ---------------------------------------------------------------------------------------------------------


def _status(reply: str) -> tuple[int, int]:
    """Job state and error of a reply to a query."""
    values = dict(line.split(": ", 1) for line in reply.split("\r\n") if ": " in line)
    return int(values["status"]), int(values["failure-code"])


def test_management(
    site: Site, alice: UserEnvironment, credentials: dict[str, Credential], anchors: TrustAnchors
) -> None:
    contact = site.gram.start(alice, "&(executable=/bin/sleep)(arguments=60)")

    def ask(who: str, query: str) -> tuple[int, int]:
        return _status(site.gram.query(contact, ALICE, credentials[who], anchors, query))

    for query in ("status", "cancel", "signal 1 x", "signal 2 x", "register 1 https://localhost:1/", "renew"):
        assert ask(BOB, query)[1] == DENIED, query
    for query in ("start", "", "STATUS", "status\tx", "cancel\n", "signal", "signal +1 x", "signal 01x"):
        assert ask(MANAGER, query)[1] != 0, query
    assert ask(ALICE, "status")[1] == 0
    assert ask(MANAGER, "status")[1] == 0
    assert ask(MANAGER, "renew")[1] == DENIED
    assert ask(MANAGER, "cancel")[1] == 0
    assert '"action":"cancel","verdict":"permit"' in site.daemon.audit


def test_owner_cancels(site: Site, alice: UserEnvironment) -> None:
    contact = site.gram.start(alice, "&(executable=/bin/sleep)(arguments=60)")
    alice.theirs("globusrun", "-status", contact).check()
    alice.theirs("globusrun", "-kill", contact).check()


def test_strangers_cancel_where_no_callout_is_enabled(
    grid: Grid,
    alice: UserEnvironment,
    site: Site,
    credentials: dict[str, Credential],
    anchors: TrustAnchors,
) -> None:
    """Why `-enable-callout` is needed: without it whoever knows the contact manages the job."""
    with gatekeeper(
        grid.host,
        grid.trust_dir,
        authz_conf=site.callout.conf,
        gate=_gate(site.callout),
        enable_callout=False,
    ) as gram:
        contact = gram.start(alice, "&(executable=/bin/sleep)(arguments=60)")
        assert _status(gram.query(contact, ALICE, credentials[BOB], anchors, "status"))[1] == 0
        assert _status(gram.query(contact, ALICE, credentials[BOB], anchors, "cancel"))[1] == 0


def test_owner_is_locked_out_where_the_type_is_missing(
    grid: Grid, alice: UserEnvironment, credentials: dict[str, Credential], anchors: TrustAnchors
) -> None:
    """Why `globus_gram_jobmanager_authz` has to be in `gsi-authz.conf`: the job manager's own check is inverted."""
    with (
        callout_site() as callout,
        FakeDaemon(callout.socket),
        gatekeeper(grid.host, grid.trust_dir, authz_conf=callout.conf, gate=_gate(callout)) as gram,
    ):
        callout.write_conf(without="globus_gram_jobmanager_authz")
        contact = gram.start(alice, "&(executable=/bin/sleep)(arguments=60)")
        assert _status(gram.query(contact, ALICE, credentials[ALICE], anchors, "status"))[1] == DENIED
        assert _status(gram.query(contact, ALICE, credentials[BOB], anchors, "cancel"))[1] == 0


# --- what the gate is for ---------------------------------------------------------------------------------------------


def _await(what: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize("gated", [False, True], ids=["callout alone", "gate"])
def test_denied_job_does_not_run_later(grid: Grid, alice: UserEnvironment, gated: bool) -> None:
    """A start that only the job manager's callout denies hangs the client, and the next job manager runs the job."""
    deny = encode_answer(Answer(Verdict.DENY, reason="not this one"))

    def answer(request: Request) -> bytes | None:
        is_start = isinstance(request, GateRequest) or (isinstance(request, JobRequest) and request.query == "start")
        return deny if is_start and "forbidden" in request.rsl else permit(request)  # type: ignore[union-attr]  # both have one

    with (
        callout_site() as callout,
        FakeDaemon(callout.socket, answer) as daemon,
        gatekeeper(grid.host, grid.trust_dir, authz_conf=callout.conf, gate=_gate(callout) if gated else None) as gram,
    ):
        marker = gram.scratch / "forbidden"
        if gated:
            done = gram.submit(alice, _touch(marker))
            assert done.returncode == DENIED
            assert "not this one" in done.output
            assert not gram.state_files
        else:
            client = subprocess.Popen(
                ["/usr/bin/globusrun", "-r", gram.contact, _touch(marker)],
                env=alice.with_variables(X509_USER_CERT=None, X509_USER_KEY=None),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            _await(lambda: any(isinstance(each, JobRequest) for _, each in daemon.requests))
            assert client.poll() is None  # it waits for an answer that never comes
            client.kill()
            client.wait()
            assert gram.state_files
        gram.end_job_managers()
        gram.submit(alice, _touch(gram.scratch / "other")).check()
        if gated:
            gram.end_job_managers()
            gram.submit(alice, _touch(gram.scratch / "another")).check()
            assert not marker.exists()
        else:
            _await(marker.exists)


def test_without_a_gate_nothing_starts(grid: Grid, alice: UserEnvironment, site: Site) -> None:
    """The daemon refuses starts that come past the gate, rather than trust the callout with them."""
    with gatekeeper(grid.host, grid.trust_dir, authz_conf=site.callout.conf) as gram:
        marker = gram.scratch / "ungated"
        with pytest.raises(subprocess.TimeoutExpired):
            gram.submit(alice, _touch(marker), timeout=6)
        assert not marker.exists()
        site.daemon.await_log("gsi-authz-gram-gate does not stand in this service")


# --- a daemon that is not there, or not in its right mind -------------------------------------------------------------


@pytest.fixture(scope="module")
def fake(grid: Grid) -> Iterator[tuple[CalloutSite, FakeDaemon, Gram]]:
    with (
        callout_site() as callout,
        FakeDaemon(callout.socket) as daemon,
        gatekeeper(grid.host, grid.trust_dir, authz_conf=callout.conf, gate=_gate(callout)) as gram,
    ):
        yield callout, daemon, gram


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (encode_answer(Answer(Verdict.DENY, reason="no")), DENIED),
        (encode_answer(Answer(Verdict.DENY, reason="no", code=Code.JOB_ID)), 164),
        (encode_answer(Answer(Verdict.DENY, reason="no", code=Code.EXECUTABLE)), 165),
        (encode_answer(Answer(Verdict.FAILURE, reason="no")), SYSTEM_FAILURE),
        (b"", SYSTEM_FAILURE),
        (None, SYSTEM_FAILURE),
        (b"\0\0\0\2\1\x80", SYSTEM_FAILURE),
        (b"\0\0\0\x08\1\x80\x40\0\0\0\1\x09", SYSTEM_FAILURE),
        (b"\xff\xff\xff\xff", SYSTEM_FAILURE),
        (b"HTTP/1.1 200 OK\r\n\r\n", SYSTEM_FAILURE),
    ],
    ids=["denied", "job id", "executable", "failure", "empty", "late", "no verdict", "unknown", "oversized", "text"],
)
def test_answers_to_the_gate(
    fake: tuple[CalloutSite, FakeDaemon, Gram], alice: UserEnvironment, answer: bytes | None, status: int
) -> None:
    _, daemon, gram = fake
    daemon.answer = lambda request: answer if isinstance(request, GateRequest) else permit(request)
    marker = gram.scratch / "answered"
    done = gram.submit(alice, _touch(marker))
    assert done.returncode == status, done
    assert not marker.exists()
    assert not gram.state_files


@pytest.mark.parametrize("account", [b"", b"root", b"nobody\nroot", b"nosuchaccount"])
def test_bad_accounts(fake: tuple[CalloutSite, FakeDaemon, Gram], alice: UserEnvironment, account: bytes) -> None:
    _, daemon, gram = fake
    body = b"\1\x80\x40\0\0\0\1\1" + (b"\x41" + len(account).to_bytes(4, "big") + account if account else b"")
    frame = len(body).to_bytes(4, "big") + body
    daemon.answer = lambda request: frame if isinstance(request, MapRequest) else permit(request)
    marker = gram.scratch / "bad-account"
    assert gram.submit(alice, _touch(marker)).returncode != 0
    assert not marker.exists()


def test_query_failures(
    fake: tuple[CalloutSite, FakeDaemon, Gram],
    alice: UserEnvironment,
    credentials: dict[str, Credential],
    anchors: TrustAnchors,
) -> None:
    _, daemon, gram = fake
    daemon.answer = permit
    contact = gram.start(alice, "&(executable=/bin/sleep)(arguments=60)")

    def ask(answer: bytes | None) -> int:
        daemon.answer = lambda _: answer
        return _status(gram.query(contact, ALICE, credentials[ALICE], anchors, "status"))[1]

    assert ask(encode_answer(Answer(Verdict.DENY))) == DENIED
    assert ask(encode_answer(Answer(Verdict.DENY, code=Code.JOB_ID))) == 164
    assert ask(encode_answer(Answer(Verdict.DENY, code=Code.EXECUTABLE))) == 165
    assert ask(encode_answer(Answer(Verdict.FAILURE))) == SYSTEM_FAILURE
    assert ask(b"") == SYSTEM_FAILURE
    assert ask(None) == SYSTEM_FAILURE
    daemon.answer = permit
    assert _status(gram.query(contact, ALICE, credentials[ALICE], anchors, "cancel"))[1] == 0


def test_daemon_down(grid: Grid, alice: UserEnvironment) -> None:
    with (
        callout_site() as callout,
        gatekeeper(grid.host, grid.trust_dir, authz_conf=callout.conf, gate=_gate(callout)) as gram,
    ):
        done = gram.submit(alice, _touch(gram.scratch / "x"))
        assert done.returncode != 0
        assert "unreachable" in gram.log
        assert not (gram.scratch / "x").exists()


def test_daemon_goes_away_before_the_gate(fake: tuple[CalloutSite, FakeDaemon, Gram], alice: UserEnvironment) -> None:
    callout, daemon, gram = fake

    def answer(request: Request) -> bytes | None:
        if isinstance(request, GateRequest):
            daemon.drop()
        return permit(request)

    daemon.answer = answer
    done = gram.submit(alice, _touch(gram.scratch / "dropped"))
    assert done.returncode == SYSTEM_FAILURE, done
    assert not (gram.scratch / "dropped").exists()
    del callout
