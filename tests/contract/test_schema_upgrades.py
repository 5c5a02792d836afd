"""Upgrading from each earlier schema, with data in it: nothing is lost, and the tables are those of a fresh database.

The rows of an old version are written by SQL as that version had it, never through today's code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import alembic.command
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from gsi.secret import Passphrase
from gsi.sql.engine import Database, open_sqlite
from gsi.sql.migrate import SchemaState, find_schema, upgrade
from gsi.sql.postgres import open_postgres
from myproxy.repository.base import StoredCredential
from myproxy.repository.seal import Place, Sealer, SealParameters
from myproxy.repository.sealforms import describe_form
from myproxy.repository.sql import SQLRepository
from tests.harness.postgres import Postgres

ROOT = Path(__file__).resolve().parents[2]
BEGUN = 1_700_000_000
"""Some second of the time in which the old versions were in use."""


def name_of(directory: Path) -> str:
    """`portal` for myproxy/portal/migrations, `cas` for cas/repository/migrations."""
    owner = directory.parent
    return owner.parent.name if owner.name == "repository" else owner.name


MIGRATIONS = {
    name_of(path.parent): path.parent
    for package in ("myproxy", "cas", "kca")
    for path in sorted((ROOT / package).rglob("migrations/env.py"))
}


class Version(NamedTuple):
    """One schema of one package."""

    package: str
    revision: str

    @property
    def directory(self) -> str:
        return str(MIGRATIONS[self.package])


def revisions(package: str) -> list[str]:
    """The revisions of a package, oldest first."""
    script = ScriptDirectory(Version(package, "").directory)
    return [one.revision for one in script.walk_revisions()][::-1]


VERSIONS = [Version(package, one) for package in MIGRATIONS for one in revisions(package)]
OLDER = [one for one in VERSIONS if one.revision != revisions(one.package)[-1]]


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Database]]:
    """Makes empty databases."""
    import contextlib

    with contextlib.ExitStack() as stack:

        def make(name: str) -> Database:
            if request.param == "sqlite":
                made = open_sqlite(str(tmp_path / name / "test.db"))
            else:
                server = request.getfixturevalue("postgres_server")
                assert isinstance(server, Postgres)
                made = open_postgres(stack.enter_context(server.database()), application="test")
            stack.callback(made.close)
            return made

        yield make


def bring_to(database: Database, version: Version) -> None:
    """Make the schema of a version, as the program of that time did."""
    config = Config()
    config.set_main_option("script_location", version.directory)
    with database.write() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, version.revision)


# --- What old versions held ------------------------------------------------------------------------------------------

PLACE = Place("alice", None, "/O=Grid/CN=Alice", "0" * 64)
SECRET, KEY = Passphrase(b"correct horse"), b"-----BEGIN PRIVATE KEY-----\nof alice\n"


def sealed() -> bytes:
    """A key as every version has sealed it: by a pass phrase, without a key of the server."""
    return Sealer(SealParameters()).seal(KEY, SECRET, PLACE)


def credential_row() -> dict[str, Any]:
    return {
        "username": "alice",
        "name": "",
        "owner": "/O=Grid/CN=Alice",
        "description": "an old one",
        "retrievers": "*",
        "lifetime_seconds": 43200,
        "not_before": BEGUN,
        "not_after": BEGUN + 86400 * 365,
        "certificates": b"\0\0\0\4leaf",
        "sealed_key": sealed(),
        "created": BEGUN,
        "updated": BEGUN + 60,
        "version": 3,
    }


CAS_ROWS: dict[str, dict[str, Any]] = {
    "enrolments": {"digest": "d" * 64, "done": 4, "updated": BEGUN},
    "history": {
        "id": 1,
        "revision": 1,
        "time": BEGUN,
        "actor": "/O=Grid/CN=Admin",
        "reason": "the first",
        "request_id": "c0ffee",
        "token": "t",
        "change": "{}",
    },
    "entities": {"id": 100, "kind": 3, "scope": 0, "name": "staff", "skeleton": "staff", "version": 1},
}

PORTAL_ROWS: dict[str, dict[str, Any]] = {
    "sessions": {
        "row": "a" * 64,
        "username": "alice",
        "sealed": b"s",
        "begun": BEGUN,
        "seen": BEGUN,
        "ends": BEGUN + 60,
        "address": "192.0.2.7",
        "browser": "B",
    },
    "activity": {"id": 7, "username": "alice", "at": BEGUN, "action": "FETCH", "address": "-", "detail": "d"},
    "terminals": {
        "device": "d" * 64,
        "code": "c" * 64,
        "request": b"r",
        "address": "-",
        "begun": BEGUN,
        "ends": BEGUN + 60,
        "polled": 0,
        "state": "waiting",
        "username": "",
        "chain": b"",
    },
    "guesses": {"key": "b" * 64, "failures": 3, "until_ms": BEGUN * 1000, "expires_ms": BEGUN * 1000},
}

GRANT_ROWS: dict[str, dict[str, Any]] = {
    "grants": {
        "row": "e" * 64,
        "kind": "grant",
        "username": "alice",
        "application": "gateway",
        "scope": "proxy:limited",
        "sealed": b"s",
        "begun": BEGUN,
        "used": BEGUN,
        "times": 1,
        "ends": BEGUN + 60,
        "address": "192.0.2.7",
        "made": "",
    },
}

TRY_ROWS: dict[str, dict[str, Any]] = {
    "guesses": {"key": "a" * 64, "failures": 3, "until_ms": BEGUN * 1000, "expires_ms": BEGUN * 1000 + 1},
    "one_time_secrets": {"username": "alice", "sealed": b"sealed", "last_step": 7, "created": BEGUN},
}


def upkeep_rows() -> dict[str, dict[str, Any]]:
    """What the third version of the store held."""
    row = credential_row()
    return {
        "credentials": row | {"key_form": describe_form(row["sealed_key"])},
        "quarantine": {"id": 1, "moved": BEGUN, "reason": "damaged", "origin": "credentials", "content": "{}"},
        "leases": {"name": "sweeper", "holder": "node:1:aa", "until": BEGUN},
        "imports": {
            "source": "/var/lib/globus/myproxy",
            "file": "bob",
            "digest": "d" * 64,
            "username": "bob",
            "name": "",
            "imported": BEGUN,
        },
    }


ROWS: dict[Version, dict[str, dict[str, Any]]] = {
    Version("myproxy", "0001"): {"credentials": credential_row()},
    Version("myproxy", "0002"): {"credentials": credential_row()} | TRY_ROWS,
    Version("myproxy", "0003"): upkeep_rows() | TRY_ROWS,
    Version("portal", "portal0001"): PORTAL_ROWS,
    Version("portal", "portal0002"): PORTAL_ROWS | GRANT_ROWS,
    Version("cas", "0001"): CAS_ROWS,
    Version("cas", "0002"): CAS_ROWS | {"withdrawn": {"identifier": "e" * 32, "until": BEGUN}},
    Version("cas", "0003"): CAS_ROWS | {"withdrawn": {"identifier": "e" * 32, "until": BEGUN}},
    Version("cas", "0004"): CAS_ROWS | {"withdrawn": {"identifier": "e" * 32, "until": BEGUN}},
    Version("cas", "0005"): CAS_ROWS | {"withdrawn": {"identifier": "e" * 32, "until": BEGUN}},
}


def insert(database: Database, table: str, row: dict[str, Any]) -> None:
    columns = sa.table(table, *map(sa.column, row))
    with database.write() as connection:
        connection.execute(sa.insert(columns).values(**row))


def rows(database: Database, table: str, names: list[str]) -> list[dict[str, Any]]:
    columns = sa.table(table, *map(sa.column, names))
    with database.read() as connection:
        found = connection.execute(sa.select(columns)).mappings().all()
        return [
            {name: bytes(value) if isinstance(value, memoryview) else value for name, value in one.items()}
            for one in found
        ]


def shape(database: Database) -> dict[str, object]:
    """What the tables are made of, as the database itself tells it."""
    with database.read() as connection:
        told = sa.inspect(connection)
        return {
            name: (
                sorted((one["name"], str(one["type"]), one["nullable"]) for one in told.get_columns(name)),
                sorted(str(index["name"]) + str(index["column_names"]) for index in told.get_indexes(name)),
                told.get_pk_constraint(name)["constrained_columns"],
            )
            for name in told.get_table_names()
        }


def test_every_earlier_version_has_data_here() -> None:
    assert {"myproxy", "portal", "cas", "kca"} <= MIGRATIONS.keys()
    assert set(OLDER) == set(ROWS), "a new schema step comes with rows of the version before"


def test_the_page_on_upgrades_names_every_version() -> None:
    page = (ROOT / "docs/howto/upgrade.md").read_text("utf-8")
    told = set(re.findall(r"^\| (\w+) \| (\d{4}) \|", page, re.MULTILINE))
    assert {(one.package, one.revision[-4:]) for one in VERSIONS} <= told


@pytest.mark.parametrize("version", OLDER, ids=lambda one: f"{one.package}-{one.revision}")
def test_nothing_is_lost_on_the_way_up(version: Version, databases: Callable[[str], Database]) -> None:
    old, fresh = databases("old"), databases("fresh")
    bring_to(old, version)
    assert find_schema(old, version.directory)[:2] == (SchemaState.OLDER, version.revision)
    for table, row in ROWS[version].items():
        insert(old, table, row)
    before = {table: rows(old, table, list(row)) for table, row in ROWS[version].items()}
    upgrade(old, version.directory)
    upgrade(fresh, version.directory)
    assert find_schema(old, version.directory).state is SchemaState.CURRENT
    assert {table: rows(old, table, list(row)) for table, row in ROWS[version].items()} == before
    assert all(any(row.items() <= one.items() for one in before[table]) for table, row in ROWS[version].items())
    assert shape(old) == shape(fresh)


@pytest.mark.parametrize("version", [one for one in OLDER if one.package == "myproxy"], ids=lambda one: one.revision)
def test_an_old_credential_is_still_usable(version: Version, databases: Callable[[str], Database]) -> None:
    old = databases("old")
    bring_to(old, version)
    insert(old, "credentials", ROWS[version]["credentials"])
    upgrade(old, version.directory)
    repository = SQLRepository(old)
    found = repository.get("alice", None)
    assert isinstance(found, StoredCredential)
    assert (found.description, found.lifetime, found.version) == ("an old one", timedelta(hours=12), 3)
    assert found.updated == datetime.fromtimestamp(BEGUN + 60, UTC)
    assert Sealer(SealParameters()).open(found.sealed_key, SECRET, PLACE) == KEY
    assert repository.list_key_forms() == {describe_form(found.sealed_key)}


def test_hosts_of_objects_get_one_name(databases: Callable[[str], Database]) -> None:
    """`h.` and `H` are `h`: what was enrolled by all of them is one object, with the rights of each."""
    version = Version("cas", "0002")
    database = databases("old")
    bring_to(database, version)

    def entity(number: int, kind: int, scope: int, name: str) -> dict[str, Any]:
        return {"id": number, "kind": kind, "scope": scope, "name": name, "version": 1}

    def statement(number: int, on: int, effect: int) -> dict[str, Any]:
        head = {"id": number, "group_id": 100, "effect": effect, "action_id": 5, "object_id": on}
        return head | {"proxies": "any", "strength": 0, "terms": "-"}

    insert(database, "entities", entity(100, 3, 0, "staff"))
    for number, name, comparison in ((101, "tree", "WildCardComparison"), (102, "exact", "ExactComparison")):
        insert(database, "entities", entity(number, 4, 0, name))
        insert(database, "namespaces", {"id": number, "base": "", "comparison": comparison})
    for number, scope, name in (
        (110, 101, "ftp://h/d/*"),
        (111, 101, "ftp://h./d/*"),
        (112, 101, "ftp://k.:2811/d"),
        (113, 102, "FTP://H/D"),
        (114, 102, "FTP://H/a/../D"),
    ):
        insert(database, "entities", entity(number, 5, scope, name))
    insert(database, "entities", entity(120, 6, 0, "group"))
    for number in (110, 111):
        insert(database, "members", {"container_id": 120, "member_kind": 5, "member_id": number, "container_kind": 6})
        insert(database, "statements", statement(200 + number, number, 1))
    insert(database, "statements", statement(300, 111, 0))
    upgrade(database, version.directory)
    found = rows(database, "entities", ["id", "kind", "name"])
    assert sorted((one["id"], one["name"]) for one in found if one["kind"] == 5) == [
        (110, "ftp://h/d/*"),
        (112, "ftp://k:2811/d"),
        (113, "ftp://h/D"),
        (114, "FTP://H/a/../D"),
    ]
    assert sorted(
        (one["object_id"], one["effect"]) for one in rows(database, "statements", ["object_id", "effect"])
    ) == [
        (110, 0),
        (110, 1),
    ]
    assert [one["member_id"] for one in rows(database, "members", ["member_id"])] == [110]


def test_what_looks_alike_keeps_its_name_and_the_look_its_first_holder(databases: Callable[[str], Database]) -> None:
    version, database = Version("cas", "0003"), databases("old")
    bring_to(database, version)
    for number, kind, name in (
        (101, 2, "a1ice"),
        (102, 2, "alice"),
        (103, 3, "alice"),
        (104, 2, "rn0"),
        (105, 2, "bob"),
    ):
        row = {"id": number, "kind": kind, "scope": 0, "name": name, "skeleton": name, "version": 1}
        insert(database, "entities", row)
    upgrade(database, version.directory)
    found = {one["id"]: one["skeleton"] for one in rows(database, "entities", ["id", "skeleton"])}
    assert [found[number] for number in range(101, 106)] == ["allce", "allce|102", "allce", "mo", "bob"]


def test_more_letters_look_alike(databases: Callable[[str], Database]) -> None:
    version, database = Version("cas", "0004"), databases("old")
    bring_to(database, version)
    for number, kind, name, look in (
        (101, 2, "\u30ab", "\u30ab"),
        (102, 2, "\u529b", "\u529b"),
        (103, 3, "\u30ab", "\u30ab"),
        (104, 2, "\u03c3\u03bf", "\u03c3o"),
        (105, 2, "\u03c3\u043e", "\u03c3o|105"),
        (106, 2, "alice", "allce|106"),
    ):
        row = {"id": number, "kind": kind, "scope": 0, "name": name, "skeleton": look, "version": 1}
        insert(database, "entities", row)
    upgrade(database, version.directory)
    found = {one["id"]: one["skeleton"] for one in rows(database, "entities", ["id", "skeleton"])}
    expected = ["\u529b|101", "\u529b", "\u529b", "oo", "oo|105", "allce|106"]
    assert [found[number] for number in range(101, 107)] == expected


def test_a_portal_s_store_from_before_there_were_versions(tmp_path: Path) -> None:
    """The portal made its tables itself then, in SQLite alone; whoever was logged on stays so."""
    database = open_sqlite(str(tmp_path / "portal.db"))
    texts, times = "{} TEXT NOT NULL".format, "{} BIGINT NOT NULL".format
    session = [*map(texts, ("username", "address", "browser")), *map(times, ("begun", "seen", "ends"))]
    event = [*map(texts, ("username", "action", "address", "detail")), times("at")]
    waiting = [*map(texts, ("address", "state", "username")), *map(times, ("begun", "ends", "polled"))]
    key = "{} VARCHAR(64) NOT NULL".format
    made = (
        f'CREATE TABLE sessions ({key("row")}, {", ".join(session)}, sealed BLOB NOT NULL, PRIMARY KEY ("row"))',
        "CREATE INDEX sessions_username ON sessions (username)",
        "CREATE INDEX sessions_ends ON sessions (ends)",
        f"CREATE TABLE activity (id INTEGER NOT NULL, {', '.join(event)}, PRIMARY KEY (id))",
        "CREATE INDEX activity_username ON activity (username, id)",
        "CREATE INDEX activity_at ON activity (at)",
        (
            f"CREATE TABLE terminals ({key('device')}, {key('code')}, {', '.join(waiting)}, request BLOB NOT NULL,"
            " chain BLOB NOT NULL, PRIMARY KEY (device), UNIQUE (code))"
        ),
        "CREATE INDEX terminals_ends ON terminals (ends)",
        (
            f"CREATE TABLE guesses ({key('key')}, failures BIGINT NOT NULL, until_ms BIGINT NOT NULL,"
            " expires_ms BIGINT NOT NULL, PRIMARY KEY (key))"
        ),
    )
    with database, open_sqlite(str(tmp_path / "fresh.db")) as fresh:
        with database.write() as connection:
            for statement in made:
                connection.execute(sa.text(statement))
        for table, row in PORTAL_ROWS.items():
            insert(database, table, row)
        upgrade(database, Version("portal", "").directory)
        upgrade(fresh, Version("portal", "").directory)
        assert {table: rows(database, table, list(row)) for table, row in PORTAL_ROWS.items()} == {
            table: [row] for table, row in PORTAL_ROWS.items()
        }
        assert shape(database) == shape(fresh)


def test_letters_of_arabic_look_alike(databases: Callable[[str], Database]) -> None:
    version, database = Version("cas", "0005"), databases("old")
    bring_to(database, version)
    for number, name in ((101, "\u0645\u06cc\u0631"), (102, "\u0645\u064a\u0631"), (103, "\u06a9")):
        row = {"id": number, "kind": 2, "scope": 0, "name": name, "skeleton": name, "version": 1}
        insert(database, "entities", row)
    upgrade(database, version.directory)
    found = {one["id"]: one["skeleton"] for one in rows(database, "entities", ["id", "skeleton"])}
    meer = "\u0645\u064a\u0631"
    assert [found[number] for number in (101, 102, 103)] == [f"{meer}|101", meer, "\u0643"]
