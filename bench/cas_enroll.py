"""Enrolling a hundred thousand users from a file: `cas-enroll-users` and `cas-server` with its SQLite store.

Measured is the time from the command's start to its end, over HTTPS, and beside it the processor time of the server's
processes. There is no peer: no other server enrols users from files.

    python bench/cas_enroll.py [USERS]
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.cas_server import processor_seconds
from bench.pairs import Figure, show
from cas.policy.changes import Enrol
from cas.policy.model import UserGroup
from tests.harness.cas_server import ADMIN, cas_server
from tests.harness.run import our_program, run

USERS: Final = 100_000
GROUPS: Final = 100
LIMIT_SECONDS: Final = 60.0


def figures(users: int = USERS) -> list[Figure]:
    """Measure and return the figures."""
    with tempfile.TemporaryDirectory() as directory, cas_server(Path(directory)) as server:
        server.change(*(Enrol(UserGroup(f"group{n}"), "superUserGroup") for n in range(GROUPS)))
        path = Path(directory) / "users"
        path.write_text(
            "".join(f"new{n}\t/O=Grid/OU=New/CN=New User {n}\tca\tgroup{n % GROUPS}\n" for n in range(users)), "utf-8"
        )
        before, begun = processor_seconds(server.daemon.pid), time.monotonic()
        client_before = resource.getrusage(resource.RUSAGE_CHILDREN)
        argv: list[str | Path] = [our_program("cas-enroll-users"), "superUserGroup", path]
        run(argv, env=server.variables(ADMIN), timeout=10 * LIMIT_SECONDS).check()
        taken, used = time.monotonic() - begun, processor_seconds(server.daemon.pid) - before
        client_after = resource.getrusage(resource.RUSAGE_CHILDREN)
        client = client_after.ru_utime + client_after.ru_stime - client_before.ru_utime - client_before.ru_stime
    print(f"# processor seconds: server {used:.1f}, command {client:.1f}", file=sys.stderr)
    limit = LIMIT_SECONDS * users / USERS
    name = f"CAS enrol {users:,} users from a file over HTTPS"
    return [Figure(name, taken, None, f"<= {limit:.0f} s", taken <= limit, "s")]


def main() -> int:
    """Print the table; exit status 0 when every figure was reached."""
    return 0 if show(figures(*(int(word) for word in sys.argv[1:2]))) else 1


if __name__ == "__main__":
    sys.exit(main())
