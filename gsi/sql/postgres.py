"""PostgreSQL through psycopg 3, also over several hosts of which one is the primary; not what is stored there.

    database = open_postgres("postgresql://myproxy@db1,db2/myproxy?passfile=/etc/myproxy/pgpass")

What libpq reads in a connection string is read here: several hosts, `service=`, `passfile=`, `sslmode=`, certificates.
A password in it is refused, since the string stands in a configuration and in messages. Of several hosts the one that
takes writes is looked for; after a failover that is the standby that was promoted.

A commit returns when the server calls it durable. `synchronous_commit` is raised to `on` where the server's own setting
is less, so with `synchronous_standby_names` a commit is on the standby, too. A commit that waits for a standby longer
than `COMMIT_SECONDS` is given up: it is then durable on the primary alone, and the caller hears an error.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

import sqlalchemy
from sqlalchemy import event

from gsi.errors import ConfigError, StorageError
from gsi.sql.engine import Database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import ModuleType

    from sqlalchemy.engine import Connection, RootTransaction
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["COMMIT_SECONDS", "POOL_SECONDS", "STATEMENT_SECONDS", "check_conninfo", "open_postgres"]

STATEMENT_SECONDS: Final = 10
"""The longest a statement may take: a hundred times what ours need, less than a client waits."""

COMMIT_SECONDS: Final = 15
"""The longest a commit may wait for a standby."""

POOL_SECONDS: Final = 10
"""The longest a request waits for one of the pooled connections."""

_DEFAULTS: Final[Mapping[str, str]] = {
    "connect_timeout": "3",  # seconds, for each host; libpq would wait for the kernel, two minutes
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "10000",  # milliseconds until a server that has vanished from the net is given up
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
}
_SESSION: Final = (
    f"SET statement_timeout = '{STATEMENT_SECONDS}s'",
    f"SET lock_timeout = '{STATEMENT_SECONDS // 2}s'",
    "SET idle_in_transaction_session_timeout = '60s'",
)
_WEAK_COMMITS: Final = frozenset({"off", "local", "remote_write"})
_SECRETS: Final = ("password", "sslpassword")
_AWAY: Final = frozenset(
    {
        "25006",  # read-only: this one has become a standby
        "40001",  # serialization failure, and deadlock: done again, it succeeds
        "40P01",
        "57P01",  # the server stops, has crashed, does not take connections yet
        "57P02",
        "57P03",
    }
)
_GENERIC_WARNING: Final = "01000"


def open_postgres(conninfo: str, *, application: str, connections: int = 8, patience_seconds: float = 0.0) -> Database:
    """Open a database; nothing is sent before it is used.

    Args:
        conninfo: A libpq connection string or URI, without a password.
        application: Our name in the server's own views and logs.
        connections: How many are kept and used at most.
        patience_seconds: As `Database`: how long a failover may take before requests fail.

    Raises:
        ConfigError: The string is malformed or holds a password, or psycopg is not installed.
    """
    given = check_conninfo(conninfo)
    psycopg = _import_psycopg()
    options = {name: value for name, value in _DEFAULTS.items() if name not in given}
    if "application_name" not in given:
        options["application_name"] = application

    def connect() -> object:
        return psycopg.connect(conninfo, client_encoding="UTF8", **options)

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_use_lifo=True,  # few connections stay in use, the others may be dropped by the server
    )
    event.listen(engine, "connect", _configure)
    return Database(engine, place=_describe(given), backend=_Postgres(), patience_seconds=patience_seconds)


def check_conninfo(conninfo: str) -> Mapping[str, str]:
    """Return the words of a connection string.

    Raises:
        ConfigError: It is malformed or holds a password, or psycopg is not installed.
    """
    psycopg = _import_psycopg()
    try:
        words = {name: str(value) for name, value in psycopg.conninfo.conninfo_to_dict(conninfo).items()}
    except psycopg.Error as error:
        raise ConfigError(f"the database's connection string is malformed: {' '.join(str(error).split())}") from error
    for secret in _SECRETS:
        if secret in words:
            raise ConfigError(
                "a password in the connection string can be read by everyone who sees the configuration",
                hint="name a file that has it, passfile=/path (mode 0600), or a service=",
            )
    return words


class _Postgres:
    """The backend of PostgreSQL; see `gsi.sql.engine.Backend`."""

    def turn(self) -> AbstractContextManager[object]:
        return contextlib.nullcontext()

    def is_lost(self, error: Exception) -> bool:
        original = getattr(error, "orig", None)
        if isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated:
            return True
        if isinstance(error, sqlalchemy.exc.TimeoutError):  # the pool is at its end
            return False
        state = getattr(original, "sqlstate", None)
        if state is None:  # no server has spoken: no connection came about
            return isinstance(error, sqlalchemy.exc.OperationalError)
        return state in _AWAY or state.startswith("08")

    def is_alive(self, connection: Connection) -> bool:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        try:
            return connection.dialect.do_ping(driver)
        except connection.dialect.loaded_dbapi.Error:
            return False

    def commit(self, connection: Connection, transaction: RootTransaction) -> None:
        """Commit, and insist that the server has not warned that it is not on the standby.

        Raises:
            StorageError: It has, or the standby was waited for too long.
        """
        if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            transaction.commit()
            return
        driver = connection.connection.driver_connection
        assert driver is not None
        warnings: list[str] = []

        def hear(diagnostic: object) -> None:
            if getattr(diagnostic, "sqlstate", None) == _GENERIC_WARNING:
                warnings.append(str(getattr(diagnostic, "message_primary", "")))

        driver.add_notice_handler(hear)
        try:
            with _giving_up(driver):
                transaction.commit()
        finally:
            driver.remove_notice_handler(hear)
        if warnings:
            raise StorageError(f"the change is not confirmed by a standby: {warnings[0]}")

    def reading(self, connection: Connection) -> Connection:
        """Let each statement stand alone, which saves the two round trips of a transaction around it."""
        return connection.execution_options(isolation_level="AUTOCOMMIT")

    def hasten(self, connection: Connection) -> None:
        connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")


@contextlib.contextmanager
def _giving_up(driver: object) -> Iterator[None]:
    """Cancel what the connection waits for when it lasts too long; `statement_timeout` does not count for a commit."""
    cancel = getattr(driver, "cancel_safe")  # noqa: B009  psycopg's connection is known by its use only

    def give_up() -> None:
        with contextlib.suppress(Exception):  # lost, perhaps; then the commit hears of it, too
            cancel(timeout=5)

    timer = threading.Timer(COMMIT_SECONDS, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Set what each session needs.

    Raises:
        StorageError: The database does not keep Unicode.
    """
    cursor = connection.cursor()
    try:
        for statement in _SESSION:
            cursor.execute(statement)
        cursor.execute("SELECT current_setting('server_encoding'), current_setting('synchronous_commit')")
        row = cursor.fetchone()
        assert row is not None
        encoding, commits = row
        if encoding != "UTF8":
            raise StorageError(
                f"the database has the encoding {encoding}, not UTF8",
                hint="createdb --encoding=UTF8 --template=template0",
            )
        if commits in _WEAK_COMMITS:
            cursor.execute("SET synchronous_commit = on")
        connection.commit()
    finally:
        cursor.close()


def _describe(words: Mapping[str, str]) -> str:
    where = words.get("host") or words.get("hostaddr") or words.get("service") or "the local socket"
    return f"{words.get('dbname', 'PostgreSQL')} at {where}"


def _import_psycopg() -> ModuleType:
    try:
        import psycopg
        import psycopg.conninfo
    except ImportError as error:  # also when libpq is not there
        raise ConfigError(
            f"PostgreSQL needs the Python package psycopg and libpq: {error}".splitlines()[0],
            hint="pip install 'gsi-toolkit[postgres]'; Debian's package of libpq is libpq5",
        ) from error
    return psycopg
