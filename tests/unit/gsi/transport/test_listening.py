"""Addresses as configurations write them, and Unix sockets that nobody else could have put there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi.errors import ConfigError
from gsi.transport.listening import listen_unix, split_address


def test_addresses() -> None:
    assert split_address("*:9878") == ("", 9878)
    assert split_address("[::1]:1") == ("::1", 1)
    assert split_address("kca.example.org:65535") == ("kca.example.org", 65535)
    wrong = ["", "x", ":1", "x:", "x:65536", "x:-1", "::1:5", "2001:db8::1:15000", "x:1x", "[]:1", f"x:{'9' * 9999}"]
    for text in wrong:
        with pytest.raises(ConfigError):
            split_address(text)


def test_socket_places(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "socket"
    first = listen_unix(str(path), 0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="another daemon"):
        listen_unix(str(path), 0o600)
    first.close()  # as a daemon that was killed leaves it
    assert path.exists()
    listen_unix(str(path), 0o600).close()
    path.unlink()
    path.write_text("not a socket")
    with pytest.raises(ConfigError):
        listen_unix(str(path), 0o600)
    assert path.read_text() == "not a socket"
    with pytest.raises(ConfigError):
        listen_unix(str(tmp_path / "missing" / "socket"), 0o600)
    with pytest.raises(ConfigError):
        listen_unix(str(tmp_path / ("x" * 200)), 0o600)
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(ConfigError, match="others could put a socket"):
        listen_unix(str(open_to_all / "socket"), 0o600)
