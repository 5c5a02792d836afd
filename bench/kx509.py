"""Certificates for tickets over UDP, ours beside Heimdal 7's: rate, processor time, and a proxy by one command.

Both serve the same load in turn: requests of the same shape (bare RSA keys of 2048 bits, as Heimdal 7 takes no other),
made before, each sent once, a fixed number of them under way. Ours looks for replays, writes into its books and syncs
its audit; Heimdal 7 does none of these.

    python bench/kx509.py
"""

from __future__ import annotations

import os
import pickle
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pairs import Figure, alternate, command, median_ms, show
from tests.harness.ca import TestCA
from tests.harness.environment import clean_environment
from tests.harness.kca_server import kca_server
from tests.harness.kdc import heimdal_kdc, heimdal_kx509, host_name, mit_kdc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.harness.kdc import Realm

ROUNDS: Final = 7
BATCH: Final = 120
UNDER_WAY: Final = 24
ROOT: Final = Path(__file__).resolve().parent.parent
RATE_LIMIT: Final = 0.8
CPU_LIMIT: Final = 1.0
P256_LIMIT: Final = 1.2
PROXY_LIMIT: Final = 300
_OPEN: Final = '[limits]\ncertificates = 0\n[realm."{realm}"]\nbase = "/O=Grid/OU=Test"\n'
_MAKE: Final = """\
import pickle, sys
from gsi import keys
from gsi.kerberos.initiate import initiate
from gsi.keys import KeyType
from kca.protocol.client import ClientSession, rsa_key
public = [rsa_key(keys.spki_der(keys.generate_key(KeyType.RSA))) for _ in range(4)]
messages = []
for number in range(int(sys.argv[2])):
    made = initiate("kca_service", sys.argv[1], mutual=True)
    messages.append(ClientSession(made.ap_req, made.session_key).ask(public[number % 4]))
sys.stdout.buffer.write(pickle.dumps(messages))
"""


class Service(NamedTuple):
    """One that is measured: its port, its first process, and requests for it."""

    port: int
    pid: int
    messages: list[bytes]


def figures() -> list[Figure]:
    """Measure and return the figures."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kx509-bench-")))
        mit = stack.enter_context(mit_kdc(place, users={"alice": "pw"}, services=["kca_service/localhost"]))
        settings = heimdal_kx509(place, TestCA("/O=Grid/CN=Heimdal KCA"))
        hei = stack.enter_context(
            heimdal_kdc(place, users={"alice": "pw"}, services=[f"kca_service/{host_name()}"], settings=settings)
        )
        services = []
        for kind in ("rsa2048", "p256"):
            directory = place / kind
            directory.mkdir()
            server = stack.enter_context(
                kca_server(
                    directory,
                    mit,
                    server="requests_per_second = 100000",
                    rest=_OPEN.format(realm=mit.name),
                    ca=TestCA("/O=Grid/CN=KCA", key="rsa2048" if kind == "rsa2048" else "p256"),
                )
            )
            services.append(Service(server.port, server.daemon.pid, _make(mit, "localhost")))
        services.append(Service(hei.port, hei.daemon.pid, _make(hei, host_name())))
        rates, costs = _measure(services)
        found = [
            Figure(
                "kx509 over UDP, RSA 2048 CA, vs Heimdal 7", rates[0], rates[2], f">= {RATE_LIMIT} x",
                rates[0] >= RATE_LIMIT * rates[2], "/s",
            ),
            Figure(
                "kx509, processor time of one, vs Heimdal 7", costs[0], costs[2], f"<= {CPU_LIMIT} x",
                costs[0] <= CPU_LIMIT * costs[2],
            ),
            Figure(
                "kx509 over UDP, P-256 CA, vs Heimdal 7 with RSA", rates[1], rates[2], f">= {P256_LIMIT} x",
                rates[1] >= P256_LIMIT * rates[2], "/s",
            ),
        ]  # fmt: skip
        return [*found, _proxy(mit, services[1].port, place)]


def _make(realm: Realm, host: str) -> list[bytes]:
    """Make the requests of all rounds, and of one to warm up."""
    argv = [sys.executable, "-c", _MAKE, host, str(BATCH * (ROUNDS + 1))]
    env = clean_environment(realm.directory) | realm.login("alice", "pw")
    done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, check=True)
    messages: list[bytes] = pickle.loads(done.stdout)
    return messages


def _measure(services: Sequence[Service]) -> tuple[list[float], list[float]]:
    """Return the rates in one second, and the milliseconds of processor time of one certificate, in the same order."""
    rates: list[list[float]] = [[] for _ in services]
    costs: list[list[float]] = [[] for _ in services]
    for number in range(ROUNDS + 1):
        for service, rate, cost in zip(services, rates, costs, strict=True):
            messages = service.messages[number * BATCH : (number + 1) * BATCH]
            before = _processor_seconds(service.pid)
            seconds = _load(service.port, messages)
            used = _processor_seconds(service.pid) - before
            if number:
                rate.append(BATCH / seconds)
                cost.append(used / BATCH * 1000)
    return [statistics.median(one) for one in rates], [statistics.median(one) for one in costs]


def _load(port: int, messages: Sequence[bytes]) -> float:
    """Send all, never more than some under way; return the seconds until the last reply."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(10)
        made.connect(("127.0.0.1", port))
        begin = time.perf_counter()
        sent = 0
        for received in range(len(messages)):
            while sent < len(messages) and sent - received < UNDER_WAY:
                made.send(messages[sent])
                sent += 1
            if len(made.recv(65535)) < 400:
                raise RuntimeError("a request was refused")
        return time.perf_counter() - begin


def _processor_seconds(pid: int) -> float:
    """Return what a server and its children have used so far."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = 0
    for one in (pid, *map(int, children)):
        fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _proxy(realm: Realm, port: int, place: Path) -> Figure:
    """Time the command from the ticket to the proxy, keys of P-256 all the way."""
    env = clean_environment(place) | realm.login("alice", "pw")
    argv = [str(Path(sys.executable).parent / "kx509"), "-q", "-proxy", "-key-type", "p256"]
    argv += ["-s", f"localhost:{port}", "-out", str(place / "proxy")]
    (times,) = alternate(20, command(argv, env))
    value = median_ms(times)
    return Figure("kx509 -proxy, P-256", value, None, f"<= {PROXY_LIMIT} ms", value <= PROXY_LIMIT)


def main() -> int:
    """Print the table; exit status 0 when every figure was reached."""
    return 0 if show(figures()) else 1


if __name__ == "__main__":
    sys.exit(main())
