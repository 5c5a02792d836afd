from __future__ import annotations

import contextlib
import socket

import pytest

from gsi.errors import ConfigError
from kca import datagrams as udp
from kca import server
from kca.server import listen_both


def test_same_port() -> None:
    streams, datagrams = listen_both("127.0.0.1", 0)
    try:
        assert len({one.getsockname() for one in (*streams, *datagrams)}) == 1
        with pytest.raises(ConfigError):
            listen_both("127.0.0.1", streams[0].getsockname()[1])
    finally:
        for one in (*streams, *datagrams):
            one.close()


def test_port_that_is_taken_by_datagrams() -> None:
    """A port that is named is not exchanged for another."""
    with contextlib.ExitStack() as stack:
        while True:
            other = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            other.bind(("127.0.0.1", 0))
            with socket.socket() as stream, contextlib.suppress(OSError):
                stream.bind(other.getsockname())  # or somebody else's TCP would be met first
                break
        with pytest.raises(ConfigError, match="UDP"):
            listen_both("127.0.0.1", other.getsockname()[1])


def test_free_for_streams_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that the kernel gives for TCP may be in use for UDP: another is tried, and not for ever."""
    tried: list[int] = []
    real = udp.listen_udp

    def listen_udp(host: str | None, port: int) -> list[socket.socket]:
        tried.append(port)
        if len(tried) < 3:
            raise ConfigError("in use")
        return real(host, port)

    monkeypatch.setattr(server, "listen_udp", listen_udp)
    streams, datagrams = listen_both("127.0.0.1", 0)
    for one in (*streams, *datagrams):
        one.close()
    assert len(tried) == 3
    monkeypatch.setattr(server, "listen_udp", lambda *_: (_ for _ in ()).throw(ConfigError("in use")))
    with pytest.raises(ConfigError, match="in use"):
        listen_both("127.0.0.1", 0)
