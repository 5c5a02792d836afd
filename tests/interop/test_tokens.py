"""Tokens against the world: an issuer over https on this machine, and signatures that openssl judges independently."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gsi.errors import CapabilityError, CapabilityProblem, TimeoutExpiredError, TransportError
from gsi.tokens.keycache import DEFAULT_LIFE, KeyCache
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.tokens.rules import IssuerRules, TokenRules
from gsi.tokens.verify import TokenVerifier
from gsi.transport import documents
from gsi.transport.documents import HTTPSFetcher
from gsi.transport.http import make_context
from tests.harness.ca import KeyKind, TestCA, pooled_key, write_trust_dir
from tests.harness.environment import clean_environment
from tests.harness.run import c_program, run
from tests.harness.tokens import AUDIENCE, HTTPSSite, TokenIssuer, jwk_of

pytestmark = pytest.mark.interop


class World:
    """An issuer with its site, and a verifier that trusts the site's CA."""

    def __init__(self, directory: Path, site: HTTPSSite, trust_dir: Path) -> None:
        self.site = site
        self.issuer = TokenIssuer(f"https://localhost:{site.port}/vo")
        self.place = f"https://localhost:{site.port}/jwks"
        self.publish()
        self.context = make_context(str(trust_dir))
        self.rules = TokenRules(issuers=(IssuerRules(issuer=self.issuer.url),), audiences=frozenset({AUDIENCE}))
        self.directory = directory

    def publish(self) -> None:
        self.site.documents["/vo/.well-known/openid-configuration"] = json.dumps(
            {"issuer": self.issuer.url, "jwks_uri": self.place}
        ).encode()
        self.site.documents["/jwks"] = self.issuer.key_set()

    def cache(self, context: ssl.SSLContext | None = None, *, max_bytes: int = 10_000) -> KeyCache:
        return KeyCache(self.rules, HTTPSFetcher(context or self.context, timeout=10, max_bytes=max_bytes))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    ca = TestCA()
    with HTTPSSite(ca) as site:
        yield World(tmp_path, site, write_trust_dir(tmp_path / "certificates", ca))


def _now() -> datetime:
    return datetime.now(UTC)


def test_keys_come_over_https(world: World) -> None:
    verifier = TokenVerifier(world.rules, world.cache())
    for _ in range(3):
        assert verifier.verify(world.issuer.token(), now=_now()).issuer == world.issuer.url
    assert world.site.asked == ["/vo/.well-known/openid-configuration", "/jwks"]


def test_rotation(world: World) -> None:
    verifier = TokenVerifier(world.rules, world.cache())
    now = _now()
    verifier.verify(world.issuer.token(), now=now)
    old = world.issuer.token()
    world.issuer.key, world.issuer.kid = pooled_key("p256"), "k2"
    world.publish()
    later = now + timedelta(minutes=6)
    verifier.verify(world.issuer.token(), now=later)
    with pytest.raises(CapabilityError) as caught:
        verifier.verify(old, now=later)
    assert caught.value.problem is CapabilityProblem.KEY


def test_a_reused_kid(world: World) -> None:
    verifier = TokenVerifier(world.rules, world.cache())
    now = _now()
    verifier.verify(world.issuer.token(), now=now)
    world.issuer.key = pooled_key("p256")
    world.publish()
    later = now + DEFAULT_LIFE
    token = world.issuer.token(iat=int(later.timestamp()), nbf=None, exp=int(later.timestamp()) + 3600)
    with pytest.raises(CapabilityError, match="another key than before"):
        verifier.verify(token, now=later)


def test_nothing_is_fetched_for_strangers(world: World) -> None:
    verifier = TokenVerifier(world.rules, world.cache())
    with pytest.raises(CapabilityError):
        verifier.verify(world.issuer.token(iss=world.issuer.url + "/other"), now=_now())
    assert world.site.asked == []


def _why(world: World, cache: KeyCache) -> str:
    with pytest.raises(CapabilityError) as caught:
        TokenVerifier(world.rules, cache).verify(world.issuer.token(), now=_now())
    assert caught.value.problem is CapabilityProblem.KEYS_UNAVAILABLE
    return caught.value.message


def test_what_the_fetcher_refuses(world: World) -> None:
    """A server of an unknown CA, redirections, what is too long, what is not there."""
    assert "certificate" in _why(world, world.cache(make_context()))
    assert world.site.asked == []
    good = world.site.documents["/jwks"]
    world.site.documents["/elsewhere"] = good
    world.site.documents["/jwks"] = "/elsewhere"
    assert "redirections" in _why(world, world.cache())
    assert "/elsewhere" not in world.site.asked
    world.site.documents["/jwks"] = b" " * 10_001
    assert "10001 bytes" in _why(world, world.cache())
    del world.site.documents["/jwks"]
    assert "404" in _why(world, world.cache())
    world.rules = replace(world.rules, issuers=(IssuerRules(issuer=world.issuer.url, jwks_uri=world.place + "/x"),))
    assert "404" in _why(world, world.cache())
    for url in ("http://localhost/x", "file:///etc/passwd", "https://u:p@localhost/"):
        with pytest.raises(TransportError, match="https"):
            HTTPSFetcher(world.context).fetch(url)


def test_all_documents_have_one_limit_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an issuer that answers slowly holds a request up once for each."""
    fetcher = HTTPSFetcher(world.context, timeout=10)
    together = fetcher.together()
    assert together.fetch(world.place) == world.issuer.key_set()
    monkeypatch.setattr(documents, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 10))
    with pytest.raises(TimeoutExpiredError, match="no time left"):
        together.fetch(world.place)
    assert world.site.asked == ["/jwks"]
    assert fetcher.together().fetch(world.place) == world.issuer.key_set()


@pytest.mark.parametrize(
    ("kind", "algorithm"), [("rsa2048", "RS256"), ("rsa2048", "PS256"), ("p256", "ES256"), ("p384", "ES384")]
)
def test_openssl_agrees(kind: KeyKind, algorithm: str, tmp_path: Path) -> None:
    """On the signatures of tokens that we accept, and of those changed by one bit that we refuse."""
    issuer = TokenIssuer("https://vo.example.org/", pooled_key(kind), algorithm=algorithm)
    keys = parse_key_set(json.dumps({"keys": [jwk_of(issuer.key, "k1", alg=algorithm)]}).encode())
    rules = TokenRules(issuers=(IssuerRules(issuer=issuer.url),), audiences=frozenset({AUDIENCE}))
    verifier = TokenVerifier(rules, StaticKeys({issuer.url: keys}))
    public = tmp_path / "public.pem"
    public.write_bytes(issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    text = issuer.token()
    signed, _, signature = text.rpartition(".")
    flipped = ("A" if signature[10] != "A" else "B") + signature[11:]
    verdicts = []
    for candidate in (signature, signature[:10] + flipped):
        data, raw = tmp_path / "data", base64.urlsafe_b64decode(candidate + "=" * (-len(candidate) % 4))
        data.write_bytes(signed.encode())
        if algorithm.startswith("ES"):
            half = len(raw) // 2
            raw = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
        (tmp_path / "signature").write_bytes(raw)
        options = ["-sigopt", "rsa_padding_mode:pss"] if algorithm.startswith("PS") else []
        done = run(
            [c_program("openssl"), "dgst", f"-sha{algorithm[2:]}", *options, "-verify", public, "-signature",
             tmp_path / "signature", data],
            env=clean_environment(tmp_path),
        )  # fmt: skip
        try:
            verifier.verify(f"{signed}.{candidate}", now=_now())
            ours = True
        except CapabilityError:
            ours = False
        verdicts.append((done.returncode == 0, ours))
    assert verdicts == [(True, True), (False, False)]
