"""What the server counts about itself, over all its workers, and how monitors are told (Prometheus's text format).

    metrics = Metrics(workers=4)                         # before the workers are forked
    metrics.use(number)                                  # in each of them
    open_community(config, meter=metrics.meter)          # counts what is recorded
    render(metrics)                                      # in any of them

Decisions are counted where they are recorded, so that the numbers and the audit tell the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.system.metrics import CONTENT_TYPE, AuditMetrics, labelled, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric

__all__ = ["ACTIONS", "CONTENT_TYPE", "FORMS", "STATUSES", "Metrics", "render"]

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


class Metrics(AuditMetrics):
    """The numbers of all workers. Safe for use by several threads."""

    def __init__(self, *, workers: int = 1) -> None:
        """Make them, all zero."""
        names = [*(f"issued {form}" for form in FORMS), *(f"answer {status}" for status in STATUSES)]
        super().__init__("cas", actions=ACTIONS, names=names, workers=workers)

    def issued(self, form: str) -> None:
        """Count a capability that was signed, one of `FORMS`."""
        self._counters.add(f"issued {form}")

    def answered(self, status: int) -> None:
        """Count an answer over HTTP."""
        name = str(status)
        if name not in STATUSES:
            name = f"{status // 100}xx" if status // 100 in {2, 4} else "5xx"
        self._counters.add(f"answer {name}")


def render(metrics: Metrics, more: Iterable[Metric] = ()) -> bytes:
    """Return the numbers in Prometheus's text format."""
    return write_text([*_collect(metrics), *more])


def _collect(metrics: Metrics) -> Iterator[Metric]:
    yield metrics.decision_family()
    issued = ((form, metrics.count(f"issued {form}")) for form in FORMS)
    yield labelled("cas_issued", "Capabilities that were signed.", "form", issued)
    answers = ((status, metrics.count(f"answer {status}")) for status in STATUSES)
    yield labelled("cas_answers", "Answers over HTTP.", "status", answers)
    yield from metrics.audit_families()
