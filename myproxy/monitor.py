"""Metrics, health and statistics of a running server, as documents for monitors; not the counting (`myproxy.metrics`).

    monitor = Monitor(metrics, sources)
    document = await monitor.answer("/metrics")     # Prometheus's text format
    document = await monitor.answer("/health")      # 200, or 503 with what is wrong
    document = await monitor.answer("/stats")       # all of it in JSON, for myproxy-admin-stats

Every worker can answer for all of them. What has to be looked up (store, trust directory) is looked up in a thread of
its own and kept for `KEPT_SECONDS`; when that takes too long, this very thing is the answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from gsi._version import __version__
from gsi.errors import GridError
from gsi.system.metrics import labelled, named_buckets, write_text
from gsi.transport.documents_server import Document
from gsi.trust.anchors import CRLFile
from myproxy.metrics import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from prometheus_client.core import Metric

    from gsi.trust.anchors import TrustAnchors
    from myproxy.metrics import Metrics
    from myproxy.repository.census import Census

__all__ = ["SILENT_SECONDS", "Facts", "Monitor", "Sources"]

KEPT_SECONDS: Final = 10.0
"""How long what was looked up is good for: monitors ask every 15 seconds or so, several of them at the same time."""

LOOKUP_SECONDS: Final = 3.0
"""How long a lookup may take; monitors give up after 5 or 10."""

SILENT_SECONDS: Final = 15.0
"""A worker that has not turned for so long hangs; they say so every second."""

_log: Final = logging.getLogger("myproxy.server")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where to look things up. All may block and raise GridError.

    Attributes:
        census: Counts the store.
        anchors: The trust directory.
        host_expiry: When the server's own credential expires.
        check_issuer: Raises when certificates are to be issued and cannot be.
        clock: The time.
    """

    census: Callable[[], Census]
    anchors: Callable[[], TrustAnchors]
    host_expiry: Callable[[], datetime]
    check_issuer: Callable[[], None]
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Facts:
    """What was looked up.

    Attributes:
        troubles: What could not be, or is wrong, by what was looked at: `store`, `trust`, `host_credential`,
            `issuer`.
        census: What is in the store.
        host_expiry: When the server's own credential expires.
        trust_age: Seconds since the trust directory in use was read.
        trust_authorities: CAs in it.
        trust_problems: Files of it that cannot be used.
        crls: For each CA with CRLs the oldest of them: seconds since it was issued, seconds until the next is due.
    """

    troubles: dict[str, str] = field(default_factory=dict)
    census: Census | None = None
    host_expiry: datetime | None = None
    trust_age: float | None = None
    trust_authorities: int = 0
    trust_problems: int = 0
    crls: dict[str, tuple[float, float]] = field(default_factory=dict)


def look_up(sources: Sources, begin: Callable[[str], None] = lambda _: None) -> Facts:
    """Look everything up; what cannot be is among the troubles.

    Args:
        sources: Where.
        begin: Told before each part what is looked at, so that the one that hangs can be named.
    """
    now, troubles = sources.clock(), {}
    census: Census | None = None
    expiry: datetime | None = None
    anchors: TrustAnchors | None = None
    crls: dict[str, tuple[float, float]] = {}
    begin("issuer")
    try:
        sources.check_issuer()
    except GridError as error:
        troubles["issuer"] = error.message
    begin("store")
    try:
        census = sources.census()
    except GridError as error:
        troubles["store"] = error.message
    try:
        expiry = sources.host_expiry()
        if expiry <= now:
            troubles["host_credential"] = f"expired at {expiry:%Y-%m-%d %H:%M:%S}Z"
    except GridError as error:
        troubles["host_credential"] = error.message
    begin("trust")
    try:
        anchors = sources.anchors()
        crls = _crl_ages(anchors, now)
        if not anchors.authorities:
            troubles["trust"] = "there is no CA in the trust directory"
    except GridError as error:
        troubles["trust"] = error.message
    return Facts(
        troubles=troubles,
        census=census,
        host_expiry=expiry,
        trust_age=None if anchors is None else (now - anchors.loaded_at).total_seconds(),
        trust_authorities=0 if anchors is None else len(anchors.authorities),
        trust_problems=0 if anchors is None else len(anchors.problems),
        crls=crls,
    )


def _crl_ages(anchors: TrustAnchors, now: datetime) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for authority in anchors.authorities:
        files = anchors.find_rules(authority.certificate.subject_der).crls
        lists = [crl for file in files if isinstance(file, CRLFile) for crl in file.crls]
        if lists:
            oldest = min(lists, key=lambda crl: crl.next_update)
            found[authority.subject] = (
                (now - oldest.this_update).total_seconds(),
                (oldest.next_update - now).total_seconds(),
            )
    return found


class Monitor:
    """Answers monitors. Belongs to one event loop."""

    def __init__(self, metrics: Metrics, sources: Sources) -> None:
        """Answer from these numbers and sources."""
        self._metrics = metrics
        self._sources = sources
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="monitor")
        self._known: tuple[float, Facts] | None = None
        self._under_way: asyncio.Future[Facts] | None = None
        self._looking_at = "store"

    async def answer(self, path: str) -> Document | None:
        """Return the document of a path; None where there is none."""
        if path == "/metrics":
            from prometheus_client.exposition import CONTENT_TYPE_LATEST

            return Document(self._text(await self._facts()), CONTENT_TYPE_LATEST)
        if path == "/health":
            checks = self._checks(await self._facts())
            sound = all(text is None for text in checks.values())
            told = {"status": "ok" if sound else "failing", "checks": {k: v or "ok" for k, v in checks.items()}}
            status = HTTPStatus.OK if sound else HTTPStatus.SERVICE_UNAVAILABLE
            return _json(told, status)
        if path == "/stats":
            return _json(self._stats(await self._facts()))
        return None

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _facts(self) -> Facts:
        """Return what was looked up lately, or look it up."""
        now = time.monotonic()
        if self._known is not None and now - self._known[0] < KEPT_SECONDS:
            return self._known[1]
        if self._under_way is None:
            self._under_way = asyncio.get_running_loop().run_in_executor(
                self._thread, look_up, self._sources, self._begin
            )
            self._under_way.add_done_callback(self._keep)
        try:
            return await asyncio.wait_for(asyncio.shield(self._under_way), LOOKUP_SECONDS)
        except TimeoutError:
            return Facts(troubles={self._looking_at: f"no answer within {LOOKUP_SECONDS:g} seconds"})

    def _begin(self, part: str) -> None:
        self._looking_at = part

    def _keep(self, done: asyncio.Future[Facts]) -> None:
        self._under_way = None
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._known = (time.monotonic(), done.result())
        else:
            _log.error("monitor: %r", error)

    def _checks(self, facts: Facts) -> dict[str, str | None]:
        """Return what is wrong with each part, None where nothing is."""
        checks: dict[str, str | None] = {
            name: facts.troubles.get(name) for name in ("store", "trust", "host_credential", "issuer")
        }
        checks["audit"] = None if self._metrics.audit_works() else "the last record could not be written"
        silent = sum(silence > SILENT_SECONDS for silence in self._metrics.silences())
        checks["workers"] = f"{silent} of {self._metrics.workers} do not turn" if silent else None
        return checks

    def _stats(self, facts: Facts) -> dict[str, object]:
        metrics = self._metrics
        uptime = max(time.time() - metrics.started, 0.001)
        decisions: dict[str, dict[str, int]] = {}
        for (action, verdict), number in metrics.decisions().items():
            if number:
                decisions.setdefault(action, {})[verdict] = number
        return {
            "version": __version__,
            "uptime_seconds": round(uptime, 1),
            "workers": metrics.workers,
            "healthy": all(text is None for text in self._checks(facts).values()),
            "connections": metrics.count("connections"),
            "conversations": metrics.count("open"),
            "operations": decisions,
            "operations_per_second": round(sum(metrics.decisions().values()) / uptime, 3),
            "failures": {reason: number for reason, number in metrics.failures().items() if number},
            "connection_troubles": {reason: number for reason, number in metrics.troubles().items() if number},
            "throttled": metrics.count("throttled"),
            "audit_failures": metrics.count("audit failures"),
            "mean_milliseconds": {
                name: round(1000 * latency.seconds / latency.count, 2)
                for name, latency in metrics.latencies().items()
                if latency.count
            },
            "credentials": None if facts.census is None else facts.census.credentials,
            "expired_credentials": None if facts.census is None else facts.census.expired,
            "soonest_expiry": _time_text(None if facts.census is None else facts.census.soonest),
            "host_certificate_expiry": _time_text(facts.host_expiry),
            "trust_directory_age_seconds": None if facts.trust_age is None else round(facts.trust_age),
            "crls_overdue": sorted(name for name, (_, left) in facts.crls.items() if left < 0),
        }

    def _text(self, facts: Facts) -> bytes:
        return write_text(self._collect(facts))

    def _collect(self, facts: Facts) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        metrics = self._metrics

        def gauge(name: str, text: str, value: float | None) -> Iterator[Metric]:
            if value is not None:
                yield GaugeMetricFamily(f"myproxy_{name}", text, value=value)

        def counter(name: str, text: str, value: float) -> Metric:
            return CounterMetricFamily(f"myproxy_{name}", text, value=value)

        decisions = CounterMetricFamily("myproxy_decisions", "Decisions in the audit.", labels=("action", "verdict"))
        for labels, number in metrics.decisions().items():
            decisions.add_metric(labels, number)
        yield decisions
        for name, text, numbers in (
            ("failures", "Requests that were refused or failed.", metrics.failures()),
            ("connection_troubles", "Connections that ended outside of a conversation.", metrics.troubles()),
        ):
            yield labelled(f"myproxy_{name}", text, "reason", numbers.items())
        times = HistogramMetricFamily(
            "myproxy_request_seconds", "From a request to the end of its answer.", labels=("command",)
        )
        for name, latency in metrics.latencies().items():
            buckets = named_buckets(BUCKETS, latency.counts)
            if name == "AUDIT":
                yield HistogramMetricFamily(
                    "myproxy_audit_seconds", "Writing a record to disk.", buckets=buckets, sum_value=latency.seconds
                )
            else:
                times.add_metric((name,), buckets, latency.seconds)
        yield times
        yield counter("connections", "Connections accepted.", metrics.count("connections"))
        yield counter("throttled", "Tries that were not judged, for too many wrong ones.", metrics.count("throttled"))
        yield counter("audit_failures", "Records that could not be written.", metrics.count("audit failures"))
        yield counter("reloads", "Reloads by each worker.", metrics.count("reloads"))
        yield counter(
            "reload_failures",
            "Reloads that kept the old state, by a worker or for all of them.",
            metrics.count("reload failures"),
        )
        yield counter("worker_starts", "Worker processes started.", metrics.count("starts"))
        yield from gauge("conversations", "Conversations under way.", metrics.count("open"))
        yield from gauge("start_time_seconds", "When the server was started.", metrics.started)
        checks = GaugeMetricFamily("myproxy_check", "Whether a part works, 1 or 0.", labels=("part",))
        for name, trouble in self._checks(facts).items():
            checks.add_metric((name,), 0 if trouble else 1)
        yield checks
        census = facts.census
        if census is not None:
            yield from gauge("credentials", "Stored credentials.", census.credentials)
            yield from gauge("credentials_expired", "Stored credentials that have expired.", census.expired)
            soonest = None if census.soonest is None else census.soonest.timestamp()
            yield from gauge("credential_soonest_expiry_seconds", "When the next stored credential expires.", soonest)
        expiry = None if facts.host_expiry is None else facts.host_expiry.timestamp()
        yield from gauge("host_certificate_expiry_seconds", "When the server's own certificate expires.", expiry)
        yield from gauge("trust_directory_age_seconds", "Since the trust directory was read.", facts.trust_age)
        yield from gauge("trust_authorities", "CAs in the trust directory.", facts.trust_authorities)
        yield from gauge("trust_problems", "Files of the trust directory that cannot be used.", facts.trust_problems)
        ages = GaugeMetricFamily("myproxy_crl_age_seconds", "Since the oldest CRL was issued.", labels=("ca",))
        due = GaugeMetricFamily("myproxy_crl_left_seconds", "Until the oldest CRL expires.", labels=("ca",))
        for name, (age, left) in facts.crls.items():
            ages.add_metric((name,), age)
            due.add_metric((name,), left)
        yield ages
        yield due


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> Document:
    return Document(json.dumps(value, indent=2).encode() + b"\n", "application/json", status)


def _time_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
