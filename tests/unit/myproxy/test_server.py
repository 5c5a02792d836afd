"""A worker's reloads: beside the loop, all or nothing, and what they replace is put away when nobody uses it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gsi.errors import ConfigError
from myproxy import server as room
from myproxy.equipment import Equipment
from myproxy.server import MyProxyServer, ServerOptions, load_setup
from myproxy.service import MyProxyService
from myproxy.supervision import ServerFactory
from tests.harness.ca import TestCA, write_file, write_trust_dir

CONFIG = 'accepted_credentials "*"\nauthorized_retrievers "*"\n'
WAIT = 30.0


class Key:
    """Stands for an authority with a key that has to be put away."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerOptions:
    ca = TestCA("/O=Grid/CN=CA", "p256")
    ca.issue_host().write(tmp_path / "hostcert.pem", tmp_path / "hostkey.pem")
    monkeypatch.setenv("X509_USER_CERT", str(tmp_path / "hostcert.pem"))
    monkeypatch.setenv("X509_USER_KEY", str(tmp_path / "hostkey.pem"))
    monkeypatch.setenv("X509_CERT_DIR", str(write_trust_dir(tmp_path / "certificates", ca)))
    write_file(tmp_path / "config", CONFIG.encode(), 0o600)
    return ServerOptions(config_path=str(tmp_path / "config"), storage=str(tmp_path / "store"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Key]:
    """The keys of the authorities, in the order in which these were made."""
    keys: list[Key] = []

    def make(*_arguments: object) -> Key:
        keys.append(Key())
        return keys[-1]

    monkeypatch.setattr(room, "make_authority", make)
    return keys


@pytest.fixture
def server(options: ServerOptions, made: list[Key]) -> Iterator[MyProxyServer]:
    factory = ServerFactory(options)
    assert [key.closed for key in made] == [1]  # of the server that is only tried
    made.clear()
    running = factory.make()
    yield running
    running.close()
    assert [key.closed for key in made] == [1] * len(made)


def configure(options: ServerOptions, text: str) -> None:
    write_file(Path(options.config_path), (CONFIG + text).encode(), 0o600)


def test_the_loop_goes_on_while_files_are_read(
    server: MyProxyServer, options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = threading.Event()

    def load_slowly(options: ServerOptions) -> object:
        assert turned.wait(WAIT), "the loop stands still"
        return load_setup(options)

    async def body() -> int:
        monkeypatch.setattr(room, "load_setup", load_slowly)
        configure(options, "max_connections 77\n")
        reload = asyncio.get_running_loop().create_task(server.reload())
        await asyncio.sleep(0)
        before = server.limits.connections
        turned.set()
        await reload
        return before

    assert asyncio.run(body()) != 77
    assert server.limits.connections == 77


def test_the_old_key_is_put_away(server: MyProxyServer, made: list[Key]) -> None:
    asyncio.run(server.reload())
    server._executor.submit(int).result(WAIT)
    old, new = made
    _wait_for(lambda: old.closed == 1)
    assert new.closed == 0


def test_a_reload_that_fails_keeps_the_old_key(server: MyProxyServer, options: ServerOptions, made: list[Key]) -> None:
    configure(options, "audit_log /nonexistent/audit.log\nmax_connections 77\n")
    with pytest.raises(ConfigError, match="the old one stays: cannot open the audit file"):
        asyncio.run(server.reload())
    assert [key.closed for key in made] == [0, 1]
    assert server.limits.connections != 77


def _wait_for(condition: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(3000):
        if condition():
            return
        done.wait(0.01)
    raise AssertionError("it does not come to that")


def test_equipment_is_put_away_behind_its_last_user() -> None:
    service = cast("MyProxyService", SimpleNamespace())
    gone: list[MyProxyService] = []
    equipment = Equipment(cast("room.ServerSetup", None), limits=None, tls=None, service=service)  # type: ignore[arg-type]  # not looked at
    with equipment.in_use() as first, equipment.in_use() as second:
        assert first is second is service
    assert not gone
    with equipment.in_use():
        with equipment.in_use():
            equipment.retire(gone.append)
        assert not gone
    assert gone == [service]
    with equipment.in_use():  # a connection that was accepted before and comes only now
        pass
    assert gone == [service]
