"""The shape of extensions that decide nothing here: refused when malformed, and not looked at beyond that.

    check_shape(oids.CRL_DISTRIBUTION_POINTS, value)

A certificate with such an extension was not made by what its CA thinks made it, and other programs refuse it: OpenSSL
takes it for invalid as a whole. What says something to path validation is read in `gsi.trust.profile` and
`gsi.trust.name_constraints`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gsi import der, names, oids
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GENERAL_NAME_TAGS", "check_general_name", "check_shape"]

_MEMORY: Final = 256  # values remembered: every certificate of a CA names the same distribution points and keys
_SHORT: Final = 512  # longer ones are read anew, so that the memory stays small
_MAX_MEMBERS: Final = 1024  # of one extension; as many as `gsi.trust.name_constraints` takes of a SubjectAltName

_OTHER: Final = 0xA0  # the context tags of GeneralName, RFC 5280 section 4.2.1.6
_DIRECTORY: Final = 0xA4
_REGISTERED: Final = 0x88
GENERAL_NAME_TAGS: Final = frozenset({_OTHER, 0x81, 0x82, 0xA3, _DIRECTORY, 0xA5, 0x86, 0x87, _REGISTERED})


def check_shape(oid: str, value: bytes) -> None:
    """Check the value of an extension, if it is one of those known here.

    Raises:
        ParseError: It is malformed.
    """
    check = _CHECKS.get(oid)
    if check is not None:
        if len(value) <= _SHORT:
            _check_once(oid, value)
        else:
            check(value)


@lru_cache(maxsize=_MEMORY)
def _check_once(oid: str, value: bytes) -> None:
    _CHECKS[oid](value)


def check_general_name(tag: int, content: bytes, what: str) -> None:
    """Check one GeneralName (RFC 5280 section 4.2.1.6); the text in it is not looked at.

    Raises:
        ParseError: It has no such tag, or its content does not fit it.
    """
    if tag not in GENERAL_NAME_TAGS:
        raise ParseError(f"{what}: a member that has no place in it", what=what)
    if tag == _OTHER:
        reader = der.Reader(content, what=what)
        reader.oid()
        inner = reader.enter(der.context(0))
        inner.take_any()
        inner.finish()
        reader.finish()
    elif tag == _DIRECTORY:
        names.attributes(content)
    elif tag == _REGISTERED:
        der.Reader(der.encode_tlv(der.OID, content), what=what).oid()


def _check_general_names(reader: der.Reader, what: str) -> None:
    """Check GeneralNames: at least one."""
    count = 0
    while count == 0 or not reader.at_end():
        if reader.at_end():
            raise ParseError(f"{what}: empty", what=what)
        tag, content, _ = reader.take_any()
        check_general_name(tag, content, what)
        count += 1
        if count > _MAX_MEMBERS:
            raise ParseError(f"{what}: more than {_MAX_MEMBERS} members", what=what)


def _check_alternative_names(what: str) -> Callable[[bytes], None]:
    return lambda value: _check_general_names(der.parse_one(value, what=what), what)


def _check_subject_key(value: bytes) -> None:
    """Check a SubjectKeyIdentifier (section 4.2.1.2)."""
    reader = der.Reader(value, what="SubjectKeyIdentifier")
    reader.octet_string()
    reader.finish()


def _check_authority_key(value: bytes) -> None:
    """Check an AuthorityKeyIdentifier (section 4.2.1.1): key, issuer, serial number, each at most once, in order."""
    what = "AuthorityKeyIdentifier"
    reader = der.parse_one(value, what=what)
    if reader.peek() == der.context(0, constructed=False):
        reader.take_any()
    if reader.peek() == der.context(1):
        _check_general_names(reader.enter(der.context(1)), what)
    if reader.peek() == der.context(2, constructed=False):
        reader.take_any()
    if not reader.at_end():
        raise ParseError(f"{what}: a member that has no place in it", what=what)


def _check_points(value: bytes) -> None:
    """Check CRLDistributionPoints (section 4.2.1.13)."""
    what = "CRLDistributionPoints"
    listed = der.parse_one(value, what=what)
    count = 0
    while count == 0 or not listed.at_end():
        if listed.at_end():
            raise ParseError(f"{what}: empty", what=what)
        _check_point(listed.sequence(), what)
        count += 1
        if count > _MAX_MEMBERS:
            raise ParseError(f"{what}: more than {_MAX_MEMBERS} members", what=what)


def _check_point(point: der.Reader, what: str) -> None:
    if point.peek() == der.context(0):
        name = point.enter(der.context(0))
        if name.peek() == der.context(1):  # relative to the CRL's issuer: one relative distinguished name
            relative = der.encode_tlv(der.SET, name.take(der.context(1)))
            names.attributes(der.encode_sequence(relative))
        else:
            _check_general_names(name.enter(der.context(0)), what)
        name.finish()
    if point.peek() == der.context(1, constructed=False):
        point.take_any()
    if point.peek() == der.context(2):
        _check_general_names(point.enter(der.context(2)), what)
    if not point.at_end():
        raise ParseError(f"{what}: a member that has no place in it", what=what)


_CHECKS: Final[dict[str, Callable[[bytes], None]]] = {
    oids.SUBJECT_ALT_NAME: _check_alternative_names("SubjectAltName"),
    oids.ISSUER_ALT_NAME: _check_alternative_names("IssuerAltName"),
    oids.SUBJECT_KEY_IDENTIFIER: _check_subject_key,
    oids.AUTHORITY_KEY_IDENTIFIER: _check_authority_key,
    oids.CRL_DISTRIBUTION_POINTS: _check_points,
}
