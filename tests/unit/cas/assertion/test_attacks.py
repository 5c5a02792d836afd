"""Attacks on the signed forms: each one on what we issue, before the verifiers that sites use; none is believed.

A form is asked about as a site would ask: an attribute certificate and an assertion in a proxy, a token beside it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from cas.assertion.attribute_cert import AttributeIssuer
from cas.assertion.jwks import key_set
from cas.assertion.revocations import RevocationList, identifier_of
from cas.assertion.saml import AssertionWriter, SAMLOptions, SAMLVersion
from cas.assertion.scopes import ScopeBase, ScopeMapping, map_rights
from cas.assertion.signing import SigningKey, b64url
from cas.assertion.token import TokenIssuer, TokenOptions, sign_claims
from cas.assertion.value import Capability, Comparison
from gsi import der, oids
from gsi.certificate import Extension
from gsi.errors import CapabilityError, CapabilityProblem, IssuanceError, ParseError, VerificationError
from gsi.names import parse_oneline
from gsi.saml.trust import AssertionIssuer
from gsi.saml.verify import AssertionOptions, AssertionVerifier, VerifiedAssertion
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.tokens.replay import ReplayMemory
from gsi.tokens.rules import IssuerRules, TokenRules
from gsi.tokens.scopes import allows, parse_path
from gsi.tokens.verify import TokenVerifier, VerifiedToken
from gsi.trust.peer import VerifiedPeer
from gsi.trust.verify import verify_chain
from gsi.voms.attribute_cert import AttributeCertificate
from gsi.voms.lsc import NamePair, TrustedServer
from gsi.voms.verify import AttributeVerifier, VerifiedAttributes, VOMSOptions
from tests.harness.ca import LIMITED_INFO, Issued, TestCA, proxy_info
from tests.harness.capabilities import VO, file_right, make_capability, signing_key, token_key
from tests.harness.trust import make_anchors

P = CapabilityProblem
CA_ = TestCA(key="p256")
STRANGER = TestCA("/O=Elsewhere/CN=CA", "p256")
ALICE, BOB = CA_.issue("/O=Grid/CN=Alice", "p256"), CA_.issue("/O=Grid/CN=Bob", "p256")
CAS = CA_.issue("/O=Grid/CN=cas", "p256")
KEY = signing_key(CAS)
LIAR = signing_key(STRANGER.issue("/O=Grid/CN=cas", "p256"))
ANCHORS = make_anchors(CA_)
ISSUER, SE, HOST = "https://cas.example.org", "https://se.example.org", "se.example.org"
PLACE = "cas.example.org:15000"
MAPPING = ScopeMapping(
    bases=(ScopeBase(namespace="FTPDirectoryTree", prefix=f"ftp://{HOST}", audiences=frozenset({SE})),)
)
RIGHTS = (file_right(f"ftp://{HOST}/data/*", "read"),)
NOW = datetime.now(UTC).replace(microsecond=0)


def _capability(**changes: object) -> Capability:
    return make_capability(ALICE, **{"rights": RIGHTS, "now": NOW, "audience": (SE,)} | changes)  # type: ignore[arg-type]  # handed on by name


class _Servers:
    def find(self, vo: str, host: str) -> TrustedServer | None:
        pair = NamePair(parse_oneline(CAS.subject), parse_oneline(CA_.name))
        return TrustedServer(((pair,),)) if (vo, host) == (VO, "cas.example.org") else None


@dataclass
class Site:
    """What a site trusts, and who comes."""

    holder: Issued = ALICE
    now: datetime = NOW
    audience: str = SE

    def _peer(self) -> VerifiedPeer:
        proxy = self.holder.proxy(key="p256", not_before=self.now - timedelta(minutes=5))
        return verify_chain(proxy.chain_der, ANCHORS, now=self.now)

    def attributes(self, data: AttributeCertificate) -> VerifiedAttributes:
        options = VOMSOptions(hosts=frozenset({self.audience.removeprefix("https://")}))
        return AttributeVerifier(_Servers(), lambda: ANCHORS, options).verify(data, self._peer(), now=self.now)

    def assertion(self, data: bytes) -> VerifiedAssertion:
        options = AssertionOptions(audiences=frozenset({self.audience}), require_audience=True)
        verifier = AssertionVerifier((AssertionIssuer(subject=CAS.subject),), lambda: ANCHORS, options)
        return verifier.verify(data, self._peer(), now=self.now)

    def token(self, data: str, *keys: SigningKey) -> VerifiedToken:
        rules = TokenRules(issuers=(IssuerRules(issuer=ISSUER),), audiences=frozenset({self.audience}))
        held = StaticKeys({ISSUER: parse_key_set(key_set(keys or [KEY]))})
        peer = verify_chain(self.holder.chain_der, ANCHORS, now=self.now)
        return TokenVerifier(rules, held).verify(data, now=self.now, peer=peer)


def _ac(key: SigningKey = KEY, **changes: object) -> AttributeCertificate:
    return AttributeIssuer(key, VO, PLACE).issue(_capability(**changes), now=NOW)


def _saml(key: SigningKey = KEY, version: SAMLVersion = SAMLVersion.SAML1, **changes: object) -> bytes:
    return AssertionWriter(key, SAMLOptions(version=version)).issue(_capability(**changes), now=NOW)


def _jwt(key: SigningKey = KEY, **changes: object) -> str:
    options = TokenOptions(issuer=ISSUER, mapping=MAPPING)
    return TokenIssuer(key, options).issue(_capability(**changes), now=NOW).text


def _refused(body: Callable[[], object]) -> CapabilityProblem:
    with pytest.raises(CapabilityError) as caught:
        body()
    return caught.value.problem


def test_what_is_attacked_is_good() -> None:
    site = Site()
    assert site.attributes(_ac())
    for version in SAMLVersion:
        assert site.assertion(_saml(version=version))
    site.token(_jwt())


def test_forged_signer() -> None:
    """A signer of the same name below another CA."""
    site = Site()
    assert _refused(lambda: site.attributes(_ac(LIAR))) is P.SIGNER
    assert _refused(lambda: site.assertion(_saml(LIAR))) is P.SIGNER
    assert _refused(lambda: site.token(_jwt(LIAR))) is P.KEY


def test_swapped_signer() -> None:
    """Another member's certificate of the same CA, and the right certificate with another key's signature."""
    site, bob = Site(), signing_key(CA_.issue("/O=Grid/CN=Bob", "p256"))
    assert _refused(lambda: site.attributes(_ac(bob))) is P.ISSUER
    assert _refused(lambda: site.assertion(_saml(bob))) is P.ISSUER
    good, theirs = _ac(), _ac(bob)
    swapped = AttributeCertificate.assemble(good.info_der, good.signature_algorithm_der, theirs.signature)
    assert _refused(lambda: site.attributes(swapped)) is P.BAD_SIGNATURE
    certificate = base64.b64encode(CAS.der)
    xml = _saml(bob).replace(b'Issuer="/O=Grid/CN=Bob"', b'Issuer="/O=Grid/CN=cas"')
    xml = re.sub(rb"(<ds:X509Certificate>)[^<]*", rb"\1" + certificate, xml)
    assert _refused(lambda: site.assertion(xml)) is P.BAD_SIGNATURE
    claims = _jwt().split(".")[1]
    header = b64url(json.dumps({"alg": "ES256", "kid": KEY.kid, "typ": "JWT"}).encode())
    signed = f"{header}.{claims}"
    forged = f"{signed}.{b64url(bob.sign_jws(signed.encode()))}"
    assert _refused(lambda: site.token(forged)) is P.BAD_SIGNATURE


def test_moved_to_another_holder() -> None:
    """Alice's in Bob's proxy, and beside it."""
    bob = Site(holder=BOB)
    assert _refused(lambda: bob.attributes(_ac())) is P.HOLDER
    for version in SAMLVersion:
        assert _refused(partial(bob.assertion, _saml(version=version))) is P.HOLDER
    bound = _capability().holder
    thumbprint = hashlib.sha256(ALICE.der).digest()
    text = TokenIssuer(KEY, TokenOptions(issuer=ISSUER, mapping=MAPPING)).issue(
        replace(_capability(), holder=replace(bound, key_thumbprint=thumbprint)), now=NOW
    )
    Site().token(text.text)
    assert _refused(lambda: bob.token(text.text)) is P.HOLDER


def test_a_holder_of_the_same_name_below_another_ca() -> None:
    twin = STRANGER.issue(ALICE.subject, "p256")
    anchors = make_anchors(CA_, STRANGER)
    peer = verify_chain(twin.proxy(key="p256", not_before=NOW - timedelta(minutes=5)).chain_der, anchors, now=NOW)
    verifier = AttributeVerifier(_Servers(), lambda: anchors, VOMSOptions(hosts=frozenset({HOST})))
    assert _refused(lambda: verifier.verify(_ac(), peer, now=NOW)) is P.HOLDER
    options = AssertionOptions(audiences=frozenset({SE}))
    assertions = AssertionVerifier((AssertionIssuer(subject=CAS.subject),), lambda: anchors, options)
    assert _refused(lambda: assertions.verify(_saml(), peer, now=NOW)) is P.HOLDER


def test_times() -> None:
    for moment, problem in ((NOW + timedelta(hours=2), P.EXPIRED), (NOW - timedelta(minutes=30), P.NOT_YET_VALID)):
        site = Site(now=moment)
        assert _refused(partial(site.attributes, _ac())) is problem
        assert _refused(partial(site.assertion, _saml())) is problem
        assert _refused(partial(site.token, _jwt())) is problem


def test_over_long() -> None:
    """A life beyond what sites take is not issued as a token, and not believed as an assertion."""
    assert _refused(lambda: Site().assertion(_saml(lifetime=timedelta(days=8)))) is P.LIFETIME
    long = _ac(lifetime=timedelta(days=20))
    verifier = AttributeVerifier(
        _Servers(), lambda: ANCHORS, VOMSOptions(hosts=frozenset({HOST}), max_lifetime=timedelta(days=1))
    )
    assert _refused(lambda: verifier.verify(long, Site()._peer(), now=NOW)) is P.LIFETIME
    Site(now=NOW + timedelta(minutes=59)).token(_jwt(lifetime=timedelta(days=20)))
    assert _refused(lambda: Site(now=NOW + timedelta(hours=1)).token(_jwt(lifetime=timedelta(days=20)))) is P.EXPIRED


def test_wrong_audience_or_target() -> None:
    other = Site(audience="https://other.example.org")
    assert _refused(lambda: other.attributes(_ac())) is P.AUDIENCE
    assert _refused(lambda: other.assertion(_saml())) is P.AUDIENCE
    assert _refused(lambda: other.token(_jwt())) is P.AUDIENCE


def _resigned(**changes: object) -> AttributeCertificate:
    """An attribute certificate as a careless community would sign it."""
    good = _ac().info
    info = good._replace(**changes)  # type: ignore[arg-type]  # handed on by name
    return AttributeCertificate.assemble(info.encode(), info.signature_algorithm_der, KEY.signer.sign(info.encode()))


def test_non_critical_target() -> None:
    """Ours are critical; one that is not binds all the same."""
    extensions = tuple(one._replace(critical=False) for one in _ac().info.extensions)
    assert Site().attributes(_resigned(extensions=extensions))
    other = Site(audience="https://other.example.org")
    assert _refused(lambda: other.attributes(_resigned(extensions=extensions))) is P.AUDIENCE


def test_duplicates_and_unknown_critical() -> None:
    listed = _ac().info.extensions
    assert _refused(lambda: Site().attributes(_resigned(extensions=(*listed, listed[0])))) is P.MALFORMED
    unknown = Extension("1.2.3.4", True, b"\x05\x00")
    assert _refused(lambda: Site().attributes(_resigned(extensions=(*listed, unknown)))) is P.CRITICAL
    good = _ac()
    attribute = der.encode_oid(oids.VOMS_FQAN)
    doubled = good.info_der.replace(attribute, attribute + attribute)
    with pytest.raises(ParseError):
        AttributeCertificate.assemble(doubled, good.signature_algorithm_der, good.signature)


@pytest.mark.parametrize("fqan", [f"/{VO}X", "/othervo", f"/{VO}/../other", f"/{VO}//x", f"/{VO}\n", VO, ""])
def test_vo_prefix(fqan: str) -> None:
    """Neither issued nor believed."""
    with pytest.raises(IssuanceError):
        _ac(fqans=(fqan,))
    assert _refused(lambda: Site().attributes(_resigned(fqans=(fqan,)))) is P.CONTENT


@pytest.mark.parametrize("path", ["/database", "/data/../etc", "/data/%2e%2e/etc", "//etc/data", "/dat", "/DATA"])
def test_path_tricks(path: str) -> None:
    """`/data` covers none of these."""
    token = Site().token(_jwt())
    try:
        parts = parse_path(path)
    except CapabilityError:
        return
    assert not allows(token.capabilities, "storage.read", parts)


@pytest.mark.parametrize("name", ["/data/../*", "/data/%2e%2e/*", "/./*", "//data/*", "/a*/*", "/data/..", "/x/*/y/*"])
def test_paths_of_rights(name: str) -> None:
    """A right with an odd name becomes no scope."""
    assert map_rights([file_right(f"ftp://{HOST}{name}", "read")], MAPPING, audience=(SE,)).scopes == ()


def _with_header(text: str, **changes: object) -> str:
    header, claims, signature = text.split(".")
    found = json.loads(base64.urlsafe_b64decode(header + "=="))
    return f"{b64url(json.dumps(found | changes).encode())}.{claims}.{signature}"


def test_token_headers() -> None:
    text, site = _jwt(), Site()
    assert _refused(lambda: site.token(_with_header(text, alg="none"))) is P.ALGORITHM
    assert _refused(lambda: site.token(text.rpartition(".")[0] + ".")) is P.MALFORMED
    assert _refused(lambda: site.token(_with_header(text, kid="other"))) is P.KEY
    for member in ("jku", "x5u", "jwk", "x5c"):
        assert _refused(partial(site.token, _with_header(text, **{member: "https://evil"}))) is P.KEY
    assert _refused(lambda: site.token(_with_header(text, crit=["exp"]))) is P.CRITICAL
    assert _refused(lambda: site.token(_with_header(text, alg="RS256"))) is P.ALGORITHM


def test_hmac_with_the_public_key() -> None:
    for secret in (KEY.signer.spki_der, key_set([KEY]), json.dumps(dict(KEY.jwk())).encode(), CAS.pem):
        head = b64url(json.dumps({"alg": "HS256", "kid": KEY.kid, "typ": "JWT"}).encode())
        signed = f"{head}.{_jwt().split('.')[1]}"
        made = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        assert _refused(partial(Site().token, f"{signed}.{b64url(made)}")) is P.ALGORITHM


def test_changed_claims() -> None:
    head, body, signature = _jwt().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    for change in (
        {"scope": "storage.modify:/"},
        {"aud": SE, "sub": "root"},
        {"exp": claims["exp"] + 3600},
        {"jti": "x"},
    ):
        changed = b64url(json.dumps(claims | change, separators=(",", ":")).encode())
        assert _refused(partial(Site().token, f"{head}.{changed}.{signature}")) is P.BAD_SIGNATURE


@pytest.mark.parametrize("version", SAMLVersion)
def test_xml(version: SAMLVersion) -> None:
    """Wrapping, two assertions, comments, document types, ids twice, changed words."""
    xml, site = _saml(version=version), Site()
    widened = xml.replace(b"/data/*", b"/*")
    start = xml.index(b">") + 1
    identifier = re.search(rb'ID="(_[0-9a-f]{32})"', xml)
    assert identifier is not None
    evil = widened.replace(identifier[1], b"_evil")
    attacks = {
        "another word": widened,
        "a later end": xml.replace(b'NotOnOrAfter="20', b'NotOnOrAfter="21'),
        "the signed one inside another": evil[: evil.index(b">") + 1] + xml + evil[evil.index(b">") + 1 :],
        "another inside the signed one": xml[:start] + evil + xml[start:],
        "two beside": b"<x>" + xml + evil + b"</x>",
        "two roots": xml + evil,
        "the signature of another": re.sub(
            rb"<ds:Signature .*</ds:Signature>", lambda _: _signature(xml), widened, flags=re.DOTALL
        ),
        "the original in an object": widened.replace(
            b"</ds:KeyInfo>", b"</ds:KeyInfo><ds:Object>" + xml + b"</ds:Object>"
        ),
        "a comment in the name": xml.replace(b"CN=Alice<", b"CN=Ali<!---->ce<"),
        "an instruction": xml.replace(b"CN=Alice<", b"CN=Alice<?x?><"),
        "a document type": b'<!DOCTYPE a [<!ENTITY e "x">]>' + xml,
        "no signature": re.sub(rb"<ds:Signature .*</ds:Signature>", b"", xml, flags=re.DOTALL),
        "two signatures": xml.replace(_signature(xml), _signature(xml) * 2),
        "another transform": xml.replace(b"enveloped-signature", b"base64"),
        "the whole document": xml.replace(b'URI="#' + identifier[1], b'URI="'),
        "one id twice": xml.replace(b"<Conditions ", b'<Conditions ID="' + identifier[1] + b'" '),
        "SHA-1": xml.replace(b"xmlenc#sha256", b"xmldsig#sha1"),
    }
    for name, data in attacks.items():
        assert data != xml, name
        with pytest.raises(CapabilityError):
            site.assertion(data)


def _signature(xml: bytes) -> bytes:
    found = re.search(rb"<ds:Signature .*</ds:Signature>", xml, flags=re.DOTALL)
    assert found is not None
    return found[0]


def test_a_token_is_no_list_and_a_list_no_token() -> None:
    text = sign_claims(KEY, {"iss": ISSUER, "iat": 1, "exp": 2, "revoked": []}, kind="revocations+jwt")
    assert _refused(lambda: Site().token(text)) is P.VERSION


def test_replayed() -> None:
    rules = TokenRules(issuers=(IssuerRules(issuer=ISSUER),), audiences=frozenset({SE}), one_time=True)
    keys = StaticKeys({ISSUER: parse_key_set(key_set([KEY]))})
    verifier = TokenVerifier(rules, keys, replay=ReplayMemory())
    text = _jwt()
    verifier.verify(text, now=NOW)
    assert _refused(lambda: verifier.verify(text, now=NOW)) is P.REPLAYED
    verifier.verify(_jwt(), now=NOW)  # every one has an identifier of its own


def test_revoked() -> None:
    """All forms of one capability go by one identifier."""
    capability = _capability()
    known = RevocationList(ISSUER, NOW, NOW + timedelta(hours=1), {capability.identifier: capability.not_after})
    serial = AttributeIssuer(KEY, VO, PLACE).issue(capability, now=NOW).info.serial
    xml = AssertionWriter(KEY).issue(capability, now=NOW)
    token = TokenIssuer(KEY, TokenOptions(issuer=ISSUER, mapping=MAPPING)).issue(capability, now=NOW)
    found = re.search(rb'AssertionID="([^"]*)"', xml)
    assert found is not None
    for name in (serial, found[1].decode(), token.identifier):
        assert known.is_revoked(identifier_of(name))
    assert not known.is_revoked(identifier_of(_ac().info.serial))


def test_wider_than_the_grant() -> None:
    """No form says more than the capability: not by its audience, its actions, nor its objects."""
    writes = file_right(f"ftp://{HOST}/data/*", "write")
    single = file_right(f"ftp://{HOST}/data", "read", comparison=Comparison.EXACT)
    assert map_rights([writes, single], MAPPING, audience=(SE,)).scopes == ()
    decisions = Site().assertion(_saml(rights=(writes, single))).permits
    assert [(one.object, [action.name for action in one.actions]) for one in decisions] == [
        (f"ftp://{HOST}/data/*", ["write"]),
        (f"ftp://{HOST}/data", ["read"]),
    ]
    assert Site().attributes(_ac(fqans=(f"/{VO}/a",))).fqans == (f"/{VO}/a",)


def test_a_restricted_proxy_without_a_handler() -> None:
    """It is refused before its capabilities are looked at."""
    restricted = ALICE.proxy(
        key="p256", not_before=NOW - timedelta(minutes=5), info=proxy_info("1.2.3.4.5", policy=b"x")
    )
    with pytest.raises(VerificationError):
        verify_chain(restricted.chain_der, ANCHORS, now=NOW)


def test_an_independent_proxy_has_none_of_it() -> None:
    independent = ALICE.proxy(key="p256", not_before=NOW - timedelta(minutes=5), info=proxy_info(oids.INDEPENDENT))
    peer = verify_chain(independent.chain_der, ANCHORS, now=NOW)
    options = AssertionOptions(audiences=frozenset({SE}))
    verifier = AssertionVerifier((AssertionIssuer(subject=CAS.subject),), lambda: ANCHORS, options)
    assert _refused(lambda: verifier.verify(_saml(), peer, now=NOW)) is P.HOLDER


def test_a_limited_proxy_stays_limited() -> None:
    """What it carries is believed; that it is limited is told to whoever starts jobs."""
    limited = ALICE.proxy(key="p256", not_before=NOW - timedelta(minutes=5), info=LIMITED_INFO)
    peer = verify_chain(limited.chain_der, ANCHORS, now=NOW)
    options = AssertionOptions(audiences=frozenset({SE}))
    verifier = AssertionVerifier((AssertionIssuer(subject=CAS.subject),), lambda: ANCHORS, options)
    assert verifier.verify(_saml(), peer, now=NOW).permits
    assert peer.limited


def test_one_key_for_one_name() -> None:
    """The name is made of the key: another key under it is noticed by whoever has seen the first."""
    other = token_key(CA_.issue("/O=Grid/CN=x", "p256").key)
    text = _with_header(_jwt(other), kid=KEY.kid)
    assert _refused(lambda: Site().token(text)) is P.BAD_SIGNATURE
