"""SQLAlchemy engines whose commits are durable and whose errors are ours; not what is stored with them.

    database = open_sqlite("/var/lib/myproxy/myproxy.db")
    with database.write() as connection:
        connection.execute(insert(table).values(...))      # committed, on disk, when the block ends

SQLite runs in WAL mode with synchronous=FULL: a commit returns after the log has been synced, readers never wait for
writers, and writers of several processes queue for `BUSY_TIMEOUT_SECONDS`. Writing transactions begin IMMEDIATE, so two
of them can never deadlock while upgrading a read lock. The file is 0600 in a directory that only its owner can write.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final, Self

import sqlalchemy
from sqlalchemy import event

from gsi.errors import ConflictError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["BUSY_TIMEOUT_SECONDS", "Database", "open_sqlite", "prepare_private_directory"]

BUSY_TIMEOUT_SECONDS: Final = 10
"""How long a writer waits for another one: many times the longest transaction of ours, less than a client waits."""

POOLED_CONNECTIONS: Final = 8
"""Connections kept open; each holds up to 2 MB of cache."""

_BEGIN: Final = "gsi_begin"
"""Execution option that carries the kind of transaction to the begin event."""


class Database:
    """An engine whose transactions translate driver errors. Safe for use by several threads, not across a fork."""

    def __init__(self, engine: Engine, *, place: str) -> None:
        self._engine = engine
        self._place = place

    @property
    def engine(self) -> Engine:
        """The engine, for migrations."""
        return self._engine

    @property
    def place(self) -> str:
        """Where the data is, for messages; never holds a password."""
        return self._place

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads: one consistent snapshot.

        Raises:
            StorageError: The database cannot be reached or read.
        """
        with self._transaction("DEFERRED") as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; leaving the block commits durably, an exception rolls back.

        Raises:
            ConflictError: A uniqueness or other rule of the schema was violated.
            StorageError: The database cannot be reached, written or synced; nothing was changed.
        """
        with self._transaction("IMMEDIATE") as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, kind: str) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(**{_BEGIN: kind}) as connection, connection.begin():
                yield connection
        except sqlalchemy.exc.IntegrityError as error:
            raise ConflictError(f"the change contradicts what is stored in {self._place}") from error
        except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
            raise StorageError(f"cannot use the database {self._place}: {_reason(error)}") from error

    def close(self) -> None:
        """Close all pooled connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def open_sqlite(path: str) -> Database:
    """Open or create a SQLite file (0600) in a private directory; tables come from `gsi.sql.migrate`.

    Args:
        path: The file. Its directory is made (0700) if missing.

    Raises:
        StorageError: Directory or file are not safe, or cannot be created.
    """
    path = os.path.abspath(path)
    prepare_private_directory(os.path.dirname(path))
    _prepare_private_file(path)
    engine = sqlalchemy.create_engine(
        sqlalchemy.URL.create("sqlite", database=path),
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False, "isolation_level": None},
        pool_size=POOLED_CONNECTIONS,
        max_overflow=-1,  # the callers' threads are the limit; waiting for a connection here would hide them
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Database(engine, place=path)


def prepare_private_directory(path: str) -> None:
    """Make sure that a directory exists, is ours, and that nobody else can write it. Missing ones are made 0700.

    Raises:
        StorageError: It is missing and cannot be made, is no directory, or is not safe.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        found = os.stat(path)
    except OSError as error:
        raise StorageError(f"cannot use the directory {path}: {_reason(error)}") from error
    if found.st_uid != os.geteuid():
        raise StorageError(f"directory {path} belongs to uid {found.st_uid}, not to uid {os.geteuid()}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise StorageError(f"directory {path} is writable by others (mode {mode:04o})", hint=f"chmod 700 {path}")


def _prepare_private_file(path: str) -> None:
    """Create the file 0600 before SQLite would with the umask's mode; its -wal and -shm files inherit the mode."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise StorageError(f"cannot open the database {path}: {_reason(error)}") from error
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise StorageError(f"database {path} is not a regular file of uid {os.geteuid()}")
    if found.st_mode & 0o077:
        raise StorageError(
            f"database {path} can be used by others (mode {stat.S_IMODE(found.st_mode):04o})", hint=f"chmod 600 {path}"
        )


def _configure_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    kind = connection.get_execution_options().get(_BEGIN, "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")


def _reason(error: Exception) -> str:
    """Return one line about a foreign error, without statement and parameters (they may be secret)."""
    original = getattr(error, "orig", None)
    text = str(original if original is not None else getattr(error, "strerror", None) or type(error).__name__)
    return " ".join(text.split())
