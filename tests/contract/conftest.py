"""Stores of every kind for the contract suites, and the PostgreSQL server that they share within one worker."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from myproxy.repository.sql import SQLRepository, open_postgres_repository, open_sqlite_repository
from tests.harness.postgres import Postgres, postgres
from tests.harness.stores import NewStore, S, lay_store


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A server; who stops it or changes its settings takes one of their own."""
    with postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewStore]:
    """Opens an empty store of each kind; on PostgreSQL in a database of its own. Closed after the test."""
    with contextlib.ExitStack() as stack:

        def new(open_sqlite: Callable[[str], S], open_postgres: Callable[[str], S]) -> S:
            if request.param == "sqlite":
                lay_store(open_sqlite, tmp_path / "store")
                store = open_sqlite(str(tmp_path / "store"))
            else:
                server = request.getfixturevalue("postgres_server")
                assert isinstance(server, Postgres)
                store = open_postgres(stack.enter_context(server.database()))
            stack.callback(store.close)
            return store

        yield new


@pytest.fixture
def repository(new_store: NewStore) -> SQLRepository:
    """The MyProxy server's store."""
    return new_store(open_sqlite_repository, open_postgres_repository)
