"""Faults of form in a certificate: what RFC 5280 asks of whoever writes one, beyond what a validator insists on.

    faults = find_faults(certificate, issuer=ca_certificate)     # empty: nothing to say

A validator must be lenient where the world is; an issuer need not be. These are the rules that OpenSSL's -x509_strict,
Python 3.13's strict mode and the PKIX linters check, read from the bytes again, independent of `gsi.ca.build`. Chains
and signatures are `gsi.trust`'s to judge.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gsi import der, names, oids
from gsi.ca.general_names import check_general_name, split_general_names
from gsi.ca.serials import MAX_SERIAL
from gsi.errors import CredentialError, ParseError
from gsi.extensions import CRL_SIGN, KEY_CERT_SIGN, parse_basic_constraints, parse_key_usage
from gsi.keys import is_rsa, parse_public_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.certificate import Certificate
    from gsi.names import Attribute

__all__ = ["find_faults"]

_KEY_OR_DATA_ENCIPHERMENT: Final = 0b1100
_TIME_FORMS: Final = {
    der.UTC_TIME: re.compile(rb"[0-9]{12}Z"),
    der.GENERALIZED_TIME: re.compile(rb"[0-9]{14}Z"),
}
_MUST_BE_CRITICAL: Final = frozenset({oids.BASIC_CONSTRAINTS, oids.KEY_USAGE, oids.NAME_CONSTRAINTS})
_MUST_NOT_BE_CRITICAL: Final = frozenset(
    {
        oids.SUBJECT_KEY_IDENTIFIER,
        oids.AUTHORITY_KEY_IDENTIFIER,
        oids.AUTHORITY_INFO_ACCESS,
        oids.ISSUER_ALT_NAME,
    }
)
# Upper bounds in characters, RFC 5280 appendix A.1.
_LONGEST: Final = {
    oids.COMMON_NAME: 64,
    oids.SERIAL_NUMBER: 64,
    oids.LOCALITY: 128,
    oids.STATE: 128,
    oids.ORGANIZATION: 64,
    oids.ORGANIZATIONAL_UNIT: 64,
    oids.TITLE: 64,
    oids.EMAIL_ADDRESS: 255,
    oids.USER_ID: 256,
}
_IA5_ONLY: Final = frozenset({oids.EMAIL_ADDRESS, oids.DOMAIN_COMPONENT})
_PRINTABLE_ONLY: Final = frozenset({oids.COUNTRY, oids.SERIAL_NUMBER, oids.DN_QUALIFIER})
_PROXY_NAMES: Final = frozenset({"proxy", "limited proxy"})
_NAME_TAGS: Final = frozenset({0xA0, 0x81, 0x82, 0xA4, 0x86, 0x87, 0x88})


def find_faults(certificate: Certificate, *, issuer: Certificate) -> tuple[str, ...]:
    """Return what is wrong with the form of a certificate, as clauses for a person; empty when nothing is.

    Args:
        certificate: An end entity's or a CA's certificate; a root when it equals `issuer`.
        issuer: The certificate of the CA that signed it.
    """
    is_root = certificate == issuer
    faults: list[str] = []
    for rule in (_fields, _times, _subject, _extensions, _usage, _alternative_names):
        try:
            faults += rule(certificate)
        except (ParseError, CredentialError) as error:
            faults.append(error.message)
    try:
        faults += _beside_issuer(certificate, issuer, is_root=is_root)
    except ParseError as error:
        faults.append(error.message)
    return tuple(faults)


def _fields(certificate: Certificate) -> Iterator[str]:
    if certificate.version != 3:
        yield f"version {certificate.version}, not 3"
    if not 0 < certificate.serial <= MAX_SERIAL:
        yield "the serial number is not positive or longer than 20 octets (section 4.1.2.2)"
    if certificate.inner_signature_algorithm_der != certificate.signature_algorithm_der:
        yield "two different signature algorithms (section 4.1.1.2)"
    parse_public_key(certificate.spki_der)


def _times(certificate: Certificate) -> Iterator[str]:
    """Check the encodings of Validity (section 4.1.2.5), which parsers pass over."""
    tbs = der.parse_one(certificate.tbs_der, what="certificate")
    tbs.take_raw(der.context(0))
    tbs.integer()
    tbs.take_raw(der.SEQUENCE)
    tbs.take_raw(der.SEQUENCE)
    validity = tbs.sequence()
    for moment in (certificate.not_before, certificate.not_after):
        tag, content, _ = validity.take_any()
        form = _TIME_FORMS.get(tag)
        if form is None or not form.fullmatch(content):
            yield "a time that is not in whole seconds and Zulu"
        elif (tag == der.UTC_TIME) != (1950 <= moment.year < 2050):
            yield "UTCTime is for the years to 2049, GeneralizedTime for those after"
    validity.finish()
    if certificate.not_before > certificate.not_after:
        yield "it ends before it begins"


def _subject(certificate: Certificate) -> Iterator[str]:
    alternative = certificate.find_extension(oids.SUBJECT_ALT_NAME)
    parts = names.attributes(certificate.subject_der)
    if not parts and (alternative is None or not alternative.critical):
        yield "an empty subject without a critical subjectAltName (section 4.2.1.6)"
    for group in parts:
        for attribute in group:
            yield from _attribute(attribute)
    last = names.last_common_name(certificate.subject_der)
    if last is not None and last.strip().lower() in _PROXY_NAMES:
        yield "its last common name makes it a proxy to grid programs"


def _attribute(attribute: Attribute) -> Iterator[str]:
    oid, text = attribute.oid, attribute.text()
    if not text:
        yield f"an empty {oid} in the subject"
    if not text.isprintable():
        yield f"{oid} in the subject holds a control character"
    if len(text) > _LONGEST.get(oid, len(text)):
        yield f"{oid} in the subject has {len(text)} characters, {_LONGEST[oid]} are the most (appendix A.1)"
    if oid == oids.COUNTRY and len(text) != 2:
        yield "a country of other than two letters"
    if oid in _IA5_ONLY and attribute.tag != der.IA5_STRING:
        yield f"{oid} in the subject is no IA5String"
    if oid in _PRINTABLE_ONLY and attribute.tag != der.PRINTABLE_STRING:
        yield f"{oid} in the subject is no PrintableString"


def _extensions(certificate: Certificate) -> Iterator[str]:
    if certificate.has_duplicate_extensions:
        yield "an extension stands there twice (section 4.2)"
    for extension in certificate.extensions:
        if extension.oid in _MUST_BE_CRITICAL and not extension.critical:
            yield f"extension {extension.oid} is not critical"
        if extension.oid in _MUST_NOT_BE_CRITICAL and extension.critical:
            yield f"extension {extension.oid} is critical"
    identifier = certificate.find_extension(oids.SUBJECT_KEY_IDENTIFIER)
    if identifier is None:
        yield "no subjectKeyIdentifier (section 4.2.1.2)"
    else:
        reader = der.Reader(identifier.value, what="SubjectKeyIdentifier")
        if not reader.octet_string():
            yield "an empty subjectKeyIdentifier"
        reader.finish()
    purposes = certificate.find_extension(oids.EXTENDED_KEY_USAGE)
    if purposes is not None:
        reader = der.parse_one(purposes.value, what="ExtendedKeyUsage")
        found: list[str] = []
        while not reader.at_end():
            found.append(reader.oid())
        if not found or len(set(found)) != len(found):
            yield "extendedKeyUsage is empty or says something twice"
        if oids.ANY_EXTENDED_KEY_USAGE in found and purposes.critical:
            yield "extendedKeyUsage is critical and allows any purpose (section 4.2.1.12)"


def _usage(certificate: Certificate) -> Iterator[str]:
    """Check basicConstraints and keyUsage against one another and the key (sections 4.2.1.3, 4.2.1.9)."""
    constraints = certificate.find_extension(oids.BASIC_CONSTRAINTS)
    usage = certificate.find_extension(oids.KEY_USAGE)
    if constraints is None or usage is None:
        yield "basicConstraints and keyUsage must be there"
        return
    is_ca, _ = parse_basic_constraints(constraints.value)
    if not is_ca and constraints.value != der.encode_sequence():
        yield "basicConstraints writes the default out (X.690 section 11.5)"
    bits = parse_key_usage(usage.value)
    if not bits:
        yield "keyUsage without a single bit"
    if is_ca and not bits & KEY_CERT_SIGN:
        yield "a CA without keyCertSign"
    if not is_ca and bits & (KEY_CERT_SIGN | CRL_SIGN):
        yield "an end entity that may sign certificates or CRLs"
    if bits & _KEY_OR_DATA_ENCIPHERMENT and not is_rsa(parse_public_key(certificate.spki_der)):
        yield "a key that cannot encipher is said to do so (RFC 8813 section 3)"


def _alternative_names(certificate: Certificate) -> Iterator[str]:
    extension = certificate.find_extension(oids.SUBJECT_ALT_NAME)
    if extension is None:
        return
    found = split_general_names(extension.value)
    if len(set(found)) != len(found):
        yield "subjectAltName says something twice"
    for name in found:
        tag, _, _ = der.Reader(name, what="SubjectAltName").take_any()
        if tag not in _NAME_TAGS:
            yield f"subjectAltName holds a name of tag {tag:#04x}"
        else:
            try:
                check_general_name(name)
            except ParseError as error:
                yield error.message


def _beside_issuer(certificate: Certificate, issuer: Certificate, *, is_root: bool) -> Iterator[str]:
    if certificate.issuer_der != issuer.subject_der:
        yield "the issuer's name is not, byte by byte, the CA's subject (section 7.1)"
    if not is_root and names.same_name(certificate.subject_der, issuer.subject_der):
        yield "its subject is the CA's own name"
    if certificate.not_before < issuer.not_before or certificate.not_after > issuer.not_after:
        yield "its validity reaches beyond the CA's"
    extension = certificate.find_extension(oids.AUTHORITY_KEY_IDENTIFIER)
    if extension is None:
        if not is_root:
            yield "no authorityKeyIdentifier (section 4.2.1.1)"
        return
    reader = der.parse_one(extension.value, what="AuthorityKeyIdentifier")
    tag = der.context(0, constructed=False)
    identifier = reader.take(tag) if reader.peek() == tag else b""
    own = issuer.find_extension(oids.SUBJECT_KEY_IDENTIFIER)
    if not identifier:
        yield "authorityKeyIdentifier without a key identifier"
    elif own is not None and own.value != der.encode_octet_string(identifier):
        yield "authorityKeyIdentifier is not the CA's subjectKeyIdentifier"
