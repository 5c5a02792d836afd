"""The gatekeeper's requests and replies."""

from __future__ import annotations

import pytest

from gsi.context.gatekeeper import (
    MAX_MESSAGE_BYTES,
    GatekeeperReply,
    GatekeeperRequest,
    encode_ping,
    encode_reply,
    parse_reply,
    parse_request,
)
from gsi.errors import LocalProtocolError, RemoteProtocolError

PING = (
    b"POST ping/jobmanager-fork HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/x-globus-gram\r\nContent-Length: 0\r\n\r\n"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-globus-gram\r\nContent-Length: 0\r\n\r\n\0"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n\0"


def test_a_ping() -> None:
    assert encode_ping("jobmanager-fork", host="localhost") == PING
    assert parse_request(PING) == GatekeeperRequest(True, "jobmanager-fork", None, b"")
    found = parse_request(encode_ping("jobmanager", host="x", account="alice"))
    assert found == GatekeeperRequest(True, "jobmanager", "alice", b"")


def test_a_job() -> None:
    request = b"POST /jobmanager-fork@alice HTTP/1.1\r\nContent-Length: 3\r\n\r\nrsl\0"
    assert parse_request(request) == GatekeeperRequest(False, "jobmanager-fork", "alice", b"rsl")
    for size in range(len(request) - 1):
        assert (parse_request(request[:size]) is None) is True


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
        b"POST /ping HTTP/2\r\nContent-Length: 0\r\n\r\n",
        b"POST pong/x HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"POST ping/x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST ping/x HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n",
        b"POST ping/x HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST ping/x HTTP/1.1\r\nContent-Length: 1\r\n\r\nabc",
        b"POST ping/x HTTP/1.1\r\nContent-Length: 0\r\n\r\n\0\0",
        bytes(MAX_MESSAGE_BYTES + 1),
    ],
)
def test_no_requests(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_request(data)


def test_replies() -> None:
    """As the C gatekeeper writes them: refusals have no length."""
    assert encode_reply(200) == OK
    assert encode_reply(403) == FORBIDDEN
    assert parse_reply(OK) == GatekeeperReply(200, "OK", b"")
    assert parse_reply(FORBIDDEN) == GatekeeperReply(403, "Forbidden", b"")
    assert parse_reply(FORBIDDEN[:-1]) is None
    assert parse_reply(encode_reply(200, b"body")) == GatekeeperReply(200, "OK", b"body")
    assert parse_reply(b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n") == GatekeeperReply(404, "", b"")
    for data in (b"SSH-2.0\r\n\r\n\0", b"HTTP/1.1 99 x\r\n\r\n\0", bytes(MAX_MESSAGE_BYTES + 1)):
        with pytest.raises(RemoteProtocolError):
            parse_reply(data)


@pytest.mark.parametrize("word", ["", "a b", "a@b", "a\r\nb", "ä"])
def test_names_that_cannot_be_sent(word: str) -> None:
    for arguments in ({"service": word, "host": "h"}, {"service": "s", "host": word}):
        with pytest.raises(LocalProtocolError):
            encode_ping(**arguments)
