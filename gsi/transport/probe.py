"""What a server shows of itself over TLS: its certificates, version and cipher, and its clock where it speaks HTTP.

    session = ClientTLS().session(verifier, server_name=host)
    view = look(session, stream_exchange(stream))
    date = ask_http_date(TLSStream(stream, session), host)

Nothing is judged here but by the verifier, and until it agrees nothing is shown to the server but a TLS hello; no
certificate at all. The exchange is a parameter because GSI wraps TLS into other protocols, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi.errors import GridError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.transport.stream import Stream
    from gsi.transport.tls import TLSSession, TLSVersion
    from gsi.transport.tls_stream import TLSStream

__all__ = ["MAX_HTTP_BYTES", "ServerView", "ask_http_date", "look", "parse_http_date", "stream_exchange"]

MAX_HTTP_BYTES: Final = 16 << 10  # of a reply's head; common servers take no longer ones either
MAX_FLIGHTS: Final = 1000  # pieces that a server may cut its part of the handshake into
_HELLO_BYTES: Final = 11  # the record's header, the message's, and the version (RFC 5246 sections 6.2.1 and 7.4.1.3)
_HANDSHAKE: Final = 22
_SERVER_HELLO: Final = 2
_TLS1_2: Final = b"\x03\x03"


@dataclass(frozen=True, slots=True)
class ServerView:
    """What was seen of a server.

    Attributes:
        chain: Its certificates in DER, leaf first; empty when it showed none.
        version: The TLS version, where it was agreed on.
        cipher: OpenSSL's name of the cipher suite, likewise.
        failure: Why the handshake ended before its end, also the verifier's refusal; None when it did not.
    """

    chain: tuple[bytes, ...]
    version: TLSVersion | None
    cipher: str | None
    failure: GridError | None


def stream_exchange(stream: Stream) -> Callable[[bytes], bytes]:
    """Return how plain TLS is spoken over a stream: send what there is, take what comes."""

    def exchange(data: bytes) -> bytes:
        if data:
            stream.send(data)
        return stream.receive()

    return exchange


def look(session: TLSSession, exchange: Callable[[bytes], bytes]) -> ServerView:
    """Do a handshake as far as it goes; never raises for what the server does in it.

    The last flight stays in the session.

    Args:
        session: A client's session without a credential.
        exchange: Sends what the session has to say, if anything, and returns the server's next bytes; none mean that it
            has closed.
    """
    failure: GridError | None = None
    heard = b""
    try:
        for _ in range(MAX_FLIGHTS):
            if session.handshake():
                break
            data = exchange(session.data_to_send())
            heard += data[: _HELLO_BYTES - len(heard)]
            session.receive_data(data)
        else:
            failure = TransportError(f"the handshake was not over after {MAX_FLIGHTS} pieces")
    except GridError as error:
        failure = error
    version = session.version or (_hello_version(heard) if session.peer_chain else None)
    return ServerView(session.peer_chain, version, session.cipher, failure)


def _hello_version(data: bytes) -> TLSVersion | None:
    """Return the version in a ServerHello that a refused handshake of TLS 1.2 began with; OpenSSL tells it only later.

    Not called unless OpenSSL itself has read certificates behind it; in TLS 1.3 they come encrypted and with a version.
    """
    from gsi.transport.tls import TLSVersion

    is_hello = len(data) == _HELLO_BYTES and data[0] == _HANDSHAKE and data[5] == _SERVER_HELLO
    return TLSVersion.TLS1_2 if is_hello and data[9:11] == _TLS1_2 else None


def ask_http_date(stream: TLSStream, host: str) -> datetime | None:
    """Return the server's time from the Date header of an HTTP reply (RFC 9110 section 6.6.1), or None.

    Args:
        stream: An established TLS stream; nothing else can be said over it afterwards.
        host: The host for the request.

    Raises:
        TransportError: TLS or the connection failed.
    """
    shown = f"[{host}]" if ":" in host else host
    stream.send(f"HEAD / HTTP/1.1\r\nHost: {shown}\r\nConnection: close\r\n\r\n".encode("ascii", "replace"))
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MAX_HTTP_BYTES:
        data = stream.receive()
        if not data:
            break
        head += data
    return parse_http_date(head[:MAX_HTTP_BYTES])


def parse_http_date(head: bytes) -> datetime | None:
    """Return the time in the Date header of a reply's head; None where there is none, or no HTTP."""
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1."):
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "date":
            try:
                found = parsedate_to_datetime(value.strip())
            except (ValueError, TypeError, OverflowError):
                return None
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return None
