"""Tokens on their way: bare, behind a length, in base64."""

from __future__ import annotations

import pytest

from gsi.context.framing import (
    MAX_HANDSHAKE_BYTES,
    MAX_RECORD_BYTES,
    MAX_TOKEN_BYTES,
    Framing,
    RecordSplitter,
    TokenReader,
    decode_base64,
    encode_base64,
    frame_token,
)
from gsi.errors import GridError, LocalProtocolError, RemoteProtocolError

RECORD = b"\x16\x03\x01\x00\x05hello"
OTHER = b"\x17\x03\x03\x00\x03abc"


@pytest.mark.parametrize(
    ("framing", "token", "sent"),
    [
        (Framing.BARE, RECORD, RECORD),
        (Framing.LENGTH, RECORD, b"\0\0\0\x0a" + RECORD),
        (Framing.LENGTH, RECORD * 2, b"\0\0\0\x14" + RECORD * 2),
        (Framing.MIXED, RECORD, RECORD),
        (Framing.MIXED, b"D", b"\0\0\0\x01D"),
        (Framing.MIXED, b"\x16\x03\x01\x00\x00", b"\0\0\0\x05\x16\x03\x01\x00\x00"),
        (Framing.MIXED, b"\x30\x03\x01\x00\x01x", b"\0\0\0\x06\x30\x03\x01\x00\x01x"),
    ],
)
def test_frames(framing: Framing, token: bytes, sent: bytes) -> None:
    assert frame_token(token, framing) == sent
    reader = TokenReader()
    found = []
    for byte in sent + OTHER:
        reader.feed(bytes((byte,)))
        while (one := reader.next_token()) is not None:
            found.append(one)
    expected = [token] if framing is not Framing.BARE else [RECORD]
    assert found == [*expected, OTHER]


def test_a_bare_token_of_two_records_comes_as_two() -> None:
    reader = TokenReader()
    reader.feed(RECORD + OTHER + b"clear")
    assert [reader.next_token(), reader.next_token()] == [RECORD, OTHER]
    assert reader.take_rest() == b"clear"
    assert reader.next_token() is None


@pytest.mark.parametrize("token", [b"", bytes(MAX_TOKEN_BYTES + 1)], ids=["empty", "long"])
@pytest.mark.parametrize("framing", list(Framing))
def test_tokens_that_are_not_sent(framing: Framing, token: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        frame_token(token, framing)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\0",
        b"\0\x10\0\x01",
        b"\x80\x2e\x01\x00\x02",
        b"\x16\x02\x00\x00\x01x",
        b"\x16\x03\x01\xff\xff",
        b"\x18\x03\x03\x00\x01x",
        b"\x1a\x03\x00\x00\x1c",
        b"220 ready\r\n",
    ],
    ids=bytes.hex,
)
def test_no_tokens(data: bytes) -> None:
    reader = TokenReader()
    reader.feed(data)
    with pytest.raises(RemoteProtocolError):
        reader.next_token()


def test_limits() -> None:
    reader = TokenReader()
    frame = (MAX_HANDSHAKE_BYTES + 1).to_bytes(4, "big")
    reader.feed(frame)
    with pytest.raises(RemoteProtocolError):
        reader.next_token()
    reader = TokenReader()
    reader.raise_limit(MAX_TOKEN_BYTES)
    reader.feed(frame)
    assert reader.next_token() is None
    largest = b"\x17\x03\x03" + (MAX_RECORD_BYTES - 5).to_bytes(2, "big") + bytes(MAX_RECORD_BYTES - 5)
    splitter = RecordSplitter()
    splitter.feed(largest + largest[:3] + (MAX_RECORD_BYTES - 4).to_bytes(2, "big"))
    assert splitter.next_record() == largest
    assert not splitter.is_empty
    with pytest.raises(RemoteProtocolError):
        splitter.next_record()


@pytest.mark.parametrize("token", [b"\0", b"ab", b"abc", bytes(range(256))])
def test_base64(token: bytes) -> None:
    assert decode_base64(encode_base64(token)) == token


@pytest.mark.parametrize("text", ["", "YQ", "YQ=", "YWI", "Y Q=", "YQ==\n", "Y-_=", "é===", "AAAA" * 10])
def test_bad_base64(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_base64(text, limit=24)


def test_an_empty_token_has_no_base64() -> None:
    with pytest.raises(GridError):
        encode_base64(b"")
