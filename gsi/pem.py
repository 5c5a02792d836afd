"""PEM text into labelled blocks and back (RFC 7468, and RFC 1421 headers); knows no key and no certificate.

    for block in split_pem(data, what="/home/alice/.globus/usercert.pem"):
        block.label, block.data

Text outside the blocks is passed over, as every grid program does. A block that is begun must be well formed to its
end, and what is left of a damaged boundary line is no text: a damaged first block is an error, never a reason to take
the next one for the first. A byte order mark before a block, which some editors write, is passed over.
"""

from __future__ import annotations

import binascii
import re
from typing import Final, NamedTuple

from gsi.errors import ParseError

__all__ = ["MAX_PEM_BLOCKS", "MAX_PEM_BYTES", "PEMBlock", "encode_pem", "split_pem"]

MAX_PEM_BYTES: Final = 16 << 20  # a trust bundle of every grid CA takes 1 MB; 10,000 certificates take 15
MAX_PEM_BLOCKS: Final = 4096  # a chain has at most 100 certificates; a bundle of all public CAs has some 400
_BEGIN: Final = b"-----BEGIN "
_END: Final = b"-----END "
_DASHES: Final = b"-----"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # UTF-8's
_DAMAGED: Final = "the file looks cut off or damaged; restore it from its source"

# What a boundary line may be once it is damaged. Compiled only when a file has text, so as not to cost every start.
_NEARLY_A_BOUNDARY: Final = (
    rb"---[ \t]*(?i:BEGIN|END)\b"  # a dash lost, a blank or a word too many, small letters
    rb"|--(?:BEGIN|END)\b"
    rb"|^[A-Z0-9 ]+-----[ \t\r]*$"  # its beginning lost
    rb"|^[^\w\n]*(?:BEGIN|END) [A-Z0-9 ]*(?:CERTIFICATE|KEY|CRL|REQUEST)[^\w\n]*$"  # a word processor's dashes
)


class PEMBlock(NamedTuple):
    """One block of a PEM file."""

    label: str
    """The words between `-----BEGIN ` and `-----`."""
    headers: tuple[tuple[str, str], ...]
    """RFC 1421 headers (`Proc-Type`, `DEK-Info`) of an old encrypted key; empty otherwise."""
    data: bytes
    """The decoded content, DER for all that grids use."""
    text: bytes
    """The block as found, from BEGIN to END and the line end, for rewriting it unchanged."""


def split_pem(data: bytes, *, what: str) -> tuple[PEMBlock, ...]:
    """Return the blocks of a PEM file in order; empty when there is none.

    Args:
        data: The bytes of the file, at most `MAX_PEM_BYTES`.
        what: What or where the bytes are, for the error text.

    Raises:
        ParseError: The file is too long, or a block is cut off at either end, nested, or not base64.
    """
    if len(data) > MAX_PEM_BYTES:
        raise ParseError(f"{what}: {len(data)} bytes, limit {MAX_PEM_BYTES}", what="PEM", offset=0)
    blocks: list[PEMBlock] = []
    offset = 0
    while (begin := data.find(_BEGIN, offset)) >= 0:
        if len(blocks) == MAX_PEM_BLOCKS:
            raise ParseError(f"{what}: more than {MAX_PEM_BLOCKS} PEM blocks", what="PEM", offset=begin)
        text = data[offset:begin]
        if text:
            _check_text(text, offset, what)
            if text.rpartition(b"\n")[2].strip().removeprefix(_BYTE_ORDER_MARK).strip():
                raise _malformed_boundary(what, begin)
        block, offset = _read_block(data, begin, what)
        blocks.append(block)
    _check_text(data[offset:], offset, what)
    return tuple(blocks)


def _check_text(text: bytes, offset: int, what: str) -> None:
    """Refuse text outside the blocks that holds the remains of one."""
    if text and not text.isspace() and (found := re.search(_NEARLY_A_BOUNDARY, text, re.MULTILINE)):
        raise _malformed_boundary(what, offset + found.start())


def _malformed_boundary(what: str, offset: int) -> ParseError:
    return ParseError(f"{what}: malformed PEM BEGIN or END line", what="PEM", offset=offset, hint=_DAMAGED)


def _read_block(data: bytes, begin: int, what: str) -> tuple[PEMBlock, int]:
    line_end = data.find(b"\n", begin)
    first = data[begin : line_end if line_end >= 0 else len(data)].rstrip()
    label_bytes = first[len(_BEGIN) : -len(_DASHES)]
    if line_end < 0 or not first.endswith(_DASHES) or not _is_label(label_bytes):
        raise _malformed_boundary(what, begin)
    label = label_bytes.decode("ascii")
    end_line = _END + label_bytes + _DASHES
    end = data.find(b"\n-----", line_end)
    if end < 0 or not data.startswith(end_line, end + 1):
        raise ParseError(
            f"{what}: PEM block {label!r} has no END line of its own",
            what="PEM",
            offset=begin,
            hint=_DAMAGED,
        )
    stop = data.find(b"\n", end + 1)
    stop = len(data) if stop < 0 else stop + 1
    if data[end + 1 + len(end_line) : stop].strip():
        raise ParseError(f"{what}: text behind the PEM END line of {label!r}", what="PEM", offset=end + 1)
    headers, body = _split_headers(data[line_end + 1 : end + 1], label, what, begin)
    try:
        content = binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
    except binascii.Error as error:
        raise ParseError(f"{what}: PEM block {label!r} is not base64: {error}", what="PEM", offset=begin) from error
    if not content:
        raise ParseError(f"{what}: PEM block {label!r} is empty", what="PEM", offset=begin)
    return PEMBlock(label, headers, content, data[begin:stop].rstrip(b"\r\n") + b"\n"), stop


def _is_label(label: bytes) -> bool:
    """Tell whether these are words as RFC 7468 section 3 has them; all in use are of capitals and digits."""
    return label.isascii() and label.upper() == label == label.strip() and bool(label) and _DASHES not in label


def _split_headers(body: bytes, label: str, what: str, offset: int) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """Take off RFC 1421 headers, which end at an empty line."""
    lines = body.split(b"\n")
    if b":" not in lines[0]:
        return (), body
    headers: list[tuple[str, str]] = []
    for number, line in enumerate(lines):
        text = line.rstrip(b"\r")
        if not text.strip():
            return tuple(headers), b"\n".join(lines[number + 1 :])
        name, colon, value = text.partition(b":")
        if not colon or not text.isascii():
            break
        headers.append((name.decode("ascii").strip(), value.decode("ascii").strip()))
    raise ParseError(f"{what}: malformed headers in PEM block {label!r}", what="PEM", offset=offset)


def encode_pem(label: str, der: bytes) -> bytes:
    """Return one PEM block with lines of 64 characters (RFC 7468 section 2)."""
    text = binascii.b2a_base64(der, newline=False)
    lines = b"\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    name = label.encode("ascii")
    return b"".join((_BEGIN, name, _DASHES, b"\n", lines, b"\n", _END, name, _DASHES, b"\n"))
