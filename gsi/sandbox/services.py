"""Starting and ending the sandbox's services: processes, ports, logs; knows nothing of what they do.

with running(services, vo) as ports:
    ports["myproxy-server"]
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from gsi.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gsi.sandbox.plan import Service
    from gsi.sandbox.vo import VO

__all__ = ["free_port", "running"]

START_SECONDS: Final = 30.0  # a cold start with a new database takes 2 s; slow disks get the rest
STOP_SECONDS: Final = 10.0  # a server drains its open requests first
_POLL_SECONDS: Final = 0.02
_LOG_TAIL_BYTES: Final = 4000


def free_port() -> int:
    """Return a loopback port that was free for streams and for datagrams a moment ago, for who cannot choose one."""
    while True:
        with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            stream.bind(("127.0.0.1", 0))
            port = int(stream.getsockname()[1])
            try:
                datagrams.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def running(services: Iterable[Service], vo: VO) -> Iterator[dict[str, int]]:
    """Start the services, wait until each one listens, give the ports they have by name, and end them on the way out.

    Raises:
        TransportError: A service ended or did not listen within `START_SECONDS`; the end of its log is in the hint.
        GridError: What a service needs could not be made.
    """
    started: list[tuple[Service, subprocess.Popen[bytes]]] = []
    try:
        for service in services:
            process = _start(service, vo)  # when this fails, those before it are ended
            started.append((service, process))
        ports: dict[str, int] = {}
        for service, process in started:
            port = _wait_until_listening(service, process, vo)
            if port is not None:
                ports[service.name] = port
        yield ports
    finally:
        _end([process for _, process in started])


def _start(service: Service, vo: VO) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": vo.person("alice").environment["PATH"],
        "HOME": str(vo.state_dir(service.name)),
        "X509_CERT_DIR": str(vo.trust_dir),
        **service.environment,
    }
    if service.prepare is not None:
        service.prepare()
    if service.port_path is not None:
        service.port_path.unlink(missing_ok=True)
    log = os.open(_log_path(service, vo), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        # A session of its own: Ctrl-C in the terminal reaches the sandbox alone, which then ends each service by pid.
        return subprocess.Popen(
            service.argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=vo.root,
            start_new_session=True,
        )
    except OSError as error:
        raise TransportError(f"{service.name} cannot be started: {error}") from error
    finally:
        os.close(log)


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Ask all to end, then wait for each; also for the others when somebody breaks off the waiting for one."""
    with ExitStack() as stack:
        for process in processes:
            if process.poll() is None:
                process.terminate()
                stack.callback(_wait_for_end, process)


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its own session, so the group is the service and its workers
        process.wait()


def _wait_until_listening(service: Service, process: subprocess.Popen[bytes], vo: VO) -> int | None:
    """Return the service's port once it can be connected to, None for a Unix socket.

    Raises:
        TransportError: It ended, or did not listen in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            return _connect(service)
        except (OSError, ValueError):
            time.sleep(_POLL_SECONDS)
    log = _log_path(service, vo)
    with open(log, "rb") as stream:
        tail = stream.read()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
    fate = "did not listen in time" if process.poll() is None else f"ended with status {process.returncode}"
    raise TransportError(f"{service.name} {fate}", hint=f"its log ends with:\n{tail}")


def _connect(service: Service) -> int | None:
    """Connect once; return the port.

    Raises:
        OSError: The service does not listen yet.
        ValueError: It has not written its port yet.
    """
    port = service.port if service.port_path is None else int(service.port_path.read_text("ascii"))
    if port is not None:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return port
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(service.socket_path))
        return None


def _log_path(service: Service, vo: VO) -> str:
    return str(vo.state_dir(service.name) / "log")
