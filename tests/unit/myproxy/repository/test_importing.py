"""Taking over C stores and giving them back, without servers: again and again, by halves, and what is left behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gsi.errors import NotFoundError, StorageError
from gsi.keys import encode_private_key, parse_private_key
from gsi.pem import split_pem
from gsi.secret import Passphrase
from myproxy.repository.base import Selection
from myproxy.repository.exporting import export_spool
from myproxy.repository.importing import BATCH, ImportReport, import_at_first_start, import_spool
from myproxy.repository.seal import Place, Sealer
from myproxy.repository.sealforms import GUARDED, LOCKED_BY_OWNER, UNSEALED, is_wrapped, method_of
from myproxy.repository.sql import SQLRepository, open_sqlite_repository
from tests.harness.ca import Issued, TestCA, write_file
from tests.harness.stores import lay_store
from tests.unit.myproxy.repository.support import NOW, OWNER, SECRET, make_sealer, put_files, stored


@pytest.fixture(scope="module")
def alice() -> Issued:
    return TestCA("/O=Grid/CN=Test CA", "p256").issue(OWNER, "p256")


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[SQLRepository]:
    lay_store(open_sqlite_repository, tmp_path / "ours")
    opened = open_sqlite_repository(str(tmp_path / "ours"))
    yield opened
    opened.close()


def bring(repository: SQLRepository, directory: Path, sealer: Sealer | None = None) -> ImportReport:
    return import_spool(repository.database, sealer or make_sealer(), str(directory), now=NOW)


def locked_key(issued: Issued) -> bytes:
    (block,) = split_pem(issued.key_pem(), what="test")
    return encode_private_key(parse_private_key(block), passphrase=SECRET)


def names(repository: SQLRepository) -> list[str]:
    return [one.username for one in repository.search(Selection())]


def place(username: str, alice: Issued) -> Place:
    from gsi.certificate import Certificate

    return Place(username, None, OWNER, Certificate.parse(alice.chain_der[0]).fingerprint)


@pytest.mark.parametrize("secrets", [(), (1,)], ids=["bare", "wrapped"])
def test_every_kind_of_key(repository: SQLRepository, tmp_path: Path, alice: Issued, secrets: tuple[int, ...]) -> None:
    spool, sealer = tmp_path / "spool", make_sealer(*secrets)
    put_files(spool, "open", alice)
    put_files(spool, "locked", alice, credential=alice.pem + locked_key(alice))
    put_files(spool, "old", alice, f"OWNER={OWNER}\nPASSPHRASE=ablUDMr6t4HK6\nEND_OPTIONS\n")
    write_file(spool / "open.lock", b"closed", 0o600)
    report = bring(repository, spool, sealer)
    assert (report.imported, report.known, report.faults, report.warnings) == (3, 0, [], [])
    kinds = {"open": UNSEALED, "locked": LOCKED_BY_OWNER, "old": GUARDED}
    opened_by = {"open": Passphrase(""), "locked": SECRET, "old": Passphrase("passphrase")}
    for username, kind in kinds.items():
        found = repository.get(username, None)
        assert method_of(found.sealed_key) == kind
        assert is_wrapped(found.sealed_key) == bool(secrets)
        assert b"PRIVATE KEY" in sealer.open(found.sealed_key, opened_by[username], place(username, alice))
        assert (found.owner, found.version) == (OWNER, 1)
    assert repository.get("open", None).lock_message == "closed"
    assert repository.get("locked", None).lifetime == timedelta(hours=1)


def test_again_and_again(repository: SQLRepository, tmp_path: Path, alice: Issued) -> None:
    spool = tmp_path / "spool"
    for name in ("kept", "changed", "destroyed", "ours"):
        put_files(spool, name, alice)
    assert bring(repository, spool).imported == 4
    repository.delete("destroyed", None, owner=OWNER)
    repository.replace_key(repository.get("ours", None), b"sealed anew", now=NOW)
    for name in ("changed", "ours"):
        data = (spool / f"{name}.data").read_text()
        (spool / f"{name}.data").write_text(data.replace("END_OPTIONS", "DESCRIPTION=new\nEND_OPTIONS"))
    put_files(spool, "later", alice)
    report = bring(repository, spool)
    assert (report.imported, report.known) == (2, 2)
    (fault,) = report.faults
    assert (fault.stem, "changed after it had been imported" in fault.reason) == ("ours", True)
    assert names(repository) == ["changed", "kept", "later", "ours"]
    assert repository.get("changed", None).description == "new"
    assert repository.get("ours", None).sealed_key == b"sealed anew"


def test_what_is_here_already_stays(repository: SQLRepository, tmp_path: Path, alice: Issued) -> None:
    mine = stored(alice, make_sealer(), description="mine")
    repository.put(mine)
    put_files(tmp_path / "spool", "alice", alice)
    (fault,) = bring(repository, tmp_path / "spool").faults
    assert "is here already" in fault.reason
    assert repository.get("alice", None).description == "mine"


def test_an_interrupted_import_goes_on(repository: SQLRepository, tmp_path: Path, alice: Issued) -> None:
    spool = tmp_path / "spool"
    total = BATCH + 30
    for number in range(total):
        put_files(spool, f"user{number:04}", alice)

    def interrupt(_report: ImportReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_spool(repository.database, make_sealer(), str(spool), now=NOW, progress=interrupt)
    assert len(names(repository)) == BATCH
    report = bring(repository, spool)
    assert (report.imported, report.known) == (30, BATCH)


def test_a_policy_that_permits_nobody_is_told(repository: SQLRepository, tmp_path: Path, alice: Issued) -> None:
    data = f"OWNER={OWNER}\nRETRIEVERS=((\nUSERNAME=alice\nEND_OPTIONS\n"
    put_files(tmp_path / "spool", "alice", alice, data)
    report = bring(repository, tmp_path / "spool")
    (warning,) = report.warnings
    assert (report.imported, warning.stem) == (1, "alice")
    assert "its policy on retrievers permits nobody" in warning.reason


def first_start(repository: SQLRepository, spool: Path, *, fails: bool = False) -> ImportReport | None:
    def agree(_report: ImportReport) -> None:
        if fails:
            raise StorageError("no space left for the audit")

    return import_at_first_start(repository.database, make_sealer(), str(spool), now=NOW, agree=agree)


def test_the_first_start_happens_once(repository: SQLRepository, tmp_path: Path, alice: Issued) -> None:
    spool = tmp_path / "spool"
    put_files(spool, "alice", alice)
    with pytest.raises(StorageError, match="no space left"):
        first_start(repository, spool, fails=True)
    assert names(repository) == [], "what cannot be recorded is not done"
    report = first_start(repository, spool)
    assert report is not None
    assert report.imported == 1
    put_files(spool, "bob", alice)
    assert first_start(repository, spool) is None
    assert names(repository) == ["alice"]


def test_a_start_without_files_is_a_first_start(repository: SQLRepository, tmp_path: Path, alice: Issued) -> None:
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    assert first_start(repository, spool) is None
    put_files(spool, "alice", alice)
    assert first_start(repository, spool) is None
    assert names(repository) == []


def test_a_store_in_use_takes_nothing_over_by_itself(repository: SQLRepository, tmp_path: Path, alice: Issued) -> None:
    repository.put(stored(alice, make_sealer(), username="bob"))
    put_files(tmp_path / "spool", "alice", alice)
    assert first_start(repository, tmp_path / "spool") is None
    assert names(repository) == ["bob"]


# And back ---------------------------------------------------------------------------------------------------------


def test_what_goes_back(repository: SQLRepository, tmp_path: Path, alice: Issued) -> None:
    with_copies, without = make_sealer(1, keeps_copies=True), make_sealer(1)
    repository.put(stored(alice, with_copies, "copied", description="a copy"))
    repository.put(stored(alice, without, "sealed"))
    repository.put(stored(alice, without, "open", passphrase=Passphrase("")))
    repository.put(stored(alice, without, "a-b"))
    repository.put(stored(alice, with_copies, "a-b", description="a-b itself"))
    repository.put(stored(alice, with_copies, "a", name="b"))
    repository.set_lock("open", None, "closed", now=NOW)
    report = export_spool(repository, without, str(tmp_path / "back"))
    assert (report.written, report.known) == (3, 0)
    left = {(one.username, one.name): one.reason for one in report.left}
    assert set(left) == {("sealed", None), ("a-b", None)}
    assert "its owner has to store a credential anew" in left["sealed", None]
    assert "in a file that is another's, a-b.creds" in left["a-b", None]
    assert (tmp_path / "back" / "open.lock").read_text() == "closed"
    again = export_spool(repository, without, str(tmp_path / "back"))
    assert (again.written, again.known, len(again.left)) == (0, 3, 2)
    repository.put(dataclasses.replace(stored(alice, with_copies, "copied"), description="another"))
    assert len(export_spool(repository, without, str(tmp_path / "back")).left) == 3
    assert export_spool(repository, without, str(tmp_path / "back"), replace=True).written == 1
    other = open_sqlite_repository(str(tmp_path / "other"))
    assert bring(other, tmp_path / "back").imported == 3
    assert other.get("copied", None).description == "another"
    with pytest.raises(NotFoundError):
        other.get("sealed", None)
    other.close()


def test_a_lost_server_key_is_named(repository: SQLRepository, tmp_path: Path, alice: Issued) -> None:
    repository.put(stored(alice, make_sealer(1, keeps_copies=True)))
    (left,) = export_spool(repository, make_sealer(2), str(tmp_path / "back")).left
    assert "which this server does not have" in left.reason


def test_a_directory_that_others_can_write_is_refused(repository: SQLRepository, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir(mode=0o777)
    (tmp_path / "back").chmod(0o777)
    with pytest.raises(StorageError, match="writable by others"):
        export_spool(repository, make_sealer(), str(tmp_path / "back"))
