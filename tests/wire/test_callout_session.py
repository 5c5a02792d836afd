"""Legal order between the callout library and the daemon."""

from __future__ import annotations

import pytest

from gsi.authz.callout.messages import (
    Answer,
    GateRequest,
    JobRequest,
    MapRequest,
    OperationRequest,
    Request,
    ServiceRequest,
    SessionRequest,
    Verdict,
    encode_request,
)
from gsi.authz.callout.session import CalloutSession, State
from gsi.errors import LocalProtocolError, RemoteProtocolError

SINGLE: list[Request] = [
    MapRequest(service="file", buffer_bytes=64),
    ServiceRequest(service="file"),
    JobRequest(job_id="1", query="status"),
    GateRequest(service="jobmanager", rsl="&(a=b)"),
]
SESSION = SessionRequest(service="file")
OPERATION = OperationRequest(action="read", object="ftp://h/a")
PERMIT, DENY = Answer(Verdict.PERMIT), Answer(Verdict.DENY)


def _name(value: object) -> str:
    return type(value).__name__


@pytest.mark.parametrize("request_", SINGLE, ids=_name)
@pytest.mark.parametrize("answer", [PERMIT, DENY])
def test_single_questions(request_: Request, answer: Answer) -> None:
    session = CalloutSession()
    assert session.receive(encode_request(request_)) == request_
    session.answer(answer)
    assert session.finished
    with pytest.raises(RemoteProtocolError):
        session.receive(encode_request(request_))


def test_session() -> None:
    session = CalloutSession()
    assert session.receive(encode_request(SESSION)) == SESSION
    session.answer(PERMIT)
    for answer in (PERMIT, DENY, PERMIT):
        assert session.receive(encode_request(OPERATION)) == OPERATION
        session.answer(answer)
        assert session.state is State.OPEN


def test_refused_session() -> None:
    session = CalloutSession()
    session.receive(encode_request(SESSION))
    session.answer(DENY)
    assert session.finished


def test_byte_by_byte() -> None:
    session = CalloutSession()
    data = encode_request(SESSION)
    for byte in data[:-1]:
        assert session.receive(bytes((byte,))) is None
        assert session.in_request
    assert session.receive(data[-1:]) == SESSION
    assert not session.in_request


@pytest.mark.parametrize("request_", [*SINGLE, SESSION], ids=_name)
def test_within_a_session(request_: Request) -> None:
    session = CalloutSession()
    session.receive(encode_request(SESSION))
    session.answer(PERMIT)
    with pytest.raises(RemoteProtocolError):
        session.receive(encode_request(request_))


def test_operation_without_a_session() -> None:
    with pytest.raises(RemoteProtocolError):
        CalloutSession().receive(encode_request(OPERATION))


@pytest.mark.parametrize("more", [b"x", encode_request(OPERATION)])
def test_the_answer_has_to_be_awaited(more: bytes) -> None:
    session = CalloutSession()
    with pytest.raises(RemoteProtocolError):
        session.receive(encode_request(SESSION) + more)
    session = CalloutSession()
    session.receive(encode_request(SESSION))
    with pytest.raises(RemoteProtocolError):
        session.receive(more)


def test_answers_need_questions() -> None:
    session = CalloutSession()
    with pytest.raises(LocalProtocolError):
        session.answer(PERMIT)
    session.receive(encode_request(SESSION)[:9])
    with pytest.raises(LocalProtocolError):
        session.answer(PERMIT)
