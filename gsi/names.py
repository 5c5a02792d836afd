"""Distinguished names: DER in and out of the text forms of grids, and when two are the same; knows no certificate.

A name is carried as the DER that was signed (RFC 5280 section 4.1.2.4). Text is made from it for people and for policy
files, and is ambiguous: a value may hold `/`, string types are lost. So compare DER (`same_name`), and compare text
(`same_oneline`) only against files that hold nothing else.

    oneline(certificate.subject_der)                  # /O=Grid/OU=Test/CN=Alice, as OpenSSL and every C tool prints it
    same_name(certificate.issuer_der, ca.subject_der)
    append_common_name(certificate.subject_der, "1234")

It reads the bytes itself instead of using pyca's names, which refuse Latin-1 in TeletexString, still alive in old CAs.
Must agree with OpenSSL's X509_NAME_oneline, X509_NAME_print_ex and canonical encoding. Text against text is the subject
of gsi.nametext, whose functions are offered here, too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from gsi import der, oids
from gsi.errors import ParseError
from gsi.nametext import (
    ASCII_LOWER,
    MAX_NAME_BYTES,
    ONELINE_BYTE,
    canonical_oneline,
    check_text,
    encode_text,
    fold_attribute_types,
    plain_oneline,
    quote_gridmap,
    same_oneline,
    unquote_gridmap,
)
from gsi.nametypes import ATTRIBUTE_TYPE, PILOT_UID, find_attribute_type, short_name

__all__ = [
    "MAX_ATTRIBUTES",
    "MAX_NAME_BYTES",
    "Attribute",
    "added_common_name",
    "append_common_name",
    "attributes",
    "canonical",
    "canonical_oneline",
    "fold_attribute_types",
    "last_common_name",
    "name_from_rdns",
    "oneline",
    "parse_oneline",
    "parse_rfc4514",
    "plain_oneline",
    "quote_gridmap",
    "rdns",
    "rfc4514",
    "same_name",
    "same_oneline",
    "unquote_gridmap",
]

MAX_ATTRIBUTES: Final = 256  # 100 proxy levels on top of any name in use
_KNOWN_NAMES: Final = 512  # names kept as read: a server meets the same CAs, services and users again and again
_KNOWN_NAME_BYTES: Final = 1024  # longer ones, which nobody has, are read anew: strangers fill these caches
_WHAT: Final = "name"

_LATIN_1: Final = frozenset({der.NUMERIC_STRING, der.PRINTABLE_STRING, der.T61_STRING, der.IA5_STRING})
_WIDE: Final = {der.BMP_STRING: ("utf-16-be", 2), der.UNIVERSAL_STRING: ("utf-32-be", 4)}
_VALUE_TAGS: Final = _LATIN_1 | {der.UTF8_STRING, der.BIT_STRING, *_WIDE}
_FOLDED_TAGS: Final = _VALUE_TAGS - {der.NUMERIC_STRING, der.BIT_STRING}

_FOLD: Final = ASCII_LOWER | dict.fromkeys(map(ord, "\t\n\v\f\r"), " ")
# Patterns are kept as text and compiled at their first use: eager, they would add 4 ms to every command.
_ONELINE_SPLIT: Final = rf"(?<!\\)([/+])({ATTRIBUTE_TYPE})="
_PRINTABLE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?"


class Attribute(NamedTuple):
    """One attribute of a name, as it stands in the DER."""

    oid: str
    tag: int
    """The DER tag of the value: which string type."""
    content: bytes
    """The content of the value, without tag and length."""
    raw: bytes
    """The value whole, tag and length included."""

    def text(self) -> str:
        """Return the value as text, by its string type; TeletexString is read as Latin-1, as OpenSSL does.

        Raises:
            ParseError: The bytes do not fit the string type, or it is no string.
        """
        tag, content = self.tag, self.content
        try:
            if tag == der.UTF8_STRING:
                return content.decode("utf-8")
            if tag in _LATIN_1:
                return content.decode("latin-1")
            if tag in _WIDE:
                codec, width = _WIDE[tag]
                text = content.decode(codec)
                if len(text) * width == len(content):  # else: surrogate pairs, which BMPString does not have
                    return text
        except UnicodeDecodeError as error:
            raise ParseError(f"{_WHAT}: the value of {self.oid} is not valid text", what=_WHAT) from error
        raise ParseError(f"{_WHAT}: the value of {self.oid} is not valid text", what=_WHAT)


def rdns(name_der: bytes) -> tuple[bytes, ...]:
    """Return the relative distinguished names of a name, each a whole DER SET, first the most significant.

    Raises:
        ParseError: Not a Name in DER, or longer than `MAX_NAME_BYTES`.
    """
    if len(name_der) > MAX_NAME_BYTES:
        raise ParseError(f"{_WHAT}: {len(name_der)} bytes, limit {MAX_NAME_BYTES}", what=_WHAT, offset=0)
    reader = der.parse_one(name_der, what=_WHAT)
    found: list[bytes] = []
    while not reader.at_end():
        if len(found) == MAX_ATTRIBUTES:
            raise ParseError(f"{_WHAT}: more than {MAX_ATTRIBUTES} parts", what=_WHAT)
        found.append(reader.take_raw(der.SET))
    return tuple(found)


def name_from_rdns(parts: tuple[bytes, ...] | list[bytes]) -> bytes:
    """Return the DER name made of these whole SETs, in this order; the inverse of `rdns`."""
    return der.encode_sequence(*parts)


def attributes(name_der: bytes) -> tuple[tuple[Attribute, ...], ...]:
    """Return the attributes of a name, grouped by relative distinguished name.

    Raises:
        ParseError: Not a Name in DER, or a value that is none of the string types of RFC 5280 appendix A.1.
    """
    return _known_attributes(name_der) if len(name_der) <= _KNOWN_NAME_BYTES else _read_attributes(name_der)


def _read_attributes(name_der: bytes) -> tuple[tuple[Attribute, ...], ...]:
    found: list[tuple[Attribute, ...]] = []
    total = 0
    for rdn in rdns(name_der):
        group = _read_rdn(rdn)
        total += len(group)
        if total > MAX_ATTRIBUTES:
            raise ParseError(f"{_WHAT}: more than {MAX_ATTRIBUTES} attributes", what=_WHAT)
        found.append(group)
    return tuple(found)


_known_attributes: Final = lru_cache(maxsize=_KNOWN_NAMES)(_read_attributes)


def _read_rdn(rdn: bytes) -> tuple[Attribute, ...]:
    members = der.parse_one(rdn, what=_WHAT, tag=der.SET)
    group: list[Attribute] = []
    while not members.at_end():
        pair = members.sequence()
        oid = pair.oid()
        tag, content, raw = pair.take_any()
        pair.finish()
        if tag not in _VALUE_TAGS:
            raise ParseError(f"{_WHAT}: the value of {oid} has tag 0x{tag:02x}, which is no string", what=_WHAT)
        group.append(Attribute(oid, tag, content, raw))
    if not group:
        raise ParseError(f"{_WHAT}: an empty relative distinguished name", what=_WHAT)
    return tuple(group)


def oneline(name_der: bytes, *, escaped: bool = True) -> str:
    r"""Return the one-line form, `/O=Grid/CN=Alice`, as OpenSSL's X509_NAME_oneline writes it.

    Bytes of the value outside printable ASCII appear as `\xHH` (also each zero byte of a BMPString). An attribute type
    without a short name appears as its numbers. `/` and `+` in a value appear as `\/` and `\+`, and `+` joins the
    members of a multi-valued part: so OpenSSL 3.0.22; earlier ones, and the policy files of most sites, leave them
    alone and join with `/`. `same_oneline` and `canonical_oneline` take both forms.

    One deviation: OpenSSL never escapes the backslash itself; here one that could be taken for the begin of an escape
    (before `/`, `+`, `xHH` or the end of the value) is written `\x5C`, so that two names cannot share a text.

    Args:
        name_der: The name.
        escaped: False gives the form of earlier OpenSSL, which is ambiguous, for comparison with old files.

    Raises:
        ParseError: Not a Name in DER.
    """
    if len(name_der) <= _KNOWN_NAME_BYTES:
        return _known_oneline(name_der, escaped)
    return _write_oneline(name_der, escaped)


def _write_oneline(name_der: bytes, escaped: bool) -> str:
    parts: list[str] = []
    for group in attributes(name_der):
        mark = "/"
        for attribute in group:
            content = attribute.content
            if attribute.tag == der.BIT_STRING:
                content = content[1:]  # without the count of unused bits
            text = content.decode("latin-1")
            if escaped and ("/" in text or "+" in text or "\\" in text):
                text = _escape_oneline(content)
            elif not (content.isascii() and text.isprintable()):
                text = "".join([ONELINE_BYTE[byte] for byte in content])
            parts.append(f"{mark}{short_name(attribute.oid) or attribute.oid}={text}")
            mark = "+" if escaped else "/"
    return "".join(parts)


_known_oneline: Final = lru_cache(maxsize=_KNOWN_NAMES)(_write_oneline)


_AMBIGUOUS_BACKSLASH: Final = rb"\\(?=[/+]|x[0-9A-Fa-f]{2}|\Z)"


def _escape_oneline(content: bytes) -> str:
    """Return a value that holds a slash, plus or backslash, byte by byte."""
    ambiguous = {found.start() for found in re.finditer(_AMBIGUOUS_BACKSLASH, content)}
    out: list[str] = []
    for index, byte in enumerate(content):
        if index in ambiguous:
            out.append("\\x5C")
        elif byte in b"/+":
            out.append(f"\\{byte:c}")
        else:
            out.append(ONELINE_BYTE[byte])
    return "".join(out)


def rfc4514(name_der: bytes) -> str:
    """Return the LDAP form, `CN=Alice,O=Grid`: last part first (RFC 4514), escaped as `openssl -nameopt RFC2253`.

    Two deviations: a value that is just `#` is escaped, without which it cannot be read back; and an attribute type
    whose short name would be read back as another (`uid`, pilot attribute 44) is written as its numbers.

    Raises:
        ParseError: Not a Name in DER.
    """
    return ",".join(
        "+".join([_rfc4514_pair(attribute) for attribute in reversed(group)])
        for group in reversed(attributes(name_der))
    )


def _rfc4514_pair(attribute: Attribute) -> str:
    short = None if attribute.oid == PILOT_UID else short_name(attribute.oid)
    if short is not None and attribute.tag != der.BIT_STRING:
        try:
            return f"{short}={_escape_4514(attribute.text())}"
        except ParseError:
            pass  # not text: the hexadecimal form below carries any bytes
    return f"{short or attribute.oid}=#{attribute.raw.hex().upper()}"


_ESCAPED_4514: Final = r'[,+"\\<>;]|\A[ #]| \Z|[^ -~]'


def _escape_4514(text: str) -> str:
    return re.sub(_ESCAPED_4514, _escape_char, text)


def _escape_char(found: re.Match[str]) -> str:
    char = found[0]
    if " " <= char <= "~":
        return f"\\{char}"
    return "".join([f"\\{byte:02X}" for byte in char.encode("utf-8", "surrogatepass")])


def canonical(name_der: bytes) -> bytes:
    """Return OpenSSL's canonical encoding of a name: equal for names that RFC 5280 section 7.1 calls the same.

    String values become UTF8String, ASCII letters lower case, blanks trimmed and collapsed; the outer SEQUENCE header
    is left off. SHA-1 over it gives the file names of a trust directory. Usable as a dictionary key.

    Raises:
        ParseError: Not a Name in DER, or a value that is not valid text.
    """
    return b"".join([_canonical_rdn(group) for group in attributes(name_der)])


def _canonical_rdn(group: tuple[Attribute, ...]) -> bytes:
    members: list[bytes] = []
    for attribute in group:
        value = attribute.raw
        if attribute.tag in _FOLDED_TAGS:
            folded = attribute.text().translate(_FOLD).strip(" ")
            while "  " in folded:
                folded = folded.replace("  ", " ")
            value = der.encode_tlv(der.UTF8_STRING, folded.encode("utf-8", "surrogatepass"))
        members.append(der.encode_sequence(der.encode_oid(attribute.oid), value))
    return der.encode_set(*members)


def same_name(first_der: bytes, second_der: bytes) -> bool:
    """Tell whether two names are the same: equal bytes, or equal after the fold of RFC 5280 section 7.1.

    Raises:
        ParseError: The bytes differ and one of them is not a well-formed name.
    """
    return first_der == second_der or canonical(first_der) == canonical(second_der)


def append_common_name(name_der: bytes, common_name: str) -> bytes:
    """Return the name with one more part that holds one commonName, as a proxy's subject needs it.

    The string type is the one GCT chooses (PrintableString for digits, `proxy` and `limited proxy`); the given parts
    are kept byte for byte (RFC 3820 section 3.4).

    Raises:
        ParseError: Not a Name in DER, or the result is too long.
    """
    pair = der.encode_sequence(
        der.encode_oid(oids.COMMON_NAME), _encode_value(oids.COMMON_NAME, common_name.encode("utf-8", "replace"))
    )
    extended = name_from_rdns([*rdns(name_der), der.encode_set(pair)])
    rdns(extended)  # the bounds hold for what we make, too
    return extended


def added_common_name(subject_der: bytes, base_der: bytes) -> str | None:
    """Return the commonName that `subject` adds to `base`, or None when it adds anything else.

    Anything else: no or several parts, another attribute, a multi-valued part, another base (RFC 3820 section 3.4).

    Raises:
        ParseError: One of the two is not a well-formed name.
    """
    *base, last = rdns(subject_der) or (b"",)
    if not last:
        return None
    group = _read_rdn(last)
    if len(group) != 1 or group[0].oid != oids.COMMON_NAME:
        return None
    return group[0].text() if same_name(name_from_rdns(base), base_der) else None


def last_common_name(name_der: bytes) -> str | None:
    """Return the value of the last attribute when it is a commonName, else None.

    As GCT, the last attribute counts even inside a multi-valued part; `added_common_name` is what proves a proxy name.

    Raises:
        ParseError: Not a Name in DER, or the value is not valid text.
    """
    parts = rdns(name_der)
    if not parts:
        return None
    attribute = _read_rdn(parts[-1])[-1]
    return attribute.text() if attribute.oid == oids.COMMON_NAME else None


# --- text to DER ------------------------------------------------------------------------------------------------------


def _encode_value(oid: str, value: bytes) -> bytes:
    """Choose the string type as CAs do: Printable where it fits, IA5 for dc and email, else UTF-8.

    Bytes that are not UTF-8 were Latin-1 in a TeletexString; that is the one type that shows them as they are.
    """
    if oid in {oids.DOMAIN_COMPONENT, oids.EMAIL_ADDRESS} and value.isascii():
        return der.encode_tlv(der.IA5_STRING, value)
    if not value.translate(None, _PRINTABLE):
        return der.encode_tlv(der.PRINTABLE_STRING, value)
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return der.encode_tlv(der.T61_STRING, value)
    return der.encode_tlv(der.UTF8_STRING, value)


def parse_oneline(text: str) -> bytes:
    r"""Return the DER name for a one-line form, `/O=Grid/CN=Alice`; reads back what `oneline` writes, but string types.

    The form of earlier OpenSSL is ambiguous, so of that this is a reading: a part begins at each `/`, and a further
    member of a part at each `+`, that is followed by a known attribute type (short or long, any case, or numbers) and
    `=`, and that has no backslash before it. Any other `/` belongs to the value, as in `/CN=host/www.example.org`. `\/`
    and `\+` are the plain characters, `\xHH` is one byte, any other backslash itself. `/` alone is the empty name.

    Raises:
        ParseError: The text does not begin with `/` and a known attribute type, or is too long.
    """
    what = "one-line name"
    check_text(text, what)
    if text in {"", "/"}:
        return name_from_rdns([])
    starts = [
        (found, oid)
        for found in re.finditer(_ONELINE_SPLIT, text)
        if (oid := find_attribute_type(found[2])) is not None
    ]
    if not starts or starts[0][0].start() != 0 or text[0] != "/":
        raise ParseError(
            f"{what}: {text[:80]!r} does not begin with / and a known attribute type",
            what=what,
            offset=0,
            hint="write it as the grid tools print it: /O=Grid/OU=Test/CN=Alice",
        )
    parts: list[list[bytes]] = []
    for index, (found, oid) in enumerate(starts):
        end = starts[index + 1][0].start() if index + 1 < len(starts) else len(text)
        value = encode_text(text[found.end() : end], what)
        if b"\\" in value:
            value = re.sub(_ONELINE_ESCAPE, lambda escape: escape[1] or bytes((int(escape[2], 16),)), value)
        pair = der.encode_sequence(der.encode_oid(oid), _encode_value(oid, value))
        if found[1] == "/":
            parts.append([pair])
        else:
            parts[-1].append(pair)
    return _checked([der.encode_set(*group) for group in parts])


_ONELINE_ESCAPE: Final = rb"\\(?:([/+])|x([0-9A-Fa-f]{2}))"


def _checked(parts: list[bytes]) -> bytes:
    name = name_from_rdns(parts)
    rdns(name)
    return name


def parse_rfc4514(text: str) -> bytes:
    """Return the DER name for an LDAP form, `CN=Alice,O=Grid` (RFC 4514 section 3).

    Also read, as RFC 2253 section 4 asks: blanks around separators, `;` for `,`, values in double quotes, `OID.1.2.3`.

    Raises:
        ParseError: The text does not follow the grammar, names an unknown attribute type, or is too long.
    """
    what = "RFC 4514 name"
    check_text(text, what)
    if not text.strip(" "):
        return name_from_rdns([])
    parser = _LDAPName(text, what)
    parts: list[bytes] = []
    group = [parser.pair()]
    while (separator := parser.separator()) is not None:
        if separator != "+":
            parts.append(der.encode_set(*group))
            group = []
        group.append(parser.pair())
    parts.append(der.encode_set(*group))
    return _checked(parts[::-1])


_TYPE: Final = r" *([A-Za-z][A-Za-z0-9-]*|(?:[oO][iI][dD]\.)?[0-2](?:\.[0-9]+)+) *= *"
_HEX: Final = r"#((?:[0-9A-Fa-f]{2})+) *(?=[,;+]|\Z)"
_QUOTED: Final = r'(?s)"((?:[^"\\]|\\.)*)" *(?=[,;+]|\Z)'
_PLAIN: Final = r'(?s)((?:[^,;+"\\<>\0]|\\.)*)'
_ESCAPE: Final = rb"(?s)\\(?:([0-9A-Fa-f]{2})|([ \"#+,;<=>\\]))"


class _LDAPName:
    """A cursor over the text of `parse_rfc4514`."""

    __slots__ = ("_at", "_text", "_what")

    def __init__(self, text: str, what: str) -> None:
        self._text = text
        self._what = what
        self._at = 0

    def separator(self) -> str | None:
        if self._at == len(self._text):
            return None
        char = self._text[self._at]
        if char not in ",;+":
            raise self._error(f"{char!r} must be written with a backslash before it")
        self._at += 1
        return char

    def pair(self) -> bytes:
        found = re.compile(_TYPE).match(self._text, self._at)
        oid = find_attribute_type(found[1]) if found else None
        if found is not None and found[1] == "uid":  # here, unlike OpenSSL, types ignore case (RFC 4514 section 3)
            oid = oids.USER_ID
        if found is None or oid is None:
            raise self._error("a known attribute type and = expected")
        self._at = found.end()
        return der.encode_sequence(der.encode_oid(oid), self._value(oid))

    def _value(self, oid: str) -> bytes:
        hexadecimal = re.compile(_HEX).match(self._text, self._at)
        if hexadecimal:
            self._at = hexadecimal.end()
            raw = bytes.fromhex(hexadecimal[1])
            reader = der.Reader(raw, what=self._what)
            tag, _, _ = reader.take_any()
            reader.finish()
            if tag not in _VALUE_TAGS:
                raise self._error("the hexadecimal value is no string type of names")
            return raw
        begin = self._at
        quoted = re.compile(_QUOTED).match(self._text, begin)
        if quoted:
            self._at = quoted.end()
            return _encode_value(oid, self._unescape(quoted[1], begin))
        plain = re.compile(_PLAIN).match(self._text, begin)
        assert plain is not None  # the pattern matches the empty text
        self._at = plain.end()
        value = plain[1]
        stripped = value.rstrip(" ")
        backslashes = len(stripped) - len(stripped.rstrip("\\"))
        if backslashes % 2 and len(stripped) < len(value):
            stripped += " "  # the blank was escaped
        if stripped.startswith("#"):
            raise self._error("# begins a hexadecimal value; write \\# for the character", begin)
        return _encode_value(oid, self._unescape(stripped, begin))

    def _unescape(self, text: str, begin: int) -> bytes:
        data = encode_text(text, self._what)
        if b"\\" in re.sub(_ESCAPE, b"", data):
            raise self._error("a backslash must be followed by a special character or two hex digits", begin)
        return re.sub(_ESCAPE, lambda found: bytes((int(found[1], 16),)) if found[1] else found[2], data)

    def _error(self, why: str, at: int | None = None) -> ParseError:
        at = self._at if at is None else at
        return ParseError(
            f"{self._what}: character {at + 1}: {why}", what=self._what, offset=at, hint="like CN=Alice,OU=Test,O=Grid"
        )
