"""Frames of the callout: what is written is read again, and nothing else is."""

from __future__ import annotations

import pytest

from gsi.authz.callout.messages import (
    MAX_ANSWER_BYTES,
    MAX_CERTIFICATES,
    MAX_GATE_RSL_BYTES,
    MAX_REQUEST_BYTES,
    Answer,
    Code,
    Fact,
    FrameReader,
    GateRequest,
    JobRequest,
    MapRequest,
    OperationRequest,
    Request,
    ServiceRequest,
    SessionRequest,
    Verdict,
    encode_answer,
    encode_request,
    parse_answer,
    parse_request,
)
from gsi.errors import LocalProtocolError, RemoteProtocolError

REQUESTS: list[Request] = [
    MapRequest(service="file", buffer_bytes=64),
    MapRequest(
        service="jobmanager",
        buffer_bytes=256,
        desired="alice",
        chain=(b"leaf", b"root"),
        source="/CN=A",
        target="/CN=B",
    ),
    MapRequest(service="sharing", buffer_bytes=64, shared="-----BEGIN CERTIFICATE-----"),
    MapRequest(service="file", buffer_bytes=64, desired=""),
    ServiceRequest(service="file", chain=(b"leaf",), source="/CN=\udcff"),
    SessionRequest(service="file", chain=(b"leaf",)),
    SessionRequest(service="file", resumed=True),
    OperationRequest(action="read", object="ftp://h/a\nb"),
    OperationRequest(
        action="write",
        object="ftp://h/\udcfe",
        facts=Fact.RESOLVED | Fact.EXISTS,
        real_path="/real",
        link_path="/link",
        files_now=("/a", "/\udcfe"),
        directories_now=("/d",),
    ),
    JobRequest(job_id="1.2", query="signal 3 x", rsl="&(a=b)", chain=(b"x",), environment=(("A", "b=c"), ("D", ""))),
    GateRequest(service="jobmanager-fork", rsl="", chain=(b"x",), environment=(("REMOTE_ADDR", "::1"),)),
]


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def _field(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + len(value).to_bytes(4, "big") + value


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_requests(request_: Request) -> None:
    found = parse_request(encode_request(request_)[4:])
    assert found == request_
    assert type(found) is type(request_)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(Verdict.PERMIT),
        Answer(Verdict.PERMIT, account="alice", decision_id="c0ffee"),
        Answer(Verdict.DENY, reason="not you", decision_id="c0ffee", code=Code.EXECUTABLE),
        Answer(Verdict.FAILURE, reason="broken"),
    ],
)
def test_answers(answer: Answer) -> None:
    assert parse_answer(encode_answer(answer)[4:]) == answer


def test_reasons_are_made_printable_and_cut() -> None:
    answer = parse_answer(encode_answer(Answer(Verdict.DENY, reason="a\r\n230 Wärme\x00" + "x" * 5000))[4:])
    assert answer.reason.startswith("a??230 W?rme?xxx")
    assert len(answer.reason) == 1023


@pytest.mark.parametrize("account", ["a\nb", "a\0", "wärme", "\x7f"])
def test_accounts_that_no_service_may_be_told(account: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode_answer(Answer(Verdict.PERMIT, account=account))


def test_too_long_to_send() -> None:
    with pytest.raises(LocalProtocolError):
        encode_request(OperationRequest(action="authz_assert", object="x" * MAX_REQUEST_BYTES))
    with pytest.raises(LocalProtocolError):
        encode_answer(Answer(Verdict.PERMIT, account="x" * 256))


MAP = b"\1\1"
GOOD_MAP = MAP + _field(1, b"file") + _field(3, bytes(4))
BAD_REQUESTS = {
    "empty": b"",
    "one byte": b"\1",
    "another version": b"\2" + GOOD_MAP[1:],
    "an answer": b"\1\x80" + _field(64, b"\1"),
    "unknown kind": b"\1\x63",
    "service missing": MAP + _field(3, bytes(4)),
    "buffer missing": MAP + _field(1, b"file"),
    "buffer of three bytes": MAP + _field(1, b"file") + _field(3, bytes(3)),
    "twice": GOOD_MAP + _field(1, b"file"),
    "unknown field": GOOD_MAP + _field(99, b""),
    "a field of another request": GOOD_MAP + _field(16, b"read"),
    "NUL in a text": MAP + _field(1, b"fi\0le") + _field(3, bytes(4)),
    "field too long": MAP + _field(1, b"x" * 5000) + _field(3, bytes(4)),
    "field beyond the end": MAP + b"\1\0\0\0\x05file",
    "field cut off": GOOD_MAP + b"\1\0",
    "too many certificates": GOOD_MAP + _field(4, b"x") * (MAX_CERTIFICATES + 1),
    "unknown facts": b"\1\4" + _field(16, b"read") + _field(17, b"x") + _field(18, b"\xff"),
    "an object too long": b"\1\4" + _field(16, b"read") + _field(17, b"ftp://h/" + b"x" * 10_000),
    "a job too long for GRAM": b"\1\6" + _field(1, b"jobmanager") + _field(34, b"x" * (MAX_GATE_RSL_BYTES + 1)),
    "environment without a name": b"\1\5" + _field(32, b"1") + _field(33, b"status") + _field(35, b"=x"),
}


@pytest.mark.parametrize("what", BAD_REQUESTS)
def test_bad_requests(what: str) -> None:
    assert parse_request(GOOD_MAP)
    with pytest.raises(RemoteProtocolError):
        parse_request(BAD_REQUESTS[what])


@pytest.mark.parametrize(
    "body",
    [
        b"\1\x80",
        b"\1\x80" + _field(64, b"\0"),
        b"\1\x80" + _field(64, b"\1\1"),
        b"\1\x80" + _field(64, b"\1") + _field(68, b"\x09"),
        b"\1\x80" + _field(64, b"\1") + _field(65, b"a\nb"),
        b"\1\x80" + _field(64, b"\1") + _field(66, "ä".encode()),
        GOOD_MAP,
    ],
)
def test_bad_answers(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_answer(body)


def test_frames_byte_by_byte() -> None:
    frames = b"".join(map(encode_request, REQUESTS))
    at_once, slowly = FrameReader(MAX_REQUEST_BYTES), FrameReader(MAX_REQUEST_BYTES)
    at_once.feed(frames)
    bodies = []
    while (body := at_once.next_body()) is not None:
        bodies.append(body)
    found = []
    for byte in frames:
        slowly.feed(bytes((byte,)))
        while (body := slowly.next_body()) is not None:
            found.append(body)
    assert found == bodies
    assert [parse_request(body) for body in bodies] == REQUESTS
    assert at_once.pending == slowly.pending == 0


@pytest.mark.parametrize(
    "head", [b"\0\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xff", (MAX_ANSWER_BYTES + 1).to_bytes(4, "big")]
)
def test_frames_of_impossible_length(head: bytes) -> None:
    reader = FrameReader(MAX_ANSWER_BYTES)
    reader.feed(head)
    with pytest.raises(RemoteProtocolError):
        reader.next_body()
