"""Assertions of ours before our verifier; that they are canonical as they are; and what is not issued."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml.verifier import XMLVerifier

from cas.assertion.saml import FQAN_ATTRIBUTE, AssertionWriter, SAMLOptions, SAMLVersion
from cas.assertion.value import Capability, Comparison, Right
from gsi.errors import CapabilityError, CapabilityProblem, ConfigError, DeniedError, IssuanceError, IssuanceStep
from gsi.saml.assertion import Action, AuthorizationDecision
from gsi.saml.trust import AssertionIssuer
from gsi.saml.verify import AssertionOptions, AssertionVerifier, VerifiedAssertion
from gsi.trust.verify import verify_chain
from tests.harness.ca import Issued, KeyKind, TestCA, subject_hash
from tests.harness.capabilities import VO, file_right, make_capability, signing_key, token_key
from tests.harness.trust import make_anchors

CA_ = TestCA(key="p256")
OTHER = TestCA("/O=Elsewhere/CN=CA", "p256")
ALICE = CA_.issue("/O=Grid/CN=Alice", "p256")
CAS = CA_.issue("/O=Grid/CN=cas/cas.example.org", "p256")
ANCHORS = make_anchors(CA_, OTHER)
RIGHTS: Final = (
    file_right("ftp://se.example.org/data/*", "read", "lookup"),
    file_right("ftp://se.example.org/out/*", "write", "create"),
)


def _believe(
    xml: bytes, holder: Issued = ALICE, *, now: datetime | None = None, **options: object
) -> VerifiedAssertion:
    now = now or datetime.now(UTC)
    peer = verify_chain(holder.proxy(key="p256").chain_der, ANCHORS, now=now)
    settings = AssertionOptions(**options)  # type: ignore[arg-type]  # named by the caller
    return AssertionVerifier((AssertionIssuer(subject=CAS.subject),), lambda: ANCHORS, settings).verify(
        xml, peer, now=now
    )


def _issue(capability: Capability | None = None, **options: object) -> bytes:
    writer = AssertionWriter(signing_key(CAS), SAMLOptions(**options))  # type: ignore[arg-type]  # values by name
    return writer.issue(capability or make_capability(ALICE, rights=RIGHTS), now=datetime.now(UTC))


def canonical(xml: bytes) -> bytes:
    found: bytes = etree.tostring(etree.fromstring(xml), method="c14n", exclusive=True)
    return found


@pytest.mark.parametrize("version", SAMLVersion)
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384"])
def test_believed(version: SAMLVersion, kind: KeyKind) -> None:
    capability = make_capability(ALICE, rights=RIGHTS, audience=("se.example.org", "ftp://se.example.org"))
    key = signing_key(CA_.issue(CAS.subject, kind))
    xml = AssertionWriter(key, SAMLOptions(version=version)).issue(capability, now=datetime.now(UTC))
    assert canonical(xml) == xml
    found = _believe(xml, audiences=frozenset({"se.example.org"}), require_audience=True)
    assert found.version == version.value
    assert found.identifier == "_" + capability.identifier.hex()
    assert (found.not_before, found.not_after) == (capability.not_before, capability.not_after)
    assert found.permits == (
        AuthorizationDecision(
            "FTPDirectoryTree|ftp://se.example.org/data/*", "Permit", (Action("file", "lookup"), Action("file", "read"))
        ),
        AuthorizationDecision(
            "FTPDirectoryTree|ftp://se.example.org/out/*", "Permit", (Action("file", "create"), Action("file", "write"))
        ),
    )
    assert found.attributes == ()
    assert not found.is_bound
    with pytest.raises(CapabilityError) as caught:
        _believe(xml, audiences=frozenset({"other.example.org"}))
    assert caught.value.problem is CapabilityProblem.AUDIENCE


def test_as_gt4_has_it() -> None:
    """The words of the reference's example, in its order; nothing else within the statement."""
    xml = _issue().decode()
    whole = (
        r'<Assertion xmlns="urn:oasis:names:tc:SAML:1\.0:assertion" AssertionID="_[0-9a-f]{32}" '
        r'IssueInstant="[-0-9]{10}T[:0-9]{8}Z" Issuer="/O=Grid/CN=cas\\/cas\.example\.org" MajorVersion="1" '
        r'MinorVersion="1"><Conditions NotBefore="[^"]*Z" NotOnOrAfter="[^"]*Z"></Conditions>'
        r'<AuthorizationDecisionStatement Decision="Permit" Resource="FTPDirectoryTree\|ftp://se\.example\.org/data/\*">'
        r'<Subject><NameIdentifier Format="urn:oasis:names:tc:SAML:1\.1:nameid-format:X509SubjectName" '
        r'NameQualifier="/O=Grid/CN=Test CA">/O=Grid/CN=Alice</NameIdentifier><SubjectConfirmation>'
        r"<ConfirmationMethod>urn:oasis:names:tc:SAML:1\.0:am:X509-PKI</ConfirmationMethod></SubjectConfirmation>"
        r'</Subject><Action Namespace="file">lookup</Action><Action Namespace="file">read</Action>'
        r"</AuthorizationDecisionStatement><AuthorizationDecisionStatement .*</AuthorizationDecisionStatement>"
        r'<ds:Signature xmlns:ds="http://www\.w3\.org/2000/09/xmldsig#">.*</ds:Signature></Assertion>'
    )
    assert re.fullmatch(whole, xml), xml


@pytest.mark.parametrize("version", SAMLVersion)
def test_bound_to_a_key(version: SAMLVersion) -> None:
    xml = _issue(version=version, bind_key=True)
    assert canonical(xml) == xml
    assert _believe(xml, require_key=True).is_bound
    again = CA_.issue(ALICE.subject, "p256")  # the same name, another certificate
    with pytest.raises(CapabilityError) as caught:
        _believe(xml, again)
    assert caught.value.problem is CapabilityProblem.HOLDER
    assert _believe(_issue(version=version), again).permits


@pytest.mark.parametrize("version", SAMLVersion)
def test_signxml_agrees(version: SAMLVersion) -> None:
    """Also on the shape of the signature, by its schema; and on what was signed."""
    xml = _issue(version=version, bind_key=True, groups=True)
    name = "AssertionID" if version is SAMLVersion.SAML1 else "ID"
    found = XMLVerifier().verify(xml, x509_cert=CAS.certificate, id_attribute=name, validate_schema=True)
    assert not isinstance(found, list)
    assert found.signed_data == re.sub(rb"<ds:Signature .*</ds:Signature>", b"", xml)


@pytest.mark.parametrize("version", SAMLVersion)
def test_groups(version: SAMLVersion) -> None:
    fqans = (f"/{VO}/Role=NULL/Capability=NULL", f"/{VO}/prod/Role=x/Capability=NULL")
    xml = _issue(make_capability(ALICE, fqans=fqans), version=version, groups=True)
    (attribute,) = _believe(xml).attributes
    assert (attribute.name, attribute.values) == (FQAN_ATTRIBUTE, fqans)
    assert canonical(xml) == xml


def test_actions_of_one_object_stand_together() -> None:
    rights = (
        file_right("ftp://h/d/*", "read"),
        file_right("ftp://h/d/*", "read", "write"),
        Right("FTPDirectoryTree", "ftp://h/d/*", Comparison.WILDCARD, "http", ("read",)),
    )
    (decision,) = _believe(_issue(make_capability(ALICE, rights=rights))).permits
    assert decision.actions == (Action("file", "read"), Action("file", "write"), Action("http", "read"))


@pytest.mark.parametrize(
    "subject",
    [
        "/O=Grid/CN=host/www.example.org",
        '/C=DE/O=Grid & <Sons>/CN="Al\'ice"',
        "/O=Grid/CN=Zoë ☃",
        "/O=Grid/CN=a+b/UID=x",
        "/DC=org/DC=example/emailAddress=a@b.example/CN=Robot: x",
    ],
)
@pytest.mark.parametrize("version", SAMLVersion)
def test_names(subject: str, version: SAMLVersion) -> None:
    """Any name of a holder is read back as that name."""
    ca = TestCA("/O=Grid/OU=R&D <x>/CN=CA", "p256")
    everything = {f"{subject_hash(ca.certificate)}.signing_policy": ca.signing_policy("*").encode()}
    anchors = make_anchors(ca, CA_, more=everything)
    holder = ca.issue(subject, "p256")
    xml = _issue(make_capability(holder, rights=RIGHTS), version=version)
    now = datetime.now(UTC)
    peer = verify_chain(holder.proxy(key="p256").chain_der, anchors, now=now)
    found = AssertionVerifier((AssertionIssuer(subject=CAS.subject),), lambda: anchors).verify(xml, peer, now=now)
    assert found.subject_der == peer.identity_der
    assert canonical(xml) == xml


def test_a_name_that_only_ldap_form_spells() -> None:
    name = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Grid"), x509.NameAttribute(NameOID.COMMON_NAME, "a\\/CN=b")]
    )
    holder = CA_.issue(name, "p256")
    assert _believe(_issue(make_capability(holder, rights=RIGHTS)), holder).permits


def test_it_ends_with_what_it_stands_on() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    brief = CA_.issue("/O=Grid/CN=Alice", "p256", not_after=now + timedelta(minutes=10))
    assert _believe(_issue(make_capability(brief, rights=RIGHTS)), brief).not_after == now + timedelta(minutes=10)
    short = CA_.issue(CAS.subject, "p256", not_after=now + timedelta(minutes=5))
    writer = AssertionWriter(signing_key(short))
    xml = writer.issue(make_capability(ALICE, rights=RIGHTS), now=now)
    assert _believe(xml).not_after == now + timedelta(minutes=5)
    with pytest.raises(IssuanceError) as caught:
        writer.issue(make_capability(ALICE, rights=RIGHTS), now=now + timedelta(minutes=5))
    assert caught.value.step is IssuanceStep.AUTHORITY


@pytest.mark.parametrize(
    "change",
    [
        {"rights": (file_right("ftp://h/a\nb", "read"),)},
        {"rights": (file_right("ftp://h/\ud800", "read"),)},
        {"rights": (file_right("", "read"),)},
        {"rights": (file_right("ftp://h/a"),)},
        {"rights": (file_right("ftp://h/a", "read", namespace="a|b"),)},
        {"rights": (file_right("ftp://h/a", "read", namespace=""),)},
        {"rights": (file_right("ftp://h/a", "re\tad"),)},
        {"rights": (file_right("ftp://h/*", "read", comparison=Comparison.EXACT, namespace="FTPExact"),)},
        {"rights": (file_right("*", "read", comparison=Comparison.EXACT),)},
        {"rights": tuple(file_right(f"ftp://h/{number}", "read") for number in range(1000))},
        {"rights": tuple(file_right(f"ftp://h/{number}/{'x' * 400}", "read") for number in range(500))},
        {"rights": RIGHTS, "identifier": b""},
        {"rights": RIGHTS, "lifetime": timedelta()},
        {"rights": RIGHTS, "audience": ("a\0b",)},
    ],
)
@pytest.mark.parametrize("version", SAMLVersion)
def test_not_issued(change: dict[str, object], version: SAMLVersion) -> None:
    with pytest.raises(IssuanceError):
        _issue(make_capability(ALICE, **change), version=version)  # type: ignore[arg-type]  # values by name


def test_nothing_to_say() -> None:
    for groups, fqans in ((False, ("/testvo",)), (True, ())):
        with pytest.raises(DeniedError):
            _issue(make_capability(ALICE, fqans=fqans), groups=groups)


def test_keys_that_sign_no_assertions() -> None:
    for key in (token_key(CAS.key), signing_key(CA_.issue(CAS.subject, "ed25519"))):
        with pytest.raises(ConfigError):
            AssertionWriter(key)
