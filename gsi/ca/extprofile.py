"""What an administrator's extension section means for an end entity's certificate and for a proxy; writes no bytes.

    section = parse_extension_section(text, path=path)
    profile = end_entity_profile(section, path=path)
    Grant(..., key_usage=profile.key_usage, extensions=profile.extensions, ...)
    ProxyOptions(extensions=proxy_extensions(section, path=path))

The issuer writes some extensions itself, because a certificate without them, or with others, is faulty: critical
basicConstraints without a CA, both key identifiers, and a critical keyUsage of what the key can do. So a section that
asks for these gets what it asks for, one that asks for their contrary is refused, and one that is silent gets them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi import der, oids
from gsi.ca.general_names import encode_general_names, split_general_names
from gsi.ca.grant import DATA_ENCIPHERMENT, KEY_ENCIPHERMENT
from gsi.certificate import Extension
from gsi.errors import ConfigError, ParseError
from gsi.extensions import CRL_SIGN, DIGITAL_SIGNATURE, KEY_CERT_SIGN, parse_basic_constraints, parse_key_usage

if TYPE_CHECKING:
    from gsi.ca.extsection import ExtensionSection

__all__ = ["MYPROXY_PROFILE", "EndEntityProfile", "end_entity_profile", "proxy_extensions"]

_NS_CERT_TYPE: Final = "2.16.840.1.113730.1.1"
_NS_CA_BITS: Final = 0b1110_0000  # sslCA, emailCA, objCA
_CAS_ONLY: Final = frozenset(
    {oids.NAME_CONSTRAINTS, oids.POLICY_CONSTRAINTS, oids.POLICY_MAPPINGS, oids.INHIBIT_ANY_POLICY}
)
_PROXIES_ONLY: Final = frozenset({oids.PROXY_CERT_INFO, oids.PROXY_CERT_INFO_GT3})
_IDENTIFIERS: Final = frozenset({oids.SUBJECT_KEY_IDENTIFIER, oids.AUTHORITY_KEY_IDENTIFIER})


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEntityProfile:
    """What every certificate of one kind carries, beside what the issuer writes itself.

    Attributes:
        key_usage: Bits as in `gsi.extensions`; what a key cannot do is left out when it is known.
        extended_key_usage: Purposes; empty for no such extension.
        alternative_names: Names that every certificate has.
        names_are_critical: Whether SubjectAltName is critical.
        extensions: All others.
    """

    key_usage: int
    extended_key_usage: tuple[str, ...] = ()
    alternative_names: tuple[bytes, ...] = ()
    names_are_critical: bool = False
    extensions: tuple[Extension, ...] = ()

    def names_with(self, *further: bytes) -> tuple[tuple[bytes, ...], tuple[Extension, ...]]:
        """Return the alternative names and the further extensions of one certificate that has more names.

        Critical names go among the extensions, since a grant writes names of its own as non-critical.
        """
        names = tuple(dict.fromkeys((*self.alternative_names, *further)))
        if not names or not self.names_are_critical:
            return names, self.extensions
        return (), (*self.extensions, Extension(oids.SUBJECT_ALT_NAME, True, encode_general_names(names)))


MYPROXY_PROFILE: Final = EndEntityProfile(
    key_usage=DIGITAL_SIGNATURE | KEY_ENCIPHERMENT | DATA_ENCIPHERMENT, extended_key_usage=(oids.CLIENT_AUTH,)
)
"""What gct:myproxy/source/certauth_extensions.c writes where no section is configured."""


def end_entity_profile(section: ExtensionSection, *, path: str) -> EndEntityProfile:
    """Return what a section asks for in an end entity's certificate.

    Args:
        section: The section.
        path: Where it stands, for messages.

    Raises:
        ConfigError: It asks for what an end entity's certificate must not have, or not in this way.
    """
    key_usage = MYPROXY_PROFILE.key_usage
    purposes: tuple[str, ...] = ()
    names: tuple[bytes, ...] = ()
    names_are_critical = False
    further: list[Extension] = []
    for extension in section.extensions:
        try:
            if extension.oid == oids.BASIC_CONSTRAINTS:
                if parse_basic_constraints(extension.value)[0]:
                    raise ConfigError("basicConstraints would make a CA of every user", path=path)
            elif extension.oid == oids.KEY_USAGE:
                key_usage = _key_usage(extension.value, path)
            elif extension.oid == oids.EXTENDED_KEY_USAGE and not extension.critical:
                purposes = _purposes(extension.value)
            elif extension.oid == oids.SUBJECT_ALT_NAME:
                names, names_are_critical = split_general_names(extension.value), extension.critical
            else:
                _check_further(extension, path)
                further.append(extension)
        except ParseError as error:
            raise ConfigError(f"extension {extension.oid}: {error.message}", path=path) from error
    return EndEntityProfile(
        key_usage=key_usage,
        extended_key_usage=purposes,
        alternative_names=names,
        names_are_critical=names_are_critical,
        extensions=tuple(further),
    )


def proxy_extensions(section: ExtensionSection, *, path: str) -> tuple[Extension, ...]:
    """Return what a section asks for in a proxy, to be appended to what the proxy has by itself.

    Args:
        section: The section.
        path: Where it stands, for messages.

    Raises:
        ConfigError: It asks for an extension that a proxy has already or must not have (RFC 3820 sections 3.2, 3.5
            and 3.7).
    """
    asked = {extension.oid for extension in section.extensions}
    if section.wants_key_identifier or section.wants_authority_identifier or asked & _IDENTIFIERS:
        raise ConfigError("key identifiers are not written into proxies", path=path)
    taken = asked & {
        oids.BASIC_CONSTRAINTS,
        oids.KEY_USAGE,
        oids.EXTENDED_KEY_USAGE,
        oids.SUBJECT_ALT_NAME,
        oids.ISSUER_ALT_NAME,
        *_PROXIES_ONLY,
        *_CAS_ONLY,
    }
    if taken:
        raise ConfigError(
            f"extension {min(taken)} cannot be added to a proxy: it follows the issuer's or is forbidden", path=path
        )
    return section.extensions


def _key_usage(value: bytes, path: str) -> int:
    bits = parse_key_usage(value)
    if not bits or bits & (KEY_CERT_SIGN | CRL_SIGN):
        raise ConfigError("keyUsage must say something, but not that users sign certificates or CRLs", path=path)
    return bits


def _purposes(value: bytes) -> tuple[str, ...]:
    reader = der.parse_one(value, what="ExtendedKeyUsage")
    found: list[str] = []
    while not reader.at_end():
        found.append(reader.oid())
    return tuple(dict.fromkeys(found))


def _check_further(extension: Extension, path: str) -> None:
    if extension.oid in _IDENTIFIERS:
        raise ConfigError(
            f"extension {extension.oid} is made from the keys", path=path, hint="write hash, or keyid, or nothing"
        )
    if extension.oid in _CAS_ONLY | _PROXIES_ONLY:
        raise ConfigError(f"extension {extension.oid} has no place in an end entity's certificate", path=path)
    if extension.oid == _NS_CERT_TYPE and parse_key_usage(extension.value) & _NS_CA_BITS:
        raise ConfigError("nsCertType would make a CA of every user", path=path)
