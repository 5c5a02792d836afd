"""The gatekeeper's wire: one wrapped HTTP request, one wrapped reply; and its ping, as a health check.

    answer = ping(parse_hosts("gk.example.org", default_port=2119), credential, anchors, now=now)
    answer.identity, answer.version

Not here: submitting jobs. Requests go without a slash before `ping`; replies end with a NUL byte, itself wrapped, too.
Agrees with gct:gram/gatekeeper/source/globus_gatekeeper.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi.context.framing import Framing
from gsi.context.initiator import Initiator
from gsi.context.stream import ContextStream
from gsi.context.target import Target
from gsi.errors import LocalProtocolError, RefusedError, RemoteProtocolError
from gsi.transport.stream import CONNECT_TIMEOUT, connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.context.base import Anchors, Clock
    from gsi.credential import Credential
    from gsi.proxy.issue import ProxyOptions
    from gsi.transport.stream import HostPort
    from gsi.transport.tls import ClientTLS, TLSVersion

__all__ = [
    "DEFAULT_PORT",
    "MAX_MESSAGE_BYTES",
    "GatekeeperReply",
    "GatekeeperRequest",
    "PingAnswer",
    "encode_ping",
    "encode_reply",
    "parse_reply",
    "parse_request",
    "ping",
]

DEFAULT_PORT: Final = 2119
"""The port of gatekeepers, as IANA has it (gsigatekeeper)."""
PING_TIMEOUT: Final = 30.0
"""Seconds of silence before a ping gives up; an idle gatekeeper answers within one."""
MAX_MESSAGE_BYTES: Final = 72 << 10
"""The gatekeeper takes bodies of 64,000 bytes; the rest is room for the head."""
_CONTENT_TYPE: Final = "application/x-globus-gram"
_REQUEST_LINE: Final = re.compile(rb"POST (ping)?/([^@ \r\n]+)(?:@([^ \r\n]+))? HTTP/1\.[01]")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([^\r\n]*))?")
_WORD: Final = re.compile(r"[!-?A-~]+")  # neither blanks nor @, which end the service
_OK: Final = 200
_REASONS: Final = {_OK: "OK", 403: "Forbidden", 404: "Not Found", 500: "Internal Server Error"}


@dataclass(frozen=True, slots=True)
class GatekeeperRequest:
    """What a client asks for.

    Attributes:
        is_ping: Whether it only wants to know that it may.
        service: The service, `jobmanager-fork` for example.
        account: The account that it wants to be, or None.
        body: What follows the head.
    """

    is_ping: bool
    service: str
    account: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class GatekeeperReply:
    """What the gatekeeper says: an HTTP status, its words, and a body."""

    status: int
    reason: str
    body: bytes


@dataclass(frozen=True, slots=True)
class PingAnswer:
    """A gatekeeper that is well.

    Attributes:
        identity: Who it is.
        version: The TLS version spoken.
        cipher: The cipher suite.
    """

    identity: str
    version: TLSVersion
    cipher: str


def encode_ping(service: str, *, host: str, account: str | None = None) -> bytes:
    """Return a ping.

    Raises:
        LocalProtocolError: A name that cannot stand in the request line.
    """
    for word in (service, host, account):
        if word is not None and not _WORD.fullmatch(word):
            raise LocalProtocolError(f"{word!r} cannot stand in a gatekeeper's request")
    where = service if account is None else f"{service}@{account}"
    return (
        f"POST ping/{where} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {_CONTENT_TYPE}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def encode_reply(status: int, body: bytes = b"") -> bytes:
    """Return a reply, the NUL byte at its end included; a refusal has no body and no length, as the C server's."""
    head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\n"
    if status == _OK:
        head += f"Content-Type: {_CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body + b"\0"
    return head.encode() + b"Connection: close\r\n\r\n\0"


def parse_request(data: bytes) -> GatekeeperRequest | None:
    """Return the request, or None while it is incomplete.

    Raises:
        RemoteProtocolError: Not such a request, or too long.
    """
    found = _split(data, needs_length=True)
    if found is None:
        return None
    line, body = found
    matched = _REQUEST_LINE.fullmatch(line)
    if matched is None:
        raise RemoteProtocolError("the request line is none of a gatekeeper's", hint="POST ping/jobmanager HTTP/1.1")
    account = None if matched[3] is None else _text(matched[3])
    return GatekeeperRequest(matched[1] is not None, _text(matched[2]), account, body)


def parse_reply(data: bytes) -> GatekeeperReply | None:
    """Return the reply, or None while it is incomplete; the NUL byte behind it is left out.

    Raises:
        RemoteProtocolError: Not such a reply, or too long.
    """
    found = _split(data, needs_length=False)
    if found is None:
        return None
    line, body = found
    matched = _STATUS_LINE.fullmatch(line)
    if matched is None:
        raise RemoteProtocolError("the answer is no HTTP reply")
    return GatekeeperReply(int(matched[1]), _text(matched[2] or b""), body)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _split(data: bytes, *, needs_length: bool) -> tuple[bytes, bytes] | None:
    """Return the first line and the body, or None while either is incomplete."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise RemoteProtocolError(f"a message of more than {MAX_MESSAGE_BYTES} bytes")
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    line, _, fields = head.partition(b"\r\n")
    length = _content_length(fields)
    if length is None:
        if needs_length:
            raise RemoteProtocolError("a request without Content-Length")
        return (line, rest[:-1]) if rest.endswith(b"\0") else None
    if len(rest) < length:
        return None
    if rest[length:] not in (b"", b"\0"):
        raise RemoteProtocolError("more came than the Content-Length says")
    return line, rest[:length]


def _content_length(fields: bytes) -> int | None:
    lengths = []
    for field in fields.split(b"\r\n"):
        name, _, value = field.partition(b":")
        if name.strip().lower() == b"content-length":
            lengths.append(value.strip())
    if not lengths:
        return None
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,6}", lengths[0]):
        raise RemoteProtocolError("a Content-Length that is none, or more than one")
    return int(lengths[0])


def ping(
    hosts: Sequence[HostPort],
    credential: Credential,
    anchors: Anchors,
    *,
    now: Clock,
    service: str = "jobmanager",
    account: str | None = None,
    target: Target | None = None,
    delegate: ProxyOptions | None = None,
    tls: ClientTLS | None = None,
    timeout: float = PING_TIMEOUT,
    framing: Framing = Framing.BARE,
) -> PingAnswer:
    """Ask a gatekeeper whether it knows us and the service; nothing is started.

    Args:
        hosts: Where it is; the first that answers is asked.
        credential: Whom to be; a gatekeeper takes no one anonymous.
        anchors: Whom to trust.
        now: The time, aware UTC, or what tells it.
        service: The service to ask for.
        account: The account to ask for; by default the one that the site maps us to.
        target: Who it has to be; the host by default.
        delegate: What to delegate; a ping needs nothing.
        tls: See `Initiator`.
        timeout: Seconds of silence before giving up.
        framing: Of our tokens; it takes all.

    Raises:
        RefusedError: It said no: 403 not authorised, 404 no such service, 500 a failure.
        GridError: As `SecurityContext.step`; a gatekeeper that refuses our certificate just closes the connection.
        TransportError: The connection failed.
    """
    stream, where = connect(hosts, timeout=min(timeout, CONNECT_TIMEOUT), read_timeout=timeout)
    try:
        context = Initiator(
            credential, anchors, target=target or Target(host=where.host), now=now, delegate=delegate, tls=tls
        )
        secured = ContextStream(stream, context, framing=framing)
        secured.establish()
        secured.send(encode_ping(service, host=where.host, account=account))
        data = b""
        while (reply := parse_reply(data)) is None:
            received = secured.receive()
            if not received:
                raise RemoteProtocolError("the gatekeeper closed the connection without an answer")
            data += received
    finally:
        stream.close()
    if reply.status != _OK:
        raise RefusedError(
            f"the gatekeeper says {reply.status} {reply.reason}",
            hint={403: "it does not know us, or maps us to no account", 404: "it has no such service"}.get(
                reply.status, "see its log"
            ),
        )
    info = context.inquire()
    return PingAnswer(info.identity or "", info.version, info.cipher)
