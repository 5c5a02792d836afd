"""Key sets, and the cache of them: whose keys count, for how long, and when anybody is asked."""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gsi.errors import CapabilityError, CapabilityProblem, ConfigError, ParseError, TransportError
from gsi.tokens import keycache
from gsi.tokens.keycache import DEFAULT_LIFE, MAX_LIFE, MAX_WAITING, PATIENCE, RETRY, KeyCache
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.tokens.rules import IssuerRules, TokenRules
from tests.harness.ca import TestCA, new_key, pooled_key
from tests.harness.tokens import jwk_of

P: Final = CapabilityProblem
ISSUER: Final = "https://vo.example.org/"
BEGIN: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
RULES: Final = TokenRules(issuers=(IssuerRules(issuer=ISSUER),), audiences=frozenset({"a"}))
DISCOVERY: Final = f"{ISSUER}.well-known/openid-configuration"
OLDER: Final = f"{ISSUER}.well-known/oauth-authorization-server"
PLACE: Final = "https://keys.example.org/jwks"


def _set(*members: object) -> bytes:
    return json.dumps({"keys": members}).encode()


# --- sets -------------------------------------------------------------------------------------------------------------


def test_which_keys_count() -> None:
    good = jwk_of(new_key("p256"), "good")
    weak = jwk_of(rsa.generate_private_key(public_exponent=65537, key_size=1024), "weak")
    point = jwk_of(new_key("p256"), "point")
    found = parse_key_set(
        _set(
            good,
            jwk_of(pooled_key("rsa2048"), "rsa"),
            jwk_of(new_key("p256"), None),
            jwk_of(new_key("p256"), ""),
            jwk_of(new_key("p256"), "enc", use="enc"),
            jwk_of(new_key("p256"), "ops", key_ops=["encrypt"]),
            jwk_of(new_key("p256"), "private", d="AAAA"),
            {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"},
            {"kty": "oct", "kid": "secret2"},
            jwk_of(new_key("p256"), "alg", alg="HS256"),
            jwk_of(new_key("p256"), "alg2", alg="ES384"),
            jwk_of(new_key("p256"), "alg3", alg=["ES256"]),
            jwk_of(ec.generate_private_key(ec.SECP256K1()), "curve", crv="secp256k1"),
            weak,
            point | {"y": point["x"]},
            {"kty": "EC", "crv": "P-256", "kid": "missing"},
            {"kty": "RSA", "kid": "missing", "n": 5, "e": "AQAB"},
            {"kty": "OKP", "crv": "P-256", "kid": "mixed", "x": "AA"},
            "no key",
        )
    )
    assert {kid: key.algorithm for kid, key in found.keys.items()} == {"good": "ES256", "rsa": "RS256"}
    assert len(found.problems) == 17


def test_weak_keys_are_refused_by_the_house_rule() -> None:
    """Keys that the library of tokens takes without a word: it looks at the length of the modulus alone."""
    numbers = {"kty": "RSA", "n": jwk_of(pooled_key("rsa2048"))["n"], "kid": "k"}
    assert list(parse_key_set(_set(numbers | {"e": "AQAB"})).keys) == ["k"]
    for exponent in ("Aw", "EQ", "AQE"):  # 3, 17, 257
        found = parse_key_set(_set(numbers | {"e": exponent}))
        assert found.keys == {}
        assert "malformed" not in found.problems[0]


def test_one_name_for_two_keys_is_none() -> None:
    one, other = jwk_of(new_key("p256"), "k"), jwk_of(new_key("p256"), "k")
    assert parse_key_set(_set(one, other)).keys == {}
    assert list(parse_key_set(_set(one, one)).keys) == ["k"]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[],"keys":[]}', _set(*([{}] * 65)), b" " * 300_000, b"\xff"]
)
def test_no_set(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_key_set(data)


def test_certificates_of_keys() -> None:
    """They come with the key if they are its own, and are left out else; the key counts all the same."""
    ca = TestCA(key="p256")
    issued, other = ca.issue("/O=Grid/CN=cas", "p256"), ca.issue("/O=Grid/CN=other", "p256")
    own, above, anothers = (base64.b64encode(one).decode() for one in (issued.der, ca.der, other.der))

    def found(listed: object) -> list[bytes]:
        key = parse_key_set(_set(jwk_of(issued.key, "k") | {"x5c": listed})).keys["k"]
        return [one.der for one in key.certificates]

    assert found([own]) == [issued.der]
    assert found([own, above]) == [issued.der, ca.der]
    for odd in ([anothers, own], [], own, [own, 5], [own + "!"], ["AAAA"], [own] * 9, {"0": own}, None):
        assert found(odd) == []


def test_static_keys() -> None:
    source = StaticKeys({ISSUER: parse_key_set(_set(jwk_of(new_key("p256"), "k")))})
    assert source.find_key(ISSUER, "k", now=BEGIN).kid == "k"
    for issuer, kid, problem in ((ISSUER, "x", P.KEY), ("https://other/", "k", P.KEYS_UNAVAILABLE)):
        with pytest.raises(CapabilityError) as caught:
            source.find_key(issuer, kid, now=BEGIN)
        assert caught.value.problem is problem


# --- the cache --------------------------------------------------------------------------------------------------------


class Web:
    """Documents in memory, as a fetcher; counts what is asked."""

    def __init__(self, **kids: object) -> None:
        self.keys = {kid: jwk_of(new_key("p256"), kid) for kid in kids}
        self.documents: dict[str, object] = {DISCOVERY: {"issuer": ISSUER, "jwks_uri": PLACE}}
        self.asked: list[str] = []
        self.begun = 0
        self.is_down = False
        self.hold: threading.Event | None = None

    def together(self) -> Web:
        """One limit for all that follow; the tests of `HTTPSFetcher` have it."""
        self.begun += 1
        return self

    def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if self.hold is not None:
            assert self.hold.wait(20)
        if self.is_down or (url != PLACE and url not in self.documents):
            raise TransportError(f"{url}: no answer")
        if url in self.documents:
            return json.dumps(self.documents[url]).encode()
        return _set(*self.keys.values())

    @property
    def fetches(self) -> int:
        """How often keys were asked for."""
        return self.asked.count(PLACE)


def _problem(cache: KeyCache, kid: str, now: datetime, issuer: str = ISSUER) -> CapabilityProblem | None:
    try:
        cache.find_key(issuer, kid, now=now)
    except CapabilityError as error:
        return error.problem
    return None


def test_fetched_once_for_six_hours() -> None:
    web = Web(a=1)
    cache = KeyCache(RULES, web)
    for minutes in range(0, 359, 60):
        assert _problem(cache, "a", BEGIN + timedelta(minutes=minutes)) is None
    assert web.asked == [DISCOVERY, PLACE]
    assert _problem(cache, "a", BEGIN + DEFAULT_LIFE) is None
    assert web.fetches == 2


def test_nobody_is_asked_for_a_stranger() -> None:
    web = Web(a=1)
    assert _problem(KeyCache(RULES, web), "a", BEGIN, "https://evil.example/") is P.ISSUER
    assert web.asked == []


def test_a_new_key_is_found_soon_and_a_made_up_one_costs_little() -> None:
    web = Web(a=1)
    cache = KeyCache(RULES, web)
    assert _problem(cache, "a", BEGIN) is None
    web.keys["b"] = jwk_of(new_key("p256"), "b")
    for seconds in range(1, 299, 7):
        assert _problem(cache, f"made-up-{seconds}", BEGIN + timedelta(seconds=seconds)) is P.KEY
    assert web.fetches == 1
    assert _problem(cache, "b", BEGIN + RETRY) is None
    assert _problem(cache, "a", BEGIN + RETRY) is None
    assert web.fetches == 2


def test_a_removed_key_is_gone_at_the_next_fetch() -> None:
    web = Web(a=1, b=1)
    cache = KeyCache(RULES, web)
    assert _problem(cache, "a", BEGIN) is None
    del web.keys["a"]
    assert _problem(cache, "a", BEGIN + DEFAULT_LIFE) is P.KEY
    assert _problem(cache, "b", BEGIN + DEFAULT_LIFE) is None


def test_old_keys_hold_while_the_issuer_is_down_but_not_for_ever() -> None:
    web = Web(a=1)
    cache = KeyCache(RULES, web)
    assert _problem(cache, "a", BEGIN) is None
    web.is_down = True
    assert _problem(cache, "a", BEGIN + timedelta(hours=7)) is None
    before = len(web.asked)
    assert _problem(cache, "a", BEGIN + timedelta(hours=7, minutes=1)) is None
    assert len(web.asked) == before  # asked again after RETRY alone
    assert _problem(cache, "a", BEGIN + MAX_LIFE - timedelta(seconds=1)) is None
    assert _problem(cache, "a", BEGIN + MAX_LIFE) is P.KEYS_UNAVAILABLE
    web.is_down = False
    assert _problem(cache, "a", BEGIN + MAX_LIFE + RETRY) is None


def test_an_issuer_that_was_never_there() -> None:
    web = Web(a=1)
    web.is_down = True
    cache = KeyCache(RULES, web)
    with pytest.raises(CapabilityError, match="no answer") as caught:
        cache.find_key(ISSUER, "a", now=BEGIN)
    assert caught.value.problem is P.KEYS_UNAVAILABLE
    web.is_down = False
    assert _problem(cache, "a", BEGIN + timedelta(seconds=1)) is P.KEYS_UNAVAILABLE
    assert _problem(cache, "a", BEGIN + RETRY) is None


def test_a_kid_never_changes_its_key() -> None:
    web = Web(a=1)
    cache = KeyCache(RULES, web)
    assert _problem(cache, "a", BEGIN) is None
    web.keys["a"] = jwk_of(new_key("p256"), "a")
    with pytest.raises(CapabilityError, match="another key than before") as caught:
        cache.find_key(ISSUER, "a", now=BEGIN + DEFAULT_LIFE)
    assert caught.value.problem is P.KEY
    del web.keys["a"]
    assert _problem(cache, "a", BEGIN + 2 * DEFAULT_LIFE) is P.KEY
    web.keys["a"] = jwk_of(new_key("p256"), "a")
    assert _problem(cache, "a", BEGIN + 3 * DEFAULT_LIFE) is P.KEY


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example/", "jwks_uri": PLACE}, {"jwks_uri": PLACE}, {"issuer": ISSUER},
        {"issuer": ISSUER, "jwks_uri": "http://keys.example.org/jwks"}, {"issuer": ISSUER, "jwks_uri": 5}, [],
        {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"},
    ],
)  # fmt: skip
def test_odd_discovery(document: object) -> None:
    web = Web(a=1)
    web.documents[DISCOVERY] = document
    assert _problem(KeyCache(RULES, web), "a", BEGIN) is P.KEYS_UNAVAILABLE
    assert web.fetches == 0


def test_places() -> None:
    web = Web(a=1)
    web.documents = {OLDER: web.documents[DISCOVERY]}
    assert _problem(KeyCache(RULES, web), "a", BEGIN) is None
    assert web.asked == [DISCOVERY, OLDER, PLACE]
    direct = TokenRules(issuers=(IssuerRules(issuer=ISSUER, jwks_uri=PLACE),), audiences=frozenset({"a"}))
    web.asked.clear()
    assert _problem(KeyCache(direct, web), "a", BEGIN) is None
    assert web.asked == [PLACE]


def _asking(web: Web, cache: KeyCache, kid: str, now: datetime) -> tuple[threading.Thread, list[object]]:
    """A thread that has begun to fetch, and what it finds in the end."""
    begun = web.begun
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(_problem(cache, kid, now)))
    thread.start()
    while web.begun == begun:
        threading.Event().wait(0.001)
    return thread, found


def test_first_keys_are_waited_for() -> None:
    """By so many and no more, whom one fetch serves; nobody waits for a later one, as the next test says."""
    web = Web(a=1)
    cache = KeyCache(RULES, web)
    web.hold = threading.Event()
    first, found = _asking(web, cache, "a", BEGIN)
    places = cache._first[ISSUER].places
    others = [threading.Thread(target=lambda: found.append(_problem(cache, "a", BEGIN))) for _ in range(MAX_WAITING)]
    for thread in others:
        thread.start()
    while places._value:
        threading.Event().wait(0.001)
    assert _problem(cache, "a", BEGIN) is P.KEYS_UNAVAILABLE
    web.hold.set()
    for thread in (first, *others):
        thread.join(20)
    assert found == [None] * (1 + MAX_WAITING)
    assert (web.fetches, places._value) == (1, MAX_WAITING)


def test_first_keys_that_do_not_come_are_not_waited_for_again() -> None:
    web = Web(a=1)
    web.is_down = True
    cache = KeyCache(RULES, web)
    assert _problem(cache, "a", BEGIN) is P.KEYS_UNAVAILABLE
    web.is_down, web.hold = False, threading.Event()
    thread, found = _asking(web, cache, "a", BEGIN + RETRY)
    with pytest.raises(CapabilityError, match="no answer"):
        cache.find_key(ISSUER, "a", now=BEGIN + RETRY)
    web.hold.set()
    thread.join(20)
    assert found == [None]


def test_one_asks_and_nobody_waits_for_it() -> None:
    """Whoever asks meanwhile goes on with a key that still does, or is refused at once: nothing here waits.

    For the first keys that is so when the time for waiting is over.
    """
    web = Web(a=1)
    cache = KeyCache(RULES, web)
    web.hold = threading.Event()
    assert cache.would_fetch(ISSUER, "a", now=BEGIN)
    thread, found = _asking(web, cache, "a", BEGIN)
    assert not cache.would_fetch(ISSUER, "a", now=BEGIN)
    assert [_problem(cache, "a", BEGIN + PATIENCE) for _ in range(8)] == [P.KEYS_UNAVAILABLE] * 8
    web.hold.set()
    thread.join(20)
    assert (found, web.fetches) == ([None], 1)
    assert _problem(cache, "a", BEGIN) is None

    later = BEGIN + DEFAULT_LIFE
    web.hold = threading.Event()
    thread, found = _asking(web, cache, "a", later)
    assert not cache.would_fetch(ISSUER, "unknown", now=later)
    assert _problem(cache, "a", later) is None
    assert [_problem(cache, "unknown", later) for _ in range(8)] == [P.KEY] * 8
    web.hold.set()
    thread.join(20)
    assert (found, web.fetches) == ([None], 2)
    assert not cache.would_fetch(ISSUER, "unknown", now=later)
    assert cache.would_fetch(ISSUER, "unknown", now=later + RETRY)
    assert not cache.would_fetch("https://evil.example/", "a", now=later)


def test_all_documents_of_an_issuer_are_fetched_together() -> None:
    web = Web(a=1)
    web.documents = {OLDER: web.documents[DISCOVERY]}
    assert _problem(KeyCache(RULES, web), "a", BEGIN) is None
    assert (len(web.asked), web.begun) == (3, 1)


def test_clocks_that_lie_apart() -> None:
    web = Web(a=1)
    cache = KeyCache(RULES, web)
    assert _problem(cache, "a", BEGIN) is None
    assert _problem(cache, "a", BEGIN - timedelta(milliseconds=5)) is None
    assert web.fetches == 1
    assert _problem(cache, "a", BEGIN - timedelta(days=9)) is None  # set back: asked anew
    assert web.fetches == 2


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for life in (timedelta(minutes=59), timedelta(days=5)):
        with pytest.raises(ConfigError):
            KeyCache(RULES, Web(), life=life)
    monkeypatch.setattr(keycache, "_MAX_REMEMBERED", 1)
    web = Web(a=1, b=1)
    assert _problem(KeyCache(RULES, web), "b", BEGIN) is None
