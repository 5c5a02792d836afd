"""Findings about trust directories and chains as values: everything is looked at, one finding each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gsi.errors import CredentialError, CredentialProblem, Reason, VerificationError
from gsi.trust.diagnose import (
    SOON_CA,
    SOON_CERTIFICATE,
    SOON_CRL,
    Finding,
    Severity,
    diagnose_anchors,
    diagnose_chain,
    diagnose_name,
    finding_of,
    has_errors,
)
from gsi.trust.options import CRLPolicy, Purpose, ValidationOptions
from gsi.trust.peername import NameMode
from tests.harness.ca import TestCA, named_bits, raw_extension, subject_hash
from tests.harness.trust import make_anchors, utc_now

NOW = utc_now()
ANY = ValidationOptions(purpose=Purpose.ANY)


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


def shape(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.severity.value, finding.check) for finding in findings]


def test_a_good_authority(ca: TestCA) -> None:
    (finding,) = diagnose_anchors(make_anchors(ca, crl=True), now=NOW)
    assert (finding.severity, finding.where) == (Severity.OK, f"{subject_hash(ca.certificate)}.0")
    assert "/O=Grid/CN=CA: self-signed, until" in finding.message
    assert "CRL until" in finding.message


def test_each_fault_of_one_authority_is_told(ca: TestCA) -> None:
    crl = ca.crl(next_update=NOW - timedelta(minutes=1))
    later = NOW + timedelta(days=4000)
    found = diagnose_anchors(make_anchors(ca, crl=crl, policy=False), now=later)
    assert shape(found) == [("error", "expired"), ("error", "signing-policy-missing"), ("error", "crl-expired")]
    assert has_errors(found)
    assert all(finding.hint for finding in found)


def test_dates_that_come_near(ca: TestCA) -> None:
    ends = NOW + timedelta(days=3650)
    anchors = make_anchors(TestCA("/O=X/CN=CA", "p256", not_after=ends), policy=True)
    for left, expected in ((SOON_CA - timedelta(hours=1), True), (SOON_CA + timedelta(hours=1), False)):
        found = diagnose_anchors(anchors, now=ends - left, crl=CRLPolicy.OFF)
        assert (("warning", "expires-soon") in shape(found)) is expected
    anchors = make_anchors(ca, crl=ca.crl(next_update=NOW + timedelta(days=9)))
    for left, expected in ((SOON_CRL - timedelta(hours=1), True), (SOON_CRL + timedelta(hours=1), False)):
        found = diagnose_anchors(anchors, now=NOW + timedelta(days=9) - left)
        assert (("warning", "crl-expires-soon") in shape(found)) is expected
    anchors = make_anchors(ca)
    leaf = ca.issue("/O=Grid/CN=Alice", "p256", not_after=NOW + timedelta(days=90))
    for left, expected in (
        (SOON_CERTIFICATE - timedelta(hours=1), True),
        (SOON_CERTIFICATE + timedelta(hours=1), False),
    ):
        at = NOW + timedelta(days=90) - left
        found, peer = diagnose_chain(leaf.chain_der, anchors, now=at, options=ANY, where="x")
        assert (("warning", "expires-soon") in shape(found)) is expected
        assert peer is not None


def test_a_proxy_that_ends_soon_is_no_news(ca: TestCA) -> None:
    proxy = ca.issue("/O=Grid/CN=Alice", "p256").proxy(key="p256")
    found, _ = diagnose_chain(proxy.chain_der, make_anchors(ca), now=NOW, options=ANY, where="x")
    assert shape(found) == [("ok", "chain")]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (CRLPolicy.REQUIRE, [("error", "crl-missing")]),
        (CRLPolicy.IF_PRESENT, [("warning", "crl-missing")]),
        (CRLPolicy.OFF, [("ok", "ca")]),
    ],
)
def test_a_missing_crl(policy: CRLPolicy, expected: list[tuple[str, str]], ca: TestCA) -> None:
    assert shape(diagnose_anchors(make_anchors(ca), now=NOW, crl=policy)) == expected


def test_an_empty_directory_is_an_error() -> None:
    assert shape(diagnose_anchors(make_anchors(), now=NOW)) == [("error", "no-ca")]


def test_authorities_of_one_name_share_a_crl(ca: TestCA) -> None:
    """After a change of keys: the CRL of one of them is no fault of the other, and is told of once."""
    second = TestCA("/O=Grid/CN=CA", "p256")
    anchors = make_anchors(ca, second, more={f"{subject_hash(ca.certificate)}.r0": ca.crl()})
    assert shape(diagnose_anchors(anchors, now=NOW)) == [("ok", "ca")] * 2
    crl = ca.crl(key=TestCA("/O=X/CN=Y", "p256").key)
    anchors = make_anchors(ca, second, more={f"{subject_hash(ca.certificate)}.r0": crl})
    assert shape(diagnose_anchors(anchors, now=NOW)).count(("error", "crl-bad-signature")) == 1


def test_usages_that_are_missing() -> None:
    made = TestCA("/O=Grid/CN=CA", "p256")
    lame = made.issue("/O=Grid/CN=Lame", "p256", ca=True, key_usage=named_bits("digital_signature"))
    stem = subject_hash(lame.certificate)
    policy = made.signing_policy().replace("/O=Grid/CN=CA", "/O=Grid/CN=Lame").encode()
    crl = made.crl(issuer="/O=Grid/CN=Lame", key=lame.key)
    more = {f"{stem}.0": lame.pem, f"{stem}.signing_policy": policy, f"{stem}.r0": crl}
    found = diagnose_anchors(make_anchors(made, crl=True, more=more), now=NOW)
    assert ("error", "key-usage") in shape(found)
    assert ("error", "crl-signer") in shape(found)


def test_an_authority_outside_of_the_policy_above(ca: TestCA) -> None:
    below = ca.intermediate("/O=Grid/CN=Below", "p256")
    policy = ca.signing_policy("/O=Else/*").encode()
    more = {f"{subject_hash(ca.certificate)}.signing_policy": policy}
    found = diagnose_anchors(make_anchors(ca, below, crl=None, more=more), now=NOW, crl=CRLPolicy.OFF)
    assert [finding.check for finding in found if finding.severity is Severity.ERROR] == ["signing-policy"]


def test_an_authority_signed_by_another_key(ca: TestCA) -> None:
    below = TestCA("/O=Grid/CN=CA", "p256").intermediate("/O=Grid/CN=Below", "p256")
    found = diagnose_anchors(make_anchors(ca, below), now=NOW, crl=CRLPolicy.OFF)
    assert [finding.check for finding in found if finding.severity is Severity.ERROR] == ["bad-signature"]


def test_a_chain_with_two_faults_tells_both(ca: TestCA) -> None:
    alice = ca.issue(
        "/O=Grid/CN=Alice", "p256", not_before=NOW - timedelta(hours=9), not_after=NOW - timedelta(hours=1)
    )
    proxy = alice.proxy(key="p256", not_after=NOW - timedelta(hours=2), not_before=NOW - timedelta(hours=9))
    found, peer = diagnose_chain(proxy.chain_der, make_anchors(ca), now=NOW, options=ANY, where="x")
    assert shape(found) == [("error", "expired")] * 2
    assert peer is None
    odd = ca.issue("/O=Grid/CN=Alice", "p256", not_after=NOW + timedelta(days=1), extensions=[
        raw_extension("1.2.3.4", b"\x05\x00", critical=True)
    ])  # fmt: skip
    found, peer = diagnose_chain(odd.chain_der, make_anchors(ca), now=NOW, options=ANY, where="x")
    assert shape(found) == [("warning", "expires-soon"), ("error", "unknown-critical-extension")]


@pytest.mark.parametrize("chain", [(), (b"",), (b"\x30\x00",)])
def test_no_chain_at_all(chain: tuple[bytes, ...], ca: TestCA) -> None:
    found, peer = diagnose_chain(chain, make_anchors(ca), now=NOW, options=ANY, where="x")
    assert (len(found), found[0].severity, peer) == (1, Severity.ERROR, None)


@pytest.mark.parametrize(
    ("hosts", "mode", "severity"),
    [
        (["www.example.org"], NameMode.STRICT_RFC2818, Severity.OK),
        (["x.org", "www.example.org"], NameMode.STRICT_RFC2818, Severity.ERROR),
        (["x.org", "www.example.org"], NameMode.HYBRID, Severity.OK),
        (["x.org"], NameMode.HYBRID, Severity.ERROR),
        (["cn.example.org"], NameMode.STRICT_GT2, Severity.OK),
        (["cn.example.org"], NameMode.STRICT_RFC2818, Severity.ERROR),
    ],
)
def test_names(hosts: list[str], mode: NameMode, severity: Severity, ca: TestCA) -> None:
    issued = ca.issue("/O=Grid/CN=host/cn.example.org", "p256", san=["DNS:www.example.org", "IP:10.0.0.1", "IP:::1"])
    _, peer = diagnose_chain(issued.chain_der, make_anchors(ca), now=NOW, options=ANY, where="x")
    assert peer is not None
    finding = diagnose_name(peer, hosts, mode, where="x")
    assert finding.severity is severity
    if severity is Severity.ERROR:
        assert "DNS:www.example.org, IP:10.0.0.1, IP:::1, CN:host/cn.example.org" in finding.message
        assert finding.check == Reason.PEER_NAME


def test_errors_become_findings_without_saying_the_place_twice() -> None:
    error = CredentialError("/a: No such file", problem=CredentialProblem.MISSING)
    assert finding_of(error, "/a") == Finding(Severity.ERROR, "missing", "/a", "No such file")
    refusal = VerificationError("no", reason=Reason.EXPIRED, hint="renew")
    assert finding_of(refusal, "/a") == Finding(Severity.ERROR, "expired", "/a", "no", "renew")
    assert finding_of(refusal, "/a", check="own").check == "own"
