"""kca.protocol: requests as the service reads them, and replies as the client does, with the keys in both."""

from __future__ import annotations

from typing import Final

from gsi.errors import GridError
from gsi.secret import Passphrase
from kca.protocol.client import ClientSession
from kca.protocol.codec import encode_request, encode_response, parse_request, parse_response
from kca.protocol.messages import RequestKind
from kca.protocol.server import Exchange, probe_reply
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "der"
_KEY: Final = Passphrase(bytes(range(32)))


def _request(data: bytes) -> None:
    request = parse_request(data)
    if data[3] == 0 and request.client_version is None:
        assert encode_request(request) == data
    if request.kind is RequestKind.PROBE:
        reply = probe_reply(request, length=len(data))
        assert reply is None or len(reply) <= len(data)
        return
    exchange = Exchange(request, _KEY, wants_mutual=False, has_subkey=False)
    if request.kind is not RequestKind.AUTHENTICATED_PROBE:
        try:
            exchange.wanted()
        except GridError as error:
            parse_response(exchange.refuse(error))
    exchange.check()


def _reply(data: bytes) -> None:
    response = parse_response(data)
    again = parse_response(encode_response(response))
    assert again == response
    client = ClientSession(b"\x6e\0", _KEY)
    client.probe()
    client.receive(data)


TARGET: Final[Target] = each(_request, _reply)
