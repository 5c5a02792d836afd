"""Issuing end-entity certificates: request + `Grant` + `Signer` -> certificate, in a written order of steps.

    issuer = Issuer(ca_certificate, signer, recorder=books, chain=(root,))
    issued = issuer.issue(request, grant, now=now, lifetime=timedelta(hours=1))
    issued.certificate, issued.chain

The steps, none of which is ever left out; whatever fails, nothing leaves:

    1. authority  the CA's certificate holds now, and its key is not what is to be certified
    2. request    the key's strength, then the site's request checkers
    3. grant      subject, names, usages and validity from the grant alone, within the CA's own validity
    4. serial     from the source of serial numbers
    5. sign       the bytes are built and given to the signer
    6. check      faults of form (`gsi.ca.lint`), our own validator against the CA, then the site's certificate checkers
    7. record     the recorder has it on disk
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from gsi import keys
from gsi.ca.above import find_above, find_highest
from gsi.ca.build import encode_tbs, end_entity_extensions, sign_tbs
from gsi.ca.lint import find_faults
from gsi.ca.records import IssuanceRecord
from gsi.ca.serials import MAX_SERIAL, random_serial
from gsi.certificate import Certificate
from gsi.errors import (
    CredentialError,
    CredentialProblem,
    GridError,
    IssuanceError,
    IssuanceStep,
    ParseError,
    VerificationError,
)
from gsi.names import oneline
from gsi.trust.anchors import build_anchors
from gsi.trust.hashes import subject_hash
from gsi.trust.options import CRLPolicy, Purpose, ValidationOptions
from gsi.trust.profile import KEY_CERT_SIGN, read_profile
from gsi.trust.signatures import check_certificate_signature, load_key
from gsi.trust.verify import verify_chain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from gsi.ca.grant import Grant
    from gsi.ca.records import Recorder
    from gsi.ca.request import CertificateRequest
    from gsi.ca.signer import Signer
    from gsi.trust.anchors import TrustAnchors

__all__ = ["CertificateChecker", "Issued", "Issuer", "RequestChecker"]

RequestChecker: TypeAlias = "Callable[[CertificateRequest, Grant], None]"
"""Looks at a request and its grant before anything is built; raises a GridError to refuse."""

CertificateChecker: TypeAlias = "Callable[[Certificate], None]"
"""Looks at a certificate before it is recorded and leaves; raises a GridError to refuse."""

_OPTIONS: Final = ValidationOptions(purpose=Purpose.ANY, crl=CRLPolicy.OFF, require_signing_policy=False)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was issued and recorded.

    Attributes:
        certificate: The new certificate.
        authorities: The CA certificates to send with it, its issuer first; those the issuer was given as `chain`.
        shortened: Whether a cap (the grant's or the CA's end) cut the lifetime asked for.
    """

    certificate: Certificate
    authorities: tuple[Certificate, ...]
    shortened: bool

    @property
    def chain(self) -> tuple[Certificate, ...]:
        """The new certificate and what is sent with it, leaf first."""
        return (self.certificate, *self.authorities)


class Issuer:
    """A CA that issues by grants. Immutable; may be used by several threads if its parts may.

    Attributes:
        certificate: The CA's certificate.
        above: Those of the CAs it was given that stand above it by name and key, the nearest first.
        highest: The last of the path upwards, as far as it is known: a root, or else a CA whose issuer was not given.
    """

    def __init__(
        self,
        certificate: Certificate,
        signer: Signer,
        *,
        recorder: Recorder,
        chain: Sequence[Certificate] = (),
        roots: Sequence[Certificate] = (),
        serials: Callable[[], int] = random_serial,
        request_checkers: Sequence[RequestChecker] = (),
        certificate_checkers: Sequence[CertificateChecker] = (),
        anchors: TrustAnchors | None = None,
    ) -> None:
        """Join a CA's certificate and its key.

        Args:
            certificate: The CA's certificate.
            signer: Its key.
            recorder: Takes a record of every certificate before it leaves.
            chain: CA certificates to be sent with each certificate issued: this CA's own if it is below another, and
                those above it. The chain may end below its root, and hold old certificates of the same CAs.
            roots: Further CA certificates, which are not sent; they serve the validation in step 6. Where there is a
                root among them, the path must lead to a root: step 6 refuses while a CA in between is missing.
            serials: Gives serial numbers; `random_serial` or a `SerialFile`.
            request_checkers: What else is asked of a request, in this order.
            certificate_checkers: What else is asked of a certificate, in this order.
            anchors: A trust directory to validate against in step 6, with its signing policies; None makes one of this
                CA and those above it without such policies, whose anchor is the highest of them.

        Raises:
            CredentialError: KEY_MISMATCH: the key is not that of the certificate; CANNOT_SIGN: not a CA's certificate,
                or its key usage does not allow signing.
            ParseError: The certificate's key cannot be read.
        """
        _check_authority(certificate, signer)
        self.certificate = certificate
        self._signer = signer
        self._recorder = recorder
        self._chain = tuple(chain)
        self._serials = serials
        self._request_checkers = tuple(request_checkers)
        self._certificate_checkers = tuple(certificate_checkers)
        self._key = load_key(certificate, None)
        self.above = find_above(certificate, (*chain, *roots))
        self.highest = find_highest(certificate, self.above)
        # All that is sent is judged; of a bundle of roots, what matters here.
        self._presented = tuple(one for one in dict.fromkeys((*chain, *self.above)) if one != certificate)
        is_incomplete = not self.highest.is_self_issued and any(one.is_self_issued for one in roots)
        self._anchors = anchors or _own_anchors((certificate, *self.above), None if is_incomplete else self.highest)

    def issue(
        self,
        request: CertificateRequest,
        grant: Grant,
        *,
        now: datetime,
        lifetime: timedelta | None = None,
        recorder: Recorder | None = None,
    ) -> Issued:
        """Issue what a grant gives for the key of a request.

        Args:
            request: The key, and the proof that came with it.
            grant: What the requester may receive.
            now: The time (aware UTC).
            lifetime: What the requester asks for; None is all that the grant gives.
            recorder: Takes the record of this certificate in place of the issuer's own, for services whose records
                say more of who asked.

        Raises:
            CredentialError: WEAK_KEY, UNSUPPORTED_KEY: the request's key will not do.
            IssuanceError: Every other failure, with its step; the requester needs to know no more than that.
        """
        now = now.replace(microsecond=0)
        # 1 and 2: the CA, the request.
        self._check_authority_now(now)
        self._check_request(request, grant)
        # 3: validity, and all else from the grant.
        not_before, not_after, shortened = self._validity(grant, now, lifetime)
        extensions = end_entity_extensions(grant, request, self.certificate)
        # 4 and 5: number, bytes, signature.
        tbs_der = encode_tbs(
            serial=self._next_serial(),
            algorithm_der=self._signer.algorithm_der,
            issuer_der=self.certificate.subject_der,
            not_before=not_before,
            not_after=not_after,
            subject_der=grant.subject_der,
            spki_der=request.spki_der,
            extensions=extensions,
        )
        certificate_der = sign_tbs(tbs_der, self._signer)
        # 6 and 7: what was made is judged as if a stranger had made it, then it is put on record.
        certificate = self.check(certificate_der, now=now)
        _record(recorder or self._recorder, IssuanceRecord(certificate, grant.requester, grant.decision, now))
        return Issued(certificate, self._chain, shortened)

    def close(self) -> None:
        """Let go of the key; nothing can be issued after that."""
        self._signer.close()

    def check_ready(self, now: datetime) -> None:
        """Find out, as far as that goes without signing, whether certificates can be issued.

        Raises:
            IssuanceError: AUTHORITY: the CA's certificate is not valid at this time; SIGN: its key cannot be used.
        """
        self._check_authority_now(now)
        self._signer.probe()

    def _check_authority_now(self, now: datetime) -> None:
        """Step 1."""
        if self.certificate.not_before <= now < self.certificate.not_after:
            return
        when = "expired" if now >= self.certificate.not_after else "is not valid yet"
        raise IssuanceError(
            f"the CA's certificate {when}: {oneline(self.certificate.subject_der)}",
            step=IssuanceStep.AUTHORITY,
            hint="renew the CA's certificate" if when == "expired" else "check this machine's clock",
        )

    def _check_request(self, request: CertificateRequest, grant: Grant) -> None:
        """Step 2."""
        keys.check_public_key(request.public_key)
        if keys.is_rsa(request.public_key) and keys.key_bits(request.public_key) < grant.min_rsa_bits:
            raise CredentialError(
                f"an RSA key of {keys.key_bits(request.public_key)} bits, at least {grant.min_rsa_bits} are required",
                problem=CredentialProblem.WEAK_KEY,
                hint="make a longer key and ask again",
            )
        if request.spki_der == self._signer.spki_der:
            raise IssuanceError("the request is for the CA's own key", step=IssuanceStep.REQUEST)
        for checker in self._request_checkers:
            try:
                checker(request, grant)
            except GridError as error:
                raise _stopped(error, IssuanceStep.REQUEST) from error

    def _validity(self, grant: Grant, now: datetime, lifetime: timedelta | None) -> tuple[datetime, datetime, bool]:
        """Step 3: return begin, end, and whether a cap cut what was asked for."""
        begin = now if grant.not_before is None else grant.not_before.replace(microsecond=0)
        asked = grant.lifetime if lifetime is None else min(lifetime, grant.lifetime)
        caps = [self.certificate.not_after]
        if grant.not_after is not None:
            caps.append(grant.not_after.replace(microsecond=0))
        cap = min(caps)
        if begin >= cap or cap <= now:
            raise IssuanceError("the grant ends before it begins", step=IssuanceStep.GRANT)
        shortened = asked > cap - begin
        not_after = cap if shortened else (begin + asked).replace(microsecond=0)
        not_before = begin - grant.backdate if grant.not_before is None else begin
        not_before = max(not_before, self.certificate.not_before)
        if not_after <= begin or not_after <= now:
            raise IssuanceError("the lifetime asked for is over at once", step=IssuanceStep.GRANT)
        return not_before, not_after, shortened

    def _next_serial(self) -> int:
        """Step 4."""
        try:
            serial = self._serials()
        except IssuanceError:
            raise
        except GridError as error:
            raise _stopped(error, IssuanceStep.SERIAL) from error
        if not 0 < serial <= MAX_SERIAL:
            raise IssuanceError(f"{serial} is no serial number", step=IssuanceStep.SERIAL)
        return serial

    def check(self, certificate_der: bytes, *, now: datetime) -> Certificate:
        """Judge a certificate of this CA as step 6 does and return it; for one that another program made, too.

        Raises:
            IssuanceError: CHECK: it has a fault of form, our validator refuses it, or a checker does.
        """
        try:
            certificate = Certificate.parse(certificate_der)
        except ParseError as error:
            raise _stopped(error, IssuanceStep.CHECK) from error
        faults = find_faults(certificate, issuer=self.certificate)
        if faults:
            raise IssuanceError(f"the certificate would be faulty: {'; '.join(faults)}", step=IssuanceStep.CHECK)
        try:
            check_certificate_signature(certificate, self._key, 0)
            # One that begins later is judged for its first second.
            at = max(now, certificate.not_before)
            verify_chain((certificate, *self._path()), self._anchors, now=at, options=_OPTIONS)
            for checker in self._certificate_checkers:
                checker(certificate)
        except GridError as error:
            raise _stopped(error, IssuanceStep.CHECK) from error
        return certificate

    def _path(self) -> tuple[Certificate, ...]:
        return () if self.certificate.is_self_issued else (self.certificate, *self._presented)


def _record(recorder: Recorder, record: IssuanceRecord) -> None:
    """Step 7."""
    try:
        recorder.record(record)
    except GridError as error:
        raise _stopped(error, IssuanceStep.RECORD) from error


def _check_authority(certificate: Certificate, signer: Signer) -> None:
    if keys.spki_der(keys.parse_public_key(certificate.spki_der)) != signer.spki_der:
        raise CredentialError(
            "the signing key does not belong to the CA's certificate", problem=CredentialProblem.KEY_MISMATCH
        )
    try:
        profile = read_profile(certificate, None)
    except VerificationError as error:
        raise CredentialError(
            f"the CA's certificate cannot be used: {error.message}", problem=CredentialProblem.CANNOT_SIGN
        ) from error
    if not profile.is_ca or not profile.may(KEY_CERT_SIGN):
        raise CredentialError(
            f"{oneline(certificate.subject_der)}: not a CA's certificate, or one that may not sign others",
            problem=CredentialProblem.CANNOT_SIGN,
            hint="it needs basicConstraints CA:TRUE and key usage keyCertSign",
        )


def _own_anchors(authorities: Sequence[Certificate], highest: Certificate | None) -> TrustAnchors:
    """Return a trust directory of the issuing CA and those above it alone; paths may also end at the highest."""
    files: dict[str, bytes] = {}
    for number, authority in enumerate(authorities):
        files[f"{subject_hash(authority.subject_der)}.{number}"] = authority.pem()
    return build_anchors(files, loaded_at=authorities[0].not_before, anchor=highest)


def _stopped(error: GridError, step: IssuanceStep) -> IssuanceError:
    return IssuanceError(error.message, step=step, hint=error.hint)
