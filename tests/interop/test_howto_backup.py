"""The lines of docs/howto/backup.md run as they stand, against running servers; only places are others.

The service manager is a stand-in that notes what it was told: the servers are ended and started by the tests.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from cas.policy.changes import Enrol
from cas.policy.model import UserGroup
from cas.repository.sql import open_postgres_policy
from kca.repository.base import Selection
from kca.repository.sql import open_postgres_books
from tests.contract.test_kca_books import NOW, entry
from tests.harness.ca import write_file
from tests.harness.cas_server import cas_server
from tests.harness.environment import clean_environment
from tests.harness.kca import write_config
from tests.harness.postgres import Postgres, postgres
from tests.harness.run import Done, our_program, run
from tests.interop.conftest import Grid
from tests.interop.test_myproxy_server import OPEN, Person, Site

PAGE = (Path(__file__).resolve().parents[2] / "docs/howto/backup.md").read_text("utf-8")
NAMES = ("myproxy", "cas", "kca")


class Machine:
    """Where the page's places are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("var", "srv", "etc", "bin", "root"):
            (root / name).mkdir(mode=0o700)
        write_file(root / "bin" / "systemctl", f'#!/bin/sh\necho "$@" >> {root}/told\n'.encode(), 0o755)

    def lines(self, kind: str) -> str:
        (text,) = re.findall(rf"```sh{kind and ' ' + kind}\n(.*?)```", PAGE, re.DOTALL)
        for place, here in (("/var/lib", "var"), ("/srv/backup", "srv/backup"), ("/etc/kca", "etc"), ("/root", "root")):
            text = text.replace(place, f"{self.root}/{here}")
        return str(text)

    def run(self, kind: str, **more: str) -> Done:
        env = clean_environment(self.root) | more
        env["PATH"] = f"{self.root}/bin:{os.path.dirname(our_program('gsi-doctor'))}:{env['PATH']}"
        return run(["/bin/bash", "-euo", "pipefail", "-c", self.lines(kind)], env=env)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "machine").mkdir(mode=0o700)
    return Machine(tmp_path / "machine")


@pytest.fixture
def site(machine: Machine, grid: Grid) -> Site:
    directory = machine.root / "site"
    directory.mkdir(mode=0o700)
    made = Site(directory, grid)
    made.store = machine.root / "var" / "myproxy"
    return made


def person(site: Site, name: str) -> Person:
    return Person(site, name, site.grid.users["rsa2048", "rsa2048"])


def store_as(one: Person, name: str) -> None:
    one.run("myproxy-init", "-S", "-l", name, stdin="correct horse battery\n").check()


def logon_as(one: Person, name: str) -> Done:
    return one.run("myproxy-logon", "-S", "-l", name, "-o", one.received, stdin="correct horse battery\n")


def test_servers_on_sqlite(machine: Machine, site: Site, tmp_path: Path) -> None:
    alice = person(site, "alice")
    kca = write_config(machine.root / "etc")
    text = kca.read_text().replace(f"{machine.root}/etc/store", f"{machine.root}/var/kca")
    write_file(kca, text.encode(), 0o600)
    for name in ("one", "two"):  # books and audit are begun
        run([our_program("kca-admin"), "crl", "-out", tmp_path / name, "-c", kca], env=site.environment).check()
    run([our_program("kca-admin"), "check", "-c", kca], env=site.environment)  # begins the audit
    (machine.root / "cas").mkdir(mode=0o700)
    with cas_server(machine.root / "cas") as cas:
        cas.ours("cas-whoami", subject="/O=Grid/CN=Admin").check()
        shutil.copytree(cas.directory / "store", machine.root / "var" / "cas", ignore=shutil.ignore_patterns("*.db*"))
        # The database of the running server, by a link: what is copied is in use.
        os.symlink(cas.directory / "store" / "cas.db", machine.root / "var" / "cas" / "cas.db")
        with site.start():
            store_as(alice, "before")
            machine.run("").check()
            store_as(alice, "after")
    (machine.root / "var" / "cas" / "cas.db").unlink()
    for name in NAMES:
        path = machine.root / "var" / name / f"{name}.db"
        path.write_bytes(b"broken" * 2000)
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).write_bytes(b"broken")
    machine.run("restore").check()
    told = (machine.root / "told").read_text().splitlines()
    assert told == [f"{order} {name}-server" for name in NAMES for order in ("stop", "start")]
    with site.start():
        logon_as(alice, "before").check()
        gone = logon_as(alice, "after")
        assert gone.returncode, gone
    words: list[str | Path] = [
        our_program("myproxy-admin-query"),
        "-s",
        site.store,
        "--config",
        site.config_path,
        "--verify-audit",
    ]
    run(words, env=site.environment).check()
    done = run([our_program("kca-admin"), "crl", "-out", tmp_path / "three", "-c", kca], env=site.environment).check()
    assert done.stdout == "number 3, 0 certificates\n", "the numbers of lists go on"
    config = (cas.directory / "cas.toml").read_text().replace(f"{cas.directory}/store", f"{machine.root}/var/cas")
    write_file(tmp_path / "cas.toml", config.encode(), 0o600)
    run([our_program("cas-server"), "-check", "-c", tmp_path / "cas.toml"], env=clean_environment(tmp_path)).check()


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


def test_servers_on_postgresql(machine: Machine, site: Site, postgres_server: Postgres, tmp_path: Path) -> None:
    alice = person(site, "alice")
    (machine.root / "cas").mkdir(mode=0o700)
    with contextlib.ExitStack() as stack:
        names = [f"{name}_DATABASE" for name in ("MYPROXY", "CAS", "KCA")]
        databases = {name: stack.enter_context(postgres_server.database()) for name in names}
        books = open_postgres_books(databases["KCA_DATABASE"])
        site.configure(OPEN + f"database {databases['MYPROXY_DATABASE']}\n")
        with site.start(), cas_server(machine.root / "cas", database=databases["CAS_DATABASE"]) as cas:
            store_as(alice, "before")
            cas.change(Enrol(UserGroup("before"), "superUserGroup"))
            books.add(entry(1), rate=None)
            books.begin_crl("a" * 64, now=NOW, next_update=NOW + timedelta(days=1))
            machine.run("postgres", **databases).check()
            store_as(alice, "after")
            cas.change(Enrol(UserGroup("after"), "superUserGroup"))
            books.add(entry(2), rate=None)
        books.close()
        empty = {name: stack.enter_context(postgres_server.database()) for name in names}
        for place in (databases, empty):
            machine.run("postgres-restore", **place).check()
            site.configure(OPEN + f"database {place['MYPROXY_DATABASE']}\n")
            with site.start():
                logon_as(alice, "before").check()
                assert logon_as(alice, "after").returncode
            policy = open_postgres_policy(place["CAS_DATABASE"])
            books = open_postgres_books(place["KCA_DATABASE"])
            try:
                with policy.database.read() as connection:
                    found = connection.execute(sa.text("SELECT name FROM entities WHERE name IN ('before', 'after')"))
                    assert found.scalars().all() == ["before"]
                assert [one.serial for one in books.search(Selection())] == [1]
                number, _ = books.begin_crl("a" * 64, now=NOW, next_update=NOW + timedelta(days=1))
                assert number == 2, "the numbers of lists go on"
            finally:
                policy.close()
                books.close()


def test_the_key_of_a_ca(machine: Machine, tmp_path: Path) -> None:
    (machine.root / "srv/backup/kca").mkdir(parents=True)
    write_file(tmp_path / "passphrase", b"a long pass phrase\n", 0o600)
    write_file(machine.root / "root" / "ca-backup-passphrase", b"another\n", 0o600)
    ca, env = machine.root / "etc" / "ca", clean_environment(tmp_path)
    subject = ["-noint", "-subject", "/O=Example/CN=CA", "-pass", f"file:{tmp_path}/passphrase"]
    run([our_program("grid-ca-create"), "-dir", ca, *subject], env=env).check()
    machine.run("ca").check()
    key = (ca / "private" / "cakey.pem").read_bytes()
    assert b"PRIVATE KEY" not in (machine.root / "srv/backup/kca/ca.tar.enc").read_bytes()
    shutil.rmtree(ca)
    machine.run("ca-restore").check()
    assert (ca / "private" / "cakey.pem").read_bytes() == key
    words: list[str | Path] = ["-gencrl", "-out", tmp_path / "crl.pem", "-passin", f"file:{tmp_path}/passphrase"]
    run([our_program("grid-ca-sign"), "-dir", ca, *words], env=env).check()
