"""The library for other web applications: consent, wallet, renewal, and what users are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from gsi.credential import Credential, parse_credential
from gsi.errors import AuthenticationError, ConfigError, GridError, RefusedError, RemoteProtocolError, TransportError
from gsi.proxy.issue import ProxyOptions, make_proxy
from gsi.secret import Passphrase
from myproxy import gateway
from myproxy.gateway import FileStore, Grant, LogOnAgainError, Portal, Wallet, explain
from tests.harness.ca import Issued, TestCA
from tests.harness.howto import run_block
from tests.harness.near_portal import NearPortal, agree, near_portal


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", "p256")


@pytest.fixture
def portal(tmp_path: Path, ca: TestCA, alice: Issued) -> Iterator[NearPortal]:
    with near_portal(ca, alice, tmp_path) as made:
        yield made


def grant(portal: NearPortal, **more: str) -> Grant:
    url, asked = portal.begin()
    return portal.finish(agree(portal, url, **more), asked)


def test_a_proxy_is_kept_sealed_and_renewed_at_half_its_life(portal: NearPortal, tmp_path: Path) -> None:
    pages, store = portal.pages, FileStore(str(tmp_path / "proxies"))
    wallet = Wallet(portal, store, now=lambda: pages.now)
    ticket = wallet.keep(grant(portal))
    first = wallet.proxy(ticket)
    assert wallet.grant(ticket).identity == "/O=Grid/CN=Alice"
    assert wallet.proxy(ticket).certificates == first.certificates
    pages.pass_time(timedelta(hours=1, minutes=1))
    portal.is_away = True
    assert wallet.proxy(ticket).certificates == first.certificates, "good until a new one can be had"
    portal.is_away = False
    second = wallet.proxy(ticket)
    assert second.not_after > first.not_after
    assert wallet.proxy(ticket).certificates == second.certificates
    for path in (tmp_path / "proxies").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"PRIVATE" not in path.read_bytes()
        assert ticket.encode() not in path.read_bytes()
    pages.pass_time(timedelta(hours=3))
    portal.is_away = True
    with pytest.raises(TransportError):
        wallet.proxy(ticket)
    portal.is_away = False
    pages.pass_time(timedelta(hours=9))
    with pytest.raises(LogOnAgainError):
        wallet.proxy(ticket)
    assert not list((tmp_path / "proxies").iterdir())


def test_what_was_ended_is_over_at_the_next_renewal(portal: NearPortal) -> None:
    pages = portal.pages
    store: dict[str, bytes] = {}
    wallet = Wallet(portal, store, now=lambda: pages.now)
    ticket = wallet.keep(grant(portal))
    portal.end(wallet.grant(ticket))
    wallet.proxy(ticket)
    pages.pass_time(timedelta(hours=1))
    with pytest.raises(LogOnAgainError):
        wallet.proxy(ticket)
    assert not store
    other = Wallet(portal, store, now=lambda: pages.now)
    for wrong in (None, "", ticket, "x" * 43):
        with pytest.raises(LogOnAgainError):
            other.proxy(wrong)
    other.forget(ticket)


class _Accounts:
    """A server that gives proxies of whoever has an account at the moment."""

    def __init__(self, owner: Issued, now: Callable[[], datetime]) -> None:
        self.owner = owner
        self.now = now

    def issue(self, grant: Grant, *, lifetime: timedelta | None = None) -> Credential:
        owner = parse_credential(self.owner.bundle(), source=grant.username)
        return make_proxy(owner, ProxyOptions(lifetime=lifetime or timedelta(hours=2)), now=self.now())


def test_an_account_that_gets_another_owner_gives_no_proxy_to_sessions_of_the_former(ca: TestCA, alice: Issued) -> None:
    clock = [datetime.now(UTC)]
    server = _Accounts(alice, lambda: clock[0])
    store: dict[str, bytes] = {}
    wallet = Wallet(server, store, now=lambda: clock[0])
    ticket = wallet.keep(Grant("alice"))
    clock[0] += timedelta(hours=1, minutes=1)
    renewed = wallet.proxy(ticket)
    assert wallet.proxy(ticket).certificates == renewed.certificates
    assert wallet.grant(ticket).identity == "/O=Grid/CN=Alice"
    server.owner = ca.issue("/O=Grid/CN=Mallory", "p256")
    assert wallet.proxy(ticket).certificates == renewed.certificates
    clock[0] += timedelta(hours=1, minutes=1)
    with pytest.raises(LogOnAgainError, match="a proxy of /O=Grid/CN=Mallory came in place of one of /O=Grid/CN=Alice"):
        wallet.proxy(ticket)
    assert not store
    with pytest.raises(LogOnAgainError):
        wallet.keep(Grant("alice", identity="/O=Grid/CN=Alice"))
    with pytest.raises(LogOnAgainError):
        wallet.keep(Grant("alice", identity="/O=Grid/CN=Alice"), server.issue(Grant("alice")))
    assert not store
    assert wallet.grant(wallet.keep(Grant("alice"))).identity == "/O=Grid/CN=Mallory"


def test_a_proxy_without_a_source_lasts_until_it_ends(portal: NearPortal) -> None:
    pages = portal.pages
    wallet = Wallet(None, {}, now=lambda: pages.now)
    with pytest.raises(LogOnAgainError):
        wallet.keep(Grant("alice"))
    proxy: Credential = portal.issue(grant(portal), lifetime=timedelta(hours=1))
    ticket = wallet.keep(Grant("alice"), proxy)
    pages.pass_time(timedelta(minutes=59))
    assert wallet.proxy(ticket).certificates == proxy.certificates
    pages.pass_time(timedelta(minutes=2))
    with pytest.raises(LogOnAgainError):
        wallet.proxy(ticket)


def test_answers_that_are_not_to_this_question(portal: NearPortal) -> None:
    url, asked = portal.begin()
    back = agree(portal, url)
    _, other = portal.begin()
    wrong: tuple[tuple[str, Mapping[str, str] | None, type[GridError]], ...] = (
        (back, None, LogOnAgainError),
        (back, {}, LogOnAgainError),
        (back, other, LogOnAgainError),
        (back + "&state=" + asked["state"], asked, LogOnAgainError),
        (back.replace("iss=", "ys="), asked, AuthenticationError),
        (back.replace("portal.example.org", "evil.example.org"), asked, AuthenticationError),
        (back + "x" * 9000, asked, AuthenticationError),
        (agree(portal, url, answer="no"), asked, LogOnAgainError),
        (back, asked | {"verifier": "v" * 43}, LogOnAgainError),
    )
    for where, given, error in wrong:
        with pytest.raises(error):
            portal.finish(where, given)
    with pytest.raises(LogOnAgainError):
        portal.finish(back, asked)  # the wrong verifier has used it up


def test_what_a_portal_must_not_say(portal: NearPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    url, asked = portal.begin()
    back = agree(portal, url)
    for data in (b"<html>", b"[]", b"{}", b'{"username": "a", "access_token": "t", "ends": "2026-99-99T00:00:00Z"}'):
        monkeypatch.setattr(portal, "_ask", lambda _what, _form, data=data: data)
        with pytest.raises(RemoteProtocolError):
            portal.finish(back, asked)
    monkeypatch.setattr(portal, "_ask", lambda _what, _form: b'{"error": "invalid_client\\u001b"}')
    with pytest.raises(RefusedError) as refused:
        portal.finish(back, asked)
    assert "\x1b" not in str(refused.value)
    for address in ("http://portal.example.org", "https://user@portal.example.org", "https://p.example.org/?x"):
        with pytest.raises(ConfigError):
            Portal(address, "gateway", Passphrase("words"), redirect="https://gateway.example.org/grid/back")


def test_what_users_are_told_has_no_details(portal: NearPortal) -> None:
    words = {explain(one("secret details")) for one in (LogOnAgainError, TransportError, RefusedError)}
    assert len(words) == 3
    assert not any("details" in one for one in words)
    assert "token" not in repr(grant(portal))


def test_files_that_nobody_renews_are_swept(tmp_path: Path) -> None:
    store, row = FileStore(str(tmp_path / "proxies")), "0" * 64
    store[row] = b"sealed"
    assert store[row] == b"sealed"
    written = datetime.fromtimestamp((tmp_path / "proxies" / row).stat().st_mtime, UTC)
    assert store.sweep(before=written - timedelta(seconds=1)) == 0
    assert store.sweep(before=written + timedelta(seconds=1)) == 1
    for name in (row, "../portal.db", "x"):
        with pytest.raises(KeyError):
            store[name]
        with pytest.raises(KeyError):
            del store[name]


def test_the_front_door_has_what_it_names() -> None:
    for name in gateway.__all__:
        assert getattr(gateway, name)
    with pytest.raises(AttributeError):
        gateway.nothing  # noqa: B018  to look is what is tried


def test_the_guide_s_application_for_flask(portal: NearPortal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = run_block("portal-author.md", "flask")
    pages = portal.pages
    names["Portal"] = lambda *_given, **_more: portal
    names["Wallet"] = lambda source, store: Wallet(source, store, now=lambda: pages.now)
    app = names["create_app"](
        {
            "secret_key": "x",
            "portal": "",
            "client_id": "",
            "client_secret": "",
            "redirect": "",
            "trust_dir": None,
            "proxies": str(tmp_path / "proxies"),
        }
    )
    client: FlaskClient = app.test_client()
    base = "https://gateway.example.org"
    away = client.get("/", base_url=base)
    back = agree(portal, away.headers["Location"])
    assert client.get("/grid/back?state=x", base_url=base).status_code == 403
    away = client.get("/", base_url=base)
    back = agree(portal, away.headers["Location"])
    assert client.get(back, base_url=base).status_code == 303
    assert client.get("/", base_url=base).text.startswith("/O=Grid/CN=Alice until ")
    pages.pass_time(timedelta(hours=3))
    monkeypatch.setattr(portal, "is_away", True)
    assert client.get("/", base_url=base).status_code == 503
    monkeypatch.setattr(portal, "is_away", False)
    assert client.post("/logoff", base_url=base).text == "Good bye."
    assert client.get("/", base_url=base).status_code == 303
