"""The pages: what they show, what they hand out, and what they refuse."""

from __future__ import annotations

import base64
import io
import re
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from gsi.certificate import load_certificates
from gsi.credential import parse_credential
from gsi.delegation import DelegationRequester
from gsi.errors import AuthenticationError, StorageError, TransportError
from gsi.keys import KeyType, generate_key, spki_der
from gsi.proxy.chain import ProxyChain
from gsi.secret import Passphrase
from gsi.system.audit import AuditRecord
from myproxy.cli.web import key_mark
from myproxy.portal.config import LogonSettings
from myproxy.portal.guard import SESSION_COOKIE
from myproxy.portal.shown import common_name, duration
from myproxy.portal.terminals import show_key
from myproxy.protocol.messages import Command
from tests.harness.ca import Issued, TestCA
from tests.harness.myproxy import SECRET, ask
from tests.harness.portal_pages import NAME, Pages, ServiceDesk, open_pages
from tests.harness.run import c_program, run


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", "p256")


@pytest.fixture
def pages(tmp_path: Path, ca: TestCA, alice: Issued) -> Iterator[Pages]:
    with open_pages(ca, tmp_path) as opened:
        opened.store("alice", alice)
        opened.log_on()
        yield opened


def test_markup_in_names_stays_text(tmp_path: Path, ca: TestCA) -> None:
    evil = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'"
    name = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Grid"), x509.NameAttribute(NameOID.COMMON_NAME, evil)]
    )
    with open_pages(ca, tmp_path) as pages:
        pages.store(evil, ca.issue(name, "p256"), credential_name=None, description=evil, renewer=evil)
        assert pages.log_on(evil).status_code == 303
        for path in ("/", "/fetch", "/store", "/destroy", "/activity", "/passphrase"):
            text = pages.get(path).text
            assert "<script" not in text, path
            assert "<img" not in text, path
        assert "&lt;script&gt;" in pages.get("/").text
        text = pages.get(f"/store?name={evil}").text + pages.get(f"/terminal?code={evil}").text
        assert "<script" not in text
        answer = pages.post("/fetch", hours="1")
        name_given = answer.headers["Content-Disposition"]
        assert name_given.startswith('attachment; filename="x509up_')
        assert not set(name_given.removeprefix('attachment; filename="').removesuffix('"')) & set("\"'<>\\/;\r\n ")


def test_a_proxy_is_handed_out_with_a_key_of_its_own(pages: Pages) -> None:
    session = pages.session().proxy
    taken = [parse_credential(pages.post("/fetch", hours="4").data, source="download") for _ in range(2)]
    keys = {spki_der(one.key) for one in (*taken, session)}
    assert len(keys) == 3
    for one in taken:
        assert one.certificates[1:] == session.certificates
        assert one.not_after == pages.now.replace(microsecond=0) + timedelta(hours=4)
    limited = parse_credential(pages.post("/fetch", hours="0", limited="yes").data, source="download")
    assert ProxyChain.split(limited.certificates).is_limited
    assert limited.not_after == session.not_after
    for hours in ("5", "-1", "9999", "1e3", ""):
        assert pages.post("/fetch", hours=hours).status_code == 400, hours


def test_what_outlasts_the_session_asks_for_the_pass_phrase(pages: Pages) -> None:
    at_once = parse_credential(pages.post("/fetch", hours="168").data, source="download")
    assert at_once.not_after <= pages.session().proxy.not_after
    again = {"how": "again", "name": "", "hours": "24"}
    assert pages.post("/fetch", **again).status_code == 400
    refused = pages.post("/fetch", passphrase="wrong", **again)
    assert refused.status_code == 403
    assert "PRIVATE KEY" not in refused.text
    longer = parse_credential(pages.post("/fetch", passphrase=SECRET, **again).data, source="download")
    assert longer.not_after > pages.session().proxy.not_after + timedelta(hours=11)


def test_others_see_and_change_nothing_of_mine(pages: Pages, ca: TestCA) -> None:
    pages.store("bob", ca.issue("/O=Grid/CN=Bob", "p256"), "words of bob")
    pages.log_on("bob", "words of bob")
    pages.post("/destroy", name="", sure="yes")
    assert "Nothing is stored" in pages.get("/").text
    pages.log_on()
    assert "/O=Grid/CN=Alice" in pages.get("/").text
    assert "Credential destroyed" not in pages.get("/activity").text


def test_what_happened_at_the_server_is_shown(pages: Pages, ca: TestCA, alice: Issued) -> None:
    assert re.search(r"<dt>Last used</dt>.*from 127\.0\.0\.1 \(logon\)", pages.get("/").text)
    pages.pass_time(timedelta(minutes=3))
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            pages.world.get(None, ask(Command.GET, passphrase=Passphrase("a stranger's guess")))
    text = pages.get("/activity").text
    rows = re.findall(r"<tr><td class=\"time\"><time.*?</tr>", text)
    assert "Try to fetch a proxy" in rows[0]
    assert "refused" in rows[0]
    assert "2 times since" in rows[0]
    assert {"Portal", "MyProxy server"} == {found for row in rows for found in re.findall(r'small">(.*?)<', row)}
    assert any("Logged on" in row for row in rows)
    assert "Try to fetch a proxy" in pages.get("/").text
    pages.store("bob", ca.issue("/O=Grid/CN=Bob", "p256"))
    pages.log_on("bob")
    assert "Try to fetch a proxy" not in pages.get("/activity").text


def test_a_server_that_tells_nothing_of_the_past(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = pages.portal.desk
    assert isinstance(desk, ServiceDesk)
    desk.tells_history = False
    text = pages.get("/").text
    assert "/O=Grid/CN=Alice" in text
    assert "Last used" not in text
    activity = pages.get("/activity").text
    assert "MyProxy server" not in activity
    assert "Logged on" in activity

    def fail(*_arguments: object) -> None:
        raise TransportError("nobody listens")

    monkeypatch.setattr(desk, "account", fail)
    answer = pages.get("/activity")
    assert (answer.status_code, "what happened there is missing" in answer.text) == (200, True)
    assert "Logged on" in answer.text


def test_destroying_needs_a_yes(pages: Pages) -> None:
    assert pages.post("/destroy", name="").status_code == 400
    assert pages.post("/destroy", name="nothing", sure="yes").status_code == 403
    assert "/O=Grid/CN=Alice" in pages.get("/").text


@pytest.mark.parametrize(
    ("old", "new", "again", "status"),
    [
        ("wrong", "brand new words", "brand new words", 403),
        (SECRET, "brand new words", "brand old words", 400),
        (SECRET, "eleven char", "eleven char", 400),
        (SECRET, "passwordpassword", "passwordpassword", 400),
        (SECRET, "x of many " * 13, "x of many " * 13, 400),
        (SECRET, "", "", 400),
        (SECRET, "brand new words", "brand new words", 303),
    ],
)
def test_changing_a_pass_phrase(pages: Pages, old: str, new: str, again: str, status: int) -> None:
    assert pages.post("/passphrase", name="", old=old, new=new, again=again).status_code == status
    changed = status == 303
    assert pages.log_on("alice", new).status_code == (303 if changed else 400 if not new else 403)
    assert pages.log_on().status_code == (403 if changed else 303)


def test_guessing_the_present_pass_phrase_in_a_session_is_limited(pages: Pages) -> None:
    form = {"name": "", "new": "brand new words", "again": "brand new words"}
    found = [pages.post("/passphrase", old=f"guess {number}", **form).status_code for number in range(6)]
    assert found == [403] * 4 + [429] * 2


def upload(pages: Pages, data: bytes, **fields: str) -> tuple[int, str]:
    form = {"what": "proxy", "days": "7", "new": "words at the server", "again": "words at the server"} | fields
    answer = pages.post("/store", file=(io.BytesIO(data), "file.p12"), **form)
    return answer.status_code, answer.text


def test_files_that_are_no_credentials_are_refused(pages: Pages, ca: TestCA, alice: Issued) -> None:
    other = ca.issue("/O=Grid/CN=Other", "p256")
    old = ca.issue(
        "/O=Grid/CN=Old", "p256", not_before=pages.now - timedelta(days=9), not_after=pages.now - timedelta(days=1)
    )
    for data, words in (
        (b"", "The file is empty."),
        (b"hello", "PKCS#12"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""),
        (alice.pem, "key"),
        (alice.pem + other.key_pem(None), ""),
        (old.bundle(), "ended on"),
        (alice.pkcs12(b"file words"), "pass phrase"),
    ):
        status, text = upload(pages, data, passphrase="wrong")
        assert status == 400, data
        assert words in text
        pages.pass_time(timedelta(minutes=1))  # who sends one after the other has to wait
    assert upload(pages, alice.bundle(), days="8")[0] == 400
    assert upload(pages, alice.bundle(), again="other words here")[0] == 400
    status, text = upload(pages, b"x" * (300 << 10))
    assert status == 413
    assert "larger than 256 kB" in text
    assert "other" not in pages.audit().lower()


def test_files_stay_in_memory(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")  # where werkzeug would put longer ones
    status, text = upload(pages, b"x" * (250 << 10))
    assert status == 400
    assert "PKCS#12" in text


def test_a_renewed_credential_is_stored(pages: Pages, ca: TestCA) -> None:
    fresh = ca.issue("/O=Grid/CN=Alice", "p256")
    status, _ = upload(pages, fresh.pkcs12(b"file words"), passphrase="file words", name="", description="new & shiny")
    assert status == 303
    assert "new &amp; shiny" in pages.get("/").text
    assert pages.log_on("alice", "words at the server").status_code == 303
    stranger = ca.issue("/O=Grid/CN=Mallory", "p256")
    status, text = upload(pages, stranger.bundle(), name="")
    assert status == 403
    assert "Mallory" in text or "own" in text
    assert "words at the server" not in pages.audit()
    assert "file words" not in pages.audit()


def test_the_first_time(tmp_path: Path, ca: TestCA, alice: Issued) -> None:
    with open_pages(ca, tmp_path) as pages:
        assert pages.get("/first").status_code == 404
    with open_pages(ca, tmp_path / "open", logon=LogonSettings(first_time=True)) as pages:
        pages.store("bob", ca.issue("/O=Grid/CN=Bob", "p256"))
        assert "/first" in pages.get("/logon").text

        def send(data: bytes, **fields: str) -> int:
            form = {
                "username": "alice",
                "what": "proxy",
                "days": "7",
                "new": "brand new words",
                "again": "brand new words",
            } | fields
            return pages.post("/first", file=(io.BytesIO(data), "file.p12"), **form).status_code

        bundle = alice.pkcs12(b"file words")
        assert send(bundle, passphrase="file words", username="bob") == 403  # the account is another's
        assert send(bundle, passphrase="file words") == 303
        assert pages.cookie(SESSION_COOKIE) is None
        assert pages.log_on("alice", "brand new words").status_code == 303
        pages.forget()
        pages.pass_time(timedelta(hours=1))
        assert send(bundle, passphrase="file words", username="") == 400
        assert [send(bundle, passphrase="wrong") for _ in range(5)] == [400] * 4 + [429]
        pages.pass_time(timedelta(hours=1))
        authority = TestCA("/O=Grid/CN=Nobody", "p256")  # a file that opens, and a server that knows no such CA
        strange = authority.issue("/O=Grid/CN=Eve", "p256").bundle()
        assert [send(strange) for _ in range(2)] == [400, 429]


def test_files_that_are_too_large_lead_back_to_the_form(tmp_path: Path, ca: TestCA, alice: Issued) -> None:
    with open_pages(ca, tmp_path, logon=LogonSettings(first_time=True)) as pages:
        pages.store("alice", alice)
        for path in ("/store", "/first"):
            large = pages.post(path, token="", file=(io.BytesIO(b"x" * (300 << 10)), "file.p12"))
            if path == "/store":
                assert large.headers["Location"].endswith("notice=over")
                pages.log_on()
                large = pages.post(path, file=(io.BytesIO(b"x" * (300 << 10)), "file.p12"))
            assert large.status_code == 413
            assert "larger than 256 kB" in large.text
            assert f'action="{path}"' in large.text
            token = re.search(r'name="form_token" value="([0-9a-f]+)"', large.text)
            assert token is not None
            again = pages.post(path, token=token[1], username="bob")
            assert (again.status_code, "Choose a file." in again.text) == (400, True)
            pages.forget()


def test_files_that_take_long_to_open_are_refused(pages: Pages, alice: Issued) -> None:
    """Within a quarter of a second by the rounds that they name, whatever the pass phrase."""
    lock = serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(1_000_001).build(b"words")
    key, leaf = alice.key, alice.certificate
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    slow = pkcs12.serialize_key_and_certificates(None, key, leaf, None, lock)
    words = ["-topk8", "-iter", "1000001", "-passout", "pass:words"]
    locked = run([c_program("openssl"), "pkcs8", *words], env={}, stdin=alice.key_pem(None)).check().stdout.encode()
    for data in (slow, alice.pem + locked):
        status, text = upload(pages, data, passphrase="words")
        assert status == 400
        assert "rounds of key derivation, limit 1000000" in text


class _FullDisk:
    def record(self, record: AuditRecord) -> None:
        raise StorageError(f"{record.action} cannot be written")


def test_nothing_is_changed_that_cannot_be_written_down(pages: Pages, alice: Issued) -> None:
    """Each change is on record before the server is asked for it."""
    good = pages.portal.audit
    object.__setattr__(pages.portal, "audit", _FullDisk())
    words = {"old": SECRET, "new": "brand new words", "again": "brand new words"}
    assert pages.post("/passphrase", name="", **words).status_code == 503
    assert pages.post("/destroy", name="", sure="yes").status_code == 503
    assert upload(pages, alice.bundle(), description="never")[0] == 503
    object.__setattr__(pages.portal, "audit", good)
    assert pages.log_on("alice", SECRET).status_code == 303
    assert "never" not in pages.get("/").text


def test_other_sessions_can_be_ended(pages: Pages) -> None:
    pages.log_on()
    pages.log_on()
    assert len(pages.portal.store.sessions.of("alice", "/O=Grid/CN=Alice", now=pages.now)) == 3
    assert pages.post("/activity").status_code == 303
    (left,) = pages.portal.store.sessions.of("alice", "/O=Grid/CN=Alice", now=pages.now)
    assert left.row == pages.session().kept.row


def test_who_takes_a_name_over_sees_and_ends_nothing_of_its_former_owner(pages: Pages, ca: TestCA) -> None:
    """As at the server: sessions, and what happened, belong to the account and the identity that holds it."""
    former = pages.session().kept
    browser = pages.cookie(SESSION_COOKIE)
    assert browser is not None
    assert pages.post("/destroy", name="", sure="yes").status_code == 303
    pages.store("alice", ca.issue("/O=Grid/CN=Successor", "p256"), "words of the successor")
    pages.forget()
    pages.address = "198.51.100.9"
    pages.log_on("alice", "words of the successor")
    shown = pages.get("/activity").text
    assert "192.0.2.7" not in shown
    assert "destroyed" not in shown
    assert "192.0.2.7" not in pages.get("/").text
    assert pages.post("/activity").status_code == 303
    words = {"old": "words of the successor", "new": "brand new words", "again": "brand new words"}
    assert pages.post("/passphrase", name="", **words).status_code == 303
    assert pages.portal.store.sessions.find(former.row) is not None
    pages.client.set_cookie(SESSION_COOKIE, browser, domain=NAME, secure=True)
    shown = pages.get("/activity").text
    assert "192.0.2.7" in shown
    assert "198.51.100.9" not in shown


# Terminals ------------------------------------------------------------------------------------------------------------


def start(pages: Pages, **headers: str) -> tuple[DelegationRequester, dict[str, str]]:
    requester = DelegationRequester(generate_key(KeyType.P256))
    content = {"request": base64.b64encode(requester.request_der).decode()}
    answer = pages.open("POST", "/terminal/v1/start", json=content, headers=headers)
    assert answer.status_code == 200, answer.text
    assert "Set-Cookie" not in answer.headers
    told: dict[str, str] = answer.get_json()
    return requester, told


def state(pages: Pages, told: dict[str, str]) -> dict[str, str]:
    answer = pages.open("POST", "/terminal/v1/take", json={"device_code": told["device_code"]})
    found: dict[str, str] = answer.get_json()
    return found


def test_a_terminal_gets_certificates_for_its_own_key_once(pages: Pages) -> None:
    requester, told = start(pages)
    assert state(pages, told) == {"state": "waiting"}
    assert state(pages, told) == {"state": "slow_down"}
    shown = pages.get(f"/terminal?code={told['user_code']}").text
    assert told["key"] in shown
    assert pages.post("/terminal", code=told["user_code"], answer="yes", hours="1").status_code == 303
    given = state(pages, told)
    chain = [one.der for one in load_certificates(given["certificates"].encode(), what="answer")]
    assert "PRIVATE" not in given["certificates"]
    proxy = requester.accept(chain, now=pages.now)
    assert proxy.not_after <= pages.now + timedelta(hours=1)
    assert state(pages, told) == {"state": "over"}
    assert pages.post("/terminal", code=told["user_code"], answer="yes", hours="1").status_code == 403


def test_a_terminal_is_refused_or_forgotten(pages: Pages) -> None:
    _, told = start(pages)
    pages.post("/terminal", code=told["user_code"], answer="no", hours="1")
    assert state(pages, told) == {"state": "refused"}
    _, told = start(pages)
    pages.pass_time(timedelta(minutes=10))
    assert state(pages, told) == {"state": "over"}
    assert pages.post("/terminal", code=told["user_code"], answer="yes", hours="1").status_code == 403
    assert state(pages, {"device_code": "x"}) == {"state": "over"}


def test_terminals_are_no_browsers_and_not_too_many(pages: Pages) -> None:
    for headers in ({"Origin": "https://portal.example.org"}, {"Sec-Fetch-Mode": "cors"}):
        assert pages.open("POST", "/terminal/v1/start", json={}, headers=headers).status_code == 403
    for bad in ("", "!!!", base64.b64encode(b"no request").decode(), base64.b64encode(bytes(9000)).decode()):
        answer = pages.open("POST", "/terminal/v1/start", json={"request": bad})
        assert answer.status_code == 400
        assert answer.get_json()["error"] == "invalid_request"
    requester = DelegationRequester(generate_key(KeyType.P256))
    content = {"request": base64.b64encode(requester.request_der).decode()}
    found = [pages.open("POST", "/terminal/v1/start", json=content).status_code for _ in range(21)]
    assert found == [200] * 20 + [429]


def test_codes_of_terminals_cannot_be_tried_out(pages: Pages) -> None:
    found = [pages.get(f"/terminal?code=BCDF-GHJ{letter}").status_code for letter in "BCDFGH"]
    assert found == [403] * 4 + [429] * 2


def test_both_sides_show_the_same_of_a_key() -> None:
    spki = spki_der(generate_key(KeyType.P256))
    assert show_key(spki) == key_mark(spki)


def test_words_for_spans_and_names() -> None:
    spans = {0: "less than a minute", 60: "1 minute", 3600: "1 hour", 7260: "2 hours 1 minute", 90000: "1 day 1 hour"}
    assert {seconds: duration(timedelta(seconds=seconds)) for seconds in spans} == spans
    assert duration(timedelta(days=365, hours=5)) == "365 days"
    assert duration(timedelta(seconds=-5)) == "less than a minute"
    assert common_name("/O=Grid/CN=Alice Example/CN=12345/CN=proxy") == "Alice Example"
    assert common_name("/O=Grid") == "/O=Grid"
