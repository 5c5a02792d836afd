"""Changes that no user asks for: repairs, quarantine, leases, wrapping anew; what is wrong is found by `fsck`.

    mender = Mender(database)
    mender.repair(finding), mender.quarantine(row, finding, now=now)
    if take_lease(database, "sweeper", holder, now=now, duration=...): ...

Nothing is deleted. What is put aside lies as JSON text in the table `quarantine`, from where `restore` brings it back.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gsi.certificate import Certificate
from gsi.errors import ConflictError, GridError, NotFoundError, StorageError
from gsi.sql.columns import seconds
from myproxy.repository.base import Selection
from myproxy.repository.seal import Place
from myproxy.repository.tables import CREDENTIALS, LEASES, METADATA, QUARANTINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime, timedelta

    from sqlalchemy.engine import Connection

    from gsi.sql.engine import Database
    from myproxy.repository.base import StoredCredential
    from myproxy.repository.fsck import Finding
    from myproxy.repository.seal import Sealer
    from myproxy.repository.sql import SQLRepository

__all__ = ["Mender", "QuarantinedRow", "rewrap", "take_lease"]


class Mender:
    """Carries out what `fsck` has found to be necessary."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def repair(self, row: Mapping[str, object], finding: Finding) -> None:
        """Set the columns of a row that were wrong.

        Raises:
            ConflictError: The row has been changed since it was looked at.
            StorageError: It could not be written.
        """

        def work(connection: Connection, _again: bool) -> None:
            _check_unchanged(connection, row)
            change = sa.update(CREDENTIALS).where(CREDENTIALS.c.id == row["id"]).values(**finding.changes)
            connection.execute(change)

        self._database.writing(work)

    def quarantine(self, row: Mapping[str, object], finding: Finding, *, now: datetime) -> int:
        """Put a row aside; returns its number there.

        Raises:
            ConflictError: The row has been changed since it was looked at.
            StorageError: It could not be written.
        """

        def work(connection: Connection, _again: bool) -> int:
            _check_unchanged(connection, row)
            kept = sa.insert(QUARANTINE).values(
                moved=seconds(now), reason=finding.problem, origin=CREDENTIALS.name, content=_encode(row)
            )
            (number,) = connection.execute(kept).inserted_primary_key or (0,)
            connection.execute(sa.delete(CREDENTIALS).where(CREDENTIALS.c.id == row["id"]))
            return int(number)

        return self._database.writing(work)

    def quarantined(self) -> Iterator[QuarantinedRow]:
        """Yield what was put aside, the oldest first.

        Raises:
            StorageError: It cannot be read.
        """
        query = sa.select(QUARANTINE).order_by(QUARANTINE.c.id)
        for row in self._database.reading(lambda connection: connection.execute(query).mappings().all()):
            yield QuarantinedRow(row["id"], row["moved"], row["reason"], row["content"])

    def restore(self, number: int) -> None:
        """Bring a row back that was put aside.

        Raises:
            NotFoundError: There is none of that number.
            ConflictError: Another credential has taken its place.
            StorageError: It could not be written.
        """

        def work(connection: Connection, _again: bool) -> None:
            at = QUARANTINE.c.id == number
            content = connection.execute(sa.select(QUARANTINE.c.content).where(at)).scalar()
            if content is None:
                raise NotFoundError(f"nothing of number {number} lies in quarantine")
            row = {name: value for name, value in _decode(content).items() if name != "id"}
            connection.execute(sa.insert(CREDENTIALS).values(**row))
            connection.execute(sa.delete(QUARANTINE).where(at))

        self._database.writing(work)

    def repair_index(self, finding: Finding) -> None:
        """Make the indexes of a table anew.

        Raises:
            StorageError: They could not be made.
        """
        table = METADATA.tables[finding.table]
        with self._database.write() as connection:
            present = {index["name"] for index in sa.inspect(connection).get_indexes(table.name)}
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
                connection.execute(sa.text(f"REINDEX TABLE {table.name}"))
            else:
                connection.execute(sa.text(f"REINDEX {table.name}"))
            for index in table.indexes:
                if index.name not in present:
                    index.create(connection)


class QuarantinedRow:
    """A row that was put aside.

    Attributes:
        number: Its number.
        moved: When, in Unix seconds.
        reason: Why.
        username: The account name, as far as it can be read.
        name: The credential's name, likewise.
        owner: Who stored it, likewise.
    """

    __slots__ = ("moved", "name", "number", "owner", "reason", "username")

    def __init__(self, number: int, moved: int, reason: str, content: str) -> None:
        row = _decode(content)
        self.number = number
        self.moved = moved
        self.reason = reason
        self.username = row.get("username")
        self.name = row.get("name")
        self.owner = row.get("owner")


def rewrap(
    repository: SQLRepository, sealer: Sealer, *, now: datetime
) -> Iterator[tuple[StoredCredential, str | None]]:
    """Bring every key under the current server key, or out of all; yields each that was not, and why it still is not.

    Raises:
        StorageError: The store cannot be read or written.
    """
    for stored in repository.search(Selection()):
        try:
            if sealer.server_keys.is_current(stored.sealed_key):
                continue
            fingerprint = Certificate.parse(stored.certificates[0]).fingerprint
            place = Place(stored.username, stored.name, stored.owner, fingerprint)
            wrapped = sealer.rewrap(stored.sealed_key, place)
        except GridError as error:
            yield stored, error.message
            continue
        try:
            repository.replace_key(stored, wrapped, now=now)
        except ConflictError:
            continue  # its owner was faster, and then it is current
        yield stored, None


def take_lease(database: Database, name: str, holder: str, *, now: datetime, duration: timedelta) -> bool:
    """Say whether some work is this holder's to do until `duration` has passed, and nobody else's.

    Raises:
        StorageError: The database cannot be used.
    """
    moment, until = seconds(now), seconds(now + duration)
    # A lease that ends later than any could have been taken for comes from a clock that was wrong.
    free = sa.or_(LEASES.c.holder == holder, LEASES.c.until < moment, LEASES.c.until > until)
    change = sa.update(LEASES).where(LEASES.c.name == name, free).values(holder=holder, until=until)

    def work(connection: Connection, _again: bool) -> bool:
        if connection.execute(change).rowcount:
            return True
        if connection.execute(sa.select(LEASES.c.name).where(LEASES.c.name == name)).first() is not None:
            return False
        connection.execute(sa.insert(LEASES).values(name=name, holder=holder, until=until))
        return True

    try:
        return database.writing(work)
    except ConflictError:
        return False  # somebody was faster


def _check_unchanged(connection: Connection, row: Mapping[str, object]) -> None:
    query = sa.select(CREDENTIALS).where(CREDENTIALS.c.id == row["id"])
    found = connection.execute(query).mappings().first()
    if found is None or dict(found) != dict(row):
        raise ConflictError("the credential was changed in the meantime")


def _encode(row: Mapping[str, object]) -> str:
    """Return a row as JSON text; bytes as an object with their base64."""

    def encode(value: object) -> object:
        if isinstance(value, bytes | memoryview):
            return {"base64": base64.b64encode(bytes(value)).decode("ascii")}
        return value

    return json.dumps({name: encode(value) for name, value in row.items()}, sort_keys=True)


def _decode(content: str) -> dict[str, object]:
    """Undo `_encode`.

    Raises:
        StorageError: It is damaged.
    """
    try:
        return {
            name: base64.b64decode(value["base64"], validate=True) if isinstance(value, dict) else value
            for name, value in json.loads(content).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError("what lies in quarantine is damaged") from error
