"""The body of a GRAM request: read as the job manager reads it, or refused."""

from __future__ import annotations

import pytest

from gsi.authz.callout.gram import MAX_BODY_BYTES, encode_refusal, parse_job_query, parse_job_request
from gsi.errors import ParseError

JOB = b'protocol-version: 2\r\njob-state-mask: 1048575\r\ncallback-url: https://h:1/\r\nrsl: "&(a=b)"\r\n\0'
VERSION = b"protocol-version: 2\r\ncommand: version\r\n\0"


def test_job() -> None:
    request = parse_job_request(JOB)
    assert request.rsl == "&(a=b)"
    assert request.values["callback-url"] == "https://h:1/"
    assert parse_job_request(JOB[:-1]).rsl == "&(a=b)"


def test_version() -> None:
    assert parse_job_request(VERSION).rsl is None


@pytest.mark.parametrize(
    ("quoted", "rsl"),
    [
        (rb'"&(\"a\" = \"b\" )"', '&("a" = "b" )'),
        (rb'"\\"', "\\"),
        (rb'"\x"', "x"),
        (b'"a\r\nb: c"', "a\r\nb: c"),
        (b'""', ""),
        (b"plain", "plain"),
        (b'"\xff"', "\udcff"),
    ],
)
def test_quoting(quoted: bytes, rsl: str) -> None:
    assert parse_job_request(JOB.replace(b'"&(a=b)"', quoted)).rsl == rsl


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        JOB + b"\0",
        JOB.replace(b"\0", b"") + b"x",
        JOB.replace(b"rsl", b"r\0sl"),
        JOB.replace(b"&(a=b)", b"&(a=b)\0"),
        JOB.replace(b"version: 2", b"version: 3"),
        JOB.replace(b"version: 2", b"version: 02"),
        JOB.replace(b"rsl:", b"RSL:"),
        JOB.replace(b'"\r\n\0', b'"\n\0'),
        JOB.replace(b'"\r\n\0', b"\r\n\0"),
        JOB.replace(b'"\r\n\0', b'"x\r\n\0'),
        JOB.replace(b"\0", b'rsl: "&(c=d)"\r\n\0'),
        JOB.replace(b"\0", b"more: x\r\n\0"),
        JOB.replace(b"\0", b"command: version\r\n\0"),
        JOB.replace(b'rsl: "&(a=b)"\r\n', b""),
        JOB.replace(b"callback-url: https://h:1/\r\n", b""),
        JOB.replace(b'"&(a=b)"', b"a\\b"),
        JOB.replace(b'"&(a=b)"', b'a"b'),
        JOB.replace(b'"&(a=b)"', b'"a\\'),
        JOB.replace(b"rsl: ", b"rsl:"),
        JOB.replace(b"rsl: ", b": "),
        VERSION.replace(b"version\r", b"version2\r"),
        VERSION.replace(b"\0", b'rsl: "x"\r\n\0'),
        b"x" * (MAX_BODY_BYTES + 1),
    ],
)
def test_refused(body: bytes) -> None:
    with pytest.raises(ParseError):
        parse_job_request(body)


@pytest.mark.parametrize(
    ("text", "word", "signal", "actions"),
    [
        ("status", "status", None, ("status",)),
        ("cancel", "cancel", None, ("cancel",)),
        ("renew", "renew", None, ("renew",)),
        ("register 1 https://h:1/", "register", None, ("register",)),
        ("signal 1 x", "signal", 1, ("signal", "cancel")),
        ("signal 001 x", "signal", 1, ("signal", "cancel")),
        ("signal 7 &(stdout=x)", "signal", 7, ("signal",)),
    ],
)
def test_queries(text: str, word: str, signal: int | None, actions: tuple[str, ...]) -> None:
    query = parse_job_query(text)
    assert (query.word, query.signal, query.actions) == (word, signal, actions)


UNKNOWN = [
    *("", " ", "start", "Status", "status\n", "status\tx", " status", "cancel\0"),
    *("signal", "signal ", "signal x", "signal +1", "signal  1", "signal 1x", "signal \u0661", "signal 1000"),
]


@pytest.mark.parametrize("text", UNKNOWN)
def test_unknown_queries(text: str) -> None:
    with pytest.raises(ParseError):
        parse_job_query(text)


def test_refusal() -> None:
    reply = encode_refusal(162, 'no "quotes"\r\nor lines ä')
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head == b"Content-Type: application/x-globus-gram\r\nContent-Length: %d" % len(body)
    assert body == (b'protocol-version: 2\r\nstatus: 162\r\ngt3-failure-message: "no ?quotes???or lines ?"\r\n')
    assert encode_refusal(163).endswith(b"status: 163\r\n")
