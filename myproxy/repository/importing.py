"""Taking over a store of the C server, whole or in parts, once or again and again; not how its files read (`spool`).

    report = import_spool(repository.database, sealer, "/var/lib/myproxy", now=now)
    report = import_at_first_start(repository.database, sealer, storage, now=now, agree=record)

Keys stay under the lock that their owners gave them, which nobody but they can open, until their first logon. The files
are not touched. What was taken over is remembered by file and content, in the same transaction as the credential: so an
import that was interrupted goes on where it stopped, one that is done again brings what has changed in the directory
since, and a credential that its owner has destroyed here does not come back.

A credential that is here already, and did not come from that file or has been changed here since, is left as it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gsi import keys
from gsi.errors import ConflictError, ParseError, StorageError
from gsi.secret import Passphrase
from gsi.sql.columns import seconds
from myproxy.policy import parse_rule
from myproxy.repository.base import StoredCredential
from myproxy.repository.seal import Place
from myproxy.repository.spool import SpoolEntry, SpoolFault, has_spool, read_spool
from myproxy.repository.sql import insert_or_replace
from myproxy.repository.tables import CREDENTIALS, IMPORTS, to_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from gsi.sql.engine import Database
    from myproxy.repository.seal import Sealer

__all__ = ["ImportReport", "find_warnings", "import_at_first_start", "import_spool"]

BATCH: Final = 100
"""Credentials in one transaction: a second or less of other writers' waiting."""

_FIRST_START: Final = ("", "")
"""Source and file of the record that says that the first start is over."""

_I: Final = IMPORTS.c
_C: Final = CREDENTIALS.c


@dataclass(slots=True)
class ImportReport:
    """What became of the credentials in a directory.

    Attributes:
        imported: How many were taken over.
        known: How many had been before, and have not changed in the directory since.
        faults: Which were not, and why.
        warnings: What of those that were will not work as it is.
    """

    imported: int = 0
    known: int = 0
    faults: list[SpoolFault] = field(default_factory=list)
    warnings: list[SpoolFault] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """How many were looked at."""
        return self.imported + self.known + len(self.faults)


def import_spool(
    database: Database,
    sealer: Sealer,
    directory: str,
    *,
    now: datetime,
    progress: Callable[[ImportReport], None] = lambda _report: None,
) -> ImportReport:
    """Take over what is new in a directory, in transactions of `BATCH` credentials.

    Args:
        database: The store's.
        sealer: Puts the server's key around what is taken over.
        directory: The C store.
        now: The time.
        progress: Called after each transaction.

    Raises:
        StorageError: Directory or database cannot be used; what was reported is done.
    """
    report, source = ImportReport(), _source(directory)
    entries = read_spool(directory)
    while batch := list(islice(entries, BATCH)):

        def work(connection: Connection, _again: bool, batch: list[SpoolEntry | SpoolFault] = batch) -> ImportReport:
            return _import_all(connection, sealer, source, batch, now)

        _add(report, database.writing(work))
        progress(report)
    return report


def import_at_first_start(
    database: Database,
    sealer: Sealer,
    directory: str,
    *,
    now: datetime,
    agree: Callable[[ImportReport], None],
    first: Callable[[], bool] = lambda: True,
) -> ImportReport | None:
    """Take over all of a directory in one transaction, if this store has never been used; None where it has.

    Args:
        database: The store's.
        sealer: Puts the server's key around what is taken over.
        directory: The C store.
        now: The time.
        agree: Called with the outcome before it counts; what it raises undoes everything.
        first: Asked where the store was never used whether the directory was not either; what it raises ends all.

    Raises:
        StorageError: Directory or database cannot be used; nothing was taken over.
    """
    started = sa.select(_I.file).where(_I.source == _FIRST_START[0], _I.file == _FIRST_START[1])
    if database.reading(lambda connection: connection.execute(started).first()) is not None:
        return None
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("LOCK TABLE imports IN EXCLUSIVE MODE"))  # nodes that start at once
        if connection.execute(started).first() is not None:
            return None
        report: ImportReport | None = None
        is_first = first()
        is_fresh = connection.execute(sa.select(_C.id).limit(1)).first() is None
        if is_first and is_fresh and has_spool(directory):
            report = _import_all(connection, sealer, _source(directory), read_spool(directory), now)
            agree(report)
        _remember(connection, _FIRST_START, "", ("", ""), now)
        return report


def _import_all(
    connection: Connection, sealer: Sealer, source: str, found: Iterable[SpoolEntry | SpoolFault], now: datetime
) -> ImportReport:
    report = ImportReport()
    for one in found:
        if isinstance(one, SpoolFault):
            report.faults.append(one)
            continue
        try:
            is_new = _import_one(connection, sealer, source, one, now)
        except (ConflictError, StorageError) as error:
            report.faults.append(SpoolFault(one.stem, error.message))
            continue
        if is_new:
            report.imported += 1
            report.warnings.extend(find_warnings(one))
        else:
            report.known += 1
    return report


def _import_one(connection: Connection, sealer: Sealer, source: str, entry: SpoolEntry, now: datetime) -> bool:
    """Take over one credential; False when it has been before.

    Raises:
        ConflictError: Another one is here.
        StorageError: It cannot be kept.
    """
    file = entry.stem
    query = sa.select(_I.digest).where(_I.source == source, _I.file == file)
    before = connection.execute(query).scalar()
    if before == entry.digest:
        return False
    row = to_row(_credential(entry, sealer, now)) | {"lock_message": entry.lock_message}
    at = sa.and_(_C.username == row["username"], _C.name == row["name"])
    here = connection.execute(sa.select(_C.id, _C.owner, _C.version).where(at)).first()
    if here is not None:
        if before is None or here.version != 1:
            raise ConflictError(
                "a credential of this user and name is here already"
                + ("" if before is None else ", and was changed after it had been imported")
            )
        connection.execute(sa.delete(CREDENTIALS).where(_C.id == here.id))
    insert_or_replace(connection, row)
    _remember(connection, (source, file), entry.digest, (entry.username, entry.name or ""), now)
    return True


def _credential(entry: SpoolEntry, sealer: Sealer, now: datetime) -> StoredCredential:
    leaf = entry.certificates[0]
    place = Place(entry.username, entry.name, entry.owner, leaf.fingerprint)
    if keys.is_encrypted(entry.key):
        sealed = sealer.keep(entry.key.text, place)
    else:
        key = keys.encode_private_key(keys.parse_private_key(entry.key))
        sealed = (
            sealer.seal(key, Passphrase(b""), place) if entry.crypt is None else sealer.guard(key, entry.crypt, place)
        )
    return StoredCredential(
        username=entry.username,
        name=entry.name,
        owner=entry.owner,
        description=entry.description,
        retrievers=entry.retrievers,
        renewers=entry.renewers,
        key_retrievers=entry.key_retrievers,
        trusted_retrievers=entry.trusted_retrievers,
        lifetime=entry.lifetime,
        not_before=max(one.not_before for one in entry.certificates),
        not_after=min(one.not_after for one in entry.certificates),
        certificates=tuple(one.der for one in entry.certificates),
        sealed_key=sealed,
        lock_message=entry.lock_message,
        created=min(entry.stored, now),
        updated=min(entry.stored, now),
    )


def _remember(
    connection: Connection, file: tuple[str, str], digest: str, address: tuple[str, str], now: datetime
) -> None:
    at = sa.and_(_I.source == file[0], _I.file == file[1])
    values = {"digest": digest, "username": address[0], "name": address[1], "imported": seconds(now)}
    if not connection.execute(sa.update(IMPORTS).where(at).values(**values)).rowcount:
        connection.execute(sa.insert(IMPORTS).values(source=file[0], file=file[1], **values))


def find_warnings(entry: SpoolEntry) -> Iterator[SpoolFault]:
    """Yield what of a credential is not as it was: texts that had to be guessed, policies that permit nobody here."""
    for name in entry.latin1:
        yield SpoolFault(entry.stem, f"its {name} is not UTF-8 and was read as Latin-1")
    for name in ("retrievers", "renewers", "key_retrievers", "trusted_retrievers"):
        policy = getattr(entry, name)
        if policy is None:
            continue
        try:
            parse_rule(policy)
        except ParseError as error:
            yield SpoolFault(entry.stem, f"its policy on {name} permits nobody: {error.message}")


def _add(report: ImportReport, more: ImportReport) -> None:
    report.imported += more.imported
    report.known += more.known
    report.faults += more.faults
    report.warnings += more.warnings


def _source(directory: str) -> str:
    """Return the name of a directory among those of all nodes."""
    path = os.fsencode(os.path.realpath(directory)).decode("utf-8", "backslashreplace")
    return f"{os.uname().nodename}:{path}"
