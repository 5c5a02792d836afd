"""The pages of the site's administrators: who gets them, what they show of monitors, audit files and the store."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import ConfigError
from gsi.system.audit import AuditLog, AuditRecord, Verdict
from myproxy.portal import watch as watch_module
from myproxy.portal.config import AdminSettings
from myproxy.portal.site import HEIGHT, draw_hours
from myproxy.portal.watch import Hour, Watch, read_latencies
from tests.harness.ca import Issued, TestCA
from tests.harness.portal_pages import Pages, open_pages

ALICE = "/O=Grid/CN=Alice"
PATHS = ("/site", "/site/audit")
NUMBERS = b"""\
# TYPE myproxy_request_seconds histogram
myproxy_request_seconds_bucket{command="GET",le="0.1"} 90
myproxy_request_seconds_bucket{command="GET",le="0.5"} 96
myproxy_request_seconds_bucket{command="GET",le="+Inf"} 100
myproxy_request_seconds_sum{command="GET"} 20
myproxy_request_seconds_count{command="GET"} 100
"""
HEALTH = json.dumps({"status": "failing", "checks": {"store": "ok", "trust": "there is <b>no</b> CA"}}).encode()


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue(ALICE, "p256")


class _Monitor(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = {"/health": HEALTH, "/metrics": NUMBERS}[self.path]
        self.send_response(503 if self.path == "/health" else 200)  # as a server of which a part fails
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # as its parent
        del format, arguments


@contextmanager
def monitor() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Monitor) as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def record(now: datetime, **more: object) -> AuditRecord:
    values: dict[str, object] = {
        "time": now,
        "request_id": "c0ffee",
        "service": "myproxy",
        "action": "GET",
        "verdict": Verdict.PERMIT,
        "reason": "",
        "peer": ALICE,
        "address": "192.0.2.1",
    }
    return AuditRecord(**(values | more))  # type: ignore[arg-type]  # plain values by name


def write(path: Path, *records: AuditRecord) -> None:
    log = AuditLog(str(path))
    for one in records:
        log.record(one)
    log.close()


@contextmanager
def site(ca: TestCA, place: Path, alice: Issued, identities: tuple[str, ...] = (ALICE,)) -> Iterator[Pages]:
    with monitor() as url:
        settings = AdminSettings(
            identities=identities,
            monitors={"MyProxy": url, "CAS": "http://127.0.0.1:1"},
            audits={"server": str(place / "audit.log"), "missing": str(place / "nothing.log")},
        )
        with open_pages(ca, place, admin=settings) as pages:
            pages.store("alice", alice)
            yield pages


def test_those_that_are_named_get_it_and_nobody_else(tmp_path: Path, ca: TestCA, alice: Issued) -> None:
    with site(ca, tmp_path, alice, (f"{ALICE}/CN=1", "/O=Grid/CN=Alic")) as pages:
        for path in PATHS:
            assert pages.get(path).status_code == 303
        pages.log_on()
        assert 'href="/site"' not in pages.get("/").text
        for path in PATHS:
            assert pages.get(path).status_code == 403
        assert pages.post("/site/chains").status_code == 403
        assert "not among the identities" in pages.audit()
    with open_pages(ca, tmp_path / "none") as pages:
        pages.store("alice", alice)
        pages.log_on()
        assert pages.get("/site").status_code == 404


def test_health_latencies_hours_sources_and_search(tmp_path: Path, ca: TestCA, alice: Issued) -> None:
    with site(ca, tmp_path, alice) as pages:
        now = pages.now
        bad = {"verdict": Verdict.DENY, "reason": "denied: <script>", "address": "198.51.100.9"}
        slowed = bad | {"details": {"throttled": 1, "username": "carol"}}
        old = record(now - timedelta(days=2), address="203.0.113.5")
        write(tmp_path / "audit.log", old, record(now), record(now, **bad), record(now, **slowed))
        pages.log_on()
        text = pages.get("/site").text
        assert "there is &lt;b&gt;no&lt;/b&gt; CA" in text
        assert text.count("Failing") == 2
        assert "200.0 ms" in text
        assert "500.0 ms" in text
        assert "1 permitted and 2 refused within a day" in text
        assert "nothing.log" in text
        assert '>198.51.100.9</a></td><td><span class="label">Refused: </span>2</td>' in text
        assert '<span class="badge over">1</span>' in text
        assert "203.0.113.5" not in text
        assert "<script" not in text
        assert "style=" not in text
        found = pages.get("/site/audit?text=CAROL").text
        assert "1 record," in found
        assert "&lt;script&gt;" in found
        assert "4 records" in pages.get("/site/audit").text
        assert "2 records" in pages.get("/site/audit?verdict=deny&file=server&action=GET").text
        assert "Nothing fits." in pages.get("/site/audit?action=PUT").text


def test_what_is_not_searched_is_said(
    tmp_path: Path, ca: TestCA, alice: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(ca, tmp_path, alice) as pages:
        write(tmp_path / "audit.log", record(pages.now), record(pages.now))
        last = (tmp_path / "audit.log").read_bytes().splitlines()[-1]
        monkeypatch.setattr(watch_module, "MAX_TAIL_BYTES", len(last) + 2)
        pages.log_on()
        text = pages.get("/site/audit").text
        assert "1 record," in text
        assert "server: only the end is looked at here, from " in text


def test_a_changed_line_shows_in_the_chain(tmp_path: Path, ca: TestCA, alice: Issued) -> None:
    with site(ca, tmp_path, alice) as pages:
        path = tmp_path / "audit.log"
        write(path, record(pages.now), record(pages.now, address="198.51.100.9"), record(pages.now))
        pages.log_on()
        text = pages.post("/site/chains").text
        assert "Whole" in text
        assert "Changed" not in text
        assert "Not checked" in text  # the missing one
        path.write_bytes(path.read_bytes().replace(b"198.51.100.9", b"198.51.100.8"))
        assert "Changed" in pages.post("/site/chains").text


def test_what_the_store_holds_and_ends_soon(tmp_path: Path, ca: TestCA, alice: Issued) -> None:
    with site(ca, tmp_path, alice) as pages:
        settings = pages.portal.config.admin
        assert Watch(settings, clock=lambda: pages.now).expiring() is None
        later = Watch(settings, clock=lambda: pages.now + timedelta(days=1), repository=pages.world.repository)
        (one,) = later.expiring() or ()
        assert (one.username, one.owner) == ("alice", ALICE)
        earlier = Watch(settings, clock=lambda: pages.now - timedelta(days=30), repository=pages.world.repository)
        assert earlier.expiring() == ()


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=24))
def test_bars_stay_in_the_picture(counts: list[tuple[int, int]]) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    bars, most = draw_hours([Hour(begin + timedelta(hours=n), *pair) for n, pair in enumerate(counts)])
    assert most >= 1
    for bar in bars:
        assert -0.2 <= bar.y <= HEIGHT
        assert bar.y + bar.height <= HEIGHT + 0.2


@given(st.text())
def test_texts_that_are_no_numbers_say_nothing(text: str) -> None:
    assert isinstance(read_latencies(text), tuple)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="no name"):
        AdminSettings(identities=("alice",))
    with pytest.raises(ConfigError, match="no URL"):
        AdminSettings(monitors={"x": "ftp://h"})
    with pytest.raises(ConfigError, match="absolute"):
        AdminSettings(audits={"x": "audit.log"})
