"""Other ways into the portal: a provider of OpenID Connect in the browser, a ticket of a real KDC with curl."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from gsi.errors import RefusedError
from gsi.secret import Passphrase
from gsi.system import clock
from gsi.system.trustdir import TrustDirectory
from myproxy.auth.base import ThrottledError
from myproxy.client import ServerAddress
from myproxy.portal.desk import Desk, identify
from tests.harness import oidc
from tests.harness.browser import Browser
from tests.harness.ca import write_file
from tests.harness.daemons import free_port
from tests.harness.environment import clean_environment
from tests.harness.kdc import REALM, Realm, mit_kdc
from tests.harness.portal import RunningPortal, start_portal
from tests.harness.run import Done, c_program, run
from tests.interop.conftest import ALICE, Grid
from tests.interop.ours import credential_of
from tests.interop.test_myproxy_server import OPEN, Person, Site

HOST = "/O=Grid/CN=localhost"


class Place(NamedTuple):
    portal: RunningPortal
    provider: oidc.Provider
    realm: Realm
    directory: Path
    site: Site


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, grid: Grid) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("site")
    directory.chmod(0o700)
    port = free_port()
    site = Site(directory, grid)
    site.configure(
        OPEN + f'trusted_retrievers "{HOST}"\ndefault_trusted_retrievers "{HOST}"\ntrusted_front_ends "{HOST}"\n'
    )
    write_file(directory / "secret", oidc.CLIENT_SECRET.encode(), 0o600)
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(oidc.oidc_provider(grid.host, f"https://localhost:{port}/logon/oidc/back"))
        kdc = mit_kdc(
            tmp_path_factory.mktemp("kdc"),
            users={"alice": "secret", "bob/admin": "secret"},
            services=["HTTP/localhost"],
        )
        realm = stack.enter_context(kdc)
        stack.enter_context(site.start())
        more = f"""
[logon]
first_time = true
[own]
certificate = "{directory}/portal.pem"
key = "{directory}/portal.key"
front_end = true
[oidc]
issuer = "{provider.issuer}"
client_id = "{oidc.CLIENT}"
client_secret_file = "{directory}/secret"
title = "Log on with Example Login"
[kerberos]
keytab = "{realm.keytab}"
realms = ["{REALM}"]
"""
        portal = stack.enter_context(
            start_portal(
                directory,
                grid.host,
                grid.trust_dir,
                server_port=site.port,
                more=more,
                port=port,
                variables=realm.variables,
            )
        )
        alice = Person(site, "alice", grid.users["rsa2048", "rsa2048"])
        alice.run("myproxy-init", "-n", "-l", "alice").check()
        yield Place(portal, provider, realm, directory, site)


def test_over_a_provider_and_back(browser: Browser, place: Place) -> None:
    browser.driver.delete_all_cookies()
    browser.get(place.portal.url + "/fetch")
    browser.picture("logon-ways")
    assert not browser.defects()
    browser.press("Store your first credential")
    browser.picture("first")
    assert not browser.defects()
    browser.get(place.portal.url + "/fetch")
    browser.press("Log on with Example Login")
    assert browser.heading == "Provider"
    browser.press("Agree")
    assert browser.path == "/fetch"
    browser.press("Credentials")
    assert ALICE in browser.text
    assert "OpenID Connect" in browser.text
    browser.press("Log off")
    place.provider.user = "nobody"
    browser.press("Log on with Example Login")
    browser.press("Agree")
    assert "gives nothing for this account" in browser.find("[role=alert]").text


def test_users_are_strangers_from_where_they_are(place: Place, grid: Grid) -> None:
    """Over the wire: the portal's certificate, which may fetch without a pass phrase, gives its users nothing."""
    Person(place.site, "carol", grid.users["rsa2048", "rsa2048"]).run(
        "myproxy-init", "-S", "-l", "carol", stdin="a secret\n"
    ).check()
    desk = Desk(
        ServerAddress.parse(f"localhost:{place.site.port}"),
        TrustDirectory(str(grid.trust_dir)).anchors,
        clock=clock.now,
        front_end=credential_of(grid.host),
    )

    def log_on(username: str, words: bytes, source: str) -> str:
        return identify(desk.log_on(username, Passphrase(words), lifetime=timedelta(hours=1), source=source)).subject

    for words in (b"anything", b""):
        with pytest.raises(RefusedError):
            log_on("alice", words, "192.0.2.1")
    for _ in range(5):
        with pytest.raises(RefusedError):
            log_on("carol", b"wrong words", "203.0.113.1")
    with pytest.raises(ThrottledError):
        log_on("carol", b"a secret", "203.0.113.2")
    assert log_on("carol", b"a secret", "192.0.2.1") == ALICE


def curl(place: Place, *words: str, env: dict[str, str]) -> Done:
    argv = [c_program("curl"), "-sSk", "-D", "-", "-b", "", "-L", "--negotiate", "-u", ":", *words]
    return run([*argv, f"{place.portal.url}/logon/kerberos"], env=clean_environment(place.directory) | env)


def test_by_a_ticket(place: Place) -> None:
    done = curl(place, env=place.realm.login("alice", "secret")).check()
    assert "Your credentials" in done.stdout
    assert ALICE in done.stdout
    assert "Negotiate " in done.stdout  # the portal has proved itself, too


@pytest.mark.parametrize("who", ["bob/admin", None])
def test_other_tickets_let_nobody_in(place: Place, who: str | None) -> None:
    env = place.realm.variables if who is None else place.realm.login(who, "secret")
    done = curl(place, env=dict(env))
    assert "__Host-session" not in done.stdout
    assert "no Kerberos ticket that is good here" in done.stdout
