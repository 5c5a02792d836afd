"""May a downloaded list take the place of the installed one?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from gsi.certificate import Certificate
from gsi.errors import ConflictError, ParseError, Reason, VerificationError
from gsi.trust.anchors import Authority, build_anchors
from gsi.trust.crl import CRL, parse_crl_file
from gsi.trust.crl_update import CRLUpdate, crl_number, judge_again, judge_update, salvage_crls
from tests.harness.ca import TestCA, new_key, subject_hash
from tests.harness.trust import weak_crl

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
CA = TestCA(key="p256")
ROLLED = TestCA(key="p256")  # the same name, another key


def authorities(*cas: TestCA) -> tuple[Authority, ...]:
    files = {f"{subject_hash(ca.certificate)}.{number}": ca.pem for number, ca in enumerate(cas)}
    return build_anchors(files, loaded_at=NOW).authorities


def crl(number: int | None = 5, *, age: timedelta = HOUR, left: timedelta = 10 * HOUR, ca: TestCA = CA) -> bytes:
    return ca.crl(number=number, this_update=NOW - age, next_update=NOW + left)


def parsed(data: bytes) -> CRL:
    return parse_crl_file(data)[0]


def judge(data: bytes, *installed: bytes, cas: tuple[TestCA, ...] = (CA,), now: datetime = NOW) -> CRLUpdate:
    return judge_update(data, authorities(*cas), installed=[parsed(one) for one in installed], now=now)


def test_a_first_list() -> None:
    update = judge(crl())
    assert (update.number, update.replaces, update.is_unchanged) == (5, None, False)
    assert update.signer.certificate == Certificate.parse(CA.der)
    assert parsed(update.pem()).der == update.crl.der


def test_der_is_accepted_and_pem_written() -> None:
    der = x509.load_pem_x509_crl(crl()).public_bytes(Encoding.DER)
    assert judge(der).pem() == crl_pem(der)


def crl_pem(der: bytes) -> bytes:
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)


def test_the_same_list_again() -> None:
    data = crl()
    assert judge(data, data).is_unchanged


@pytest.mark.parametrize("number", [6, 7, 1000])
def test_a_newer_list(number: int) -> None:
    update = judge(crl(number, age=HOUR / 2), crl(5))
    assert update.replaces is not None
    assert not update.is_unchanged


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (crl(4, age=HOUR / 2), "number 4, the installed one number 5"),
        (crl(6, age=2 * HOUR), "is older than the installed one"),
        (crl(4, age=2 * HOUR), "older"),
        (crl(None, age=HOUR / 2), "number none"),
    ],
    ids=["number", "time", "both", "no-number"],
)
def test_an_older_list(data: bytes, why: str) -> None:
    with pytest.raises(ConflictError, match=why):
        judge(data, crl(5))


def test_numbers_that_begin_anew() -> None:
    """Once the installed list has run out, its number binds no more; its time still does."""
    stale = crl(500, age=10 * HOUR, left=-HOUR)
    assert judge(crl(1), stale).number == 1
    with pytest.raises(ConflictError, match="older"):
        judge(crl(1, age=11 * HOUR), stale)


def test_an_installed_list_dated_in_the_future_is_replaced() -> None:
    assert judge(crl(5), crl(6, age=-HOUR)).replaces is not None


def test_lists_without_numbers() -> None:
    assert judge(crl(None), crl(None, age=2 * HOUR)).number is None
    assert judge(crl(1), crl(None, age=2 * HOUR)).number == 1
    with pytest.raises(ConflictError):
        judge(crl(None, age=2 * HOUR), crl(None))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (crl(age=-HOUR), Reason.CRL_NOT_YET_VALID),
        (crl(left=-HOUR / 2), Reason.CRL_EXPIRED),
        (CA.crl(key=new_key("p256")), Reason.CRL_BAD_SIGNATURE),
        (CA.crl(issuer="/O=Grid/CN=Other CA"), Reason.CRL_SIGNER),
        (TestCA("/O=Grid/CN=Other CA", key="p256").crl(), Reason.CRL_SIGNER),
    ],
    ids=["future", "expired", "other-key", "other-name", "other-ca"],
)
def test_lists_that_would_close_the_ca(data: bytes, reason: Reason) -> None:
    with pytest.raises(VerificationError) as caught:
        judge(data)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>404</html>",
        crl() + crl(6),
        CA.pem,
        crl()[:-60],
        CA.crl(extensions=[(x509.DeltaCRLIndicator(1), True)]),
        CA.crl(extensions=[(x509.IssuingDistributionPoint(None, None, True, False, None, False, False), True)]),
    ],
    ids=["empty", "page", "two", "certificate", "cut", "delta", "partial"],
)
def test_what_is_no_complete_list(data: bytes) -> None:
    with pytest.raises(ParseError):
        judge(data)


def test_a_ca_that_may_not_sign_lists() -> None:
    ca = TestCA(key="p256", key_usage=("key_cert_sign",))
    with pytest.raises(VerificationError, match="cRLSign"):
        judge(ca.crl(), cas=(ca,))


def test_each_key_of_a_ca_has_its_own_list() -> None:
    """After a change of keys: a list of the new key does not replace, nor is it measured by, one of the old key."""
    old, new = crl(500), crl(1, age=2 * HOUR, ca=ROLLED)
    update = judge(new, old, cas=(CA, ROLLED))
    assert update.replaces is None
    assert update.signer.certificate == Certificate.parse(ROLLED.der)
    assert judge(crl(501), old, new, cas=(CA, ROLLED)).replaces is not None


def test_a_damaged_or_foreign_installed_list_binds_nobody() -> None:
    foreign = CA.crl(number=900, key=new_key("p256"))
    assert judge(crl(1), foreign).replaces is None


@pytest.mark.parametrize("number", [5, None])
def test_a_list_that_is_not_newer_stays_out(number: int | None) -> None:
    """Of two lists with the same date and number nobody knows which came first, and one may revoke less."""
    installed = CA.crl([77], number=number, this_update=NOW - HOUR, next_update=NOW + HOUR)
    with pytest.raises(ConflictError, match="differs from the installed one and is not newer"):
        judge(crl(number), installed)
    with pytest.raises(ConflictError, match="not newer"):
        judge(crl(5), CA.crl([77], number=None, this_update=NOW - HOUR, next_update=NOW + HOUR))
    assert judge(crl(6), CA.crl([77], number=5, this_update=NOW - HOUR, next_update=NOW + HOUR)).number == 6
    stale = CA.crl([77], number=number, this_update=NOW - HOUR, next_update=NOW - HOUR / 2)
    assert judge(crl(number), stale).replaces is not None


def test_the_same_list_signed_anew_is_no_other_list() -> None:
    first, second = crl(), crl()
    assert first != second  # ECDSA
    assert judge(second, first).is_unchanged


def test_the_newest_of_several_installed_lists_counts() -> None:
    installed = [crl(3, age=5 * HOUR), crl(9, age=HOUR), crl(4, age=4 * HOUR)]
    with pytest.raises(ConflictError, match="older than the installed one"):
        judge(crl(6, age=3 * HOUR), *installed)
    replaced = judge(crl(10, age=HOUR / 2), *installed).replaces
    assert replaced is not None
    assert replaced.der == parsed(installed[1]).der


def test_every_installed_list_counts() -> None:
    """The newest by its date may have a lower number, be dated in the future, or be the very list that came."""
    strict = crl(9, age=5 * HOUR)
    for newest in (crl(3, age=2 * HOUR), crl(3, age=-HOUR), crl(4)):
        with pytest.raises(ConflictError, match="has number 4, the installed one number 9"):
            judge(crl(4), strict, newest)
        with pytest.raises(ConflictError, match="has number 4, the installed one number 9"):
            judge(crl(4), newest, strict)
        assert judge(crl(10), strict, crl(3, age=2 * HOUR)).replaces is not None


def test_what_was_judged_is_judged_again() -> None:
    update = judge(crl(6), crl(5, age=2 * HOUR))
    newer = parsed(crl(7, age=HOUR / 2))
    with pytest.raises(ConflictError, match="older than the installed one"):
        judge_again(update, installed=[newer], now=NOW)
    assert judge_again(update, installed=[update.crl], now=NOW).is_unchanged
    assert judge_again(update, installed=[], now=NOW).replaces is None


def test_an_entry_that_cannot_be_read() -> None:
    """Refused when it comes, and not only when certificates are judged."""
    entry = x509.RevokedCertificateBuilder().serial_number(1).revocation_date(NOW)
    entry = entry.add_extension(
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), critical=True
    )
    builder = x509.CertificateRevocationListBuilder().issuer_name(CA.certificate.subject).last_update(NOW - HOUR)
    builder = builder.next_update(NOW + HOUR).add_revoked_certificate(entry.build())
    with pytest.raises(ParseError, match="unknown critical extension"):
        judge(builder.sign(CA.key, hashes.SHA256()).public_bytes(Encoding.PEM))


GARBAGE = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
CUT = b"-----BEGIN X509 CRL-----\nMIIB\n"


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (b"", GARBAGE),
        (GARBAGE, b""),
        (b"", CUT),
        (CUT, b""),
        (b"", b"---BEGIN x"),
        (b"", b""),
        (GARBAGE * 3, CUT + GARBAGE),
    ],
)
def test_whole_lists_are_found_in_damaged_files(before: bytes, behind: bytes) -> None:
    one, two = crl(), crl(6)
    found = [crl.der for crl in salvage_crls(before + one + behind + b"\n" + two)]
    assert found == [parsed(one).der, parsed(two).der]
    assert salvage_crls(before + behind) == ()


def test_whole_lists_are_found_in_der_before_what_is_no_list() -> None:
    pem = crl(6)
    one, two = parsed(crl()).der, parsed(pem).der
    for behind in (b"\n", b"rubbish", two[:-1], GARBAGE):
        assert [crl.der for crl in salvage_crls(one + two + behind)] == [one, two]
    assert [crl.der for crl in salvage_crls(one + pem)] == [one, two]
    assert salvage_crls(one[:-1]) == ()


def test_salvage_has_an_end() -> None:
    assert len(salvage_crls(crl() * 100)) == 64
    assert len(salvage_crls(parsed(crl()).der * 100)) == 64


def test_numbers() -> None:
    assert crl_number(parsed(crl(7))) == 7
    assert crl_number(parsed(crl(None))) is None


RSA_CA = TestCA("/O=Grid/CN=Old CA")


def test_weak_signatures() -> None:
    weak = weak_crl(RSA_CA, NOW - HOUR)
    with pytest.raises(VerificationError) as caught:
        judge(weak, cas=(RSA_CA,))
    assert caught.value.reason is Reason.WEAK_SIGNATURE
    assert judge_update(weak, authorities(RSA_CA), now=NOW, accept_weak=True).number == 5
