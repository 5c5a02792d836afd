"""myproxy.protocol.codec: a response."""

from __future__ import annotations

from typing import Final

from gsi.errors import GridError, LocalProtocolError
from myproxy.protocol.codec import encode_response, parse_response
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _parse(data: bytes) -> None:
    response = parse_response(data)
    try:
        again = encode_response(response)
    except LocalProtocolError:
        return
    try:
        parse_response(again)
    except GridError as error:
        raise AssertionError(f"our own response is refused: {error}") from error


TARGET: Final[Target] = each(_parse)
