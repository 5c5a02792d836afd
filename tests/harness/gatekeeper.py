"""A real `globus-gatekeeper` on a free loopback port, run the way inetd does; no jobs.

As a daemon it would listen on all interfaces, so a small listener accepts on 127.0.0.1 and starts one for each
connection.

Workflow:
    with c_gatekeeper(host, trust_dir, ["/O=Grid/CN=Alice"]) as server:
        user.theirs("globusrun", "-a", "-r", f"localhost:{server.port}")
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.harness.ca import Issued, write_file
from tests.harness.daemons import Daemon
from tests.harness.environment import clean_environment
from tests.harness.run import account_group, c_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["c_gatekeeper"]

STOP_SECONDS: Final = 10.0


@contextlib.contextmanager
def c_gatekeeper(
    host: Issued, trust_dir: Path, identities: Sequence[str], *, extra: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """A gatekeeper with the service `jobmanager-fork` and the default `jobmanager`.

    Args:
        host: Its credential, for `localhost`.
        trust_dir: The authorities it trusts.
        identities: One-line names to map to the account it runs as; everyone else is refused.
        extra: More environment variables.
    """
    program = c_program("globus-gatekeeper")
    account = "nobody" if os.geteuid() == 0 else None
    name = account or pwd.getpwuid(os.geteuid()).pw_name
    directory = Path(tempfile.mkdtemp(prefix="gsi-gatekeeper-"))
    try:
        os.chmod(directory, 0o755)
        shutil.copytree(trust_dir, directory / "certificates")
        for path in (directory / "certificates", *(directory / "certificates").iterdir()):
            os.chmod(path, 0o755 if path.is_dir() else 0o644)
        host.write(directory / "hostcert.pem", directory / "hostkey.pem")
        write_file(directory / "grid-mapfile", "".join(f'"{dn}" {name}\n' for dn in identities).encode(), 0o644)
        services = directory / "grid-services"
        services.mkdir()
        line = "stderr_log,local_cred - /bin/false false\n"
        for service in ("jobmanager", "jobmanager-fork"):
            write_file(services / service, line.encode(), 0o644)
        config = f"""\
-x509_cert_dir {directory}/certificates
-x509_user_cert {directory}/hostcert.pem
-x509_user_key {directory}/hostkey.pem
-gridmap {directory}/grid-mapfile
-grid_services {services}
-e /usr/sbin
-logfile {directory}/gatekeeper.log
-inetd
"""
        write_file(directory / "gatekeeper.conf", config.encode(), 0o644)
        if account is not None:
            for path in (directory, directory / "hostkey.pem", directory / "hostcert.pem"):
                os.chown(path, pwd.getpwnam(account).pw_uid, account_group(account) or 0)
        env = clean_environment(directory) | {"GLOBUS_HOSTNAME": "localhost", "LOGNAME": name, **(extra or {})}
        argv = [program, "-conf", str(directory / "gatekeeper.conf")]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port: int = listener.getsockname()[1]
            started: list[subprocess.Popen[bytes]] = []

            def serve() -> None:
                while True:
                    accepted, _ = listener.accept()
                    with accepted:
                        if stopping.is_set():
                            return
                        started.append(
                            subprocess.Popen(
                                argv,
                                env=env,
                                stdin=accepted.fileno(),
                                stdout=accepted.fileno(),
                                stderr=subprocess.DEVNULL,
                                cwd=directory,
                                user=account,
                                group=account_group(account),
                                extra_groups=None if account is None else [],
                            )
                        )

            stopping = threading.Event()
            thread = threading.Thread(target=serve, name="gatekeeper listener")
            thread.start()
            try:
                yield Daemon("localhost", port, directory, os.getpid(), directory / "gatekeeper.log")
            finally:
                stopping.set()
                socket.create_connection(("127.0.0.1", port)).close()
                thread.join(STOP_SECONDS)
                for process in started:
                    process.kill()
                    process.wait(STOP_SECONDS)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
