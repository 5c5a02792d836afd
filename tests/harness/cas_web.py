"""The community's server over HTTPS without sockets: a real store, real chains, Flask's own client.

Workflow:
    with open_web(tmp_path) as web:
        web.change(Grant(...))
        status, answer = web.ask("alice", "POST", "/cas/v1/capability", {"form": "jwt"})
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from cas.assertion.jwks import well_known_paths
from cas.config import CASConfig, load_config
from cas.policy.changes import AddMember, Change, Enrol, Grant, SetFqan
from cas.policy.model import Effect, ObjectName, Statement, User, UserGroup
from cas.repository.base import Author
from cas.repository.sql import open_sqlite_policy
from cas.server.app import create_app
from cas.server.openapi import document
from cas.server.operations import OPERATIONS
from cas.wiring.service import OpenedCommunity, open_community
from gsi.system import clock
from gsi.transport.rates import RateCap
from tests.harness.ca import Issued, TestCA, write_file, write_trust_dir
from tests.harness.cas import ADMINS, CA_NAME, READ, begin, dn, group, object_ref, user
from tests.harness.openapi import described_client

__all__ = ["DATA", "ISSUER", "STORAGE", "Web", "config_text", "open_web"]

DATA = "ftp://se/data/*"
ISSUER = "https://cas.example.org/climate"
STORAGE = "https://se.example.org"
BASE = f"""
[[tokens.base]]
namespace = "FTPDirectoryTree"
prefix = "ftp://se"
audiences = ["{STORAGE}", "https://other.example.org"]
"""


def config_text(place: Path, *, top: str = "", tokens: str = "", http: str = "", more: str = "") -> str:
    """A configuration."""
    now = datetime.now(UTC)
    return f"""
community = "climate"
{top}
[http]
certificate = "{place}/host.pem"
key = "{place}/host.key"
{http}
[store]
directory = "{place}/store"
[trust]
directory = "{place}/trust"
[[key]]
place = "{place}/host.key"
certificates = "{place}/host.pem"
begins = "{(now - timedelta(days=1)).isoformat()}"
ends = "{(now + timedelta(days=30)).isoformat()}"
[tokens]
issuer = "{ISSUER}"
{tokens}
{BASE}
{more}
"""


class Web:
    """An application with its users.

    Attributes:
        community: The service behind it.
        http: Flask's client.
    """

    def __init__(self, ca: TestCA, community: OpenedCommunity, http: FlaskClient, place: Path) -> None:
        self.ca = ca
        self.community = community
        self.http = http
        self.place = place
        self._people: dict[str, Issued] = {}

    def person(self, nickname: str) -> Issued:
        """The certificate of somebody."""
        if nickname not in self._people:
            self._people[nickname] = self.ca.issue(dn(nickname), "p256")
        return self._people[nickname]

    def environ(self, who: str | Issued | None) -> dict[str, Any]:
        """What the TLS layer says of a connection."""
        if who is None:
            return {"REMOTE_ADDR": "192.0.2.1"}
        issued = self.person(who) if isinstance(who, str) else who
        found = {"REMOTE_ADDR": "192.0.2.1", "SSL_CLIENT_CERT": issued.pem.decode()}
        for number, above in enumerate(issued.chain):
            from cryptography.hazmat.primitives.serialization import Encoding

            found[f"SSL_CLIENT_CERT_CHAIN_{number}"] = above.public_bytes(Encoding.PEM).decode()
        return found

    def ask(
        self, who: str | Issued | None, method: str, path: str, body: object = None, **more: Any
    ) -> tuple[int, dict[str, Any]]:
        """Ask an operation; return status and answer."""
        if body is not None:
            more["json"] = body
        answer = self.http.open(path, method=method, environ_overrides=self.environ(who), **more)
        return answer.status_code, json.loads(answer.data)

    def token(self, who: str | Issued | None, **form: str) -> tuple[int, dict[str, Any]]:
        """Ask the OAuth endpoint."""
        answer = self.http.post("/oauth2/token", data=form, environ_overrides=self.environ(who))
        return answer.status_code, json.loads(answer.data)

    def records(self) -> list[dict[str, Any]]:
        """What the audit says."""
        path = self.place / "store" / "audit.log"
        return [json.loads(line) for line in path.read_text().splitlines()]


def claims(token: str) -> dict[str, Any]:
    """The claims of a token, unverified."""
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def setup() -> list[Change]:
    """A policy in which alice reads data."""
    return [
        *begin(),
        Enrol(UserGroup("readers"), ADMINS),
        Enrol(User("alice", dn("alice"), "ca"), ADMINS),
        Enrol(User("bob", dn("bob"), "ca"), ADMINS),
        AddMember(group("readers"), user("alice")),
        Enrol(ObjectName("FTPDirectoryTree", DATA), ADMINS),
        Grant(Statement("readers", Effect.PERMIT, READ, object_ref(DATA))),
        SetFqan("readers", "/climate/readers"),
    ]


@contextlib.contextmanager
def open_web(
    place: Path, *, per_minute: float = 100_000, top: str = "", tokens: str = "", http: str = "", more: str = ""
) -> Iterator[Web]:
    """Open it.

    Args:
        place: Where its files are made.
        per_minute: How often one may ask.
        top: More lines of the configuration's beginning.
        tokens: More lines of `[tokens]`.
        http: More lines of `[http]`.
        more: More tables.
    """
    ca = TestCA(CA_NAME, key="p256")
    ca.issue("/O=Grid/CN=cas/localhost", "p256", san=["DNS:localhost"]).write(place / "host.pem", place / "host.key")
    write_trust_dir(place / "trust", ca, crl=True)
    write_file(place / "cas.toml", config_text(place, top=top, tokens=tokens, http=http, more=more).encode(), 0o600)
    config: CASConfig = load_config(str(place / "cas.toml"))
    (place / "store").mkdir(mode=0o700)
    with contextlib.closing(open_sqlite_policy(str(place / "store"))) as policy:
        policy.apply(setup(), Author("test", clock.now()))
    with open_community(config) as community:
        app = create_app(community, rates=RateCap(per_minute))
        yield Web(ca, community, described_client(app, document(OPERATIONS, well_known_paths(ISSUER))), place)
