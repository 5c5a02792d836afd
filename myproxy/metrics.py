"""What the server counts about itself, over all its workers; not how it is told to others (`myproxy.monitor`).

    metrics = Metrics(workers=4)                    # before the workers are forked
    metrics.use(number)                             # in each of them
    service = MyProxyService(..., audit=MeteredSink(audit, metrics))
    metrics.observe(Command.GET, seconds)
    metrics.decisions(), metrics.failures(), metrics.latencies()

Decisions are counted where they are recorded, so that the numbers and the audit tell the same.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi.errors import GridError
from gsi.system.audit import Verdict
from gsi.system.counters import SharedCounters
from myproxy.protocol.messages import Command
from myproxy.trail import CONNECT, THROTTLED, UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gsi.system.audit import AuditRecord, Posted, PostingSink

__all__ = ["ACTIONS", "BUCKETS", "Latency", "MeteredSink", "Metrics"]

ACTIONS: Final = (CONNECT, UNREADABLE, *(one.name for one in Command), "DELEGATE", "ISSUE", "HANDOVER", "OTHER")
"""What is decided about, as in the audit."""

REASONS: Final = (
    "authentication",
    "denied",
    "verification",
    "protocol",
    "protocol-local",
    "protocol-remote",
    "parse",
    "credential",
    "issuance",
    "not-found",
    "conflict",
    "storage",
    "transport",
    "timeout",
    "config",
    "error",
    "other",
)
"""Slugs of errors."""

BUCKETS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends in seconds: a logon without a pass phrase takes 3 ms, the longest wait of a client is a minute."""

_TIMED: Final = (*(one.name for one in Command), "AUDIT")


@dataclass(frozen=True, slots=True)
class Latency:
    """How long something took.

    Attributes:
        counts: How often it took no longer than each of `BUCKETS`, and how often at all: each includes the one before.
        seconds: All together.
    """

    counts: tuple[int, ...]
    seconds: float

    @property
    def count(self) -> int:
        """How often it happened."""
        return self.counts[-1]


class Metrics:
    """The numbers of all workers. Safe for use by several threads."""

    def __init__(self, *, workers: int = 1) -> None:
        """Make them, all zero."""
        names = [f"decision {action} {verdict.value}" for action in ACTIONS for verdict in Verdict]
        names += [f"failure {reason}" for reason in REASONS]
        names += [f"trouble {reason}" for reason in REASONS]
        names += [f"time {name} {place}" for name in _TIMED for place in (*range(len(BUCKETS) + 1), "seconds")]
        names += ["connections", "open", "throttled", "audit broken", "audit failures", "reloads", "reload failures"]
        names += ["starts", "beat"]
        self._counters = SharedCounters(names, processes=workers + 1)  # the last one starts the others
        self.started = time.time()
        self.workers = workers

    def use(self, worker: int) -> None:
        """Count for this worker from now on."""
        self._counters.use(worker)
        for name in ("open", "audit broken"):
            self._counters.put(name, 0)
        self._counters.add("starts")

    def supervise(self) -> None:
        """Count in the process that starts the workers, beside them, from now on."""
        self._counters.use(self.workers)

    # Counting

    def decide(self, record: AuditRecord) -> None:
        """Count a decision that was recorded."""
        action = record.action if record.action in ACTIONS else "OTHER"
        self._counters.add(f"decision {action} {record.verdict.value}")
        if record.verdict is not Verdict.PERMIT:
            self._counters.add(f"failure {_known(record.reason.partition(':')[0])}")
        if record.details.get(THROTTLED):
            self._counters.add("throttled")

    def observe(self, name: str, seconds: float) -> None:
        """Count how long a command, or "AUDIT", took."""
        place = next((number for number, end in enumerate(BUCKETS) if seconds <= end), len(BUCKETS))
        self._counters.add(f"time {name} {place}")
        self._counters.add(f"time {name} seconds", seconds)

    def audit(self, *, works: bool) -> None:
        """Take note of whether a record could be written."""
        self._counters.put("audit broken", 0 if works else 1)
        if not works:
            self._counters.add("audit failures")

    def connect(self) -> None:
        """Count a connection that was accepted."""
        self._counters.add("connections")

    def open(self, change: int) -> None:
        """Count conversations under way."""
        self._counters.add("open", change)

    def trouble(self, error: GridError) -> None:
        """Count what went wrong outside a conversation."""
        self._counters.add(f"trouble {_known(error.slug)}")

    def reload(self, *, works: bool) -> None:
        """Count a reload."""
        self._counters.add("reloads" if works else "reload failures")

    def beat(self) -> None:
        """Say that this worker turns."""
        self._counters.put("beat", time.monotonic())

    # Telling

    def decisions(self) -> dict[tuple[str, str], int]:
        """Return how often each action had each verdict."""
        pairs = [(action, verdict.value) for action in ACTIONS for verdict in Verdict]
        return {pair: int(self._counters.total(f"decision {pair[0]} {pair[1]}")) for pair in pairs}

    def failures(self) -> dict[str, int]:
        """Return how many requests were refused or failed, by reason."""
        return {reason: int(self._counters.total(f"failure {reason}")) for reason in REASONS}

    def troubles(self) -> dict[str, int]:
        """Return how many connections ended before or outside a decision, by reason."""
        return {reason: int(self._counters.total(f"trouble {reason}")) for reason in REASONS}

    def latencies(self) -> Mapping[str, Latency]:
        """Return how long commands, and writing the audit ("AUDIT"), took."""
        found = {}
        for name in _TIMED:
            counts, total = [], 0
            for place in range(len(BUCKETS) + 1):
                total += int(self._counters.total(f"time {name} {place}"))
                counts.append(total)
            found[name] = Latency(tuple(counts), self._counters.total(f"time {name} seconds"))
        return found

    def count(self, name: str) -> int:
        """Return one of: connections, open, throttled, audit failures, reloads, reload failures, starts."""
        return int(self._counters.total(name))

    def audit_works(self) -> bool:
        """Say whether the last record of every worker could be written."""
        return not any(self._counters.each("audit broken"))

    def silences(self) -> list[float]:
        """Return for each worker how many seconds ago it turned; infinity for one that never did."""
        now = time.monotonic()
        return [now - beat if beat else float("inf") for beat in self._counters.each("beat")[: self.workers]]


class MeteredSink:
    """Records decisions, and counts them once they are recorded."""

    def __init__(self, sink: PostingSink, metrics: Metrics) -> None:
        self._sink = sink
        self._metrics = metrics

    def record(self, record: AuditRecord) -> None:
        """Return when the record is safe.

        Raises:
            StorageError: It is not.
        """
        self.post(record).settle()

    def post(self, record: AuditRecord) -> Posted:
        """Take the record, and count it once it is safe, or that it is not: also where nobody settles it.

        Raises:
            StorageError: It cannot be expected to become safe.
        """
        try:
            posted = self._sink.post(record)
        except GridError:
            self._metrics.audit(works=False)
            raise
        posted.when_known(functools.partial(self._count, posted, record), soon=False)
        return posted

    def _count(self, posted: Posted, record: AuditRecord) -> None:
        self._metrics.audit(works=posted.failure is None)
        if posted.failure is not None:
            return
        if posted.waited is not None:
            self._metrics.observe("AUDIT", posted.waited)
        self._metrics.decide(record)


def _known(reason: str) -> str:
    return reason if reason in REASONS else "other"
