"""The callout for C services: library to daemon and back, and what a real GridFTP transfer pays for it.

A small C program calls the library as a service does; `globus-url-copy` moves a thousand small files to a server that
asks the daemon and to one that does not, in turn.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING

from bench.pairs import Figure, alternate, show
from tests.harness.ca import TestCA, write_trust_dir
from tests.harness.callout import Driver, authz_server, callout_site, service_account
from tests.harness.daemons import GridFTPServer, gridftp_server
from tests.harness.environment import UserEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.ca import Issued

ALICE = "/O=Grid/CN=Alice"
SESSIONS = 1000
FILES = 1000
SECONDS = 5
OBJECT = "ftp://localhost/tmp"


def figures(rounds: int = 3) -> list[Figure]:
    """Measure and return the figures."""
    ca = TestCA("/O=Grid/CN=CA")
    alice = ca.issue(ALICE)
    rules = f"""
permit dn "{ALICE}" to login as {service_account()}
permit dn "{ALICE}" to lookup, read, write, create, delete on {gettempdir()}/**
"""
    with TemporaryDirectory() as directory:
        trust_dir = write_trust_dir(Path(directory) / "certificates", ca)
        with (
            callout_site(timeout_ms=60000) as site,
            authz_server(site.socket, trust_dir, rules, workers=2, verbose=False, server="per_user = 8000"),
        ):
            user = UserEnvironment(directory, trust_dir=trust_dir)
            user.install_proxy(alice.proxy())
            return [
                *_round_trips(Driver(site, timeout_ms=60000, account=_account()), alice.proxy()),
                _transfers(rounds, site.variables, ca.issue_host(), user),
            ]


def _account() -> str | None:
    """Sessions belong to the mapped account, so the driver runs as that."""
    import os

    return service_account() if os.geteuid() == 0 else None


def _round_trips(driver: Driver, proxy: Issued) -> list[Figure]:
    with driver:
        driver.show_chain(proxy.chain_der)
        assert driver.call("init", "file") == "ok"
        assert driver.call("open", SESSIONS, "file") == f"ok {SESSIONS}"
        _, median, slow = driver.call("time", 20000, "lookup", OBJECT).split()
        _, total = driver.call("load", 16, SECONDS, "lookup", OBJECT).split()
    p50, p99, rate = int(median) / 1e6, int(slow) / 1e6, int(total) / SECONDS
    return [
        Figure(f"round trip p50, {SESSIONS} sessions open", p50, None, "<= 0.5 ms", p50 <= 0.5),
        Figure(f"round trip p99, {SESSIONS} sessions open", p99, None, "-", reached=True),
        Figure("questions answered, 2 workers, 16 at once", rate, None, ">= 5,000/s", rate >= 5000, "/s"),
    ]


def _transfers(rounds: int, variables: dict[str, str], host: Issued, user: UserEnvironment) -> Figure:
    source = user.home / "source"
    source.mkdir()
    for number in range(FILES):
        (source / f"file-{number:04}").write_bytes(b"small")
    with (
        gridftp_server(host, user.trust_dir, [], extra=variables) as asking,
        gridftp_server(host, user.trust_dir, [ALICE]) as alone,
    ):
        times = alternate(rounds, _copy(user, source, asking), _copy(user, source, alone))
    ours, theirs = (min(each) * 1000 for each in times)  # what else the machine does only ever adds
    return Figure(
        f"globus-url-copy of {FILES} files, callout on vs off", ours, theirs, "<= 1.1 x", ours <= 1.1 * theirs
    )


def _copy(user: UserEnvironment, source: Path, server: GridFTPServer) -> Callable[[], object]:
    numbers = itertools.count()

    def body() -> None:
        target = server.url(server.files / f"copy-{next(numbers)}")
        user.theirs("globus-url-copy", "-r", "-cd", f"file://{source}/", f"{target}/", timeout=600).check()

    return body


if __name__ == "__main__":
    sys.exit(0 if show(figures()) else 1)
