"""Two nodes of a community on one PostgreSQL: what one is told, the other knows, and through every restart."""

from __future__ import annotations

import json
import ssl
import urllib.request
from pathlib import Path

import pytest

from cas.assertion.revocations import RevocationList, identifier_of, parse_revocations
from cas.policy.changes import Enrol
from cas.policy.model import UserGroup
from gsi.system.clock import now
from gsi.tokens.keys import StaticKeys, parse_key_set
from tests.harness.ca import TestCA
from tests.harness.cas_server import ADMIN, CASServer, cas_server
from tests.harness.postgres import postgres

pytestmark = pytest.mark.interop

ALICE = "/O=Grid/CN=Alice"
ISSUER = "https://localhost:8443"


def withdrawn(node: CASServer) -> RevocationList:
    """The list of a node, believed as its clients would."""
    keys = StaticKeys({ISSUER: parse_key_set(json.dumps(node.client().call("GET", "/jwks")).encode())})
    context = ssl.create_default_context(capath=str(node.trust_dir))
    with urllib.request.urlopen(f"{node.url}/cas/v1/withdrawn", timeout=20, context=context) as answer:
        return parse_revocations(answer.read().decode(), keys, issuer=ISSUER, now=now())


def test_two_nodes(tmp_path: Path) -> None:
    ca = TestCA()
    places = [tmp_path / name for name in ("one", "two", "three")]
    for place in places:
        place.mkdir()
    users = tmp_path / "users"
    users.write_text(f"alice\t{ALICE}\tca\treaders\n" + "".join(f"u{n}\t/O=Grid/CN=U {n}\tca\n" for n in range(3000)))
    with postgres() as server, server.database() as database:
        with cas_server(places[0], ca, database=database) as one:
            with cas_server(places[1], ca, database=database, joins=True) as two:
                one.change(Enrol(UserGroup("readers"), "superUserGroup"))
                done = two.ours("cas-enroll-users", "superUserGroup", users, subject=ADMIN).check()
                assert done.stdout == "3001 users enrolled; 3001 lines are done\n"
                again = one.ours("cas-enroll-users", "-q", "superUserGroup", users, subject=ADMIN).check()
                assert again.stdout == "0 users enrolled; 3001 lines are done\n"
                assert one.ours("cas-whoami", subject=ALICE).check().stdout == "alice\n"
                one.client().call("POST", "/cas/v1/withdraw", {"id": "0" * 32, "reason": "stolen"})
                assert withdrawn(two).is_revoked(identifier_of("0" * 32))
            assert withdrawn(one).is_revoked(identifier_of("0" * 32))
        with cas_server(places[2], ca, database=database, joins=True) as three:
            assert withdrawn(three).is_revoked(identifier_of("0" * 32))
