"""Our `myproxy-server` under a site's authorization policy, with the C clients."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.run import Done
from tests.interop.conftest import ALICE, Grid
from tests.interop.test_myproxy_server import OPEN, Person, Site

SHIPPED = Path(__file__).resolve().parents[2] / "myproxy/policies"
PAGE = (Path(__file__).resolve().parents[2] / "docs/howto/authz-myproxy.md").read_text("utf-8")
TIGHTER = next(text for text in re.findall(r"(?m)(?:^    .*\n|^\n)+", PAGE) if "deny   anyone" in text)
REFUSED = re.compile(r"not authorized by the site's policy \(decision ([0-9a-f]{24})\)")


class Policed(Site):
    """A server with a policy."""

    def __init__(self, directory: Path, grid: Grid) -> None:
        super().__init__(directory, grid)
        self.policies = directory / "policies"
        shutil.copytree(SHIPPED, self.policies)
        self.configure(f'{OPEN}authorized_key_retrievers "*"\n')
        self.environment["GSI_AUTHZ_POLICY_DIR"] = str(self.policies)
        for path in self.policies.iterdir():
            path.chmod(0o644)

    def deny(self, lines: str) -> None:
        """Put lines before the one that permits; the running server is to see them."""
        rules = self.policies / "myproxy.rules"
        fresh = self.policies / "fresh"
        fresh.write_text(lines + (SHIPPED / "myproxy.rules").read_text())
        fresh.chmod(0o644)
        fresh.rename(rules)


@pytest.fixture
def site(tmp_path: Path, grid: Grid) -> Iterator[Policed]:
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    made = Policed(directory, grid)
    with made.start():
        yield made


def until_refused(run: object) -> Done:
    """Repeat what works until the new policy is in force: it is looked at each second."""
    assert callable(run)
    for _ in range(100):
        done: Done = run()
        if done.returncode:
            return done
    raise AssertionError("the policy was not read again")


def test_the_shipped_policy_and_a_tighter_one(site: Policed) -> None:
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    elsewhere = Person(site, "elsewhere", None)
    alice.put().check()
    assert "A credential has been received" in elsewhere.logon().check().stdout
    alice.run("myproxy-info", "-l", "alice").check()
    site.deny(textwrap.dedent(TIGHTER).replace("/O=Grid/CN=Mallory", ALICE))
    refused = until_refused(lambda: alice.run("myproxy-info", "-l", "alice"))
    found = REFUSED.search(refused.output)
    assert found is not None, refused
    for done in (alice.put(), alice.run("myproxy-destroy", "-l", "alice")):
        assert done.returncode != 0
        assert REFUSED.search(done.output), done
    refusals = [line for line in site.audit() if line["verdict"] == "deny"]
    assert any(f"decision {found[1]}" in str(line["reason"]) for line in refusals)
    assert all("left the collaboration" in str(line["reason"]) for line in refusals)


def test_strangers_are_not_told(site: Policed) -> None:
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    elsewhere = Person(site, "elsewhere", None)
    alice.put().check()
    elsewhere.logon().check()
    wrong = elsewhere.logon(stdin="wrong words\n")
    site.deny("deny anyone to myproxy:GET on alice\n")
    barred = until_refused(elsewhere.logon)

    def told(done: Done) -> str:
        return re.sub(r"request id: \S+", "", done.stderr)

    assert told(barred) == told(wrong)
    assert told(elsewhere.logon(stdin="wrong words\n")) == told(wrong)
    reasons = [str(line["reason"]) for line in site.audit() if line["verdict"] == "deny"]
    assert sum("myproxy.rules:1" in reason for reason in reasons) == 2


def test_a_broken_policy_leaves_the_old_one_and_a_server_that_has_none_does_not_start(site: Policed) -> None:
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    site.deny("deny anyone to myproxy:DESTROY\n")

    def put_and_destroy() -> Done:
        """Store anew each time, so that only the policy can refuse: the first tries may come before it."""
        alice.put().check()
        return alice.run("myproxy-destroy", "-l", "alice")

    until_refused(put_and_destroy)
    (site.policies / "myproxy.rules").write_text("permit whoever\n")
    for _ in range(3):
        assert alice.run("myproxy-destroy", "-l", "alice").returncode != 0
        alice.run("myproxy-info", "-l", "alice").check()
    (site.directory / "other").mkdir(mode=0o700)
    other = Policed(site.directory / "other", site.grid)
    (other.policies / "myproxy.rules").write_text("permit whoever\n")
    with pytest.raises(AssertionError, match=r"myproxy\.rules"), other.start():
        pass
