"""What strangers answer when they are looked at: any bytes are read, or refused as our error."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gsi.context.ftp_probe import ControlProbe
from gsi.errors import GridError
from gsi.transport.probe import parse_http_date
from gsi.transport.sntp import parse_reply

NOW = datetime(2026, 11, 21, tzinfo=UTC)


class Replayed:
    """A stream that says what it was given, in pieces, and then closes."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def send(self, data: bytes, /) -> None:
        assert data.endswith(b"\r\n")

    def receive(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        self._pieces = []


@given(st.binary(max_size=100))
def test_time_servers(data: bytes) -> None:
    for answer in (data, b"\x24\x01" + bytes(22) + b"12345678" + data):
        with contextlib.suppress(GridError):
            parse_reply(answer, b"12345678", sent=NOW, received=NOW)


@given(st.binary(max_size=300) | st.text(max_size=60).map(lambda text: f"HTTP/1.1 200 OK\r\nDate: {text}\r\n".encode()))
def test_http_servers(head: bytes) -> None:
    found = parse_http_date(head)
    assert found is None or found.tzinfo is not None


def test_http_dates() -> None:
    expected = datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)
    for name in ("Date", "date", "DATE"):
        head = f"HTTP/1.1 404 Not Found\r\nServer: x\r\n{name}: Sat, 21 Nov 2026 12:00:05 GMT\r\n\r\n"
        assert parse_http_date(head.encode()) == expected
    assert parse_http_date(b"HTTP/1.0 200 OK\r\n\r\n") is None
    assert parse_http_date(b"220 ready\r\nDate: Sat, 21 Nov 2026 12:00:05 GMT\r\n") is None


LINES = st.lists(
    st.sampled_from([b"220 x\r\n", b"334 y\r\n", b"335 ADAT=AAAA\r\n", b"500 no\r\n", b"220-a\r\n", b"\n"])
)


@given(pieces=st.lists(st.binary(max_size=40), max_size=6) | LINES)
def test_ftp_servers(pieces: list[bytes]) -> None:
    with contextlib.suppress(GridError):
        probe = ControlProbe(Replayed(pieces))
        assert isinstance(probe.begin(), str)
        assert probe.exchange(b"token")
