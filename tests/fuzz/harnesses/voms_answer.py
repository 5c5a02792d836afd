"""gsi.voms: what a VOMS server answers, by both protocols, at once and in pieces, which must agree."""

from __future__ import annotations

from typing import Final

from gsi.errors import GridError
from gsi.voms.answers import decode_base64, parse_answer
from gsi.voms.exchange import FetchRequest, FetchSession, Protocol
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _run(data: bytes, protocol: Protocol, step: int) -> object:
    session = FetchSession(FetchRequest("testvo"), protocol, host="h:1")
    try:
        for at in range(0, len(data), step):
            if (answer := session.receive_data(data[at : at + step])) is not None:
                return answer
        return session.receive_data(b"")
    except GridError as error:
        return type(error)


def _conversation(data: bytes) -> None:
    for protocol in Protocol:
        whole = _run(data, protocol, len(data) or 1)
        if len(data) <= 4096:
            assert _run(data, protocol, 97) == whole


TARGET: Final[Target] = each(parse_answer, lambda data: decode_base64(data.decode("utf-8", "replace")), _conversation)
