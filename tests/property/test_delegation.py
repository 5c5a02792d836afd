"""Delegation's decoders on any bytes: values or our errors, whole or in pieces the same; and what is sent arrives."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gsi import keys, oids
from gsi.delegation import (
    CertificateBlockParser,
    DelegationRequester,
    parse_certificate_block,
    parse_delegation_request,
)
from gsi.der import encode_octet_string, encode_sequence
from gsi.errors import CredentialError, GridError, ParseError, VerificationError
from gsi.keys import KeyType
from gsi.proxy.info import MAX_PATH_LENGTH, ProxyCertInfo

KEY = keys.generate_key(KeyType.P256)
REQUEST = DelegationRequester(KEY, info=ProxyCertInfo(3, oids.LIMITED)).request_der
NOW = datetime(2026, 6, 1, tzinfo=UTC)

changes = st.lists(st.tuples(st.integers(0, len(REQUEST) - 1), st.integers(0, 255)), min_size=1, max_size=4)


def changed(edits: list[tuple[int, int]]) -> bytes:
    data = bytearray(REQUEST)
    for at, value in edits:
        data[at] = value
    return bytes(data)


@given(
    st.binary(max_size=200)
    | changes.map(changed)
    | st.integers(0, len(REQUEST)).map(lambda end: REQUEST[:end])
    | st.binary(min_size=1, max_size=9).map(lambda more: REQUEST + more)
)
def test_requests_give_values_or_our_errors(data: bytes) -> None:
    with contextlib.suppress(ParseError, CredentialError, VerificationError):
        found = parse_delegation_request(data)
        # ECDSA signatures are malleable, what they sign is not.
        assert found.spki_der == keys.spki_der(KEY)
        assert found.wanted == ProxyCertInfo(3, oids.LIMITED)


@given(
    st.none() | st.integers(0, MAX_PATH_LENGTH),
    st.sampled_from([oids.INHERIT_ALL, oids.INDEPENDENT, oids.LIMITED]) | st.just("1.2.3"),
    st.binary(max_size=500),
)
def test_wishes_arrive(path_length: int | None, language: str, policy: bytes) -> None:
    info = ProxyCertInfo(path_length, language, policy if language == "1.2.3" else None)
    assert parse_delegation_request(DelegationRequester(KEY, info=info).request_der).wanted == info


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_accept_lets_only_our_errors_out(certificates: list[bytes]) -> None:
    with contextlib.suppress(GridError):
        DelegationRequester(KEY, info=None).accept(certificates, now=NOW)


objects = st.binary(max_size=400).map(lambda content: encode_sequence(encode_octet_string(content)))


@given(st.lists(objects, min_size=1, max_size=6), st.binary(max_size=20), st.lists(st.integers(1, 40), max_size=60))
def test_blocks_arrive_in_any_pieces(certificates: list[bytes], rest: bytes, sizes: list[int]) -> None:
    block = bytes([len(certificates)]) + b"".join(certificates)
    data = block + rest
    parser = CertificateBlockParser()
    found, at = None, 0
    for size in [*sizes, len(data)]:
        found = parser.feed(data[at : at + size])
        at += size
        assert (found is None) == (at < len(block))
    assert found == tuple(certificates)
    assert parser.rest == rest
    assert parse_certificate_block(data) == (tuple(certificates), len(block))


@given(st.binary(max_size=200), st.integers(1, 20))
def test_any_bytes_are_judged_alike_whole_and_in_pieces(data: bytes, size: int) -> None:
    def whole() -> tuple[bytes, ...] | None:
        parsed = parse_certificate_block(data)
        return None if parsed is None else parsed[0]

    def pieces() -> tuple[bytes, ...] | None:
        parser = CertificateBlockParser()
        found = None
        for at in range(0, len(data), size):
            found = parser.feed(data[at : at + size])
        return found

    outcomes: list[tuple[bytes, ...] | str | None] = []
    for read in (whole, pieces):
        try:
            outcomes.append(read())
        except ParseError as error:
            outcomes.append(error.message)
    assert outcomes[0] == outcomes[1]
