"""Twenty users in browsers at once: log on to the portal and fetch a proxy, each once in a while.

Portal and MyProxy server are the real programs on this machine, with the default seals (argon2id) and two portal
workers; the users are threads with a TLS connection each, and count from the first page to the last byte of the proxy.
Beside the wall clock, which others on the machine share, the processor time of one such visit is told, all processes
of ours together: two cores serve 2/x of them a second. There is no peer.

    python bench/portal.py
"""

from __future__ import annotations

import http.client
import re
import ssl
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.cas_server import processor_seconds
from bench.pairs import Figure, show
from tests.harness.ca import TestCA, write_file, write_trust_dir
from tests.harness.daemons import free_port, our_server
from tests.harness.environment import UserEnvironment, clean_environment
from tests.harness.portal import start_portal

USERS: Final = 20
PAUSE_SECONDS: Final = 5.0
"""Between one rush and the next: users who come by twenties have been elsewhere before."""
LIMIT_SECONDS: Final = 1.0
SECRET: Final = "correct horse"
TOKEN: Final = re.compile(rb'name="form_token" value="([0-9a-f]+)"')
OPEN: Final = 'accepted_credentials "*"\nauthorized_retrievers "*"\n'


class Visit:
    """One user's browser."""

    def __init__(self, port: int, username: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._http = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
        self._headers = {"Host": f"localhost:{port}", "Origin": f"https://localhost:{port}"}
        self._cookies: dict[str, str] = {}
        self._username = username

    def run(self) -> float:
        """Log on and fetch; return the seconds."""
        begun = time.perf_counter()
        token = self._token(self._ask("GET", "/logon"))
        self._ask("POST", "/logon", form_token=token, username=self._username, passphrase=SECRET)
        token = self._token(self._ask("GET", "/fetch"))
        if b"PRIVATE KEY" not in self._ask("POST", "/fetch", form_token=token, hours="4"):
            raise RuntimeError("no proxy")
        self._http.close()
        return time.perf_counter() - begun

    def _ask(self, method: str, path: str, **fields: str) -> bytes:
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        headers = self._headers | {"Cookie": cookies}
        if fields:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self._http.request(method, path, urlencode(fields) if fields else None, headers)
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status not in {200, 303}:
            raise RuntimeError(f"{path}: status {answer.status}")
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return body

    @staticmethod
    def _token(page: bytes) -> str:
        found = TOKEN.search(page)
        if found is None:
            raise RuntimeError("no form")
        return found[1].decode()


def figures(rounds: int = 3) -> list[Figure]:
    """Measure and return the figures."""
    ca = TestCA("/O=Grid/CN=Bench CA")
    host = ca.issue_host("localhost")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o700)
        trust = write_trust_dir(place / "trust", ca, crl=True)
        host.write(place / "host.pem", place / "host.key")
        write_file(place / "server.config", OPEN.encode(), 0o600)
        port = free_port()
        env = clean_environment(place) | {
            "X509_USER_CERT": str(place / "host.pem"),
            "X509_USER_KEY": str(place / "host.key"),
            "X509_CERT_DIR": str(trust),
        }
        words: list[str | Path] = ["-c", place / "server.config", "-s", place / "store", "-l", "127.0.0.1"]
        server = our_server(
            "myproxy-server", [*words, "-p", str(port), "-foreground"], env=env, port=port, directory=place
        )
        with server as daemon, start_portal(place, host, trust, server_port=port) as portal:
            for number in range(USERS):
                user = UserEnvironment(place / f"home{number}", trust_dir=trust)
                user.install_user(ca.issue(f"/O=Grid/CN=User {number}"))
                user.variables |= {"MYPROXY_SERVER": "localhost", "MYPROXY_SERVER_PORT": str(port)}
                user.ours("myproxy-init", "-S", "-l", f"user{number}", stdin=f"{SECRET}\n").check()
            pids = (daemon.pid, portal.daemon.pid)
            _visit_all(portal.daemon.port)  # to warm up
            before = sum(map(processor_seconds, pids))
            taken: list[float] = []
            for _ in range(rounds):
                time.sleep(PAUSE_SECONDS)
                taken += _visit_all(portal.daemon.port)
            cost = (sum(map(processor_seconds, pids)) - before) / len(taken)
    slowest = statistics.quantiles(taken, n=20)[-1]
    return [
        Figure(
            f"portal: log on and fetch, {USERS} users at once, p95",
            slowest * 1000,
            None,
            f"<= {LIMIT_SECONDS * 1000:.0f} ms",
            slowest <= LIMIT_SECONDS,
        ),
        Figure("portal: processor time of one such visit", cost * 1000, None, "told only", reached=True),
    ]


def _visit_all(port: int) -> list[float]:
    """Let every user visit once, all at the same time; return their seconds."""
    taken: list[float] = []
    threads = [
        threading.Thread(target=lambda number=number: taken.append(Visit(port, f"user{number}").run()))
        for number in range(USERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(taken) != USERS:
        raise RuntimeError("a visit has failed")
    return taken


def main() -> int:
    """Print the table; exit status 0 when every figure was reached."""
    return 0 if show(figures()) else 1


if __name__ == "__main__":
    sys.exit(main())
