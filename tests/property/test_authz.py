"""Authorization by generated input: policy files of any bytes, the index beside a plain search, and failures that fail.

What must hold whatever comes: a file is read or refused by our own errors; the index of rules answers as a search of
all rules does; no exception, odd answer or odd name ever ends in a permit that nothing gave.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from gsi.authz.ban import BanListAuthorizer, parse_bans
from gsi.authz.calloutconf import lint_text
from gsi.authz.combine import Combining
from gsi.authz.decision import AuthorizationRequest, Decision, Effect, Resource, Subject
from gsi.authz.engine import Engine
from gsi.authz.gridmap import parse_gridmap
from gsi.authz.mapping import GridmapAuthorizer, parse_voms_map
from gsi.authz.policy import Chain, Member, Policy
from gsi.authz.policyfile import parse_policy
from gsi.authz.principals import Glob, NamePattern, parse_dn, skeleton, subject_key
from gsi.authz.registry import Place
from gsi.authz.resources import ResourcePattern, readings
from gsi.authz.rulefile import Rule, parse_rules
from gsi.authz.rules import RulesAuthorizer
from gsi.errors import ConfigError, GridError, ParseError
from gsi.names import oneline
from tests.harness.authz import Fixed, Raising, policy_of, request_of, user

TOKENS = """permit deny anyone authenticated dn dn-like fqan group issuer to on proxy by service host from during after
before as ids role lot quota because , "/O=Grid/CN=Alice" /O=Grid/** /vo/* /vo read * file:read /data/** /../x ** any
none "Fri 08:00-18:00" 2026-01-01 192.0.2.0/24 alice 5:5 5G # " \\ until serial 0x1f address x\0"""
WORDS = st.sampled_from(re.split(r"\s+", TOKENS))
LINES = st.lists(WORDS, max_size=12).map(" ".join)
TEXTS = (
    st.lists(LINES | st.text(max_size=30), max_size=5).map("\n".join).map(lambda text: text.encode("utf-8", "replace"))
)
ANY = TEXTS | st.binary(max_size=200)


@given(ANY)
def test_rules_of_any_bytes(data: bytes) -> None:
    try:
        rules = list(parse_rules(data, path="r"))
    except ConfigError as error:
        assert error.path == "r"  # noqa: PT017  it need not be raised
        assert error.line is not None  # noqa: PT017
    else:
        assert RulesAuthorizer("r", rules).rules == rules


@given(ANY)
def test_bans_of_any_bytes(data: bytes) -> None:
    try:
        bans = list(parse_bans(data, path="b"))
    except ConfigError as error:
        assert error.line is not None  # noqa: PT017
    else:
        decision = BanListAuthorizer("b", bans).decide(request_of(user("/O=Grid/CN=Alice", fqans=("/vo",))))
        assert decision.effect in {Effect.DENY, Effect.NOT_APPLICABLE}


TOML = st.lists(
    st.sampled_from(
        [
            'order = ["a"]',
            'order = ["a", "c"]',
            "order = []",
            'combining = "deny-overrides"',
            "time_limit = 3",
            "[authorizer.a]",
            "[authorizer.b]",
            "[chain.c]",
            "[source.s]",
            'type = "ban"',
            'type = "rules"',
            'type = "x"',
            'file = "nothing"',
            'order = ["c"]',
            'sources = ["s"]',
            "x = 1",
            "allow_root = true",
        ]
    ),
    max_size=10,
).map(lambda lines: "\n".join(lines).encode())


@given(TOML | st.binary(max_size=100))
def test_policies_of_any_bytes(data: bytes) -> None:
    try:
        parse_policy(data, Place("/nowhere/policy.toml"))
    except ConfigError as error:
        assert error.path is not None  # noqa: PT017
    else:
        raise AssertionError("every authorizer of these names a file that does not exist")


@given(ANY)
def test_maps_and_callout_configurations_of_any_bytes(data: bytes) -> None:
    lint_text(data, path="c")
    try:
        for pattern, accounts in parse_voms_map(data, path="v"):
            assert pattern.prefix
            assert accounts
    except ConfigError as error:
        assert error.line is not None  # noqa: PT017


# --- names ------------------------------------------------------------------------------------------------------------

VALUES = st.text(st.sampled_from("abAB /+=\\*.é\u200b\uff21\ufb01"), min_size=1, max_size=6)
TYPES = st.sampled_from(["O", "CN", "OU", "UID", "E", "DC"])


@st.composite
def names_der(draw: st.DrawFn) -> bytes:
    """A name with odd characters in its values, built by a library that knows nothing of ours."""
    from cryptography import x509
    from cryptography.x509.name import _ASN1Type
    from cryptography.x509.oid import NameOID

    oids = {
        "O": NameOID.ORGANIZATION_NAME,
        "CN": NameOID.COMMON_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "UID": NameOID.USER_ID,
        "E": NameOID.EMAIL_ADDRESS,
        "DC": NameOID.DOMAIN_COMPONENT,
    }
    pairs = draw(st.lists(st.tuples(TYPES, VALUES), min_size=1, max_size=4))
    return x509.Name(
        [x509.NameAttribute(oids[kind], value, _ASN1Type.UTF8String) for kind, value in pairs]
    ).public_bytes()


@given(names_der())
def test_a_name_is_found_by_its_own_text(name: bytes) -> None:
    """A rule or ban that holds the name as tools print it speaks of it."""
    text = oneline(name)
    again = parse_dn(text)
    subject = Subject(identity=text, identity_der=name, authenticated_by="x509")
    assert subject_key(subject) == subject_key(Subject(identity=text, identity_der=again))
    assert skeleton(name) == skeleton(again)
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    if "*" not in text:
        bans = BanListAuthorizer("b", parse_bans(f'dn "{quoted}"'.encode(), path="b"))
        assert bans.decide(request_of(subject)).effect is Effect.DENY
    rules = RulesAuthorizer("r", parse_rules(f'permit dn "{quoted}" to read'.encode(), path="r"))
    assert rules.decide(request_of(subject)).effect is Effect.PERMIT


@given(names_der(), names_der())
def test_whom_a_permit_names_a_denial_of_the_same_name_hits(first: bytes, second: bytes) -> None:
    """Skeletons are never finer than the comparison of permits, so a ban cannot miss whom a permit would let in."""
    one, other = (Subject(identity="x", identity_der=name) for name in (first, second))
    if subject_key(one) == subject_key(other):
        assert skeleton(first) == skeleton(second)


@given(names_der())
def test_name_patterns_do_not_raise(name: bytes) -> None:
    for text in ("/O=*/**", "/CN=a*", "/O=Grid/CN=*"):
        NamePattern(text).matches(name)


@given(st.text(st.sampled_from("ab*"), max_size=8), st.text(st.sampled_from("ab"), max_size=8))
def test_globs_are_what_shells_say(pattern: str, text: str) -> None:
    import fnmatch

    assert Glob(pattern).matches(text) is fnmatch.fnmatchcase(text, pattern)


# --- resources --------------------------------------------------------------------------------------------------------

PIECES = st.lists(
    st.sampled_from(["a", "b", "data", "..", ".", "", "%2e", "%2E%2e", "%2f", "%41", "%25", "~", "\n", "ftp:", "h"]),
    max_size=7,
)
PATHS = st.tuples(st.sampled_from(["", "/", "//", "ftp://h/", "https://h/"]), PIECES.map("/".join)).map(
    "".join
) | st.text(max_size=20)


@given(PATHS)
def test_what_is_permitted_below_a_directory_is_below_it_in_every_reading(name: str) -> None:
    """No trick of writing leads out of a permitted directory."""
    from urllib.parse import unquote

    pattern = ResourcePattern("/data/**")
    try:
        found = readings(Resource(name))
    except ParseError:
        return
    if found and all(pattern.matches(reading) for reading in found):
        seen = name
        for _ in range(8):
            path = seen.partition("://")[2].partition("/")[2] if "://" in seen else seen
            parts = [part for part in path.split("/") if part not in {"", "."}]
            assert parts[0] == "data"
            assert ".." not in parts
            seen = unquote(seen)


# --- the index --------------------------------------------------------------------------------------------------------

WHO = st.sampled_from(
    [
        "anyone",
        "authenticated",
        "dn /O=Grid/CN=Alice",
        "dn /O=Grid/CN=Bob",
        "dn-like /O=Grid/**",
        "dn-like /O=*/CN=A*",
        "fqan /vo/*",
        "fqan /vo/g/**",
        "fqan /vo/Role=r",
        "fqan /vo/g*/Role=*",
        "group staff",
        "group s*",
        "issuer https://iss",
        "dn /O=Grid/CN=Alice group staff",
    ]
)
WHAT = st.sampled_from(["to read", "to write, read", "to *", "to file:*", "to job:start"])
WHERE = st.sampled_from(
    ["", "on **", "on /**", "on /a", "on /a/**", "on /a/*/c", "on /*/b", "on ftp://h/a/**", "on w/**"]
)
MORE = st.sampled_from(["", "proxy limited", "service x*", "from 192.0.2.0/24"])
RULES = st.lists(
    st.tuples(st.sampled_from(["permit", "deny"]), WHO, WHAT, WHERE, MORE).map(" ".join), min_size=1, max_size=8
)
SUBJECTS = st.builds(
    lambda dn, fqans, groups, issuer, limited: replace(
        user(dn, fqans=fqans, groups=groups), issuer=issuer if dn else "", limited=limited
    ),
    st.sampled_from(
        ["", "/O=Grid/CN=Alice", "/O=Grid/CN=Bob", "/O=Grid/OU=x/CN=Alice", "/O=Other/CN=Al", "https://iss#1"]
    ),
    st.sampled_from([(), ("/vo",), ("/vo/g", "/vo/Role=r"), ("/vo/g/Role=x",), ("/other",)]),
    st.sampled_from([frozenset(), frozenset({"staff"}), frozenset({"x", "sub"})]),
    st.sampled_from(["https://iss", "/O=Grid/CN=CA", ""]),
    st.booleans(),
)
REQUESTS = st.builds(
    lambda subject, action, kind, name, address: request_of(
        subject, action, name, kind=kind, peer_address=address, service="xyz"
    ),
    SUBJECTS,
    st.sampled_from(["read", "write", "start"]),
    st.sampled_from(["file", "job"]),
    st.sampled_from(["", "/a", "/a/b", "/a/b/c", "/b", "ftp://h/a/x", "ftp://g/a/x", "w/x", "/%61/b", "/a%2fb"]),
    st.sampled_from(["", "192.0.2.1", "2001:db8::1"]),
)


def search(rules: list[Rule], request: AuthorizationRequest) -> tuple[Effect, int | None]:
    """The answer of a search of all rules, each asked alone by an index of one."""
    holding = [
        rule for rule in rules if RulesAuthorizer("one", [rule]).decide(request).effect is not Effect.NOT_APPLICABLE
    ]
    if any(rule.effect is Effect.DENY for rule in holding):
        return Effect.DENY, None
    if holding:
        return Effect.PERMIT, min(rule.line for rule in holding)
    return Effect.NOT_APPLICABLE, None


@given(RULES, REQUESTS)
@settings(max_examples=300)
def test_the_index_answers_as_a_search_does(lines: list[str], request: AuthorizationRequest) -> None:
    rules = list(parse_rules("\n".join(lines).encode(), path="r"))
    authorizer = RulesAuthorizer("rules", rules, path="r")
    effect, line = search(rules, request)
    for _ in range(2):  # the second time from what is remembered of the subject
        decision = authorizer.decide(request)
        assert decision.effect is effect
        if line is not None:
            assert decision.reason == f"r:{line}"


@given(RULES, REQUESTS)
@settings(max_examples=100)
def test_a_denial_more_never_permits_more(lines: list[str], request: AuthorizationRequest) -> None:
    permits = [line for line in lines if line.startswith("permit")]
    fewer = RulesAuthorizer("r", parse_rules("\n".join(permits).encode(), path="r")).decide(request)
    more = RulesAuthorizer("r", parse_rules("\n".join(lines).encode(), path="r")).decide(request)
    assert not (more.is_permit and not fewer.is_permit)


# --- failing closed ---------------------------------------------------------------------------------------------------


@dataclass
class _Odd:
    answer: object
    name: str = "odd"

    def decide(self, request: AuthorizationRequest) -> Decision:
        return cast("Decision", self.answer)


MEMBERS = st.one_of(
    st.sampled_from([Effect.DENY, Effect.NOT_APPLICABLE, Effect.INDETERMINATE]).map(Fixed),
    st.sampled_from([ValueError("x"), GridError("x"), RecursionError(), OSError(5, "x"), KeyError()]).map(Raising),
    st.sampled_from([None, True, 1, "permit", Effect.PERMIT, (), {}, Decision(cast("Effect", "permit"), "")]).map(_Odd),
)
CHAINS = st.recursive(
    MEMBERS.map(lambda authorizer: Member(authorizer, may_block=False)),
    lambda inner: st.builds(
        Chain, st.just("chain"), st.sampled_from(Combining), st.lists(inner, min_size=1, max_size=4).map(tuple)
    ),
    max_leaves=8,
)


@given(CHAINS, st.sampled_from(Combining), REQUESTS)
def test_without_a_permit_nothing_permits(
    member: Member | Chain, combining: Combining, request: AuthorizationRequest
) -> None:
    engine = Engine(Policy(Chain("policy", combining, (member,))))
    decision = engine.authorize(request)
    assert not decision.is_permit
    assert not decision.obligations
    assert decision.decision_id


@given(
    st.text(max_size=20), st.binary(max_size=20), PATHS, st.text(max_size=5), st.lists(st.text(max_size=8), max_size=2)
)
def test_odd_requests_are_answered(identity: str, name: bytes, resource: str, action: str, fqans: list[str]) -> None:
    """Whatever a service hands over, the engine answers, and a malformed name is never permitted by name."""
    rules = "permit dn /O=Grid/CN=Alice to *\npermit fqan /vo to *\npermit dn-like /O=Grid/** to *\ndeny dn /O=x"
    engine = Engine(
        policy_of(
            BanListAuthorizer("bans", parse_bans(b"dn /O=Grid/CN=Mallory\nfqan /bad/**", path="b")),
            RulesAuthorizer("rules", parse_rules(rules.encode(), path="r")),
            GridmapAuthorizer("map", parse_gridmap(b'"/O=Grid/CN=Alice" alice\n'), actions=("*",)),
        )
    )
    subject = Subject(identity=identity, identity_der=name, authenticated_by="x509", fqans=tuple(fqans))
    decision = engine.authorize(request_of(subject, action, resource))
    assert not decision.is_permit or "/vo" in "".join(fqans)
