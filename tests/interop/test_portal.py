"""The portal in a real browser, over TLS, against our `myproxy-server`: every page and flow, looked at by axe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from gsi.credential import parse_credential
from gsi.system.trustdir import TrustDirectory
from gsi.trust.verify import verify_chain
from tests.harness.browser import Browser, open_browser
from tests.harness.portal import RunningPortal, start_portal
from tests.interop.conftest import ALICE, Grid
from tests.interop.test_myproxy_server import OPEN, SECRET, Person, Site

PASSPHRASE = SECRET.strip()


class Place(NamedTuple):
    grid: Grid
    site: Site
    portal: RunningPortal
    alice: Person


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, grid: Grid) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("site")
    directory.chmod(0o700)
    site = Site(directory, grid)
    site.configure(OPEN + 'authorized_key_retrievers "*"\n')
    with contextlib.ExitStack() as stack:
        stack.enter_context(site.start())
        portal = stack.enter_context(start_portal(directory, grid.host, grid.trust_dir, server_port=site.port))
        yield Place(grid, site, portal, Person(site, "alice", grid.users["rsa2048", "rsa2048"]))


@pytest.fixture
def stored(place: Place) -> Iterator[Place]:
    """Alice has a credential at the server, and nothing else."""
    place.alice.put().check()
    yield place
    for name in ("", "other"):
        place.alice.run("myproxy-destroy", "-l", "alice", *(["-k", name] if name else []))


def log_on(browser: Browser, place: Place, passphrase: str = PASSPHRASE, *, path: str = "/") -> None:
    browser.driver.delete_all_cookies()
    browser.get(place.portal.url + path)
    browser.type("username", "alice")
    browser.type("passphrase", passphrase)
    browser.press("Log on")


def check_page(browser: Browser, name: str) -> None:
    """Keep pictures of the page, and insist that nothing is wrong with it, on any screen."""
    browser.picture(name)
    browser.picture(name, narrow=True)
    assert not browser.defects()
    browser.look(dark=True)
    assert not browser.defects()
    browser.picture(name, dark=True)
    browser.look(narrow=True)
    assert not browser.overflows()
    browser.look()
    complaints = [one for one in browser.complaints() if "status of 4" not in one]
    assert not complaints


def test_log_on_look_fetch_log_off(browser: Browser, stored: Place) -> None:
    browser.driver.delete_all_cookies()
    browser.get(stored.portal.url)
    assert browser.heading == "Log on"
    check_page(browser, "logon")
    browser.type("username", "alice")
    browser.type("passphrase", "not this one")
    browser.press("Log on")
    assert "is not right" in browser.find("[role=alert]").text
    check_page(browser, "logon-wrong")
    browser.type("passphrase", PASSPHRASE)
    browser.press("Log on")
    assert browser.heading == "Your credentials"
    assert ALICE in browser.text
    assert "/O=Grid/CN=Test CA rsa2048" in browser.text
    assert "6 days 23 hours left" in browser.text
    check_page(browser, "overview")
    browser.press("Fetch a proxy")
    check_page(browser, "fetch")
    browser.choose("hours", "4")
    browser.press("Download", leads_away=False)
    proxy = parse_credential(browser.downloaded("x509up_alice.pem"), source="download")
    now = datetime.now(UTC)
    anchors = TrustDirectory(str(stored.grid.trust_dir)).anchors()
    assert verify_chain(proxy.certificates, anchors, now=now).identity == ALICE
    assert timedelta(hours=3, minutes=58) < proxy.not_after - now <= timedelta(hours=4)
    browser.press("Log off")
    assert "You are logged off." in browser.text
    browser.get(stored.portal.url + "/fetch")
    assert browser.heading == "Log on"
