"""Assertions and xmlsec1: what we accept it accepts, what was tampered with neither; what it signs we read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gsi.errors import CapabilityError, CapabilityProblem
from gsi.saml.carriers import find_assertions
from gsi.saml.trust import AssertionIssuer
from gsi.saml.verify import AssertionVerifier
from gsi.trust.verify import verify_chain
from tests.harness.ca import KeyKind, TestCA, write_file
from tests.harness.environment import clean_environment
from tests.harness.run import c_program, run
from tests.harness.saml import DS, EXC, SAML1, SAML2, SAMLIssuer, assertion_extension, xmlsec1_accepts
from tests.harness.trust import make_anchors

pytestmark = pytest.mark.interop


class World:
    def __init__(self, directory: Path, key: KeyKind = "rsa2048") -> None:
        self.directory = directory
        self.ca = TestCA()
        self.cas = self.ca.issue("/O=Grid/CN=cas", key)
        self.alice = self.ca.issue("/O=Grid/CN=Alice")
        self.issuer = SAMLIssuer(self.cas)
        self.trusted = directory / "ca.pem"
        write_file(self.trusted, self.ca.pem, 0o644)

    def ours(self, xml: bytes) -> CapabilityProblem | None:
        anchors = make_anchors(self.ca)
        now = datetime.now(UTC)
        verifier = AssertionVerifier((AssertionIssuer(subject=self.cas.subject),), lambda: anchors)
        try:
            verifier.verify(xml, verify_chain(self.alice.proxy().chain_der, anchors, now=now), now=now)
        except CapabilityError as error:
            return error.problem
        return None

    def theirs(self, xml: bytes) -> bool:
        return xmlsec1_accepts(xml, self.trusted, self.directory)


@pytest.mark.parametrize("key", ["rsa2048", "p256", "p384"])
@pytest.mark.parametrize("version", ["cas_assertion", "assertion_2"])
def test_verdicts(key: KeyKind, version: str, tmp_path: Path) -> None:
    world = World(tmp_path, key)
    good = world.issuer.sign(getattr(world.issuer, version)(world.alice))
    assert world.theirs(good)
    assert world.ours(good) is None
    tampered = {
        "word": good.replace(b">read<", b">rate<"),
        "resource": good.replace(b"/data/", b"/date/"),
        "time": good.replace(b'NotBefore="20', b'NotBefore="19'),
        "name": good.replace(b"Alice", b"Malice"),
        "signature": good.replace(b"SignatureValue>", b"SignatureValue>AAAA", 1),
        "digest": good.replace(b"DigestValue>", b"DigestValue>AAAA", 1),
        "method": good.replace(b"-sha256", b"-sha512", 1),
        "key": world.issuer.sign(getattr(world.issuer, version)(world.alice), key=world.alice.key),
    }
    if version == "assertion_2":
        tampered["element"] = good.replace(
            b"<AttributeValue>", b"<AttributeValue>x</AttributeValue><AttributeValue>", 1
        )
    for name, xml in tampered.items():
        assert xml != good, name
        assert not world.theirs(xml), name
        assert world.ours(xml) is not None, name


def test_where_we_are_stricter(tmp_path: Path) -> None:
    """xmlsec1 knows XML signatures, not assertions: these are good ones to it."""
    world = World(tmp_path)
    xml = world.issuer.cas_assertion(world.alice)
    good = world.issuer.sign(xml)
    cases = {
        "comment": good.replace(b"CN=Alice<", b"CN=Al<!-- -->ice<"),
        "SHA-1": world.issuer.sign(xml, digest=f"{DS}sha1", method=f"{DS}rsa-sha1"),
        "whole document": world.issuer.sign(xml, reference=""),
        "no path to the issuer's name": SAMLIssuer(world.alice, world.cas.subject).sign(xml),
        "wrapped": b"<x>" + good + b"</x>",
    }
    for name, case in cases.items():
        assert world.theirs(case), name
        assert world.ours(case) is not None, name


@pytest.mark.parametrize("namespace", [SAML1, SAML2])
def test_signed_by_xmlsec1(namespace: str, tmp_path: Path) -> None:
    world = World(tmp_path)
    maker = world.issuer.cas_assertion if namespace == SAML1 else world.issuer.assertion_2
    xml = maker(world.alice, identifier="_one")
    template = (
        f'<ds:Signature xmlns:ds="{DS}"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="{EXC}"/>'
        '<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/>'
        f'<ds:Reference URI="#_one"><ds:Transforms><ds:Transform Algorithm="{DS}enveloped-signature"/>'
        f'<ds:Transform Algorithm="{EXC}"/></ds:Transforms>'
        '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><ds:DigestValue/></ds:Reference>'
        "</ds:SignedInfo><ds:SignatureValue/><ds:KeyInfo><ds:X509Data/></ds:KeyInfo></ds:Signature>"
    )
    before = "</Assertion>" if namespace == SAML1 else "<Subject>"
    (tmp_path / "in.xml").write_text(xml.replace(before, template + before, 1))
    key, cert, out = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "out.xml"
    world.cas.write(cert, key)
    attribute = "AssertionID" if namespace == SAML1 else "ID"
    run(
        [c_program("xmlsec1"), "--sign", "--privkey-pem", f"{key},{cert}", f"--id-attr:{attribute}",
         f"{namespace}:Assertion", "--output", out, tmp_path / "in.xml"],
        env=clean_environment(tmp_path),
    ).check()  # fmt: skip
    assert world.ours(out.read_bytes()) is None


def test_found_in_a_proxy(tmp_path: Path) -> None:
    """An assertion taken out of the proxy below the one that carries it, whole."""
    world = World(tmp_path)
    xml = world.issuer.sign(world.issuer.cas_assertion(world.alice))
    proxy = world.alice.proxy(extensions=[assertion_extension(xml)]).proxy()
    peer = verify_chain(proxy.chain_der, make_anchors(world.ca), now=datetime.now(UTC))
    (found,) = find_assertions(peer.chain)
    assert (found.position, found.data) == (1, xml)
    assert world.ours(found.data) is None
    assert world.theirs(found.data)
