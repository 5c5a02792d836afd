"""What a server tells monitors about itself, and what keeps it from telling."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from gsi.doctor.ports import MAX_HEALTH_BYTES, MAX_LINE, MAX_LINES, look_at_health
from gsi.doctor.visit import Visit
from gsi.system.environ import read_locations
from gsi.trust.diagnose import Finding, Severity
from gsi.trust.options import CRLPolicy
from gsi.trust.peername import NameMode
from tests.harness.web import Answer, Drip, Hang, Raw, Redirect, Script, WebServer

LONG = json.dumps({"checks": {f"{number:04d}": "x" * 500 for number in range(100)}}).encode()
DEEP = b"[" * (MAX_HEALTH_BYTES - 1)


def ask(script: Script, *, timeout: float = 20) -> list[Finding]:
    visit = Visit(
        now=datetime.now(UTC),
        locations=read_locations({}),
        trust_dir="/nonexistent",
        anchors=None,
        crl=CRLPolicy.IF_PRESENT,
        mode=NameMode.HYBRID,
        host="localhost",
        timeout=timeout,
    )
    with WebServer({"/health": script}) as web:
        found = list(look_at_health(f"127.0.0.1:{web.port}", visit))
        assert {one.where for one in found} == {web.url("/health")}
    assert {one.check for one in found} == {"health"}
    return found


@pytest.mark.parametrize(
    ("script", "messages"),
    [
        (Answer(b'{"checks": {"store": "locked", "trust": "ok"}}', "503 Service Unavailable"), ["store: locked"]),
        (Answer(LONG, "503 Service Unavailable"), [f"{n:04d}: " + "x" * (MAX_LINE - 6) for n in range(MAX_LINES)]),
        (Answer(b"the key has expired\nmore\n", "503 Service Unavailable"), ["the key has expired"]),
        (Answer(b"", "503 Service Unavailable"), ["status 503"]),
        (Answer(DEEP, "503 Service Unavailable"), ["[" * MAX_LINE]),
    ],
    ids=["parts", "long", "text", "nothing", "deep"],
)
def test_a_server_tells_what_is_wrong(script: Script, messages: list[str]) -> None:
    found = ask(script)
    assert [one.message for one in found] == messages
    assert {one.severity for one in found} == {Severity.ERROR}


def test_a_server_that_is_well() -> None:
    (found,) = ask(Answer(b'{"checks": {}}'))
    assert found.severity == Severity.OK


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (Answer(b"", "404 Not Found"), "404 Not Found"),
        (Redirect("{url}/health"), "redirections"),
        (Raw(b""), "without response"),
        (Answer(b"x" * (MAX_HEALTH_BYTES + 1)), f"limit {MAX_HEALTH_BYTES}"),
    ],
    ids=["absent", "redirected", "silent", "long"],
)
def test_what_is_no_answer(script: Script, why: str) -> None:
    (found,) = ask(script)
    assert found.severity == Severity.ERROR
    assert found.message.startswith("does not answer monitors: ")
    assert why in found.message


@pytest.mark.parametrize("make", [Hang, Drip, lambda: Drip(b"HTTP/1.1 200 OK\r\n\r\n")], ids=["hang", "head", "body"])
def test_the_time_is_for_the_whole_answer(make: Callable[[], Script]) -> None:
    (found,) = ask(make(), timeout=0.3)
    assert (found.severity, "no answer within 0.3 seconds" in found.message) == (Severity.ERROR, True), found
