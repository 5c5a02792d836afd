"""Sockets of the service manager: each is taken for the place of the configuration that it is bound to, or for none."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gsi.errors import ConfigError
from gsi.transport.activation import Given
from gsi.transport.listening import ManagedSocket


@pytest.fixture
def give() -> Iterator[Callable[..., socket.socket]]:
    """Makes sockets, as a service manager does."""
    made: list[socket.socket] = []

    def make(family: int, kind: int, place: object, *, dual: bool = False, listening: bool = True) -> socket.socket:
        one = socket.socket(family, kind)
        made.append(one)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        one.bind(place)  # type: ignore[arg-type]  # of each family its own
        if kind == socket.SOCK_STREAM and listening:
            one.listen()
        return one

    yield make
    for one in made:
        one.close()


def taken(*sockets: socket.socket) -> Given:
    return Given([os.dup(one.fileno()) for one in sockets])


def port_of(one: socket.socket) -> int:
    port: int = one.getsockname()[1]
    return port


def test_each_place_gets_its_own(give: Callable[..., socket.socket], tmp_path: Path) -> None:
    four = give(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
    port = port_of(four)
    six = give(socket.AF_INET6, socket.SOCK_STREAM, ("::1", port))
    datagrams = give(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", port))
    unix = give(socket.AF_UNIX, socket.SOCK_STREAM, str(tmp_path / "s"))
    with taken(four, six, datagrams, unix) as given:
        assert given.take(f"127.0.0.2:{port}") == []
        assert given.take("/elsewhere") == []
        (one,) = given.take_datagrams(f"*:{port}")
        assert one.type == socket.SOCK_DGRAM
        found = given.listen(f"*:{port}")
        assert [each.family for each in found] == [socket.AF_INET, socket.AF_INET6]
        assert all(each.proto == socket.IPPROTO_TCP and not each.get_inheritable() for each in found)
        (path,) = given.listen(str(tmp_path / "s"))
        for each in (one, path, *found):
            assert isinstance(each, ManagedSocket)
            assert not each.getblocking()
            each.close()


def test_names_stand_for_their_addresses(give: Callable[..., socket.socket]) -> None:
    four = give(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
    with taken(four) as given:
        given.take(f"localhost:{port_of(four)}")[0].close()
    with pytest.raises(ConfigError, match="cannot listen"), taken(four) as given:
        given.listen(f"nobody.invalid:{port_of(four)}")


def test_what_the_configuration_does_not_name_is_refused(give: Callable[..., socket.socket]) -> None:
    """A unit must not open to the world what the configuration keeps on this machine."""
    four = give(socket.AF_INET, socket.SOCK_STREAM, ("0.0.0.0", 0))
    port = port_of(four)
    with (
        pytest.raises(ConfigError, match=rf"manager listens on 0\.0\.0\.0:{port}, and the configuration does not"),
        taken(four) as given,
    ):
        assert given.take(f"127.0.0.1:{port}") == []
    with pytest.raises(ZeroDivisionError), taken(four):
        raise ZeroDivisionError  # what went wrong first is what is told


def test_a_socket_whose_name_is_gone_is_not_used(give: Callable[..., socket.socket], tmp_path: Path) -> None:
    unix = give(socket.AF_UNIX, socket.SOCK_STREAM, str(tmp_path / "s"))
    (tmp_path / "s").unlink()
    with pytest.raises(ConfigError, match="does not"), taken(unix) as given:
        assert given.take(str(tmp_path / "s")) == []


def test_what_is_no_listening_socket(give: Callable[..., socket.socket], tmp_path: Path) -> None:
    not_listening = give(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0), listening=False)
    unix = give(socket.AF_UNIX, socket.SOCK_DGRAM, str(tmp_path / "d"))
    dual = give(socket.AF_INET6, socket.SOCK_STREAM, ("::", 0), dual=True)
    for one, why in ((not_listening, "is no socket"), (unix, "is no socket"), (dual, "IPv4 on an IPv6")):
        with pytest.raises(ConfigError, match=why):
            taken(one)
    with (tmp_path / "file").open("w") as file, pytest.raises(ConfigError, match="cannot be listened on"):
        Given([os.dup(file.fileno())])


def test_without_a_manager_sockets_are_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    tmp_path.chmod(0o755)
    with Given.from_environment() as given:
        (tcp,) = given.listen("127.0.0.1:0")
        (unix,) = given.listen(str(tmp_path / "s"), mode=0o640)
        assert given.take_datagrams("*:9878") == []
    with tcp, unix:
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o640
        assert not isinstance(unix, ManagedSocket)
