"""The repository in SQL, one schema for SQLite and PostgreSQL through the same statements; see `base` for the rules.

    repository = open_sqlite_repository("/var/lib/myproxy")   # creates or upgrades myproxy.db
    repository = open_postgres_repository("postgresql://db1,db2/myproxy?passfile=...")

Statements are dialect-neutral: no upsert, but an UPDATE that names the owner, then an INSERT whose unique constraint
decides between concurrent writers. Each is written so that it may be done twice: when a database server is lost while
it commits, nobody can tell whether it did (`gsi.sql.engine`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gsi.errors import ConflictError, NotFoundError, StorageError
from gsi.sql.columns import seconds
from gsi.sql.engine import Database, open_sqlite
from gsi.sql.migrate import upgraded
from myproxy.repository.base import MAX_OWNER_BYTES, Selection, StoredCredential, check_address, check_text
from myproxy.repository.sealforms import describe_form
from myproxy.repository.tables import CREDENTIALS, from_row, to_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection, RowMapping

__all__ = ["DATABASE_NAME", "SQLRepository", "insert_or_replace", "open_postgres_repository", "open_sqlite_repository"]

DATABASE_NAME: Final = "myproxy.db"
"""File name of the SQLite store inside the storage directory."""

_MIGRATIONS: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations")
_TABLE: Final = CREDENTIALS
_C: Final = CREDENTIALS.c
_PAGE: Final = 500
"""Rows read at once by `search`: two megabytes of certificates, and no transaction stays open between pages."""
_KEPT: Final = frozenset({"created", "version", "lock_message"})
"""What a credential that is replaced keeps."""
_GET: Final = sa.select(_TABLE).where(_C.username == sa.bindparam("username"), _C.name == sa.bindparam("name"))
"""Made once: each logon asks this."""


class SQLRepository:
    """A `Repository` over a database whose schema is current."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def database(self) -> Database:
        """The database, for upkeep."""
        return self._database

    def put(self, credential: StoredCredential) -> None:
        """See `Repository.put`."""
        row = to_row(credential)

        def work(connection: Connection, _again: bool) -> None:
            insert_or_replace(connection, row)

        try:
            self._database.writing(work)
        except ConflictError:
            # Another writer inserted the same address between our UPDATE and INSERT; now the UPDATE decides.
            self._database.writing(work)

    def get(self, username: str, name: str | None) -> StoredCredential:
        """See `Repository.get`."""
        if not _is_address(username, name):
            raise NotFoundError("no such credential")
        at = {"username": username, "name": name or ""}
        rows = self._database.find(_GET, at)
        if not rows:
            raise NotFoundError("no such credential")
        return from_row(rows[0])

    def list_owned(self, username: str, owner: str) -> tuple[StoredCredential, ...]:
        """See `Repository.list_owned`."""
        if not _is_address(username, None) or not _is_owner(owner):
            return ()
        # Not by the index on owners: a portal may own a hundred thousand, a user name has a few.
        is_owners = sa.func.coalesce(_C.owner, "") == owner
        query = sa.select(_TABLE).where(_C.username == username, is_owners).order_by(_C.name)
        return tuple(map(from_row, self._select(query)))

    def count_owned(self, owner: str, *, limit: int) -> int:
        """See `Repository.count_owned`."""
        if not _is_owner(owner):
            return 0
        return len(self._select(sa.select(_C.id).where(_C.owner == owner).limit(limit)))

    def list_named(self, username: str, *, limit: int) -> tuple[StoredCredential, ...]:
        """See `Repository.list_named`."""
        if not _is_address(username, None):
            return ()
        query = sa.select(_TABLE).where(_C.username == username).order_by(_C.name).limit(limit)
        return tuple(map(from_row, self._select(query)))

    def search(self, selection: Selection) -> Iterator[StoredCredential]:
        """See `Repository.search`."""
        wanted = list(_conditions(selection))
        after: sa.ColumnElement[bool] = sa.true()
        while True:
            query = sa.select(_TABLE).where(after, *wanted).order_by(_C.username, _C.name).limit(_PAGE)
            rows = self._select(query)
            yield from map(from_row, rows)
            if len(rows) < _PAGE:
                return
            last = rows[-1]
            after = sa.tuple_(_C.username, _C.name) > sa.tuple_(sa.literal(last["username"]), sa.literal(last["name"]))

    def delete(self, username: str, name: str | None, *, owner: str) -> None:
        """See `Repository.delete`."""
        if not _is_address(username, name) or not _is_owner(owner):
            raise NotFoundError("no such credential")
        change = sa.delete(_TABLE).where(_at(username, name), _C.owner == owner)

        def work(connection: Connection, again: bool) -> None:
            if not connection.execute(change).rowcount and not again:
                raise NotFoundError("no such credential")

        self._database.writing(work)

    def replace_key(self, credential: StoredCredential, sealed_key: bytes, *, now: datetime) -> None:
        """See `Repository.replace_key`."""
        same = sa.and_(_at(credential.username, credential.name), _C.owner == credential.owner)
        change = (
            sa.update(_TABLE)
            .where(same, _C.version == credential.version)
            .values(
                sealed_key=sealed_key,
                key_form=describe_form(sealed_key),
                updated=seconds(now),
                version=_C.version + 1,
            )
        )
        done = sa.select(_C.id).where(same, _C.version == credential.version + 1, _C.sealed_key == sealed_key)

        def work(connection: Connection, again: bool) -> None:
            if connection.execute(change).rowcount or (again and connection.execute(done).first()):
                return
            raise ConflictError("the credential was changed in the meantime")

        self._database.writing(work)

    def list_key_forms(self) -> frozenset[str]:
        """See `Repository.list_key_forms`."""
        found: set[str] = set()
        last: str | None = None
        while True:  # DISTINCT would walk the whole index; this asks it once for each form
            query = sa.select(sa.func.min(_C.key_form))
            if last is not None:
                query = query.where(_C.key_form > last)
            last = self._scalar(query)
            if last is None:
                return frozenset(found)
            found.add(last)

    def set_lock(self, username: str, name: str | None, message: str | None, *, now: datetime) -> None:
        """See `Repository.set_lock`."""
        check_text(message, "lock message")
        if not _is_address(username, name):
            raise NotFoundError("no such credential")
        change = (
            sa.update(_TABLE)
            .where(_at(username, name))
            .values(lock_message=message, updated=seconds(now), version=_C.version + 1)
        )

        def work(connection: Connection, _again: bool) -> None:
            if not connection.execute(change).rowcount:
                raise NotFoundError("no such credential")

        self._database.writing(work)

    def close(self) -> None:
        """See `Repository.close`."""
        self._database.close()

    def _select(self, query: sa.Select[tuple[object, ...]]) -> Sequence[RowMapping]:
        return self._database.reading(lambda connection: connection.execute(query).mappings().all())

    def _scalar(self, query: sa.Select[str]) -> str | None:
        return self._database.reading(lambda connection: connection.scalar(query))


def insert_or_replace(connection: Connection, row: Mapping[str, object]) -> None:
    """Put a row in its place within a transaction.

    Raises:
        ConflictError: Another owner's credential is there.
    """
    changes = {key: value for key, value in row.items() if key not in _KEPT}
    at = _at(str(row["username"]), str(row["name"]) or None)
    replaced = connection.execute(
        sa.update(_TABLE).where(at, _C.owner == row["owner"]).values(**changes, version=_C.version + 1)
    )
    if replaced.rowcount:
        return
    if connection.execute(sa.select(_C.id).where(at)).first() is not None:
        raise ConflictError("a credential of another owner is stored under this name")
    connection.execute(sa.insert(_TABLE).values(**{**row, "version": 1}))


def open_sqlite_repository(directory: str, *, create: bool = True) -> SQLRepository:
    """Open the SQLite store in a storage directory, creating or upgrading it.

    Args:
        directory: The storage directory.
        create: Whether a missing store is made; else it is an error.

    Raises:
        StorageError: The directory or file is not safe, cannot be written, or comes from a newer version.
    """
    database = open_sqlite(os.path.join(directory, DATABASE_NAME), create=create)
    return SQLRepository(upgraded(database, _MIGRATIONS))


def open_postgres_repository(conninfo: str, *, connections: int = 8, patience_seconds: float = 0.0) -> SQLRepository:
    """Open the store in a PostgreSQL database, making or upgrading its tables.

    Args:
        conninfo: A libpq connection string or URI, without a password.
        connections: How many connections are used at most.
        patience_seconds: How long a failover may take before requests fail.

    Raises:
        ConfigError: The string is not good, or psycopg is not installed.
        StorageError: The database cannot be reached or used, or comes from a newer version.
    """
    from gsi.sql.postgres import open_postgres

    database = open_postgres(
        conninfo, application="myproxy", connections=connections, patience_seconds=patience_seconds
    )
    return SQLRepository(upgraded(database, _MIGRATIONS))


def _conditions(selection: Selection) -> Iterator[sa.ColumnElement[bool]]:
    for column, value in ((_C.username, selection.username), (_C.name, selection.name), (_C.owner, selection.owner)):
        if value is not None:
            yield column == value
    if selection.ends_before is not None:
        yield _C.not_after < seconds(selection.ends_before)
    if selection.ends_after is not None:
        yield _C.not_after > seconds(selection.ends_after)


def _at(username: str, name: str | None) -> sa.ColumnElement[bool]:
    return sa.and_(_C.username == username, _C.name == (name or ""))


def _is_address(username: str, name: str | None) -> bool:
    """Say whether anything could be stored under these names (`put` refuses the others)."""
    try:
        check_address(username, name)
    except StorageError:
        return False
    return True


def _is_owner(owner: str) -> bool:
    try:
        check_text(owner, "owner", MAX_OWNER_BYTES)
    except StorageError:
        return False
    return True
