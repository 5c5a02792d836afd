"""How long a stranger waits for a no: unknown accounts, open keys and tries too many beside wrong pass phrases.

All four are asked of one server in turn, from one process; what differs by more than the machine's noise would tell
which accounts exist.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.pairs import Figure, show
from gsi.credential import parse_credential
from gsi.errors import RefusedError
from gsi.secret import Passphrase
from gsi.system.trustdir import TrustDirectory
from myproxy.client import MyProxyClient, ServerAddress
from myproxy.protocol.messages import Command, Request
from tests.harness.ca import TestCA, write_file, write_trust_dir
from tests.harness.daemons import free_port, our_server
from tests.harness.environment import clean_environment

ACCOUNTS = 16
TRIES = 4  # on one account: one fewer than are refused unjudged
CONFIG = 'accepted_credentials "*"\nauthorized_retrievers "*"\n'
WITHIN = 0.15
"""Of the time of a wrong pass phrase: what the clients of a loaded machine see of one and the same work."""


def figures() -> list[Figure]:
    """Measure, and compare with a wrong pass phrase."""
    ca = TestCA("/O=Grid/CN=CA", "p256")
    owner = parse_credential(ca.issue("/O=Grid/CN=Alice", "p256").bundle(), source="bench")
    with TemporaryDirectory() as made:
        directory = Path(made)
        trust = write_trust_dir(directory / "certificates", ca, crl=True)
        ca.issue_host().write(directory / "hostcert.pem", directory / "hostkey.pem")
        write_file(directory / "config", CONFIG.encode(), 0o600)
        port = free_port()
        names = {"X509_USER_CERT": "hostcert.pem", "X509_USER_KEY": "hostkey.pem", "X509_CERT_DIR": "certificates"}
        env = clean_environment(directory) | {name: str(directory / file) for name, file in names.items()}
        arguments: list[str | Path] = ["-c", directory / "config", "-s", directory / "store", "-p", str(port)]
        arguments += ["-l", "127.0.0.1", "-foreground"]
        anchors = TrustDirectory(str(trust)).anchors()
        address = ServerAddress.parse(f"localhost:{port}")
        stranger = MyProxyClient(address, anchors)
        with our_server("myproxy-server", arguments, env=env, port=port, directory=directory):
            for number in range(ACCOUNTS):
                for kind, words in (("sealed", "correct horse"), ("open", "")):
                    request = Request(Command.PUT, f"{kind}{number}", Passphrase(words), lifetime=timedelta(hours=1))
                    MyProxyClient(address, anchors, credential=owner).put(request, owner)
            times = _measure(stranger)
    wrong = statistics.median(times["wrong pass phrase"]) * 1000
    found = []
    for name, taken in times.items():
        ours = statistics.median(taken) * 1000
        reached = abs(ours / wrong - 1) <= WITHIN
        found.append(Figure(f"refusal of a stranger: {name}", ours, wrong, f"{1 - WITHIN} to {1 + WITHIN} x", reached))
    return found


def _measure(stranger: MyProxyClient) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    for _ in range(TRIES + 2):
        _ask(stranger, "throttled")
    for turn in range(ACCOUNTS * TRIES):
        number = turn % ACCOUNTS
        for name, username in (
            ("wrong pass phrase", f"sealed{number}"),
            ("no pass phrase on the key", f"open{number}"),
            ("unknown account", f"unknown{turn}"),
            ("too many tries", "throttled"),
        ):
            times.setdefault(name, []).append(_ask(stranger, username))
    return times


def _ask(stranger: MyProxyClient, username: str) -> float:
    started = time.perf_counter()
    try:
        stranger.authenticate(Request(Command.GET, username, Passphrase("wrong words"), lifetime=timedelta(hours=1)))
    except RefusedError:
        return time.perf_counter() - started
    raise RuntimeError(f"{username} was let in")


if __name__ == "__main__":
    sys.exit(0 if show(figures()) else 1)
