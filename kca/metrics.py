"""What the authority counts about itself, over all its workers, and how monitors are told (Prometheus's text format).

    metrics = Metrics(workers=4)                         # before the workers are forked
    metrics.use(number)                                  # in each of them
    open_service(config, meter=metrics.meter)            # counts what is recorded
    render(metrics)                                      # in any of them

Decisions are counted where they are recorded, so that the numbers and the audit tell the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.system.audit import Verdict
from gsi.system.metrics import CONTENT_TYPE, AuditMetrics, labelled, write_text
from kca.trail import ISSUE, PROBE, REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric

    from gsi.system.audit import AuditRecord

__all__ = ["ACTIONS", "CONTENT_TYPE", "OUTCOMES", "REASONS", "Metrics", "render"]

ACTIONS: Final = (ISSUE, PROBE, REQUEST, "OTHER")
"""What is decided about, as in the audit."""

REASONS: Final = (
    "authentication",
    "denied",
    "verification",
    "protocol",
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

OUTCOMES: Final = (
    "garbage",
    "version",
    "probe",
    "repeated",
    "replay",
    "unproven",
    "refused",
    "confirmed",
    "issued",
    "trouble",
    "dropped",
)
"""What becomes of messages of KX.509; `dropped` are those of sources that send too many."""


class Metrics(AuditMetrics):
    """The numbers of all workers. Safe for use by several threads."""

    def __init__(self, *, workers: int = 1) -> None:
        """Make them, all zero."""
        names = [f"failure {reason}" for reason in REASONS]
        names += [f"message {outcome}" for outcome in OUTCOMES]
        super().__init__("kca", actions=ACTIONS, names=names, workers=workers)

    def observe(self, outcome: str, seconds: float = 0.0) -> None:
        """Count what became of a message, one of `OUTCOMES`."""
        del seconds
        self._counters.add(f"message {outcome}")

    def decide(self, record: AuditRecord, seconds: float) -> None:
        """Count a decision that was recorded, why it was no yes, and how long recording took."""
        if record.verdict is not Verdict.PERMIT:
            slug = record.reason.partition(":")[0]
            self._counters.add(f"failure {slug if slug in REASONS else 'other'}")
        super().decide(record, seconds)


def render(metrics: Metrics, more: Iterable[Metric] = ()) -> bytes:
    """Return the numbers in Prometheus's text format."""
    return write_text([*_collect(metrics), *more])


def _collect(metrics: Metrics) -> Iterator[Metric]:
    yield metrics.decision_family()
    failures = ((reason, metrics.count(f"failure {reason}")) for reason in REASONS)
    yield labelled("kca_failures", "Requests that were refused or failed.", "reason", failures)
    messages = ((outcome, metrics.count(f"message {outcome}")) for outcome in OUTCOMES)
    yield labelled("kca_messages", "Messages of KX.509, by what became of them.", "outcome", messages)
    yield from metrics.audit_families()
