"""The strict DER reader and writer, and the bounds set before pyasn1."""

from __future__ import annotations

import pytest
from pyasn1.type import univ

from gsi import der
from gsi.errors import ParseError

SIMPLE = bytes.fromhex("300C300A06082B06010505071501")


def test_reads_a_proxy_cert_info() -> None:
    reader = der.parse_one(SIMPLE, what="t")
    policy = reader.sequence()
    reader.finish()
    assert policy.oid() == "1.3.6.1.5.5.7.21.1"
    policy.finish()


@pytest.mark.parametrize(
    ("value", "hexed"),
    [(0, "020100"), (127, "02017f"), (128, "02020080"), (-1, "0201ff"), (-129, "0202ff7f"), (65537, "0203010001")],
)
def test_integers_go_both_ways(value: int, hexed: str) -> None:
    assert der.encode_integer(value).hex() == hexed
    assert der.Reader(bytes.fromhex(hexed), what="t").integer() == value


@pytest.mark.parametrize(
    ("dotted", "hexed"),
    [
        ("2.5.4.3", "0603550403"),
        ("1.2.840.113549.1.9.1", "06092a864886f70d010901"),
        ("2.999.3", "0603883703"),
        ("0.9.2342.19200300.100.1.25", "060a0992268993f22c640119"),
    ],
)
def test_object_identifiers_go_both_ways(dotted: str, hexed: str) -> None:
    assert der.encode_oid(dotted).hex() == hexed
    assert der.Reader(bytes.fromhex(hexed), what="t").oid() == dotted


@pytest.mark.parametrize("dotted", ["", "1", "1.", "3.1", "1.40", "a.b", "1.-2", "1.2." + "9" * 41, "1.2" + ".1" * 80])
def test_bad_object_identifiers_are_refused(dotted: str) -> None:
    with pytest.raises(ParseError):
        der.encode_oid(dotted)


@pytest.mark.parametrize(
    ("hexed", "why"),
    [
        ("", "end"),
        ("30", "ends inside"),
        ("3080020101 0000", "indefinite"),
        ("308103020101", "shortest"),
        ("30820003020101", "shortest"),
        ("3085000000000002", "too long"),
        ("3005020101", "announced"),
        ("3003020101ff", "left over"),
        ("1f8101020101", "above 30"),
    ],
)
def test_what_is_not_der_is_refused(hexed: str, why: str) -> None:
    with pytest.raises(ParseError, match=why):
        der.parse_one(bytes.fromhex(hexed), what="t")


@pytest.mark.parametrize("hexed", ["0200", "02020001", "0202ffff", "0101" + "01", "06028001", "060180"])
def test_values_not_in_shortest_form_are_refused(hexed: str) -> None:
    reader = der.Reader(bytes.fromhex(hexed), what="t")
    read = {der.INTEGER: reader.integer, der.BOOLEAN: reader.boolean, der.OID: reader.oid}[int(hexed[:2], 16)]
    with pytest.raises(ParseError):
        read()


def test_long_lengths() -> None:
    for size in (0, 127, 128, 255, 256, 65535, 65536):
        whole = der.encode_octet_string(bytes(size))
        assert der.Reader(whole, what="t").octet_string() == bytes(size)
        assert der.object_length(whole[:6], what="t") == len(whole)


def test_object_length_waits_for_the_header_and_keeps_its_limit() -> None:
    whole = der.encode_octet_string(bytes(300))
    assert der.object_length(b"", what="t") is None
    assert der.object_length(whole[:3], what="t") is None
    assert der.object_length(whole[:4], what="t") == 304
    with pytest.raises(ParseError, match="limit 100"):
        der.object_length(whole, what="t", limit=100)


def test_bounds_before_pyasn1() -> None:
    nested = b""
    for _ in range(200):
        nested = der.encode_sequence(nested)
    with pytest.raises(ParseError, match="nested"):
        der.check_bounds(nested, what="t")
    with pytest.raises(ParseError, match="REAL"):
        der.check_bounds(der.encode_sequence(der.encode_tlv(der.REAL, b"\x80\xfe\x01")), what="t")
    with pytest.raises(ParseError, match="IDENTIFIER too long"):
        der.check_bounds(der.encode_sequence(der.encode_tlv(der.OID, b"\x81" * 5000 + b"\x01")), what="t")
    with pytest.raises(ParseError, match="limit"):
        der.check_bounds(bytes(20), what="t", max_bytes=10)


def test_decode_is_strict_and_raises_only_our_error() -> None:
    assert int(der.decode(b"\x02\x01\x05", univ.Integer(), what="t")) == 5
    assert der.encode(univ.Integer(5)) == b"\x02\x01\x05"
    for bad in (b"", b"\x02\x01", b"\x02\x01\x05\x00", b"\x30\x80\x00\x00", b"\x04\x01a"):
        with pytest.raises(ParseError):
            der.decode(bad, univ.Integer(), what="t")
