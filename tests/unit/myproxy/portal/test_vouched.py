"""Logging on by a provider's word: only through it, only in the browser that began, and never without the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from werkzeug.test import TestResponse

from gsi.credential import parse_credential
from gsi.secret import Passphrase
from gsi.system import clock
from myproxy.authentication import Methods
from myproxy.grants import Settings
from myproxy.policy import AccessPolicy
from myproxy.portal.app import Ways
from myproxy.portal.config import Insistence, LogonSettings, OIDCSettings, OwnSettings
from myproxy.portal.guard import FORM_COOKIE, SESSION_COOKIE
from myproxy.portal.oidc import Provider
from tests.harness import oidc
from tests.harness.ca import Issued, TestCA
from tests.harness.myproxy import EVERYONE
from tests.harness.portal_pages import NAME, Pages, open_pages

BACK = f"https://{NAME}/logon/oidc/back"
TRUSTING = AccessPolicy(accepted_credentials=EVERYONE, authorized_retrievers=EVERYONE, trusted_retrievers=EVERYONE)


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def host(ca: TestCA) -> Issued:
    return ca.issue_host("localhost", "p256")


@pytest.fixture(scope="module")
def running(host: Issued) -> Iterator[oidc.Provider]:
    with oidc.oidc_provider(host, BACK) as provider:
        yield provider


@pytest.fixture
def provider(running: oidc.Provider) -> oidc.Provider:
    running.twist = {}
    running.user = "alice"
    return running


def settings(provider: oidc.Provider) -> dict[str, Any]:
    return {
        "own": OwnSettings(certificate="/unused"),
        "oidc": OIDCSettings(issuer=provider.issuer, client_id=oidc.CLIENT, title="Log on with Example Login"),
    }


@pytest.fixture
def pages(tmp_path: Path, ca: TestCA, host: Issued, provider: oidc.Provider) -> Iterator[Pages]:
    given = settings(provider)

    def ways(trust: Path) -> Ways:
        own = parse_credential(host.bundle(), source="test")
        client = Provider(given["oidc"], str(trust), clock=clock.now)
        client._secret = Passphrase(oidc.CLIENT_SECRET)
        return Ways(own, client)

    with open_pages(ca, tmp_path, ways=ways, **given) as opened:
        opened.world.configure(Settings(access=TRUSTING))
        opened.store("alice", ca.issue("/O=Grid/CN=Alice", "p256"), "")
        yield opened


def go(pages: Pages, provider: oidc.Provider, query: str = "") -> TestResponse:
    there = pages.get(f"/logon/oidc{query}")
    assert there.status_code == 303
    location = provider.answer(there.headers["Location"])
    assert location.startswith(BACK)
    return pages.get(location.removeprefix(f"https://{NAME}"))


def test_the_whole_way(pages: Pages, provider: oidc.Provider) -> None:
    assert "Log on with Example Login" in pages.get("/logon").text
    answer = go(pages, provider, "?next=/fetch")
    assert answer.headers["Location"] == "/fetch"
    assert pages.session().username == "alice"
    assert pages.session().method == "OpenID Connect"
    assert pages.cookie("__Host-oidc") is None
    assert "/O=Grid/CN=Alice" in pages.get("/").text


def test_an_answer_is_good_in_the_browser_that_asked(pages: Pages, provider: oidc.Provider) -> None:
    there = pages.get("/logon/oidc")
    location = provider.answer(there.headers["Location"]).removeprefix(f"https://{NAME}")
    sealed = pages.cookie("__Host-oidc")
    assert sealed is not None
    pages.forget()
    pages.client.delete_cookie("__Host-oidc", domain=NAME)
    assert pages.get(location).status_code == 400
    pages.client.set_cookie("__Host-oidc", sealed, domain=NAME, secure=True)  # without the cookie that it is sealed for
    assert pages.get(location).status_code == 400
    assert pages.cookie(SESSION_COOKIE) is None


def test_what_takes_too_long_is_over(pages: Pages, provider: oidc.Provider) -> None:
    there = pages.get("/logon/oidc")
    location = provider.answer(there.headers["Location"]).removeprefix(f"https://{NAME}")
    pages.pass_time(timedelta(minutes=11))
    assert pages.get(location).status_code == 400


def test_no_account_and_no_proof_is_no_session(pages: Pages, provider: oidc.Provider) -> None:
    provider.user = "bob"
    assert go(pages, provider).status_code == 403
    provider.user = "alice"
    provider.twist = {"claims": {"nonce": "another"}}
    refused = go(pages, provider)
    assert refused.status_code == 403
    assert "proves nothing" in refused.text
    assert "nonce" not in refused.text
    assert pages.cookie(SESSION_COOKIE) is None
    assert "nonce" in pages.audit()


def test_who_says_no_or_proves_nothing_keeps_nobody_out(pages: Pages, provider: oidc.Provider) -> None:
    for _ in range(10):
        state = parse_qs(urlsplit(pages.get("/logon/oidc").headers["Location"]).query)["state"][0]
        query = urlencode({"error": "access_denied", "state": state, "iss": provider.issuer})
        answer = pages.get(f"/logon/oidc/back?{query}")
        assert (answer.status_code, "have said no" in answer.text) == (403, True)
    provider.twist = {"claims": {"nonce": "another"}}
    assert {go(pages, provider).status_code for _ in range(6)} == {403}
    provider.twist = {}
    pages.address = "192.0.2.10"  # the same network
    assert go(pages, provider).status_code == 303


def test_codes_that_the_provider_does_not_know_are_counted(pages: Pages) -> None:
    def guess() -> int:
        state = parse_qs(urlsplit(pages.get("/logon/oidc").headers["Location"]).query)["state"][0]
        query = urlencode({"code": "guessed", "state": state, "iss": pages.portal.config.oidc.issuer})
        return pages.get(f"/logon/oidc/back?{query}").status_code

    assert [guess() for _ in range(33)] == [403] * 32 + [429]
    assert pages.log_on("alice", "wrong").status_code != 429, "other ways are not counted with it"
    pages.address = "198.51.100.9"
    assert guess() == 403


def test_a_required_code_is_asked_for_here_as_well(
    tmp_path: Path, ca: TestCA, host: Issued, provider: oidc.Provider
) -> None:
    given = settings(provider) | {"logon": LogonSettings(one_time_codes=Insistence.REQUIRED)}

    def ways(trust: Path) -> Ways:
        client = Provider(given["oidc"], str(trust), clock=clock.now)
        client._secret = Passphrase(oidc.CLIENT_SECRET)
        return Ways(parse_credential(host.bundle(), source="test"), client)

    with open_pages(ca, tmp_path, ways=ways, **given) as pages:
        pages.store("alice", ca.issue("/O=Grid/CN=Alice", "p256"), "")
        pages.world.configure(Settings(access=TRUSTING), Methods(**codes(pages)))
        answer = go(pages, provider, "?next=/fetch")
        assert answer.status_code == 200
        assert pages.cookie(SESSION_COOKIE) is None
        found = re.search(r'name="sealed" value="([0-9a-f]+)"', answer.text)
        token = re.search(r'name="form_token" value="([0-9a-f]+)"', answer.text)
        assert found is not None
        assert token is not None
        form = {"form_token": token[1], "sealed": found[1]}
        form_cookie = str(pages.cookie(FORM_COOKIE))
        for bad in ({"code": ""}, {"code": "000000"}, {"code": "x"}, {"code": "123456", "sealed": "00" * 60}):
            assert pages.open("POST", "/logon/code", data=form | bad).status_code in {400, 403}
            assert pages.cookie(SESSION_COOKIE) is None
        right = code_of(pages)
        entered = pages.open("POST", "/logon/code", data=form | {"code": right})
        assert entered.headers["Location"] == "/fetch"
        # With a fresh code, what was sealed is good for no second logon, on no node.
        sealed_for = pages.cookie(FORM_COOKIE)
        pages.forget()
        assert sealed_for is None
        pages.client.set_cookie(FORM_COOKIE, form_cookie, domain=NAME, secure=True)
        pages.pass_time(timedelta(seconds=60))
        again = pages.open("POST", "/logon/code", data=form | {"code": code_of(pages)})
        assert (again.status_code, "used already" in again.text) == (403, True)
        assert pages.cookie(SESSION_COOKIE) is None


def test_a_code_that_the_server_does_not_ask_for_is_no_second_factor(
    tmp_path: Path, ca: TestCA, host: Issued, provider: oidc.Provider
) -> None:
    given = settings(provider) | {"logon": LogonSettings(one_time_codes=Insistence.REQUIRED)}

    def ways(trust: Path) -> Ways:
        client = Provider(given["oidc"], str(trust), clock=clock.now)
        client._secret = Passphrase(oidc.CLIENT_SECRET)
        return Ways(parse_credential(host.bundle(), source="test"), client)

    with open_pages(ca, tmp_path, ways=ways, **given) as pages:
        pages.store("alice", ca.issue("/O=Grid/CN=Alice", "p256"), "")
        pages.world.configure(Settings(access=TRUSTING))  # its otp is off: it would take any six digits
        answer = go(pages, provider)
        assert (answer.status_code, "the server asks for none" in answer.text) == (403, True)
        assert pages.cookie(SESSION_COOKIE) is None


SECRET_BYTES = b"12345678901234567890"


def codes(pages: Pages) -> dict[str, Any]:
    from myproxy.auth.base import Use
    from myproxy.auth.totp import CodeKeys, OneTimeCodes
    from myproxy.repository.codes import SQLCodeStore

    made = OneTimeCodes(
        SQLCodeStore(pages.world.repository.database), CodeKeys([bytes(32)]), clock=lambda: pages.world.now
    )
    made.enrol("alice", issuer="x", secret=SECRET_BYTES)
    return {"codes": made, "codes_use": Use.REQUIRED}


def code_of(pages: Pages) -> str:
    from myproxy.auth.totp import code_at

    return code_at(int(pages.now.timestamp()) // 30, SECRET_BYTES).decode()
