"""What services count about their audit, over all workers, and Prometheus's text; not what each counts beside it.

    class Metrics(AuditMetrics):                         # in a service
        def __init__(self, *, workers: int = 1) -> None:
            super().__init__("cas", actions=ACTIONS, names=["issued jwt"], workers=workers)

    metrics = Metrics(workers=4)                         # before the workers are forked
    metrics.use(number)                                  # in each of them
    sink = metrics.meter(audit)                          # counts what is recorded
    write_text(metrics.audit_families())                 # in any of them

Decisions are counted where they are recorded, so that the numbers and the audit tell the same.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from gsi.errors import GridError
from gsi.system.audit import Verdict
from gsi.system.counters import SharedCounters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prometheus_client.core import Metric

    from gsi.system.audit import AuditRecord, AuditSink

__all__ = ["BUCKETS", "CONTENT_TYPE", "OTHER", "AuditMetrics", "labelled", "named_buckets", "write_text"]

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends in seconds, for a record on its way to the disk."""

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

OTHER: Final = "OTHER"
"""The action that stands for all that a service does not name."""


class AuditMetrics:
    """The numbers of all workers about the audit, and any others. Safe for use by several threads."""

    def __init__(self, prefix: str, *, actions: Sequence[str], names: Iterable[str], workers: int = 1) -> None:
        """Make them, all zero.

        Args:
            prefix: What their names begin with for monitors.
            actions: What is decided about, as in the audit; `OTHER` among them.
            names: Further counters.
            workers: How many processes count.
        """
        made = [f"decision {action} {verdict.value}" for action in actions for verdict in Verdict]
        made += names
        made += [f"audit {place}" for place in range(len(BUCKETS) + 1)]
        made += ["audit seconds", "audit failures", "audit broken", "starts"]
        self._prefix = prefix
        self._actions = tuple(actions)
        self._counters = SharedCounters(made, processes=workers)
        self.workers = workers

    def use(self, worker: int) -> None:
        """Count for this worker from now on."""
        self._counters.use(worker)
        self._counters.put("audit broken", 0)
        self._counters.add("starts")

    def meter(self, sink: AuditSink) -> AuditSink:
        """Return a sink that counts what this one records."""
        return _MeteredSink(sink, self)

    def decide(self, record: AuditRecord, seconds: float) -> None:
        """Count a decision that was recorded, and how long that took."""
        action = record.action if record.action in self._actions else OTHER
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
        """Return `audit failures`, `starts`, `decision ACTION VERDICT`, or one of the further counters."""
        return int(self._counters.total(name))

    def audit_times(self) -> tuple[tuple[int, ...], float]:
        """Return how many records took no longer than each of `BUCKETS`, and in all; and the seconds together."""
        found, total = [], 0
        for place in range(len(BUCKETS) + 1):
            total += int(self._counters.total(f"audit {place}"))
            found.append(total)
        return tuple(found), self._counters.total("audit seconds")

    def decision_family(self) -> Metric:
        """Return how often each action had each verdict, for `write_text`."""
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(f"{self._prefix}_decisions", "Records in the audit.", labels=("action", "verdict"))
        for action in self._actions:
            for verdict in Verdict:
                family.add_metric((action, verdict.value), self.count(f"decision {action} {verdict.value}"))
        return family

    def audit_families(self) -> Iterator[Metric]:
        """Yield how the audit does, and how often workers were started, for `write_text`."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        prefix = self._prefix
        counts, seconds = self.audit_times()
        yield HistogramMetricFamily(
            f"{prefix}_audit_seconds",
            "Writing a record to disk.",
            buckets=named_buckets(BUCKETS, counts),
            sum_value=seconds,
        )
        failures = self.count("audit failures")
        yield CounterMetricFamily(f"{prefix}_audit_failures", "Records that could not be written.", value=failures)
        yield GaugeMetricFamily(
            f"{prefix}_audit_works",
            "1 when the last record of every worker could be written.",
            value=int(self.audit_works()),
        )
        yield CounterMetricFamily(f"{prefix}_worker_starts", "Workers that were started.", value=self.count("starts"))


class _MeteredSink:
    """Records decisions, and counts them once they are recorded."""

    def __init__(self, sink: AuditSink, metrics: AuditMetrics) -> None:
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


def labelled(name: str, text: str, label: str, numbers: Iterable[tuple[str, int]]) -> Metric:
    """Return a family of counters with one label, for `write_text`."""
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, text, labels=(label,))
    for value, number in numbers:
        family.add_metric((value,), number)
    return family


def named_buckets(ends: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return the buckets of a histogram as Prometheus names them; each count includes the one before."""
    return [(str(end), count) for end, count in zip((*ends, "+Inf"), counts, strict=True)]


def write_text(families: Iterable[Metric]) -> bytes:
    """Return numbers in Prometheus's text format."""
    from prometheus_client.exposition import generate_latest
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(families)))
    return generate_latest(registry)


class _Collected:
    """Hands metrics that are ready to the library's writer."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> list[Metric]:
        """Return them."""
        return self._found
