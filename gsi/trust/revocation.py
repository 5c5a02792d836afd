"""Is a certificate revoked? The CRLs of its issuer in the trust directory are asked; fetches none.

    window = check_revocation(certificate, 0, issuer=issuer, issuer_key=key, issuer_position=1, anchors=anchors, ...)

Every CRL of the issuer must hold, not only the newest: one that is stale, broken, or signed by somebody else refuses
the issuer's certificates with its own reason, because what it would have said is not known. The C validator reads only
`.r0` and passes over several of these faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gsi import names
from gsi.errors import ParseError, Reason, VerificationError
from gsi.trust.anchors import BrokenFile
from gsi.trust.options import CRLPolicy
from gsi.trust.profile import CRL_SIGN
from gsi.trust.signatures import check_signature

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.keys import PublicKey
    from gsi.trust.anchors import IssuerRules, TrustAnchors
    from gsi.trust.crl import CRL
    from gsi.trust.options import ValidationOptions
    from gsi.trust.profile import Profile

__all__ = ["Issuer", "check_revocation"]


class Issuer(NamedTuple):
    """A CA whose certificates are being judged."""

    certificate: Certificate
    key: PublicKey
    profile: Profile
    rules: IssuerRules
    subject: str


def check_revocation(
    certificate: Certificate,
    position: int,
    issuer: Issuer,
    *,
    anchors: TrustAnchors,
    now: datetime,
    options: ValidationOptions,
) -> tuple[CRL, ...]:
    """Check a certificate against the CRLs of its issuer; return those that were used.

    Raises:
        VerificationError: REVOKED, or CRL_MISSING, CRL_BROKEN, CRL_EXPIRED, CRL_NOT_YET_VALID, CRL_BAD_SIGNATURE,
            CRL_SIGNER or WEAK_SIGNATURE, which are about the issuer's CRL but refuse this certificate.
    """
    if options.crl is CRLPolicy.OFF:
        return ()
    used: list[CRL] = []
    for file in issuer.rules.crls:
        if isinstance(file, BrokenFile):
            raise _refusal(f"CRL {file.path}: {file.message}", file.reason, position)
        for crl in file.crls:
            question = _Question(crl, file.path, position, accept_weak=options.accept_weak_signatures)
            if question.is_about(issuer, anchors):
                question.check_time(now)
                question.check_serial(certificate)
                used.append(crl)
    if used and not issuer.profile.may(CRL_SIGN):
        raise _refusal("the issuer has a CRL, but its key usage lacks cRLSign", Reason.CRL_SIGNER, position)
    if not used and options.crl is CRLPolicy.REQUIRE:
        raise VerificationError(
            f"no CRL of {issuer.subject}, and the policy requires one",
            reason=Reason.CRL_MISSING,
            position=position,
            hint="run fetch-crl, or set the CRL policy to if-present",
        )
    return tuple(used)


class _Question:
    """One CRL asked about one certificate."""

    __slots__ = ("_accept_weak", "_crl", "_path", "_position")

    def __init__(self, crl: CRL, path: str, position: int, *, accept_weak: bool) -> None:
        self._crl = crl
        self._path = path
        self._position = position
        self._accept_weak = accept_weak

    def is_about(self, issuer: Issuer, anchors: TrustAnchors) -> bool:
        """Tell whether the issuer signed this CRL; False when another CA did whose files lie under the same hash."""
        crl = self._crl
        if not names.same_name(crl.issuer_der, issuer.certificate.subject_der):
            return False  # two names with one hash: `build_anchors` has seen to it that the file name fits this one
        spki_der = issuer.certificate.spki_der
        if self._is_signed_by(spki_der, issuer.key):
            return True
        for other in anchors.find_authorities(crl.issuer_der):
            other_spki_der = other.certificate.spki_der
            if other_spki_der != spki_der and self._is_signed_by(other_spki_der, other.load_key(self._position)):
                return False  # a CA of the same name with another key, after a change of keys
        raise _refusal(f"CRL {self._path} is not signed by its CA", Reason.CRL_BAD_SIGNATURE, self._position)

    def _is_signed_by(self, spki_der: bytes, key: PublicKey) -> bool:
        crl = self._crl
        memory = spki_der + b"\x01" if self._accept_weak else spki_der  # what the switch let pass needs the switch
        known = crl.recall_signer(memory)
        if known is not None:
            return known
        signed = True
        try:
            check_signature(key, crl.signature_algorithm_der, crl.signature, crl.tbs_der, accept_weak=self._accept_weak)
        except VerificationError as error:
            if error.reason is Reason.WEAK_SIGNATURE:
                raise _refusal(f"CRL {self._path}: {error.message}", error.reason, self._position) from error
            signed = False
        crl.remember_signer(memory, signed=signed)
        return signed

    def check_time(self, now: datetime) -> None:
        """Refuse a CRL that does not hold at `now`."""
        crl = self._crl
        if now < crl.this_update:
            raise _refusal(
                f"CRL {self._path} is not valid before {crl.this_update:%Y-%m-%d %H:%M:%S}Z",
                Reason.CRL_NOT_YET_VALID,
                self._position,
            )
        if now > crl.next_update:
            raise VerificationError(
                f"CRL {self._path} expired at {crl.next_update:%Y-%m-%d %H:%M:%S}Z",
                reason=Reason.CRL_EXPIRED,
                position=self._position,
                hint="run fetch-crl; certificates of this CA are refused until its CRL is current",
            )

    def check_serial(self, certificate: Certificate) -> None:
        """Refuse a certificate that is on the list."""
        try:
            revoked = self._crl.is_revoked(certificate.serial)
        except ParseError as error:
            raise _refusal(f"CRL {self._path}: {error.message}", Reason.CRL_BROKEN, self._position) from error
        if revoked:
            raise VerificationError(
                f"{names.oneline(certificate.subject_der)} (serial {certificate.serial:#x}) was revoked by its CA",
                reason=Reason.REVOKED,
                position=self._position,
                hint="the holder needs a new certificate",
            )


def _refusal(message: str, reason: Reason, position: int) -> VerificationError:
    return VerificationError(
        message,
        reason=reason,
        position=position,
        hint="restore the CA's CRL (fetch-crl); its certificates are refused until then",
    )
