"""Running `myproxy-server`: monitors, the service manager, inetd, reloads under load, the log."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.myproxy_load import Load
from gsi.system.audit_chain import verify_file
from gsi.transport.refusals import BURST
from tests.harness.daemons import free_port
from tests.harness.run import our_program, run
from tests.interop.conftest import Grid
from tests.interop.test_myproxy_server import OPEN, Person, Site, wait_for

WAIT = 30.0


@pytest.fixture
def site(tmp_path: Path, grid: Grid) -> Site:
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    return Site(directory, grid)


def alice_of(site: Site) -> Person:
    return Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])


def fetch(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=WAIT) as answer:
        data: bytes = answer.read()
        return data


def test_monitors_hear_of_all_workers(site: Site) -> None:
    monitor = free_port()
    site.configure(OPEN + f"worker_processes 2\nmonitor_listen 127.0.0.1:{monitor}\n")
    alice = alice_of(site)
    with site.start() as daemon:
        wait_for(daemon, "listening on port")  # all workers
        assert json.loads(fetch(monitor, "/health"))["status"] == "ok"
        alice.put().check()
        for _ in range(4):
            alice.logon().check()
        assert alice.logon(stdin="something else\n").returncode
        families = {one.name: one for one in text_string_to_metric_families(fetch(monitor, "/metrics").decode())}
        decisions = {
            (one.labels["action"], one.labels["verdict"]): one.value
            for one in families["myproxy_decisions"].samples
            if one.value
        }
        assert decisions["PUT", "permit"] == 1
        assert decisions["DELEGATE", "permit"] == 4
        assert decisions["GET", "deny"] >= 1
        failures = {one.labels["reason"]: one.value for one in families["myproxy_failures"].samples}
        assert failures["authentication"] >= 1
        counts = [one for one in families["myproxy_request_seconds"].samples if one.name.endswith("_count")]
        assert {one.labels["command"]: one.value for one in counts}["PUT"] == 1
        for name in ("host_certificate_expiry_seconds", "trust_directory_age_seconds", "start_time_seconds"):
            assert families[f"myproxy_{name}"].samples[0].value > 0
        assert all(one.value == 1 for one in families["myproxy_check"].samples)
        config: list[str | Path] = ["-s", site.store, "--config", site.config_path]
        told = json.loads(run([our_program("myproxy-admin-stats"), *config, "--json"], env=site.environment).stdout)
        assert told["operations"]["PUT"] == {"permit": 1}
        assert told["workers"] == 2
        for name in ("/nothing", "/"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                fetch(monitor, name)
            assert caught.value.code == 404
            caught.value.close()
        with socket.create_connection(("127.0.0.1", monitor), WAIT) as rude:
            rude.sendall(b"POST /metrics HTTP/1.1\r\n\r\n")
            assert rude.recv(100).startswith(b"HTTP/1.1 405 ")
    for path in site.store.glob("audit*.log"):
        assert not verify_file(str(path)).findings


def test_only_loopback_for_monitors(site: Site) -> None:
    site.configure(OPEN + "monitor_listen 0.0.0.0:0\n")
    done = run([our_program("myproxy-server"), *site.arguments("-foreground")], env=site.environment)
    assert done.returncode == 1
    assert "not an address of the loopback interface" in done.stderr


@contextlib.contextmanager
def manager(site: Site) -> Iterator[socket.socket]:
    """What systemd listens on."""
    path = site.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(path))
        made.settimeout(WAIT)
        site.environment |= {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        yield made


def hear(manager: socket.socket, wanted: str) -> str:
    while wanted not in (told := manager.recv(1000).decode()):
        assert told in {"WATCHDOG=1", "READY=1\nSTATUS=serving"} or told.startswith("READY=1\nMAINPID="), told
    return told


@pytest.mark.parametrize("workers", [1, 2])
def test_the_service_manager_hears_of_every_state(site: Site, workers: int) -> None:
    site.configure(OPEN + f"worker_processes {workers}\n")
    with manager(site) as heard, site.start() as daemon:
        assert f"MAINPID={daemon.pid}\n" in hear(heard, "READY=1") + "\n"
        hear(heard, "WATCHDOG=1")
        os.kill(daemon.pid, signal.SIGHUP)
        assert "MONOTONIC_USEC=" in hear(heard, "RELOADING=1")
        hear(heard, "READY=1")
        os.kill(daemon.pid, signal.SIGTERM)
        hear(heard, "STOPPING=1")


def test_sockets_of_the_service_manager(site: Site) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        site.port = listener.getsockname()[1]
        words = [our_program("myproxy-server"), "-c", site.config_path, "-s", site.store]
        serve = " ".join(map(str, words))
        command = f"export LISTEN_PID=$$ LISTEN_FDS=1; exec 3<&0 </dev/null; exec {serve}"
        log = site.directory / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["sh", "-c", command],
                stdin=listener.fileno(),
                stdout=output,
                stderr=output,
                env=site.environment,
            )
        try:
            alice = alice_of(site)
            alice.put().check()
            alice.logon().check()
        finally:
            process.terminate()
            process.wait(WAIT)
    assert f"listening on port {site.port}" in log.read_text()


def test_a_connection_of_inetds(site: Site) -> None:
    """Standard input, output and error are the connection."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        site.port = listener.getsockname()[1]
        statuses = []

        def inetd() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    words: list[str | Path] = [our_program("myproxy-server"), "-c", site.config_path, "-s", site.store]
                    one = connection.fileno()
                    done = subprocess.run(words, stdin=one, stdout=one, stderr=one, env=site.environment, check=False)
                    statuses.append(done.returncode)

        thread = threading.Thread(target=inetd)
        thread.start()
        alice = alice_of(site)
        alice.put().check()
        alice.logon().check()
        thread.join(WAIT)
    assert statuses == [0, 0]
    assert not verify_file(str(site.store / "audit.log")).faults


@pytest.mark.parametrize("workers", [1, 2])
def test_reloads_under_load_drop_nothing(site: Site, workers: int) -> None:
    site.configure(OPEN + f"worker_processes {workers}\n")
    alice = alice_of(site)
    with site.start() as daemon:
        alice.put().check()
        load = Load(site.port, None, "correct horse")
        done = threading.Event()
        served: list[float] = []

        def logons() -> None:
            while not done.is_set():
                served.append(load.logon())  # raises when a connection is dropped

        threads = [threading.Thread(target=logons) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(6):
            os.kill(daemon.pid, signal.SIGHUP)
            deadline = time.monotonic() + WAIT
            while daemon.log().count("configuration read again") < workers * (number + 1):
                assert time.monotonic() < deadline, daemon.log()
                time.sleep(0.02)
        done.set()
        for thread in threads:
            thread.join(WAIT)
        assert len(served) >= 3
        os.kill(daemon.pid, signal.SIGTERM)
    assert sum(one["action"] == "DELEGATE" and one["verdict"] == "permit" for one in site.audit()) == len(served)
    for path in site.store.glob("audit*.log"):
        assert not verify_file(str(path)).faults


def test_an_audit_that_is_removed_while_the_server_runs(site: Site) -> None:
    """No credential leaves unless its record can be read: a new file is made; where none can be, all are refused."""
    site.configure(OPEN + "worker_processes 1\n")
    with site.start() as daemon:
        alice = alice_of(site)
        alice.put().check()
        audit = site.store / "audit.log"
        audit.unlink()
        alice.logon().check()
        assert ("DELEGATE", "permit") in [(one["action"], one["verdict"]) for one in site.audit()]
        assert "was removed while in use" in daemon.log()
        audit.unlink()
        audit.mkdir()
        assert alice.logon().returncode
        audit.rmdir()
        alice.logon().check()
        assert not verify_file(str(audit)).findings


def test_a_log_in_json_with_few_lines_about_one_source(site: Site) -> None:
    site.configure(OPEN + "log_format json\n")
    with site.start() as daemon:
        for _ in range(BURST + 5):
            with socket.create_connection(("127.0.0.1", site.port), WAIT) as rude:
                rude.sendall(b"GET / HTTP/1.0\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    while rude.recv(1000):
                        pass
        refused = alice_of(site).logon()
        os.kill(daemon.pid, signal.SIGTERM)
        wait_for(daemon, "more refusals within")
    lines = [json.loads(line) for line in daemon.log().splitlines() if line.startswith("{")]
    assert sum("TLS" in line["message"] for line in lines) <= BURST
    (identity,) = [line for line in refused.stderr.splitlines() if "request id: " in line]
    request = identity.rpartition(" ")[2]
    assert any(line.get("request") == request for line in lines) or len(lines) >= BURST


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_that_fails_is_counted(site: Site, workers: int) -> None:
    monitor = free_port()
    served = f"{OPEN}worker_processes {workers}\nmonitor_listen 127.0.0.1:{monitor}\n"
    site.configure(served)

    def count(name: str) -> float:
        families = {one.name: one for one in text_string_to_metric_families(fetch(monitor, "/metrics").decode())}
        return families[f"myproxy_{name}"].samples[0].value

    with site.start() as daemon:
        wait_for(daemon, "listening on port")
        assert json.loads(fetch(monitor, "/health"))["status"] == "ok"
        for number in (1, 2):
            site.configure(served + "audit_log /nonexistent/audit.log\n")
            os.kill(daemon.pid, signal.SIGHUP)
            wait_for(daemon, "the old one stays: cannot open the audit file", times=number)
            assert count("reload_failures") == number
        assert count("reloads") == 0
        assert json.loads(fetch(monitor, "/health"))["status"] == "ok"
        site.configure(served)
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(daemon, "configuration read again", times=workers)
        assert (count("reloads"), count("reload_failures")) == (workers, 2)
