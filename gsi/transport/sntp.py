"""What a time server says about this machine's clock (SNTP, RFC 4330, as a subset of RFC 5905); sets no clock.

    reading = ask_time("time.nist.gov", clock=clock.now, timeout=5)
    reading.offset, reading.uncertainty

The answer is not authenticated: it can show that a clock is wrong, never prove that it is right.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_bytes
from typing import TYPE_CHECKING, Final

from gsi.errors import RemoteProtocolError, TimeoutExpiredError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NTP_PORT", "PACKET_BYTES", "ClockReading", "ask_time", "encode_request", "parse_reply"]

NTP_PORT: Final = 123
PACKET_BYTES: Final = 48  # RFC 4330 section 4, without the optional fields
_MAX_REPLY_BYTES: Final = 1024  # extension fields and codes may follow, and are not looked at
_ATTEMPTS: Final = 2  # UDP loses packets
_CLIENT: Final = 0x23  # leap indicator 0, version 4, mode 3
_SERVER_MODE: Final = 4
_UNSYNCHRONISED: Final = 3
_MAX_STRATUM: Final = 15
_ERA: Final = 1 << 32
_EPOCH: Final = datetime(1900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What one exchange with a time server has shown.

    Attributes:
        offset: What to add to this machine's clock; positive when it is slow.
        delay: How long request and reply travelled.
        stratum: How far the server is from a reference clock, 1 to 15.
    """

    offset: timedelta
    delay: timedelta
    stratum: int

    @property
    def uncertainty(self) -> timedelta:
        """The most by which the offset can be wrong, if the server is right: half of the delay."""
        return abs(self.delay) / 2


def encode_request(nonce: bytes) -> bytes:
    """Return a request.

    Args:
        nonce: Eight random bytes in place of our time, which is nobody's business; the reply repeats them.
    """
    return bytes((_CLIENT,)) + bytes(PACKET_BYTES - 1 - len(nonce)) + nonce


def parse_reply(data: bytes, nonce: bytes, *, sent: datetime, received: datetime) -> ClockReading:
    """Return what a reply says.

    Args:
        data: The reply.
        nonce: That of the request.
        sent: When the request left, by this machine's clock (aware UTC).
        received: When the reply came, likewise.

    Raises:
        RemoteProtocolError: No reply to this request, or the server does not know the time itself.
    """
    if len(data) < PACKET_BYTES or data[0] & 7 != _SERVER_MODE or data[24:32] != nonce:
        raise RemoteProtocolError("the time server's answer is no reply to our question")
    stratum = data[1]
    if not 1 <= stratum <= _MAX_STRATUM or data[0] >> 6 == _UNSYNCHRONISED or not any(data[40:48]):
        raise RemoteProtocolError("the time server does not know the time itself", hint="ask another one")
    arrived, left = _moment(data[32:40], received), _moment(data[40:48], received)
    offset = ((arrived - sent) + (left - received)) / 2
    return ClockReading(offset, (received - sent) - (left - arrived), stratum)


def _moment(data: bytes, near: datetime) -> datetime:
    """Read a timestamp: seconds since 1900 in the era closest to `near`, and their fraction."""
    seconds, fraction = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big")
    era = round(((near - _EPOCH).total_seconds() - seconds) / _ERA)
    return _EPOCH + timedelta(seconds=seconds + max(era, 0) * _ERA, microseconds=fraction * 1_000_000 >> 32)


def ask_time(host: str, port: int = NTP_PORT, *, clock: Callable[[], datetime], timeout: float) -> ClockReading:
    """Ask a time server.

    Args:
        host: Its name or address.
        port: Its UDP port.
        clock: Returns the present time by this machine's clock (aware UTC).
        timeout: Seconds to wait, two attempts together.

    Raises:
        TransportError: The name is not known, or the server cannot be reached.
        TimeoutExpiredError: No answer.
        RemoteProtocolError: As `parse_reply`.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise TransportError(f"{host}: {getattr(error, 'strerror', None) or error}", hint="name another one") from error
    family, kind, protocol, _, address = addresses[0]
    try:
        with socket.socket(family, kind, protocol) as sock:
            sock.settimeout(timeout / _ATTEMPTS)
            sock.connect(address)
            for _ in range(_ATTEMPTS):
                nonce = token_bytes(8)
                sent = clock()
                sock.send(encode_request(nonce))
                try:
                    data = sock.recv(_MAX_REPLY_BYTES)
                except TimeoutError:
                    continue
                return parse_reply(data, nonce, sent=sent, received=clock())
    except OSError as error:
        raise TransportError(f"{host}, port {port}: {error.strerror or error}") from error
    raise TimeoutExpiredError(
        f"{host}, port {port}: no answer within {timeout:g} seconds", hint="a firewall may not let UDP through"
    )
