"""Fetching attribute certificates: requests to the byte, answers whole and byte by byte, and answers that are none."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Final

import pytest

from gsi.errors import LocalProtocolError, ParseError, RefusedError, RemoteProtocolError
from gsi.voms.answers import Answer, ServerError, decode_base64, parse_answer
from gsi.voms.exchange import ALL, FetchRequest, FetchSession, Protocol, accept, encode_legacy, encode_rest
from tests.harness.ca import TestCA
from tests.harness.voms import VO, VOMSServer

_SERVER: Final = VOMSServer(TestCA())
_AC: Final = _SERVER.attribute_certificate(_SERVER.ca.issue("/O=Grid/CN=Alice"))
_STANDARD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_OLD: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789[]"
_OLD_TEXT: Final = base64.b64encode(_AC).rstrip(b"=").translate(bytes.maketrans(_STANDARD, _OLD))
_XML: Final = b"<?xml version='1.0'?><voms><ac>" + base64.encodebytes(_AC) + b"</ac><warning>shortened</warning></voms>"


def _http(body: bytes, fields: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n" + body


def test_requests() -> None:
    plain = FetchRequest(VO)
    assert encode_rest(plain, host="h:1").startswith(
        b"GET /generate-ac?fqans=/testvo&lifetime=43200 HTTP/1.1\r\nHost: h:1\r\n"
    )
    assert encode_legacy(plain) == (
        b'0<?xml version="1.0" encoding="US-ASCII"?><voms><command>G/testvo</command><base64>1</base64>'
        b"<version>4</version><lifetime>43200</lifetime></voms>"
    )
    full = FetchRequest(
        VO,
        ("/testvo/g/Role=r", "/testvo/g/Role=NULL/Capability=NULL"),
        timedelta(hours=1),
        order=("/testvo/g",),
        targets=("a.example.org", "b"),
    )
    asked = b"fqans=/testvo/g/Role=r,/testvo/g/Role=NULL/Capability=NULL&lifetime=3600"
    assert asked + b"&order=/testvo/g&targets=a.example.org,b " in encode_rest(full, host="h:1")
    assert (
        b"<command>B/testvo/g:r</command><command>G/testvo/g</command><order>/testvo/g</order>"
        b"<targets>a.example.org,b</targets>" in encode_legacy(full)
    )


def test_everything_for_as_long_as_the_server_gives() -> None:
    request = FetchRequest(VO, (ALL,), timedelta())
    assert encode_rest(request, host="h:1").startswith(b"GET /generate-ac?fqans=all HTTP/1.1\r\n")
    assert b"<command>A</command><base64>1</base64><version>4</version></voms>" in encode_legacy(request)


def test_marks_of_xml_are_escaped() -> None:
    odd = encode_legacy(FetchRequest(VO, ("/testvo/a<b>&c",)))
    assert b"<command>G/testvo/a&lt;b&gt;&amp;c</command>" in odd


@pytest.mark.parametrize(
    "request_",
    [
        FetchRequest(""),
        FetchRequest(VO, ("/other",)),
        FetchRequest(VO, ("/testvoX",)),
        FetchRequest(VO, ("/testvo/a b",)),
        FetchRequest(VO, ("/testvo,/testvo",)),
        FetchRequest(VO, ("/testvo\r\nX: y",)),
        FetchRequest(VO, targets=("ü",)),
        FetchRequest(VO, lifetime=timedelta(seconds=-1)),
        FetchRequest(VO, lifetime=timedelta(milliseconds=1)),
        FetchRequest(VO, order=(ALL,)),
        FetchRequest(VO, tuple(f"/testvo/{'g' * 90}{n}" for n in range(200))),
    ],
)
@pytest.mark.parametrize("protocol", Protocol)
def test_what_cannot_be_asked(request_: FetchRequest, protocol: Protocol) -> None:
    with pytest.raises(LocalProtocolError):
        FetchSession(request_, protocol, host="h:1")


def test_odd_host() -> None:
    with pytest.raises(LocalProtocolError):
        encode_rest(FetchRequest(VO), host="h\r\nX: y")


_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
_GOOD: Final = {
    "length": (Protocol.REST, _http(_XML, b"Content-Length: %d\r\n" % len(_XML)), False),
    "end": (Protocol.REST, _http(_XML), True),
    "bare LF": (Protocol.REST, _http(_XML).replace(b"\r\n", b"\n"), True),
    "chunked": (
        Protocol.REST,
        _http(b"10\r\n" + _XML[:16] + b"\r\n%x;x=y\r\n" % (len(_XML) - 16) + _XML[16:] + b"\r\n0\r\n\r\n", _CHUNKED),
        False,
    ),
    "legacy": (Protocol.LEGACY, _XML.replace(b"voms>", b"vomsans>"), False),
    "legacy to the end": (Protocol.LEGACY, _XML, True),
}


@pytest.mark.parametrize("step", [1, 1 << 20], ids=["byte by byte", "at once"])
@pytest.mark.parametrize("name", _GOOD)
def test_answers(name: str, step: int) -> None:
    protocol, data, needs_end = _GOOD[name]
    session = FetchSession(FetchRequest(VO), protocol, host="h:1")
    assert session.data_to_send()
    assert session.data_to_send() == b""
    answers = [session.receive_data(data[at : at + step]) for at in range(0, len(data), step)]
    assert all(answer is None for answer in answers[: -1 if not needs_end else None]) or name in {"length", "chunked"}
    answer = session.receive_data(b"") if needs_end else answers[-1]
    assert answer is not None
    assert accept(answer).der == _AC
    assert answer.warnings == ("shortened",)


@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        (Protocol.REST, b""),
        (Protocol.REST, b"HTTP/1.1 200 OK\r\n"),
        (Protocol.REST, b"SSH-2.0-OpenSSH\r\n\r\n"),
        (Protocol.REST, _http(b"", status=b"404 Not Found")),
        (Protocol.REST, _http(b"<html/>")),
        (Protocol.REST, _http(_XML[:-4])),
        (Protocol.REST, _http(_XML, b"Content-Length: 99999\r\n")),
        (Protocol.REST, _http(_XML, b"Content-Length: -1\r\n")),
        (Protocol.REST, _http(_XML, b"Content-Length: 1\r\nContent-Length: 2\r\n")),
        (Protocol.REST, _http(_XML, b"Transfer-Encoding: gzip\r\n")),
        (Protocol.REST, _http(b"zz\r\n", _CHUNKED)),
        (Protocol.REST, _http(_XML, b"no field\r\n")),
        (Protocol.REST, b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000),
        (Protocol.LEGACY, b""),
        (Protocol.LEGACY, b"<vomsans/>"),
        (Protocol.LEGACY, b"x" * 1_100_000),
    ],
)
def test_no_answers(protocol: Protocol, data: bytes) -> None:
    def converse() -> None:
        session = FetchSession(FetchRequest(VO), protocol, host="h:1")
        if session.receive_data(data) is None:
            session.receive_data(b"")

    with pytest.raises(RemoteProtocolError):
        converse()


def test_both_alphabets() -> None:
    assert decode_base64(base64.encodebytes(_AC).decode()) == _AC
    assert decode_base64(base64.b64encode(_AC).decode()) == _AC
    assert decode_base64(_OLD_TEXT.decode()) == _AC
    for odd in ("", "MII", "ü", "!", base64.b64encode(_AC + b"\0").decode(), "x" * 400_000):
        with pytest.raises(ParseError):
            decode_base64(odd)


def test_errors_and_warnings() -> None:
    item = b"<item><number>%d</number><message>%s</message></item>"
    legacy = b"<vomsans><error>" + item % (3, b"subset") + item % (1001, b"no\x09member") + b"</error></vomsans>"
    answer = parse_answer(legacy)
    assert answer == Answer(None, ("subset",), (ServerError("1001", "no member"),))
    with pytest.raises(RefusedError, match=r"no member \(1001\)"):
        accept(answer)
    assert parse_answer(legacy.replace(b"</error>", b"</error><ac>QQ==\n</ac>")) == answer  # as the C server has it
    rest = parse_answer(b"<voms><error><code>BadRequest</code><message>what</message></error></voms>")
    assert rest.errors == (("BadRequest", "what"),)
    # A certificate beside an error is none.
    both = parse_answer(b"<voms><error><message>no</message></error>" + _XML[27:])
    with pytest.raises(RefusedError):
        accept(both)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"<a/>", b"<voms/>", b"<voms><ac/></voms>", b"<voms><ac>MII</ac></voms>", b"<voms>", b"\xff\xfe",
        b"<!DOCTYPE voms [<!ENTITY e 'x'>]><voms><ac>&e;</ac></voms>", b"<voms><a><b><c><d><e/></d></c></b></a></voms>",
        b"<voms>" + b"<x/>" * 1001 + b"</voms>", _XML.replace(b"</voms>", _XML[27:-7] + b"</voms>"),
        b"<?xml version='1.0' encoding='no-such'?><voms/>", b" " * (1 << 20) + _XML,
    ],
)  # fmt: skip
def test_odd_xml(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_answer(data)
