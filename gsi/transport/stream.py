"""Blocking streams for clients: the interface, TCP over lists of hosts and both address families; no TLS, no protocol.

stream = connect(parse_hosts("myproxy.example.org,[::1]:7513", default_port=7512), timeout=10)
stream.send(data)
data = stream.receive()                    # b"" = the peer has closed
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from gsi.errors import ConfigError, TimeoutExpiredError, TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CONNECT_TIMEOUT",
    "READ_TIMEOUT",
    "RECEIVE_BYTES",
    "HostPort",
    "PortRange",
    "Stream",
    "TCPStream",
    "connect",
    "parse_hosts",
    "parse_port",
    "parse_port_range",
]

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for one address, as the C clients."""
READ_TIMEOUT: Final = 150.0
"""Seconds of silence before a client gives up. The C clients wait forever; a C server ends a request after 120 s."""
RECEIVE_BYTES: Final = 16384 + 512
"""One full TLS record with its overhead."""
MAX_HOSTS: Final = 64
"""Entries of a host list: each may cost a connect timeout."""

_AddressInfo: TypeAlias = tuple[
    socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
]


class Stream(Protocol):
    """Bytes in both directions."""

    def send(self, data: bytes, /) -> None:
        """Send all of the data.

        Raises:
            TransportError: The connection failed.
        """

    def receive(self) -> bytes:
        """Wait for bytes; none mean that the peer has closed.

        Raises:
            TransportError: The connection failed, or nothing came in time.
        """

    def close(self) -> None:
        """Close the connection; may be called twice."""


class HostPort(NamedTuple):
    """One entry of a host list; `host` is a name or an address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class PortRange(NamedTuple):
    """The local ports to connect from, both included."""

    first: int
    last: int


def parse_hosts(text: str, *, default_port: int) -> tuple[HostPort, ...]:
    """Read `host[:port],...`; an IPv6 address with a port stands in brackets, without one it may stand bare.

    Raises:
        ConfigError: No host, or a port that is none.
    """
    entries = [entry.strip() for entry in text.split(",")]
    if not all(entries) or len(entries) > MAX_HOSTS:
        raise ConfigError(f"'{text}' is not a list of hosts (host[:port],...)")
    return tuple(_parse_host(entry, default_port) for entry in entries)


def _parse_host(entry: str, default_port: int) -> HostPort:
    if entry.startswith("["):
        host, bracket, rest = entry[1:].partition("]")
        if not bracket or not host or (rest and not rest.startswith(":")):
            raise ConfigError(f"'{entry}' is not [address]:port")
        return HostPort(host, parse_port(rest[1:]) if rest else default_port)
    if entry.count(":") > 1:
        return HostPort(entry, default_port)
    host, colon, port = entry.partition(":")
    if not host or not host.isprintable() or " " in host:
        raise ConfigError(f"'{entry}' names no host")
    return HostPort(host, parse_port(port) if colon else default_port)


def parse_port(text: str) -> int:
    """Read the number of a port, of five digits at most.

    Raises:
        ConfigError: It is none.
    """
    if not text.isascii() or not text.isdigit() or len(text) > 5 or not 0 < int(text) < 65536:
        raise ConfigError(f"the port '{text}' is not a number from 1 to 65535")
    return int(text)


def parse_port_range(text: str) -> PortRange | None:
    """Read `first,last` (`GLOBUS_TCP_PORT_RANGE`; a blank will do for the comma); empty gives None.

    Raises:
        ConfigError: Not two ports in order.
    """
    parts = text.replace(",", " ").split()
    if not parts:
        return None
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        raise ConfigError(f"'{text}' is not a port range (first,last)")
    first, last = int(parts[0]), int(parts[1])
    if not 0 < first <= last < 65536:
        raise ConfigError(f"'{text}' is not a port range (first,last)")
    return PortRange(first, last)


class TCPStream:
    """A connected TCP socket.

    Args:
        connected: The socket; owned from now on.
        timeout: Seconds of silence or of blocked sending before giving up.
        deadline: The moment, by `time.monotonic`, beyond which nothing is waited for, however often something came;
            None for none.

    Attributes:
        peer: The peer's numeric address and port.
    """

    __slots__ = ("_deadline", "_socket", "_timeout", "peer")

    def __init__(
        self, connected: socket.socket, *, timeout: float = READ_TIMEOUT, deadline: float | None = None
    ) -> None:
        self._socket = connected
        self._timeout = timeout
        self._deadline = deadline
        connected.settimeout(timeout)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = connected.getpeername()
        self.peer = HostPort(address[0], address[1])

    def send(self, data: bytes, /) -> None:
        """Send all of the data."""
        try:
            self._limit()
            self._socket.sendall(data)
        except TimeoutError as error:
            raise TimeoutExpiredError(f"{self.peer} {self._patience('took no data')}") from error
        except OSError as error:
            raise TransportError(f"sending to {self.peer} failed: {error.strerror or error}") from error

    def receive(self) -> bytes:
        """Wait for bytes; none mean that the peer has closed."""
        try:
            self._limit()
            return self._socket.recv(RECEIVE_BYTES)
        except TimeoutError as error:
            raise TimeoutExpiredError(f"{self.peer} {self._patience('was silent')}") from error
        except ConnectionResetError:
            return b""  # peers that close with unread bytes reset; what they said before has been read
        except OSError as error:
            raise TransportError(f"receiving from {self.peer} failed: {error.strerror or error}") from error

    def _limit(self) -> None:
        """Wait in the next step for no longer than is left.

        Raises:
            TimeoutError: Nothing is.
        """
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(min(self._timeout, left))

    def _patience(self, words: str) -> str:
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return "did not answer in time" if late else f"{words} for {self._timeout:g} seconds"

    def fileno(self) -> int:
        """Return the descriptor, to wait for more streams than one."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def connect(
    hosts: Sequence[HostPort],
    *,
    timeout: float = CONNECT_TIMEOUT,
    read_timeout: float = READ_TIMEOUT,
    port_range: PortRange | None = None,
    within: float | None = None,
) -> tuple[TCPStream, HostPort]:
    """Connect to the first host that answers, trying all addresses of each in order.

    Args:
        hosts: Whom to try.
        timeout: Seconds for each address; 0 waits as long as the system does.
        read_timeout: For the stream, see `TCPStream`.
        port_range: Local ports to use.
        within: Seconds for all of it together, everything that the stream then waits for included; None for no limit.
            Names are resolved within the system's own limits.

    Returns:
        The stream and the entry of the list that it leads to.

    Raises:
        TransportError: Nobody answered; every attempt with its reason is in the message.
        TimeoutExpiredError: The same, and every attempt ran out of time.
    """
    failures: list[tuple[str, OSError]] = []
    deadline = None if within is None else time.monotonic() + within
    for entry in hosts:
        try:
            addresses = socket.getaddrinfo(entry.host, entry.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError) as error:
            failures.append((entry.host, error if isinstance(error, OSError) else OSError(f"no such host ({error})")))
            continue
        for found in addresses:
            try:
                connected = _connect_one(found, _patience(timeout, deadline), port_range)
            except OSError as error:
                failures.append((str(HostPort(str(found[4][0]), entry.port)), error))
                continue
            return TCPStream(connected, timeout=read_timeout, deadline=deadline), entry
    reasons = "; ".join(f"{where}: {_describe(error)}" for where, error in failures)
    if failures and all(isinstance(error, TimeoutError) for _, error in failures):
        patience = timeout if within is None else within
        raise TimeoutExpiredError(f"no connection within {patience:g} seconds ({reasons})")
    raise TransportError(f"unable to connect ({reasons})", hint="check host and port, and that the server is running")


def _patience(timeout: float, deadline: float | None) -> float:
    """Return how long one attempt may take.

    Raises:
        TimeoutError: No time is left.
    """
    if deadline is None:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return min(timeout or left, left)


def _describe(error: OSError) -> str:
    return "timed out" if isinstance(error, TimeoutError) else error.strerror or str(error)


def _connect_one(found: _AddressInfo, timeout: float, port_range: PortRange | None) -> socket.socket:
    """Connect to one address, from the first local port of the range that can be had."""
    family, kind, protocol, _, address = found
    any_address = "::" if family == socket.AF_INET6 else ""
    locals_: Sequence[int | None] = (None,) if port_range is None else range(port_range.first, port_range.last + 1)
    last: OSError = OSError("no free local port in the range")
    for local in locals_:
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(timeout or None)
            if local is not None:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.bind((any_address, local))
            made.connect(address)
            return made
        except OSError as error:
            made.close()
            if local is None or not _is_port_trouble(error):
                raise
            last = error
    raise last


def _is_port_trouble(error: OSError) -> bool:
    import errno

    return error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)
