"""The tables of the books, and the way between a row and an `Entry`; no statements (`sql`).

    row = to_row(entry)
    entry = from_row(row)                           # StorageError: the row is damaged

The schema is made by the migrations; one test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gsi.ca.crl import RevocationReason
from gsi.errors import StorageError
from gsi.sql.columns import NUMBER, TEXT, binary_of, integer_of, seconds, text_of, time_of
from kca.repository.base import MAX_TEXT_BYTES, Entry, Revocation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import RowMapping

__all__ = ["CRLS", "ISSUED", "METADATA", "RATES", "SUBJECTS", "from_row", "serial_text", "to_row"]

METADATA: Final = sa.MetaData()

ISSUED: Final = sa.Table(
    "issued",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("authority", TEXT, nullable=False),
    sa.Column("serial", TEXT, nullable=False),
    sa.Column("principal", TEXT, nullable=False),
    sa.Column("realm", TEXT, nullable=False),
    sa.Column("subject", TEXT, nullable=False),
    sa.Column("not_before", sa.BigInteger(), nullable=False),
    sa.Column("not_after", sa.BigInteger(), nullable=False),
    sa.Column("issued", sa.BigInteger(), nullable=False),
    sa.Column("authenticated", sa.BigInteger(), nullable=False),
    sa.Column("request_id", TEXT, nullable=False),
    sa.Column("request_hash", TEXT),
    sa.Column("decision", TEXT, nullable=False),
    sa.Column("rule", TEXT, nullable=False),
    sa.Column("peer", TEXT, nullable=False),
    sa.Column("transport", TEXT, nullable=False),
    sa.Column("certificate", sa.LargeBinary(), nullable=False),
    sa.Column("revoked", sa.BigInteger()),
    sa.Column("reason", sa.Integer()),
    sa.Column("revoked_by", TEXT),
    sa.UniqueConstraint("authority", "serial", name="issued_authority_serial"),
    sa.UniqueConstraint("request_hash", name="issued_request_hash"),
    sa.Index("issued_principal", "principal", "id"),
    sa.Index("issued_not_after", "not_after"),
    sa.Index("issued_revoked", "authority", "revoked"),
)
"""The certificates. Serial numbers are 40 hexadecimal digits, since no database counts so far."""

SUBJECTS: Final = sa.Table(
    "subjects",
    METADATA,
    sa.Column("name_key", TEXT, primary_key=True),
    sa.Column("subject", TEXT, nullable=False),
    sa.Column("principal", TEXT, nullable=False),
    sa.Column("since", sa.BigInteger(), nullable=False),
    sa.Index("subjects_principal", "principal"),
)
"""Whose each subject is."""

RATES: Final = sa.Table(
    "rates",
    METADATA,
    sa.Column("principal", TEXT, primary_key=True),
    sa.Column("until_ms", sa.BigInteger(), nullable=False),
    sa.Index("rates_until_ms", "until_ms"),
)
"""How far the certificates of a principal, evenly spread, reach into the future."""

CRLS: Final = sa.Table(
    "crls",
    METADATA,
    sa.Column("authority", TEXT, primary_key=True),
    sa.Column("number", sa.BigInteger(), nullable=False),
    sa.Column("made", sa.BigInteger(), nullable=False),
    sa.Column("next_update", sa.BigInteger(), nullable=False),
)
"""The last revocation list of each authority."""

_TEXTS: Final = ("authority", "principal", "realm", "subject", "request_id", "decision", "rule", "peer", "transport")


def to_row(entry: Entry) -> dict[str, object]:
    """Return the columns of a new entry, without those that the database counts.

    Raises:
        StorageError: It holds what cannot be kept.
    """
    row: dict[str, object] = {}
    for name in _TEXTS:
        text: str = getattr(entry, name)
        _check(text, name.replace("_", " "))
        row[name] = text
    return row | {
        "serial": serial_text(entry.serial),
        "not_before": seconds(entry.not_before),
        "not_after": seconds(entry.not_after),
        "issued": seconds(entry.issued),
        "authenticated": seconds(entry.authenticated),
        "request_hash": entry.request_hash.hex() or None,
        "certificate": entry.certificate,
    }


def from_row(row: RowMapping | Mapping[str, object], subject_key: str = "") -> Entry:
    """Return the entry in a row.

    Raises:
        StorageError: The row is damaged.
    """
    try:
        return Entry(
            **{name: text_of(row[name]) for name in _TEXTS},
            serial=serial_of(row),
            subject_key=subject_key,
            not_before=time_of(row["not_before"]),
            not_after=time_of(row["not_after"]),
            issued=time_of(row["issued"]),
            authenticated=time_of(row["authenticated"]),
            request_hash=b"" if row["request_hash"] is None else bytes.fromhex(text_of(row["request_hash"])),
            certificate=binary_of(row["certificate"]),
            revocation=_revocation(row),
            id=integer_of(row["id"]),
        )
    except (StorageError, TypeError, AttributeError, ValueError, OverflowError) as error:  # SQLite: anything
        raise _damaged(row) from error


def _damaged(row: RowMapping | Mapping[str, object]) -> StorageError:
    return StorageError(f"entry {row['id']} of the books is damaged: a column holds what it cannot hold")


def serial_of(row: RowMapping | Mapping[str, object]) -> int:
    """Return the serial number in a row.

    Raises:
        StorageError: There is none.
    """
    try:
        return int(text_of(row["serial"]), 16)
    except (TypeError, ValueError) as error:
        raise _damaged(row) from error


def reason_of(row: RowMapping | Mapping[str, object]) -> RevocationReason | None:
    """Return why the certificate of a row was revoked; None where what stands there is no reason."""
    try:
        return RevocationReason(integer_of(row["reason"]))
    except (TypeError, ValueError):
        return None


def _revocation(row: RowMapping | Mapping[str, object]) -> Revocation | None:
    if row["revoked"] is None:
        return None
    reason = reason_of(row)
    if reason is None:
        raise ValueError("no reason")
    return Revocation(time=time_of(row["revoked"]), reason=reason, by=text_of(row["revoked_by"]))


def _check(text: str, what: str) -> None:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise StorageError(f"the {what} is not valid UTF-8 text") from error
    if size > MAX_TEXT_BYTES or "\0" in text:
        raise StorageError(f"the {what} is too long or holds a NUL")


def serial_text(serial: int) -> str:
    """Return a serial number as it stands in a row."""
    return f"{serial:040x}"
