"""KX.509 on any values and any bytes: what is written is read, and nothing but our errors comes out."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gsi.certificate import Extension
from gsi.errors import GridError, ParseError
from gsi.secret import Passphrase
from kca.protocol.client import ClientSession
from kca.protocol.codec import (
    check_request_mac,
    check_response_mac,
    clean_text,
    encode_csr_plus,
    encode_frame,
    encode_request,
    encode_response,
    frame_length,
    parse_certificates,
    parse_csr_plus,
    parse_request,
    parse_response,
    parse_rsa_key,
    request_mac,
    sealed,
)
from kca.protocol.messages import CSRPlus, MACDialect, Request, Response
from kca.protocol.server import refuse_unauthenticated
from kca.replies import ReplyCache
from kca.srv import Target, encode_query, order_targets, parse_answer

visible = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=200)
secrets = st.binary(min_size=1, max_size=64).map(Passphrase)
requests = st.builds(
    Request,
    st.binary(max_size=2000),
    st.binary(max_size=32),
    st.binary(max_size=2000),
    st.none() | visible.map(clean_text),
)
responses = st.builds(
    Response,
    st.integers(0, 2**31 - 1),
    st.none() | st.binary(max_size=32),
    st.none() | st.binary(max_size=2000),
    st.none() | visible,
)
times = st.integers(0, 2**32).map(lambda seconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
extensions = st.lists(
    st.builds(Extension, st.sampled_from(["2.5.29.37", "2.5.29.17", "1.2.3"]), st.booleans(), st.binary(max_size=40)),
    max_size=4,
).map(tuple)


@given(requests)
def test_requests(request: Request) -> None:
    assert parse_request(encode_request(request)) == request


@given(responses)
def test_responses(response: Response) -> None:
    assert parse_response(encode_response(response)) == response


@given(st.builds(CSRPlus, st.binary(max_size=2000), extensions, st.none() | times))
def test_csr_plus(plus: CSRPlus) -> None:
    assert parse_csr_plus(encode_csr_plus(plus)) == plus


@given(requests, secrets)
def test_request_seals(request: Request, key: Passphrase) -> None:
    check_request_mac(request._replace(pk_hash=request_mac(request, key)), key)


@given(responses, secrets, st.sampled_from(MACDialect))
def test_response_seals(response: Response, key: Passphrase, dialect: MACDialect) -> None:
    made = parse_response(encode_response(sealed(response, key, dialect)))
    assert check_response_mac(made, key) in MACDialect


@given(st.binary(max_size=300).map(lambda data: b"\0\0\2\0" + data) | st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for reader in (parse_request, parse_response, parse_csr_plus, parse_rsa_key, parse_certificates):
        with contextlib.suppress(GridError):
            reader(data)
    client = ClientSession(b"\x6e\0", Passphrase(b"key"))
    client.probe()
    with contextlib.suppress(GridError):
        client.receive(data)


@given(st.binary(min_size=1, max_size=100), st.binary(max_size=20))
def test_frames(message: bytes, rest: bytes) -> None:
    stream = encode_frame(message) + rest
    assert frame_length(stream, limit=100) == len(message)
    assert stream[4 : 4 + len(message)] == message


@given(st.text(max_size=400), st.integers(0, 300), st.none() | st.integers(0, 127))
def test_refusals_are_no_longer_than_requests(text: str, length: int, code: int | None) -> None:
    reply = refuse_unauthenticated(GridError(text), length=length, protocol_code=code)
    assert reply is None or len(reply) <= length
    if reply is not None:
        parse_response(reply)


@given(
    st.lists(
        st.tuples(st.sampled_from(["192.0.2.1", "::1"]), st.binary(max_size=20), st.binary(max_size=200)), max_size=20
    )
)
def test_replies(events: list[tuple[str, bytes, bytes]]) -> None:
    """What is found is what was given for just this message of this client, however crowded the table is."""
    cache = ReplyCache(slots=3)
    given_last: dict[tuple[str, bytes], bytes] = {}
    for number, (peer, message, reply) in enumerate(events):
        cache.put(peer, message, reply, now=float(number))
        given_last[peer, message] = reply
        for (host, asked), answered in given_last.items():
            assert cache.find(host, asked, now=float(number)) in {None, answered}
        assert cache.find(peer, message, now=float(number)) == reply


QUERY = encode_query("_kca._udp.EXAMPLE.ORG", 4711)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: QUERY[:2] + b"\x81\x80\0\1\0\2" + data))
def test_any_dns_answer(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse_answer(data, QUERY)
    with contextlib.suppress(ParseError):
        parse_answer(QUERY[:2] + b"\x81\x80\0\1\0\2\0\0\0\0" + QUERY[12:] + data, QUERY)


targets = st.builds(
    Target, st.integers(0, 2), st.integers(0, 10), st.integers(1, 65535), st.sampled_from(["a.example", "b.example"])
)


@given(st.lists(targets, max_size=8), st.randoms())
def test_order_of_targets(listed: list[Target], lots: object) -> None:
    import random

    assert isinstance(lots, random.Random)
    ordered = order_targets(listed, lots.randrange)
    assert sorted(ordered) == sorted(listed)
    assert [one.priority for one in ordered] == sorted(one.priority for one in listed)
