"""Starting and ending services: whoever was started is ended, whatever happens, and killed if need be."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gsi.errors import ConfigError, TransportError
from gsi.sandbox import services
from gsi.sandbox.plan import Service
from gsi.sandbox.vo import VO, Person

# Listens on a free port; writes port and process id; ends at SIGTERM, or not.
PROGRAM = """
import os, signal, socket, sys
port_path, pid_path, stubborn = sys.argv[1:]
if stubborn == "yes":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listening = socket.create_server(("127.0.0.1", 0))
open(pid_path, "w").write(str(os.getpid()))
open(port_path + ".new", "w").write(str(listening.getsockname()[1]))
os.rename(port_path + ".new", port_path)
while True:
    signal.pause()
"""


def _vo(root: Path) -> VO:
    someone = Person("alice", root, {"PATH": "/usr/bin:/bin"})
    return VO(root, root, root, root / "cert", root / "key", {"alice": someone})


def _service(root: Path, name: str, *, stubborn: str = "no") -> Service:
    port, pid = root / f"{name}.port", root / f"{name}.pid"
    argv = (sys.executable, "-c", PROGRAM, str(port), str(pid), stubborn)
    return Service(name, argv, {}, "listens", port_path=port)


def _is_running(root: Path, name: str) -> bool:
    try:
        os.kill(int((root / f"{name}.pid").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def test_services_run_until_the_end(tmp_path: Path) -> None:
    with services.running([_service(tmp_path, "one"), _service(tmp_path, "two")], _vo(tmp_path)) as ports:
        assert sorted(ports) == ["one", "two"]
        assert _is_running(tmp_path, "one")
        assert _is_running(tmp_path, "two")
    assert not _is_running(tmp_path, "one")
    assert not _is_running(tmp_path, "two")


def test_who_does_not_end_is_killed_and_keeps_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "STOP_SECONDS", 0.05)
    started = [_service(tmp_path, "stubborn", stubborn="yes"), _service(tmp_path, "good")]
    with services.running(started, _vo(tmp_path)):
        assert _is_running(tmp_path, "stubborn")
    assert not _is_running(tmp_path, "stubborn")
    assert not _is_running(tmp_path, "good")


def test_what_a_service_needs_is_made_before_it_starts(tmp_path: Path) -> None:
    made = tmp_path / "made"
    plain = _service(tmp_path, "one")
    needy = Service("one", ("sh", "-c", f'test -e {made} && exec "$@"', "sh", *plain.argv), {}, "", plain.port_path,
                    prepare=made.touch)  # fmt: skip
    with services.running([needy], _vo(tmp_path)) as ports:
        assert ports["one"] > 0


def test_when_it_cannot_be_made_the_others_are_ended(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = f"echo $$ > {tmp_path}/one.pid; echo begun > {fifo}; exec sleep 60"
    first = Service("one", ("sh", "-c", script), {}, "", tmp_path / "one.port")

    def fail() -> None:
        assert fifo.read_text() == "begun\n"
        raise ConfigError("no room")

    second = Service("two", ("true",), {}, "", prepare=fail)
    with pytest.raises(ConfigError, match="no room"), services.running([first, second], _vo(tmp_path)):
        pass
    assert not _is_running(tmp_path, "one")


def test_a_service_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    service = Service("gone", ("sh", "-c", "echo the disk is full; exit 3"), {}, "", tmp_path / "port")
    with (
        pytest.raises(TransportError, match="gone ended with status 3") as caught,
        services.running([service], _vo(tmp_path)),
    ):
        pass
    assert "the disk is full" in str(caught.value.hint)
