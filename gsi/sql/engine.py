"""SQLAlchemy engines whose commits are durable and whose errors are ours; not what is stored with them.

    database = open_sqlite("/var/lib/myproxy/myproxy.db")
    with database.write() as connection:
        connection.execute(insert(table).values(...))      # committed, on disk, when the block ends
    rows = database.reading(lambda connection: connection.execute(query).all())
    rows = database.find(query, {"name": name})            # one statement at a third of the price
    database.changing(lambda run: run(statement, values))   # a transaction of such statements, likewise

SQLite runs in WAL mode with synchronous=FULL: a commit returns after the log has been synced, readers never wait for
writers, and writers wait for one another for `BUSY_TIMEOUT_SECONDS`: those of one process in a queue, the first of each
process by looking often. Writing transactions begin IMMEDIATE, so two of them can never deadlock while upgrading a read
lock. The file is 0600 in a directory that only its owner can write.
A file that is removed or replaced meanwhile ends all use of it (`gsi.sql.presence`). PostgreSQL is opened by
`gsi.sql.postgres`.

`reading` and `writing` take the work as a function, so that it can be done again when the database server went away in
the middle of it: the connections in the pool are dropped, and new ones looked for until the database's patience ends.
A connection that is lost while it commits leaves open whether it did. The work is then done again with `again` set, and
has to take what it finds done already for its own.

What may be lost with the machine's power is written with `durable=False`, which waits for no disk: the other processes
see it all the same, and nothing that was committed durably before or after is in doubt for it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import stat
import time
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import event

from gsi.errors import ConflictError, StorageError
from gsi.sql.presence import Presence
from gsi.sql.sqlite import (
    BEGIN,
    BUSY_TIMEOUT_SECONDS,
    SYNCHRONOUS,
    SQLite,
    Statements,
    begin,
    begin_as_wanted,
    configure,
    driver_of,
    execute,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import Connection, Engine, RootTransaction
    from sqlalchemy.pool import PoolProxiedConnection

    from gsi.sql.sqlite import Row, Run, Statement

__all__ = ["BUSY_TIMEOUT_SECONDS", "Backend", "Database", "open_sqlite", "prepare_private_directory"]

POOLED_CONNECTIONS: Final = 8
"""Connections kept open; each holds up to 2 MB of cache."""

SPARE_CONNECTIONS: Final = 4
"""Those of them that are kept out of the pool for statements that go to SQLite directly."""

FIRST_PAUSE_SECONDS: Final = 0.05
"""Before the second try after a server was lost; the pauses double, up to a second."""

T = TypeVar("T")


class Backend(Protocol):
    """What one kind of database does in its own way."""

    def turn(self) -> AbstractContextManager[object]:
        """Wait until no other thread of this process writes, where the database lets only one do so.

        Raises:
            StorageError: That takes too long.
        """
        ...

    def is_lost(self, error: Exception) -> bool:
        """Say whether the error means that the server is away and may come back."""
        ...

    def is_alive(self, connection: Connection) -> bool:
        """Say whether the server at the other end answers."""
        ...

    def commit(self, connection: Connection, transaction: RootTransaction) -> None:
        """Commit, and return only when the change is as durable as it is meant to be."""
        ...

    def reading(self, connection: Connection) -> Connection:
        """Return the connection set for a transaction that only reads."""
        ...

    def hasten(self, connection: Connection) -> None:
        """Let the transaction that has begun commit without waiting for a disk."""
        ...


class _LostError(StorageError):
    """The server went away; `in_doubt` when that was while it committed."""

    def __init__(self, message: str, *, in_doubt: bool) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt


class Database:
    """An engine whose transactions translate driver errors. Safe for use by several threads, not across a fork."""

    def __init__(
        self,
        engine: Engine,
        *,
        place: str,
        backend: Backend | None = None,
        patience_seconds: float = 0.0,
        presence: Presence | None = None,
    ) -> None:
        """Wrap an engine.

        Args:
            engine: The engine.
            place: Where the data is, for messages; without a password.
            backend: What its kind of database does in its own way; SQLite by default.
            patience_seconds: How long `reading` and `writing` look for a server that is away.
            presence: Says whether the database's file is still there; None where there is no file of ours.
        """
        self._presence = presence
        self._engine = engine
        self._place = place
        self._backend = backend or SQLite(place)
        self._patience = patience_seconds
        self._statements = Statements(engine)
        self._spare: list[PoolProxiedConnection] = []

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
        """Open a transaction that only reads; on SQLite one consistent snapshot, else one for each statement.

        Raises:
            StorageError: The database cannot be reached or read.
        """
        with self._transaction(writes=False, find=self._find_alive) as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; leaving the block commits durably, an exception rolls back.

        Raises:
            ConflictError: A uniqueness or other rule of the schema was violated.
            StorageError: The database cannot be reached, written or synced; nothing was changed, unless the server was
                lost while it committed.
        """
        with self._transaction(writes=True, find=self._find_alive) as connection:
            yield connection

    def reading(self, work: Callable[[Connection], T]) -> T:
        """Return what the work returns, done within `read`; again if the server went away meanwhile.

        Raises:
            StorageError: The database cannot be reached or read.
        """
        return self._repeat(lambda connection, _again: work(connection), writes=False)

    def find(self, query: Statement, values: Row) -> Sequence[Row]:
        """Return the rows that a query finds, by the names of their columns.

        For what nearly every request asks: SQLite gets the statement itself, without a transaction around it.

        Raises:
            StorageError: The database cannot be reached or read.
        """
        if not isinstance(self._backend, SQLite):
            return self.reading(lambda connection: execute(connection, query, values))
        with self._plain() as connection:
            return self._statements.run(driver_of(connection), query, values)

    def changing(self, work: Callable[[Run], T], *, durable: bool = True) -> T:
        """Return what the work returns, done in one transaction that writes; again if the server went away meanwhile.

        For what nearly every request changes: SQLite gets the statements themselves.

        Args:
            work: Gets what runs its statements, each made once, as for `find`. What it raises rolls all of it back.
            durable: Whether the change is to outlive a loss of power.

        Raises:
            ConflictError: A uniqueness or other rule of the schema was violated.
            StorageError: As `write`.
        """
        if not isinstance(self._backend, SQLite):
            return self.writing(lambda one, _again: work(functools.partial(execute, one)), durable=durable)
        with self._backend.turn(), self._plain() as connection:
            driver = begin(connection, "IMMEDIATE", synchronous="FULL" if durable else "NORMAL")
            try:
                result = work(functools.partial(self._statements.run, driver))
                driver.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    driver.rollback()
                raise
            self._check_written()
        return result

    @contextlib.contextmanager
    def _plain(self) -> Iterator[PoolProxiedConnection]:
        """Lend a connection of SQLite's own; a few are kept aside, since the pool takes as long as a statement."""
        if self._presence is not None:
            self._presence.check()
        try:
            try:
                connection = self._spare.pop()
            except IndexError:
                connection = self._engine.raw_connection()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            if len(self._spare) < SPARE_CONNECTIONS:
                self._spare.append(connection)
            else:
                connection.close()
        except sqlite3.IntegrityError as error:
            raise ConflictError(f"the change contradicts what is stored in {self._place}") from error
        except (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
            raise StorageError(f"cannot use the database {self._place}: {_reason(error)}") from error

    def _check_written(self) -> None:
        """Insist that a commit went to the files that are there, before anybody is told that it is done."""
        if self._presence is not None:
            self._presence.check()
            self._presence.check_log()

    def writing(self, work: Callable[[Connection, bool], T], *, durable: bool = True) -> T:
        """Return what the work returns, done within `write`; again if the server went away meanwhile.

        Args:
            work: Gets the connection, and whether it may have been committed already by a try before this one.
            durable: Whether the change is to outlive a loss of power.

        Raises:
            ConflictError: A uniqueness or other rule of the schema was violated.
            StorageError: As `write`.
        """
        return self._repeat(work, writes=True, durable=durable)

    def _find_alive(self) -> Connection:
        """Take a connection that answers: whoever uses it cannot begin anew."""
        deadline, pause = time.monotonic() + self._patience, FIRST_PAUSE_SECONDS
        while True:
            try:
                connection = self._engine.connect()
                if self._backend.is_alive(connection):
                    return connection
                connection.invalidate()
                connection.close()
            except sqlalchemy.exc.SQLAlchemyError as error:
                if not self._backend.is_lost(error) or time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
                pause = min(pause * 2, 1.0)

    def _repeat(self, work: Callable[[Connection, bool], T], *, writes: bool, durable: bool = True) -> T:
        deadline = time.monotonic() + self._patience
        pause, again = FIRST_PAUSE_SECONDS, False
        while True:
            try:
                with self._transaction(writes=writes, find=self._engine.connect, durable=durable) as connection:
                    return work(connection, again)
            except _LostError as error:
                again = again or error.in_doubt
                if time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
                pause = min(pause * 2, 1.0)

    @contextlib.contextmanager
    def _transaction(
        self, *, writes: bool, find: Callable[[], Connection], durable: bool = True
    ) -> Iterator[Connection]:
        committing = False
        if self._presence is not None:
            self._presence.check()
        try:
            with self._backend.turn() if writes else contextlib.nullcontext(), find() as plain:
                kind = {BEGIN: "IMMEDIATE", SYNCHRONOUS: "FULL" if durable else "NORMAL"}
                connection = plain.execution_options(**kind) if writes else self._backend.reading(plain)
                transaction = connection.begin()
                try:
                    if not durable:
                        self._backend.hasten(connection)
                    yield connection
                except BaseException:
                    with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                        transaction.rollback()  # where the connection is lost there is nothing to roll back
                    raise
                committing = writes
                self._backend.commit(connection, transaction)
                if writes:
                    self._check_written()
        except sqlalchemy.exc.IntegrityError as error:
            raise ConflictError(f"the change contradicts what is stored in {self._place}") from error
        except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
            message = f"cannot use the database {self._place}: {_reason(error)}"
            if self._backend.is_lost(error):
                raise _LostError(message, in_doubt=committing) from error
            raise StorageError(message) from error

    def close(self) -> None:
        """Close all connections that nobody uses."""
        while self._spare:
            self._spare.pop().close()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def open_sqlite(path: str, *, create: bool = True) -> Database:
    """Open or create a SQLite file (0600) in a private directory; tables come from `gsi.sql.migrate`.

    Args:
        path: The file. Its directory is made (0700) if missing.
        create: Whether a missing file is made; else it is an error.

    Raises:
        StorageError: Directory or file are not safe, are missing, or cannot be created.
    """
    path = os.path.abspath(path)
    prepare_private_directory(os.path.dirname(path))
    _prepare_private_file(path, create=create)
    engine = sqlalchemy.create_engine(
        # SQLite itself never makes the file, or a later connection would make another one where it was removed.
        sqlalchemy.URL.create("sqlite", database=f"file:{quote(path)}", query={"mode": "rw", "uri": "true"}),
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False, "isolation_level": None},
        pool_size=POOLED_CONNECTIONS,
        pool_use_lifo=True,  # few stay in use, and those know the pages and the statements
        max_overflow=-1,  # the callers' threads are the limit; waiting for a connection here would hide them
    )
    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin_as_wanted)
    return Database(engine, place=path, presence=Presence(path))


def prepare_private_directory(path: str) -> None:
    """Make sure that a directory exists, is ours, and that nobody else can write it. Missing ones are made 0700.

    The directories above it are looked at, too: whoever can write one of them can put another in its place.

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
    above = os.path.realpath(path)
    while above != os.path.dirname(above):
        above = os.path.dirname(above)
        _check_above(path, above)


def _check_above(path: str, above: str) -> None:
    try:
        mode = os.stat(above).st_mode
    except OSError as error:
        raise StorageError(f"cannot use the directory {above}: {_reason(error)}") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        raise StorageError(
            f"directory {path} could be replaced by others, who can write {above} (mode {stat.S_IMODE(mode):04o})",
            hint=f"chmod go-w {above}",
        )


def _prepare_private_file(path: str, *, create: bool) -> None:
    """Create the file 0600, whatever the umask; its -wal and -shm files inherit the mode."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise StorageError(f"cannot open the database {path}: {_reason(error)}") from error
    try:
        found = os.fstat(descriptor)
        if not found.st_size:
            _sync_directory(os.path.dirname(path))  # SQLite sees to that for the files that it makes itself
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise StorageError(f"database {path} is not a regular file of uid {os.geteuid()}")
    if found.st_mode & 0o077:
        raise StorageError(
            f"database {path} can be used by others (mode {stat.S_IMODE(found.st_mode):04o})", hint=f"chmod 600 {path}"
        )


def _sync_directory(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"cannot sync the directory {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return one line about a foreign error, without statement and parameters (they may be secret)."""
    original = error if isinstance(error, sqlite3.Error) else getattr(error, "orig", None)
    text = str(original if original is not None else getattr(error, "strerror", None) or type(error).__name__)
    return " ".join(text.split())
