"""Checking every stored item: does it say what it should, and can it be used; mends nothing by itself (`upkeep`).

    for row in rows(database):
        for finding in judge(row, sealer, now=now): ...
    for finding in judge_database(database): ...

What a row says about its certificates and its key can be told anew, so it is repaired. What makes a credential useless,
for anybody and for ever, is a reason to put it aside: certificates that cannot be read, a key that is no key or belongs
to others, a server key that is lost. Whether a chain is trusted or has expired is no matter of damage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from gsi import keys
from gsi.certificate import Certificate
from gsi.errors import GridError, ParseError, Reason, StorageError, VerificationError
from gsi.names import oneline
from gsi.pem import split_pem
from gsi.sql.columns import seconds
from myproxy.policy import parse_rule
from myproxy.repository.locks import CRYPT_BYTES, is_crypt
from myproxy.repository.seal import Place
from myproxy.repository.sealforms import GUARDED, LOCKED_BY_OWNER, PREFIX, UNSEALED, describe_form, method_of
from myproxy.repository.tables import CREDENTIALS, METADATA, from_row, to_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from gsi.sql.engine import Database
    from myproxy.repository.base import StoredCredential
    from myproxy.repository.seal import Sealer

__all__ = ["Finding", "Mend", "judge", "judge_database", "rows"]

CLOCK_SLACK: Final = timedelta(days=1)
"""How far a time may lie ahead before it is called wrong: nodes' clocks differ by less."""

_PAGE: Final = 200
_POLICIES: Final = ("retrievers", "renewers", "key_retrievers", "trusted_retrievers")


class Mend(StrEnum):
    """What can be done about a finding."""

    NONE = "none"
    REPAIR = "repair"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        problem: What, for a person.
        mend: What can be done about it.
        table: Where.
        row: The number of the row, or None for the whole table.
        username: The account name, as far as it can be read.
        name: The credential's name, likewise; None for the unnamed one.
        changes: The columns that a repair sets.
    """

    problem: str
    mend: Mend
    table: str = CREDENTIALS.name
    row: int | None = None
    username: str | None = None
    name: str | None = None
    changes: Mapping[str, object] = field(default_factory=dict, repr=False)


def rows(database: Database) -> Iterator[dict[str, object]]:
    """Yield every row of the stored credentials as it stands, by number, in pages.

    Raises:
        StorageError: The database cannot be read.
    """
    last = -1
    while True:
        query = sa.select(CREDENTIALS).where(CREDENTIALS.c.id > last).order_by(CREDENTIALS.c.id).limit(_PAGE)
        page = database.reading(partial(_select, query))
        yield from page
        if len(page) < _PAGE:
            return
        number = page[-1]["id"]
        assert isinstance(number, int)  # the primary key
        last = number


def _select(query: sa.Select[Any], connection: Connection) -> list[dict[str, object]]:
    return [dict(row) for row in connection.execute(query).mappings()]


def judge(row: Mapping[str, object], sealer: Sealer, *, now: datetime) -> Iterator[Finding]:
    """Yield what is wrong with a row; nothing more after a reason to put it aside."""

    def found(problem: str, mend: Mend, changes: Mapping[str, object] = MappingProxyType({})) -> Finding:
        number, username, name = row.get("id"), row.get("username"), row.get("name")
        return Finding(
            problem,
            mend,
            row=number if isinstance(number, int) else None,
            username=username if isinstance(username, str) else None,
            name=(name or None) if isinstance(name, str) else None,
            changes=changes,
        )

    try:
        stored = from_row(row)
        to_row(stored)
        certificates = tuple(map(Certificate.parse, stored.certificates))
        place = Place(stored.username, stored.name, stored.owner, certificates[0].fingerprint)
        _check_key(sealer.check(stored.sealed_key, place), certificates[0])
    except (GridError, ValueError) as error:
        yield found(str(error), Mend.QUARANTINE)
        return
    broken = _find_break(certificates)
    if broken is not None:
        yield found(broken, Mend.QUARANTINE)
        return
    if stored.lifetime < timedelta(0):
        yield found("its longest proxy has a negative lifetime", Mend.QUARANTINE)
        return
    changes = dict(_find_changes(row, stored, certificates, now))
    if changes:
        yield found(f"wrong in: {', '.join(sorted(changes))}", Mend.REPAIR, changes)
    for name in _POLICIES:
        policy = getattr(stored, name)
        try:
            if policy is not None:
                parse_rule(policy)
        except ParseError as error:
            yield found(f"its policy on {name} permits nobody: {error.message}", Mend.NONE)


def judge_database(database: Database) -> Iterator[Finding]:
    """Yield what is wrong with tables and indexes as such.

    Raises:
        StorageError: The database cannot be read.
    """
    with database.read() as connection:
        inspector = sa.inspect(connection)
        for table in METADATA.tables.values():
            present = {index["name"] for index in inspector.get_indexes(table.name)}
            for index in table.indexes:
                if index.name not in present:
                    yield Finding(f"index {index.name} is missing", Mend.REPAIR, table.name)
        if connection.dialect.name == "sqlite":
            for (text,) in connection.execute(sa.text("PRAGMA integrity_check(20)")):
                if text != "ok":
                    mend = Mend.REPAIR if "index" in text else Mend.NONE
                    yield Finding(f"integrity check: {text}", mend)
        else:
            invalid = sa.text(
                "SELECT c.relname, t.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
                " JOIN pg_class t ON t.oid = i.indrelid WHERE NOT i.indisvalid AND pg_table_is_visible(t.oid)"
            )
            for index_name, table_name in connection.execute(invalid):
                yield Finding(f"index {index_name} is not valid", Mend.REPAIR, table_name)


def _check_key(inner: bytes, leaf: Certificate) -> None:
    """Insist that what can be read of a key without its pass phrase is a key, and the certificate's.

    Raises:
        GridError: It is not.
    """
    method, content = method_of(inner), inner[PREFIX.size :]
    if method not in {UNSEALED, LOCKED_BY_OWNER, GUARDED}:
        return
    if method == GUARDED:
        if not is_crypt(content[:CRYPT_BYTES]):
            raise StorageError("a stored key is damaged: its pass phrase has no hash")
        content = content[CRYPT_BYTES:]
    try:
        (block,) = split_pem(content, what="stored key")
    except ValueError as error:
        raise StorageError("a stored key is damaged: it is not one PEM block") from error
    if keys.is_encrypted(block) != (method == LOCKED_BY_OWNER):
        raise StorageError("a stored key is damaged: it is locked where it should not be, or the reverse")
    if method != LOCKED_BY_OWNER and not keys.same_key(keys.parse_private_key(block), leaf.spki_der):
        raise StorageError("a stored key is not that of its certificate")


def _find_break(certificates: tuple[Certificate, ...]) -> str | None:
    """Return why a chain is none, None when each certificate is signed by the next as far as they are linked."""
    for below, above in pairwise(certificates):
        if below.issuer_der != above.subject_der:
            return None  # the rest is kept for its owner, and counts for nothing
        try:
            public_key = keys.parse_public_key(above.spki_der)
            keys.verify_signature(public_key, below.signature_algorithm_der, below.signature, below.tbs_der)
        except VerificationError as error:
            if error.reason is Reason.BAD_SIGNATURE:
                return f"the certificate of {oneline(below.subject_der)} is not signed by the one that follows"
        except GridError:
            continue  # too weak to be believed, or of a kind that is not read: no damage
    return None


def _find_changes(
    row: Mapping[str, object], stored: StoredCredential, certificates: tuple[Certificate, ...], now: datetime
) -> Iterator[tuple[str, object]]:
    latest = now + CLOCK_SLACK
    right: dict[str, object] = {
        "not_before": seconds(max(one.not_before for one in certificates)),
        "not_after": seconds(min(one.not_after for one in certificates)),
        "key_form": describe_form(stored.sealed_key),
        "version": max(stored.version, 1),
    }
    created = min(stored.created, now) if stored.created > latest else stored.created
    updated = min(stored.updated, now) if stored.updated > latest else stored.updated
    right["created"] = seconds(min(created, updated))
    right["updated"] = seconds(updated)
    for name, value in right.items():
        if row[name] != value:
            yield name, value
