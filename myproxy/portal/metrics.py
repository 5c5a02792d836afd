"""What the portal counts about itself, over all its workers, and how monitors are told (Prometheus's text format).

    metrics = Metrics(workers=4)                         # before the workers are forked
    metrics.use(number)                                  # in each of them
    open_portal(config, meter=metrics.meter)             # counts what is recorded
    render(metrics, [health.family(PREFIX)])             # in any of them

Decisions are counted where they are recorded, so that the numbers and the audit tell the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.system.metrics import CONTENT_TYPE, OTHER, AuditMetrics, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric

__all__ = ["ACTIONS", "CONTENT_TYPE", "PREFIX", "Metrics", "render"]

PREFIX: Final = "myproxy_portal"
ACTIONS: Final = (
    "LOGON",
    "LOGOFF",
    "FETCH",
    "STORE",
    "CHANGE",
    "DESTROY",
    "TERMINAL",
    "CODES",
    "END OTHER SESSIONS",
    "CAPABILITY",
    "POLICY",
    "REVOKE",
    "SITE",
    "GRANT",
    "GRANT PROXY",
    "GRANT END",
    OTHER,
)
"""What is decided about, as in the audit."""


class Metrics(AuditMetrics):
    """The numbers of all workers. Safe for use by several threads."""

    def __init__(self, *, workers: int = 1) -> None:
        """Make them, all zero."""
        super().__init__(PREFIX, actions=ACTIONS, names=(), workers=workers)


def render(metrics: Metrics, more: Iterable[Metric] = ()) -> bytes:
    """Return the numbers in Prometheus's text format."""
    return write_text([metrics.decision_family(), *metrics.audit_families(), *more])
