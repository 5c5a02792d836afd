"""Real daemons for tests: started on free loopback ports, ready when they accept a connection, ended by their pid.

Not here: what is asked of them. Every daemon lives in a private directory that is removed afterwards; when the tests
run as root the GridFTP server runs as an ordinary account, because root may not be mapped to.

Workflow:
    with c_myproxy_server(host, trust_dir) as server:
        run([c_program("myproxy-info"), "-s", "localhost", "-p", str(server.port)], env=user.variables)
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.harness.ca import Issued, write_file
from tests.harness.environment import clean_environment
from tests.harness.run import account_group, c_program, our_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "MYPROXY_CONFIG",
    "Daemon",
    "GridFTPServer",
    "c_myproxy_server",
    "free_port",
    "gridftp_server",
    "our_server",
    "running",
]

START_SECONDS: Final = 20.0  # a loaded two-core machine; the slowest daemon here is up in half a second
STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02
MYPROXY_CONFIG: Final = """\
accepted_credentials "*"
authorized_retrievers "*"
default_retrievers "*"
authorized_renewers "*"
default_renewers "none"
authorized_key_retrievers "*"
default_key_retrievers "none"
"""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running server.

    Attributes:
        host: What clients call it: `localhost`.
        port: Its port on 127.0.0.1.
        directory: Its private directory.
        pid: The process that listens.
        log_path: Where its output goes; a C `myproxy-server` logs to syslog and leaves it empty.
    """

    host: str
    port: int
    directory: Path
    pid: int
    log_path: Path

    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


@dataclass(frozen=True, slots=True)
class GridFTPServer(Daemon):
    """A running GridFTP server.

    Attributes:
        account: The account that identities are mapped to.
        files: A directory that this account may write.
    """

    account: str
    files: Path

    def url(self, path: Path) -> str:
        """The gsiftp URL of a file on the server."""
        return f"gsiftp://{self.host}:{self.port}{path}"


def _candidates() -> Iterator[int]:
    """The ports of this worker of pytest in turn, below those that the kernel gives to whoever connects.

    A connection of another test, or its server, could else take a port before the one that it was found for does.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 20000 + worker % 3 * 4000
    ports = range(first, first + 4000)
    begin = random.randrange(len(ports))  # beside another run on the same machine
    return itertools.cycle([*ports[begin:], *ports[:begin]])


_CANDIDATES: Final = _candidates()


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    for port in itertools.islice(_CANDIDATES, 4000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("every port is taken")


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _accepts_unix(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        return probe.connect_ex(str(path)) == 0


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads its own session, and what it forked."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)


@contextlib.contextmanager
def _private_directory(account: str | None = None) -> Iterator[Path]:
    """A short path (Unix sockets have a limit) which this account owns and nobody else enters."""
    directory = Path(tempfile.mkdtemp(prefix="gsi-daemon-"))
    try:
        if account is not None:
            os.chown(directory, pwd.getpwnam(account).pw_uid, -1)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _copy_trust(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    for path in (target, *target.iterdir()):
        os.chmod(path, 0o755 if path.is_dir() else 0o644)


@contextlib.contextmanager
def running(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    port: int | None,
    directory: Path,
    account: str | None = None,
    announced: str | None = None,
    unix: Path | None = None,
    sockets: Sequence[socket.socket] = (),
) -> Iterator[Daemon]:
    """Start a server that stays in the foreground; ready when it accepts a connection.

    Args:
        argv: The command.
        env: Its whole environment.
        port: The port it was told to use, or None when it announces one.
        directory: Its private directory; output goes to `output.log` there.
        account: The account to run as.
        announced: A regular expression whose first group is the port, searched in the output.
        unix: Its Unix socket, in place of a port; the port is then 0.
        sockets: Listening sockets that it is given, as by systemd: connections are accepted before it is there.

    Raises:
        AssertionError: It ended or did not accept within `START_SECONDS`; its output is in the message.
    """
    log_path = directory / "output.log"
    with open(log_path, "wb") as log:
        process = subprocess.Popen(
            [*(_giving(sockets) if sockets else ()), *(str(word) for word in argv)],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=directory,
            user=account,
            group=account_group(account),
            extra_groups=None if account is None else [],
            start_new_session=True,
            pass_fds=[one.fileno() for one in sockets],
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            text = log_path.read_text(errors="replace")
            if port is None and announced is not None and (found := re.search(announced, text)):
                port = int(found[1])
            if unix is not None and _accepts_unix(unix):
                port = 0
                break
            if port is not None and _accepts(port):
                break
            try:
                code = process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline, f"{argv[0]} does not accept connections\n{text}"
            else:
                raise AssertionError(f"{argv[0]} ended with {code}\n{log_path.read_text(errors='replace')}")
        yield Daemon("localhost", port, directory, process.pid, log_path)
    finally:
        _end_group(process)


_GIVE: Final = """
import os, sys
places = [os.dup2(int(word), 100 + at) for at, word in enumerate(sys.argv[1].split(","))]
for at, place in enumerate(places):
    os.dup2(place, 3 + at)
os.closerange(3 + len(places), 100 + len(places))
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(places))}
os.execv(sys.argv[2], sys.argv[2:])
"""


def _giving(sockets: Sequence[socket.socket]) -> list[str]:
    """The words before a command that give it sockets as sd_listen_fds(3) has it."""
    return [sys.executable, "-I", "-c", _GIVE, ",".join(str(one.fileno()) for one in sockets)]


def _ordinary_account() -> str | None:
    """None to stay who we are, or the account to use in place of root."""
    return "nobody" if os.geteuid() == 0 else None


@contextlib.contextmanager
def gridftp_server(
    host: Issued, trust_dir: Path, identities: Sequence[str], *, extra: Mapping[str, str] | None = None
) -> Iterator[GridFTPServer]:
    """A real `globus-gridftp-server`.

    Args:
        host: Its credential, for `localhost`.
        trust_dir: The authorities it trusts; copied.
        identities: One-line names to map to the account it runs as; everyone else is refused.
        extra: More environment variables.
    """
    program = c_program("globus-gridftp-server")
    account = _ordinary_account()
    name = account or pwd.getpwuid(os.geteuid()).pw_name
    with _private_directory(account) as directory:
        _copy_trust(trust_dir, directory / "certificates")
        files = directory / "files"
        files.mkdir()
        host.write(directory / "hostcert.pem", directory / "hostkey.pem")
        write_file(directory / "grid-mapfile", "".join(f'"{dn}" {name}\n' for dn in identities).encode(), 0o644)
        write_file(directory / "empty.conf", b"", 0o644)
        if account is not None:
            for path in (files, directory / "hostkey.pem", directory / "hostcert.pem"):
                os.chown(path, pwd.getpwnam(account).pw_uid, account_group(account) or 0)
        env = clean_environment(directory) | {
            "X509_CERT_DIR": str(directory / "certificates"),
            "X509_USER_CERT": str(directory / "hostcert.pem"),
            "X509_USER_KEY": str(directory / "hostkey.pem"),
            "GRIDMAP": str(directory / "grid-mapfile"),
            "LOGNAME": name,
            **(extra or {}),
        }
        argv: list[str | Path] = [
            program,
            "-c",
            directory / "empty.conf",
            "-s",
            "-p",
            "0",
            "-control-interface",
            "127.0.0.1",
        ]
        argv += ["-data-interface", "127.0.0.1", "-hostname", "localhost", "-l", directory / "gridftp.log", "-d", "ALL"]
        with running(
            argv,
            env=env,
            port=None,
            directory=directory,
            account=account,
            announced=r"Server listening at \S+?:(\d+)",
        ) as daemon:
            yield GridFTPServer(
                daemon.host, daemon.port, directory, daemon.pid, directory / "gridftp.log", account=name, files=files
            )


@contextlib.contextmanager
def c_myproxy_server(
    host: Issued,
    trust_dir: Path,
    *,
    config: str = MYPROXY_CONFIG,
    store: Path | None = None,
    extra: Mapping[str, str] | None = None,
) -> Iterator[Daemon]:
    """The C `myproxy-server`.

    Args:
        host: Its credential, for `localhost`.
        trust_dir: The authorities it trusts.
        config: The text of its `myproxy-server.config`.
        store: Its storage directory (mode 0700), or None for a private one, `daemon.directory / "store"`.
        extra: More environment variables.
    """
    program = c_program("myproxy-server")
    with _private_directory() as directory:
        if store is None:
            store = directory / "store"
            store.mkdir(mode=0o700)
        host.write(directory / "hostcert.pem", directory / "hostkey.pem")
        write_file(directory / "myproxy-server.config", config.encode(), 0o600)
        port_path, pid_path, log_path = directory / "port", directory / "pid", directory / "output.log"
        env = clean_environment(directory) | {
            "X509_CERT_DIR": str(trust_dir),
            "X509_USER_CERT": str(directory / "hostcert.pem"),
            "X509_USER_KEY": str(directory / "hostkey.pem"),
            **(extra or {}),
        }
        argv = [program, "-c", directory / "myproxy-server.config", "-s", store, "-l", "127.0.0.1", "-p", "0"]
        argv += ["-z", port_path, "-P", pid_path]
        # It detaches once it listens: the parent's end is the sign that both files are written.
        with open(log_path, "wb") as log:
            started = subprocess.run(
                [str(word) for word in argv],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=START_SECONDS,
                check=False,
            )
        assert started.returncode == 0, f"myproxy-server ended with {started.returncode}\n{log_path.read_text()}"
        pid = _await_number(pid_path)
        try:
            port = _await_number(port_path)
            assert _accepts(port), "myproxy-server does not accept connections"
            yield Daemon("localhost", port, directory, pid, log_path)
        finally:
            _end_detached(pid)


def _await_number(path: Path) -> int:
    """Read a number that a starting daemon writes to a file."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(path.read_text())
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"{path} was not written")


def _end_detached(pid: int) -> None:
    """End a daemon that is not our child and see it gone."""
    number = signal.SIGTERM
    deadline = time.monotonic() + STOP_SECONDS
    try:
        os.kill(pid, number)
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    try:
        if not select.select([watch], [], [], max(0.0, deadline - time.monotonic()))[0]:
            signal.pidfd_send_signal(watch, signal.SIGKILL)
    finally:
        os.close(watch)


@contextlib.contextmanager
def our_server(
    command: str, arguments: Sequence[str | Path], *, env: Mapping[str, str], port: int, directory: Path
) -> Iterator[Daemon]:
    """One of our servers through its command, in the foreground, on a port from `free_port`."""
    with running([our_program(command), *arguments], env=env, port=port, directory=directory) as daemon:
        yield daemon
