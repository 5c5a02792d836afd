"""Checking the store: everything that can be wrong with a row is found, mended or put aside, and comes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from gsi.errors import ConflictError, NotFoundError, StorageError
from gsi.secret import Passphrase
from myproxy.admin import Outcome, UpkeepDesk
from myproxy.repository.base import Selection
from myproxy.repository.fsck import Finding, Mend, judge, judge_database, rows
from myproxy.repository.seal import Place
from myproxy.repository.sealforms import is_wrapped
from myproxy.repository.sql import SQLRepository, open_sqlite_repository
from myproxy.repository.tables import CREDENTIALS, pack
from tests.harness.ca import Issued, TestCA
from tests.harness.stores import lay_store
from tests.unit.myproxy.repository.support import NOW, OWNER, SECRET, Sink, make_sealer, stored

SEALER = make_sealer(1, keeps_copies=False)


@pytest.fixture(scope="module")
def authority() -> TestCA:
    return TestCA("/O=Grid/CN=Test CA", "p256")


@pytest.fixture(scope="module")
def alice(authority: TestCA) -> Issued:
    return authority.issue(OWNER, "p256").proxy()


@pytest.fixture
def repository(tmp_path: Path, alice: Issued) -> Iterator[SQLRepository]:
    lay_store(open_sqlite_repository, tmp_path / "ours")
    opened = open_sqlite_repository(str(tmp_path / "ours"))
    opened.put(stored(alice, SEALER))
    opened.put(stored(alice, SEALER, "bob", passphrase=Passphrase(""), renewers="*"))
    yield opened
    opened.close()


@pytest.fixture
def sink() -> Sink:
    return Sink([])


@pytest.fixture
def desk(repository: SQLRepository, sink: Sink) -> UpkeepDesk:
    return UpkeepDesk(repository, SEALER, sink, clock=lambda: NOW)


def spoil(repository: SQLRepository, **values: object) -> None:
    """Write columns of Alice's row as nothing but a damaged disk or an old hand would."""
    with repository.database.write() as connection:
        connection.execute(sa.update(CREDENTIALS).where(CREDENTIALS.c.username == "alice").values(**values))


def findings(repository: SQLRepository) -> list[Finding]:
    return [found for row in rows(repository.database) for found in judge(row, SEALER, now=NOW)]


def test_nothing_is_wrong(repository: SQLRepository, desk: UpkeepDesk, sink: Sink) -> None:
    assert findings(repository) == []
    assert list(judge_database(repository.database)) == []
    assert list(desk.check(repair=True, quarantine=True)) == []
    assert sink.records == []


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ({"not_after": 5}, "not_after"),
        ({"not_before": 5}, "not_before"),
        ({"key_form": ""}, "key_form"),
        ({"version": 0}, "version"),
        ({"created": int(NOW.timestamp()) + 100}, "created"),
        ({"updated": int(NOW.timestamp()) + 10**6, "created": int(NOW.timestamp()) + 10**6}, "created, updated"),
    ],
)
def test_what_can_be_told_anew_is_repaired(
    repository: SQLRepository, desk: UpkeepDesk, sink: Sink, values: dict[str, object], column: str
) -> None:
    before = repository.get("alice", None)
    spoil(repository, **values)
    (found,) = findings(repository)
    assert (found.problem, found.mend, found.username) == (f"wrong in: {column}", Mend.REPAIR, "alice")
    assert [outcome for _, outcome in desk.check(repair=False, quarantine=True)] == [Outcome.LEFT]
    assert [outcome for _, outcome in desk.check(repair=True, quarantine=False)] == [Outcome.REPAIRED]
    assert findings(repository) == []
    after = repository.get("alice", None)
    assert dataclasses.replace(after, created=before.created, updated=before.updated) == before
    assert [record.action for record in sink.records] == ["REPAIR"]


def damages(alice: Issued, authority: TestCA) -> dict[str, tuple[dict[str, object], str]]:
    other = authority.issue("/O=Grid/CN=Bob", "p256")
    namesake = authority.issue(OWNER, "p256")
    leaf, issuer = alice.chain_der[0], alice.chain_der[1]
    place = Place("alice", None, OWNER, "")
    return {
        "text in a number": ({"lifetime_seconds": "x"}, "holds what it cannot hold"),
        "no time": ({"not_after": 2**62}, "out of range"),
        "number in a text": ({"owner": sa.literal_column("x'00ff'")}, "holds what it cannot hold"),
        "no user name": ({"username": ""}, "needs a user name"),
        "cut certificates": ({"certificates": pack((leaf, issuer))[:-5]}, "cut short"),
        "no certificates": ({"certificates": b""}, "no certificate"),
        "garbage for certificates": ({"certificates": pack((b"garbage",))}, "certificate"),
        "another's certificate": ({"certificates": pack((other.chain_der[0],))}, "belongs to another"),
        "a chain that is none": ({"certificates": pack((leaf, namesake.chain_der[0]))}, "not signed by"),
        "a key of garbage": ({"sealed_key": b"garbage"}, "right mark"),
        "no key": ({"sealed_key": b""}, "cut short"),
        "a cut key": ({"sealed_key": make_sealer().seal(b"x", SECRET, place)[:50]}, "its size is wrong"),
        "a key of another server": ({"sealed_key": make_sealer(2).seal(b"x", SECRET, place)}, "does not have"),
        "a key in clear that is none": (
            {"sealed_key": make_sealer().seal(b"x", Passphrase(""), place)},
            "one PEM block",
        ),
        "a lock that is none": ({"sealed_key": make_sealer().keep(b"x", place)}, "one PEM block"),
        "a guard without a hash": ({"sealed_key": make_sealer().guard(b"x", b"?" * 13, place)}, "no hash"),
        "a negative lifetime": ({"lifetime_seconds": -5}, "negative lifetime"),
    }


KINDS = [
    "text in a number", "no time", "number in a text", "no user name", "cut certificates", "no certificates",
    "garbage for certificates", "another's certificate", "a chain that is none", "a key of garbage", "no key",
    "a cut key", "a key of another server", "a key in clear that is none", "a lock that is none",
    "a guard without a hash", "a negative lifetime",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_used_is_put_aside_and_comes_back(
    repository: SQLRepository, desk: UpkeepDesk, sink: Sink, alice: Issued, authority: TestCA, kind: str
) -> None:
    values, reason = damages(alice, authority)[kind]
    spoil(repository, **values)
    (before,) = [row for row in rows(repository.database) if row["username"] != "bob"]
    (found,) = findings(repository)
    assert reason in found.problem
    assert found.mend is Mend.QUARANTINE
    assert [outcome for _, outcome in desk.check(repair=True, quarantine=False)] == [Outcome.LEFT]
    assert [outcome for _, outcome in desk.check(repair=False, quarantine=True)] == [Outcome.QUARANTINED]
    assert [one.username for one in repository.search(Selection())] == ["bob"]
    assert [record.action for record in sink.records] == ["QUARANTINE"]
    (aside,) = desk.quarantined()
    assert reason in aside.reason
    desk.restore(aside.number)
    (after,) = [row for row in rows(repository.database) if row["username"] != "bob"]
    assert {**after, "id": 0} == {**before, "id": 0}
    assert list(desk.quarantined()) == []
    with pytest.raises(NotFoundError):
        desk.restore(aside.number)


def test_a_place_that_was_taken_meanwhile(repository: SQLRepository, desk: UpkeepDesk, alice: Issued) -> None:
    spoil(repository, sealed_key=b"garbage")
    assert len(list(desk.check(repair=False, quarantine=True))) == 1
    repository.put(stored(alice, SEALER, description="new"))
    (aside,) = desk.quarantined()
    with pytest.raises(ConflictError):
        desk.restore(aside.number)
    assert repository.get("alice", None).description == "new"
    assert len(list(desk.quarantined())) == 1


def test_what_is_changed_meanwhile_is_left_alone(repository: SQLRepository, desk: UpkeepDesk, alice: Issued) -> None:
    spoil(repository, sealed_key=b"garbage")
    check = desk.check(repair=True, quarantine=True)
    original = desk._mend

    def slow(row: dict[str, object], finding: Finding, **how: bool) -> Outcome:
        repository.put(stored(alice, SEALER, description="faster"))
        return original(row, finding, **how)

    desk._mend = slow  # type: ignore[method-assign,assignment]  # between finding and mending
    assert [outcome for _, outcome in check] == [Outcome.CHANGED]
    assert repository.get("alice", None).description == "faster"


def test_what_cannot_be_recorded_is_not_done(repository: SQLRepository, desk: UpkeepDesk, sink: Sink) -> None:
    spoil(repository, sealed_key=b"garbage")
    sink.broken = True
    with pytest.raises(StorageError, match="no space left"):
        list(desk.check(repair=True, quarantine=True))
    assert [row["username"] for row in rows(repository.database)] == ["alice", "bob"]


def test_policies_that_permit_nobody_are_told(repository: SQLRepository) -> None:
    spoil(repository, retrievers="((", renewers="*")
    (found,) = findings(repository)
    assert (found.mend, "its policy on retrievers permits nobody" in found.problem) == (Mend.NONE, True)


def test_indexes(repository: SQLRepository, desk: UpkeepDesk) -> None:
    with repository.database.write() as connection:
        connection.execute(sa.text("DROP INDEX credentials_owner"))
    (found,) = judge_database(repository.database)
    assert (found.problem, found.mend) == ("index credentials_owner is missing", Mend.REPAIR)
    assert [outcome for _, outcome in desk.check(repair=True, quarantine=False)] == [Outcome.REPAIRED]
    assert list(judge_database(repository.database)) == []


def test_an_index_that_does_not_agree_with_its_table(repository: SQLRepository, desk: UpkeepDesk) -> None:
    """Made by hand: the index is told to be that of another column while a row is written."""
    with repository.database.write() as connection:
        connection.execute(sa.text("PRAGMA writable_schema=ON"))
        sql = "UPDATE sqlite_master SET sql = replace(sql, '(owner)', '(retrievers)') WHERE name = 'credentials_owner'"
        connection.execute(sa.text(sql))
    repository.database.close()
    found = list(judge_database(repository.database))
    assert found
    assert all("index" in one.problem for one in found)
    assert any("credentials_owner" in one.problem for one in found)


def test_wrapping_anew(repository: SQLRepository, sink: Sink, alice: Issued) -> None:
    bare = make_sealer()
    repository.put(stored(alice, bare, "carol"))
    repository.put(stored(alice, make_sealer(9), "lost"))
    desk = UpkeepDesk(repository, make_sealer(2, 1), sink, clock=lambda: NOW)
    done = {one.username: why for one, why in desk.rewrap()}
    assert done.pop("lost") is not None
    assert done == {"alice": None, "bob": None, "carol": None}
    for username in ("alice", "bob", "carol"):
        assert make_sealer(2).server_keys.is_current(repository.get(username, None).sealed_key)
    assert [one.username for one, _ in desk.rewrap()] == ["lost"]
    found = repository.get("alice", None)
    place = Place("alice", None, OWNER, fingerprint(alice))
    assert make_sealer(2).open(found.sealed_key, SECRET, place) == make_sealer(1).open(
        stored(alice, SEALER).sealed_key, SECRET, place
    )
    assert is_wrapped(found.sealed_key)


def fingerprint(issued: Issued) -> str:
    from gsi.certificate import Certificate

    return Certificate.parse(issued.chain_der[0]).fingerprint


def test_expired_chains_are_no_damage(repository: SQLRepository, authority: TestCA) -> None:
    long_ago = NOW - timedelta(days=400)
    old = authority.issue(OWNER, "p256", not_before=long_ago, not_after=long_ago + timedelta(days=1))
    repository.put(stored(old, SEALER, "old"))
    assert findings(repository) == []
