"""Every row about proxies that GCT and OpenSSL were asked: what we say to it, with the reason and the index."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import pytest
from cryptography import x509

from gsi import der, oids
from gsi.certificate import Certificate, Extension
from gsi.errors import Reason, VerificationError
from gsi.names import name_from_rdns, rdns
from gsi.proxy.kinds import ProxyFormat, ProxyKind
from gsi.trust.verify import Purpose, ValidationOptions, VerifiedPeer, verify_chain
from tests.harness.ca import (
    FULL_INFO,
    INDEPENDENT_INFO,
    LIMITED_INFO,
    PROXY_CERT_INFO,
    SERVER_AUTH,
    Issued,
    TestCA,
    parse_name,
    proxy_info,
    raw_extension,
)
from tests.harness.trust import forge, make_anchors, utc_now

NOW: Final = utc_now()
CA: Final = TestCA()
ANCHORS: Final = make_anchors(CA, crl=True)
ALICE: Final = CA.issue("/O=Grid/OU=Test/CN=Alice", ca=None)
ALL_FORMS: Final = ValidationOptions(accept_gt2=True, accept_gt3=True)

GT3_OID: Final = oids.PROXY_CERT_INFO_GT3
GT3_DEPTH_2: Final = bytes.fromhex("3011300A06082B06010505071501A103020102")
GT3_DEPTH_0: Final = bytes.fromhex("3011300A06082B06010505071501A103020100")
CA_TRUE: Final = (x509.BasicConstraints(ca=True, path_length=None), True)
CA_FALSE: Final = (x509.BasicConstraints(ca=False, path_length=None), True)
SAN: Final = (x509.SubjectAlternativeName([x509.DNSName("host.example.org")]), False)
IAN: Final = (x509.IssuerAlternativeName([x509.DNSName("host.example.org")]), False)
RESTRICTED: Final = "1.2.3.4"


def depth(length: int) -> bytes:
    return proxy_info(oids.INHERIT_ALL, path_length=length)


def gt3(above: Issued, info: bytes = FULL_INFO) -> Issued:
    return above.proxy(info=info, info_oid=GT3_OID)


def gt2(above: Issued, cn: str = "proxy") -> Issued:
    return above.proxy(info_oid=None, cn=cn)


def judge(chain: Issued | tuple[bytes, ...], options: ValidationOptions | None = None) -> VerifiedPeer:
    ders = chain.chain_der if isinstance(chain, Issued) else chain
    return verify_chain(ders, ANCHORS, now=NOW, options=options or ValidationOptions())


def refused(chain: Issued | tuple[bytes, ...], options: ValidationOptions | None = None) -> tuple[Reason, int | None]:
    with pytest.raises(VerificationError) as caught:
        judge(chain, options)
    return caught.value.reason, caught.value.position


ACCEPTED: Final[dict[str, Callable[[], Issued]]] = {
    "end entity alone": lambda: ALICE,
    "one level": ALICE.proxy,
    "two levels": lambda: ALICE.proxy().proxy(),
    "path length 1 then one": lambda: ALICE.proxy(info=depth(1)).proxy(),
    "CA:FALSE": lambda: ALICE.proxy(extensions=[CA_FALSE]),
    "CA:FALSE written out": lambda: ALICE.proxy(
        extensions=[raw_extension(oids.BASIC_CONSTRAINTS, bytes.fromhex("3003010100"), critical=True)]
    ),
    "no keyUsage": lambda: ALICE.proxy(key_usage=None),
    "P-256 proxy": lambda: ALICE.proxy(key="p256"),
    "outlives its signer": lambda: ALICE.proxy(not_after=NOW + timedelta(hours=1)).proxy(
        not_after=NOW + timedelta(hours=9)
    ),
    "limited then limited": lambda: ALICE.proxy(info=LIMITED_INFO).proxy(info=LIMITED_INFO),
    "limited then independent": lambda: ALICE.proxy(info=LIMITED_INFO).proxy(info=INDEPENDENT_INFO),
    "independent then full": lambda: ALICE.proxy(info=INDEPENDENT_INFO).proxy(),
    "stated length above its parent's": lambda: ALICE.proxy(info=depth(1)).proxy(info=depth(5)),
    "GT3 full": lambda: gt3(ALICE),
    "GT3 limited": lambda: gt3(ALICE, LIMITED_INFO),
    "GT3 independent": lambda: gt3(ALICE, INDEPENDENT_INFO),
    "GT3 path length 2": lambda: gt3(ALICE, GT3_DEPTH_2),
    "GT2 under keyUsage without keyCertSign": lambda: gt2(ALICE),
    "GT2 then GT2": lambda: gt2(gt2(ALICE)),
    "GT2 then GT2 limited": lambda: gt2(gt2(ALICE), "limited proxy"),
}

REFUSED: Final[dict[str, tuple[Callable[[], Issued], Reason, int]]] = {
    "path length 0 then one": (lambda: ALICE.proxy(info=depth(0)).proxy(), Reason.PROXY_PATH_LENGTH, 0),
    "path length 1 then two": (lambda: ALICE.proxy(info=depth(1)).proxy().proxy(), Reason.PROXY_PATH_LENGTH, 0),
    "length not widened below": (
        lambda: ALICE.proxy(info=depth(1)).proxy(info=depth(5)).proxy(),
        Reason.PROXY_PATH_LENGTH,
        0,
    ),
    "CA:TRUE": (lambda: ALICE.proxy(extensions=[CA_TRUE]), Reason.IS_A_CA, 0),
    "CA:TRUE in between": (lambda: ALICE.proxy(extensions=[CA_TRUE]).proxy(), Reason.NO_END_ENTITY, 0),
    "keyCertSign": (
        lambda: ALICE.proxy(key_usage=("digital_signature", "key_cert_sign")),
        Reason.KEY_USAGE,
        0,
    ),
    "leaf lacks digitalSignature": (lambda: ALICE.proxy(key_usage=("key_encipherment",)), Reason.KEY_USAGE, 0),
    "signing proxy lacks digitalSignature": (
        lambda: ALICE.proxy(key_usage=("key_encipherment",)).proxy(),
        Reason.KEY_USAGE,
        1,
    ),
    "end entity lacks digitalSignature": (
        lambda: CA.issue("/O=Grid/CN=Bob", key_usage=("key_encipherment",)).proxy(),
        Reason.KEY_USAGE,
        1,
    ),
    "SAN": (lambda: ALICE.proxy(extensions=[SAN]), Reason.PROXY_ALT_NAME, 0),
    "IAN": (lambda: ALICE.proxy(extensions=[IAN]), Reason.PROXY_ALT_NAME, 0),
    "extension not critical": (lambda: ALICE.proxy(info_critical=False), Reason.PROXY_INFO_NOT_CRITICAL, 0),
    "not critical in between": (lambda: ALICE.proxy(info_critical=False).proxy(), Reason.PROXY_INFO_NOT_CRITICAL, 1),
    "other base name": (lambda: ALICE.proxy(subject="/O=Grid/CN=Mallory/CN=1"), Reason.PROXY_NAME, 0),
    "two CNs added": (lambda: ALICE.proxy(subject="/O=Grid/OU=Test/CN=Alice/CN=1/CN=2"), Reason.PROXY_NAME, 0),
    "no CN added": (lambda: ALICE.proxy(subject="/O=Grid/OU=Test/CN=Alice"), Reason.PROXY_NAME, 0),
    "last RDN is OU": (lambda: ALICE.proxy(subject="/O=Grid/OU=Test/CN=Alice/OU=1"), Reason.PROXY_NAME, 0),
    "last CN replaced": (lambda: ALICE.proxy(subject="/O=Grid/OU=Test/CN=1"), Reason.PROXY_NAME, 0),
    "multi-valued RDN": (
        lambda: ALICE.proxy(
            subject=x509.Name(
                [
                    *parse_name("/O=Grid/OU=Test/CN=Alice").rdns,
                    x509.RelativeDistinguishedName(
                        [
                            x509.NameAttribute(x509.NameOID.COMMON_NAME, "1"),
                            x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "2"),
                        ]
                    ),
                ]
            )
        ),
        Reason.PROXY_NAME,
        0,
    ),
    "unknown critical extension": (
        lambda: ALICE.proxy(extensions=[raw_extension("1.2.3.4.5", b"\x05\x00", critical=True)]),
        Reason.UNKNOWN_CRITICAL_EXTENSION,
        0,
    ),
    "inheritAll with a policy": (
        lambda: ALICE.proxy(info=proxy_info(oids.INHERIT_ALL, policy=b"x")),
        Reason.PROXY_POLICY_PRESENT,
        0,
    ),
    "independent with an empty policy": (
        lambda: ALICE.proxy(info=proxy_info(oids.INDEPENDENT, policy=b"")),
        Reason.PROXY_POLICY_PRESENT,
        0,
    ),
    "negative path length": (
        lambda: ALICE.proxy(info=bytes.fromhex("300F0201FF300A06082B06010505071501")),
        Reason.PROXY_INFO_MALFORMED,
        0,
    ),
    "trailing bytes after ProxyCertInfo": (
        lambda: ALICE.proxy(info=FULL_INFO + b"\x00"),
        Reason.PROXY_INFO_MALFORMED,
        0,
    ),
    "BER length in ProxyCertInfo": (
        lambda: ALICE.proxy(info=bytes.fromhex("30810C300A06082B06010505071501")),
        Reason.PROXY_INFO_MALFORMED,
        0,
    ),
    "garbage extension": (lambda: ALICE.proxy(info=b"garbage"), Reason.PROXY_INFO_MALFORMED, 0),
    "restricted, no handler": (
        lambda: ALICE.proxy(info=proxy_info(RESTRICTED, policy=b"hello")),
        Reason.PROXY_RESTRICTION,
        0,
    ),
    "restricted without policy": (lambda: ALICE.proxy(info=proxy_info(RESTRICTED)), Reason.PROXY_RESTRICTION, 0),
    "anyLanguage": (lambda: ALICE.proxy(info=proxy_info(oids.ANY_LANGUAGE)), Reason.PROXY_RESTRICTION, 0),
    "limited then full": (lambda: ALICE.proxy(info=LIMITED_INFO).proxy(), Reason.PROXY_LIMITED, 0),
    "limited, full hidden below limited": (
        lambda: ALICE.proxy(info=LIMITED_INFO).proxy().proxy(info=LIMITED_INFO),
        Reason.PROXY_LIMITED,
        1,
    ),
    "limited, independent, full": (
        lambda: ALICE.proxy(info=LIMITED_INFO).proxy(info=INDEPENDENT_INFO).proxy(),
        Reason.PROXY_LIMITED,
        0,
    ),
    "RFC then GT3": (lambda: gt3(ALICE.proxy()), Reason.PROXY_MIXED_FORMATS, 0),
    "GT3 then RFC": (lambda: gt3(ALICE).proxy(), Reason.PROXY_MIXED_FORMATS, 0),
    "RFC then GT2": (lambda: gt2(ALICE.proxy()), Reason.PROXY_MIXED_FORMATS, 0),
    "GT3 limited then full": (lambda: gt3(gt3(ALICE, LIMITED_INFO)), Reason.PROXY_LIMITED, 0),
    "GT3 path length 0 then one": (lambda: gt3(gt3(ALICE, GT3_DEPTH_0)), Reason.PROXY_PATH_LENGTH, 0),
    "GT2 limited then full": (lambda: gt2(gt2(ALICE, "limited proxy")), Reason.PROXY_LIMITED, 0),
    "RFC proxy signed by a CA": (CA.credential.proxy, Reason.NO_END_ENTITY, 0),
    "GT3 proxy signed by a CA": (lambda: gt3(CA.credential), Reason.NO_END_ENTITY, 0),
    "GT2 proxy signed by a CA": (lambda: gt2(CA.credential), Reason.NO_END_ENTITY, 0),
    "an end entity's name ends in proxy": (lambda: CA.issue("/O=Grid/CN=proxy"), Reason.NO_END_ENTITY, 0),
    "a legacy name and a ProxyCertInfo": (lambda: ALICE.proxy(cn="proxy"), Reason.PROXY_INFO_MALFORMED, 0),
    "end entity issued by an end entity": (
        lambda: ALICE.proxy(info_oid=None, subject="/O=Grid/CN=Mallory"),
        Reason.NOT_A_CA,
        1,
    ),
    "end entity issued by a proxy": (
        lambda: ALICE.proxy().proxy(info_oid=None, subject="/O=Grid/CN=Mallory"),
        Reason.NOT_A_CA,
        1,
    ),
    "expired proxy": (
        lambda: ALICE.proxy(not_before=NOW - timedelta(hours=3), not_after=NOW - timedelta(seconds=1)),
        Reason.EXPIRED,
        0,
    ),
    "expired in between": (
        lambda: ALICE.proxy(not_before=NOW - timedelta(hours=3), not_after=NOW - timedelta(seconds=1)).proxy(),
        Reason.EXPIRED,
        1,
    ),
    "not yet valid": (lambda: ALICE.proxy(not_before=NOW + timedelta(seconds=1)), Reason.NOT_YET_VALID, 0),
    "serverAuth only in the proxy": (
        lambda: ALICE.proxy(extensions=[(x509.ExtendedKeyUsage([SERVER_AUTH]), False)]),
        Reason.EXTENDED_KEY_USAGE,
        0,
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepts(name: str) -> None:
    issued = ACCEPTED[name]()
    peer = judge(issued, ALL_FORMS)
    assert peer.leaf.der == issued.der
    assert peer.eec == peer.chain[len(issued.chain_der) - 1]
    assert peer.anchor.der == CA.der
    assert peer.not_after <= min(Certificate.parse(one).not_after for one in issued.chain_der)


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    make, reason, position = REFUSED[name]
    assert refused(make(), ALL_FORMS) == (reason, position)


def test_old_forms_need_their_switch() -> None:
    assert refused(gt3(ALICE)) == (Reason.PROXY_FORMAT, 0)
    assert refused(gt2(ALICE)) == (Reason.PROXY_FORMAT, 0)
    assert refused(gt2(ALICE), ValidationOptions(accept_gt3=True)) == (Reason.PROXY_FORMAT, 0)
    assert refused(gt3(ALICE), ValidationOptions(accept_gt2=True)) == (Reason.PROXY_FORMAT, 0)
    assert judge(gt3(ALICE), ValidationOptions(accept_gt3=True)).format is ProxyFormat.GT3
    assert judge(gt2(ALICE), ValidationOptions(accept_gt2=True)).format is ProxyFormat.GT2


def test_result_of_an_end_entity() -> None:
    peer = judge(ALICE)
    assert (peer.identity, peer.subject) == ("/O=Grid/OU=Test/CN=Alice",) * 2
    assert (peer.kind, peer.format, peer.is_proxy, peer.limited, peer.independent) == (None, None, False, False, False)
    assert (peer.depth_left, peer.grants, peer.restrictions) == (None, None, ())
    assert [one.der for one in peer.chain] == [ALICE.der, CA.der]


def test_identity_strips_full_and_limited() -> None:
    leaf = ALICE.proxy(cn="17").proxy(info=LIMITED_INFO, cn="18")
    peer = judge(leaf)
    assert peer.identity == "/O=Grid/OU=Test/CN=Alice"
    assert peer.subject == "/O=Grid/OU=Test/CN=Alice/CN=17/CN=18"
    assert (peer.kind, peer.limited, peer.independent) == (ProxyKind.LIMITED, True, False)


def test_independent_is_its_own_identity() -> None:
    peer = judge(ALICE.proxy(cn="17").proxy(info=INDEPENDENT_INFO, cn="18").proxy(cn="19"))
    assert peer.identity == "/O=Grid/OU=Test/CN=Alice/CN=17/CN=18"
    assert (peer.kind, peer.independent) == (ProxyKind.INDEPENDENT, True)


def test_limited_stays_limited_under_independent() -> None:
    peer = judge(ALICE.proxy(info=LIMITED_INFO).proxy(info=INDEPENDENT_INFO))
    assert (peer.kind, peer.limited, peer.independent) == (ProxyKind.LIMITED, True, True)


def test_limited_can_be_refused() -> None:
    options = ValidationOptions(accept_limited=False)
    assert refused(ALICE.proxy(info=LIMITED_INFO), options) == (Reason.PROXY_LIMITED, 0)
    assert judge(ALICE.proxy(), options).kind is ProxyKind.FULL


@pytest.mark.parametrize(
    ("lengths", "left"),
    [((None,), None), ((0,), 0), ((2,), 2), ((2, None), 1), ((2, 5), 1), ((5, 1), 1), ((None, 3), 3), ((1, None), 0)],
)
def test_depth_left(lengths: tuple[int | None, ...], left: int | None) -> None:
    leaf = ALICE
    for length in lengths:
        leaf = leaf.proxy(info=FULL_INFO if length is None else depth(length))
    assert judge(leaf).depth_left == left


def test_session_is_capped_at_the_earliest_expiry() -> None:
    first = NOW + timedelta(hours=1)
    peer = judge(ALICE.proxy(not_after=first).proxy(not_after=NOW + timedelta(hours=9)))
    assert peer.not_after == first
    assert peer.verified_at == NOW


def test_validity_includes_both_ends() -> None:
    leaf = ALICE.proxy(not_before=NOW, not_after=NOW)
    assert judge(leaf).not_after == NOW


class TestRestrictions:
    """Handlers by policy language."""

    @staticmethod
    def read(policy: bytes) -> frozenset[str]:
        return frozenset(policy.decode().split())

    def options(self) -> ValidationOptions:
        return ValidationOptions(handlers={RESTRICTED: self.read})

    def test_grants_of_one(self) -> None:
        leaf = ALICE.proxy(info=proxy_info(RESTRICTED, policy=b"read write"))
        peer = judge(leaf, self.options())
        assert peer.grants == frozenset({"read", "write"})
        assert peer.kind is ProxyKind.RESTRICTED
        assert [one.policy for one in peer.restrictions] == [b"read write"]

    def test_grants_intersect_and_are_kept_below(self) -> None:
        leaf = ALICE.proxy(info=proxy_info(RESTRICTED, policy=b"read write"))
        leaf = leaf.proxy(info=proxy_info(RESTRICTED, policy=b"write delete")).proxy()
        peer = judge(leaf, self.options())
        assert peer.grants == frozenset({"write"})
        assert [one.policy for one in peer.restrictions] == [b"read write", b"write delete"]

    def test_nothing_in_common_is_nothing(self) -> None:
        leaf = ALICE.proxy(info=proxy_info(RESTRICTED, policy=b"read"))
        peer = judge(leaf.proxy(info=proxy_info(RESTRICTED, policy=b"write")), self.options())
        assert peer.grants == frozenset()

    def test_identity_is_not_the_end_entitys(self) -> None:
        peer = judge(ALICE.proxy(info=proxy_info(RESTRICTED, policy=b"read"), cn="17"), self.options())
        assert peer.identity == "/O=Grid/OU=Test/CN=Alice/CN=17"

    def test_absent_policy_is_empty(self) -> None:
        assert judge(ALICE.proxy(info=proxy_info(RESTRICTED)), self.options()).grants == frozenset()

    def test_other_language(self) -> None:
        leaf = ALICE.proxy(info=proxy_info("1.2.3.5", policy=b"read"))
        assert refused(leaf, self.options()) == (Reason.PROXY_RESTRICTION, 0)

    def test_failing_handler_refuses(self) -> None:
        leaf = ALICE.proxy(info=proxy_info(RESTRICTED, policy=b"\xff"))  # not UTF-8: the handler raises
        assert refused(leaf, self.options()) == (Reason.PROXY_RESTRICTION, 0)

    @pytest.mark.parametrize("answer", ["read", b"read", ["read"], {"read": 1}, {1}, frozenset({b"read"}), None])
    def test_handler_must_return_a_set_of_texts(self, answer: object) -> None:
        leaf = ALICE.proxy(info=proxy_info(RESTRICTED, policy=b"read"))
        options = ValidationOptions(handlers={RESTRICTED: lambda _: answer})  # type: ignore[dict-item,return-value]  # that is the case
        assert refused(leaf, options) == (Reason.PROXY_RESTRICTION, 0)

    def test_handler_may_return_a_plain_set(self) -> None:
        leaf = ALICE.proxy(info=proxy_info(RESTRICTED, policy=b"read"))
        options = ValidationOptions(handlers={RESTRICTED: lambda _: {"read"}})  # type: ignore[dict-item,return-value]  # as careless callers do
        assert judge(leaf, options).grants == frozenset({"read"})

    def test_limited_above_refuses_restricted_below(self) -> None:
        leaf = ALICE.proxy(info=LIMITED_INFO).proxy(info=proxy_info(RESTRICTED, policy=b"read"))
        assert refused(leaf, self.options()) == (Reason.PROXY_LIMITED, 0)


class TestForged:
    """Certificates that no builder makes."""

    PROXY: Final = ALICE.proxy()
    MARK: Final = Extension(PROXY_CERT_INFO, True, FULL_INFO)

    def chain(self, leaf: bytes) -> tuple[bytes, ...]:
        return (leaf, *self.PROXY.chain_der[1:])

    def forged(self, *extensions: Extension, version: int = 3, sha1: bool = False) -> tuple[bytes, ...]:
        return self.chain(forge(self.PROXY.der, ALICE.key, extensions=extensions, version=version, sha1=sha1))

    def test_unchanged_copy_is_good(self) -> None:
        assert judge(self.forged(self.MARK)).kind is ProxyKind.FULL

    def test_two_infos(self) -> None:
        limited = Extension(PROXY_CERT_INFO, True, LIMITED_INFO)
        assert refused(self.forged(self.MARK, limited)) == (Reason.PROXY_INFO_MALFORMED, 0)

    def test_both_forms_of_info(self) -> None:
        draft = Extension(GT3_OID, True, LIMITED_INFO)
        assert refused(self.forged(self.MARK, draft), ALL_FORMS) == (Reason.PROXY_INFO_MALFORMED, 0)

    def test_doubled_unknown_extension(self) -> None:
        unknown = Extension("1.2.3.4.5", False, b"\x05\x00")
        assert refused(self.forged(self.MARK, unknown, unknown)) == (Reason.DUPLICATE_EXTENSION, 0)

    @pytest.mark.parametrize("version", [1, 2, 4])
    def test_version(self, version: int) -> None:
        reason, position = refused(self.forged(self.MARK, version=version))
        assert reason in {Reason.UNSUPPORTED_VERSION, Reason.MALFORMED}
        assert position == 0

    def test_sha1(self) -> None:
        chain = self.forged(self.MARK, sha1=True)
        assert refused(chain) == (Reason.WEAK_SIGNATURE, 0)
        assert judge(chain, ValidationOptions(accept_weak_signatures=True)).kind is ProxyKind.FULL

    def test_bad_signature(self) -> None:
        leaf = self.PROXY.der
        assert refused(self.chain(leaf[:-1] + bytes((leaf[-1] ^ 1,)))) == (Reason.BAD_SIGNATURE, 0)

    def test_signed_by_another_key(self) -> None:
        leaf = forge(self.PROXY.der, CA.key)
        assert refused(self.chain(leaf)) == (Reason.BAD_SIGNATURE, 0)

    def test_two_algorithms(self) -> None:
        sha384 = bytes.fromhex("300d06092a864886f70d01010c0500")
        leaf = forge(self.PROXY.der, ALICE.key, inner_algorithm=sha384)
        assert refused(self.chain(leaf))[0] is Reason.MALFORMED

    def test_issuer_name_must_be_the_signers(self) -> None:
        bob = parse_name("/O=Grid/OU=Test/CN=Bob").public_bytes()
        subject = name_from_rdns([*rdns(bob), rdns(Certificate.parse(self.PROXY.der).subject_der)[-1]])
        leaf = forge(self.PROXY.der, ALICE.key, issuer_der=bob, subject_der=subject)
        assert refused(self.chain(leaf)) == (Reason.CHAIN_BROKEN, 0)

    def test_issuer_name_may_differ_in_case_and_string_type(self) -> None:
        upper = parse_name("/O=GRID/OU=Test/CN=alice").public_bytes()
        subject = name_from_rdns([*rdns(upper), rdns(Certificate.parse(self.PROXY.der).subject_der)[-1]])
        leaf = forge(self.PROXY.der, ALICE.key, issuer_der=upper, subject_der=subject)
        assert judge(self.chain(leaf)).identity == "/O=Grid/OU=Test/CN=Alice"

    def test_malformed_key_usage(self) -> None:
        broken = Extension(oids.KEY_USAGE, True, b"\x03\x02\x07")
        assert refused(self.forged(self.MARK, broken)) == (Reason.MALFORMED, 0)

    def test_weak_leaf_key(self) -> None:
        number = der.encode_integer((1 << 511) | 1)  # by hand: pyca makes no key so short
        key = der.encode_sequence(
            bytes.fromhex("300d06092a864886f70d0101010500"),
            der.encode_bit_string(der.encode_sequence(number, der.encode_integer(65537))),
        )
        leaf = forge(self.PROXY.der, ALICE.key, spki_der=key)
        assert refused(self.chain(leaf))[0] is Reason.WEAK_KEY

    def test_exponent_one(self) -> None:
        number = der.encode_integer((1 << 2047) | 1)
        key = der.encode_sequence(
            bytes.fromhex("300d06092a864886f70d0101010500"),
            der.encode_bit_string(der.encode_sequence(number, der.encode_integer(1))),
        )
        leaf = forge(self.PROXY.der, ALICE.key, spki_der=key)
        assert refused(self.chain(leaf))[0] is Reason.WEAK_KEY


class TestShape:
    """Chains as wholes."""

    def test_empty(self) -> None:
        assert refused(()) == (Reason.EMPTY_CHAIN, None)

    def test_ten_thousand_are_refused_unread(self) -> None:
        assert refused((b"not parsed",) * 10_000) == (Reason.CHAIN_TOO_LONG, None)

    def test_limit_is_a_switch(self) -> None:
        leaf = ALICE.proxy().proxy()
        assert refused(leaf, ValidationOptions(max_chain=2)) == (Reason.CHAIN_TOO_LONG, None)
        assert judge(leaf, ValidationOptions(max_chain=3)).kind is ProxyKind.FULL

    def test_hundred_levels(self) -> None:
        leaf = CA.issue("/O=Grid/CN=Deep", key="p256")
        for _ in range(99):
            leaf = leaf.proxy(key="p256")
        assert len(judge(leaf).chain) == 101
        assert refused(leaf.proxy(key="p256")) == (Reason.CHAIN_TOO_LONG, None)

    def test_huge_certificate_is_refused_unread(self) -> None:
        assert refused((*ALICE.proxy().chain_der, bytes(1 << 20))) == (Reason.MALFORMED, 2)

    def test_garbage_names_its_index(self) -> None:
        leaf = ALICE.proxy()
        assert refused((leaf.der, b"garbage")) == (Reason.MALFORMED, 1)
        assert refused((b"garbage", *leaf.chain_der)) == (Reason.MALFORMED, 0)

    def test_trailing_bytes(self) -> None:
        leaf = ALICE.proxy()
        assert refused((leaf.der + b"\x00", ALICE.der)) == (Reason.MALFORMED, 0)

    def test_end_entity_missing(self) -> None:
        leaf = ALICE.proxy().proxy()
        assert refused(leaf.chain_der[:2]) == (Reason.NO_END_ENTITY, 1)

    def test_link_missing(self) -> None:
        leaf = ALICE.proxy().proxy()
        assert refused((leaf.der, ALICE.der)) == (Reason.CHAIN_BROKEN, 0)

    def test_reordered(self) -> None:
        first, second, third = ALICE.proxy().proxy().chain_der
        assert refused((second, first, third)) == (Reason.CHAIN_BROKEN, 1)
        assert refused((third, first, second))[0] is Reason.NOT_A_CA

    def test_duplicated_proxy(self) -> None:
        leaf = ALICE.proxy()
        assert refused((leaf.der, leaf.der, ALICE.der)) == (Reason.CHAIN_BROKEN, 0)

    def test_duplicated_end_entity(self) -> None:
        leaf = ALICE.proxy()
        assert refused((*leaf.chain_der, ALICE.der)) == (Reason.NOT_A_CA, 2)

    def test_ca_as_leaf(self) -> None:
        assert refused((CA.der,)) == (Reason.IS_A_CA, 0)

    def test_parsed_certificates_are_taken_too(self) -> None:
        chain = [Certificate.parse(one) for one in ALICE.proxy().chain_der]
        assert verify_chain(chain, ANCHORS, now=NOW).leaf is chain[0]


def test_leaf_need_not_sign_when_the_purpose_is_any() -> None:
    leaf = ALICE.proxy(key_usage=("key_encipherment",))
    assert judge(leaf, ValidationOptions(purpose=Purpose.ANY)).kind is ProxyKind.FULL


def test_hints_and_words() -> None:
    with pytest.raises(VerificationError) as caught:
        judge(gt2(ALICE))
    assert "GT2" in str(caught.value)
    assert caught.value.hint is not None
