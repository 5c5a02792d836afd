"""Chains split at the end entity: identity, depth, words, and the rules between proxies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from gsi import names, oids
from gsi.certificate import Certificate, Extension
from gsi.errors import ParseError, Reason, VerificationError
from gsi.proxy.chain import (
    CONTENT_COMMITMENT,
    DIGITAL_SIGNATURE,
    KEY_CERT_SIGN,
    ProxyChain,
    check_proxy_rules,
    key_usage_bits,
)
from gsi.proxy.kinds import ProxyFormat, ProxyKind
from tests.harness.ca import (
    FULL_INFO,
    INDEPENDENT_INFO,
    LIMITED_INFO,
    Issued,
    TestCA,
    parse_name,
    proxy_info,
    raw_extension,
)
from tests.harness.trust import forge

GT3 = oids.PROXY_CERT_INFO_GT3
RESTRICTED = proxy_info("1.2.3.4", policy=b"hello")


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA(key="p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/OU=Test/CN=Alice", "p256")


def certificates(issued: Issued, *more: bytes) -> tuple[Certificate, ...]:
    return tuple(Certificate.parse(der) for der in (*issued.chain_der, *more))


def chain_of(issued: Issued, *infos: bytes | str) -> ProxyChain:
    """A chain below `issued`: each info is an RFC extension's value, or the name of a legacy proxy."""
    for number, info in enumerate(infos):
        if isinstance(info, str):
            issued = issued.proxy(info_oid=None, cn=info, key="p256")
        else:
            issued = issued.proxy(info=info, cn=str(number), key="p256")
    return ProxyChain.split(certificates(issued))


def refused(chain: Sequence[Certificate]) -> tuple[Reason, int | None]:
    with pytest.raises(VerificationError) as caught:
        check_proxy_rules(ProxyChain.split(chain))
    return caught.value.reason, caught.value.position


def test_an_end_entity_alone(alice: Issued, ca: TestCA) -> None:
    chain = ProxyChain.split(certificates(alice, ca.der))
    assert not chain.is_proxy
    assert chain.leaf == chain.eec == Certificate.parse(alice.der)
    assert chain.cas == (Certificate.parse(ca.der),)
    assert (chain.format, chain.kind, chain.leaf_kind) == (None, None, None)
    assert chain.type_text == "end entity credential"
    assert chain.identity_text == "/O=Grid/OU=Test/CN=Alice"
    assert chain.depth_left is None
    assert chain.restrictions == ()
    check_proxy_rules(chain)


# The words and identities are what grid-proxy-info 7.3 printed for such proxies.
@pytest.mark.parametrize(
    ("infos", "text", "added", "kind"),
    [
        ([FULL_INFO], "RFC 3820 compliant impersonation proxy", "", ProxyKind.FULL),
        ([LIMITED_INFO], "RFC 3820 compliant limited proxy", "", ProxyKind.LIMITED),
        ([INDEPENDENT_INFO], "RFC 3820 compliant independent proxy", "/CN=0", ProxyKind.INDEPENDENT),
        ([RESTRICTED], "RFC 3820 compliant restricted proxy", "/CN=0", ProxyKind.RESTRICTED),
        ([FULL_INFO, FULL_INFO], "RFC 3820 compliant impersonation proxy", "", ProxyKind.FULL),
        ([FULL_INFO, LIMITED_INFO], "RFC 3820 compliant limited proxy", "", ProxyKind.LIMITED),
        ([FULL_INFO, INDEPENDENT_INFO], "RFC 3820 compliant independent proxy", "/CN=0/CN=1", ProxyKind.INDEPENDENT),
        (
            [INDEPENDENT_INFO, INDEPENDENT_INFO],
            "RFC 3820 compliant independent proxy",
            "/CN=0/CN=1",
            ProxyKind.INDEPENDENT,
        ),
        ([INDEPENDENT_INFO, LIMITED_INFO], "RFC 3820 compliant limited proxy", "/CN=0", ProxyKind.LIMITED),
        ([INDEPENDENT_INFO, FULL_INFO], "RFC 3820 compliant impersonation proxy", "/CN=0", ProxyKind.INDEPENDENT),
        ([LIMITED_INFO, INDEPENDENT_INFO], "RFC 3820 compliant independent proxy", "/CN=0/CN=1", ProxyKind.LIMITED),
        ([RESTRICTED, FULL_INFO], "RFC 3820 compliant impersonation proxy", "/CN=0", ProxyKind.RESTRICTED),
        (["proxy"], "full legacy globus proxy", "", ProxyKind.FULL),
        (["limited proxy"], "limited legacy globus proxy", "", ProxyKind.LIMITED),
        (["proxy", "limited proxy"], "limited legacy globus proxy", "", ProxyKind.LIMITED),
    ],
)
def test_words_identity_and_kind(
    alice: Issued, infos: list[bytes | str], text: str, added: str, kind: ProxyKind
) -> None:
    chain = chain_of(alice, *infos)
    assert chain.type_text == text
    assert chain.identity_text == "/O=Grid/OU=Test/CN=Alice" + added
    assert names.oneline(chain.identity) == chain.identity_text
    assert chain.kind is kind
    check_proxy_rules(chain)


@pytest.mark.parametrize(
    ("info", "text"),
    [
        (FULL_INFO, "Proxy draft (pre-RFC) compliant impersonation proxy"),
        (LIMITED_INFO, "Proxy draft (pre-RFC) compliant limited proxy"),
        (INDEPENDENT_INFO, "Proxy draft (pre-RFC) compliant independent proxy"),
        (RESTRICTED, "Proxy draft (pre-RFC) compliant restricted proxy"),
    ],
)
def test_words_for_drafts(alice: Issued, info: bytes, text: str) -> None:
    chain = ProxyChain.split(certificates(alice.proxy(info=info, info_oid=GT3, key="p256")))
    assert chain.type_text == text
    assert chain.format is ProxyFormat.GT3


def test_flags_and_restrictions_of_a_deep_chain(alice: Issued) -> None:
    other = proxy_info("1.2.3.5", policy=b"more")
    chain = chain_of(alice, RESTRICTED, FULL_INFO, other)
    assert [info.policy for info in chain.restrictions] == [b"hello", b"more"]
    assert not chain.is_limited
    assert not chain.is_independent
    mixed = chain_of(alice, LIMITED_INFO, INDEPENDENT_INFO)
    assert mixed.is_limited
    assert mixed.is_independent
    assert mixed.leaf_kind is ProxyKind.INDEPENDENT
    assert mixed.certificates == (*mixed.proxies, mixed.eec)


@pytest.mark.parametrize(
    ("lengths", "left"),
    [
        ([None], None),
        ([3], 3),
        ([0], 0),
        ([3, None], 2),
        ([3, None, None, None], 0),
        ([None, 2], 2),
        ([5, 1], 1),
        ([2, 9], 1),
        ([1, 0], 0),
    ],
)
def test_depth_left(alice: Issued, lengths: list[int | None], left: int | None) -> None:
    chain = chain_of(alice, *(proxy_info(oids.INHERIT_ALL, path_length=length) for length in lengths))
    assert chain.depth_left == left
    check_proxy_rules(chain)


@pytest.mark.parametrize(("lengths", "position"), [([0, None], 0), ([1, None, None], 0), ([0, None, None], 1)])
def test_path_length_passed(alice: Issued, lengths: list[int | None], position: int) -> None:
    chain = chain_of(alice, *(proxy_info(oids.INHERIT_ALL, path_length=length) for length in lengths))
    assert chain.depth_left == 0
    assert refused(chain.certificates) == (Reason.PROXY_PATH_LENGTH, position)


def test_not_after_is_the_earliest(alice: Issued) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    upper = alice.proxy(key="p256", not_after=now + timedelta(hours=1))
    lower = upper.proxy(key="p256", not_after=now + timedelta(hours=9))
    assert ProxyChain.split(certificates(lower)).not_after == now + timedelta(hours=1)


def test_a_ca_that_expires_before_its_end_entity_ends_the_chain() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    ending = TestCA("/O=Grid/CN=Ending", "p256", not_after=now + timedelta(hours=1))
    proxy = ending.issue("/O=Grid/CN=Alice", "p256", not_after=now + timedelta(days=9)).proxy(key="p256")
    assert ProxyChain.split(certificates(proxy, ending.der)).not_after == now + timedelta(hours=1)


def test_an_extension_twice_is_refused(alice: Issued) -> None:
    upper = alice.proxy(key="p256")
    comment = Extension(oid="1.2.3.4.5", critical=False, value=b"\x05\x00")
    listed = Certificate.parse(upper.der).extensions
    for added, expected in (([comment], None), ([comment, comment], (Reason.DUPLICATE_EXTENSION, 1))):
        forged = forge(upper.der, alice.key, extensions=[*listed, *added])
        lower = upper.proxy(key="p256")
        chain = [Certificate.parse(one) for one in (lower.der, forged, alice.der)]
        if expected is None:
            check_proxy_rules(ProxyChain.split(chain))
        else:
            assert refused(chain) == expected


def test_what_cannot_be_split(alice: Issued, ca: TestCA) -> None:
    def reason(chain: Sequence[Certificate]) -> tuple[Reason, int | None]:
        with pytest.raises(VerificationError) as caught:
            ProxyChain.split(chain)
        return caught.value.reason, caught.value.position

    proxy = certificates(alice.proxy(key="p256"))
    assert reason(()) == (Reason.EMPTY_CHAIN, None)
    assert reason(proxy[:1]) == (Reason.NO_END_ENTITY, 0)
    assert reason([Certificate.parse(ca.der)]) == (Reason.IS_A_CA, 0)
    by_ca = certificates(ca.credential.proxy(key="p256"))
    assert reason(by_ca) == (Reason.NO_END_ENTITY, 0)
    named = ca.issue("/O=Grid/CN=proxy", "p256")
    assert reason(certificates(named, ca.der)) == (Reason.NO_END_ENTITY, 0)
    loose = alice.proxy(info_critical=False, key="p256")
    assert reason(certificates(loose)) == (Reason.PROXY_INFO_NOT_CRITICAL, 0)
    assert reason(certificates(loose.proxy(key="p256"))) == (Reason.PROXY_INFO_NOT_CRITICAL, 1)
    bad = alice.proxy(info=b"garbage", key="p256")
    assert reason(certificates(bad.proxy(key="p256"))) == (Reason.PROXY_INFO_MALFORMED, 1)
    odd = ca.issue("/O=Grid/CN=x", "p256", ca=None, extensions=[raw_extension(oids.BASIC_CONSTRAINTS, b"\x05\x00")])
    assert reason(certificates(odd)) == (Reason.MALFORMED, 0)


def test_limited_stays_limited(alice: Issued) -> None:
    assert refused(chain_of(alice, LIMITED_INFO, FULL_INFO).certificates) == (Reason.PROXY_LIMITED, 0)
    assert refused(chain_of(alice, LIMITED_INFO, RESTRICTED).certificates) == (Reason.PROXY_LIMITED, 0)
    assert refused(chain_of(alice, "limited proxy", "proxy").certificates) == (Reason.PROXY_LIMITED, 0)
    laundered = chain_of(alice, LIMITED_INFO, INDEPENDENT_INFO, FULL_INFO)
    assert refused(laundered.certificates) == (Reason.PROXY_LIMITED, 0)
    check_proxy_rules(chain_of(alice, LIMITED_INFO, LIMITED_INFO, INDEPENDENT_INFO))


def test_forms_do_not_mix(alice: Issued) -> None:
    rfc = alice.proxy(key="p256")
    assert refused(certificates(rfc.proxy(info_oid=GT3, key="p256"))) == (Reason.PROXY_MIXED_FORMATS, 0)
    draft = alice.proxy(info_oid=GT3, key="p256")
    assert refused(certificates(draft.proxy(key="p256"))) == (Reason.PROXY_MIXED_FORMATS, 0)
    assert refused(chain_of(alice, FULL_INFO, "proxy").certificates) == (Reason.PROXY_MIXED_FORMATS, 0)
    assert refused(chain_of(alice, "proxy", FULL_INFO, FULL_INFO).certificates) == (Reason.PROXY_MIXED_FORMATS, 1)


@pytest.mark.parametrize("language", [oids.INHERIT_ALL, oids.INDEPENDENT])
@pytest.mark.parametrize("policy", [b"", b"x"])
def test_a_policy_where_none_may_stand(alice: Issued, language: str, policy: bytes) -> None:
    chain = chain_of(alice, proxy_info(language, policy=policy))
    assert refused(chain.certificates) == (Reason.PROXY_POLICY_PRESENT, 0)


@pytest.mark.parametrize(
    "subject",
    [
        "/O=Grid/OU=Test/CN=Bob/CN=1",
        "/O=Grid/OU=Test/CN=Alice",
        "/O=Grid/OU=Test/CN=Alice/CN=1/CN=2",
        "/O=Grid/OU=Test/CN=Alice/OU=1",
    ],
)
def test_names_that_are_not_a_proxys(alice: Issued, subject: str) -> None:
    assert refused(certificates(alice.proxy(subject=subject, key="p256"))) == (Reason.PROXY_NAME, 0)


def test_a_multi_valued_part_is_not_a_proxys_name(alice: Issued) -> None:
    attribute = x509.NameAttribute
    rdn = x509.RelativeDistinguishedName(
        [attribute(NameOID.COMMON_NAME, "1"), attribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "2")]
    )
    subject = x509.Name([*parse_name("/O=Grid/OU=Test/CN=Alice").rdns, rdn])
    assert refused(certificates(alice.proxy(subject=subject, key="p256"))) == (Reason.PROXY_NAME, 0)


def test_an_issuer_that_is_not_the_next(alice: Issued, ca: TestCA) -> None:
    bob = ca.issue("/O=Grid/OU=Test/CN=Bob", "p256")
    chain = (Certificate.parse(alice.proxy(key="p256").der), Certificate.parse(bob.der))
    assert refused(chain) == (Reason.CHAIN_BROKEN, 0)


@pytest.mark.parametrize("oid", [oids.SUBJECT_ALT_NAME, oids.ISSUER_ALT_NAME])
def test_alternative_names_are_refused(alice: Issued, oid: str) -> None:
    proxy = alice.proxy(extensions=[raw_extension(oid, bytes.fromhex("3003820178"))], key="p256")
    assert refused(certificates(proxy)) == (Reason.PROXY_ALT_NAME, 0)


def test_key_usages(ca: TestCA, alice: Issued) -> None:
    signing = alice.proxy(key_usage=("digital_signature", "key_cert_sign"), key="p256")
    assert refused(certificates(signing)) == (Reason.KEY_USAGE, 0)
    deaf = alice.proxy(key_usage=("key_encipherment",), key="p256")
    check_proxy_rules(ProxyChain.split(certificates(deaf)))  # only a signer needs digitalSignature here
    assert refused(certificates(deaf.proxy(key="p256"))) == (Reason.KEY_USAGE, 1)
    bob = ca.issue("/O=Grid/CN=Bob", "p256", key_usage=("key_encipherment",))
    assert refused(certificates(bob.proxy(key="p256"))) == (Reason.KEY_USAGE, 1)
    check_proxy_rules(ProxyChain.split(certificates(alice.proxy(key_usage=None, key="p256"))))


def test_key_usage_bits(ca: TestCA) -> None:
    def bits(value: bytes) -> int | None:
        issued = ca.issue("/O=Grid/CN=x", "p256", key_usage=None, extensions=[raw_extension(oids.KEY_USAGE, value)])
        return key_usage_bits(Certificate.parse(issued.der))

    assert key_usage_bits(Certificate.parse(ca.issue("/O=Grid/CN=x", "p256", key_usage=None).der)) is None
    assert bits(bytes.fromhex("03020780")) == DIGITAL_SIGNATURE
    assert bits(bytes.fromhex("030206C0")) == DIGITAL_SIGNATURE | CONTENT_COMMITMENT
    assert bits(bytes.fromhex("03020204")) == KEY_CERT_SIGN
    assert bits(bytes.fromhex("0303078080")) == DIGITAL_SIGNATURE | 1 << 8
    assert bits(bytes.fromhex("030100")) == 0
    for value in ("", "0300", "030107", "03020880", "0403070080", "0302078000", "0307000000000000" + "00"):
        with pytest.raises(ParseError):
            bits(bytes.fromhex(value))


def test_a_chain_cannot_be_changed(alice: Issued) -> None:
    chain = chain_of(alice, FULL_INFO)
    with pytest.raises(AttributeError):
        chain.cas = ()
    assert "Alice" in repr(chain)
