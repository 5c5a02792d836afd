"""KeyUsage and BasicConstraints: the one decoder of each, beside pyca's on what both take."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import ParseError
from gsi.extensions import (
    CONTENT_COMMITMENT,
    CRL_SIGN,
    DIGITAL_SIGNATURE,
    KEY_CERT_SIGN,
    encode_extension,
    encode_named_bits,
    parse_basic_constraints,
    parse_key_usage,
)
from tests.harness.ca import named_bits


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        ("030100", 0),
        ("03020780", DIGITAL_SIGNATURE),
        ("030206C0", DIGITAL_SIGNATURE | CONTENT_COMMITMENT),
        ("03020204", KEY_CERT_SIGN),
        ("03020106", KEY_CERT_SIGN | CRL_SIGN),
        ("03020006", KEY_CERT_SIGN | CRL_SIGN),
        ("0303078080", DIGITAL_SIGNATURE | 1 << 8),
    ],
)
def test_key_usage(value: str, bits: int) -> None:
    assert parse_key_usage(bytes.fromhex(value)) == bits


@pytest.mark.parametrize(
    "value",
    [
        *("", "0300", "030107", "03020880", "04020780", "0302078000", "030400000000", "030307", "0302"),
        *("03020786", "03020207", "0302010F", "0303078001"),
    ],
)
def test_key_usage_refuses(value: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_key_usage(bytes.fromhex(value))
    assert caught.value.what == "KeyUsage"


_NAMES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


@given(st.sets(st.sampled_from(_NAMES)))
def test_key_usage_as_pyca_writes_it(chosen: set[str]) -> None:
    expected = sum(1 << number for number, name in enumerate(_NAMES) if name in chosen)
    assert parse_key_usage(named_bits(*chosen).public_bytes()) == expected


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("3000", (False, None)),
        ("3003010100", (False, None)),
        ("30030101FF", (True, None)),
        ("30060101FF020100", (True, 0)),
        ("30060101FF020105", (True, 5)),
    ],
)
def test_basic_constraints(value: str, found: tuple[bool, int | None]) -> None:
    assert parse_basic_constraints(bytes.fromhex(value)) == found


@pytest.mark.parametrize(
    "value", ["", "0500", "300000", "3003010101", "30060101FF0201FF", "3003020100", "30060101FF01010000"]
)
def test_basic_constraints_refuses(value: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_basic_constraints(bytes.fromhex(value))
    assert caught.value.what == "BasicConstraints"


def test_named_bits_and_extensions_read_back_what_was_written() -> None:
    for bits in (0, DIGITAL_SIGNATURE, KEY_CERT_SIGN | CRL_SIGN, 1 << 8, (1 << 9) - 1):
        assert parse_key_usage(encode_named_bits(bits)) == bits
    assert encode_named_bits(0) == bytes.fromhex("030100")
    assert encode_named_bits(DIGITAL_SIGNATURE | 1 << 2) == bytes.fromhex("030205a0")
    assert encode_extension("2.5.29.15", True, b"v") == bytes.fromhex("300b0603551d0f0101ff040176")
    assert encode_extension("2.5.29.15", False, b"v") == bytes.fromhex("30080603551d0f040176")
