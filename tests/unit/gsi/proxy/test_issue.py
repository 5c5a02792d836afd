"""Making proxies: the fields as the C tools write them, everything asked for written, everything else refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from gsi import der, keys, names, oids
from gsi.certificate import Certificate, Extension
from gsi.credential import Credential
from gsi.errors import ConfigError, CredentialError, CredentialProblem
from gsi.keys import KeyType
from gsi.proxy import issue
from gsi.proxy.chain import ProxyChain, check_proxy_rules
from gsi.proxy.info import ProxyCertInfo
from gsi.proxy.issue import ProxyOptions, hashed_serial, make_proxy, sign_proxy
from gsi.proxy.kinds import ProxyFormat, ProxyKind, classify
from tests.harness.ca import CLIENT_AUTH, SERVER_AUTH, Issued, TestCA, named_bits, raw_extension

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
BEFORE, AFTER = NOW - timedelta(days=1), NOW + timedelta(days=30)
P256 = ProxyOptions(key_type=KeyType.P256)
FULL, LIMITED, INDEPENDENT, RESTRICTED = ProxyKind
RFC, GT3, GT2 = ProxyFormat

# Public key and serial number of a proxy made by grid-proxy-init 7.3.
C_SERIAL = 102671902
C_SPKI = (
    "30820122300d06092a864886f70d01010105000382010f003082010a028201010086be0ac68ef8fafc2bd02629cc76bbacd0"
    "afb632b8ec70f840f3f018d8207b6ee24e8be0695b80fc4885b14b1f05294c10d6b54dbac352a304885e9101533bd10d9b8d"
    "987574b05d8801f3c2944faecb61f07dabfadcab25466a2cc78d696a9357890cab4c01a3c4ab80d354c516397b0cbe5b1e79"
    "a8766defd64e609b214bc1b31ef7a705b90716c4cedab0c3c5eb2051ed302737e6cd2a12708895c32ec744c74fc2a1ac5a69"
    "3f850fc17700a68e36b97ff4509cc8a9880bf26cb4ba4507355942b9cd4f8a17af4d12f606125f0ed544b9be5352a6cc05db"
    "7f9a81ee75cd13d62d9f4672a7ef0b8d47a093abb75a63b5f13aaf068156249e7d0b4d52cc41ab0203010001"
)


def credential_of(issued: Issued) -> Credential:
    certificates = [Certificate.parse(one) for one in issued.chain_der]
    return Credential(key=issued.key, certificate=certificates[0], chain=tuple(certificates[1:]))


def enroll(ca: TestCA, subject: str | x509.Name = "/O=Grid/OU=Test/CN=Alice", **more: object) -> Credential:
    options: dict[str, object] = {"key": "p256", "not_before": BEFORE, "not_after": AFTER, **more}
    return credential_of(ca.issue(subject, **options))  # type: ignore[arg-type]  # passed on to the harness as it is


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA(key="p256", not_before=BEFORE, not_after=NOW + timedelta(days=36500))


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Credential:
    return enroll(ca)


def make(signer: Credential, **more: object) -> Credential:
    options = P256._replace(**more)  # type: ignore[arg-type]  # the fields are checked by the tests themselves
    return make_proxy(signer, options, now=NOW)


def info_of(credential: Credential) -> ProxyCertInfo:
    info = classify(credential.certificate).info
    assert info is not None
    return info


def refused(signer: Credential, **more: object) -> CredentialError:
    with pytest.raises(CredentialError) as caught:
        make(signer, **more)
    assert caught.value.problem is CredentialProblem.CANNOT_SIGN
    assert caught.value.hint
    return caught.value


# --- fields -----------------------------------------------------------------------------------------------------------


def test_a_default_proxy(alice: Credential) -> None:
    proxy = make_proxy(alice, now=NOW)
    certificate = proxy.certificate
    assert certificate.version == 3
    assert certificate.issuer_der == alice.certificate.subject_der
    assert certificate.not_before == NOW - timedelta(minutes=5)
    assert certificate.not_after == NOW + timedelta(hours=12)
    assert isinstance(proxy.key, rsa.RSAPrivateKey)
    assert (proxy.key.key_size, proxy.key.public_key().public_numbers().e) == (2048, 65537)
    assert keys.same_key(proxy.key, certificate.spki_der)
    assert proxy.chain == (alice.certificate,)
    assert certificate.serial == hashed_serial(certificate.spki_der)
    assert names.oneline(certificate.subject_der) == f"/O=Grid/OU=Test/CN=Alice/CN={certificate.serial}"
    assert [extension.oid for extension in certificate.extensions] == [oids.KEY_USAGE, oids.PROXY_CERT_INFO]
    assert certificate.find_extension(oids.PROXY_CERT_INFO) == Extension(
        oids.PROXY_CERT_INFO, True, bytes.fromhex("300C300A06082B06010505071501")
    )
    certificate.x509.verify_directly_issued_by(alice.certificate.x509)
    assert ProxyChain.split(proxy.certificates).identity_text == "/O=Grid/OU=Test/CN=Alice"


def test_the_added_name_is_one_printable_common_name(alice: Credential) -> None:
    subject = make(alice).certificate.subject_der
    *base, last = names.rdns(subject)
    assert names.name_from_rdns(base) == alice.certificate.subject_der
    serial = names.last_common_name(subject)
    assert serial is not None
    assert (
        last
        == bytes.fromhex("31")
        + bytes([len(serial) + 9])
        + bytes.fromhex("30")
        + bytes([len(serial) + 7])
        + bytes.fromhex("0603550403")
        + b"\x13"
        + bytes([len(serial)])
        + serial.encode()
    )


def test_hashed_serial_is_the_c_tools() -> None:
    spki = bytes.fromhex(C_SPKI)
    assert hashed_serial(spki) == C_SERIAL
    digest = hashlib.sha1(spki).digest()
    assert hashed_serial(spki) == int.from_bytes(digest[:3] + bytes([digest[3] >> 1]), "little")


def test_issuer_strings_are_copied_with_their_types(ca: TestCA) -> None:
    attribute, string = x509.NameAttribute, x509.name._ASN1Type
    subject = x509.Name(
        [
            attribute(NameOID.ORGANIZATION_NAME, "Grid", string.BMPString),
            attribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Tëst", string.UTF8String),
            attribute(NameOID.COMMON_NAME, "Alice A", string.PrintableString),
            attribute(NameOID.EMAIL_ADDRESS, "a@b", string.IA5String),
        ]
    )
    signer = enroll(ca, subject)
    proxy = make(make(signer))
    assert proxy.certificate.subject_der.find(b"\x1e\x08\x00G\x00r\x00i\x00d") > 0
    chain = ProxyChain.split(proxy.certificates)
    assert chain.proxies[1].issuer_der == signer.certificate.subject_der
    assert names.rdns(chain.leaf.subject_der)[:4] == names.rdns(signer.certificate.subject_der)
    check_proxy_rules(chain)


@pytest.mark.parametrize(
    ("usages", "value"),  # the values are what grid-proxy-init wrote below such certificates
    [
        (("digital_signature", "content_commitment", "key_encipherment"), "030205A0"),
        (("digital_signature", "content_commitment"), "03020780"),
        (
            ("digital_signature", "content_commitment", "key_cert_sign", "key_agreement", "decipher_only"),
            "0303078880",
        ),
    ],
)
@pytest.mark.parametrize("critical", [True, False])
def test_key_usage_is_copied_without_two_bits_and_critical(
    ca: TestCA, usages: tuple[str, ...], value: str, critical: bool
) -> None:
    signer = enroll(ca, key_usage=None, extensions=[(named_bits(*usages), critical)])
    assert make(signer).certificate.find_extension(oids.KEY_USAGE) == (oids.KEY_USAGE, True, bytes.fromhex(value))


def test_no_key_usage_is_invented(ca: TestCA) -> None:
    signer = enroll(ca, key_usage=None)
    assert [extension.oid for extension in make(signer).certificate.extensions] == [oids.PROXY_CERT_INFO]
    legacy = make(signer, format=GT2, allow_legacy=True)
    assert legacy.certificate.extensions == ()


@pytest.mark.parametrize("critical", [True, False])
def test_extended_key_usage_is_copied_unchanged_and_first(ca: TestCA, critical: bool) -> None:
    usage = (x509.ExtendedKeyUsage([CLIENT_AUTH, SERVER_AUTH]), critical)
    signer = enroll(ca, extensions=[usage])
    made = make(signer).certificate.extensions
    assert [extension.oid for extension in made] == [oids.EXTENDED_KEY_USAGE, oids.KEY_USAGE, oids.PROXY_CERT_INFO]
    assert made[0] == signer.certificate.find_extension(oids.EXTENDED_KEY_USAGE)
    assert made[0].critical is critical


def test_nothing_else_is_copied(ca: TestCA) -> None:
    signer = enroll(ca, san=["email:a@b.c"], extensions=[raw_extension(oids.ISSUER_ALT_NAME, b"\x30\x00")])
    assert {one.oid for one in make(signer).certificate.extensions} == {oids.KEY_USAGE, oids.PROXY_CERT_INFO}


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519"])
@pytest.mark.parametrize("key_type", list(KeyType))
def test_every_signer_with_every_new_key(ca: TestCA, kind: str, key_type: KeyType) -> None:
    signer = enroll(ca, key=kind)
    proxy = make(signer, key_type=key_type)
    second = make(proxy)
    proxy.certificate.x509.verify_directly_issued_by(signer.certificate.x509)
    second.certificate.x509.verify_directly_issued_by(proxy.certificate.x509)
    digest = proxy.certificate.x509.signature_hash_algorithm
    expected = {"rsa2048": "sha256", "p256": "sha256", "p384": "sha384", "ed25519": None}[kind]
    assert (digest.name if digest else None) == expected
    assert proxy.certificate.inner_signature_algorithm_der == proxy.certificate.signature_algorithm_der


def test_a_key_can_be_given(alice: Credential) -> None:
    key = keys.generate_key(KeyType.ED25519)
    proxy = make_proxy(alice, now=NOW, key=key)
    assert proxy.key is key
    assert proxy.certificate.spki_der == keys.spki_der(key)


def test_larger_rsa_keys_on_request(alice: Credential) -> None:
    proxy = make(alice, key_type=KeyType.RSA, key_bits=3072)
    assert keys.key_bits(proxy.certificate.public_key()) == 3072


# --- lifetime ---------------------------------------------------------------------------------------------------------


def test_lifetime(alice: Credential) -> None:
    assert make(alice, lifetime=timedelta(hours=2)).certificate.not_after == NOW + timedelta(hours=2)
    assert make(alice, lifetime=timedelta(0)).certificate.not_after == AFTER
    assert make(alice, lifetime=timedelta(days=365)).certificate.not_after == AFTER
    with pytest.raises(CredentialError, match="negative"):
        make(alice, lifetime=timedelta(seconds=-1))


def test_lifetime_ends_with_the_first_of_the_chain(alice: Credential, ca: TestCA) -> None:
    eec = ca.issue("/O=Grid/CN=Bob", "p256", not_before=BEFORE, not_after=NOW + timedelta(hours=3))
    outliving = eec.proxy(not_before=BEFORE, not_after=NOW + timedelta(days=9), key="p256")
    proxy = make(credential_of(outliving), lifetime=timedelta(0))
    assert proxy.certificate.not_after == NOW + timedelta(hours=3)


def test_fractions_of_a_second_are_cut(alice: Credential) -> None:
    proxy = make_proxy(alice, P256, now=NOW.replace(microsecond=999999))
    assert proxy.certificate.not_after == NOW + timedelta(hours=12)


def test_dates_after_2049(ca: TestCA) -> None:
    far = datetime(2050, 1, 1, tzinfo=UTC)
    signer = enroll(ca, not_after=datetime(2060, 1, 1, tzinfo=UTC))
    last_utc = make(signer, lifetime=far - timedelta(seconds=1) - NOW).certificate
    assert b"\x17\x0d491231235959Z" in last_utc.tbs_der
    first_generalized = make(signer, lifetime=far - NOW).certificate
    assert b"\x18\x0f20500101000000Z" in first_generalized.tbs_der
    assert first_generalized.not_after == far


@pytest.mark.parametrize(
    ("moment", "problem"),
    [
        (AFTER + timedelta(seconds=1), CredentialProblem.EXPIRED),
        (BEFORE - timedelta(seconds=1), CredentialProblem.NOT_YET_VALID),
    ],
)
def test_a_signer_that_is_not_valid_now(alice: Credential, moment: datetime, problem: CredentialProblem) -> None:
    with pytest.raises(CredentialError, match="Alice") as caught:
        make_proxy(alice, P256, now=moment)
    assert caught.value.problem is problem
    assert caught.value.hint


def test_a_signers_end_entity_that_has_expired(ca: TestCA) -> None:
    eec = ca.issue("/O=Grid/CN=Bob", "p256", not_before=BEFORE, not_after=NOW - timedelta(hours=1))
    signer = credential_of(eec.proxy(not_before=BEFORE, not_after=AFTER, key="p256"))
    with pytest.raises(CredentialError, match="Bob: expired") as caught:
        make(signer)
    assert caught.value.problem is CredentialProblem.EXPIRED


# --- kinds and forms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "kind", "value"),
    [
        (RFC, FULL, "300C300A06082B06010505071501"),
        (RFC, INDEPENDENT, "300C300A06082B06010505071502"),
        (RFC, LIMITED, "300F300D060B2B060104019B5001010109"),
        (GT3, FULL, "300C300A06082B06010505071501"),
        (GT3, INDEPENDENT, "300C300A06082B06010505071502"),
        (GT3, LIMITED, "300F300D060B2B060104019B5001010109"),
    ],
)
def test_golden_bytes(alice: Credential, form: ProxyFormat, kind: ProxyKind, value: str) -> None:
    proxy = make(alice, format=form, kind=kind, allow_legacy=True)
    oid = oids.PROXY_CERT_INFO if form is RFC else oids.PROXY_CERT_INFO_GT3
    assert proxy.certificate.extensions[-1] == Extension(oid, True, bytes.fromhex(value))
    found = classify(proxy.certificate)
    assert (found.format, found.kind) == (form, kind)


def test_golden_bytes_of_path_length_and_policy(alice: Credential) -> None:
    def value(**more: object) -> str:
        return make(alice, allow_legacy=True, **more).certificate.extensions[-1].value.hex().upper()

    assert value(path_length=2) == "300F020102300A06082B06010505071501"
    assert value(path_length=2, format=GT3) == "3011300A06082B06010505071501A103020102"
    assert value(language="1.2.3.4", policy=b"hello") == "300E300C06032A0304040568656C6C6F"
    assert value(kind=RESTRICTED, language="1.2.3.4", policy=b"hello") == "300E300C06032A0304040568656C6C6F"


@pytest.mark.parametrize(("kind", "cn"), [(FULL, "proxy"), (LIMITED, "limited proxy")])
def test_legacy_proxies(ca: TestCA, kind: ProxyKind, cn: str) -> None:
    signer = enroll(ca, serial=0xABCDEF)
    proxy = make(signer, kind=kind, format=GT2, allow_legacy=True)
    assert proxy.certificate.serial == 0xABCDEF
    assert names.oneline(proxy.certificate.subject_der) == f"/O=Grid/OU=Test/CN=Alice/CN={cn}"
    assert [extension.oid for extension in proxy.certificate.extensions] == [oids.KEY_USAGE]
    below = make(proxy, allow_legacy=True)
    assert classify(below.certificate) == classify(proxy.certificate)
    assert below.certificate.serial == 0xABCDEF


@pytest.mark.parametrize("form", [GT2, GT3])
def test_legacy_forms_need_the_switch(alice: Credential, form: ProxyFormat) -> None:
    with pytest.raises(ConfigError, match="before RFC 3820"):
        make(alice, format=form)
    legacy = make(alice, format=form, allow_legacy=True)
    with pytest.raises(ConfigError, match="before RFC 3820"):
        make(legacy)


@pytest.mark.parametrize(("above", "below"), [(RFC, GT3), (RFC, GT2), (GT3, RFC), (GT3, GT2), (GT2, RFC), (GT2, GT3)])
def test_forms_do_not_mix(alice: Credential, above: ProxyFormat, below: ProxyFormat) -> None:
    signer = make(alice, format=above, allow_legacy=True)
    assert "mixed" in refused(signer, format=below, allow_legacy=True).message


@pytest.mark.parametrize("kind", list(ProxyKind))
@pytest.mark.parametrize("form", list(ProxyFormat))
def test_what_is_not_asked_follows_the_signer(alice: Credential, kind: ProxyKind, form: ProxyFormat) -> None:
    if form is GT2 and kind in {INDEPENDENT, RESTRICTED}:
        with pytest.raises(ConfigError, match="GT2"):
            make(alice, kind=kind, format=form, allow_legacy=True, language="1.2.3" if kind is RESTRICTED else None)
        return
    policy = {"language": "1.2.3", "policy": b"a,b\x00\n"} if kind is RESTRICTED else {}
    signer = make(alice, kind=kind, format=form, allow_legacy=True, **policy)
    below = make(signer, allow_legacy=True)
    assert classify(below.certificate) == classify(signer.certificate)
    check_proxy_rules(ProxyChain.split(below.certificates))


ALLOWED = {(FULL, kind) for kind in ProxyKind} | {(INDEPENDENT, kind) for kind in ProxyKind}
ALLOWED |= {(LIMITED, LIMITED), (RESTRICTED, RESTRICTED)}


@pytest.mark.parametrize("asked", list(ProxyKind))
@pytest.mark.parametrize("signing", list(ProxyKind))
def test_narrowing(alice: Credential, signing: ProxyKind, asked: ProxyKind) -> None:
    def options(kind: ProxyKind) -> dict[str, object]:
        return {"kind": kind, **({"language": "1.2.3", "policy": b"x"} if kind is RESTRICTED else {})}

    signer = make(alice, **options(signing))
    if (signing, asked) in ALLOWED:
        made = make(signer, **options(asked))
        assert classify(made.certificate).kind is asked
        check_proxy_rules(ProxyChain.split(made.certificates))
    else:
        assert f"cannot be signed by a {signing} one" in refused(signer, **options(asked)).message


def test_nothing_wide_below_a_limited_proxy_by_way_of_an_independent_one(ca: TestCA) -> None:
    limited = ca.issue("/O=Grid/CN=x", "p256", not_before=BEFORE, not_after=AFTER).proxy(
        info=bytes.fromhex("300F300D060B2B060104019B5001010109"), key="p256", not_before=BEFORE, not_after=AFTER
    )
    independent = limited.proxy(
        info=bytes.fromhex("300C300A06082B06010505071502"), key="p256", not_before=BEFORE, not_after=AFTER
    )
    signer = credential_of(independent)
    assert classify(make(signer).certificate).kind is INDEPENDENT
    assert classify(make(signer, kind=LIMITED).certificate).kind is LIMITED
    refused(signer, kind=FULL)
    refused(signer, language="1.2.3", policy=b"x")


def test_another_policy_below_a_restricted_proxy(alice: Credential) -> None:
    signer = make(alice, language="1.2.3", policy=b"upper", path_length=3)
    inherited = info_of(make(signer, path_length=1))
    assert inherited == ProxyCertInfo(1, "1.2.3", b"upper")
    assert info_of(make(signer)).path_length is None
    assert info_of(make(signer, language="1.2.4", policy=b"lower")) == ProxyCertInfo(None, "1.2.4", b"lower")


# --- path length and policy -------------------------------------------------------------------------------------------


def test_path_length_zero_means_zero(alice: Credential) -> None:
    proxy = make(alice, path_length=0)
    assert info_of(proxy).path_length == 0
    error = refused(proxy)
    assert "path length 0" in error.message


def test_path_length_used_up_further_up(alice: Credential) -> None:
    signer = make(make(alice, path_length=1))
    refused(signer)


def test_path_length_larger_than_what_is_left(alice: Credential) -> None:
    signer = make(alice, path_length=3)
    assert info_of(make(signer, path_length=2)).path_length == 2
    error = refused(signer, path_length=3)
    assert "3" in error.message
    assert error.hint == "ask for at most 2"


@pytest.mark.parametrize(
    "policy", [b"a,b", b"nul\x00inside", b"\x00" + b"z" * 20000, b"newline\n", b"crlf\r\n", b"blank ", b""]
)
@pytest.mark.parametrize("form", [RFC, GT3])
def test_a_policy_survives_whatever_it_holds(alice: Credential, policy: bytes, form: ProxyFormat) -> None:
    proxy = make(alice, language="1.2.3.4", policy=policy, format=form, allow_legacy=True)
    assert info_of(proxy) == ProxyCertInfo(None, "1.2.3.4", policy)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"language": "1.2.3.4"}, "without a policy"),
        ({"language": oids.ANY_LANGUAGE}, "without a policy"),
        ({"kind": RESTRICTED}, "without a policy language"),
        ({"kind": RESTRICTED, "policy": b"x"}, "without a policy language"),
        ({"policy": b"x"}, "without a policy language"),
        ({"kind": FULL, "policy": b"x"}, "without a policy language"),
        ({"language": oids.INHERIT_ALL, "policy": b"x"}, "take no policy"),
        ({"language": oids.INDEPENDENT, "policy": b""}, "take no policy"),
        ({"language": oids.LIMITED, "policy": b"x"}, "take no policy"),
        ({"kind": FULL, "language": oids.LIMITED}, "makes the proxy limited"),
        ({"kind": LIMITED, "language": "1.2.3", "policy": b"x"}, "makes the proxy restricted"),
        ({"language": "limited", "policy": b"x"}, "policy language"),
        ({"path_length": -1}, "path length"),
        ({"path_length": 2**31}, "path length"),
        ({"format": GT2, "path_length": 1}, "path length"),
        ({"format": GT2, "random_serial": True}, "serial number"),
        ({"format": GT2, "kind": INDEPENDENT}, "independent"),
        ({"format": GT2, "language": "1.2.3", "policy": b"x"}, "restricted"),
        ({"format": GT2, "language": oids.LIMITED, "policy": b"x"}, "policy"),
    ],
)
def test_options_that_contradict_one_another(alice: Credential, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(alice, allow_legacy=True, **options)


@pytest.mark.parametrize(
    ("language", "kind"),
    [(oids.INHERIT_ALL, FULL), (oids.INDEPENDENT, INDEPENDENT), (oids.LIMITED, LIMITED)],
)
def test_a_known_language_is_its_kind(alice: Credential, language: str, kind: ProxyKind) -> None:
    assert classify(make(alice, language=language).certificate).kind is kind
    assert classify(make(alice, language=language, kind=kind).certificate).kind is kind


# --- signers that must not sign ---------------------------------------------------------------------------------------


def test_a_ca_does_not_sign_proxies(ca: TestCA) -> None:
    assert "CA" in refused(credential_of(ca.credential)).message


@pytest.mark.parametrize("cn", ["proxy", "limited proxy"])
def test_an_end_entity_named_like_a_legacy_proxy_does_not_sign(ca: TestCA, cn: str) -> None:
    refused(enroll(ca, f"/O=Grid/CN={cn}"), allow_legacy=True)


def test_a_signer_without_digital_signature(ca: TestCA) -> None:
    assert "key usage" in refused(enroll(ca, key_usage=("key_encipherment", "content_commitment"))).message


def test_a_proxy_without_its_end_entity(alice: Credential) -> None:
    proxy = make(alice)
    refused(Credential(key=proxy.key, certificate=proxy.certificate, chain=()))


def test_a_signer_whose_own_chain_is_broken(ca: TestCA) -> None:
    alice = ca.issue("/O=Grid/CN=Alice", "p256", not_before=BEFORE, not_after=AFTER)
    for broken in (
        alice.proxy(info_critical=False, key="p256", not_before=BEFORE, not_after=AFTER),
        alice.proxy(info=b"garbage", key="p256", not_before=BEFORE, not_after=AFTER),
        alice.proxy(subject="/O=Grid/CN=Bob/CN=1", key="p256", not_before=BEFORE, not_after=AFTER),
        alice.proxy(key_usage=("key_encipherment",), key="p256", not_before=BEFORE, not_after=AFTER),
    ):
        with pytest.raises(CredentialError) as caught:
            make(credential_of(broken))
        assert caught.value.problem is CredentialProblem.CANNOT_SIGN


# --- serial numbers, keys, further extensions -------------------------------------------------------------------------


def test_random_serials(alice: Credential) -> None:
    serials = {make(alice, random_serial=True).certificate.serial for _ in range(5)}
    assert len(serials) == 5
    assert {serial.bit_length() for serial in serials} == {issue.RANDOM_SERIAL_BITS}
    proxy = make(alice, random_serial=True).certificate
    assert names.last_common_name(proxy.subject_der) == str(proxy.serial)


def test_a_generated_key_that_hashes_to_zero_is_made_again(alice: Credential, monkeypatch: pytest.MonkeyPatch) -> None:
    rolls: Iterator[int] = iter([0, 0, 7, 7])
    monkeypatch.setattr(issue, "hashed_serial", lambda _spki: next(rolls))
    assert make(alice).certificate.serial == 7


def test_a_given_key_that_hashes_to_zero_is_refused(alice: Credential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issue, "hashed_serial", lambda _spki: 0)
    spki = keys.spki_der(keys.generate_key(KeyType.P256))
    with pytest.raises(CredentialError, match="serial number 0") as caught:
        sign_proxy(alice, spki, P256, now=NOW)
    assert caught.value.hint
    assert sign_proxy(alice, spki, P256._replace(random_serial=True), now=NOW).serial > 0
    with pytest.raises(CredentialError, match="generator"):
        make(alice)


def test_weak_keys_are_not_certified(alice: Credential) -> None:
    modulus = (1 << 1023) | 1
    numbers = der.encode_sequence(der.encode_integer(modulus), der.encode_integer(65537))
    algorithm = der.encode_sequence(der.encode_oid("1.2.840.113549.1.1.1"), b"\x05\x00")
    spki = der.encode_sequence(algorithm, der.encode_bit_string(numbers))
    with pytest.raises(CredentialError) as caught:
        sign_proxy(alice, spki, now=NOW)
    assert caught.value.problem is CredentialProblem.WEAK_KEY
    assert "1024 bits is too weak; at least 2048 bits" in caught.value.message
    with pytest.raises(CredentialError, match="1024 bits is too weak; at least 1025 bits"):
        sign_proxy(alice, spki, ProxyOptions(min_rsa_bits=1025), now=NOW)
    assert sign_proxy(alice, spki, ProxyOptions(min_rsa_bits=1024), now=NOW).spki_der == spki


def test_further_extensions_are_appended(alice: Credential) -> None:
    more = (Extension("1.3.6.1.4.1.8005.100.100.5", False, b"\x30\x00"), Extension("1.2.3.4.5", True, b"\x05\x00"))
    made = make(alice, extensions=more).certificate.extensions
    assert made[-2:] == more
    legacy = make(alice, extensions=more, format=GT2, allow_legacy=True).certificate.extensions
    assert legacy[-2:] == more


@pytest.mark.parametrize(
    "oid",
    [
        oids.SUBJECT_ALT_NAME,
        oids.ISSUER_ALT_NAME,
        oids.BASIC_CONSTRAINTS,
        oids.KEY_USAGE,
        oids.EXTENDED_KEY_USAGE,
        oids.PROXY_CERT_INFO,
        oids.PROXY_CERT_INFO_GT3,
    ],
)
def test_extensions_that_a_proxy_must_not_be_given(alice: Credential, oid: str) -> None:
    with pytest.raises(ConfigError, match=oid):
        make(alice, extensions=(Extension(oid, False, b"\x30\x00"),))


def test_an_extension_is_not_added_twice(alice: Credential) -> None:
    twice = Extension("1.2.3.4", False, b"\x30\x00")
    with pytest.raises(ConfigError, match="there already"):
        make(alice, extensions=(twice, twice))
