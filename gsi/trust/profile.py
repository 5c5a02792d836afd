"""The extensions of one certificate, read once into the few facts that path validation asks for; judges no chain.

    profile = read_profile(certificate, position=1)
    profile.is_ca, profile.path_length, profile.key_usage

Reading refuses what no chain may contain: a doubled extension, an unknown critical one, a malformed value, a version
that does not fit (RFC 5280 sections 4.1.2.1, 4.2 and 6.1.4).
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gsi import der, oids
from gsi.errors import ParseError, Reason, VerificationError
from gsi.extensions import (
    CRL_SIGN,
    DIGITAL_SIGNATURE,
    KEY_CERT_SIGN,
    parse_basic_constraints,
    parse_key_usage,
)
from gsi.trust.name_constraints import parse_name_constraints
from gsi.trust.shapes import check_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gsi.certificate import Certificate

__all__ = ["CRL_SIGN", "DIGITAL_SIGNATURE", "KEY_CERT_SIGN", "Profile", "read_profile"]

_MEMORY: Final = 256  # values remembered per decoder: key usages and the like repeat from certificate to certificate
_SHORT: Final = 256  # longer values are decoded anew each time, so that the memories stay small
_MAX_USAGES: Final = 64  # extended key usages in one certificate; three are much

# Critical extensions that this validator processes. Those about policies are for `gsi.trust.policies`.
_PROCESSED: Final = frozenset(
    {
        oids.KEY_USAGE,
        oids.SUBJECT_ALT_NAME,
        oids.BASIC_CONSTRAINTS,
        oids.NAME_CONSTRAINTS,
        oids.CRL_DISTRIBUTION_POINTS,
        oids.CERTIFICATE_POLICIES,
        oids.POLICY_MAPPINGS,
        oids.POLICY_CONSTRAINTS,
        oids.INHIBIT_ANY_POLICY,
        oids.EXTENDED_KEY_USAGE,
        oids.PROXY_CERT_INFO,
        oids.PROXY_CERT_INFO_GT3,
    }
)

_ABOUT_POLICIES: Final = frozenset(
    {oids.CERTIFICATE_POLICIES, oids.POLICY_MAPPINGS, oids.POLICY_CONSTRAINTS, oids.INHIBIT_ANY_POLICY}
)
_NO_POLICIES: Final[Mapping[str, bytes]] = MappingProxyType({})


class Profile:
    """What one certificate's extensions say.

    Attributes:
        is_ca: BasicConstraints with CA true.
        path_length: BasicConstraints' path length; None for no limit.
        key_usage: The bits of KeyUsage (see the constants here); None when the extension is absent.
        extended_key_usage: Purposes, dotted; None when the extension is absent.
        name_constraints: The raw NameConstraints value, or None.
        name_constraints_critical: Whether that extension is critical.
        subject_alt_name: The raw SubjectAltName value, or None.
        has_issuer_alt_name: Whether IssuerAltName is there.
        has_proxy_info: Whether a ProxyCertInfo of either form is there.
        policies: The raw values of the extensions about certificate policies, by identifier.
    """

    __slots__ = (
        "extended_key_usage",
        "has_issuer_alt_name",
        "has_proxy_info",
        "is_ca",
        "key_usage",
        "name_constraints",
        "name_constraints_critical",
        "path_length",
        "policies",
        "subject_alt_name",
    )

    def __init__(self) -> None:
        self.is_ca = False
        self.path_length: int | None = None
        self.key_usage: int | None = None
        self.extended_key_usage: frozenset[str] | None = None
        self.name_constraints: bytes | None = None
        self.name_constraints_critical = False
        self.subject_alt_name: bytes | None = None
        self.has_issuer_alt_name = False
        self.has_proxy_info = False
        self.policies = _NO_POLICIES

    def may(self, usage: int) -> bool:
        """Tell whether KeyUsage permits this bit; absent, it permits all."""
        return self.key_usage is None or bool(self.key_usage & usage)


def read_profile(certificate: Certificate, position: int | None) -> Profile:
    """Return what the extensions of a certificate say.

    Args:
        certificate: The certificate.
        position: Its index, for the error.

    Raises:
        VerificationError: MALFORMED, UNSUPPORTED_VERSION, DUPLICATE_EXTENSION or UNKNOWN_CRITICAL_EXTENSION.
    """
    extensions = certificate.extensions
    if certificate.version != 3 and (extensions or certificate.version > 3):
        raise VerificationError(
            f"certificate of version {certificate.version}{' with extensions' if extensions else ''}",
            reason=Reason.UNSUPPORTED_VERSION,
            position=position,
        )
    profile = Profile()
    seen: set[str] = set()
    try:
        for oid, critical, value in extensions:
            if oid in seen:
                raise VerificationError(
                    f"extension {oid} occurs twice", reason=Reason.DUPLICATE_EXTENSION, position=position
                )
            seen.add(oid)
            if critical and oid not in _PROCESSED:
                raise VerificationError(
                    f"critical extension {oid} is not known here",
                    reason=Reason.UNKNOWN_CRITICAL_EXTENSION,
                    position=position,
                )
            _note(profile, oid, value, critical=critical)
        if profile.name_constraints is not None and not profile.is_ca:  # a CA's are read where they are applied
            parse_name_constraints(profile.name_constraints, critical=False)
    except ParseError as error:
        raise VerificationError(error.message, reason=Reason.MALFORMED, position=position) from error
    return profile


def _note(profile: Profile, oid: str, value: bytes, *, critical: bool) -> None:
    if oid == oids.KEY_USAGE:
        profile.key_usage = parse_key_usage(value)
    elif oid == oids.BASIC_CONSTRAINTS:
        profile.is_ca, profile.path_length = parse_basic_constraints(value)
    elif oid == oids.EXTENDED_KEY_USAGE:
        profile.extended_key_usage = _usages(value) if len(value) <= _SHORT else _usages.__wrapped__(value)
    elif oid == oids.NAME_CONSTRAINTS:
        profile.name_constraints, profile.name_constraints_critical = value, critical
    elif oid == oids.SUBJECT_ALT_NAME:
        check_shape(oid, value)
        profile.subject_alt_name = value
    elif oid == oids.ISSUER_ALT_NAME:
        check_shape(oid, value)
        profile.has_issuer_alt_name = True
    elif oid in {oids.PROXY_CERT_INFO, oids.PROXY_CERT_INFO_GT3}:
        profile.has_proxy_info = True
    elif oid in _ABOUT_POLICIES:
        profile.policies = {**profile.policies, oid: value}
    else:
        check_shape(oid, value)


@lru_cache(maxsize=_MEMORY)
def _usages(value: bytes) -> frozenset[str]:
    reader = der.parse_one(value, what="ExtendedKeyUsage")
    found: set[str] = set()
    while not reader.at_end():
        found.add(reader.oid())
        if len(found) > _MAX_USAGES:
            raise ParseError("ExtendedKeyUsage: too many purposes", what="ExtendedKeyUsage")
    if not found:
        raise ParseError("ExtendedKeyUsage: empty", what="ExtendedKeyUsage")
    return frozenset(found)
