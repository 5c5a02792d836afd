"""What holds for every request: the one door, cookies, forms, hosts, headers, time-outs; on real credentials."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from gsi.credential import parse_credential
from gsi.errors import StorageError
from gsi.proxy.issue import ProxyOptions
from myproxy.auth.base import Outcome
from myproxy.auth.throttle import Throttle, ThrottleRules
from myproxy.authentication import Methods
from myproxy.grants import Settings
from myproxy.policy import parse_rules
from myproxy.portal.config import AdminSettings, HTTPSettings, Insistence, LogonSettings, OwnSettings
from myproxy.portal.guard import FORM_COOKIE, SESSION_COOKIE, own_path
from myproxy.portal.store import SESSIONS
from myproxy.portal.vault import Ticket
from myproxy.protocol.messages import Command
from myproxy.repository.guesses import SQLGuessStore
from tests.harness.ca import Issued, TestCA
from tests.harness.myproxy import OPEN, SECRET, ask
from tests.harness.portal_pages import NAME, Pages, ServiceDesk, open_pages

PUBLIC = {"/logon", "/logoff", "/health", "/static/<path:filename>", "/terminal/v1/start", "/terminal/v1/take"}
"""Everything that is reached without a session; a new address has to be put here on purpose."""


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", "p256")


@pytest.fixture
def pages(tmp_path: Path, ca: TestCA, alice: Issued) -> Iterator[Pages]:
    admin, extra = AdminSettings(identities=("/O=Grid/CN=Alice",)), {"cas": {"server": "https://127.0.0.1:1"}}
    with open_pages(ca, tmp_path, admin=admin, pages=extra) as opened:
        opened.store("alice", alice)
        yield opened


def test_every_address_needs_a_session_but_the_listed_ones(pages: Pages) -> None:
    for rule in pages.app.url_map.iter_rules():
        for method in (rule.methods or set()) & {"GET", "POST"}:
            if rule.rule in PUBLIC:
                continue
            answer = pages.open(method, rule.rule, data={"form_token": pages.token()} if method == "POST" else None)
            assert answer.status_code == 303, (method, rule.rule)
            assert urlsplit(answer.headers["Location"]).path == "/logon"
    assert {rule.rule for rule in pages.app.url_map.iter_rules()} >= PUBLIC | {"/cas/change", "/site/chains"}


def test_a_session_begins_with_a_new_cookie_that_scripts_and_other_sites_do_not_get(pages: Pages) -> None:
    pages.client.set_cookie(SESSION_COOKIE, Ticket.make().text, domain=NAME, secure=True)
    planted = pages.cookie(SESSION_COOKIE)
    answer = pages.post("/logon", token=pages.token(), username="alice", passphrase=SECRET)
    assert answer.status_code == 303
    assert pages.cookie(SESSION_COOKIE) not in {None, planted}
    (set_cookie,) = [one for one in answer.headers.getlist("Set-Cookie") if one.startswith(f"{SESSION_COOKIE}=")]
    words = {word.strip() for word in set_cookie.split(";")[1:]}
    assert words == {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"}  # no Domain, and gone with the browser
    assert pages.cookie(FORM_COOKIE) is None
    first = pages.cookie(SESSION_COOKIE)
    pages.post("/logon", username="alice", passphrase=SECRET)
    assert pages.cookie(SESSION_COOKIE) != first
    assert first is not None
    pages.client.set_cookie(SESSION_COOKIE, first, domain=NAME, secure=True)
    assert pages.get("/").status_code == 303  # the former session of the browser is over


def test_nothing_on_the_disk_opens_a_session_or_a_key(pages: Pages) -> None:
    pages.log_on()
    cookie = pages.cookie(SESSION_COOKIE)
    assert cookie is not None
    pages.portal.store.database.close()
    content = b"".join(path.read_bytes() for path in Path(pages.portal.config.store.directory).iterdir())
    for text in (SECRET.encode(), cookie.encode(), b"PRIVATE KEY"):
        assert text not in content
    assert b"alice" in content


def test_a_damaged_session_is_over(pages: Pages) -> None:
    pages.log_on()
    kept = pages.session().kept
    with pages.portal.store.database.write() as connection:
        connection.execute(sa.update(SESSIONS).values(sealed=kept.sealed[:-1] + b"\0\0"))
    assert pages.get("/").status_code == 303
    assert pages.portal.store.sessions.find(kept.row) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_forms_of_other_sites_are_refused(pages: Pages, headers: dict[str, str]) -> None:
    pages.log_on()
    token = pages.token("/activity")
    answer = pages.post("/destroy", token=token, headers=headers, name="", sure="yes")
    assert answer.status_code == 403
    own = {"Origin": f"https://{NAME}", "Sec-Fetch-Site": "same-origin"}
    assert pages.post("/destroy", token=token, headers=own, name="", sure="yes").status_code == 303


def test_forms_need_the_token_of_their_own_session(pages: Pages) -> None:
    before = pages.token()
    pages.log_on()
    other = pages.token("/activity")
    pages.log_on()
    posted = {rule.rule for rule in pages.app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    paths = {path for path in posted if not path.startswith("/terminal/v1/")}
    assert paths >= {"/destroy", "/fetch", "/logoff", "/logon", "/cas/fetch", "/cas/change", "/site/chains"}
    for token in ("", "0" * 64, before, other):
        for path in paths:
            assert pages.post(path, token=token).status_code == 403, path
    assert pages.portal.desk.look(pages.session().proxy, "alice")


def test_a_logon_form_needs_a_token_as_well(pages: Pages) -> None:
    pages.get("/logon")
    answer = pages.open("POST", "/logon", data={"username": "alice", "passphrase": SECRET})
    assert answer.status_code == 403
    assert pages.cookie(SESSION_COOKIE) is None


@pytest.mark.parametrize("host", ["evil.example", f"{NAME}.evil.example", f"{NAME}:444", "", f"{NAME}@evil.example"])
def test_other_hosts_are_refused(pages: Pages, host: str) -> None:
    assert pages.get("/logon", Host=host).status_code == 400


def test_forwarded_hosts_are_not_believed(pages: Pages) -> None:
    forged = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example", "X-Forwarded-Proto": "http"}
    answer = pages.open("GET", "/fetch", headers=forged)
    assert answer.headers["Location"] == "/logon?notice=first&next=/fetch"
    assert "evil.example" not in pages.open("GET", "/logon", headers=forged).text


def test_every_answer_has_the_headers(pages: Pages) -> None:
    pages.get("/logon")
    answers = [pages.get(path) for path in ("/logon", "/", "/nowhere", "/health", "/static/portal.css")]
    answers.append(pages.open("POST", "/logon", data={}))
    pages.log_on()
    answers += [
        pages.get(path)
        for path in ("/", "/fetch", "/store", "/passphrase", "/destroy", "/terminal", "/activity", "/site", "/cas/")
    ]
    answers.append(pages.post("/fetch", hours="1"))
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
        assert answer.headers["Referrer-Policy"] == "same-origin"
        static = answer.request.path.startswith("/static/")
        assert answer.headers["Cache-Control"] == ("public, max-age=31536000, immutable" if static else "no-store")
        assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=|javascript:", answer.text)


def test_sessions_end_by_themselves(pages: Pages) -> None:
    pages.log_on()
    for _ in range(4):
        pages.pass_time(timedelta(minutes=29))
        assert pages.get("/").status_code == 200
    pages.pass_time(timedelta(minutes=31))
    answer = pages.get("/")
    assert answer.status_code == 303
    assert pages.portal.store.sessions.of("alice", "/O=Grid/CN=Alice", now=pages.now) == []
    pages.log_on()
    for _ in range(16):
        pages.pass_time(timedelta(minutes=29))
        assert pages.get("/").status_code == 200
    pages.pass_time(timedelta(minutes=17))  # eight hours and a minute
    assert pages.get("/").status_code == 303


def test_a_session_ends_with_its_proxy(pages: Pages, ca: TestCA) -> None:
    request = ask(Command.PUT, username="short", lifetime=timedelta(0))
    issued = ca.issue("/O=Grid/CN=Short", "p256")
    pages.world.put(issued, request, options=ProxyOptions(lifetime=timedelta(hours=1)))
    pages.log_on("short")
    assert pages.session().kept.ends == pages.session().proxy.not_after
    for status in (200, 200, 303):
        pages.pass_time(timedelta(minutes=25))
        assert pages.get("/activity").status_code == status


def test_logging_off_ends_the_session_for_good(pages: Pages) -> None:
    pages.log_on()
    kept = pages.cookie(SESSION_COOKIE)
    assert kept is not None
    answer = pages.post("/logoff")
    assert answer.headers["Location"] == "/logon?notice=off"
    assert pages.cookie(SESSION_COOKIE) is None
    pages.client.set_cookie(SESSION_COOKIE, kept, domain=NAME, secure=True)
    assert pages.get("/").status_code == 303


def test_a_logon_leads_back_to_own_pages_alone(pages: Pages) -> None:
    assert pages.log_on(next="/fetch?name=x").headers["Location"] == "/fetch?name=x"
    for bad in (
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/ok\r\nX: y",
        "javascript:x",
        "fetch",
        "/a\tb",
    ):
        assert pages.log_on(next=bad).headers["Location"] == "/"
        assert "evil" not in pages.get(f"/logon?next={bad}").text


@given(st.text(max_size=60) | st.from_regex(r"[/\\]{0,3}[a-z:@.?#%\\/ ]{0,20}", fullmatch=True))
def test_own_paths_stay_on_this_site(text: str) -> None:
    found = own_path(text)
    assert found in {None, text}
    if found is not None:
        joined = urlsplit(f"https://{NAME}{found}")
        assert joined.netloc == NAME
        assert found[:2] not in {"//", "/\\"}
        assert "\\" not in found
        assert found.isprintable()


def test_wrong_tries_are_counted_by_network_and_not_against_others(tmp_path: Path, ca: TestCA, alice: Issued) -> None:
    http = HTTPSettings(address_header="X-Real-IP")
    with open_pages(ca, tmp_path, logon=LogonSettings(free_tries=2), http=http) as pages:
        pages.store("alice", alice)
        pages.store("bob", alice)

        def attempt(source: str, passphrase: str, username: str = "alice") -> int:
            token = re.search(r'value="([0-9a-f]{64})"', pages.get("/logon", **{"X-Real-IP": source}).text)
            assert token is not None
            form = {"form_token": token[1], "username": username, "passphrase": passphrase}
            return pages.open("POST", "/logon", data=form, headers={"X-Real-IP": source}).status_code

        assert attempt("198.51.100.4", SECRET) == 303
        pages.forget()
        assert [attempt("192.0.2.9", "wrong") for _ in range(3)] == [403, 403, 429]
        assert attempt("192.0.2.99", SECRET) == 429  # the same network
        # The server sees one address for all: strangers everywhere share what it allows, its user has the rest.
        assert attempt("203.0.113.9", SECRET) == 429
        assert attempt("198.51.100.77", "mistyped") == 403
        assert attempt("198.51.100.4", SECRET) == 303
        pages.forget()
        assert attempt("192.0.2.9", SECRET, "bob") == 303  # another account
        pages.forget()
        assert pages.get("/logon", **{"X-Real-IP": "not an address"}).status_code == 500
        pages.pass_time(timedelta(minutes=5))
        # One pass phrase on many accounts.
        found = [attempt("203.0.113.5", "wrong", f"user{number}") for number in range(20)]
        assert found[:16] == [403] * 16
        assert found[16:] == [429] * 4


def test_strangers_keep_nobody_out_where_the_server_takes_our_word(tmp_path: Path, ca: TestCA, alice: Issued) -> None:
    """The server's counts and ours go by the user's network; who has to wait is not told of a wrong pass phrase."""
    own = OwnSettings(certificate="/unused", front_end=True)
    with open_pages(ca, tmp_path, own=own) as pages:
        world = pages.world
        pages.store("alice", alice)
        throttle = Throttle(
            SQLGuessStore(world.repository.database), ThrottleRules(slow_seconds=0), clock=lambda: world.now
        )
        access = dataclasses.replace(OPEN, trusted_front_ends=parse_rules(["/O=Grid/CN=portal"]))
        world.configure(Settings(access=access), Methods(limiter=throttle))
        assert isinstance(pages.portal.desk, ServiceDesk)
        pages.portal.desk.front_end = parse_credential(ca.issue("/O=Grid/CN=portal", "p256").bundle(), source="test")
        for number in range(1, 5):
            pages.address = f"203.0.{number}.9"
            assert [pages.log_on(passphrase="wrong").status_code for _ in range(4)] == [403] * 4
        pages.address = "198.51.100.4"
        assert pages.log_on().status_code == 303
        # Somebody guesses without the portal from this network: the server refuses, and that is no try of the user's.
        for _ in range(5):
            throttle.admit("alice", "192.0.2.200", waited=0)
            throttle.report("alice", "192.0.2.200", Outcome.WRONG)
        pages.address = "192.0.2.7"
        answers = [pages.log_on() for _ in range(6)]
        assert {answer.status_code for answer in answers} == {429}
        assert int(answers[0].headers["Retry-After"]) >= 1
        assert "not right" not in answers[0].text
        pages.pass_time(timedelta(seconds=5))
        assert pages.log_on().status_code == 303


def test_logging_off_is_for_this_browser_also_where_the_store_is_full(
    tmp_path: Path, ca: TestCA, alice: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_row: str) -> None:
        raise StorageError("disk full")

    with open_pages(ca, tmp_path) as pages:
        pages.store("alice", alice)
        pages.log_on()
        token = pages.token("/activity")
        monkeypatch.setattr(type(pages.portal.store.sessions), "remove", lambda _self, row: fail(row))
        assert pages.post("/logoff", token=token).status_code == 503
        assert pages.cookie(SESSION_COOKIE) is None


def test_the_code_is_asked_for_where_it_is_required(tmp_path: Path, ca: TestCA, alice: Issued) -> None:
    with open_pages(ca, tmp_path, logon=LogonSettings(one_time_codes=Insistence.REQUIRED)) as pages:
        pages.store("alice", alice)
        assert pages.log_on().status_code == 400
        assert pages.log_on(code="12").status_code == 400
        assert pages.log_on(code="123456").status_code == 403  # the server takes it for a part of the pass phrase
        assert pages.cookie(SESSION_COOKIE) is None


def test_refusals_say_one_thing(pages: Pages) -> None:
    texts = set()
    for username, passphrase in (
        ("alice", "wrong"),
        ("nobody", SECRET),
        ("alice\nUSERNAME=bob", SECRET),
        ("\x00", "x"),
    ):
        answer = pages.log_on(username, passphrase)
        texts.update(re.findall(r'role="alert"[^>]*><p>([^<]*)', answer.text))
    assert texts == {"The user name, the pass phrase or the code is not right."}
    assert SECRET not in pages.audit()
    assert "wrong" not in pages.audit()


def test_what_is_typed_is_data_to_the_store_and_in_the_log(pages: Pages) -> None:
    forged = '"}\n{"verdict": "permit", "action": "LOGON"}\r\n\x1b[2J'
    for text in ("' OR '1'='1", "alice'; DELETE FROM sessions; --", forged):
        assert pages.log_on(text, "wrong").status_code == 403
        assert pages.open("GET", "/", headers={"Cookie": f"{SESSION_COOKIE}={quote(text)}"}).status_code == 303
    assert pages.log_on("alice", SECRET).status_code == 303
    assert pages.get("/").status_code == 200, "no table was touched"
    records = [json.loads(line) for line in pages.audit().splitlines()]
    assert pages.audit().replace("\n", "").isprintable()
    assert [one["action"] for one in records if one["verdict"] == "permit"] == ["LOGON"], "one of these is true"
    assert forged in {one.get("username") for one in records}, "it is there as it was typed"


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_what_is_sealed_opens_with_its_ticket_alone(data: bytes, other: bytes) -> None:
    ticket = Ticket.make()
    sealed = ticket.seal(data)
    assert ticket.open(sealed) == data
    assert Ticket.make().open(sealed) is None
    assert ticket.open(other) is None
    again = Ticket.parse(ticket.text)
    assert again is not None
    assert again.open(sealed) == data
    assert len({ticket.text, ticket.row, ticket.form_token}) == 3


@given(st.text(max_size=50))
def test_other_cookies_are_no_tickets(text: str) -> None:
    found = Ticket.parse(text)
    assert found is None or found.text == text
