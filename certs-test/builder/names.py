"""Distinguished names in any string type, and the two hashes that name a trust directory's files; judges nothing.

name("/O=Grid/CN=Alice")                  PrintableString, emailAddress and DC in IA5String
name("/O=Grid", rdn(attribute("CN", "Zoë", UTF8)))
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from builder import der

__all__ = [
    "BMP",
    "IA5",
    "NUMERIC",
    "PRINTABLE",
    "TELETEX",
    "UNIVERSAL",
    "UTF8",
    "VISIBLE",
    "attribute",
    "name",
    "old_hash",
    "rdn",
    "rdns",
    "subject_hash",
]

UTF8: Final = 0x0C
NUMERIC: Final = 0x12
PRINTABLE: Final = 0x13
TELETEX: Final = 0x14
IA5: Final = 0x16
VISIBLE: Final = 0x1A
UNIVERSAL: Final = 0x1C
BMP: Final = 0x1E

_TYPES: Final = {
    "C": "2.5.4.6",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "CN": "2.5.4.3",
    "L": "2.5.4.7",
    "ST": "2.5.4.8",
    "serialNumber": "2.5.4.5",
    "DC": "0.9.2342.19200300.100.1.25",
    "UID": "0.9.2342.19200300.100.1.1",
    "emailAddress": "1.2.840.113549.1.9.1",
}
_CODECS: Final = {UTF8: "utf-8", BMP: "utf-16-be", UNIVERSAL: "utf-32-be"}
_FOLDED: Final = {UTF8, PRINTABLE, TELETEX, IA5, VISIBLE, UNIVERSAL, BMP}


def attribute(kind: str, value: str | bytes, tag: int | None = None) -> bytes:
    """Return one AttributeTypeAndValue; bytes are taken as they are, text is encoded by the string type."""
    if tag is None:
        tag = IA5 if kind in {"DC", "emailAddress"} else PRINTABLE
    content = value if isinstance(value, bytes) else value.encode(_CODECS.get(tag, "latin-1"))
    return der.sequence(der.oid(_TYPES.get(kind, kind)), der.tlv(tag, content))


def rdn(*attributes: bytes, in_order: bool = True) -> bytes:
    """Return one RelativeDistinguishedName."""
    return der.set_of(*attributes, in_order=in_order)


def name(oneline: str, *more: bytes) -> bytes:
    """Return the name of this one-line form, with further RDNs behind it."""
    parts = [rdn(attribute(kind, value)) for kind, value in re.findall(r"/(\w+)=((?:[^/]|/(?!(?:\w+)=))*)", oneline)]
    return der.sequence(*parts, *more)


def rdns(name_der: bytes) -> list[bytes]:
    """Return the RDNs of a name."""
    start, end = der.body(name_der)
    return der.items(name_der[start:end])


def subject_hash(name_der: bytes) -> str:
    """Return the hash of OpenSSL 1.0 and later: SHA-1 over the folded name without its outer header."""
    folded = b"".join(_fold_rdn(part) for part in rdns(name_der))
    return _as_hash(hashlib.sha1(folded).digest())


def old_hash(name_der: bytes) -> str:
    """Return the hash of OpenSSL before 1.0: MD5 over the name as it is."""
    return _as_hash(hashlib.md5(name_der).digest())


def _as_hash(digest: bytes) -> str:
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


def _fold_rdn(part: bytes) -> bytes:
    start, end = der.body(part)
    return der.set_of(*(_fold(pair) for pair in der.items(part[start:end])))


def _fold(pair: bytes) -> bytes:
    start, end = der.body(pair)
    kind, value = der.items(pair[start:end])
    if value[0] not in _FOLDED:
        return pair
    first, last = der.body(value)
    text = value[first:last].decode(_CODECS.get(value[0], "latin-1"))
    # Only ASCII is folded, as in OpenSSL.
    lower = "".join(char.lower() if char.isascii() else char for char in text)
    folded = re.sub(r"[ \t\n\v\f\r]+", " ", lower).strip(" ")
    return der.sequence(kind, der.tlv(UTF8, folded.encode()))
