"""Tokens judged: one table of what is accepted and of every attack, with the reason for which it is refused."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gsi.errors import CapabilityError, CapabilityProblem, ConfigError
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.tokens.replay import ReplayMemory
from gsi.tokens.rules import Binding, IssuerRules, Profile, TokenRules
from gsi.tokens.scopes import Capability
from gsi.tokens.verify import TokenVerifier, VerifiedToken
from gsi.trust.peer import VerifiedPeer
from gsi.trust.verify import verify_chain
from tests.harness.ca import INDEPENDENT_INFO, LIMITED_INFO, Issued, TestCA, new_key, pooled_key
from tests.harness.tokens import AUDIENCE, TokenIssuer, b64, jwk_of
from tests.harness.trust import make_anchors

P: Final = CapabilityProblem
ISSUER: Final = TokenIssuer()
RULES: Final = TokenRules(issuers=(IssuerRules(issuer=ISSUER.url, groups=("/vo",)),), audiences=frozenset({AUDIENCE}))


def _now() -> datetime:
    return datetime.now(UTC)


def judge(
    text: str,
    *,
    rules: TokenRules = RULES,
    peer: VerifiedPeer | None = None,
    keys: bytes | None = None,
    replay: ReplayMemory | None = None,
) -> VerifiedToken:
    source = StaticKeys({ISSUER.url: parse_key_set(keys or ISSUER.key_set())})
    return TokenVerifier(rules, source, replay=replay).verify(text, now=_now(), peer=peer)


class Row(NamedTuple):
    token: Callable[[], str]
    problem: CapabilityProblem | None = None


def _whole(header: bytes) -> str:
    return ISSUER.sign(ISSUER.claims(), whole_header=header)


def _tampered() -> str:
    head, body, signature = ISSUER.token().split(".")
    claims = json.loads(json.dumps(ISSUER.claims(scope="storage.modify:/")))
    return f"{head}.{b64(json.dumps(claims).encode())}.{signature}" if body else ""


def _short() -> str:
    head, _, signature = ISSUER.token().rpartition(".")
    return f"{head}.{signature[:80]}"  # 60 whole bytes


def _at(seconds: float) -> int:
    return int(time.time() + seconds)


def _spki() -> bytes:
    return ISSUER.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


ROWS: Final[dict[str, Row]] = {
    # --- accepted
    "good": Row(ISSUER.token),
    "audience in a list": Row(lambda: ISSUER.token(aud=["https://other", AUDIENCE])),
    "everybody's audience": Row(lambda: ISSUER.token(aud="https://wlcg.cern.ch/jwt/v1/any")),
    "no nbf": Row(lambda: ISSUER.token(nbf=None)),
    "unknown claim": Row(lambda: ISSUER.token(**{"made-up": {"a": [1]}})),
    "newer minor version": Row(lambda: ISSUER.token(wlcg_ver="1.3")),
    "no scope": Row(lambda: ISSUER.token(scope=None)),
    "issued in 30 s": Row(lambda: ISSUER.token(iat=_at(30), nbf=_at(30))),
    "typ at+jwt": Row(lambda: ISSUER.sign(ISSUER.claims(), {"typ": "application/at+jwt"})),
    "no typ": Row(lambda: ISSUER.sign(ISSUER.claims(), {"typ": None})),
    "SciToken": Row(ISSUER.scitoken),
    "SciToken for ANY": Row(lambda: ISSUER.scitoken(aud=["ANY"])),
    "SciToken without iat": Row(lambda: ISSUER.scitoken(iat=None)),
    "RFC 9068": Row(ISSUER.access_token),
    # --- the header and the algorithm
    "alg none": Row(lambda: _whole(b'{"alg":"none","kid":"k1"}'), P.ALGORITHM),
    "alg NoNe": Row(lambda: _whole(b'{"alg":"NoNe","kid":"k1"}'), P.ALGORITHM),
    "no signature": Row(lambda: _whole(b'{"alg":"none","kid":"k1"}').rpartition(".")[0] + ".", P.MALFORMED),
    "HMAC with the public key": Row(lambda: ISSUER.hmac_token(_spki()), P.ALGORITHM),
    "alg none, and no key of that name": Row(lambda: _whole(b'{"alg":"none","kid":"k9"}'), P.ALGORITHM),
    "HMAC, and no key of that name": Row(lambda: _whole(b'{"alg":"HS512","kid":"k9"}'), P.ALGORITHM),
    "no alg": Row(lambda: _whole(b'{"kid":"k1"}'), P.ALGORITHM),
    "alg not text": Row(lambda: _whole(b'{"alg":["ES256"],"kid":"k1"}'), P.ALGORITHM),
    "another algorithm than the key's": Row(lambda: ISSUER.sign(ISSUER.claims(), {"alg": "ES384"}), P.ALGORITHM),
    "no kid": Row(lambda: ISSUER.sign(ISSUER.claims(), {"kid": None}), P.KEY),
    "empty kid": Row(lambda: ISSUER.sign(ISSUER.claims(), {"kid": ""}), P.KEY),
    "unknown kid": Row(lambda: ISSUER.sign(ISSUER.claims(), {"kid": "k2"}), P.KEY),
    "kid as a path": Row(lambda: ISSUER.sign(ISSUER.claims(), {"kid": "../../etc/passwd"}), P.KEY),
    "jku": Row(lambda: ISSUER.sign(ISSUER.claims(), {"jku": "https://evil.example/jwks"}), P.KEY),
    "x5u": Row(lambda: ISSUER.sign(ISSUER.claims(), {"x5u": "https://evil.example/cert"}), P.KEY),
    "jwk": Row(lambda: ISSUER.sign(ISSUER.claims(), {"jwk": jwk_of(new_key("p256"))}), P.KEY),
    "x5c": Row(lambda: ISSUER.sign(ISSUER.claims(), {"x5c": ["MII"]}), P.KEY),
    "unknown critical": Row(lambda: ISSUER.sign(ISSUER.claims(), {"crit": ["exp"], "exp": 1}), P.CRITICAL),
    "critical b64": Row(lambda: ISSUER.sign(ISSUER.claims(), {"crit": ["b64"], "b64": False}), P.CRITICAL),
    "empty crit": Row(lambda: ISSUER.sign(ISSUER.claims(), {"crit": []}), P.CRITICAL),
    "unknown header": Row(lambda: ISSUER.sign(ISSUER.claims(), {"made-up": "x"}), P.CONTENT),
    "header with a number": Row(lambda: ISSUER.sign(ISSUER.claims(), {"cty": 1}), P.CONTENT),
    "an ID token's typ": Row(lambda: ISSUER.sign(ISSUER.claims(), {"typ": "logout+jwt"}), P.VERSION),
    # --- the signature
    "another key": Row(lambda: ISSUER.sign(ISSUER.claims(), key=new_key("p256")), P.BAD_SIGNATURE),
    "tampered claims": Row(_tampered, P.BAD_SIGNATURE),
    "signature cut": Row(_short, P.BAD_SIGNATURE),
    "signature with more behind": Row(lambda: ISSUER.token() + "A" * 4, P.BAD_SIGNATURE),
    "signature of zeros": Row(lambda: ISSUER.token().rpartition(".")[0] + "." + b64(bytes(64)), P.BAD_SIGNATURE),
    # --- the issuer
    "unknown issuer": Row(lambda: ISSUER.token(iss="https://evil.example/"), P.ISSUER),
    "issuer without the slash": Row(lambda: ISSUER.token(iss=ISSUER.url.rstrip("/")), P.ISSUER),
    "issuer in capitals": Row(lambda: ISSUER.token(iss=ISSUER.url.upper()), P.ISSUER),
    "issuer a list": Row(lambda: ISSUER.token(iss=[ISSUER.url]), P.ISSUER),
    "no issuer": Row(lambda: ISSUER.token(iss=None), P.ISSUER),
    # --- versions and claims
    "unknown major version": Row(lambda: ISSUER.token(wlcg_ver="2.0"), P.VERSION),
    "version 10": Row(lambda: ISSUER.token(wlcg_ver="10.0"), P.VERSION),
    "version a number": Row(lambda: ISSUER.token(wlcg_ver=1.0), P.VERSION),
    "scitoken:1.0": Row(lambda: ISSUER.scitoken(ver="scitoken:1.0"), P.VERSION),
    "no profile": Row(lambda: ISSUER.token(wlcg_ver=None), P.VERSION),
    "no sub": Row(lambda: ISSUER.token(sub=None), P.CONTENT),
    "no jti": Row(lambda: ISSUER.token(jti=None), P.CONTENT),
    "no exp": Row(lambda: ISSUER.token(exp=None), P.CONTENT),
    "no iat": Row(lambda: ISSUER.token(iat=None), P.CONTENT),
    "no aud": Row(lambda: ISSUER.token(aud=None), P.CONTENT),
    "sub too long": Row(lambda: ISSUER.token(sub="a" * 256), P.CONTENT),
    "sub not ASCII": Row(lambda: ISSUER.token(sub="älice"), P.CONTENT),
    "sub with a line feed": Row(lambda: ISSUER.token(sub="a\nb"), P.CONTENT),
    "sub a number": Row(lambda: ISSUER.token(sub=5), P.CONTENT),
    "RFC 9068 without client": Row(lambda: ISSUER.access_token(client_id=None), P.CONTENT),
    "SciToken without scope": Row(lambda: ISSUER.scitoken(scope=None), P.CONTENT),
    # --- time
    "expired": Row(lambda: ISSUER.token(iat=_at(-900), nbf=_at(-900), exp=_at(-1)), P.EXPIRED),
    "nbf in the future": Row(lambda: ISSUER.token(nbf=_at(300)), P.NOT_YET_VALID),
    "iat in the future": Row(lambda: ISSUER.token(iat=_at(300), nbf=None), P.NOT_YET_VALID),
    "ten years": Row(lambda: ISSUER.token(exp=_at(3650 * 86400)), P.LIFETIME),
    "ends before it begins": Row(lambda: ISSUER.token(iat=_at(50), exp=_at(20)), P.LIFETIME),
    "exp as text": Row(lambda: ISSUER.token(exp=str(_at(600))), P.CONTENT),
    "exp true": Row(lambda: ISSUER.token(exp=True), P.CONTENT),
    "exp endless": Row(lambda: ISSUER.token(exp=10**300), P.CONTENT),
    "exp below zero": Row(lambda: ISSUER.token(exp=-1), P.CONTENT),
    # --- audience
    "wrong audience": Row(lambda: ISSUER.token(aud="https://other.example.org"), P.AUDIENCE),
    "audience in capitals": Row(lambda: ISSUER.token(aud=AUDIENCE.upper()), P.AUDIENCE),
    "audience a part": Row(lambda: ISSUER.token(aud=AUDIENCE + "/x"), P.AUDIENCE),
    "no audiences": Row(lambda: ISSUER.token(aud=[]), P.AUDIENCE),
    "audience an object": Row(lambda: ISSUER.token(aud={AUDIENCE: 1}), P.AUDIENCE),
    "audience a list with others": Row(lambda: ISSUER.token(aud=[AUDIENCE, 5]), P.AUDIENCE),
    "SciTokens' ANY in a WLCG token": Row(lambda: ISSUER.token(aud="ANY"), P.AUDIENCE),
    "WLCG's any in a SciToken": Row(
        lambda: ISSUER.scitoken(aud="https://wlcg.cern.ch/jwt/v1/any"), P.AUDIENCE
    ),
    # --- scopes and groups
    "scope without its path": Row(lambda: ISSUER.token(scope="storage.read"), P.CONTENT),
    "scope with ..": Row(lambda: ISSUER.token(scope="storage.read:/data/../etc"), P.CONTENT),
    "scope with %2e%2e": Row(lambda: ISSUER.token(scope="storage.read:/data/%2e%2e/etc"), P.CONTENT),
    "scope with %2F..": Row(lambda: ISSUER.token(scope="storage.read:/data%2F../etc"), P.CONTENT),
    "scope with a zero": Row(lambda: ISSUER.token(scope="storage.read:/data%00"), P.CONTENT),
    "scope of an unknown kind": Row(lambda: ISSUER.token(scope="storage.everything:/"), P.CONTENT),
    "scope a list": Row(lambda: ISSUER.token(scope=["storage.read:/"]), P.CONTENT),
    "scope with a tab": Row(lambda: ISSUER.token(scope="openid\tstorage.read:/"), P.CONTENT),
    "groups no list": Row(lambda: ISSUER.token(scope=None, wlcg_groups="/vo"), P.CONTENT),
    "group without slash": Row(lambda: ISSUER.token(scope=None, wlcg_groups=["vo"]), P.CONTENT),
    "group with ..": Row(lambda: ISSUER.token(scope=None, wlcg_groups=["/vo/../x"]), P.CONTENT),
    # --- binding
    "bound, and nobody is known": Row(lambda: ISSUER.token(cnf={"x5t#S256": "abc"}), P.HOLDER),
    "bound in an unknown way": Row(lambda: ISSUER.token(cnf={"jkt": "abc"}), P.HOLDER),
    "bound to text": Row(lambda: ISSUER.token(cnf="x"), P.HOLDER),
    "bound to null": Row(lambda: ISSUER.sign(ISSUER.claims() | {"cnf": None}), P.HOLDER),
    "bound to nothing": Row(lambda: ISSUER.token(cnf={}), P.HOLDER),
    # --- form
    "empty": Row(lambda: "", P.MALFORMED),
    "two parts": Row(lambda: "a.b", P.MALFORMED),
    "encrypted": Row(lambda: "a.b.c.d.e", P.MALFORMED),
    "padding": Row(lambda: ISSUER.token() + "==", P.MALFORMED),
    "blank behind": Row(lambda: ISSUER.token() + " ", P.MALFORMED),
    "line feed before": Row(lambda: "\n" + ISSUER.token(), P.MALFORMED),
    "another alphabet": Row(lambda: "é." + ISSUER.token(), P.MALFORMED),
    "doubled claim": Row(
        lambda: ISSUER.sign(json.dumps(ISSUER.claims()).encode()[:-1] + b',"sub":"root"}'), P.MALFORMED
    ),
    "doubled header": Row(lambda: _whole(b'{"alg":"ES256","kid":"k1","kid":"k2"}'), P.MALFORMED),
    "NaN": Row(lambda: ISSUER.sign(b'{"exp":NaN}'), P.MALFORMED),
    "no object": Row(lambda: ISSUER.sign(b'["a"]'), P.MALFORMED),
    "not UTF-8": Row(lambda: ISSUER.sign(b'{"a":"\xff"}'), P.MALFORMED),
    "deep": Row(lambda: ISSUER.sign(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"), P.MALFORMED),
    "nested": Row(lambda: ISSUER.token(a=[[[[[[[[[1]]]]]]]]]), P.MALFORMED),
    "huge": Row(lambda: ISSUER.token(a="x" * 17_000), P.MALFORMED),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_verdicts(name: str) -> None:
    row = ROWS[name]
    if row.problem is None:
        judge(row.token())
        return
    with pytest.raises(CapabilityError, match=r"\Atoken: ") as caught:
        judge(row.token())
    assert caught.value.problem is row.problem


@pytest.mark.parametrize(
    ("kind", "algorithm", "alg"),
    [
        ("rsa2048", "RS256", None),
        ("rsa2048", "RS512", "RS512"),
        ("rsa2048", "PS256", "PS256"),
        ("p384", "ES384", None),
        ("ed25519", "EdDSA", None),
        ("ed25519", "Ed25519", "Ed25519"),
        ("ed25519", "EdDSA", "Ed25519"),
    ],
)
def test_other_algorithms(kind: str, algorithm: str, alg: str | None) -> None:
    issuer = TokenIssuer(ISSUER.url, pooled_key(kind), algorithm=algorithm)  # type: ignore[arg-type]  # KeyKind
    keys = {"keys": [jwk_of(issuer.key, "k1", **({"alg": alg} if alg else {}))]}
    assert judge(issuer.token(), keys=json.dumps(keys).encode()).subject == "alice"


@pytest.mark.parametrize(
    ("algorithm", "alg"), [("RS512", None), ("PS256", None), ("RS256", "PS256"), ("RS256", "RS512")]
)
def test_the_algorithm_is_the_keys(algorithm: str, alg: str | None) -> None:
    """Whatever the header says, although the signature would be good."""
    issuer = TokenIssuer(ISSUER.url, pooled_key("rsa2048"), algorithm=algorithm)
    keys = {"keys": [jwk_of(issuer.key, "k1", **({"alg": alg} if alg else {}))]}
    with pytest.raises(CapabilityError) as caught:
        judge(issuer.token(), keys=json.dumps(keys).encode())
    assert caught.value.problem is P.ALGORITHM


def test_what_it_proves() -> None:
    found = judge(ISSUER.token(scope="openid storage.read:/data/a%20b/ compute.create", wlcg_groups=["/vo", "/vo/g"]))
    assert (found.profile, found.identity, found.is_bound) == (Profile.WLCG, f"{ISSUER.url}#alice", False)
    assert found.capabilities == (Capability("storage.read", ("data", "a b")), Capability("compute.create"))
    assert found.groups == ()  # capabilities are all that such a token gives
    groups = judge(ISSUER.token(scope="openid wlcg.groups", wlcg_groups=["/vo/b", "/vo"]))
    assert groups.groups == ("/vo/b", "/vo")
    assert found.not_after - found.not_before == timedelta(seconds=3660)
    assert "claims" not in repr(found)


@pytest.mark.parametrize(
    ("groups", "own"),
    [
        ((), ()),
        (("/vo",), ("/vo", "/vo/g", "/vo/g/h", "/vo/gx")),
        (("/vo/g",), ("/vo/g", "/vo/g/h")),
        (("/vo/g/h", "/vox"), ("/vo/g/h", "/vox")),
        (("/v", "/vo/g/h/i"), ()),
        (("/cms", "/vo/gx"), ("/vo/gx", "/cms")),
        (("/",), ("/vo", "/vo/g", "/vo/g/h", "/vo/gx", "/vox", "/cms", "/VO")),
    ],
)
def test_groups_of_one_issuer(groups: tuple[str, ...], own: tuple[str, ...]) -> None:
    """It speaks of its own and of those below them; of no others in anything that a token of its proves."""
    said = ["/vo", "/vo/g", "/vo/g/h", "/vo/gx", "/vox", "/cms", "/VO"]
    rules = replace(RULES, issuers=(IssuerRules(issuer=ISSUER.url, groups=groups),))
    found = judge(ISSUER.token(scope="openid", wlcg_groups=said), rules=rules)
    assert found.groups == own
    assert found.foreign_groups == tuple(group for group in said if group not in own)
    assert found.claims["wlcg.groups"] == list(own)
    able = judge(ISSUER.token(wlcg_groups=said), rules=rules)
    assert (able.groups, able.claims["wlcg.groups"]) == ((), list(own))
    assert "wlcg.groups" not in judge(ISSUER.token(), rules=rules).claims


@pytest.mark.parametrize("group", ["vo", "/vo/", "//", "/vo/../x", "", "/vo\n"])
def test_groups_that_are_none(group: str) -> None:
    with pytest.raises(ConfigError, match="groups"):
        IssuerRules(issuer=ISSUER.url, groups=(group,))


def test_lifetime_of_one_issuer() -> None:
    short = replace(RULES, issuers=(IssuerRules(issuer=ISSUER.url, max_lifetime=timedelta(minutes=30)),))
    with pytest.raises(CapabilityError) as caught:
        judge(ISSUER.token(), rules=short)
    assert caught.value.problem is P.LIFETIME
    assert caught.value.issuer == ISSUER.url


def test_profiles_of_one_issuer() -> None:
    only = replace(RULES, issuers=(IssuerRules(issuer=ISSUER.url, profiles=frozenset({Profile.WLCG})),))
    judge(ISSUER.token(), rules=only)
    for text in (ISSUER.scitoken(), ISSUER.access_token()):
        with pytest.raises(CapabilityError) as caught:
            judge(text, rules=only)
        assert caught.value.problem is P.VERSION


def test_not_for_everybody() -> None:
    strict = replace(RULES, accept_any_audience=False)
    for text in (ISSUER.token(aud="https://wlcg.cern.ch/jwt/v1/any"), ISSUER.scitoken(aud="ANY")):
        with pytest.raises(CapabilityError) as caught:
            judge(text, rules=strict)
        assert caught.value.problem is P.AUDIENCE


# --- binding ----------------------------------------------------------------------------------------------------------


def _thumbprint(issued: Issued) -> dict[str, str]:
    return {"x5t#S256": b64(hashlib.sha256(issued.der).digest())}


def test_bound_to_a_certificate() -> None:
    ca = TestCA()
    anchors = make_anchors(ca)
    alice, bob = ca.issue("/O=Grid/CN=Alice"), ca.issue("/O=Grid/CN=Bob")
    upper = alice.proxy()
    lower = upper.proxy(info=LIMITED_INFO)
    independent = upper.proxy(info=INDEPENDENT_INFO)

    def peer(issued: Issued) -> VerifiedPeer:
        return verify_chain(issued.chain_der, anchors, now=_now())

    strict = replace(RULES, binding=Binding.REQUIRED)
    for holder, presenters in ((alice, (alice, upper, lower)), (upper, (upper, lower)), (lower, (lower,))):
        text = ISSUER.token(cnf=_thumbprint(holder))
        for presenter in presenters:
            assert judge(text, rules=strict, peer=peer(presenter)).is_bound
    stolen = ISSUER.token(cnf=_thumbprint(alice))
    for holder, presenter in (
        (alice, bob),
        (alice, bob.proxy()),
        (upper, alice),
        (lower, upper),
        (alice, independent),
        (upper, independent),
        (ca.credential, alice),
    ):
        with pytest.raises(CapabilityError) as caught:
            judge(ISSUER.token(cnf=_thumbprint(holder)), peer=peer(presenter))
        assert caught.value.problem is P.HOLDER
    assert judge(ISSUER.token(cnf=_thumbprint(independent)), peer=peer(independent)).is_bound
    with pytest.raises(CapabilityError) as caught:
        judge(stolen)
    assert caught.value.problem is P.HOLDER
    with pytest.raises(CapabilityError) as caught:
        judge(ISSUER.token(), rules=strict, peer=peer(alice))
    assert caught.value.problem is P.HOLDER


def test_bound_in_a_second_way_too() -> None:
    """Whoever meets one binding and not the other, which nobody here can check, is not the holder."""
    ca = TestCA()
    alice = ca.issue("/O=Grid/CN=Alice")
    peer = verify_chain(alice.chain_der, make_anchors(ca), now=_now())
    assert judge(ISSUER.token(cnf=_thumbprint(alice)), peer=peer).is_bound
    for other in ({"jkt": "abc"}, {"x5t": "abc"}, {"": None}):
        with pytest.raises(CapabilityError, match="not known here") as caught:
            judge(ISSUER.token(cnf=_thumbprint(alice) | other), peer=peer)
        assert caught.value.problem is P.HOLDER


# --- one use ----------------------------------------------------------------------------------------------------------


def test_replayed() -> None:
    once = replace(RULES, one_time=True)
    guard = ReplayMemory()
    text = ISSUER.token(jti="one")
    judge(text, rules=once, replay=guard)
    for again in (text, ISSUER.token(jti="one")):
        with pytest.raises(CapabilityError) as caught:
            judge(again, rules=once, replay=guard)
        assert caught.value.problem is P.REPLAYED
    judge(ISSUER.token(jti="two"), rules=once, replay=guard)
    with pytest.raises(CapabilityError):  # a bad token does not use up its jti
        judge(ISSUER.token(jti="three", aud="x"), rules=once, replay=guard)
    judge(ISSUER.token(jti="three"), rules=once, replay=guard)
    for text, memory in ((ISSUER.token(), None), (ISSUER.scitoken(), None), (ISSUER.scitoken(), ReplayMemory())):
        with pytest.raises(CapabilityError, match="nobody can remember it") as caught:  # a token without a jti, too
            judge(text, rules=once, replay=memory)
        assert caught.value.problem is P.REPLAYED
    judge(ISSUER.scitoken(jti="four"), rules=once, replay=ReplayMemory())


def test_memory_of_replays() -> None:
    guard = ReplayMemory(max_remembered=2)
    now = _now()
    later = now + timedelta(minutes=1)
    assert guard.remember("i", "a", until=now, now=now)
    assert not guard.remember("i", "a", until=now, now=now)
    assert guard.remember("j", "a", until=later, now=now)
    assert not guard.remember("i", "b", until=later, now=now)  # full
    assert guard.remember("i", "b", until=later, now=now + timedelta(seconds=1))
    assert len(guard) == 2


def test_a_clock_that_jumps_makes_nothing_new() -> None:
    """Ahead, when others' tokens have what has ended forgotten, and back to where it was."""
    guard = ReplayMemory()
    now = _now()
    end = now + timedelta(hours=1)
    assert guard.remember("i", "used", until=end, now=now)
    for ahead in (timedelta(minutes=90), timedelta(hours=3), timedelta(days=30_000)):
        assert guard.remember("j", str(ahead), until=now + ahead + timedelta(hours=1), now=now + ahead)
        assert not guard.remember("i", "used", until=end, now=now)
    assert len(guard) == 1
    assert not guard.remember("i", "never used", until=end, now=now)  # which nobody can tell from those that were

    small = ReplayMemory()
    assert small.remember("i", "used", until=end, now=now)
    assert small.remember("j", "x", until=end + timedelta(hours=1), now=end + timedelta(minutes=59))
    assert not small.remember("i", "used", until=end, now=now)
    assert small.remember("i", "new", until=end, now=now)  # an hour ahead harms nobody


# --- rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["http://vo.example.org", "https://", "https://u@h/", "https://h/?x", "https://h/#x", "https://h:99999", "ftp://h",
     "https://h h/", "https://h\\x", "HTTPS://h", "https://ü", "https://h:0", "https://[::1", "https://" + "h" * 2000],
)  # fmt: skip
def test_issuers_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError):
        IssuerRules(issuer=url)
    with pytest.raises(ConfigError):
        IssuerRules(issuer=ISSUER.url, jwks_uri=url)


def test_rules_that_are_none() -> None:
    one = IssuerRules(issuer=ISSUER.url)
    audiences = frozenset({AUDIENCE})
    for make in (
        lambda: TokenRules(issuers=(), audiences=audiences),
        lambda: TokenRules(issuers=(one,), audiences=frozenset()),
        lambda: TokenRules(issuers=(one,), audiences=frozenset({""})),
        lambda: TokenRules(issuers=(one, one), audiences=audiences),
        lambda: TokenRules(issuers=(one,), audiences=frozenset({"ANY"})),
        lambda: IssuerRules(issuer=ISSUER.url, profiles=frozenset()),
        lambda: IssuerRules(issuer=ISSUER.url, max_lifetime=timedelta()),
    ):
        with pytest.raises(ConfigError):
            make()
