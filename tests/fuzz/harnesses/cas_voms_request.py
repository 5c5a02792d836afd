"""cas.protocol.voms: what clients send to the VOMS listener, at once and in pieces, which must agree."""

from __future__ import annotations

from typing import Final

from cas.protocol.voms import VOMSServerSession
from gsi.errors import RemoteProtocolError
from gsi.voms.exchange import ALL
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _run(data: bytes, step: int) -> object:
    session = VOMSServerSession("vo")
    try:
        for at in range(0, len(data), step):
            if (request := session.receive_data(data[at : at + step])) is not None:
                assert all(one == ALL or one == "/vo" or one.startswith("/vo/") for one in request.fqans)
                return request
        return session.receive_data(b"")
    except RemoteProtocolError as error:
        return session.refuse_error(error)[:16]


def _conversation(data: bytes) -> None:
    whole = _run(data, len(data) or 1)
    if len(data) <= 4096:
        assert _run(data, 7) == whole


TARGET: Final[Target] = each(_conversation)
