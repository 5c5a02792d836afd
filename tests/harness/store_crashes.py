"""Stores that die or run full at every call that writes, and what is left of them; run by `test_repository_crashes`.

    python -m tests.harness.store_crashes KIND HOW DIRECTORY [CONNINFO]

Prints the number of trials. Each acknowledged change has to be whole afterwards, and each other as if it had never been
begun, or whole: the last one may have been made durable without the process living to say so.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gsi.errors import ConflictError, GridError, NotFoundError
from gsi.keys import KeyType, encode_private_key, generate_key
from gsi.secret import Passphrase
from myproxy.repository.base import Selection, StoredCredential
from myproxy.repository.importing import ImportReport, import_at_first_start
from myproxy.repository.seal import Place, Sealer, SealParameters
from myproxy.repository.sql import SQLRepository, open_postgres_repository, open_sqlite_repository
from tests.harness.killpoints import How, trials

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SEALER = Sealer(SealParameters(memory_kib=8, iterations=1))
SECRET = Passphrase("correct horse")
KEY = encode_private_key(generate_key(KeyType.P256))
OWNER = "/O=Grid/CN=Alice"
CERTIFICATE = b"a certificate" * 100  # several pages with what else is in the row


def credential(username: str, version: int) -> StoredCredential:
    place = Place(username, None, OWNER, "")
    return StoredCredential(
        username=username,
        owner=OWNER,
        description=f"version {version}",
        certificates=(CERTIFICATE, CERTIFICATE, CERTIFICATE),
        sealed_key=SEALER.seal(KEY, SECRET, place),
        not_before=NOW,
        not_after=NOW + timedelta(days=7),
        lifetime=timedelta(hours=12),
        created=NOW,
        updated=NOW,
    )


def is_whole(stored: StoredCredential, version: int) -> bool:
    place = Place(stored.username, None, OWNER, "")
    return (
        stored.description == f"version {version}"
        and stored.certificates == (CERTIFICATE,) * 3
        and SEALER.open(stored.sealed_key, SECRET, place) == KEY
    )


def find(repository: SQLRepository, username: str) -> StoredCredential | None:
    try:
        return repository.get(username, None)
    except NotFoundError:
        return None


def crash_while_storing(how: How, open_store: Callable[[], SQLRepository]) -> int:
    """PUT a new one, PUT over it, change its key, remove another: killed at each call."""
    prepared = open_store()
    for count in range(200):
        prepared.put(credential(f"gone{count}", 0))
    prepared.close()
    trial_number = 0

    def body(tell: Callable[[str], None]) -> None:
        repository = open_store()
        name = f"new{trial_number}"
        repository.put(credential(name, 1))
        tell("stored")
        repository.put(credential(name, 2))
        tell("replaced")
        stored = repository.get(name, None)
        changed = dataclasses.replace(stored, sealed_key=SEALER.seal(KEY, SECRET, Place(name, None, OWNER, "")))
        repository.replace_key(stored, changed.sealed_key, now=NOW)
        tell("changed")
        repository.delete(f"gone{trial_number}", None, owner=OWNER)
        tell("removed")
        repository.close()

    for trial in trials(how, body):
        repository = open_store()
        new, gone = find(repository, f"new{trial_number}"), find(repository, f"gone{trial_number}")
        told = set(trial.told)
        assert (new is not None) or "stored" not in told, (trial.number, told)
        if new is not None:
            version = 2 if "replaced" in told else 1
            assert is_whole(new, version) or is_whole(new, version + 1), (trial.number, told)
            assert new.version >= version + ("changed" in told), (trial.number, told)
        assert gone is None or "removed" not in told, (trial.number, told)
        assert gone is None or is_whole(gone, 0), (trial.number, told)
        repository.close()
        trial_number += 1
    return trial_number


def crash_while_making(how: How, directory: Path) -> int:
    """A store that is made for the first time: the next start makes the rest."""
    done = 0

    def body(_tell: Callable[[str], None]) -> None:
        open_sqlite_repository(str(directory / "store")).close()

    for _trial in trials(how, body, step=3):
        repository = open_sqlite_repository(str(directory / "store"))
        repository.put(credential("alice", 1))
        assert is_whole(repository.get("alice", None), 1)
        repository.close()
        shutil.rmtree(directory / "store")
        done += 1
    return done


def crash_while_importing(how: How, directory: Path, spool: Path) -> int:
    """The import of the first start: all or nothing, and the next start does it."""
    done = 0

    def first_start(repository: SQLRepository) -> ImportReport | None:
        return import_at_first_start(repository.database, SEALER, str(spool), now=NOW, agree=lambda _report: None)

    def body(tell: Callable[[str], None]) -> None:
        repository = open_sqlite_repository(str(directory / "store"))
        assert first_start(repository) is not None
        tell("imported")
        repository.close()

    total = len(list(spool.glob("*.creds")))
    open_sqlite_repository(str(directory / "fresh")).close()
    shutil.copytree(directory / "fresh", directory / "store")
    for trial in trials(how, body):
        repository = open_sqlite_repository(str(directory / "store"))
        count = len(list(repository.search(Selection())))
        assert count in {0, total}, trial.number
        assert count == total or "imported" not in trial.told
        report = first_start(repository)
        assert (report is None) == (count == total)
        assert len(list(repository.search(Selection()))) == total
        repository.close()
        shutil.rmtree(directory / "store")
        shutil.copytree(directory / "fresh", directory / "store")
        done += 1
    return done


def fill_while_storing(open_store: Callable[[], SQLRepository]) -> int:
    """The disk is full from some call on: an error of ours, and nothing of what was there is lost."""
    prepared = open_store()
    prepared.put(credential("alice", 1))
    prepared.close()
    done = 0

    def body(tell: Callable[[str], None]) -> None:
        try:
            repository = open_store()
            for count in range(3):
                repository.put(credential(f"new{done}-{count}", 1))
                tell(f"stored {count}")
            repository.put(credential("alice", 1))
            repository.close()
        except ConflictError:
            raise
        except GridError as error:
            tell(f"error {error.slug}")

    for trial in trials(How.DISK_FULL, body):
        repository = open_store()
        assert is_whole(repository.get("alice", None), 1)
        for count in range(3):
            found = find(repository, f"new{done}-{count}")
            assert found is not None or f"stored {count}" not in trial.told, (trial.number, trial.told)
            assert found is None or is_whole(found, 1)
        repository.close()
        done += 1
    return done


def main() -> None:
    kind, how_name, directory, *rest = sys.argv[1:]
    how = How[how_name]

    def open_store() -> SQLRepository:
        if kind == "postgresql":
            return open_postgres_repository(rest[0])
        return open_sqlite_repository(f"{directory}/store")

    if kind == "making":
        print(crash_while_making(how, Path(directory)))
    elif kind == "importing":
        print(crash_while_importing(how, Path(directory), Path(rest[0])))
    elif how is How.DISK_FULL:
        print(fill_while_storing(open_store))
    else:
        print(crash_while_storing(how, open_store))


if __name__ == "__main__":
    main()
