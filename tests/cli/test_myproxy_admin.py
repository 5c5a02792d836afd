"""The administrator's commands on a store of their own, beside no server."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path

import pexpect
import pytest

from gsi.system.clock import now
from myproxy.config import ServerConfig
from myproxy.repository.base import Selection, StoredCredential
from myproxy.repository.seal import Place, Sealer, SealParameters
from myproxy.repository.sql import open_sqlite_repository
from myproxy.wiring.repository import prepare_repository
from tests.harness.ca import Issued, TestCA, write_trust_dir
from tests.harness.environment import clean_environment
from tests.harness.run import Done, our_program, run


class Store:
    """A storage directory with a few credentials."""

    def __init__(self, directory: Path, ca: TestCA) -> None:
        self.path = directory / "store"
        self.trust = write_trust_dir(directory / "certificates", ca, crl=True)
        self.home = directory
        self.repository = open_sqlite_repository(str(self.path))

    def put(self, username: str, issued: Issued, *, name: str | None = None, hours: float = 12) -> None:
        moment = now()
        self.repository.put(
            StoredCredential(
                username=username,
                name=name,
                owner=issued.subject,
                certificates=tuple(issued.chain_der),
                sealed_key=Sealer(SealParameters()).keep(b"x", Place("", None, "", "")),
                not_before=moment,
                not_after=moment + timedelta(hours=hours),
                lifetime=timedelta(hours=12),
                created=moment,
                updated=moment,
            )
        )

    def query(self, *arguments: str) -> Done:
        environment = clean_environment(self.home) | {"X509_CERT_DIR": str(self.trust)}
        return run([our_program("myproxy-admin-query"), "-s", self.path, *arguments], env=environment)

    def names(self) -> list[tuple[str, str | None]]:
        return [(one.username, one.name) for one in self.repository.search(Selection())]

    def audit(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.path / "audit.log").read_text().splitlines()]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    ca = TestCA("/O=Grid/CN=CA", "p256")
    made = Store(tmp_path, ca)
    made.put("alice", ca.issue("/O=Grid/CN=Alice", "p256"))
    made.put("alice", ca.issue("/O=Grid/CN=Alice", "p256"), name="long", hours=100)
    made.put("bob", TestCA("/O=Elsewhere/CN=CA", "p256").issue("/O=Grid/CN=Bob", "p256"), hours=2)
    return made


def test_showing(store: Store) -> None:
    shown = store.query().check().stdout
    assert shown.count("username: ") == 3
    assert "owner: /O=Grid/CN=Alice\nusername: alice\n  name: long\n  timeleft: 99:59:" in shown
    listed = json.loads(store.query("--json", "-l", "bob").check().stdout)
    assert [(one["username"], one["owner"], one["locked"]) for one in listed] == [("bob", "/O=Grid/CN=Bob", None)]
    assert 7100 < listed[0]["timeleft"] <= 7200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (["-l", "alice"], ["alice", "alice"]),
        (["-l", "alice", "-k", "long"], ["alice"]),
        (["-k", ""], ["alice", "bob"]),
        (["-o", "/O=Grid/CN=Bob"], ["bob"]),
        (["-e", "24"], ["alice", "bob"]),
        (["-t", "24"], ["alice"]),
        (["-i"], ["bob"]),
        (["-l", "nobody"], []),
    ],
)
def test_queries(store: Store, query: list[str], found: list[str]) -> None:
    shown = store.query(*query).check().stdout
    assert [line.split(": ")[1] for line in shown.splitlines() if line.startswith("username")] == found
    assert ("No credentials found." in shown) == (not found)


def test_locking_and_removing(store: Store) -> None:
    done = store.query("-l", "alice", "-L", "Ask the help desk.").check()
    assert done.stdout == (
        "Credential for user alice (name: default) locked.\nCredential for user alice (name: long) locked.\n"
    )
    assert "  locked: Ask the help desk." in store.query("-k", "long").check().stdout
    store.query("-k", "long", "-U").check()
    assert "locked" not in store.query("-k", "long").check().stdout
    assert store.query("-i", "-r").check().stdout == "Credential for user bob (name: default) removed.\n"
    assert store.names() == [("alice", None), ("alice", "long")]
    store.query("--all", "-r").check()
    assert store.names() == []
    assert [line["action"] for line in store.audit()] == ["LOCK", "LOCK", "UNLOCK", "REMOVE", "REMOVE", "REMOVE"]
    assert store.audit()[0]["reason"] == "Ask the help desk."


@pytest.mark.parametrize("answer", ["yes", "no", ""])
def test_a_person_is_asked_whether_everything_is_meant(store: Store, answer: str) -> None:
    environment = clean_environment(store.home) | {"X509_CERT_DIR": str(store.trust)}
    child = pexpect.spawn(
        str(our_program("myproxy-admin-query")), ["-s", str(store.path), "-r"], env=environment, timeout=30
    )
    child.expect_exact("--remove every credential of everybody? [yes/no]")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == (0 if answer == "yes" else 1)
    assert len(store.names()) == (0 if answer == "yes" else 3)


def test_a_script_is_not_asked(store: Store) -> None:
    store.query("-r").check()
    assert store.names() == []


def test_mistakes(store: Store, tmp_path: Path) -> None:
    assert "mutually exclusive" in store.query("-l", "alice", "-r", "-U").stderr
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o700)
    words: list[str | Path] = [our_program("myproxy-admin-query"), "-s", empty]
    done = run(words, env=clean_environment(tmp_path)).check()
    assert done.stdout == "No credentials found.\n"
    assert run([*words, "--json"], env=clean_environment(tmp_path)).check().stdout == "[]\n"
    assert list(empty.iterdir()) == []
    (empty / "alice.creds").touch()  # of the C server: it is there, but not looked into here
    done = run(words, env=clean_environment(tmp_path))
    assert done.returncode == 1
    assert "there is no repository here" in done.stderr


def test_the_first_credential_is_stored_before_the_servers_first_start(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o700)
    ca = TestCA("/O=Grid/CN=CA")
    environment = clean_environment(tmp_path) | {"X509_CERT_DIR": str(write_trust_dir(tmp_path / "trust", ca))}
    ca.issue("/O=Grid/CN=Alice").write(tmp_path / "cert.pem", tmp_path / "key.pem", passphrase=b"old words")
    places: list[str | Path] = ["-s", empty, "-l", "alice"]

    def admin(name: str, *words: str | Path, stdin: str = "") -> Done:
        return run([our_program(f"myproxy-admin-{name}"), *places, *words], env=environment, stdin=stdin)

    done = admin("change-pass", "-S", stdin="old words\nnew words\n")
    assert "Credentials do not exist." in done.stderr
    admin("load-credential", "-c", tmp_path / "cert.pem", "-y", tmp_path / "key.pem").check()
    assert "owner: /O=Grid/CN=Alice" in admin("query").check().stdout
    assert {stat.S_IMODE(path.stat().st_mode) for path in empty.iterdir()} == {0o600}
    before = {path.name for path in empty.iterdir()}
    prepare_repository(ServerConfig(), str(empty), str(empty / "audit.log"))  # the server's first start, which is none
    assert {path.name for path in empty.iterdir()} == before
    assert "owner: /O=Grid/CN=Alice" in admin("query").check().stdout
    (tmp_path / "open").mkdir(mode=0o755)
    places[1] = tmp_path / "open"
    done = admin("load-credential", "-c", tmp_path / "cert.pem", "-y", tmp_path / "key.pem")
    assert "is open to others" in done.stderr
    assert list((tmp_path / "open").iterdir()) == []


def test_without_an_audit_nothing_is_changed(store: Store) -> None:
    (store.path / "audit.log").mkdir()
    done = store.query("--all", "-r")
    assert done.returncode == 1
    assert len(store.names()) == 3
