"""Grant: what an authorised requester may receive, as one value; decides nothing and issues nothing.

    grant = Grant(
        subject_der=parse_oneline("/O=Grid/CN=Alice"),
        requester="alice from 192.0.2.7",
        lifetime=timedelta(hours=12),
        not_after=ticket_end,
        alternative_names=(email_address("alice@example.org"),),
    )

A service makes a grant once it knows who asks and what that one may have; `gsi.ca.issuer` cannot issue without it. A
grant is a maximum: the requester may ask for less time, and a key that cannot do what the grant allows (an EC key
cannot encipher keys) gets the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gsi import der, names, oids
from gsi.ca.general_names import uri
from gsi.errors import ConfigError, ParseError
from gsi.extensions import CRL_SIGN, DIGITAL_SIGNATURE, KEY_CERT_SIGN
from gsi.keys import MIN_RSA_BITS
from gsi.lifetime import BACKDATE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from gsi.certificate import Extension

__all__ = ["DATA_ENCIPHERMENT", "DEFAULT_KEY_USAGE", "KEY_ENCIPHERMENT", "Grant"]

KEY_ENCIPHERMENT: Final = 1 << 2  # RFC 5280 section 4.2.1.3
DATA_ENCIPHERMENT: Final = 1 << 3
DEFAULT_KEY_USAGE: Final = DIGITAL_SIGNATURE | KEY_ENCIPHERMENT
_ALL_USAGES: Final = (1 << 9) - 1
_ISSUERS_OWN: Final = frozenset({oids.BASIC_CONSTRAINTS, oids.SUBJECT_KEY_IDENTIFIER, oids.AUTHORITY_KEY_IDENTIFIER})
"""What `gsi.ca.issuer` alone writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The most that one requester may receive. Immutable, and checked when it is made.

    Attributes:
        subject_der: The subject, a Name in DER. Empty only together with `alternative_names`.
        requester: Who asked, for the record: a text that names the account, principal or person.
        lifetime: The longest validity, counted from now (or from `not_before`).
        not_before: Begin of validity; None is now less `backdate`.
        not_after: The latest end, such as that of a ticket; None for no such cap. The CA's own end always caps.
        alternative_names: SubjectAltName's members, made by `gsi.ca.general_names`.
        key_usage: Bits of KeyUsage as in `gsi.extensions`. Those that the key cannot do are left out.
        extended_key_usage: Purposes, dotted; empty for no extension.
        policies: Certificate policies, dotted; empty for no extension.
        crl_urls: Where the CRL lies; empty for no CRLDistributionPoints.
        ocsp_urls: OCSP responders, for AuthorityInfoAccess.
        issuer_urls: Where the CA's certificate lies, for AuthorityInfoAccess.
        extensions: Further extensions, written as they are. One of a kind that is made from the attributes above takes
            its place; basicConstraints and the two key identifiers cannot be replaced.
        min_rsa_bits: The smallest RSA key taken; below 2048 it has no effect.
        backdate: How far back validity begins, for peers whose clocks run behind.
        decision: Id of the authorization decision, for the record.

    Raises:
        ConfigError: The grant contradicts itself or holds what cannot be written.
    """

    subject_der: bytes
    requester: str
    lifetime: timedelta
    not_before: datetime | None = None
    not_after: datetime | None = None
    alternative_names: tuple[bytes, ...] = ()
    key_usage: int = DEFAULT_KEY_USAGE
    extended_key_usage: tuple[str, ...] = (oids.CLIENT_AUTH,)
    policies: tuple[str, ...] = ()
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    issuer_urls: tuple[str, ...] = ()
    extensions: tuple[Extension, ...] = ()
    min_rsa_bits: int = MIN_RSA_BITS
    backdate: timedelta = BACKDATE
    decision: str = ""

    def __post_init__(self) -> None:
        """Check that the parts can be written and fit together."""
        try:
            parts = names.attributes(self.subject_der)
            for oid in (*self.extended_key_usage, *self.policies, *(one.oid for one in self.extensions)):
                der.encode_oid(oid)
            for url in (*self.crl_urls, *self.ocsp_urls, *self.issuer_urls):
                uri(url)
        except ParseError as error:
            raise ConfigError(f"grant: {error.message}", hint=error.hint) from error
        if not parts and not self.alternative_names:
            raise ConfigError("grant: neither a subject nor an alternative name")
        if self.lifetime <= timedelta(0):
            raise ConfigError("grant: the lifetime must be longer than nothing")
        if self.backdate < timedelta(0):
            raise ConfigError("grant: validity cannot be backdated into the future")
        for moment in (self.not_before, self.not_after):
            if moment is not None and moment.utcoffset() != timedelta(0):
                raise ConfigError("grant: times must be aware UTC")
        if not 0 < self.key_usage <= _ALL_USAGES or self.key_usage & (KEY_CERT_SIGN | CRL_SIGN):
            raise ConfigError("grant: an end entity needs a key usage, and may sign neither certificates nor CRLs")
        _check_unique("extended key usage", self.extended_key_usage)
        _check_unique("policy", self.policies)
        _check_unique("alternative name", [name.hex() for name in self.alternative_names])
        _check_unique("extension", [extension.oid for extension in self.extensions])
        for extension in self.extensions:
            if extension.oid in _ISSUERS_OWN:
                raise ConfigError(f"grant: extension {extension.oid} is written by the issuer alone")


def _check_unique(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ConfigError(f"grant: the {what} {value} stands there twice")
        seen.add(value)
