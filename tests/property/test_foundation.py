"""The lowest parsers on anything: a value or our own error, and what is written is read back."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.type import univ

from gsi import der
from gsi.certificate import Certificate, load_certificates
from gsi.errors import ConfigError, ParseError
from gsi.lifetime import parse_hours_minutes
from gsi.pem import encode_pem, split_pem
from gsi.system.gsi_conf import load_gsi_conf
from gsi.transport.stream import parse_hosts, parse_port, parse_port_range
from gsi.transport.tls import TLSVersion, parse_tls_version
from tests.harness.ca import TestCA

CA_DER = Certificate.parse_pem(TestCA("/O=Grid/CN=Property CA").pem).der

TAGS = st.sampled_from([0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x09, 0x0C, 0x30, 0x31, 0xA0, 0x80, 0x1F, 0x3F])
LEAVES = st.builds(lambda tag, content: bytes((tag, len(content))) + content, TAGS, st.binary(max_size=40))
NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4).map(lambda parts: der.encode_sequence(*parts)))
NEARLY_DER = st.one_of(st.binary(max_size=80), NESTED)


@given(NEARLY_DER)
def test_der_gives_a_value_or_our_error(data: bytes) -> None:
    for read in (
        lambda: der.check_bounds(data, what="t"),
        lambda: der.parse_one(data, what="t").take_any(),
        lambda: der.object_length(data, what="t"),
        lambda: der.decode(data, univ.Sequence(), what="t"),
        lambda: der.Reader(data, what="t").integer(),
        lambda: der.Reader(data, what="t").oid(),
        lambda: der.Reader(data, what="t").boolean(),
        lambda: der.Reader(data, what="t").bit_string(),
    ):
        with contextlib.suppress(ParseError):
            read()


@given(st.integers(min_value=-(2**300), max_value=2**300), st.binary(max_size=300), st.booleans())
def test_der_comes_back(number: int, content: bytes, flag: bool) -> None:
    whole = der.encode_sequence(
        der.encode_integer(number),
        der.encode_octet_string(content),
        der.encode_boolean(flag),
        der.encode_bit_string(content),
    )
    assert der.object_length(whole, what="t") == len(whole)
    reader = der.parse_one(whole, what="t")
    assert (reader.integer(), reader.octet_string(), reader.boolean(), reader.bit_string()) == (
        number,
        content,
        flag,
        content,
    )
    reader.finish()


ARCS = st.lists(
    st.integers(min_value=0, max_value=2**100), min_size=1, max_size=4
)  # 61 bytes at most: within the limit


@given(ARCS, st.integers(0, 2), st.integers(0, 39))
def test_object_identifiers_come_back(arcs: list[int], first: int, second: int) -> None:
    dotted = ".".join(map(str, (first, second, *arcs)))
    assert der.Reader(der.encode_oid(dotted), what="t").oid() == dotted


@given(st.binary(min_size=1, max_size=200), st.sampled_from(["CERTIFICATE", "PRIVATE KEY", "X"]))
def test_pem_comes_back(data: bytes, label: str) -> None:
    (block,) = split_pem(encode_pem(label, data), what="t")
    assert (block.label, block.data, block.text) == (label, data, encode_pem(label, data))


PEM_PIECES = st.sampled_from(
    [
        b"-----BEGIN CERTIFICATE-----\n",
        b"-----END CERTIFICATE-----\n",
        b"-----BEGIN ",
        b"-----",
        b"QUJD\n",
        b"\n",
        b"A: b\n",
    ]
)


@given(st.lists(st.one_of(PEM_PIECES, st.binary(max_size=12)), max_size=10).map(b"".join))
def test_pem_gives_blocks_or_our_error(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        load_certificates(data, what="t")


@given(st.integers(0, len(CA_DER) - 1), st.integers(0, 255), st.integers(0, len(CA_DER)))
def test_a_damaged_certificate_gives_a_value_or_our_error(place: int, byte: int, length: int) -> None:
    damaged = CA_DER[:place] + bytes((byte,)) + CA_DER[place + 1 :]
    for data in (damaged, CA_DER[:length]):
        with contextlib.suppress(ParseError):
            Certificate.parse(data).public_key()


ADDRESS_TEXT = st.one_of(st.text(max_size=40), st.text(alphabet="[]:,.0123456789abf%- ", max_size=40))


@given(ADDRESS_TEXT)
def test_addresses_give_a_value_or_our_error(text: str) -> None:
    for read in (
        lambda: parse_hosts(text, default_port=7512),
        lambda: parse_port(text),
        lambda: parse_port_range(text),
        lambda: parse_tls_version(text, default=TLSVersion.TLS1_2),
    ):
        with contextlib.suppress(ConfigError):
            read()


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_ports_come_back(first: int, last: int) -> None:
    assert parse_port(str(first)) == first
    (host,) = parse_hosts(f"[::1]:{first}", default_port=last)
    assert (host.host, host.port) == ("::1", first)
    if first <= last:
        assert parse_port_range(f"{first},{last}") is not None
    else:
        with pytest.raises(ConfigError):
            parse_port_range(f"{first},{last}")


@given(st.binary(max_size=200))
def test_gsi_conf_gives_settings_or_our_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "gsi.conf"
        path.write_bytes(data)
        with contextlib.suppress(ConfigError):
            assert all(value for value in load_gsi_conf(str(path)).values())


@given(st.text(max_size=12))
def test_lifetimes_give_a_value_or_our_error(text: str) -> None:
    with contextlib.suppress(ParseError, ConfigError):
        assert parse_hours_minutes(text).total_seconds() >= 0
