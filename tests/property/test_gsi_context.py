"""Contexts and their framings on any bytes: our errors and nothing else, and the pieces do not matter."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsi.context.acceptor import Acceptor
from gsi.context.base import SecurityContext
from gsi.context.framing import (
    MAX_TOKEN_BYTES,
    Framing,
    TokenReader,
    decode_base64,
    encode_base64,
    frame_token,
)
from gsi.context.ftp import LineReader, Reply, ReplyAssembler, encode_reply, parse_command, parse_data_address
from gsi.context.ftp_client import ControlClient
from gsi.context.ftp_server import ControlServer
from gsi.context.gatekeeper import encode_ping, parse_reply, parse_request
from gsi.context.gatekeeper import encode_reply as encode_http
from gsi.context.initiator import Initiator
from gsi.context.target import Target
from gsi.credential import Credential, parse_credential
from gsi.errors import ConfigError, GridError
from gsi.transport.tls import ClientTLS, ServerTLS, TLSVersion
from gsi.trust.anchors import TrustAnchors
from tests.harness.ca import TestCA
from tests.harness.contexts import ALICE, clock, connect_contexts
from tests.harness.trust import make_anchors


class Ends(NamedTuple):
    anchors: TrustAnchors
    alice: Credential
    host: Credential
    clients: dict[TLSVersion, ClientTLS]
    servers: dict[TLSVersion, ServerTLS]

    def pair(self, version: TLSVersion) -> tuple[Initiator, Acceptor]:
        """A fresh pair; elliptic keys and shared TLS contexts keep hundreds of them cheap."""
        return (
            Initiator(self.alice, self.anchors, target=Target("localhost"), now=clock, tls=self.clients[version]),
            Acceptor(self.host, self.anchors, now=clock, tls=self.servers[version]),
        )


def _make() -> Ends:
    ca = TestCA("/O=Grid/CN=CA", "p256")
    anchors = make_anchors(ca)
    alice = parse_credential(ca.issue(ALICE, "p256").bundle())
    host = parse_credential(ca.issue_host(key="p256").bundle())
    return Ends(
        anchors,
        alice,
        host,
        {version: ClientTLS(alice, maximum=version) for version in TLSVersion},
        {
            version: ServerTLS(host, lambda: anchors, maximum=version, require_certificate=True, tickets=0)
            for version in TLSVersion
        },
    )


ENDS = _make()
versions = st.sampled_from(list(TLSVersion))
sizes = st.lists(st.integers(1, 700), max_size=12)
quick = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    found, at = [], 0
    for size in [*cuts, len(data)]:
        found.append(data[at : at + size])
        at += size
    return [one for one in found if one]


def feed(context: SecurityContext, token: bytes, cuts: list[int]) -> bytes:
    return b"".join([context.step(piece).output for piece in pieces(token, cuts)])


@quick
@given(versions, sizes, sizes, st.binary(min_size=1, max_size=40000))
def test_any_pieces(version: TLSVersion, cuts: list[int], others: list[int], message: bytes) -> None:
    initiator, acceptor = ENDS.pair(version)
    output = initiator.step().output
    while not (initiator.is_established and acceptor.is_established):
        answer = feed(acceptor, output, cuts)
        output = feed(initiator, answer, others) if answer else b""
    token = acceptor.wrap(message)
    assert b"".join(initiator.unwrap(piece) for piece in pieces(token, others)) == message


changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=3)


@quick
@given(versions, st.integers(0, 4), changes, st.binary(max_size=30))
def test_any_change(version: TLSVersion, at: int, edits: list[tuple[float, int]], more: bytes) -> None:
    """One token of the handshake changed or lengthened: an error of ours, or what a change makes no difference to."""
    initiator, acceptor = ENDS.pair(version)
    output = initiator.step().output
    with contextlib.suppress(GridError):
        for number in range(5):
            if number == at:
                data = bytearray(output)
                for where, mask in edits:
                    data[int(where * len(data))] ^= mask
                output = bytes(data) + more
            side: SecurityContext = initiator if number % 2 else acceptor
            output = side.step(output).output
            if not output:
                break


@quick
@given(
    st.binary(max_size=300) | st.binary(max_size=60).map(lambda body: b"\x16\x03\x01\x00" + bytes((len(body),)) + body)
)
def test_any_first_token(token: bytes) -> None:
    initiator, acceptor = ENDS.pair(TLSVersion.TLS1_3)
    initiator.step()
    for context in (initiator, acceptor):
        with contextlib.suppress(GridError):
            context.step(token)
        assert not context.is_established


@pytest.fixture(scope="module")
def pairs() -> Callable[[], tuple[Initiator, Acceptor]]:
    def make() -> tuple[Initiator, Acceptor]:
        pair = ENDS.pair(TLSVersion.TLS1_3)
        connect_contexts(*pair)
        return pair

    return make


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    token=st.binary(max_size=100)
    | st.binary(max_size=100).map(lambda body: b"\x17\x03\x03\x00" + bytes((len(body),)) + body)
)
def test_any_message(pairs: Callable[[], tuple[Initiator, Acceptor]], token: bytes) -> None:
    for context in pairs():
        with contextlib.suppress(GridError):
            assert context.unwrap(token) == b""


records = st.binary(min_size=1, max_size=600).map(lambda body: b"\x17\x03\x03" + len(body).to_bytes(2, "big") + body)


@given(st.lists(st.tuples(records, st.sampled_from([Framing.BARE, Framing.LENGTH])), max_size=6), sizes)
def test_tokens_arrive(tokens: list[tuple[bytes, Framing]], cuts: list[int]) -> None:
    reader = TokenReader(limit=MAX_TOKEN_BYTES)
    found = []
    for piece in pieces(b"".join(frame_token(*one) for one in tokens), cuts):
        reader.feed(piece)
        while (token := reader.next_token()) is not None:
            found.append(token)
    assert found == [token for token, _ in tokens]


@given(st.binary(max_size=100))
def test_readers_take_any_bytes(data: bytes) -> None:
    for parse in (parse_request, parse_reply):
        with contextlib.suppress(GridError):
            parse(data)
    reader, lines, assembler = TokenReader(), LineReader(), ReplyAssembler()
    reader.feed(data)
    lines.feed(data)
    with contextlib.suppress(GridError):
        while reader.next_token() is not None:
            pass
    with contextlib.suppress(GridError):
        while (line := lines.next_line()) is not None:
            with contextlib.suppress(GridError):
                parse_command(line)
            if (reply := assembler.add(line)) is not None:
                parse_data_address(reply, host="::1")


@given(st.binary(min_size=1, max_size=300))
def test_base64_arrives(token: bytes) -> None:
    assert decode_base64(encode_base64(token)) == token


@given(st.text(max_size=60))
def test_base64_of_any_text(text: str) -> None:
    with contextlib.suppress(GridError):
        assert encode_base64(decode_base64(text))


words = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=40)


@given(st.integers(100, 659), st.lists(words, min_size=1, max_size=5))
def test_replies_arrive(code: int, texts: list[str]) -> None:
    lines, assembler = LineReader(), ReplyAssembler()
    lines.feed(b"".join(encode_reply(code, *texts)))
    found: list[Reply] = []
    while (line := lines.next_line()) is not None:
        if (reply := assembler.add(line)) is not None:
            found.append(reply)
    assert len(found) == 1
    assert found[0].code == code
    between = [f" {text}" for text in texts[1:-1]]
    assert found[0].lines == (texts[0], *between, *texts[1:][-1:])


@given(st.lists(st.binary(max_size=60).map(lambda line: line + b"\r\n"), max_size=6))
def test_control_channels_take_any_lines(lines: list[bytes]) -> None:
    client = ControlClient(ENDS.pair(TLSVersion.TLS1_3)[0])
    server = ControlServer(lambda: ENDS.pair(TLSVersion.TLS1_3)[1])
    client.begin()
    server.receive_data(b"AUTH GSSAPI\r\n" + b"".join(lines))
    with contextlib.suppress(GridError):
        server.next_command()
    assert not server.is_secured
    client.receive_data(b"".join(lines))
    with contextlib.suppress(GridError):
        while (reply := client.next_reply()) is not None:
            client.authenticate(reply)
    assert not client.is_secured


graphic = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@"), min_size=1, max_size=30)


@given(graphic, graphic, st.none() | graphic)
def test_pings_arrive(service: str, host: str, account: str | None) -> None:
    found = parse_request(encode_ping(service, host=host, account=account))
    assert found is not None
    assert (found.is_ping, found.service, found.account, found.body) == (True, service, account, b"")


@given(st.sampled_from([200, 403, 404, 500]), st.binary(max_size=60))
def test_http_replies_arrive(status: int, body: bytes) -> None:
    found = parse_reply(encode_http(status, body))
    assert found is not None
    assert (found.status, found.body) == (status, body if status == 200 else b"")


@given(st.text(max_size=60))
def test_any_target(text: str) -> None:
    with contextlib.suppress(ConfigError):
        target = Target.parse(text)
        assert Target.parse(str(target)) == target
        assert target.server_name is None or target.server_name.isprintable()
