"""How transactions and statements reach SQLite; not when, nor what becomes of its errors (`gsi.sql.engine`).

driver = begin(connection, "IMMEDIATE", synchronous="NORMAL")   # as soon as no other process writes
rows = statements.run(driver, query, {"name": name})            # compiled once, and then the driver's own
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from gsi.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import sqlalchemy
    from sqlalchemy.engine import Connection, Engine, RootTransaction
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

__all__ = [
    "BEGIN",
    "BUSY_TIMEOUT_SECONDS",
    "SYNCHRONOUS",
    "Row",
    "Run",
    "SQLite",
    "Statement",
    "Statements",
    "begin",
    "begin_as_wanted",
    "configure",
    "driver_of",
    "execute",
]

BUSY_TIMEOUT_SECONDS: Final = 10
"""How long a writer waits for another one: many times the longest transaction of ours, less than a client waits."""

FIRST_LOOK_SECONDS: Final = 0.0003
"""Before the second look whether another process has committed: a sync takes as long. SQLite's own pauses are up to a
tenth of a second, for which the disk is idle."""

LONGEST_LOOK_SECONDS: Final = 0.01
"""Up to which these pauses grow, by a fifth each: for a process that writes much."""

BEGIN: Final = "gsi_begin"
"""Execution option that carries the kind of transaction to the begin event."""

SYNCHRONOUS: Final = "gsi_synchronous"
"""Execution option, and fact about a connection: SQLite's setting of that name."""

Row: TypeAlias = "Mapping[str, object]"
"""Values by the names of columns or parameters."""
Statement: TypeAlias = "sqlalchemy.Select[tuple[object, ...]] | sqlalchemy.UpdateBase"
"""A statement all of whose parameters are bound by name; made once, since its text is kept."""
Run: TypeAlias = "Callable[[Statement, Row], Sequence[Row]]"
"""Executes a statement with the values of its parameters, and returns the rows that it finds."""


class SQLite:
    """A `gsi.sql.engine.Backend`: nothing is ever away, and a commit syncs."""

    def __init__(self, place: str) -> None:
        """Remember where the data is, for messages."""
        self._place = place
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """See `Backend.turn`."""
        if not self._lock.acquire(timeout=BUSY_TIMEOUT_SECONDS):
            raise StorageError(f"cannot use the database {self._place}: another thread does not stop writing")
        try:
            yield
        finally:
            self._lock.release()

    def is_lost(self, error: Exception) -> bool:  # noqa: ARG002  asked of every backend
        """See `Backend.is_lost`."""
        return False

    def is_alive(self, connection: Connection) -> bool:  # noqa: ARG002  asked of every backend
        """See `Backend.is_alive`."""
        return True

    def commit(self, connection: Connection, transaction: RootTransaction) -> None:  # noqa: ARG002  as above
        """See `Backend.commit`."""
        transaction.commit()

    def reading(self, connection: Connection) -> Connection:
        """See `Backend.reading`."""
        return connection.execution_options(**{BEGIN: "DEFERRED"})

    def hasten(self, connection: Connection) -> None:
        """Do nothing: it is settled before the transaction begins, since SQLite takes no such word later."""


class Statements:
    """Statements as the driver takes them. Safe for use by several threads."""

    def __init__(self, engine: Engine) -> None:
        """Begin with none.

        Args:
            engine: Knows the dialect.
        """
        self._engine = engine
        self._known: dict[Statement, tuple[str, list[str]]] = {}

    def run(self, driver: sqlite3.Connection, statement: Statement, values: Row) -> Sequence[Row]:
        """Execute a statement, and return the rows that it finds.

        Raises:
            sqlite3.Error: That cannot be done.
        """
        if statement not in self._known:
            compiled = statement.compile(self._engine)
            self._known[statement] = str(compiled), list(compiled.positiontup or ())
        text, names = self._known[statement]
        cursor = driver.execute(text, [values[name] for name in names])
        columns = [column for column, *_ in cursor.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def execute(connection: Connection, statement: Statement, values: Row) -> Sequence[Row]:
    """Do the same as `Statements.run` by SQLAlchemy, on whatever database.

    Raises:
        SQLAlchemyError: That cannot be done.
    """
    found = connection.execute(statement, dict(values))
    return [dict(row) for row in found.mappings()] if found.returns_rows else []


def driver_of(connection: PoolProxiedConnection) -> sqlite3.Connection:
    """Return the driver's own connection."""
    return cast("sqlite3.Connection", connection.dbapi_connection)


def configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Set a new connection, at the event of its coming into being."""
    cursor = connection.cursor()
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def begin_as_wanted(connection: Connection) -> None:
    """Begin as a connection's execution options say, at SQLAlchemy's event of beginning."""
    options = connection.get_execution_options()
    begin(connection.connection, options.get(BEGIN, "DEFERRED"), synchronous=options.get(SYNCHRONOUS, "FULL"))


def begin(connection: PoolProxiedConnection, kind: str, *, synchronous: str) -> sqlite3.Connection:
    """Begin a transaction, and return the driver's connection.

    Raises:
        sqlite3.Error: That cannot be done.
    """
    driver = driver_of(connection)
    if connection.info.get(SYNCHRONOUS, "FULL") != synchronous:
        connection.info[SYNCHRONOUS] = None  # whatever becomes of the next line
        driver.execute(f"PRAGMA synchronous={synchronous}")
        connection.info[SYNCHRONOUS] = synchronous
    if kind == "IMMEDIATE":
        _begin_writing(driver)
    else:
        driver.execute(f"BEGIN {kind}")
    return driver


def _begin_writing(driver: sqlite3.Connection) -> None:
    """Begin as soon as no other process writes; looks by itself, as SQLite would look too seldom."""
    deadline, pause = time.monotonic() + BUSY_TIMEOUT_SECONDS, FIRST_LOOK_SECONDS
    driver.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(pause)
                pause = min(pause * 1.2, LONGEST_LOOK_SECONDS)
            else:
                return
    finally:
        driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}")
