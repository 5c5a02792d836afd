"""What bounds a capability at a site: bans of all that it names and of its signer, narrower ones below it, its ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cas.assertion.saml import AssertionWriter, SAMLOptions, SAMLVersion
from cas.authorizer.community import Community
from cas.authorizer.rights import Names, SiteRights
from cas.authorizer.signing import TokenSigners
from gsi.authz.decision import Effect, Subject
from gsi.authz.principals import parse_dn
from gsi.authz.sources import token_subject
from gsi.certificate import Certificate
from gsi.errors import CapabilityError
from gsi.saml.trust import AssertionIssuer
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.tokens.rules import IssuerRules, TokenRules
from gsi.tokens.verify import TokenVerifier, VerifiedToken
from gsi.trust.verify import verify_chain
from tests.harness.ca import TestCA, write_file, write_trust_dir
from tests.harness.capabilities import file_right, signing_key
from tests.harness.cas_site import AUDIENCE, CLIMATE, DATA, HOST, EnforcingSite, ac_of
from tests.harness.saml import SAMLIssuer, assertion_extension
from tests.harness.tokens import TokenIssuer, b64
from tests.harness.trust import make_anchors

PERMIT, DENY = Effect.PERMIT, Effect.DENY
GROUPS = ("/climate/readers", "/climate/suspended")


@pytest.fixture
def site(tmp_path: Path) -> EnforcingSite:
    return EnforcingSite(tmp_path)


def ban(site: EnforcingSite, line: str) -> str:
    write_file(site.directory / "bans", f"{line}\n".encode(), 0o644)
    return site.policy('bans = "bans"')


def token(site: EnforcingSite, **claims: object) -> str:
    issuer = TokenIssuer(site.climate.url, site.climate.issued.key)
    issuer.kid = signing_key(site.climate.issued).kid
    thumbprint = b64(hashlib.sha256(site.alice.der).digest())
    return issuer.token(cnf={"x5t#S256": thumbprint}, aud=AUDIENCE, **claims)


def subjects(site: EnforcingSite) -> Mapping[str, Subject]:
    """Who brings the grant with the groups in each form, and in several at once."""
    writer = AssertionWriter(signing_key(site.climate.issued), SAMLOptions(version=SAMLVersion.SAML1, groups=True))
    with_groups = writer.issue(site.climate.capability(site.alice, fqans=GROUPS), now=site.now).decode()
    plain = site.climate.assertion(site.alice)
    ac = ac_of(site.climate.attributes(site.alice, fqans=GROUPS))
    return {
        "attribute certificate": site.subject(site.alice, extensions=[ac]),
        "token with groups alone": site.subject(site.alice, token(site, scope=None, wlcg_groups=list(GROUPS))),
        "token with scopes besides": site.subject(
            site.alice, token(site, scope="storage.read:/data", wlcg_groups=list(GROUPS))
        ),
        "assertion with groups": site.subject(site.alice, with_groups),
        "assertion and certificate in one proxy": site.subject(
            site.alice, extensions=[assertion_extension(plain.encode()), ac]
        ),
        "assertion shown, certificate in a proxy": site.subject(site.alice, plain, extensions=[ac]),
    }


@pytest.mark.parametrize("line", ["fqan /climate/suspended", "group /climate/suspended", "fqan /climate/susp*"])
def test_bans_hold_for_all_groups_that_are_named(site: EnforcingSite, line: str) -> None:
    harmless = ban(site, "fqan /climate/others")
    for what, subject in subjects(site).items():
        assert site.engine(harmless).authorize(site.request(subject)).effect is PERMIT, what
    policy = ban(site, line)
    for what, subject in subjects(site).items():
        for question in ({}, {"action": "login", "kind": "login"}):
            found = site.engine(policy).authorize(site.request(subject, **question))  # type: ignore[arg-type]  # handed on by name
            assert found.effect is DENY, what
            assert "is banned" in found.reason


def test_a_group_of_another_community_is_banned_too(site: EnforcingSite) -> None:
    both = ac_of(site.climate.attributes(site.alice), site.physics.attributes(site.alice, fqans=("/physics/bad",)))
    subject = site.subject(site.alice, extensions=[both])
    assert site.engine(ban(site, "fqan /physics/good")).authorize(site.request(subject)).effect is PERMIT
    assert site.engine(ban(site, "fqan /physics/bad")).authorize(site.request(subject)).effect is DENY


def test_bans_of_what_tokens_are_called(site: EnforcingSite) -> None:
    shown = site.subject(site.alice, token(site, scope="storage.read:/data", sub="alice"))
    rules = TokenRules(issuers=(IssuerRules(issuer=site.climate.url),), audiences=frozenset({AUDIENCE}))
    keys = StaticKeys({site.climate.url: parse_key_set((site.directory / "climate.jwks").read_bytes())})
    loose = TokenIssuer(site.climate.url, site.climate.issued.key)
    loose.kid = signing_key(site.climate.issued).kid
    text = loose.token(scope="storage.read:/data", sub="alice", aud=AUDIENCE, wlcg_groups=["/climate/suspended"])
    alone = token_subject(TokenVerifier(rules, keys).verify(text, now=site.now))
    for subject in (shown, alone):
        for line in (f'dn "{site.climate.url}#alice"', f'issuer "{site.climate.url}"'):
            policy = ban(site, line).replace("hosts =", 'binding = "if-present"\nhosts =')
            assert site.engine(policy).authorize(site.request(subject)).effect is DENY, line
    policy = ban(site, "fqan /climate/suspended").replace("hosts =", 'binding = "if-present"\nhosts =')
    assert site.engine(policy).authorize(site.request(alone)).effect is DENY
    assert site.engine(policy).authorize(site.request(shown)).effect is PERMIT


def test_bans_of_who_signs(site: EnforcingSite) -> None:
    other = TestCA("/O=Other/CN=CAS CA", "p256")
    site.climate.issued = other.issue(site.climate.issued.subject, "p256", not_before=site.now - timedelta(hours=2))
    write_trust_dir(site.trust_dir, site.ca, other)
    subject = site.subject(site.alice, site.climate.assertion(site.alice))
    number = site.climate.issued.certificate.serial_number
    for line, effect in (
        ('dn "/O=Grid/CN=Bob"', PERMIT),
        (f'serial "{other.name}" {number + 1}', PERMIT),
        (f'serial "{other.name}" {number}', DENY),
        (f'issuer "{other.name}"', DENY),
        (f'dn "{site.climate.issued.subject}"', DENY),
    ):
        assert site.engine(ban(site, line)).authorize(site.request(subject)).effect is effect, line


# --- narrowing --------------------------------------------------------------------------------------------------------


def test_the_lowest_of_a_community_counts_alone(site: EnforcingSite) -> None:
    broad = site.climate.assertion(site.alice)
    narrow = site.climate.assertion(site.alice, rights=[file_right(f"ftp://{HOST}/data/one/*", "read")])
    engine = site.engine()
    ac = ac_of(site.climate.attributes(site.alice))
    recent = site.now - timedelta(minutes=5)
    above = site.alice.proxy(key="p256", not_before=recent, extensions=[ac])
    below_ac = above.proxy(key="p256", not_before=recent, extensions=[assertion_extension(narrow.encode())])
    for subject in (
        site.carrying(site.alice, broad, narrow),
        Subject.from_peer(verify_chain(below_ac.chain_der, site.anchors, now=site.now)),
    ):
        assert engine.authorize(site.request(subject, path="/data/one/f")).effect is PERMIT
        assert engine.authorize(site.request(subject, path="/data/two/f")).effect is DENY
    # Communities do not hide each other's.
    mixed = site.carrying(
        site.alice,
        broad,
        site.physics.assertion(
            site.alice,
        ),
    )
    assert engine.authorize(site.request(mixed, path="/data/two/f")).account == "climate"


def test_what_is_below_hides_what_is_above_also_when_it_has_ended(site: EnforcingSite) -> None:
    broad = site.climate.assertion(site.alice)
    narrow = site.climate.assertion(
        site.alice, rights=[file_right(f"ftp://{HOST}/data/one/*", "read")], lifetime=timedelta(seconds=30)
    )
    subject = site.carrying(site.alice, broad, narrow)
    engine = site.engine()
    for later, effect in ((0, PERMIT), (31, DENY), (100, DENY)):
        request = site.request(subject, path="/data/one/f", now=site.now + timedelta(seconds=later))
        assert engine.authorize(request).effect is effect
    forged = narrow.replace("one", "two")
    assert engine.authorize(site.request(site.carrying(site.alice, broad, forged))).effect is DENY


# --- the ends ---------------------------------------------------------------------------------------------------------


def test_a_confirmation_that_ends_ends_the_assertion(site: EnforcingSite) -> None:
    end = site.now + timedelta(seconds=5)
    confirmation = (
        '<SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">'
        f'<SubjectConfirmationData NotOnOrAfter="{end:%Y-%m-%dT%H:%M:%SZ}"/></SubjectConfirmation>'
    )
    statement = (
        f'<AuthzDecisionStatement Resource="{DATA}" Decision="Permit">'
        '<Action Namespace="file">read</Action></AuthzDecisionStatement>'
    )
    issuer = SAMLIssuer(site.climate.issued)
    text = issuer.sign(issuer.assertion_2(site.alice, confirmations=confirmation, statements=statement)).decode()
    subject = site.subject(site.alice, text)
    engine = site.engine()
    found = engine.authorize(site.request(subject))
    assert (found.effect, found.not_after) == (PERMIT, end)
    assert engine.authorize(site.request(subject, now=end)).effect is DENY


def verified_token(site: EnforcingSite) -> VerifiedToken:
    rules = TokenRules(issuers=(IssuerRules(issuer=site.climate.url),), audiences=frozenset({AUDIENCE}))
    keys = StaticKeys({site.climate.url: parse_key_set((site.directory / "climate.jwks").read_bytes())})
    return TokenVerifier(rules, keys).verify(site.climate.token(site.alice, bound=False), now=site.now)


def community(site: EnforcingSite, *pinned: Certificate) -> Community:
    identity = site.climate.issued.subject
    return Community(
        name="climate",
        identity=identity,
        identity_der=parse_dn(identity),
        issuer=AssertionIssuer(
            name=identity if pinned else "", subject="" if pinned else identity, certificates=pinned
        ),
        certificates=pinned,
        account=None,
        site=SiteRights(()),
        names=Names({}),
        vo="",
        groups=(),
        token_issuer=site.climate.url,
        base_path=(),
        withdrawn=None,
    )


def test_tokens_end_with_the_certificate_of_their_key(site: EnforcingSite) -> None:
    """Once it is known; until then a token names a key alone."""
    token_of, certificate = verified_token(site), Certificate.parse(site.climate.issued.der)
    revoked = make_anchors(site.ca, crl=site.ca.crl([site.climate.issued]))
    path = (certificate, Certificate.parse(site.ca.der))
    trusted = [make_anchors(site.ca)]
    signers = TokenSigners(lambda: trusted[-1])
    for one in (make_anchors(site.ca), revoked, make_anchors()):
        trusted.append(one)
        signers.check(community(site), token_of, now=site.now)
    trusted.append(make_anchors(site.ca))
    signers.learn(community(site), path)
    signers.check(community(site), token_of, now=site.now)
    for one in (revoked, make_anchors()):
        trusted.append(one)
        with pytest.raises(CapabilityError, match="the certificate of its key"):
            signers.check(community(site), token_of, now=site.now)


def test_tokens_that_need_a_certificate(site: EnforcingSite) -> None:
    """Where the site says so, what the issuer publishes with a key has to be trusted, and to be there."""
    ours = replace(community(site), certified_tokens=True)
    token_of = verified_token(site)
    assert [one.der for one in token_of.key_certificates] == [site.climate.issued.der]
    revoked = make_anchors(site.ca, crl=site.ca.crl([site.climate.issued]))
    trusted = [make_anchors(site.ca)]
    signers = TokenSigners(lambda: trusted[-1])
    signers.check(ours, token_of, now=site.now)
    assert signers.path_of(ours, token_of, now=site.now) == token_of.key_certificates
    other = Certificate.parse(site.ca.issue("/O=Grid/CN=Other", "p256").der)
    for odd, words in (((), "no certificate of its key"), ((other,), "no certificate of its key")):
        with pytest.raises(CapabilityError, match=words):
            signers.check(ours, replace(token_of, key_certificates=odd), now=site.now)
    with pytest.raises(CapabilityError, match="no certificate of its key"):
        signers.check(replace(ours, certificates=(other,)), token_of, now=site.now)
    for one in (revoked, make_anchors()):
        trusted.append(one)
        with pytest.raises(CapabilityError, match="the certificate of its key"):
            signers.check(ours, token_of, now=site.now)
    trusted.append(make_anchors(site.ca))
    with pytest.raises(CapabilityError, match="the certificate of its key"):
        signers.check(ours, token_of, now=token_of.key_certificates[0].not_after + timedelta(days=1))


@pytest.mark.parametrize("certified", [True, False])
def test_a_renewed_certificate_of_the_same_key_goes_on(site: EnforcingSite, certified: bool) -> None:
    """What the issuer publishes counts where what was learnt has ended by its time, and not where it is revoked."""
    ours = replace(community(site), certified_tokens=certified)
    old, key = Certificate.parse(site.climate.issued.der), site.climate.issued.key
    end = old.not_after + timedelta(days=900)
    new = Certificate.parse(site.ca.issue(site.climate.issued.subject, key, not_after=end).der)
    token_of = replace(verified_token(site), key_certificates=(new,))
    late = old.not_after + timedelta(days=1)
    trusted = [make_anchors(site.ca)]
    signers = TokenSigners(lambda: trusted[-1])
    signers.learn(ours, (old,))
    assert signers.path_of(ours, token_of, now=site.now) == (old,)
    signers.check(ours, token_of, now=late)
    assert signers.path_of(ours, token_of, now=late) == (new,)
    other = Certificate.parse(site.ca.issue("/O=Grid/CN=Other", key, not_after=end).der)
    for odd in ((), (other,)):
        with pytest.raises(CapabilityError, match="expired"):
            signers.check(ours, replace(token_of, key_certificates=odd), now=late)
    with pytest.raises(CapabilityError, match="expired"):
        signers.check(ours, token_of, now=new.not_after + timedelta(days=1))
    trusted.append(make_anchors(site.ca, crl=site.ca.crl([site.climate.issued])))
    with pytest.raises(CapabilityError, match="revoked"):
        signers.check(ours, token_of, now=site.now)


def test_a_policy_that_asks_for_certificates(site: EnforcingSite) -> None:
    policy = site.policy(climate=f"certified_tokens = true\n{CLIMATE}")
    request = site.request(site.subject(site.alice, site.climate.token(site.alice)))
    assert site.engine(policy).authorize(request).is_permit
    keys = json.loads((site.directory / "climate.jwks").read_bytes())
    del keys["keys"][0]["x5c"]
    (site.directory / "climate.jwks").write_text(json.dumps(keys))
    found = site.engine(policy).authorize(request)
    assert not found.is_permit
    assert "no certificate of its key" in found.reason


def test_tokens_end_with_the_pinned_certificate_of_their_key(site: EnforcingSite) -> None:
    token_of, certificate = verified_token(site), Certificate.parse(site.climate.issued.der)
    anchors = make_anchors()  # pinned ones need no path, as for assertions
    signers = TokenSigners(lambda: anchors)
    ours = community(site, certificate)
    signers.check(ours, token_of, now=site.now)
    assert signers.path_of(ours, token_of, now=site.now) == (certificate,)
    with pytest.raises(CapabilityError, match="not valid now"):
        signers.check(ours, token_of, now=certificate.not_after + timedelta(seconds=1))
    anchors = make_anchors(site.ca, crl=site.ca.crl([site.climate.issued]))
    with pytest.raises(CapabilityError, match="revoked"):
        signers.check(ours, token_of, now=site.now)


def test_what_assertions_say_of_a_key_holds_for_tokens(site: EnforcingSite) -> None:
    """The serial number of whoever signed is banned for tokens of the same key, once it is known."""
    assertion = site.subject(site.alice, site.climate.assertion(site.alice))
    shown = site.subject(site.alice, site.climate.token(site.alice))
    engine = site.engine(ban(site, f'serial "{site.ca.name}" {site.climate.issued.certificate.serial_number}'))
    assert engine.authorize(site.request(assertion)).effect is DENY
    assert engine.authorize(site.request(shown)).effect is DENY


# --- the list of withdrawn ones ---------------------------------------------------------------------------------------


def test_an_older_list_is_not_taken_back(site: EnforcingSite) -> None:
    policy = site.policy(climate=f'{CLIMATE}withdrawn = "withdrawn"\n')
    one, other = b"\x11" * 16, b"\x22" * 16
    subject = site.subject(site.alice, site.climate.assertion(site.alice, identifier=one))

    def ask(listed: str) -> Effect:
        write_file(site.directory / "withdrawn", listed.encode(), 0o644)
        return site.engine(policy).authorize(site.request(subject)).effect

    first, same_second = site.climate.withdrawn(other), site.climate.withdrawn(one)
    assert ask(first) is PERMIT
    assert ask(same_second) is DENY
    assert ask(first) is DENY  # of the same second: what both withdraw
    site.climate.now += timedelta(seconds=5)
    newer = site.climate.withdrawn()
    assert ask(newer) is PERMIT
    site.climate.now += timedelta(seconds=5)
    newest = site.climate.withdrawn(one)
    assert ask(newest) is DENY
    assert ask(newer) is DENY
    assert ask(first) is DENY
