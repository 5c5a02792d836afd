"""gsi.authz.callout.messages: frames from the C services, cut anywhere, and the requests and answers in them."""

from __future__ import annotations

import contextlib
from typing import Final

from gsi.authz.callout.messages import FrameReader, encode_answer, encode_request, parse_answer, parse_request
from gsi.errors import LocalProtocolError
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"

_MAX_BYTES: Final = 1 << 16


def _request(data: bytes) -> None:
    request = parse_request(data)
    with contextlib.suppress(LocalProtocolError):
        assert parse_request(encode_request(request)[4:]) == request


def _answer(data: bytes) -> None:
    answer = parse_answer(data)
    with contextlib.suppress(LocalProtocolError):
        parse_answer(encode_answer(answer)[4:])


def _frames(data: bytes) -> None:
    frames = FrameReader(_MAX_BYTES)
    for at in range(0, len(data), 7):
        frames.feed(data[at : at + 7])
        while (body := frames.next_body()) is not None:
            each(_request, _answer)(body)


TARGET: Final[Target] = each(_frames, _request, _answer)
