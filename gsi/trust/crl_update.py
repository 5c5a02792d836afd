"""May a downloaded revocation list take the place of the installed one? Judged on bytes; fetches and writes nothing.

    update = judge_update(data, authorities, installed=(old,), now=now)
    update.crl, update.replaces, update.is_unchanged

A list goes in only if `gsi.trust.revocation` would take it: complete, of this CA, signed by its key, in force now. And
never an older list in place of a newer one, lest whoever can replay old bytes un-revoke a certificate. Older is a lower
CRL number or an earlier thisUpdate, and with both equal, nobody can tell, so that the installed one stays. Numbers that
begin anew are accepted once the installed list has run out, and an installed list that is dated in the future may be
replaced by any. It is measured against every installed list of its key, because there may be several and the newest by
its time need not have the highest number. What was judged some time ago is measured against what is installed by now
with `judge_again`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from gsi import der, names
from gsi.errors import ConflictError, ParseError, Reason, VerificationError
from gsi.pem import MAX_PEM_BYTES, encode_pem, split_pem
from gsi.trust.crl import parse_crl, parse_crl_file
from gsi.trust.profile import CRL_SIGN
from gsi.trust.signatures import check_signature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.trust.anchors import Authority
    from gsi.trust.crl import CRL

__all__ = [
    "MAX_DOWNLOAD_BYTES",
    "CRLUpdate",
    "crl_number",
    "find_signer",
    "is_signed_by",
    "judge_again",
    "judge_update",
    "salvage_crls",
]

MAX_DOWNLOAD_BYTES: Final = MAX_PEM_BYTES  # nothing longer could be judged in PEM, or be installed as PEM
_MAX_SALVAGED: Final = 64  # more lists than any file of a trust directory has
_LABEL: Final = "X509 CRL"
_SEQUENCE: Final = b"\x30"
_BEGIN: Final = b"-----BEGIN X509 CRL-----"
_END: Final = b"-----END X509 CRL-----"


class CRLUpdate(NamedTuple):
    """A list that may be installed."""

    crl: CRL
    number: int | None
    """The CRL number, or None where the list has none."""
    signer: Authority
    replaces: CRL | None
    """The newest installed list of the same key, or None."""
    is_unchanged: bool
    """Whether that is the very same list, be it signed anew."""

    def pem(self) -> bytes:
        """Return the list as the trust directory holds it."""
        return encode_pem(_LABEL, self.crl.der)


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
    key = signer.certificate.spki_der  # of several certificates of one key, as after a renewal, any is good enough
    if not any(one.profile.may(CRL_SIGN) for one in authorities if one.certificate.spki_der == key):
        raise VerificationError("the CA's key usage lacks cRLSign", reason=Reason.CRL_SIGNER)
    _ = crl.serials  # refuses malformed entries now, and not when certificates are judged
    if now < crl.this_update:
        raise VerificationError(
            f"the list is not valid before {crl.this_update:%Y-%m-%d %H:%M:%S}Z", reason=Reason.CRL_NOT_YET_VALID
        )
    if now > crl.next_update:
        raise VerificationError(f"the list expired at {crl.next_update:%Y-%m-%d %H:%M:%S}Z", reason=Reason.CRL_EXPIRED)
    update = CRLUpdate(crl, crl_number(crl), signer, None, is_unchanged=False)
    return judge_again(update, installed=installed, now=now)


def judge_again(update: CRLUpdate, *, installed: Sequence[CRL], now: datetime) -> CRLUpdate:
    """Return the update measured against the lists that are there by now; it was found good in itself before.

    Args:
        update: What `judge_update` returned.
        installed: The CA's lists that are there now, of whatever key.
        now: The time.

    Raises:
        ConflictError: It is not newer than an installed list.
    """
    mine = [crl for crl in installed if is_signed_by(crl, update.signer)]
    for old in mine:
        if old.tbs_der != update.crl.tbs_der:
            _check_newer(update.crl, update.number, old, now)
    newest = max(mine, key=lambda crl: crl.this_update, default=None)
    is_unchanged = newest is not None and newest.tbs_der == update.crl.tbs_der
    return update._replace(replaces=newest, is_unchanged=is_unchanged)


def salvage_crls(data: bytes) -> tuple[CRL, ...]:
    """Return the lists in a damaged file that are whole: in PEM anywhere, in DER at its beginning.

    No judge of certificates may go by such a file. But a list that is whole and signed was published, and so an older
    one must not take its place, whatever lies around it.
    """
    found: list[CRL] = []
    position = 0
    with contextlib.suppress(ParseError):
        while len(found) < _MAX_SALVAGED and data.startswith(_SEQUENCE, position):
            one = der.Reader(data, what="CRL", offset=position).take_raw(der.SEQUENCE)
            found.append(parse_crl(one))
            position += len(one)
    position = 0
    while len(found) < _MAX_SALVAGED and (begin := data.find(_BEGIN, position)) >= 0:
        position = begin + len(_BEGIN)
        end = data.find(_END, position)
        if end < 0:
            break
        if 0 <= data.find(_BEGIN, position) < end:
            continue  # its own end is lost
        try:
            found += [parse_crl(block.data) for block in split_pem(data[begin : end + len(_END)], what="CRL")]
        except ParseError:
            continue
    return tuple(found)


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


def is_signed_by(crl: CRL, signer: Authority, *, accept_weak: bool = True) -> bool:
    """Tell whether a list is of this CA and signed with the key of this certificate of it, however weak that is."""
    if not names.same_name(crl.issuer_der, signer.certificate.subject_der):
        return False
    try:
        key = signer.certificate.public_key()
    except ParseError:
        return False  # a key that nobody can use has signed nothing
    return crl.is_signed_with(signer.certificate.spki_der, key, accept_weak=accept_weak)


def _check_newer(crl: CRL, number: int | None, old: CRL, now: datetime) -> None:
    if now < old.this_update:
        return  # dated in the future, it refuses all the CA's certificates, and nothing is older than it should be
    if crl.this_update < old.this_update:
        raise ConflictError(
            f"the list of {crl.this_update:%Y-%m-%d %H:%M:%S}Z is older than the installed one "
            f"of {old.this_update:%Y-%m-%d %H:%M:%S}Z"
        )
    if old.next_update < now:
        return
    try:
        old_number = crl_number(old)
    except ParseError:
        old_number = None
    if old_number is not None and (number is None or number < old_number):
        raise ConflictError(
            f"the list has number {'none' if number is None else number}, the installed one number {old_number}",
            hint="if the CA counts anew, remove the installed list by hand, or wait until it has run out",
        )
    if crl.this_update == old.this_update and (old_number is None or number == old_number):
        numbered = "no number that can be compared" if old_number is None else f"number {old_number}"
        raise ConflictError(
            "the list differs from the installed one and is not newer: "
            f"both are of {old.this_update:%Y-%m-%d %H:%M:%S}Z and have {numbered}",
            hint="ask the CA which one holds; if it is the new one, remove the installed one by hand",
        )
