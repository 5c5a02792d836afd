"""PEM blocks: what is read, what is refused, what is kept."""

from __future__ import annotations

import pytest

from gsi.errors import ParseError
from gsi.pem import MAX_PEM_BLOCKS, encode_pem, split_pem

GOOD = encode_pem("CERTIFICATE", b"hello world" * 20)


def test_blocks_in_order_with_text_between() -> None:
    data = b"subject=/O=Grid\n" + GOOD + b"\r\nmore text: here\n" + encode_pem("PRIVATE KEY", b"k")
    first, second = split_pem(data, what="t")
    assert (first.label, first.data) == ("CERTIFICATE", b"hello world" * 20)
    assert (second.label, second.data) == ("PRIVATE KEY", b"k")
    assert first.text == GOOD


def test_crlf_and_missing_last_newline() -> None:
    (block,) = split_pem(GOOD.replace(b"\n", b"\r\n").rstrip(), what="t")
    assert block.data == b"hello world" * 20


def test_headers_of_an_old_encrypted_key() -> None:
    body = GOOD.replace(b"-----\n", b"-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,00\n\n", 1)
    (block,) = split_pem(body, what="t")
    assert block.headers == (("Proc-Type", "4,ENCRYPTED"), ("DEK-Info", "DES-EDE3-CBC,00"))
    assert block.data == b"hello world" * 20
    assert block.text == body


@pytest.mark.parametrize(
    "damaged",
    [
        GOOD[:-30],
        GOOD.replace(b"aGVs", b"a*Vs"),
        GOOD.replace(b"-----END CERTIFICATE", b"-----END PRIVATE KEY"),
        GOOD.replace(b"BEGIN CERTIFICATE-----", b"BEGIN CERTIFICATE--"),
        b"-----BEGIN CERTIFICATE-----\n" + GOOD,
        b"-----BEGIN X-----\n-----END X-----\n",
        b"-----BEGIN X-----",
        b"-----BEGIN X-----\nA: b\nYWJj\n-----END X-----\n",
    ],
)
def test_a_damaged_first_block_is_never_skipped(damaged: bytes) -> None:
    with pytest.raises(ParseError):
        split_pem(damaged + GOOD, what="t")


def test_no_block_is_empty() -> None:
    assert split_pem(b"", what="t") == ()
    assert split_pem(b"just text -----BEGIN inside a line", what="t") == ()


def test_limits() -> None:
    with pytest.raises(ParseError, match="more than"):
        split_pem(encode_pem("X", b"a") * (MAX_PEM_BLOCKS + 1), what="t")
    with pytest.raises(ParseError, match="limit"):
        split_pem(bytes((16 << 20) + 1), what="t")
