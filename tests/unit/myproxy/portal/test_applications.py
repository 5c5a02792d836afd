"""Applications that ask users for proxies: consent, codes, tokens, proxies, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from werkzeug.test import TestResponse

from gsi.certificate import load_certificates
from gsi.delegation import DelegationRequester
from gsi.errors import ConfigError
from gsi.keys import KeyType, generate_key
from gsi.proxy.chain import ProxyChain
from gsi.system.config import parse_config
from myproxy.portal.config import PortalConfig
from myproxy.portal.grants import MAX_GRANTS, PER_MINUTE
from myproxy.portal.guard import SESSION_COOKIE
from myproxy.portal.openapi import describe
from myproxy.portal.registered import FULL, LIMITED, ApplicationSettings, hash_secret, register
from tests.harness.ca import Issued, TestCA
from tests.harness.myproxy import SECRET
from tests.harness.openapi import check_answer
from tests.harness.portal_pages import NAME, Pages, open_pages

BACK = "https://gateway.example.org/grid/back?from=portal"
VERIFIER = "a-verifier-that-is-long-enough-for-the-rule-of-43"
KINDS = ("public", "machine")
WORD = "the application's own secret"
ASK = {
    "client_id": "gateway",
    "redirect_uri": BACK,
    "response_type": "code",
    "state": "what was before",
    "scope": LIMITED,
    "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("="),
    "code_challenge_method": "S256",
}
APPLICATIONS = {
    "gateway": ApplicationSettings(
        title="Climate <b>Gateway</b>",
        redirects=(BACK,),
        secret_sha256=hash_secret(WORD),
        scopes=(LIMITED, FULL),
        longest=timedelta(days=3),
    ),
    "other": ApplicationSettings(
        title="Other", redirects=("https://other.example.org/back",), secret_sha256=hash_secret("other words")
    ),
}


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", "p256")


@pytest.fixture
def pages(tmp_path: Path, ca: TestCA, alice: Issued) -> Iterator[Pages]:
    with open_pages(ca, tmp_path, applications=APPLICATIONS) as opened:
        opened.store("alice", alice)
        opened.log_on()
        yield opened


def sent_back(answer: TestResponse) -> dict[str, str]:
    """What the user brings back to the application."""
    assert answer.status_code == 303, answer.text
    where = answer.headers["Location"]
    assert where.startswith(BACK + "&")
    told = dict(parse_qsl(urlsplit(where).query, strict_parsing=True))
    assert told.pop("from") == "portal"
    assert told.pop("iss") == f"https://{NAME}"
    return told


def allow(pages: Pages, *, hours: str = "0", **more: str) -> str:
    """The code after the user has agreed."""
    told = sent_back(pages.post("/authorize", **(ASK | {"answer": "yes", "hours": hours} | more)))
    assert told["state"] == ASK["state"]
    return told["code"]


@pytest.fixture(autouse=True)
def answers_fit_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer to a program is one that the document has."""
    document, ask = json.loads(json.dumps(describe(f"https://{NAME}"))), Pages.open

    def looked_at(pages: Pages, method: str, path: str, **more: Any) -> TestResponse:
        answer = ask(pages, method, path, **more)
        place = answer.request.path
        if place.startswith("/api/v1/") and answer.status_code != 404:  # where no application is registered
            check_answer(document, method, place, answer.status_code, list(answer.headers.items()), answer.data)
        return answer

    monkeypatch.setattr(Pages, "open", looked_at)


def call(pages: Pages, what: str, *, name: str = "gateway", word: str = WORD, **form: str) -> TestResponse:
    return pages.open("POST", f"/api/v1/{what}", data={"client_id": name, "client_secret": word} | form)


def redeem(pages: Pages, code: str, **more: Any) -> TestResponse:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
    return call(pages, "token", **(form | more))


def token(pages: Pages, **more: str) -> str:
    answer = redeem(pages, allow(pages, **more))
    assert answer.status_code == 200, answer.text
    found: str = answer.get_json()["access_token"]
    return found


def ask_proxy(pages: Pages, access_token: str, **more: str) -> tuple[DelegationRequester, TestResponse]:
    requester = DelegationRequester(generate_key(KeyType.P256))
    form = {"access_token": access_token, "certreq": base64.b64encode(requester.request_der).decode()} | more
    return requester, call(pages, "getcert", **form)


def error(answer: TestResponse) -> str:
    assert answer.status_code in {400, 401, 429}, answer.text
    found: str = answer.get_json()["error"]
    return found


def test_the_whole_way(pages: Pages) -> None:
    shown = pages.get(f"/authorize?{urlencode(ASK)}")
    assert "Climate &lt;b&gt;Gateway&lt;/b&gt;" in shown.text
    assert "/O=Grid/CN=Alice" in shown.text
    assert "form-action 'self' https://gateway.example.org;" in shown.headers["Content-Security-Policy"]
    code = allow(pages)
    told = redeem(pages, code).get_json()
    assert (told["username"], told["subject"], told["scope"]) == ("alice", "/O=Grid/CN=Alice", LIMITED)
    assert told["token_type"] == "Bearer"
    assert 0 < told["expires_in"] <= 12 * 3600
    requester, answer = ask_proxy(pages, told["access_token"], certlifetime="3600")
    assert answer.text.startswith("username=alice\n-----BEGIN CERTIFICATE-----")
    chain = [one.der for one in load_certificates(answer.data, what="answer")]
    proxy = requester.accept(chain, now=pages.now)
    assert proxy.not_after == pages.now.replace(microsecond=0) + timedelta(hours=1)
    assert ProxyChain.split(proxy.certificates).is_limited
    listed = pages.get("/applications").text
    assert "Climate &lt;b&gt;Gateway&lt;/b&gt;" in listed
    assert "none yet" not in listed
    assert "Proxy for an application" in pages.get("/activity").text
    for secret in (WORD, told["access_token"], code, VERIFIER):
        assert secret not in pages.audit()


def test_who_is_not_logged_on_comes_back_after_the_logon(pages: Pages) -> None:
    pages.forget()
    long = ASK | {"state": "s" * 500}
    away = pages.get(f"/authorize?{urlencode(long)}")
    assert away.status_code == 303
    following = parse_qs(urlsplit(away.headers["Location"]).query)["next"][0]
    back = pages.post("/logon", username="alice", passphrase=SECRET, next=following)
    assert dict(parse_qsl(urlsplit(back.headers["Location"]).query)) == long
    assert pages.get(back.headers["Location"]).status_code == 200


def test_nobody_is_sent_to_where_nobody_has_registered(pages: Pages) -> None:
    wrong = ("https://evil.example.org/", BACK + "&x=1", BACK.upper(), BACK + "/../x", "", "//gateway.example.org/")
    for redirect in wrong:
        for answer in (
            pages.get(f"/authorize?{urlencode(ASK | {'redirect_uri': redirect})}"),
            pages.post("/authorize", **(ASK | {"redirect_uri": redirect, "answer": "yes", "hours": "0"})),
        ):
            assert answer.status_code == 400, redirect
            assert "Location" not in answer.headers
            assert "evil" not in answer.headers["Content-Security-Policy"]
    assert pages.get(f"/authorize?{urlencode(ASK | {'client_id': 'nobody'})}").status_code == 400
    twice = f"/authorize?{urlencode(ASK)}&redirect_uri=https://evil.example.org/"
    assert pages.get(twice).status_code == 400


def test_requests_that_are_not_asked_about(pages: Pages) -> None:
    wrong = (
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("scope", "proxy:limited proxy:full", "invalid_scope"),
        ("scope", "everything", "invalid_scope"),
        ("state", "s" * 600, "invalid_request"),
        ("state", "line\r\nbreak", "invalid_request"),
    )
    form_token = pages.token("/activity")
    for name, value, told in wrong:
        asked = ASK | {name: value}
        assert sent_back(pages.get(f"/authorize?{urlencode(asked)}"))["error"] == told
        assert sent_back(pages.post("/authorize", token=form_token, **asked, answer="yes"))["error"] == told


def test_consent_is_a_form_of_ours_and_can_be_refused(pages: Pages) -> None:
    assert sent_back(pages.post("/authorize", **ASK, answer="no"))["error"] == "access_denied"
    assert sent_back(pages.post("/authorize", **ASK))["error"] == "access_denied"
    yes = ASK | {"answer": "yes", "hours": "0"}
    assert pages.post("/authorize", token="0" * 64, **yes).status_code == 403
    assert pages.post("/authorize", headers={"Origin": "https://gateway.example.org"}, **yes).status_code == 403
    pages.forget()
    assert pages.post("/authorize", **yes).headers["Location"].startswith("/logon")
    assert "GRANT" in pages.audit()


def test_a_code_is_good_once_for_its_application_and_verifier(pages: Pages) -> None:
    wrong: tuple[dict[str, str], ...] = (
        {"code_verifier": VERIFIER + "x"},
        {"code_verifier": ""},
        {"redirect_uri": BACK + "x"},
        {"name": "other", "word": "other words"},
    )
    for change in wrong:
        code = allow(pages)
        assert error(redeem(pages, code, **change)) == "invalid_grant"
        assert error(redeem(pages, code)) == "invalid_grant", "tried once is used"
    code = allow(pages)
    pages.pass_time(timedelta(minutes=1))
    assert error(redeem(pages, code)) == "invalid_grant"
    assert error(redeem(pages, "x")) == "invalid_grant"
    code = allow(pages)
    access_token = redeem(pages, code).get_json()["access_token"]
    assert call(pages, "grant", access_token=access_token).status_code == 200
    assert error(redeem(pages, code)) == "invalid_grant"
    assert error(call(pages, "grant", access_token=access_token)) == "invalid_token", "it was stolen once"


def test_applications_prove_who_they_are_and_cannot_guess(pages: Pages) -> None:
    access_token = token(pages)
    basic = base64.b64encode(f"gateway:{WORD}".encode()).decode()
    answer = pages.open(
        "POST", "/api/v1/grant", data={"access_token": access_token}, headers={"Authorization": f"Basic {basic}"}
    )
    assert answer.get_json()["username"] == "alice"
    bearer = {"Authorization": f"Bearer {access_token}"}
    form = {"client_id": "gateway", "client_secret": WORD}
    assert pages.open("POST", "/api/v1/grant", data=form, headers=bearer).status_code == 200
    assert error(pages.open("POST", "/api/v1/grant", data={"x": "y"}, headers=bearer)) == "invalid_client"
    other = call(pages, "grant", name="other", word="other words", access_token=access_token)
    assert error(other) == "invalid_token"
    found = [call(pages, "grant", word="guessed", access_token=access_token) for _ in range(5)]
    assert {one.status_code for one in found} == {401, 429}
    slow = next(one for one in found if one.status_code == 429)
    wait = int(slow.headers["Retry-After"])
    assert wait >= 1
    told = f"too many wrong secrets from this network; try again in {wait} seconds"
    assert slow.get_json() == {"error": "slow_down", "error_description": told}
    assert found[0].headers["WWW-Authenticate"].startswith("Basic")
    assert call(pages, "grant", access_token=access_token).status_code == 200, "who knows the secret waits for nobody"
    for headers in ({"Origin": "https://gateway.example.org"}, {"Sec-Fetch-Mode": "cors"}):
        assert pages.open("POST", "/api/v1/token", data=form, headers=headers).status_code == 403


def test_proxies_are_as_wide_and_as_long_as_was_allowed(pages: Pages) -> None:
    wide = token(pages, scope=FULL)
    requester, answer = ask_proxy(pages, wide, certlifetime="99999999")
    chain = [one.der for one in load_certificates(answer.data, what="answer")]
    proxy = requester.accept(chain, now=pages.now)
    assert not ProxyChain.split(proxy.certificates).is_limited
    assert proxy.not_after <= pages.session().proxy.not_after
    one_hour = token(pages, hours="1")
    pages.pass_time(timedelta(minutes=50))
    requester, answer = ask_proxy(pages, one_hour)
    proxy = requester.accept([one.der for one in load_certificates(answer.data, what="answer")], now=pages.now)
    assert proxy.not_after <= pages.now + timedelta(minutes=10)
    pages.pass_time(timedelta(minutes=10))
    assert error(ask_proxy(pages, one_hour)[1]) == "invalid_token"


def test_longer_than_the_session_s_proxy_costs_the_pass_phrase(pages: Pages) -> None:
    longer = ASK | {"answer": "yes", "hours": "72"}
    for words in ({}, {"passphrase": "not this one"}):
        answer = pages.post("/authorize", **longer, **words)
        assert answer.status_code in {400, 403}
        assert "form-action 'self' https://gateway.example.org;" in answer.headers["Content-Security-Policy"]
    assert pages.post("/authorize", **(longer | {"hours": "168"}), passphrase=SECRET).status_code == 400
    access_token = token(pages, hours="72", passphrase=SECRET)
    pages.pass_time(timedelta(hours=71))
    assert ask_proxy(pages, access_token)[1].status_code == 200
    pages.pass_time(timedelta(hours=1))
    assert error(ask_proxy(pages, access_token)[1]) == "invalid_token"


def test_what_applications_send_is_a_form_with_each_thing_once(pages: Pages) -> None:
    form = {"client_id": "gateway", "client_secret": WORD, "access_token": token(pages)}
    assert error(pages.open("POST", "/api/v1/grant", json=form)) == "invalid_request"
    assert (
        error(pages.open("POST", "/api/v1/grant", data=form | {"client_id": ["gateway", "other"]})) == "invalid_request"
    )
    assert pages.open("POST", "/api/v1/grant", data=form).status_code == 200


def test_requests_without_a_key_that_was_proved_or_strong(pages: Pages) -> None:
    access_token = token(pages)
    good = DelegationRequester(generate_key(KeyType.P256)).request_der
    forged = good[:-4] + bytes(4)
    for bad in ("", "!!!", base64.b64encode(forged).decode(), base64.b64encode(good + b"x").decode(), "A" * 200_000):
        assert error(ask_proxy(pages, access_token, certreq=bad)[1]) == "invalid_request", bad[:20]
    for lifetime in ("-1", "1e3", "12h", "9" * 12):
        assert error(ask_proxy(pages, access_token, certlifetime=lifetime)[1]) == "invalid_request", lifetime
    body = re.sub("(.{64})", r"\1\r\n", base64.b64encode(good).decode())
    pem = f"-----BEGIN CERTIFICATE REQUEST-----\r\n{body}\r\n-----END CERTIFICATE REQUEST-----\r\n"
    assert ask_proxy(pages, access_token, certreq=pem)[1].status_code == 200


def test_a_grant_ends_by_its_user_its_application_or_a_new_pass_phrase(pages: Pages) -> None:
    by_user, by_itself, by_change = token(pages), token(pages), token(pages)
    assert call(pages, "revoke", token=by_itself, name="other", word="other words").status_code == 200
    assert call(pages, "grant", access_token=by_itself).status_code == 200
    assert call(pages, "revoke", token=by_itself).status_code == 200
    assert call(pages, "revoke", token=by_itself).status_code == 200
    assert error(call(pages, "grant", access_token=by_itself)) == "invalid_token"
    rows = re.findall(r'name="grant" value="([0-9a-f]{64})"', pages.get("/applications").text)
    assert len(rows) == 2
    for row in rows[:1] * 2:
        assert pages.post("/applications", grant=row).status_code == 303
    states = {one: call(pages, "grant", access_token=one).status_code for one in (by_user, by_change)}
    assert sorted(states.values()) == [200, 401]
    code = allow(pages)
    pages.post("/passphrase", old=SECRET, new="quite another one", again="quite another one")
    assert {call(pages, "grant", access_token=one).status_code for one in states} == {401}
    assert error(redeem(pages, code)) == "invalid_grant"


def test_grants_of_others_are_not_mine_to_end(pages: Pages, ca: TestCA) -> None:
    access_token = token(pages)
    row = re.findall(r'name="grant" value="([0-9a-f]{64})"', pages.get("/applications").text)[0]
    pages.store("bob", ca.issue("/O=Grid/CN=Bob", "p256"))
    pages.log_on("bob")
    assert row not in pages.get("/applications").text
    pages.post("/applications", grant=row)
    assert call(pages, "grant", access_token=access_token).status_code == 200


def test_who_takes_a_name_over_neither_sees_nor_ends_what_its_former_owner_has_allowed(
    pages: Pages, ca: TestCA
) -> None:
    access_token = token(pages)
    row = re.findall(r'name="grant" value="([0-9a-f]{64})"', pages.get("/applications").text)[0]
    former = pages.cookie(SESSION_COOKIE)
    assert former is not None
    pages.post("/destroy", name="", sure="yes")
    pages.store("alice", ca.issue("/O=Grid/CN=Successor", "p256"), "words of the successor")
    pages.log_on("alice", "words of the successor")
    assert row not in pages.get("/applications").text
    pages.post("/applications", grant=row)
    words = {"old": "words of the successor", "new": "brand new words", "again": "brand new words"}
    assert pages.post("/passphrase", **words).status_code == 303
    assert call(pages, "grant", access_token=access_token).status_code == 200
    assert ask_proxy(pages, access_token)[1].status_code == 200
    assert "Proxy for an application" not in pages.get("/activity").text
    pages.client.set_cookie(SESSION_COOKIE, former, domain=NAME, secure=True)
    assert row in pages.get("/applications").text
    assert "Proxy for an application" in pages.get("/activity").text
    pages.post("/applications", grant=row)
    assert error(call(pages, "grant", access_token=access_token)) == "invalid_token"


def test_not_too_many(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (MAX_GRANTS, PER_MINUTE) == (20, 30)
    for name in ("MAX_GRANTS", "PER_MINUTE"):
        monkeypatch.setattr(f"myproxy.portal.grants.{name}", 3)
    first = token(pages)
    assert [ask_proxy(pages, first)[1].status_code for _ in range(4)] == [200] * 3 + [429]
    pages.pass_time(timedelta(minutes=1))
    assert ask_proxy(pages, first)[1].status_code == 200
    for left in (True, True, False):
        pages.pass_time(timedelta(seconds=1))
        token(pages)
        assert (call(pages, "grant", access_token=first).status_code == 200) is left


def test_nothing_on_the_disk_opens_a_grant(pages: Pages) -> None:
    token(pages)
    allow(pages)
    for path in Path(pages.portal.config.store.directory).iterdir():
        data = path.read_bytes()
        assert b"PRIVATE KEY" not in data, path
        assert b"BEGIN CERTIFICATE" not in data, path


def test_what_programs_are_told(pages: Pages) -> None:
    pages.forget()
    told = pages.get("/.well-known/oauth-authorization-server").get_json()
    assert told["issuer"] == f"https://{NAME}"
    document = pages.get("/api/v1/openapi.json").get_json()
    served = {rule.rule for rule in pages.app.url_map.iter_rules() if rule.rule.startswith("/api/v1/")}
    assert served == document["paths"].keys()
    reference = (Path(__file__).parents[4] / "docs/reference/http-api.md").read_text("utf-8")
    for path in served:
        assert f"`{path}`" in reference, path
    assert json.dumps(document)


def test_only_what_programs_ask_is_reached_without_a_session(pages: Pages) -> None:
    open_to_all = {
        rule.rule
        for rule in pages.app.url_map.iter_rules()
        if rule.endpoint.startswith("applications.")
        and any(getattr(pages.app.view_functions[rule.endpoint], f"_portal_{kind}", False) for kind in KINDS)
    }
    programs = {f"/api/v1/{name}" for name in ("token", "getcert", "grant", "revoke", "openapi.json")}
    assert open_to_all == programs | {"/.well-known/oauth-authorization-server"}
    pages.forget()
    for path in ("/authorize", "/applications"):
        for answer in (pages.get(path), pages.post(path)):
            assert answer.headers["Location"].startswith("/logon"), path


def test_there_is_nothing_where_no_application_is_registered(tmp_path: Path, ca: TestCA, alice: Issued) -> None:
    with open_pages(ca, tmp_path) as pages:
        pages.store("alice", alice)
        pages.log_on()
        for path in ("/authorize", "/applications", "/api/v1/openapi.json"):
            assert pages.get(path).status_code == 404
        assert "Applications" not in pages.get("/").text


def test_what_is_registered_can_be_used_and_what_is_wrong_is_said() -> None:
    text, secret = register("climate-gateway", "https://gateway.example.org/back")
    config = parse_config(f'names = ["{NAME}"]\nserver = "x"\n{text}'.encode(), PortalConfig, path="x")
    assert config.applications["climate-gateway"].knows(secret)
    assert not config.applications["climate-gateway"].knows(secret + "x")
    good = {"title": "T", "redirects": ("https://a.example.org/",), "secret_sha256": "0" * 64}
    for change in (
        {"redirects": ("http://a.example.org/",)},
        {"redirects": ("https://a.example.org/#x",)},
        {"redirects": ("https://a@example.org/",)},
        {"redirects": ("https://a.example.org/;x",)},
        {"redirects": ()},
        {"scopes": ("proxy",)},
        {"scopes": ()},
        {"secret_sha256": "in clear"},
    ):
        with pytest.raises(ConfigError):
            ApplicationSettings(**{**good, **change})  # type: ignore[arg-type]  # values of a table
    ApplicationSettings(title="T", redirects=("http://localhost:5000/back",), secret_sha256="0" * 64)
    with pytest.raises(ConfigError):
        register("a b", "https://a.example.org/")
