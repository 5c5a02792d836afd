"""What the agent tells monitors of this machine, from a thread of its own; counts nothing itself.

    with telling("127.0.0.1:9515", lambda: agent.numbers, clock=now):
        agent.run()

`/metrics` is Prometheus's text, `/health` is 503 when the agent has stood still.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.system.metrics import CONTENT_TYPE, write_text
from gsi.transport.documents_server import Document, listen_loopback, offer
from myproxy.renewal.schedule import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from prometheus_client.core import Metric

__all__ = ["Numbers", "render", "telling"]

STILL: Final = timedelta(minutes=5)
"""The agent looks around every ten seconds; a file system that hangs is what keeps it."""
_PREFIX: Final = "myproxy_renewd"
_log: Final = logging.getLogger("myproxy.renewal")


class Numbers(NamedTuple):
    """How the agent's work stood a moment ago.

    Attributes:
        at: When that was.
        states: How many credentials are in each state.
        overdue: How many are due for a quarter of an hour and longer.
        untold: How many there are of which somebody could not be told.
        first_end: When the first of those ends that have not; None for none.
        renewed: Renewals since the start.
        failed: Renewals that have failed since the start.
    """

    at: datetime
    states: Mapping[State, int]
    overdue: int
    untold: int
    first_end: datetime | None
    renewed: int
    failed: int


def render(numbers: Numbers) -> bytes:
    """Return the numbers in Prometheus's text format."""
    return write_text(_families(numbers))


def _families(numbers: Numbers) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    states = GaugeMetricFamily(f"{_PREFIX}_credentials", "Credentials in each state.", labels=("state",))
    for state in State:
        states.add_metric((state.value,), numbers.states.get(state, 0))
    yield states
    yield GaugeMetricFamily(f"{_PREFIX}_overdue", "Credentials due for a quarter of an hour.", value=numbers.overdue)
    yield GaugeMetricFamily(f"{_PREFIX}_untold", "Credentials of which nobody could be told.", value=numbers.untold)
    end = 0.0 if numbers.first_end is None else numbers.first_end.timestamp()
    yield GaugeMetricFamily(f"{_PREFIX}_first_end_seconds", "When the first credential ends; 0 for none.", value=end)
    results = CounterMetricFamily(f"{_PREFIX}_renewals", "Renewals that were tried.", labels=("result",))
    results.add_metric(("renewed",), numbers.renewed)
    results.add_metric(("failed",), numbers.failed)
    yield results
    at = numbers.at.timestamp()
    yield GaugeMetricFamily(f"{_PREFIX}_looked_seconds", "When the agent last looked around.", value=at)


@contextlib.contextmanager
def telling(place: str, numbers: Callable[[], Numbers | None], *, clock: Callable[[], datetime]) -> Iterator[int]:
    """Answer monitors while the block runs; gives the port.

    Args:
        place: ADDRESS:PORT of the loopback interface.
        numbers: Returns the newest; None while there are none.
        clock: The present time.

    Raises:
        ConfigError: It cannot be listened on, or is not on the loopback interface.
    """
    sockets = listen_loopback(place)
    loop = asyncio.new_event_loop()

    async def answer(path: str) -> Document | None:
        found = numbers()
        if path == "/metrics" and found is not None:
            return Document(render(found), CONTENT_TYPE)
        if path == "/health":
            if found is not None and clock() - found.at < STILL:
                return Document(b"ok\n")
            return Document(b"the agent stands still\n", status=HTTPStatus.SERVICE_UNAVAILABLE)
        return None

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(offer(sockets, answer, on_defect=lambda error: _log.error("monitor: %r", error)))
        loop.run_forever()

    thread = threading.Thread(target=serve, name="monitor", daemon=True)
    thread.start()
    try:
        yield sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for one in sockets:
            one.close()
        loop.close()
