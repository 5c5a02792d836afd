"""Another web application, the guide's, gets its user's proxies by way of the portal: in a real browser, over TLS."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from authlib.integrations.requests_client import OAuth2Session
from flask import Flask
from werkzeug.serving import make_server

from gsi.errors import ConfigError
from gsi.proxy.chain import ProxyChain
from gsi.secret import Passphrase
from gsi.system.trustdir import TrustDirectory
from myproxy.gateway import Grant, LogOnAgainError, Server
from myproxy.portal.registered import register
from tests.harness.browser import Browser
from tests.harness.ca import Issued
from tests.harness.daemons import free_port
from tests.harness.howto import run_block
from tests.harness.portal import start_portal
from tests.harness.requests import openssl_request
from tests.harness.run import run
from tests.interop.conftest import ALICE, Grid
from tests.interop.test_myproxy_server import OPEN, SECRET, Person, Site
from tests.interop.test_portal import Place, check_page

HOST = "/O=Grid/CN=localhost"


@contextlib.contextmanager
def serve(app: Flask, host: Issued, directory: Path, port: int) -> Iterator[None]:
    """The application over TLS."""
    host.write(directory / "gateway.pem", directory / "gateway.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "gateway.pem", directory / "gateway.key")
    server = make_server("127.0.0.1", port, app, ssl_context=context, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_guide_s_application(browser: Browser, grid: Grid, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    site, port = Site(tmp_path, grid), free_port()
    site.configure(OPEN + f'trusted_retrievers "{HOST}"\ndefault_trusted_retrievers "{HOST}"\n')
    gateway = f"https://localhost:{port}"
    table, secret = register("gateway", f"{gateway}/grid/back")
    with (
        site.start(),
        start_portal(tmp_path, grid.host, grid.trust_dir, server_port=site.port, more=table) as portal,
    ):
        place = Place(grid, site, portal, Person(site, "alice", grid.users["rsa2048", "rsa2048"]))
        place.alice.put().check()
        settings = {
            "secret_key": "the application's own",
            "portal": portal.url,
            "client_id": "gateway",
            "client_secret": secret,
            "redirect": f"{gateway}/grid/back",
            "trust_dir": str(grid.trust_dir),
            "proxies": str(tmp_path / "proxies"),
        }
        app = run_block("portal-author.md", "flask")["create_app"](settings)
        with serve(app, grid.host, tmp_path, port):
            browser.driver.delete_all_cookies()
            browser.get(gateway)
            assert browser.heading == "Log on"
            browser.type("username", "alice")
            browser.type("passphrase", SECRET.strip())
            browser.press("Log on")
            assert browser.heading == "Allow gateway?"
            check_page(browser, "authorize")
            browser.press("Allow")
            assert browser.driver.current_url == f"{gateway}/"
            assert browser.text.startswith(f"{ALICE} until ")
            (kept,) = (tmp_path / "proxies").iterdir()
            assert b"PRIVATE" not in kept.read_bytes()
            browser.get(portal.url + "/applications")
            check_page(browser, "applications")
            browser.press("End")
            assert "The application gets no more proxies." in browser.text
        talk_without_the_library(browser, place, settings, tmp_path)
        ask_the_server(place, tmp_path)


def talk_without_the_library(browser: Browser, place: Place, settings: dict[str, str], directory: Path) -> None:
    """Authlib and curl do as well; the C program reads what comes."""
    documents = place.portal.url + "/.well-known/oauth-authorization-server"
    ca = directory / "ca.pem"
    ca.write_bytes(b"".join(one.read_bytes() for one in place.grid.trust_dir.glob("*.0")))
    env = place.alice.environment.variables
    curl: list[str | Path] = ["curl", "-sS", "--cacert", str(ca)]
    told = json.loads(run([*curl, documents], env=env).check().stdout)
    client = OAuth2Session(
        settings["client_id"],
        settings["client_secret"],
        redirect_uri=settings["redirect"],
        code_challenge_method="S256",
    )
    verifier = "v" * 50
    url, _state = client.create_authorization_url(told["authorization_endpoint"], code_verifier=verifier)
    browser.get(url)
    browser.press("Allow")  # the application is gone: the browser shows its own error
    token = client.fetch_token(
        told["token_endpoint"],
        authorization_response=browser.driver.current_url,
        code_verifier=verifier,
        verify=str(ca),
    )
    assert token["subject"] == ALICE
    (key, wanted), chain = openssl_request(directory), directory / "chain.pem"
    ask: list[str | Path] = [
        *curl,
        "-u",
        f"gateway:{settings['client_secret']}",
        "--data-urlencode",
        f"access_token={token['access_token']}",
        "--data-urlencode",
        f"certreq@{wanted}",
        f"{place.portal.url}/api/v1/getcert",
    ]
    chain.write_text(run(ask, env=env).check().stdout)
    certificates = chain.read_bytes().partition(b"\n")[2]
    head, _, rest = certificates.partition(b"-----END CERTIFICATE-----\n")
    proxy = directory / "proxy.pem"
    proxy.write_bytes(head + b"-----END CERTIFICATE-----\n" + key.read_bytes() + rest)
    proxy.chmod(0o600)
    info = place.alice.environment.theirs("grid-proxy-info", "-file", proxy, "-all").check().stdout
    assert f"identity : {ALICE}" in info
    assert "limited" in info


def ask_the_server(place: Place, directory: Path) -> None:
    """As a trusted retriever, which the guide has, and by a pass phrase."""
    place.alice.run("myproxy-init", "-n", "-l", "automatic").check()
    names = run_block("portal-author.md", "retriever")
    settings = {
        "certificate": str(directory / "gateway.pem"),
        "key": str(directory / "gateway.key"),
        "trust_dir": str(place.grid.trust_dir),
        "server": f"localhost:{place.site.port}",
        "proxies": str(directory / "others"),
    }
    wallet, session = names["make_wallet"](settings), dict[str, str]()
    proxy = names["proxy_of"](wallet, session, "automatic")
    assert ProxyChain.split(proxy.certificates).identity_text == ALICE
    assert names["proxy_of"](wallet, session, "automatic").certificates == proxy.certificates
    with pytest.raises(LogOnAgainError):
        names["proxy_of"](wallet, {}, "alice")  # under a pass phrase
    server = Server(settings["server"], anchors=TrustDirectory(settings["trust_dir"]).anchors)
    typed = server.log_on("alice", Passphrase(SECRET.strip().encode()), lifetime=timedelta(hours=1))
    assert ProxyChain.split(typed.certificates).identity_text == ALICE
    with pytest.raises(LogOnAgainError):
        server.log_on("alice", Passphrase(b"not this one"))
    with pytest.raises(ConfigError):
        server.issue(Grant("automatic"))
