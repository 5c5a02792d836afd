"""What monitors are told when something is wrong."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from gsi.errors import GridError, StorageError
from gsi.system.audit import AuditLog, AuditRecord, Verdict
from gsi.system.trustdir import TrustDirectory
from gsi.transport.documents_server import Document
from myproxy import monitor as module
from myproxy.metrics import MeteredSink, Metrics
from myproxy.monitor import Monitor, Sources
from myproxy.repository.census import Census
from tests.harness.ca import TestCA, write_trust_dir
from tests.harness.myproxy import Sink

NOW = datetime.now(UTC)


class World:
    """Sources of which each can be broken."""

    def __init__(self, directory: Path) -> None:
        trust = write_trust_dir(directory / "certificates", TestCA("/O=Grid/CN=CA", "p256"), crl=True)
        self.trust = TrustDirectory(str(trust))
        self.census: Census | GridError = Census(3, 1, NOW + timedelta(hours=1))
        self.expiry = NOW + timedelta(days=1)
        self.hangs = threading.Event()
        self.hangs.set()
        self.issuer: GridError | None = None
        self.issuer_hangs = threading.Event()
        self.issuer_hangs.set()
        self.metrics = Metrics(workers=2)
        for worker in (1, 0):
            self.metrics.use(worker)
            self.metrics.beat()

    def take_census(self) -> Census:
        self.hangs.wait(30)
        if isinstance(self.census, GridError):
            raise self.census
        return self.census

    def check_issuer(self) -> None:
        if self.issuer is not None:
            raise self.issuer
        self.issuer_hangs.wait(30)

    def ask(self, path: str) -> Document | None:
        async def body() -> Document | None:
            sources = Sources(
                census=self.take_census,
                anchors=self.trust.anchors,
                host_expiry=lambda: self.expiry,
                check_issuer=self.check_issuer,
                clock=lambda: NOW,
            )
            made = Monitor(self.metrics, sources)
            try:
                return await made.answer(path)
            finally:
                self.hangs.set()
                self.issuer_hangs.set()
                made.close()

        return asyncio.run(body())

    def health(self) -> tuple[int, dict[str, str]]:
        document = self.ask("/health")
        assert document is not None
        return int(document.status), {
            name: text for name, text in json.loads(document.body)["checks"].items() if text != "ok"
        }


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def record(verdict: Verdict, reason: str = "", **details: str | int | None) -> AuditRecord:
    return AuditRecord(
        time=NOW, request_id="1", service="myproxy", action="GET", verdict=verdict, reason=reason, peer="", address="",
        details=details,
    )  # fmt: skip


def test_all_is_well(world: World) -> None:
    assert world.health() == (200, {})
    assert world.ask("/other") is None


def test_whatever_is_wrong_is_told(world: World) -> None:
    world.census = StorageError("the disk is gone")
    world.expiry = NOW - timedelta(hours=1)
    world.issuer = GridError("the token is gone")
    Path(world.trust.path).rename(world.trust.path + "-away")
    sink = Sink()
    sink.broken = True
    with pytest.raises(StorageError):
        MeteredSink(sink, world.metrics).record(record(Verdict.PERMIT))
    world.metrics.use(1)
    world.metrics._counters.put("beat", 1)
    status, wrong = world.health()
    assert status == 503
    assert wrong["store"] == "the disk is gone"
    assert wrong["issuer"] == "the token is gone"
    assert wrong["host_credential"].startswith("expired at ")
    assert "cannot be opened" in wrong["trust"]
    assert "could not be written" in wrong["audit"]
    assert wrong["workers"] == "1 of 2 do not turn"
    assert world.metrics.count("audit failures") == 1
    assert not world.metrics.decisions()["GET", "permit"], "what was not recorded is not counted"


def test_a_store_that_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKUP_SECONDS", 0.05)
    world.hangs.clear()
    assert world.health() == (503, {"store": "no answer within 0.05 seconds"})


def test_a_token_that_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKUP_SECONDS", 0.05)
    world.issuer_hangs.clear()
    assert world.health() == (503, {"issuer": "no answer within 0.05 seconds"})


def test_numbers(world: World) -> None:
    sink = MeteredSink(Sink(), world.metrics)
    sink.record(record(Verdict.PERMIT))
    sink.record(record(Verdict.DENY, "authentication: no", throttled=1))
    sink.record(record(Verdict.FAIL, "unheard-of: no"))
    world.metrics.observe("GET", 0.003)
    world.metrics.observe("GET", 30)
    document = world.ask("/stats")
    assert document is not None
    told = cast("dict[str, object]", json.loads(document.body))
    assert told["operations"] == {"GET": {"permit": 1, "deny": 1, "fail": 1}}
    assert told["failures"] == {"authentication": 1, "other": 1}
    assert told["throttled"] == 1
    assert told["credentials"] == 3
    assert world.metrics.latencies()["GET"].counts[:2] == (0, 1)
    assert world.metrics.latencies()["GET"].count == 2
    text = world.ask("/metrics")
    assert text is not None
    assert b'myproxy_request_seconds_bucket{command="GET",le="+Inf"} 2' in text.body
    assert b'myproxy_crl_left_seconds{ca="/O=Grid/CN=CA"}' in text.body


def test_records_that_are_only_posted_count_once_they_are_known(tmp_path: Path) -> None:
    metrics = Metrics()
    log = AuditLog(str(tmp_path / "audit.log"))
    sink = MeteredSink(log, metrics)
    posted = sink.post(record(Verdict.PERMIT))
    assert not metrics.decisions()["GET", "permit"]
    sink.record(record(Verdict.PERMIT))
    posted.settle()
    log.close()  # which waits for whoever tells
    assert metrics.decisions()["GET", "permit"] == 2
    assert metrics.audit_works()


def test_a_posted_record_that_is_not_written_shows_though_nobody_settles_it(tmp_path: Path) -> None:
    metrics = Metrics()
    log = AuditLog(str(tmp_path / "audit.log"))
    (tmp_path / "audit.log").unlink()
    (tmp_path / "audit.log").mkdir()
    MeteredSink(log, metrics).post(record(Verdict.PERMIT))
    log.close()
    assert not metrics.audit_works()
    assert metrics.count("audit failures") == 1
    assert not metrics.decisions()["GET", "permit"]
