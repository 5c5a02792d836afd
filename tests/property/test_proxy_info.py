"""ProxyCertInfo in both forms: what goes in comes out, and of any bytes at all only values or ParseError."""

from __future__ import annotations

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

from gsi import oids
from gsi.errors import ParseError
from gsi.proxy.info import MAX_PATH_LENGTH, ProxyCertInfo
from gsi.proxy.legacy import encode_gt3, last_names, parse_gt3

languages = st.one_of(
    st.sampled_from([oids.INHERIT_ALL, oids.INDEPENDENT, oids.LIMITED, oids.ANY_LANGUAGE]),
    st.lists(st.integers(0, 2**40), min_size=1, max_size=6).map(lambda arcs: "2." + ".".join(map(str, arcs))),
    st.tuples(st.integers(0, 1), st.integers(0, 39)).map(lambda arcs: f"{arcs[0]}.{arcs[1]}"),
)
infos = st.builds(
    ProxyCertInfo,
    st.none() | st.integers(0, MAX_PATH_LENGTH),
    languages,
    st.none() | st.binary(max_size=300),
)


@given(infos)
def test_rfc_form_round_trips(info: ProxyCertInfo) -> None:
    assert ProxyCertInfo.parse(info.encode()) == info


@given(infos)
def test_draft_form_round_trips(info: ProxyCertInfo) -> None:
    assert parse_gt3(encode_gt3(info)) == info


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real value with one to three bytes changed, cut or put in."""
    info = draw(infos)
    data = bytearray(draw(st.sampled_from([info.encode(), encode_gt3(info)])))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["change", "cut", "insert"])):
            case "change" if data:
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at:]
            case _:
                data.insert(at, draw(st.integers(0, 255)))
    return bytes(data)


@given(st.binary(max_size=100) | damaged())
@example(bytes.fromhex("3080300A06082B060105050715010000"))
@example(bytes.fromhex("300F0201FF300A06082B06010505071501"))
def test_only_parse_errors_come_out_and_what_is_read_is_canonical(data: bytes) -> None:
    for parse, encode in ((ProxyCertInfo.parse, ProxyCertInfo.encode), (parse_gt3, encode_gt3)):
        try:
            info = parse(data)
        except ParseError:
            continue
        assert encode(info) == data  # strict DER: one value, one encoding
        repr(info)


@given(st.binary(max_size=100))
def test_last_names_lets_only_parse_errors_out(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        last_names(data)
