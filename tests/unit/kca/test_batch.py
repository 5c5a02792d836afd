"""Work of several threads in one transaction: each hears of its own, all of what concerns all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
import sqlalchemy as sa

from gsi.errors import ConflictError, NotFoundError, StorageError
from gsi.sql.engine import Database, open_sqlite
from kca.repository import batch as module
from kca.repository.batch import Batch

Work: TypeAlias = Callable[[sa.Connection, bool], None]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_sqlite(str(tmp_path / "store" / "x.db")) as made:
        with made.write() as connection:
            connection.execute(sa.text("CREATE TABLE t (a TEXT PRIMARY KEY)"))
        yield made


def each(connection: sa.Connection, works: Sequence[Work], again: bool) -> None:
    """Do each in turn: here the items are pieces of work themselves."""
    for work in works:
        work(connection, again)


def insert(value: str) -> Work:
    def work(connection: sa.Connection, _again: bool) -> None:
        connection.execute(sa.text("INSERT INTO t VALUES (:a)"), {"a": value})

    return work


def rows(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.text("SELECT a FROM t ORDER BY rowid")).scalars())


def together(batch: Batch[Work], works: dict[str, Work]) -> dict[str, Exception | None]:
    """Run these while another piece holds the turn, so that they share the next one."""
    results: dict[str, Exception | None] = {}
    turn, release = threading.Event(), threading.Event()

    def hold(_connection: sa.Connection, _again: bool) -> None:
        turn.set()
        release.wait(10)

    def run(order: str, work: Work) -> None:
        try:
            batch.run(work, order=order)
        except Exception as error:
            results[order] = error
        else:
            results[order] = None

    first = threading.Thread(target=run, args=("first", hold))
    first.start()
    assert turn.wait(10)
    threads = [threading.Thread(target=run, args=item) for item in works.items()]
    for thread in threads:
        thread.start()
    while len(batch._waiting) < len(works):
        release.wait(0.002)
    release.set()
    for thread in (first, *threads):
        thread.join(10)
    assert results.pop("first") is None
    return results


def test_one_commit_for_all(database: Database) -> None:
    commits: list[str] = []
    sa.event.listen(database.engine, "commit", lambda _connection: commits.append("commit"))
    results = together(Batch(database, each), {name: insert(name) for name in ("c", "a", "b")})
    assert results == {"a": None, "b": None, "c": None}
    assert len(commits) == 2
    assert rows(database) == ["a", "b", "c"]  # in the order of the keys, whoever came first


def test_each_hears_of_its_own(database: Database) -> None:
    def refuse(connection: sa.Connection, again: bool) -> None:
        insert("never")(connection, again)
        raise NotFoundError("not here")

    def broken(connection: sa.Connection, again: bool) -> None:
        insert("neither")(connection, again)
        raise ZeroDivisionError

    works = {"a": insert("x"), "b": insert("x"), "c": refuse, "d": insert("y"), "e": broken, "f": insert("z")}
    results = together(Batch(database, each), works)
    assert rows(database) == ["x", "y", "z"]
    assert {order: type(error) for order, error in results.items() if error} == {
        "b": ConflictError,
        "c": NotFoundError,
        "e": ZeroDivisionError,
    }


def test_what_is_refused_undoes_nothing_of_the_others(database: Database) -> None:
    """All is begun anew, each by itself: none is done twice, and none forgets that it may have been done before."""
    seen: list[tuple[str, bool]] = []

    def note(name: str) -> Work:
        def work(connection: sa.Connection, again: bool) -> None:
            seen.append((name, again))
            insert(name)(connection, again)
            if name == "b":
                raise NotFoundError("not here")

        return work

    results = together(Batch(database, each), {name: note(name) for name in ("a", "b", "c")})
    assert [name for name, error in results.items() if error is not None] == ["b"]
    assert rows(database) == ["a", "c"]
    assert [name for name, _ in seen] == ["a", "b", "a", "b", "c"]


def test_what_concerns_all_is_told_to_all(database: Database) -> None:
    def ruin(connection: sa.Connection, _again: bool) -> None:
        connection.execute(sa.text("INSERT INTO absent VALUES (1)"))

    results = together(Batch(database, each), {"a": insert("x"), "b": ruin, "c": insert("y")})
    assert {type(error) for error in results.values()} == {StorageError}
    assert rows(database) == []


def test_errors_of_one_alone(database: Database) -> None:
    batch = Batch(database, each)
    batch.run(insert("x"), order="x")
    with pytest.raises(ConflictError):
        batch.run(insert("x"), order="x")
    batch.run(insert("y"), order="y")
    assert rows(database) == ["x", "y"]


def test_whoever_waits_too_long_gives_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.05)
    batch = Batch(database, each)
    turn, release = threading.Event(), threading.Event()

    def hold(_connection: sa.Connection, _again: bool) -> None:
        turn.set()
        release.wait(10)

    first = threading.Thread(target=batch.run, args=(hold,), kwargs={"order": "a"})
    first.start()
    assert turn.wait(10)
    with pytest.raises(StorageError, match="no turn to write"):
        batch.run(insert("late"), order="b")
    release.set()
    first.join(10)
    batch.run(insert("next"), order="c")
    assert rows(database) == ["next"]


def test_more_than_one_transaction_holds(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIECES", 3)
    names = [f"{number:02}" for number in range(10)]
    assert set(together(Batch(database, each), {name: insert(name) for name in names}).values()) == {None}
    assert sorted(rows(database)) == names
