from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from gsi.errors import ParseError, TransportError
from kca import srv
from kca.srv import Target, encode_query, lookup, nameservers, order_targets, parse_answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "_kca._udp.EXAMPLE.ORG"
QUERY = encode_query(NAME, 0x1234)


def _name(text: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in text.split(".") if label) + b"\0"


def _answer(query: bytes, targets: list[Target], *, status: int = 0, cut: bool = False) -> bytes:
    records = b""
    for one in targets:
        data = b"".join(number.to_bytes(2, "big") for number in one[:3]) + _name(one.host)
        # The owner's name as a pointer to the question, as every server writes it.
        records += b"\xc0\x0c" + bytes.fromhex("0021 0001 00000e10") + len(data).to_bytes(2, "big") + data
    flags = bytes((0x81 | (2 if cut else 0), 0x80 | status))
    counts = b"\0\1" + len(targets).to_bytes(2, "big") + bytes(4)
    return query[:2] + flags + counts + query[12:] + records


FIRST = Target(0, 5, 9878, "one.example.org")
SECOND = Target(10, 0, 9999, "two.example.org")


def test_question() -> None:
    """RFC 1035 s.4.1: a header, one question, nothing else."""
    assert QUERY.hex() == ("1234010000010000000000000" + "45f6b6361045f756470074558414d504c45034f524700" + "00210001")


def test_answer() -> None:
    assert parse_answer(_answer(QUERY, [FIRST, SECOND]), QUERY) == (FIRST, SECOND)
    assert parse_answer(_answer(QUERY, [], status=3), QUERY) == ()
    assert parse_answer(_answer(QUERY, [FIRST], cut=True), QUERY) is None
    assert parse_answer(_answer(QUERY, [Target(0, 0, 0, "")]), QUERY) == ()  # decidedly not there


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        QUERY,
        _answer(encode_query(NAME, 0x1235), [FIRST]),
        _answer(encode_query("_kca._udp.OTHER.ORG", 0x1234), [FIRST]),
        _answer(QUERY, [FIRST], status=2),
        _answer(QUERY, [FIRST])[:-3],
        _answer(QUERY, [])[:6] + b"\0\1" + bytes(4) + QUERY[12:] + b"\xc0\xff" + bytes(10),
        # A name that points to itself.
        _answer(QUERY, [])[:6] + b"\0\1" + bytes(4) + QUERY[12:] + (0xC000 | len(QUERY)).to_bytes(2, "big") + bytes(10),
    ],
)
def test_no_answer(answer: bytes) -> None:
    with pytest.raises(ParseError):
        parse_answer(answer, QUERY)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["abc"] * 70)])
def test_no_name(name: str) -> None:
    with pytest.raises(ParseError):
        encode_query(name, 1)


def test_order() -> None:
    """The lower priority first, within one by lot: a weight of nothing has its chance only at the end of the scale."""
    heavy, light = Target(0, 9, 1, "heavy"), Target(0, 0, 1, "light")
    assert order_targets([SECOND, heavy, light], lambda _most: 0) == [light, heavy, SECOND]
    assert order_targets([SECOND, light, heavy], lambda most: most - 1) == [heavy, light, SECOND]


def test_name_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("# a comment\nsearch example.org\nnameserver 192.0.2.1\nnameserver ::1\nnameserver\n")
    monkeypatch.setattr(srv, "RESOLV_CONF", str(conf))
    assert nameservers() == [("192.0.2.1", 53), ("::1", 53)]
    monkeypatch.setattr(srv, "RESOLV_CONF", str(tmp_path / "none"))
    assert nameservers() == [("127.0.0.1", 53)]


@contextlib.contextmanager
def _server(*, cut: bool = False) -> Iterator[tuple[str, int]]:
    """A name server on both transports, which answers one question on each."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        stream.bind(("127.0.0.1", 0))
        stream.listen(1)
        datagrams.bind(stream.getsockname())

        def serve() -> None:
            query, place = datagrams.recvfrom(4096)
            datagrams.sendto(_answer(query, [SECOND, FIRST], cut=cut), place)
            if cut:
                connection, _ = stream.accept()
                with connection:
                    query = connection.recv(4096)[2:]
                    answer = _answer(query, [SECOND, FIRST])
                    for byte in len(answer).to_bytes(2, "big") + answer:
                        connection.sendall(bytes((byte,)))

        thread = threading.Thread(target=serve)
        thread.start()
        yield stream.getsockname()
        thread.join()


@pytest.mark.parametrize("cut", [False, True])
def test_lookup(cut: bool) -> None:
    with _server(cut=cut) as place:
        assert lookup(NAME, [place]) == [FIRST, SECOND]


def test_nobody_answers() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        place = free.getsockname()
    with pytest.raises(TransportError, match=NAME):
        lookup(NAME, [place])
