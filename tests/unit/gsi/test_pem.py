"""PEM blocks: what is read, what is refused, what is kept."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from gsi.errors import ParseError
from gsi.pem import MAX_PEM_BLOCKS, encode_pem, split_pem
from tests.harness.ca import TestCA

if TYPE_CHECKING:
    from pathlib import Path

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
        b"x" + GOOD,
        b"\xef" + GOOD,
        b"\xff\xfe" + GOOD,
        b"> " + GOOD.replace(b"\n", b"\n> "),
        GOOD[1:],
        GOOD[2:],
        GOOD[3:],
        GOOD[5:],
        GOOD[len("-----BEGIN ") :],
        GOOD[len("-----BEGIN CERTIFICATE-----\n") :],
        GOOD[40:],
        GOOD[-len("-----END CERTIFICATE-----\n") :],
        GOOD[-len("ND CERTIFICATE-----\n") :],
        GOOD.replace(b"-----BEGIN", b"-----BEGIN\n"),
        GOOD.replace(b"-----BEGIN", b"----- BEGIN").replace(b"-----END", b"----- END"),
        GOOD.replace(b"-----BEGIN", b"---BEGIN").replace(b"-----END", b"--END"),
        GOOD.replace(b"CERTIFICATE", b"certificate"),
        GOOD.replace(b"CERTIFICATE", b"CERTIFICATE "),
        GOOD.replace(b"CERTIFICATE", b" CERTIFICATE"),
        GOOD.replace(b"CERTIFICATE", b""),
        GOOD.replace(b"BEGIN", b"begin").replace(b"END", b"end"),
        GOOD.replace(b"-----", "\N{EM DASH}".encode()),
    ],
)
def test_a_damaged_first_block_is_never_skipped(damaged: bytes) -> None:
    with pytest.raises(ParseError):
        split_pem(damaged + GOOD, what="t")


def test_a_byte_order_mark_is_passed_over() -> None:
    mark = b"\xef\xbb\xbf"
    first, second = split_pem(mark + GOOD + mark + encode_pem("PRIVATE KEY", b"k"), what="t")
    assert first.text == GOOD
    assert second.data == b"k"


@pytest.mark.parametrize(
    "text",
    [
        b"Bag Attributes\n    localKeyID: 54 69\nsubject=O = Grid, CN = FRONT END KEY SERVICE\nKey Attributes: <No>\n",
        b"---\nCertificate chain\n 0 s:O = Grid\n   i:O = Grid\n---\nServer certificate\n",
        b"GlobalSign Root CA\n==================\n",
        b"# ------------------ the end entity ------------------\n# begin of chain\n",
        b"# made with: tool --begin 2026 --end 2027\n",
    ],
)
def test_text_around_the_blocks_may_be_anything_else(text: bytes) -> None:
    assert len(split_pem(text + GOOD + text + GOOD + text, what="t")) == 2


def test_text_of_openssl_passes(tmp_path: Path) -> None:
    issued = TestCA().issue("/O=Grid/CN=Alice")
    issued.write(tmp_path / "cert.pem", tmp_path / "key.pem")
    bundle = tmp_path / "bundle.p12"
    bundle.write_bytes(issued.pkcs12(b"secret"))
    for words in (
        ["x509", "-text", "-in", str(tmp_path / "cert.pem")],
        ["pkcs12", "-nodes", "-passin", "pass:secret", "-in", str(bundle)],
    ):
        shown = subprocess.run(["openssl", *words], capture_output=True, check=True).stdout
        blocks = split_pem(shown + shown, what="t")
        assert [block.label for block in blocks].count("CERTIFICATE") % 2 == 0
        assert blocks[0].data


def test_no_block_is_empty() -> None:
    assert split_pem(b"", what="t") == ()
    assert split_pem(b"just text", what="t") == ()


def test_limits() -> None:
    with pytest.raises(ParseError, match="more than"):
        split_pem(encode_pem("X", b"a") * (MAX_PEM_BLOCKS + 1), what="t")
    with pytest.raises(ParseError, match="limit"):
        split_pem(bytes((16 << 20) + 1), what="t")
