"""The portal as a running program beside a running `myproxy-server`, and its configuration.

Workflow:
    with start_portal(place, grid.host, grid.trust_dir, server_port=site.port) as portal:
        browser.get(portal.url)
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.ca import Issued, write_file
from tests.harness.daemons import Daemon, free_port, running
from tests.harness.environment import clean_environment
from tests.harness.run import our_program

__all__ = ["RunningPortal", "portal_text", "start_portal"]


@dataclass(frozen=True, slots=True)
class RunningPortal:
    """A portal that serves.

    Attributes:
        url: Its address, without a slash at the end.
        daemon: The process.
        store: Its directory.
    """

    url: str
    daemon: Daemon
    store: Path


def portal_text(place: Path, trust_dir: Path, *, port: int, server_port: int, more: str = "", workers: int = 2) -> str:
    """A configuration with TLS on a loopback port."""
    return f"""
names = ["localhost:{port}"]
server = "localhost:{server_port}"
title = "Example Grid"
[http]
listen = "127.0.0.1:{port}"
certificate = "{place}/portal.pem"
key = "{place}/portal.key"
workers = {workers}
threads = 8
[store]
directory = "{place}/portal-store"
[trust]
directory = "{trust_dir}"
{more}
"""


@contextlib.contextmanager
def start_portal(
    place: Path,
    host: Issued,
    trust_dir: Path,
    *,
    server_port: int,
    more: str = "",
    workers: int = 2,
    port: int | None = None,
    variables: Mapping[str, str] | None = None,
    sockets: Sequence[socket.socket] = (),
) -> Iterator[RunningPortal]:
    """Start the command.

    Args:
        place: For its files.
        host: Its certificate.
        trust_dir: The CAs that it knows.
        server_port: Where the MyProxy server is.
        more: Further lines of the configuration.
        workers: Processes.
        port: Where it listens; None is a free port.
        variables: More of the environment.
        sockets: Listening sockets that it is given, on `port`.
    """
    port = free_port() if port is None else port
    host.write(place / "portal.pem", place / "portal.key")
    path = place / "portal.toml"
    text = portal_text(place, trust_dir, port=port, server_port=server_port, more=more, workers=workers)
    write_file(path, text.encode(), 0o600)
    logs = place / "portal-log"
    logs.mkdir(exist_ok=True)
    env = clean_environment(place) | dict(variables or {})
    argv: list[str | Path] = [our_program("myproxy-portal"), "-c", path]
    with running(argv, env=env, port=port, directory=logs, sockets=sockets) as daemon:
        yield RunningPortal(f"https://localhost:{port}", daemon, place / "portal-store")
