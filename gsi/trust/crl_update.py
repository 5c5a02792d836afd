"""May a downloaded revocation list take the place of the installed one? Judged on bytes; fetches and writes nothing.

    update = judge_update(data, authorities, installed=(old,), now=now)
    update.crl, update.replaces, update.is_unchanged

A list goes in only if `gsi.trust.revocation` would take it: complete, of this CA, signed by its key, in force now. And
never an older list in place of a newer one, lest whoever can replay old bytes un-revoke a certificate. Older is a lower
CRL number or an earlier thisUpdate. Numbers that begin anew are accepted once the installed list has run out, and an
installed list that is dated in the future may be replaced by any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from gsi import names
from gsi.errors import ConflictError, ParseError, Reason, VerificationError
from gsi.pem import MAX_PEM_BYTES, encode_pem
from gsi.trust.crl import MAX_CRL_BYTES, parse_crl_file
from gsi.trust.profile import CRL_SIGN
from gsi.trust.signatures import check_signature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.trust.anchors import Authority
    from gsi.trust.crl import CRL

__all__ = ["MAX_DOWNLOAD_BYTES", "CRLUpdate", "crl_number", "find_signer", "judge_update"]

MAX_DOWNLOAD_BYTES: Final = MAX_CRL_BYTES  # what the trust directory reads


class CRLUpdate(NamedTuple):
    """A list that may be installed."""

    crl: CRL
    number: int | None
    """The CRL number, or None where the list has none."""
    signer: Authority
    replaces: CRL | None
    """The installed list of the same key, or None."""
    is_unchanged: bool
    """Whether that is the very same list."""

    def pem(self) -> bytes:
        """Return the list as the trust directory holds it."""
        return encode_pem("X509 CRL", self.crl.der)


def crl_number(crl: CRL) -> int | None:
    """Return a list's number (RFC 5280 section 5.2.3), or None where it has none.

    Raises:
        ParseError: The extensions cannot be read.
    """
    try:
        return x509.load_der_x509_crl(crl.der).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return None
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise ParseError(f"CRL: {error}", what="CRL") from error


def judge_update(
    data: bytes,
    authorities: Sequence[Authority],
    *,
    installed: Sequence[CRL] = (),
    now: datetime,
    accept_weak: bool = False,
) -> CRLUpdate:
    """Return the list in downloaded bytes, PEM or DER, if it may be installed.

    Args:
        data: What came.
        authorities: Every certificate of the CA, all of one name.
        installed: The CA's lists that are there, of whatever key.
        now: The time.
        accept_weak: Take signatures with MD5 and SHA-1, too.

    Raises:
        ParseError: No list, more than one, or one that cannot serve as a complete list of its issuer.
        VerificationError: CRL_SIGNER, CRL_BAD_SIGNATURE, WEAK_SIGNATURE, CRL_NOT_YET_VALID or CRL_EXPIRED.
        ConflictError: Older than the installed list.
    """
    crls = parse_crl_file(data)
    if len(crls) != 1:
        raise ParseError(f"CRL: {len(crls)} lists in one file", what="CRL")
    crl = crls[0]
    if len(crl.der) > MAX_PEM_BYTES // 4 * 3 - MAX_PEM_BYTES // 32:  # base64 and line ends
        raise ParseError(f"CRL: {len(crl.der)} bytes would make a PEM file that is too long to be read", what="CRL")
    if not names.same_name(crl.issuer_der, authorities[0].certificate.subject_der):
        raise VerificationError(
            f"the list is of {names.oneline(crl.issuer_der)}, not of {authorities[0].subject}", reason=Reason.CRL_SIGNER
        )
    signer = find_signer(crl, authorities, accept_weak=accept_weak)
    if not signer.profile.may(CRL_SIGN):
        raise VerificationError("the CA's key usage lacks cRLSign", reason=Reason.CRL_SIGNER)
    _ = crl.serials  # refuses malformed entries now, and not when certificates are judged
    if now < crl.this_update:
        raise VerificationError(
            f"the list is not valid before {crl.this_update:%Y-%m-%d %H:%M:%S}Z", reason=Reason.CRL_NOT_YET_VALID
        )
    if now > crl.next_update:
        raise VerificationError(f"the list expired at {crl.next_update:%Y-%m-%d %H:%M:%S}Z", reason=Reason.CRL_EXPIRED)
    number = crl_number(crl)
    old = _find_same_signer(installed, signer)
    if old is not None and old.der != crl.der:
        _check_newer(crl, number, old, now)
    return CRLUpdate(crl, number, signer, old, old is not None and old.der == crl.der)


def find_signer(crl: CRL, authorities: Sequence[Authority], *, accept_weak: bool = False) -> Authority:
    """Return which of a CA's certificates has the key that signed a list.

    Raises:
        VerificationError: CRL_BAD_SIGNATURE when none has; WEAK_SIGNATURE when one has, with a weak digest.
    """
    weak: VerificationError | None = None
    for authority in authorities:
        try:
            key = authority.load_key(None)
            check_signature(key, crl.signature_algorithm_der, crl.signature, crl.tbs_der, accept_weak=accept_weak)
        except VerificationError as error:
            if error.reason in {Reason.WEAK_SIGNATURE, Reason.WEAK_KEY}:
                weak = error
            continue
        return authority
    if weak is not None:
        raise VerificationError(
            weak.message, reason=Reason.WEAK_SIGNATURE, hint="-acceptweak takes it, for the sake of C services"
        )
    raise VerificationError("the list is not signed by its CA", reason=Reason.CRL_BAD_SIGNATURE)


def _find_same_signer(installed: Sequence[CRL], signer: Authority) -> CRL | None:
    """Return the newest installed list that this key signed, however weakly."""
    found: CRL | None = None
    for crl in installed:
        if not names.same_name(crl.issuer_der, signer.certificate.subject_der):
            continue
        try:
            find_signer(crl, (signer,), accept_weak=True)
        except VerificationError:
            continue
        if found is None or crl.this_update > found.this_update:
            found = crl
    return found


def _check_newer(crl: CRL, number: int | None, old: CRL, now: datetime) -> None:
    if now < old.this_update:
        return  # dated in the future, it refuses all the CA's certificates, and nothing is older than it should be
    if crl.this_update < old.this_update:
        raise ConflictError(
            f"the list of {crl.this_update:%Y-%m-%d %H:%M:%S}Z is older than the installed one "
            f"of {old.this_update:%Y-%m-%d %H:%M:%S}Z"
        )
    try:
        old_number = crl_number(old)
    except ParseError:
        return
    if old.next_update < now or old_number is None:
        return
    if number is None or number < old_number:
        raise ConflictError(
            f"the list has number {'none' if number is None else number}, the installed one number {old_number}",
            hint="if the CA counts anew, remove the installed list by hand, or wait until it has run out",
        )
