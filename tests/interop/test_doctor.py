"""`gsi-doctor` on a running MyProxy server: each thing is broken by itself, and just that is found."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gsi.doctor.owner import as_owner
from gsi.errors import ConfigError
from myproxy.repository.history import EVERY_SECONDS
from tests.harness.ca import subject_hash, write_file
from tests.harness.clocks import time_server
from tests.harness.daemons import Daemon, free_port
from tests.harness.doctor import Found, look
from tests.interop.conftest import Grid
from tests.interop.test_myproxy_server import OPEN, Person, Site, wait_for

HEALTHY: list[tuple[str, str, str]] = []


@dataclass
class Visitor:
    """A running server, and what the doctor is told; tests change the copies that it is told of, never the server's.

    Attributes:
        site: The server.
        trust_dir: A trust directory.
        store: A storage directory with what the server has stored.
        config: A configuration.
        host: What clients call the machine.
        place: Where the server is.
        variables: The environment.
        more: More arguments.
    """

    site: Site
    directory: Path
    trust_dir: Path
    store: Path
    config: Path
    host: str
    place: str
    variables: dict[str, str]
    only: list[str] = field(default_factory=lambda: ["trust", "host", "myproxy"])
    time: str = "none"

    @property
    def authority_stem(self) -> Path:
        return self.trust_dir / subject_hash(self.site.grid.cas["rsa2048"].certificate)

    @property
    def database(self) -> Path:
        return self.store / "myproxy.db"

    def look(self) -> Found:
        words: list[str | Path] = [word for section in self.only for word in ("-only", section)]
        words += ["-config", f"myproxy={self.config}", "-store", f"myproxy={self.store}", "-host", self.host]
        words += ["-at", f"myproxy={self.place}", "-certdir", self.trust_dir, "-time-server", self.time]
        return look(self.variables, *words)

    def execute(self, statement: str) -> None:
        connection = sqlite3.connect(self.database)
        connection.execute(statement)
        connection.commit()
        connection.close()


@pytest.fixture(scope="module")
def running_site(tmp_path_factory: pytest.TempPathFactory, grid: Grid) -> Iterator[tuple[Site, Daemon]]:
    directory = tmp_path_factory.mktemp("doctor")
    directory.chmod(0o700)
    site = Site(directory, grid)
    write_file(directory / "server.key", os.urandom(32), 0o600)
    monitor = free_port()
    site.configure(OPEN + f"monitor_listen 127.0.0.1:{monitor}\nserver_key {directory}/server.key\n")
    with site.start() as daemon:
        wait_for(daemon, "listening on port")
        Person(site, "alice", grid.users["rsa2048", "rsa2048"]).put().check()
        yield site, daemon


@pytest.fixture
def visitor(tmp_path: Path, running_site: tuple[Site, Daemon]) -> Visitor:
    site, _ = running_site
    trust_dir = Path(shutil.copytree(site.grid.trust_dir, tmp_path / "certificates"))
    trust_dir.chmod(0o755)
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    for path in site.store.iterdir():
        if path.is_file() and not path.name.endswith(("-wal", "-shm")):
            shutil.copy2(path, store / path.name)
    source, copy = sqlite3.connect(site.store / "myproxy.db"), sqlite3.connect(store / "myproxy.db")
    source.backup(copy)
    source.close()
    copy.close()
    config = Path(shutil.copy2(site.config_path, tmp_path / "server.config"))
    variables = dict(site.environment)
    return Visitor(site, tmp_path, trust_dir, store, config, "localhost", f"localhost:{site.port}", variables)


def state_of(store: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in store.iterdir()}


def still(store: Path) -> dict[Path, tuple[int, int]]:
    """The state of a store once the server has written what it writes behind the requests."""
    found, since = state_of(store), time.monotonic()
    while time.monotonic() < since + 3 * EVERY_SECONDS:
        time.sleep(0.1)
        if (now := state_of(store)) != found:
            found, since = now, time.monotonic()
    return found


def test_a_healthy_site(visitor: Visitor) -> None:
    visitor.only.append("clock")
    before = still(visitor.site.store)
    visitor.store = visitor.site.store
    with time_server() as visitor.time:
        found = visitor.look()
    assert found.wrong == HEALTHY, found.done
    told = json.loads(found.done.stdout)
    looked_at = {(one["section"], one["check"]) for one in told["findings"] if one["severity"] == "ok"}
    assert looked_at >= {
        ("clock", "clock-offset"),
        ("trust", "ca"),
        ("host", "key"),
        *(("myproxy", check) for check in ("configuration", "store", "database", "server-key", "methods", "audit")),
        *(("myproxy", check) for check in ("certificate", "key", "rules", "connection", "tls", "health")),
    }
    after = state_of(visitor.site.store)
    changed = {path.name for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed <= {"myproxy.db-shm"}, "looking changes nothing"


@pytest.mark.parametrize(("ahead", "severity"), [(90, "warning"), (-900, "error")])
def test_the_clock(visitor: Visitor, ahead: int, severity: str) -> None:
    visitor.only = ["clock"]
    with time_server(ahead) as visitor.time:
        found = visitor.look()
    assert found.wrong == [(severity, "clock-offset", visitor.time)], found.done
    assert found.hints == ["have chronyd, ntpd or systemd-timesyncd set this clock"]


def test_a_time_server_that_is_silent(visitor: Visitor) -> None:
    visitor.only, visitor.time = ["clock"], f"127.0.0.1:{free_port()}"
    found = visitor.look()
    assert found.wrong == [("warning", "clock", visitor.time)], found.done


def test_a_server_without_tls(visitor: Visitor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        visitor.place = f"127.0.0.1:{listener.getsockname()[1]}"
        found = visitor.look()
        thread.join()
    assert [one[::2] for one in found.wrong] == [("error", visitor.place)], found.done


def test_root_looks_with_the_eyes_of_the_owner(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can")
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    write_file(mine, b"secret", 0o600)
    theirs.mkdir(mode=0o700)
    os.chown(theirs, pwd.getpwnam("daemon").pw_uid, -1)
    try:
        with as_owner(str(theirs)):
            assert os.geteuid() == pwd.getpwnam("daemon").pw_uid
            assert not os.access(mine, os.R_OK, effective_ids=True)
    except ConfigError as error:
        assert "cannot read this program" in error.message  # noqa: PT017  # of an interpreter below /root
    assert os.geteuid() == 0
    assert mine.read_bytes() == b"secret"


# Each of these breaks one thing, and says what must be found. --------------------------------------------------------

Expected = set[tuple[str, str, str]]


def no_list(visitor: Visitor) -> Expected:
    visitor.authority_stem.with_suffix(".r0").unlink()
    return {("warning", "crl-missing", f"{visitor.authority_stem}.0")}


def list_expired(visitor: Visitor) -> Expected:
    now = datetime.now(UTC)
    data = visitor.site.grid.cas["rsa2048"].crl(
        this_update=now - timedelta(days=9), next_update=now - timedelta(days=1)
    )
    write_file(visitor.authority_stem.with_suffix(".r0"), data, 0o644)
    return {("error", "crl-expired", f"{visitor.authority_stem}.r0")}


def list_soon(visitor: Visitor) -> Expected:
    data = visitor.site.grid.cas["rsa2048"].crl(next_update=datetime.now(UTC) + timedelta(hours=2))
    write_file(visitor.authority_stem.with_suffix(".r0"), data, 0o644)
    return {("warning", "crl-expires-soon", f"{visitor.authority_stem}.r0")}


def no_policy(visitor: Visitor) -> Expected:
    visitor.authority_stem.with_suffix(".signing_policy").unlink()
    return {("error", "signing-policy-missing", f"{visitor.authority_stem}.0")}


def trust_open(visitor: Visitor) -> Expected:
    path = visitor.authority_stem.with_suffix(".0")
    path.chmod(0o666)
    return {("error", "unsafe-mode", str(path))}


def no_trust(visitor: Visitor) -> Expected:
    shutil.rmtree(visitor.trust_dir)
    return {("error", "trust-directory", str(visitor.trust_dir))}


def other_name(visitor: Visitor) -> Expected:
    visitor.host = "myproxy.example.org"
    return {
        ("error", "peer-name", str(visitor.site.directory / "hostcert.pem")),
        ("error", "peer-name", visitor.place),
    }


def key_open(visitor: Visitor) -> Expected:
    path = visitor.directory / "hostkey.pem"
    visitor.site.grid.host.write(visitor.directory / "hostcert.pem", path, key_mode=0o644)
    visitor.variables |= {"X509_USER_CERT": str(visitor.directory / "hostcert.pem"), "X509_USER_KEY": str(path)}
    return {("error", "unsafe-file", str(path))}


def certificate_over(visitor: Visitor) -> Expected:
    now = datetime.now(UTC)
    certificate = visitor.directory / "old.pem"
    old = visitor.site.grid.cas["rsa2048"].issue(
        "/O=Grid/CN=localhost",
        san=["DNS:localhost"],
        not_before=now - timedelta(days=9),
        not_after=now - timedelta(days=1),
    )
    old.write(certificate, visitor.directory / "old.key")
    visitor.variables |= {"X509_USER_CERT": str(certificate), "X509_USER_KEY": str(visitor.directory / "old.key")}
    return {("error", "expired", str(certificate))}


def no_certificate(visitor: Visitor) -> Expected:
    del visitor.variables["X509_USER_CERT"], visitor.variables["X509_USER_KEY"]
    visitor.only = ["myproxy"]
    return {("error", "missing", "/etc/grid-security/hostcert.pem")}


def store_open(visitor: Visitor) -> Expected:
    visitor.store.chmod(0o755)
    return {("error", "unsafe-mode", str(visitor.store))}


def database_open(visitor: Visitor) -> Expected:
    visitor.database.chmod(0o644)
    return {("error", "database", str(visitor.database))}


def database_gone(visitor: Visitor) -> Expected:
    visitor.database.unlink()
    return {("error", "database", str(visitor.database))}


def database_no_database(visitor: Visitor) -> Expected:
    write_file(visitor.database, b"x" * 8192, 0o600)
    return {("error", "database", str(visitor.database))}


def schema_older(visitor: Visitor) -> Expected:
    visitor.execute("UPDATE alembic_version SET version_num = '0001'")
    return {("warning", "schema", str(visitor.database))}


def schema_newer(visitor: Visitor) -> Expected:
    visitor.execute("UPDATE alembic_version SET version_num = '9999'")
    return {("error", "schema", str(visitor.database))}


def schema_none(visitor: Visitor) -> Expected:
    visitor.execute("DELETE FROM alembic_version")
    return {("error", "schema", str(visitor.database))}


def database_away(visitor: Visitor) -> Expected:
    with visitor.config.open("a") as config:
        config.write(f"database postgresql://nobody@127.0.0.1:{free_port()}/nothing\n")
    return {("error", "database", "PostgreSQL")}


def server_key_lost(visitor: Visitor) -> Expected:
    write_file(visitor.directory / "other.key", os.urandom(32), 0o600)
    text = visitor.config.read_text().replace(f"{visitor.site.directory}/server.key", f"{visitor.directory}/other.key")
    write_file(visitor.config, text.encode(), 0o600)
    return {("error", "server-key", "server keys")}


def code_key_lost(visitor: Visitor) -> Expected:
    with visitor.config.open("a") as config:
        config.write(f'otp "enrolled"\notp_key_file {visitor.directory}/otp.key\n')
    return {("error", "methods", "clients' proofs")}


def code_key_open(visitor: Visitor) -> Expected:
    write_file(visitor.directory / "otp.key", os.urandom(32).hex().encode(), 0o644)
    with visitor.config.open("a") as config:
        config.write(f"otp_key_file {visitor.directory}/otp.key\n")  # codes are set up before they are asked for
    return {("error", "methods", "clients' proofs")}


def audit_changed(visitor: Visitor) -> Expected:
    path = visitor.store / "audit.log"
    data = path.read_bytes()
    write_file(path, data.replace(b'"alice"', b'"mallo"', 1), 0o600)
    assert path.read_bytes() != data
    return {("error", "audit-chain", str(path))}


def audit_open(visitor: Visitor) -> Expected:
    path = visitor.store / "audit.log"
    path.chmod(0o644)
    return {("error", "unsafe-mode", str(path))}


def bad_configuration(visitor: Visitor) -> Expected:
    with visitor.config.open("a") as config:
        config.write("max_proxy_lifetime abc\n")
    return {("error", "configuration", str(visitor.config))}


def program_gone(visitor: Visitor) -> Expected:
    with visitor.config.open("a") as config:
        config.write("passphrase_policy_program /nonexistent/judge\n")
    return {("error", "rules", "site's rules")}


def nobody_listens(visitor: Visitor) -> Expected:
    visitor.place = f"localhost:{free_port()}"
    return {("error", "port", visitor.place)}


def monitor_silent(visitor: Visitor) -> Expected:
    text = "".join(
        f"monitor_listen 127.0.0.1:{(port := free_port())}\n" if line.startswith("monitor_listen") else line
        for line in visitor.config.read_text().splitlines(keepends=True)
    )
    write_file(visitor.config, text.encode(), 0o600)
    return {("error", "health", f"http://127.0.0.1:{port}/health")}


BREAKS: list[Callable[[Visitor], Expected]] = [
    no_list,
    list_expired,
    list_soon,
    no_policy,
    trust_open,
    no_trust,
    other_name,
    key_open,
    certificate_over,
    no_certificate,
    store_open,
    database_open,
    database_gone,
    database_no_database,
    schema_older,
    schema_newer,
    schema_none,
    database_away,
    server_key_lost,
    code_key_lost,
    code_key_open,
    audit_changed,
    audit_open,
    bad_configuration,
    program_gone,
    nobody_listens,
    monitor_silent,
]


@pytest.mark.parametrize("broken", BREAKS, ids=lambda one: one.__name__)
def test_what_is_broken_is_found(broken: Callable[[Visitor], Expected], visitor: Visitor) -> None:
    expected = broken(visitor)
    found = visitor.look()
    assert set(found.wrong) == expected, found.done
    assert all(found.hints), "each says what to do"
