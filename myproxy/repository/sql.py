"""The repository in SQL, one schema for SQLite and (through the same statements) PostgreSQL; see `base` for the rules.

    repository = open_sqlite_repository("/var/lib/myproxy")   # creates or upgrades myproxy.db

Statements are dialect-neutral: no upsert, but an UPDATE that names the owner, then an INSERT whose unique constraint
decides between concurrent writers.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gsi.errors import ConflictError, NotFoundError, StorageError
from gsi.sql.engine import Database, open_sqlite
from gsi.sql.migrate import upgrade
from myproxy.repository.base import Selection, StoredCredential, check_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection, RowMapping

__all__ = ["DATABASE_NAME", "SQLRepository", "open_sqlite_repository"]

DATABASE_NAME: Final = "myproxy.db"
"""File name of the SQLite store inside the storage directory."""

_MIGRATIONS: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations")

_TABLE: Final = sa.Table(
    "credentials",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("username", sa.Text(), nullable=False),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("owner", sa.Text(), nullable=False),
    sa.Column("description", sa.Text()),
    sa.Column("retrievers", sa.Text()),
    sa.Column("renewers", sa.Text()),
    sa.Column("key_retrievers", sa.Text()),
    sa.Column("trusted_retrievers", sa.Text()),
    sa.Column("lifetime_seconds", sa.BigInteger(), nullable=False),
    sa.Column("not_before", sa.BigInteger(), nullable=False),
    sa.Column("not_after", sa.BigInteger(), nullable=False),
    sa.Column("certificates", sa.LargeBinary(), nullable=False),
    sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
    sa.Column("lock_message", sa.Text()),
    sa.Column("created", sa.BigInteger(), nullable=False),
    sa.Column("updated", sa.BigInteger(), nullable=False),
    sa.Column("version", sa.BigInteger(), nullable=False),
)
_C: Final = _TABLE.c
_PAGE: Final = 500
"""Rows read at once by `search`: two megabytes of certificates, and no transaction stays open between pages."""
_TEXTS: Final = (
    "username",
    "owner",
    "description",
    "retrievers",
    "renewers",
    "key_retrievers",
    "trusted_retrievers",
    "lock_message",
)


class SQLRepository:
    """A `Repository` over a database whose schema is current."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, credential: StoredCredential) -> None:
        """See `Repository.put`."""
        values = _to_row(credential)
        try:
            self._put_once(values)
        except ConflictError:
            # Another writer inserted the same address between our UPDATE and INSERT; now the UPDATE decides.
            self._put_once(values)

    def _put_once(self, values: Mapping[str, object]) -> None:
        changes = {key: value for key, value in values.items() if key not in {"created", "version", "lock_message"}}
        at = _at(str(values["username"]), str(values["name"]) or None)
        with self._database.write() as connection:
            replaced = connection.execute(
                sa.update(_TABLE).where(at, _C.owner == values["owner"]).values(**changes, version=_C.version + 1)
            )
            if replaced.rowcount:
                return
            if _exists(connection, at):
                raise ConflictError("a credential of another owner is stored under this name")
            connection.execute(sa.insert(_TABLE).values(**{**values, "version": 1}))

    def get(self, username: str, name: str | None) -> StoredCredential:
        """See `Repository.get`."""
        if not _is_address(username, name):
            raise NotFoundError("no such credential")
        with self._database.read() as connection:
            row = connection.execute(sa.select(_TABLE).where(_at(username, name))).mappings().first()
        if row is None:
            raise NotFoundError("no such credential")
        return _from_row(row)

    def list_owned(self, username: str, owner: str) -> tuple[StoredCredential, ...]:
        """See `Repository.list_owned`."""
        if not _is_address(username, None) or not _is_address(owner, None):
            return ()
        query = sa.select(_TABLE).where(_C.username == username, _C.owner == owner).order_by(_C.name)
        with self._database.read() as connection:
            rows: Sequence[RowMapping] = connection.execute(query).mappings().all()
        return tuple(map(_from_row, rows))

    def list_named(self, username: str, *, limit: int) -> tuple[StoredCredential, ...]:
        """See `Repository.list_named`."""
        if not _is_address(username, None):
            return ()
        query = sa.select(_TABLE).where(_C.username == username).order_by(_C.name).limit(limit)
        with self._database.read() as connection:
            rows: Sequence[RowMapping] = connection.execute(query).mappings().all()
        return tuple(map(_from_row, rows))

    def search(self, selection: Selection) -> Iterator[StoredCredential]:
        """See `Repository.search`."""
        wanted = list(_conditions(selection))
        after: sa.ColumnElement[bool] = sa.true()
        while True:
            query = sa.select(_TABLE).where(after, *wanted).order_by(_C.username, _C.name).limit(_PAGE)
            with self._database.read() as connection:
                rows: Sequence[RowMapping] = connection.execute(query).mappings().all()
            yield from map(_from_row, rows)
            if len(rows) < _PAGE:
                return
            last = rows[-1]
            after = sa.tuple_(_C.username, _C.name) > sa.tuple_(sa.literal(last["username"]), sa.literal(last["name"]))

    def delete(self, username: str, name: str | None, *, owner: str) -> None:
        """See `Repository.delete`."""
        if not _is_address(username, name):
            raise NotFoundError("no such credential")
        with self._database.write() as connection:
            gone = connection.execute(sa.delete(_TABLE).where(_at(username, name), _C.owner == owner))
            if not gone.rowcount:
                raise NotFoundError("no such credential")

    def replace_key(self, credential: StoredCredential, sealed_key: bytes, *, now: datetime) -> None:
        """See `Repository.replace_key`."""
        change = (
            sa.update(_TABLE)
            .where(
                _at(credential.username, credential.name),
                _C.owner == credential.owner,
                _C.version == credential.version,
            )
            .values(sealed_key=sealed_key, updated=_seconds(now), version=_C.version + 1)
        )
        with self._database.write() as connection:
            if not connection.execute(change).rowcount:
                raise ConflictError("the credential was changed in the meantime")

    def list_key_prefixes(self, size: int) -> frozenset[bytes]:
        """See `Repository.list_key_prefixes`."""
        # SQLite calls the beginning of nothing NULL.
        prefix = sa.type_coerce(sa.func.substr(_C.sealed_key, 1, size), sa.LargeBinary())
        with self._database.read() as connection:
            return frozenset(bytes(found or b"") for found in connection.scalars(sa.select(prefix).distinct()))

    def set_lock(self, username: str, name: str | None, message: str | None, *, now: datetime) -> None:
        """See `Repository.set_lock`."""
        check_text(message, "lock message")
        change = (
            sa.update(_TABLE)
            .where(_at(username, name))
            .values(lock_message=message, updated=_seconds(now), version=_C.version + 1)
        )
        with self._database.write() as connection:
            if not _is_address(username, name) or not connection.execute(change).rowcount:
                raise NotFoundError("no such credential")

    def close(self) -> None:
        """See `Repository.close`."""
        self._database.close()


def open_sqlite_repository(directory: str) -> SQLRepository:
    """Open the SQLite store in a storage directory, creating or upgrading it.

    Raises:
        StorageError: The directory or file is not safe, cannot be written, or comes from a newer version.
    """
    database = open_sqlite(os.path.join(directory, DATABASE_NAME))
    upgrade(database, _MIGRATIONS)
    return SQLRepository(database)


def _conditions(selection: Selection) -> Iterator[sa.ColumnElement[bool]]:
    for column, value in ((_C.username, selection.username), (_C.name, selection.name), (_C.owner, selection.owner)):
        if value is not None:
            yield column == value
    if selection.ends_before is not None:
        yield _C.not_after < _seconds(selection.ends_before)
    if selection.ends_after is not None:
        yield _C.not_after > _seconds(selection.ends_after)


def _at(username: str, name: str | None) -> sa.ColumnElement[bool]:
    return sa.and_(_C.username == username, _C.name == (name or ""))


def _exists(connection: Connection, at: sa.ColumnElement[bool]) -> bool:
    return connection.execute(sa.select(_C.id).where(at)).first() is not None


def _is_address(username: str, name: str | None) -> bool:
    """Say whether anything could be stored under these names (`put` refuses the others)."""
    try:
        check_text(username, "user name")
        check_text(name, "credential name")
    except StorageError:
        return False
    return name != ""


def _to_row(credential: StoredCredential) -> dict[str, object]:
    if not credential.username or credential.name == "":
        raise StorageError("a credential needs a user name, and a name that is not empty or none at all")
    check_text(credential.name, "credential name")
    row: dict[str, object] = {text: getattr(credential, text) for text in _TEXTS}
    for text in _TEXTS:
        check_text(getattr(credential, text), text.replace("_", " "))
    return row | {
        "name": credential.name or "",
        "lifetime_seconds": int(credential.lifetime.total_seconds()),
        "not_before": _seconds(credential.not_before),
        "not_after": _seconds(credential.not_after),
        "certificates": _pack(credential.certificates),
        "sealed_key": credential.sealed_key,
        "created": _seconds(credential.created),
        "updated": _seconds(credential.updated),
    }


def _from_row(row: RowMapping) -> StoredCredential:
    return StoredCredential(
        username=row["username"],
        name=row["name"] or None,
        owner=row["owner"],
        description=row["description"],
        retrievers=row["retrievers"],
        renewers=row["renewers"],
        key_retrievers=row["key_retrievers"],
        trusted_retrievers=row["trusted_retrievers"],
        lifetime=timedelta(seconds=row["lifetime_seconds"]),
        not_before=_time(row["not_before"]),
        not_after=_time(row["not_after"]),
        certificates=_unpack(row["certificates"]),
        sealed_key=bytes(row["sealed_key"]),
        lock_message=row["lock_message"],
        created=_time(row["created"]),
        updated=_time(row["updated"]),
        version=row["version"],
    )


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _time(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise StorageError("a stored time is out of range; the store is damaged") from error


def _pack(certificates: tuple[bytes, ...]) -> bytes:
    """Join DER certificates, each after its length in four bytes, big-endian."""
    return b"".join(len(der).to_bytes(4, "big") + der for der in certificates)


def _unpack(packed: bytes) -> tuple[bytes, ...]:
    certificates = []
    at = 0
    while at < len(packed):
        size = int.from_bytes(packed[at : at + 4], "big")
        der = bytes(packed[at + 4 : at + 4 + size])
        if len(der) != size or not size:
            raise StorageError("stored certificates are cut short; the store is damaged")
        certificates.append(der)
        at += 4 + size
    return tuple(certificates)
