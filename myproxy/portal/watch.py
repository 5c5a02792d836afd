"""What the site's administrators see: monitors asked, audit files read, charts computed; no pages, changes nothing.

    watch = Watch(config.admin, clock=now)
    watch.services()                             # health, latencies, of each monitor
    watch.hours()                                # decisions of the last day, hour by hour
    watch.sources(), watch.search(Search(text="alice")), watch.chains()
    watch.expiring()                             # where the server's store is at hand

Of an audit file the last `MAX_TAIL_BYTES` are read; the check of its chain reads all of it.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import GridError, StorageError
from gsi.system.audit_chain import verify_files
from gsi.transport.http import fetch
from myproxy.repository.base import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gsi.system.audit_chain import ChainReport
    from myproxy.portal.config import AdminSettings
    from myproxy.repository.sql import SQLRepository

__all__ = ["Expiring", "Hour", "Latency", "Record", "Search", "ServiceView", "Source", "Watch", "read_latencies"]

MAX_TAIL_BYTES: Final = 4 << 20
"""Some ten thousand records: a day of a busy site, read in a fraction of a second."""
MAX_SHOWN: Final = 200
MAX_ANSWER_BYTES: Final = 4 << 20
"""What a monitor may answer; servers with a thousand CAs say 200 kB."""
ASK_SECONDS: Final = 2.0
"""For a monitor, which is near."""
HOURS: Final = 24
SOON: Final = timedelta(days=7)
MAX_SOURCES: Final = 20
_SLOW: Final = 0.95
_WELL_OR_NOT: Final = frozenset({200, 503})


class Latency(NamedTuple):
    """How long requests of a kind took since the server began, in milliseconds."""

    name: str
    number: int
    mean: float
    slow: float
    """What 95 of a hundred did not exceed, as far as the buckets tell."""


@dataclass(frozen=True, slots=True)
class ServiceView:
    """What a monitor says.

    Attributes:
        name: The service.
        trouble: What is wrong, or empty.
        checks: Its parts and what each says.
        latencies: How long requests took.
    """

    name: str
    trouble: str = ""
    checks: Mapping[str, str] = field(default_factory=dict)
    latencies: tuple[Latency, ...] = ()


class Hour(NamedTuple):
    """Decisions within an hour."""

    begins: datetime
    permitted: int
    refused: int


class Source(NamedTuple):
    """Whom much was refused."""

    address: str
    refused: int
    throttled: int
    last: datetime


class Expiring(NamedTuple):
    """A stored credential that ends soon, or has ended."""

    username: str
    name: str
    owner: str
    ends: datetime


class Record(NamedTuple):
    """A line of an audit file."""

    file: str
    time: datetime
    service: str
    action: str
    verdict: str
    reason: str
    peer: str
    address: str
    text: str
    is_throttled: bool
    """Whether it was refused unjudged, for too many wrong tries."""


class Search(NamedTuple):
    """Which records; all that is given has to fit."""

    text: str = ""
    action: str = ""
    verdict: str = ""
    file: str = ""


class Watch:
    """Looks. Safe for use by several threads."""

    def __init__(
        self, settings: AdminSettings, *, clock: Callable[[], datetime], repository: SQLRepository | None = None
    ) -> None:
        """Know where to look.

        Args:
            settings: The `[admin]` table.
            clock: The time.
            repository: The server's store, where it is at hand.
        """
        self._settings = settings
        self._clock = clock
        self._repository = repository

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the audit files."""
        return tuple(self._settings.audits)

    def services(self) -> tuple[ServiceView, ...]:
        """Ask the monitors."""
        return tuple(_ask(name, url.rstrip("/")) for name, url in self._settings.monitors.items())

    def expiring(self) -> tuple[Expiring, ...] | None:
        """Return stored credentials that end within a week, the first to end first; None where no store is at hand.

        Raises:
            StorageError: The store cannot be read.
        """
        if self._repository is None:
            return None
        found = self._repository.search(Selection(ends_before=self._clock() + SOON))
        shown = [Expiring(one.username, one.name or "", one.owner, one.not_after) for one in found]
        return tuple(sorted(shown, key=lambda one: one.ends)[:MAX_SHOWN])

    def records(self) -> tuple[list[Record], list[str]]:
        """Return the last records of all files, the newest first, and what could not be read."""
        found: list[Record] = []
        troubles: list[str] = []
        for name, path in self._settings.audits.items():
            try:
                records, unread = _read(name, path)
            except StorageError as error:
                troubles.append(f"{name}: {error.message}")
                continue
            found += records
            if unread:
                begin = f", from {records[0].time:%Y-%m-%d %H:%M} on" if records else ""
                troubles.append(f"{name}: only the end is looked at here{begin}; {unread:,} bytes before it are not")
        found.sort(key=lambda one: one.time, reverse=True)
        return found, troubles

    def hours(self, records: Sequence[Record]) -> tuple[Hour, ...]:
        """Return the decisions of the last day."""
        last = self._clock().replace(minute=0, second=0, microsecond=0)
        begins = [last - timedelta(hours=HOURS - 1 - place) for place in range(HOURS)]
        counts = [[0, 0] for _ in begins]
        for one in records:
            place = int((one.time - begins[0]) // timedelta(hours=1))
            if 0 <= place < HOURS:
                counts[place][one.verdict != "permit"] += 1
        return tuple(Hour(begin, *pair) for begin, pair in zip(begins, counts, strict=True))

    def sources(self, records: Sequence[Record]) -> tuple[Source, ...]:
        """Return who was refused most within the last day, those first who were slowed down."""
        found: dict[str, Source] = {}
        since = self._clock() - timedelta(hours=HOURS)
        for one in records:
            if one.verdict == "permit" or one.time < since:
                continue
            old = found.get(one.address, Source(one.address, 0, 0, one.time))
            found[one.address] = Source(
                one.address, old.refused + 1, old.throttled + one.is_throttled, max(old.last, one.time)
            )
        ordered = sorted(found.values(), key=lambda one: (-one.throttled, -one.refused, one.address))
        return tuple(ordered[:MAX_SOURCES])

    def search(self, records: Sequence[Record], wanted: Search) -> tuple[Record, ...]:
        """Return the records that fit, the newest first."""
        text = wanted.text.lower()
        fits = (
            one
            for one in records
            if (not text or text in one.text.lower())
            and (not wanted.action or one.action == wanted.action)
            and (not wanted.verdict or one.verdict == wanted.verdict)
            and (not wanted.file or one.file == wanted.file)
        )
        return tuple(one for one, _ in zip(fits, range(MAX_SHOWN), strict=False))

    def chains(self) -> tuple[tuple[str, ChainReport | str], ...]:
        """Check the chain of every file: what was found, or why it cannot be checked."""
        found: list[tuple[str, ChainReport | str]] = []
        for name, path in self._settings.audits.items():
            try:
                found += [(name, report) for report in verify_files([path])]
            except GridError as error:
                found.append((name, error.message))
        return tuple(found)


# --- monitors ---------------------------------------------------------------------------------------------------------


def _ask(name: str, url: str) -> ServiceView:
    try:
        told = fetch(f"{url}/health", timeout=ASK_SECONDS, max_bytes=MAX_ANSWER_BYTES, accepts=_WELL_OR_NOT)
        trouble, checks = _read_health(told.data)
    except GridError as error:
        return ServiceView(name, error.message)
    try:
        numbers = fetch(f"{url}/metrics", timeout=ASK_SECONDS, max_bytes=MAX_ANSWER_BYTES).data
    except GridError as error:
        return ServiceView(name, trouble or f"no numbers: {error.message}", checks)
    return ServiceView(name, trouble, checks, read_latencies(numbers.decode("utf-8", "replace")))


def _read_health(data: bytes) -> tuple[str, dict[str, str]]:
    """Return what is wrong, and the parts, of a health page: JSON with `checks`, or text whose first line is `ok`."""
    text = data.decode("utf-8", "replace")
    try:
        told = json.loads(text)
        checks = {str(key): str(value) for key, value in told["checks"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        first, _, rest = text.partition("\n")
        return (rest.strip() if first == "ok" else first), {}
    return ", ".join(key for key, value in checks.items() if value != "ok"), checks


def read_latencies(text: str) -> tuple[Latency, ...]:
    """Return the means and slow ends of all histograms in Prometheus's text; none where it is no such text."""
    from prometheus_client.parser import text_string_to_metric_families

    found: list[Latency] = []
    try:
        families = [one for one in text_string_to_metric_families(text) if one.type == "histogram"]
    except ValueError:
        return ()
    for family in families:
        kinds: dict[str, dict[str, float]] = {}
        for sample in family.samples:
            kind = next((value for key, value in sample.labels.items() if key != "le"), "")
            key = sample.labels.get("le", sample.name.rpartition("_")[2])
            kinds.setdefault(kind, {})[key] = sample.value
        for kind, values in kinds.items():
            count = int(values.get("count", 0))
            if count:
                label = kind or family.name.removesuffix("_seconds").rpartition("_")[2]
                found.append(Latency(label, count, 1000 * values.get("sum", 0.0) / count, 1000 * _slow(values, count)))
    return tuple(found)


def _slow(values: Mapping[str, float], count: int) -> float:
    ends = sorted((float(end), number) for end, number in values.items() if end not in {"count", "sum", "created"})
    finite = [end for end, _ in ends if end != float("inf")]
    found = next((end for end, number in ends if number >= _SLOW * count), 0.0)
    return min(found, finite[-1]) if finite else 0.0


# --- audit files ------------------------------------------------------------------------------------------------------


def _read(name: str, path: str) -> tuple[list[Record], int]:
    """Return the records at the end of a file, and how many bytes are before; the check of the chain sees all lines.

    Raises:
        StorageError: It cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise StorageError(f"{path} is no regular file")
            begin = max(0, found.st_size - MAX_TAIL_BYTES)
            file.seek(begin)
            lines = file.read(MAX_TAIL_BYTES).split(b"\n")
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    records = [_parse(name, line) for line in (lines[1:] if begin else lines)]
    return [record for record in records if record is not None], begin


def _parse(name: str, line: bytes) -> Record | None:
    try:
        text = line.decode("utf-8")
        told = json.loads(text)
        moment = datetime.fromisoformat(told["time"])
        service, action, verdict, reason, peer, address = (
            str(told.get(key, "")) for key in ("service", "action", "verdict", "reason", "peer", "address")
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if moment.tzinfo is None:
        return None
    slowed = bool(told.get("throttled")) or reason.startswith("too many tries")
    return Record(name, moment, service, action, verdict, reason, peer, address, text, slowed)
