"""The authority: who gets a certificate, of what name and form, what strangers learn, and what is on record before."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from gsi import oids
from gsi.ca.extprofile import MYPROXY_PROFILE, EndEntityProfile
from gsi.ca.general_names import dns_name
from gsi.ca.issuer import Issuer
from gsi.ca.program import ProgramChecker
from gsi.ca.records import IssuanceRecord
from gsi.ca.signer import KeySigner
from gsi.certificate import Certificate
from gsi.credential import Credential
from gsi.delegation import DelegationRequester
from gsi.errors import AuthenticationError, DeniedError, GridError, NotFoundError, StorageError, TransportError
from gsi.extensions import DIGITAL_SIGNATURE
from gsi.keys import KeyType, generate_key
from gsi.names import oneline
from gsi.proxy.issue import ProxyOptions, make_proxy
from gsi.proxy.kinds import ProxyKind
from gsi.secret import Passphrase
from gsi.system.audit import Verdict
from myproxy.auth.base import Method, Use
from myproxy.auth.certificate import CertificateMethod
from myproxy.authentication import Methods
from myproxy.grants import IssuanceGrant, RetrievalGrant, Settings
from myproxy.issuing import Authority, BuiltInAuthority, CopyRecorder, IssuanceLimits, ProgramAuthority
from myproxy.policy import AccessPolicy, parse_rules
from myproxy.protocol.messages import AuthorizationMethod, AuthorizationReply, Command, Request, SignatureBlock
from myproxy.repository.seal import INVALID_PASSPHRASE
from myproxy.retrieval import AuthorizationRound
from tests.harness.ca import Issued, TestCA, write_file
from tests.harness.myproxy import EVERYONE, HOUR, OPEN, SECRET, World, ask, make_world

ALICE = "/O=Grid/CN=Alice"
GET = ask(Command.GET)
NO_PHRASE = ask(Command.GET, passphrase=Passphrase(""))
PORTAL = dataclasses.replace(OPEN, trusted_retrievers=parse_rules(["*/CN=Portal"]))


@pytest.fixture(scope="module", params=["rsa2048", "p256"])
def ca(request: pytest.FixtureRequest) -> TestCA:
    return TestCA("/O=Grid/CN=Test CA", request.param)


@pytest.fixture(scope="module")
def portal(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Portal", "p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue(ALICE, "p256")


@pytest.fixture
def world(ca: TestCA, tmp_path: Path) -> Iterator[World]:
    with make_world(ca, tmp_path) as made:
        yield made


class People:
    """Who is who; remembers who was asked about."""

    def __init__(self, trouble: GridError | None = None) -> None:
        self.asked: list[str] = []
        self.trouble = trouble

    def get_name(self, username: str) -> str:
        self.asked.append(username)
        if self.trouble is not None:
            raise self.trouble
        if username != "alice":
            raise NotFoundError(f"nobody is called {username}")
        return ALICE


class Judge:
    """A judge of pass phrases."""

    method = Method.PAM

    def __init__(self) -> None:
        self.asked: list[str] = []

    def check(self, username: str, passphrase: Passphrase) -> None:
        self.asked.append(username)
        if passphrase.reveal() != SECRET.encode():
            raise AuthenticationError("PAM authentication failed: invalid password")


class Nobody:
    def record(self, record: IssuanceRecord) -> None:
        raise AssertionError(f"{record.subject} is recorded in the wrong place")


def issuer_of(ca: TestCA, **more: object) -> Issuer:
    return Issuer(Certificate.parse(ca.der), KeySigner(ca.key), recorder=Nobody(), **more)  # type: ignore[arg-type]  # by name


def built_in(
    world: World,
    people: People | None = None,
    *,
    limits: IssuanceLimits | None = None,
    profile: EndEntityProfile = MYPROXY_PROFILE,
    issuer: Issuer | None = None,
    email_domain: str | None = None,
    copies: CopyRecorder | None = None,
) -> BuiltInAuthority:
    return BuiltInAuthority(
        issuer or issuer_of(world.ca),
        people or People(),
        limits or IssuanceLimits(),
        lambda _: profile,
        email_domain=email_domain,
        copies=copies,
    )


def configure(
    world: World,
    authority: Authority,
    access: AccessPolicy = PORTAL,
    methods: Methods | None = None,
    *,
    limited_stays_limited: bool = True,
) -> None:
    settings = Settings(access=access, limited_stays_limited=limited_stays_limited)
    world.configure(settings, methods, authority=authority)


def request_der(kind: KeyType = KeyType.P256) -> bytes:
    return DelegationRequester(generate_key(kind)).request_der


def begin(world: World, who: Issued | None, request: Request = NO_PHRASE) -> IssuanceGrant:
    grant = world.service.begin_get(world.caller(who), request)
    assert isinstance(grant, IssuanceGrant)
    return grant


def get(
    world: World, who: Issued | None, request: Request = NO_PHRASE, kind: KeyType = KeyType.P256
) -> x509.Certificate:
    """Go through the whole exchange; what comes must be good in the eyes of our validator."""
    grant = begin(world, who, request)
    requester = DelegationRequester(generate_key(kind))
    chain = world.service.finish_get(grant, requester.request_der)
    requester.accept([certificate.der for certificate in chain], now=world.now, allow_end_entity=True)
    world.verify(chain, now=world.now)
    return x509.load_der_x509_certificate(chain[0].der)


def usage(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert found.critical
    names = ("digital_signature", "key_encipherment", "data_encipherment", "key_agreement", "content_commitment")
    return {name for name in names if getattr(found.value, name)}


# What is issued -------------------------------------------------------------------------------------------------------


def test_a_trusted_retriever_gets_a_certificate_of_the_mapped_name(world: World, portal: Issued) -> None:
    configure(world, built_in(world))
    certificate = get(world, portal, kind=KeyType.RSA)
    assert certificate.subject.rfc4514_string() == "CN=Alice,O=Grid"
    assert usage(certificate) == {"digital_signature", "key_encipherment", "data_encipherment"}
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert [purpose.dotted_string for purpose in purposes.value] == [oids.CLIENT_AUTH]
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca) == (True, False)
    certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    begun, issued = world.sink.records
    assert (begun.action, begun.verdict, begun.details["method"]) == ("GET", Verdict.PERMIT, "trusted retriever")
    assert begun.details["certificate_for"] == ALICE
    assert (issued.action, issued.verdict) == ("ISSUE", Verdict.PERMIT)
    assert issued.details["subject"] == ALICE
    assert issued.details["serial"] == f"{certificate.serial_number:X}".zfill(40)[-len(str(issued.details["serial"])) :]


def test_a_key_that_cannot_encipher_is_not_said_to(world: World, portal: Issued) -> None:
    configure(world, built_in(world))
    assert usage(get(world, portal)) == {"digital_signature"}


@pytest.mark.parametrize(
    ("asked", "maximum", "given"),
    [
        (timedelta(0), timedelta(0), 12 * HOUR),
        (HOUR, timedelta(0), HOUR),
        (13 * HOUR, timedelta(0), 12 * HOUR),
        (48 * HOUR, 36 * HOUR, 36 * HOUR),
        (timedelta(0), 36 * HOUR, 36 * HOUR),
        (timedelta(seconds=1), timedelta(0), timedelta(seconds=1)),
        (timedelta(days=9000), timedelta(days=9000), None),
    ],
)
def test_lifetimes(world: World, portal: Issued, asked: timedelta, maximum: timedelta, given: timedelta | None) -> None:
    configure(world, built_in(world, limits=IssuanceLimits(max_lifetime=maximum)))
    certificate = get(world, portal, dataclasses.replace(NO_PHRASE, lifetime=asked))
    now = world.now.replace(microsecond=0)
    assert certificate.not_valid_before_utc == now - timedelta(minutes=5)
    end = world.ca.certificate.not_valid_after_utc if given is None else now + given
    assert certificate.not_valid_after_utc == end


def test_names_by_email_and_by_the_profile(world: World, portal: Issued) -> None:
    configure(world, built_in(world, email_domain="example.org"))
    names = get(world, portal).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [name.value for name in names.value] == ["alice@example.org"]
    for critical in (False, True):
        profile = EndEntityProfile(
            key_usage=DIGITAL_SIGNATURE, alternative_names=(dns_name("a.example.org"),), names_are_critical=critical
        )
        configure(world, built_in(world, profile=profile, email_domain="example.org"))
        certificate = get(world, portal)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.critical is critical
        assert [name.value for name in names.value] == ["a.example.org", "alice@example.org"]
        with pytest.raises(x509.ExtensionNotFound):
            certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)


def test_a_user_name_that_makes_no_email_address_gets_nothing(world: World, portal: Issued) -> None:
    class Everybody(People):
        def get_name(self, username: str) -> str:
            return ALICE

    configure(world, built_in(world, Everybody(), email_domain="example.org"))
    grant = begin(world, portal, dataclasses.replace(NO_PHRASE, username="al ice"))
    with pytest.raises(DeniedError, match=r"^Certificate generation failure\.$"):
        world.service.finish_get(grant, request_der())


def test_copies_are_kept_under_the_serial_number_as_c_writes_it(world: World, portal: Issued, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    issuer = issuer_of(world.ca, serials=lambda: 0x12AB)
    configure(world, built_in(world, issuer=issuer, copies=CopyRecorder(str(out))))
    certificate = get(world, portal)
    (copy,) = out.iterdir()
    assert copy.name == "12:AB.pem"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert x509.load_pem_x509_certificate(copy.read_bytes()) == certificate
    assert "Subject: /O=Grid/CN=Alice\n" in copy.read_text()


def test_without_its_copy_a_certificate_does_not_leave(world: World, portal: Issued, tmp_path: Path) -> None:
    configure(world, built_in(world, copies=CopyRecorder(str(tmp_path / "gone"))))
    with pytest.raises(DeniedError, match=r"^Certificate generation failure\.$"):
        get(world, portal)
    assert world.verdicts()[-1] == ("ISSUE", Verdict.DENY)


def test_without_its_record_a_certificate_does_not_leave(world: World, portal: Issued) -> None:
    configure(world, built_in(world))
    grant = begin(world, portal)
    world.sink.broken = True
    with pytest.raises(StorageError):
        world.service.finish_get(grant, request_der())


# Who gets one ---------------------------------------------------------------------------------------------------------


def test_what_is_stored_goes_first_and_the_key_itself_is_never_issued(
    world: World, alice: Issued, portal: Issued
) -> None:
    configure(world, built_in(world), dataclasses.replace(PORTAL, authorized_key_retrievers=EVERYONE))
    with pytest.raises(DeniedError, match="No credentials exist"):
        world.service.begin_retrieve(world.caller(portal), dataclasses.replace(NO_PHRASE, command=Command.RETRIEVE))
    world.put(alice, ask(Command.PUT, passphrase=Passphrase("")))
    assert isinstance(world.service.begin_get(world.caller(portal), NO_PHRASE), RetrievalGrant)
    assert begin(world, portal, dataclasses.replace(NO_PHRASE, credential_name="other")).subject_der is not None


def test_a_right_pass_phrase_gets_a_certificate_and_nobody_is_asked_for_a_name_before(world: World) -> None:
    people, judge = People(), Judge()
    configure(world, built_in(world, people), OPEN, Methods(passwords=((judge, Use.SUFFICIENT),)))
    with pytest.raises(AuthenticationError, match=f"^{INVALID_PASSPHRASE}$"):
        begin(world, None, dataclasses.replace(GET, passphrase=Passphrase("wrong wrong")))
    assert (people.asked, judge.asked) == ([], ["alice"])
    assert get(world, None, GET).subject.rfc4514_string() == "CN=Alice,O=Grid"
    assert people.asked == ["alice"]


@pytest.mark.parametrize("use", [Use.SUFFICIENT, Use.REQUIRED])
def test_a_stranger_cannot_tell_an_unmapped_user_from_a_wrong_pass_phrase(world: World, use: Use) -> None:
    judge = Judge()
    configure(world, built_in(world), OPEN, Methods(passwords=((judge, use),)))
    seen = set()
    wrong = Passphrase("wrong wrong")
    for request in (
        dataclasses.replace(GET, passphrase=wrong),
        dataclasses.replace(GET, username="mallory"),
        dataclasses.replace(GET, username="mallory", passphrase=wrong),
    ):
        before = len(judge.asked), world.sealer.count
        with pytest.raises(AuthenticationError) as caught:
            begin(world, None, request)
        seen.add((caught.value.message, len(judge.asked) - before[0], world.sealer.count - before[1]))
    assert seen == {(INVALID_PASSPHRASE, 1, 1)}
    assert "nobody is called mallory" in world.sink.records[-2].reason


def test_trouble_with_names_is_told_to_nobody_but_the_log(
    world: World, portal: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    people = People(TransportError("the directory is gone"))
    configure(world, built_in(world, people), PORTAL, Methods(passwords=((Judge(), Use.SUFFICIENT),)))
    with pytest.raises(AuthenticationError, match=f"^{INVALID_PASSPHRASE}$"):
        begin(world, None, GET)
    with pytest.raises(StorageError):  # which a client hears as an internal error
        begin(world, portal)
    assert caplog.text.count("the directory is gone") == 2


def test_a_client_with_a_certificate_hears_that_the_name_is_not_known(world: World, portal: Issued) -> None:
    configure(world, built_in(world))
    with pytest.raises(DeniedError, match=r"^unknown username: mallory$"):
        begin(world, portal, dataclasses.replace(NO_PHRASE, username="mallory"))


def test_policies_are_those_of_a_credential_without_its_own(world: World, portal: Issued, alice: Issued) -> None:
    nobody = parse_rules(["none"])
    for access in (
        dataclasses.replace(PORTAL, default_trusted_retrievers=nobody),
        dataclasses.replace(PORTAL, default_retrievers=nobody),
        dataclasses.replace(PORTAL, authorized_retrievers=nobody),
    ):
        configure(world, built_in(world), access)
        with pytest.raises((AuthenticationError, DeniedError)):
            begin(world, portal)
    configure(world, built_in(world), dataclasses.replace(OPEN, trusted_retrievers=parse_rules(["*/CN=Alice"])))
    with pytest.raises(AuthenticationError, match="no passphrase"):  # her own certificate: not trusted
        begin(world, alice)


def test_a_limited_proxy_gets_nothing_unless_the_flag_is_ignored(world: World, portal: Issued) -> None:
    limited = make_proxy(
        world.credential(portal), ProxyOptions(kind=ProxyKind.LIMITED, key_type=KeyType.P256), now=world.now
    )
    caller = dataclasses.replace(world.caller(portal), peer=world.verify(limited.certificates, now=world.now))
    configure(world, built_in(world))
    with pytest.raises(DeniedError, match=r"^MyProxy CA will not accept limited proxy for authentication\.$"):
        world.service.begin_get(caller, NO_PHRASE)
    configure(world, built_in(world), limited_stays_limited=False)
    assert isinstance(world.service.begin_get(caller, NO_PHRASE), IssuanceGrant)


# Renewal --------------------------------------------------------------------------------------------------------------

RENEWERS = AccessPolicy(authorized_renewers=EVERYONE)


def renew(world: World, agent: Issued | None, signer: Credential, username: str = "alice") -> IssuanceGrant:
    request = dataclasses.replace(NO_PHRASE, username=username)
    waiting = world.service.begin_get(world.caller(agent), request)
    assert isinstance(waiting, AuthorizationRound)
    (offer,) = waiting.offers
    data = offer.data.encode("ascii")
    match signer.key:
        case rsa.RSAPrivateKey() as key:
            signature = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        case ec.EllipticCurvePrivateKey() as key:
            signature = key.sign(data, ec.ECDSA(hashes.SHA256()))
        case _:
            raise AssertionError
    block = SignatureBlock(signature, tuple(certificate.der for certificate in signer.certificates))
    reply = AuthorizationReply(AuthorizationMethod.CERTIFICATE_SHA256, signature=block)
    grant = world.service.proceed(waiting, reply)
    assert isinstance(grant, IssuanceGrant)
    return grant


def renewing(world: World, authority: Authority) -> None:
    method = CertificateMethod(AuthorizationMethod.CERTIFICATE_SHA256, world.verify, lambda: world.now)
    configure(world, authority, RENEWERS, Methods(renewals=(method,)))


def test_whoever_proves_the_old_certificate_gets_a_new_one(world: World, alice: Issued, portal: Issued) -> None:
    renewing(world, built_in(world))
    grant = renew(world, portal, world.credential(alice))
    chain = world.service.finish_get(grant, request_der())
    assert oneline(chain[0].subject_der) == ALICE
    assert world.sink.records[-2].details["renewer"] == ALICE


def test_renewal_of_somebody_else_or_by_oneself_or_of_nobody(world: World, alice: Issued, portal: Issued) -> None:
    renewing(world, built_in(world))
    with pytest.raises(AuthenticationError, match="not the identity of the credential"):
        renew(world, portal, world.credential(portal))
    with pytest.raises(DeniedError, match="self-authz not allowed for renewer"):
        renew(world, alice, world.credential(alice))
    with pytest.raises(AuthenticationError, match="not the identity of the credential"):
        renew(world, portal, world.credential(alice), username="mallory")
    with pytest.raises(AuthenticationError):
        renew(world, None, world.credential(alice), username="mallory")


# What the client hears of a failure -----------------------------------------------------------------------------------


def test_faults_of_the_request_are_told(world: World, portal: Issued) -> None:
    configure(world, built_in(world))
    good = request_der()
    cases = {
        b"nonsense": "certificate request",
        good[:-1] + bytes((good[-1] ^ 1,)): "signature",
    }
    for data, words in cases.items():
        with pytest.raises(DeniedError, match=rf"^Certificate generation failure\.\n.*{words}"):
            world.service.finish_get(begin(world, portal), data)
    configure(world, built_in(world, limits=IssuanceLimits(min_rsa_bits=3072)))
    with pytest.raises(DeniedError, match="2048 bits, at least 3072"):
        world.service.finish_get(begin(world, portal), request_der(KeyType.RSA))
    weak = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = weak.sign(rsa.generate_private_key(65537, 1024), hashes.SHA256())
    with pytest.raises(DeniedError, match="1024 bits"):
        world.service.finish_get(begin(world, portal), csr.public_bytes(serialization.Encoding.DER))


def test_whatever_else_fails_is_not(world: World, portal: Issued, tmp_path: Path) -> None:
    say_no = script(tmp_path / "no", "echo because of the secret >&2; exit 1")
    for issuer in (
        issuer_of(world.ca, request_checkers=[ProgramChecker((say_no,))]),
        issuer_of(world.ca, certificate_checkers=[ProgramChecker((say_no,))]),
        issuer_of(world.ca, serials=lambda: 0),
    ):
        configure(world, built_in(world, issuer=issuer))
        with pytest.raises(DeniedError, match=r"^Certificate generation failure\.$"):
            get(world, portal)
    assert "because of the secret" in world.sink.records[-3].reason
    assert "ISSUE" not in {action for action, verdict in world.verdicts() if verdict is Verdict.PERMIT}


def test_checkers_that_accept(world: World, portal: Issued, tmp_path: Path) -> None:
    look = script(tmp_path / "look", f"cat >> {tmp_path}/seen")
    issuer = issuer_of(
        world.ca, request_checkers=[ProgramChecker((look,))], certificate_checkers=[ProgramChecker((look,))]
    )
    configure(world, built_in(world, issuer=issuer))
    get(world, portal)
    labels = [line for line in (tmp_path / "seen").read_text().splitlines() if "BEGIN" in line]
    assert labels == ["-----BEGIN CERTIFICATE REQUEST-----", "-----BEGIN CERTIFICATE-----"]


def test_sub_cas_are_sent_with_it(world: World, portal: Issued) -> None:
    sub = world.ca.intermediate("/O=Grid/CN=Sub CA", "p256")
    own = Certificate.parse(sub.der)
    issuer = Issuer(own, KeySigner(sub.key), recorder=Nobody(), chain=(own,), roots=(Certificate.parse(world.ca.der),))
    configure(world, built_in(world, issuer=issuer))
    requester = DelegationRequester(generate_key(KeyType.P256))
    chain = world.service.finish_get(begin(world, portal), requester.request_der)
    assert [oneline(one.subject_der) for one in chain] == [ALICE, "/O=Grid/CN=Sub CA"]


# The issuer program ---------------------------------------------------------------------------------------------------


def script(path: Path, text: str) -> str:
    write_file(path, f"#!/bin/sh\n{text}\n".encode(), 0o755)
    return str(path)


def program(world: World, tmp_path: Path, text: str, people: People | None = None, **more: object) -> ProgramAuthority:
    path = script(tmp_path / "issuer", text)
    return ProgramAuthority(path, people, IssuanceLimits(), world.verify, **more)  # type: ignore[arg-type]  # by name


def issued_for(world: World, subject: str = ALICE, **more: object) -> tuple[DelegationRequester, Issued]:
    key = generate_key(KeyType.P256)
    return DelegationRequester(key), world.ca.issue(subject, key, **more)  # type: ignore[arg-type]  # by name


def test_what_the_program_is_told_and_its_certificate(world: World, portal: Issued, tmp_path: Path) -> None:
    requester, issued = issued_for(world)
    (tmp_path / "cert.pem").write_bytes(issued.pem)
    configure(world, program(world, tmp_path, f"cat > {tmp_path}/told; cat {tmp_path}/cert.pem", People()))
    request = dataclasses.replace(NO_PHRASE, credential_name="work", lifetime=2 * HOUR, retriever="*/CN=x")
    (certificate,) = world.service.finish_get(begin(world, portal, request), requester.request_der)
    assert certificate.der == issued.der
    head, _, pem = (tmp_path / "told").read_bytes().partition(b"\n\n")
    assert head.decode().splitlines() == [
        "username=alice",
        "passphrase=",
        "proxy_lifetime=7200",
        "retrievers=*/CN=x",
        "renewers=NULL",
        "credname=work",
        "creddesc=NULL",
        "authzcreds=NULL",
        "keyretrieve=NULL",
        "trusted_retrievers=NULL",
        "max_cert_lifetime=0",
    ]
    assert x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER) == requester.request_der
    assert world.sink.records[-1].details["subject"] == ALICE


def test_the_pass_phrase_that_was_proved_is_told_to_the_program(world: World, tmp_path: Path) -> None:
    requester, issued = issued_for(world, "/O=Grid/CN=Chosen by the program")
    (tmp_path / "cert.pem").write_bytes(issued.pem)
    authority = program(world, tmp_path, f"cat > {tmp_path}/told; cat {tmp_path}/cert.pem")
    configure(world, authority, OPEN, Methods(passwords=((Judge(), Use.SUFFICIENT),)))
    world.service.finish_get(begin(world, None, GET), requester.request_der)
    assert f"passphrase={SECRET}\n" in (tmp_path / "told").read_text()
    assert world.sink.records[-1].details["subject"] == "/O=Grid/CN=Chosen by the program"


@pytest.mark.parametrize(
    "text", ["exit 1", "true", "echo hello", "cat /dev/zero", "kill -9 $$", "cat > /dev/null; echo; cat $0"]
)
def test_programs_that_give_no_certificate(world: World, portal: Issued, tmp_path: Path, text: str) -> None:
    configure(world, program(world, tmp_path, text, People()))
    with pytest.raises(DeniedError, match=r"^Certificate generation failure\.$"):
        get(world, portal)
    assert world.verdicts()[-1] == ("ISSUE", Verdict.DENY)


def test_certificates_of_the_program_that_are_not_good(world: World, portal: Issued, tmp_path: Path) -> None:
    requester, good = issued_for(world)
    key = good.key
    others = {
        "another key": world.ca.issue(ALICE, "p256"),
        "not good": TestCA("/O=Other/CN=CA", "p256").issue(ALICE, key),
        "expired": world.ca.issue(ALICE, key, not_after=world.now - HOUR, not_before=world.now - 2 * HOUR),
        "a proxy": world.ca.issue(ALICE, "p256").proxy(key=key),
        "is a CA|is-a-ca|CA": Issued(world.ca.intermediate("/O=Grid/CN=Sub", key).certificate, key),
        "would be /O=Grid/CN=Portal|self-authz": world.ca.issue("/O=Grid/CN=Portal", key),
    }
    for words, issued in others.items():
        (tmp_path / "cert.pem").write_bytes(issued.pem + issued.chain_pem)
        chain = [Certificate.parse(one) for one in issued.chain_der[1:]]
        authority = program(world, tmp_path, f"cat > /dev/null; cat {tmp_path}/cert.pem", People(), chain=chain)
        configure(world, authority)
        with pytest.raises(DeniedError, match=r"^Certificate generation failure\.$"):
            world.service.finish_get(begin(world, portal), requester.request_der)
        reason = world.sink.records[-1].reason
        assert any(word in reason for word in words.split("|")), reason


def test_a_renewed_certificate_has_the_name_that_was_proved(
    world: World, alice: Issued, portal: Issued, tmp_path: Path
) -> None:
    requester, other = issued_for(world, "/O=Grid/CN=Bob")
    (tmp_path / "cert.pem").write_bytes(other.pem)
    renewing(world, program(world, tmp_path, f"cat > /dev/null; cat {tmp_path}/cert.pem", People()))
    grant = renew(world, portal, world.credential(alice))
    with pytest.raises(DeniedError):
        world.service.finish_get(grant, requester.request_der)
    assert "would be /O=Grid/CN=Bob" in world.sink.records[-1].reason


def test_without_a_known_name_a_trusted_retriever_of_the_program_is_not_trusted(
    world: World, portal: Issued, tmp_path: Path
) -> None:
    for people in (None, People()):
        configure(world, program(world, tmp_path, "exit 1", people))
        request = dataclasses.replace(NO_PHRASE, username="bob")
        with pytest.raises(AuthenticationError, match="no passphrase"):
            begin(world, portal, request)
        configure(
            world,
            program(world, tmp_path, "exit 1", people),
            dataclasses.replace(PORTAL, allow_self_authorization=True),
        )
        assert begin(world, portal, request).subject_der is None


def test_checkers_and_copies_of_the_program(world: World, portal: Issued, tmp_path: Path) -> None:
    requester, issued = issued_for(world)
    (tmp_path / "cert.pem").write_bytes(issued.pem)
    out = tmp_path / "out"
    out.mkdir()
    text = f"cat > /dev/null; cat {tmp_path}/cert.pem"
    say_no = ProgramChecker((script(tmp_path / "no", "exit 1"),))
    for more in ({"request_checkers": [say_no]}, {"certificate_checkers": [say_no]}):
        configure(world, program(world, tmp_path, text, People(), copies=CopyRecorder(str(out)), **more))
        with pytest.raises(DeniedError):
            world.service.finish_get(begin(world, portal), requester.request_der)
        assert os.listdir(out) == []
    configure(world, program(world, tmp_path, text, People(), copies=CopyRecorder(str(out))))
    world.service.finish_get(begin(world, portal), requester.request_der)
    assert len(os.listdir(out)) == 1


def test_weak_keys_are_not_shown_to_the_program(world: World, portal: Issued, tmp_path: Path) -> None:
    path = script(tmp_path / "issuer", f"touch {tmp_path}/asked")
    authority = ProgramAuthority(path, People(), IssuanceLimits(min_rsa_bits=4096), world.verify)
    configure(world, authority)
    with pytest.raises(DeniedError, match="at least 4096"):
        get(world, portal, kind=KeyType.RSA)
    assert not (tmp_path / "asked").exists()
