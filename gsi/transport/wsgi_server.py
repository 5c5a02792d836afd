"""A WSGI application under gunicorn, hardened, for every web server of this project; knows none of the applications.

    held = Held(config, load, check)                             # the configuration in force
    describe = lambda: WebSettings(name="kca-http", log="kca.http", workers=2, threads=8)
    status = serve_wsgi(describe, sockets, lambda: make_application(held.config), renew=held.renew)

gunicorn's first process listens and replaces workers; `wsgi_worker.py` is what they do. SIGHUP has the configuration
read again, and all that it names tried in a process of its own. Where it can be used, new workers take over and the old
ones finish; where not, nothing changes, and that is said in the log and by `Reloads`, for health pages and monitors. A
worker that has to be replaced while something that it needs is broken answers 503 until it is not.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import select
import signal
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from gsi.errors import GridError
from gsi.transport.listening import ManagedSocket
from gsi.transport.serve import raise_descriptor_limit
from gsi.transport.wsgi_connection import WebLimits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Held", "Reloads", "WebLimits", "WebSettings", "rows", "serve_wsgi", "try_apart"]

C = TypeVar("C")

TRIAL_SECONDS: Final = 60.0
"""For opening all that a configuration names: databases, tokens, a trust directory with every CA of the grid."""

RETRY_SECONDS: Final = 2.0
"""Between two attempts of a worker to open what was broken when it started."""

MAX_WORDS: Final = 4096
"""Of a trial's reason; also what a pipe takes in one piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """What one server is like.

    Attributes:
        name: The program.
        log: The logger for what is wrong with configurations.
        workers: Processes.
        threads: Of each.
        certificate: The certificate's file where TLS ends here; empty where not.
        connections: Open connections of each worker.
        limits: What strangers may take of each.
        max_line: The longest request line.
        max_headers: Header fields of a request: a dozen, and what front ends add.
        max_field: The longest of them.
        keepalive_seconds: How long a connection may be idle between two requests.
    """

    name: str
    log: str
    workers: int
    threads: int
    certificate: str = ""
    connections: int = 1024
    limits: WebLimits = field(default_factory=WebLimits)
    max_line: int = 4096
    max_headers: int = 64
    max_field: int = 8190
    keepalive_seconds: int = 15


def rows(workers: int) -> int:
    """Return how many rows of counters workers need: a reload starts new ones while the old ones finish."""
    return 2 * workers


class Reloads:
    """Whether the newest configuration is in force; one for all processes that are forked after it was made."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    def note(self, *, refused: bool) -> None:
        """Write down how a reload went."""
        self._shared[:8] = struct.pack("d", time.time() if refused else 0.0)

    @property
    def refused_at(self) -> float:
        """When the last reload was refused, in seconds since 1970; 0 where the newest configuration is in force."""
        found: float = struct.unpack("d", self._shared[:8])[0]
        return found

    @property
    def words(self) -> str:
        """What a health page says: nothing, or one line."""
        return "" if not self.refused_at else "the last reload was refused: an older configuration is in force\n"

    def render(self, prefix: str) -> bytes:
        """Return the numbers in Prometheus's text format."""
        name = f"{prefix}_reload_refused_timestamp_seconds"
        return (
            f"# HELP {name} When the last reload was refused; 0 while the newest configuration is in force.\n"
            f"# TYPE {name} gauge\n{name} {self.refused_at:.3f}\n"
        ).encode()


class Held(Generic[C]):
    """The configuration in force: the last that was good.

    Attributes:
        config: It.
    """

    def __init__(self, config: C, load: Callable[[], C], check: Callable[[C, C], None]) -> None:
        """Begin with one that is good.

        Args:
            config: It.
            load: Reads the newest.
            check: Gets the one in force and the newest, and raises a GridError where that cannot be used. Called in a
                process of its own, so that nothing which it opens stays.
        """
        self.config = config
        self._load = load
        self._check = check

    def renew(self) -> None:
        """Take the newest.

        Raises:
            GridError: It cannot be used; the other stays.
        """
        found = self._load()
        try_apart(lambda: self._check(self.config, found))
        self.config = found


def try_apart(work: Callable[[], None], *, seconds: float = TRIAL_SECONDS) -> None:
    """Do something in a process of its own, of which nothing is left but whether it succeeded.

    Raises:
        GridError: It did not, or took too long.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        words = b"the trial ended early"
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            work()
            words = b""
        except GridError as error:
            words = f"{error}".encode()
        except BaseException as error:  # noqa: BLE001  a forked child must not go on as its parent
            words = f"internal error: {type(error).__name__}: {error}".encode()
        finally:
            os.write(writer, b"." + words[: MAX_WORDS - 1])
            os._exit(0)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], seconds)
        answer = os.read(reader, MAX_WORDS) if ready else b""
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # gunicorn 23 takes in every child at once
            os.waitpid(child, 0)
    if answer != b".":
        raise GridError(answer[1:].decode("utf-8", "replace") or f"no answer within {seconds:g} seconds")


class _Patient:
    """An application that is opened at the first request which finds all that it needs; until then it answers 503."""

    def __init__(self, make: Callable[[], WSGIApplication], log: logging.Logger) -> None:
        self._make = make
        self._log = log
        self._lock = threading.Lock()
        self._tried = -RETRY_SECONDS
        self._application: WSGIApplication | None = None
        self._find()

    def _find(self) -> WSGIApplication | None:
        if self._application is not None or not self._lock.acquire(blocking=False):
            return self._application
        try:
            if time.monotonic() - self._tried >= RETRY_SECONDS:
                self._application = self._make()
        except GridError as error:
            self._tried = time.monotonic()
            self._log.error("a worker cannot begin, and answers 503 until it can: %s: %s", error.slug, error)
        finally:
            self._lock.release()
        return self._application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        application = self._find()
        if application is not None:
            return application(environ, start_response)
        body = b"not now; try again\n"
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Retry-After", "5")]
        start_response("503 Service Unavailable", headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]


_FIXED: Final[dict[str, object]] = {
    "worker_class": "gsi.transport.wsgi_worker.Worker",
    "timeout": 60,  # for the worker's loop, which waits for nobody
    "forwarder_headers": "",
    "header_map": "refuse",
    "errorlog": "-",
    "accesslog": None,
    "loglevel": "warning",
    "control_socket_disable": True,
    "umask": 0o077,
}


def _values(settings: WebSettings) -> dict[str, object]:
    """Return settings as gunicorn has them."""
    return {
        "proc_name": settings.name,
        "workers": settings.workers,
        "threads": settings.threads,
        "worker_connections": settings.connections,
        "keepalive": settings.keepalive_seconds,
        "limit_request_line": settings.max_line,
        "limit_request_fields": settings.max_headers,
        "limit_request_field_size": settings.max_field,
    }


class _Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with these settings and this application."""

    def __init__(
        self,
        values: dict[str, object],
        describe: Callable[[], WebSettings],
        make: Callable[[], WSGIApplication],
        renew: Callable[[], None],
        reloads: Reloads,
    ) -> None:
        self._values = values
        self._describe = describe
        self._log = logging.getLogger(describe().log)
        self._make = make
        self._renew = renew
        self._reloads = reloads
        super().__init__()

    def load_config(self) -> None:
        """Take the settings; those that an older gunicorn does not know are left out."""
        settings = self._describe()
        self.web_limits = settings.limits
        for name, value in (_FIXED | _values(settings) | self._values).items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """Make the application, in each worker."""
        return _Patient(self._make, self._log)

    def renew(self) -> bool:
        """Take the newest configuration; say whether it is good."""
        try:
            self._renew()
        except GridError as error:
            self._log.error("the new configuration is not used, the old one stays: %s", error)
            self._reloads.note(refused=True)
            return False
        except Exception:  # noqa: BLE001  the server goes on
            self._log.exception("the new configuration is not used, the old one stays: internal error")
            self._reloads.note(refused=True)
            return False
        self._reloads.note(refused=False)
        return True


class _Arbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's first process, which replaces workers by a good configuration only."""

    def start(self) -> None:
        """Begin; the names of sockets are not gunicorn's to remove."""
        super().start()
        self.systemd = True

    def init_signals(self) -> None:
        """Listen for signals; one that has come since the configuration was read is taken now."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def handle_hup(self) -> None:
        """SIGHUP."""
        if self.app.renew():
            super().handle_hup()


def serve_wsgi(
    describe: Callable[[], WebSettings],
    sockets: Sequence[socket.socket],
    make: Callable[[], WSGIApplication],
    *,
    renew: Callable[[], None] = lambda: None,
    context: Callable[[], ssl.SSLContext] | None = None,
    reloads: Reloads | None = None,
    on_ready: Callable[[], None] = lambda: None,
    on_worker: Callable[[int], None] = lambda _row: None,
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Args:
        describe: Says what the server is like; asked again after each reload. Name, log and workers stay.
        sockets: The listening sockets; they are taken over, and our own Unix sockets unlinked at the end.
        make: Makes the application, in each worker; a GridError has it answer 503 and try again.
        renew: Called at SIGHUP in the first process, before workers are replaced, which happens only if it returns.
        context: Makes the TLS context of a connection, in each worker; None where no TLS ends here.
        reloads: Hears how reloads went.
        on_ready: Called when connections are being accepted.
        on_worker: Called in each worker, with its row of counters, below `rows(workers)`.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # it waits until gunicorn listens for it
    raise_descriptor_limit()
    settings = describe()
    most = rows(settings.workers)
    first = os.getpid()
    owned = [one for one in sockets if one.family == socket.AF_UNIX and not isinstance(one, ManagedSocket)]
    paths = [one.getsockname() for one in owned]
    places = [(path, _place_of(path)) for path in paths]

    def give_row(arbiter: Any, worker: Any) -> None:  # noqa: ANN401  gunicorn has no types
        used = {getattr(one, "gsi_row", -1) for one in arbiter.WORKERS.values()}
        free = (row for row in range(len(used) + 1) if row not in used)
        worker.gsi_row = next(free) % most

    values: dict[str, object] = {
        "bind": [f"fd://{one.detach()}" for one in sockets],
        "when_ready": lambda _arbiter: on_ready(),
        "pre_fork": give_row,
        "post_fork": lambda _arbiter, worker: on_worker(worker.gsi_row),
    }
    if context is not None:
        values |= {"certfile": settings.certificate, "ssl_context": lambda _config, _factory: context()}
    try:
        _Arbiter(_Application(values, describe, make, renew, reloads or Reloads())).run()
    except SystemExit as stop:  # this is how gunicorn returns, in a worker as well
        status = stop.code if isinstance(stop.code, int) else 0
        if os.getpid() != first:  # what was opened before the fork is not a worker's to close or remove
            logging.shutdown()
            os._exit(status)
        return status
    finally:
        for path, place in places if os.getpid() == first else ():
            if place is not None and _place_of(path) == place:  # not that of a server which has begun meanwhile
                with contextlib.suppress(OSError):
                    os.unlink(path)
    return 0


def _place_of(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
