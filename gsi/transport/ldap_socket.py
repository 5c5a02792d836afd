"""A socket to an LDAP server: connected, over TLS where wanted, verified; speaks no LDAP beyond StartTLS.

    plain = open_ldap_socket("ldap.example.org", 389, tls=LDAPTLS.START, context=make_ldap_context(ca_file), seconds=10)
    library.initialize(uri, fileno=plain.detach())

The C library could do all this by itself, but not within a time: a server that accepts and then says nothing would keep
it for ever in the handshake of ldaps. It also takes `localhost` for this machine's name in DNS, and gives no reason
when it refuses a certificate. So the socket that is handed out is one end of a pair, or without TLS the connection
itself; a thread carries the bytes between the other end and the TLS connection, until one of the two is closed.
StartTLS is RFC 4511 section 4.14.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from enum import Enum
from typing import Final

from gsi import der
from gsi.errors import ConfigError, ParseError, RefusedError, TimeoutExpiredError, TransportError

__all__ = ["LDAPTLS", "make_ldap_context", "open_ldap_socket"]

_START_TLS: Final = b"1.3.6.1.4.1.1466.20037"  # RFC 4511 section 4.14.1
_MAX_ANSWER: Final = 16 << 10  # to StartTLS; a server's words take a line
_CHUNK: Final = 16 << 10
_EXTENDED_REQUEST: Final = 0x77  # RFC 4511 section 4.12: [APPLICATION 23]
_EXTENDED_RESPONSE: Final = 0x78


class LDAPTLS(Enum):
    """How TLS comes in."""

    NONE = "none"
    START = "start"
    ALWAYS = "always"


def make_ldap_context(ca_file: str | None = None, ca_directory: str | None = None) -> ssl.SSLContext:
    """Return the TLS settings: TLS 1.2 or later, the server verified by these CAs; the system's where none is named.

    Raises:
        ConfigError: The file or directory cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None, capath=ca_directory or None)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the CAs in {ca_file or ca_directory} cannot be read: {error}") from error


def open_ldap_socket(
    host: str, port: int, *, tls: LDAPTLS, context: ssl.SSLContext | None, seconds: float
) -> socket.socket:
    """Return a connected, blocking socket over which LDAP is spoken.

    Args:
        host: The server, and the name that its certificate must have.
        port: Its port.
        tls: How TLS comes in.
        context: Made by `make_ldap_context`; not used without TLS.
        seconds: How long it may take until the socket is ready.

    Raises:
        TransportError: No connection, no TLS, or a server that does not prove its name.
        TimeoutExpiredError: It takes too long.
        RefusedError: The server does not do StartTLS.
    """
    where = f"{host}:{port}"
    deadline = time.monotonic() + seconds
    try:
        connected = socket.create_connection((host, port), timeout=seconds)
    except TimeoutError as error:
        raise TimeoutExpiredError(f"{where}: no connection within {seconds:g} seconds") from error
    except (OSError, UnicodeError) as error:
        raise TransportError(f"{where}: {getattr(error, 'strerror', None) or error}") from error
    try:
        if tls is LDAPTLS.NONE:
            connected.settimeout(None)
            return connected
        assert context is not None
        if tls is LDAPTLS.START:
            _start_tls(connected, where, deadline)
        connected.settimeout(_left(deadline))
        protected = context.wrap_socket(connected, server_hostname=host)
    except BaseException as error:
        connected.close()
        if isinstance(error, TimeoutError):
            raise TimeoutExpiredError(f"{where}: no TLS within {seconds:g} seconds") from error
        if isinstance(error, ssl.SSLError):
            raise TransportError(f"{where}: TLS: {getattr(error, 'verify_message', '') or error.reason}") from error
        if isinstance(error, OSError | ValueError):
            raise TransportError(f"{where}: TLS: {error}") from error
        raise
    ours, theirs = socket.socketpair()
    _Relay(ours, protected, seconds).start()
    return theirs


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _start_tls(connected: socket.socket, where: str, deadline: float) -> None:
    """Ask for TLS, and read exactly the answer: whatever follows it belongs to TLS."""
    name = der.encode_tlv(der.context(0, constructed=False), _START_TLS)
    connected.sendall(der.encode_sequence(der.encode_integer(1), der.encode_tlv(_EXTENDED_REQUEST, name)))
    answer = bytearray()
    while (needed := _needed(bytes(answer))) > 0:
        connected.settimeout(_left(deadline))
        chunk = connected.recv(needed)
        if not chunk:
            raise TransportError(f"{where}: the server closed the connection in place of StartTLS")
        answer += chunk
    try:
        message = der.parse_one(bytes(answer), what="LDAP message")
        number = message.integer()
        response = message.enter(_EXTENDED_RESPONSE)
        code = int.from_bytes(response.take(der.ENUMERATED), "big")
    except ParseError as error:
        raise TransportError(f"{where}: no answer to StartTLS: {error.message}") from error
    if number != 1 or code != 0:
        raise RefusedError(f"{where}: the server does not do StartTLS (result {code})")


def _needed(answer: bytes) -> int:
    """Return how many more bytes of the one LDAP message there must be.

    BER, so that lengths need not be the shortest; `der` refuses those afterwards.

    Raises:
        TransportError: It is no LDAP message of a sensible size.
    """
    if len(answer) < 2:
        return 2 - len(answer)
    size, head = answer[1], 2
    if size >= 0x80:
        head += size & 0x7F
        if not 2 < head <= 6:
            raise TransportError("no LDAP message in answer to StartTLS")
        if len(answer) < head:
            return head - len(answer)
        size = int.from_bytes(answer[2:head], "big")
    if answer[0] != der.SEQUENCE or size > _MAX_ANSWER:
        raise TransportError("no LDAP message in answer to StartTLS")
    return head + size - len(answer)


class _Relay(threading.Thread):
    """Carries bytes between a socket pair's end and a TLS connection until one of them ends."""

    def __init__(self, plain: socket.socket, protected: ssl.SSLSocket, seconds: float) -> None:
        super().__init__(name="ldap-tls", daemon=True)
        self._plain = plain
        self._protected = protected
        self._seconds = seconds

    def run(self) -> None:
        """Work until the end; errors end it, and whoever reads the other end sees that."""
        with self._plain, self._protected, contextlib.suppress(OSError, ValueError):
            self._plain.settimeout(self._seconds)
            self._protected.setblocking(False)
            while self._carry():
                pass

    def _carry(self) -> bool:
        if self._protected.pending():
            return self._from_server()
        readable, _, _ = select.select([self._plain, self._protected], [], [])
        if self._plain in readable:
            data = self._plain.recv(_CHUNK)
            if not data:
                return False
            self._to_server(data)
        return self._protected not in readable or self._from_server()

    def _from_server(self) -> bool:
        try:
            data = self._protected.recv(_CHUNK)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True  # a record without data: a ticket
        if data:
            self._plain.sendall(data)
        return bool(data)

    def _to_server(self, data: bytes) -> None:
        deadline = time.monotonic() + self._seconds
        left = memoryview(data)
        while left:
            try:
                left = left[self._protected.send(left) :]
            except ssl.SSLWantReadError:
                select.select([self._protected], [], [], _left(deadline))
            except ssl.SSLWantWriteError:
                select.select([], [self._protected], [], _left(deadline))
