"""Starting, watching and ending the sandbox's services: processes, ports, logs; knows nothing of what they do.

    started = start(services, vo, exports)      # in processes of their own, which outlive this one
    look(started[0])                            # UP, SILENT or DOWN; later, and from another process, too
    end(started)

A process is known by its id and by the moment at which it began, so that nobody else's is ever taken for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gsi.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gsi.sandbox.plan import Service
    from gsi.sandbox.vo import VO

__all__ = ["Health", "Started", "end", "launch", "log_path", "look", "start", "wait_for"]

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


def start(
    services: Iterable[Service],
    vo: VO,
    exports: Mapping[str, str],
    told: Callable[[Started], None] = lambda _started: None,
) -> list[Started]:
    """Start the services and return them once each one accepts connections; those that run when one fails are ended.

    Args:
        services: What to start.
        vo: Where they live.
        exports: What a shell knows of all services, for those that have to know others.
        told: Called with each one that listens.

    Raises:
        TransportError: As `launch` and `wait_for`.
        GridError: What a service needs could not be made.
    """
    started = launch(services, vo, exports)
    try:
        wait_for(started, vo, told)
    except BaseException:
        end(started)
        raise
    return started


def launch(services: Iterable[Service], vo: VO, exports: Mapping[str, str]) -> list[Started]:
    """Start the services and wait for none; those that run when one fails are ended.

    Raises:
        TransportError: A port is in use, or a program cannot be run.
        GridError: What a service needs could not be made.
    """
    started: list[Started] = []
    try:
        for service in services:
            _check_port(service)
            if service.prepare is not None:
                service.prepare(exports)
            started.append(_spawn(service, vo))
    except BaseException:
        end(started)
        raise
    return started


def wait_for(started: Iterable[Started], vo: VO, told: Callable[[Started], None] = lambda _started: None) -> None:
    """Wait until each service accepts connections.

    Raises:
        TransportError: One ended or did not listen within `START_SECONDS`; the end of its log is in the hint.
    """
    for one in started:
        _wait_until_listening(one, vo)
        told(one)


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


def _spawn(service: Service, vo: VO) -> Started:
    environment = {
        "PATH": vo.person("alice").environment["PATH"],
        "HOME": str(vo.state_dir(service.name)),
        "X509_CERT_DIR": str(vo.trust_dir),
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
        _began(process.pid) or 0,
        service.port or 0,
        str(service.socket_path or ""),
        service.summary,
        service.url,
    )


def _group(account: str) -> int:
    import pwd

    return pwd.getpwnam(account).pw_gid


def _began(pid: int) -> int | None:
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
    began = _began(started.pid)
    return began is not None and began == started.began


def _wait_for_end(started: Started) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while _is_running(started) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    # Its own session, so the group is the service and its workers. Those that a killed one has left behind are ended,
    # too; a number that somebody else has got by now is left alone.
    if _is_running(started) or _began(started.pid) is None:
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
