"""The community's pages of the portal in a real browser, against our `cas-server` and `myproxy-server`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from cas.policy.changes import Enrol
from cas.policy.model import ObjectName, User
from gsi.credential import parse_credential
from gsi.oids import VOMS_AC_SEQUENCE
from gsi.system.trustdir import TrustDirectory
from gsi.trust.verify import verify_chain
from tests.harness.browser import Browser
from tests.harness.ca import Issued
from tests.harness.cas_server import CASServer, cas_server
from tests.harness.daemons import free_port
from tests.harness.kca import authority
from tests.harness.portal import RunningPortal, start_portal
from tests.interop.conftest import Grid
from tests.interop.test_myproxy_server import OPEN, SECRET, Person, Site
from tests.interop.test_portal import check_page

ADMIN = "/O=Grid/CN=Admin"
ALICE = "/O=Grid/CN=Alice"
NAMES = "FTPDirectoryTree"
DATA = "ftp://localhost/data/*"


class Place(NamedTuple):
    cas: CASServer
    portal: RunningPortal


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, grid: Grid) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("site")
    directory.chmod(0o700)
    with contextlib.ExitStack() as stack:
        monitor = f"127.0.0.1:{free_port()}"
        cas = stack.enter_context(cas_server(directory, metrics=monitor))
        own = grid._replace(host=cas.host, trust_dir=cas.trust_dir)
        site = Site(directory, own)
        site.configure(OPEN)
        stack.enter_context(site.start())
        for name, subject in (("admin", ADMIN), ("alice", ALICE)):
            issued: Issued = cas.issued(subject)
            person = Person(site, name, issued)
            person.run("myproxy-init", "-S", "-l", name, stdin=SECRET).check()
        cas.change(
            Enrol(User("alice", ALICE, "ca"), "superUserGroup"),
            Enrol(ObjectName(NAMES, DATA), "superUserGroup"),
        )
        kca_place = directory / "kca"
        kca_place.mkdir(mode=0o700)
        with authority(kca_place, '[realm."TEST.EXAMPLE"]\nbase = "/O=Grid"\n') as kca:
            kca.issue(kca.ticket("Alice"))
        more = f"""
[pages.kca]
config = "{kca_place}/kca.toml"
[pages.cas]
server = "{cas.url}"
title = "Climate"
[admin]
identities = ["{ADMIN}"]
monitors = {{ CAS = "http://{monitor}", MyProxy = "http://127.0.0.1:1" }}
audits = {{ CAS = "{cas.directory}/store/audit.log", Portal = "{directory}/portal-store/audit.log" }}
server_config = "{site.config_path}"
storage = "{site.store}"
"""
        portal = stack.enter_context(
            start_portal(directory, cas.host, cas.trust_dir, server_port=site.port, more=more, workers=1)
        )
        yield Place(cas, portal)


_WITH_A_LONG_NAME = """
    const cells = document.querySelector("section:has(#expiring-title) tbody tr").cells, word = document.createRange();
    cells[0].textContent = "admin";
    cells[1].textContent = "w".repeat(64);
    word.selectNodeContents(cells[0]);
    return word.getClientRects().length;
"""
"""Says on how many lines a user name is."""


def log_on(browser: Browser, place: Place, username: str) -> None:
    browser.driver.delete_all_cookies()
    browser.get(place.portal.url)
    browser.type("username", username)
    browser.type("passphrase", SECRET.strip())
    browser.press("Log on")


def test_an_administrator_tries_and_makes_changes_and_a_member_fetches(browser: Browser, place: Place) -> None:
    log_on(browser, place, "alice")
    browser.press("Climate")
    assert "It knows you as alice" in browser.text
    assert "Nothing yet" in browser.text
    assert "Groups" not in browser.text
    check_page(browser, "cas-nothing")
    browser.press("Why?")
    browser.type("action", "file/read")
    browser.type("namespace", NAMES)
    browser.type("name", "ftp://localhost/data/run1")
    browser.press("Ask")
    assert "Denied" in browser.text
    check_page(browser, "cas-why")
    browser.get(place.portal.url + "/cas/groups")
    assert browser.heading == "The community says no"
    check_page(browser, "cas-refused")

    log_on(browser, place, "admin")
    browser.press("Climate")
    browser.press("Groups")
    check_page(browser, "cas-groups")
    browser.type("group", "readers")
    browser.press("See what this does")
    browser.press("Do it")
    assert "The policy is changed." in browser.text
    browser.press("readers")
    browser.type("member", "alice")
    browser.press("See what this does")
    assert "Nobody gains or loses a right." in browser.text
    browser.press("Do it")
    browser.choose("action", "file/read")
    browser.choose("namespace", NAMES)
    browser.type("name", DATA)
    browser.press("See what this does", form="form:has([name=effect])")
    assert browser.heading == "What this does"
    assert browser.find("td.gain").text == "alice"
    check_page(browser, "cas-trial")
    browser.type("reason", "ticket <b>12</b>")
    browser.press("Do it")
    assert "ticket <b>12</b>" in browser.text
    check_page(browser, "cas-group")
    browser.press("Users")
    check_page(browser, "cas-users")
    browser.press("alice")
    assert f"{NAMES}|{DATA}" in browser.text
    check_page(browser, "cas-user")

    log_on(browser, place, "alice")
    browser.press("Climate")
    assert f"{NAMES}|{DATA}" in browser.text
    check_page(browser, "cas-overview")
    browser.choose("form", "saml2-ac")
    browser.press("Download", leads_away=False)
    proxy = parse_credential(browser.downloaded("x509up_alice.cas.pem"), source="download")
    peer = verify_chain(proxy.certificates, TrustDirectory(str(place.cas.trust_dir)).anchors(), now=proxy.not_before)
    assert peer.identity == ALICE
    assert any(one.find_extension(VOMS_AC_SEQUENCE) for one in proxy.certificates[:1])
    browser.choose("form", "jwt")
    browser.tick("[name=resource]")
    browser.press("Download", leads_away=False)
    assert browser.downloaded("alice.jwt").count(b".") == 2
    browser.press("Activity")
    assert "Capability fetched" in browser.text


def test_what_the_site_s_administrators_see(browser: Browser, place: Place) -> None:
    log_on(browser, place, "admin")
    browser.press("Site")
    assert "CAS\nHealthy" in browser.text
    assert "MyProxy\nFailing" in browser.text
    assert ALICE in browser.find("section:has(#expiring-title)").text
    assert browser.find("rect.good").is_displayed()
    check_page(browser, "site")
    assert browser.driver.execute_script(_WITH_A_LONG_NAME) == 1, "a short word beside a long one stays whole"
    browser.press("Search the audit")
    browser.choose("verdict", "deny")
    browser.press("Search")
    check_page(browser, "site-audit")
    browser.press("Check the chains")
    assert browser.text.count("Whole") == 2
    check_page(browser, "site-chains")
    log_on(browser, place, "alice")
    assert "Site" not in browser.text.split()
    browser.get(place.portal.url + "/site")
    assert "for the site's administrators" in browser.text


def test_own_certificates_of_the_kerberos_authority(browser: Browser, place: Place) -> None:
    log_on(browser, place, "alice")
    browser.press("Certificates")
    assert "Alice@TEST.EXAMPLE" in browser.text
    check_page(browser, "kca-certificates")
    browser.press("Revoke")
    check_page(browser, "kca-revoke")
    browser.tick("[name=sure]")
    browser.press("Revoke")
    assert "it stands on the next revocation list" in browser.text
    assert "Revoked" in browser.text


def test_what_was_tried_for_another_policy_is_shown_again(browser: Browser, place: Place) -> None:
    log_on(browser, place, "admin")
    browser.get(place.portal.url + "/cas/groups")
    browser.type("group", "writers")
    browser.press("See what this does")
    place.cas.change(Enrol(User("bob", "/O=Grid/CN=Bob", "ca"), "superUserGroup"))
    browser.press("Do it")
    assert "Somebody else has changed the policy" in browser.find("[role=alert]").text
    browser.press("Do it")
    assert "writers" in browser.text
