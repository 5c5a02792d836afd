"""A real `globus-gridftp-server` whose callout finds no daemon, or one not in its right mind: always refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from gsi.authz.callout.fileops import MAX_REMEMBERED
from gsi.authz.callout.messages import (
    Answer,
    Fact,
    MapRequest,
    OperationRequest,
    Request,
    ServiceRequest,
    SessionRequest,
    Verdict,
    encode_answer,
)
from tests.harness.callout import (
    CalloutSite,
    Driver,
    FakeDaemon,
    callout_site,
    permit,
)
from tests.harness.daemons import GridFTPServer, gridftp_server
from tests.interop.authz import Place, copy
from tests.interop.conftest import ALICE, Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.harness.ca import Issued
    from tests.harness.environment import UserEnvironment


@pytest.fixture(scope="module")
def proxy(grid: Grid) -> Issued:
    return grid.cas["rsa2048"].issue(ALICE).proxy()


@pytest.fixture
def alice(user: UserEnvironment, proxy: Issued) -> UserEnvironment:
    user.install_proxy(proxy)
    return user


@pytest.fixture(scope="module")
def fake(grid: Grid) -> Iterator[tuple[CalloutSite, FakeDaemon, GridFTPServer]]:
    """A server whose daemon answers whatever a test says."""
    with (
        callout_site() as site,
        FakeDaemon(site.socket) as daemon,
        gridftp_server(grid.host, grid.trust_dir, [], extra=site.variables) as server,
    ):
        yield site, daemon, server


def _only(kind: type[Request], answer: bytes | None) -> Callable[[Request], bytes | None]:
    """Answer one kind of question so, and permit the others."""
    return lambda request: answer if isinstance(request, kind) else permit(request)


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def _field(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + len(value).to_bytes(4, "big") + value


PERMIT_FIELD: Final = _field(64, b"\1")
GARBAGE: Final[dict[str, bytes | None]] = {
    "nothing at all": None,
    "an empty frame": _frame(b""),
    "an empty answer": _frame(b"\1\x80"),
    "no verdict": _frame(b"\1\x80" + _field(65, b"nobody")),
    "text": b"HTTP/1.1 200 OK\r\n\r\n",
    "another version": _frame(b"\2\x80" + PERMIT_FIELD),
    "another kind": _frame(b"\1\x01" + PERMIT_FIELD),
    "an unknown verdict": _frame(b"\1\x80" + _field(64, b"\7")),
    "a verdict of no bytes": _frame(b"\1\x80" + _field(64, b"")),
    "two verdicts": _frame(b"\1\x80" + PERMIT_FIELD + PERMIT_FIELD),
    "an unknown field": _frame(b"\1\x80" + PERMIT_FIELD + _field(99, b"x")),
    "a field that ends early": _frame(b"\1\x80" + PERMIT_FIELD + b"\x41\0\0\0\x09nobody"),
    "half a field": _frame(b"\1\x80" + PERMIT_FIELD + b"\x41\0"),
    "an oversized frame": b"\x7f\xff\xff\xff" + b"\1\x80" + PERMIT_FIELD,
    "a truncated frame": _frame(b"\1\x80" + PERMIT_FIELD)[:-1],
    "a reason with a line feed": _frame(b"\1\x80" + _field(64, b"\2") + _field(66, b"a\r\n230 welcome")),
}
ACCOUNTS: Final = {
    "none": b"",
    "root": b"root",
    "uid 0": b"0",
    "unknown": b"nosuchaccount",
    "line feed": b"nobody\nroot",
    "NUL": b"nobody\0",
    "blank": b"nobody ",
    "slash": b"../nobody",
    "longer than the buffer": b"n" * 64,
    "longer than any": b"n" * 300,
}


QUESTIONS: Final[list[type[Request]]] = [MapRequest, ServiceRequest, SessionRequest, OperationRequest]
SLOW: Final = ("nothing at all", "a truncated frame")
"""These wait for the time limit, so that one kind of question has to do."""


@pytest.mark.parametrize(
    ("kind", "what"), [(kind, what) for what in GARBAGE for kind in (QUESTIONS[-1:] if what in SLOW else QUESTIONS)]
)
def test_garbage_refuses(
    fake: tuple[CalloutSite, FakeDaemon, GridFTPServer], alice: UserEnvironment, kind: type[Request], what: str
) -> None:
    _, daemon, server = fake
    daemon.answer = _only(kind, GARBAGE[what])
    target = server.files / "garbage"
    done = copy(alice, server, target)
    assert done.returncode != 0, done
    assert not target.exists()
    assert "authorization service" in done.stderr or "refused by the site's policy" in done.stderr
    assert "\n230 welcome" not in done.stderr


@pytest.mark.parametrize("what", ACCOUNTS)
def test_bad_accounts_arerefused(
    fake: tuple[CalloutSite, FakeDaemon, GridFTPServer], alice: UserEnvironment, what: str
) -> None:
    _, daemon, server = fake
    daemon.requests.clear()
    account = _field(65, ACCOUNTS[what]) if ACCOUNTS[what] else b""
    daemon.answer = _only(MapRequest, _frame(b"\1\x80" + PERMIT_FIELD + account))
    done = copy(alice, server, server.files / "bad-account")
    assert done.returncode != 0, done
    assert "530" in done.stderr
    assert not daemon.of(OperationRequest)
    assert not (server.files / "bad-account").exists()


def test_another_account_than_desired_isrefused(
    fake: tuple[CalloutSite, FakeDaemon, GridFTPServer], alice: UserEnvironment
) -> None:
    _, daemon, server = fake
    daemon.answer = permit
    done = copy(alice, server, server.files / "x", account="games")
    assert "the requested account is not one of yours" in done.stderr


@pytest.mark.parametrize(
    "kind", [MapRequest, ServiceRequest, SessionRequest, OperationRequest], ids=lambda k: k.__name__
)
@pytest.mark.parametrize("verdict", [Verdict.DENY, Verdict.FAILURE])
def test_refusals_reach_the_client(
    fake: tuple[CalloutSite, FakeDaemon, GridFTPServer], alice: UserEnvironment, kind: type[Request], verdict: Verdict
) -> None:
    _, daemon, server = fake
    daemon.answer = _only(kind, encode_answer(Answer(verdict, reason="the moon is full", decision_id="deadbeef")))
    done = copy(alice, server, server.files / "refused")
    assert "the moon is full (decision deadbeef)" in done.stderr
    assert not (server.files / "refused").exists()


def test_session_survives_a_restart_of_the_daemon(
    fake: tuple[CalloutSite, FakeDaemon, GridFTPServer], alice: UserEnvironment, grid: Grid
) -> None:
    """The library opens the session anew, and says that what was looked up before is forgotten."""
    _, daemon, server = fake
    daemon.answer = permit
    place = Place(grid, server, alice)
    place.write(place.mine / "file")
    with place.session() as client:
        client.command(f"MLST {place.mine}/file")
        daemon.requests.clear()
        daemon.drop()
        client.command(f"MLST {place.mine}/file")
        client.command(f"MLST {place.mine}/file")
    opened = daemon.of(SessionRequest)
    assert [request.resumed for request in opened if isinstance(request, SessionRequest)] == [True]
    assert len(daemon.of(OperationRequest)) == 2


def test_names_that_the_library_keeps(tmp_path: Path) -> None:
    """A write tells what names looked up before mean by now; or, when there were too many, not that it does."""
    (tmp_path / "d").mkdir()
    (tmp_path / "other").mkdir()
    for name in ("d/f", "other/f", "x"):
        (tmp_path / name).touch()
    with callout_site() as site, FakeDaemon(site.socket) as daemon, Driver(site) as driver:
        assert driver.call("init", "file") == "ok"

        def write() -> OperationRequest:
            assert driver.call("op", "write", f"ftp://h{tmp_path}/new") == "ok"
            asked = daemon.of(OperationRequest)[-1]
            assert isinstance(asked, OperationRequest)
            return asked

        assert Fact.FOLLOWED in write().facts
        for name in ("d/f", "x", "nothing", "other"):
            assert driver.call("op", "lookup", f"ftp://h{tmp_path}/{name}") == "ok"
        assert write()[-2:] == ((), ())
        (tmp_path / "d").rename(tmp_path / "moved")
        assert write()[-2:] == ((), ())  # nothing is there any more
        (tmp_path / "d").symlink_to("other")
        (tmp_path / "x").unlink()
        (tmp_path / "x").mkdir()
        (tmp_path / "nothing").touch()
        assert write()[-2:] == ((f"{tmp_path}/other/f",), (f"{tmp_path}/x",))
        driver.call("op", "lookup", f"ftp://h{tmp_path}/x")
        assert write()[-2:] == ((f"{tmp_path}/other/f",), ())  # the daemon knows of the rest
        for number in range(MAX_REMEMBERED):
            driver.call("op", "lookup", f"ftp://h{'/.' * (number % 100)}{'/' * (number // 100 + 1)}tmp")
        assert Fact.FOLLOWED not in write().facts


def test_daemon_down(grid: Grid, alice: UserEnvironment) -> None:
    with callout_site() as site, gridftp_server(grid.host, grid.trust_dir, [], extra=site.variables) as server:
        done = copy(alice, server, server.files / "x")
        assert "the authorization service is unreachable or too slow" in done.stderr
        with FakeDaemon(site.socket) as daemon:
            copy(alice, server, server.files / "x").check()
            assert daemon.of(MapRequest)
        done = copy(alice, server, server.files / "y")
        assert "unreachable" in done.stderr
        assert not (server.files / "y").exists()


def test_somebody_elses_daemon(grid: Grid, alice: UserEnvironment) -> None:
    """Whoever managed to put a socket there does not decide: the daemon must have its uid."""
    with callout_site() as site, FakeDaemon(site.socket) as daemon:
        text = site.conf.read_text().replace(
            f"GSI_AUTHZ_SERVER_UID={os.geteuid()}", f"GSI_AUTHZ_SERVER_UID={os.geteuid() + 1}"
        )
        site.conf.write_text(text)
        with gridftp_server(grid.host, grid.trust_dir, [], extra=site.variables) as server:
            done = copy(alice, server, server.files / "x")
            assert "unreachable" in done.stderr
            assert not daemon.requests


@pytest.mark.parametrize(
    "missing", ["globus_mapping", "GLOBUS_GSI_AUTHZ_HANDLE_INIT", "GLOBUS_GSI_AUTHORIZE_ASYNC", "globus_authorization"]
)
def test_a_missing_line_opens_what_it_stands_for(grid: Grid, alice: UserEnvironment, missing: str) -> None:
    """Why `gsi-authz.conf` has to name every type: the server takes silence for consent. With all lines it refuses."""
    refuse = encode_answer(Answer(Verdict.DENY, reason="no"))
    kind: type[Request] = {
        "globus_mapping": MapRequest,
        "globus_authorization": ServiceRequest,
        "GLOBUS_GSI_AUTHZ_HANDLE_INIT": SessionRequest,
        "GLOBUS_GSI_AUTHORIZE_ASYNC": OperationRequest,
    }[missing]
    identities = [ALICE] if missing == "globus_mapping" else []
    with (
        callout_site() as site,
        FakeDaemon(site.socket, _only(kind, refuse)) as daemon,
        gridftp_server(grid.host, grid.trust_dir, identities, extra=site.variables) as server,
    ):
        done = copy(alice, server, server.files / "x")
        assert "no" in done.stderr
        assert not (server.files / "x").exists()
        site.write_conf(without=missing)
        daemon.requests.clear()
        done = copy(alice, server, server.files / "x")
        if missing == "GLOBUS_GSI_AUTHZ_HANDLE_INIT":  # the library refuses what comes without its session
            assert "this session was refused" in done.stderr
        else:
            assert (server.files / "x").exists(), f"{missing} need not be named any more: tell the documentation"
