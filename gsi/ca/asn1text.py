"""Small ASN.1 values in OpenSSL's words, `UTF8String:Grid` or `FORMAT:HEX,OCTETSTRING:00FF`, to DER; no structures.

    encode_asn1_text("UTF8String:Grid")          # 0c 04 47 72 69 64

A subset of openssl:doc/man3/ASN1_generate_nconf: the types that extensions of one value have. SEQUENCE, SET, tagging
and wrapping need sections of their own and are refused; whoever needs them writes `DER:` and the bytes.
"""

from __future__ import annotations

import re
from typing import Final

from gsi import der
from gsi.errors import ParseError

__all__ = ["encode_asn1_text"]

_WHAT: Final = "ASN.1 value"
_STRINGS: Final = {
    "UTF8": der.UTF8_STRING,
    "UTF8String": der.UTF8_STRING,
    "IA5": der.IA5_STRING,
    "IA5STRING": der.IA5_STRING,
    "PRINTABLE": der.PRINTABLE_STRING,
    "PRINTABLESTRING": der.PRINTABLE_STRING,
    "VISIBLE": der.VISIBLE_STRING,
    "VISIBLESTRING": der.VISIBLE_STRING,
    "NUMERIC": der.NUMERIC_STRING,
    "NUMERICSTRING": der.NUMERIC_STRING,
}
_ALPHABETS: Final = {
    der.PRINTABLE_STRING: re.compile(r"[A-Za-z0-9 '()+,./:=?-]*"),
    der.VISIBLE_STRING: re.compile(r"[ -~]*"),
    der.NUMERIC_STRING: re.compile(r"[0-9 ]*"),
    der.IA5_STRING: re.compile(r"[\x00-\x7f]*"),
}
_TRUE: Final = frozenset({"TRUE", "true", "Y", "y", "YES", "yes"})
_FALSE: Final = frozenset({"FALSE", "false", "N", "n", "NO", "no"})
_INTEGER: Final = re.compile(r"-?(?:0x[0-9A-Fa-f]{1,1024}|[0-9]{1,1024})")


def _refuse(why: str) -> ParseError:
    return ParseError(f"{_WHAT}: {why}", what=_WHAT, hint="write DER: and the bytes in hexadecimal")


def encode_asn1_text(text: str) -> bytes:
    """Return the DER of a value in OpenSSL's words.

    Raises:
        ParseError: Not such a value, or of a type that is not known here.
    """
    form = "ASCII"
    while text.startswith(("FORMAT:", "FORM:")):
        modifier, comma, text = text.partition(",")
        form = modifier.partition(":")[2]
        if not comma or form not in {"ASCII", "UTF8", "HEX"}:
            raise _refuse(f"{modifier!r} is not known here")
        text = text.lstrip()
    name, colon, value = text.partition(":")
    name = name.strip()
    if name == "NULL":
        if value:
            raise _refuse("NULL has no value")
        return b"\x05\x00"
    if not colon:
        raise _refuse(f"{text[:40]!r} is no type and value")
    if name in _STRINGS:
        return _string(_STRINGS[name], value, form)
    if name in {"OCT", "OCTETSTRING"}:
        if form == "HEX":
            return der.encode_octet_string(_hexadecimal(value))
        if form == "ASCII":
            return der.encode_octet_string(value.encode())
        raise _refuse("an OCTETSTRING is FORMAT:ASCII or FORMAT:HEX")
    if form != "ASCII":
        raise _refuse(f"FORMAT:{form} does not go with {name}")
    if name in {"BOOL", "BOOLEAN"} and value in _TRUE | _FALSE:
        return der.encode_boolean(value in _TRUE)
    if name in {"INT", "INTEGER"} and _INTEGER.fullmatch(value):
        return der.encode_integer(int(value, 16 if "x" in value else 10))
    if name in {"OID", "OBJECT"}:
        return der.encode_oid(value.strip())
    raise _refuse(f"{name}:{value[:40]} is not known here")


def _string(tag: int, value: str, form: str) -> bytes:
    if form == "HEX":
        raise _refuse("text in hexadecimal is not known here")
    if tag == der.UTF8_STRING:
        if form == "ASCII" and not value.isascii():
            raise ParseError(
                f"{_WHAT}: a UTF8String that is not ASCII", what=_WHAT, hint="write FORMAT:UTF8, before the type"
            )
    elif not _ALPHABETS[tag].fullmatch(value):
        raise _refuse(f"{value[:40]!r} has characters that the type does not have")
    return der.encode_tlv(tag, value.encode())


def _hexadecimal(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace(":", ""))
    except ValueError as error:
        raise _refuse("not hexadecimal digits") from error
