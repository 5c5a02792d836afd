"""Where requests end, whole or byte by byte; what is none is left to the parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.transport.wsgi_framing import TooLongError, UnclearError, find_frame

LIMIT = 1000
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def post(*lines: bytes) -> bytes:
    return b"\r\n".join([b"POST / HTTP/1.1", *lines, b"", b""])


def end_of(data: bytes) -> int | None:
    frame = find_frame(data, head_bytes=LIMIT)
    return None if frame is None else frame.end(data)


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET,
        post(b"Content-Length: 5") + b"hello",
        post(b"content-length:5", b"X: y") + b"\r\n\r\n!",
        post(b"Content-Length: 0"),
        post(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
        post(b"transfer-encoding: chunked") + b"5;a=b\r\n\r\n\r\n!\r\n0\r\n\r\n",
        post(b"Transfer-Encoding: chunked") + b"0\r\nTrailer: x\r\n\r\n",
        post(b"Transfer-Encoding: chunked") + b"A\r\n0123456789\r\n000\r\n\r\n",
    ],
)
def test_no_end_before_all_is_there_and_none_behind_it(request_bytes: bytes) -> None:
    for size in range(len(request_bytes)):
        assert end_of(request_bytes[:size]) is None, request_bytes[:size]
    assert end_of(request_bytes) == len(request_bytes)
    frame = find_frame(request_bytes, head_bytes=LIMIT)
    assert frame is not None
    ends = [frame.end(request_bytes[:size]) for size in range(frame.head, len(request_bytes) + 1)]
    assert ends == [None] * (len(ends) - 1) + [len(request_bytes)]  # also for one frame that sees it grow
    assert end_of(request_bytes + GET) == len(request_bytes)


@pytest.mark.parametrize("body", [b"x\r\n", b"-5\r\nhello\r\n", b"5 5\r\n", b"\r\n", b"f" * 16 + b"\r\n", b"1" * 300])
def test_sizes_that_are_none_are_not_waited_for(body: bytes) -> None:
    with pytest.raises(UnclearError):
        end_of(post(b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n" + body)


def test_a_chunk_says_how_long_the_request_is_at_least() -> None:
    for data, more in ((post(b"Content-Length: 500"), 500), (post(b"Transfer-Encoding: chunked") + b"1F4\r\n", 507)):
        frame = find_frame(data, head_bytes=LIMIT)
        assert frame is not None
        assert frame.end(data) is None
        assert frame.least == frame.head + more


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Content-Length: 50"],
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", b"Content-Length : 0"],
        [b"Content-Length: x"],
        [b"Content-Length: -1"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length: "],
        [b"Content-Length: 1000000000000000000"],
    ],
)
def test_nobody_guesses_at_a_length(lines: list[bytes]) -> None:
    with pytest.raises(UnclearError):
        find_frame(post(*lines), head_bytes=LIMIT)


def test_a_client_that_waits_for_a_word() -> None:
    frame = find_frame(post(b"Expect: 100-Continue", b"Content-Length: 5"), head_bytes=LIMIT)
    assert frame is not None
    assert frame.expects
    assert frame.end(post(b"Expect: 100-Continue", b"Content-Length: 5")) is None


def test_heads_that_are_too_long() -> None:
    assert find_frame(b"x" * (LIMIT - 1), head_bytes=LIMIT) is None
    for data in (b"x" * LIMIT, b"x" * LIMIT + b"\r\n\r\n"):
        with pytest.raises(TooLongError):
            find_frame(data, head_bytes=LIMIT)


@given(st.binary(max_size=300), st.sampled_from([b"Content-Length: 30", b"Transfer-Encoding: chunked", b"X: y"]))
def test_any_bytes_have_an_end_within_them_or_none(data: bytes, line: bytes) -> None:
    for whole in (data, post(line) + data):
        try:
            end = end_of(whole)
        except (TooLongError, UnclearError):
            continue
        assert end is None or 0 < end <= len(whole)
