"""The history of a policy: every change, by whom, when and why; changes nothing else and removes nothing.

    add_entry(connection, entry_id, change, by, revision=7, token=token, purged=())
    read_history(connection, about=Ref(Kind.USER, "alice"), after=0, limit=100)

An entry is found by the things that it is about, also when they are gone or another has their name by now.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cas.policy.changes import about as things_of
from cas.policy.changes import decode_change, decode_statement, encode_change, encode_statement
from cas.repository.base import HistoryEntry
from cas.repository.rows import insert_many, rows, scalar
from cas.repository.tables import HISTORY, HISTORY_OF
from gsi.errors import ParseError, StorageError
from gsi.sql.columns import seconds, time_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.engine import Connection

    from cas.policy.changes import Change
    from cas.policy.model import Ref, Statement
    from cas.repository.base import Author

__all__ = ["add_entries", "has_token", "read_history"]


def add_entries(
    connection: Connection,
    entries: Sequence[tuple[int, Change, Iterable[Statement]]],
    by: Author,
    *,
    revision: int,
    token: str,
) -> None:
    """Write changes into the history.

    Args:
        connection: Within the transaction that makes them.
        entries: For each its number, the change, and the statements that went with it.
        by: Who makes them.
        revision: The policy's revision with them.
        token: Of the transaction.
    """
    if not entries:
        return
    records, things = [], []
    for number, change, purged in entries:
        plain = encode_change(change)
        gone = [encode_statement(one) for one in purged]
        if gone:
            plain["purged"] = gone
        records.append(
            {
                "id": number,
                "revision": revision,
                "time": seconds(by.now),
                "actor": by.name,
                "reason": by.reason,
                "request_id": by.request_id,
                "token": token,
                "change": json.dumps(plain, separators=(",", ":")),
            }
        )
        things += [{"about": _key(ref), "history_id": number} for ref in dict.fromkeys(things_of(change))]
    insert_many(connection, HISTORY, records)
    insert_many(connection, HISTORY_OF, things)


def has_token(connection: Connection, token: str, *, above: int) -> bool:
    """Say whether the transaction of a token has been committed, after a revision."""
    query = "SELECT 1 FROM history WHERE revision > :above AND token = :token"
    return scalar(connection, query, above=above, token=token) is not None


def read_history(connection: Connection, *, about: Ref | None, after: int, limit: int) -> tuple[HistoryEntry, ...]:
    """Return changes in their order, from behind a revision on; whole revisions, so perhaps more than the limit.

    Raises:
        StorageError: One is damaged.
    """
    columns = "h.revision, h.time, h.actor, h.reason, h.request_id, h.change"
    of_one = "" if about is None else " JOIN history_of o ON o.history_id = h.id AND o.about = :about"
    values: dict[str, object] = {} if about is None else {"about": _key(about)}
    beginning = f"FROM history h{of_one} WHERE h.revision > :after"
    query = f"SELECT h.revision {beginning} ORDER BY h.revision, h.id LIMIT :limit"
    page = rows(connection, query, after=after, limit=limit, **values)
    if not page:
        return ()
    query = f"SELECT {columns} {beginning} AND h.revision <= :last ORDER BY h.revision, h.id"
    found = rows(connection, query, after=after, last=page[-1][0], **values)
    return tuple(_read(row) for row in found)


def _read(row: Sequence[Any]) -> HistoryEntry:
    try:
        revision, time, actor, reason, request_id, text = row
        plain = json.loads(text)
        purged = plain.pop("purged", [])
        return HistoryEntry(
            revision=revision,
            time=time_of(time),
            actor=actor,
            reason=reason,
            request_id=request_id,
            change=decode_change(plain),
            purged=tuple(decode_statement(one) for one in purged),
        )
    except (ParseError, ValueError, AttributeError, TypeError) as error:
        raise StorageError("an entry of the history is damaged") from error


def _key(ref: Ref) -> str:
    return f"{ref.kind.value}:{ref.scope}|{ref.name}"
