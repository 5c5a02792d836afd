"""OpenID Connect against a provider built with Authlib: what is believed, and everything that must not be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc.jwk import ECKey, OctKey

from gsi.errors import AuthenticationError, GridError, RefusedError, RemoteProtocolError
from gsi.system import clock
from myproxy.portal.config import OIDCSettings
from myproxy.portal.oidc import Provider
from tests.harness import oidc
from tests.harness.ca import TestCA, write_file, write_trust_dir

BACK = "https://portal.example.org/logon/oidc/back"


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def running(ca: TestCA) -> Iterator[oidc.Provider]:
    with oidc.oidc_provider(ca.issue_host("localhost", "p256"), BACK) as provider:
        yield provider


@pytest.fixture
def provider(running: oidc.Provider) -> oidc.Provider:
    running.twist = {}
    running.user = "alice"
    return running


def make_client(provider: oidc.Provider, ca: TestCA, place: Path, **settings: Any) -> Provider:
    write_file(place / "secret", oidc.CLIENT_SECRET.encode(), 0o600)
    made = OIDCSettings(
        issuer=provider.issuer, client_id=oidc.CLIENT, client_secret_file=str(place / "secret"), **settings
    )
    return Provider(made, str(write_trust_dir(place / "trust", ca)), clock=clock.now)


@pytest.fixture
def client(provider: oidc.Provider, ca: TestCA, tmp_path: Path) -> Provider:
    return make_client(provider, ca, tmp_path)


def log_on(client: Provider, provider: oidc.Provider, **changes: str | None) -> str:
    """The whole way; what the provider answers may be changed on the way back."""
    url, pending = client.begin(BACK)
    location = provider.answer(url)
    query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()} | changes
    kept = {name: value for name, value in query.items() if value is not None}
    return client.finish(f"{BACK}?{urlencode(kept)}", pending, BACK)


def test_the_whole_way(client: Provider, provider: oidc.Provider) -> None:
    assert log_on(client, provider) == "alice"
    url, first = client.begin(BACK)
    _, second = client.begin(BACK)
    query = parse_qs(urlsplit(url).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["nonce"] == [first.nonce]
    assert len({first.state, first.nonce, first.verifier, second.state, second.nonce, second.verifier}) == 6


def test_the_provider_may_say_no(client: Provider, provider: oidc.Provider) -> None:
    with pytest.raises((RefusedError, AuthenticationError)):
        log_on(client, provider, error="access_denied", code=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "another"},
        {"state": None},
        {"iss": "https://other.example.org"},  # mix-up
        {"iss": None},
        {"code": "made up"},
        {"code": None},
    ],
)
def test_answers_that_were_changed(client: Provider, provider: oidc.Provider, changes: dict[str, str | None]) -> None:
    with pytest.raises(GridError):
        log_on(client, provider, **changes)


def test_a_code_is_good_once_and_with_its_verifier_alone(client: Provider, provider: oidc.Provider) -> None:
    url, pending = client.begin(BACK)
    location = provider.answer(url)
    _, other = client.begin(BACK)
    mixed = type(pending)(pending.state, pending.nonce, other.verifier)
    with pytest.raises(AuthenticationError, match="does not take the code"):
        client.finish(location, mixed, BACK)
    url, pending = client.begin(BACK)
    location = provider.answer(url)
    assert client.finish(location, pending, BACK) == "alice"
    with pytest.raises(AuthenticationError, match="does not take the code"):
        client.finish(location, pending, BACK)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example.org"},
        {"iss": None},
        {"aud": "somebody else"},
        {"aud": ["portal", "somebody else"], "azp": "portal"},
        {"aud": None},
        {"azp": "somebody else"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"iat": int(time.time()) + 3600},
        {"iat": None},
        {"nonce": "another"},
        {"nonce": None},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
        {"preferred_username": None},
        {"preferred_username": ["alice"]},
        {"preferred_username": "alice\nUSERNAME=bob"},
        {"preferred_username": "../alice"},
        {"preferred_username": ""},
    ],
)
def test_tokens_that_prove_nothing(client: Provider, provider: oidc.Provider, claims: dict[str, Any]) -> None:
    provider.twist = {"claims": claims}
    with pytest.raises(AuthenticationError, match="ID token"):
        log_on(client, provider)


@pytest.mark.parametrize(
    "twist",
    [
        {"key": ECKey.generate_key("P-256", {"kid": "first"})},
        {"key": OctKey.import_key(oidc.CLIENT_SECRET), "header": {"alg": "HS256"}},
    ],
)
def test_tokens_that_others_have_signed(client: Provider, provider: oidc.Provider, twist: dict[str, Any]) -> None:
    provider.twist = twist
    with pytest.raises(AuthenticationError, match="ID token"):
        log_on(client, provider)


def test_claims_that_the_site_insists_on(provider: oidc.Provider, ca: TestCA, tmp_path: Path) -> None:
    assert log_on(make_client(provider, ca, tmp_path, required={"amr": "otp"}), provider) == "alice"
    for required in ({"amr": "hwk"}, {"acr": "strong"}, {"amr": "pwd", "acr": "strong"}):
        with pytest.raises(AuthenticationError, match="lacks"):
            log_on(make_client(provider, ca, tmp_path, required=required), provider)


def test_the_providers_own_words_are_checked(client: Provider, provider: oidc.Provider) -> None:
    provider.twist = {"metadata": {"issuer": "https://other.example.org"}}
    with pytest.raises(RemoteProtocolError, match="calls itself"):
        client.begin(BACK)


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
def test_endpoints_have_tls(client: Provider, provider: oidc.Provider, name: str) -> None:
    provider.twist = {"metadata": {name: "http://localhost/x"}}
    with pytest.raises(RemoteProtocolError, match=name):
        log_on(client, provider)


def test_a_new_key_of_the_provider_is_found(client: Provider, provider: oidc.Provider) -> None:
    assert log_on(client, provider) == "alice"
    former = provider.key
    provider.key = ECKey.generate_key("P-256", {"kid": "second", "use": "sig", "alg": "ES256"})
    try:
        assert log_on(client, provider) == "alice"
    finally:
        provider.key = former


def test_a_provider_without_a_known_certificate_is_not_asked(provider: oidc.Provider, tmp_path: Path) -> None:
    client = make_client(provider, TestCA("/O=Grid/CN=Other CA", "p256"), tmp_path)
    with pytest.raises(GridError, match="TLS"):
        client.begin(BACK)
