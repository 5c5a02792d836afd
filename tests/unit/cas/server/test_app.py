"""The server over HTTPS, without sockets: who is let in, what is answered, and the document that describes it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask

from cas.assertion.jwks import well_known_paths
from cas.assertion.revocations import identifier_of, parse_revocations
from cas.config import MAX_LIFETIME
from cas.metrics import Metrics
from cas.policy.changes import AddFeed, Enrol, SetFqan, encode_change
from cas.policy.model import Feed, FeedSource, UserGroup
from cas.server import asking
from cas.server.gunicorn import make_application, make_health
from cas.server.openapi import PUBLIC_PATHS, document
from cas.server.operations import OPERATIONS
from cas.wiring.service import open_community
from gsi.system.clock import now
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.transport.rates import RateCap
from gsi.transport.wsgi_server import Reloads
from gsi.voms.attribute_cert import AttributeCertificate
from tests.harness.ca import INDEPENDENT_INFO, LIMITED_INFO, TestCA, write_file
from tests.harness.cas_web import DATA, ISSUER, STORAGE, Web, claims, open_web
from tests.harness.openapi import described_client

RIGHT = [{"resource": f"FTPDirectoryTree|{DATA}", "actions": ["file/read"]}]
MORE = {"changes": [encode_change(Enrol(UserGroup("more"), "superUserGroup"))]}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with open_web(tmp_path_factory.mktemp("web")) as found:
        yield found


# --- who --------------------------------------------------------------------------------------------------------------


def test_whoami(web: Web) -> None:
    status, answer = web.ask("alice", "GET", "/cas/v1/whoami")
    assert (status, answer["nickname"], answer["identity"]) == (200, "alice", "/O=Grid/CN=alice")
    assert web.ask(web.person("alice").proxy(), "GET", "/cas/v1/whoami")[0] == 200


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.path)
def test_nobody_gets_in_without_a_good_certificate(web: Web, operation: object) -> None:
    path, method = operation.path, operation.method  # type: ignore[attr-defined]  # an Operation
    body: dict[str, object] | None = {} if method == "POST" else None
    assert web.ask(None, method, path, body)[0] == 401
    stranger = TestCA("/O=Grid/CN=CA", key="p256").issue("/O=Grid/CN=alice", "p256")
    assert web.ask(stranger, method, path, body)[0] == 401


def test_who_is_not_enrolled_gets_nothing(web: Web) -> None:
    status, answer = web.ask("mallory", "POST", "/cas/v1/capability", {})
    assert (status, answer["error"]) == (403, "denied")
    assert web.records()[-1]["verdict"] == "deny"


def test_an_independent_proxy_is_nobody(web: Web) -> None:
    own = web.person("alice").proxy(info=INDEPENDENT_INFO)
    assert web.ask(own, "GET", "/cas/v1/whoami")[0] == 403
    assert web.records()[-1]["verdict"] == "deny"


def test_a_limited_proxy_changes_nothing(web: Web) -> None:
    limited = web.person("admin").proxy(info=LIMITED_INFO)
    assert web.ask(limited, "POST", "/cas/v1/changes", MORE)[0] == 403
    assert web.ask(limited, "POST", "/cas/v1/withdraw", {"id": "00" * 16})[0] == 403
    assert web.ask(limited, "POST", "/cas/v1/list", {"kind": "user"})[0] == 200


def test_a_long_revision_does_not_make_a_long_answer(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = web.ask("admin", "POST", "/cas/v1/history", {"limit": 1})[1]
    assert whole["left_out"] == 0
    assert len(whole["entries"]) > 5  # what the policy began with, all in one revision
    monkeypatch.setattr(asking, "MAX_HISTORY", 3)
    cut = web.ask("admin", "POST", "/cas/v1/history", {"limit": 1})[1]
    assert cut["entries"] == whole["entries"][:3]
    assert cut["left_out"] == len(whole["entries"]) - 3


@pytest.mark.parametrize("text", ["\ud800", "a\0b", {"\udfff": 1}])
@pytest.mark.parametrize("path", ["changes", "capability", "list", "history", "export", "withdraw"])
def test_what_is_no_text_is_refused(web: Web, path: str, text: object) -> None:
    status, answer = web.ask("admin", "POST", f"/cas/v1/{path}", {"reason": text, "after": text, "audience": [text]})
    assert (status, answer["message"]) == (400, "the body holds what is no Unicode text")


@pytest.mark.parametrize("name", ["Origin", "Sec-Fetch-Site"])
def test_browsers_are_refused(web: Web, name: str) -> None:
    assert web.ask("alice", "GET", "/cas/v1/whoami", headers={name: "https://example.org"})[0] == 403


def test_the_site_can_deny(tmp_path: Path) -> None:
    write_file(tmp_path / "site.toml", b'service = "cas"\norder = ["rules"]\n[authorizer.rules]\ntype = "rules"\n'
               b'file = "site.rules"\n', 0o644)  # fmt: skip
    write_file(tmp_path / "site.rules", b"permit anyone to cas:*\ndeny anyone to cas:ISSUE on jwt\n", 0o644)
    with open_web(tmp_path, top=f'policy = "{tmp_path}/site.toml"') as web:
        assert web.ask("alice", "POST", "/cas/v1/capability", {"form": "saml1"})[0] == 200
        status, answer = web.ask("alice", "POST", "/cas/v1/capability", {"form": "jwt"})
        assert status == 403
        assert "site's policy" in answer["message"]
        assert web.records()[-1]["verdict"] == "deny"


# --- forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["saml1", "saml2"])
def test_assertions(web: Web, form: str) -> None:
    status, answer = web.ask("alice", "POST", "/cas/v1/capability", {"form": form, "rights": RIGHT, "lifetime": 600})
    assert status == 200, answer
    assert answer["capability"].startswith("<Assertion ")
    assert answer["rights"] == RIGHT
    record = next(one for one in web.records() if answer["id"] in json.dumps(one))
    assert (record["verdict"], record["id"]) == ("permit", answer["request_id"])


def test_attribute_certificates(web: Web) -> None:
    body = {"form": "attribute-certificate", "fqans": ["/climate/readers"]}
    status, answer = web.ask("alice", "POST", "/cas/v1/capability", body)
    assert status == 200, answer
    made = AttributeCertificate.parse(base64.b64decode(answer["capability"]))
    assert made.info.fqans == ("/climate/readers/Role=NULL/Capability=NULL",)


def test_tokens(web: Web) -> None:
    status, answer = web.ask("alice", "POST", "/cas/v1/capability", {"form": "jwt", "bind_key": True})
    assert status == 200, answer
    found = claims(answer["capability"])
    assert (found["iss"], found["sub"], found["scope"]) == (ISSUER, "alice", "storage.read:/data")
    assert "x5t#S256" in found["cnf"]
    body = {"form": "jwt", "profile": "scitokens", "audience": [STORAGE]}
    status, answer = web.ask("alice", "POST", "/cas/v1/capability", body)
    assert claims(answer["capability"])["scope"] == "read:/data"


@pytest.mark.parametrize(
    "body",
    [
        {"form": "xml"},
        {"forms": "jwt"},
        {"lifetime": -1},
        {"lifetime": True},
        {"rights": []},
        {"rights": [{"resource": "nothing"}]},
        {"rights": [{"resource": "A|b", "actions": ["read"]}]},
        {"rights": [{"resource": "A|b", "more": 1}]},
        {"audience": "x"},
        {"fqans": [""]},
        {"profile": "none", "form": "jwt"},
    ],
    ids=json.dumps,
)
def test_odd_requests(web: Web, body: dict[str, object]) -> None:
    assert web.ask("alice", "POST", "/cas/v1/capability", body)[0] == 400


@pytest.mark.parametrize("data", [b"{", b"[]", b"[" * 100_000, b"\xff", b'"x"'])
def test_bodies_that_are_no_object(web: Web, data: bytes) -> None:
    status, answer = web.ask("alice", "POST", "/cas/v1/list", data=data, content_type="application/json")
    assert (status, answer["error"]) == (400, "parse")
    assert web.ask("alice", "POST", "/cas/v1/list", data=b"{}", content_type="text/plain")[0] == 400


def test_numbers_beyond_all_bounds(web: Web) -> None:
    assert web.ask("admin", "POST", "/cas/v1/history", {"after": 1 << 70})[0] == 400


def test_a_body_that_is_too_long(web: Web) -> None:
    data = b" " * (web.community.config.http.max_request_bytes + 1)
    status, _ = web.ask("alice", "POST", "/cas/v1/list", data=data, content_type="application/json")
    assert status == 413


# --- administration ---------------------------------------------------------------------------------------------------


def test_changes_and_questions(web: Web) -> None:
    change = encode_change(Enrol(UserGroup("writers"), "superUserGroup"))
    status, answer = web.ask("alice", "POST", "/cas/v1/changes", {"changes": [change]})
    assert status == 403, answer
    status, tried = web.ask("admin", "POST", "/cas/v1/changes", {"changes": [change], "dry_run": True})
    assert status == 200, tried
    feed, fqan = AddFeed("writers", Feed(FeedSource.VOMS, "/climate")), SetFqan("writers", "/climate/w")
    told = [change, encode_change(feed), encode_change(fqan)]
    _, preview = web.ask("admin", "POST", "/cas/v1/changes", {"changes": told, "dry_run": True})
    (fed,) = [one for one in preview["differences"] if "fqan" in one]
    assert fed == {
        "fqan": "/climate/w",
        "gains": [],
        "loses": [],
        "feeds_gain": [["voms", "/climate"]],
        "feeds_lose": [],
        "before": 0,
        "after": 0,
        "when": "",
    }
    stale = {"changes": [change], "expected_revision": tried["revision"] - 1}
    assert web.ask("admin", "POST", "/cas/v1/changes", stale)[0] == 409
    body = {"changes": [change], "reason": "ticket 12", "expected_revision": tried["revision"]}
    status, answer = web.ask("admin", "POST", "/cas/v1/changes", body)
    assert (status, answer["changed"]) == (200, [True])
    _, listed = web.ask("admin", "POST", "/cas/v1/list", {"kind": "userGroup"})
    assert "writers" in listed["names"]
    _, found = web.ask("admin", "POST", "/cas/v1/get", {"name": ["userGroup", "readers"]})
    assert found["fqan"] == "/climate/readers"
    _, found = web.ask("admin", "POST", "/cas/v1/members", {"group": ["userGroup", "readers"]})
    assert found["members"] == [["user", "alice"]]
    _, found = web.ask("admin", "POST", "/cas/v1/policies", {"name": ["userGroup", "readers"]})
    assert [one["group"] for one in found["statements"]].count("readers") == 1
    _, found = web.ask("admin", "POST", "/cas/v1/history", {"about": ["userGroup", "writers"]})
    assert [one["reason"] for one in found["entries"]] == ["ticket 12"]
    question = {"action": ["serviceAction", "file", "read"], "on": ["object", "FTPDirectoryTree", "ftp://se/data/a"]}
    _, found = web.ask("admin", "POST", "/cas/v1/who-can", question)
    assert found["users"] == ["admin", "alice"]
    _, found = web.ask("alice", "POST", "/cas/v1/why", question)
    assert found["permitted"] is True
    _, found = web.ask("alice", "POST", "/cas/v1/rights", {})
    assert found["rights"] == RIGHT
    assert web.ask("alice", "POST", "/cas/v1/rights", {"user": "bob"})[0] == 403
    assert web.ask("admin", "POST", "/cas/v1/get", {"name": ["user", "nobody"]})[0] == 404
    assert web.ask("alice", "POST", "/cas/v1/list", {"kind": "user"})[0] == 403


def test_withdrawing(web: Web) -> None:
    _, given = web.ask("alice", "POST", "/cas/v1/capability", {"form": "jwt"})
    assert web.ask("alice", "POST", "/cas/v1/withdraw", {"id": given["id"]})[0] == 403
    assert web.ask("admin", "POST", "/cas/v1/withdraw", {"id": "not hex"})[0] == 400
    status, told = web.ask("admin", "POST", "/cas/v1/withdraw", {"id": given["id"], "reason": "stolen"})
    assert status == 200
    assert datetime.fromisoformat(told["until"]) - now() > MAX_LIFETIME - timedelta(minutes=5)  # whatever is configured
    keys = StaticKeys({ISSUER: parse_key_set(web.http.get("/jwks").data)})
    listed = parse_revocations(web.http.get("/cas/v1/withdrawn").data.decode(), keys, issuer=ISSUER, now=now())
    assert listed.is_revoked(identifier_of(given["id"]))
    status, answer = web.token(
        "alice",
        grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
        subject_token=given["capability"],
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",
    )
    assert (status, answer["error"]) == (400, "invalid_request")
    assert "withdrawn" in answer["error_description"]


# --- health -----------------------------------------------------------------------------------------------------------


def test_balancers_are_told_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gsi.system.health.KEPT_SECONDS", 0)
    with open_web(tmp_path) as web:
        metrics, reloads = Metrics(), Reloads()
        app = make_application(web.community.config, metrics, reloads)
    assert isinstance(app, Flask)
    client = described_client(app, document(OPERATIONS, well_known_paths(ISSUER)))
    reloads.note(refused=True)
    database = tmp_path / "store" / "cas.db"
    for is_there in (True, False, True):
        if not is_there:
            database.rename(tmp_path / "elsewhere")
        elif not database.exists():
            (tmp_path / "elsewhere").rename(database)
        answer = client.get("/health")
        assert answer.status_code == (200 if is_there else 503)
        assert answer.text == ("ok\n" if is_there else "store: fails; the log has more\n") + reloads.words
    assert metrics.count("answer 503") == metrics.count("answer 2xx") == 0


def test_a_trust_directory_without_a_ca_is_told(tmp_path: Path) -> None:
    with open_web(tmp_path) as web:
        for path in (tmp_path / "trust").iterdir():
            path.unlink()
        with open_community(web.community.config) as community:
            assert make_health(community).page() == ("trust: fails; the log has more\n", 503)


@pytest.mark.parametrize(
    ("later", "failing"),
    [
        (timedelta(), set()),
        (timedelta(hours=2), {"key"}),  # its time is over, its certificate's is not
        (timedelta(days=3650), {"key", "certificate"}),
    ],
    ids=["good", "key", "both"],
)
def test_keys_and_certificates_that_have_ended(web: Web, tmp_path: Path, later: timedelta, failing: set[str]) -> None:
    (tmp_path / "store").mkdir(mode=0o700)
    config, moment = web.community.config, now()
    (key,) = config.key
    ends = later + timedelta(hours=1) if "certificate" in failing else timedelta(hours=1)
    begins = later if "certificate" in failing else timedelta()
    key = replace(key, begins=(moment + begins).isoformat(), ends=(moment + ends).isoformat())
    config = replace(config, key=(key,), store=replace(config.store, directory=str(tmp_path / "store")))
    with open_community(config, now=lambda: moment + later) as community:
        told = make_health(community).checks()
    assert {part for part, text in told.items() if text} == failing


# --- what is published ------------------------------------------------------------------------------------------------


def test_the_document_is_held_to_the_routes(web: Web) -> None:
    described = json.loads(web.http.get("/openapi.json").data)
    assert described == json.loads(json.dumps(document(OPERATIONS, well_known_paths(ISSUER))))
    there = {
        (rule.rule, method.lower())
        for rule in web.http.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = {(path, method) for path, methods in described["paths"].items() for method in methods}
    assert told == there
    for path in PUBLIC_PATHS:
        assert web.http.get(path).status_code == 200
    for operation in OPERATIONS:
        _, answer = web.ask("admin", operation.method, operation.path, {"no such member": 1})
        if operation.method == "POST":
            assert "not known here" in answer["message"]


def test_discovery(web: Web) -> None:
    for path in (
        "/climate/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/climate",
    ):
        found = json.loads(web.http.get(path).data)
        assert found["issuer"] == ISSUER
        assert web.http.get(found["jwks_uri"].removeprefix("https://cas.example.org")).status_code == 200


def test_pages_that_are_not_there(web: Web) -> None:
    for method, path in (("GET", "/else"), ("GET", "/cas/v1/capability"), ("OPTIONS", "/cas/v1/list")):
        answer = web.http.open(path, method=method)
        assert answer.status_code in {404, 405}
        assert answer.headers["Cache-Control"] == "no-store"
        assert json.loads(answer.data)["request_id"]


# --- rates ------------------------------------------------------------------------------------------------------------


def test_who_asks_too_often_waits(tmp_path: Path) -> None:
    with open_web(tmp_path, per_minute=2) as web:
        assert [web.ask("alice", "GET", "/cas/v1/whoami")[0] for _ in range(3)] == [200, 200, 429]
        assert web.ask("bob", "GET", "/cas/v1/whoami")[0] == 200


def test_rates() -> None:
    cap = RateCap(60)
    assert [cap.admit("a", 0.0) > 0 for _ in range(61)] == [False] * 60 + [True]
    assert cap.admit("b", 0.0) == 0
    assert cap.admit("a", 1.5) == 0
    assert cap.admit("a", 1.5) == pytest.approx(0.5)
