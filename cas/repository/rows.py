"""Rows and values, and the statements that every question needs; decides nothing.

    find_id(connection, Ref(Kind.USER, "alice"))
    rows(connection, "SELECT name FROM entities WHERE id IN :ids", ids=[1, 2])

A list among the parameters is written `IN :name` and may be empty.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from cas.policy.conditions import Terms
from cas.policy.model import Effect, Kind, Ref, Statement
from cas.repository.tables import CODES, KINDS
from gsi.errors import NotFoundError, ParseError, StorageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.engine import Connection, RowMapping

__all__ = [
    "CHUNK",
    "chunks",
    "find_id",
    "get_id",
    "insert_many",
    "place_refs",
    "refs_of",
    "rows",
    "run",
    "scalar",
    "statements_of",
    "terms_of",
    "terms_text",
]

CHUNK: Final = 500
"""Values in one list of a statement; SQLite takes 32,766, older ones 999."""

_SCOPED: Final = frozenset({Kind.OBJECT, Kind.SERVICE_ACTION})
_SCOPE_KINDS: Final = {Kind.OBJECT: Kind.NAMESPACE, Kind.SERVICE_ACTION: Kind.SERVICE_TYPE}


@lru_cache(maxsize=256)
def _text(statement: str, lists: tuple[str, ...]) -> sa.TextClause:
    clause = sa.text(statement)
    return clause.bindparams(*(sa.bindparam(name, expanding=True) for name in lists)) if lists else clause


def run(connection: Connection, statement: str, **values: object) -> sa.CursorResult[Any]:
    """Execute a statement."""
    lists = tuple(name for name, value in values.items() if isinstance(value, list | tuple | set | frozenset))
    given = {name: list(value) if name in lists else value for name, value in values.items()}  # type: ignore[call-overload]  # those are collections
    return connection.execute(_text(statement, lists), given)


def insert_many(connection: Connection, table: sa.Table, values: Sequence[Mapping[str, object]]) -> None:
    """Insert rows that all have the same columns: on PostgreSQL by COPY, which takes a third of the time."""
    if not values:
        return
    if connection.dialect.name != "postgresql":
        connection.execute(sa.insert(table), list(values))
        return
    columns = list(values[0])
    driver = connection.connection.driver_connection
    errors = connection.dialect.loaded_dbapi.Error
    statement = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:  # type: ignore[union-attr]  # psycopg's, in use
            for row in values:
                copy.write_row([row[name] for name in columns])
    except errors as error:  # the driver's own, which SQLAlchemy has not seen
        raise sa.exc.DBAPIError.instance(statement, None, error, errors, dialect=connection.dialect) from error


def rows(connection: Connection, statement: str, **values: object) -> Sequence[Sequence[Any]]:
    """Return the rows of a query."""
    return run(connection, statement, **values).all()


def scalar(connection: Connection, statement: str, **values: object) -> Any:  # noqa: ANN401  as the column
    """Return the first value of the first row, or None."""
    row = run(connection, statement, **values).first()
    return None if row is None else row[0]


def chunks(values: Collection[int] | Sequence[str]) -> list[list[int]] | list[list[str]]:
    """Return the values in lists short enough for one statement."""
    ordered = list(values)
    return [ordered[at : at + CHUNK] for at in range(0, len(ordered), CHUNK)]  # type: ignore[return-value]  # of one type


def find_id(connection: Connection, ref: Ref) -> int | None:
    """Return the number of what has a name, or None."""
    scope = 0
    if ref.kind in _SCOPED:
        found = find_id(connection, Ref(_SCOPE_KINDS[ref.kind], ref.scope))
        if found is None:
            return None
        scope = found
    try:
        ref.name.encode()
    except UnicodeEncodeError:
        return None
    if "\0" in ref.name:
        return None
    number = scalar(
        connection,
        "SELECT id FROM entities WHERE kind = :kind AND scope = :scope AND name = :name",
        kind=CODES[ref.kind],
        scope=scope,
        name=ref.name,
    )
    return None if number is None else int(number)


def get_id(connection: Connection, ref: Ref) -> int:
    """Return the number of what has a name.

    Raises:
        NotFoundError: Nothing has it.
    """
    number = find_id(connection, ref)
    if number is None:
        raise NotFoundError(f"there is no {ref}")
    return number


def refs_of(connection: Connection, numbers: Collection[int]) -> dict[int, Ref]:
    """Return the names of things by their numbers."""
    found: dict[int, Ref] = {}
    scopes: dict[int, str] = {}
    scoped: list[tuple[int, Kind, int, str]] = []
    for part in chunks(numbers):
        for number, code, scope, name in rows(
            connection, "SELECT id, kind, scope, name FROM entities WHERE id IN :ids", ids=part
        ):
            kind = KINDS[int(code)]
            if kind in _SCOPED:
                scoped.append((int(number), kind, int(scope), str(name)))
            else:
                found[int(number)] = Ref(kind, str(name))
    for part in chunks({scope for _, _, scope, _ in scoped}):
        for number, name in rows(connection, "SELECT id, name FROM entities WHERE id IN :ids", ids=part):
            scopes[int(number)] = str(name)
    for number, kind, scope, name in scoped:
        found[number] = Ref(kind, name, scopes[scope])
    return found


def place_refs(connection: Connection, found: Sequence[Sequence[Any]]) -> tuple[Ref, ...]:
    """Return the names of things whose numbers stand first in rows, in the order of the rows."""
    numbers = [int(row[0]) for row in found]
    names = refs_of(connection, numbers)
    return tuple(names[number] for number in numbers)


def terms_text(terms: Terms) -> str:
    """Return the text under which terms are equal."""
    return "/".join("" if value is None else str(value) for value in terms.encode())


def terms_of(row: Mapping[str, object] | RowMapping) -> Terms:
    """Return the terms in a row.

    Raises:
        StorageError: The row is damaged.
    """
    not_before, not_after = (None if row[key] is None else int(str(row[key])) for key in ("not_before", "not_after"))
    try:
        return Terms.decode(not_before, not_after, str(row["proxies"]), int(str(row["strength"])))
    except ParseError as error:
        raise StorageError(f"a stored statement is damaged: {error.message}") from error


def statements_of(connection: Connection, found: Sequence[RowMapping]) -> tuple[Statement, ...]:
    """Return the statements in rows of `statements`.

    Raises:
        StorageError: A row is damaged.
    """
    numbers = {int(row[key]) for row in found for key in ("group_id", "action_id", "object_id")}
    names = refs_of(connection, numbers)
    try:
        return tuple(
            Statement(
                names[row["group_id"]].name,
                Effect.PERMIT if row["effect"] else Effect.DENY,
                names[row["action_id"]],
                names[row["object_id"]],
                terms_of(row),
            )
            for row in found
        )
    except (ParseError, KeyError) as error:
        raise StorageError("a stored statement is damaged") from error
