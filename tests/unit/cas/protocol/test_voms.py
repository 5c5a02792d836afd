"""The VOMS server's side: requests of C and Java as they were seen, whole and byte by byte, and what is no request."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from cas.assertion.attribute_cert import AttributeIssuer
from cas.protocol.voms import MAX_REQUEST_BYTES, Refusal, VOMSServerSession
from gsi.errors import LocalProtocolError, RemoteProtocolError
from gsi.voms.answers import decode_base64, parse_answer
from gsi.voms.attribute_cert import AttributeCertificate
from gsi.voms.exchange import ALL, FetchRequest, FetchSession, Protocol
from tests.harness.ca import TestCA
from tests.harness.capabilities import VO, make_capability, signing_key

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CA_ = TestCA(key="p256", not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=99))
ALICE = CA_.issue("/O=Grid/CN=Alice", "p256", not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=30))
SERVER = CA_.issue("/O=Grid/CN=voms", "p256", not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=30))
GROUP, WRITER = f"/{VO}/Role=NULL/Capability=NULL", f"/{VO}/Role=writer/Capability=NULL"


def certificate(*fqans: str, lifetime: timedelta = timedelta(hours=12)) -> AttributeCertificate:
    capability = make_capability(ALICE, fqans=fqans or (GROUP,), now=NOW, lifetime=lifetime)
    return AttributeIssuer(signing_key(SERVER), VO, "voms.example.org:15000").issue(capability, now=NOW)


HOURS = timedelta(hours=12)
ROLE = f"/{VO}/g/Role=r"
MORE = f"<order>/{VO}/b,/{VO}:x</order><targets>h, i</targets><base64>1</base64><lifetime></lifetime>"
C_HEAD = "User-Agent: voms APIs 2.0\nAccept: */*\n\n"
JAVA_HEAD = "User-Agent: voms APIs java\r\nHost: h:1\r\nAccept: text/html, */*; q=.2\r\nConnection: keep-alive\r\n\r\n"
XML = '<?xml version="1.0" encoding="US-ASCII"?><voms>'
END = "<base64>1</base64><version>4</version><lifetime>43200</lifetime></voms>"

REQUESTS = {
    "C": (f"0GET /generate-ac?fqans=/{VO}&lifetime=43200 HTTP/1.0\n{C_HEAD}", FetchRequest(VO, (f"/{VO}",))),
    "Java": (f"GET /generate-ac?lifetime=43200&fqans=/{VO} HTTP/1.1\r\n{JAVA_HEAD}", FetchRequest(VO, (f"/{VO}",))),
    "everything": (
        f"GET /generate-ac?fqans={ROLE},/{VO}/g&lifetime=60&order=/{VO}/g:r&order=/{VO}&targets=a,b HTTP/1.1\r\n\r\n",
        FetchRequest(VO, (ROLE, f"/{VO}/g"), timedelta(minutes=1), (ROLE, f"/{VO}"), ("a", "b")),
    ),
    "percent": (
        f"GET /generate-ac?fqans=%2F{VO}%2fg%20h HTTP/1.1\r\n\r\n", FetchRequest(VO, (f"/{VO}/g h",), timedelta())
    ),
    "nothing": ("GET /generate-ac HTTP/1.1\r\n\r\n", FetchRequest(VO, (), timedelta())),
    "all": ("GET /generate-ac?fqans=all&lifetime=-1 HTTP/1.1\r\n\r\n", FetchRequest(VO, (ALL,), timedelta())),
    "unknown": ("GET /generate-ac?colour=red&lifetime=0 HTTP/1.1\r\n\r\n", FetchRequest(VO, (), timedelta())),
    "legacy": (f"0{XML}<command>G/{VO}</command>{END}", FetchRequest(VO, (f"/{VO}",))),
    "legacy role": (f"0{XML}<command>B/{VO}/g:r</command>{END}", FetchRequest(VO, (f"/{VO}/g/Role=r",))),
    "legacy role of the VO": (f"{XML}<command>Rr</command>{END}", FetchRequest(VO, (f"/{VO}/Role=r",))),
    "legacy all": (f"{XML}<command>A</command>{END}", FetchRequest(VO, (ALL,))),
    "legacy two": (
        f"{XML}<command>G/{VO}/a</command><command>/{VO}/b</command>{MORE}</voms>",
        FetchRequest(VO, (f"/{VO}/a", f"/{VO}/b"), timedelta(), (f"/{VO}/b", f"/{VO}/Role=x"), ("h", "i")),
    ),
}  # fmt: skip


def ask(data: bytes) -> tuple[VOMSServerSession, FetchRequest | None]:
    session = VOMSServerSession(VO)
    return session, session.receive_data(data)


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(name: str) -> None:
    text, wanted = REQUESTS[name]
    session, found = ask(text.encode())
    assert found == wanted
    assert session.protocol is (Protocol.LEGACY if "legacy" in name else Protocol.REST)
    assert session.receive_data(b"more") == wanted  # what comes after it does not matter
    slow = VOMSServerSession(VO)
    for at in range(len(text) - 1):
        assert slow.receive_data(text[at : at + 1].encode()) is None
    assert slow.receive_data(text[-1:].encode()) == wanted


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize(
    "request_",
    [
        FetchRequest(VO),
        FetchRequest(VO, (ALL,), timedelta()),
        FetchRequest(VO, (ROLE, f"/{VO}"), timedelta(hours=1), (f"/{VO}", ROLE), ("a", "b.example.org")),
    ],
)  # fmt: skip
def test_our_client(protocol: Protocol, request_: FetchRequest) -> None:
    """What it asks is understood, and it understands the answer."""
    client = FetchSession(request_, protocol, host="localhost:1")
    session, found = ask(client.data_to_send())
    assert found == request_._replace(fqans=request_.fqans or (f"/{VO}",))
    made = certificate()
    answer = client.receive_data(session.answer(made, now=NOW))
    assert answer is not None
    assert answer.certificate == made
    again = FetchSession(request_, protocol, host="localhost:1")
    session, _ = ask(again.data_to_send())
    answer = again.receive_data(session.refuse(Refusal.SUSPENDED, "a < b & c\nd ü"))
    assert answer is not None
    assert answer.certificate is None
    said = "a < b & c d ü" if protocol is Protocol.REST else "a < b & c d ?"
    assert answer.errors == (("SuspendedUser" if protocol is Protocol.REST else "1004", said),)


def test_what_c_needs() -> None:
    """HTTP/1.1 200 at the beginning, `<?xml`, and a line feed in the base64."""
    session, _ = ask(REQUESTS["C"][0].encode())
    made = certificate()
    answer = session.answer(made, now=NOW)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(body)}\r\n".encode() in head + b"\r\n"
    assert body.startswith(b"<?xml")
    encoded = body.partition(b"<ac>")[2].partition(b"</ac>")[0]
    assert b"\n" in encoded
    assert base64.b64decode(encoded) == made.der


def test_clients_without_base64() -> None:
    """Who does not ask for base64 gets VOMS' own alphabet, without a line feed."""
    session, _ = ask(f"0{XML}<command>A</command></voms>".encode())
    made = certificate()
    encoded = session.answer(made, now=NOW).partition(b"<ac>")[2].partition(b"</ac>")[0].decode()
    assert encoded.replace("[", "").replace("]", "").isalnum()
    assert decode_base64(encoded) == made.der


WARNINGS = {
    "none": (FetchRequest(VO, (f"/{VO}",)), (GROUP,), HOURS, []),
    "not first": (FetchRequest(VO, (f"/{VO}/Role=writer",)), (GROUP, WRITER), HOURS, ["first"]),
    "not in order": (FetchRequest(VO, (f"/{VO}",), HOURS, (f"/{VO}/Role=writer",)), (GROUP,), HOURS, ["first"]),
    "shortened": (FetchRequest(VO), (GROUP,), timedelta(hours=1), ["shortened to 3600"]),
    "no lifetime asked for": (FetchRequest(VO, (), timedelta()), (GROUP,), timedelta(hours=1), []),
    "subset": (FetchRequest(VO, (f"/{VO}", f"/{VO}/Role=writer")), (GROUP,), HOURS, ["only some"]),
}


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("name", WARNINGS)
def test_warnings(name: str, protocol: Protocol) -> None:
    request, fqans, lifetime, wanted = WARNINGS[name]
    client = FetchSession(request, protocol, host="h")
    session, _ = ask(client.data_to_send())
    answer = client.receive_data(session.answer(certificate(*fqans, lifetime=lifetime), now=NOW))
    assert answer is not None
    assert answer.errors == ()
    assert len(answer.warnings) == len(wanted)
    assert all(word in text for word, text in zip(wanted, answer.warnings, strict=True))


def test_unknown_parameters_are_told() -> None:
    session, _ = ask(REQUESTS["unknown"][0].encode())
    body = session.answer(certificate(), now=NOW).partition(b"\r\n\r\n")[2]
    assert parse_answer(body).warnings == ("unknown parameters in the request were ignored",)


@pytest.mark.parametrize("refusal", Refusal)
def test_refusals(refusal: Refusal) -> None:
    number, code, status = refusal.value
    session, _ = ask(REQUESTS["Java"][0].encode())
    answer = session.refuse(refusal, "no")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert parse_answer(answer.partition(b"\r\n\r\n")[2]).errors == ((code, "no"),)
    session, _ = ask(REQUESTS["legacy"][0].encode())
    answer = session.refuse(refusal, "no")
    assert b"<ac>QQ==\n</ac>" in answer  # C clients pass over errors where nothing stands here
    assert parse_answer(answer).errors == ((str(number), "no"),)


@pytest.mark.parametrize(
    "data",
    [
        b"POST /generate-ac HTTP/1.1\r\n\r\n", b"GETX", b"\x16\x03\x01", b"00GET", b"0", b"", b"G", b"  GET /", b"\0",
    ],
)  # fmt: skip
def test_neither_protocol(data: bytes) -> None:
    session = VOMSServerSession(VO)
    with pytest.raises(RemoteProtocolError) as caught:  # noqa: PT012  it may show at the end only
        session.receive_data(data)
        session.receive_data(b"")
    assert session.refuse_error(caught.value) == b""


REST_ERRORS = {
    "/": 404,
    "/generate-ac/../x": 404,
    "//generate-ac": 404,
    "/generate-ac?fqans": 400,
    "/generate-ac?fqans=/other": 400,
    f"/generate-ac?fqans=/{VO}X": 400,
    f"/generate-ac?fqans=/{VO}/../other": 400,
    f"/generate-ac?fqans=/{VO}%0a": 400,
    f"/generate-ac?fqans=/{VO}%ff": 400,
    f"/generate-ac?fqans=/{VO}//x": 400,
    "/generate-ac?order=/other:x": 400,
    "/generate-ac?lifetime=x": 400,
    "/generate-ac?lifetime=-5": 400,
    "/generate-ac?lifetime=٣": 400,
    "/generate-ac?lifetime=9999999999999": 400,
    "/generate-ac?targets=%00": 400,
    "/generate-ac?a=" + "b" * 9000: 400,
}


@pytest.mark.parametrize("target", REST_ERRORS)
def test_bad_rest(target: str) -> None:
    session = VOMSServerSession(VO)
    with pytest.raises(RemoteProtocolError) as caught:
        session.receive_data(f"GET {target} HTTP/1.1\r\n\r\n".encode())
    assert session.refuse_error(caught.value).startswith(f"HTTP/1.1 {REST_ERRORS[target]} ".encode())


@pytest.mark.parametrize(
    "content",
    [
        "", "<command></command>", "<command>X/testvo</command>", "<command>L</command>", "<command>G/other</command>",
        "<command>B/testvo/../x:r</command>", "<command>R/x</command>", "<command>G</command>", "<command>Ax</command>",
        "<command>A</command><lifetime>soon</lifetime>", "<command><a/></command>", "<command>A</comand>",
        "<command>A</command>" * 600, "<command>&x;</command>", "<command>A</command><order>/other</order>",
    ],
)  # fmt: skip
def test_bad_xml(content: str) -> None:
    session = VOMSServerSession(VO)
    with pytest.raises(RemoteProtocolError) as caught:
        session.receive_data(f"{XML}{content}</voms>".encode())
    assert b"<number>1005</number>" in session.refuse_error(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE voms [<!ENTITY e 'A'>]><voms><command>&e;</command></voms>",
        b"<?xml version='1.0' encoding='UTF-16'?><voms><command>A</command></voms>",
        b"<?xml version='1.0' encoding='none'?><voms><command>A</command></voms>",
        b"<x><voms><command>A</command></voms>",
    ],
)
def test_odd_xml(data: bytes) -> None:
    session = VOMSServerSession(VO)
    with pytest.raises(RemoteProtocolError) as caught:
        session.receive_data(data)
    assert b"<number>1005</number>" in session.refuse_error(caught.value)


@pytest.mark.parametrize("begin", [b"GET /generate-ac?", b"<voms><command>"])
def test_too_long(begin: bytes) -> None:
    session = VOMSServerSession(VO)
    session.receive_data(begin)
    with pytest.raises(RemoteProtocolError) as caught:  # noqa: PT012  in pieces
        for _ in range(MAX_REQUEST_BYTES // 1024 + 1):
            session.receive_data(b"a" * 1024)
    assert session.refuse_error(caught.value)
    with pytest.raises(RemoteProtocolError):
        ask(begin + b"a" * MAX_REQUEST_BYTES + b"</command></voms> HTTP/1.1\r\n\r\n")


def test_cut_off() -> None:
    for begin in (b"GET /gen", b"<voms>", b"GET /generate-ac HTTP/1.1\r\nHost: x\r\n"):
        session = VOMSServerSession(VO)
        assert session.receive_data(begin) is None
        with pytest.raises(RemoteProtocolError, match="cut off"):
            session.receive_data(b"")


def test_one_answer() -> None:
    session, _ = ask(REQUESTS["Java"][0].encode())
    session.refuse(Refusal.UNEXPECTED, "no")
    with pytest.raises(LocalProtocolError):
        session.answer(certificate(), now=NOW)
    fresh = VOMSServerSession(VO)
    with pytest.raises(LocalProtocolError):
        fresh.answer(certificate(), now=NOW)
