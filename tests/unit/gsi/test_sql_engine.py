"""Databases: durable and private settings, our errors only, schema versions."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gsi.errors import ConflictError, StorageError
from gsi.sql.engine import Database, open_sqlite, prepare_private_directory
from gsi.sql.migrate import upgrade

MIGRATIONS = str(Path(__file__).parents[3] / "myproxy" / "repository" / "migrations")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_sqlite(str(tmp_path / "store" / "test.db")) as opened:
        yield opened


def test_files_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with open_sqlite(str(tmp_path / "store" / "test.db")) as database, database.write() as connection:
            connection.execute(sa.text("CREATE TABLE t (a INTEGER PRIMARY KEY)"))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "store").iterdir()}
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert set(modes) == {"test.db", "test.db-wal", "test.db-shm"}
    assert set(modes.values()) == {0o600}


def test_settings(database: Database) -> None:
    with database.read() as connection:
        for pragma, expected in (
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("busy_timeout", 10000),
        ):
            assert connection.execute(sa.text(f"PRAGMA {pragma}")).scalar() == expected


def test_a_block_commits_or_rolls_back(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE t (a INTEGER PRIMARY KEY)"))
        connection.execute(sa.text("INSERT INTO t VALUES (1)"))
    with pytest.raises(KeyError), database.write() as connection:  # noqa: PT012  # the block is what is tested
        connection.execute(sa.text("INSERT INTO t VALUES (2)"))
        raise KeyError
    with sqlite3.connect(database.place) as raw:
        assert raw.execute("SELECT a FROM t").fetchall() == [(1,)]
    raw.close()


def test_errors_are_ours_and_hold_no_values(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE t (a TEXT PRIMARY KEY)"))
    with pytest.raises(StorageError) as caught, database.write() as connection:
        connection.execute(sa.text("INSERT INTO nowhere VALUES (:a)"), {"a": "hunter2"})
    assert "hunter2" not in str(caught.value)
    for _ in range(2):
        try:
            with database.write() as connection:
                connection.execute(sa.text("INSERT INTO t VALUES ('x')"))
        except ConflictError as error:
            conflict = error
    assert "contradicts" in str(conflict)


def test_a_database_in_use_is_waited_for_and_then_an_error(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gsi.sql.engine.BUSY_TIMEOUT_SECONDS", 0)
    with open_sqlite(database.place) as impatient:
        with database.write(), pytest.raises(StorageError, match="locked"), impatient.write():
            pass
        with database.write(), impatient.read():
            pass  # readers do not wait for writers


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "store"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(StorageError, match="writable by others"):
        prepare_private_directory(str(directory))


def test_unsafe_files_are_refused(tmp_path: Path) -> None:
    readable = tmp_path / "readable.db"
    readable.touch()
    readable.chmod(0o640)
    (tmp_path / "link.db").symlink_to(readable)
    os.mkfifo(tmp_path / "fifo.db", 0o600)
    (tmp_path / "directory.db").mkdir()
    for name in ("readable.db", "link.db", "fifo.db", "directory.db"):
        with pytest.raises(StorageError):
            open_sqlite(str(tmp_path / name))


def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "garbage.db"
    path.write_bytes(b"garbage" * 1000)
    path.chmod(0o600)
    with pytest.raises(StorageError, match="not a database"), open_sqlite(str(path)) as database, database.read():
        pass


def test_upgrade_twice_and_from_the_future(database: Database) -> None:
    upgrade(database, MIGRATIONS)
    upgrade(database, MIGRATIONS)
    with database.write() as connection:
        version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        assert version == max(path.name[1:5] for path in Path(MIGRATIONS, "versions").glob("v*.py"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match="schema version 9999"):
        upgrade(database, MIGRATIONS)


def test_the_migrations_make_the_tables_that_the_code_expects(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from myproxy.repository import codes, guesses, tables

    upgrade(database, MIGRATIONS)
    with database.read() as connection:
        expected = [tables.METADATA, codes._TABLE.metadata, guesses._TABLE.metadata]
        found = compare_metadata(MigrationContext.configure(connection), expected)  # type: ignore[arg-type]  # a list will do
    assert [change for change in found if change[0] not in {"remove_index", "remove_constraint"}] == []
