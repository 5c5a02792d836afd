"""Assertions judged: one table of what is accepted and of every attack, with the reason for which it is refused."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gsi.certificate import Certificate
from gsi.errors import CapabilityError, CapabilityProblem, ConfigError
from gsi.saml.assertion import Action, Attribute, AuthorizationDecision
from gsi.saml.trust import AssertionIssuer
from gsi.saml.verify import AssertionOptions, AssertionVerifier, VerifiedAssertion, _read_signed
from gsi.tokens.replay import ReplayMemory
from gsi.trust.peer import VerifiedPeer
from gsi.trust.verify import verify_chain
from tests.harness.ca import INDEPENDENT_INFO, Issued, TestCA, new_key
from tests.harness.saml import DS, EXC, SAMLIssuer
from tests.harness.trust import make_anchors

P: Final = CapabilityProblem
PLAIN: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
XPATH: Final = "http://www.w3.org/TR/1999/REC-xpath-19991116"
HOLDER1: Final = "urn:oasis:names:tc:SAML:1.0:cm:holder-of-key"
HOLDER2: Final = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"
AUDIENCE: Final = "https://se.example.org"


class World:
    """A community, its users, and a site that believes it."""

    def __init__(self) -> None:
        self.ca = TestCA()
        self.cas = self.ca.issue("/O=Grid/CN=cas/cas.example.org")
        self.alice = self.ca.issue("/O=Grid/CN=Alice")
        self.bob = self.ca.issue("/O=Grid/CN=Bob")
        self.proxy = self.alice.proxy()
        self.independent = self.alice.proxy(info=INDEPENDENT_INFO)
        self.issuer = SAMLIssuer(self.cas)
        self.anchors = make_anchors(self.ca)
        self.now = datetime.now(UTC)

    def peer(self, issued: Issued) -> VerifiedPeer:
        return verify_chain(issued.chain_der, self.anchors, now=self.now)

    def judge(
        self,
        xml: bytes,
        *,
        peer: Issued | None = None,
        options: AssertionOptions | None = None,
        issuers: tuple[AssertionIssuer, ...] | None = None,
        replay: ReplayMemory | None = None,
    ) -> VerifiedAssertion:
        issuers = issuers or (AssertionIssuer(subject=self.cas.subject),)
        verifier = AssertionVerifier(issuers, lambda: self.anchors, options, replay=replay)
        return verifier.verify(xml, self.peer(peer or self.proxy), now=self.now)

    def cas_xml(self, **changes: object) -> bytes:
        """A signed assertion of CAS, with changes."""
        return self.issuer.sign(self.issuer.cas_assertion(self.alice, **changes))  # type: ignore[arg-type]  # values by name

    def xml_2(self, **changes: object) -> bytes:
        """A signed SAML 2.0 assertion, with changes."""
        return self.issuer.sign(self.issuer.assertion_2(self.alice, **changes))  # type: ignore[arg-type]  # values by name


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def key_info(*issued: Issued) -> str:
    """A KeyInfo for holder-of-key."""
    ders = "".join(f"<ds:X509Certificate>{base64.b64encode(one.der).decode()}</ds:X509Certificate>" for one in issued)
    return f'<ds:KeyInfo xmlns:ds="{DS}"><ds:X509Data>{ders}</ds:X509Data></ds:KeyInfo>'


def _holder_2(issued: Issued, method: str = HOLDER2, data: str = "") -> str:
    return (
        f'<SubjectConfirmation Method="{method}"><SubjectConfirmationData{data}>{key_info(issued)}'
        "</SubjectConfirmationData></SubjectConfirmation>"
    )


def _cut(xml: bytes, name: str) -> bytes:
    found = re.search(rb"<ds:%s[ >].*</ds:%s>" % (name.encode(), name.encode()), xml, re.DOTALL)
    assert found
    return found[0]


def _issued_at(xml: str, moment: datetime) -> str:
    return re.sub('IssueInstant="[^"]*"', f'IssueInstant="{moment:%Y-%m-%dT%H:%M:%SZ}"', xml)


def _wrapped(w: World, where: str) -> bytes:
    """A good signed assertion hidden within, before or behind a forged one."""
    good = w.cas_xml(identifier="_good")
    forged = w.issuer.cas_assertion(w.alice, statements=[("FTPDirectoryTree|ftp://h/*", ["write"])], identifier="_evil")
    signature = _cut(good, "Signature").decode()
    inner = good.decode()
    match where:
        case "signature moved, original inside":
            text = forged.replace("</Assertion>", f"{signature}{inner.replace(signature, '')}</Assertion>")
        case "original inside Object":
            held = signature.replace("</ds:Signature>", f"<ds:Object>{inner}</ds:Object></ds:Signature>")
            text = forged.replace("</Assertion>", f"{held}</Assertion>")
        case "original in Advice":
            text = forged.replace("</Assertion>", f"<Advice>{inner}</Advice></Assertion>")
        case "same id":
            text = forged.replace("_evil", "_good").replace(
                "</Assertion>", f"{signature}{inner.replace(signature, '')}</Assertion>"
            )
        case "envelope":
            text = f"<Response>{forged}{inner}</Response>"
        case _:
            text = forged.replace("</Assertion>", f"{signature}</Assertion>").replace("_evil", "_good")
    return text.encode()


@dataclass(frozen=True)
class Row:
    make: Callable[[World], bytes]
    problem: CapabilityProblem | None = None
    options: AssertionOptions = field(default_factory=AssertionOptions)
    peer: Callable[[World], Issued] | None = None


OURS: Final = AssertionOptions(audiences=frozenset({AUDIENCE}))
KEYS: Final = AssertionOptions(require_key=True)


def _audience_1(*names: str) -> str:
    listed = "".join(f"<Audience>{name}</Audience>" for name in names)
    return f"<AudienceRestrictionCondition>{listed}</AudienceRestrictionCondition>"


def _audience_2(*names: str) -> str:
    return _audience_1(*names).replace("Condition>", ">")


ROWS: Final[dict[str, Row]] = {
    # --- accepted
    "CAS": Row(lambda w: w.cas_xml()),
    "SAML 2.0": Row(lambda w: w.xml_2()),
    "SAML 1.0": Row(lambda w: w.cas_xml(minor="0")),
    "by the end entity itself": Row(lambda w: w.cas_xml(), peer=lambda w: w.alice),
    "by a lower proxy": Row(lambda w: w.cas_xml(), peer=lambda w: w.proxy.proxy().proxy()),
    "old spelling of the name's form": Row(
        lambda w: w.cas_xml(name_format="urn:oasis:names:tc:SAML:1.0:assertion#X509SubjectName")
    ),
    "no qualifier": Row(lambda w: w.cas_xml(qualifier="")),
    "no confirmation": Row(lambda w: w.cas_xml(method=None)),
    "name in LDAP form": Row(lambda w: w.cas_xml(subject="CN=Alice,O=Grid")),
    "name in another case": Row(lambda w: w.cas_xml(subject="/O=GRID/CN=alice")),
    "several statements": Row(lambda w: w.cas_xml(statements=[("a|b", ["read"]), ("a|c", ["write", "x"])])),
    "own audience": Row(lambda w: w.cas_xml(conditions=_audience_1("x", AUDIENCE)), options=OURS),
    "own audience 2": Row(lambda w: w.xml_2(conditions=_audience_2(AUDIENCE)), options=OURS),
    "holder of key": Row(
        lambda w: w.cas_xml(method=HOLDER1, confirmation=key_info(w.proxy)), options=KEYS
    ),
    "holder of the end entity's key": Row(lambda w: w.xml_2(confirmations=_holder_2(w.alice)), options=KEYS),
    "one of two confirmations": Row(
        lambda w: w.xml_2(confirmations=_holder_2(w.bob) + _holder_2(w.alice)), options=KEYS
    ),
    "an independent proxy for itself": Row(
        lambda w: w.cas_xml(
            subject=w.independent.subject, qualifier="", method=HOLDER1, confirmation=key_info(w.independent)
        ),
        options=KEYS,
        peer=lambda w: w.independent,
    ),
    "the second confirmation is due": Row(
        lambda w: w.xml_2(
            confirmations=_holder_2(w.proxy, data=' NotBefore="2199-01-01T00:00:00Z"')
            + _holder_2(w.proxy, data=' NotBefore="2020-01-01T00:00:00Z"')
        ),
        options=KEYS,
    ),
    "issued 30 s ahead": Row(lambda w: w.cas_xml(not_before=w.now + timedelta(seconds=30))),
    "SHA-1 switched on": Row(
        lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), digest=f"{DS}sha1", method=f"{DS}rsa-sha1"),
        options=AssertionOptions(accept_sha1=True),
    ),
    "XML declaration": Row(lambda w: b"<?xml version='1.0' encoding='UTF-8'?>\n" + w.cas_xml()),
    "authentication statement": Row(
        lambda w: w.cas_xml(
            more='<AuthenticationStatement AuthenticationMethod="x" AuthenticationInstant="2026-01-01T00:00:00Z">'
            f'<Subject><NameIdentifier Format="#X509SubjectName">{w.alice.subject}</NameIdentifier></Subject>'
            "</AuthenticationStatement>"
        )
    ),
    # --- the signature
    "not signed": Row(lambda w: w.issuer.cas_assertion(w.alice).encode(), P.BAD_SIGNATURE),
    "one word changed": Row(lambda w: w.cas_xml().replace(b">read<", b">rate<"), P.BAD_SIGNATURE),
    "resource changed": Row(lambda w: w.cas_xml().replace(b"/data/*", b"/*"), P.BAD_SIGNATURE),
    "time changed": Row(
        lambda w: re.sub(rb'NotOnOrAfter="20..', b'NotOnOrAfter="2099', w.cas_xml()), P.BAD_SIGNATURE
    ),
    "another key": Row(
        lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), key=w.bob.key), P.BAD_SIGNATURE
    ),
    "signed by Alice herself": Row(
        lambda w: SAMLIssuer(w.alice, w.cas.subject).sign(w.issuer.cas_assertion(w.alice)), P.SIGNER
    ),
    "signed by a proxy of CAS": Row(
        lambda w: SAMLIssuer(w.cas.proxy(), w.cas.subject).sign(w.issuer.cas_assertion(w.alice)), P.SIGNER
    ),
    "by an impostor's CA": Row(
        lambda w: SAMLIssuer(TestCA("/O=Evil/CN=CA").issue(w.cas.subject)).sign(w.issuer.cas_assertion(w.alice)),
        P.SIGNER,
    ),
    "CAS' certificate, another's key": Row(
        lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), key=new_key("rsa2048")), P.BAD_SIGNATURE
    ),
    "no certificate": Row(lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), certificates=()), P.SIGNER),
    "a bare key": Row(
        lambda w: w.issuer.sign(
            w.issuer.cas_assertion(w.alice),
            key_info="<ds:KeyInfo><ds:KeyValue><ds:RSAKeyValue><ds:Modulus>AQAB</ds:Modulus>"
            "<ds:Exponent>AQAB</ds:Exponent></ds:RSAKeyValue></ds:KeyValue></ds:KeyInfo>",
        ),
        P.MALFORMED,
    ),
    "SHA-1": Row(
        lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), digest=f"{DS}sha1", method=f"{DS}rsa-sha1"),
        P.ALGORITHM,
    ),
    "SHA-1 digest": Row(lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), digest=f"{DS}sha1"), P.ALGORITHM),
    "HMAC": Row(
        lambda w: w.issuer.sign(
            w.issuer.cas_assertion(w.alice), method="http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"
        ),
        P.ALGORITHM,
    ),
    "canonicalization with comments": Row(
        lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), canonicalization=f"{EXC}WithComments"), P.ALGORITHM
    ),
    "inclusive canonicalization": Row(
        lambda w: w.issuer.sign(
            w.issuer.cas_assertion(w.alice), transforms=(f"{DS}enveloped-signature", PLAIN)
        ),
        P.ALGORITHM,
    ),
    "XPath": Row(
        lambda w: w.issuer.sign(
            w.issuer.cas_assertion(w.alice), transforms=(f"{DS}enveloped-signature", EXC, XPATH)
        ),
        P.ALGORITHM,
    ),
    "XSLT": Row(
        lambda w: w.issuer.sign(
            w.issuer.cas_assertion(w.alice), transforms=("http://www.w3.org/TR/1999/REC-xslt-19991116", EXC)
        ),
        P.ALGORITHM,
    ),
    "no transforms": Row(lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), transforms=(EXC,)), P.ALGORITHM),
    "two references": Row(lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), references=2), P.MALFORMED),
    "no reference": Row(lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), references=0), P.MALFORMED),
    "reference to all": Row(lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), reference=""), P.MALFORMED),
    "reference to a file": Row(
        lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), reference="file:///etc/passwd"), P.MALFORMED
    ),
    "reference to another id": Row(
        lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice), reference="#other"), P.MALFORMED
    ),
    "two signatures": Row(lambda w: w.issuer.sign(w.cas_xml()), P.MALFORMED),
    # --- wrapping
    "wrapped: signature moved": Row(lambda w: _wrapped(w, "signature moved, original inside"), P.MALFORMED),
    "wrapped: in Object": Row(lambda w: _wrapped(w, "original inside Object"), P.MALFORMED),
    "wrapped: in Advice": Row(lambda w: _wrapped(w, "original in Advice"), P.MALFORMED),
    "wrapped: the same id": Row(lambda w: _wrapped(w, "same id"), P.MALFORMED),
    "wrapped: in an envelope": Row(lambda w: _wrapped(w, "envelope"), P.VERSION),
    "wrapped: signature of another": Row(lambda w: _wrapped(w, "swapped"), P.BAD_SIGNATURE),
    # --- XML
    "DTD": Row(lambda w: b"<!DOCTYPE Assertion>" + w.cas_xml(), P.MALFORMED),
    "entities": Row(
        lambda w: b'<!DOCTYPE a [<!ENTITY e "Alice">]>' + w.cas_xml().replace(b"CN=Alice", b"CN=&e;"), P.MALFORMED
    ),
    "external entity": Row(
        lambda w: b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + w.cas_xml(), P.MALFORMED
    ),
    "UTF-16 with DTD": Row(
        lambda w: ("\ufeff<!DOCTYPE a>" + w.cas_xml().decode()).encode("utf-16"), P.MALFORMED
    ),
    "says it is UTF-16": Row(
        lambda w: b"<?xml version='1.0' encoding='UTF-7'?>" + w.cas_xml().replace(b"Alice", b"+ADw-x"), P.BAD_SIGNATURE
    ),
    "comment inside the name": Row(lambda w: w.cas_xml().replace(b"CN=Alice", b"CN=Al<!-- -->ice"), P.MALFORMED),
    "comment inside a name, signed": Row(lambda w: w.cas_xml(subject="/O=Grid/CN=Alice<!-- -->/CN=x"), P.MALFORMED),
    "comment behind": Row(lambda w: w.cas_xml() + b"<!-- -->", P.MALFORMED),
    "processing instruction": Row(lambda w: w.cas_xml().replace(b"</Assertion>", b"<?x y?></Assertion>"), P.MALFORMED),
    "two assertions": Row(lambda w: w.cas_xml() + w.cas_xml(), P.MALFORMED),
    "cut": Row(lambda w: w.cas_xml()[:-10], P.MALFORMED),
    "empty": Row(lambda w: b"", P.MALFORMED),
    "huge": Row(lambda w: w.cas_xml() + b" " * (256 << 10), P.MALFORMED),
    "deep": Row(lambda w: b"<a>" * 17 + b"</a>" * 17, P.MALFORMED),
    "very deep": Row(lambda w: b"<a>" * 5000 + b"</a>" * 5000, P.MALFORMED),
    "many elements": Row(lambda w: b"<a>" + b"<b/>" * 10_001 + b"</a>", P.MALFORMED),
    "doubled id": Row(
        lambda w: w.cas_xml(identifier="_x").replace(b"<Conditions ", b'<Conditions AssertionID="_x" '), P.MALFORMED
    ),
    "another root": Row(lambda w: b"<Assertion/>", P.VERSION),
    "odd id": Row(lambda w: w.cas_xml(identifier="a b"), P.MALFORMED),
    "SAML 1.2": Row(lambda w: w.cas_xml(minor="2"), P.VERSION),
    # --- issuer
    "another issuer": Row(lambda w: w.cas_xml(issuer="/O=Grid/CN=other"), P.ISSUER),
    "no name as issuer": Row(lambda w: w.cas_xml(issuer="cas"), P.ISSUER),
    "SAML 2.0 of another issuer": Row(lambda w: w.xml_2(issuer="https://evil.example"), P.ISSUER),
    # --- time
    "expired": Row(
        lambda w: w.cas_xml(not_before=w.now - timedelta(hours=2), not_after=w.now - timedelta(seconds=2)), P.EXPIRED
    ),
    "in the future": Row(lambda w: w.cas_xml(not_before=w.now + timedelta(minutes=5)), P.NOT_YET_VALID),
    "issued in the future, valid before": Row(
        lambda w: w.issuer.sign(_issued_at(w.issuer.cas_assertion(w.alice), w.now + timedelta(minutes=5))),
        P.NOT_YET_VALID,
    ),
    "issued in the future, without a beginning": Row(
        lambda w: w.issuer.sign(
            re.sub(
                ' NotBefore="[^"]*"', "", _issued_at(w.issuer.assertion_2(w.alice), w.now + timedelta(minutes=5))
            )
        ),
        P.NOT_YET_VALID,
    ),
    "over-long": Row(lambda w: w.cas_xml(not_after=w.now + timedelta(days=30)), P.LIFETIME),
    "without end": Row(
        lambda w: w.issuer.sign(re.sub(r' NotOnOrAfter="[^"]*"', "", w.issuer.cas_assertion(w.alice))), P.LIFETIME
    ),
    "local time": Row(
        lambda w: w.issuer.sign(re.sub(r'(NotOnOrAfter="[^"]*)Z"', r'\1"', w.issuer.cas_assertion(w.alice))),
        P.MALFORMED,
    ),
    "13th month": Row(
        lambda w: w.issuer.sign(re.sub(r'(NotOnOrAfter="\d{4}-)\d\d', r"\g<1>13", w.issuer.cas_assertion(w.alice))),
        P.MALFORMED,
    ),
    # --- audience and conditions
    "another audience": Row(lambda w: w.cas_xml(conditions=_audience_1("https://other")), P.AUDIENCE, OURS),
    "audience in capitals": Row(lambda w: w.xml_2(conditions=_audience_2(AUDIENCE.upper())), P.AUDIENCE, OURS),
    "two restrictions, one not ours": Row(
        lambda w: w.xml_2(conditions=_audience_2(AUDIENCE) + _audience_2("x")), P.AUDIENCE, OURS
    ),
    "audience, and we have no name": Row(lambda w: w.cas_xml(conditions=_audience_1(AUDIENCE)), P.AUDIENCE),
    "no audience, where one must be": Row(
        lambda w: w.cas_xml(), P.AUDIENCE, OURS._replace(require_audience=True)
    ),
    "restriction without audience": Row(lambda w: w.cas_xml(conditions=_audience_1()), P.MALFORMED, OURS),
    "unknown condition": Row(lambda w: w.cas_xml(conditions="<MoonPhase/>"), P.CRITICAL),
    "condition of another namespace": Row(lambda w: w.xml_2(conditions='<x xmlns="urn:x"/>'), P.MALFORMED),
    "one use, and nobody remembers": Row(lambda w: w.xml_2(conditions="<OneTimeUse/>"), P.REPLAYED),
    "not to be cached": Row(lambda w: w.cas_xml(conditions="<DoNotCacheCondition/>"), P.REPLAYED),
    # --- holder
    "Bob with Alice's": Row(lambda w: w.cas_xml(), P.HOLDER, peer=lambda w: w.bob.proxy()),
    "Bob with Alice's 2": Row(lambda w: w.xml_2(), P.HOLDER, peer=lambda w: w.bob),
    "another subject": Row(lambda w: w.cas_xml(subject="/O=Grid/CN=Alice/CN=x"), P.HOLDER),
    "another CA": Row(lambda w: w.cas_xml(qualifier="/O=Evil/CN=CA"), P.HOLDER),
    "an e-mail address": Row(
        lambda w: w.cas_xml(name_format="urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"), P.HOLDER
    ),
    "no name": Row(lambda w: w.cas_xml(subject=" "), P.HOLDER),
    "an independent proxy": Row(lambda w: w.cas_xml(), P.HOLDER, peer=lambda w: w.alice.proxy(info=INDEPENDENT_INFO)),
    "an independent proxy with the key above it": Row(
        lambda w: w.cas_xml(
            subject=w.independent.subject, qualifier="", method=HOLDER1, confirmation=key_info(w.alice)
        ),
        P.HOLDER,
        peer=lambda w: w.independent,
    ),
    "unknown confirmation": Row(lambda w: w.cas_xml(method="urn:x"), P.HOLDER),
    "Bob's key": Row(lambda w: w.cas_xml(method=HOLDER1, confirmation=key_info(w.bob)), P.HOLDER),
    "the CA's key": Row(lambda w: w.cas_xml(method=HOLDER1, confirmation=key_info(w.ca.credential)), P.HOLDER),
    "a lower proxy's key": Row(lambda w: w.xml_2(confirmations=_holder_2(w.proxy.proxy())), P.HOLDER),
    "no key, where one must be": Row(lambda w: w.cas_xml(), P.HOLDER, KEYS),
    "no confirmation, where a key must be": Row(lambda w: w.cas_xml(method=None), P.HOLDER, KEYS),
    "confirmation expired": Row(
        lambda w: w.xml_2(confirmations=_holder_2(w.proxy, data=' NotOnOrAfter="2020-01-01T00:00:00Z"')), P.HOLDER
    ),
    "confirmation not yet valid": Row(
        lambda w: w.xml_2(confirmations=_holder_2(w.proxy, data=' NotBefore="2199-01-01T00:00:00Z"')), P.HOLDER
    ),
    "confirmation for another": Row(
        lambda w: w.xml_2(confirmations=_holder_2(w.proxy, data=' Recipient="https://other"')), P.HOLDER
    ),
    "in response to something": Row(
        lambda w: w.xml_2(confirmations=_holder_2(w.proxy, data=' InResponseTo="x"')), P.MALFORMED
    ),
    # --- statements
    "evidence": Row(
        lambda w: w.issuer.sign(
            w.issuer.cas_assertion(w.alice).replace(
                "</AuthorizationDecisionStatement>", "<Evidence/></AuthorizationDecisionStatement>"
            )
        ),
        P.CRITICAL,
    ),
    "unknown statement": Row(lambda w: w.xml_2(statements="<Statement/>"), P.CRITICAL),
    "advice": Row(lambda w: w.xml_2(statements="<Advice/>"), P.CRITICAL),
    "no action": Row(lambda w: w.cas_xml(statements=[("a|b", [])]), P.CONTENT),
    "odd decision": Row(lambda w: w.cas_xml(decision="Perhaps"), P.CONTENT),
    "text between": Row(lambda w: w.cas_xml(more="x"), P.MALFORMED),
    "unknown attribute": Row(
        lambda w: w.issuer.sign(w.issuer.cas_assertion(w.alice).replace("<Action ", '<Action x="y" ')), P.MALFORMED
    ),
    "two issuers": Row(lambda w: w.xml_2(statements="<Issuer>x</Issuer>"), P.CRITICAL),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_verdicts(name: str, world: World) -> None:
    row = ROWS[name]
    xml = row.make(world)
    peer = None if row.peer is None else row.peer(world)
    if row.problem is None:
        world.judge(xml, peer=peer, options=row.options)
        return
    with pytest.raises(CapabilityError, match=r"\Aassertion: ") as caught:
        world.judge(xml, peer=peer, options=row.options)
    assert caught.value.problem is row.problem, caught.value


def test_what_it_proves(world: World) -> None:
    end = world.now.replace(microsecond=0) + timedelta(hours=1)
    found = world.judge(world.cas_xml(not_after=end, statements=[("FTPDirectoryTree|ftp://h/d/*", ["read", "lookup"])]))
    assert found.decisions == (
        AuthorizationDecision(
            "FTPDirectoryTree|ftp://h/d/*", "Permit", (Action("file", "read"), Action("file", "lookup"))
        ),
    )
    (decision,) = found.permits
    assert (decision.namespace, decision.object) == ("FTPDirectoryTree", "ftp://h/d/*")
    assert (found.not_after, found.version, found.is_bound) == (end, "1.1", False)
    assert found.subject_der == world.alice.certificate.subject.public_bytes()
    assert found.signer == r"/O=Grid/CN=cas\/cas.example.org"
    second = world.judge(world.xml_2(confirmations=_holder_2(world.proxy)))
    assert second.attributes == (Attribute("role", "", ("writer", "reader")),)
    assert (second.version, second.is_bound) == ("2.0", True)
    assert second.decisions[0].namespace == ""
    attribute = (
        '<AttributeStatement><Subject><NameIdentifier Format="#X509SubjectName">/O=Grid/CN=Alice</NameIdentifier>'
        "</Subject>"
        '<Attribute AttributeName="a" AttributeNamespace="n"><AttributeValue>v</AttributeValue></Attribute>'
        "</AttributeStatement>"
    )
    assert world.judge(world.cas_xml(more=attribute)).attributes == (Attribute("a", "n", ("v",)),)


def test_a_denial_takes_the_permit_of_the_same_resource_away(world: World) -> None:
    other = world.issuer.cas_assertion(world.alice, decision="Deny", statements=[("a|b", ["write"])])
    denial = re.search(r"<AuthorizationDecisionStatement.*</AuthorizationDecisionStatement>", other)
    assert denial
    found = world.judge(world.cas_xml(statements=[("a|b", ["read"]), ("a|c", ["read"])], more=denial[0]))
    assert [one.resource for one in found.permits] == ["a|c"]
    assert len(found.decisions) == 3


def test_a_statement_about_another(world: World) -> None:
    """Every statement has to be about the holder."""
    other = world.issuer.cas_assertion(world.bob)
    statement = re.search(r"<AuthorizationDecisionStatement.*</AuthorizationDecisionStatement>", other)
    assert statement
    with pytest.raises(CapabilityError) as caught:
        world.judge(world.cas_xml(more=statement[0]))
    assert caught.value.problem is P.HOLDER


def test_bound_to_a_key_only_where_every_statement_is(world: World) -> None:
    """Each subject of SAML 1 is confirmed by itself; one by name alone leaves the whole to whoever has the name."""
    by_key = world.issuer.cas_assertion(world.alice, method=HOLDER1, confirmation=key_info(world.proxy))
    by_name = world.issuer.cas_assertion(world.alice)
    for first, second, is_bound in ((by_key, by_key, True), (by_key, by_name, False), (by_name, by_key, False)):
        statement = re.search(r"<AuthorizationDecisionStatement.*</AuthorizationDecisionStatement>", second)
        assert statement
        xml = world.issuer.sign(first.replace("</Assertion>", f"{statement[0]}</Assertion>"))
        assert world.judge(xml).is_bound is is_bound
        if not is_bound:
            with pytest.raises(CapabilityError) as caught:
                world.judge(xml, options=KEYS)
            assert caught.value.problem is P.HOLDER


def test_what_was_signed_is_what_was_shown(world: World) -> None:
    """The last check of all: whatever a parser or the library of signatures made of the document before."""
    for xml, issuer in (
        (world.issuer.cas_assertion(world.alice, identifier="_x"), world.issuer.name),
        (world.issuer.assertion_2(world.alice, identifier="_x"), world.issuer.name),
    ):
        assert _read_signed(xml.encode(), "_x", issuer).identifier == "_x"
        for identifier, name in (("_y", issuer), ("", issuer), ("_x", "/O=Grid/CN=other"), ("_x", "")):
            with pytest.raises(CapabilityError, match="not what the document shows") as caught:
                _read_signed(xml.encode(), identifier, name)
            assert caught.value.problem is P.MALFORMED


def test_no_signature_within_what_was_signed(world: World) -> None:
    """Not even where nothing is read, such as within a statement about how somebody logged in."""
    inner = f'<AuthnContext><ds:Signature xmlns:ds="{DS}"/></AuthnContext>'
    statement = f'<AuthnStatement AuthnInstant="2026-01-01T00:00:00Z">{inner}</AuthnStatement>'
    xml = world.issuer.assertion_2(world.alice, identifier="_x", statements=statement)
    with pytest.raises(CapabilityError, match="a signature within") as caught:
        _read_signed(xml.encode(), "_x", world.issuer.name)
    assert caught.value.problem is P.MALFORMED
    harmless = xml.replace(inner, "<AuthnContext/>")
    assert _read_signed(harmless.encode(), "_x", world.issuer.name).decisions == ()


def test_lifetime_is_capped_by_the_chain(world: World) -> None:
    end = world.now.replace(microsecond=0) + timedelta(minutes=30)
    assert world.judge(world.cas_xml(), peer=world.alice.proxy(not_after=end)).not_after == end


def test_one_use(world: World) -> None:
    guard = ReplayMemory()
    xml = world.xml_2(conditions="<OneTimeUse/>")
    world.judge(xml, replay=guard)
    with pytest.raises(CapabilityError) as caught:
        world.judge(xml, replay=guard)
    assert caught.value.problem is P.REPLAYED


def test_pinned(world: World) -> None:
    """A pinned certificate needs no path, and nothing else will do."""
    foreign = TestCA("/O=Elsewhere/CN=CA").issue("/O=Elsewhere/CN=idp", "p256")
    own = Certificate.parse(foreign.der)
    idp = SAMLIssuer(foreign, "https://idp.example.org")
    issuers = (AssertionIssuer(name=idp.name, certificates=(own,)),)
    for certificates in (None, ()):
        world.judge(idp.sign(idp.assertion_2(world.alice), certificates=certificates), issuers=issuers)
    rivals = [
        idp.sign(idp.assertion_2(world.alice), key=world.cas.key),
        SAMLIssuer(world.cas, idp.name).sign(idp.assertion_2(world.alice)),
        world.issuer.sign(idp.assertion_2(world.alice), certificates=[foreign.certificate]),
    ]
    for xml, problem in zip(rivals, (P.BAD_SIGNATURE, P.SIGNER, P.BAD_SIGNATURE), strict=True):
        with pytest.raises(CapabilityError) as caught:
            world.judge(xml, issuers=issuers)
        assert caught.value.problem is problem
    old = TestCA("/O=Elsewhere/CN=CA").issue("/O=Elsewhere/CN=idp", not_after=world.now - timedelta(minutes=1))
    late = SAMLIssuer(old, idp.name)
    with pytest.raises(CapabilityError) as caught:
        world.judge(
            late.sign(late.assertion_2(world.alice)),
            issuers=(AssertionIssuer(name=idp.name, certificates=(Certificate.parse(old.der),)),),
        )
    assert caught.value.problem is P.SIGNER


def test_a_pinned_certificate_with_a_weak_key(world: World) -> None:
    weak = TestCA("/O=X/CN=CA").issue("/O=X/CN=idp", rsa.generate_private_key(public_exponent=65537, key_size=1024))
    idp = SAMLIssuer(weak, "https://idp.example.org")
    issuers = (AssertionIssuer(name=idp.name, certificates=(Certificate.parse(weak.der),)),)
    with pytest.raises(CapabilityError, match="key") as caught:
        world.judge(idp.sign(idp.assertion_2(world.alice)), issuers=issuers)
    assert caught.value.problem is P.SIGNER


def test_a_revoked_issuer_is_refused_at_once() -> None:
    site = World()
    xml = site.cas_xml()
    verifier = AssertionVerifier((AssertionIssuer(subject=site.cas.subject),), lambda: site.anchors)
    verifier.verify(xml, site.peer(site.proxy), now=site.now)
    peer = site.peer(site.proxy)
    site.anchors = make_anchors(site.ca, crl=site.ca.crl([site.cas]))
    with pytest.raises(CapabilityError, match="revoked") as caught:
        verifier.verify(xml, peer, now=site.now)
    assert caught.value.problem is P.SIGNER


def test_issuers_that_are_none(world: World) -> None:
    own = Certificate.parse(world.cas.der)
    for arguments in ({}, {"subject": "x"}, {"subject": "/O=a", "certificates": (own,)}, {"certificates": (own,)}):
        with pytest.raises(ConfigError):
            AssertionIssuer(**arguments)
