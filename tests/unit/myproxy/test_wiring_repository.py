"""From the configuration to the store and its seals: what is used, and what keeps a server from starting."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gsi.errors import ConfigError, StorageError
from gsi.secret import Passphrase
from gsi.sql.postgres import check_conninfo
from gsi.system.audit import Verdict
from myproxy.config import ServerConfig, parse_config
from myproxy.repository.importing import ImportReport
from myproxy.repository.seal import Place, SealParameters
from myproxy.repository.sealforms import SEALED, SEALED_WITH_COPY, method_of
from myproxy.wiring.repository import has_repository, import_record, make_sealer, open_repository, prepare_repository
from tests.harness.ca import TestCA, write_file
from tests.unit.myproxy.repository.support import OWNER, key_of, stored
from tests.unit.myproxy.repository.support import make_sealer as cheap_sealer


def parse(text: str) -> ServerConfig:
    return parse_config(text, path="/x")


def test_directives() -> None:
    config = parse("")
    assert (config.database, config.server_key, config.keep_c_export) == (None, None, True)
    assert (config.database_connections, config.database_patience, config.expired_credential_grace) == (8, 30, 0)
    config = parse("server_key /a /b\nserver_key none\nkeep_c_export off\ndatabase postgresql://h/d\n")
    assert (config.server_key, config.keep_c_export) == (("/a", "/b", "none"), False)
    assert config.database == "postgresql://h/d"
    assert config.notes == ()
    for line in ("server_key", "database", "database_connections 0", "expired_credential_grace -1"):
        with pytest.raises(ConfigError):
            parse(line)


def test_another_database_than_those_that_are_known(tmp_path: Path) -> None:
    for uri in ("mysql://h/d", "h", "sqlite:///x"):
        with pytest.raises(ConfigError, match="not the URI of a PostgreSQL database"):
            open_repository(parse(f"database {uri}"), str(tmp_path / "store"))


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:hunter2@h/d",
        "postgresql://me@h/d?password=hunter2",
        "postgresql://h/d?sslkey=/k&sslpassword=hunter2",
    ],
)
def test_passwords_in_connection_strings_are_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="a password in the connection string") as caught:
        check_conninfo(uri)
    assert "hunter2" not in str(caught.value)


def test_malformed_connection_strings() -> None:
    for uri in ("postgresql://h/d?nonsense=1", "postgresql://[::1/d", "host="):
        if uri == "host=":
            assert check_conninfo(uri) == {"host": ""}
            continue
        with pytest.raises(ConfigError, match="connection string is malformed"):
            check_conninfo(uri)
    words = check_conninfo("postgresql://me@a,b:5433/d?passfile=/p&target_session_attrs=primary")
    assert (words["host"], words["passfile"]) == ("a,b", "/p")


def test_a_server_that_lost_a_key_does_not_start(tmp_path: Path) -> None:
    issued = TestCA("/O=Grid/CN=Test CA", "p256").issue(OWNER, "p256")
    storage = str(tmp_path / "store")
    prepare_repository(parse(""), storage, str(tmp_path / "audit.log"))
    assert has_repository(parse(""), storage)
    repository = open_repository(parse(""), storage)
    lost = cheap_sealer(1)
    repository.put(stored(issued, lost))
    with pytest.raises(ConfigError, match="lie under server keys that are not configured") as caught:
        make_sealer(parse(""), repository)
    current = lost.server_keys.current
    assert current is not None
    assert current.hex() in str(caught.value)
    with pytest.raises(ConfigError, match="not configured"):
        prepare_repository(parse(""), storage, str(tmp_path / "audit.log"))
    write_file(tmp_path / "old", bytes([1]) * 32, 0o600)
    write_file(tmp_path / "new", os.urandom(32), 0o600)
    sealer = make_sealer(parse(f"server_key {tmp_path}/new {tmp_path}/old"), repository)
    assert SealParameters(memory_kib=8, iterations=1) in sealer.prices
    assert not sealer.is_current(repository.get("alice", None).sealed_key)
    make_sealer(parse(""), repository, serves=False)
    repository.close()


def test_copies_are_kept_unless_told_otherwise(tmp_path: Path) -> None:
    issued = TestCA("/O=Grid/CN=Test CA", "p256").issue(OWNER, "p256")
    place = Place("alice", None, OWNER, "")
    repository = open_repository(parse(""), str(tmp_path / "store"))
    for text, method in (("", SEALED_WITH_COPY), ("keep_c_export off", SEALED)):
        blob = make_sealer(parse(text), repository).seal(key_of(issued), Passphrase("correct horse"), place)
        assert method_of(blob) == method
    repository.close()


def spool(storage: Path) -> None:
    """What makes a directory look like one of the C server's."""
    storage.mkdir(mode=0o700, exist_ok=True)
    write_file(storage / "alice.creds", b"nothing that can be imported", 0o600)


def starts(storage: Path, text: str = "") -> None:
    prepare_repository(parse(text), str(storage), str(storage / "audit.log"))


def imports(storage: Path) -> int:
    return (storage / "audit.log").read_bytes().count(b'"IMPORT"') if (storage / "audit.log").exists() else 0


def test_a_store_that_was_lost_is_not_begun_anew(tmp_path: Path) -> None:
    storage = tmp_path / "store"
    spool(storage)
    for _ in range(2):
        starts(storage)
        assert imports(storage) == 1
    kept = (storage / "myproxy.db").read_bytes()
    for traces in (["audit.log", "first-start.done"], ["first-start.done"], ["audit.log"]):
        (storage / "myproxy.db").unlink()
        hidden = [storage / name for name in ("audit.log", "first-start.done") if name not in traces]
        for path in hidden:
            path.rename(path.with_suffix(".hidden"))
        with pytest.raises(StorageError, match=r"is gone, but there was one: see .*" + traces[0]) as caught:
            starts(storage)
        assert "bring it back from a backup" in str(caught.value.hint)
        assert not (storage / "myproxy.db").exists()
        for path in hidden:
            path.with_suffix(".hidden").rename(path)
        write_file(storage / "myproxy.db", kept, 0o600)
        starts(storage)
    assert imports(storage) == 1


def test_the_record_of_an_import_says_whether_everything_was_taken_over(tmp_path: Path) -> None:
    storage = tmp_path / "store"
    spool(storage)
    starts(storage, "node_name a.example.org")
    (record,) = (json.loads(line) for line in (storage / "audit.log").read_text("ascii").splitlines())
    assert (record["action"], record["verdict"]) == ("IMPORT", "fail")
    assert record["reason"] == "credentials of the C server: 1 could not be taken over"
    assert record["node"] == "a.example.org"
    whole = import_record(ImportReport(imported=3), "/x")
    assert (whole.verdict, whole.reason) == (Verdict.PERMIT, "credentials of the C server")


def test_an_empty_database_in_its_place_is_noticed(tmp_path: Path) -> None:
    storage = tmp_path / "store"
    spool(storage)
    starts(storage)
    write_file(storage / "myproxy.db", b"", 0o600)
    with pytest.raises(StorageError, match="is empty, but there was one"):
        starts(storage)
    assert imports(storage) == 1
    (storage / "first-start.done").unlink()  # as the hint says
    starts(storage)
    assert imports(storage) == 2


@pytest.mark.parametrize("mode", [0o750, 0o755, 0o701])
def test_a_directory_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    storage = tmp_path / "store"
    storage.mkdir(mode=0o700)
    storage.chmod(mode)
    with pytest.raises(StorageError, match="is open to others") as caught:
        starts(storage)
    assert caught.value.hint == f"chmod 700 {storage}"
    assert not list(storage.iterdir())


def test_a_store_from_before_the_mark_gets_it(tmp_path: Path) -> None:
    storage = tmp_path / "store"
    starts(storage)
    (storage / "first-start.done").unlink()
    starts(storage)
    assert (storage / "first-start.done").stat().st_mode & 0o777 == 0o600


def test_a_running_server_makes_no_other_store(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        open_repository(parse(""), str(tmp_path / "store"), create=False)
    assert not has_repository(parse(""), str(tmp_path / "store"))
