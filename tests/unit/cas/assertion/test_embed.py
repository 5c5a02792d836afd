"""Capabilities inside proxies: where they are found again, and what is not put there."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cas.assertion.attribute_cert import AttributeIssuer
from cas.assertion.embed import (
    MAX_SAFE_CHAIN_BYTES,
    assertion_extension,
    attribute_extension,
    embed,
    legacy_assertion_extension,
)
from cas.assertion.saml import AssertionWriter
from gsi import der, oids
from gsi.certificate import Extension
from gsi.credential import parse_credential
from gsi.errors import ConfigError, CredentialError
from gsi.proxy.issue import ProxyOptions
from gsi.proxy.kinds import ProxyFormat, ProxyKind
from gsi.saml.carriers import find_assertions
from gsi.system.credential_files import load_proxy, save_proxy
from gsi.trust.verify import verify_chain
from gsi.voms.attribute_cert import AttributeCertificate, parse_sequence_of
from tests.harness.ca import LIMITED_INFO, Issued, TestCA
from tests.harness.capabilities import VO, file_right, make_capability, signing_key
from tests.harness.trust import make_anchors

CA_ = TestCA(key="p256")
ALICE, BOB = CA_.issue("/O=Grid/CN=Alice", "p256"), CA_.issue("/O=Grid/CN=Bob", "p256")
CAS = CA_.issue("/O=Grid/CN=cas", "p256")
ANCHORS = make_anchors(CA_)
NOW = datetime.now(UTC).replace(microsecond=0)


def _attributes(holder: Issued, vo: str = VO) -> AttributeCertificate:
    issuer = AttributeIssuer(signing_key(CAS), vo, "cas.example.org:1")
    return issuer.issue(make_capability(holder, community=vo, fqans=(f"/{vo}",)), now=NOW)


def _assertion(holder: Issued = ALICE) -> bytes:
    capability = make_capability(holder, rights=[file_right("ftp://h/d/*", "read")])
    return AssertionWriter(signing_key(CAS)).issue(capability, now=NOW)


def test_both_in_one_proxy(tmp_path: Path) -> None:
    xml, certificates = _assertion(), [_attributes(ALICE), _attributes(ALICE, "other")]
    extensions = [assertion_extension(xml), attribute_extension(certificates)]
    proxy = embed(parse_credential(ALICE.bundle()), extensions, now=NOW)
    leaf = proxy.certificate
    for one in extensions:
        found = leaf.find_extension(one.oid)
        assert found == one
        assert not one.critical
    carried = leaf.find_extension(oids.VOMS_AC_SEQUENCE)
    assert carried is not None
    assert parse_sequence_of(carried.value) == tuple(certificates)
    assert extensions[0].value == der.encode_tlv(der.UTF8_STRING, xml)
    peer = verify_chain([one.der for one in proxy.certificates], ANCHORS, now=NOW)
    (assertion,) = find_assertions(peer.chain)
    assert (assertion.position, assertion.data, assertion.error) == (0, xml, None)
    path = tmp_path / "proxy"
    save_proxy(str(path), proxy)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_proxy(str(path)).certificate == leaf
    assert sum(len(one.der) for one in proxy.certificates) < MAX_SAFE_CHAIN_BYTES


def test_for_readers_of_gt3() -> None:
    xml = _assertion()
    proxy = embed(
        parse_credential(ALICE.bundle()), [legacy_assertion_extension(xml), assertion_extension(xml)], now=NOW
    )
    peer = verify_chain([one.der for one in proxy.certificates], ANCHORS, now=NOW)
    assert not peer.limited  # whose policy language has the same identifier
    assert len(find_assertions(peer.chain)) == 1
    assert [one.data for one in find_assertions(peer.chain, accept_gt3=True)] == [xml, xml]


def test_the_kind_follows_the_credential() -> None:
    limited = ALICE.proxy(key="p256", not_before=NOW - timedelta(minutes=5), info=LIMITED_INFO)
    extensions = [attribute_extension([_attributes(ALICE)])]
    proxy = embed(parse_credential(limited.bundle()), extensions, now=NOW)
    assert verify_chain([one.der for one in proxy.certificates], ANCHORS, now=NOW).limited
    options = ProxyOptions(kind=ProxyKind.LIMITED, path_length=0)
    proxy = embed(parse_credential(ALICE.bundle()), extensions, options, now=NOW)
    peer = verify_chain([one.der for one in proxy.certificates], ANCHORS, now=NOW)
    assert (peer.limited, peer.depth_left) == (True, 0)


def test_what_is_not_embedded() -> None:
    credential = parse_credential(ALICE.bundle())
    with pytest.raises(ConfigError, match="another holder"):
        embed(credential, [attribute_extension([_attributes(ALICE), _attributes(BOB)])], now=NOW)
    with pytest.raises(ConfigError, match="critical"):
        embed(credential, [assertion_extension(b"<a/>")._replace(critical=True)], now=NOW)
    with pytest.raises(ConfigError, match="there already"):
        embed(credential, [assertion_extension(b"<a/>")] * 2, now=NOW)
    with pytest.raises(ConfigError, match="no list"):
        embed(credential, [Extension(oids.VOMS_AC_SEQUENCE, False, b"\x30\x00")], now=NOW)
    options = ProxyOptions(format=ProxyFormat.GT3, allow_legacy=True)
    with pytest.raises(ConfigError, match="RFC 3820"):
        embed(credential, [assertion_extension(b"<a/>")], options, now=NOW)
    for count in (0, 33):
        with pytest.raises(ConfigError):
            attribute_extension([_attributes(ALICE)] * count)
    for make in (assertion_extension, legacy_assertion_extension):
        with pytest.raises(ConfigError, match="UTF-8"):
            make(b"\xff")
    with pytest.raises(CredentialError):
        embed(parse_credential(CA_.credential.bundle()), [], now=NOW)
