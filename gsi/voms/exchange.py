"""Fetching an attribute certificate from a VOMS server, sans-IO: both protocols, the client's side.

    session = FetchSession(FetchRequest("testvo", ("/testvo/Role=x",)), Protocol.REST, host="voms.example.org:15000")
    send(session.data_to_send())
    while (answer := session.receive_data(receive())) is None: ...       # b"" for the end
    certificate = accept(answer)                                          # RefusedError with the server's words

Over TLS with the user's credential; `gsi.transport.voms` carries the bytes. REST is one HTTP request; the legacy
protocol is XML, after the byte `0` with which GSI clients say that they delegate nothing. Must agree with voms:
src/api/ccapi/voms_api.cc (contactREST, ContactRaw) and src/common/xmlcc.cc.
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi._version import __version__
from gsi.errors import LocalProtocolError, ParseError, RefusedError, RemoteProtocolError
from gsi.voms.answers import MAX_ANSWER_BYTES, Answer, parse_answer

if TYPE_CHECKING:
    from gsi.voms.attribute_cert import AttributeCertificate

__all__ = [
    "ALL",
    "DEFAULT_LIFETIME",
    "FetchRequest",
    "FetchSession",
    "Protocol",
    "accept",
    "encode_legacy",
    "encode_rest",
]

ALL: Final = "all"
"""In place of an FQAN: every attribute that the user has, roles too; for showing them, as `voms-proxy-list` does."""

DEFAULT_LIFETIME: Final = timedelta(hours=12)
_MAX_HEAD_BYTES: Final = 16 << 10  # of an HTTP answer
_MAX_REQUEST_BYTES: Final = 16 << 10  # what servers take for a request line or an XML request
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\Z")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\Z")
_LEGACY_END: Final = b"</vomsans>"
_QUERY_SAFE: Final = "/=.:,@_-~"


class Protocol(StrEnum):
    """How a server is asked."""

    REST = "rest"
    LEGACY = "legacy"


class FetchRequest(NamedTuple):
    """What a user asks for."""

    vo: str
    fqans: tuple[str, ...] = ()
    """Groups and roles (`/vo/group`, `/vo/group/Role=r`), or `ALL`; none asks for what the VO gives by default."""
    lifetime: timedelta = DEFAULT_LIFETIME
    """Zero asks for as long as the server gives."""
    order: tuple[str, ...] = ()
    """FQANs that are to come first."""
    targets: tuple[str, ...] = ()
    """Hosts for which alone the certificate is to be good."""


def _check(request: FetchRequest) -> None:
    texts = (request.vo, *request.fqans, *request.order, *request.targets)
    if not all(
        text and text.isascii() and text.isprintable() and "," not in text and " " not in text for text in texts
    ):
        raise LocalProtocolError("a VO, FQAN or target with a comma, a blank or a character beyond ASCII")
    for fqan in (*request.fqans, *request.order):
        if fqan == ALL and fqan in request.fqans:
            continue
        if fqan != f"/{request.vo}" and not fqan.startswith(f"/{request.vo}/"):
            raise LocalProtocolError(f"the FQAN {fqan[:80]!r} is not of the VO {request.vo!r}")
    if request.lifetime and request.lifetime < timedelta(seconds=1):
        raise LocalProtocolError("a lifetime below one second")


def encode_rest(request: FetchRequest, *, host: str) -> bytes:
    """Return the HTTP request.

    Args:
        request: What is asked for.
        host: The server's host and port, for the `Host` field.

    Raises:
        LocalProtocolError: The request cannot be written, or is too long.
    """
    from urllib.parse import quote

    _check(request)
    fields = {
        "fqans": ",".join(request.fqans or (f"/{request.vo}",)),
        "lifetime": str(int(request.lifetime.total_seconds())) if request.lifetime else "",
        "order": ",".join(request.order),
        "targets": ",".join(request.targets),
    }
    query = "&".join(f"{name}={quote(value, safe=_QUERY_SAFE)}" for name, value in fields.items() if value)
    if not host.isascii() or not host.isprintable() or " " in host:
        raise LocalProtocolError(f"{host[:80]!r} is no host")
    head = (
        f"GET /generate-ac?{query} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: gsi-toolkit/{__version__}\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    return _bounded(head.encode("ascii"))


def encode_legacy(request: FetchRequest) -> bytes:
    """Return the XML request, after the byte with which GSI clients begin.

    Raises:
        LocalProtocolError: The request cannot be written, or is too long.
    """
    _check(request)
    commands = "".join(f"<command>{_escape(_command(fqan))}</command>" for fqan in request.fqans or (f"/{request.vo}",))
    order = "".join(f"<order>{_escape(_order(fqan))}</order>" for fqan in request.order)
    targets = f"<targets>{_escape(','.join(request.targets))}</targets>" if request.targets else ""
    lifetime = f"<lifetime>{int(request.lifetime.total_seconds())}</lifetime>" if request.lifetime else ""
    text = (
        f'0<?xml version="1.0" encoding="US-ASCII"?><voms>{commands}{order}{targets}<base64>1</base64>'
        f"<version>4</version>{lifetime}</voms>"
    )
    return _bounded(text.encode("ascii"))


def _command(fqan: str) -> str:
    """Return the command for an FQAN: `G/vo/group`, or `B/vo/group:role`; `A` for all."""
    if fqan == ALL:
        return "A"
    group, _, role = fqan.partition("/Role=")
    role = role.partition("/Capability=")[0]
    return f"B{group}:{role}" if role and role != "NULL" else f"G{group.partition('/Capability=')[0]}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _order(fqan: str) -> str:
    return _command(fqan)[1:]


def _bounded(data: bytes) -> bytes:
    if len(data) > _MAX_REQUEST_BYTES:
        raise LocalProtocolError(f"a request of {len(data)} bytes, limit {_MAX_REQUEST_BYTES}")
    return data


def accept(answer: Answer) -> AttributeCertificate:
    """Return the certificate of an answer.

    Raises:
        RefusedError: The server gave none, or one together with an error.
    """
    if answer.errors or answer.certificate is None:
        words = "; ".join(f"{error.message} ({error.code})" if error.code else error.message for error in answer.errors)
        raise RefusedError(f"the VOMS server refused: {words or 'no attribute certificate in its answer'}")
    return answer.certificate


class FetchSession:
    """One question and its answer over one connection."""

    __slots__ = ("_answer", "_buffer", "_protocol", "_request")

    def __init__(self, request: FetchRequest, protocol: Protocol, *, host: str) -> None:
        """Prepare the question.

        Raises:
            LocalProtocolError: It cannot be asked.
        """
        self._protocol = protocol
        self._request = encode_rest(request, host=host) if protocol is Protocol.REST else encode_legacy(request)
        self._buffer = bytearray()
        self._answer: Answer | None = None

    def data_to_send(self) -> bytes:
        """Return the bytes to send, once."""
        data, self._request = self._request, b""
        return data

    def receive_data(self, data: bytes) -> Answer | None:
        """Take bytes of the answer; `b""` is its end. Return the answer when it is complete.

        Raises:
            RemoteProtocolError: It is none, too long, or cut off, such as an HTTP error without words of VOMS.
        """
        if self._answer is not None:
            return self._answer
        self._buffer += data
        if len(self._buffer) > MAX_ANSWER_BYTES + _MAX_HEAD_BYTES:
            raise RemoteProtocolError("the VOMS server's answer is too long")
        at_end = not data
        body = self._http_body(at_end) if self._protocol is Protocol.REST else self._legacy_body(at_end)
        if body is None:
            if at_end:
                raise RemoteProtocolError("the VOMS server's answer is cut off")
            return None
        try:
            self._answer = parse_answer(body)
        except ParseError as error:
            raise RemoteProtocolError(f"the VOMS server's answer: {error.message}") from error
        return self._answer

    def _legacy_body(self, at_end: bool) -> bytes | None:
        at = self._buffer.find(_LEGACY_END)
        if at >= 0:
            return bytes(self._buffer[: at + len(_LEGACY_END)])
        return bytes(self._buffer) if at_end and self._buffer else None

    def _http_body(self, at_end: bool) -> bytes | None:
        found = re.search(rb"\r?\n\r?\n", self._buffer)
        if found is None:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise RemoteProtocolError("the head of the VOMS server's HTTP answer is too long")
            return None
        lines = [line.rstrip(b"\r") for line in bytes(self._buffer[: found.start()]).split(b"\n")]
        status = _STATUS.match(lines[0])
        if status is None:
            raise RemoteProtocolError("the VOMS server did not answer with HTTP")
        fields = _parse_fields(lines[1:])
        body = _take_body(bytes(self._buffer[found.end() :]), fields, at_end=at_end)
        if body is not None and status[1] != b"200" and b"<voms" not in body:
            reason = "".join(char if char.isprintable() else " " for char in lines[0].decode("latin-1")[9:100])
            raise RemoteProtocolError(f"the VOMS server answered by HTTP: {reason}")
        return body


def _parse_fields(lines: list[bytes]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip() or name.lower() in fields.keys() & {b"content-length"}:
            raise RemoteProtocolError("a malformed field in the VOMS server's HTTP answer")
        fields[name.lower()] = value.strip()
    return fields


def _take_body(rest: bytes, fields: dict[bytes, bytes], *, at_end: bool) -> bytes | None:
    """Return the body if it is there as a whole (RFC 9112 section 6)."""
    coding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if coding is not None:
        if coding.lower() != b"chunked":
            raise RemoteProtocolError("the VOMS server's HTTP answer has an unknown transfer coding")
        return _dechunk(rest)
    if length is not None:
        if not length.isdigit() or len(length) > 9:
            raise RemoteProtocolError("the VOMS server's HTTP answer has no length that is one")
        size = int(length)
        return rest[:size] if len(rest) >= size else None
    return rest if at_end else None


def _dechunk(rest: bytes) -> bytes | None:
    body = bytearray()
    while True:
        line, feed, rest = rest.partition(b"\n")
        if not feed:
            return None
        size = _CHUNK_SIZE.match(line.rstrip(b"\r"))
        if size is None:
            raise RemoteProtocolError("a malformed chunk in the VOMS server's HTTP answer")
        count = int(size[1], 16)
        if count == 0:
            return bytes(body)
        if len(rest) < count + 2:
            return None
        body += rest[:count]
        rest = rest[count:].removeprefix(b"\r").removeprefix(b"\n")
