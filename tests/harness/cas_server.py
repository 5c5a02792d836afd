"""Our `cas-server` for tests: its commands, its store, its sockets, and users with proxies.

Workflow:
    with cas_server(tmp_path, ca) as server:
        server.change(Grant(...))                          # by the first superuser, over HTTPS
        server.ours("cas-proxy-init", "-w", path, user=alice)
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from cas.client import CASClient
from cas.policy.changes import Change, encode_change
from gsi.credential import Credential, parse_credential
from gsi.system import clock
from gsi.system.trustdir import TrustDirectory
from tests.harness.ca import Issued, TestCA, pooled_key, write_file, write_trust_dir
from tests.harness.daemons import Daemon, running
from tests.harness.environment import clean_environment
from tests.harness.run import Done, our_program, run
from tests.harness.softhsm import Token
from tests.harness.voms import user_extensions

__all__ = ["ADMIN", "COMMUNITY", "CASServer", "cas_server"]

COMMUNITY = "climate"
ADMIN = "/O=Grid/CN=Admin"
BOOTSTRAP = """\
ta-name=ca
ta-authData={ca}
user-name=admin
user-subject={admin}
userGroupname=superUserGroup
"""
CONFIG = """\
community = "climate"
metrics = "{metrics}"

[http]
listen = "127.0.0.1:0"
certificate = "{place}/hostcert.pem"
key = "{place}/hostkey.pem"
workers = 2
threads = 4
{http}

[voms]
listen = "127.0.0.1:0"
{voms}

[store]
directory = "{place}/store"
database = "{database}"

[trust]
directory = "{trust}"

[[key]]
place = "{key}"
certificates = "{place}/hostcert.pem"
begins = "{begins}"
ends = "{ends}"

[tokens]
issuer = "https://localhost:8443"
{tokens}

[[tokens.base]]
namespace = "FTPDirectoryTree"
prefix = "ftp://localhost"
audiences = ["https://se.example.org"]
"""


@dataclass
class CASServer:
    """A running server.

    Attributes:
        daemon: Its process.
        directory: Its files.
        ca: The authority of everybody.
        host: Its own certificate, which also signs.
        trust_dir: The trust directory.
        voms_port: The port for VOMS clients.
        metrics: Where monitors are answered.
    """

    daemon: Daemon
    directory: Path
    ca: TestCA
    host: Issued
    trust_dir: Path
    voms_port: int
    metrics: str
    _issued: dict[str, Issued] = field(default_factory=dict)
    _people: dict[str, Path] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """What clients are told."""
        return f"https://localhost:{self.daemon.port}"

    @property
    def voms_host(self) -> str:
        """What attribute certificates say of where they come from."""
        return os.uname().nodename

    def issued(self, subject: str) -> Issued:
        """The certificate of somebody."""
        if subject not in self._issued:
            self._issued[subject] = self.ca.issue(subject, "rsa2048", extensions=user_extensions())
        return self._issued[subject]

    def person(self, subject: str) -> Path:
        """The credential file of somebody, as a proxy file."""
        if subject not in self._people:
            path = self.directory / f"person{len(self._people)}.pem"
            self.issued(subject).write_bundle(path)
            self._people[subject] = path
        return self._people[subject]

    def credential(self, subject: str) -> Credential:
        """The credential of somebody."""
        return parse_credential(self.person(subject).read_bytes())

    def client(self, subject: str = ADMIN, credential: Credential | None = None) -> CASClient:
        """A client for somebody."""
        anchors = TrustDirectory(str(self.trust_dir))
        return CASClient(self.url, credential or self.credential(subject), anchors=anchors.anchors, now=clock.now)

    def change(self, *changes: Change, subject: str = ADMIN) -> dict[str, object]:
        """Change the policy."""
        return self.client(subject).call(
            "POST", "/cas/v1/changes", {"changes": [encode_change(one) for one in changes]}
        )

    def variables(self, subject: str) -> dict[str, str]:
        """The environment of somebody."""
        return clean_environment(self.directory) | {
            "X509_USER_PROXY": str(self.person(subject)),
            "X509_CERT_DIR": str(self.trust_dir),
            "CAS_SERVER_URL": self.url,
        }

    def ours(self, name: str, *arguments: str | Path, subject: str, env: Mapping[str, str] | None = None) -> Done:
        """Run a command of ours as somebody."""
        return run([our_program(name), *arguments], env=self.variables(subject) | dict(env or {}))

    def records(self) -> list[dict[str, Any]]:
        """What the audit says, oldest first."""
        lines = (self.directory / "store" / "audit.log").read_text().splitlines()
        return sorted((json.loads(line) for line in lines), key=lambda record: str(record["time"]))


@contextlib.contextmanager
def cas_server(
    directory: Path,
    ca: TestCA | None = None,
    *,
    http: str = "",
    voms: str = "",
    tokens: str = "",
    metrics: str = "",
    database: str = "",
    joins: bool = False,
    sockets: Sequence[socket.socket] = (),
    token: Token | None = None,
) -> Iterator[CASServer]:
    """Start our server with an admin, the service type `file` and the namespaces of GridFTP.

    Args:
        directory: Where its own directory is made.
        ca: The authority of everybody.
        http: More lines of `[http]`.
        voms: More lines of `[voms]`.
        tokens: More lines of `[tokens]`.
        metrics: Where monitors are answered.
        database: A PostgreSQL database that has the policy.
        joins: Whether the policy was begun by another node.
        sockets: Listening sockets that it is given, for HTTPS and for VOMS.
        token: Where the key is that it signs with; a file if not given.
    """
    ca = ca or TestCA()
    place = directory / "cas"
    place.mkdir(mode=0o700)
    key = pooled_key("rsa2048")
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())  # what libvomsapi compares with
    host = ca.issue("/O=Grid/CN=localhost", key, san=["DNS:localhost"], extensions=[(own, False)])
    host.write(place / "hostcert.pem", place / "hostkey.pem")
    trust_dir = write_trust_dir(place / "certificates", ca, crl=True)
    write_trust_dir(trust_dir, ca, crl=True, old_hash=True)  # the only names that the Java tools look for
    now = datetime.now(UTC)
    if token is not None:
        token.add_key("cas", key, key_id="01")
    config = CONFIG.format(
        place=place,
        key=f"{place}/hostkey.pem" if token is None else token.uri("cas"),
        trust=trust_dir,
        begins=(now - timedelta(days=1)).isoformat(),
        ends=(now + timedelta(days=30)).isoformat(),
        http=http,
        voms=voms,
        tokens=tokens,
        metrics=metrics,
        database=database,
    )
    for one in sockets:
        config = config.replace("127.0.0.1:0", "{}:{}".format(*one.getsockname()), 1)
    write_file(place / "cas.toml", config.encode(), 0o600)
    write_file(place / "bootstrap", BOOTSTRAP.format(ca=ca.name, admin=ADMIN).encode(), 0o600)
    env = clean_environment(place) | ({} if token is None else {"SOFTHSM2_CONF": token.environment["SOFTHSM2_CONF"]})
    store = place / "store"
    store.mkdir(mode=0o700)
    begin: list[str | Path] = ["-d", database or store, "-b", place / "bootstrap", "-implicit"]
    if not joins:
        run([our_program("cas-server-bootstrap"), *begin], env=env).check()
    ports = place / "ports"
    argv: list[str | Path] = [our_program("cas-server"), "-c", place / "cas.toml", "-v", "-portfile", ports]
    with running(
        argv, env=env, port=None, directory=place, announced=r"listening on port (\d+)", sockets=sockets
    ) as daemon:
        voms_port = int(ports.read_text().split()[1])
        yield CASServer(daemon, place, ca, host, trust_dir, voms_port, metrics)
