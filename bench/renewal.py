"""Ten thousand credentials due within one hour: the renewal agent, on two cores.

Two runs. The agent's own work: 10,000 entries, an hour of due times, with a source that signs at once; how long the
processor needs for all of them is what the hour must hold. And the whole of it at the due rate: for a minute, as many
proxies come due as in a minute of such an hour (2.78 a second), and the agent renews them from a real myproxy-server
with new RSA keys of 2048 bits; each must be renewed within seconds of its time. The processor time of agent and server
together for one renewal tells how many two cores can do in an hour. There is no peer.

    python bench/renewal.py
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pairs import Figure, show
from gsi.credential import Credential, parse_credential
from gsi.secret import Passphrase
from gsi.system.trustdir import TrustDirectory
from myproxy.client import MyProxyClient, ServerAddress
from myproxy.protocol.messages import Command, Request
from myproxy.renewal.agent import Agent
from myproxy.renewal.config import load_config
from myproxy.renewal.schedule import Life, renewal_time
from tests.harness.ca import Issued, TestCA, write_file, write_trust_dir
from tests.harness.daemons import MYPROXY_CONFIG, free_port, our_server
from tests.harness.environment import clean_environment
from tests.harness.run import our_program

ENTRIES: Final = 10_000
SECONDS: Final = 60
HOUR: Final = 3600
CORES: Final = 2
LATE_SECONDS: Final = 30.0
"""The most that a renewal may come after its time: a thousandth of the half life of a proxy of twelve hours."""


def figures() -> list[Figure]:
    """Measure both."""
    with tempfile.TemporaryDirectory(prefix="bench-renewal-") as name:
        place = Path(name)
        return [*measure_schedule(place / "many"), *measure_rate(place / "rate")]


def measure_schedule(place: Path) -> list[Figure]:
    """10,000 entries through an hour of a clock that we move."""
    place.mkdir()
    ca = TestCA("/O=Grid/CN=CA", "p256")
    trust = write_trust_dir(place / "certificates", ca)
    now = datetime.now(UTC).replace(microsecond=0)
    # Halves of their lives lie within the next hour.
    old = [
        ca.issue(f"/O=Grid/CN=U{n}", "p256", not_before=now - timedelta(hours=6), not_after=now + timedelta(hours=7))
        for n in range(4)
    ]
    new = [
        ca.issue(f"/O=Grid/CN=U{n}", "p256", not_before=now - timedelta(hours=1), not_after=now + timedelta(days=20))
        for n in range(4)
    ]
    fresh = [parse_credential(issued.bundle(), source="new") for issued in new]
    entries = place / "entries"
    entries.mkdir()
    (place / "files").mkdir()
    for part in range(10):
        text = ""
        for number in range(part, ENTRIES, 10):
            path = place / "files" / f"{number}.pem"
            write_file(path, old[number % 4].bundle(), 0o600)
            text += (
                f'[credential.e{number}]\nsource = "s"\npath = "{path}"\nusername = "u{number % 4}"\nproof = "trust"\n'
            )
        write_file(entries / f"{part}.toml", text.encode(), 0o600)
    config = place / "renewd.toml"
    write_file(
        config,
        f'state = "{place}/state"\ntrust = "{trust}"\nentries = "{entries}"\n'
        '[source.s]\nserver = "localhost"\ncertificate = "/none.pem"\n'.encode(),
        0o600,
    )
    clock = [now]
    late: list[float] = []

    def fetch(entry: object, *_more: object, **_others: object) -> Credential:
        username = str(getattr(entry, "username", ""))
        return fresh[int(username[1:])]

    begun = time.process_time()
    agent = Agent(lambda: load_config(str(config)), clock=lambda: clock[0], fetch_new=fetch)
    with agent.open():
        agent._take_entries()  # noqa: SLF001  # as `run` does, whose clock nobody moves
        started = time.process_time() - begun
        due = {name: slot.due for name, slot in agent.slots.items()}
        begun = time.process_time()
        while clock[0] < now + timedelta(hours=2):
            clock[0] += timedelta(seconds=10)
            agent.step()
            agent.settle()
            agent.step()
        worked = time.process_time() - begun
        for name, slot in agent.slots.items():
            when = due[name]
            assert when is not None
            assert slot.note.renewed, name
            late.append(slot.note.renewed - max(when, now).timestamp())
    return [
        Figure("start with 10,000 entries, processor seconds", started, None, "<= 60", started <= 60, unit="s"),
        Figure(
            "10,000 renewals but for the source, processor seconds", worked, None, "<= 720", worked <= 720, unit="s"
        ),
        Figure("the latest of them after its time", max(late), None, "<= 30", max(late) <= 30, unit="s"),
    ]


def measure_rate(place: Path) -> list[Figure]:
    """A minute of such an hour with the real programs."""
    place.mkdir(mode=0o700)
    ca = TestCA("/O=Grid/CN=CA")
    trust = write_trust_dir(place / "certificates", ca)
    ca.issue_host().write(place / "hostcert.pem", place / "hostkey.pem")
    ca.issue("/O=Grid/CN=Agent").write(place / "agent.pem", place / "agent.key")
    write_file(place / "server.config", MYPROXY_CONFIG.encode(), 0o600)
    port = free_port()
    env = clean_environment(place) | {
        "X509_USER_CERT": str(place / "hostcert.pem"),
        "X509_USER_KEY": str(place / "hostkey.pem"),
        "X509_CERT_DIR": str(trust),
    }
    arguments: list[str | Path] = ["-c", place / "server.config", "-s", place / "store", "-l", "127.0.0.1"]
    arguments += ["-p", str(port), "-foreground"]
    alice = ca.issue("/O=Grid/CN=Alice")
    with our_server("myproxy-server", arguments, env=env, port=port, directory=place) as server:
        client = MyProxyClient(
            ServerAddress.parse(f"localhost:{port}"),
            TrustDirectory(str(trust)).anchors(),
            credential=parse_credential(alice.bundle(), source="alice"),
        )
        request = Request(Command.PUT, "alice", Passphrase(b""), lifetime=timedelta(hours=12), renewer="*/CN=Agent")
        client.put(request, parse_credential(alice.bundle(), source="alice"))
        count = round(ENTRIES / HOUR * SECONDS)
        lead = 15  # seconds for the agent to start
        text = f'state = "{place}/state"\ntrust = "{trust}"\n[source.s]\nserver = "localhost:{port}"\n'
        text += f'certificate = "{place}/agent.pem"\nkey = "{place}/agent.key"\n'
        start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=lead)
        due: dict[str, datetime] = {}
        for number in range(count):
            path = place / f"{number}.pem"
            name, when = _write_due(alice, path, start + timedelta(seconds=number * SECONDS / count))
            due[name] = when
            text += f'[credential.{name}]\nsource = "s"\npath = "{path}"\nusername = "alice"\nlifetime = "11h"\n'
        write_file(place / "renewd.toml", text.encode(), 0o600)
        command = [our_program("myproxy-renewd"), "-c", str(place / "renewd.toml")]
        before = _seconds_of(server.pid)
        with open(place / "renewd.log", "wb") as log:
            process = subprocess.Popen(command, env=env, stderr=log)
            time.sleep(max(0.0, (max(due.values()) - datetime.now(UTC)).total_seconds()) + 5)
            mine = _seconds_of(process.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        spent = (mine + _seconds_of(server.pid) - before) / count
        done = subprocess.run([*command, "--status", "--json"], env=env, capture_output=True, check=False)
        rows = {row["name"]: row for row in json.loads(done.stdout)}
    lates = [(rows[name]["renewed"] or float("inf")) - when.timestamp() for name, when in due.items()]
    hourly = HOUR * CORES / spent
    shutil.rmtree(place / "store", ignore_errors=True)
    return [
        Figure(
            f"{count} real renewals in {SECONDS} s: the latest",
            max(lates),
            None,
            "<= 30",
            max(lates) <= LATE_SECONDS,
            "s",
        ),
        Figure("processor time of one, agent and server", spent * 1000, None, "<= 720", spent <= 0.72),
        Figure("renewals that two cores can do in an hour", hourly, None, ">= 10000", hourly >= ENTRIES, unit=""),
    ]


def _write_due(alice: Issued, path: Path, wanted: datetime) -> tuple[str, datetime]:
    """Write a proxy of Alice's; return a name for it by which it is renewed at this moment, and when exactly."""
    wanted = wanted.replace(microsecond=0)
    begin, end = wanted - timedelta(hours=5), wanted + timedelta(hours=5)
    issued = alice.proxy(not_before=begin, not_after=end)
    write_file(path, issued.bundle(), 0o600)
    life = Life(begin, end, hashlib.sha256(issued.der).hexdigest())
    for number in itertools.count():
        due = renewal_time(life, name := f"{path.stem}-{number}")
        if abs(due - wanted) <= timedelta(seconds=1):
            return name, due
    raise AssertionError


def _seconds_of(pid: int) -> float:
    """Processor time of a process and of what it started."""
    total = 0.0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(entry) == pid or int(fields[1]) == pid:
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


if __name__ == "__main__":
    sys.exit(0 if show(figures()) else 1)
