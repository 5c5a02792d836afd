"""Tokens of ours before our verifier, of the three profiles, and what is not issued."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from cas.assertion.jwks import discovery_document, key_set, well_known_paths
from cas.assertion.scopes import ScopeBase, ScopeMapping
from cas.assertion.signing import SigningKey
from cas.assertion.token import MAX_LIFETIME, IssuedToken, TokenContent, TokenIssuer, TokenOptions, groups_of
from cas.assertion.value import Capability, Right
from gsi.errors import CapabilityError, CapabilityProblem, ConfigError, DeniedError, IssuanceError
from gsi.tokens.compact import CompactToken
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.tokens.rules import Binding, IssuerRules, Profile, TokenRules
from gsi.tokens.scopes import Capability as Scope
from gsi.tokens.verify import TokenVerifier, VerifiedToken
from gsi.trust.verify import verify_chain
from tests.harness.ca import Issued, KeyKind, TestCA, pooled_key
from tests.harness.capabilities import VO, file_right, make_capability, signing_key, token_key
from tests.harness.trust import make_anchors

CA_ = TestCA(key="p256")
ALICE = CA_.issue("/O=Grid/CN=Alice", "p256")
ANCHORS = make_anchors(CA_)
ISSUER, SE = "https://cas.example.org/climate", "https://se.example.org:8443"
MAPPING = ScopeMapping(
    bases=(ScopeBase(namespace="FTPDirectoryTree", prefix="ftp://se.example.org/vo", audiences=frozenset({SE})),)
)
DATA = file_right("ftp://se.example.org/vo/data/*", "read")
OUT = file_right("ftp://se.example.org/vo/out/*", "create", "delete", "write")
FQANS = (f"/{VO}/Role=NULL/Capability=NULL", f"/{VO}/prod/Role=writer/Capability=NULL", f"/{VO}/prod")
KEY = token_key(pooled_key("p256"))


def _issue(
    capability: Capability | None = None,
    *,
    key: SigningKey = KEY,
    now: datetime | None = None,
    client_id: str = "",
    **options: object,
) -> IssuedToken:
    capability = capability or make_capability(ALICE, rights=(DATA, OUT), fqans=FQANS)
    settings = TokenOptions(issuer=ISSUER, mapping=MAPPING, **options)  # type: ignore[arg-type]  # named by the caller
    issuer = TokenIssuer(key, settings)
    return issuer.issue(capability, now=now or datetime.now(UTC), client_id=client_id)


def _believe(
    text: str, holder: Issued | None = None, *, key: SigningKey = KEY, now: datetime | None = None, **rules: object
) -> VerifiedToken:
    now = now or datetime.now(UTC)
    settings: dict[str, object] = {
        "audiences": frozenset({SE}),
        "issuers": (IssuerRules(issuer=ISSUER, groups=(f"/{VO}",)),),
    }
    keys = parse_key_set(key_set([key]))
    peer = None if holder is None else verify_chain(holder.chain_der, ANCHORS, now=now)
    verifier = TokenVerifier(TokenRules(**settings | rules), StaticKeys({ISSUER: keys}))  # type: ignore[arg-type]  # handed on by name
    return verifier.verify(text, now=now, peer=peer)


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519"])
@pytest.mark.parametrize("profile", Profile)
def test_believed(profile: Profile, kind: KeyKind) -> None:
    key = token_key(pooled_key(kind))
    capability = make_capability(ALICE, rights=(DATA, OUT), begins=timedelta(minutes=-1))
    issued = _issue(capability, key=key, profile=profile, client_id="cas-token")
    found = _believe(issued.text, key=key)
    assert found.profile is profile
    assert (found.issuer, found.subject, found.token_id) == (ISSUER, "alice", capability.identifier.hex())
    assert (found.not_before, found.not_after) == (capability.not_before, issued.expires)
    assert issued.expires == capability.not_after
    names = ("read", "write") if profile is Profile.SCITOKENS else ("storage.read", "storage.create", "storage.modify")
    assert {one.name for one in found.capabilities} == set(names)
    assert Scope(names[0], ("data",)) in found.capabilities
    assert issued.left_out == ()
    assert not found.is_bound
    header = CompactToken.parse(issued.text).header
    assert header["typ"] == ("JWT" if profile is Profile.SCITOKENS else "at+jwt")
    assert header["kid"] == key.kid


def test_type_without_a_client() -> None:
    assert CompactToken.parse(_issue().text).header["typ"] == "JWT"
    assert "client_id" not in CompactToken.parse(_issue().text).claims
    with pytest.raises(IssuanceError, match="client"):
        _issue(profile=Profile.RFC9068)


def test_groups() -> None:
    roles = ((f"/{VO}/prod/Role=writer", f"/{VO}/writers"),)
    found = _believe(_issue(make_capability(ALICE, fqans=FQANS, audience=(SE,)), content=TokenContent.GROUPS).text)
    assert found.groups == (f"/{VO}", f"/{VO}/prod")
    assert found.capabilities == ()
    issued = _issue(content=TokenContent.BOTH, role_groups=roles)
    assert issued.groups == (f"/{VO}", f"/{VO}/writers", f"/{VO}/prod")
    found = _believe(issued.text)
    assert found.capabilities
    assert found.groups == ()  # where there are capabilities, groups do not count
    assert found.claims["wlcg.groups"] == list(issued.groups)
    assert "wlcg.groups" not in CompactToken.parse(_issue().text).claims
    assert groups_of((f"/{VO}/Role=x/Capability=NULL",)) == ()


def test_bound_to_the_proxy() -> None:
    proxy, other = ALICE.proxy(key="p256"), ALICE.proxy(key="p256")
    thumbprint = hashlib.sha256(proxy.der).digest()
    text = _issue(make_capability(ALICE, rights=(DATA,), key_thumbprint=thumbprint)).text
    assert _believe(text, proxy, binding=Binding.REQUIRED).is_bound
    assert _believe(text, proxy.proxy(key="p256")).is_bound  # delegated further
    for holder in (other, ALICE, CA_.issue("/O=Grid/CN=Bob", "p256"), None):
        with pytest.raises(CapabilityError) as caught:
            _believe(text, holder)
        assert caught.value.problem is CapabilityProblem.HOLDER


def test_audience() -> None:
    one = CompactToken.parse(_issue().text).claims["aud"]
    assert one == SE
    named = _issue(make_capability(ALICE, rights=(DATA,), audience=(SE,)))
    assert CompactToken.parse(named.text).claims["aud"] == SE
    for audience in (
        (SE, "https://other.example.org"),
        ("https://wlcg.cern.ch/jwt/v1/any",),
        ("ANY",),
        ("se.example.org",),
    ):
        with pytest.raises(DeniedError):
            _issue(make_capability(ALICE, rights=(DATA,), audience=audience))
    with pytest.raises(DeniedError, match="meant for somebody"):
        _issue(make_capability(ALICE, fqans=FQANS), content=TokenContent.GROUPS)


def test_life_is_short() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    day = make_capability(ALICE, rights=(DATA,), lifetime=timedelta(days=1), now=now)
    assert _issue(day, now=now).expires == now + timedelta(hours=1)
    assert _issue(day, now=now, max_lifetime=MAX_LIFETIME).expires == now + timedelta(hours=6)
    brief = CA_.issue("/O=Grid/CN=Alice", "p256", not_after=now + timedelta(minutes=7))
    assert _issue(make_capability(brief, rights=(DATA,), now=now), now=now).expires == now + timedelta(minutes=7)
    for life in (timedelta(), timedelta(hours=6, seconds=1), timedelta(seconds=-1)):
        with pytest.raises(ConfigError):
            TokenOptions(issuer=ISSUER, mapping=MAPPING, max_lifetime=life)
    with pytest.raises(IssuanceError):
        _issue(make_capability(ALICE, rights=(DATA,), now=now), now=now + timedelta(hours=2))


def test_what_is_left_out_is_told() -> None:
    single = file_right("ftp://se.example.org/vo/f", "read")
    lookup = file_right("ftp://se.example.org/vo/names/*", "lookup")
    issued = _issue(make_capability(ALICE, rights=(single, DATA, lookup)))
    assert issued.scopes == ("storage.read:/data",)
    assert issued.left_out == (single, lookup)
    assert issued.text not in repr(issued)


@pytest.mark.parametrize(
    "change",
    [
        {"nickname": ""},
        {"nickname": "a" * 256},
        {"nickname": "a\nb"},
        {"identifier": b""},
        {"lifetime": timedelta()},
        {"rights": tuple(file_right(f"ftp://se.example.org/vo/{number}/*", "read") for number in range(513))},
        {"rights": tuple(file_right(f"ftp://se.example.org/vo/{number}{'x' * 99}/*", "read") for number in range(150))},
    ],
)
def test_not_issued(change: dict[str, object]) -> None:
    with pytest.raises(IssuanceError):
        _issue(make_capability(ALICE, **{"rights": (DATA,)} | change))  # type: ignore[arg-type]  # handed on by name


@pytest.mark.parametrize("rights", [(), (file_right("ftp://elsewhere/*", "read"),)])
def test_nothing_to_say(rights: tuple[Right, ...]) -> None:
    with pytest.raises(DeniedError):
        _issue(make_capability(ALICE, rights=rights, fqans=FQANS))


def test_options_that_contradict() -> None:
    for wrong in (
        {"issuer": "http://cas.example.org"},
        {"issuer": "cas"},
        {"profile": Profile.SCITOKENS, "content": TokenContent.BOTH},
    ):
        with pytest.raises(ConfigError):
            TokenOptions(**{"issuer": ISSUER, "mapping": MAPPING} | wrong)  # type: ignore[arg-type]  # handed on by name


def test_who_acts() -> None:
    issuer = TokenIssuer(KEY, TokenOptions(issuer=ISSUER, mapping=MAPPING))
    issued = issuer.issue(make_capability(ALICE, rights=(DATA,)), now=datetime.now(UTC), actor="/O=Grid/CN=portal")
    assert _believe(issued.text).claims["act"] == {"sub": "/O=Grid/CN=portal"}


# --- what is published ------------------------------------------------------------------------------------------------


def test_key_set() -> None:
    keys = [token_key(pooled_key(kind)) for kind in ("rsa2048", "p256", "p384", "ed25519")]
    found = parse_key_set(key_set(keys))
    assert list(found.keys) == [key.kid for key in keys]
    assert [one.algorithm for one in found.keys.values()] == ["RS256", "ES256", "ES384", "EdDSA"]
    assert found.problems == ()
    text = key_set(keys).decode()
    assert not any(f'"{member}"' in text for member in ("d", "p", "q", "dp", "dq", "qi", "k"))


def test_key_set_with_certificates() -> None:
    sub = CA_.intermediate("/O=Grid/CN=Sub", "p256")
    key = signing_key(sub.issue("/O=Grid/CN=cas", "p256"))
    assert parse_key_set(key_set([key, KEY])).keys[key.kid].certificates == key.certificates
    assert parse_key_set(key_set([key, KEY])).keys[KEY.kid].certificates == ()


def test_discovery() -> None:
    data = discovery_document(
        ISSUER,
        jwks_uri=f"{ISSUER}/jwks",
        token_endpoint=f"{ISSUER}/token",
        scopes=("storage.read",),
        more={"issuer": "https://evil.example.org", "claims_supported": ["sub"]},
    )
    found = json.loads(data)
    assert (found["issuer"], found["jwks_uri"], found["claims_supported"]) == (ISSUER, f"{ISSUER}/jwks", ["sub"])
    assert found["tls_client_certificate_bound_access_tokens"] is True
    assert well_known_paths(ISSUER) == (
        "/climate/.well-known/openid-configuration",
        "/climate/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/climate",
    )
    assert well_known_paths("https://h/")[0] == "/.well-known/openid-configuration"
    for odd in ("http://h", "https://h/a//b", "https://h/../b", "https://h/?x"):
        with pytest.raises(ConfigError):
            well_known_paths(odd)
    with pytest.raises(ConfigError):
        discovery_document(ISSUER, jwks_uri="http://x/jwks", token_endpoint=f"{ISSUER}/token")
