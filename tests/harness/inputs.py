"""Hostile and broken input for parsers and commands, made without the project's own code.

Shapes are bytes that a decoder might choke on; `certificate_with` puts any of them inside a certificate that is
otherwise in order and properly signed, so that they reach the code behind the first parser.
"""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.harness.ca import PROXY_CERT_INFO, Issued, TestCA, encoded_oid, tlv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "CVE_SHAPES",
    "FIRST_BLOCK_DAMAGES",
    "all_truncations",
    "certificate_with",
    "deep_indefinite",
    "deep_nesting",
    "explicit_ec_key",
    "explicit_ec_spki",
    "exponent_spki",
    "extension",
    "garbage_pem",
    "huge_integer",
    "huge_length",
    "huge_modulus_spki",
    "huge_oid",
    "huge_relative_oid",
    "indefinite_length",
    "long_chain",
    "oversized_tag",
    "pem_block",
    "proxy_with_info",
    "real_decimal",
    "real_long_exponent",
    "real_value",
    "truncated_der_pem",
    "truncated_pem",
    "unparsable_first",
]

_SHA256_RSA: Final = bytes.fromhex("300D06092A864886F70D01010B0500")
_RSA: Final = bytes.fromhex("300D06092A864886F70D0101010500")


def pem_block(label: str, der: bytes) -> bytes:
    """One PEM block with lines of 64 characters."""
    text = base64.b64encode(der)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join((f"-----BEGIN {label}-----".encode(), *lines, f"-----END {label}-----".encode(), b""))


# Text that is not what it says


def garbage_pem() -> bytes:
    """A block whose body is no base64."""
    return b"-----BEGIN CERTIFICATE-----\n!!!! this is no base64 ????\n-----END CERTIFICATE-----\n"


def truncated_pem(pem: bytes) -> bytes:
    """The first half: a block that never ends."""
    return pem[: len(pem) // 2]


def truncated_der_pem(issued: Issued) -> bytes:
    """A proper block around half a certificate."""
    return pem_block("CERTIFICATE", issued.der[: len(issued.der) // 2])


def unparsable_first(pem: bytes) -> bytes:
    """A good file behind a block that no one can parse; the second block must not be taken for the leaf."""
    return pem_block("CERTIFICATE", b"\x30\x03\x02\x01") + pem


FIRST_BLOCK_DAMAGES: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "unparsable": unparsable_first,
    "junk-byte": lambda pem: b"x" + pem,
    "four-dashes": lambda pem: pem[1:],
    "no-begin-line": lambda pem: pem.partition(b"\n")[2],
    "head-cut-off": lambda pem: pem[200:],
    "small-letters": lambda pem: pem.replace(b"BEGIN CERTIFICATE", b"begin certificate", 1),
}
"""What may happen to the first block of a good file; the second must not be taken for the leaf then."""


def long_chain(issued: Issued, count: int = 10_000) -> bytes:
    """A proxy file whose chain has this many certificates."""
    return issued.pem + issued.key_pem() + (issued.chain_pem or issued.pem) * count


# DER that decoders have choked on


def oversized_tag(size: int = 200_000) -> bytes:
    """A tag in the long form with this many octets of number."""
    return b"\x1f" + b"\xff" * size + b"\x7f" + b"\x01\x00"


def deep_nesting(depth: int = 20_000) -> bytes:
    """Sequences inside one another, definite lengths."""
    heads: list[bytes] = []
    size = 0
    for _ in range(depth):
        head = bytes((0x30, size)) if size < 0x80 else _long_head(size)
        heads.append(head)
        size += len(head)
    return b"".join(reversed(heads))


def _long_head(size: int) -> bytes:
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x30, 0x80 | len(length))) + length


def deep_indefinite(depth: int = 20_000) -> bytes:
    """Sequences of indefinite length inside one another."""
    return b"\x30\x80" * depth + b"\x00\x00" * depth


def huge_oid(size: int = 200_000) -> bytes:
    """An object identifier with one arc of this many octets."""
    return tlv(0x30, tlv(0x06, b"\x2a" + b"\xff" * size + b"\x7f"))


def huge_relative_oid(size: int = 200_000) -> bytes:
    """A relative object identifier (tag 13) with one such arc."""
    return tlv(0x30, tlv(0x0D, b"\xff" * size + b"\x7f"))


def real_value() -> bytes:
    """A REAL in base 2 with an exponent of 2**31: a number that fits no memory."""
    return tlv(0x30, tlv(0x09, b"\x83\x04\x7f\xff\xff\xff\x01"))


def real_long_exponent() -> bytes:
    """A REAL whose exponent itself has 200 octets."""
    return tlv(0x30, tlv(0x09, b"\x83\xc8" + b"\x7f" * 200 + b"\x01"))


def real_decimal() -> bytes:
    """A REAL in decimal text with a huge exponent."""
    return tlv(0x30, tlv(0x09, b"\x03" + b"1.E1000000000"))


def indefinite_length() -> bytes:
    """BER that DER forbids: a sequence of indefinite length around an integer."""
    return b"\x30\x80\x02\x01\x00\x00\x00"


def huge_length() -> bytes:
    """A header that promises 4 GiB."""
    return b"\x30\x84\xff\xff\xff\xff\x02\x01\x00"


def huge_integer(size: int = 1_000_000) -> bytes:
    """An integer of this many octets."""
    return tlv(0x30, tlv(0x02, b"\x7f" * size))


CVE_SHAPES: Final[dict[str, bytes]] = {
    "oversized-tag": oversized_tag(),
    "deep-nesting": deep_nesting(),
    "deep-indefinite": deep_indefinite(),
    "huge-oid": huge_oid(),
    "huge-relative-oid": huge_relative_oid(),
    "real": real_value(),
    "real-long-exponent": real_long_exponent(),
    "real-decimal": real_decimal(),
    "indefinite-length": indefinite_length(),
    "huge-length": huge_length(),
    "huge-integer": huge_integer(),
}


# Public keys that no one should accept


def _rsa_spki(modulus: int, exponent: int) -> bytes:
    numbers = tlv(0x30, _integer(modulus) + _integer(exponent))
    return tlv(0x30, _RSA + tlv(0x03, b"\x00" + numbers))


def _integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def huge_modulus_spki(bits: int = 65_536) -> bytes:
    """An RSA key whose modulus has this many bits: verifying with it costs seconds to minutes."""
    return _rsa_spki((1 << (bits - 1)) | 1, 65537)


def exponent_spki(exponent: int, issued: Issued) -> bytes:
    """The RSA key of this credential with another public exponent; with 1 every signature is easily made."""
    assert isinstance(issued.key, rsa.RSAPrivateKey)
    return _rsa_spki(issued.key.public_key().public_numbers().n, exponent)


def explicit_ec_key() -> bytes:
    """A P-256 private key in PEM that spells its curve out in place of naming it (CVE-2020-0601's shape)."""
    command = ["openssl", "ecparam", "-name", "prime256v1", "-param_enc", "explicit", "-genkey", "-noout"]
    return subprocess.run(command, capture_output=True, check=True, timeout=30).stdout


def explicit_ec_spki(key_pem: bytes) -> bytes:
    """The public half of that key, curve spelled out."""
    command = ["openssl", "pkey", "-pubout", "-outform", "DER", "-ec_param_enc", "explicit"]
    return subprocess.run(command, input=key_pem, capture_output=True, check=True, timeout=30).stdout


# Certificates taken apart and put together again


def _items(content: bytes) -> Iterator[bytes]:
    """The TLVs in a content, whole."""
    at = 0
    while at < len(content):
        first = content[at + 1]
        size, head = first, 2
        if first & 0x80:
            head = 2 + (first & 0x7F)
            size = int.from_bytes(content[at + 2 : at + head], "big")
        yield content[at : at + head + size]
        at += head + size


def _content(der: bytes) -> bytes:
    first = der[1]
    return der[2 + (first & 0x7F if first & 0x80 else 0) :]


def certificate_with(
    issued: Issued,
    signer: TestCA | Issued,
    *,
    version: bytes | None = None,
    serial: bytes | None = None,
    spki: bytes | None = None,
    extensions: bytes | None = None,
    extra_extensions: tuple[bytes, ...] = (),
) -> bytes:
    """This certificate with some fields exchanged, signed again with an RSA key; DER.

    Args:
        issued: The certificate to start from.
        signer: Whose RSA key signs.
        version: A whole TLV in place of `[0] version`.
        serial: A whole TLV in place of the serial number.
        spki: A whole TLV in place of the public key.
        extensions: The content of the sequence of extensions.
        extra_extensions: Whole extension TLVs to add at the end.
    """
    assert isinstance(signer.key, rsa.RSAPrivateKey)
    fields = list(_items(_content(next(_items(_content(issued.der))))))
    # version, serial, signature, issuer, validity, subject, key, [3] extensions
    fields[2] = _SHA256_RSA
    if version is not None:
        fields[0] = version
    if serial is not None:
        fields[1] = serial
    if spki is not None:
        fields[6] = spki
    old = _content(_content(fields[7])) if len(fields) > 7 else b""
    fields[7:] = [tlv(0xA3, tlv(0x30, (old if extensions is None else extensions) + b"".join(extra_extensions)))]
    tbs = tlv(0x30, b"".join(fields))
    signature = signer.key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    return tlv(0x30, tbs + _SHA256_RSA + tlv(0x03, b"\x00" + signature))


def extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    """One whole extension TLV."""
    flag = tlv(0x01, b"\xff") if critical else b""
    return tlv(0x30, encoded_oid(oid) + flag + tlv(0x04, value))


def proxy_with_info(issued: Issued, info: bytes) -> bytes:
    """A properly signed RFC proxy of this RSA credential around any bytes as its ProxyCertInfo, as a proxy file."""
    plain = issued.proxy(info_oid=None)
    der = certificate_with(plain, issued, extra_extensions=(extension(PROXY_CERT_INFO, info, critical=True),))
    return pem_block("CERTIFICATE", der) + plain.key_pem() + plain.chain_pem


def all_truncations(data: bytes, step: int = 1) -> Iterator[bytes]:
    """Every proper prefix, or every `step`-th."""
    return (data[:size] for size in range(0, len(data), step))
