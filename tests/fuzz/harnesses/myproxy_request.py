"""myproxy.protocol.codec: a request, and what is read written and read again."""

from __future__ import annotations

from typing import Final

from gsi.errors import GridError, LocalProtocolError
from myproxy.protocol.codec import encode_request, find_command, looks_complete, parse_request
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _parse(data: bytes) -> None:
    request = parse_request(data)
    try:
        again = encode_request(request)
    except LocalProtocolError:
        return  # what others may send we need not be able to
    try:
        assert parse_request(again) == request
    except GridError as error:
        raise AssertionError(f"our own request is refused: {error}") from error


TARGET: Final[Target] = each(_parse, find_command, looks_complete)
