"""Starting and ending services: whoever was started is ended, whatever happens, and killed if need be."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from gsi.errors import ConfigError, StorageError, TransportError
from gsi.sandbox import services
from gsi.sandbox.plan import Service
from gsi.sandbox.services import Health, Launch, Started, end, look
from gsi.sandbox.vo import VO, Person, free_port

# Listens on a port; writes its process id; ends at SIGTERM, or not; may leave a worker behind that does not.
PROGRAM = """
import os, signal, socket, sys
port, pid_path, manner = sys.argv[1:]
if manner == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if manner == "parent" and os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pid_path += ".worker"
open(pid_path + ".new", "w").write(str(os.getpid()))
os.rename(pid_path + ".new", pid_path)
listening = None if pid_path.endswith(".worker") else socket.create_server(("127.0.0.1", int(port)))
while True:
    signal.pause()
"""


def _vo(root: Path) -> VO:
    someone = Person("alice", root, {"PATH": "/usr/bin:/bin"})
    return VO(root, root, root, root / "cert", root / "key", {"alice": someone})


def _service(root: Path, name: str, manner: str = "good") -> Service:
    port = free_port()
    argv = (sys.executable, "-c", PROGRAM, str(port), str(root / f"{name}.pid"), manner)
    return Service(name, argv, {}, "listens", port=port)


def _runs(root: Path, name: str) -> bool:
    try:
        state = Path(f"/proc/{int((root / f'{name}.pid').read_text())}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@contextlib.contextmanager
def _running(wanted: Sequence[Service], root: Path) -> Iterator[list[Started]]:
    launch = Launch(wanted, _vo(root), {})
    try:
        yield launch.wait_for()
    finally:
        launch.end()


def test_services_run_until_the_end(tmp_path: Path) -> None:
    with _running([_service(tmp_path, "one"), _service(tmp_path, "two")], tmp_path) as started:
        assert [one.name for one in started] == ["one", "two"]
        assert [look(one) for one in started] == [Health.UP, Health.UP]
        assert started[0].place == f"127.0.0.1:{started[0].port}"
    assert [look(one) for one in started] == [Health.DOWN, Health.DOWN]
    assert not _runs(tmp_path, "one")
    assert not _runs(tmp_path, "two")


def test_who_does_not_end_is_killed_and_keeps_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "STOP_SECONDS", 0.05)
    with _running([_service(tmp_path, "stubborn", "stubborn"), _service(tmp_path, "good")], tmp_path):
        assert _runs(tmp_path, "stubborn")
    assert not _runs(tmp_path, "stubborn")
    assert not _runs(tmp_path, "good")


def test_workers_of_one_that_was_killed_are_ended(tmp_path: Path) -> None:
    with _running([_service(tmp_path, "main", "parent")], tmp_path) as (started,):
        worker = tmp_path / "main.pid.worker"
        while not worker.exists():
            time.sleep(0.01)
        worker.rename(tmp_path / "worker.pid")
        os.kill(started.pid, signal.SIGKILL)
        os.waitpid(started.pid, 0)
        assert look(started) is Health.DOWN
        assert _runs(tmp_path, "worker")
    while _runs(tmp_path, "worker"):  # killed; whoever inherits it buries it
        time.sleep(0.01)


def test_a_process_that_began_later_is_somebody_else(tmp_path: Path) -> None:
    with _running([_service(tmp_path, "one")], tmp_path) as (started,):
        former = dataclasses.replace(started, began=started.began - 1)
        assert look(former) is Health.DOWN
        end([former])
        assert look(started) is Health.UP


def test_one_that_runs_and_does_not_listen_is_silent(tmp_path: Path) -> None:
    with _running([_service(tmp_path, "one")], tmp_path) as (started,):
        assert look(dataclasses.replace(started, port=free_port())) is Health.SILENT


def test_a_port_in_use_is_named_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        early = _service(tmp_path, "one")
        service = dataclasses.replace(early, port=port, prepare=lambda _exports: pytest.fail("made"))
        with pytest.raises(TransportError, match=f"127.0.0.1:{port} of one is in use"):
            Launch([early, service], _vo(tmp_path), {})
    assert not _runs(tmp_path, "one")


def test_what_a_service_needs_is_made_before_it_starts(tmp_path: Path) -> None:
    made = tmp_path / "made"
    plain = _service(tmp_path, "one")
    argv = ("sh", "-c", f'test "$(cat {made}) $WHERE" = "there there" && exec "$@"', "sh", *plain.argv)

    def prepare(exports: Mapping[str, str]) -> None:
        made.write_text(exports["WHERE"])

    service = dataclasses.replace(plain, argv=argv, prepare=prepare, variables=("WHERE", "WHY"))
    launch = Launch([service], _vo(tmp_path), {"WHERE": "there"})
    try:
        launch.wait_for()
    finally:
        launch.end()


def test_nobody_waits_for_who_takes_long(tmp_path: Path) -> None:
    """One is up while another is still prepared; once it is over, that one does not start any more."""
    begun, go_on = threading.Event(), threading.Event()

    def prepare(_exports: Mapping[str, str]) -> None:
        begun.set()
        go_on.wait(10)

    slow = dataclasses.replace(_service(tmp_path, "slow"), prepare=prepare)
    noted: list[str] = []
    wanted = [_service(tmp_path, "one"), slow, _service(tmp_path, "last")]
    launch = Launch(wanted, _vo(tmp_path), {}, lambda one: noted.append(one.name))
    told: list[str] = []
    for _ in range(2):
        assert [one.name for one in launch.wait_for({"one"}, lambda one: told.append(one.name))] == ["one"]
    assert told == noted == ["one"]
    assert begun.wait(10)
    ending = threading.Thread(target=launch.end)
    ending.start()
    while not launch._ended.is_set():
        time.sleep(0.01)
    go_on.set()
    ending.join(10)
    assert noted == ["one"]
    assert [_runs(tmp_path, name) for name in ("one", "slow", "last")] == [False, False, False]


def test_at_leisure_each_listens_before_the_next_is_made(tmp_path: Path) -> None:
    first, second = _service(tmp_path, "one"), _service(tmp_path, "two")

    def prepare(_exports: Mapping[str, str]) -> None:
        socket.create_connection(("127.0.0.1", first.port or 0), timeout=10).close()

    launch = Launch([first, dataclasses.replace(second, prepare=prepare)], _vo(tmp_path), {}, leisurely=True)
    try:
        assert [one.name for one in launch.wait_for()] == ["one", "two"]
    finally:
        launch.end()


def test_at_leisure_one_that_ends_is_told_all_the_same(tmp_path: Path) -> None:
    gone = Service("gone", ("sh", "-c", "exit 3"), {}, "", free_port())
    launch = Launch([gone, _service(tmp_path, "two")], _vo(tmp_path), {}, leisurely=True)
    with pytest.raises(TransportError, match="gone ended with status 3"):
        launch.wait_for()
    launch.end()
    assert not _runs(tmp_path, "two")


def test_one_that_cannot_be_noted_does_not_stay(tmp_path: Path) -> None:
    def fail(_started: Started) -> None:
        raise StorageError("the disk is full")

    launch = Launch([_service(tmp_path, "one")], _vo(tmp_path), {}, fail)
    with pytest.raises(StorageError, match="the disk is full"):
        launch.wait_for()
    launch.end()
    assert not _runs(tmp_path, "one")


def test_when_it_cannot_be_made_the_others_are_ended(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = f"echo $$ > {tmp_path}/one.pid; echo begun > {fifo}; exec sleep 60"
    first = Service("one", ("sh", "-c", script), {}, "", free_port())

    def fail(_exports: Mapping[str, str]) -> None:
        assert fifo.read_text() == "begun\n"
        raise ConfigError("no room")

    second = Service("two", ("true",), {}, "", prepare=fail)
    launch = Launch([first, second], _vo(tmp_path), {})
    with pytest.raises(ConfigError, match="no room"):
        launch.wait_for({"two"})
    launch.end()
    assert not _runs(tmp_path, "one")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        shutil.Error([("a", "b", "[Errno 28] No space left on device")]),
    ],
)
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, error: OSError) -> None:
    def fail(_exports: Mapping[str, str]) -> None:
        raise error

    launch = Launch([Service("one", ("true",), {}, "", prepare=fail)], _vo(tmp_path), {})
    with pytest.raises(TransportError, match=r"what one needs cannot be made: \[Errno 28\] No space left on device$"):
        launch.wait_for()
    launch.end()


def test_a_service_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    launch = Launch(
        [Service("gone", ("sh", "-c", "echo the disk is full; exit 3"), {}, "", free_port())], _vo(tmp_path), {}
    )
    with pytest.raises(TransportError, match="gone ended with status 3") as caught:
        launch.wait_for()
    assert "the disk is full" in str(caught.value.hint)
