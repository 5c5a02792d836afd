"""`gsi-doctor` on a renewal agent and on a portal: one thing broken, that thing found."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gsi.system.audit import AuditLog, AuditRecord, Verdict
from gsi.system.files import FileLock
from tests.harness.ca import Issued, TestCA, write_file
from tests.harness.daemons import free_port
from tests.harness.doctor import Found, look
from tests.harness.environment import clean_environment
from tests.harness.portal import RunningPortal, start_portal
from tests.harness.renewal import Renewal, span
from tests.interop.conftest import Grid


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """Somebody listens where the MyProxy server would."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made.getsockname()[1]


# --- The agent -------------------------------------------------------------------------------------------------------

Site = Callable[..., Renewal]


@pytest.fixture
def site(tmp_path: Path, grid: Grid, server: int) -> Site:
    """An agent that is well; what is given differs."""
    made = Renewal(tmp_path / "agent", grid.trust_dir)
    made.state.mkdir(mode=0o700)
    (made.state / "lock").touch(0o600)
    user = grid.users["rsa2048", "rsa2048"]
    user.write(made.directory / "cert.pem", made.directory / "key.pem")
    write_file(made.directory / "hook", b"#!/bin/sh\n", 0o700)

    def make(*, hook: str = "", port: int = server, before: float = 1, after: float = 11) -> Renewal:
        made.put(made.directory / "job.pem", user.proxy(**span(before, after)))
        made.configure(
            f'[source.grid]\nserver = "localhost:{port}"\n'
            f'certificate = "{made.directory}/cert.pem"\nkey = "{made.directory}/key.pem"\n'
            f'[credential.job]\nsource = "grid"\npath = "{made.directory}/job.pem"\nusername = "alice"\n'
            f'[tell]\nhook = ["{hook or made.directory / "hook"}"]\n'
        )
        return made

    return make


def look_at(agent: Renewal) -> Found:
    return look(agent.variables, "-only", "renewd", "-config", f"renewd={agent.config_path}", "-timeout", "2")


def test_an_agent_that_is_well(site: Site) -> None:
    agent = site()
    with FileLock(str(agent.state / "lock")):
        found = look_at(agent)
    assert found.wrong == [], found.done
    for told in ("an agent runs", "1 are well; the first ends at", "hook can be run"):
        assert told in found.done.stdout
    assert "no agent runs" in look_at(agent).done.stdout
    assert sorted(path.name for path in agent.state.iterdir()) == ["lock"], "looking makes nothing"


def test_a_renewal_that_was_forgotten(site: Site) -> None:
    agent = site(before=10, after=2)
    found = look_at(agent)
    assert found.wrong == [("error", "overdue", str(agent.directory / "job.pem"))], found.done


def test_a_credential_that_has_ended(site: Site) -> None:
    agent = site(before=12, after=-1)
    assert look_at(agent).wrong == [("error", "expired", str(agent.directory / "job.pem"))]


def test_a_credential_that_is_gone(site: Site) -> None:
    agent = site()
    (agent.directory / "job.pem").unlink()
    assert look_at(agent).wrong == [("error", "missing", str(agent.directory / "job.pem"))]


def test_a_credential_that_others_can_read(site: Site) -> None:
    agent = site()
    (agent.directory / "job.pem").chmod(0o644)
    assert look_at(agent).wrong == [("error", "unreadable", str(agent.directory / "job.pem"))]


def test_renewals_that_fail_and_nobody_who_hears(site: Site) -> None:
    """Nobody who talks like a server answers, and the hook fails."""
    port = free_port()
    agent = site(port=port, before=9, after=0.5)
    write_file(agent.directory / "hook", b"#!/bin/sh\nexit 1\n", 0o700)
    assert agent.run("--once").returncode == 2
    job = str(agent.directory / "job.pem")
    wanted = [("error", "renewal", job), ("warning", "untold", job), ("error", "port", f"localhost:{port}")]
    found = look_at(agent)
    assert found.wrong == wanted, found.done
    (agent.directory / "hook").chmod(0o600)
    assert look_at(agent).wrong == [*wanted, ("error", "hook", str(agent.directory / "hook"))]


def test_a_configuration_and_notes_that_are_no_good(site: Site, tmp_path: Path) -> None:
    agent = site()
    agent.state.chmod(0o755)
    assert look_at(agent).wrong == [("error", "unsafe-mode", str(agent.state))]
    agent.configure("[nonsense]\n")
    assert look_at(agent).wrong == [("error", "configuration", str(agent.config_path))]
    agent.config_path.unlink()
    done = look(agent.variables | {"MYPROXY_RENEWD_CONFIG": str(tmp_path / "none")}, "-only", "renewd")
    assert done.wrong == []
    assert "not set up" in done.done.stdout


# --- The portal ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory, grid: Grid, server: int) -> Iterator[RunningPortal]:
    directory = tmp_path_factory.mktemp("site")
    directory.chmod(0o700)
    with start_portal(directory, grid.host, grid.trust_dir, server_port=server, workers=1) as running:
        yield running


def look_at_portal(portal: RunningPortal, *changes: tuple[str, str], directory: Path | None = None) -> Found:
    place = portal.store.parent
    text = (place / "portal.toml").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = (directory or place) / "doctor.toml"
    write_file(path, text.encode(), 0o600)
    trust = next(line for line in text.splitlines() if "certificates" in line).split('"')[1]
    words: list[str | Path] = ["-only", "portal", "-config", f"portal={path}", "-host", "localhost", "-timeout", "2"]
    return look(clean_environment(place), *words, "-certdir", trust)


def test_a_portal_that_is_well(portal: RunningPortal) -> None:
    found = look_at_portal(portal)
    assert found.wrong == [], found.done
    for told in ("is current", "its chain is whole", "portal's sessions and audit", "dates, names and chain are good"):
        assert told in found.done.stdout


def test_a_portal_s_web_certificate_is_of_any_ca(portal: RunningPortal, tmp_path: Path) -> None:
    """The CA of browsers need not be the grid's: what is wrong is what browsers would refuse whatever the CA is."""
    browsers = TestCA("/O=Browsers/CN=Web CA")
    now, here = datetime.now(UTC), ["DNS:localhost"]
    old = browsers.issue("/CN=x", san=here, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
    other, good = browsers.issue("/CN=x", san=["DNS:elsewhere"]), browsers.issue("/CN=x", san=here)
    place, certificate = portal.store.parent, str(tmp_path / "web.pem")
    changes = [(f"{place}/portal.{end}", f"{tmp_path}/web.{end}") for end in ("pem", "key")]

    def look_with(issued: Issued, *above: TestCA, mode: int = 0o600) -> list[tuple[str, str, str]]:
        issued.write(tmp_path / "web.pem", tmp_path / "web.key", key_mode=mode)
        with open(certificate, "ab") as file:
            file.writelines(one.pem for one in above)
        found = look_at_portal(portal, *changes, directory=tmp_path)
        assert not any("install its certificate" in (hint or "") for hint in found.hints)
        return found.wrong

    assert look_with(good) == []
    assert look_with(good, browsers) == []
    assert look_with(good, TestCA("/O=Browsers/CN=Another CA")) == [("error", "untrusted", certificate)]
    assert look_with(good, mode=0o644) == [("error", "unsafe-file", str(tmp_path / "web.key"))]
    assert look_with(old) == [("error", "expired", certificate)]
    assert look_with(other) == [("error", "peer-name", certificate)]


def test_a_portal_s_store_and_own_credential_are_damaged(portal: RunningPortal, grid: Grid, tmp_path: Path) -> None:
    copy, now = tmp_path / "store", datetime.now(UTC)
    copy.mkdir(mode=0o700)
    write_file(copy / "portal.db", b"rubbish" * 500, 0o600)
    with contextlib.closing(AuditLog(str(copy / "audit.log"))) as audit:
        for number in range(2):
            record = AuditRecord(
                time=now,
                request_id=str(number),
                service="myproxy-portal",
                action="LOGON",
                verdict=Verdict.DENY,
                reason="wrong",
                peer="<anonymous>",
                address="192.0.2.1",
            )
            audit.record(record)
    data = (copy / "audit.log").read_bytes()
    write_file(copy / "audit.log", data.replace(b'"deny"', b'"permit"', 1), 0o600)
    old = grid.cas["rsa2048"].issue(
        "/O=Grid/CN=portal", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1)
    )
    old.write(tmp_path / "own.pem", tmp_path / "own.key")
    own = f'[own]\ncertificate = "{tmp_path}/own.pem"\nkey = "{tmp_path}/own.key"\n[store]'
    found = look_at_portal(portal, (str(portal.store), str(copy)), ("[store]", own), directory=tmp_path)
    assert set(found.wrong) == {
        ("error", "database", f"{copy}/portal.db"),
        ("error", "audit-chain", f"{copy}/audit.log"),
        ("error", "expired", f"{tmp_path}/own.pem"),
    }, found.done
    assert all(found.hints)


def test_a_portal_s_sessions_are_of_a_newer_program(portal: RunningPortal, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    copy.mkdir(mode=0o700)
    source, target = sqlite3.connect(portal.store / "portal.db"), sqlite3.connect(copy / "portal.db")
    source.backup(target)
    target.execute("UPDATE alembic_version SET version_num = 'portal9999'")
    target.commit()
    source.close()
    target.close()
    (copy / "portal.db").chmod(0o600)
    found = look_at_portal(portal, (str(portal.store), str(copy)), directory=tmp_path)
    assert found.wrong == [("error", "schema", f"{copy}/portal.db")], found.done


def test_a_portal_s_server_is_away_and_its_own_credential_gone(
    portal: RunningPortal, server: int, tmp_path: Path
) -> None:
    port = free_port()
    own = f'[own]\ncertificate = "{tmp_path}/none.pem"\n[store]'
    found = look_at_portal(
        portal, (f'server = "localhost:{server}"', f'server = "localhost:{port}"'), ("[store]", own), directory=tmp_path
    )
    wanted = {("error", "missing", f"{tmp_path}/none.pem"), ("error", "port", f"localhost:{port}")}
    assert set(found.wrong) == wanted, found.done
