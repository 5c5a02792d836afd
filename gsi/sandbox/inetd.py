"""Starts a program for each connection to a port of 127.0.0.1, as inetd does; for servers that know no other address.

    python -m gsi.sandbox.inetd PORT ACCOUNT LOG PROGRAM [ARGUMENT...]

The connection is the program's standard input and output, and its error output goes to the log. ACCOUNT is whom it runs
as, or empty for one's own. At SIGTERM all that came of these programs is ended, also what has made itself a daemon.
For the sandbox alone: it knows no limits.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


def main(argv: Sequence[str]) -> None:
    """Serve until SIGTERM.

    Raises:
        SystemExit: There are too few words.
        OSError: It is not possible to listen.
    """
    if len(argv) < 4:
        raise SystemExit("usage: inetd PORT ACCOUNT LOG PROGRAM [ARGUMENT...]")
    port, account, log, *command = argv
    entry = pwd.getpwnam(account) if account else None
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # daemons become children of this process
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGCHLD, _bury)
    with (
        socket.create_server(("127.0.0.1", int(port))) as listener,
        open(log, "ab") as errors,
        contextlib.suppress(SystemExit),
    ):
        while True:
            connection, _ = listener.accept()
            with connection:
                process = subprocess.Popen(
                    command,
                    stdin=connection.fileno(),
                    stdout=connection.fileno(),
                    stderr=errors,
                    user=entry and entry.pw_uid,
                    group=entry and entry.pw_gid,
                    extra_groups=[] if entry else None,
                    start_new_session=True,
                )
                process.returncode = 0  # it is buried below
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _end_all()


def _stop(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit


def _bury(_number: int, _frame: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end_all() -> None:
    """Kill the children, and theirs, which become one's own thereby, until there are none."""
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in _children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.wait()


def _children() -> list[int]:
    """Return the ids of this process's children."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stream:
                if int(stream.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    found.append(int(name))
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
