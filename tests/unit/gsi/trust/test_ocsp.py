"""OCSP answers: who may sign them, for which certificate, until when; made by pyca, which shares no code with us."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from gsi.certificate import Certificate
from gsi.errors import ParseError, Reason, RefusedError, VerificationError
from gsi.trust.ocsp import OCSPAnswer, OCSPStatus, find_ocsp_url, judge_ocsp_response, make_ocsp_request
from tests.harness.ca import Issued, TestCA

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
CA = TestCA("/O=Grid/CN=CA", "p256")
ALICE = CA.issue("/O=Grid/CN=Alice", "p256")
RESPONDER = CA.issue(
    "/O=Grid/CN=Responder", "p256", extensions=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)]
)
OWN_CA = Certificate.parse(CA.der)
OWN_ALICE = Certificate.parse(ALICE.der)


def respond(
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    *,
    signer: Issued = RESPONDER,
    certificate: x509.Certificate = ALICE.certificate,
    issuer: x509.Certificate = CA.certificate,
    this_update: datetime = NOW - HOUR,
    next_update: datetime | None = NOW + HOUR,
    by_name: bool = False,
    enclose: bool = True,
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        certificate,
        issuer,
        algorithm or hashes.SHA1(),
        status,
        this_update,
        next_update,
        NOW - 2 * HOUR if revoked else None,
        x509.ReasonFlags.key_compromise if revoked else None,
    )
    encoding = ocsp.OCSPResponderEncoding.NAME if by_name else ocsp.OCSPResponderEncoding.HASH
    builder = builder.responder_id(encoding, signer.certificate)
    if enclose:
        builder = builder.certificates([signer.certificate])
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def judge(data: bytes, *, now: datetime = NOW, responders: tuple[Certificate, ...] = ()) -> OCSPAnswer:
    return judge_ocsp_response(data, certificate=OWN_ALICE, issuer=OWN_CA, now=now, responders=responders)


def test_the_question_is_what_pyca_asks() -> None:
    theirs = ocsp.OCSPRequestBuilder().add_certificate(ALICE.certificate, CA.certificate, hashes.SHA1()).build()
    assert make_ocsp_request(OWN_ALICE, OWN_CA) == theirs.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()])
@pytest.mark.parametrize("status", list(ocsp.OCSPCertStatus))
def test_answers(status: ocsp.OCSPCertStatus, algorithm: hashes.HashAlgorithm, by_name: bool) -> None:
    for signer in (RESPONDER, CA.credential):
        answer = judge(respond(status, signer=signer, by_name=by_name, algorithm=algorithm))
        assert answer.status is OCSPStatus[status.name]
        assert (answer.this_update, answer.next_update) == (NOW - HOUR, NOW + HOUR)
        assert answer.revoked_at == (NOW - 2 * HOUR if status is ocsp.OCSPCertStatus.REVOKED else None)


def test_the_issuers_own_answer_needs_no_certificate_beside_it() -> None:
    assert judge(respond(signer=CA.credential, enclose=False)).status is OCSPStatus.GOOD
    with pytest.raises(VerificationError) as caught:
        judge(respond(enclose=False))
    assert caught.value.reason is Reason.UNTRUSTED
    known = (Certificate.parse(RESPONDER.der),)
    assert judge(respond(enclose=False), responders=known).status is OCSPStatus.GOOD


OTHER_CA = TestCA("/O=Grid/CN=CA", "p256")  # the same name, another key
OTHER_RESPONDER = OTHER_CA.issue(
    "/O=Grid/CN=Responder", "p256", extensions=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)]
)
STALE_RESPONDER = CA.issue(
    "/O=Grid/CN=Stale",
    "p256",
    not_before=NOW - 9 * HOUR,
    not_after=NOW - 8 * HOUR,
    extensions=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)],
)
SIGNERS = {
    "a user": (CA.issue("/O=Grid/CN=Bob", "p256"), Reason.UNTRUSTED),
    "a client": (
        CA.issue(
            "/O=Grid/CN=Bob", "p256", extensions=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)]
        ),
        Reason.EXTENDED_KEY_USAGE,
    ),
    "a CA of that name": (OTHER_CA.credential, Reason.BAD_SIGNATURE),
    "a responder of another CA": (OTHER_RESPONDER, Reason.BAD_SIGNATURE),
    "an expired responder": (STALE_RESPONDER, Reason.EXPIRED),
}


@pytest.mark.parametrize("who", SIGNERS)
def test_who_may_not_answer(who: str) -> None:
    signer, reason = SIGNERS[who]
    for by_name in (True, False):
        with pytest.raises(VerificationError) as caught:
            judge(respond(signer=signer, by_name=by_name))
        assert caught.value.reason in {reason, Reason.UNTRUSTED}
    own = (Certificate.parse(signer.der),)
    if "CA" not in who:
        assert judge(respond(signer=signer), responders=own).status is OCSPStatus.GOOD  # unless the site says so


def test_a_changed_signature() -> None:
    data = respond(signer=CA.credential, enclose=False)
    with pytest.raises(VerificationError) as caught:
        judge(data[:-1] + bytes((data[-1] ^ 1,)))
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_time() -> None:
    skew = timedelta(minutes=5)
    data = respond(signer=CA.credential)
    for when in (NOW - HOUR - skew, NOW + HOUR + skew):
        judge(data, now=when)
    for when, reason in (
        (NOW - HOUR - skew - timedelta(seconds=1), Reason.NOT_YET_VALID),
        (NOW + HOUR + skew + timedelta(seconds=1), Reason.EXPIRED),
    ):
        with pytest.raises(VerificationError) as caught:
            judge(data, now=when)
        assert caught.value.reason is reason
    endless = respond(signer=CA.credential, next_update=None)
    judge(endless, now=NOW + 23 * HOUR)
    with pytest.raises(VerificationError) as caught:
        judge(endless, now=NOW + 24 * HOUR)
    assert caught.value.reason is Reason.EXPIRED


def test_answers_about_others() -> None:
    bob = CA.issue("/O=Grid/CN=Bob", "p256")
    same_serial = OTHER_CA.issue("/O=Grid/CN=Alice", "p256", serial=ALICE.certificate.serial_number)
    for certificate, issuer in (
        (bob.certificate, CA.certificate),
        (same_serial.certificate, OTHER_CA.certificate),
    ):
        with pytest.raises(RefusedError, match="another certificate"):
            judge(respond(certificate=certificate, issuer=issuer))


@pytest.mark.parametrize("status", [one for one in ocsp.OCSPResponseStatus if one.name != "SUCCESSFUL"])
def test_a_responder_that_says_no(status: ocsp.OCSPResponseStatus) -> None:
    data = ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(serialization.Encoding.DER)
    with pytest.raises(RefusedError, match=status.name.lower()):
        judge(data)


@given(st.binary(max_size=300) | st.tuples(st.integers(0, 400), st.integers(1, 255)).map(lambda pair: flip(*pair)))
def test_whatever_comes_only_our_errors_come_out(data: bytes) -> None:
    with contextlib.suppress(ParseError, RefusedError, VerificationError):
        assert judge(data).status is OCSPStatus.REVOKED


_GOOD = respond(ocsp.OCSPCertStatus.REVOKED, signer=CA.credential, enclose=False)


def flip(position: int, mask: int) -> bytes:
    position %= len(_GOOD)
    return _GOOD[:position] + bytes((_GOOD[position] ^ mask,)) + _GOOD[position + 1 :]


def test_where_to_ask() -> None:
    def issue(*urls: tuple[x509.ObjectIdentifier, str]) -> Certificate:
        access = x509.AuthorityInformationAccess(
            [x509.AccessDescription(method, x509.UniformResourceIdentifier(url)) for method, url in urls]
        )
        return Certificate.parse(CA.issue("/O=Grid/CN=A", "p256", extensions=[(access, False)]).der)

    oid = AuthorityInformationAccessOID
    assert find_ocsp_url(OWN_ALICE) is None
    assert find_ocsp_url(issue((oid.CA_ISSUERS, "http://a/"))) is None
    assert find_ocsp_url(issue((oid.OCSP, "ldap://a/"), (oid.OCSP, "HTTP://b/"))) == "HTTP://b/"
    assert find_ocsp_url(issue((oid.CA_ISSUERS, "http://a/"), (oid.OCSP, "https://c/"))) == "https://c/"
