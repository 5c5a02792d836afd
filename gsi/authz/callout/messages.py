"""The frames between a service's callout library and the deciding daemon, as values; no socket, no legal order.

    frames = FrameReader(MAX_REQUEST_BYTES)
    frames.feed(data)
    while (body := frames.next_body()) is not None:
        request = parse_request(body)
    answer = encode_answer(Answer(Effect.PERMIT, account="alice", decision_id="c0ffee"))

A frame is a length (32 bits, of what follows), a version, a kind, and fields: a tag (8 bits), a length (32 bits),
bytes; all numbers big endian. Requests come from `native/gsi_authz_callout.c` and the gate, answers go back. Reading is
strict: an unknown version, kind or tag, a field that is there twice or too long, or a missing one is an error
(docs/wire/authz-callout.md). Texts are UTF-8; bytes that are none of it come through as surrogates.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from gsi.authz.callout.questions import (
    ASSERTION,
    Answer,
    Code,
    Fact,
    GateRequest,
    JobRequest,
    MapRequest,
    OperationRequest,
    Request,
    ServiceRequest,
    SessionRequest,
    Verdict,
)
from gsi.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ASSERTION",
    "MAX_ANSWER_BYTES",
    "MAX_CERTIFICATES",
    "MAX_GATE_RSL_BYTES",
    "MAX_REQUEST_BYTES",
    "Answer",
    "Code",
    "Fact",
    "FrameReader",
    "GateRequest",
    "JobRequest",
    "MapRequest",
    "OperationRequest",
    "Request",
    "ServiceRequest",
    "SessionRequest",
    "Verdict",
    "encode_answer",
    "encode_request",
    "parse_answer",
    "parse_request",
]

MAX_REQUEST_BYTES: Final = 1 << 20
"""The longest request: assertions of 200,000 bytes were seen through SITE AUTHZ_ASSERT; the library sends no more."""

MAX_ANSWER_BYTES: Final = 4096
"""The longest answer: the library reads it into a buffer of this size."""

MAX_GATE_RSL_BYTES: Final = 64000
"""The longest description of a job at the gate: GRAM takes no longer request (GLOBUS_GRAM_PROTOCOL_MAX_MSG_SIZE)."""

MAX_CERTIFICATES: Final = 32
"""Certificates in a chain: `gsi.trust` takes fewer, no real one has ten."""

_VERSION: Final = 1
_HEAD_BYTES: Final = 4


class _Kind(IntEnum):
    MAP = 1
    SERVICE = 2
    SESSION = 3
    OPERATION = 4
    JOB = 5
    GATE = 6
    ANSWER = 128


class _Tag(IntEnum):
    SERVICE = 1
    DESIRED = 2
    BUFFER = 3
    CERTIFICATE = 4
    SOURCE = 5
    TARGET = 6
    SHARED = 7
    RESUMED = 8
    ACTION = 16
    OBJECT = 17
    FACTS = 18
    REAL_PATH = 19
    LINK_PATH = 20
    FILE_NOW = 21
    DIRECTORY_NOW = 22
    JOB_ID = 32
    QUERY = 33
    RSL = 34
    ENVIRONMENT = 35
    EFFECT = 64
    ACCOUNT = 65
    REASON = 66
    ID = 67
    CODE = 68


_MAX_NAME: Final = 4096
"""Bytes of a service, an account, an action, a distinguished name, an id."""
_MAX_PATH: Final = 8192
"""Bytes of a path: the system's limit is half of it."""
_MAX_CERTIFICATE: Final = 65536
"""Bytes of a certificate; `gsi.certificate` takes no longer one."""
_MAX_TEXT: Final = MAX_REQUEST_BYTES
"""Bytes of an assertion: what fits into a frame."""
_MAX_OBJECT: Final = _MAX_PATH + 1024
"""Bytes of `ftp://host/path`: judging one costs the more, the longer it is."""
_MAX_CANONICAL_RSL: Final = 256 << 10
"""Bytes of a job's description from the job manager: what the client sent, with each value in quotes."""
_MAX_NAMES: Final = 8192
"""Names of a session that may have come to lead elsewhere: all that it remembers."""

_LIMITS: Final[Mapping[int, int]] = {
    _Tag.SERVICE: _MAX_NAME,
    _Tag.DESIRED: _MAX_NAME,
    _Tag.BUFFER: 4,
    _Tag.CERTIFICATE: _MAX_CERTIFICATE,
    _Tag.SOURCE: _MAX_NAME,
    _Tag.TARGET: _MAX_NAME,
    _Tag.SHARED: _MAX_CERTIFICATE,
    _Tag.RESUMED: 1,
    _Tag.ACTION: _MAX_NAME,
    _Tag.OBJECT: _MAX_TEXT,
    _Tag.FACTS: 1,
    _Tag.REAL_PATH: _MAX_PATH,
    _Tag.LINK_PATH: _MAX_PATH,
    _Tag.FILE_NOW: _MAX_PATH,
    _Tag.DIRECTORY_NOW: _MAX_PATH,
    _Tag.JOB_ID: _MAX_NAME,
    _Tag.QUERY: _MAX_PATH,
    _Tag.RSL: _MAX_CANONICAL_RSL,
    _Tag.ENVIRONMENT: _MAX_PATH,
    _Tag.EFFECT: 1,
    _Tag.ACCOUNT: 255,
    _Tag.REASON: 1023,
    _Tag.ID: 64,
    _Tag.CODE: 1,
}
_REPEATABLE: Final[Mapping[int, int]] = {
    _Tag.CERTIFICATE: MAX_CERTIFICATES,
    _Tag.ENVIRONMENT: 16,
    _Tag.FILE_NOW: _MAX_NAMES,
    _Tag.DIRECTORY_NOW: _MAX_NAMES,
}
"""Which fields may be there several times, and how often."""


# --- frames -----------------------------------------------------------------------------------------------------------


class FrameReader:
    """Cuts a byte stream into the bodies of frames.

    Args:
        max_bytes: The longest body.
    """

    __slots__ = ("_buffer", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    @property
    def pending(self) -> int:
        """Bytes that are held and belong to no frame that was returned."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes as they come."""
        self._buffer += data

    def next_body(self) -> bytes | None:
        """Return the next body (version, kind, fields), or None while it is not complete.

        Raises:
            RemoteProtocolError: It is longer than allowed, or too short for a body.
        """
        if len(self._buffer) < _HEAD_BYTES:
            return None
        length = int.from_bytes(self._buffer[:_HEAD_BYTES], "big")
        if not 2 <= length <= self._max_bytes:
            raise RemoteProtocolError(f"a frame of {length} bytes, limit {self._max_bytes}")
        if len(self._buffer) < _HEAD_BYTES + length:
            return None
        body = bytes(self._buffer[_HEAD_BYTES : _HEAD_BYTES + length])
        del self._buffer[: _HEAD_BYTES + length]
        return body


class _Fields:
    """The fields of one body. Each accessor takes its field away; `check_empty` finds what nobody asked for."""

    __slots__ = ("_values",)

    def __init__(self, body: bytes) -> None:
        values: dict[int, list[bytes]] = {}
        at, end = 2, len(body)
        while at < end:
            if end - at < 5:
                raise RemoteProtocolError("the last field is cut off")
            tag = body[at]
            length = int.from_bytes(body[at + 1 : at + 5], "big")
            at += 5
            limit = _LIMITS.get(tag)
            if limit is None:
                raise RemoteProtocolError(f"unknown field {tag}")
            if length > limit or length > end - at:
                raise RemoteProtocolError(f"field {tag} has {length} bytes")
            found = values.setdefault(tag, [])
            found.append(body[at : at + length])
            if len(found) > _REPEATABLE.get(tag, 1):
                raise RemoteProtocolError(f"field {tag} is there {len(found)} times")
            at += length
        self._values = values

    def octets(self, tag: _Tag) -> bytes | None:
        found = self._values.pop(tag, None)
        return None if found is None else found[0]

    def every(self, tag: _Tag) -> tuple[bytes, ...]:
        return tuple(self._values.pop(tag, ()))

    def text(self, tag: _Tag) -> str | None:
        found = self.octets(tag)
        return None if found is None else _decode(found)

    def texts(self, tag: _Tag) -> tuple[str, ...]:
        return tuple(map(_decode, self._values.pop(tag, ())))

    def required(self, tag: _Tag, limit: int | None = None) -> str:
        found = self.octets(tag)
        if found is None:
            raise RemoteProtocolError(f"field {tag} is missing")
        if limit is not None and len(found) > limit:
            raise RemoteProtocolError(f"field {tag} has {len(found)} bytes")
        return _decode(found)

    def number(self, tag: _Tag, size: int) -> int | None:
        found = self.octets(tag)
        if found is None:
            return None
        if len(found) != size:
            raise RemoteProtocolError(f"field {tag} has {len(found)} bytes")
        return int.from_bytes(found, "big")

    def pairs(self) -> tuple[tuple[str, str], ...]:
        pairs = []
        for value in self.every(_Tag.ENVIRONMENT):
            name, equals, content = _decode(value).partition("=")
            if not equals or not name:
                raise RemoteProtocolError("an environment field without a name")
            pairs.append((name, content))
        return tuple(pairs)

    def check_empty(self) -> None:
        if self._values:
            raise RemoteProtocolError(f"fields {sorted(self._values)} do not belong there")


def _decode(value: bytes) -> str:
    if b"\0" in value:
        raise RemoteProtocolError("a NUL in a text")
    return value.decode("utf-8", "surrogateescape")


def _kind_of(body: bytes) -> int:
    if len(body) < 2 or body[0] != _VERSION:
        raise RemoteProtocolError(f"version {body[0] if body else None} of the callout's frames, not {_VERSION}")
    return body[1]


def parse_request(body: bytes) -> Request:
    """Parse the body of a request.

    Raises:
        RemoteProtocolError: It is none.
    """
    kind = _kind_of(body)
    fields = _Fields(body)
    request: Request
    match kind:
        case _Kind.OPERATION:
            facts = fields.number(_Tag.FACTS, 1) or 0
            if facts > 63:  # all the flags there are
                raise RemoteProtocolError(f"unknown facts {facts}")
            action = fields.required(_Tag.ACTION)
            request = OperationRequest(
                action=action,
                object=fields.required(_Tag.OBJECT, None if action == ASSERTION else _MAX_OBJECT),
                facts=Fact(facts),
                real_path=fields.text(_Tag.REAL_PATH) or "",
                link_path=fields.text(_Tag.LINK_PATH) or "",
                files_now=fields.texts(_Tag.FILE_NOW),
                directories_now=fields.texts(_Tag.DIRECTORY_NOW),
            )
        case _Kind.MAP:
            size = fields.number(_Tag.BUFFER, 4)
            if size is None:
                raise RemoteProtocolError("no size of the account's buffer")
            request = MapRequest(
                service=fields.required(_Tag.SERVICE),
                desired=fields.text(_Tag.DESIRED),
                buffer_bytes=size,
                chain=fields.every(_Tag.CERTIFICATE),
                source=fields.text(_Tag.SOURCE) or "",
                target=fields.text(_Tag.TARGET) or "",
                shared=fields.text(_Tag.SHARED),
            )
        case _Kind.SERVICE:
            request = ServiceRequest(
                service=fields.required(_Tag.SERVICE),
                chain=fields.every(_Tag.CERTIFICATE),
                source=fields.text(_Tag.SOURCE) or "",
                target=fields.text(_Tag.TARGET) or "",
                shared=fields.text(_Tag.SHARED),
            )
        case _Kind.SESSION:
            request = SessionRequest(
                service=fields.required(_Tag.SERVICE),
                chain=fields.every(_Tag.CERTIFICATE),
                source=fields.text(_Tag.SOURCE) or "",
                target=fields.text(_Tag.TARGET) or "",
                resumed=bool(fields.number(_Tag.RESUMED, 1)),
            )
        case _Kind.JOB:
            request = JobRequest(
                job_id=fields.required(_Tag.JOB_ID),
                query=fields.required(_Tag.QUERY),
                rsl=fields.text(_Tag.RSL) or "",
                chain=fields.every(_Tag.CERTIFICATE),
                source=fields.text(_Tag.SOURCE) or "",
                target=fields.text(_Tag.TARGET) or "",
                environment=fields.pairs(),
            )
        case _Kind.GATE:
            request = GateRequest(
                service=fields.required(_Tag.SERVICE),
                rsl=fields.required(_Tag.RSL, MAX_GATE_RSL_BYTES),
                chain=fields.every(_Tag.CERTIFICATE),
                source=fields.text(_Tag.SOURCE) or "",
                environment=fields.pairs(),
            )
        case _:
            raise RemoteProtocolError(f"unknown request {kind}")
    fields.check_empty()
    return request


def parse_answer(body: bytes) -> Answer:
    """Parse the body of an answer.

    Raises:
        RemoteProtocolError: It is none.
    """
    if _kind_of(body) != _Kind.ANSWER:
        raise RemoteProtocolError(f"not an answer but {body[1]}")
    fields = _Fields(body)
    try:
        answer = Answer(
            verdict=Verdict(fields.number(_Tag.EFFECT, 1) or 0),
            account=fields.text(_Tag.ACCOUNT) or "",
            reason=fields.text(_Tag.REASON) or "",
            decision_id=fields.text(_Tag.ID) or "",
            code=Code(fields.number(_Tag.CODE, 1) or 0),
        )
    except ValueError as error:
        raise RemoteProtocolError(f"an unknown value in the answer: {error}") from error
    fields.check_empty()
    if not (answer.account + answer.reason + answer.decision_id).isascii() or not all(
        text.isprintable() for text in (answer.account, answer.reason, answer.decision_id)
    ):
        raise RemoteProtocolError("the answer has characters that no answer has")
    return answer


# --- writing ----------------------------------------------------------------------------------------------------------


class _Body:
    """Gathers fields; leaves out what is empty."""

    __slots__ = ("_parts",)

    def __init__(self, kind: _Kind) -> None:
        self._parts: list[bytes] = [bytes((_VERSION, kind))]

    def add(self, tag: _Tag, value: bytes | str | None) -> _Body:
        """Add a field unless the value is None."""
        if value is None:
            return self
        content = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        if len(content) > _LIMITS[tag]:
            raise LocalProtocolError(f"field {tag.name} would have {len(content)} bytes, limit {_LIMITS[tag]}")
        self._parts += (tag.to_bytes(1, "big"), len(content).to_bytes(4, "big"), content)
        return self

    def frame(self, limit: int) -> bytes:
        """Return the frame."""
        body = b"".join(self._parts)
        if len(body) > limit:
            raise LocalProtocolError(f"a frame of {len(body)} bytes, limit {limit}")
        return len(body).to_bytes(_HEAD_BYTES, "big") + body


def encode_request(request: Request) -> bytes:
    """Return the frame of a request.

    Raises:
        LocalProtocolError: It is too long.
    """
    match request:
        case OperationRequest():
            body = _Body(_Kind.OPERATION).add(_Tag.ACTION, request.action).add(_Tag.OBJECT, request.object)
            body.add(_Tag.REAL_PATH, request.real_path or None).add(_Tag.LINK_PATH, request.link_path or None)
            for path in request.files_now:
                body.add(_Tag.FILE_NOW, path)
            for path in request.directories_now:
                body.add(_Tag.DIRECTORY_NOW, path)
            body.add(_Tag.FACTS, request.facts.to_bytes(1, "big"))
        case JobRequest():
            body = _Body(_Kind.JOB).add(_Tag.JOB_ID, request.job_id).add(_Tag.QUERY, request.query)
            body.add(_Tag.RSL, request.rsl or None).add(_Tag.TARGET, request.target or None)
        case GateRequest():
            body = _Body(_Kind.GATE).add(_Tag.SERVICE, request.service).add(_Tag.RSL, request.rsl)
        case MapRequest():
            body = _Body(_Kind.MAP).add(_Tag.SERVICE, request.service).add(_Tag.DESIRED, request.desired)
            body.add(_Tag.BUFFER, request.buffer_bytes.to_bytes(4, "big")).add(_Tag.TARGET, request.target or None)
            body.add(_Tag.SHARED, request.shared)
        case ServiceRequest():
            body = _Body(_Kind.SERVICE).add(_Tag.SERVICE, request.service).add(_Tag.TARGET, request.target or None)
            body.add(_Tag.SHARED, request.shared)
        case SessionRequest():
            body = _Body(_Kind.SESSION).add(_Tag.SERVICE, request.service).add(_Tag.TARGET, request.target or None)
            body.add(_Tag.RESUMED, b"\1" if request.resumed else None)
    if not isinstance(request, OperationRequest):
        body.add(_Tag.SOURCE, request.source or None)
        for certificate in request.chain:
            body.add(_Tag.CERTIFICATE, certificate)
    if isinstance(request, JobRequest | GateRequest):
        for name, value in request.environment:
            body.add(_Tag.ENVIRONMENT, f"{name}={value}")
    return body.frame(MAX_REQUEST_BYTES)


def encode_answer(answer: Answer) -> bytes:
    """Return the frame of an answer; the reason is cut to what fits and made printable.

    Raises:
        LocalProtocolError: Account or id are not short printable ASCII: nobody may be answered with that.
    """
    if answer == _PLAIN_PERMIT:
        return _PLAIN_PERMIT_FRAME
    for text in (answer.account, answer.decision_id):
        if not text.isascii() or not text.isprintable():
            raise LocalProtocolError(f"{text!r} cannot be sent to a service")
    reason = "".join(one if " " <= one <= "~" else "?" for one in answer.reason[: _LIMITS[_Tag.REASON]])
    body = _Body(_Kind.ANSWER).add(_Tag.EFFECT, answer.verdict.to_bytes(1, "big"))
    body.add(_Tag.ACCOUNT, answer.account or None).add(_Tag.REASON, reason or None)
    body.add(_Tag.ID, answer.decision_id or None)
    body.add(_Tag.CODE, answer.code.to_bytes(1, "big") if answer.code else None)
    return body.frame(MAX_ANSWER_BYTES)


_PLAIN_PERMIT: Final = Answer(Verdict.PERMIT)
_PLAIN_PERMIT_FRAME: Final = _Body(_Kind.ANSWER).add(_Tag.EFFECT, b"\1").frame(MAX_ANSWER_BYTES)
"""What nearly every file operation is answered with."""
