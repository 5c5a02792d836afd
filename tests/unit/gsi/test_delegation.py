"""Delegation between two ends in memory: the request's bytes, what is granted, what is accepted, the count byte."""

from __future__ import annotations

import base64
import itertools
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from gsi import der, keys, oids
from gsi.certificate import MAX_CERTIFICATE_BYTES, Certificate
from gsi.credential import Credential
from gsi.delegation import (
    MAX_BLOCK_BYTES,
    MAX_CHAIN,
    MAX_REQUEST_BYTES,
    CertificateBlockParser,
    DelegationRequest,
    DelegationRequester,
    encode_certificate_block,
    grant_delegation,
    parse_certificate_block,
    parse_delegation_request,
)
from gsi.errors import (
    CredentialError,
    CredentialProblem,
    LocalProtocolError,
    ParseError,
    Reason,
    RemoteProtocolError,
    VerificationError,
)
from gsi.keys import KeyType, PrivateKey
from gsi.proxy.chain import ProxyChain
from gsi.proxy.info import INHERIT_ALL, ProxyCertInfo
from gsi.proxy.issue import ProxyOptions, make_proxy
from gsi.proxy.kinds import ProxyFormat, ProxyKind, classify
from gsi.proxy.legacy import encode_gt3
from tests.harness.ca import FULL_INFO, LIMITED_INFO, Issued, TestCA, pooled_key
from tests.harness.trust import forge

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
BEFORE, AFTER = NOW - timedelta(days=1), NOW + timedelta(days=30)
FULL, LIMITED, INDEPENDENT, RESTRICTED = ProxyKind
LANGUAGES = {FULL: oids.INHERIT_ALL, LIMITED: oids.LIMITED, INDEPENDENT: oids.INDEPENDENT, RESTRICTED: "1.2.3"}

# Requests sent by myproxy-logon 6.2, by default and under GT_PROXY_MODE=old.
C_REQUEST = (
    "MIIClzCCAX8CAQAwIjEgMB4GA1UEAxMXTlVMTCBTVUJKRUNUIE5BTUUgRU5UUlkwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEK"
    "AoIBAQC+isjAdv+7xF3O+jSHpEMzobbf+AEAGBnBZMr8f4wnTio7B2KU6NWXZBToMyqQSy2Uq8IyPXPGNaQNZkIQa/VDzIpw63eh"
    "7jSkj7nn5aR2UFlH02xgn7y3HMsFJrYEsVkVgeivIHgzMUA0HPA9Ix5HjHiPUS6+mvZlDfTdqZFX2SqmnetXjpdwRy7eQxJ9HCBG"
    "VdL5+VERynuIQwPw1OxETQK/QoUEt/EYJRFgMbcYvIcZFqkgOx4ZzWk6Gt3eEHvPuLOaXM9CIhPOSnifOS5ZnP/Va7Q8VWxJntVg"
    "Q95Gad/JPNHO1GWbGp5MXBBVFtLd9By7JnYHgr0kFLuY6xFxAgMBAAGgMDAuBgkqhkiG9w0BCQ4xITAfMB0GCCsGAQUFBwEOAQH/"
    "BA4wDDAKBggrBgEFBQcVATANBgkqhkiG9w0BAQsFAAOCAQEAUoFUbP81P0MSjTQkqf1koT8mH6tancsJOMcYg8gsh46RK7YwYWAU"
    "3o0hFhX1ggiL0WcY9TQhuW3BXLkj3zX7vWOtz5rJOP0IGLZ1cbiIh/rku7Xx3Ipq///MRiNScxJj73/aEGFuznQYFjJdRJ58Rxxo"
    "J+BdY9a6FKyVcqYP5Dnqc12GWUDaxbOaGVc8dj2iLjAQhKgjTgVZ92YgGmr9DZZlthA03KaUvssAWXMGoyZDqz018G4Uox8SJQ3i"
    "JvD+I3mpU19VoB8iKa+2vm2oL7msoUdY1s1a4xMfodCO6xLLRtm2Kf27/eUebqNp5IJ1C1K28INXaHQ3fgnsclJcSA=="
)
C_OLD_REQUEST = (
    "MIICZzCCAU8CAQAwIjEgMB4GA1UEAxMXTlVMTCBTVUJKRUNUIE5BTUUgRU5UUlkwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEK"
    "AoIBAQC/ewziYucBex7V9H5MPbJuTZ4ED3lHTlDfL1/LEj8R9XXC8l3zrUAUaNCBIn6/ZHsisvd4+jBgg5d7fvfGgUKePMNitg4C"
    "616XI+JWdmD0spg2e/pu7rCAj7PiiXtFpalYkuz4wTdh/J0vnh7ja0JT0S4ARxiC6h0MwQGiEqs50rjOIN9vCfOTo2BMRptv5gbA"
    "/5BF/2xX3vqMCzPuy2V6rLLPhrMAm0VzuNTFpQ/jxJKoTdlo0cYDAEJFSNZR19avn5pNw09QARgok6Tpbauz0duvT/zTgYKV1nHx"
    "df3hSWxCqgScdvvKYDvUEcTyRcAbEnOPk+lLr9MpAINa9CS/AgMBAAGgADANBgkqhkiG9w0BAQsFAAOCAQEAV+J9Tb0RKShaQZKW"
    "fexwISIZ3ZO83DpBT+vCMju9fpOX6JuPZV5m9P6pK/I3EuPhd9ZGzpX3A6WPVMoF2aCM8wXkiQQRSV2HUFot3HWqjxhZtZpDpPgX"
    "YzG3dmDMLpddOakfFK37GITCZk2nNBWOun1zh3AjoPR6SLYbLg1pnIF2jWiG9l/S5LKBzQ4R0XF8mKWYncEPFBEQ4SnuL5eg5DtU"
    "rdbE0VvO3qA1uDoytcK7iP47HFfSzLACOlnFZn0in8B5wqhyou6YehxZ/v2ql5V0a2ErA/Lu/H6quSXUPL/YHQ8kFE9NJCyCoivA"
    "4hF8uvvZq3LYh/TUJu6pmE0E1A=="
)


def p256() -> PrivateKey:
    return keys.generate_key(KeyType.P256)


def credential_of(issued: Issued) -> Credential:
    certificates = [Certificate.parse(one) for one in issued.chain_der]
    return Credential(key=issued.key, certificate=certificates[0], chain=certificates[1:])


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA(key="p256", not_before=BEFORE, not_after=NOW + timedelta(days=3650))


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", "p256", not_before=BEFORE, not_after=AFTER)


@pytest.fixture(scope="module")
def signer(alice: Issued) -> Credential:
    return credential_of(alice)


def below(issued: Issued, **more: object) -> Issued:
    options: dict[str, object] = {"key": "p256", "not_before": BEFORE, "not_after": AFTER, **more}
    return issued.proxy(**options)  # type: ignore[arg-type]  # passed on to the harness as it is


def ders(*certificates: Certificate) -> list[bytes]:
    return [certificate.der for certificate in certificates]


# --- the request ------------------------------------------------------------------------------------------------------


def parts(request: bytes) -> list[bytes]:
    """Version, subject, key and attributes."""
    reader = der.parse_one(request, what="test").sequence()
    found = [reader.take_raw() for _ in range(4)]
    reader.finish()
    return found


@pytest.mark.parametrize(("recorded", "info"), [(C_REQUEST, INHERIT_ALL), (C_OLD_REQUEST, None)])
def test_the_request_is_laid_out_as_the_c_programs_do(recorded: str, info: ProxyCertInfo | None) -> None:
    theirs = base64.b64decode(recorded)
    ours = DelegationRequester(pooled_key("rsa2048"), info=info).request_der
    assert len(ours) == len(theirs)
    for number, (mine, other) in enumerate(zip(parts(ours), parts(theirs), strict=True)):
        if number != 2:  # the keys differ
            assert mine == other
    request = parse_delegation_request(theirs)
    assert request.spki_der == parts(theirs)[2]
    assert request.wanted == info


def test_without_a_wish_the_attributes_are_empty() -> None:
    request = DelegationRequester(p256(), info=None).request_der
    reader = der.parse_one(request, what="test").sequence()
    for _ in range(3):
        reader.take_raw()
    assert reader.take_raw() == b"\xa0\x00"
    assert parse_delegation_request(request).wants_legacy


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519"])
def test_openssl_verifies_the_request(kind: str) -> None:
    key = pooled_key(kind)  # type: ignore[arg-type]  # one of the kinds above
    done = subprocess.run(
        ["openssl", "req", "-inform", "DER", "-noout", "-verify", "-text"],
        input=DelegationRequester(key).request_der,
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert b"verify OK" in done.stdout + done.stderr
    assert b"CN = NULL SUBJECT NAME ENTRY" in done.stdout
    assert b"Policy Language: Inherit all" in done.stdout


@pytest.mark.parametrize(
    "info", [INHERIT_ALL, ProxyCertInfo(0, oids.LIMITED), ProxyCertInfo(None, "1.2.3", b"a,b\x00\n"), None]
)
@pytest.mark.parametrize("key_type", list(KeyType))
def test_requests_round_trip(info: ProxyCertInfo | None, key_type: KeyType) -> None:
    key = keys.generate_key(key_type)
    request = parse_delegation_request(DelegationRequester(key, info=info).request_der)
    assert request.spki_der == keys.spki_der(key)
    assert request.wanted == info
    assert request.wants_legacy is (info is None)
    assert request.wanted_format is (ProxyFormat.GT2 if info is None else ProxyFormat.RFC3820)


def craft(
    *,
    key: PrivateKey | None = None,
    spki: bytes | None = None,
    version: bytes = b"\x02\x01\x00",
    subject: bytes = b"\x30\x00",
    attributes: bytes = b"\xa0\x00",
    spoil: bool = False,
    rest: bytes = b"",
) -> bytes:
    """A request with any part replaced, still properly signed unless `spoil`."""
    key = key or p256()
    body = der.encode_sequence(version, subject, spki or keys.spki_der(key), attributes)
    signature, algorithm = keys.sign(key, body + b"x" * spoil)
    return der.encode_sequence(body, algorithm, der.encode_bit_string(signature)) + rest


def extension_request(*extensions: tuple[str, bytes]) -> bytes:
    listed = der.encode_sequence(
        *(der.encode_sequence(der.encode_oid(oid), der.encode_octet_string(value)) for oid, value in extensions)
    )
    attribute = der.encode_sequence(der.encode_oid(oids.EXTENSION_REQUEST), der.encode_set(listed))
    return der.encode_tlv(0xA0, attribute)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_old_version_numbers_are_read(version: int) -> None:
    assert parse_delegation_request(craft(version=der.encode_integer(version))).wants_legacy


def test_missing_attributes_any_subject_and_other_attributes_are_read() -> None:
    assert parse_delegation_request(craft(attributes=b"")).wanted is None
    subject = der.encode_sequence(der.encode_set(der.encode_sequence(b"\x06\x01\x2a", b"\x0c\x01x")))
    assert parse_delegation_request(craft(subject=subject)).wanted is None
    challenge = der.encode_sequence(der.encode_oid("1.2.840.113549.1.9.7"), der.encode_set(b"\x0c\x01x"))
    assert parse_delegation_request(craft(attributes=der.encode_tlv(0xA0, challenge))).wanted is None
    other = extension_request(("2.5.29.15", b"\x03\x02\x05\xa0"), (oids.PROXY_CERT_INFO, LIMITED_INFO))
    wanted = parse_delegation_request(craft(attributes=other)).wanted
    assert wanted == ProxyCertInfo(None, oids.LIMITED)


def test_a_wish_in_the_draft_form() -> None:
    info = ProxyCertInfo(3, oids.LIMITED)
    request = parse_delegation_request(
        craft(attributes=extension_request((oids.PROXY_CERT_INFO_GT3, encode_gt3(info))))
    )
    assert (request.wanted, request.wanted_format) == (info, ProxyFormat.GT3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0",
        b"\x30\x00",
        b"VERSION=MYPROXYv2\n",
        craft(rest=b"\x00"),
        craft(version=der.encode_integer(3)),
        craft(version=der.encode_integer(-1)),
        craft(attributes=b"\xa1\x00"),
        craft(attributes=b"\xa0\x00\x05\x00"),
        craft(attributes=extension_request((oids.PROXY_CERT_INFO, b"garbage"))),
        craft(attributes=extension_request((oids.PROXY_CERT_INFO, FULL_INFO), (oids.PROXY_CERT_INFO, LIMITED_INFO))),
        craft(attributes=extension_request((oids.PROXY_CERT_INFO, FULL_INFO), (oids.PROXY_CERT_INFO_GT3, FULL_INFO))),
        craft(
            attributes=extension_request((oids.PROXY_CERT_INFO, ProxyCertInfo(None, oids.INHERIT_ALL, b"x").encode()))
        ),
        craft(spki=b"\x30\x00"),
        b"\x30\x83\x01\x00\x00" + b"\x00" * MAX_REQUEST_BYTES,
    ],
    ids=itertools.count(),  # the values hold fresh keys, and every worker must see the same names
)
def test_what_is_not_a_request_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_delegation_request(data)


def test_the_signature_must_prove_the_key() -> None:
    for data in (craft(spoil=True), craft(spki=keys.spki_der(p256()))):
        with pytest.raises(VerificationError) as caught:
            parse_delegation_request(data)
        assert caught.value.reason is Reason.BAD_SIGNATURE
    good = bytearray(DelegationRequester(p256()).request_der)
    at = good.index(b"NULL SUBJECT")
    good[at] = ord("D")
    with pytest.raises(VerificationError):
        parse_delegation_request(bytes(good))


def test_the_floor_for_rsa_keys_names_both_sizes() -> None:
    request = DelegationRequester(pooled_key("rsa2048")).request_der
    assert parse_delegation_request(request, min_rsa_bits=2048)
    with pytest.raises(CredentialError, match=r"2048 bits.*3072") as caught:
        parse_delegation_request(request, min_rsa_bits=3072)
    assert caught.value.problem is CredentialProblem.WEAK_KEY


def test_who_lowers_the_floor_takes_smaller_keys_but_never_tiny_ones() -> None:
    def request(bits: int) -> bytes:
        command = f"openssl req -new -newkey rsa:{bits} -nodes -keyout /dev/null -subj /CN=x -outform DER".split()
        return subprocess.run(command, capture_output=True, check=True).stdout

    with pytest.raises(CredentialError, match=r"1024 bits.*2048"):
        parse_delegation_request(request(1024))
    assert parse_delegation_request(request(1024), min_rsa_bits=1024).wanted is None
    with pytest.raises(CredentialError, match=r"512 bits.*1024"):
        parse_delegation_request(request(512), min_rsa_bits=512)


@pytest.mark.parametrize("options", [["rsa:1024"], ["rsa:512"]])
def test_short_rsa_keys_are_refused(options: list[str]) -> None:
    command = [
        "openssl",
        "req",
        "-new",
        "-nodes",
        "-keyout",
        "/dev/null",
        "-subj",
        "/CN=x",
        "-outform",
        "DER",
        "-newkey",
    ]
    done = subprocess.run([*command, *options], capture_output=True, check=True, timeout=60)
    with pytest.raises(CredentialError) as caught:
        parse_delegation_request(done.stdout)
    assert caught.value.problem is CredentialProblem.WEAK_KEY
    assert options[0].removeprefix("rsa:") in caught.value.message
    assert "2048" in f"{caught.value.message} {caught.value.hint}"


def test_requests_of_openssl_are_read() -> None:
    command = ["openssl", "req", "-new", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=x", "-outform", "DER"]
    for key in (["-newkey", "rsa:2048"], ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]):
        done = subprocess.run([*command, *key], capture_output=True, check=True, timeout=60)
        assert parse_delegation_request(done.stdout).wanted is None


# --- granting and accepting -------------------------------------------------------------------------------------------


def delegate(
    signer: Credential,
    options: ProxyOptions | None = None,
    *,
    info: ProxyCertInfo | None = INHERIT_ALL,
    key_type: KeyType = KeyType.P256,
) -> Credential:
    requester = DelegationRequester(keys.generate_key(key_type), info=info)
    request = parse_delegation_request(requester.request_der)
    block = encode_certificate_block(grant_delegation(signer, request, options, now=NOW))
    parsed = parse_certificate_block(block)
    assert parsed is not None
    certificates, consumed = parsed
    assert consumed == len(block)
    return requester.accept(certificates, now=NOW)


@pytest.mark.parametrize("key_type", list(KeyType))
def test_a_delegation_from_end_to_end(signer: Credential, key_type: KeyType) -> None:
    proxy = delegate(signer, key_type=key_type)
    assert proxy.chain == (signer.certificate,)
    chain = ProxyChain.split(proxy.certificates)
    assert chain.kind is FULL
    assert chain.identity_text == "/O=Grid/CN=Alice"
    second = delegate(proxy, ProxyOptions(kind=LIMITED, lifetime=timedelta(hours=1)))
    assert second.chain == proxy.certificates
    assert second.not_after == NOW + timedelta(hours=1)
    assert ProxyChain.split(second.certificates).is_limited


def test_the_requests_subject_is_not_believed(signer: Credential) -> None:
    subject = der.encode_sequence()
    request = parse_delegation_request(craft(subject=subject))
    certificate = grant_delegation(signer, request, now=NOW)[0]
    assert certificate.issuer_der == signer.certificate.subject_der
    assert certificate.subject_der.startswith(b"\x30")
    assert b"Alice" in certificate.subject_der


def info_for(kind: ProxyKind) -> ProxyCertInfo:
    return ProxyCertInfo(None, LANGUAGES[kind], b"x" if kind is RESTRICTED else None)


@pytest.mark.parametrize("wanted", list(ProxyKind))
@pytest.mark.parametrize("granted", list(ProxyKind))
def test_a_wish_only_narrows(signer: Credential, granted: ProxyKind, wanted: ProxyKind) -> None:
    options = ProxyOptions(kind=granted)
    if granted is RESTRICTED:
        options = ProxyOptions(language="1.9.9", policy=b"ours")
    proxy = delegate(signer, options, info=info_for(wanted))
    found = classify(proxy.certificate)
    assert found.kind is (wanted if granted is FULL else granted)
    if granted is RESTRICTED:
        assert found.info == ProxyCertInfo(None, "1.9.9", b"ours")


@pytest.mark.parametrize("above", list(ProxyKind))
def test_without_options_the_signer_is_the_measure(signer: Credential, above: ProxyKind) -> None:
    options = ProxyOptions(kind=above, key_type=KeyType.P256)
    if above is RESTRICTED:
        options = options._replace(language="1.9.9", policy=b"ours")
    upper = make_proxy(signer, options, now=NOW)
    for info in (INHERIT_ALL, None):
        assert classify(delegate(upper, info=info).certificate) == classify(upper.certificate)


@pytest.mark.parametrize(
    ("granted", "wanted", "result"),
    [(None, None, None), (2, None, 2), (None, 2, 2), (2, 1, 1), (1, 2, 1), (0, 5, 0), (5, 0, 0)],
)
def test_the_smaller_path_length_counts(
    signer: Credential, granted: int | None, wanted: int | None, result: int | None
) -> None:
    proxy = delegate(signer, ProxyOptions(path_length=granted), info=ProxyCertInfo(wanted, oids.INHERIT_ALL))
    info = classify(proxy.certificate).info
    assert info is not None
    assert info.path_length == result


def test_a_path_length_that_the_signer_does_not_have_is_passed_over(signer: Credential) -> None:
    upper = make_proxy(signer, ProxyOptions(path_length=2, key_type=KeyType.P256), now=NOW)
    proxy = delegate(upper, info=ProxyCertInfo(7, oids.INHERIT_ALL))
    assert ProxyChain.split(proxy.certificates).depth_left == 1


def test_a_restricted_wish_needs_a_policy(signer: Credential) -> None:
    with pytest.raises(RemoteProtocolError, match="no policy"):
        delegate(signer, info=ProxyCertInfo(None, oids.ANY_LANGUAGE))


def test_legacy_forms_only_with_the_switch(signer: Credential) -> None:
    def form(options: ProxyOptions, request: DelegationRequest) -> ProxyFormat | None:
        return classify(grant_delegation(signer, request, options, now=NOW)[0]).format

    spki = keys.spki_der(p256())
    old = DelegationRequest(spki)
    draft = DelegationRequest(spki, INHERIT_ALL, ProxyFormat.GT3)
    closed, opened = ProxyOptions(), ProxyOptions(allow_legacy=True)
    assert form(closed, old) is ProxyFormat.RFC3820
    assert form(closed, draft) is ProxyFormat.RFC3820
    assert form(opened, old) is ProxyFormat.GT2
    assert form(opened, draft) is ProxyFormat.GT3
    assert form(opened, DelegationRequest(spki, INHERIT_ALL, ProxyFormat.RFC3820)) is ProxyFormat.RFC3820
    assert form(opened._replace(path_length=1), old) is ProxyFormat.RFC3820
    assert form(opened._replace(kind=INDEPENDENT), old) is ProxyFormat.RFC3820
    assert form(opened._replace(kind=LIMITED), old) is ProxyFormat.GT2


def test_a_root_at_the_end_is_left_out(ca: TestCA, signer: Credential) -> None:
    requester = DelegationRequester(p256())
    sent = grant_delegation(signer, parse_delegation_request(requester.request_der), now=NOW)
    proxy = requester.accept([*ders(*sent), ca.der], now=NOW)
    assert proxy.chain == (signer.certificate,)


def test_an_intermediate_ca_is_kept_and_checked(ca: TestCA) -> None:
    middle = ca.intermediate("/O=Grid/CN=Middle", "p256")
    bob = credential_of(middle.issue("/O=Grid/CN=Bob", "p256", not_before=BEFORE, not_after=AFTER))
    requester = DelegationRequester(p256())
    sent = grant_delegation(bob, parse_delegation_request(requester.request_der), now=NOW)
    proxy = requester.accept([*ders(*sent), ca.der], now=NOW)
    assert proxy.chain == (*bob.certificates,)
    other = TestCA(key="p256")
    with pytest.raises(VerificationError) as caught:
        requester.accept([*ders(*sent[:-1]), other.intermediate("/O=Grid/CN=Middle", "p256").der], now=NOW)
    assert (caught.value.reason, caught.value.position) == (Reason.BAD_SIGNATURE, 1)


def test_an_end_entity_certificate_only_where_allowed(ca: TestCA) -> None:
    key = p256()
    issued = ca.issue("/O=Grid/CN=Bob", key, not_before=BEFORE, not_after=AFTER)
    requester = DelegationRequester(key)
    with pytest.raises(RemoteProtocolError, match="end entity"):
        requester.accept([issued.der], now=NOW)
    credential = requester.accept([issued.der, ca.der], now=NOW, allow_end_entity=True)
    assert credential.certificates == (Certificate.parse(issued.der),)


def accept_error(issued: Issued, chain: list[bytes] | None = None, now: datetime = NOW) -> tuple[Reason, int | None]:
    requester = DelegationRequester(issued.key)
    with pytest.raises(VerificationError) as caught:
        requester.accept(list(issued.chain_der) if chain is None else chain, now=now)
    return caught.value.reason, caught.value.position


def test_another_key_is_refused(alice: Issued) -> None:
    requester = DelegationRequester(p256())
    with pytest.raises(CredentialError) as caught:
        requester.accept(below(alice).chain_der, now=NOW)
    assert caught.value.problem is CredentialProblem.KEY_MISMATCH


def test_nothing_garbage_and_too_much_are_refused(alice: Issued) -> None:
    requester = DelegationRequester(p256())
    with pytest.raises(RemoteProtocolError):
        requester.accept([], now=NOW)
    with pytest.raises(ParseError):
        requester.accept([b"garbage"], now=NOW)
    with pytest.raises(VerificationError) as caught:
        requester.accept([alice.der] * (MAX_CHAIN + 1), now=NOW)
    assert caught.value.reason is Reason.CHAIN_TOO_LONG


def test_what_accept_checks(ca: TestCA, alice: Issued) -> None:
    proxy = below(alice)
    assert accept_error(proxy, [proxy.der]) == (Reason.NO_END_ENTITY, 0)
    bob = ca.issue("/O=Grid/CN=Bob", "p256", not_before=BEFORE, not_after=AFTER)
    assert accept_error(proxy, [proxy.der, bob.der]) == (Reason.CHAIN_BROKEN, 0)
    impostor = TestCA(key="p256").issue("/O=Grid/CN=Alice", "p256", not_before=BEFORE, not_after=AFTER)
    assert accept_error(proxy, [proxy.der, impostor.der]) == (Reason.BAD_SIGNATURE, 0)
    assert accept_error(proxy, [*proxy.chain_der, bob.der]) == (Reason.CHAIN_BROKEN, 1)
    assert accept_error(below(below(alice, info=LIMITED_INFO))) == (Reason.PROXY_LIMITED, 0)
    assert accept_error(below(alice, subject="/O=Grid/CN=Eve/CN=1")) == (Reason.PROXY_NAME, 0)
    assert accept_error(below(alice, info_critical=False)) == (Reason.PROXY_INFO_NOT_CRITICAL, 0)
    assert accept_error(ca.credential.proxy(key="p256")) == (Reason.NO_END_ENTITY, 0)
    assert accept_error(proxy, now=AFTER + timedelta(seconds=1)) == (Reason.EXPIRED, 0)
    assert accept_error(proxy, now=BEFORE - timedelta(seconds=1)) == (Reason.NOT_YET_VALID, 0)
    short = ca.issue("/O=Grid/CN=Short", "p256", not_before=BEFORE, not_after=NOW - timedelta(hours=1))
    assert accept_error(below(short)) == (Reason.EXPIRED, 1)


def test_two_different_signature_algorithms_are_refused(alice: Issued) -> None:
    proxy = below(alice)
    other = der.encode_sequence(der.encode_oid("1.2.840.10045.4.3.3"))  # ecdsa-with-SHA384
    forged = forge(proxy.der, alice.key, inner_algorithm=other)
    assert Certificate.parse(forged).signature_algorithm_der != other
    DelegationRequester(proxy.key).accept([forge(proxy.der, alice.key), alice.der], now=NOW)
    assert accept_error(proxy, [forged, alice.der]) == (Reason.BAD_SIGNATURE, 0)


# --- the count byte ---------------------------------------------------------------------------------------------------


def certificates_for_blocks(alice: Issued) -> tuple[Certificate, ...]:
    return tuple(Certificate.parse(one) for one in below(below(alice)).chain_der)


def test_a_block_in_pieces_of_every_size(alice: Issued) -> None:
    certificates = certificates_for_blocks(alice)
    block = encode_certificate_block(certificates)
    assert block[0] == 3
    for size in (1, 2, 3, 5, 7, 64, 500, len(block)):
        parser = CertificateBlockParser()
        for at in range(0, len(block), size):
            found = parser.feed(block[at : at + size])
            assert (found is not None) == (at + size >= len(block))
        assert found == tuple(ders(*certificates))
        assert parser.rest == b""


def test_what_follows_a_block_is_kept(alice: Issued) -> None:
    block = encode_certificate_block(certificates_for_blocks(alice))
    parser = CertificateBlockParser()
    assert parser.feed(block[:100]) is None
    assert parser.rest == block[:100]
    assert parser.feed(block[100:] + b"VERSION=") is not None
    assert parser.feed(b"MYPROXYv2") is not None
    assert parser.rest == b"VERSION=MYPROXYv2"
    assert parser.consumed == len(block)
    for length in (0, 1, 2, 50, len(block) - 1):
        assert parse_certificate_block(block[:length]) is None
    parsed = parse_certificate_block(block + b"more")
    assert parsed is not None
    assert parsed[1] == len(block)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"VERSION=MYPROXYv2\n",
        b"\x01\x31\x00",
        b"\x01\x30\x80",
        b"\x01\x30\x84\xff\xff\xff\xff",
        b"\x01\x30\x83" + (MAX_CERTIFICATE_BYTES + 1).to_bytes(3, "big"),
        b"\x01\x30\x85\x00\x00\x00\x00\x00",
    ],
)
def test_what_is_no_block_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(ParseError):
        CertificateBlockParser().feed(data)


def test_blocks_are_bounded_as_a_whole() -> None:
    one = der.encode_sequence(der.encode_octet_string(b"\x00" * (MAX_CERTIFICATE_BYTES - 20)))
    with pytest.raises(ParseError, match=str(MAX_BLOCK_BYTES)):
        CertificateBlockParser().feed(b"\xff" + one * 5)


def test_what_a_block_cannot_hold(alice: Issued) -> None:
    certificate = Certificate.parse(alice.der)
    assert encode_certificate_block([certificate] * 255)[0] == 255
    for count in (0, 256):
        with pytest.raises(LocalProtocolError):
            encode_certificate_block([certificate] * count)
