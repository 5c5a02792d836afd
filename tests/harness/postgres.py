"""Real PostgreSQL servers for tests: a cluster of its own in a private directory, on a free loopback port.

Not here: what is stored in them. PostgreSQL refuses to run as root, so as root they run as an ordinary account. They
sync only where `durable` asks for it: of a test machine that loses power nobody expects the tests to have passed.

Workflow:
    with postgres() as server:
        with server.database() as conninfo:            # a fresh, empty database
            open_postgres_repository(conninfo)
    with postgres(durable=True) as primary, standby_of(primary) as standby:
        primary.kill()
        standby.promote()
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from tests.harness.daemons import free_port
from tests.harness.run import account_group, c_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Postgres", "connect_string", "postgres", "standby_of"]

SECONDS: Final = 30.0  # a loaded two-core machine; a cluster is made in two and up in half a second
_POLL_SECONDS: Final = 0.02
_SUPERUSER: Final = "myproxy"
_FAST: Final = {"fsync": "off", "full_page_writes": "off"}


@dataclass
class Postgres:
    """A cluster and the server that runs on it.

    Attributes:
        directory: Holds the cluster; private to the account.
        port: On 127.0.0.1.
        account: Who the server runs as, or None for who we are.
        programs: Where its programs are.
        settings: What it is started with.
    """

    directory: Path
    port: int
    account: str | None
    programs: Path
    settings: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _count: int = 0

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "max_connections": "60",
            "shared_buffers": "16MB",
            **self.settings,
        }
        argv: list[str | Path] = [self.programs / "postgres", "-D", self.data]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                user=self.account,
                group=account_group(self.account),
                extra_groups=None if self.account is None else [],
                start_new_session=True,
            )
        self._await(
            "accepting connections", lambda: self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", self.port) == 0
        )

    def _await(self, what: str, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not is_so():
            log = (self.directory / "log").read_text(errors="replace")
            assert self._process is None or self._process.poll() is None, f"PostgreSQL ended\n{log}"
            assert time.monotonic() < deadline, f"PostgreSQL is not {what}\n{log}"
            time.sleep(_POLL_SECONDS)

    def _run(self, program: str, *arguments: object) -> int:
        return subprocess.run(
            [str(self.programs / program), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self.directory,
            user=self.account,
            group=account_group(self.account),
            extra_groups=None if self.account is None else [],
            check=False,
            timeout=SECONDS,
        ).returncode

    def run(self, program: str, *arguments: object) -> None:
        """Run one of PostgreSQL's programs as the account."""
        done = self._run(program, *arguments)
        assert done == 0, f"{program} ended with {done}\n{(self.directory / 'log').read_text(errors='replace')}"

    def kill(self) -> None:
        """End the server and all its processes by SIGKILL, as a machine that loses power does."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(SECONDS)
        # The backends are in sessions of their own. Each works in the data directory, and nobody else does.
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{name}/cwd") == str(self.data):
                    os.kill(int(name), signal.SIGKILL)
        self._process = None

    def stop(self) -> None:
        """End the server at once, without waiting for its clients."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def promote(self) -> None:
        """Make a standby the primary."""
        self.run("pg_ctl", "promote", "-D", self.data, "-w")

    def is_standby_in_sync(self) -> bool:
        """Whether commits wait for a standby, and one is there."""
        with self.connect("postgres") as connection:
            row = connection.execute("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").fetchone()
        return row is not None and row[0] == 1

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """Connect as the superuser, in autocommit."""
        return psycopg.connect(connect_string([self.port], database), autocommit=True)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database; gives its connection string."""
        self._count += 1
        name = f"test{self._count}"
        self.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
        try:
            yield connect_string([self.port], name)
        finally:
            if self._process is not None:
                self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run one statement as the superuser."""
        with self.connect("postgres") as connection:
            connection.execute(statement)


def connect_string(ports: Sequence[int], database: str) -> str:
    """The URI of a database on one or several servers of this machine."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"postgresql://{_SUPERUSER}@{hosts}/{database}"


def _programs() -> Path:
    """Where the newest version's programs are; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else Path(c_program("postgres")).parent


def _account() -> str | None:
    return "nobody" if os.geteuid() == 0 else None


@contextlib.contextmanager
def _new(account: str | None, settings: dict[str, str]) -> Iterator[Postgres]:
    directory = Path(tempfile.mkdtemp(prefix="gsi-postgres-"))  # short: a Unix socket's path has a limit
    server = Postgres(directory, free_port(), account, _programs(), settings)
    try:
        if account is not None:
            os.chown(directory, pwd.getpwnam(account).pw_uid, account_group(account) or 0)
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def postgres(*, durable: bool = False, settings: dict[str, str] | None = None) -> Iterator[Postgres]:
    """A running server.

    Args:
        durable: Whether it syncs; as for real.
        settings: More of `postgresql.conf`.
    """
    with _new(_account(), {**({} if durable else _FAST), **(settings or {})}) as server:
        options = ["-A", "trust", "-U", _SUPERUSER, "-E", "UTF8", "--no-sync"]
        server.run("initdb", "-D", server.data, *options)
        server.start()
        yield server


@contextlib.contextmanager
def standby_of(primary: Postgres) -> Iterator[Postgres]:
    """A streaming standby, for which the primary's commits wait from now on."""
    with _new(primary.account, dict(primary.settings)) as standby:
        source = f"host=127.0.0.1 port={primary.port} user={_SUPERUSER} application_name=standby"
        standby.run("pg_basebackup", "-D", standby.data, "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        standby.start()
        # Not by ALTER SYSTEM before the copy: a standby that is promoted must not wait for itself.
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        primary.execute("SELECT pg_reload_conf()")
        standby._await("in sync", primary.is_standby_in_sync)
        yield standby
