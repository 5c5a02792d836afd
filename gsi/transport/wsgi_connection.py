"""What the web worker keeps of one connection, how much strangers may take of it, and its log of those it refused.

The work itself is `wsgi_worker.py`'s; where a request ends, `wsgi_framing.py` says.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket

    from gsi.transport.wsgi_exchange import Exchange
    from gsi.transport.wsgi_framing import Frame

__all__ = ["Complaints", "Connection", "State", "WebLimits"]

MAX_HELD_BYTES: Final = 64 << 20
"""Of requests that are not whole, in a worker, with a quarter of it from one source."""

COMPLAIN_SECONDS: Final = 60.0
"""Between two lines about connections that were ended or refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLimits:
    """What strangers may take of a worker; how many connections in all is gunicorn's `worker_connections`.

    Attributes:
        per_source: Open connections from one address, with IPv6 from one network of 64 bits. Unix sockets are exempt.
        head_seconds: From accepting to the end of the first head, TLS included, for the slowest line; for later
            requests from their first byte.
        body_seconds: From the end of the head to that of the body.
        write_seconds: For the client to take the answer.
        head_bytes: The longest head.
        body_bytes: The longest body; a longer one is answered 413.
        held_bytes: Of unfinished requests together; a quarter of it of one source.
        takes_bodies: Whether the application looks at bodies. Where not, it is asked when the head is there, and the
            connection ends after a request that announces a body: nginx announces those of its clients and sends none.
    """

    per_source: int = 256
    head_seconds: float = 15.0
    body_seconds: float = 30.0
    write_seconds: float = 30.0
    head_bytes: int = 128 << 10
    body_bytes: int = 1 << 20
    held_bytes: int = MAX_HELD_BYTES
    takes_bodies: bool = True


class State(Enum):
    """Whom a connection waits for."""

    HANDSHAKE = auto()
    READING = auto()
    WORKING = auto()
    WRITING = auto()
    LINGERING = auto()


class Connection:
    """One connection."""

    __slots__ = (
        "data",
        "deadline",
        "events",
        "exchange",
        "frame",
        "is_idle",
        "keep",
        "out",
        "sent",
        "sock",
        "source",
        "state",
    )

    def __init__(self, connected: socket.socket, source: str, exchange: Exchange) -> None:
        self.sock = connected
        self.source = source
        self.exchange = exchange
        self.state = State.READING
        self.deadline = 0.0
        self.events = 0
        self.data = bytearray()
        self.frame: Frame | None = None
        self.out = memoryview(b"")
        self.sent = 0
        self.keep = False
        self.is_idle = False


class Complaints:
    """A line in the log about what happens to strangers, and then one a minute with the number."""

    def __init__(self, log: Any) -> None:  # noqa: ANN401  gunicorn has no types
        self._log = log
        self._counts: dict[str, int] = {}
        self._since = -COMPLAIN_SECONDS

    def note(self, what: str) -> None:
        """Count, and tell if it is time."""
        self._counts[what] = self._counts.get(what, 0) + 1
        if time.monotonic() - self._since >= COMPLAIN_SECONDS:
            self._since = time.monotonic()
            counts, self._counts = self._counts, {}
            self._log.warning("%s", "; ".join(f"{number} x {kind}" for kind, number in counts.items()))
