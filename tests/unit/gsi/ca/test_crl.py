"""CRLs: what pyca, OpenSSL and our own reader find in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from gsi.ca import KeySigner, RevokedEntry, crl, make_crl, make_root
from gsi.ca.crl import RevocationReason, parse_reason
from gsi.certificate import Certificate
from gsi.errors import ConfigError, IssuanceError, IssuanceStep
from gsi.names import parse_oneline
from gsi.trust.crl import parse_crl
from tests.harness.ca import TestCA

if TYPE_CHECKING:
    from gsi.ca import Issuer

DAY = timedelta(days=1)


def test_pyca_reads_all_of_it(root: Certificate, signer: KeySigner, now: datetime) -> None:
    entries = [
        RevokedEntry(7, now - DAY, RevocationReason.KEY_COMPROMISE, invalid_since=now - 9 * DAY),
        RevokedEntry(3, now),
        RevokedEntry(7, now),
    ]
    found = x509.load_der_x509_crl(make_crl(root, signer, entries, number=300, now=now, lifetime=30 * DAY))
    assert found.is_signature_valid(root.x509.public_key())  # type: ignore[arg-type]  # any kind of key
    assert found.issuer == root.x509.subject
    assert found.last_update_utc == now - timedelta(minutes=5)
    assert found.next_update_utc == now + 30 * DAY
    assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 300
    identifier = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == root.x509.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert [(one.serial_number, one.revocation_date_utc) for one in found] == [(3, now), (7, now - DAY)]
    plain, compromised = found
    assert len(plain.extensions) == 0
    reason = compromised.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.key_compromise
    since = compromised.extensions.get_extension_for_class(x509.InvalidityDate).value.invalidity_date_utc
    assert since == now - 9 * DAY


def test_an_empty_list_and_far_dates(root: Certificate, signer: KeySigner, now: datetime) -> None:
    assert parse_crl(make_crl(root, signer, [], number=0, now=now, lifetime=DAY)).serials == frozenset()
    far = make_crl(root, signer, [], number=1, now=now, lifetime=99 * 365 * DAY)
    assert parse_crl(far).next_update.year == 2125


@pytest.mark.parametrize("reason", RevocationReason)
def test_reasons_have_names(reason: RevocationReason, root: Certificate, signer: KeySigner, now: datetime) -> None:
    assert parse_reason(reason.word.upper()) is reason
    crl = x509.load_der_x509_crl(
        make_crl(root, signer, [RevokedEntry(1, now, reason)], number=1, now=now, lifetime=DAY)
    )
    (entry,) = crl
    if reason is not RevocationReason.UNSPECIFIED:
        flag = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        assert flag.value.lower() == reason.word.lower()


def test_what_cannot_be_listed(root: Certificate, signer: KeySigner, now: datetime) -> None:
    for number, lifetime in ((-1, DAY), (1 << 159, DAY), (1, timedelta(0))):
        with pytest.raises(ConfigError):
            make_crl(root, signer, [], number=number, now=now, lifetime=lifetime)
    with pytest.raises(ConfigError):
        make_crl(root, signer, [RevokedEntry(0, now)], number=1, now=now, lifetime=DAY)
    with pytest.raises(ConfigError):
        parse_reason("boredom")


def test_who_may_not_list(root: Certificate, signer: KeySigner, now: datetime, issuer: Issuer) -> None:
    with pytest.raises(IssuanceError) as caught:
        make_crl(root, signer, [], number=1, now=root.not_after + DAY, lifetime=DAY)
    assert caught.value.step is IssuanceStep.AUTHORITY
    other = TestCA("/CN=x", "p256", key_usage=("key_cert_sign",))
    with pytest.raises(IssuanceError) as caught:
        make_crl(Certificate.parse(other.der), KeySigner(other.key), [], number=1, now=datetime.now(UTC), lifetime=DAY)
    assert caught.value.step is IssuanceStep.AUTHORITY
    stranger = KeySigner(TestCA("/CN=x", "p256").key)
    with pytest.raises(IssuanceError) as caught:
        make_crl(root, stranger, [], number=1, now=now, lifetime=DAY)
    assert caught.value.step is IssuanceStep.CHECK


def test_a_list_never_begins_before_its_ca(signer: KeySigner, now: datetime) -> None:
    young = make_root(signer, parse_oneline("/O=Grid/CN=CA"), now=now, lifetime=DAY)
    found = parse_crl(make_crl(young, signer, [], number=1, now=now - timedelta(minutes=1), lifetime=DAY))
    assert found.this_update == young.not_before


def test_a_list_that_lacks_somebody_does_not_leave(
    root: Certificate, signer: KeySigner, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, whole = RevokedEntry(3, now), crl._encode_entry
    monkeypatch.setattr(crl, "_encode_entry", lambda entry: whole(first))
    with pytest.raises(IssuanceError, match="all that were revoked") as caught:
        make_crl(root, signer, [first, RevokedEntry(7, now)], number=1, now=now, lifetime=DAY)
    assert caught.value.step is IssuanceStep.CHECK
