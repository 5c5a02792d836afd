"""Databases: durable and private settings, our errors only, schema versions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gsi.errors import ConflictError, StorageError
from gsi.sql.engine import Database, open_sqlite, prepare_private_directory
from gsi.sql.migrate import upgrade
from gsi.sql.sqlite import FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS, Run

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


def test_rows_without_a_transaction(database: Database) -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("a", sa.Text()), sa.Column("b", sa.LargeBinary()))
    query = sa.select(table).where(table.c.b == sa.bindparam("second"), table.c.a == sa.bindparam("first"))
    with pytest.raises(StorageError, match="no such table") as caught:
        database.find(query, {"first": "hunter2", "second": b"x"})
    assert "hunter2" not in str(caught.value)
    table.metadata.create_all(database.engine)
    for _ in range(2):
        assert database.find(query, {"first": "x", "second": b"y"}) == []
        database.writing(lambda connection, _again: connection.execute(sa.insert(table).values(a="x", b=b"y")))
        assert database.find(query, {"first": "x", "second": b"y"}) == [{"a": "x", "b": b"y"}]
        database.writing(lambda connection, _again: connection.execute(sa.delete(table)))


def test_a_transaction_of_plain_statements(filled: Database) -> None:
    table = sa.table("t", sa.column("a"))
    put, get = sa.insert(table).values(a=sa.bindparam("value")), sa.select(table)

    def twice(run: Run) -> int:
        before = run(get, {})
        for value in ("y", "z"):
            assert run(put, {"value": value}) == []
        return len(run(get, {})) - len(before)

    def fail(run: Run) -> None:
        twice(run)
        raise ValueError

    assert [filled.changing(twice, durable=durable) for durable in (True, False)] == [2, 2]
    with pytest.raises(ValueError):
        filled.changing(fail)
    assert len(filled.find(get, {})) == 4
    with filled.write() as connection:
        connection.execute(sa.text("DELETE FROM t"))
        connection.execute(sa.text("CREATE UNIQUE INDEX one_each ON t (a)"))
    filled.changing(twice)
    with pytest.raises(ConflictError):
        filled.changing(twice)
    with pytest.raises(StorageError, match="no column") as caught:
        filled.changing(
            lambda run: run(sa.insert(sa.table("t", sa.column("b"))).values(b=sa.bindparam("c")), {"c": "hunter2"})
        )
    assert "hunter2" not in str(caught.value)
    assert filled.find(get, {}) == [{"a": "y"}, {"a": "z"}]


def test_a_database_in_use_is_waited_for_and_then_an_error(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gsi.sql.sqlite.BUSY_TIMEOUT_SECONDS", 0)
    with open_sqlite(database.place) as impatient:
        with database.write(), pytest.raises(StorageError, match="locked"), impatient.write():
            pass
        with database.write(), impatient.read():
            pass  # readers do not wait for writers
        with database.write(), pytest.raises(StorageError, match="locked"):
            impatient.changing(lambda _run: None)
        with database.write(), pytest.raises(StorageError, match="another thread"):
            database.writing(lambda _connection, _again: None)
        with database.write(), pytest.raises(StorageError, match="another thread"):
            database.changing(lambda _run: None)


def test_writers_of_other_processes_are_noticed_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself pauses longer and longer; what is done here is looking again soon, as often as it takes."""
    pauses: list[float] = []
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE t (a INTEGER PRIMARY KEY)"))
    with open_sqlite(database.place) as other, contextlib.ExitStack() as stack:
        connection = stack.enter_context(other.write())
        connection.execute(sa.text("INSERT INTO t VALUES (1)"))

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 40:
                stack.close()

        monkeypatch.setattr("gsi.sql.sqlite.time.sleep", pause)
        with database.write() as connection:
            connection.execute(sa.text("INSERT INTO t VALUES (2)"))
            assert connection.execute(sa.text("PRAGMA busy_timeout")).scalar() == 10000
    assert len(pauses) == 40
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS)


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


@pytest.mark.parametrize(("mode", "is_safe"), [(0o755, True), (0o1777, True), (0o775, False), (0o757, False)])
def test_directories_above_that_others_can_write_are_refused(tmp_path: Path, mode: int, is_safe: bool) -> None:
    """Whoever can write a directory above can put another in the place of the store."""
    above = tmp_path / "above"
    (above / "between" / "store").mkdir(mode=0o700, parents=True)
    above.chmod(mode)
    (tmp_path / "link").symlink_to(above / "between")
    for path in (above / "between" / "store", tmp_path / "link" / "store"):
        if is_safe:
            prepare_private_directory(str(path))
            continue
        with pytest.raises(StorageError, match="could be replaced by others") as caught:
            prepare_private_directory(str(path))
        assert caught.value.hint == f"chmod go-w {above}"


# A server that goes away -------------------------------------------------------------------------------------------


class Leaving:
    """SQLite as a server that is lost as often as is asked for: in the work, or in the commit, done or not."""

    def __init__(self, *, in_work: int = 0, before_commit: int = 0, after_commit: int = 0) -> None:
        self.in_work, self.before_commit, self.after_commit = in_work, before_commit, after_commit

    def turn(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def is_lost(self, error: Exception) -> bool:
        return isinstance(error, sa.exc.OperationalError) and "gone" in str(error)

    def is_alive(self, _connection: sa.Connection) -> bool:
        return True

    def reading(self, connection: sa.Connection) -> sa.Connection:
        return connection

    def hasten(self, connection: sa.Connection) -> None:
        pass

    def commit(self, _connection: sa.Connection, transaction: sa.RootTransaction) -> None:
        if self.before_commit:
            self.before_commit -= 1
            raise gone()
        transaction.commit()
        if self.after_commit:
            self.after_commit -= 1
            raise gone()

    def work(self, connection: sa.Connection, again: bool) -> bool:
        connection.execute(sa.text("INSERT OR IGNORE INTO t VALUES (1)"))
        if self.in_work:
            self.in_work -= 1
            raise gone()
        return again


def gone() -> sa.exc.OperationalError:
    return sa.exc.OperationalError("INSERT", {"a": "hunter2"}, Exception("the server is gone"))


def leaving(database: Database, backend: Leaving, *, patience: float) -> Database:
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE t (a INTEGER PRIMARY KEY)"))
    return Database(database.engine, place="somewhere", backend=backend, patience_seconds=patience)


@pytest.mark.parametrize(
    ("lost", "again"),
    [({}, False), ({"in_work": 2}, False), ({"before_commit": 1}, True), ({"after_commit": 1}, True)],
)
def test_work_is_done_again_when_the_server_was_lost(database: Database, lost: dict[str, int], again: bool) -> None:
    """And is told whether it may have been done already."""
    backend = Leaving(**lost)
    assert leaving(database, backend, patience=30).writing(backend.work) is again
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT a FROM t")).all() == [(1,)]


def test_patience_ends(database: Database) -> None:
    backend = Leaving(in_work=10**6)
    with pytest.raises(StorageError, match="cannot use the database somewhere: the server is gone") as caught:
        leaving(database, backend, patience=0.2).writing(backend.work)
    assert "hunter2" not in str(caught.value)
    assert 10**6 - 10 < backend.in_work < 10**6 - 1


def test_errors_of_the_work_are_final(database: Database) -> None:
    opened = leaving(database, Leaving(), patience=30)
    tries = 0

    def work(connection: sa.Connection, _again: bool) -> None:
        nonlocal tries
        tries += 1
        connection.execute(sa.text("INSERT INTO t VALUES (1), (1)"))

    with pytest.raises(ConflictError):
        opened.writing(work)
    assert tries == 1


# A file that goes away ---------------------------------------------------------------------------------------------

GONE = "removed or replaced while it is in use"


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Database]:
    with open_sqlite(str(tmp_path / "store" / "test.db")) as database:
        database.writing(lambda connection, _again: connection.execute(sa.text("CREATE TABLE t (a TEXT)")))
        yield database


def insert(database: Database, *, durable: bool = True) -> None:
    insertion = sa.text("INSERT INTO t VALUES ('x')")
    database.writing(lambda connection, _again: connection.execute(insertion), durable=durable)


def remove(path: Path) -> None:
    path.unlink()


def replace_by_a_copy(path: Path) -> None:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o600)
    copy.replace(path)


def move_the_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


@pytest.mark.parametrize("change", [remove, replace_by_a_copy, move_the_directory])
def test_a_file_that_is_not_there_any_more_is_neither_read_nor_written(
    filled: Database, change: Callable[[Path], None]
) -> None:
    insert(filled)
    change(Path(filled.place))
    for _ in range(2):
        with pytest.raises(StorageError, match=GONE) as caught:
            insert(filled)
        with pytest.raises(StorageError, match=GONE), filled.read():
            pass
        with pytest.raises(StorageError, match=GONE):
            filled.find(sa.select(sa.column("a")).select_from(sa.table("t")), {})
        with pytest.raises(StorageError, match=GONE):
            filled.changing(lambda _run: None)
        with pytest.raises(StorageError, match=GONE), filled.write():
            pass
    assert "bring the file back" in str(caught.value.hint)
    assert not Path(filled.place).exists() or change is replace_by_a_copy  # nobody has made another one


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("name", ["test.db", "test.db-wal"])
def test_what_is_written_while_the_file_goes_is_not_acknowledged(filled: Database, name: str, plain: bool) -> None:
    insert(filled)
    put = sa.insert(sa.table("t", sa.column("a"))).values(a=sa.bindparam("value"))

    def work(connection: sa.Connection, _again: bool) -> None:
        connection.execute(put, {"value": "y"})
        Path(filled.place).with_name(name).unlink()

    def plain_work(run: Run) -> None:
        run(put, {"value": "y"})
        Path(filled.place).with_name(name).unlink()

    with pytest.raises(StorageError, match=GONE):
        filled.changing(plain_work) if plain else filled.writing(work)
    with pytest.raises(StorageError, match=GONE):
        insert(filled)


def test_a_log_that_sqlite_makes_anew_is_no_loss(filled: Database) -> None:
    insert(filled)
    filled.engine.dispose()  # the last connection takes the log with it
    assert not Path(f"{filled.place}-wal").exists()
    insert(filled)
    insert(filled, durable=False)
    with filled.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM t")).scalar() == 3


def test_a_missing_file_is_made_only_where_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "store" / "a ?#%.db"
    with pytest.raises(StorageError, match="No such file"):
        open_sqlite(str(path), create=False)
    assert not path.exists()
    open_sqlite(str(path)).close()
    with open_sqlite(str(path), create=False) as database, database.write() as connection:
        connection.execute(sa.text("CREATE TABLE t (a TEXT)"))


def test_what_is_not_durable_waits_for_no_disk_and_changes_nothing_for_the_next(filled: Database) -> None:
    def level(connection: sa.Connection, _again: bool) -> object:
        return connection.execute(sa.text("PRAGMA synchronous")).scalar()

    assert [filled.writing(level, durable=durable) for durable in (True, False, False, True, False)] == [2, 1, 1, 2, 1]
    with filled.write() as connection:
        assert level(connection, False) == 2


def test_plain_statements_wait_for_the_disk_as_they_are_meant_to(filled: Database) -> None:
    level = sa.select(sa.table("pragma_synchronous", sa.column("synchronous")))
    for durable, found in ((True, 2), (False, 1), (False, 1), (True, 2)):
        assert filled.changing(lambda run: run(level, {}), durable=durable) == [{"synchronous": found}]
