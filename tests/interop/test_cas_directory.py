"""Groups of users that a real slapd feeds: permits and denials by them, and what happens when it is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.policy.changes import AddFeed, Change, Enrol, Grant, encode_change
from cas.policy.model import Effect, Feed, FeedSource, Statement, UserGroup
from gsi.errors import StorageError
from gsi.trust.peer import VerifiedPeer
from gsi.voms.exchange import FetchRequest
from tests.harness.ca import TestCA
from tests.harness.cas import ADMINS, READ, WRITE, dn, object_ref
from tests.harness.cas_web import DATA, Web, open_web
from tests.harness.slapd import BASE, PEOPLE, Directory, person, slapd

pytestmark = pytest.mark.interop

GROUPS = f"ou=groups,{BASE}"
ENTRIES = [
    f"dn: {GROUPS}\nobjectClass: organizationalUnit\nou: groups\n",
    person("alice", description=dn("alice")),
    person("bob", description=dn("bob")),
    f"dn: cn=staff,{GROUPS}\nobjectClass: groupOfNames\ncn: staff\nmember: uid=bob,{PEOPLE}\n",
    f"dn: cn=suspended,{GROUPS}\nobjectClass: groupOfNames\ncn: suspended\nmember: uid=alice,{PEOPLE}\n",
]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with slapd(TestCA("/O=Grid/CN=Directory CA"), tmp_path / "slapd", ENTRIES) as found:
        yield found


@pytest.fixture
def web(directory: Directory, tmp_path: Path) -> Iterator[Web]:
    more = f"""
[directory]
servers = ["{directory.ldaps_uri}"]
ca_file = "{directory.ca_path}"
user_base = "{PEOPLE}"
user_attribute = "description"
group_base = "{GROUPS}"
cache_time = "0s"
absent_time = "0s"
"""
    place = tmp_path / "web"
    place.mkdir()
    with open_web(place, more=more) as found:
        changes: list[Change] = []
        for name, effect, action in (("staff", Effect.PERMIT, READ), ("suspended", Effect.DENY, WRITE)):
            changes += [
                Enrol(UserGroup(name), ADMINS),
                AddFeed(name, Feed(FeedSource.LDAP, name)),
                Grant(Statement(name, effect, action, object_ref(DATA))),
            ]
        changes.append(Grant(Statement("readers", Effect.PERMIT, WRITE, object_ref(DATA))))
        status, answer = found.ask(
            "admin", "POST", "/cas/v1/changes", {"changes": [encode_change(one) for one in changes]}
        )
        assert status == 200, answer
        yield found


def actions(web: Web, nickname: str) -> object:
    status, answer = web.ask(nickname, "POST", "/cas/v1/capability", {})
    return answer["rights"][0]["actions"] if status == 200 else (status, answer["error"])


def test_groups_of_a_directory(web: Web) -> None:
    assert actions(web, "bob") == ["file/read"]  # of the staff
    assert actions(web, "alice") == ["file/read"]  # a reader by name, and suspended from writing
    assert actions(web, "carol") == (403, "denied")
    question = {"action": ["serviceAction", "file", "write"], "on": ["object", "FTPDirectoryTree", DATA]}
    _, why = web.ask("alice", "POST", "/cas/v1/why", question)
    assert why["permitted"] is False


def test_without_the_directory_nobody_is_served(web: Web, directory: Directory) -> None:
    """Else who is suspended could write."""
    assert actions(web, "alice") == ["file/read"]
    os.kill(directory.pid, signal.SIGTERM)
    os.waitid(os.P_PID, directory.pid, os.WEXITED | os.WNOWAIT)
    for nickname in ("alice", "bob"):
        assert actions(web, nickname) == (503, "storage")
    peer = web.community.verify([web.person("alice").chain_der[0]])
    assert isinstance(peer, VerifiedPeer)
    with pytest.raises(StorageError, match="does not say which groups"):
        web.community.answer_voms(peer, FetchRequest("climate", ()), "r1")
    assert web.http.get("/health").status_code == 200
