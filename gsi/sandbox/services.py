"""Starting, watching and ending the sandbox's services: processes, ports, logs; knows nothing of what they do.

    launch = Launch(services, vo, exports)      # in processes of their own, which outlive this one
    started = launch.wait_for(["one"])          # meanwhile the others go on starting
    look(started[0])                            # UP, SILENT or DOWN; later, and from another process, too
    end(started)

A process is known by its id and by the moment at which it began, so that nobody else's is ever taken for it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gsi.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from gsi.sandbox.plan import Service
    from gsi.sandbox.vo import VO

__all__ = ["Health", "Launch", "Started", "began", "end", "log_path", "look"]

START_SECONDS: Final = 30.0  # a cold start with a new database takes 2 s; slow disks get the rest
STOP_SECONDS: Final = 10.0  # a server drains its open requests first
PROBE_SECONDS: Final = 1.0  # to connect on the loopback interface
_POLL_SECONDS: Final = 0.02
_LOG_TAIL_BYTES: Final = 4000


class Health(StrEnum):
    """What can be seen of a service."""

    UP = "up"
    SILENT = "silent"
    """It runs and accepts no connection."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Started:
    """A service that was started.

    Attributes:
        name: Its name.
        pid: Its process, which leads a session of its own.
        began: The moment at which that process began, in the kernel's ticks; 0 where it cannot be known.
        port: Its TCP port on 127.0.0.1, or 0.
        socket_path: In place of it, its Unix socket.
        summary: What it is good for.
        url: What people type to reach it, where that is not its address.
    """

    name: str
    pid: int
    began: int
    port: int
    socket_path: str
    summary: str
    url: str

    @property
    def place(self) -> str:
        """Where it can be reached, as people are told."""
        return self.url or (f"127.0.0.1:{self.port}" if self.port else self.socket_path)


class Launch:
    """Services on their way: one after the other is prepared and started, while whoever asked does other things.

    The order of services is kept, since one may need what was prepared for another; nobody waits until one listens.
    """

    def __init__(
        self,
        services: Iterable[Service],
        vo: VO,
        exports: Mapping[str, str],
        noted: Callable[[Started], None] = lambda _started: None,
        *,
        leisurely: bool = False,
    ) -> None:
        """Begin.

        Args:
            services: What to start.
            vo: Where they live.
            exports: What a shell knows of all services, for those that have to know others.
            noted: Called with each that was started, by another thread; one that cannot be noted is ended.
            leisurely: Whether each has to listen before the next is started, so that the first ones are there early,
                and the processors have room for whoever does other things.

        Raises:
            TransportError: A port is in use; nothing was started.
        """
        wanted = tuple(services)
        for service in wanted:
            _check_port(service)
        self._vo, self._exports, self._noted = vo, exports, noted
        self._listening: set[str] = set()
        self._leisurely = leisurely
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="launch")
        self._futures = {service.name: self._pool.submit(self._bring, service) for service in wanted}
        self._pool.shutdown(wait=False)  # it ends with the last of them

    def wait_for(
        self, names: Container[str] | None = None, told: Callable[[Started], None] = lambda _started: None
    ) -> list[Started]:
        """Wait until services accept connections, and return them.

        Args:
            names: Which; None for all.
            told: Called with each one that listens, once.

        Raises:
            TransportError: One cannot be run, ended, or did not listen within `START_SECONDS`; the end of its log is
                in the hint.
            GridError: What one needs could not be made.
        """
        found = []
        for name, future in self._futures.items():
            if names is not None and name not in names:
                continue
            started = future.result()
            found.append(started)
            if name not in self._listening:
                _wait_until_listening(started, self._vo)
                self._listening.add(name)
                told(started)
        return found

    def end(self) -> None:
        """End all that were started; no more will be."""
        self._ended.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        begun = []
        try:
            for future in self._futures.values():
                with contextlib.suppress(Exception, CancelledError):  # those that did not start are not to be ended
                    begun.append(future.result())
        finally:
            end(begun)

    def _bring(self, service: Service) -> Started:
        """Prepare and start one service.

        Raises:
            TransportError: It cannot be run, the launch has ended meanwhile, or there is no room for what it needs.
            GridError: What it needs cannot be made, or it cannot be noted.
        """
        try:
            if service.prepare is not None:
                service.prepare(self._exports)
        except shutil.Error as error:  # it lists every file that could not be copied
            raise TransportError(f"what {service.name} needs cannot be made: {error.args[0][0][2]}") from error
        except OSError as error:
            raise TransportError(f"what {service.name} needs cannot be made: {error}") from error
        if self._ended.is_set():
            raise TransportError(f"{service.name} is not started: the others are being ended")
        started = _spawn(service, self._vo, self._exports)
        try:
            self._noted(started)
        except BaseException:
            end([started])
            raise
        deadline = time.monotonic() + START_SECONDS
        while self._leisurely and look(started) is Health.SILENT and time.monotonic() < deadline:
            if self._ended.wait(_POLL_SECONDS):
                break
        return started


def look(started: Started) -> Health:
    """Tell how a service is."""
    if not _is_running(started):
        return Health.DOWN
    try:
        _connect(started)
    except OSError:
        return Health.SILENT
    return Health.UP


def end(started: Iterable[Started]) -> None:
    """Ask all to end, then wait for each; also for the others when somebody breaks off the waiting for one."""
    with ExitStack() as stack:
        for one in started:
            if _is_running(one):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGTERM)
            stack.callback(_wait_for_end, one)


def log_path(name: str, vo: VO) -> str:
    """Return the file with the output of a service."""
    return str(vo.state_dir(name) / "log")


def _check_port(service: Service) -> None:
    if service.port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: connections that ended are no use
        try:
            probe.bind(("127.0.0.1", service.port))
        except OSError as error:
            raise TransportError(
                f"the port 127.0.0.1:{service.port} of {service.name} is in use by another program",
                hint="end that program; or `grid-sandbox down -delete`, and `up` takes other ports",
            ) from error


def _spawn(service: Service, vo: VO, exports: Mapping[str, str]) -> Started:
    environment = {
        "PATH": vo.person("alice").environment["PATH"],
        "HOME": str(vo.state_dir(service.name)),
        "X509_CERT_DIR": str(vo.trust_dir),
        **{name: exports[name] for name in service.variables if name in exports},
        **service.environment,
    }
    if service.socket_path is not None:
        service.socket_path.unlink(missing_ok=True)  # one that was killed has left it
    log = os.open(log_path(service.name, vo), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        # A session of its own: Ctrl-C in the terminal reaches the sandbox alone, which then ends each service by pid.
        process = subprocess.Popen(
            service.argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=vo.root if service.account is None else "/",
            start_new_session=True,
            user=service.account,
            group=None if service.account is None else _group(service.account),
            extra_groups=None if service.account is None else [],
        )
    except OSError as error:
        raise TransportError(f"{service.name} cannot be started: {error}") from error
    finally:
        os.close(log)
    process.returncode = 0  # it outlives this object, which would complain of that
    return Started(
        service.name,
        process.pid,
        began(process.pid) or 0,
        service.port or 0,
        str(service.socket_path or ""),
        service.summary,
        service.url,
    )


def _group(account: str) -> int:
    import pwd

    return pwd.getpwnam(account).pw_gid


def began(pid: int) -> int | None:
    """Return the moment at which a process began, 0 where there is no /proc; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            # The name in brackets may hold anything; the state follows it, and the moment is the 22nd field.
            fields = stream.read().rpartition(b")")[2].split()
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return None
    except ProcessLookupError:
        return None
    else:
        return None if fields[0] in {b"Z", b"X"} else int(fields[19])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    return 0


def _is_running(started: Started) -> bool:
    return began(started.pid) == started.began


def _wait_for_end(started: Started) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while _is_running(started) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    # Its own session, so the group is the service and its workers. Those that a killed one has left behind are ended,
    # too; a number that somebody else has got by now is left alone.
    if _is_running(started) or began(started.pid) is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(started.pid, signal.SIGKILL)
    while _is_running(started):
        time.sleep(_POLL_SECONDS)
    _fate(started)


def _fate(started: Started) -> int | None:
    """Return the exit status of a child that has ended, None while it runs and when it is nobody's here."""
    try:
        pid, status = os.waitpid(started.pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if pid else None


def _wait_until_listening(started: Started, vo: VO) -> None:
    """Wait until the service can be connected to.

    Raises:
        TransportError: It ended, or did not listen in time.
    """
    deadline = time.monotonic() + START_SECONDS
    fate = "did not listen in time"
    while time.monotonic() < deadline:
        status = _fate(started)
        if status is not None:
            fate = f"ended with status {status}"
            break
        try:
            _connect(started)
        except OSError:
            time.sleep(_POLL_SECONDS)
        else:
            return
    with open(log_path(started.name, vo), "rb") as stream:
        tail = stream.read()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
    raise TransportError(f"{started.name} {fate}", hint=f"its log ends with:\n{tail}")


def _connect(started: Started) -> None:
    """Connect once.

    Raises:
        OSError: The service does not listen.
    """
    if started.port:
        with socket.create_connection(("127.0.0.1", started.port), timeout=PROBE_SECONDS):
            return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_SECONDS)
        probe.connect(started.socket_path)
