"""Items of the list in docs/reference/portal-security.md that no other test shows, and that the list is whole."""

from __future__ import annotations

import ast
import json
import logging
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import myproxy.portal
from gsi.system import clock
from gsi.system.trustdir import TrustDirectory
from myproxy.client import ServerAddress
from myproxy.portal.desk import Desk
from tests.harness.ca import TestCA, write_trust_dir
from tests.harness.portal_pages import Pages, ServiceDesk, open_pages

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/reference/portal-security.md").read_text("utf-8")

LEVEL_2 = (
    "2.1.1-12 2.2.1-3 2.3.1-3 2.4.1-5 2.5.1-7 2.6.1-3 2.7.1-6 2.8.1-7 2.9.1-3 2.10.1-4 "
    "3.1.1 3.2.1-4 3.3.1-4 3.4.1-5 3.5.1-3 3.7.1 4.1.1-3 4.1.5 4.2.1-2 4.3.1-3 "
    "5.1.1-5 5.2.1-8 5.3.1-10 5.4.1-3 5.5.1-4 6.1.1-3 6.2.1-6 6.3.1-2 6.4.1-2 "
    "7.1.1-4 7.2.1-2 7.3.1 7.3.3-4 7.4.1-3 8.1.1-4 8.2.1-3 8.3.1-8 9.1.1-3 9.2.1-4 "
    "10.2.1-2 10.3.1-3 11.1.1-8 12.1.1-3 12.2.1 12.3.1-6 12.4.1-2 12.5.1-2 12.6.1 "
    "13.1.1 13.1.3-5 13.2.1-3 13.2.5-6 13.3.1-2 13.4.1-2 14.1.1-4 14.2.1-6 14.3.2-3 14.4.1-7 14.5.1-4"
)
"""The items of levels 1 and 2 of ASVS 4.0.3, chapters 2 to 14; what is missing was taken out or is of level 3."""


def _numbers(text: str) -> Iterator[str]:
    """The items that `2.1.1 to 2.1.4`, `2.1.1-4` and `2.4` (all of a section) stand for."""
    section = re.compile(r"\d+\.\d+")
    for first, last in re.findall(r"(\d+\.\d+(?:\.\d+)?)(?:(?: to |-)([\d.]+))?", text):
        if section.fullmatch(first):
            yield from (f"{first}.{number}" for number in range(1, 13))
            continue
        start, end = first.rpartition("."), (last or first).rpartition(".")[2]
        yield from (f"{start[0]}.{number}" for number in range(int(start[2]), int(end) + 1))


def test_every_item_of_levels_1_and_2_has_a_row() -> None:
    named = {number for row in re.findall(r"^\| (\d[^|]*) \|", PAGE, re.MULTILINE) for number in _numbers(row)}
    assert set(_numbers(LEVEL_2)) - named == set()


@pytest.fixture
def pages(tmp_path: Path, ca: TestCA) -> Iterator[Pages]:
    with open_pages(ca, tmp_path) as made:
        made.store("alice", ca.issue("/O=Grid/CN=Alice", "p256"))
        yield made


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


def test_a_record_says_who_what_where_and_when(pages: Pages) -> None:
    pages.log_on()
    record = json.loads(pages.audit().splitlines()[-1])
    assert (record["action"], record["verdict"], record["username"]) == ("LOGON", "permit", "alice")
    assert record["address"] == "192.0.2.7"
    assert re.fullmatch("[0-9a-f]{16}", record["id"])
    assert record["time"].startswith(f"{pages.now:%Y-%m-%dT%H:%M:%S}")
    assert record["time"].endswith("+00:00")


def test_what_is_random_is_the_system_s() -> None:
    """`secrets` and `os.urandom` alone."""
    (place,) = myproxy.portal.__path__
    for path in Path(place).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {"random", "uuid"} & set(names), path


def _serve_once(listener: socket.socket, context: ssl.SSLContext, got: list[bytes]) -> None:
    connection, _ = listener.accept()
    connection.settimeout(30)
    try:
        with context.wrap_socket(connection, server_side=True) as stream:
            got.append(stream.recv(4096))
    except OSError:
        connection.close()  # the client goes when it has seen the certificate


@pytest.mark.parametrize("revoked", [False, True])
def test_a_server_whose_certificate_is_revoked_hears_nothing_and_the_log_says_it(
    pages: Pages,
    tmp_path: Path,
    ca: TestCA,
    revoked: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = ca.issue("/CN=localhost", "p256", san=["DNS:localhost"])
    host.write(tmp_path / "host.pem", tmp_path / "host.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "host.pem", tmp_path / "host.key")
    trust = TrustDirectory(str(write_trust_dir(tmp_path / "trusted", ca, crl=ca.crl([host] if revoked else []))))
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_serve_once, args=(listener, context, heard))
        server.start()
        place = ServerAddress.parse(f"localhost:{listener.getsockname()[1]}")
        desk = Desk(place, trust.anchors, clock=clock.now)
        monkeypatch.setattr(ServiceDesk, "log_on", lambda _, *words, **more: desk.log_on(*words, **more))
        with caplog.at_level(logging.ERROR):
            answer = pages.log_on()
        server.join(30)
    assert answer.status_code == (503 if revoked else 500), "this one goes away in the middle of its answer"
    assert bool(b"".join(heard)) is not revoked
    assert ("revoked" in caplog.text) is revoked
    assert "revoked" not in answer.text
