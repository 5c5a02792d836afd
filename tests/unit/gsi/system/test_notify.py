"""The service manager's variables: taken once, believed only when they are meant for this process."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gsi.system.notify import Manager, take_listeners


def test_listeners_are_for_the_process_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for pid, number, found in (
        (str(os.getpid()), "2", [3, 4]),
        ("1", "2", []),
        (str(os.getpid()), "-1", []),
        (str(os.getpid()), "many", []),
        (str(os.getpid()), "100000", list(range(3, 67))),
    ):
        monkeypatch.setenv("LISTEN_PID", pid)
        monkeypatch.setenv("LISTEN_FDS", number)
        assert take_listeners() == found
        assert "LISTEN_FDS" not in os.environ
    assert take_listeners() == []


@pytest.mark.parametrize("abstract", [False, True])
def test_telling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, abstract: bool) -> None:
    name = f"@gsi-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0" + name[1:] if abstract else name)
        heard.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        manager = Manager.from_environment()
        assert manager.watchdog_seconds == 1.5
        manager.tell("READY=1", "STATUS=serving")
        assert heard.recv(100) == b"READY=1\nSTATUS=serving"
        manager.tell_reloading()
        assert heard.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    manager.tell("nobody hears this")


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    manager = Manager.from_environment()
    assert manager.watchdog_seconds is None
    manager.tell("READY=1")
