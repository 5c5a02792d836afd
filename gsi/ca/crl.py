"""Issuing certificate revocation lists, complete ones of version 2; who is on them, the caller says.

    crl_der = make_crl(ca_certificate, signer, entries, number=7, now=now, lifetime=timedelta(days=30))

Each list has a number larger than that of the one before (RFC 5280 section 5.2.3), which the caller keeps; see
`gsi.ca.serials.SerialFile`. What is made is read back and its signature checked before it is returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from gsi import der, oids
from gsi.ca.build import authority_key_identifier, sign_tbs
from gsi.ca.serials import MAX_SERIAL
from gsi.errors import ConfigError, GridError, IssuanceError, IssuanceStep, VerificationError
from gsi.extensions import CRL_SIGN, encode_extension
from gsi.lifetime import BACKDATE
from gsi.trust.crl import parse_crl
from gsi.trust.profile import read_profile
from gsi.trust.signatures import check_signature, load_key

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from gsi.ca.signer import Signer
    from gsi.certificate import Certificate

__all__ = ["RevocationReason", "RevokedEntry", "long_time", "make_crl", "parse_reason"]


class RevocationReason(IntEnum):
    """Why a certificate was revoked (RFC 5280 section 5.3.1); 7 is not used, 8 belongs to delta lists."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    CERTIFICATE_HOLD = 6
    PRIVILEGE_WITHDRAWN = 9
    AA_COMPROMISE = 10

    @property
    def word(self) -> str:
        """The name as the RFC and OpenSSL write it: `keyCompromise`."""
        return _WORDS[self]


_WORDS: Final = {
    RevocationReason.UNSPECIFIED: "unspecified",
    RevocationReason.KEY_COMPROMISE: "keyCompromise",
    RevocationReason.CA_COMPROMISE: "CACompromise",
    RevocationReason.AFFILIATION_CHANGED: "affiliationChanged",
    RevocationReason.SUPERSEDED: "superseded",
    RevocationReason.CESSATION_OF_OPERATION: "cessationOfOperation",
    RevocationReason.CERTIFICATE_HOLD: "certificateHold",
    RevocationReason.PRIVILEGE_WITHDRAWN: "privilegeWithdrawn",
    RevocationReason.AA_COMPROMISE: "AACompromise",
}


def parse_reason(text: str) -> RevocationReason:
    """Return the reason of this name, in any case.

    Raises:
        ConfigError: There is no such reason.
    """
    for reason, word in _WORDS.items():
        if word.lower() == text.lower():
            return reason
    raise ConfigError(f"{text!r} is no reason to revoke", hint=f"one of {', '.join(_WORDS.values())}")


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """One revoked certificate.

    Attributes:
        serial: Its serial number.
        time: When it was revoked (aware UTC).
        reason: Why.
        invalid_since: When the key is thought to have been lost (aware UTC), or None.
    """

    serial: int
    time: datetime
    reason: RevocationReason = RevocationReason.UNSPECIFIED
    invalid_since: datetime | None = None


def make_crl(
    certificate: Certificate,
    signer: Signer,
    entries: Iterable[RevokedEntry],
    *,
    number: int,
    now: datetime,
    lifetime: timedelta,
    last: datetime | None = None,
) -> bytes:
    """Return a CRL in DER.

    Args:
        certificate: The CA's certificate.
        signer: Its key.
        entries: The revoked certificates; one named twice stands there once, as first named.
        number: The list's number, larger than that of any list before.
        now: The time (aware UTC); thisUpdate is 5 minutes earlier, for readers whose clocks run behind.
        lifetime: From now to nextUpdate.
        last: When the list before this was made (aware UTC); thisUpdate is never earlier, so that no reader takes this
            list for the older one.

    Raises:
        ConfigError: A number or lifetime out of range.
        IssuanceError: AUTHORITY: the CA may not sign CRLs, its certificate does not hold now, or `last` is yet to come;
            SIGN; CHECK.
    """
    now = now.replace(microsecond=0)
    if not 0 <= number <= MAX_SERIAL:
        raise ConfigError("the number of a CRL is not negative and has at most 20 octets (RFC 5280 section 5.2.3)")
    if lifetime <= timedelta(0):
        raise ConfigError("a CRL needs a lifetime longer than nothing")
    try:
        next_update = now + lifetime
    except OverflowError as error:
        raise ConfigError("the CRL would last past the year 9999") from error
    _check_authority(certificate, now)
    if last is not None and last > now:
        raise IssuanceError(
            f"the last CRL is of {last:%Y-%m-%d %H:%M:%S}Z, which is yet to come",
            step=IssuanceStep.AUTHORITY,
            hint="check this machine's clock; readers would take a new list for an older one",
        )
    this_update = max(now - BACKDATE, certificate.not_before, last or certificate.not_before)
    unique: dict[int, RevokedEntry] = {}
    for entry in entries:
        if not 0 < entry.serial <= MAX_SERIAL:
            raise ConfigError(f"{entry.serial} is no serial number")
        unique.setdefault(entry.serial, entry)
    listed = [_encode_entry(unique[serial]) for serial in sorted(unique)]
    extensions = (
        encode_extension(oids.AUTHORITY_KEY_IDENTIFIER, False, authority_key_identifier(certificate)),
        encode_extension(oids.CRL_NUMBER, False, der.encode_integer(number)),
    )
    tbs_der = der.encode_sequence(
        der.encode_integer(1),  # version 2
        signer.algorithm_der,
        certificate.subject_der,
        der.encode_time(this_update),
        der.encode_time(next_update.replace(microsecond=0)),
        der.encode_sequence(*listed) if listed else b"",  # absent when empty (section 5.1.2.6)
        der.encode_explicit(0, der.encode_sequence(*extensions)),
    )
    crl_der = sign_tbs(tbs_der, signer)
    _check(crl_der, certificate, unique)
    return crl_der


def _encode_entry(entry: RevokedEntry) -> bytes:
    extensions: list[bytes] = []
    if entry.reason is not RevocationReason.UNSPECIFIED:  # which is said by silence (section 5.3.1)
        reason = der.encode_tlv(der.ENUMERATED, bytes((entry.reason,)))
        extensions.append(encode_extension(oids.CRL_REASON, False, reason))
    if entry.invalid_since is not None:  # always GeneralizedTime (section 5.3.2)
        since = der.encode_tlv(der.GENERALIZED_TIME, long_time(entry.invalid_since).encode())
        extensions.append(encode_extension(oids.INVALIDITY_DATE, False, since))
    return der.encode_sequence(
        der.encode_integer(entry.serial),
        der.encode_time(entry.time),
        der.encode_sequence(*extensions) if extensions else b"",
    )


def long_time(moment: datetime) -> str:
    """Return a time as GeneralizedTime says it; `%Y` would leave the zeros of early years out."""
    return f"{moment.year:04d}{moment:%m%d%H%M%SZ}"


def _check_authority(certificate: Certificate, now: datetime) -> None:
    try:
        profile = read_profile(certificate, None)
    except VerificationError as error:
        raise IssuanceError(error.message, step=IssuanceStep.AUTHORITY) from error
    if not profile.is_ca or not profile.may(CRL_SIGN):
        raise IssuanceError(
            "the CA's certificate does not allow it to sign CRLs",
            step=IssuanceStep.AUTHORITY,
            hint="it needs key usage cRLSign",
        )
    if not certificate.not_before <= now <= certificate.not_after:
        raise IssuanceError("the CA's certificate does not hold now", step=IssuanceStep.AUTHORITY)


def _check(crl_der: bytes, certificate: Certificate, entries: dict[int, RevokedEntry]) -> None:
    """Read back what was made."""
    try:
        crl = parse_crl(crl_der)
        check_signature(load_key(certificate, None), crl.signature_algorithm_der, crl.signature, crl.tbs_der)
        missing = set(entries) - crl.serials
    except GridError as error:
        raise IssuanceError(f"the CRL would be faulty: {error.message}", step=IssuanceStep.CHECK) from error
    if missing:
        raise IssuanceError("the CRL would not name all that were revoked", step=IssuanceStep.CHECK)
