"""What the server counts about itself, over all its workers, and how monitors are told (Prometheus's text format).

    metrics = Metrics(workers=4)                         # before the workers are forked
    metrics.use(number)                                  # in each of them
    open_community(config, meter=metrics.meter)          # counts what is recorded
    render(metrics)                                      # in any of them

Decisions are counted where they are recorded, so that the numbers and the audit tell the same.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from gsi.errors import GridError
from gsi.system.audit import Verdict
from gsi.system.counters import SharedCounters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from cas.service import AuditSink
    from gsi.system.audit import AuditRecord

__all__ = ["ACTIONS", "BUCKETS", "CONTENT_TYPE", "FORMS", "STATUSES", "Metrics", "render"]

ACTIONS: Final = (
    "capability",
    "change",
    "grant",
    "revoke",
    "enrol",
    "remove",
    "withdraw",
    "enrol-users",
    "preview",
    "OTHER",
)
"""What is decided about, as in the audit."""

FORMS: Final = ("saml1", "saml2", "attribute-certificate", "jwt")
"""What capabilities are written as."""

STATUSES: Final = ("2xx", "400", "401", "403", "404", "409", "413", "429", "4xx", "500", "503", "5xx")
"""What became of requests over HTTP."""

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends in seconds, for a record on its way to the disk."""

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The numbers of all workers. Safe for use by several threads."""

    def __init__(self, *, workers: int = 1) -> None:
        """Make them, all zero."""
        names = [f"decision {action} {verdict.value}" for action in ACTIONS for verdict in Verdict]
        names += [f"issued {form}" for form in FORMS]
        names += [f"answer {status}" for status in STATUSES]
        names += [f"audit {place}" for place in range(len(BUCKETS) + 1)]
        names += ["audit seconds", "audit failures", "audit broken", "starts"]
        self._counters = SharedCounters(names, processes=workers)
        self.workers = workers

    def use(self, worker: int) -> None:
        """Count for this worker from now on."""
        self._counters.use(worker)
        self._counters.put("audit broken", 0)
        self._counters.add("starts")

    def meter(self, sink: AuditSink) -> AuditSink:
        """Return a sink that counts what this one records."""
        return _MeteredSink(sink, self)

    def issued(self, form: str) -> None:
        """Count a capability that was signed, one of `FORMS`."""
        self._counters.add(f"issued {form}")

    def answered(self, status: int) -> None:
        """Count an answer over HTTP."""
        name = str(status)
        if name not in STATUSES:
            name = f"{status // 100}xx" if status // 100 in {2, 4} else "5xx"
        self._counters.add(f"answer {name}")

    def decide(self, record: AuditRecord, seconds: float) -> None:
        """Count a decision that was recorded, and how long that took."""
        action = record.action if record.action in ACTIONS else "OTHER"
        self._counters.add(f"decision {action} {record.verdict.value}")
        place = next((number for number, end in enumerate(BUCKETS) if seconds <= end), len(BUCKETS))
        self._counters.add(f"audit {place}")
        self._counters.add("audit seconds", seconds)
        self._counters.put("audit broken", 0)

    def fail_audit(self) -> None:
        """Take note that a record could not be written."""
        self._counters.put("audit broken", 1)
        self._counters.add("audit failures")

    def audit_works(self) -> bool:
        """Say whether the last record of every worker could be written."""
        return not any(self._counters.each("audit broken"))

    def count(self, name: str) -> int:
        """Return one of: `audit failures`, `starts`, `decision ACTION VERDICT`, `issued FORM`, `answer STATUS`."""
        return int(self._counters.total(name))

    def audit_times(self) -> tuple[tuple[int, ...], float]:
        """Return how many records took no longer than each of `BUCKETS`, and in all; and the seconds together."""
        found, total = [], 0
        for place in range(len(BUCKETS) + 1):
            total += int(self._counters.total(f"audit {place}"))
            found.append(total)
        return tuple(found), self._counters.total("audit seconds")


class _MeteredSink:
    """Records decisions, and counts them once they are recorded."""

    def __init__(self, sink: AuditSink, metrics: Metrics) -> None:
        self._sink = sink
        self._metrics = metrics

    def record(self, record: AuditRecord) -> None:
        """Return when the record is safe; raise StorageError when it is not."""
        begun = time.monotonic()
        try:
            self._sink.record(record)
        except GridError:
            self._metrics.fail_audit()
            raise
        self._metrics.decide(record, time.monotonic() - begun)


def render(metrics: Metrics) -> bytes:
    """Return the numbers in Prometheus's text format."""
    from prometheus_client.exposition import generate_latest
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(_collect(metrics))))
    return generate_latest(registry)


class _Collected:
    """Hands metrics that are ready to the library's writer."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> list[Metric]:
        """Return them."""
        return self._found


def _collect(metrics: Metrics) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    decisions = CounterMetricFamily("cas_decisions", "Records in the audit.", labels=("action", "verdict"))
    for action in ACTIONS:
        for verdict in Verdict:
            decisions.add_metric((action, verdict.value), metrics.count(f"decision {action} {verdict.value}"))
    yield decisions
    issued = CounterMetricFamily("cas_issued", "Capabilities that were signed.", labels=("form",))
    for form in FORMS:
        issued.add_metric((form,), metrics.count(f"issued {form}"))
    yield issued
    answers = CounterMetricFamily("cas_answers", "Answers over HTTP.", labels=("status",))
    for status in STATUSES:
        answers.add_metric((status,), metrics.count(f"answer {status}"))
    yield answers
    counts, seconds = metrics.audit_times()
    buckets = [(str(end), count) for end, count in zip((*BUCKETS, "+Inf"), counts, strict=True)]
    yield HistogramMetricFamily("cas_audit_seconds", "Writing a record to disk.", buckets=buckets, sum_value=seconds)
    yield CounterMetricFamily(
        "cas_audit_failures", "Records that could not be written.", value=metrics.count("audit failures")
    )
    yield GaugeMetricFamily(
        "cas_audit_works", "1 when the last record of every worker could be written.", value=int(metrics.audit_works())
    )
    yield CounterMetricFamily("cas_worker_starts", "Workers that were started.", value=metrics.count("starts"))
