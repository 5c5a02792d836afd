"""The application as a whole: what it weighs, whom it asks, pages of other packages, and its configuration."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, render_template_string
from werkzeug.test import Client

from gsi.errors import ConfigError
from gsi.transport.wsgi_server import Reloads
from myproxy.portal import app as app_module
from myproxy.portal.app import GROUP, Host
from myproxy.portal.config import AdminSettings, CodesSettings, HTTPSettings, OwnSettings, PortalConfig, load_config
from myproxy.portal.serving import find_flaws, make_application
from tests.harness.ca import TestCA, write_file, write_trust_dir
from tests.harness.portal import portal_text
from tests.harness.portal_pages import open_pages

MAX_FIRST_LOAD = 150_000


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


def test_the_first_page_is_light_and_asks_nobody_else(tmp_path: Path, ca: TestCA) -> None:
    with open_pages(ca, tmp_path) as pages:
        first = pages.get("/logon")
        total = len(first.data) + sum(len(value) for item in first.headers for value in item)
        for place in re.findall(r'(?:href|src)="([^"]+)"', first.text):
            assert place.startswith("/") or place == "#main", place
            if place.startswith("/static/"):
                total += len(pages.get(place).data)
        assert 2_000 < total <= MAX_FIRST_LOAD
        pages.store("alice", ca.issue("/O=Grid/CN=Alice", "p256"))
        pages.log_on()
        for path in ("/", "/fetch", "/store", "/terminal", "/activity"):
            assert not re.search(r'(?:href|src|action)="(?!/|#main")', pages.get(path).text)
        style = Path(app_module.__file__).parent / "static" / "portal.css"
        assert not re.search(r"url\(|@import|http", style.read_text())


@pytest.mark.parametrize(
    ("settings", "address", "header", "status"),
    [
        ({"certificate": "/c"}, "127.0.0.1", None, 200),
        ({"certificate": "/c"}, "::1", None, 200),
        ({"certificate": "/c"}, "192.0.2.7", None, 404),
        ({"certificate": "/c"}, "unknown", None, 404),
        ({"address_header": "X-Real-IP"}, "127.0.0.1", None, 200),
        ({"address_header": "X-Real-IP"}, "127.0.0.1", "192.0.2.7", 404),
        ({"address_header": "X-Real-IP"}, "127.0.0.1", "127.0.0.1", 404),
        ({}, "127.0.0.1", None, 404),
    ],
)
def test_numbers_are_for_this_machine(
    tmp_path: Path, ca: TestCA, settings: dict[str, str], address: str, header: str | None, status: int
) -> None:
    with open_pages(ca, tmp_path, http=HTTPSettings(**settings)) as pages:  # type: ignore[arg-type]  # texts alone
        app = app_module.create_app(pages.portal, metrics=lambda: b"numbers 1\n")
        told = app.test_client().get(
            "/metrics",
            headers={} if header is None else {"X-Real-IP": header},
            environ_overrides={"REMOTE_ADDR": address},
        )
    assert told.status_code == status
    assert (b"numbers" in told.data) is (status == 200)


def test_what_could_be_safer_is_said(tmp_path: Path, ca: TestCA) -> None:
    def flaws(**settings: Any) -> tuple[str, ...]:
        config = PortalConfig(names=("portal.example.org",), server="localhost", **settings)
        return find_flaws(config, now=datetime.now(UTC))

    who = ("/O=Grid/CN=Alice",)
    assert flaws() == ()
    assert "no one-time codes" in flaws(admin=AdminSettings(identities=who))[0]
    assert flaws(admin=AdminSettings(identities=who), codes=CodesSettings(server_config="/c")) == ()
    off = AdminSettings(identities=who, second_factor=False)
    assert "is off" in flaws(admin=off, codes=CodesSettings(server_config="/c"))[0]
    now = datetime.now(UTC)
    for days, is_good in ((1, True), (-1, False)):
        issued = ca.issue(
            "/O=Grid/CN=p", "p256", not_before=now - timedelta(days=9), not_after=now + timedelta(days=days)
        )
        issued.write(tmp_path / "own.pem", tmp_path / "own.key")
        own = OwnSettings(certificate=str(tmp_path / "own.pem"), key=str(tmp_path / "own.key"))
        if is_good:
            assert flaws(own=own) == ()
        else:
            with pytest.raises(ConfigError, match=r"own.pem is good from"):
                flaws(own=own)


@pytest.mark.parametrize("part", ["", "store", "trust", "certificate"])
def test_balancers_are_told_what_fails(tmp_path: Path, ca: TestCA, part: str) -> None:
    tmp_path.chmod(0o700)
    trust = write_trust_dir(tmp_path / "certificates", *(() if part == "trust" else (ca,)))
    now = datetime.now(UTC)
    ends = now + timedelta(days=-1 if part == "certificate" else 1)
    host = ca.issue("/O=Grid/CN=localhost", "p256", not_before=now - timedelta(days=9), not_after=ends)
    host.write(tmp_path / "portal.pem", tmp_path / "portal.key")
    text = portal_text(tmp_path, trust, port=8444, server_port=7512)
    write_file(tmp_path / "portal.toml", text.replace("[http]", "[http]\nmetrics = true").encode(), 0o600)
    reloads = Reloads()
    client = Client(make_application(load_config(str(tmp_path / "portal.toml")), reloads=reloads))
    if part == "store":
        (tmp_path / "portal-store" / "portal.db").rename(tmp_path / "elsewhere.db")
    reloads.note(refused=True)
    answer = client.get("/health")
    assert answer.status_code == (503 if part else 200)
    assert answer.text == (f"{part}: fails; the log has more\n" if part else "ok\n") + reloads.words
    numbers = client.get("/metrics", environ_overrides={"REMOTE_ADDR": "127.0.0.1"}).text
    for name in ("store", "trust", "certificate"):
        assert f'myproxy_portal_check{{part="{name}"}} {float(name != part)}' in numbers


class Extra:
    """Pages as another package would bring them."""

    def __init__(self, host: Host) -> None:
        self.title = "Capabilities"
        self.blueprint = Blueprint("extra", __name__)

        @self.blueprint.get("/")
        def show() -> str:
            page = "{% extends 'page.html' %}{% block main %}<h1>For {{ who }}, {{ until }}</h1>{% endblock %}"
            return render_template_string(page, who=host.username(), until=host.credential().not_after)

        @self.blueprint.post("/change")
        def change() -> str:
            return "changed"


def test_pages_of_other_packages_are_behind_the_same_door(
    tmp_path: Path, ca: TestCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("cas", f"{__name__}:Extra", GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda _self: Extra)
    monkeypatch.setattr(app_module, "entry_points", lambda group: [point] if group == GROUP else [])
    with open_pages(ca, tmp_path) as pages:
        pages.store("alice", ca.issue("/O=Grid/CN=Alice", "p256"))
        assert pages.get("/cas/").headers["Location"] == "/logon?notice=first&next=/cas/"
        pages.log_on()
        text = pages.get("/cas/").text
        assert "For alice, 20" in text
        assert '<a href="/cas/" aria-current="page">Capabilities</a>' in text
        assert pages.open("POST", "/cas/change", data={}).status_code == 403
        assert pages.post("/cas/change").text == "changed"

    def fail(_self: EntryPoint) -> Any:
        raise ImportError("no such module")

    monkeypatch.setattr(EntryPoint, "load", fail)
    with pytest.raises(ConfigError, match="cas"), open_pages(ca, tmp_path / "again"):
        pass


def test_errors_are_pages_with_a_number_and_no_more(
    tmp_path: Path, ca: TestCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_DEBUG", "1")
    with open_pages(ca, tmp_path) as pages:
        pages.store("alice", ca.issue("/O=Grid/CN=Alice", "p256"))
        pages.log_on()
        assert pages.open("DELETE", "/fetch").status_code == 405
        assert pages.get("/static/").status_code == 404
        missing = pages.get("/no/such/<page>")
        assert missing.status_code == 404
        assert re.search(r"<code>[0-9a-f]{16}</code>", missing.text)
        Path(pages.portal.config.store.directory, "portal.db").unlink()
        broken = pages.get("/activity")
        assert broken.status_code == 503
        assert "sqlalchemy" not in broken.text.lower()
        assert "Traceback" not in broken.text
        assert not pages.app.debug


def load(place: Path, text: str) -> PortalConfig:
    write_file(place / "portal.toml", text.encode(), 0o600)
    return load_config(str(place / "portal.toml"))


def test_the_configuration(tmp_path: Path) -> None:
    config = load(tmp_path, portal_text(tmp_path, tmp_path, port=8443, server_port=7512))
    assert config.names == ("localhost:8443",)
    assert config.session.idle.total_seconds() == 1800


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('server = "x"', "names"),
        ('names = []\nserver = "x"', "needs one"),
        ('names = ["Portal.example.org"]\nserver = "x"', "no host name"),
        ('names = ["https://p"]\nserver = "x"', "no host name"),
        ('names = ["p"]\nserver = "x"\n[http]\nlisten = "*:443"', "without TLS"),
        ('names = ["p"]\nserver = "x"\n[http]\nlisten = "443"', "no address with a port"),
        (
            'names = ["p"]\nserver = "x"\n[http]\nlisten = "*:443"\ncertificate = "/c"\naddress_header = "X"',
            "everybody",
        ),
        ('names = ["p"]\nserver = "x"\n[http]\nkey = "/k"', "certificate beside it"),
        ('names = ["p"]\nserver = "x"\n[store]\ndirectory = "here"', "absolute"),
        ('names = ["p"]\nserver = "x"\n[session]\nidle = "2d"', "idle"),
        ('names = ["p"]\nserver = "x"\n[oidc]\nissuer = "http://i"\nclient_id = "c"', "https://"),
        ('names = ["p"]\nserver = "x"\n[oidc]\nissuer = "https://i"', "client_id"),
        ('names = ["p"]\nserver = "x"\n[oidc]\nissuer = "https://i"\nclient_id = "c"\nscope = "profile"', "openid"),
        ('names = ["p"]\nserver = "x"\n[oidc]\nissuer = "https://i"\nclient_id = "c"', r"\[own\]"),
        ('names = ["p"]\nserver = "x"\n[kerberos]\nkeytab = "/k"', "realms"),
        ('names = ["p"]\nserver = "x"\nlogn = 1', "unknown key"),
    ],
)
def test_configurations_that_make_no_sense(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, text)
