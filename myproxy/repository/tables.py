"""The tables of the store, and the way between a row and a `StoredCredential`; no statements (`sql`, `upkeep`).

    row = to_row(credential)
    credential = from_row(row)                      # StorageError: the row is damaged

Times are Unix seconds in UTC, the same number in every database. The unnamed credential has the empty name. The schema
is made by the migrations; one test compares the two.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gsi.errors import StorageError
from gsi.sql.columns import NUMBER, TEXT, binary_of, integer_of, seconds, text_of, time_of
from myproxy.repository.base import (
    MAX_OWNER_BYTES,
    StoredCredential,
    check_address,
    check_text,
)
from myproxy.repository.sealforms import describe_form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import RowMapping

__all__ = [
    "CREDENTIALS",
    "EVENTS",
    "IMPORTS",
    "LEASES",
    "METADATA",
    "QUARANTINE",
    "from_row",
    "pack",
    "to_row",
    "unpack",
]

METADATA: Final = sa.MetaData()

CREDENTIALS: Final = sa.Table(
    "credentials",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("username", TEXT, nullable=False),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("owner", TEXT, nullable=False),
    sa.Column("description", TEXT),
    sa.Column("retrievers", TEXT),
    sa.Column("renewers", TEXT),
    sa.Column("key_retrievers", TEXT),
    sa.Column("trusted_retrievers", TEXT),
    sa.Column("lifetime_seconds", sa.BigInteger(), nullable=False),
    sa.Column("not_before", sa.BigInteger(), nullable=False),
    sa.Column("not_after", sa.BigInteger(), nullable=False),
    sa.Column("certificates", sa.LargeBinary(), nullable=False),
    sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
    sa.Column("lock_message", TEXT),
    sa.Column("created", sa.BigInteger(), nullable=False),
    sa.Column("updated", sa.BigInteger(), nullable=False),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("key_form", TEXT, nullable=False, server_default=""),
    sa.UniqueConstraint("username", "name", name="credentials_username_name"),
    sa.Index("credentials_owner", "owner"),
    sa.Index("credentials_not_after", "not_after"),
    sa.Index("credentials_key_form", "key_form"),
)
"""The stored credentials. `key_form` is what `seal.describe_form` says of the sealed key: a copy, for its index."""

QUARANTINE: Final = sa.Table(
    "quarantine",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("moved", sa.BigInteger(), nullable=False),
    sa.Column("reason", TEXT, nullable=False),
    sa.Column("origin", TEXT, nullable=False),
    sa.Column("content", TEXT, nullable=False),
)
"""Rows that could not be used, as JSON text, with the name of the table that they come from."""

LEASES: Final = sa.Table(
    "leases",
    METADATA,
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("holder", TEXT, nullable=False),
    sa.Column("until", sa.BigInteger(), nullable=False),
)
"""Work that one node at a time does."""

IMPORTS: Final = sa.Table(
    "imports",
    METADATA,
    sa.Column("source", TEXT, primary_key=True),
    sa.Column("file", TEXT, primary_key=True),
    sa.Column("digest", TEXT, nullable=False),
    sa.Column("username", TEXT, nullable=False),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("imported", sa.BigInteger(), nullable=False),
    sa.Index("imports_username_name", "username", "name"),
)
"""What was taken over from directories of the C server; the empty file name stands for the first start."""

EVENTS: Final = sa.Table(
    "events",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("username", TEXT, nullable=False),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("owner", TEXT, nullable=False),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("permitted", sa.BigInteger(), nullable=False),
    sa.Column("address", TEXT, nullable=False),
    sa.Column("count", sa.BigInteger(), nullable=False),
    sa.Column("first", sa.BigInteger(), nullable=False),
    sa.Column("at", sa.BigInteger(), nullable=False),
    sa.Column("source", sa.String(64), unique=True),
    sa.Index("events_username_name", "username", "name"),
    sa.Index("events_at", "at"),
)
"""What happened to credentials, for their owners (`events`). `source` is set where refused tries are counted together:
a hash of what they have in common."""

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


def to_row(credential: StoredCredential) -> dict[str, object]:
    """Return the columns of a credential, without those that the database counts.

    Raises:
        StorageError: It holds what cannot be kept.
    """
    check_address(credential.username, credential.name)
    row: dict[str, object] = {text: getattr(credential, text) for text in _TEXTS}
    for text in _TEXTS:
        check_text(getattr(credential, text), text.replace("_", " "), MAX_OWNER_BYTES if text == "owner" else None)
    return row | {
        "name": credential.name or "",
        "lifetime_seconds": int(credential.lifetime.total_seconds()),
        "not_before": seconds(credential.not_before),
        "not_after": seconds(credential.not_after),
        "certificates": pack(credential.certificates),
        "sealed_key": credential.sealed_key,
        "created": seconds(credential.created),
        "updated": seconds(credential.updated),
        "key_form": describe_form(credential.sealed_key),
    }


def from_row(row: RowMapping | Mapping[str, object]) -> StoredCredential:
    """Return the credential in a row.

    Raises:
        StorageError: The row is damaged.
    """
    try:
        return _from_row(row)
    except (TypeError, AttributeError, ValueError, OverflowError) as error:  # what SQLite lets stand in any column
        raise StorageError("a stored credential is damaged: a column holds what it cannot hold") from error


def _from_row(row: RowMapping | Mapping[str, object]) -> StoredCredential:
    return StoredCredential(
        username=text_of(row["username"]),
        name=text_of(row["name"]) or None,
        owner=text_of(row["owner"]),
        description=_optional(row["description"]),
        retrievers=_optional(row["retrievers"]),
        renewers=_optional(row["renewers"]),
        key_retrievers=_optional(row["key_retrievers"]),
        trusted_retrievers=_optional(row["trusted_retrievers"]),
        lifetime=timedelta(seconds=integer_of(row["lifetime_seconds"])),
        not_before=time_of(row["not_before"]),
        not_after=time_of(row["not_after"]),
        certificates=unpack(binary_of(row["certificates"])),
        sealed_key=binary_of(row["sealed_key"]),
        lock_message=_optional(row["lock_message"]),
        created=time_of(row["created"]),
        updated=time_of(row["updated"]),
        version=integer_of(row["version"]),
    )


def _optional(value: object) -> str | None:
    return None if value is None else text_of(value)


def pack(certificates: tuple[bytes, ...]) -> bytes:
    """Join DER certificates, each after its length in four bytes, big-endian."""
    return b"".join(len(der).to_bytes(4, "big") + der for der in certificates)


def unpack(packed: bytes) -> tuple[bytes, ...]:
    """Undo `pack`.

    Raises:
        StorageError: Something is missing, or there is nothing at all.
    """
    certificates = []
    at = 0
    while at < len(packed):
        size = int.from_bytes(packed[at : at + 4], "big")
        der = bytes(packed[at + 4 : at + 4 + size])
        if len(der) != size or not size:
            raise StorageError("stored certificates are cut short; the store is damaged")
        certificates.append(der)
        at += 4 + size
    if not certificates:
        raise StorageError("a stored credential has no certificate; the store is damaged")
    return tuple(certificates)
