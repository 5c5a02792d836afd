"""The PostgreSQL server that the contract suites share within one worker; each test has a database of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.postgres import Postgres, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A server; who stops it or changes its settings takes one of their own."""
    with postgres() as server:
        yield server
