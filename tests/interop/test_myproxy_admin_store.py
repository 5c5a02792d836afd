"""Storing without a client: the administrator's commands beside a running server and the C clients."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.ca import write_file
from tests.harness.run import Done, our_program, run
from tests.interop.conftest import ALICE, Grid
from tests.interop.test_ca_tools import Site as CASite
from tests.interop.test_myproxy_server import OPEN, Person, Site

PASSPHRASE = b"correct horse"
NEW = "battery staple"


@pytest.fixture
def site(tmp_path: Path, grid: Grid) -> Iterator[Site]:
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    made = Site(directory, grid)
    made.configure(OPEN + 'authorized_key_retrievers "*"\nmonitor_listen 127.0.0.1:0\n')
    with made.start():
        yield made


def admin(site: Site, name: str, *words: str | Path, stdin: str = "") -> Done:
    where = ("-s", site.store, "--config", site.config_path)
    return run([our_program(name), *where, *words], env=site.environment, stdin=stdin, cwd=site.directory)


def test_a_loaded_credential_serves_c_clients(site: Site) -> None:
    alice = Person(site, "alice", None)
    certificate, key = site.directory / "cert.pem", site.directory / "key.pem"
    site.grid.users["rsa2048", "rsa2048"].write(certificate, key, passphrase=PASSPHRASE)
    done = admin(site, "myproxy-admin-load-credential", "-c", certificate, "-y", key, "-l", "alice", "-a").check()
    assert done.stdout == "Credential stored successfully\n"
    alice.logon().check()
    assert f"identity : {ALICE}" in alice.describe()
    changed = admin(
        site, "myproxy-admin-change-pass", "-l", "alice", "-S", stdin=f"{PASSPHRASE.decode()}\n{NEW}\n"
    ).check()
    assert changed.stdout == "Pass phrase changed.\n"
    assert "invalid credential passphrase" in alice.logon().stderr
    alice.logon(stdin=f"{NEW}\n").check()
    wrong = admin(site, "myproxy-admin-change-pass", "-l", "alice", "-S", stdin=f"nonsense\n{NEW}\n")
    assert wrong.returncode == 1
    assert "invalid credential passphrase" in wrong.stderr
    nobody = admin(site, "myproxy-admin-change-pass", "-l", "bob", "-S", stdin=f"nonsense\n{NEW}\n")
    assert "Credentials do not exist." in nobody.stderr
    told = [(one["action"], one["verdict"], str(one["peer"]).partition(":")[0]) for one in site.audit()]
    assert told[0] == ("STORE", "permit", "local")
    assert ("CHANGE_PASSPHRASE", "deny", "local") in told
    admin(site, "myproxy-admin-query", "--verify-audit").check()
    shown = json.loads(admin(site, "myproxy-admin-stats", "-a", "--json").check().stdout)
    assert shown["operations"]["CHANGE_PASSPHRASE"] == {"permit": 1, "deny": 1}
    assert shown["failures"]["authentication"] >= 1


def test_what_is_not_loaded(site: Site) -> None:
    certificate, key = site.directory / "cert.pem", site.directory / "key.pem"
    site.grid.users["rsa2048", "rsa2048"].write(certificate, key)
    load = ("myproxy-admin-load-credential", "-c", certificate, "-y", key, "-l", "alice")
    refused = admin(site, *load, "--require_passphrase")
    assert refused.returncode == 1
    assert "not locked by a pass phrase" in refused.stderr
    warned = admin(site, *load).check()
    assert "myproxy-admin-load-credential: warning: " in warned.stderr
    assert "not locked by a pass phrase" in warned.stderr
    for quiet in (["-n"], ["-Z", "portal"]):
        assert "pass phrase" not in admin(site, *load, *quiet).check().stderr
    site.grid.host.write(certificate, key)  # somebody else
    refused = admin(site, *load, "-n")
    assert refused.returncode == 1
    assert "already" in refused.stderr
    mistakes: list[list[str | Path]] = [
        ["-c", certificate],
        ["-y", key],
        ["-c", certificate, "-y", key, "-a", "-r", "x"],
    ]
    for words in mistakes:
        assert admin(site, "myproxy-admin-load-credential", *words).returncode == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for somebody else")
def test_root_acts_as_the_owner_of_the_directory_that_was_named(grid: Grid) -> None:
    directory = Path(tempfile.mkdtemp(prefix="gsi-store-"))  # where others can get to
    try:
        directory.chmod(0o755)
        site = Site(directory, grid)
        with site.start():
            pass
        for path in (site.store, *site.store.iterdir()):
            os.chown(path, 65534, 65534)
        certificate, key = site.directory / "cert.pem", site.directory / "key.pem"
        site.grid.users["rsa2048", "rsa2048"].write(certificate, key, passphrase=PASSPHRASE)
        trust = shutil.copytree(grid.trust_dir, directory / "certificates")
        trust.chmod(0o755)
        site.environment["X509_CERT_DIR"] = str(trust)
        done = admin(site, "myproxy-admin-load-credential", "-c", certificate, "-y", key, "-l", "alice", "--json")
        assert json.loads(done.check().stdout)["owner"] == ALICE
        assert {path.stat().st_uid for path in site.store.iterdir()} == {65534}
    finally:
        shutil.rmtree(directory)


@pytest.mark.parametrize("kind", ["adduser", "addservice"])
def test_a_user_and_a_service_from_nothing(site: Site, tmp_path: Path, kind: str) -> None:
    authority = CASite(tmp_path / "authority")
    stem = authority.create()
    authority.trust(stem)
    added = [Path(shutil.copy(path, site.grid.trust_dir / path.name)) for path in authority.user.trust_dir.iterdir()]
    for name in ("globus-user-ssl.conf", "globus-host-ssl.conf", "grid-security.conf"):
        shutil.copy(authority.user.trust_dir / f"{name}.{stem}", authority.user.trust_dir / name)
    secret = site.directory / "secret"
    write_file(secret, PASSPHRASE + b"\n", 0o600)
    environment = {"GRID_SECURITY_DIR": str(authority.user.trust_dir), "HOME": str(authority.home)}
    before = dict(site.environment)
    site.environment |= environment
    try:
        words: list[str | Path] = [
            "--ca_dir",
            authority.ca,
            "-p",
            f"file:{authority.secret}",
            "--passout",
            f"file:{secret}",
            "-a",
        ]
        done = admin(site, f"myproxy-admin-{kind}", *words, stdin="Carol\ncarol\n").check()
    finally:
        site.environment = before
    subject = "/O=Grid/OU=Test/OU=Grid CA/CN=Carol"
    assert "Enter common name for the certificate:" in done.stdout
    assert "Enter username [use DN by default]:" in done.stdout
    assert done.stdout.endswith(f"Credential stored successfully\nCertificate subject is:\n{subject}\n")
    carol = Person(site, "carol", None)
    which = ["-k", "Carol"] if kind == "addservice" else []
    carol.run("myproxy-logon", "-S", "-l", "carol", "-o", carol.received, *which, stdin="correct horse\n").check()
    assert f"identity : {subject}" in carol.describe()
    for path in added:
        path.unlink()
