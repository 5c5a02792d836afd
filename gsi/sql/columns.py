"""Columns that mean the same in SQLite and PostgreSQL, and the way between their values and ours; no tables.

    sa.Column("id", NUMBER, primary_key=True), sa.Column("name", TEXT), sa.Column("until", sa.BigInteger())
    row["until"] = seconds(moment)
    moment = time_of(row["until"])                  # StorageError: there is no such moment

SQLite lets anything stand in any column. What is of another type than the column's is a TypeError here, which whoever
reads a row makes an error about the row.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from gsi.errors import StorageError

__all__ = ["NUMBER", "TEXT", "binary_of", "integer_of", "seconds", "text_of", "time_of"]

NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite counts only such a column by itself, and makes only such a one the row's own number."""

TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte in both databases, whatever the locale; PostgreSQL's indexes need that to find prefixes."""


def text_of(value: object) -> str:
    """Return the text in a column.

    Raises:
        TypeError: It holds something else.
    """
    if not isinstance(value, str):
        raise TypeError
    return value


def integer_of(value: object) -> int:
    """Return the number in a column.

    Raises:
        TypeError: It holds something else.
    """
    if not isinstance(value, int):
        raise TypeError
    return value


def binary_of(value: object) -> bytes:
    """Return the bytes in a column.

    Raises:
        TypeError: It holds something else.
    """
    if not isinstance(value, bytes | memoryview):
        raise TypeError
    return bytes(value)


def seconds(moment: datetime) -> int:
    """Return a moment as it stands in a row: Unix seconds."""
    return int(moment.timestamp())


def time_of(value: object) -> datetime:
    """Return the moment in a column (aware UTC).

    Raises:
        StorageError: There is no such moment.
    """
    try:
        return datetime.fromtimestamp(integer_of(value), UTC)
    except (OverflowError, OSError, ValueError, TypeError) as error:
        raise StorageError("a stored time is out of range; the database is damaged") from error
