"""What one certificate is: GCT's order of questions, and the cases where its answer would drop a restriction."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from gsi import oids
from gsi.certificate import Certificate
from gsi.errors import ParseError
from gsi.proxy.info import ProxyCertInfo
from gsi.proxy.kinds import Classification, ProxyFormat, ProxyKind, Role, classify, kind_of_language
from tests.harness.ca import (
    FULL_INFO,
    INDEPENDENT_INFO,
    LIMITED_INFO,
    Issued,
    TestCA,
    encoded_oid,
    parse_name,
    proxy_info,
    raw_extension,
    tlv,
)
from tests.harness.trust import forge

GT3 = oids.PROXY_CERT_INFO_GT3


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA(key="p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/OU=Test/CN=Alice", "p256")


def what(issued: Issued) -> Classification:
    return classify(Certificate.parse(issued.der))


def test_ca(ca: TestCA) -> None:
    assert classify(Certificate.parse(ca.der)) == Classification(Role.CA)


@pytest.mark.parametrize("ca_flag", [False, None])
def test_end_entity(ca: TestCA, ca_flag: bool | None) -> None:
    assert what(ca.issue("/O=Grid/CN=Bob", "p256", ca=ca_flag)) == Classification(Role.EEC)


def test_a_ca_named_proxy_is_a_ca() -> None:
    assert classify(Certificate.parse(TestCA("/O=Grid/CN=proxy", "p256").der)).role is Role.CA


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        (FULL_INFO, ProxyKind.FULL),
        (LIMITED_INFO, ProxyKind.LIMITED),
        (INDEPENDENT_INFO, ProxyKind.INDEPENDENT),
        (proxy_info("1.2.3.4", policy=b"x"), ProxyKind.RESTRICTED),
        (proxy_info("1.2.3.4"), ProxyKind.RESTRICTED),
        (proxy_info(oids.ANY_LANGUAGE), ProxyKind.RESTRICTED),
    ],
)
@pytest.mark.parametrize(("oid", "form"), [(oids.PROXY_CERT_INFO, ProxyFormat.RFC3820), (GT3, ProxyFormat.GT3)])
def test_proxies_with_an_extension(alice: Issued, info: bytes, kind: ProxyKind, oid: str, form: ProxyFormat) -> None:
    found = what(alice.proxy(info=info, info_oid=oid, key="p256"))
    # Without a path length both forms have the same bytes.
    assert found == Classification(Role.PROXY, form, kind, ProxyCertInfo.parse(info))


@pytest.mark.parametrize(("cn", "kind"), [("proxy", ProxyKind.FULL), ("limited proxy", ProxyKind.LIMITED)])
def test_legacy_proxies(alice: Issued, cn: str, kind: ProxyKind) -> None:
    found = what(alice.proxy(info_oid=None, cn=cn, key="p256"))
    assert found == Classification(Role.PROXY, ProxyFormat.GT2, kind, None)


@pytest.mark.parametrize("cn", ["Proxy", "PROXY", "proxy ", "a proxy", "limited  proxy", "proxyx"])
def test_a_legacy_name_is_exact(alice: Issued, cn: str) -> None:
    assert what(alice.proxy(info_oid=None, cn=cn, key="p256")).role is Role.EEC


@pytest.mark.parametrize("cn", ["proxy", "limited proxy"])
def test_a_certificate_from_a_ca_with_a_legacy_name_is_never_an_end_entity(ca: TestCA, cn: str) -> None:
    found = what(ca.issue(f"/O=Grid/CN={cn}", "p256"))
    assert found.role is Role.PROXY
    assert found.format is ProxyFormat.GT2


def test_a_legacy_name_hidden_in_a_multi_valued_part_is_no_end_entity(ca: TestCA) -> None:
    attribute = x509.NameAttribute
    rdn = x509.RelativeDistinguishedName(
        [attribute(NameOID.COMMON_NAME, "proxy"), attribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "zz")]
    )
    name = x509.Name([*parse_name("/O=Grid").rdns, rdn])
    assert what(ca.issue(name, "p256")).role is Role.PROXY


# DER puts the shorter attribute first; a UniversalString makes `proxy` the longer one.
@pytest.mark.parametrize("full", [tlv(0x0C, b"proxy"), tlv(0x1C, "proxy".encode("utf-32-be"))])
def test_both_legacy_names_in_one_part_are_limited(ca: TestCA, full: bytes) -> None:
    values = sorted(tlv(0x30, encoded_oid("2.5.4.3") + value) for value in (full, tlv(0x0C, b"limited proxy")))
    subject = tlv(0x30, Certificate.parse(ca.der).subject_der[2:] + tlv(0x31, b"".join(values)))
    issued = ca.issue("/O=Grid/CN=x", "p256")
    found = classify(Certificate.parse(forge(issued.der, ca.key, subject_der=subject)))
    assert found == Classification(Role.PROXY, ProxyFormat.GT2, ProxyKind.LIMITED)


def test_proxy_elsewhere_in_the_name_means_nothing(ca: TestCA) -> None:
    assert what(ca.issue("/O=Grid/CN=proxy/CN=Alice", "p256")).role is Role.EEC
    assert what(ca.issue("/O=Grid/OU=proxy", "p256")).role is Role.EEC


@pytest.mark.parametrize("oid", [oids.PROXY_CERT_INFO, GT3])
def test_an_extension_that_is_not_critical_is_seen(alice: Issued, oid: str) -> None:
    found = what(alice.proxy(info_oid=oid, info_critical=False, key="p256"))
    assert found == Classification(Role.EEC, has_noncritical_info=True)


@pytest.mark.parametrize("critical", [True, False])
def test_a_legacy_name_with_an_extension_is_refused(alice: Issued, critical: bool) -> None:
    # grid-proxy-info calls this a full legacy proxy, and the policy is gone.
    restricted = proxy_info("1.2.3.4", policy=b"x")
    with pytest.raises(ParseError) as caught:
        what(alice.proxy(info=restricted, info_critical=critical, cn="proxy", key="p256"))
    assert caught.value.what == "ProxyCertInfo"


def test_both_forms_in_one_certificate_are_refused(alice: Issued) -> None:
    for critical in (True, False):
        second = raw_extension(GT3, FULL_INFO, critical=critical)
        with pytest.raises(ParseError, match="more than one"):
            what(alice.proxy(info=proxy_info("1.2.3.4", policy=b"x"), extensions=[second], key="p256"))


@pytest.mark.parametrize("oid", [oids.PROXY_CERT_INFO, GT3])
@pytest.mark.parametrize(
    "info", [b"", b"garbage", FULL_INFO + b"\x00", bytes.fromhex("300F0201FF300A06082B06010505071501")]
)
def test_a_malformed_extension_is_refused(alice: Issued, info: bytes, oid: str) -> None:
    with pytest.raises(ParseError) as caught:
        what(alice.proxy(info=info, info_oid=oid, key="p256"))
    assert caught.value.what == "ProxyCertInfo"


def test_malformed_basic_constraints_are_refused(ca: TestCA) -> None:
    for value in (b"", b"\x30\x03\x01\x01\x01", b"\x30\x00\x00", b"\x05\x00"):
        issued = ca.issue("/O=Grid/CN=x", "p256", ca=None, extensions=[raw_extension(oids.BASIC_CONSTRAINTS, value)])
        with pytest.raises(ParseError) as caught:
            what(issued)
        assert caught.value.what == "BasicConstraints"


def test_basic_constraints_false_written_out_is_no_ca(ca: TestCA) -> None:
    value = bytes.fromhex("3003010100")
    issued = ca.issue("/O=Grid/CN=x", "p256", ca=None, extensions=[raw_extension(oids.BASIC_CONSTRAINTS, value)])
    assert what(issued).role is Role.EEC


def test_a_proxy_with_ca_true_is_a_ca(alice: Issued) -> None:
    ca_true = raw_extension(oids.BASIC_CONSTRAINTS, bytes.fromhex("30030101FF"), critical=True)
    assert what(alice.proxy(extensions=[ca_true], key="p256")).role is Role.CA


def test_kind_of_language() -> None:
    assert kind_of_language(oids.INHERIT_ALL) is ProxyKind.FULL
    assert kind_of_language(oids.INDEPENDENT) is ProxyKind.INDEPENDENT
    assert kind_of_language(oids.LIMITED) is ProxyKind.LIMITED
    assert kind_of_language(oids.ANY_LANGUAGE) is ProxyKind.RESTRICTED
    assert kind_of_language("2.999") is ProxyKind.RESTRICTED
