"""Keeping the revocation lists of a trust directory current: many at a time, each by itself; prints nothing.

    results = fetch_crls(settings, report=show)

Each CA has its time, in which its sources are tried one after the other, and again; the time of one that hangs is the
only thing lost. What comes is judged (`gsi.trust.crl_update`) and then put in place in one step (`crl_store`); whatever
fails leaves the CA's list as it was, and all other CAs alone. Two runs in one directory do not mix: the second is
refused, by a lock on a file there that only those can take who may write lists. Other programs know nothing of that, so
what is installed is looked at again right before it is replaced.

The fetching is done by threads that die with the process, so that a name server that does not answer cannot hold it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from gsi.errors import ConfigError, GridError, ParseError, StorageError, TimeoutExpiredError, TransportError
from gsi.system import clock
from gsi.system.crl_plan import Job, plan_jobs
from gsi.system.crl_store import CRLStore
from gsi.system.files import FileLock, read_public
from gsi.system.trustdir import TrustDirectory
from gsi.transport.http import Proxies, fetch, make_context
from gsi.trust.crl_update import MAX_DOWNLOAD_BYTES, CRLUpdate, judge_again, judge_update

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["FetchReport", "FetchResult", "FetchSettings", "FetchStatus", "fetch_crls"]

_GRACE_SECONDS: Final = 2.0
"""How long after its time a job is given up: what the resolver, or judging a very long list, may take."""
_RETRY_SECONDS: Final = 1.0
_LOCK: Final = ".grid-fetch-crl.lock"
_LOCAL: Final = frozenset({"", "localhost"})


class FetchStatus(StrEnum):
    """What became of one list. Values are stable."""

    UPDATED = "updated"
    UNCHANGED = "unchanged"
    KEPT = "kept"
    """Not fetched, but the installed list is recent enough."""
    FAILED = "failed"
    NO_SOURCE = "no-source"
    """Nothing tells where the CA publishes a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """What to do.

    Attributes:
        directory: The trust directory.
        output: Where the lists are, if not there.
        base: A URL under which all lists are.
        only: The CAs to take, by hash, alias or name; none means all.
        timeout: Seconds for each list.
        total_timeout: Seconds for all together; what is not there then has failed.
        parallel: How many are fetched at a time.
        retries: How often all sources are tried again when none could be reached.
        tolerance_hours: For so long after it was last confirmed, a list that holds may miss updates without that
            being a failure.
        accept_weak: Take lists signed with MD5 or SHA-1.
        dry_run: Fetch and judge, write nothing.
        proxies: Which proxies to use.
    """

    directory: str
    output: str | None = None
    base: str | None = None
    only: tuple[str, ...] = ()
    timeout: float = 60.0
    total_timeout: float = 900.0
    parallel: int = 10
    retries: int = 1
    tolerance_hours: float = 24.0
    accept_weak: bool = False
    dry_run: bool = False
    proxies: Proxies = field(default_factory=Proxies)


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What became of one list.

    Attributes:
        job: Which.
        status: What.
        message: Why, where something went wrong; else empty.
        file: The file that holds it, or None.
        url: Where it came from, or None.
        update: The list, or None.
        seconds: How long it took.
    """

    job: Job
    status: FetchStatus
    message: str = ""
    file: str | None = None
    url: str | None = None
    update: CRLUpdate | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What became of all.

    Attributes:
        results: One for each list, in the order of the jobs, then those without a source.
        problems: Files of the directory that could not be used.
    """

    results: tuple[FetchResult, ...]
    problems: tuple[str, ...]

    @property
    def has_failed(self) -> bool:
        """Whether any list failed, or any file could not be used."""
        return bool(self.problems) or any(result.status is FetchStatus.FAILED for result in self.results)


def fetch_crls(
    settings: FetchSettings, *, progress: Callable[[int, int, FetchResult | None], None] = lambda *_: None
) -> FetchReport:
    """Fetch, judge and install the lists of a trust directory. A dry run takes no lock.

    Args:
        settings: What to do.
        progress: Called at the beginning and after each list: how many are done, of how many, and the latest.

    Raises:
        ConfigError: No such directory, no CA in it, or one that is asked for is missing.
        CredentialError: Another run is going on there, or the directory of the lists cannot be locked.
        StorageError: The directory of the lists cannot be read.
    """
    output = settings.output or settings.directory
    if not os.path.isdir(output):
        raise ConfigError("no such directory", path=output, hint="-dir, -output or X509_CERT_DIR names another")
    if not settings.dry_run and not os.access(output, os.W_OK):
        raise ConfigError("the revocation lists cannot be written", path=output, hint="run this as its owner")
    lock = FileLock(os.path.join(output, _LOCK), wait_seconds=0)
    with contextlib.nullcontext() if settings.dry_run else lock:
        anchors = TrustDirectory(settings.directory).anchors()
        if not anchors.authorities:
            raise ConfigError("no CA certificates here", path=settings.directory, hint="install the CAs' package first")
        plan = plan_jobs(settings.directory, anchors, base=settings.base, only=settings.only)
        runner = _Runner(settings, CRLStore(output, now=clock.now()), plan.jobs)
        results = runner.run(progress)
    results += [FetchResult(job, FetchStatus.NO_SOURCE) for job in plan.without_source]
    broken = [f"{problem.path}: {problem.message}" for problem in anchors.problems if problem.reason is None]
    return FetchReport(tuple(results), (*broken, *plan.problems))


class _Running:
    """One job under way."""

    __slots__ = ("deadline", "number", "started")

    def __init__(self, number: int, timeout: float) -> None:
        self.number = number
        self.started = time.monotonic()
        self.deadline = self.started + timeout


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a thread brings back."""

    number: int
    update: CRLUpdate | None
    url: str | None
    error: GridError | None
    seconds: float


class _Failure(NamedTuple):
    """Why a source brought nothing."""

    message: str
    may_pass: bool
    """Whether it may be another answer the next time."""


class _Runner:
    """The threads that fetch, and the one that installs what they bring."""

    def __init__(self, settings: FetchSettings, store: CRLStore, jobs: tuple[Job, ...]) -> None:
        self._settings = settings
        self._store = store
        self._jobs = jobs
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
        self._running: dict[int, _Running] = {}
        self._lock = threading.Lock()
        self._context = make_context(settings.directory)
        self._installed = [store.crls(job) for job in jobs]  # read before the threads start
        self._faults: dict[int, GridError] = {}
        self._unwritten: set[int] = set()
        for number, job in enumerate(jobs):
            try:
                store.check(job)
            except GridError as error:
                self._faults[number] = error

    def run(self, progress: Callable[[int, int, FetchResult | None], None]) -> list[FetchResult]:
        results: dict[int, FetchResult] = {}
        end = time.monotonic() + self._settings.total_timeout
        progress(0, len(self._jobs), None)
        for number in range(len(self._jobs)):
            self._waiting.put(number)
        for _ in range(min(self._settings.parallel, len(self._jobs))):
            self._start_thread()
        while len(results) < len(self._jobs):
            for outcome in self._next_outcomes(end):
                if outcome.number not in results:
                    result = self._finish(outcome)
                    results[outcome.number] = result
                    progress(len(results), len(self._jobs), result)
        return [self._look_again(number, results[number]) for number in range(len(self._jobs))]

    def _start_thread(self) -> None:
        threading.Thread(target=self._work, daemon=True, name="fetch-crl").start()

    def _next_outcomes(self, end: float) -> list[_Outcome]:
        """Wait for an outcome, or for the time of a job or of all to be over, which is one, too."""
        with self._lock:
            running = list(self._running.values())
        limit = min([end, *(job.deadline + _GRACE_SECONDS for job in running)])
        try:
            return [self._outcomes.get(timeout=max(0.0, min(limit - time.monotonic(), 0.5)))]
        except queue.Empty:
            pass
        now = time.monotonic()
        found: list[_Outcome] = []
        if now >= end:
            message = f"not done within {self._settings.total_timeout:g} seconds for all"
            return [
                _Outcome(number, None, None, TimeoutExpiredError(message), self._settings.total_timeout)
                for number in range(len(self._jobs))
            ]
        for job in running:
            if now < job.deadline + _GRACE_SECONDS:
                continue
            with self._lock:
                if self._running.pop(job.number, None) is not job:
                    continue
            message = f"given up after {self._settings.timeout:g} seconds"
            found.append(_Outcome(job.number, None, None, TimeoutExpiredError(message), now - job.started))
            self._start_thread()  # in place of the one that hangs
        return found

    def _work(self) -> None:
        """Do jobs until there are none; leave when given up."""
        while True:
            try:
                number = self._waiting.get_nowait()
            except queue.Empty:
                return
            mine = _Running(number, self._settings.timeout)
            with self._lock:
                self._running[number] = mine
            update, url, error = None, None, None
            try:
                update, url = self._fetch(number, mine.deadline)
            except GridError as failure:
                error = failure
            except Exception as failure:  # noqa: BLE001  no defect may stop the lists of all other CAs
                error = TransportError(f"{type(failure).__name__}: {failure}")
            with self._lock:
                if self._running.pop(number, None) is not mine:
                    return
            self._outcomes.put(_Outcome(number, update, url, error, time.monotonic() - mine.started))

    def _fetch(self, number: int, deadline: float) -> tuple[CRLUpdate, str]:
        """Try the sources of a job in turn, and again; return the first list that may be installed."""
        if number in self._faults:
            raise self._faults[number]
        job, failures = self._jobs[number], dict[str, _Failure]()  # not the errors, which hold on to what was fetched
        for attempt in range(self._settings.retries + 1):
            left = [url for url in job.urls if not attempt or failures[url].may_pass]
            if attempt:
                if not left or deadline - time.monotonic() <= _RETRY_SECONDS:
                    break
                time.sleep(_RETRY_SECONDS)
            for place, url in enumerate(left):
                share = (deadline - time.monotonic()) / (len(left) - place)
                if share <= 0:
                    failures.setdefault(url, _Failure("no time left to try it", may_pass=True))
                    continue
                try:
                    return self._judge(number, _load(url, share, self._settings, self._context)), url
                except GridError as error:
                    failures[url] = _Failure(error.message, may_pass=isinstance(error, TransportError))
        if len(failures) == 1:
            raise TransportError(next(iter(failures.values())).message)
        raise TransportError("; ".join(f"{url}: {failure.message}" for url, failure in failures.items()))

    def _judge(self, number: int, data: bytes) -> CRLUpdate:
        return judge_update(
            data,
            self._jobs[number].authorities,
            installed=self._installed[number],
            now=clock.now(),
            accept_weak=self._settings.accept_weak,
        )

    def _finish(self, outcome: _Outcome) -> FetchResult:
        """Install what came, or say what is wrong."""
        job, update, error = self._jobs[outcome.number], outcome.update, outcome.error
        file: str | None = None
        if update is not None:
            try:
                update = self._judge_again(job, update)
                if self._settings.dry_run:
                    self._store.note(job, update)
                else:
                    file = self._store.install(job, update)
            except GridError as failure:
                error = failure
        if error is None and update is not None:
            status = FetchStatus.UNCHANGED if update.is_unchanged else FetchStatus.UPDATED
            return FetchResult(job, status, "", file, outcome.url, update, outcome.seconds)
        # What came and could not be written may revoke certificates: nobody may go on with the list that is there.
        if isinstance(error, StorageError):
            self._unwritten.add(outcome.number)
        message = "" if error is None else error.message
        return FetchResult(job, self._judge_failure(outcome.number), message, None, outcome.url, None, outcome.seconds)

    def _judge_failure(self, number: int) -> FetchStatus:
        is_kept = number not in self._unwritten and self._is_tolerable(self._jobs[number])
        return FetchStatus.KEPT if is_kept else FetchStatus.FAILED

    def _look_again(self, number: int, result: FetchResult) -> FetchResult:
        """Return what a result is when all is done: others may have brought, or may lack, what a CA needs."""
        hindrance = self._store.find_hindrance(result.job)
        if result.status in {FetchStatus.FAILED, FetchStatus.KEPT}:
            is_told = not hindrance or hindrance.partition(":")[0] in result.message
            message = result.message if is_told else f"{result.message}; {hindrance}"
            return replace(result, status=self._judge_failure(number), message=message)
        return replace(result, status=FetchStatus.FAILED, message=hindrance) if hindrance else result

    def _judge_again(self, job: Job, update: CRLUpdate) -> CRLUpdate:
        """Measure a list against what is installed now: a newer one may have come there meanwhile."""
        self._store.refresh(job)
        self._store.check(job)
        update = judge_again(update, installed=self._store.crls(job), now=clock.now())
        if update.is_unchanged and not self._store.holds(job, update):
            return update._replace(is_unchanged=False)  # in a damaged file, or not under both hashes
        return update

    def _is_tolerable(self, job: Job) -> bool:
        """Tell whether as many keys of the CA as lists of it are published have a list that can be gone by for now."""
        since = clock.now().timestamp() - self._settings.tolerance_hours * 3600
        lists = sum(one.hash == job.hash and one.subject == job.subject for one in self._jobs)
        wanted = min(lists, len(self._store.find_keys(job)))
        return self._store.count_confirmed(job, since, accept_weak=self._settings.accept_weak) >= wanted


def _load(url: str, timeout: float, settings: FetchSettings, context: ssl.SSLContext) -> bytes:
    """Return what is at a URL: http and https over the net, file from the disk."""
    scheme = url.partition(":")[0].lower()
    if scheme == "file":
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ParseError(f"'{url}' is no URL: {error}", what="URL") from error
        if parts.netloc not in _LOCAL:
            raise ParseError(f"'{url}' is on another machine", what="URL")
        return read_public(unquote(parts.path), max_bytes=MAX_DOWNLOAD_BYTES)
    if scheme not in {"http", "https"}:
        raise ParseError(f"'{url}': {scheme} is not fetched", what="URL", hint="http, https and file are")
    return fetch(url, timeout=timeout, max_bytes=MAX_DOWNLOAD_BYTES, proxies=settings.proxies, context=context).data
