"""The repository in PostgreSQL: several nodes on one database, a failover, a database that is gone for a while."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from gsi.errors import GridError, NotFoundError, StorageError
from gsi.sql import postgres as module
from myproxy.repository.base import StoredCredential
from myproxy.repository.sql import open_postgres_repository
from tests.harness.daemons import MYPROXY_CONFIG
from tests.harness.environment import clean_environment
from tests.harness.postgres import Postgres, connect_string, postgres, standby_of
from tests.harness.run import c_program, our_program, run
from tests.interop.conftest import Grid
from tests.interop.test_myproxy_server import Site
from tests.interop.test_myproxy_store import Client
from tests.interop.test_myproxy_test import CLIENTS, SERVER

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def conninfo(server: Postgres) -> Iterator[str]:
    with server.database() as made:
        yield made


def make_site(directory: Path, grid: Grid, conninfo: str) -> Site:
    directory.mkdir(mode=0o700)
    site = Site(directory, grid)
    site.configure(f'{MYPROXY_CONFIG}database "{conninfo}"\n')
    return site


def credential(number: int, **changes: object) -> StoredCredential:
    made = StoredCredential(
        username=f"user{number}",
        owner="/O=Grid/CN=Alice",
        certificates=(b"0leaf",),
        sealed_key=b"%d" % number * 500,
        not_before=NOW,
        not_after=NOW + timedelta(days=7),
        lifetime=timedelta(hours=12),
        created=NOW,
        updated=NOW,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]  # field values by name


class Writers:
    """Threads that store one credential after the other, and remember which were acknowledged."""

    def __init__(self, put: Callable[[StoredCredential], None], *, count: int = 4) -> None:
        self.acknowledged: set[int] = set()
        self.refused: dict[int, GridError] = {}
        self._put = put
        self._stop = threading.Event()
        self._enough = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._write, args=(1_000_000 * each,)) for each in range(count)]
        for thread in self._threads:
            thread.start()

    def _write(self, number: int) -> None:
        while not self._stop.is_set():
            number += 1
            try:
                self._put(credential(number))
            except GridError as error:
                self.refused[number] = error
            else:
                self.acknowledged.add(number)
                self._enough.release()

    def wait_for(self, count: int) -> None:
        """Wait until so many more were acknowledged."""
        for _ in range(count):
            assert self._enough.acquire(timeout=60), self.refused

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_two_nodes_share_a_database(grid: Grid, conninfo: str, tmp_path: Path) -> None:
    sites = [make_site(tmp_path / name, grid, conninfo) for name in ("one", "two")]
    clients = [Client(tmp_path / f"client{number}", grid, site.port) for number, site in enumerate(sites)]
    with sites[0].start(), sites[1].start() as second:
        clients[0].put("alice", None)
        clients[1].logon("alice", None).check()
        assert "owner: " in clients[1].info("alice")
        assert clients[1].logon("alice", None, stdin="wrong horse\n").returncode == 1
        clients[1].run("myproxy-destroy", "-l", "alice").check()
        assert clients[0].logon("alice", None).returncode == 1
        assert "hunter" not in second.log()


@pytest.mark.parametrize(
    "programs", [pytest.param(SERVER, id="our-server"), pytest.param(CLIENTS + SERVER, id="both-ours")]
)
@pytest.mark.timeout(600)
def test_the_c_packages_own_test(tmp_path: Path, conninfo: str, programs: list[str]) -> None:
    """As `test_myproxy_test`; every server that the script starts is pointed at the database."""
    ours, home = tmp_path / "ours", tmp_path / "home"
    ours.mkdir()
    home.mkdir(mode=0o700)
    for name in programs:
        if name in SERVER:
            text = '#!/bin/sh\nfor word; do [ "$last" = -c ] && config=$word; last=$word; done\n'
            text += f'grep -q ^database "$config" || echo \'database "{conninfo}"\' >> "$config"\n'
            if name == "myproxy-admin-query":
                text = "#!/bin/sh\n"
            (ours / name).write_text(f'{text}exec {our_program(name)} "$@"\n')
            (ours / name).chmod(0o755)
        else:
            (ours / name).symlink_to(our_program(name))
    environment = clean_environment(home) | {
        "HOME": str(home),
        "USER": "tester",
        "LOGNAME": "tester",
        "TMPDIR": str(tmp_path),
        "PATH": f"{ours}:/usr/sbin:/usr/bin:/sbin:/bin",
        "X509_USER_PROXY": str(tmp_path / "proxy.pem"),
    }
    done = run(
        ["perl", c_program("myproxy-test"), "-startserver", "-generatecerts"],
        env=environment,
        timeout=500,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done
    counts = re.search(r"MyProxy Tests Complete: (\d+) tests passed, (\d+) tests failed", done.stdout)
    assert counts is not None, done
    assert (int(counts[1]), int(counts[2])) == (56, 0)
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("SELECT count(*) FROM imports").fetchone() == (1,), "the servers used the database"


def test_a_database_that_is_gone_for_a_while(grid: Grid, tmp_path: Path) -> None:
    """The client hears of an error and its id; nothing is lost, and nobody restarts the server."""
    with postgres() as database, database.database() as conninfo:
        site = make_site(tmp_path / "site", grid, conninfo)
        site.configure(f'{MYPROXY_CONFIG}database "{conninfo}"\ndatabase_patience 1\n')
        client = Client(tmp_path / "client", grid, site.port)
        with site.start() as daemon:
            client.put("alice", None)
            database.stop()
            told = client.logon("alice", None)
            assert told.returncode == 1
            assert "internal server error" in told.stderr
            (request_id,) = re.findall(r"\b[0-9a-f]{16}\b", told.stderr)
            assert f"{request_id}: refused: storage: cannot use the database" in daemon.log()
            database.start()
            client.logon("alice", None).check()
            assert "horse" not in daemon.log()


def test_a_server_does_not_start_without_its_database(grid: Grid, tmp_path: Path, server: Postgres) -> None:
    site = make_site(tmp_path / "site", grid, connect_string([1], "nowhere"))
    failed = run([our_program("myproxy-server"), *site.arguments("-foreground")], env=site.environment)
    assert failed.returncode == 1
    assert "cannot use the database nowhere at 127.0.0.1" in failed.stderr
    site.configure(f'{MYPROXY_CONFIG}database "postgresql://me:hunter2@127.0.0.1/x"\n')
    failed = run([our_program("myproxy-server"), *site.arguments("-foreground")], env=site.environment)
    assert failed.returncode == 1
    assert "a password in the connection string" in failed.stderr
    assert "hunter2" not in failed.output


@pytest.mark.timeout(600)
def test_a_failover_to_a_standby(grid: Grid, tmp_path: Path) -> None:
    """kill -9 of the primary under load: everything acknowledged is on the standby, and all goes on by itself."""
    with postgres(durable=True) as primary, primary.database() as conninfo, standby_of(primary) as standby:
        both = connect_string([primary.port, standby.port], conninfo.rpartition("/")[2])
        site = make_site(tmp_path / "site", grid, both)
        client = Client(tmp_path / "client", grid, site.port)
        with site.start() as daemon:
            client.put("alice", None)
            client.logon("alice", None).check()
            repository = open_postgres_repository(both, patience_seconds=60)
            writers = Writers(repository.put)
            try:
                writers.wait_for(200)
                primary.kill()
                standby.promote()
                writers.wait_for(200)
            finally:
                writers.stop()
            assert writers.refused == {}
            for number in writers.acknowledged:
                assert repository.get(f"user{number}", None).sealed_key == b"%d" % number * 500
            client.logon("alice", None).check()
            client.put("alice", "after")
            client.logon("alice", "after").check()
            assert daemon.log().count("listening on port") == 1
            repository.close()


@pytest.mark.timeout(600)
def test_a_crash_of_the_database_server(server: Postgres) -> None:
    """kill -9 of all of PostgreSQL under load, several times: each acknowledged credential is whole."""
    with postgres(durable=True) as database, database.database() as conninfo:
        repository = open_postgres_repository(conninfo, patience_seconds=60)
        writers = Writers(repository.put)
        try:
            for _ in range(4):
                writers.wait_for(60)
                database.kill()
                database.start()
            writers.wait_for(60)
        finally:
            writers.stop()
        assert writers.refused == {}
        for number in writers.acknowledged:
            assert repository.get(f"user{number}", None).sealed_key == b"%d" % number * 500
        repository.close()


def test_a_commit_that_no_standby_confirms_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standby is gone and must be waited for: writing fails after a while, reading goes on."""
    monkeypatch.setattr(module, "COMMIT_SECONDS", 0.5)
    with postgres(durable=True) as primary, primary.database() as conninfo:
        repository = open_postgres_repository(conninfo)
        with standby_of(primary) as standby:
            repository.put(credential(1))
            standby.kill()
            with pytest.raises(StorageError, match="not confirmed by a standby"):
                repository.put(credential(2))
            assert repository.get("user1", None).version == 1
            with pytest.raises(NotFoundError):
                repository.get("user3", None)
            primary.execute("ALTER SYSTEM RESET synchronous_standby_names")
            primary.execute("SELECT pg_reload_conf()")
            repository.put(credential(3))
            assert repository.get("user3", None).version == 1
        repository.close()
