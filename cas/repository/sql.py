"""The store of a policy in SQL, one schema for SQLite and PostgreSQL through the same statements; see `base`.

    repository = open_sqlite_policy("/var/lib/cas")     # creates or upgrades cas.db
    repository = open_postgres_policy("postgresql://db1,db2/cas?passfile=...")

Whoever changes the policy first writes its one row in `policy`: all others wait, whichever node they are on. Readers
wait for nobody. On SQLite their transaction is a snapshot; on PostgreSQL each statement stands alone, which is cheaper,
so the revision is asked for before and after, and where it has moved the questions are asked again.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from cas.policy.changes import Remove, RemoveMember, Revoke
from cas.repository import enrolling
from cas.repository.base import Applied, check_clock
from cas.repository.cache import MAX_ENTRIES, ViewCache
from cas.repository.changing import Changer, normal_change
from cas.repository.history import add_entries, has_token
from cas.repository.holders import has_superuser
from cas.repository.rows import rows, run
from cas.repository.view import SQLView
from gsi.errors import ConflictError, NotFoundError, ParseError, StorageError
from gsi.sql.columns import seconds, time_of
from gsi.sql.engine import Database, open_sqlite
from gsi.sql.migrate import upgraded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from cas.policy.changes import Change
    from cas.policy.model import Ref, Statement
    from cas.policy.userfile import UserLine
    from cas.repository.base import Author, View

__all__ = ["DATABASE_NAME", "SQLPolicy", "Transaction", "open_postgres_policy", "open_sqlite_policy"]

DATABASE_NAME: Final = "cas.db"
"""File name of the SQLite store inside its directory."""

MAX_REASON_CHARS: Final = 1024
"""The longest reason: a paragraph."""

_MIGRATIONS: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations")
_TRIES: Final = 5
"""How often questions are asked again because the policy has moved, before changes are made to wait."""

T = TypeVar("T")


class _UndoError(Exception):
    """Leaves a transaction that is not to be committed."""


class Transaction:
    """A transaction that changes the policy, its row locked.

    Attributes:
        connection: The connection.
        revision: The policy's revision with the changes.
        changer: Makes them.
        entries: The history of what was made so far.
    """

    def __init__(self, connection: Connection, by: Author, *, restoring: bool = False) -> None:
        """Take the lock.

        Args:
            connection: In a transaction.
            by: Who changes the policy.
            restoring: As `Changer`.

        Raises:
            StorageError: The clock is behind the newest change.
        """
        self.connection = connection
        self.by = by
        run(connection, "UPDATE policy SET revision = revision + 1 WHERE id = 1")
        ((self.revision, next_id, latest),) = rows(connection, "SELECT revision, next_id, latest FROM policy")
        check_clock(by.now, time_of(latest))
        self._latest = latest
        self.changer = Changer(connection, next_id, restoring=restoring)
        self.entries: list[tuple[int, Change, tuple[Statement, ...]]] = []

    def make(self, change: Change) -> bool:
        """Make a change whose names are normal, and note it if it changed anything."""
        is_changed = self.changer.make(change)
        if is_changed:
            self.entries.append((self.changer.take_id(), change, self.changer.purged))
        return is_changed

    def finish(self, token: str) -> None:
        """Write the history, and what is next."""
        add_entries(self.connection, self.entries, self.by, revision=self.revision, token=token)
        latest = max(self._latest, seconds(self.by.now))
        query = "UPDATE policy SET next_id = :next, latest = :latest WHERE id = 1"
        run(self.connection, query, next=self.changer.next_id, latest=latest)


class SQLPolicy:
    """A `PolicyRepository` over a database whose schema is current."""

    def __init__(self, database: Database, *, kept: int = MAX_ENTRIES) -> None:
        """Serve a policy.

        Args:
            database: Where it is.
            kept: How many answers of its newest state are kept in memory.
        """
        self._database = database
        self._cache = ViewCache(kept)
        self._is_snapshot = database.engine.dialect.name == "sqlite"

    @property
    def database(self) -> Database:
        """The database."""
        return self._database

    def reading(self, work: Callable[[View], T]) -> T:
        """See `PolicyRepository.reading`."""
        if self._is_snapshot:
            return self._database.reading(self._in_snapshot(work))
        for _ in range(_TRIES):
            for answer in self._database.reading(lambda connection: _between_changes(connection, self._cache, work)):
                return answer

        def waiting(connection: Connection, _again: bool) -> T:
            rows(connection, "SELECT id FROM policy WHERE id = 1 FOR SHARE")
            return work(SQLView(connection))

        return self._database.writing(waiting)

    def _in_snapshot(self, work: Callable[[View], T]) -> Callable[[Connection], T]:
        def look(connection: Connection) -> T:
            view = SQLView(connection, self._cache)
            answer = work(view)
            view.keep()
            return answer

        return look

    def apply(
        self,
        changes: Sequence[Change],
        by: Author,
        *,
        guard: Callable[[View, Change], None] | None = None,
        confirm: Callable[[Applied], None] | None = None,
        expected_revision: int | None = None,
        expected: Mapping[Ref, int] | None = None,
        restoring: bool = False,
    ) -> Applied:
        """See `PolicyRepository.apply`."""
        token = secrets.token_hex(8)
        before: list[Applied] = []

        def work(connection: Connection, again: bool) -> Applied:
            if again and before and has_token(connection, token, above=before[-1].revision - 1):
                return before[-1]
            transaction = Transaction(connection, by, restoring=restoring)
            conflict = _find_conflict(transaction, expected_revision, expected or {})
            applied = Applied(transaction.revision, _make_all(transaction, changes, guard, conflict))
            before[:] = [applied]
            if confirm is not None:
                confirm(applied)
            transaction.finish(token)
            return applied

        _check_author(by)
        return self._database.writing(work)

    def writing(self, by: Author, work: Callable[[Transaction, bool], T]) -> T:
        """Return what the work returns, done within a transaction that changes the policy.

        Args:
            by: Who changes it.
            work: Gets the transaction, and whether it may have been committed already by a try before this one.

        Raises:
            StorageError: As `apply`.
        """
        token = secrets.token_hex(8)

        def enclosed(connection: Connection, again: bool) -> T:
            transaction = Transaction(connection, by)
            answer = work(transaction, again)
            transaction.finish(token)
            return answer

        _check_author(by)
        return self._database.writing(enclosed)

    def preview(
        self, changes: Sequence[Change], by: Author, look: Callable[[View], T], *, guard: Callable[[View, Change], None]
    ) -> tuple[T, int]:
        """See `PolicyRepository.preview`."""
        answer: list[tuple[T, int]] = []

        def work(connection: Connection, _again: bool) -> NoReturn:
            transaction = Transaction(connection, by)
            _make_all(transaction, changes, guard)
            answer[:] = [(look(SQLView(connection)), transaction.revision - 1)]
            raise _UndoError

        try:
            self._database.writing(work)
        except _UndoError:
            return answer[0]

    def enrolled_lines(self, digest: str) -> int:
        """See `PolicyRepository.enrolled_lines`."""
        return self._database.reading(lambda connection: enrolling.lines_done(connection, digest))

    def enrol_users(
        self,
        lines: Sequence[UserLine],
        by: Author,
        *,
        owner: str,
        digest: str,
        guard: Callable[[View], None],
        confirm: Callable[[int], None],
    ) -> int:
        """See `PolicyRepository.enrol_users`."""
        counted: list[int] = []

        def work(transaction: Transaction, again: bool) -> int:
            if again and counted and enrolling.lines_done(transaction.connection, digest) == lines[-1].number:
                return counted[-1]  # the server was lost after it had committed
            guard(SQLView(transaction.connection))
            counted.append(enrolling.enrol(transaction, lines, owner=owner, digest=digest))
            confirm(counted[-1])
            return counted[-1]

        return self.writing(by, work)

    def accept_clock(self, now: datetime) -> None:
        """Take now for the time of the newest change, after a clock that was ahead has been set back.

        Raises:
            StorageError: The store cannot be written.
        """

        def work(connection: Connection, _again: bool) -> None:
            run(connection, "UPDATE policy SET latest = :latest WHERE id = 1", latest=seconds(now))

        self._database.writing(work)

    def close(self) -> None:
        """See `PolicyRepository.close`."""
        self._database.close()


def open_sqlite_policy(directory: str, *, kept: int = MAX_ENTRIES) -> SQLPolicy:
    """Open the SQLite store in a directory, creating or upgrading it.

    Args:
        directory: The directory.
        kept: As `SQLPolicy`.

    Raises:
        StorageError: The directory or file is not safe, cannot be written, or comes from a newer version.
    """
    return SQLPolicy(upgraded(open_sqlite(os.path.join(directory, DATABASE_NAME)), _MIGRATIONS), kept=kept)


def open_postgres_policy(
    conninfo: str, *, connections: int = 8, patience_seconds: float = 0.0, kept: int = MAX_ENTRIES
) -> SQLPolicy:
    """Open the store in a PostgreSQL database, making or upgrading its tables.

    Args:
        conninfo: A libpq connection string or URI, without a password.
        connections: How many connections are used at most.
        patience_seconds: How long a failover may take before requests fail.
        kept: As `SQLPolicy`.

    Raises:
        ConfigError: The string is not good, or psycopg is not installed.
        StorageError: The database cannot be reached or used, or comes from a newer version.
    """
    from gsi.sql.postgres import open_postgres

    database = open_postgres(conninfo, application="cas", connections=connections, patience_seconds=patience_seconds)
    return SQLPolicy(upgraded(database, _MIGRATIONS), kept=kept)


def _between_changes(connection: Connection, cache: ViewCache, work: Callable[[View], T]) -> list[T]:
    """Return the work's answer, or nothing when the policy has moved meanwhile."""
    view, other = SQLView(connection, cache), SQLView(connection)
    before = view.revision()
    try:
        answer = [work(view)]
    except Exception:
        if other.revision() == before:
            raise
        return []  # what went wrong may have been that one question saw what another did not
    if other.revision() != before:
        return []
    view.keep()
    return answer


def _make_all(
    transaction: Transaction,
    changes: Sequence[Change],
    guard: Callable[[View, Change], None] | None,
    conflict: ConflictError | None = None,
) -> tuple[bool, ...]:
    connection = transaction.connection
    view = SQLView(connection)
    made = []
    takes_away = any(isinstance(change, Remove | RemoveMember | Revoke) for change in changes)
    had_superuser = takes_away and has_superuser(connection, transaction.by.now)
    for number, change in enumerate(changes):
        try:
            normal = normal_change(connection, change)
        except (NotFoundError, ParseError):
            if guard is not None:
                guard(view, change)  # who may not make it does not hear why it cannot be made
            raise
        if guard is not None:
            guard(view, normal)
        if number == 0 and conflict is not None:
            raise conflict
        made.append(transaction.make(normal))
    if conflict is not None and not made:
        raise conflict
    if had_superuser and not has_superuser(connection, transaction.by.now):
        raise ConflictError(
            "nobody would be superuser any more", hint="make somebody else superuser first, by name and without an end"
        )
    return tuple(made)


def _find_conflict(transaction: Transaction, revision: int | None, versions: Mapping[Ref, int]) -> ConflictError | None:
    """Return what to say to a caller who may make the changes, but was not the first; None if they were."""
    if revision is not None and transaction.revision != revision + 1:
        return ConflictError(
            "the policy was changed by somebody else in the meantime", hint="look at it again, then repeat the change"
        )
    view = SQLView(transaction.connection)
    for ref, version in versions.items():
        found = view.find(ref)
        if found is None or found.version != version:
            return ConflictError(f"{ref} was changed by somebody else in the meantime", hint="look at it again")
    return None


def _check_author(by: Author) -> None:
    if len(by.reason) > MAX_REASON_CHARS or "\0" in by.reason + by.name + by.request_id:
        raise StorageError(f"a reason has {MAX_REASON_CHARS} characters at most, and no NUL")
