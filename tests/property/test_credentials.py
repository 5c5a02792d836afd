"""Keys, credentials, lifetimes: damaged and arbitrary input raises only our errors; nothing slips through."""

from __future__ import annotations

import contextlib
import functools
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from gsi import der, keylocks, keys
from gsi.credential import parse_credential, parse_pkcs12
from gsi.errors import CredentialError, GridError, ParseError
from gsi.lifetime import format_timeleft, parse_hours_minutes
from gsi.pem import PEMBlock, encode_pem, split_pem
from gsi.pkcs12 import check_pkcs12
from gsi.secret import Passphrase
from tests.harness.ca import TestCA

SECRET = Passphrase("x")
LABELS = [
    *sorted(keys.KEY_LABELS),
    "CERTIFICATE",
    "X509 CERTIFICATE",
    "TRUSTED CERTIFICATE",
    "DSA PRIVATE KEY",
    "THING",
]


@functools.cache
def bundle(kind: str) -> bytes:
    ca = TestCA("/O=Grid/CN=Test CA", key="p256")
    issued = ca.issue("/O=Grid/CN=Alice", key="p256" if kind == "p256" else "rsa2048")
    return issued.bundle() if kind == "p256" else issued.bundle(traditional=True)


@functools.cache
def pkcs12() -> bytes:
    return TestCA("/O=Grid/CN=Test CA", key="p256").issue("/O=Grid/CN=Alice", key="p256").pkcs12(b"x")


def damaged(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for at, byte in changes:
        changed[at % len(changed)] = byte
    return bytes(changed)


CHANGES = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=3)


@given(st.sampled_from(["p256", "rsa"]), CHANGES)
def test_a_damaged_bundle_is_refused_or_still_fits_together(kind: str, changes: list[tuple[int, int]]) -> None:
    with contextlib.suppress(ParseError, CredentialError):
        found = parse_credential(damaged(bundle(kind), changes))
        assert keys.spki_der(found.key) == found.certificate.spki_der


@given(st.sampled_from(["p256", "rsa"]), st.integers(0, 1 << 16), CHANGES)
def test_damaged_content_in_whole_pem_is_refused_or_fits_together(
    kind: str, which: int, changes: list[tuple[int, int]]
) -> None:
    blocks = split_pem(bundle(kind), what="test")
    pem = b"".join(
        encode_pem(block.label, damaged(block.data, changes) if index == which % len(blocks) else block.data)
        for index, block in enumerate(blocks)
    )
    with contextlib.suppress(ParseError, CredentialError):
        found = parse_credential(pem)
        assert keys.spki_der(found.key) == found.certificate.spki_der


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.binary(min_size=1, max_size=50)), max_size=4))
def test_arbitrary_blocks_raise_only_our_errors(blocks: list[tuple[str, bytes]]) -> None:
    pem = b"".join(encode_pem(label, data) for label, data in blocks)
    with contextlib.suppress(ParseError, CredentialError):
        parse_credential(pem, passphrase=SECRET)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_our_errors(data: bytes) -> None:
    for parse in (parse_credential, parse_pkcs12, keys.parse_public_key, check_pkcs12, keylocks.kdf_cost):
        with contextlib.suppress(ParseError, CredentialError):
            parse(data)
    with contextlib.suppress(ParseError, CredentialError):
        keylocks.unlock(data, SECRET)


@given(
    st.sampled_from(LABELS),
    st.lists(st.tuples(st.sampled_from(["Proc-Type", "DEK-Info", "X"]), st.text(max_size=30)), max_size=3),
    st.binary(max_size=64),
)
def test_arbitrary_key_blocks_raise_only_our_errors(label: str, headers: list[tuple[str, str]], data: bytes) -> None:
    block = PEMBlock(label, tuple(headers), data, encode_pem(label, data))
    with contextlib.suppress(ParseError, CredentialError):
        keys.parse_private_key(block, SECRET)


@given(st.sampled_from(["AES-256-CBC", "DES-EDE3-CBC", "RC4"]), st.binary(max_size=20), st.binary(max_size=64))
def test_arbitrary_traditional_locks_raise_only_our_errors(cipher: str, vector: bytes, data: bytes) -> None:
    with contextlib.suppress(ParseError, CredentialError):
        keylocks.unlock_traditional(data, f"{cipher},{vector.hex()}", SECRET)


@given(st.lists(st.integers(-(1 << 2100), 1 << 2100), min_size=8, max_size=8))
def test_arbitrary_rsa_numbers_raise_only_our_errors(numbers: list[int]) -> None:
    data = der.encode_sequence(*map(der.encode_integer, (0, *numbers)))
    with contextlib.suppress(ParseError, CredentialError):
        keys.parse_private_key(split_pem(encode_pem("RSA PRIVATE KEY", data), what="test")[0])


@settings(max_examples=40)
@given(CHANGES)
def test_damaged_pkcs12_raises_only_our_errors(changes: list[tuple[int, int]]) -> None:
    with contextlib.suppress(ParseError, CredentialError):
        data = damaged(pkcs12(), changes)
        if check_pkcs12(data) < 100_000:  # damage can raise the number of rounds, within the bound
            parse_pkcs12(data, SECRET)


@given(st.integers(0, 99_999), st.integers(0, 60))
def test_lifetimes_are_read_as_written(hours: int, minutes: int) -> None:
    assert parse_hours_minutes(f"{hours}:{minutes:02d}") == timedelta(hours=hours, minutes=minutes)


@given(st.text(max_size=12) | st.text("0123456789:-+. ", max_size=8))
def test_arbitrary_lifetimes_raise_only_our_error(text: str) -> None:
    with contextlib.suppress(GridError):
        assert timedelta(0) <= parse_hours_minutes(text)


@given(st.timedeltas())
def test_any_time_left_has_a_text(left: timedelta) -> None:
    assert format_timeleft(left).count(":") == 2
