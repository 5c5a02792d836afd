"""Attribute sources for VOMS, tokens and assertions, through the engine and through policy files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from gsi.authz.combine import Combining
from gsi.authz.deadline import MAX_THREADS
from gsi.authz.decision import AuthorizationRequest, Decision, Effect, Subject
from gsi.authz.engine import Engine
from gsi.authz.policy import Chain, Member, Policy, Source
from gsi.authz.policyfile import load_policy
from gsi.authz.record import describe_decision
from gsi.authz.registry import Place
from gsi.authz.rulefile import parse_rules
from gsi.authz.rules import RulesAuthorizer
from gsi.authz.sources import PresentedAssertion, PresentedToken, token_subject
from gsi.authz.token_source import TokenSource
from gsi.errors import CapabilityError, ConfigError
from gsi.saml.verify import VerifiedAssertion
from gsi.tokens.keycache import PATIENCE, KeyCache
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.tokens.rules import IssuerRules, TokenRules
from gsi.tokens.verify import TokenVerifier, VerifiedToken
from gsi.trust.verify import verify_chain
from gsi.voms.verify import VerifiedAttributes
from tests.harness.authz import request_of
from tests.harness.ca import INDEPENDENT_INFO, Issued, TestCA, new_key, write_file, write_trust_dir
from tests.harness.saml import SAMLIssuer, assertion_extension
from tests.harness.tokens import AUDIENCE, TokenIssuer, b64
from tests.harness.trust import make_anchors
from tests.harness.voms import VO, VOMSServer, ac_extension

ALLOW: Final = '[authorizer.rules]\ntype = "rules"\nfile = "rules"\n'


class Site:
    """A trust directory, a VOMS server, a token issuer, a CAS, and a policy in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.ca = TestCA()
        self.server = VOMSServer(self.ca)
        self.tokens = TokenIssuer()
        self.cas = SAMLIssuer(self.ca.issue("/O=Grid/CN=cas"))
        self.alice = self.ca.issue("/O=Grid/CN=Alice")
        self.anchors = make_anchors(self.ca)
        write_trust_dir(directory / "certificates", self.ca)
        self.server.write_lsc(directory / "vomsdir")
        write_file(directory / "keys.json", self.tokens.key_set(), 0o644)

    def engine(self, sources: str, rules: str = "permit authenticated to read on **\n") -> Engine:
        """An engine with these sources and rules."""
        names = [line.split(".")[1].rstrip("]") for line in sources.splitlines() if line.startswith("[source.")]
        used = list(dict.fromkeys(names))
        text = f'order = ["rules"]\nsources = {json.dumps(used)}\n{ALLOW}{sources}'
        write_file(self.directory / "policy.toml", text.encode(), 0o644)
        write_file(self.directory / "rules", rules.encode(), 0o644)
        return Engine(load_policy(Place(str(self.directory / "policy.toml"))).policy)

    @property
    def voms(self) -> str:
        places = f'vomsdir = "{self.directory}/vomsdir"\ntrust_dir = "{self.directory}/certificates"\n'
        return f'[source.voms]\ntype = "voms"\n{places}'

    def token_source(self, more: str = "") -> str:
        return (
            f'[source.tokens]\ntype = "tokens"\naudiences = ["{AUDIENCE}"]\n{more}'
            f'[source.tokens.issuers.vo]\nurl = "{self.tokens.url}"\njwks_file = "keys.json"\n'
            'base_path = "/vo"\ngroups = ["/vo"]\n'
        )

    def saml_source(self, more: str = "") -> str:
        return (
            f'[source.saml]\ntype = "saml"\ntrust_dir = "{self.directory}/certificates"\n{more}'
            '[source.saml.issuers.cas]\nsubject = "/O=Grid/CN=cas"\n'
        )

    def subject(self, issued: Issued | None = None, *shown: object) -> Subject:
        """The subject of a chain, with what was shown."""
        peer = verify_chain((issued or self.alice.proxy()).chain_der, self.anchors, now=self.now)
        return Subject.from_peer(peer, assertions=shown)

    def request(self, subject: Subject, **more: object) -> AuthorizationRequest:
        return request_of(subject, "read", "/data/f", now=self.now, **more)  # type: ignore[arg-type]  # fields by name

    def ac(self, **changes: object) -> bytes:
        return self.server.attribute_certificate(self.alice, **changes)  # type: ignore[arg-type]  # fields by name

    def bound(self, issued: Issued, **changes: object) -> str:
        """A token that is bound to a certificate."""
        return self.tokens.token(cnf={"x5t#S256": b64(hashlib.sha256(issued.der).digest())}, **changes)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def _collect(engine: Engine, request: AuthorizationRequest) -> AuthorizationRequest:
    """What the sources of an engine make of a request."""
    for member in engine.policy.sources:
        request = member.source.collect(request)
    return request


def _decide(engine: Engine, request: AuthorizationRequest) -> Decision:
    return engine.authorize(request)


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_what_sources_found_is_kept_with_the_decision(site: Site) -> None:
    """Else nobody could see why an attribute's rule has permitted."""
    engine = site.engine(site.voms + site.token_source(), f"permit fqan /{VO}/Role=prod to read on /data/**\n")
    kept: list[AuthorizationRequest] = []
    engine._record = lambda request, _: kept.append(request)
    role = f"/{VO}/Role=prod/Capability=NULL"
    proxy = site.alice.proxy(
        extensions=[ac_extension(site.ac(fqans=[role], not_after=site.now + timedelta(minutes=20)))]
    )
    asked = site.request(site.subject(proxy))
    decision = engine.authorize(asked)
    assert decision.effect is Effect.PERMIT
    recorded = engine.find(decision.decision_id)
    assert recorded is not None
    assert recorded.request.subject.fqans == kept[0].subject.fqans == (role,)
    told = describe_decision(*recorded)
    assert told["subject"]["fqans"] == [role]  # type: ignore[index]  # plain values, as JSON has them
    steps = {step.authorizer: step.reason for step in decision.trace}
    assert steps["voms"].startswith(f"fqans {role}; until 20")
    assert steps["tokens"] == "nothing found"
    considered = engine.consider(asked)
    assert considered.request.subject.fqans == (role,)
    assert considered.decision.decision_id == ""
    bad = site.request(site.subject(proxy, PresentedToken("eyJ.x.y")))
    failed = engine.authorize(bad)
    assert failed.effect is Effect.INDETERMINATE
    found = engine.find(failed.decision_id)
    assert found is not None
    assert found.request.subject.fqans == (role,)  # what was found before the failure


def test_what_a_trace_tells_is_bounded(site: Site) -> None:
    engine = site.engine(site.voms)
    roles = [f"/{VO}/Role=r{number}/Capability=NULL" for number in range(20)]
    proxy = site.alice.proxy(extensions=[ac_extension(site.ac(fqans=roles))])
    step = engine.preview(site.request(site.subject(proxy))).trace[0]
    assert f"{roles[7]}, ..." in step.reason
    assert roles[8] not in step.reason


# --- VOMS -------------------------------------------------------------------------------------------------------------


def test_voms(site: Site) -> None:
    engine = site.engine(site.voms, f"permit fqan /{VO}/Role=prod to read on /data/**\n")
    role = f"/{VO}/Role=prod/Capability=NULL"
    end = site.now + timedelta(minutes=20)
    proxy = site.alice.proxy(extensions=[ac_extension(site.ac(fqans=[role], not_after=end), site.ac())])
    decision = _decide(engine, site.request(site.subject(proxy.proxy())))
    assert decision.effect is Effect.PERMIT
    assert decision.not_after == end + timedelta(minutes=5)  # with the grace that verifiers of VOMS give
    found = _collect(engine, site.request(site.subject(proxy))).subject
    assert found.fqans == (role, f"/{VO}/Role=NULL/Capability=NULL")
    assert [type(one) for one in found.assertions] == [VerifiedAttributes] * 2
    plain = site.request(site.subject())
    assert _collect(engine, plain) is plain
    assert _decide(engine, plain).effect is Effect.NOT_APPLICABLE


@pytest.mark.parametrize(
    "make",
    [
        lambda s: s.alice.proxy(extensions=[ac_extension(s.ac(spoil=True))]),
        lambda s: s.alice.proxy(extensions=[ac_extension(s.ac(fqans=["/other"]))]),
        lambda s: s.alice.proxy(extensions=[ac_extension(s.ac(), s.ac(holder_serial=5))]),
        lambda s: s.alice.proxy(extensions=[ac_extension(b"0\x00")]),
        lambda s: s.ca.issue("/O=Grid/CN=Bob").proxy(extensions=[ac_extension(s.ac())]),
    ],
)
def test_voms_that_cannot_be_verified(make: Callable[[Site], Issued], site: Site) -> None:
    request = site.request(site.subject(make(site)))
    strict = _decide(site.engine(site.voms), request)
    assert strict.effect is Effect.INDETERMINATE
    assert "voms: attribute certificate" in strict.reason
    lenient = site.engine(site.voms + 'on_failure = "ignore"\n')
    assert _decide(lenient, request).effect is Effect.PERMIT
    found = _collect(lenient, request)
    assert len(found.environment.attributes["voms.ignored"]) == 1
    assert all(fqan.startswith(f"/{VO}") for fqan in found.subject.fqans)


def test_an_independent_proxy_has_no_attributes_of_its_issuer(site: Site) -> None:
    """They are found, and rules do not let them permit anything (`gsi.authz.principals.rights_fqans`)."""
    engine = site.engine(site.voms, f"permit fqan /{VO} to read on /data/**\n")
    upper = site.alice.proxy(extensions=[ac_extension(site.ac(fqans=[f"/{VO}"]))])
    assert _decide(engine, site.request(site.subject(upper))).effect is Effect.PERMIT
    lower = site.subject(upper.proxy(info=INDEPENDENT_INFO))
    assert _decide(engine, site.request(lower)).effect is Effect.NOT_APPLICABLE


def test_a_ban_on_an_fqan_is_not_hidden_by_a_bad_certificate(site: Site) -> None:
    """Left out would mean not banned: that is why refusing is the default."""
    write_file(site.directory / "bans", f"fqan /{VO}/Role=pilot\n".encode(), 0o644)
    engine = site.engine(site.voms)
    pilot = site.alice.proxy(extensions=[ac_extension(site.ac(fqans=[f"/{VO}/Role=pilot"], spoil=True))])
    assert _decide(engine, site.request(site.subject(pilot))).effect is Effect.INDETERMINATE


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_tokens(site: Site) -> None:
    engine = site.engine(site.token_source(), "permit group /vo/g to read on /data/**\n")
    proxy = site.alice.proxy()
    text = site.bound(site.alice, scope="openid", wlcg_groups=["/vo", "/vo/g"], exp=int(site.now.timestamp()) + 600)
    subject = site.subject(proxy, PresentedToken(text))
    decision = _decide(engine, site.request(subject))
    assert decision.effect is Effect.PERMIT
    assert decision.not_after == site.now + timedelta(seconds=600)
    found = _collect(engine, site.request(subject)).subject
    assert found.groups == {"/vo", "/vo/g"}
    assert found.claims["sub"] == "alice"
    (token,) = found.assertions
    assert isinstance(token, VerifiedToken)
    assert token.base_path == ("vo",)
    assert text not in repr(subject)
    assert _collect(engine, site.request(site.subject(proxy))).subject.claims == {}
    control = site.subject(proxy, text, "other text")  # SITE AUTHZ_ASSERT
    assert [type(one) for one in _collect(engine, site.request(control)).subject.assertions] == [str, VerifiedToken]


def test_tokens_that_cannot_be_verified(site: Site) -> None:
    engine = site.engine(site.token_source())
    bob = site.ca.issue("/O=Grid/CN=Bob")
    for subject in (
        site.subject(None, PresentedToken(site.tokens.token())),  # not bound
        site.subject(bob.proxy(), PresentedToken(site.bound(site.alice))),
        site.subject(None, PresentedToken(site.bound(site.alice, aud="x"))),
        site.subject(None, PresentedToken("x")),
        Subject(assertions=(PresentedToken(site.tokens.token()),)),
        site.subject(None, *(PresentedToken(f"{n}") for n in range(9))),
    ):
        assert _decide(engine, site.request(subject)).effect is Effect.INDETERMINATE
    free = site.engine(site.token_source('binding = "if-present"\non_failure = "ignore"\n'))
    good, bad = PresentedToken(site.tokens.token()), PresentedToken(site.tokens.token(aud="x"))
    found = _collect(free, site.request(site.subject(None, good, bad)))
    assert len(found.subject.assertions) == 1
    assert "meant for 'x'" in found.environment.attributes["tokens.ignored"][0]


def _two_issuers(site: Site, more: str = "", *, groups: str = 'groups = ["/cms"]\n') -> tuple[str, TokenIssuer]:
    """A source for the site's issuer of `/vo`, and for one of another VO."""
    cms = TokenIssuer("https://cms.example.org/", new_key("p256"))
    write_file(site.directory / "cms.json", cms.key_set(), 0o644)
    other = f'[source.tokens.issuers.cms]\nurl = "{cms.url}"\njwks_file = "cms.json"\nbase_path = "/cms"\n{groups}'
    return site.token_source(f'binding = "if-present"\n{more}') + other, cms


@pytest.mark.parametrize("groups", ['groups = ["/cms"]\n', 'groups = ["/vox", "/v", "/VO"]\n', ""])
def test_no_issuer_speaks_of_another_vo(groups: str, site: Site) -> None:
    """What it says of its own still counts, and the record tells what did not."""
    source, cms = _two_issuers(site, groups=groups)
    rules = "permit group /vo/g to read on /data/**\npermit group /cms to lookup on /data/**\n"
    engine = site.engine(source, rules)
    shown = PresentedToken(cms.token(scope="openid", wlcg_groups=["/vo/g", "/cms"]))
    decision = _decide(engine, site.request(site.subject(None, shown)))
    assert decision.effect is Effect.NOT_APPLICABLE
    recorded = engine.find(decision.decision_id)
    assert recorded is not None
    assert recorded.request.subject.groups == ({"/cms"} if "/cms" in groups else frozenset())
    assert "/vo/g" not in str(recorded.request.subject.claims)
    assert f"left out: token: {cms.url} may not speak of the groups /vo/g" in decision.trace[0].reason
    own = site.subject(None, PresentedToken(site.tokens.token(scope="openid", wlcg_groups=["/vo/g"])))
    assert _decide(engine, site.request(own)).effect is Effect.PERMIT


def test_a_note_of_many_groups_is_short(site: Site) -> None:
    source, cms = _two_issuers(site)
    shown = PresentedToken(cms.token(scope="openid", wlcg_groups=[f"/vo/g{number}" for number in range(500)]))
    found = _collect(site.engine(source), site.request(site.subject(None, shown)))
    (note,) = found.environment.attributes["tokens.ignored"]
    assert note.endswith("/vo/g7, ...")


@pytest.mark.parametrize("more", ["", 'on_failure = "ignore"\n'])
def test_two_tokens_never_count_together(more: str, site: Site) -> None:
    """Whosever they are, in whatever order, also one that a service has verified before."""
    source, cms = _two_issuers(site, more)
    engine = site.engine(source)
    vo, other = site.tokens.token(scope="openid"), cms.token(scope="openid", role="admin")
    same = site.tokens.token(scope="openid", role="admin")
    for first, second in ((vo, other), (other, vo), (vo, same), (same, vo)):
        subject = site.subject(None, PresentedToken(first), second)
        decision = _decide(engine, site.request(subject))
        assert decision.effect is Effect.INDETERMINATE
        assert "more than one of them" in decision.reason
        assert _decide(engine, site.request(site.subject(None, PresentedToken(first)))).effect is Effect.PERMIT
    found = _collect(engine, site.request(site.subject(None, PresentedToken(vo)))).subject
    again = replace(found, assertions=(*found.assertions, PresentedToken(other)))
    assert "more than one of them" in _decide(engine, site.request(again)).reason
    twice = site.subject(None, PresentedToken(vo), vo)
    assert _decide(engine, site.request(twice)).effect is Effect.PERMIT


def test_a_claim_has_one_source(site: Site) -> None:
    """Else a token could fill in for a directory, or the other way round."""
    source, _ = _two_issuers(site)
    engine = site.engine(source)
    shown = site.subject(None, PresentedToken(site.tokens.token(role="admin")))
    assert _decide(engine, site.request(shown)).effect is Effect.PERMIT
    both = _decide(engine, site.request(replace(shown, claims={"role": ("user",)})))
    assert both.effect is Effect.INDETERMINATE
    assert "'role' comes from elsewhere" in both.reason


@pytest.mark.parametrize("change", ["# a comment\n", ""])
def test_what_was_used_once_stays_used_when_the_policy_is_read_again(change: str, site: Site) -> None:
    text = site.token_source('binding = "if-present"\none_time = true\n')
    asked = site.request(site.subject(None, PresentedToken(site.tokens.token())))
    assert _decide(site.engine(text), asked).effect is Effect.PERMIT
    write_file(site.directory / "keys.json", site.tokens.key_set() + b"\n", 0o644)
    again = _decide(site.engine(text + change), asked)
    assert "used before" in again.reason
    assert again.effect is Effect.INDETERMINATE


def test_an_ended_token_is_a_definite_no(site: Site) -> None:
    """Which says when it ended: nothing is broken."""
    engine = site.engine(site.token_source())
    shown = PresentedToken(site.bound(site.alice, iat=int(site.now.timestamp()) - 60, exp=int(site.now.timestamp())))
    decision = _decide(engine, site.request(site.subject(None, shown)))
    assert (decision.effect, decision.authorizer, decision.not_after) == (Effect.DENY, "tokens", site.now)
    assert decision.reason == f"token: expired at {site.now:%Y-%m-%dT%H:%M:%SZ}"


# --- issuers that say nothing -----------------------------------------------------------------------------------------


class Silent:
    """An issuer that is asked for documents and has not answered yet."""

    def __init__(self, keys: bytes) -> None:
        self.keys = keys
        self.asked = threading.Semaphore(0)
        self.answer = threading.Event()

    def together(self) -> Silent:
        return self

    def fetch(self, url: str) -> bytes:
        assert url
        self.asked.release()
        assert self.answer.wait(20)
        return self.keys


def _silent_engine(site: Site) -> tuple[Silent, Engine]:
    """An engine whose issuer of tokens says nothing yet."""
    silent = Silent(site.tokens.key_set())
    issuer = IssuerRules(issuer=site.tokens.url, jwks_uri="https://vo.example.org/jwks")
    rules = TokenRules(issuers=(issuer,), audiences=frozenset({AUDIENCE}))
    source = TokenSource("tokens", TokenVerifier(rules, KeyCache(rules, silent)))
    script = RulesAuthorizer("rules", parse_rules(b"permit authenticated to read on **\n", path="r"), path="r")
    member = Member(script, may_block=False)
    return silent, Engine(Policy(Chain("policy", Combining.FIRST_APPLICABLE, (member,)), (Source(source, 30.0),)))


def test_the_first_tokens_after_a_start_come_at_once(site: Site) -> None:
    """One of them has the keys fetched, and all are served."""
    silent, engine = _silent_engine(site)
    shown = site.request(site.subject(None, PresentedToken(site.tokens.token())))
    found: list[Decision] = []
    threads = [threading.Thread(target=lambda: found.append(_decide(engine, shown))) for _ in range(10)]
    for thread in threads:
        thread.start()
    assert silent.asked.acquire(timeout=20)
    silent.answer.set()
    for thread in threads:
        thread.join(20)
    assert [each.effect for each in found] == [Effect.PERMIT] * 10
    assert not silent.asked.acquire(blocking=False)


def test_a_silent_issuer_holds_nobody_up_but_who_asks_it(site: Site) -> None:
    """Nothing here waits, although one question after the other comes with a token of that issuer, a while later."""
    silent, engine = _silent_engine(site)
    shown = site.request(site.subject(None, PresentedToken(site.tokens.token())))
    later = replace(shown, environment=replace(shown.environment, now=site.now + PATIENCE))
    plain = site.request(site.subject())
    first: list[Decision] = []
    thread = threading.Thread(target=lambda: first.append(_decide(engine, shown)))
    thread.start()
    assert silent.asked.acquire(timeout=20)
    for _ in range(2 * MAX_THREADS):
        refused = _decide(engine, later)
        assert refused.effect is Effect.INDETERMINATE
        assert "being asked for" in refused.reason
        assert _decide(engine, plain).effect is Effect.PERMIT
    silent.answer.set()
    thread.join(20)
    assert [each.effect for each in first] == [Effect.PERMIT]
    assert _decide(engine, shown).effect is Effect.PERMIT


def test_what_cannot_be_a_token_of_an_issuer_asks_nobody(site: Site) -> None:
    rules = TokenRules(issuers=(IssuerRules(issuer=site.tokens.url),), audiences=frozenset({AUDIENCE}))
    silent = Silent(b"")
    source = TokenSource("tokens", TokenVerifier(rules, KeyCache(rules, silent)))
    claims = site.tokens.claims()
    for text, waits in (
        (site.tokens.token(), True),
        (site.tokens.sign(claims, {"kid": "unknown"}), True),
        ("eyJ.x.y", False),
        (site.tokens.sign(claims, {"alg": "none"}), False),
        (site.tokens.sign(claims, {"kid": None}), False),
        (site.tokens.token(iss="https://evil.example/"), False),
        (site.tokens.token(iss=None), False),
    ):
        assert source.may_wait(site.request(site.subject(None, PresentedToken(text)))) is waits
    assert not source.may_wait(site.request(site.subject()))


def test_the_subject_of_a_token(site: Site) -> None:
    own = IssuerRules(issuer=site.tokens.url, groups=("/vo",))
    rules = TokenRules(issuers=(own,), audiences=frozenset({AUDIENCE}))
    verifier = TokenVerifier(rules, StaticKeys({site.tokens.url: parse_key_set(site.tokens.key_set())}))
    token = verifier.verify(site.tokens.token(scope="openid", wlcg_groups=["/vo"]), now=site.now)
    subject = token_subject(token)
    assert subject.identity == f"{site.tokens.url}#alice"
    assert subject.groups == {"/vo"}
    assert (subject.authenticated_by, subject.not_after) == ("token", token.not_after)
    engine = site.engine(site.token_source() + site.voms, "permit group /vo to read on /data/**\n")
    assert _decide(engine, site.request(subject)).effect is Effect.PERMIT
    late = replace(site.request(subject), environment=replace(site.request(subject).environment, now=token.not_after))
    assert _decide(engine, late).effect is Effect.DENY
    nobody = verifier.verify(site.tokens.scitoken(sub=None), now=site.now)
    with pytest.raises(CapabilityError):
        token_subject(nobody)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace('"keys.json"', '"absent.json"'), "absent.json"),
        (lambda t: t.replace("https://vo", "http://vo"), "https"),
        (lambda t: t.replace('base_path = "/vo"', 'base_path = "vo"'), "base_path"),
        (lambda t: t.replace('base_path = "/vo"', 'base_path = "/a/../b"'), "base_path"),
        (lambda t: t.replace('"keys.json"', '"policy.toml"'), "JWK set"),
        (lambda t: t.replace('["/vo"]', '["/"]'), "every VO"),
        (lambda t: t.replace('["/vo"]', '["vo"]'), "groups"),
        (lambda t: t.replace(f'["{AUDIENCE}"]', "[]"), "audience"),
        (lambda t: t.replace('type = "tokens"\n', 'type = "tokens"\nkey_life = "1m"\n'), "key_life"),
        (lambda t: t.replace('type = "tokens"\n', 'type = "tokens"\nbinding = "maybe"\n'), "binding"),
    ],
)
def test_policies_about_tokens_that_are_none(change: Callable[[str], str], words: str, site: Site) -> None:
    with pytest.raises(ConfigError, match=words):
        site.engine(change(site.token_source()))


def test_only_what_is_fetched_may_block(site: Site) -> None:
    (static,) = site.engine(site.token_source()).policy.sources
    (fetched,) = site.engine(site.token_source().replace('jwks_file = "keys.json"\n', "")).policy.sources
    (voms,) = site.engine(site.voms).policy.sources
    assert [one.may_block for one in (static, fetched, voms)] == [False, True, False]


def test_an_issuer_with_a_file_beside_one_without(site: Site) -> None:
    """The one is never asked for its keys, and does not wait for the other, whose server is not there."""
    other = new_key("p256")
    away = TokenIssuer("https://127.0.0.1:1/", other)
    more = f'[source.tokens.issuers.away]\nurl = "{away.url}"\nbase_path = "/away"\n'
    engine = site.engine(site.token_source('binding = "if-present"\n') + more)
    known = site.request(site.subject(None, PresentedToken(site.tokens.token())))
    (entry,) = engine.policy.sources
    source = entry.source
    assert isinstance(source, TokenSource)
    assert len(_collect(engine, known).subject.assertions) == 1
    assert entry.may_block
    assert not source.may_wait(known)
    asked = site.request(site.subject(None, PresentedToken(away.token())))
    assert source.may_wait(asked)
    assert _decide(engine, asked).effect is Effect.INDETERMINATE


# --- SAML -------------------------------------------------------------------------------------------------------------


def test_assertions_from_the_proxy(site: Site) -> None:
    engine = site.engine(site.saml_source())
    xml = site.cas.sign(site.cas.cas_assertion(site.alice))
    proxy = site.alice.proxy(extensions=[assertion_extension(xml)]).proxy()
    (found,) = _collect(engine, site.request(site.subject(proxy))).subject.assertions
    assert isinstance(found, VerifiedAssertion)
    assert found.permits
    assert _decide(engine, site.request(site.subject(proxy))).not_after == found.not_after
    assert _collect(engine, site.request(site.subject())).subject.assertions == ()


def test_what_is_shown_replaces_what_the_proxy_carries(site: Site) -> None:
    engine = site.engine(site.saml_source())
    carried = site.cas.sign(site.cas.cas_assertion(site.alice, identifier="_carried"))
    shown = site.cas.sign(site.cas.cas_assertion(site.alice, identifier="_shown"))
    proxy = site.alice.proxy(extensions=[assertion_extension(carried)])
    for one in (PresentedAssertion(shown), shown.decode()):
        (found,) = _collect(engine, site.request(site.subject(proxy, one))).subject.assertions
        assert isinstance(found, VerifiedAssertion)
        assert found.identifier == "_shown"
    assert "_shown" not in repr(PresentedAssertion(shown))


def test_assertions_that_cannot_be_verified(site: Site) -> None:
    engine = site.engine(site.saml_source())
    xml = site.cas.sign(site.cas.cas_assertion(site.alice))
    bob = site.ca.issue("/O=Grid/CN=Bob")
    bad = xml.replace(b"read", b"rate")
    for subject in (
        site.subject(bob.proxy(extensions=[assertion_extension(xml)])),
        site.subject(site.alice.proxy(extensions=[assertion_extension(bad)])),
        site.subject(site.alice.proxy(extensions=[assertion_extension(xml, raw=True)])),
        site.subject(bob.proxy(), PresentedAssertion(xml)),
        site.subject(None, "<\udcff/>"),
        site.subject(None, *(f"<x{n}/>" for n in range(9))),
        Subject(assertions=(PresentedAssertion(xml),)),
    ):
        assert _decide(engine, site.request(subject)).effect is Effect.INDETERMINATE
    lenient = site.engine(site.saml_source('on_failure = "ignore"\n'))
    request = site.request(site.subject(site.alice.proxy(extensions=[assertion_extension(bad)])))
    assert _collect(lenient, request).environment.attributes["saml.ignored"]
    assert _decide(lenient, request).effect is Effect.PERMIT


def test_where_old_cas_put_them_is_looked_at_when_asked(site: Site) -> None:
    xml = site.cas.sign(site.cas.cas_assertion(site.alice))
    old = assertion_extension(xml, oid="1.3.6.1.4.1.3536.1.1.1.9", raw=True)
    subject = site.subject(site.alice.proxy(extensions=[old]))
    assert _collect(site.engine(site.saml_source()), site.request(subject)).subject.assertions == ()
    asked = site.engine(site.saml_source("accept_gt3 = true\n"))
    assert len(_collect(asked, site.request(subject)).subject.assertions) == 1


def test_pinned_certificates(site: Site) -> None:
    foreign = SAMLIssuer(TestCA("/O=X/CN=CA").issue("/O=X/CN=idp"), "https://idp.example.org")
    write_file(site.directory / "idp.pem", foreign.credential.pem, 0o644)
    text = site.saml_source().replace(
        'subject = "/O=Grid/CN=cas"', 'name = "https://idp.example.org"\ncertificates = "idp.pem"'
    )
    subject = site.subject(None, PresentedAssertion(foreign.sign(foreign.assertion_2(site.alice))))
    assert len(_collect(site.engine(text), site.request(subject)).subject.assertions) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.partition("[source.saml.issuers")[0], "issuer"),
        (lambda t: t.replace("/O=Grid/CN=cas", "cas"), "name"),
        (lambda t: t + 'certificates = "policy.toml"\n', "no certificate"),
        (lambda t: t.replace('subject = "/O=Grid/CN=cas"', 'name = "x"\ncertificates = "absent"'), "absent"),
    ],
)
def test_policies_about_assertions_that_are_none(change: Callable[[str], str], words: str, site: Site) -> None:
    with pytest.raises(ConfigError, match=words):
        site.engine(change(site.saml_source()))
