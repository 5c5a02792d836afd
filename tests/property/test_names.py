"""Names: what is written is read back, and whatever comes in, only our errors come out."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from gsi import der, names
from gsi.errors import ParseError

OIDS = ["2.5.4.3", "2.5.4.10", "2.5.4.11", "2.5.4.6", "0.9.2342.19200300.100.1.1", "0.9.2342.19200300.100.1.44",
        "0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1", "1.2.3.4.5"]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text('/+=\\,;"<># aA\x00\n', max_size=8)
SNIPPETS = st.text('/+=\\,;"<># aACNOUxE0415.3\x00\u00eb', max_size=40)


def encoded(oid: str, text: str, codec: str, tag: int) -> bytes:
    return der.encode_sequence(der.encode_oid(oid), der.encode_tlv(tag, text.encode(codec, "replace")))


UTF8 = st.tuples(st.just("utf-8"), st.just(der.UTF8_STRING))
ANY_TYPE = st.sampled_from(
    [
        ("utf-8", der.UTF8_STRING),
        ("latin-1", der.T61_STRING),
        ("ascii", der.PRINTABLE_STRING),
        ("ascii", der.IA5_STRING),
        ("utf-32-be", der.UNIVERSAL_STRING),
    ]
)


def built(types: st.SearchStrategy[tuple[str, int]], oids: list[str] = OIDS) -> st.SearchStrategy[bytes]:
    pair = st.builds(lambda oid, text, form: encoded(oid, text, *form), st.sampled_from(oids), TEXT, types)
    groups = st.lists(st.lists(pair, min_size=1, max_size=3), max_size=5)
    return groups.map(lambda parts: names.name_from_rdns([der.encode_set(*group) for group in parts]))


NAMES = built(ANY_TYPE)
UTF8_NAMES = built(UTF8)


@given(UTF8_NAMES)
def test_the_one_line_form_is_read_back(name: bytes) -> None:
    assert names.same_name(names.parse_oneline(names.oneline(name)), name)


@given(NAMES)
def test_the_ldap_form_is_read_back(name: bytes) -> None:
    assert names.same_name(names.parse_rfc4514(names.rfc4514(name)), name)


@given(NAMES)
def test_rdns_are_read_back(name: bytes) -> None:
    assert names.name_from_rdns(names.rdns(name)) == name
    assert names.same_name(name, name)
    names.canonical(name)


@given(UTF8_NAMES, UTF8_NAMES)
def test_one_text_is_one_name(first: bytes, second: bytes) -> None:
    if names.oneline(first) == names.oneline(second):
        assert names.same_name(first, second)


@given(UTF8_NAMES)
def test_the_plain_form_is_the_same_text(name: bytes) -> None:
    shown = names.oneline(name)
    assert names.same_oneline(names.plain_oneline(shown), shown)
    assert names.plain_oneline(names.plain_oneline(shown)) == names.plain_oneline(shown)


@given(NAMES, TEXT)
def test_an_added_common_name_is_found_again(name: bytes, common_name: str) -> None:
    longer = names.append_common_name(name, common_name)
    assert names.added_common_name(longer, name) == common_name
    assert names.last_common_name(longer) == common_name
    assert names.added_common_name(name, longer) is None


@given(NAMES)
def test_grid_mapfile_quoting_is_undone(name: bytes) -> None:
    for escaped in (True, False):
        shown = names.oneline(name, escaped=escaped)
        assert names.unquote_gridmap(names.quote_gridmap(shown)) == shown


@given(st.binary(max_size=60) | NAMES.flatmap(lambda name: st.integers(0, len(name)).map(lambda cut: name[:cut])))
def test_arbitrary_bytes_raise_only_our_error(data: bytes) -> None:
    for read in (names.oneline, names.rfc4514, names.canonical, names.rdns, names.attributes, names.last_common_name):
        with contextlib.suppress(ParseError):
            read(data)
    with contextlib.suppress(ParseError):
        names.added_common_name(data, data)
    with contextlib.suppress(ParseError):
        names.same_name(data, b"0\x00")


@given(NAMES, st.integers(0, 200), st.integers(0, 255))
def test_damaged_names_raise_only_our_error(name: bytes, at: int, byte: int) -> None:
    damaged = bytearray(name)
    damaged[at % len(damaged)] = byte
    for read in (names.oneline, names.rfc4514, names.canonical):
        with contextlib.suppress(ParseError):
            read(bytes(damaged))


@given(
    st.text(max_size=40) | SNIPPETS | SNIPPETS.map(lambda text: "/CN=" + text) | SNIPPETS.map(lambda text: "CN=" + text)
)
def test_arbitrary_text_raises_only_our_error(text: str) -> None:
    for parse in (names.parse_oneline, names.parse_rfc4514):
        with contextlib.suppress(ParseError):
            name = parse(text)
            assert names.same_name(
                parse(names.oneline(name) if parse is names.parse_oneline else names.rfc4514(name)), name
            )
    for take in (names.unquote_gridmap, names.quote_gridmap):
        with contextlib.suppress(ParseError):
            take(text)
    names.canonical_oneline(text)
    assert names.same_oneline(text, text)
