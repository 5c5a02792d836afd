"""Is a certificate revoked? The CRLs of its issuer in the trust directory are asked; fetches none.

    crls = check_revocation(certificate, 0, issuer, anchors=anchors, now=now, options=options)

Every CRL of the issuer must hold, not only the newest: one that is stale, broken, or signed by somebody else refuses
the issuer's certificates with its own reason, because what it would have said is not known. The C validator reads only
`.r0` and passes over several of these faults.

After a change of keys two CAs share one name and so the files of one hash. A CRL that the other key has signed stands
in for the issuer's own only where that key, further up this very path, has certified the issuer as itself (self-issued
certificates, RFC 5280 section 6.1; as OpenSSL). Otherwise, where lists of this name exist and none is the issuer's, its
certificates are refused (as by C and OpenSSL). What such a list names is revoked all the same, since issuer name and
serial number mean one certificate (RFC 5280 section 4.1.2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gsi import names
from gsi.errors import ParseError, Reason, VerificationError
from gsi.trust.anchors import BrokenFile
from gsi.trust.options import CRLPolicy
from gsi.trust.profile import CRL_SIGN

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.keys import PublicKey
    from gsi.trust.anchors import Authority, IssuerRules, TrustAnchors
    from gsi.trust.crl import CRL
    from gsi.trust.options import ValidationOptions
    from gsi.trust.profile import Profile

__all__ = ["Issuer", "check_revocation"]


class Issuer(NamedTuple):
    """A CA whose certificates are being judged; `elders` are the same CA with other keys, further up the path."""

    certificate: Certificate
    key: PublicKey
    profile: Profile
    rules: IssuerRules
    subject: str
    elders: tuple[Issuer, ...] = ()


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

    Args:
        certificate: The certificate.
        position: Its index, for the error.
        issuer: Who issued it, proven.
        anchors: The trust directory's contents.
        now: The time of the judgement (aware UTC).
        options: The caller's switches.

    Raises:
        VerificationError: REVOKED, or CRL_MISSING, CRL_BROKEN, CRL_EXPIRED, CRL_NOT_YET_VALID, CRL_BAD_SIGNATURE,
            CRL_SIGNER or WEAK_SIGNATURE, which are about the issuer's CRL but refuse this certificate.
    """
    if options.crl is CRLPolicy.OFF:
        return ()
    used: list[CRL] = []
    foreign: str | None = None
    unfit = False
    for file in issuer.rules.crls:
        if isinstance(file, BrokenFile):
            raise _refusal(f"CRL {file.path}: {file.message}", file.reason, position)
        for crl in file.crls:
            if not names.same_name(crl.issuer_der, issuer.certificate.subject_der):
                continue  # two names with one hash: `build_anchors` has seen to it that the file name fits this one
            question = _Question(crl, file.path, position, accept_weak=options.accept_weak_signatures)
            signer = question.find_signer(issuer, anchors)
            if signer is None:
                foreign = file.path
            elif not signer.profile.may(CRL_SIGN):
                unfit = True
            else:
                question.check_time(now)
                used.append(crl)
            question.check_serial(certificate)
    if unfit:
        raise _refusal("the issuer has a CRL, but its key usage lacks cRLSign", Reason.CRL_SIGNER, position)
    if foreign is not None and not used:
        raise _refusal(
            f"CRL {foreign} is signed with another key than that of {issuer.subject} which signed the certificate",
            Reason.CRL_SIGNER,
            position,
        )
    if not used and options.crl is CRLPolicy.REQUIRE:
        raise VerificationError(
            f"no CRL of {issuer.subject}, and the policy requires one",
            reason=Reason.CRL_MISSING,
            position=position,
            hint="run grid-fetch-crl, or set the CRL policy to if-present",
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

    def find_signer(self, issuer: Issuer, anchors: TrustAnchors) -> Issuer | None:
        """Return whose key signed this CRL: the issuer or one of its elders; None for another CA of this name.

        Raises:
            VerificationError: CRL_BAD_SIGNATURE when nobody here did, WEAK_SIGNATURE when the issuer did so weakly.
        """
        own = (issuer, *issuer.elders)
        for one in own:
            if self._crl.is_signed_with(one.certificate.spki_der, one.key, accept_weak=self._accept_weak):
                return one
        # Who signed, however weakly; an old CA's weak key or digest must not refuse the certificates of the new one.
        if not self._accept_weak and any(
            self._crl.is_signed_with(one.certificate.spki_der, one.key, accept_weak=True) for one in own
        ):
            raise _refusal(f"CRL {self._path}: the signature is too weak", Reason.WEAK_SIGNATURE, self._position)
        spki_der = issuer.certificate.spki_der
        for other in anchors.find_authorities(self._crl.issuer_der):
            if other.certificate.spki_der != spki_der and self._is_signed_by_other(other):
                return None
        raise _refusal(f"CRL {self._path} is not signed by its CA", Reason.CRL_BAD_SIGNATURE, self._position)

    def _is_signed_by_other(self, other: Authority) -> bool:
        try:
            key = other.certificate.public_key()
        except ParseError:
            return False  # a key that nobody can use has signed nothing
        return self._crl.is_signed_with(other.certificate.spki_der, key, accept_weak=True)

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
                hint="run grid-fetch-crl; certificates of this CA are refused until its CRL is current",
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
