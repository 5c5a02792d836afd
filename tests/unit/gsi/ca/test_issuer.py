"""The issuer: the grant alone decides, every step can refuse, and what fails leaves nothing behind."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from gsi import der, keys, oids
from gsi.ca import (
    CertificateRequest,
    Grant,
    Issuer,
    KeySigner,
    ProgramChecker,
    SerialFile,
    find_faults,
    make_root,
    parse_request,
)
from gsi.ca.general_names import dns_name, email_address, ip_address
from gsi.ca.grant import DATA_ENCIPHERMENT, KEY_ENCIPHERMENT
from gsi.certificate import Certificate, Extension
from gsi.errors import (
    ConflictError,
    CredentialError,
    CredentialProblem,
    IssuanceError,
    IssuanceStep,
    Reason,
    StorageError,
    VerificationError,
)
from gsi.extensions import CONTENT_COMMITMENT, DIGITAL_SIGNATURE, parse_key_usage
from gsi.keys import KeyType, generate_key
from gsi.names import oneline, parse_oneline
from gsi.trust.anchors import build_anchors
from gsi.trust.hashes import subject_hash
from tests.harness.ca import KeyKind, TestCA, parse_name
from tests.unit.gsi.ca.support import Books, make_csr

if TYPE_CHECKING:
    from pathlib import Path

HOUR = timedelta(hours=1)


def refuse(issuer: Issuer, request: CertificateRequest, grant: Grant, now: datetime) -> IssuanceError:
    with pytest.raises(IssuanceError) as caught:
        issuer.issue(request, grant, now=now)
    return caught.value


def test_the_grant_decides_and_the_request_gives_the_key(
    issuer: Issuer, books: Books, grant: Grant, now: datetime, root: Certificate
) -> None:
    wish = x509.BasicConstraints(ca=True, path_length=None)
    request = parse_request(make_csr("rsa2048", "/O=Evil/CN=Root", extensions=[wish]))
    issued = issuer.issue(request, grant, now=now)
    certificate = issued.certificate
    assert oneline(certificate.subject_der) == "/O=Grid/CN=Alice"
    assert certificate.issuer_der == root.subject_der
    assert certificate.spki_der == request.spki_der
    assert [extension.oid for extension in certificate.extensions] == [
        oids.BASIC_CONSTRAINTS,
        oids.KEY_USAGE,
        oids.SUBJECT_KEY_IDENTIFIER,
        oids.AUTHORITY_KEY_IDENTIFIER,
        oids.EXTENDED_KEY_USAGE,
    ]
    assert not certificate.x509.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert (certificate.not_before, certificate.not_after) == (now - timedelta(minutes=5), now + 12 * HOUR)
    assert not issued.shortened
    assert issued.chain == (certificate,)
    (record,) = books.records
    assert (record.certificate, record.requester, record.decision, record.time) == (certificate, "alice", "d-1", now)


def test_pyca_reads_every_extension_that_can_be_granted(
    issuer: Issuer, grant: Grant, now: datetime, request_: CertificateRequest
) -> None:
    full = replace(
        grant,
        alternative_names=(dns_name("a.example"), ip_address("::1"), email_address("a@b.example")),
        extended_key_usage=(oids.CLIENT_AUTH, oids.SERVER_AUTH),
        policies=("1.2.3", "1.2.4"),
        crl_urls=("http://a.example/1.crl", "http://a.example/2.crl"),
        ocsp_urls=("http://a.example/ocsp",),
        issuer_urls=("http://a.example/ca",),
        extensions=(Extension("1.2.3.4", False, b"\x05\x00"),),
    )
    found = issuer.issue(request_, full, now=now).certificate.x509.extensions
    names = found.get_extension_for_class(x509.SubjectAlternativeName)
    assert not names.critical
    assert [str(name.value) for name in names.value] == ["a.example", "::1", "a@b.example"]
    policies = found.get_extension_for_class(x509.CertificatePolicies).value
    assert [policy.policy_identifier.dotted_string for policy in policies] == ["1.2.3", "1.2.4"]
    (point,) = found.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name is not None
    assert [name.value for name in point.full_name] == ["http://a.example/1.crl", "http://a.example/2.crl"]
    access = found.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [one.access_location.value for one in access] == ["http://a.example/ocsp", "http://a.example/ca"]
    assert found.get_extension_for_oid(x509.ObjectIdentifier("1.2.3.4")).critical is False


def test_the_key_identifiers_are_those_of_pyca(
    issuer: Issuer, grant: Grant, now: datetime, request_: CertificateRequest, root: Certificate
) -> None:
    found = issuer.issue(request_, grant, now=now).certificate
    own = found.x509.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert own == x509.SubjectKeyIdentifier.from_public_key(request_.public_key)
    above = found.x509.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    theirs = root.x509.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert above.key_identifier == theirs.digest


def test_an_empty_subject_makes_the_alternative_names_critical(
    issuer: Issuer, grant: Grant, now: datetime, request_: CertificateRequest
) -> None:
    bare = replace(grant, subject_der=der.encode_sequence(), alternative_names=(dns_name("a.example"),))
    extension = issuer.issue(request_, bare, now=now).certificate.find_extension(oids.SUBJECT_ALT_NAME)
    assert extension is not None
    assert extension.critical


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "ed25519"])
def test_a_key_gets_the_usages_that_it_can_serve(issuer: Issuer, grant: Grant, now: datetime, kind: KeyKind) -> None:
    key_agreement = 1 << 4
    wide = replace(
        grant,
        key_usage=DIGITAL_SIGNATURE | CONTENT_COMMITMENT | KEY_ENCIPHERMENT | DATA_ENCIPHERMENT | key_agreement,
    )
    certificate = issuer.issue(parse_request(make_csr(kind)), wide, now=now).certificate
    usage = certificate.find_extension(oids.KEY_USAGE)
    assert usage is not None
    bits = parse_key_usage(usage.value) & ~(DIGITAL_SIGNATURE | CONTENT_COMMITMENT)
    expected = {"rsa2048": KEY_ENCIPHERMENT | DATA_ENCIPHERMENT, "p256": key_agreement, "ed25519": 0}
    assert bits == expected[kind]


# --- validity ---------------------------------------------------------------------------------------------------------


def test_less_may_be_asked_for_but_not_more(
    issuer: Issuer, grant: Grant, now: datetime, request_: CertificateRequest
) -> None:
    assert issuer.issue(request_, grant, now=now, lifetime=HOUR).certificate.not_after == now + HOUR
    assert issuer.issue(request_, grant, now=now, lifetime=99 * HOUR).certificate.not_after == now + 12 * HOUR
    for lifetime in (timedelta(0), -HOUR, timedelta(milliseconds=1)):
        with pytest.raises(IssuanceError) as caught:
            issuer.issue(request_, grant, now=now, lifetime=lifetime)
        assert caught.value.step is IssuanceStep.GRANT


def test_caps_cut(issuer: Issuer, grant: Grant, now: datetime, request_: CertificateRequest, root: Certificate) -> None:
    ticket = replace(grant, not_after=now + 3 * HOUR + timedelta(microseconds=9))
    issued = issuer.issue(request_, ticket, now=now)
    assert issued.shortened
    assert issued.certificate.not_after == now + 3 * HOUR
    long = replace(grant, lifetime=timedelta(days=9999))
    issued = issuer.issue(request_, long, now=now)
    assert issued.shortened
    assert issued.certificate.not_after == root.not_after
    assert refuse(issuer, request_, replace(grant, not_after=now), now).step is IssuanceStep.GRANT


def test_validity_never_begins_before_the_cas(
    issuer: Issuer, grant: Grant, request_: CertificateRequest, root: Certificate
) -> None:
    issued = issuer.issue(request_, grant, now=root.not_before + timedelta(seconds=1))
    assert issued.certificate.not_before == root.not_before


def test_validity_may_begin_later(issuer: Issuer, grant: Grant, now: datetime, request_: CertificateRequest) -> None:
    later = replace(grant, not_before=now + timedelta(days=2))
    certificate = issuer.issue(request_, later, now=now).certificate
    assert (certificate.not_before, certificate.not_after) == (now + timedelta(days=2), now + timedelta(days=2.5))
    assert refuse(issuer, request_, replace(grant, not_before=now - timedelta(days=2)), now).step is IssuanceStep.GRANT


def test_dates_around_2050(grant: Grant, request_: CertificateRequest) -> None:
    last = datetime(2049, 12, 31, 23, 0, 0, tzinfo=UTC)
    signer = KeySigner(generate_key(KeyType.ED25519))
    root = make_root(signer, parse_oneline("/CN=CA"), now=last, lifetime=timedelta(days=365))
    certificate = Issuer(root, signer, recorder=Books()).issue(request_, grant, now=last).certificate
    assert b"\x17\x0d491231225500Z\x18\x0f20500101110000Z" in certificate.tbs_der
    assert find_faults(root, issuer=root) == ()


# --- who refuses ------------------------------------------------------------------------------------------------------


def test_a_ca_that_does_not_hold_now_issues_nothing(
    issuer: Issuer, grant: Grant, request_: CertificateRequest, root: Certificate, books: Books
) -> None:
    for when in (root.not_after, root.not_before - HOUR):
        assert refuse(issuer, request_, grant, when).step is IssuanceStep.AUTHORITY
    assert books.records == []


def test_short_keys_are_refused(issuer: Issuer, grant: Grant, now: datetime) -> None:
    request = parse_request(make_csr("rsa2048"))
    with pytest.raises(CredentialError) as caught:
        issuer.issue(request, replace(grant, min_rsa_bits=3072), now=now)
    assert caught.value.problem is CredentialProblem.WEAK_KEY
    assert "2048" in caught.value.message
    assert "3072" in caught.value.message
    issuer.issue(parse_request(make_csr("p256")), replace(grant, min_rsa_bits=3072), now=now)


def test_the_cas_own_key_is_not_certified(issuer: Issuer, grant: Grant, now: datetime, signer: KeySigner) -> None:
    request = CertificateRequest.from_public_key(signer.spki_der)
    assert refuse(issuer, request, grant, now).step is IssuanceStep.REQUEST


def test_checkers_see_and_may_refuse(
    root: Certificate, signer: KeySigner, books: Books, grant: Grant, now: datetime, request_: CertificateRequest
) -> None:
    seen: list[object] = []

    def look(request: CertificateRequest, given: Grant) -> None:
        seen.append((request, given))

    def say_no(certificate: Certificate) -> None:
        seen.append(certificate)
        raise StorageError("not this one", hint="ask again")

    issuer = Issuer(root, signer, recorder=books, request_checkers=[look], certificate_checkers=[say_no])
    error = refuse(issuer, request_, grant, now)
    assert (error.step, error.message, error.hint) == (IssuanceStep.CHECK, "not this one", "ask again")
    assert seen[0] == (request_, grant)
    assert isinstance(seen[1], Certificate)
    assert books.records == []

    def refuse_request(request: CertificateRequest, given: Grant) -> None:
        raise StorageError("no")

    strict = Issuer(root, signer, recorder=books, request_checkers=[refuse_request])
    assert refuse(strict, request_, grant, now).step is IssuanceStep.REQUEST


def test_programs_check_what_they_are_shown_in_pem(
    root: Certificate,
    signer: KeySigner,
    books: Books,
    grant: Grant,
    now: datetime,
    request_: CertificateRequest,
    tmp_path: Path,
) -> None:
    program = tmp_path / "check"
    program.write_text(f"#!/bin/sh\ncat >> {tmp_path}/seen\n")
    program.chmod(0o700)
    checker = ProgramChecker((str(program),))
    issuer = Issuer(root, signer, recorder=books, request_checkers=[checker], certificate_checkers=[checker])
    certificate = issuer.issue(request_, grant, now=now).certificate
    seen = (tmp_path / "seen").read_bytes()
    assert seen.startswith(b"-----BEGIN CERTIFICATE REQUEST-----")
    assert seen.endswith(certificate.pem())
    bare = CertificateRequest.from_public_key(request_.spki_der)
    assert refuse(issuer, bare, grant, now).step is IssuanceStep.REQUEST
    program.write_text("#!/bin/sh\necho the name is taken >&2\nexit 3\n")
    assert "the name is taken" in refuse(issuer, request_, grant, now).message


@pytest.mark.parametrize("error", [StorageError("disk full"), ConflictError("that number is taken")])
def test_what_cannot_be_recorded_does_not_leave(
    root: Certificate,
    signer: KeySigner,
    grant: Grant,
    now: datetime,
    request_: CertificateRequest,
    error: StorageError,
) -> None:
    found = refuse(Issuer(root, signer, recorder=Books(error)), request_, grant, now)
    assert (found.step, found.message) == (IssuanceStep.RECORD, error.message)


class Broken(KeySigner):
    """A signer that makes something else than a signature."""

    def sign(self, data: bytes) -> bytes:
        return super().sign(data + b"x")


def test_a_wrong_signature_does_not_leave(
    now: datetime, books: Books, grant: Grant, request_: CertificateRequest
) -> None:
    key = generate_key(KeyType.P256)
    root = make_root(KeySigner(key), parse_oneline("/CN=CA"), now=now, lifetime=HOUR)
    assert refuse(Issuer(root, Broken(key), recorder=books), request_, grant, now).step is IssuanceStep.CHECK
    assert books.records == []
    with pytest.raises(IssuanceError):
        make_root(Broken(key), parse_oneline("/CN=CA"), now=now, lifetime=HOUR)


@pytest.mark.parametrize(
    ("subject", "fault"),
    [
        (f"/O=Grid/CN={'x' * 65}", "65 characters"),
        ("/C=Germany/CN=Alice", "country"),
        ("/O=Grid/CN=", "empty"),
        ("/O=Grid/emailAddress=\\xC3\\xBC@x", "IA5String"),
    ],
)
def test_names_that_no_certificate_should_have(
    issuer: Issuer, books: Books, grant: Grant, now: datetime, request_: CertificateRequest, subject: str, fault: str
) -> None:
    error = refuse(issuer, request_, replace(grant, subject_der=parse_oneline(subject)), now)
    assert error.step is IssuanceStep.CHECK
    assert fault in error.message
    assert books.records == []


def test_extensions_that_no_certificate_should_have(
    issuer: Issuer, grant: Grant, now: datetime, request_: CertificateRequest
) -> None:
    for extension in (
        Extension(oids.KEY_USAGE, False, bytes.fromhex("03020780")),
        Extension(oids.KEY_USAGE, True, bytes.fromhex("03020204")),
        Extension(oids.KEY_USAGE, True, b"junk"),
        Extension("1.2.3", True, b"\x05\x00"),
        Extension(oids.SUBJECT_ALT_NAME, False, b"\x30\x00"),
        Extension(oids.PROXY_CERT_INFO, True, bytes.fromhex("300C300A06082B06010505071501")),
    ):
        error = refuse(issuer, request_, replace(grant, extensions=(extension,)), now)
        assert error.step is IssuanceStep.CHECK, extension


def test_an_extension_of_the_grant_takes_the_place_of_ours(
    issuer: Issuer, grant: Grant, now: datetime, request_: CertificateRequest
) -> None:
    usage = Extension(oids.KEY_USAGE, True, bytes.fromhex("030206c0"))
    certificate = issuer.issue(request_, replace(grant, extensions=(usage,)), now=now).certificate
    assert [one for one in certificate.extensions if one.oid == oids.KEY_USAGE] == [usage]


# --- authorities ------------------------------------------------------------------------------------------------------


def test_only_a_ca_with_its_own_key_can_issue(root: Certificate, now: datetime, books: Books) -> None:
    with pytest.raises(CredentialError) as caught:
        Issuer(root, KeySigner(generate_key(KeyType.P256)), recorder=books)
    assert caught.value.problem is CredentialProblem.KEY_MISMATCH
    ca = TestCA("/O=Grid/CN=X", "p256", key_usage=("crl_sign",))
    for certificate, key in ((Certificate.parse(ca.der), ca.key), _leaf()):
        with pytest.raises(CredentialError) as caught:
            Issuer(certificate, KeySigner(key), recorder=books)
        assert caught.value.problem is CredentialProblem.CANNOT_SIGN


def _leaf() -> tuple[Certificate, keys.PrivateKey]:
    issued = TestCA("/O=Grid/CN=X", "p256").issue("/O=Grid/CN=Y", "p256")
    return Certificate.parse(issued.der), issued.key


def test_a_subordinate_ca_sends_its_chain(books: Books, grant: Grant, request_: CertificateRequest) -> None:
    top = TestCA("/O=Grid/CN=Root", "p256", path_length=1)
    sub = top.intermediate("/O=Grid/CN=Sub", "p256", path_length=0)
    own, root = Certificate.parse(sub.der), Certificate.parse(top.der)
    now = datetime.now(UTC)
    for roots in ((root,), ()):  # with the root, the whole path is judged
        issuer = Issuer(own, KeySigner(sub.key), recorder=books, chain=(own,), roots=roots)
        assert issuer.issue(request_, grant, now=now).chain[1:] == (own,)
    broken = Issuer(own, Broken(sub.key), recorder=books, chain=(own,))
    assert "signature" in refuse(broken, request_, grant, now).message  # also where no root is known to judge the path
    deep = TestCA("/O=Grid/CN=Deep", "p256", parent=sub)
    third = Certificate.parse(deep.der)
    for roots in ((root,), ()):
        issuer = Issuer(third, KeySigner(deep.key), recorder=books, chain=(third, own), roots=roots)
        assert refuse(issuer, request_, grant, now).step is IssuanceStep.CHECK  # the path length forbids it


def test_a_subordinate_ca_is_bound_by_its_own_certificate_where_the_root_is_not_known(
    books: Books, grant: Grant, request_: CertificateRequest
) -> None:
    theirs = x509.NameConstraints(
        permitted_subtrees=[x509.DirectoryName(parse_name("/O=Theirs"))], excluded_subtrees=None
    )
    top = TestCA("/O=Grid/CN=Root", "p256")
    sub = TestCA("/O=Grid/CN=Sub", "p256", parent=top, extensions=[(theirs, True)])
    low = TestCA("/O=Theirs/CN=Low", "p256", parent=sub)
    sub_ca, low_ca = Certificate.parse(sub.der), Certificate.parse(low.der)
    now = datetime.now(UTC)
    for issuer in (
        Issuer(sub_ca, KeySigner(sub.key), recorder=books),
        Issuer(low_ca, KeySigner(low.key), recorder=books, chain=(low_ca, sub_ca)),
    ):
        assert refuse(issuer, request_, grant, now).step is IssuanceStep.CHECK
        issuer.issue(request_, replace(grant, subject_der=parse_oneline("/O=Theirs/CN=Alice")), now=now)


@pytest.mark.parametrize("is_root_known", [False, True])
def test_a_ca_above_that_has_changed_its_key_is_told_from_its_old_certificate(
    books: Books, grant: Grant, request_: CertificateRequest, is_root_known: bool
) -> None:
    top = TestCA("/O=Grid/CN=Root", "p256")
    old, new = (top.intermediate("/O=Grid/CN=Inter", "p256") for _ in range(2))
    low = new.intermediate("/O=Grid/CN=Sub", "p256")
    sub, x_old, x_new, root = (Certificate.parse(one.der) for one in (low, old, new, top))
    roots = (root,) if is_root_known else ()
    for chain in ((sub, x_old, x_new), (sub, x_new, x_old), (x_old, x_new, sub)):
        issuer = Issuer(sub, KeySigner(low.key), recorder=books, chain=chain, roots=roots)
        assert issuer.issue(request_, grant, now=datetime.now(UTC)).chain[1:] == chain
        assert (issuer.above, issuer.highest) == ((x_new, *roots), root if is_root_known else x_new)


def test_an_old_ca_of_the_name_is_none_above(books: Books, grant: Grant, request_: CertificateRequest) -> None:
    old, new = (TestCA("/O=Grid/CN=Inter", "p256", parent=TestCA("/O=Grid/CN=Root", "p256")) for _ in range(2))
    low = new.intermediate("/O=Grid/CN=Sub", "p256")
    sub, x_old = Certificate.parse(low.der), Certificate.parse(old.der)
    issuer = Issuer(sub, KeySigner(low.key), recorder=books, chain=(sub, x_old))
    assert (issuer.above, issuer.highest) == ((), sub)
    issuer.issue(request_, grant, now=datetime.now(UTC))


def test_a_root_that_has_changed_its_key_or_its_dates(books: Books, grant: Grant, request_: CertificateRequest) -> None:
    now = datetime.now(UTC)
    top = TestCA("/O=Grid/CN=Root", "p256")
    other = TestCA("/O=Grid/CN=Root", "p256")
    over = TestCA("/O=Grid/CN=Root", top.key, not_before=now - timedelta(days=9), not_after=now - HOUR)
    low = top.intermediate("/O=Grid/CN=Sub", "p256")
    sub = Certificate.parse(low.der)
    for some in itertools.permutations(Certificate.parse(one.der) for one in (top, other, over)):
        issuer = Issuer(sub, KeySigner(low.key), recorder=books, chain=(sub,), roots=some)
        issuer.issue(request_, grant, now=now)
        assert issuer.highest.der == top.der
    issuer = Issuer(sub, KeySigner(low.key), recorder=books, chain=(sub,), roots=(Certificate.parse(over.der),))
    assert "expired" in refuse(issuer, request_, grant, now).message


def test_a_weak_root_is_not_passed_over(books: Books, grant: Grant, request_: CertificateRequest) -> None:
    top = TestCA("/O=Grid/CN=Root", rsa.generate_private_key(65537, 1024))
    low = top.intermediate("/O=Grid/CN=Sub", "p256")
    sub, root = Certificate.parse(low.der), Certificate.parse(top.der)
    issuer = Issuer(sub, KeySigner(low.key), recorder=books, chain=(sub, root))
    assert "1024 bits" in refuse(issuer, request_, grant, datetime.now(UTC)).message


def test_a_path_to_given_roots_has_no_gap(books: Books, grant: Grant, request_: CertificateRequest) -> None:
    top = TestCA("/O=Grid/CN=Root", "p256")
    middle = top.intermediate("/O=Grid/CN=Inter", "p256")
    low = middle.intermediate("/O=Grid/CN=Sub", "p256")
    sub, inter, root = (Certificate.parse(one.der) for one in (low, middle, top))
    strangers = [Certificate.parse(TestCA(f"/O=Other/CN={number}", "p256").der) for number in range(40)]
    now = datetime.now(UTC)
    gap = Issuer(sub, KeySigner(low.key), recorder=books, chain=(sub,), roots=(*strangers, root))
    assert gap.highest == sub
    assert refuse(gap, request_, grant, now).message.startswith("no CA /O=Grid/CN=Inter in the trust directory")
    whole = Issuer(sub, KeySigner(low.key), recorder=books, chain=(sub, inter), roots=(*strangers, root))
    whole.issue(request_, grant, now=now)
    # What is sent may hold a root of other days, while the one of today is known elsewhere.
    Issuer(sub, KeySigner(low.key), recorder=books, chain=(sub, strangers[0])).issue(request_, grant, now=now)


def test_a_trust_directory_binds_with_its_signing_policy(
    root: Certificate, signer: KeySigner, books: Books, grant: Grant, now: datetime, request_: CertificateRequest
) -> None:
    policy = b"""access_id_CA X509 '/O=Grid/CN=CA'
pos_rights globus CA:sign
cond_subjects globus '"/O=Grid/*"'
"""
    stem = subject_hash(root.subject_der)
    anchors = build_anchors({f"{stem}.0": root.pem(), f"{stem}.signing_policy": policy}, loaded_at=now)
    issuer = Issuer(root, signer, recorder=books, anchors=anchors)
    issuer.issue(request_, grant, now=now)
    outside = replace(grant, subject_der=parse_oneline("/O=Elsewhere/CN=Alice"))
    assert refuse(issuer, request_, outside, now).step is IssuanceStep.CHECK


def test_numbers_come_from_where_they_are_kept(
    root: Certificate,
    signer: KeySigner,
    books: Books,
    grant: Grant,
    now: datetime,
    request_: CertificateRequest,
    tmp_path: Path,
) -> None:
    issuer = Issuer(root, signer, recorder=books, serials=SerialFile(str(tmp_path / "serial"), start=1))
    assert [issuer.issue(request_, grant, now=now).certificate.serial for _ in range(3)] == [1, 2, 3]
    for bad in (0, -1, 1 << 159):
        broken = Issuer(root, signer, recorder=books, serials=lambda bad=bad: bad)  # type: ignore[misc]  # bound now
        assert refuse(broken, request_, grant, now).step is IssuanceStep.SERIAL
    missing = Issuer(root, signer, recorder=books, serials=SerialFile(str(tmp_path / "none")))
    assert refuse(missing, request_, grant, now).step is IssuanceStep.SERIAL


def test_random_numbers_are_positive_and_differ(
    issuer: Issuer, grant: Grant, now: datetime, request_: CertificateRequest
) -> None:
    numbers = {issuer.issue(request_, grant, now=now).certificate.serial for _ in range(20)}
    assert len(numbers) == 20
    assert all(0 < number < 1 << 159 for number in numbers)


def test_a_certificate_from_elsewhere_is_checked_alike(
    issuer: Issuer, grant: Grant, now: datetime, request_: CertificateRequest
) -> None:
    certificate = issuer.issue(request_, grant, now=now).certificate
    assert issuer.check(certificate.der, now=now) == certificate
    stranger = TestCA("/O=Grid/CN=CA", "p256").issue("/O=Grid/CN=Alice", "p256")
    for bad in (stranger.der, b"junk", certificate.der + b"\x00"):
        with pytest.raises(IssuanceError) as caught:
            issuer.check(bad, now=now)
        assert caught.value.step is IssuanceStep.CHECK


def test_requests_must_be_signed_properly() -> None:
    bad = bytearray(make_csr("rsa2048"))
    bad[-1] ^= 1
    with pytest.raises(VerificationError) as caught:
        parse_request(bytes(bad))
    assert caught.value.reason is Reason.BAD_SIGNATURE
