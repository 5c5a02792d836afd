"""The callout under test: the library as compiled here, a daemon that decides or one that misbehaves, real services.

Not here: what is asked. Everything of one `CalloutSite` lies in a directory that any account may enter, because the
services load the library as the account they run as.

Workflow:
    with callout_site() as site, FakeDaemon(site.socket, lambda request: PERMIT) as fake:
        with gridftp_server(host, trust_dir, [], extra=site.variables) as server: ...
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from gsi.authz.callout.build import ConfOptions, compile_library, render_conf
from gsi.authz.callout.messages import (
    MAX_REQUEST_BYTES,
    Answer,
    FrameReader,
    Request,
    Verdict,
    encode_answer,
    parse_request,
)
from tests.harness.daemons import GridFTPServer, running
from tests.harness.environment import clean_environment
from tests.harness.run import account_group, c_program, our_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.harness.ca import Issued

__all__ = [
    "AuthzServer",
    "CalloutSite",
    "Driver",
    "FakeDaemon",
    "authz_server",
    "callout_site",
    "configured_gridftp_server",
    "permit",
    "service_account",
]

TIMEOUT_MS: Final = 1500
"""What the services wait for an answer in tests: three seconds for the tests of slow daemons, in all."""


_POLL_SECONDS: Final = 0.02
_EXTRA_FLAGS: Final = os.environ.get("GSI_TEST_CFLAGS", "")
"""For a run with sanitizers: `-g -fsanitize=address,undefined`, with libasan in LD_PRELOAD."""
_STOP_SECONDS: Final = 10.0


def service_account() -> str:
    """The account that `gridftp_server` runs as, and so the one that everybody is mapped to."""
    return "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


@dataclass(frozen=True, slots=True)
class CalloutSite:
    """Library, configuration and place of the socket.

    Attributes:
        directory: Everything is in here; mode 0755.
        library: The compiled library.
        conf: `gsi-authz.conf`.
        socket: Where the daemon has to listen.
    """

    directory: Path
    library: Path
    conf: Path
    socket: Path

    @property
    def variables(self) -> dict[str, str]:
        """What the services need in their environment."""
        return {"GSI_AUTHZ_CONF": str(self.conf)}

    def write_conf(self, *, timeout_ms: int = TIMEOUT_MS, without: str = "") -> None:
        """Write the configuration; `without` leaves one type out, as a careless site would."""
        text = render_conf(
            ConfOptions(
                library=str(self.library), socket=str(self.socket), server_uid=os.geteuid(), timeout_ms=timeout_ms
            )
        )
        lines = [line for line in text.splitlines(keepends=True) if not (without and line.startswith(f"{without} "))]
        self.conf.write_text("".join(lines))
        self.conf.chmod(0o644)


@contextlib.contextmanager
def callout_site(*, timeout_ms: int = TIMEOUT_MS) -> Iterator[CalloutSite]:
    """Compile the library and write a configuration, in a directory of its own."""
    directory = Path(tempfile.mkdtemp(prefix="gsi-callout-"))
    try:
        directory.chmod(0o755)
        run = directory / "run"
        run.mkdir(mode=0o755)
        run.chmod(0o755)
        library = Path(compile_library(str(directory), compiler=f"cc -Werror {_EXTRA_FLAGS}"))
        site = CalloutSite(directory, library, directory / "gsi-authz.conf", run / "socket")
        site.write_conf(timeout_ms=timeout_ms)
        yield site
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def permit(request: Request) -> bytes:
    """Permit everything, and map everybody to the account the services run as."""
    del request
    return encode_answer(Answer(Verdict.PERMIT, account=service_account(), decision_id="0123456789abcdef"))


class FakeDaemon:
    """A daemon that answers what a test wants, also what no daemon answers.

    Args:
        path: Its socket.
        answer: Called with each question; returns the bytes to send, or None to send nothing and leave the connection
            open until the end.

    Attributes:
        requests: The questions so far, with the uid of who asked.
        connections: How many there were.
    """

    def __init__(self, path: Path, answer: Callable[[Request], bytes | None] = permit) -> None:
        self.answer = answer
        self.requests: list[tuple[int, Request]] = []
        self.connections = 0
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._ended = False
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        self._socket.bind(str(self._path))
        self._path.chmod(0o666)
        self._socket.listen(64)
        self._accepting.start()
        return self

    def __exit__(self, *args: object) -> None:
        with self._lock:
            self._ended = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._accepting.join(_STOP_SECONDS)
        self._socket.close()
        self.drop()
        self._path.unlink(missing_ok=True)

    def drop(self) -> None:
        """Break every connection off, as a daemon that ends does."""
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._open.clear()

    def drip(self, data: bytes, seconds: float) -> None:
        """Send some bytes on every connection, and let some time pass."""
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.sendall(data)
        time.sleep(seconds)

    def of(self, kind: type[Request]) -> list[Request]:
        """The questions of one kind."""
        return [request for _, request in self.requests if isinstance(request, kind)]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                if self._ended:
                    connection.close()
                    return
                self.connections += 1
                self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        import struct

        reader = FrameReader(MAX_REQUEST_BYTES)
        with contextlib.suppress(OSError):
            _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            while data := connection.recv(65536):
                reader.feed(data)
                body = reader.next_body()
                if body is None:
                    continue
                request = parse_request(body)
                self.requests.append((uid, request))
                answer = self.answer(request)
                if answer is not None:
                    connection.sendall(answer)


@dataclass(frozen=True, slots=True)
class AuthzServer:
    """Our daemon, running.

    Attributes:
        process: The process that listens.
        directory: Its private directory, with `rules`, the policies' common rules file.
        log_path: What it has written.
        audit_path: Its audit.
        variables: Its environment.
    """

    process: subprocess.Popen[bytes]
    directory: Path
    log_path: Path
    audit_path: Path
    variables: dict[str, str]

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_text(errors="replace")

    @property
    def audit(self) -> str:
        """What it has recorded so far."""
        return self.audit_path.read_text(errors="replace") if self.audit_path.exists() else ""

    def await_log(self, text: str, *, seconds: float = 10.0) -> None:
        """Wait until the log has this text."""
        deadline = time.monotonic() + seconds
        while text not in self.log:
            assert time.monotonic() < deadline, f"{text!r} is not in the log:\n{self.log}"
            assert self.process.poll() is None, self.log
            time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def authz_server(
    socket_path: Path,
    trust_dir: Path,
    rules: str,
    *,
    jobs: str | None = None,
    policy: str | None = None,
    gram: str | None = None,
    files: str = "",
    server: str = "",
    service_users: str = "",
    workers: int = 1,
    verbose: bool = True,
) -> Iterator[AuthzServer]:
    """Start `gsi-authz-server` with one rules file for GridFTP and for GRAM.

    Args:
        socket_path: Where it listens.
        trust_dir: The authorities it trusts.
        rules: The rules file.
        jobs: The file of job rules, which GRAM's policy asks first; without it, GRAM has the rules file alone.
        policy: GridFTP's whole policy, in which the rules file is `rules`; without it, it has the rules file alone.
        gram: GRAM's whole policy, likewise.
        files: Keys of the `[files]` table.
        server: More keys of the `[server]` table.
        service_users: Who may ask for mappings, as a TOML array; by default the account that the services run as.
        workers: Processes.
        verbose: Whether it logs every decision.
    """
    with tempfile.TemporaryDirectory(prefix="gsi-authz-") as name:
        directory = Path(name)
        (directory / "rules").write_text(rules)
        plain = 'order = ["rules"]\n[authorizer.rules]\ntype = "rules"\nfile = "rules"\n'
        (directory / "gridftp.toml").write_text(policy or plain)
        (directory / "gram.toml").write_text(gram or plain)
        if jobs is not None:
            (directory / "jobs").write_text(jobs)
            (directory / "gram.toml").write_text(
                'order = ["jobs", "rules"]\n[authorizer.rules]\ntype = "rules"\nfile = "rules"\n'
                '[authorizer.jobs]\ntype = "rsl"\nfile = "jobs"\n'
            )
        config = directory / "server.toml"
        config.write_text(
            f"""
[server]
socket = "{socket_path}"
service_users = {service_users or f'["{service_account()}", "{os.geteuid()}"]'}
workers = {workers}
audit = "{directory}/audit.log"
drain_time = "2s"
{server}
[files]
{files}
[[services]]
name = "file"
policy = "{directory}/gridftp.toml"
[[services]]
name = "jobmanager*"
policy = "{directory}/gram.toml"
"""
        )
        variables = clean_environment(directory) | {"X509_CERT_DIR": str(trust_dir)}
        log_path = directory / "log"
        with open(log_path, "wb") as log:
            process = subprocess.Popen(
                [our_program("gsi-authz-server"), "-config", str(config), *(["-verbose"] if verbose else [])],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            running = AuthzServer(process, directory, log_path, directory / "audit.log", variables)
            running.await_log("listening on")
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class Driver:
    """The callout library in a small program of ours, which calls it as a service does; see `callout_driver.c`.

    Args:
        site: Library and socket.
        account: The account to run as; needs root.
        timeout_ms: How long it waits for an answer.
        variables: Environment variables that replace those which `gsi-authz.conf` would set.
    """

    def __init__(
        self,
        site: CalloutSite,
        *,
        account: str | None = None,
        timeout_ms: int = TIMEOUT_MS,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._program = site.directory / "driver"
        if not self._program.exists():
            source = Path(__file__).parent / "native" / "callout_driver.c"
            subprocess.run(
                [
                    "cc",
                    "-O1",
                    *_EXTRA_FLAGS.split(),
                    "-Wall",
                    "-Wextra",
                    "-Werror",
                    "-rdynamic",
                    "-o",
                    self._program,
                    source,
                    "-ldl",
                    "-lpthread",
                ],
                check=True,
                stdin=subprocess.DEVNULL,
                timeout=60,
            )
        self._site = site
        self._process = subprocess.Popen(
            [self._program, site.library],
            env={
                "GSI_AUTHZ_SOCKET": str(site.socket),
                "GSI_AUTHZ_SERVER_UID": str(os.geteuid()),
                "GSI_AUTHZ_TIMEOUT": str(timeout_ms),
                **(variables or {}),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            user=account,
            group=account_group(account),
            extra_groups=None if account is None else [],
        )

    @property
    def pid(self) -> int:
        """The process that asks."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(_STOP_SECONDS)

    def call(self, *words: str | int | Path) -> str:
        """Give a command and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\t".join(map(str, words)).encode("utf-8", "surrogateescape") + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the driver has ended"
        return answer.decode().rstrip("\n")

    def show_chain(self, chain: Sequence[bytes]) -> None:
        """Let the peer have these certificates, leaf first."""
        path = self._site.directory / f"chain-{self._process.pid}"
        path.write_bytes(b"".join(len(der).to_bytes(4, "big") + der for der in chain))
        path.chmod(0o644)
        assert self.call("chain", path) == "ok"


@contextlib.contextmanager
def configured_gridftp_server(
    host: Issued, trust_dir: Path, site: CalloutSite, *, conf: str = "", as_root: bool = False
) -> Iterator[GridFTPServer]:
    """A real `globus-gridftp-server` with a configuration file, or one that runs as root and changes to mapped users.

    Args:
        host: Its credential, for `localhost`.
        trust_dir: The authorities it trusts; copied.
        site: Its callout.
        conf: Its configuration file.
        as_root: Stay root until a user is mapped. Users are mapped to `service_account()`, as ever.
    """
    name = service_account()
    account = None if as_root or os.geteuid() != 0 else name
    with tempfile.TemporaryDirectory(prefix="gsi-daemon-") as temporary:
        directory = Path(temporary)
        directory.chmod(0o755)
        shutil.copytree(trust_dir, directory / "certificates")
        files = directory / "files"
        files.mkdir()
        (directory / "gridftp.conf").write_text(conf)
        host.write(directory / "hostcert.pem", directory / "hostkey.pem")
        for path in (directory / "certificates", *(directory / "certificates").iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if os.geteuid() == 0:
            entry = pwd.getpwnam(name)
            owned = [files] if as_root else [directory, *directory.rglob("*")]
            for path in owned:
                os.chown(path, entry.pw_uid, entry.pw_gid)
        env = (
            clean_environment(directory)
            | site.variables
            | {
                "X509_CERT_DIR": str(directory / "certificates"),
                "X509_USER_CERT": str(directory / "hostcert.pem"),
                "X509_USER_KEY": str(directory / "hostkey.pem"),
                "LOGNAME": "root" if as_root else name,
            }
        )
        argv: list[str | Path] = [c_program("globus-gridftp-server"), "-c", directory / "gridftp.conf", "-s", "-p", "0"]
        argv += ["-control-interface", "127.0.0.1", "-data-interface", "127.0.0.1", "-hostname", "localhost"]
        argv += ["-home-dir", "/", "-l", directory / "gridftp.log", "-d", "ALL"]
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
