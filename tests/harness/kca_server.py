"""Our `kca-server` for tests, with a real KDC beside it: its command, its sockets, its audit.

Workflow:
    with mit_kdc(tmp_path, users={"alice": "secret"}, services=["kca_service/localhost"]) as realm:
        with kca_server(tmp_path, realm) as server:
            done = server.ours("kx509", "-o", path, env=realm.login("alice", "secret"))
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.harness.ca import TestCA
from tests.harness.daemons import running
from tests.harness.environment import clean_environment
from tests.harness.kca import write_config
from tests.harness.run import Done, our_program, run

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence

    from tests.harness.daemons import Daemon
    from tests.harness.kdc import Realm

__all__ = ["KCA", "kca_server", "the_authority"]


@cache
def the_authority() -> TestCA:
    """The authority of servers that are given no other."""
    return TestCA("/O=Grid/CN=Test KCA", key="p256")


@dataclass(frozen=True, slots=True)
class KCA:
    """A running server.

    Attributes:
        daemon: Its process.
        directory: Its files.
        config_path: Its configuration.
        variables: The environment that it runs with.
    """

    daemon: Daemon
    directory: Path
    config_path: Path
    variables: dict[str, str]

    @property
    def port(self) -> int:
        """Its port, UDP and TCP."""
        return self.daemon.port

    @property
    def address(self) -> str:
        """What clients are told."""
        return f"localhost:{self.daemon.port}"

    def ours(self, name: str, *arguments: str | Path, env: Mapping[str, str], timeout: float = 60.0) -> Done:
        """Run a command of ours for a user of the realm; `kx509` is told where the server is."""
        words: list[str | Path] = [our_program(name), *arguments]
        if name == "kx509" and "-s" not in arguments:
            words += ["-s", self.address]
        return run(words, env=clean_environment(self.directory) | dict(env), timeout=timeout)

    def records(self) -> list[dict[str, Any]]:
        """What the audit says, oldest first."""
        path = self.directory / "store" / "audit.log"
        records = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return sorted(records, key=lambda record: str(record["time"]))


def config_text(realm: Realm, *, server: str = "", rest: str | None = None, workers: int = 2) -> str:
    """The configuration of a server for a realm, but for the authority."""
    rules = f'[realm."{realm.name}"]\nbase = "/O=Grid/OU=Test"\n' if rest is None else rest
    return f'[server]\nlisten = ["*:0"]\nkeytab = "{realm.keytab}"\nworkers = {workers}\n{server}\n{rules}'


@contextlib.contextmanager
def kca_server(
    directory: Path,
    realm: Realm,
    *,
    server: str = "",
    rest: str | None = None,
    ca: TestCA | None = None,
    workers: int = 2,
    sockets: Sequence[socket.socket] = (),
) -> Iterator[KCA]:
    """Start our server.

    Args:
        directory: Where its own directory is made.
        realm: The realm whose tickets it takes.
        server: More lines of `[server]`.
        rest: Everything behind it; by default a rule for everybody of the realm.
        ca: The authority; one that all tests share by default.
        workers: Processes.
        sockets: Sockets that it is given, of one address.
    """
    place = directory / "kca"
    place.mkdir(mode=0o700)
    text = config_text(realm, server=server, rest=rest, workers=workers)
    if sockets:
        text = text.replace("*:0", "{}:{}".format(*sockets[0].getsockname()))
    config = write_config(place, text, ca=ca or the_authority())
    env = clean_environment(place) | {name: realm.variables[name] for name in ("KRB5_CONFIG",)}
    argv: list[str | Path] = [our_program("kca-server"), "-c", config, "-v"]
    with running(
        argv, env=env, port=None, directory=place, announced=r"listening on port (\d+)", sockets=sockets
    ) as daemon:
        yield KCA(daemon, place, config, env)
