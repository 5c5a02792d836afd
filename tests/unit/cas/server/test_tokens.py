"""The OAuth endpoint: what is given for a certificate, what for a token, and that nothing becomes more on the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cas.policy.changes import AddMember, Change, Enrol, encode_change
from cas.policy.model import Kind, Ref, User
from cas.server.tokens import CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from tests.harness.cas_web import ISSUER, STORAGE, Web, claims, open_web

OTHER = "https://other.example.org"
JWT = "urn:ietf:params:oauth:token-type:jwt"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with open_web(tmp_path_factory.mktemp("web")) as found:
        yield found


def give(web: Web, **form: str) -> str:
    status, answer = web.token("alice", grant_type=CLIENT_CREDENTIALS, **form)
    assert status == 200, answer
    assert (answer["token_type"], answer["issued_token_type"]) == (
        "Bearer",
        "urn:ietf:params:oauth:token-type:access_token",
    )
    return str(answer["access_token"])


def swap(web: Web, token: str, who: str = "alice", **form: str) -> tuple[int, dict[str, object]]:
    return web.token(who, grant_type=TOKEN_EXCHANGE, subject_token=token, subject_token_type=JWT, **form)


def test_a_token_for_a_certificate(web: Web) -> None:
    found = claims(give(web))
    assert (found["iss"], found["sub"], found["scope"]) == (ISSUER, "alice", "storage.read:/data")
    assert sorted(found["aud"]) == [OTHER, STORAGE]
    assert "x5t#S256" in found["cnf"]
    assert "cnf" not in claims(give(web, bound="false"))


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("storage.read:/data/runs", "storage.read:/data/runs"),
        ("storage.read:/", "storage.read:/data"),
        ("storage.read:/data/runs storage.modify:/data", "storage.read:/data/runs"),
    ],
)
def test_scopes_are_narrowed(web: Web, asked: str, given: str) -> None:
    assert claims(give(web, scope=asked))["scope"] == given


@pytest.mark.parametrize(
    "scope",
    [
        "storage.read",
        "storage.read:/../x",
        "storage.fly:/x",
        "profile",
        "compute.create",
        "openid",
        "wlcg",
        "offline_access openid",
        "wlcg.groups",
        "wlcg.groups:/climate/nosuch",
    ],
)
def test_scopes_that_are_not_given(web: Web, scope: str) -> None:
    status, answer = web.token("alice", grant_type=CLIENT_CREDENTIALS, scope=scope)
    assert status == 400, answer
    assert answer["error"] in {"invalid_scope", "access_denied"}


def test_a_narrower_token_for_a_token(web: Web) -> None:
    first = give(web, scope="storage.read:/data/runs", audience=STORAGE, lifetime="600")
    status, answer = swap(web, first)
    assert status == 200, answer
    found, before = claims(str(answer["access_token"])), claims(first)
    assert (found["scope"], found["aud"]) == ("storage.read:/data/runs", STORAGE)
    assert found["exp"] <= before["exp"]
    status, answer = swap(web, first, scope="storage.read:/data/runs/2026")
    assert claims(str(answer["access_token"]))["scope"] == "storage.read:/data/runs/2026"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"scope": "storage.read:/data"}, "invalid_scope"),
        ({"scope": "storage.modify:/data/runs"}, "invalid_scope"),
        ({"audience": OTHER}, "invalid_target"),
        ({"lifetime": "-1"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
    ],
)
def test_never_wider(web: Web, form: dict[str, str], error: str) -> None:
    first = give(web, scope="storage.read:/data/runs", audience=STORAGE)
    status, answer = swap(web, first, **form)
    assert (status, answer["error"]) == (400, error)


def test_tokens_of_others_give_nothing(web: Web) -> None:
    loose = give(web, bound="false")
    for who in ("bob", "admin"):
        status, answer = swap(web, loose, who=who)
        assert (status, answer["error"]) == (400, "invalid_request")
    assert web.records()[-1]["verdict"] == "deny"
    bound = give(web)
    status, answer = swap(web, bound, who="bob")
    assert status == 400
    head, body, signature = bound.split(".")
    for broken in (f"{head}.{body}.{signature[:-4]}AAAA", "x", f"{head}.{body}.", ""):
        assert swap(web, broken)[0] == 400


def test_a_bound_token_stays_bound(web: Web) -> None:
    status, answer = swap(web, give(web), bound="false")
    assert status == 200
    assert "cnf" in claims(str(answer["access_token"]))


def test_a_user_whose_name_is_not_ascii(web: Web) -> None:
    """Has all forms, and tokens that can be exchanged; another whose nickname is the escaped one is another."""
    made: list[Change] = [
        Enrol(User("zo\xeb", "/O=Grid/CN=zoe", "ca"), "superUserGroup"),
        Enrol(User("zo%C3%AB", "/O=Grid/CN=other", "ca"), "superUserGroup"),
        *(AddMember(Ref(Kind.USER_GROUP, "readers"), Ref(Kind.USER, name)) for name in ("zo\xeb", "zo%C3%AB")),
    ]
    status, answer = web.ask("admin", "POST", "/cas/v1/changes", {"changes": [encode_change(one) for one in made]})
    assert status == 200, answer
    for form in ("saml1", "saml2", "attribute-certificate"):
        assert web.ask("zoe", "POST", "/cas/v1/capability", {"form": form})[0] == 200
    for profile in ("wlcg", "scitokens", "rfc9068"):
        status, answer = web.token("zoe", grant_type=CLIENT_CREDENTIALS, profile=profile, bound="false")
        assert status == 200, answer
        assert claims(answer["access_token"])["sub"] == "zo%C3%AB"
        status, again = swap(web, answer["access_token"], "zoe", profile=profile)
        assert status == 200, again
        assert claims(str(again["access_token"]))["sub"] == "zo%C3%AB"
        assert swap(web, answer["access_token"], "other", profile=profile)[0] == 400


def test_other_grants(web: Web) -> None:
    assert web.token("alice", grant_type="password")[1]["error"] == "unsupported_grant_type"
    assert web.token(None, grant_type=CLIENT_CREDENTIALS)[1]["error"] == "invalid_client"
    assert web.token("mallory", grant_type=CLIENT_CREDENTIALS)[1]["error"] == "access_denied"
    answer = web.http.post("/oauth2/token", json={}, environ_overrides=web.environ("alice"))
    assert answer.status_code == 400
    twice = web.http.post(
        "/oauth2/token",
        data="grant_type=client_credentials&grant_type=password",
        content_type="application/x-www-form-urlencoded",
        environ_overrides=web.environ("alice"),
    )
    assert twice.status_code == 400
