"""Time servers' replies as bytes: offsets, eras, and what is no answer."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import pytest

from gsi.errors import RemoteProtocolError, TimeoutExpiredError, TransportError
from gsi.transport.sntp import PACKET_BYTES, ask_time, encode_request, parse_reply

NONCE = b"12345678"
SENT = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def stamp(moment: datetime) -> bytes:
    past = moment - datetime(1900, 1, 1, tzinfo=UTC)
    seconds, rest = divmod(past, timedelta(seconds=1))
    return struct.pack(">II", seconds % 2**32, int(rest / timedelta(seconds=1) * 2**32))


def reply(arrived: datetime, left: datetime, *, first: int = 0x24, stratum: int = 1, nonce: bytes = NONCE) -> bytes:
    return bytes((first, stratum)) + bytes(22) + nonce + stamp(arrived) + stamp(left)


def test_the_request_tells_nothing() -> None:
    assert encode_request(NONCE) == b"\x23" + bytes(39) + NONCE
    assert len(encode_request(NONCE)) == PACKET_BYTES


@pytest.mark.parametrize("off", [0.0, 0.25, -0.25, 3600.0, -86400.0])
@pytest.mark.parametrize("year", [2026, 2035, 2037, 2100])
def test_offset_and_delay(off: float, year: int) -> None:
    """A server whose clock is off by so much; 0.2 s there, 0.1 s at it, 0.2 s back; in whatever era (RFC 4330 s. 3)."""
    sent = SENT.replace(year=year)
    arrived = sent + timedelta(seconds=off + 0.2)
    left = arrived + timedelta(seconds=0.1)
    received = sent + timedelta(seconds=0.5)
    reading = parse_reply(reply(arrived, left), NONCE, sent=sent, received=received)
    assert abs(reading.offset - timedelta(seconds=off)) < timedelta(microseconds=9)
    assert abs(reading.delay - timedelta(seconds=0.4)) < timedelta(microseconds=9)
    assert abs(reading.uncertainty - timedelta(seconds=0.2)) < timedelta(microseconds=9)
    assert reading.stratum == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        reply(SENT, SENT)[:-1],
        reply(SENT, SENT, first=0x23),
        reply(SENT, SENT, first=0xE4),
        reply(SENT, SENT, stratum=0),
        reply(SENT, SENT, stratum=16),
        reply(SENT, SENT, nonce=b"87654321"),
        reply(SENT, SENT)[:40] + bytes(8),
    ],
)
def test_no_answers(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_reply(data, NONCE, sent=SENT, received=SENT)


def test_nobody_there() -> None:
    with pytest.raises(TransportError):
        ask_time("host.invalid", clock=lambda: SENT, timeout=1)
    import socket

    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(TimeoutExpiredError):
            ask_time("127.0.0.1", silent.getsockname()[1], clock=lambda: SENT, timeout=0.05)
