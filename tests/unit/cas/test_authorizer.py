"""The authorizer for capabilities of communities, through policy files and the engine."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cas.assertion.saml import SAMLVersion
from cas.assertion.value import Comparison, Right
from cas.authorizer import CommunityAuthorizer
from gsi.authz.decision import Decision, Effect, Resource, Subject
from gsi.authz.sources import PresentedAssertion, PresentedToken, token_subject
from gsi.errors import ConfigError
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.tokens.rules import IssuerRules, TokenRules
from gsi.tokens.verify import TokenVerifier
from tests.harness.ca import LIMITED_INFO, write_file
from tests.harness.capabilities import file_right, signing_key
from tests.harness.cas_site import AUDIENCE, CLIMATE, DATA, HOST, PHYSICS, EnforcingSite, ac_of
from tests.harness.saml import assertion_extension
from tests.harness.tokens import TokenIssuer, b64
from tests.harness.trust import make_anchors

PERMIT, DENY, SILENT = Effect.PERMIT, Effect.DENY, Effect.NOT_APPLICABLE
LOGIN = {"action": "login", "kind": "login"}
HOUR = timedelta(hours=1)


@pytest.fixture
def site(tmp_path: Path) -> EnforcingSite:
    return EnforcingSite(tmp_path)


def ask(site: EnforcingSite, subject: Subject, policy: str | None = None, **question: object) -> Decision:
    return site.engine(policy).authorize(site.request(subject, **question))  # type: ignore[arg-type]  # handed on by name


@pytest.mark.parametrize("version", SAMLVersion)
def test_what_is_granted_is_permitted_as_the_communitys_account(site: EnforcingSite, version: SAMLVersion) -> None:
    text = site.climate.assertion(site.alice, version=version)
    for subject in (site.carrying(site.alice, text), site.subject(site.alice, text)):
        found = ask(site, subject)
        assert found.effect is PERMIT
        assert found.account == "climate"
        assert found.not_after == site.now + HOUR
        for word in ("climate: assertion _", site.climate.issued.subject, "file/read", f"ftp://{HOST}/data/f"):
            assert word in found.reason
        assert ask(site, subject, action="write").effect is DENY
        assert ask(site, subject, path="/other/f").effect is DENY


def test_without_a_capability_others_decide(site: EnforcingSite) -> None:
    plain = site.subject(site.alice)
    assert ask(site, plain, **LOGIN).account == "alice"
    assert ask(site, plain).effect is SILENT
    required = site.policy("required = true")
    assert ask(site, plain, required, **LOGIN).effect is DENY
    assert ask(site, site.carrying(site.alice, site.climate.assertion(site.alice)), required).effect is PERMIT


def test_logins_are_the_communitys(site: EnforcingSite) -> None:
    both = site.carrying(site.alice, site.physics.assertion(site.alice), site.climate.assertion(site.alice))
    assert ask(site, both, **LOGIN).account == "climate"
    assert ask(site, both, desired="physics", **LOGIN).account == "physics"
    assert ask(site, both, desired="alice", **LOGIN).effect is DENY
    alone = site.carrying(site.alice, site.physics.assertion(site.alice))
    assert ask(site, alone, **LOGIN).account == "physics"


def test_a_community_without_an_account_can_let_nobody_do_anything(site: EnforcingSite) -> None:
    write_file(site.directory / "gridmap", f'"{site.physics.issued.subject}" physics\n'.encode(), 0o644)
    subject = site.carrying(site.alice, site.climate.assertion(site.alice))
    for question in (LOGIN, {"action": "read"}):
        found = ask(site, subject, **question)
        assert found.effect is DENY
        assert "no account" in found.reason
    assert ask(site, subject, site.policy("accounts = false")).obligations == ()
    assert ask(site, subject, site.policy("accounts = false")).effect is PERMIT


def test_the_site_has_the_first_word(site: EnforcingSite) -> None:
    """What the community grants beyond it counts for nothing."""
    wide = [file_right(f"ftp://{HOST}/*", "read", "delete", "write"), file_right(f"ftp://{HOST}/home/*", "read")]
    subject = site.carrying(site.alice, site.climate.assertion(site.alice, rights=wide))
    assert ask(site, subject).effect is PERMIT
    assert ask(site, subject, action="write").effect is PERMIT
    for question in ({"action": "delete"}, {"path": "/home/f"}, {"path": "/data"}):
        found = ask(site, subject, **question)
        assert found.effect is DENY
        assert "the site lets climate grant nothing of the kind" in found.reason
    nothing = site.policy(
        climate='account = "climate"\ngroups = [{fqans = ["/climate"], objects = ["/x"], actions = ["file:read"]}]'
    )
    assert ask(site, subject, nothing).effect is DENY


def test_bans_go_before_all(site: EnforcingSite) -> None:
    subject = site.carrying(site.alice, site.climate.assertion(site.alice))
    with_ac = site.subject(site.alice, extensions=[ac_of(site.climate.attributes(site.alice))])
    policy = site.policy('bans = "bans"')
    for line, banned in (
        ('dn "/O=Grid/CN=Alice"', {subject, with_ac}),
        (f'dn "{site.climate.issued.subject}"', {subject, with_ac}),
        ("fqan /climate/readers", {with_ac}),
        ('dn "/O=Grid/CN=Bob"', set()),
    ):
        write_file(site.directory / "bans", f"{line}\n".encode(), 0o644)
        for one in (subject, with_ac):
            found = ask(site, one, policy)
            assert (found.effect is DENY) is (one in banned), line
            assert ("is banned" in found.reason) is (one in banned)
    write_file(site.directory / "bans", b'dn "/O=Grid/CN=Alice"\n', 0o644)
    assert ask(site, site.subject(site.alice), policy, **LOGIN).effect is DENY


def test_communities_are_never_merged(site: EnforcingSite) -> None:
    """Each grants half of it; together they would be enough."""
    mine = site.climate.assertion(site.alice, rights=[file_right(f"ftp://{HOST}/physics/*", "read")])
    theirs = site.physics.assertion(site.alice, rights=[file_right(DATA, "read")])
    subject = site.carrying(site.alice, mine, theirs)
    found = ask(site, subject, path="/physics/f")  # climate grants it, physics may speak of it
    assert found.effect is DENY
    assert "climate" in found.reason
    assert "physics" in found.reason
    assert ask(site, subject, path="/data/f").account == "physics"
    groups = [site.climate.attributes(site.alice), site.physics.attributes(site.alice)]
    attributes = site.subject(site.alice, extensions=[ac_of(*groups)])
    assert ask(site, attributes).account == "climate"
    assert ask(site, attributes, action="write").account == "physics"


def test_two_of_one_community_are_not_put_together(site: EnforcingSite) -> None:
    """A name with two readings, of which each assertion covers one."""
    one, other = (
        site.climate.assertion(site.alice, rights=[file_right(f"ftp://{HOST}{path}", "read")])
        for path in ("/data/a/*", "/data/b/*")
    )
    subject = site.subject(site.alice, one, other)
    request = site.request(subject, path="/data/a/f")
    real = request.resource.__class__(request.resource.name, {"real_path": ("/data/b/f",)})
    engine = site.engine()
    assert engine.authorize(request).effect is PERMIT
    assert engine.authorize(request.__class__(subject, request.action, real, request.environment)).effect is DENY


def test_what_is_shown_takes_the_place_of_what_is_carried(site: EnforcingSite) -> None:
    wide = site.climate.assertion(site.alice, rights=[file_right(DATA, "read", "write")])
    narrow = site.climate.assertion(site.alice)
    carried = assertion_extension(wide.encode())
    assert ask(site, site.subject(site.alice, extensions=[carried]), action="write").effect is PERMIT
    for shown in (narrow, PresentedAssertion(narrow.encode())):
        assert ask(site, site.subject(site.alice, shown, extensions=[carried]), action="write").effect is DENY
    extensions = [ac_of(site.physics.attributes(site.alice))]
    assert ask(site, site.subject(site.alice, narrow, extensions=extensions), action="write").effect is DENY


def test_showing(site: EnforcingSite) -> None:
    """The last one counts, so that a new one can follow one that has ended."""
    question = {"action": "authz_assert"}
    good = site.climate.assertion(site.alice)
    old = site.climate.assertion(site.alice, now=site.now - 2 * HOUR)
    for shown, effect in (((good,), PERMIT), ((old,), DENY), ((old, good), PERMIT), ((good, old), DENY)):
        assert ask(site, site.subject(site.alice, *shown), **question).effect is effect
    assert ask(site, site.subject(site.alice, old, good)).effect is PERMIT
    assert ask(site, site.subject(site.alice, "no assertion"), **question).effect is SILENT
    assert ask(site, site.subject(site.alice, site.climate.token(site.alice)), **question).account == "climate"


def test_attribute_certificates(site: EnforcingSite) -> None:
    """The site says what groups may do; a group that it does not know brings nothing."""
    readers, others = (
        site.subject(site.alice, extensions=[ac_of(site.climate.attributes(site.alice, fqans=(fqan,)))])
        for fqan in ("/climate/readers/Role=NULL/Capability=NULL", "/climate/readersX")
    )
    assert ask(site, readers).account == "climate"
    assert ask(site, readers, **LOGIN).account == "climate"
    for question in ({"action": "write"}, {"action": "lookup"}):
        assert ask(site, readers, **question).effect is DENY
    for question in (LOGIN, {"action": "read"}):
        assert ask(site, others, **question).effect is DENY


def test_attribute_certificates_of_others_are_not_looked_at(site: EnforcingSite) -> None:
    subject = site.subject(site.alice, extensions=[ac_of(site.climate.attributes(site.bob))])
    assert ask(site, subject).effect is DENY
    alone = site.policy(climate="")
    assert ask(site, subject, alone).effect is SILENT
    assert ask(site, subject, alone, **LOGIN).account == "alice"


def test_the_signer_of_attributes_has_to_be_the_communitys(site: EnforcingSite) -> None:
    """Though the vomsdir trusts another server of that VO."""
    lsc = site.directory / "vomsdir" / "climate" / "climate.example.org.lsc"
    write_file(lsc, f"{site.physics.issued.subject}\n{site.ca.name}\n".encode(), 0o644)
    site.physics.name = "climate"
    subject = site.subject(site.alice, extensions=[ac_of(site.physics.attributes(site.alice))])
    found = ask(site, subject, site.policy(physics=""))
    assert found.effect is DENY
    assert "does not speak for climate" in found.reason


def test_tokens(site: EnforcingSite) -> None:
    text = site.climate.token(site.alice)
    for shown in (text, PresentedToken(text)):
        subject = site.subject(site.alice, shown)
        assert ask(site, subject).account == "climate"
        assert ask(site, subject, action="lookup").effect is PERMIT
        assert ask(site, subject, action="write").effect is DENY
        assert ask(site, subject, path="/database/f").effect is DENY
    unbound = site.subject(site.alice, site.climate.token(site.alice, bound=False))
    assert ask(site, unbound).effect is DENY
    assert ask(site, unbound, site.policy('binding = "if-present"')).effect is PERMIT


def test_tokens_without_a_certificate(site: EnforcingSite) -> None:
    """What a web service has verified; the site's own rights and base path hold all the same."""
    rules = TokenRules(issuers=(IssuerRules(issuer=site.climate.url),), audiences=frozenset({AUDIENCE}))
    keys = StaticKeys({site.climate.url: parse_key_set((site.directory / "climate.jwks").read_bytes())})
    token = TokenVerifier(rules, keys).verify(site.climate.token(site.alice, bound=False), now=site.now)
    subject = token_subject(token)
    assert ask(site, subject).effect is DENY
    bearer = site.policy('binding = "if-present"')
    assert ask(site, subject, bearer).account == "climate"
    assert ask(site, subject, bearer, action="write").effect is DENY
    assert ask(site, subject, site.policy('binding = "if-present"', climate="")).effect is SILENT


def test_a_source_that_takes_capabilities_away_is_a_mistake(site: EnforcingSite) -> None:
    issuer = f'[source.s.issuers.c]\nsubject = "{site.climate.issued.subject}"\n'
    source = f'[source.s]\ntype = "saml"\ntrust_dir = "{site.trust_dir}"\n{issuer}'
    policy = 'sources = ["s"]\n' + site.policy() + source
    found = ask(site, site.carrying(site.alice, site.climate.assertion(site.alice)), policy)
    assert found.effect is Effect.INDETERMINATE
    assert "an attribute source has taken" in found.reason


def test_it_ends_within_a_session(site: EnforcingSite) -> None:
    subject = site.carrying(site.alice, site.climate.assertion(site.alice, lifetime=timedelta(seconds=30)))
    engine = site.engine()
    for seconds, effect in ((0, PERMIT), (29, PERMIT), (30, DENY), (31, DENY)):
        found = engine.authorize(site.request(subject, now=site.now + timedelta(seconds=seconds)))
        assert found.effect is effect, seconds
    assert "expired" in found.reason
    assert found.not_after == site.now + timedelta(seconds=31)


def test_a_revoked_signer_ends_it_at_once(site: EnforcingSite) -> None:
    subject = site.carrying(site.alice, site.climate.assertion(site.alice))
    engine = site.engine()
    assert engine.authorize(site.request(subject)).effect is PERMIT
    from tests.harness.ca import write_trust_dir

    write_trust_dir(site.trust_dir, site.ca, crl=site.ca.crl([site.climate.issued]))
    fresh = site.engine()
    found = fresh.authorize(site.request(subject))
    assert found.effect is DENY
    assert "revoked" in found.reason


def test_withdrawn_capabilities(site: EnforcingSite) -> None:
    """In every form; and a list that is out of date refuses all."""
    climate = f'{CLIMATE}withdrawn = "withdrawn"\n'
    policy = site.policy(climate=climate)
    subjects = [
        site.subject(site.alice, site.climate.assertion(site.alice, identifier=b"\x11" * 16)),
        site.subject(site.alice, site.climate.token(site.alice, identifier=b"\x11" * 16)),
        site.subject(site.alice, extensions=[ac_of(site.climate.attributes(site.alice, identifier=b"\x11" * 16))]),
    ]
    for listed, effect in ((b"\x22" * 16, PERMIT), (b"\x11" * 16, DENY)):
        write_file(site.directory / "withdrawn", site.climate.withdrawn(listed).encode(), 0o644)
        assert [ask(site, one, policy).effect for one in subjects] == [effect] * 3
    engine = site.engine(policy)
    write_file(site.directory / "withdrawn", site.physics.withdrawn().encode(), 0o644)
    assert ask(site, subjects[0], policy).effect is DENY
    site.climate.now += timedelta(seconds=1)
    write_file(site.directory / "withdrawn", site.climate.withdrawn().encode(), 0o644)
    engine = site.engine(policy)
    assert engine.authorize(site.request(subjects[2])).effect is PERMIT
    late = site.request(subjects[2], now=site.now + timedelta(minutes=59, seconds=59))
    assert engine.authorize(late).effect is PERMIT
    (site.directory / "withdrawn").unlink()
    with pytest.raises(ConfigError, match="withdrawn"):
        site.engine(policy)


def test_strangers(site: EnforcingSite) -> None:
    """Assertions of issuers that nobody here knows deny, unless they are somebody else's business."""
    alone = site.policy(climate="")
    for shown in (site.climate.assertion(site.alice), site.climate.token(site.alice)):
        subject = site.subject(site.alice, shown)
        assert ask(site, subject, alone).effect is DENY
        ignoring = site.policy('strangers = "ignore"', climate="")
        assert ask(site, subject, ignoring).effect is SILENT
        carried = [assertion_extension(site.physics.assertion(site.alice).encode())]
        both = site.subject(site.alice, shown, extensions=carried)  # the stranger's takes the place of nothing
        assert ask(site, both, ignoring).account == "physics"
        assert ask(site, both, ignoring, action="write").effect is DENY
        assert ask(site, subject, ignoring, **LOGIN).account == "alice"
    forged = site.climate.assertion(site.alice).replace("/data/*", "/*")
    assert ask(site, site.subject(site.alice, forged), site.policy('strangers = "ignore"')).effect is DENY


def test_jobs(site: EnforcingSite) -> None:
    right = Right("FTPDirectoryTree", "gram://ce.example.org/jobmanager-fork", Comparison.WILDCARD, "gram", ("start",))
    text = site.climate.assertion(site.alice, rights=[right])
    subject = site.carrying(site.alice, text)
    job = {"action": "start", "kind": "job", "service": "jobmanager-fork"}
    assert ask(site, subject, **job).account == "climate"
    assert ask(site, subject, **job | {"service": "jobmanager-lsf"}).effect is DENY
    assert ask(site, subject, **job | {"action": "cancel"}).effect is DENY
    limited = site.subject(site.alice, text, info=LIMITED_INFO)
    found = ask(site, limited, **job)
    assert found.effect is DENY
    assert "limited proxy" in found.reason
    files = site.subject(site.alice, site.climate.assertion(site.alice), info=LIMITED_INFO)
    assert ask(site, files).effect is PERMIT


def test_actions_that_nothing_is_said_of(site: EnforcingSite) -> None:
    subject = site.carrying(site.alice, site.climate.assertion(site.alice))
    assert ask(site, subject, action="stage").effect is DENY
    policy = site.policy('actions = {"file:stage" = "file:read"}')
    assert ask(site, subject, policy, action="stage").effect is PERMIT


def test_other_names(site: EnforcingSite) -> None:
    """What the service calls otherwise than the community; by the longest name."""
    names = (
        f'{CLIMATE}names = {{"ftp://{HOST}/pool" = "ftp://{HOST}/data", "ftp://{HOST}/pool/x" = "ftp://{HOST}/x"}}\n'
    )
    subject = site.carrying(site.alice, site.climate.assertion(site.alice))
    policy = site.policy(climate=names)
    assert ask(site, subject, policy, path="/pool/f").effect is PERMIT
    for path in ("/pool/x/f", "/pool", "/poolx/f", "/data/f"):
        assert ask(site, subject, policy, path=path).effect is DENY, path


def test_a_name_for_a_whole_host(site: EnforcingSite) -> None:
    names = f'{CLIMATE}names = {{"ftp://{HOST}/pool" = "ftp://other.example.org"}}\n'
    climate = names.replace(f'"{DATA}"', f'"{DATA}", "ftp://other.example.org/*"')
    rights = [file_right("ftp://other.example.org/runs/*", "read")]
    subject = site.carrying(site.alice, site.climate.assertion(site.alice, rights=rights))
    policy = site.policy(climate=climate)
    assert ask(site, subject, policy, path="/pool/runs/f").effect is PERMIT
    assert ask(site, subject, policy, path="/pool/f").effect is DENY
    assert ask(site, subject, policy, path="/runs/f").effect is DENY


def test_namespaces(site: EnforcingSite) -> None:
    exact = file_right(f"ftp://{HOST}/data/f", "read", comparison=Comparison.EXACT, namespace="FTPExact")
    other = file_right(DATA, "read", namespace="Other")
    subject = site.carrying(site.alice, site.climate.assertion(site.alice, rights=[exact]))
    assert ask(site, subject).effect is PERMIT
    assert ask(site, subject, path="/data/f/g").effect is DENY
    subject = site.carrying(site.alice, site.climate.assertion(site.alice, rights=[other]))
    assert ask(site, subject).effect is DENY
    assert ask(site, subject, site.policy('namespaces = {Other = "WildCardComparison"}')).effect is PERMIT
    assert ask(site, subject, site.policy('namespaces = {Other = "ExactComparison"}')).effect is DENY


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"climate": f'account = "shared"{CLIMATE}', "physics": f'account = "shared"{PHYSICS}'}, "same account"),
        ({"climate": CLIMATE, "physics": PHYSICS.replace("/physics/**", "/*/x")}, "FQAN"),
        ({"climate": CLIMATE.replace("file:read", "read")}, "no action"),
        ({"climate": CLIMATE.replace("/data/*", "/data/../*")}, "no object"),
        ({"climate": CLIMATE.replace("/data/*", "/da*/x")}, "no object"),
        ({"climate": CLIMATE.partition("groups")[0]}, "a VO, but nothing"),
        ({"climate": f'{CLIMATE}certificates = "absent"\n'}, "absent"),
        ({"climate": f'{CLIMATE}account = "a b"\n'}, "account"),
        ({"climate": f'{CLIMATE}withdrawn = "absent"\n'}, "absent"),
        ({"climate": f'{CLIMATE}names = {{"/a/*" = "/b"}}\n'}, "wildcard"),
        ({"more": 'actions = {"file:*" = "file:read"}'}, "wildcard"),
        ({"more": 'bans = "absent"'}, "absent"),
        ({"climate": "", "physics": ""}, "communities"),
    ],
)
def test_policies_that_cannot_be_used(site: EnforcingSite, keys: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        site.engine(site.policy(keys.pop("more", ""), **keys))


def test_two_of_one_identity(site: EnforcingSite) -> None:
    policy = site.policy().replace(site.physics.issued.subject, site.climate.issued.subject)
    with pytest.raises(ConfigError, match="same identity"):
        site.engine(policy)


def test_pinned_certificates(site: EnforcingSite) -> None:
    """They alone sign for it, whatever else has the name and a path."""
    subject = site.carrying(site.alice, site.climate.assertion(site.alice))
    policy = site.policy(climate=f'{CLIMATE}certificates = "pinned.pem"\n')
    write_file(site.directory / "pinned.pem", site.climate.issued.pem, 0o644)
    with_ac = site.subject(site.alice, extensions=[ac_of(site.climate.attributes(site.alice))])
    assert ask(site, subject, policy).effect is PERMIT
    assert ask(site, with_ac, policy).effect is PERMIT
    write_file(site.directory / "pinned.pem", site.ca.issue(site.climate.issued.subject, "p256").pem, 0o644)
    assert ask(site, subject, policy).effect is DENY
    assert ask(site, with_ac, policy).effect is DENY


def test_switches_of_assertions(site: EnforcingSite) -> None:
    plain = site.subject(site.alice, site.climate.assertion(site.alice))
    meant = site.subject(site.alice, site.climate.assertion(site.alice, audience=(AUDIENCE,)))
    for keys, subject, effect in (
        ("require_audience = true", plain, DENY),
        ("require_audience = true", meant, PERMIT),
        ("require_key = true", plain, DENY),
        ('max_lifetime = "59m"', plain, DENY),
        ('max_lifetime = "1h"', plain, PERMIT),
    ):
        assert ask(site, subject, site.policy(keys)).effect is effect, keys
    old = assertion_extension(site.climate.assertion(site.alice).encode(), oid="1.3.6.1.4.1.3536.1.1.1.9", raw=True)
    carrying = site.subject(site.alice, extensions=[old])
    assert ask(site, carrying).effect is SILENT
    assert ask(site, carrying, site.policy("accept_gt3 = true")).effect is PERMIT


def test_own_names(site: EnforcingSite) -> None:
    attributes = site.climate.attributes(site.alice, audience=(HOST,))
    subject = site.subject(site.alice, extensions=[ac_of(attributes)])
    assert ask(site, subject).effect is PERMIT
    assert ask(site, subject, site.policy().replace(f'["{HOST}"]', '["other.example.org"]')).effect is DENY
    everybody = TokenIssuer(site.climate.url, site.climate.issued.key)
    everybody.kid = signing_key(site.climate.issued).kid
    thumbprint = b64(hashlib.sha256(site.alice.der).digest())
    text = everybody.token(aud="https://wlcg.cern.ch/jwt/v1/any", cnf={"x5t#S256": thumbprint})
    assert ask(site, site.subject(site.alice, text)).effect is DENY
    assert ask(site, site.subject(site.alice, text), site.policy("accept_any_audience = true")).effect is PERMIT


def test_groups_of_tokens(site: EnforcingSite) -> None:
    """Where a token has no scopes, its groups are what the site says of them, and of this community's alone."""
    issuer = TokenIssuer(site.climate.url, site.climate.issued.key)
    issuer.kid = signing_key(site.climate.issued).kid
    cnf = {"x5t#S256": b64(hashlib.sha256(site.alice.der).digest())}
    for groups, effect in ((["/climate/readers"], PERMIT), (["/climate"], DENY), (["/physics/x"], DENY)):
        text = issuer.token(scope=None, cnf=cnf, wlcg_groups=groups)
        subject = site.subject(site.alice, text)
        assert ask(site, subject).effect is effect, groups
        assert ask(site, subject, **LOGIN).effect is effect, groups
        assert ask(site, subject, action="write").effect is DENY


def test_paths_of_tokens_are_below_the_base(site: EnforcingSite) -> None:
    rights = [file_right(f"ftp://{HOST}/runs/*", "read")]
    subject = site.subject(site.alice, site.climate.token(site.alice, rights=rights))
    policy = site.policy(climate=f'{CLIMATE}base_path = "/data"\n')
    assert ask(site, subject, policy, path="/data/runs/f").effect is PERMIT
    for path in ("/data/f", "/runs/f", "/data/runsx"):
        assert ask(site, subject, policy, path=path).effect is DENY
    root = site.policy(climate=CLIMATE.replace(DATA, f"ftp://{HOST}/*") + 'base_path = "/data"\n')
    assert ask(site, subject, root, path="/xdata/runs/f").effect is DENY
    assert ask(site, subject, root, path="/data/runs/f").effect is PERMIT


def test_every_reading_has_to_be_covered(site: EnforcingSite) -> None:
    """The name and the real path: by the site's rights, the groups' and the names, as by an assertion."""
    attributes = site.subject(site.alice, extensions=[ac_of(site.climate.attributes(site.alice))])
    names = f'{CLIMATE}names = {{"ftp://{HOST}/pool" = "ftp://{HOST}/data"}}\n'
    actions = '], actions = ["file:read", "file:lookup"'
    wide = site.policy(climate=CLIMATE.replace(actions, f', "ftp://{HOST}/y/*", "/*"{actions}'))
    for policy in (None, wide, site.policy(climate=names)):
        engine = site.engine(policy)
        path = "/pool/f" if policy and "/pool" in policy else "/data/f"
        request = site.request(attributes, path=path)
        assert engine.authorize(request).effect is PERMIT
        for real in ("/etc/f", "/y/f", "/data/f") if "/pool" in path else ("/etc/f", "/y/f"):
            resource = replace(request.resource, attributes={"real_path": (real,)})
            assert engine.authorize(replace(request, resource=resource)).effect is DENY, (policy, real)


def test_every_reading_has_to_be_the_sites_to_give(site: EnforcingSite) -> None:
    subject = site.carrying(
        site.alice, site.climate.assertion(site.alice, rights=[file_right(f"ftp://{HOST}/*", "read")])
    )
    request = site.request(subject)
    for real, effect in (("/data/g", PERMIT), ("/etc/f", DENY)):
        resource = replace(request.resource, attributes={"real_path": (real,)})
        assert site.engine().authorize(replace(request, resource=resource)).effect is effect, real


def test_names_that_are_no_paths(site: EnforcingSite) -> None:
    policy = site.policy(climate=CLIMATE.replace(f'objects = ["{DATA}"]', 'objects = ["/data/*"]'))
    subject = site.subject(site.alice, site.climate.assertion(site.alice, rights=[file_right("/data/*", "read")]))
    request = site.request(subject)
    engine = site.engine(policy)
    for name, effect in (("/data/f", PERMIT), ("data/f", DENY), ("", DENY), (f"ftp://{HOST}/data/f", DENY)):
        assert engine.authorize(replace(request, resource=Resource(name))).effect is effect, name


def test_what_was_verified_is_verified_again(site: EnforcingSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a minute, when the trust directory has changed, when the clock is put back, and for another chain."""
    subject = site.subject(site.alice, site.climate.assertion(site.alice))
    authorizer = next(iter(site.engine().policy.root.walk())).authorizer
    assert isinstance(authorizer, CommunityAuthorizer)
    finder = authorizer._finder
    verified: list[int] = []
    verify = finder._verify

    def verify_and_count(*asked: Any) -> object:
        verified.append(1)
        return verify(*asked)

    monkeypatch.setattr(finder, "_verify", verify_and_count)

    def count(seconds: int = 0, who: Subject = subject) -> int:
        verified.clear()
        assert authorizer.decide(site.request(who, now=site.now + timedelta(seconds=seconds))).effect is PERMIT
        return len(verified)

    assert [count(seconds) for seconds in (0, 0, 59, 60, 61)] == [1, 0, 0, 1, 0]
    assert count(30) == 1
    assert count(30, site.subject(site.alice, *subject.assertions)) == 1
    other = make_anchors(site.ca, crl=True)
    monkeypatch.setattr(finder, "_anchors", lambda: other)
    assert [count(30), count(30)] == [1, 0]


def test_another_token_beside_that_of_the_subject(site: EnforcingSite) -> None:
    rules = TokenRules(issuers=(IssuerRules(issuer=site.climate.url),), audiences=frozenset({AUDIENCE}))
    keys = StaticKeys({site.climate.url: parse_key_set((site.directory / "climate.jwks").read_bytes())})
    verifier = TokenVerifier(rules, keys)
    mine, hers = (
        verifier.verify(site.climate.token(site.alice, bound=False, nickname=name, rights=rights), now=site.now)
        for name, rights in (("bob", [file_right(f"ftp://{HOST}/x/*", "read")]), ("alice", None))
    )
    policy = site.policy('binding = "if-present"')
    assert ask(site, token_subject(hers), policy).effect is PERMIT
    assert ask(site, replace(token_subject(mine), assertions=(mine, hers)), policy).effect is DENY
