"""Generated MYPROXYv2 messages: what is written is read back, and whatever is read, only our errors come out."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from gsi.errors import LocalProtocolError, RemoteProtocolError
from gsi.secret import Passphrase
from myproxy.protocol.client import ClientSession
from myproxy.protocol.codec import encode_request, encode_response, is_sendable, parse_request, parse_response
from myproxy.protocol.events import NEED_DATA, ConnectionClosed, RequestReceived
from myproxy.protocol.messages import (
    AuthorizationOffer,
    Command,
    CredentialInfo,
    Happening,
    Request,
    Response,
    ResponseType,
    TrustRootFile,
)
from myproxy.protocol.server import ServerSession

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), min_size=1, max_size=60).filter(is_sendable)
NAME = TEXT.filter(lambda name: "," not in name)
SECRET = st.binary(max_size=60).filter(lambda data: is_sendable(data.decode("latin-1"))).map(Passphrase)
OPTIONAL = st.none() | TEXT
MOMENT = st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))

REQUESTS = st.builds(
    Request,
    st.sampled_from(Command),
    TEXT,
    passphrase=SECRET,
    new_passphrase=SECRET,
    lifetime=st.integers(0, 2**31 - 1).map(lambda seconds: timedelta(seconds=seconds)),
    retriever=OPTIONAL,
    renewer=OPTIONAL,
    credential_name=OPTIONAL,
    description=OPTIONAL,
    key_retrievers=OPTIONAL,
    trusted_retriever=OPTIONAL,
    wants_trust_roots=st.booleans(),
    vo_names=st.lists(TEXT, max_size=3).map(tuple),
    vomses=st.lists(TEXT, max_size=3).map(tuple),
    wants_history=st.booleans(),
)
WORD = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789.:"), min_size=1, max_size=20)
HAPPENINGS = st.builds(Happening, MOMENT, WORD, st.booleans(), WORD, OPTIONAL, st.integers(1, 2**31 - 1), MOMENT)


@st.composite
def infos(draw: st.DrawFn) -> tuple[CredentialInfo, ...]:
    names: list[str | None] = [*draw(st.lists(NAME, max_size=4, unique=True))]
    if draw(st.booleans()):
        names.insert(0, None)
    return tuple(
        CredentialInfo(
            name=name,
            start_time=draw(MOMENT),
            end_time=draw(MOMENT),
            owner=draw(TEXT),
            description=draw(OPTIONAL),
            retriever=draw(OPTIONAL),
            key_retrievers=draw(OPTIONAL),
            trusted_retriever=draw(OPTIONAL),
            renewer=draw(OPTIONAL),
            lock_message=draw(OPTIONAL),
        )
        for name in names
    )


@st.composite
def responses(draw: st.DrawFn) -> Response:
    match draw(st.sampled_from(ResponseType)):
        case ResponseType.ERROR:
            return Response.refuse(*draw(st.lists(TEXT, min_size=1, max_size=3)))
        case ResponseType.AUTHORIZATION:
            methods = st.lists(st.tuples(TEXT.filter(lambda text: ":" not in text), TEXT), min_size=1, max_size=3)
            return Response.ask(*(AuthorizationOffer(*offer) for offer in draw(methods)))
        case _:
            names = draw(st.lists(NAME.filter(lambda name: "=" not in name), max_size=3, unique=True))
            files = tuple(TrustRootFile(name, draw(st.binary(max_size=50))) for name in names)
            credentials, history = draw(infos()), draw(st.none() | st.lists(HAPPENINGS, max_size=3).map(tuple))
            if history is not None:
                credentials = tuple(
                    dataclasses.replace(one, last_use=_use(one.name, draw(MOMENT))) for one in credentials
                )
            return Response.ok(credentials=credentials, trust_roots=files, history=history)


def _use(name: str | None, at: datetime) -> Happening:
    return Happening(at, "renewal", True, "2001:db8::7", name, 1, at)


@given(REQUESTS)
def test_requests_come_back(request: Request) -> None:
    data = encode_request(request)
    assert data.count(b"\0") == 1
    assert data.endswith(b"\n\0")
    assert parse_request(data) == request
    assert parse_request(data[:-1]) == request


@given(responses())
def test_responses_come_back(response: Response) -> None:
    data = encode_response(response)
    assert data.count(b"\0") == 1
    assert parse_response(data) == response


@given(st.text(max_size=200))
def test_error_texts_always_go_out(text: str) -> None:
    data = encode_response(Response.refuse(text))
    assert parse_response(data).type is ResponseType.ERROR
    assert data.count(b"RESPONSE=") == data.count(b"VERSION=") == 1


ATTRIBUTES = (
    b"VERSION",
    b"COMMAND",
    b"USERNAME",
    b"PASSPHRASE",
    b"LIFETIME",
    b"RESPONSE",
    b"CRED_START_TIME",
    b"CRED_END_TIME",
    b"ADDL_CREDS",
    b"CRED_a_START_TIME",
    b"TRUSTED_CERTS",
    b"FILEDATA_a",
    b"ERROR",
)
VALUES = st.sampled_from((b"MYPROXYv2", b"0", b"1", b"2", b"a", b"a,b", b"", b"AAAA", b"-1")) | st.binary(max_size=9)
LINES = st.lists(
    st.binary(max_size=30) | st.tuples(st.sampled_from(ATTRIBUTES), VALUES).map(b"=".join), max_size=12
).map(b"\n".join)


@given(LINES)
@example(b"VERSION=MYPROXYv2\nRESPONSE=0\nCRED_START_TIME=1\nADDL_CREDS=a")
def test_whatever_comes_only_our_error_comes_out(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        parse_request(data)
    with contextlib.suppress(RemoteProtocolError):
        parse_response(data)


@given(st.lists(st.binary(max_size=40) | LINES, max_size=6), st.sampled_from(Command))
def test_sessions_raise_only_our_error(portions: list[bytes], command: Command) -> None:
    server, client = ServerSession(), ClientSession()
    client.send_start()
    client.send_request(Request(command, "alice"))
    with contextlib.suppress(RemoteProtocolError, LocalProtocolError):
        server.receive_data(b"0" + encode_request(Request(command, "alice")))
        assert isinstance(server.next_event(), RequestReceived)
        server.send_response(Response.ok())
        server.send_certificate_request(b"0")
    for session in (server, client):
        with contextlib.suppress(RemoteProtocolError):
            for portion in portions:
                session.receive_data(portion)
                while session.next_event() not in (NEED_DATA, ConnectionClosed()):
                    pass


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_split_gives_the_same(data: bytes, size: int) -> None:
    def play(portions: list[bytes]) -> list[object]:
        server = ServerSession()
        seen: list[object] = []
        try:
            for portion in portions:
                server.receive_data(portion)
                while (event := server.next_event()) is not NEED_DATA:
                    seen.append(event)
        except RemoteProtocolError as error:
            seen.append(str(error))
        return seen

    stream = b"0" + encode_request(Request(Command.GET, "alice")) + data
    assert play([stream]) == play([stream[at : at + size] for at in range(0, len(stream), size)])
