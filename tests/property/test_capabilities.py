"""Attribute certificates, their files, scopes, claims: what is written is read back; any bytes give only our errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from gsi import der, names
from gsi.certificate import Extension
from gsi.errors import CapabilityError, GridError
from gsi.saml.assertion import read_assertion
from gsi.saml.document import parse_document
from gsi.tokens.compact import CompactToken, decode_segment, parse_object
from gsi.tokens.keys import parse_key_set
from gsi.tokens.rules import IssuerRules
from gsi.tokens.scopes import Capability, allows, format_scope, parse_path, parse_scopes
from gsi.voms.ac_extensions import (
    Tag,
    TagList,
    parse_authority_key_identifier,
    parse_certificates,
    parse_tags,
    parse_targets,
    tags_extension,
    targets_extension,
)
from gsi.voms.answers import decode_base64, parse_answer
from gsi.voms.attribute_cert import AttributeCertificate, AttributeInfo, encode_sequence_of, parse_sequence_of
from gsi.voms.lsc import NamePair, encode_lsc, parse_lsc
from gsi.voms.vomses import VOMSEntry, encode_vomses, parse_vomses
from tests.harness.tokens import b64

ALGORITHM: Final = der.encode_sequence(der.encode_oid("1.2.840.10045.4.3.2"))

words = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"/+=\\'), min_size=1, max_size=12
)
dns = st.lists(words, min_size=1, max_size=4).map(
    lambda parts: names.parse_oneline("".join(f"/CN={part}" for part in parts))
)
moments = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
extensions = st.lists(
    st.builds(
        Extension,
        st.sampled_from(["1.2.3", "2.5.29.56", "1.3.6.1.4.1.8005.100.100.11"]),
        st.booleans(),
        st.binary(max_size=20),
    ),
    max_size=4,
).map(tuple)
infos = st.builds(
    AttributeInfo,
    holder_issuer_der=dns,
    holder_serial=st.integers(-(1 << 170), 1 << 170),
    issuer_der=dns,
    signature_algorithm_der=st.just(ALGORITHM),
    serial=st.integers(-(1 << 170), 1 << 170),
    not_before=moments,
    not_after=moments,
    authority=words,
    fqans=st.lists(texts, min_size=1, max_size=5).map(tuple),
    extensions=extensions,
)


@given(infos, st.binary(max_size=80))
def test_attribute_certificates(info: AttributeInfo, signature: bytes) -> None:
    made = AttributeCertificate.assemble(info.encode(), ALGORITHM, signature)
    assert made.info == info
    assert made.signature == signature
    assert AttributeCertificate.parse(made.der) == made
    assert parse_sequence_of(encode_sequence_of([made, made])) == (made, made)


@given(
    st.lists(texts, max_size=5),
    st.lists(
        st.builds(TagList, texts, st.lists(st.builds(Tag, texts, texts, texts), max_size=3).map(tuple)), max_size=3
    ),
)
def test_extensions(targets: list[str], tags: list[TagList]) -> None:
    assert parse_targets(targets_extension(targets).value) == tuple(targets)
    assert parse_tags(tags_extension(tags).value) == tuple(tags)


@given(
    st.lists(st.lists(st.builds(NamePair, dns, dns), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(
        tuple
    )
)
def test_lsc(chains: tuple[tuple[NamePair, ...], ...]) -> None:
    found = parse_lsc(encode_lsc(chains)).chains
    assert [[names.canonical(one) for pair in chain for one in pair] for chain in found] == [
        [names.canonical(one) for pair in chain for one in pair] for chain in chains
    ]


@given(
    st.lists(
        st.builds(
            VOMSEntry, words, words, st.integers(1, 65535), words.map("/CN={}".format), words, st.just("") | words
        ),
        max_size=4,
    ).map(tuple)
)
def test_vomses(entries: tuple[VOMSEntry, ...]) -> None:
    assert parse_vomses(encode_vomses(entries)) == entries


paths = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=8).filter(
        lambda part: part not in {".", ".."}
    ),
    max_size=5,
).map(tuple)
capabilities = st.builds(
    Capability, st.sampled_from(["storage.read", "storage.create", "storage.modify", "read"]), paths
)


@given(capabilities, paths)
def test_scopes(capability: Capability, path: tuple[str, ...]) -> None:
    assert parse_scopes(format_scope(capability)).capabilities == (capability,)
    assert capability.path is not None
    below = capability.path + path
    assert capability.covers(below)
    assert allows([capability], capability.name, below)
    assert capability.covers(path) == (path[: len(capability.path)] == capability.path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(texts, json_values, max_size=4),
    st.dictionaries(texts, json_values, max_size=4),
    st.binary(min_size=1, max_size=70),
)
def test_tokens(header: dict[str, object], claims: dict[str, object], signature: bytes) -> None:
    text = ".".join(b64(part) for part in (json.dumps(header).encode(), json.dumps(claims).encode(), signature))
    try:
        found = CompactToken.parse(text)
    except CapabilityError as error:
        assert "nests deeper" in error.message  # noqa: PT017  the one thing that such a token may be refused for
        return
    assert (found.header, found.claims) == (header, claims)


@given(st.binary(max_size=70))
def test_base64url(data: bytes) -> None:
    assert decode_segment(b64(data)) == data


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    readers = (
        lambda: AttributeCertificate.parse(data),
        lambda: parse_sequence_of(data),
        lambda: parse_certificates(data),
        lambda: parse_targets(data),
        lambda: parse_tags(data),
        lambda: parse_authority_key_identifier(data),
        lambda: parse_lsc(data),
        lambda: parse_vomses(data),
        lambda: parse_answer(data),
        lambda: decode_base64(text),
        lambda: CompactToken.parse(text),
        lambda: parse_object(data, "x"),
        lambda: parse_key_set(data),
        lambda: parse_scopes(text),
        lambda: parse_path("/" + text),
        lambda: read_assertion(parse_document(data)),
    )
    for read in readers:
        try:
            read()
        except GridError as error:
            assert str(error)  # noqa: PT017  it has words


parts = st.lists(st.sampled_from(["a", "b", "ab", "A", "a.b"]), min_size=1, max_size=3)


@given(st.lists(parts, max_size=3), parts)
def test_issuers_speak_of_groups_by_whole_parts(own: list[list[str]], said: list[str]) -> None:
    rules = IssuerRules(issuer="https://vo.example.org/", groups=tuple("/" + "/".join(one) for one in own))
    expected = any(said[: len(one)] == one for one in own)
    assert rules.may_speak_of("/" + "/".join(said)) is expected
