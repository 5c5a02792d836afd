"""Whatever comes over the callout's socket or in a GRAM body: a value that is written as it was read, or our errors."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from gsi.authz.callout.fileops import FileRules, Renames, SessionMemory, plan_operation
from gsi.authz.callout.gram import parse_job_query, parse_job_request
from gsi.authz.callout.messages import (
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
from gsi.authz.callout.session import CalloutSession
from gsi.errors import ParseError, RemoteProtocolError

texts = st.binary(max_size=60).map(lambda value: value.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
words = st.text("abcXYZ._-09", min_size=1, max_size=20)
chains = st.lists(st.binary(max_size=40), max_size=4).map(tuple)
pairs = st.lists(st.tuples(words, texts), max_size=3).map(tuple)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)

requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(
        MapRequest,
        service=texts,
        buffer_bytes=st.integers(0, 2**32 - 1),
        desired=st.none() | texts,
        chain=chains,
        source=texts,
        target=texts,
        shared=st.none() | texts,
    ),
    st.builds(ServiceRequest, service=texts, chain=chains, source=texts, target=texts, shared=st.none() | texts),
    st.builds(SessionRequest, service=texts, chain=chains, source=texts, target=texts, resumed=st.booleans()),
    st.builds(
        OperationRequest,
        action=texts,
        object=texts,
        facts=st.integers(0, 63).map(Fact),
        real_path=texts,
        link_path=texts,
        files_now=st.lists(texts, max_size=3).map(tuple),
        directories_now=st.lists(texts, max_size=3).map(tuple),
    ),
    st.builds(
        JobRequest,
        job_id=texts,
        query=texts,
        rsl=texts,
        chain=chains,
        source=texts,
        target=texts,
        environment=pairs,
    ),
    st.builds(GateRequest, service=texts, rsl=texts, chain=chains, source=texts, environment=pairs),
)
answers = st.builds(
    Answer,
    verdict=st.sampled_from(Verdict),
    account=printable,
    reason=printable,
    decision_id=printable,
    code=st.sampled_from(Code),
)


@given(requests)
def test_requests_round_trip(request: Request) -> None:
    found = parse_request(encode_request(request)[4:])
    assert found == request
    assert type(found) is type(request)


@given(answers)
def test_answers_round_trip(answer: Answer) -> None:
    assert parse_answer(encode_answer(answer)[4:]) == answer


@given(st.binary(max_size=200), st.sampled_from([b"", b"\1", b"\1\1", b"\1\4", b"\1\5", b"\1\x80"]))
def test_any_body(data: bytes, start: bytes) -> None:
    for parse in (parse_request, parse_answer):
        with contextlib.suppress(RemoteProtocolError):
            parse(start + data)


@given(requests, st.data())
def test_damaged_requests(request: Request, data: st.DataObject) -> None:
    body = bytearray(encode_request(request)[4:])
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(RemoteProtocolError):
        parse_request(bytes(body))


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_any_stream(chunks: list[bytes]) -> None:
    reader, session = FrameReader(MAX_REQUEST_BYTES), CalloutSession()
    with contextlib.suppress(RemoteProtocolError):
        for chunk in chunks:
            reader.feed(chunk)
            while reader.next_body() is not None:
                pass
    with contextlib.suppress(RemoteProtocolError):
        for chunk in chunks:
            session.receive(chunk)


@given(st.binary(max_size=200) | st.builds(lambda value: b"protocol-version: 2\r\n" + value, st.binary(max_size=200)))
def test_any_gram_body(body: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse_job_request(body)


@given(texts)
def test_rsl_comes_through_quoting(rsl: str) -> None:
    quoted = rsl.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8", "surrogateescape")
    body = b'protocol-version: 2\r\njob-state-mask: 1\r\ncallback-url: ""\r\nrsl: "' + quoted + b'"\r\n\0'
    assert parse_job_request(body).rsl == rsl


@given(texts)
def test_any_query(text: str) -> None:
    with contextlib.suppress(ParseError):
        assert parse_job_query(text).word == text.partition(" ")[0]


paths = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
operations = st.builds(
    lambda action, path, facts, real, link: OperationRequest(
        action=action, object=f"ftp://h{path}", facts=facts, real_path=real, link_path=link
    ),
    st.sampled_from(["read", "write", "create", "delete", "lookup"]),
    paths,
    st.integers(0, 31).map(Fact),
    paths,
    paths,
)


@given(
    st.lists(operations, max_size=8),
    operations,
    st.builds(
        FileRules,
        renames=st.sampled_from(Renames),
        directory_renames=st.booleans(),
        recursive_deletes=st.booleans(),
        real_paths=st.booleans(),
    ),
)
def test_plans(before: list[OperationRequest], request: OperationRequest, rules: FileRules) -> None:
    """A plan refuses, or asks about the name; and about the places it leads to unless that is switched off."""
    memory = SessionMemory()
    for each in before:
        memory.remember(each)
    plan = plan_operation(request, memory, rules)
    if plan.refusal:
        assert not plan.questions
        return
    path = request.object.removeprefix("ftp://h")
    asked = {question.path for question in plan.questions}
    assert path in asked
    assert Fact.RESOLVED in request.facts
    followed = {request.link_path} if request.action == "delete" else {request.real_path}
    assert followed <= asked if rules.real_paths else asked == {path}
    if request.action == "write" and rules.renames is Renames.CHECKED and Fact.EXISTS not in request.facts:
        files = {path for path, is_directory in memory.objects.items() if not is_directory} - {request.link_path}
        assert files <= set(plan.sources)
