"""Making a root: a CA's own certificate, signed with the key that it certifies; stores nothing.

signer = KeySigner(generate_key(KeyType.RSA, bits=4096))
root = make_root(signer, parse_oneline("/O=Grid/CN=CA"), now=now, lifetime=timedelta(days=1825))
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gsi import keys
from gsi.ca.build import authority_extensions, encode_tbs, sign_tbs
from gsi.ca.lint import find_faults
from gsi.ca.serials import random_serial
from gsi.certificate import Certificate
from gsi.errors import ConfigError, IssuanceError, IssuanceStep, VerificationError
from gsi.lifetime import BACKDATE
from gsi.trust.signatures import check_certificate_signature, load_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.ca.signer import Signer

__all__ = ["make_root"]


def make_root(
    signer: Signer,
    subject_der: bytes,
    *,
    now: datetime,
    lifetime: timedelta,
    path_length: int | None = None,
    serials: Callable[[], int] = random_serial,
) -> Certificate:
    """Return a self-signed CA certificate.

    Args:
        signer: The CA's key.
        subject_der: The CA's name, DER.
        now: The time (aware UTC); validity begins 5 minutes earlier.
        lifetime: How long it holds.
        path_length: How many CAs may follow below; None for no limit.
        serials: Gives the serial number.

    Raises:
        ConfigError: The lifetime or the path length is negative, or the end lies past the year 9999.
        CredentialError: WEAK_KEY or UNSUPPORTED_KEY.
        IssuanceError: SIGN: the key could not be used; CHECK: what was made has a fault of form.
    """
    if lifetime <= timedelta(0) or (path_length is not None and path_length < 0):
        raise ConfigError("a CA needs a lifetime longer than nothing, and its path length is not negative")
    now = now.replace(microsecond=0)
    try:
        not_after = now + lifetime
    except OverflowError as error:
        raise ConfigError("the CA would last past the year 9999", hint="ask for fewer days") from error
    keys.parse_public_key(signer.spki_der)
    tbs_der = encode_tbs(
        serial=serials(),
        algorithm_der=signer.algorithm_der,
        issuer_der=subject_der,
        not_before=now - BACKDATE,
        not_after=not_after,
        subject_der=subject_der,
        spki_der=signer.spki_der,
        extensions=authority_extensions(signer.spki_der, path_length=path_length),
    )
    root = Certificate.parse(sign_tbs(tbs_der, signer))
    faults = find_faults(root, issuer=root)
    if faults:
        raise IssuanceError(f"the CA's certificate would be faulty: {'; '.join(faults)}", step=IssuanceStep.CHECK)
    try:
        check_certificate_signature(root, load_key(root, None), None)
    except VerificationError as error:
        raise IssuanceError(f"the signer made a wrong signature: {error.message}", step=IssuanceStep.CHECK) from error
    return root
