"""The portal in a real browser, over TLS, against our `myproxy-server`: every page and flow, looked at by axe."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pyotp
import pytest

from gsi.credential import parse_credential
from gsi.system.trustdir import TrustDirectory
from gsi.trust.verify import verify_chain
from tests.harness.browser import Browser
from tests.harness.ca import write_file
from tests.harness.portal import RunningPortal, start_portal
from tests.harness.run import our_program, run
from tests.interop.conftest import ALICE, Grid
from tests.interop.test_myproxy_server import OPEN, SECRET, Person, Site

PASSPHRASE = SECRET.strip()


class Place(NamedTuple):
    grid: Grid
    site: Site
    portal: RunningPortal
    alice: Person


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
    browser.picture(name, dark=True)
    browser.look(dark=True)
    assert not browser.defects(colours=True)
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


def test_a_file_is_stored_under_another_name_and_renewed(browser: Browser, stored: Place, tmp_path: Path) -> None:
    alice = stored.grid.users["rsa2048", "rsa2048"]
    bundle = tmp_path / "alice.p12"
    bundle.write_bytes(alice.pkcs12(b"file words"))
    log_on(browser, stored, path="/store")
    assert browser.path == "/store"
    browser.type("file", str(bundle))
    browser.type("passphrase", "not these")
    browser.type("new", "quite another one")
    browser.type("again", "quite another one")
    browser.press("Store")
    assert "pass phrase" in browser.find("[role=alert]").text
    check_page(browser, "store")
    for text, what in (("first", "proxy"), ("second", "key")):
        browser.get(stored.portal.url + "/store?name=other")
        browser.type("file", str(bundle))
        browser.type("passphrase", "file words")
        browser.type("description", f"<b>{text}</b> & co")
        browser.tick(f"input[value={what}]")
        browser.type("new", "quite another one")
        browser.type("again", "quite another one")
        browser.press("Store")
        assert "The credential is stored." in browser.text
        assert f"<b>{text}</b> & co" in browser.text
    check_page(browser, "overview-two")
    browser.get(stored.portal.url + "/fetch?name=other")
    browser.choose("hours", "24", "form:has([name=how])")
    browser.type("passphrase", "wrong words here")
    browser.tick("form:has([name=how]) button")
    browser.get(stored.portal.url + "/fetch?name=other")
    browser.choose("hours", "24", "form:has([name=how])")
    browser.type("passphrase", "quite another one")
    browser.tick("form:has([name=how]) button")
    proxy = parse_credential(browser.downloaded("x509up_alice.pem"), source="download")
    assert timedelta(hours=23) < proxy.not_after - datetime.now(UTC) <= timedelta(hours=24)


def test_the_longest_name_fits_on_small_screens(browser: Browser, stored: Place) -> None:
    name = "W" * 64
    stored.alice.put("-k", name).check()
    log_on(browser, stored)
    browser.look(narrow=True)
    try:
        for path in ("/", "/fetch?name=", "/store?name=", "/passphrase?name=", "/destroy?name=", "/activity"):
            browser.get_until(stored.portal.url + path + (name if path.endswith("=") else ""), name)
            assert not browser.overflows(), path
    finally:
        browser.look()
        stored.alice.run("myproxy-destroy", "-l", "alice", "-k", name).check()


def test_files_that_are_too_large_are_refused_in_words(browser: Browser, stored: Place, tmp_path: Path) -> None:
    """By the application, and those that are far too large by the server before it."""
    wrong = tmp_path / "holiday.jpg"
    log_on(browser, stored)
    for size, words in ((300 << 10, "larger than 256 kB"), (3 << 20, "larger than this server takes")):
        wrong.write_bytes(os.urandom(size))
        browser.get(stored.portal.url + "/store")
        browser.type("file", str(wrong))
        browser.type("new", "quite another one")
        browser.type("again", "quite another one")
        browser.press("Store")
        assert words in browser.text, size
        if size < 1 << 20:
            assert browser.heading == "Store or renew a credential", "the form is there again"
            check_page(browser, "store-too-large")
    browser.get(stored.portal.url)
    assert browser.heading == "Your credentials", "the session goes on"


def test_another_pass_phrase_ends_the_other_sessions(browser: Browser, stored: Place) -> None:
    log_on(browser, stored)
    first = browser.driver.get_cookie("__Host-session")
    log_on(browser, stored, path="/passphrase?name=")
    check_page(browser, "passphrase")
    browser.type("old", "not the old one")
    browser.type("new", "new words, new luck")
    browser.type("again", "new words, new luck")
    browser.press("Change")
    assert "invalid" in browser.find("[role=alert]").text.lower()
    browser.type("old", PASSPHRASE)
    browser.type("new", "new words, new luck")
    browser.type("again", "new words, new luck")
    browser.press("Change")
    assert "The pass phrase is changed." in browser.text
    stored.alice.logon(stdin="new words, new luck\n").check()
    browser.driver.delete_all_cookies()
    assert first is not None
    browser.driver.add_cookie({name: first[name] for name in ("name", "value", "path", "secure", "httpOnly")})
    browser.get(stored.portal.url + "/")
    assert browser.heading == "Log on"


def test_destroy_and_nothing_is_left(browser: Browser, stored: Place) -> None:
    log_on(browser, stored)
    browser.press("Destroy")
    check_page(browser, "destroy")
    browser.tick("[name=sure]")
    browser.press("Destroy")
    assert "Nothing is stored" in browser.text
    check_page(browser, "overview-empty")
    assert stored.alice.logon().returncode
    browser.press("Activity")
    assert "Credential destroyed" in browser.text
    check_page(browser, "activity")


def test_a_terminal_gets_a_proxy_that_is_confirmed_in_the_browser(browser: Browser, stored: Place) -> None:
    out = stored.alice.environment.home / "from-portal.pem"
    log_on(browser, stored)
    browser.press("Terminal")
    check_page(browser, "terminal")
    with terminal(stored, out) as (process, code, key):
        browser.type("code", code.lower().replace("-", " "))
        browser.press("Go on")
        assert key in browser.text
        check_page(browser, "terminal-confirm")
        browser.choose("hours", "1")
        browser.press("Yes, give it the proxy")
        assert "The terminal has its proxy." in browser.text
        assert process.wait(30) == 0
    told = stored.alice.environment.theirs("grid-proxy-info", "-file", out, "-all").check().stdout
    assert f"identity : {ALICE}" in told
    assert "timeleft : 0:59" in told or "timeleft : 1:00" in told
    browser.get(f"{stored.portal.url}/terminal?code={code}")
    assert "no terminal that waits" in browser.text
    with terminal(stored, out) as (process, code, _key):
        browser.get(f"{stored.portal.url}/terminal?code={code}")
        browser.press("No")
        assert process.wait(30) == 1
    with terminal(stored, out) as (process, code, _key):
        log_on(browser, stored, path=f"/terminal?code={code}")
        assert browser.path == f"/terminal?code={code}"


@contextlib.contextmanager
def terminal(place: Place, out: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A terminal that waits for the browser, with its code and key."""
    process = subprocess.Popen(
        [our_program("myproxy-logon"), "--portal", place.portal.url, "-o", str(out)],
        env=place.alice.environment.variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process:
        try:
            seen = ""
            while "the key" not in seen:
                line = process.stderr.readline()
                assert line, seen
                seen += line
            code, key = re.search(r"code=(\S+)", seen), re.search(r"the key  (.+)", seen)
            assert code is not None
            assert key is not None
            yield process, code[1], key[1]
        finally:
            process.kill()


def test_the_second_factor_and_a_new_authenticator(browser: Browser, grid: Grid, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    site = Site(tmp_path, grid)
    write_file(tmp_path / "otp.key", os.urandom(32).hex().encode(), 0o600)
    site.configure(OPEN + f'otp "required"\notp_key_file {tmp_path}/otp.key\notp_window 2\n')
    more = f"""
[logon]
one_time_codes = "required"
[codes]
server_config = "{site.config_path}"
storage = "{site.store}"
issuer = "Example Grid"
"""
    with site.start(), start_portal(tmp_path, grid.host, grid.trust_dir, server_port=site.port, more=more) as portal:
        place = Place(grid, site, portal, Person(site, "alice", grid.users["rsa2048", "rsa2048"]))
        place.alice.put().check()
        arguments: list[str | Path] = [
            our_program("myproxy-admin-otp"),
            "-c",
            site.config_path,
            "-s",
            site.store,
            "-l",
            "alice",
            "-q",
        ]
        former = pyotp.parse_uri(run(arguments, env=site.environment).check().stdout.strip())
        step = int(time.time()) // 30
        assert isinstance(former, pyotp.TOTP)
        for code, lets_in in (("000000", False), (former.generate_otp(step - 1), True)):
            browser.driver.delete_all_cookies()
            browser.get(portal.url + "/codes")
            browser.type("username", "alice")
            browser.type("passphrase", PASSPHRASE)
            browser.type("code", code)
            browser.press("Log on")
            assert (browser.heading == "Set up an authenticator") is lets_in
        check_page(browser, "codes")
        fresh = pyotp.TOTP(browser.find(".break code").text.replace(" ", ""))
        # A wrong code, or the present one again: the secret stays the same on the page, and the old one in force.
        for new_code, code in (("000000", former.generate_otp(step)), (fresh.now(), former.generate_otp(step - 1))):
            browser.type("new_code", new_code)
            browser.type("passphrase", PASSPHRASE)
            browser.type("code", code)
            browser.press("Set up")
            assert "is not right" in browser.find("[role=alert]").text
        assert fresh.secret == browser.find(".break code").text.replace(" ", "")
        browser.type("new_code", fresh.now())
        browser.type("passphrase", PASSPHRASE)
        browser.type("code", former.generate_otp(step))
        browser.press("Set up")
        assert "Your authenticator is set up." in browser.text
        for totp, lets_in in ((former, False), (fresh, True)):
            browser.driver.delete_all_cookies()
            browser.get(portal.url)
            browser.type("username", "alice")
            browser.type("passphrase", PASSPHRASE)
            browser.type("code", totp.generate_otp(int(time.time()) // 30 + 1))  # later than the one it was set up with
            browser.press("Log on")
            assert (browser.heading == "Your credentials") is lets_in
