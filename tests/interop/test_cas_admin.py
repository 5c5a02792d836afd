"""A community is administered by commands alone, against a running server: enrol, grant, ask, try, revoke, remove."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cas_server import CASServer, cas_server
from tests.harness.run import Done

pytestmark = pytest.mark.interop

ADMIN = "/O=Grid/CN=Admin"
ALICE = "/O=Grid/CN=Alice"
BOB = "/O=Grid/CN=Bob"
NAMES = "FTPDirectoryTree"
DATA = "ftp://localhost/data/*"
FILE = "ftp://localhost/data/runs/1"


class Desk:
    """An administrator's desk."""

    def __init__(self, server: CASServer) -> None:
        self.server = server

    def run(self, name: str, *words: str | Path, who: str = ADMIN) -> Done:
        """Run a command."""
        return self.server.ours(name, *words, subject=who)

    def do(self, name: str, *words: str | Path, who: str = ADMIN) -> str:
        """Run a command that succeeds; return what it prints."""
        return self.run(name, *words, who=who).check().stdout

    def ask(self, name: str, *words: str | Path, who: str = ADMIN) -> Any:
        """Run a command that succeeds; return the value that it prints for programs."""
        return json.loads(self.do(name, "-json", *words, who=who))

    def refused(self, name: str, *words: str | Path, who: str = ADMIN) -> str:
        """Run a command that fails; return what it says."""
        done = self.run(name, *words, who=who)
        assert done.returncode == 1, done
        assert not done.stdout, done
        return done.stderr


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with cas_server(tmp_path_factory.mktemp("cas")) as server:
        yield Desk(server)


def test_from_enrolment_to_removal(desk: Desk) -> None:
    assert desk.do("cas-group-admin", "user", "create", "superUserGroup", "readers").startswith("Done; ")
    desk.do("cas-enroll", "user", "superUserGroup", "alice", ALICE, "ca")
    desk.do("cas-group-add-entry", "user", "readers", "alice")
    desk.do("cas-enroll", "object", "superUserGroup", DATA, NAMES)
    grant = ("readers", "object", NAMES, DATA, "serviceAction", "file", "read")
    tried = desk.do("cas-rights-admin", "-dry-run", "grant", *grant)
    assert f"file/read on object {NAMES}|{DATA}: 1 -> 2\n  gains: alice\n" in tried
    assert desk.run("cas-why", "file/read", "object", NAMES, FILE, who=ALICE).returncode == 2
    desk.do("cas-rights-admin", "-reason", "ticket 12", "grant", *grant)

    assert desk.do("cas-whoami", who=ALICE) == "alice\n"
    assert desk.do("cas-list-object", "user") == "admin\nalice\n"
    assert f"{NAMES}|{DATA}\n" in desk.do("cas-list-object", "object")
    assert "file/read\n" in desk.do("cas-list-object", "serviceAction", "file")
    assert f"subject: {ALICE}\n" in desk.do("cas-get-object", "user", "alice")
    assert desk.do("cas-group-list-entries", "user", "readers") == "alice\n"
    held = f"permit readers serviceAction file/read on object {NAMES}|{DATA}"
    assert held in desk.do("cas-find-policies", "userGroup", "readers").splitlines()
    assert desk.do("cas-who-can", "file/read", "object", NAMES, FILE) == "admin\nalice\n"
    why = desk.do("cas-why", "-user", "alice", "file/read", "object", f"{NAMES}|{FILE}")
    assert why == f"alice: yes\n  {held} (alice is in readers)\n"

    assert "  loses: alice\n" in desk.do("cas-rights-admin", "-n", "revoke", *grant)
    desk.do("cas-rights-admin", "revoke", *grant)
    assert desk.do("cas-rights-admin", "revoke", *grant) == "Nothing was changed: it was so already.\n"
    desk.do("cas-group-remove-entry", "user", "readers", "alice")
    desk.do("cas-remove", "user", "alice")
    desk.do("cas-remove", "object", DATA, NAMES)
    desk.do("cas-group-admin", "user", "delete", "readers")
    assert desk.do("cas-list-object", "userGroup") == "everyone\nsuperUserGroup\n"
    assert desk.do("cas-remove", "user", "alice") == "Nothing was changed: it was so already.\n"
