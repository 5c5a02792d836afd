"""The delegation service's store, on SQLite and PostgreSQL."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gsi.errors import ConflictError
from myproxy.delegation.config import StoreSettings
from myproxy.delegation.store import DelegationStore, Owner, open_store
from tests.harness.ca import write_file
from tests.harness.postgres import Postgres

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALICE = Owner("a" * 16, "/O=Grid/CN=Alice", ("/vo/Role=NULL",))


@pytest.fixture(params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[DelegationStore, DelegationStore]]:
    """Two that share what they keep."""
    write_file(tmp_path / "key", base64.b64encode(bytes(32)), 0o600)
    place, keys = str(tmp_path / "store"), (str(tmp_path / "key"),)
    if request.param == "sqlite":
        settings = StoreSettings(directory=place, keys=keys)
        made = open_store(settings), open_store(settings)
        yield made
    else:
        server = request.getfixturevalue("postgres_server")
        assert isinstance(server, Postgres)
        with server.database() as conninfo:
            settings = StoreSettings(directory=place, keys=keys, database=conninfo)
            made = open_store(settings), open_store(settings)
            yield made
    for store in made:
        store.close()


def test_what_is_put_is_found_until_it_is_removed(stores: tuple[DelegationStore, DelegationStore]) -> None:
    here, there = stores
    assert here.ask(ALICE, b"first", now=NOW, until=NOW + HOUR) == b"first"
    assert there.ask(ALICE, b"second", now=NOW, until=NOW + HOUR) == b"first"
    there.put(ALICE, b"proxy", ends=NOW + 2 * HOUR)
    here.note_fetch(ALICE.id, now=NOW)
    kept = here.find(ALICE.id)
    assert kept is not None
    assert (kept.owner, kept.asked, kept.proxy, kept.ends) == (ALICE, b"first", b"proxy", NOW + 2 * HOUR)
    assert here.ask(ALICE, b"third", now=NOW + HOUR, until=NOW + 2 * HOUR) == b"third"
    stranger = Owner(ALICE.id, "/O=Grid/CN=Bob", ())
    with pytest.raises(ConflictError):
        there.ask(stranger, b"key", now=NOW, until=NOW + HOUR)
    with pytest.raises(ConflictError):
        there.put(stranger, b"proxy", ends=NOW + HOUR)
    assert not there.remove(stranger)
    assert there.remove(ALICE)
    assert here.find(ALICE.id) is None
