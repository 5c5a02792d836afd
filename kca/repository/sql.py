"""The books in SQL, one schema for SQLite and PostgreSQL through the same statements; see `base` for the rules.

    books = open_sqlite_books("/var/lib/kca")                 # creates or upgrades kca.db
    books = open_postgres_books("postgresql://db1,db2/kca?passfile=...")

An entry is one piece of a transaction (`batch`): the rate moves on, the subject gets its owner, the certificate is
written. Statements are dialect-neutral, and each piece of work is written so that it may be done twice, because nobody
can tell whether a server that is lost while it commits has done so (`gsi.sql.engine`).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from gsi.ca.crl import RevocationReason, RevokedEntry
from gsi.errors import ConflictError, NotFoundError, StorageError
from gsi.sql.columns import seconds, time_of
from gsi.sql.engine import Database, open_sqlite
from gsi.sql.migrate import upgraded
from kca.repository.base import (
    Entry,
    Owner,
    Rate,
    RepeatedRequestError,
    Selection,
    SubjectTakenError,
    TooFastError,
)
from kca.repository.batch import Batch
from kca.repository.tables import (
    CRLS,
    ISSUED,
    RATES,
    SUBJECTS,
    from_row,
    reason_of,
    serial_of,
    serial_text,
    to_row,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection, RowMapping

__all__ = ["DATABASE_NAME", "SQLBooks", "open_postgres_books", "open_sqlite_books"]

DATABASE_NAME: Final = "kca.db"
"""File name of the SQLite store inside the storage directory."""

_MIGRATIONS: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations")
_I: Final = ISSUED.c
_S: Final = SUBJECTS.c
_INSERT: Final = sa.insert(ISSUED)
_FIND_OWNER: Final = sa.select(_S.principal).where(_S.name_key == sa.bindparam("key"))
_FIND_OWNERS: Final = sa.select(_S.name_key, _S.principal).where(_S.name_key.in_(sa.bindparam("keys", expanding=True)))
_UNTIL: Final = RATES.c.until_ms
# A time further ahead than any this rate makes was written before the clock or the rate was changed.
_BASE: Final = sa.case(
    (sa.or_(sa.bindparam("now") > _UNTIL, sa.bindparam("furthest") < _UNTIL), sa.bindparam("now")), else_=_UNTIL
)
_MOVE_RATE: Final = (
    sa.update(RATES)
    .where(RATES.c.principal == sa.bindparam("who"), sa.bindparam("latest") >= _BASE)
    .values(until_ms=_BASE + sa.bindparam("step"))
)
_PAGE: Final = 500
"""Rows read at once: a megabyte of certificates, and no transaction stays open between pages."""


class SQLBooks:
    """`Books` over a database whose schema is current."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batch = Batch(database, _keep)

    @property
    def database(self) -> Database:
        """The database."""
        return self._database

    def add(self, entry: Entry, *, rate: Rate | None) -> None:
        """See `Books.add`."""
        addition = _Addition(entry, to_row(entry), rate)
        try:
            self._batch.run(addition, order=entry.principal)
        except SubjectTakenError:
            raise
        except TooFastError:
            if entry.request_hash and self.find_request(entry.request_hash) is not None:
                raise RepeatedRequestError("the request was answered before") from None
            raise
        except ConflictError:
            # Somebody else inserted the same rate or subject meanwhile, which a second try finds; or the request came
            # before, or the serial number is taken, which stays so.
            self._again(addition)

    def _again(self, addition: _Addition) -> None:
        request_hash = addition.entry.request_hash
        if request_hash and self.find_request(request_hash) is not None:
            raise RepeatedRequestError("the request was answered before")
        self._database.writing(lambda connection, again: _keep(connection, [addition], again))

    def check(self, principal: str, subject_key: str, *, rate: Rate | None, now: datetime) -> None:
        """See `Books.check`."""
        if rate is not None:
            terms = _terms(rate, now)
            due = sa.select(_BASE.label("due")).where(RATES.c.principal == sa.bindparam("who"))

            def work(connection: Connection) -> tuple[object, object]:
                found = connection.execute(due, {**terms, "who": principal}).scalar()
                return found, connection.execute(_FIND_OWNER, {"key": subject_key}).scalar()

            until, owner = self._database.reading(work)
            if isinstance(until, int) and until > terms["latest"]:
                raise _too_fast(principal, rate, until)
        else:
            known = self.find_owner(subject_key)
            owner = None if known is None else known.principal
        if owner is not None and owner != principal:
            raise SubjectTakenError("the subject belongs to another principal")

    def find_request(self, request_hash: bytes) -> Entry | None:
        """See `Books.find_request`."""
        rows = self._select(sa.select(ISSUED).where(_I.request_hash == request_hash.hex()))
        return from_row(rows[0]) if rows else None

    def find_owner(self, subject_key: str) -> Owner | None:
        """See `Books.find_owner`."""
        rows = self._select(sa.select(SUBJECTS).where(_S.name_key == subject_key))
        return _owner(rows[0]) if rows else None

    def list_owners(self, *, realm: str | None = None) -> Iterator[Owner]:
        """See `Books.list_owners`."""
        after: sa.ColumnElement[bool] = sa.true()
        while True:
            query = sa.select(SUBJECTS).where(after).order_by(_S.subject, _S.name_key).limit(_PAGE)
            rows = self._select(query)
            for row in rows:
                owner = _owner(row)
                if realm is None or owner.principal.endswith(f"@{realm}"):
                    yield owner
            if len(rows) < _PAGE:
                return
            last = rows[-1]
            after = sa.tuple_(_S.subject, _S.name_key) > sa.tuple_(
                sa.literal(last["subject"]), sa.literal(last["name_key"])
            )

    def search(
        self, selection: Selection, *, limit: int | None = None, on_damage: Callable[[StorageError], None] | None = None
    ) -> Iterator[Entry]:
        """See `Books.search`."""
        wanted = list(_conditions(selection))
        after: sa.ColumnElement[bool] = sa.true()
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            rows = self._select(sa.select(ISSUED).where(after, *wanted).order_by(_I.id.desc()).limit(size))
            for row in rows:
                try:
                    found = from_row(row)
                except StorageError as error:
                    if on_damage is None:
                        raise
                    on_damage(error)
                else:
                    yield found
            if len(rows) < size:
                return
            left = None if left is None else left - len(rows)
            after = _I.id < rows[-1]["id"]

    def revoke(
        self, authority: str, serial: int, *, reason: RevocationReason, now: datetime, by: str
    ) -> tuple[Entry, bool]:
        """See `Books.revoke`."""
        which = sa.and_(_I.authority == authority, _I.serial == serial_text(serial))
        change = (
            sa.update(ISSUED)
            .where(which, _I.revoked.is_(None))
            .values(revoked=seconds(now), reason=int(reason), revoked_by=by)
        )

        def work(connection: Connection, again: bool) -> tuple[RowMapping | None, bool]:
            changed = bool(connection.execute(change).rowcount)
            row = connection.execute(sa.select(ISSUED).where(which)).mappings().first()
            ours = again and row is not None and row["revoked"] == seconds(now) and row["revoked_by"] == by
            return row, changed or ours

        row, is_new = self._database.writing(work)
        if row is None:
            raise NotFoundError(f"the books have no certificate {serial:X} of this authority")
        return from_row(row), is_new

    def begin_crl(self, authority: str, *, now: datetime, next_update: datetime) -> tuple[int, Sequence[RevokedEntry]]:
        """See `Books.begin_crl`."""

        def work(connection: Connection, _again: bool) -> tuple[int, Sequence[RowMapping]]:
            here = CRLS.c.authority == authority
            values = {"made": seconds(now), "next_update": seconds(next_update)}
            moved = connection.execute(sa.update(CRLS).where(here).values(number=CRLS.c.number + 1)).rowcount
            if not moved:
                connection.execute(sa.insert(CRLS).values(authority=authority, number=1, **values))
            last = connection.execute(sa.select(CRLS).where(here)).mappings().one()
            since = min(seconds(now), int(last["made"])) if moved else 0
            if moved:
                connection.execute(sa.update(CRLS).where(here).values(**values))
            query = (
                sa.select(_I.id, _I.serial, _I.revoked, _I.reason)
                .where(_I.authority == authority, _I.revoked.is_not(None), _I.not_after >= since)
                .order_by(_I.revoked, _I.id)
            )
            return int(last["number"]), connection.execute(query).mappings().all()

        try:
            number, rows = self._database.writing(work)
        except ConflictError:  # the first list of two who were there at once
            number, rows = self._database.writing(work)
        entries = [
            RevokedEntry(serial_of(row), time_of(row["revoked"]), reason_of(row) or RevocationReason.UNSPECIFIED)
            for row in rows
        ]
        return number, entries

    def prune(self, *, before: datetime) -> int:
        """See `Books.prune`."""

        def work(connection: Connection, _again: bool) -> int:
            connection.execute(sa.delete(RATES).where(RATES.c.until_ms < seconds(before) * 1000))
            made = sa.select(CRLS.c.made).where(CRLS.c.authority == _I.authority).scalar_subquery()
            gone = sa.delete(ISSUED).where(
                _I.not_after < seconds(before), sa.or_(_I.revoked.is_(None), _I.not_after < made)
            )
            return connection.execute(gone).rowcount

        return self._database.writing(work)

    def close(self) -> None:
        """See `Books.close`."""
        self._database.close()

    def _select(self, query: sa.Select[tuple[object, ...]]) -> Sequence[RowMapping]:
        return self._database.reading(lambda connection: connection.execute(query).mappings().all())


def open_sqlite_books(directory: str) -> SQLBooks:
    """Open the SQLite store in a directory, creating or upgrading it.

    Raises:
        StorageError: The directory or file is not safe, cannot be written, or comes from a newer version.
    """
    return SQLBooks(upgraded(open_sqlite(os.path.join(directory, DATABASE_NAME)), _MIGRATIONS))


def open_postgres_books(conninfo: str, *, connections: int = 8, patience_seconds: float = 0.0) -> SQLBooks:
    """Open the books in a PostgreSQL database of their own, making or upgrading its tables.

    Args:
        conninfo: A libpq connection string or URI, without a password.
        connections: How many connections are used at most.
        patience_seconds: How long a failover may take before requests fail.

    Raises:
        ConfigError: The string is not good, or psycopg is not installed.
        StorageError: The database cannot be reached or used, or is not ours.
    """
    from gsi.sql.postgres import open_postgres

    database = open_postgres(conninfo, application="kca", connections=connections, patience_seconds=patience_seconds)
    return SQLBooks(upgraded(database, _MIGRATIONS))


class _Addition(NamedTuple):
    """An entry to be kept."""

    entry: Entry
    row: dict[str, object]
    rate: Rate | None


def _keep(connection: Connection, additions: Sequence[_Addition], again: bool) -> None:
    """Keep entries, or raise and keep none; `again`: some may be there already."""
    if again:
        is_there = [connection.execute(sa.select(_I.id).where(_is(one.entry))).first() for one in additions]
        additions = [one for one, found in zip(additions, is_there, strict=True) if found is None]
    for one in additions:
        if one.rate is not None:
            _count(connection, one.entry, one.rate)
    if additions:
        _own(connection, [one.entry for one in additions])
        connection.execute(_INSERT, [one.row for one in additions])


def _count(connection: Connection, entry: Entry, rate: Rate) -> None:
    """Move the principal's rate on by one certificate, or refuse (the generic cell rate algorithm, ITU-T I.371).

    The row is locked from here to the end of the transaction, so that nodes cannot both take the last one.
    """
    values = _terms(rate, entry.issued)
    if connection.execute(_MOVE_RATE, {**values, "who": entry.principal}).rowcount:
        return
    found = connection.execute(sa.select(_UNTIL).where(RATES.c.principal == entry.principal)).scalar()
    if found is None:
        until = values["now"] + values["step"]
        connection.execute(sa.insert(RATES).values(principal=entry.principal, until_ms=until))
        return
    raise _too_fast(entry.principal, rate, int(found))


def _terms(rate: Rate, now: datetime) -> dict[str, int]:
    """Return what a rate means now, in milliseconds: see `_BASE` and `_MOVE_RATE`."""
    moment = int(now.timestamp() * 1000)
    interval = _interval(rate)
    span = interval * rate.certificates
    return {"now": moment, "furthest": moment + 2 * span, "latest": moment + span - interval, "step": interval}


def _interval(rate: Rate) -> int:
    return max(1, int(rate.per.total_seconds() * 1000) // rate.certificates)


def _too_fast(principal: str, rate: Rate, until: int) -> TooFastError:
    interval = _interval(rate)
    free = datetime.fromtimestamp((until + interval - interval * rate.certificates + 999) // 1000, UTC)
    return TooFastError(
        f"{principal} has had {rate.certificates} certificates within {rate.per}",
        until=free,
        hint=f"the next one at {free:%H:%M:%S} UTC",
    )


def _own(connection: Connection, entries: Sequence[Entry]) -> None:
    """Give each subject to its principal, or refuse when one is another's."""
    keys = list({entry.subject_key for entry in entries})
    owners: dict[str, str] = {row.name_key: row.principal for row in connection.execute(_FIND_OWNERS, {"keys": keys})}
    new: list[dict[str, object]] = []
    for entry in entries:
        key = entry.subject_key
        if key not in owners:
            owners[key] = entry.principal
            since = seconds(entry.issued)
            new.append({"name_key": key, "subject": entry.subject, "principal": entry.principal, "since": since})
        elif owners[key] != entry.principal:
            raise SubjectTakenError(
                f"the subject {entry.subject} belongs to {owners[key]}",
                hint="names are never given to a second principal; give one of the two another rule",
            )
    if new:
        connection.execute(sa.insert(SUBJECTS), new)


def _is(entry: Entry) -> sa.ColumnElement[bool]:
    same = sa.and_(_I.authority == entry.authority, _I.serial == serial_text(entry.serial))
    return sa.and_(same, _I.request_id == entry.request_id)


def _owner(row: RowMapping | Mapping[str, object]) -> Owner:
    return Owner(str(row["subject"]), str(row["principal"]), time_of(row["since"]))


def _conditions(selection: Selection) -> Iterator[sa.ColumnElement[bool]]:
    if selection.serial is not None:
        yield _I.serial == serial_text(selection.serial)
    if selection.principal is not None:
        yield _I.principal == selection.principal
    if selection.realm is not None:
        yield _I.realm == selection.realm
    if selection.subject is not None:
        yield sa.func.lower(_I.subject).contains(selection.subject.lower(), autoescape=True)
    if selection.valid_at is not None:
        moment = seconds(selection.valid_at)
        yield sa.and_(_I.not_before <= moment, _I.not_after >= moment, _I.revoked.is_(None))
    if selection.revoked is not None:
        yield _I.revoked.is_not(None) if selection.revoked else _I.revoked.is_(None)
    if selection.since is not None:
        yield _I.issued >= seconds(selection.since)
    if selection.until is not None:
        yield _I.issued < seconds(selection.until)
