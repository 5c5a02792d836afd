"""What the books of the Kerberos authority must keep, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gsi.ca.crl import RevocationReason
from gsi.errors import ConflictError, NotFoundError, StorageError
from gsi.sql.engine import open_sqlite
from gsi.sql.migrate import upgrade
from kca.repository.base import (
    MAX_TEXT_BYTES,
    Books,
    Entry,
    Rate,
    RepeatedRequestError,
    Revocation,
    Selection,
    SubjectTakenError,
    TooFastError,
)
from kca.repository.sql import SQLBooks, open_postgres_books, open_sqlite_books
from kca.repository.tables import METADATA
from tests.harness.postgres import Postgres
from tests.harness.stores import NewStore

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CA = "ca" * 32
MIGRATIONS = Path(__file__).resolve().parents[2] / "kca/repository/migrations"


@pytest.fixture
def books(new_store: NewStore) -> SQLBooks:
    return new_store(open_sqlite_books, open_postgres_books)


def entry(serial: int = 1, who: str = "alice", **changes: object) -> Entry:
    base = Entry(
        authority=CA,
        serial=serial,
        principal=f"{who}@EXAMPLE.ORG",
        realm="EXAMPLE.ORG",
        subject=f"/O=Grid/CN={who}",
        subject_key=f"key of {who.lower()}",
        not_before=NOW - timedelta(minutes=5),
        not_after=NOW + 10 * HOUR,
        issued=NOW,
        authenticated=NOW - timedelta(minutes=1),
        request_id=f"{serial:x}",
        request_hash=serial.to_bytes(32, "big"),
        decision="d",
        rule="EXAMPLE.ORG rule 1 (*)",
        peer="192.0.2.7",
        transport="udp",
        certificate=b"0\x00\xff",
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # field values by name


def found(books: Books, **wanted: object) -> list[int]:
    return [one.serial for one in books.search(Selection(**wanted))]  # type: ignore[arg-type]  # field values by name


def test_what_goes_in_comes_out(books: Books) -> None:
    long = entry((1 << 159) - 1, request_hash=b"", who="b" * (MAX_TEXT_BYTES - 20))
    for one in (entry(), long):
        books.add(one, rate=None)
    kept = list(books.search(Selection()))
    assert [dataclasses.replace(one, id=0) for one in kept] == [
        dataclasses.replace(one, subject_key="") for one in (long, entry())
    ]
    assert kept[0].id > kept[1].id
    assert kept[1].serial_hex == "01"


def test_what_cannot_be_kept(books: Books) -> None:
    for change in ({"rule": "\0"}, {"peer": "\ud800"}, {"subject": "x" * (MAX_TEXT_BYTES + 1)}):
        with pytest.raises(StorageError):
            books.add(entry(**change), rate=None)  # type: ignore[arg-type]  # field values by name
    assert found(books) == []


def test_serial_numbers_are_used_once(books: Books) -> None:
    books.add(entry(), rate=None)
    with pytest.raises(ConflictError):
        books.add(entry(request_hash=b"\2" * 32), rate=None)
    books.add(entry(request_hash=b"\2" * 32, authority="cb" * 32), rate=None)


def test_requests_are_answered_once(books: Books) -> None:
    books.add(entry(), rate=None)
    with pytest.raises(RepeatedRequestError):
        books.add(entry(2, request_hash=entry().request_hash), rate=None)
    first = books.find_request(entry().request_hash)
    assert first is not None
    assert first.serial == 1
    assert books.find_request(b"\3" * 32) is None
    for serial in (3, 4):
        books.add(entry(serial, request_hash=b""), rate=None)


def test_subjects_have_one_owner(books: Books) -> None:
    books.add(entry(), rate=None)
    with pytest.raises(SubjectTakenError, match=r"belongs to alice@EXAMPLE\.ORG"):
        books.add(entry(2, "Alice"), rate=None)
    books.add(entry(3), rate=None)
    books.add(entry(4, "bob"), rate=None)
    assert [(owner.subject, owner.principal, owner.since) for owner in books.list_owners()] == [
        ("/O=Grid/CN=alice", "alice@EXAMPLE.ORG", NOW),
        ("/O=Grid/CN=bob", "bob@EXAMPLE.ORG", NOW),
    ]
    assert list(books.list_owners(realm="OTHER.ORG")) == []
    owner = books.find_owner("key of bob")
    assert owner is not None
    assert owner.principal == "bob@EXAMPLE.ORG"
    assert books.find_owner("key of eve") is None
    assert found(books) == [4, 3, 1]


def test_rates(books: Books) -> None:
    rate = Rate(3, HOUR)
    for serial in (1, 2, 3):
        books.add(entry(serial), rate=rate)
    with pytest.raises(TooFastError) as caught:
        books.add(entry(4), rate=rate)
    assert caught.value.until == NOW + timedelta(minutes=20)
    books.add(entry(5, "bob"), rate=rate)
    later = NOW + timedelta(minutes=20)
    books.add(entry(6, issued=later), rate=rate)
    with pytest.raises(TooFastError):
        books.add(entry(7, issued=later), rate=rate)
    tomorrow = NOW + timedelta(days=1)
    for serial in (8, 9, 10):
        books.add(entry(serial, issued=tomorrow), rate=rate)
    with pytest.raises(TooFastError):
        books.add(entry(11, issued=tomorrow), rate=rate)
    assert found(books, principal="alice@EXAMPLE.ORG") == [10, 9, 8, 6, 3, 2, 1]


def test_asking_is_as_adding(books: Books) -> None:
    """And uses nothing up."""
    rate = Rate(2, HOUR)

    def ask(who: str = "alice@EXAMPLE.ORG", key: str = "key of alice", **changes: Any) -> None:
        books.check(who, key, **{"rate": rate, "now": NOW, **changes})

    for _ in range(3):
        ask()
    books.add(entry(1), rate=rate)
    ask()
    books.add(entry(2), rate=rate)
    with pytest.raises(TooFastError) as asked:
        ask()
    with pytest.raises(TooFastError) as added:
        books.add(entry(3), rate=rate)
    assert asked.value.until == added.value.until
    assert str(asked.value) == str(added.value)
    ask(now=asked.value.until)
    ask(now=NOW - timedelta(days=365))  # a clock that was set back
    ask(rate=None)
    with pytest.raises(SubjectTakenError):
        ask("bob@EXAMPLE.ORG", rate=None)
    with pytest.raises(SubjectTakenError):
        ask("bob@EXAMPLE.ORG")
    ask("bob@EXAMPLE.ORG", "key of bob")


def test_a_clock_that_was_set_back_locks_nobody_out(books: Books) -> None:
    books.add(entry(issued=NOW + timedelta(days=365)), rate=Rate(1, HOUR))
    books.add(entry(2), rate=Rate(1, HOUR))


def test_a_rate_that_is_refused_uses_nothing_up(books: Books) -> None:
    """The subject is another's, so the certificate does not count."""
    books.add(entry(1, "bob"), rate=None)
    with pytest.raises(SubjectTakenError):
        books.add(entry(2, subject_key="key of bob"), rate=Rate(1, HOUR))
    books.add(entry(3), rate=Rate(1, HOUR))


def test_searching(books: Books) -> None:
    books.add(entry(1), rate=None)
    books.add(entry(2, "bob", realm="OTHER.ORG", not_after=NOW + HOUR), rate=None)
    books.add(entry(3, "carol", subject="/O=Grid/CN=100%_a", issued=NOW + HOUR), rate=None)
    books.revoke(CA, 1, reason=RevocationReason.KEY_COMPROMISE, now=NOW, by="root")
    assert found(books) == [3, 2, 1]
    assert found(books, serial=2) == [2]
    assert found(books, principal="bob@EXAMPLE.ORG") == [2]
    assert found(books, realm="OTHER.ORG") == [2]
    assert found(books, subject="grid/cn=B") == [2]
    assert found(books, subject="%_") == [3]
    assert found(books, subject="0_a") == []
    assert found(books, revoked=True) == [1]
    assert found(books, revoked=False) == [3, 2]
    assert found(books, valid_at=NOW) == [3, 2]
    assert found(books, valid_at=NOW + 2 * HOUR) == [3]
    assert found(books, since=NOW + HOUR) == [3]
    assert found(books, until=NOW + HOUR) == [2, 1]
    assert [one.serial for one in books.search(Selection(), limit=2)] == [3, 2]
    assert list(books.search(Selection(), limit=0)) == []


def test_pages(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kca.repository.sql._PAGE", 3)
    for serial in range(1, 9):
        books.add(entry(serial, f"user{serial}"), rate=None)
    assert found(books) == list(range(8, 0, -1))
    assert [one.serial for one in books.search(Selection(), limit=7)] == list(range(8, 1, -1))
    assert len(list(books.list_owners())) == 8


def test_revocation(books: Books) -> None:
    books.add(entry(), rate=None)
    with pytest.raises(NotFoundError):
        books.revoke(CA, 2, reason=RevocationReason.UNSPECIFIED, now=NOW, by="root")
    revoked, is_new = books.revoke(CA, 1, reason=RevocationReason.SUPERSEDED, now=NOW, by="root")
    assert is_new
    expected = Revocation(time=NOW, reason=RevocationReason.SUPERSEDED, by="root")
    assert revoked.revocation == expected
    again, is_new = books.revoke(CA, 1, reason=RevocationReason.KEY_COMPROMISE, now=NOW + HOUR, by="other")
    assert not is_new
    assert again.revocation == expected


def test_revocation_lists(books: Books) -> None:
    for serial in (1, 2, 3):
        books.add(entry(serial, not_after=NOW + serial * HOUR), rate=None)
    books.revoke(CA, 1, reason=RevocationReason.KEY_COMPROMISE, now=NOW, by="root")
    books.revoke(CA, 3, reason=RevocationReason.UNSPECIFIED, now=NOW + timedelta(minutes=1), by="root")

    def crl(now: datetime) -> tuple[int, list[int]]:
        number, entries = books.begin_crl(CA, now=now, next_update=now + HOUR)
        return number, [one.serial for one in entries]

    assert crl(NOW + timedelta(minutes=5)) == (1, [1, 3])
    assert crl(NOW + timedelta(minutes=90)) == (2, [1, 3])  # once more after its end (RFC 5280 section 3.3)
    assert crl(NOW + 2 * HOUR) == (3, [3])
    number, entries = books.begin_crl("cb" * 32, now=NOW, next_update=NOW + HOUR)
    assert (number, list(entries)) == (1, [])


def test_pruning(books: Books) -> None:
    for serial in (1, 2):
        books.add(entry(serial, not_after=NOW + serial * HOUR), rate=Rate(5, HOUR))
    assert books.prune(before=NOW + 2 * HOUR) == 1
    assert found(books) == [2]
    with pytest.raises(SubjectTakenError):
        books.add(entry(3, "Alice"), rate=None)


def test_what_is_revoked_stays_until_a_list_after_its_end_has_named_it(books: Books) -> None:
    for serial in (1, 2):
        books.add(entry(serial, not_after=NOW + serial * HOUR), rate=Rate(5, HOUR))
        books.revoke(CA, serial, reason=RevocationReason.KEY_COMPROMISE, now=NOW, by="admin")
    books.begin_crl(CA, now=NOW, next_update=NOW + HOUR)
    assert books.prune(before=NOW + 9 * HOUR) == 0
    _, entries = books.begin_crl(CA, now=NOW + 90 * timedelta(minutes=1), next_update=NOW + 3 * HOUR)
    assert [one.serial for one in entries] == [1, 2]
    assert books.prune(before=NOW + 9 * HOUR) == 1
    assert found(books) == [2]


def test_one_of_many_who_are_there_at_once(books: Books) -> None:
    """The last certificate of a rate, and the first of a name, go to one of them; nobody gets another's answer."""
    gate = threading.Barrier(8)

    def one(number: int) -> str:
        gate.wait()
        try:
            books.add(entry(number + 1, "alice" if number % 2 else "Alice"), rate=Rate(2, HOUR))
        except (SubjectTakenError, TooFastError) as error:
            return type(error).__name__
        return "kept"

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, range(8)))
    kept = [number for number, result in enumerate(results) if result == "kept"]
    assert len(kept) == 2
    assert len({number % 2 for number in kept}) == 1
    assert sorted(found(books)) == [number + 1 for number in kept]
    assert sorted(results).count("SubjectTakenError") == 4


def test_nodes_at_once(postgres_server: Postgres) -> None:
    """Two nodes whose transactions hold several principals in whatever order: none waits for the other for ever."""
    with postgres_server.database() as conninfo:
        nodes = [open_postgres_books(conninfo) for _ in range(2)]
        try:

            def one(number: int) -> bool:
                try:
                    nodes[number % 2].add(entry(number + 1, f"user{number * 7 % 5}"), rate=Rate(10, HOUR))
                except TooFastError:
                    return False
                return True

            with ThreadPoolExecutor(16) as pool:
                results = list(pool.map(one, range(80)))
            assert results.count(True) == 50
            assert len(found(nodes[0])) == 50
        finally:
            for node in nodes:
                node.close()


def test_another_services_database_is_not_taken(books: SQLBooks, tmp_path: Path) -> None:
    from myproxy.repository.sql import open_sqlite_repository

    open_sqlite_repository(str(tmp_path / "other")).close()
    (tmp_path / "other" / "myproxy.db").rename(tmp_path / "other" / "kca.db")
    with pytest.raises(StorageError, match="does not know"):
        open_sqlite_books(str(tmp_path / "other"))


@pytest.mark.parametrize("column", ["serial", "reason", "not_after", "certificate"])
def test_a_damaged_entry(tmp_path: Path, column: str) -> None:
    """It can be told apart, and hides no other; what was revoked stays so, whatever the reason was."""
    books = open_sqlite_books(str(tmp_path / "store"))
    for serial in (1, 2, 3):
        books.add(entry(serial), rate=None)
        books.revoke(CA, serial, reason=RevocationReason.KEY_COMPROMISE, now=NOW, by="test")
    with books.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE issued SET {column} = 'nonsense' WHERE id = 2")
    with pytest.raises(StorageError, match="entry 2 of the books is damaged"):
        found(books)
    damaged: list[StorageError] = []
    assert [one.serial for one in books.search(Selection(), on_damage=damaged.append)] == [3, 1]
    assert len(damaged) == 1
    if column == "serial":
        with pytest.raises(StorageError, match="entry 2"):
            books.begin_crl(CA, now=NOW, next_update=NOW + HOUR)
    else:
        _, revoked = books.begin_crl(CA, now=NOW, next_update=NOW + HOUR)
        reasons = {one.serial: one.reason for one in revoked}
        assert set(reasons) == {1, 2, 3}
        assert reasons[2] is (RevocationReason.UNSPECIFIED if column == "reason" else RevocationReason.KEY_COMPROMISE)
    books.close()


def test_the_migrations_make_the_tables_that_the_code_expects(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with open_sqlite(str(tmp_path / "x" / "kca.db")) as database:
        upgrade(database, str(MIGRATIONS))
        with database.read() as connection:
            changes = compare_metadata(MigrationContext.configure(connection), METADATA)
    assert [change for change in changes if change[0] not in {"remove_index", "remove_constraint"}] == []
