"""A real gatekeeper with the real job manager (fork) behind it, for an ordinary account; and clients of both.

The gatekeeper listens on every interface when it is a daemon, so that a listener on 127.0.0.1 starts one for each
connection, as inetd does. Everything lies in a private directory, the job manager's home included.

Workflow:
    with gatekeeper(host, trust_dir, conf_path=site.conf, gate=[...]) as gram:
        done = gram.submit(user, "&(executable=/bin/true)")
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import gsi
from gsi.context.initiator import Initiator
from gsi.context.stream import ContextStream
from gsi.context.target import Target
from gsi.system import clock
from gsi.transport.stream import connect, parse_hosts
from tests.harness.ca import write_file
from tests.harness.environment import clean_environment
from tests.harness.run import account_group, c_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gsi.credential import Credential
    from gsi.trust.anchors import TrustAnchors
    from tests.harness.ca import Issued
    from tests.harness.environment import UserEnvironment
    from tests.harness.run import Done

__all__ = ["Gram", "gatekeeper"]

PROGRAMS: Final = ("globus-gatekeeper", "globus-job-manager", "globusrun")
_STOP_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Gram:
    """A running gatekeeper.

    Attributes:
        port: Its port on 127.0.0.1.
        directory: Everything of it.
        account: The account that it and all jobs run as.
        home: The account's home here.
        scratch: A directory that jobs may write.
    """

    port: int
    directory: Path
    account: str
    home: Path
    scratch: Path
    variables: Mapping[str, str] = field(repr=False)

    @property
    def contact(self) -> str:
        """What clients name the service by."""
        return f"localhost:{self.port}/jobmanager-fork"

    @property
    def log(self) -> str:
        """What gatekeeper and job managers have written."""
        paths = [self.directory / "gk.log", *sorted((self.directory / "log").glob("*.log"))]
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())

    @property
    def state_files(self) -> list[Path]:
        """What job managers keep of jobs."""
        return [path for path in (self.directory / "state").rglob("job.*") if path.is_file()]

    @property
    def job_managers(self) -> list[int]:
        """The job managers that run in this directory, by their process ids."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if b"globus-job-manager" in words[0] and str(self.directory / "jm.conf").encode() in words:
                        found.append(int(entry.name))
        return found

    def submit(
        self, user: UserEnvironment, rsl: str, *options: str, timeout: float = 30.0, service: str = "jobmanager-fork"
    ) -> Done:
        """Run a job with `globusrun`."""
        return user.theirs("globusrun", *options, "-r", f"localhost:{self.port}/{service}", rsl, timeout=timeout)

    def start(self, user: UserEnvironment, rsl: str) -> str:
        """Start a job in the background; return its contact."""
        done = self.submit(user, rsl, "-b").check()
        return next(line for line in done.stdout.splitlines() if line.startswith("https://"))

    def query(self, contact: str, owner: str, credential: Credential, anchors: TrustAnchors, query: str) -> str:
        """Ask about a job as anyone at all, which `globusrun` does not: it insists on the owner. Returns the reply."""
        host, port, _ = re.fullmatch(r"https://([^:/]+):(\d+)(/.*)", contact).groups()  # type: ignore[union-attr]  # a contact always has them
        stream, _ = connect(parse_hosts(f"{host}:{port}", default_port=1), timeout=10, read_timeout=20)
        secured = ContextStream(
            stream,
            Initiator(credential, anchors, target=Target(identity=owner), now=clock.now, ssl_compatible=True),
        )
        try:
            secured.establish()
            body = f'protocol-version: 2\r\n"{query}"\r\n\0'.encode()
            head = f"POST {contact} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-globus-gram\r\n"
            secured.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            reply = b""
            while data := secured.receive():
                reply += data
                if re.search(rb"Content-Length: (\d+)\r\n", reply) and b"status:" in reply:
                    break
            return reply.decode("latin-1")
        finally:
            secured.close()

    def end_job_managers(self) -> None:
        """End every job manager, and see them gone."""
        deadline = time.monotonic() + _STOP_SECONDS
        for pid in self.job_managers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while self.job_managers:
            assert time.monotonic() < deadline, "a job manager does not end"
            time.sleep(0.02)


@contextlib.contextmanager
def gatekeeper(
    host: Issued,
    trust_dir: Path,
    *,
    authz_conf: Path | None = None,
    gridmap: str = "",
    gate: Sequence[str | Path] | None = None,
    enable_callout: bool = True,
    extra: Mapping[str, str] | None = None,
) -> Iterator[Gram]:
    """A gatekeeper and what it starts.

    Args:
        host: Its credential, for `localhost`.
        trust_dir: The authorities it trusts; copied.
        authz_conf: `gsi-authz.conf`, or None for the grid-mapfile alone.
        gridmap: The grid-mapfile.
        gate: The options of our gate in front of the job manager; None for a bare service line.
        enable_callout: Whether the job manager asks its callout.
        extra: More environment variables.
    """
    programs = {name: c_program(name) for name in PROGRAMS}
    account = "nobody" if os.geteuid() == 0 else None
    name = account or pwd.getpwuid(os.geteuid()).pw_name
    directory = Path(tempfile.mkdtemp(prefix="gsi-gram-"))
    try:
        directory.chmod(0o755)
        shutil.copytree(trust_dir, directory / "certificates")
        for path in (directory / "certificates", *(directory / "certificates").iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        for each in ("home", "scratch", "log", "state", "grid-services"):
            (directory / each).mkdir()
        host.write(directory / "hostcert.pem", directory / "hostkey.pem")
        write_file(directory / "grid-mapfile", gridmap.encode(), 0o644)
        line = [programs["globus-job-manager"], "globus-job-manager", "-conf", directory / "jm.conf", "-type", "fork"]
        if gate is not None:
            line = [_install_gate(directory), "gsi-authz-gram-gate", *gate, "--", *line]
        write_file(
            directory / "grid-services" / "jobmanager-fork",
            ("stderr_log,local_cred - " + " ".join(map(str, line)) + "\n").encode(),
            0o644,
        )
        write_file(
            directory / "jm.conf",
            f"""\
-globus-toolkit-version 6.2
-log-pattern {directory}/log/gram.log
-log-levels TRACE|INFO|DEBUG|WARN|ERROR|FATAL
-state-file-dir {directory}/state
{"-enable-callout" if enable_callout else ""}
""".encode(),
            0o644,
        )
        write_file(
            directory / "gk.conf",
            f"""\
-x509_cert_dir {directory}/certificates
-x509_user_cert {directory}/hostcert.pem
-x509_user_key {directory}/hostkey.pem
-gridmap {directory}/grid-mapfile
-grid_services {directory}/grid-services
-e {os.path.dirname(programs["globus-job-manager"])}
-logfile {directory}/gk.log
-inetd
""".encode(),
            0o644,
        )
        if account is not None:
            entry = pwd.getpwnam(account)
            for path in (directory, *directory.rglob("*")):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        variables = clean_environment(directory / "home") | {
            "LOGNAME": name,
            "USER": name,
            "GLOBUS_HOSTNAME": "localhost",
            "X509_CERT_DIR": str(directory / "certificates"),
            **({"GSI_AUTHZ_CONF": str(authz_conf)} if authz_conf else {}),
            **(extra or {}),
        }
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(16)
            gram = Gram(
                listener.getsockname()[1], directory, name, directory / "home", directory / "scratch", variables
            )
            children: list[subprocess.Popen[bytes]] = []
            argv = [programs["globus-gatekeeper"], "-conf", str(directory / "gk.conf")]
            accepting = threading.Thread(
                target=_accept, args=(listener, argv, variables, account, children, directory), daemon=True
            )
            accepting.start()
            try:
                yield gram
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                accepting.join(_STOP_SECONDS)
                _end(gram, children)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _reachable_python() -> str:
    """An interpreter that any account may run: that of the tests may lie in root's home."""
    own = Path(os.path.realpath(sys.executable))
    if os.geteuid() != 0 or all(path.stat().st_mode & 0o001 for path in (own, *own.parents)):
        return str(own)
    return c_program("python3")


def _install_gate(directory: Path) -> Path:
    """Put our gate where any account can run it: the account of the jobs may not enter the directory of the tests."""
    package = Path(gsi.__file__).parent
    shutil.copytree(
        package, directory / "lib" / "gsi", ignore=shutil.ignore_patterns("__pycache__", "sandbox", "native")
    )
    script = directory / "gsi-authz-gram-gate"
    script.write_text(
        f"""\
#!{_reachable_python()} -I
import sys
sys.path.insert(0, "{directory}/lib")
from gsi.cli.authz_gram_gate import main
sys.exit(main())
"""
    )
    script.chmod(0o755)
    return script


def _accept(
    listener: socket.socket,
    argv: Sequence[str],
    variables: Mapping[str, str],
    account: str | None,
    children: list[subprocess.Popen[bytes]],
    directory: Path,
) -> None:
    """What inetd does: one gatekeeper per connection, the socket as its standard input and output."""
    with open(directory / "gk.stderr", "ab") as stderr:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                children.append(
                    subprocess.Popen(
                        argv,
                        env=dict(variables),
                        stdin=connection.fileno(),
                        stdout=connection.fileno(),
                        stderr=stderr,
                        cwd=directory,
                        user=account,
                        group=account_group(account),
                        extra_groups=None if account is None else [],
                        start_new_session=True,
                    )
                )


def _end(gram: Gram, children: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what was started: job managers are sessions of their own, their scripts hang below them."""
    gram.end_job_managers()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait(_STOP_SECONDS)
