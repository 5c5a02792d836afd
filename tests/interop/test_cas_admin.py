"""A community is administered by commands alone, against a running server: enrol, grant, ask, try, revoke, remove.

The commands run in this process, since there are hundreds of them; test_howto_cas_admin.py runs them as programs.
"""

from __future__ import annotations

import importlib
import io
import json
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
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
PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
SCRIPTS: dict[str, str] = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["scripts"]


class Desk:
    """An administrator's desk."""

    def __init__(self, server: CASServer) -> None:
        self.server = server

    def run(self, name: str, *words: str | Path, who: str = ADMIN) -> Done:
        """Run a command."""
        module, _, function = SCRIPTS[name].partition(":")
        main = getattr(importlib.import_module(module), function)
        argv = [str(word) for word in words]
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for variable, value in self.server.variables(who).items():
                patch.setenv(variable, value)
            status = main(argv)
        return Done((name, *argv), status, out.getvalue(), err.getvalue())

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

    assert desk.do("cas-whoami", "-p", "sig", "-l", "60", "-m", "msg", "-f", "none", who=ALICE) == "alice\n"
    assert desk.ask("cas-whoami", who=ALICE)["identity"] == ALICE
    assert {"admin", "alice"} <= set(desk.do("cas-list-object", "user").splitlines())
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
    assert "readers" not in desk.do("cas-list-object", "userGroup").splitlines()
    assert desk.do("cas-remove", "user", "alice") == "Nothing was changed: it was so already.\n"


# --- what GT could name -----------------------------------------------------------------------------------------------


def test_every_kind_of_thing(desk: Desk) -> None:
    own = "superUserGroup"
    desk.do("cas-enroll", "-strength", "low", "trustAnchor", own, "other ca", "X509", "/O=Grid/CN=Other CA")
    assert "strength: low\n" in desk.do("cas-get-object", "trustAnchor", "other ca")
    desk.do("cas-enroll", "namespace", own, "archive", "ftp://localhost/archive", "WildCardComparison")
    desk.do("cas-enroll", "serviceType", own, "http://example.org/ops")
    desk.do("cas-action", "add", "http://example.org/ops", "stage")
    desk.do("cas-enroll", "object", own, "runs/*", "archive")
    desk.do("cas-group-admin", "object", "create", own, "holdings")
    desk.do("cas-group-admin", "serviceAction", "create", own, "handling")
    desk.do("cas-group-admin", "serviceAction", "create", own, "reading")
    desk.do("cas-group-admin", "user", "create", own, "keepers")
    desk.do("cas-group-admin", "user", "create", own, "friends")
    desk.do("cas-group-add-entry", "object", "holdings", "object", "archive", "runs/*")
    desk.do("cas-group-add-entry", "object", "holdings", "serviceType", "http://example.org/ops")
    desk.do("cas-group-add-entry", "serviceAction", "handling", "http://example.org/ops", "stage")
    desk.do("cas-group-add-entry", "serviceAction", "reading", "file/read")
    desk.do("cas-group-add-entry", "serviceAction", "handling", "serviceActionGp", "reading")
    desk.do("cas-group-add-entry", "user", "keepers", "userGroup", "friends")
    feed = ("user", "friends", "voms", "/atlas/production/Role=NULL")
    desk.do("cas-group-add-entry", *feed)
    desk.do("cas-group-admin", "user", "fqan", "keepers", "/climate/keepers")
    tried = desk.do("cas-group-remove-entry", "-n", *feed)
    assert tried.startswith("FQAN /climate/keepers: 0 -> 0\n  loses: whoever proves voms /atlas/production\n")
    grant = ("keepers", "objectGroup", "holdings", "serviceActionGp", "handling")
    desk.do("cas-rights-admin", "-until", "2999-01-01", "-proxies", "full", "grant", *grant)

    full = "archive|ftp://localhost/archive/runs/*"
    assert desk.do("cas-list-object", "object", "archive") == f"{full}\n"
    members = desk.do("cas-group-list-entries", "object", "holdings").splitlines()
    assert members == [f"object {full}", "serviceType http://example.org/ops"]
    listed = desk.do("cas-group-list-entries", "serviceAction", "handling").splitlines()
    assert sorted(listed) == ["http://example.org/ops/stage", "serviceActionGp reading"]
    assert desk.do("cas-group-list-entries", "user", "friends") == "voms /atlas/production\n"
    assert desk.do("cas-group-list-entries", "user", "keepers") == "userGroup friends\n"
    assert "fqan: /climate/keepers\n" in desk.do("cas-get-object", "userGroup", "keepers")
    assert desk.ask("cas-get-object", "serviceAction", "http://example.org/ops/stage")["entity"]["name"] == "stage"
    (held,) = [line for line in desk.do("cas-find-policies", "objectGroup", "holdings").splitlines() if "keep" in line]
    assert held.endswith("on objectGroup holdings until 2999-01-01T00:00:00Z with full proxies")
    who = desk.do("cas-who-can", "file/read", "object", "archive", "runs/7")
    assert who == f"admin\nand whoever proves voms /atlas/production\nif it holds: {held}\n"

    assert desk.do("cas-rights-admin", "revoke", *grant).startswith("Nothing was changed"), (
        "terms belong to a statement"
    )
    desk.do("cas-rights-admin", "-until", "2999-01-01", "-proxies", "full", "revoke", *grant)
    desk.do("cas-group-admin", "user", "fqan", "keepers", "none")
    desk.do("cas-group-remove-entry", "user", "friends", "voms", "/atlas/production")
    desk.do("cas-group-remove-entry", "user", "keepers", "userGroup", "friends")
    for member in (("object", full), ("serviceType", "http://example.org/ops")):
        desk.do("cas-group-remove-entry", "object", "holdings", *member)
    desk.do("cas-group-remove-entry", "serviceAction", "handling", "http://example.org/ops", "stage")
    desk.do("cas-group-remove-entry", "serviceAction", "handling", "serviceActionGp", "reading")
    desk.do("cas-group-remove-entry", "serviceAction", "reading", "file", "read")
    for kind, name in (("user", "keepers"), ("user", "friends"), ("object", "holdings"), ("serviceAction", "handling")):
        desk.do("cas-group-admin", kind, "delete", name)
    desk.do("cas-action", "remove", "http://example.org/ops", "stage")
    desk.do("cas-remove", "serviceType", "http://example.org/ops")
    desk.do("cas-remove", "object", "runs/*", "archive")
    desk.do("cas-remove", "namespace", "archive")
    desk.do("cas-remove", "trustAnchor", "other ca")


def test_denials(desk: Desk) -> None:
    on = ("superUserGroup", "object", NAMES, "ftp://localhost/closed/*", "serviceAction", "file", "write")
    desk.do("cas-enroll", "object", "superUserGroup", "ftp://localhost/closed/*", NAMES)
    write = ("file/write", "object", NAMES, "ftp://localhost/closed/1")
    assert desk.do("cas-why", *write).startswith("admin: yes\n")
    desk.do("cas-rights-admin", "deny", *on)
    done = desk.run("cas-why", *write)
    assert done.returncode == 2
    assert "deny superUserGroup serviceAction file/write" in done.stdout
    assert "\nThere is: deny superUserGroup " in desk.do("cas-rights-admin", "revoke", *on), "it is lifted, not revoked"
    desk.do("cas-rights-admin", "lift", *on)
    assert desk.do("cas-why", *write).startswith("admin: yes\n")


# --- two at once ------------------------------------------------------------------------------------------------------


def test_two_administrators_at_the_same_moment(desk: Desk) -> None:
    desk.do("cas-group-admin", "user", "create", "superUserGroup", "raced")
    revision = str(desk.ask("cas-group-admin", "-dry-run", "user", "delete", "raced")["revision"])

    def add(source: str) -> Done:
        words = ("-revision", revision, "user", "raced", "ldap", f"cn={source}")
        return desk.server.ours("cas-group-add-entry", *words, subject=ADMIN)

    with ThreadPoolExecutor() as pool:
        done = list(pool.map(add, "abcd"))
    assert sorted(one.returncode for one in done) == [0, 1, 1, 1], done
    assert all("changed by somebody else in the meantime" in one.stderr for one in done if one.returncode)
    assert len(desk.do("cas-group-list-entries", "user", "raced").splitlines()) == 1


def test_two_administrators(desk: Desk) -> None:
    desk.do("cas-group-admin", "user", "create", "superUserGroup", "shared")
    looked = desk.ask("cas-get-object", "userGroup", "shared")["version"]
    tried = desk.ask("cas-group-add-entry", "-dry-run", "user", "shared", "admin")
    desk.do("cas-group-add-entry", "user", "shared", "userGroup", "superUserGroup")  # the other one

    text = desk.refused("cas-group-add-entry", "-revision", str(tried["revision"]), "user", "shared", "admin")
    assert "localhost: the policy was changed by somebody else in the meantime\n" in text
    assert "hint: look at it again" in text
    text = desk.refused("cas-group-add-entry", "-if-version", str(looked), "user", "shared", "admin")
    assert "localhost: userGroup shared was changed by somebody else in the meantime\n" in text

    again = desk.ask("cas-group-add-entry", "-dry-run", "user", "shared", "admin")["revision"]
    desk.do("cas-group-add-entry", "-revision", str(again), "user", "shared", "admin")
    looked = desk.ask("cas-get-object", "userGroup", "shared")["version"]
    desk.do("cas-group-remove-entry", "-if-version", str(looked), "user", "shared", "admin")


# --- what is refused --------------------------------------------------------------------------------------------------

LONG = "n" * 255


def test_names(desk: Desk) -> None:
    own = "superUserGroup"
    desk.do("cas-group-admin", "user", "create", own, "Group of Friends")
    desk.do("cas-group-admin", "user", "create", own, "Öffentliche Läufe")
    desk.do("cas-group-admin", "user", "create", own, LONG)
    listed = desk.do("cas-list-object", "userGroup").splitlines()
    assert {"Group of Friends", "Öffentliche Läufe", LONG} <= set(listed)
    for name, why in (
        ("group OF friends", "looks like the userGroup 'Group of Friends'"),
        ("Gr\N{CYRILLIC SMALL LETTER O}up of Friends", "mixes scripts (cyrillic, latin)"),
        ("Group of\N{NO-BREAK SPACE}Friends", "U+00A0"),
        ("re\N{LATIN SMALL LIGATURE FI}ll", "have a plainer form"),
        ("a\N{ZERO WIDTH SPACE}b", "U+200B"),
        (" spaced", "blanks at an end"),
        ("a/b", "U+002F"),
        ("a\x1b[31m", "U+001B"),
        (LONG + "n", "1 to 255 characters"),
    ):
        text = desk.refused("cas-group-admin", "user", "create", own, name)
        assert why in text, text
        assert "\x1b" not in text
    for name in ("ftp://localhost/a/../b", "ftp://localhost/a//b", "ftp://localhost/%41", "ftp://localhost/a*"):
        assert "error: localhost: " in desk.refused("cas-enroll", "object", own, name, NAMES)


def test_what_is_in_use_stays(desk: Desk) -> None:
    own = "superUserGroup"
    desk.do("cas-group-admin", "user", "create", own, "used")
    desk.do("cas-enroll", "user", own, "carol", "/O=Grid/CN=Carol", "ca")
    desk.do("cas-group-add-entry", "user", "used", "carol")
    desk.do("cas-rights-admin", "grant", "used", "server", "serviceAction", "cas", "query")
    for words, why in (
        (("cas-remove", "user", "carol"), "user carol is in userGroup used"),
        (("cas-group-admin", "user", "delete", "used"), "userGroup used has statements"),
        (("cas-remove", "trustAnchor", "ca"), "trustAnchor ca has users"),
        (("cas-remove", "serviceType", "file"), "serviceType file has actions"),
        (("cas-remove", "namespace", "casDefaultNS"), "is part of every policy"),
        (("cas-group-admin", "user", "delete", "everyone"), "is part of every policy"),
        (("cas-action", "remove", "cas", "query"), "is part of every policy"),
        (("cas-action", "add", "cas", "rule"), "CAS's own actions are what they are"),
        (("cas-group-add-entry", "user", "used", "userGroup", "used"), "would be in itself"),
        (("cas-enroll", "user", own, "carol2", "/O=Grid/CN=Carol", "ca"), "is enrolled as carol"),
        (("cas-enroll", "user", own, "dora", "/O=Grid/CN=Dora", "no ca"), "there is no trustAnchor no ca"),
        (("cas-enroll", "user", "nobody", "dora", "/O=Grid/CN=Dora", "ca"), "there is no userGroup nobody"),
        (("cas-rights-admin", "grant", "used", "userGroup", "used", "serviceAction", "cas", "grantAll"), "over itself"),
        (("cas-get-object", "user", "nobody"), "there is no user nobody"),
        (("cas-find-policies", "user", "nobody"), "there is no user nobody"),
        (("cas-group-list-entries", "user", "nobody"), "there is no userGroup nobody"),
        (("cas-why", "-user", "nobody", "file/read", "server"), "there is no user 'nobody'"),
        (("cas-who-can", "file/fly", "server"), "there is no serviceAction file/fly"),
        (("cas-list-object", "object", "nowhere"), "there is no namespace nowhere"),
        (("cas-list-object", "serviceAction", "nothing"), "there is no serviceType nothing"),
        (("cas-group-remove-entry", "user", "nobodies", "admin"), "there is no userGroup nobodies"),
        (("cas-group-remove-entry", "user", "nobodies", "voms", "/x"), "there is no userGroup nobodies"),
        (("cas-import", "/nonexistent/policy"), "name a file that can be read"),
        (("cas-withdraw", "12"), "id is no name of a capability"),
    ):
        assert why in desk.refused(*words)
    text = desk.refused("cas-enroll", "user", own, "eve", "/O=Grid/CN=Eve", "ca", "-reason", "long " * 300)
    assert "a reason has 1024 characters at most" in text
    assert "eve" not in desk.do("cas-list-object", "user")


def test_who_may(desk: Desk) -> None:
    desk.do("cas-enroll", "user", "superUserGroup", "bob", BOB, "ca")
    grant = ("grant", "superUserGroup", "server", "serviceAction", "cas", "query")
    for words, missing in (
        (("cas-enroll", "user", "superUserGroup", "eve", "/O=Grid/CN=Eve", "ca"), "bob lacks cas/enroll_user on"),
        (("cas-remove", "user", "bob"), "bob lacks cas/remove on user bob"),
        (("cas-rights-admin", *grant), "bob lacks cas/grant on server"),
        (("cas-rights-admin", "-dry-run", *grant), "bob lacks cas/query on the server"),
        (("cas-list-object", "user"), "bob lacks cas/query on the server"),
        (("cas-history",), "bob lacks cas/query on the server"),
        (("cas-export", "-"), "bob lacks cas/query on the server"),
        (("cas-withdraw", "00" * 16), "only superusers"),
    ):
        text = desk.refused(*words, who=BOB)
        assert f"localhost: {missing}" in text
        assert "lacks" not in text or "hint: whoever governs it grants it with cas-rights-admin" in text
    text = desk.refused("cas-list-object", "user", who="/O=Grid/CN=Eve")
    assert "is not enrolled in this community\nhint: its administrators enrol people with cas-enroll user" in text
    assert "nobody in particular has no rights" in desk.refused("cas-list-object", "-a", "user")


# --- the history, the whole policy, capabilities ----------------------------------------------------------------------


def test_history(desk: Desk) -> None:
    desk.do("cas-enroll", "-reason", "a new colleague", "user", "superUserGroup", "hal", "/O=Grid/CN=Hal", "ca")
    desk.do("cas-remove", "-reason", "gone", "user", "hal")
    told = desk.do("cas-history", "user", "hal").splitlines()
    assert [line.strip() for line in told if not line[0].isdigit()] == [
        "enrol user hal, grantAll for superUserGroup",
        "reason: a new colleague",
        "remove user hal",
        "with it went: permit superUserGroup serviceAction cas/grantAll on user hal",
        "reason: gone",
    ]
    assert told[0].endswith(f"  {ADMIN}")
    newest = desk.ask("cas-history", "-last", "1")
    assert [one["reason"] for one in newest] == ["gone"]
    assert desk.ask("cas-history", "-after", str(newest[0]["revision"])) == []


def test_the_policy_goes_out_and_in(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "policy.json"
    desk.do("cas-export", "-history", out)
    assert out.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert desk.do("cas-import", out) == "Nothing was changed: it was so already.\n"

    own = desk.server.ours("cas-server-bootstrap", "-d", desk.server.directory / "store", "-export", "-", subject=ADMIN)
    changes = [one for one in lines if "history" not in one][1:]
    assert [json.loads(line) for line in own.check().stdout.splitlines()][1:] == changes
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    desk.server.ours("cas-server-bootstrap", "-d", store, "-import", out, subject=ADMIN).check()

    more = [
        lines[0],
        *({"do": "enrol", "entity": {"kind": "userGroup", "name": f"g{n}"}, "owner": None} for n in range(1500)),
    ]
    out.write_text("".join(json.dumps(one) + "\n" for one in more))
    assert "1500 changes are too many for -dry-run" in desk.refused("cas-import", "-dry-run", out)
    assert desk.do("cas-import", out).startswith("1500 changes made, 0 were there already; revision ")
    assert len(desk.ask("cas-list-object", "userGroup")) > 1500
    assert desk.do("cas-import", out) == "Nothing was changed: it was so already.\n"
    assert "the policy has revision" in desk.refused("cas-import", "-revision", "1", out)
    some = [lines[0], {"do": "enrol", "entity": {"kind": "user", "name": "x"}, "owner": None}]
    out.write_text("".join(json.dumps(one) + "\n" for one in some))
    assert "line 2: " in desk.refused("cas-import", out)
    other = {"kind": "user", "nickname": "admin", "subject": "/O=Grid/CN=Else", "anchor": "ca"}
    out.write_text(
        "".join(json.dumps(one) + "\n" for one in [lines[0], {"do": "enrol", "entity": other, "owner": None}])
    )
    assert "the community knows these as something else: user admin is there as" in desk.refused("cas-import", out)


def test_what_is_asserted_and_withdrawn(desk: Desk, tmp_path: Path) -> None:
    grant = ("grant", "superUserGroup", "object", NAMES, "ftp://localhost/own/*", "serviceAction", "file", "read")
    desk.do("cas-enroll", "object", "superUserGroup", "ftp://localhost/own/*", NAMES)
    desk.do("cas-rights-admin", *grant)
    out = tmp_path / "assertion.xml"
    given = desk.ask("query-cas-service", out)
    assert out.read_text().startswith("<Assertion ")
    assert out.stat().st_mode & 0o777 == 0o600
    assert "OBJECT_NAME=ftp://localhost/own/*\n" in desk.do("query-cas-service", "-user", "admin", "-")
    desk.do("cas-enroll", "user", "superUserGroup", "ben", "/O=Grid/CN=Ben", "ca")
    assert "none of the rights" in desk.refused("query-cas-service", "-user", "ben", "-")
    assert desk.do("cas-withdraw", "-reason", "stolen", given["id"]).startswith(f"{given['id']} is in the list")
    (record,) = [one for one in desk.server.records() if one.get("action") == "withdraw" and one["verdict"] == "permit"]
    assert record["reason"] == "stolen"
