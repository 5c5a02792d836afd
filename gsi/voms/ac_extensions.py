"""The extensions of VOMS attribute certificates, value <-> DER; judges nothing.

certificates = parse_certificates(extension.value)         # the issuer's, signer first
targets = parse_targets(extension.value)                   # hosts for which the certificate is meant
tags = parse_tags(extension.value)                         # generic attributes
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import der, oids
from gsi.certificate import Certificate, Extension
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "KeyIdentifier",
    "Tag",
    "TagList",
    "authority_key_identifier",
    "certificates_extension",
    "key_bits_sha1",
    "no_rev_avail",
    "parse_authority_key_identifier",
    "parse_certificates",
    "parse_tags",
    "parse_targets",
    "tags_extension",
    "targets_extension",
]

MAX_CERTIFICATES: Final = 16  # the issuer's and its CAs'; three are the most in use
MAX_TARGETS: Final = 256  # hosts; a target list is for one service or a handful
MAX_TAGS: Final = 1024
_NULL: Final = b"\x05\x00"
_URI: Final = 0x86
_DIRECTORY_NAME: Final = 0xA4


class Tag(NamedTuple):
    """A generic attribute: name and value, for the VO, group or role named by the qualifier."""

    name: str
    value: str
    qualifier: str


class TagList(NamedTuple):
    """Generic attributes with who says so, a URI."""

    authority: str
    tags: tuple[Tag, ...]


class KeyIdentifier(NamedTuple):
    """AuthorityKeyIdentifier (RFC 5280 section 4.2.1.1): which key or certificate made the signature."""

    key_id: bytes | None
    issuer_der: bytes | None = None
    serial: int | None = None


def _text(content: bytes, what: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError(f"{what}: not UTF-8", what=what) from error


# --- the issuer's certificates ----------------------------------------------------------------------------------------


def parse_certificates(value: bytes) -> tuple[Certificate, ...]:
    """Return the issuer's certificates, signer first.

    Raises:
        ParseError: Malformed, empty, or more than `MAX_CERTIFICATES`.
    """
    what = "list of issuer certificates"
    outer = der.parse_one(value, what=what)
    listed = outer.sequence()
    outer.finish()
    found: list[Certificate] = []
    while not listed.at_end():
        if len(found) == MAX_CERTIFICATES:
            raise ParseError(f"{what}: more than {MAX_CERTIFICATES}", what=what)
        found.append(Certificate.parse(listed.take_raw(der.SEQUENCE)))
    if not found:
        raise ParseError(f"{what}: empty", what=what)
    return tuple(found)


def certificates_extension(certificates: Sequence[Certificate]) -> Extension:
    """Return the extension that carries the issuer's certificates, signer first."""
    listed = der.encode_sequence(*(certificate.der for certificate in certificates))
    return Extension(oids.VOMS_CERTIFICATES, False, der.encode_sequence(listed))


# --- targets ----------------------------------------------------------------------------------------------------------


def parse_targets(value: bytes) -> tuple[str, ...]:
    """Return the target names, as URIs or host names (RFC 5755 section 4.3.2 in the form that VOMS reads).

    Raises:
        ParseError: Malformed, or more than `MAX_TARGETS`. An empty list is a list.
    """
    what = "target list"
    outer = der.parse_one(value, what=what)
    listed = outer.sequence()
    outer.finish()
    found: list[str] = []
    while not listed.at_end():
        if len(found) == MAX_TARGETS:
            raise ParseError(f"{what}: more than {MAX_TARGETS}", what=what)
        target = listed.sequence()
        tagged = target.enter(der.context(0))
        target.finish()
        found.append(_text(tagged.take(_URI), what))
        tagged.finish()
    return tuple(found)


def targets_extension(targets: Sequence[str]) -> Extension:
    """Return the critical extension that says for which hosts the certificate is meant."""
    listed = der.encode_sequence(
        *(
            der.encode_sequence(der.encode_explicit(0, der.encode_tlv(_URI, target.encode("utf-8"))))
            for target in targets
        )
    )
    return Extension(oids.TARGETS, True, der.encode_sequence(listed))


# --- generic attributes -----------------------------------------------------------------------------------------------


def parse_tags(value: bytes) -> tuple[TagList, ...]:
    """Return the generic attributes.

    Raises:
        ParseError: Malformed, or more than `MAX_TAGS`.
    """
    what = "generic attributes"
    outer = der.parse_one(value, what=what)
    lists = outer.sequence()
    outer.finish()
    found: list[TagList] = []
    count = 0
    while not lists.at_end():
        entry = lists.sequence()
        names = entry.sequence()
        authority = _text(names.take(_URI), what)
        names.finish()
        listed = entry.sequence()
        entry.finish()
        tags: list[Tag] = []
        while not listed.at_end():
            count += 1
            if count > MAX_TAGS:
                raise ParseError(f"{what}: more than {MAX_TAGS}", what=what)
            tag = listed.sequence()
            tags.append(Tag(*(_text(tag.octet_string(), what) for _ in range(3))))
            tag.finish()
        found.append(TagList(authority, tuple(tags)))
    return tuple(found)


def tags_extension(lists: Sequence[TagList]) -> Extension:
    """Return the extension that carries generic attributes."""
    encoded = [
        der.encode_sequence(
            der.encode_sequence(der.encode_tlv(_URI, one.authority.encode("utf-8"))),
            der.encode_sequence(
                *(
                    der.encode_sequence(*(der.encode_octet_string(part.encode("utf-8")) for part in tag))
                    for tag in one.tags
                )
            ),
        )
        for one in lists
    ]
    return Extension(oids.VOMS_TAGS, False, der.encode_sequence(der.encode_sequence(*encoded)))


# --- revocation and key -----------------------------------------------------------------------------------------------


def no_rev_avail() -> Extension:
    """Return the extension that says that no revocation list will speak of the certificate."""
    return Extension(oids.NO_REV_AVAIL, False, _NULL)


def key_bits_sha1(spki_der: bytes) -> bytes:
    """Return SHA-1 over the bits of a public key: the key identifier of RFC 5280 section 4.2.1.2, method 1.

    Raises:
        ParseError: Not a SubjectPublicKeyInfo.
    """
    reader = der.parse_one(spki_der, what="public key")
    reader.take(der.SEQUENCE)
    bits = reader.bit_string()
    reader.finish()
    return hashlib.sha1(bits, usedforsecurity=False).digest()


def authority_key_identifier(signer: Certificate) -> Extension:
    """Return the extension that names the signer's key."""
    value = der.encode_sequence(der.encode_tlv(der.context(0, constructed=False), key_bits_sha1(signer.spki_der)))
    return Extension(oids.AUTHORITY_KEY_IDENTIFIER, False, value)


def parse_authority_key_identifier(value: bytes) -> KeyIdentifier:
    """Return an AuthorityKeyIdentifier.

    Raises:
        ParseError: Malformed, without anything in it, or an issuer without serial number.
    """
    what = "authority key identifier"
    reader = der.parse_one(value, what=what)
    key_id = issuer_der = serial = None
    if reader.peek() == der.context(0, constructed=False):
        key_id = reader.take(der.context(0, constructed=False))
    if reader.peek() == der.context(1):
        names = reader.enter(der.context(1))
        tagged = names.enter(_DIRECTORY_NAME)
        names.finish()
        issuer_der = tagged.take_raw(der.SEQUENCE)
        tagged.finish()
        content = reader.take(der.context(2, constructed=False))
        serial = der.Reader(der.encode_tlv(der.INTEGER, content), what=what).integer()
    reader.finish()
    if key_id is None and issuer_der is None:
        raise ParseError(f"{what}: empty", what=what)
    return KeyIdentifier(key_id, issuer_der, serial)
