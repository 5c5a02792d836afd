"""The running portal: whom it does not wait for, reloads that keep what was good, its certificate, its numbers."""

from __future__ import annotations

import os
import re
import signal
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.ca import write_file
from tests.harness.crowds import crowd
from tests.harness.daemons import free_port
from tests.harness.portal import RunningPortal, start_portal
from tests.interop.conftest import Grid


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory, grid: Grid) -> Iterator[RunningPortal]:
    directory = tmp_path_factory.mktemp("site")
    directory.chmod(0o700)
    with start_portal(directory, grid.host, grid.trust_dir, server_port=free_port(), workers=1) as running:
        yield running


def ask(portal: RunningPortal, path: str) -> str:
    context = ssl._create_unverified_context()
    with urllib.request.urlopen(portal.url + path, timeout=30, context=context) as answer:
        return str(answer.read().decode())


def until(portal: RunningPortal, path: str, holds: Callable[[str], bool]) -> str:
    """Ask until it holds."""
    limit = time.monotonic() + 30
    while not holds(found := ask(portal, path)):
        assert time.monotonic() < limit, portal.daemon.log()
        time.sleep(0.05)
    return found


def reload(portal: RunningPortal, text: str) -> None:
    write_file(portal.store.parent / "portal.toml", text.encode(), 0o600)
    os.kill(portal.daemon.pid, signal.SIGHUP)


def test_a_crowd_that_says_nothing(portal: RunningPortal) -> None:
    """Sixty connections of another address, and eight threads."""
    port = int(portal.url.rpartition(":")[2])
    with crowd(port, tls=True):
        assert "Log on" in ask(portal, "/logon")


def test_answers_do_not_tell_versions(portal: RunningPortal) -> None:
    context = ssl._create_unverified_context()
    with urllib.request.urlopen(portal.url + "/logon", timeout=30, context=context) as answer:
        assert not re.search(r"[0-9]", answer.headers.get("Server", ""))
        assert "X-Powered-By" not in answer.headers


def test_reloads_keep_what_was_good(portal: RunningPortal) -> None:
    good = (portal.store.parent / "portal.toml").read_text()
    broken = (
        good[: len(good) // 2],
        good.replace("workers = 1", "workers = 2"),
        good + '\n[kerberos]\nkeytab = "/nowhere"\nrealms = ["EXAMPLE.ORG"]\n[own]\ncertificate = "/nowhere"\n',
    )
    for text in broken:
        reload(portal, text)
        assert "older configuration" in until(portal, "/health", lambda found: "refused" in found)
        assert "Example Grid" in ask(portal, "/logon")
        reload(portal, good)
        assert until(portal, "/health", lambda found: "refused" not in found) == "ok\n"
    reload(portal, good.replace("Example Grid", "Another Grid").replace("[http]", "[http]\nmetrics = true"))
    until(portal, "/logon", lambda found: "Another Grid" in found)
    numbers = ask(portal, "/metrics")
    assert 'myproxy_portal_decisions_total{action="LOGON",verdict="permit"} 0.0' in numbers
    assert "myproxy_portal_reload_refused_timestamp_seconds 0.000" in numbers
    starts = re.search(r"^myproxy_portal_worker_starts_total ([0-9.]+)$", numbers, re.MULTILINE)
    assert starts is not None
    assert float(starts[1]) >= 2


def test_a_new_certificate_is_taken_without_a_signal(portal: RunningPortal, grid: Grid) -> None:
    place, port = portal.store.parent, int(portal.url.rpartition(":")[2])
    before = ssl.get_server_certificate(("127.0.0.1", port))
    write_file(place / "portal.pem", b"nothing\n", 0o644)
    assert ssl.get_server_certificate(("127.0.0.1", port)) == before
    grid.users["rsa2048", "rsa2048"].write(Path(place / "portal.pem"), Path(place / "portal.key"))
    assert ssl.get_server_certificate(("127.0.0.1", port)) != before
