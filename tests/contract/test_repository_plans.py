"""No request reads more rows than it answers with: every statement, as the databases plan it on a large store."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from gsi.errors import ConflictError, NotFoundError
from gsi.system import clock
from myproxy.repository.base import Selection, StoredCredential
from myproxy.repository.sql import SQLRepository, open_postgres_repository, open_sqlite_repository
from myproxy.repository.sweep import Sweeper
from myproxy.repository.tables import CREDENTIALS, to_row
from tests.harness.postgres import postgres

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ROWS = 20_000
OWNER = "/O=Grid/CN=user7"


def credential(number: int) -> StoredCredential:
    return StoredCredential(
        username=f"user{number}",
        owner=f"/O=Grid/CN=user{number}",
        certificates=(b"0leaf",),
        sealed_key=b"MPSK\x01\x00\x00key",
        not_before=NOW,
        not_after=NOW + timedelta(minutes=number),
        lifetime=timedelta(hours=12),
        created=NOW,
        updated=NOW,
    )


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def repository(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLRepository]:
    """A store of many rows, of which the database has taken stock."""
    if request.param == "sqlite":
        opened = open_sqlite_repository(str(tmp_path_factory.mktemp("plans") / "store"))
        yield fill(opened)
        opened.close()
        return
    with postgres() as server, server.database() as conninfo:
        opened = open_postgres_repository(conninfo)
        yield fill(opened)
        opened.close()


def fill(repository: SQLRepository) -> SQLRepository:
    with repository.database.write() as connection:
        rows = [to_row(credential(number)) | {"version": 1, "id": number + 1} for number in range(ROWS)]
        connection.execute(sa.insert(CREDENTIALS), rows)
    with repository.database.write() as connection:
        connection.execute(sa.text("ANALYZE"))
    return repository


class Nobody:
    def record(self, _record: object) -> None:
        """Nothing is kept."""


def sweep(repository: SQLRepository) -> None:
    Sweeper(
        repository.database, Nobody(), grace=lambda: timedelta(days=1), clock=clock.now, settling=timedelta(0)
    ).sweep()


OPERATIONS: dict[str, Callable[[SQLRepository], object]] = {
    "get": lambda repository: repository.get("user7", None),
    "get nothing": lambda repository: repository.get("nobody", None),
    "list owned": lambda repository: repository.list_owned("user7", OWNER),
    "count owned": lambda repository: repository.count_owned(OWNER, limit=16),
    "list named": lambda repository: repository.list_named("user7", limit=16),
    "put anew": lambda repository: repository.put(credential(ROWS + 5)),
    "put over": lambda repository: repository.put(credential(7)),
    "put over another's": lambda repository: repository.put(
        StoredCredential(**{**as_dict(credential(8)), "owner": "/CN=x"})  # type: ignore[arg-type]  # field values by name
    ),
    "change key": lambda repository: repository.replace_key(repository.get("user9", None), b"new", now=NOW),
    "lock": lambda repository: repository.set_lock("user7", None, "closed", now=NOW),
    "delete": lambda repository: repository.delete("user11", None, owner="/O=Grid/CN=user11"),
    "forms of keys": lambda repository: repository.list_key_forms(),
    "search a user": lambda repository: list(repository.search(Selection(username="user7"))),
    "search an owner": lambda repository: list(repository.search(Selection(owner=OWNER))),
    "sweep": sweep,
}


def as_dict(one: StoredCredential) -> dict[str, object]:
    return {name: getattr(one, name) for name in StoredCredential.__dataclass_fields__}


@contextlib.contextmanager
def watched(engine: sa.Engine) -> Iterator[list[tuple[str, object]]]:
    """Collect the statements about credentials that reach the database, by whatever way."""
    seen: list[tuple[str, object]] = []

    def remember(statement: str, parameters: object = ()) -> None:
        if "credentials" in statement:
            seen.append((statement, parameters))

    if engine.dialect.name == "sqlite":  # its driver tells of all, with the values in them
        used: list[sqlite3.Connection] = []

        def trace(connection: Any, _entry: object, _proxy: object) -> None:
            connection.set_trace_callback(remember)
            used.append(connection)

        listened: tuple[Any, str, Any] = (engine.pool, "checkout", trace)
    else:
        listened = (
            engine,
            "before_cursor_execute",
            lambda _c, _cursor, statement, parameters, _x, _m: remember(statement, parameters),
        )
        used = []
    event.listen(*listened)
    try:
        yield seen
    finally:
        event.remove(*listened)
        for one in used:
            one.set_trace_callback(None)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_index_serves_every_statement(repository: SQLRepository, name: str) -> None:
    engine = repository.database.engine
    repository.database.close()  # so that all connections are taken anew, and are watched
    with watched(engine) as seen, contextlib.suppress(NotFoundError, ConflictError):
        OPERATIONS[name](repository)
    assert seen
    is_sqlite = engine.dialect.name == "sqlite"
    for statement, parameters in seen:
        prefix = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
        with engine.connect() as connection:
            rows = connection.exec_driver_sql(prefix + statement, parameters).all()  # type: ignore[arg-type]  # as they were
        plan = "\n".join(str(row[-1]) for row in rows)
        scans = re.findall(r"SCAN credentials(?! USING)" if is_sqlite else r"Seq Scan on credentials", plan)
        assert scans == [], f"{statement}\n{plan}"
        assert not re.search(r"TEMP B-TREE|Sort Key", plan) or name.startswith(("search", "list")), (
            f"{statement}\n{plan}"
        )
