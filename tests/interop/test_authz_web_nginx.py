"""The nginx of docs/howto/authz-web.md with a real nginx and the real endpoint: who gets through, and who does not."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from gsi.authz.web.chain_headers import encode_client_cert_chain
from tests.harness.ca import FULL_INFO, LIMITED_INFO, Issued, TestCA, write_trust_dir
from tests.harness.crowds import crowd
from tests.harness.daemons import Daemon, free_port, running
from tests.harness.environment import clean_environment
from tests.harness.nginx import WebAnswer, ask, client_context, nginx
from tests.harness.run import our_program, run

PAGE = (Path(__file__).resolve().parents[2] / "docs/howto/authz-web.md").read_text("utf-8")
SERVER = re.findall(r"```nginx\n(.*?)```", PAGE, re.DOTALL)[0]
ALICE = "/O=Grid/OU=Test/CN=Alice"
RULES = f"""\
permit anyone                to http:read, http:lookup on /public/**
permit dn "{ALICE}"          to http:read, http:write on /data/alice/**
permit dn "{ALICE}"          to http:read on /jobs/** proxy none, full
permit dn "{ALICE}"          to http:read on /mapped/** as grid001
permit authenticated         to http:read on /data/shared/**
deny   anyone                to http:* on /data/shared/secret/**
"""


class Site(NamedTuple):
    """nginx, the endpoint behind it, and who asks."""

    port: int
    directory: Path
    alice: Issued
    bob: Issued
    ca: TestCA

    def context(self, issued: Issued | None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A client's TLS with this credential."""
        if issued is None:
            return client_context(None, version=version)
        bundle = self.directory / "bundle.pem"
        bundle.unlink(missing_ok=True)
        issued.write_bundle(bundle)
        return client_context(bundle, version=version)

    def ask(
        self,
        issued: Issued | None,
        target: str = "/data/alice/f",
        *headers: str,
        method: str = "GET",
        version: ssl.TLSVersion | None = None,
        body: bytes = b"",
    ) -> WebAnswer:
        """One request."""
        return ask(self.port, method, target, context=self.context(issued, version), headers=headers, body=body)


def chain_header(issued: Issued) -> str:
    """What a client says of the certificates above its leaf."""
    return f"Client-Cert-Chain: {encode_client_cert_chain(tuple(issued.chain_der[1:]))}"


@contextlib.contextmanager
def endpoint(directory: Path, trust_dir: Path, config: str = "", rules: str = RULES) -> Iterator[Path]:
    """The endpoint on a Unix socket."""
    socket_directory = directory / "run"
    socket_directory.mkdir(exist_ok=True)
    path = socket_directory / "http"
    (directory / "web.rules").write_text(rules)
    (directory / "web.toml").write_text(
        'order = ["rules"]\nrecord = "web.jsonl"\n[authorizer.rules]\ntype = "rules"\nfile = "web.rules"\n'
    )
    (directory / "endpoint.toml").write_text(
        f'{config}\n[server]\nlisten = "{path}"\nworkers = 1\nthreads = 4\naudit = "{directory}/audit.log"\n'
    )
    env = clean_environment(directory) | {
        "X509_CERT_DIR": str(trust_dir),
        "GSI_AUTHZ_POLICY_DIR": str(directory),
    }
    argv: list[str | Path] = [our_program("gsi-authz-http"), "-c", directory / "endpoint.toml", "-v"]
    inner = directory / "endpoint"
    inner.mkdir(exist_ok=True)
    with running(argv, env=env, port=None, directory=inner, unix=path):
        yield path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Everything as the page says."""
    directory = Path(tempfile.mkdtemp(prefix="gsi-web-"))
    try:
        ca = TestCA("/O=Grid/CN=Web CA")
        trust_dir = write_trust_dir(directory / "certificates", ca, crl=True)
        host = ca.issue_host()
        host.write(directory / "hostcert.pem", directory / "hostkey.pem")
        www = directory / "www"
        for name in ("public/f", "data/alice/f", "data/shared/f", "data/shared/secret/f", "jobs/f", "mapped/f"):
            (www / name).parent.mkdir(parents=True, exist_ok=True)
            (www / name).write_text(f"content of {name}\n")
        text = (
            SERVER.replace("/etc/grid-security/hostcert.pem", str(directory / "hostcert.pem"))
            .replace("/etc/grid-security/hostkey.pem", str(directory / "hostkey.pem"))
            .replace("/srv/www", str(www))
        )
        with endpoint(directory, trust_dir, "[requests]\naccounts = true") as path:
            text = text.replace("/run/gsi-authz/http", str(path))
            with nginx(text, directory) as port:
                yield Site(port, directory, ca.issue(ALICE), ca.issue("/O=Grid/OU=Test/CN=Bob"), ca)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


# --- who gets through -------------------------------------------------------------------------------------------------


def test_an_end_entity(site: Site) -> None:
    answer = site.ask(site.alice)
    assert (answer.status, answer.body) == (200, "content of data/alice/f\n")
    refused = site.ask(site.bob)
    assert refused.status == 403
    assert re.fullmatch(r"you are not authorized to do this \(decision [0-9a-f]{24}\)\n", refused.body)
    assert site.ask(site.bob, "/data/shared/f").status == 200


def test_a_stranger(site: Site) -> None:
    assert site.ask(None, "/public/f").body == "content of public/f\n"
    refused = site.ask(None)
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("ClientCertificate ")
    assert refused.body.startswith("a client certificate is needed for this (decision ")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_proxies_need_the_rest_of_their_chain(site: Site, version: ssl.TLSVersion) -> None:
    proxy = site.alice.proxy(info=FULL_INFO)
    alone = site.ask(proxy, version=version)
    assert alone.status == 401
    assert "refused: no-end-entity" in alone.body
    whole = site.ask(proxy, "/data/alice/f?query", chain_header(proxy), version=version)
    assert (whole.status, whole.body) == (200, "content of data/alice/f\n")
    deeper = proxy.proxy(info=FULL_INFO)
    assert site.ask(deeper, "/data/alice/f", chain_header(deeper), version=version).status == 200


def test_limited_proxies_are_known_as_such(site: Site) -> None:
    full, limited = site.alice.proxy(info=FULL_INFO), site.alice.proxy(info=LIMITED_INFO)
    assert site.ask(full, "/jobs/f", chain_header(full)).status == 200
    assert site.ask(limited, "/jobs/f", chain_header(limited)).status == 403
    assert site.ask(limited, "/data/alice/f", chain_header(limited)).status == 200


def test_a_revoked_certificate(site: Site) -> None:
    """Its CA's list says so; nginx does not look, the endpoint does, and notices the new list."""
    eve = site.ca.issue("/O=Grid/OU=Test/CN=Eve")
    assert site.ask(eve, "/data/shared/f").status == 200
    write_trust_dir(site.directory / "certificates", site.ca, crl=site.ca.crl([eve]))
    for _ in range(200):
        refused = site.ask(eve, "/data/shared/f")
        if refused.status != 200:
            break
    assert refused.status == 401
    assert "the client certificate is refused: revoked" in refused.body
    assert site.ask(site.alice).status == 200


def test_the_name_of_another_ca(site: Site) -> None:
    for other in (TestCA("/O=Grid/CN=Unknown CA"), TestCA(site.ca.name)):
        refused = site.ask(other.issue(ALICE))
        assert refused.status == 401
        assert "the client certificate is refused: " in refused.body


def test_an_expired_certificate(site: Site) -> None:
    expired = site.ca.issue(ALICE, not_after=datetime.now(UTC) - timedelta(hours=1))
    refused = site.ask(expired)
    assert refused.status == 401
    assert "refused: expired" in refused.body


def test_bodies_and_methods(site: Site) -> None:
    assert site.ask(site.alice, method="POST", body=b"x" * 1000).status == 405  # permitted; nginx serves files only
    assert site.ask(site.bob, method="POST", body=b"x" * 1000).status == 403
    assert site.ask(site.alice, method="DELETE").status == 403
    assert site.ask(site.alice, "/data/alice/f", "Destination: /x", method="MOVE").status == 403
    assert site.ask(site.alice, method="HEAD").status == 200
    proxy = site.alice.proxy(info=FULL_INFO)
    assert site.ask(proxy, "/data/alice/f", chain_header(proxy), method="POST", body=b"x" * 1000).status == 405


def test_the_account_and_the_record(site: Site) -> None:
    assert site.ask(site.alice, "/mapped/f").status == 200
    refused = site.ask(site.bob)
    found = re.search(r"decision ([0-9a-f]{24})", refused.body)
    assert found is not None
    record = (site.directory / "web.jsonl").read_text()
    assert found[1] in record
    explained = run(
        [our_program("gsi-authz"), "explain", found[1], "-policy", site.directory / "web.toml"],
        env=clean_environment(site.directory),
    ).check()
    assert "CN=Bob" in explained.stdout
    audit = (site.directory / "audit.log").read_text()
    assert found[1] in audit
    assert '"account":"grid001"' in audit


def test_refusals_before_the_policy_have_a_record(site: Site) -> None:
    """What was asked and from where, and who it was or seemed to be."""
    elsewhere = TestCA("/O=Grid/CN=Unknown CA").issue(ALICE)
    for issued, target, method, peer, words in (
        (elsewhere, "/data/alice/f", "GET", "<unverified>", f"they show {ALICE}"),
        (site.bob, "/data/alice/f", "MOVE", "/O=Grid/OU=Test/CN=Bob", "no action is mapped to the method 'MOVE'"),
        (site.bob, "/data/x/../alice/f", "GET", "/O=Grid/OU=Test/CN=Bob", "'..'"),
    ):
        refused = site.ask(issued, target, method=method)
        found = re.search(r"decision ([0-9a-f]{24})", refused.body)
        assert found is not None, refused
        lines = map(json.loads, (site.directory / "audit.log").read_text().splitlines())
        (line,) = [each for each in lines if each["id"] == found[1]]
        assert (line["verdict"], line["peer"], line["resource"]) == ("deny", peer, target)
        assert line["address"] == "127.0.0.1"
        assert words in line["reason"]
        explained = run(
            [our_program("gsi-authz"), "explain", found[1], "-policy", site.directory / "web.toml"],
            env=clean_environment(site.directory),
        ).check()
        assert words in explained.stdout
        assert target in explained.stdout


# --- who does not -----------------------------------------------------------------------------------------------------


def spoofs(alice: Issued) -> dict[str, list[str]]:
    escaped = quote(alice.pem.decode(), safe="")
    huge = "A" * 7000
    return {
        "escaped": [f"X-SSL-Client-Cert: {escaped}"],
        "twice": [f"X-SSL-Client-Cert: {escaped}", f"X-SSL-Client-Cert: {escaped}"],
        "underscores": [f"X_SSL_Client_Cert: {escaped}", f"X_SSL-Client_Cert: {escaped}"],
        "case": [f"x-ssl-client-cert: {escaped}", f"X-SSL-CLIENT-CERT: {escaped}"],
        "blank": [f"X-SSL-Client-Cert : {escaped}"],
        "folded": ["X-Any: x", f" X-SSL-Client-Cert: {escaped}"],
        "folded value": ["X-SSL-Client-Cert:", f" {escaped}"],
        "carriage return": [f"X-Any: x\rX-SSL-Client-Cert: {escaped}"],
        "path": ["X-Original-URI: /public/f", "X-Original-Method: GET", "X-Original-URI: /public/f"],
        "override": ["X-HTTP-Method-Override: GET", "X-Original-Url: /public/f", "X-Rewrite-Url: /public/f"],
        "account": ["X-Authz-Account: alice", "X-Authz-Identity: alice", "Remote-User: alice"],
        "chain": [chain_header(alice), f"Client-Cert: :{'A' * 40}:"],
        "huge": [f"X-SSL-Client-Cert: {huge}", f"X-SSL-Client-Cert: {huge}"],
        "huger": [f"X-SSL-Client-Cert: {huge}{huge}"],
        "many": [f"X-{number}: {escaped}" for number in range(30)],
        "transfer": ["Transfer-Encoding: chunked", "Content-Length: 0"],
    }


@pytest.mark.parametrize("name", list(spoofs(TestCA("/O=Grid/CN=Names").issue(ALICE, "p256"))))
@pytest.mark.parametrize("who", ["nobody", "bob"])
def test_what_a_client_says_itself_counts_for_nothing(site: Site, name: str, who: str) -> None:
    answer = site.ask(site.bob if who == "bob" else None, "/data/alice/f", *spoofs(site.alice)[name])
    assert answer.status in {400, 401 if who == "nobody" else 403}, answer
    assert "content of" not in answer.body


def test_another_users_chain_does_not_change_the_leaf(site: Site) -> None:
    """Neither as a whole, nor under a leaf of the client's own making."""
    proxy = site.bob.proxy(info=FULL_INFO)
    own = encode_client_cert_chain((site.alice.der,))
    both = encode_client_cert_chain((site.alice.der, site.bob.der))
    first = site.ask(proxy, "/data/alice/f", f"Client-Cert-Chain: {own}")
    assert first.status == 401
    second = site.ask(proxy, "/data/alice/f", f"Client-Cert-Chain: {both}")
    assert second.status in {401, 403}
    forged = TestCA("/O=Grid/OU=Test", key=site.bob.key).issue(ALICE)
    assert site.ask(forged, "/data/alice/f", f"Client-Cert-Chain: {own}").status == 401


@pytest.mark.parametrize("value", ["x", ":", ":A:, ", "%", ":AAAA:", "-----BEGIN CERTIFICATE-----", ":" + "A" * 6000])
def test_nonsense_in_the_chain_refuses(site: Site, value: str) -> None:
    answer = site.ask(site.alice, "/data/alice/f", f"Client-Cert-Chain: {value}")
    assert answer.status == 403
    assert answer.body.startswith("the request cannot be understood (decision ")


PATHS = [
    "//data/alice/f",
    "/data//alice///f",
    "/./data/alice/f",
    "/data/alice/../alice/f",
    "/public/../data/alice/f",
    "/public/%2e%2e/data/alice/f",
    "/public/..%2fdata/alice/f",
    "/public/..;/data/alice/f",
    "/public/%252e%252e/data/alice/f",
    "/public/..%5cdata/alice/f",
    "/public\\..\\data/alice/f",
    "/public/%ef%bc%8e%ef%bc%8e/data/alice/f",
    "/%64ata/alice/f",
    "/%2564ata/alice/f",
    "/data/alice/f%00",
    "/data/alice/f%0d%0aX-Original-URI:%20/public/f",
    "/data/alice/f#/../../public/f",
    "/data/alice/f?/../../../public/f",
    "/data/alice/f/",
    "http://localhost/data/alice/f",
    "http://localhost/public/f/../../data/alice/f",
    "/data/shared/secret/f",
    "/data/shared/%73ecret/f",
    "/data/shared//secret/f",
    "/data/shared/x/../secret/f",
    "/data/shared/secret;x/f",
    "/data/shared/%ff/../secret/f",
    "/" + "a/" * 3000,
]


@pytest.mark.parametrize("target", PATHS, ids=lambda target: target[:40])
def test_no_spelling_of_a_path_gets_around_a_rule(site: Site, target: str) -> None:
    """Bob may read what is public and shared; the contents that he must not see are what nginx would serve."""
    answer = site.ask(site.bob, target)
    assert answer.status in {400, 403, 404, 414}, answer
    assert "content of" not in answer.body


def test_harmless_spellings_are_permitted(site: Site) -> None:
    for target in ("//data/alice/f", "/data/./alice/f", "/%64ata/alice/f", "/data/alice/f?a=%2e%2e/b"):
        assert site.ask(site.alice, target).body == "content of data/alice/f\n", target
    assert site.ask(site.alice, "/data/bob/../alice/f").status == 403


def test_without_the_endpoint_nothing_is_served(site: Site, tmp_path: Path) -> None:
    text = (
        SERVER.replace("/etc/grid-security/hostcert.pem", str(site.directory / "hostcert.pem"))
        .replace("/etc/grid-security/hostkey.pem", str(site.directory / "hostkey.pem"))
        .replace("/srv/www", str(site.directory / "www"))
        .replace("/run/gsi-authz/http", str(tmp_path / "nobody"))
    )
    with nginx(text, tmp_path) as port:
        for target in ("/public/f", "/data/alice/f"):
            answer = ask(port, "GET", target, context=site.context(site.alice))
            assert answer.status == 500
            assert "content of" not in answer.body


def test_a_front_end_that_passes_headers_on_is_refused(site: Site, tmp_path: Path) -> None:
    """With the lines forgotten by which nginx says the path, the client would."""
    text = (
        SERVER.replace("/etc/grid-security/hostcert.pem", str(site.directory / "hostcert.pem"))
        .replace("/etc/grid-security/hostkey.pem", str(site.directory / "hostkey.pem"))
        .replace("/srv/www", str(site.directory / "www"))
        .replace("/run/gsi-authz/http", str(site.directory / "run/http"))
    )
    passing = text.replace("proxy_pass_request_headers off;", "")
    with nginx(passing, tmp_path) as port:
        assert ask(port, "GET", "/public/f", headers=["X-Any: x"], context=site.context(site.alice)).status == 403
    mute = re.sub(r"proxy_set_header X-Original-URI .*", "", text)
    with nginx(mute, tmp_path) as port:
        forged = ask(port, "GET", "/data/alice/f", headers=["X-Original-URI: /public/f"], context=site.context(None))
        assert forged.status == 403
    careless = re.sub(r"proxy_set_header X-Original-URI .*", "", passing)
    with nginx(careless, tmp_path) as port:
        forged = ask(
            port, "GET", "/data/alice/f", headers=["X-Original-URI: /public/f", "User-Agent: x"],
            context=site.context(None),
        )  # fmt: skip
        assert forged.status == 403


def test_slow_requests_are_nginxs_and_end(site: Site) -> None:
    """Half a request, and a connection that is gone, leave the endpoint at work for others."""
    for part in (b"GET /data/alice/f HT", b"GET /data/alice/f HTTP/1.1\r\nHost: localhost\r\nX-"):
        with (
            socket.create_connection(("127.0.0.1", site.port), timeout=10) as plain,
            site.context(site.alice).wrap_socket(plain) as stream,
        ):
            stream.sendall(part)
            assert site.ask(site.alice).status == 200


# --- without nginx: whom it does not wait for, and reloads ------------------------------------------------------------

SECRET = "0123456789abcdef0123456789abcdef"


@contextlib.contextmanager
def on_a_port(site: Site, directory: Path) -> Iterator[tuple[int, Daemon]]:
    """The endpoint on a port, with a secret."""
    (directory / "web.rules").write_text("permit anyone to http:read on /public/**\n")
    (directory / "web.toml").write_text('order = ["rules"]\n[authorizer.rules]\ntype = "rules"\nfile = "web.rules"\n')
    (directory / "secret").touch(mode=0o600)
    (directory / "secret").write_text(SECRET)
    port = free_port()
    (directory / "endpoint.toml").write_text(
        f'[server]\nlisten = "127.0.0.1:{port}"\nworkers = 1\nthreads = 4\n'
        f'[front_end]\nsecret_file = "{directory}/secret"\n'
    )
    env = clean_environment(directory) | {
        "X509_CERT_DIR": str(site.directory / "certificates"),
        "GSI_AUTHZ_POLICY_DIR": str(directory),
    }
    argv: list[str | Path] = [our_program("gsi-authz-http"), "-c", directory / "endpoint.toml"]
    inner = directory / "inner"
    inner.mkdir()
    with running(argv, env=env, port=port, directory=inner) as daemon:
        yield port, daemon


def question(port: int, target: str) -> int:
    headers = ["X-Original-Method: GET", f"X-Original-URI: {target}", f"X-Front-End-Secret: {SECRET}"]
    return ask(port, "GET", "/", headers=headers).status


def test_a_crowd_that_says_nothing_and_half_a_configuration(site: Site, tmp_path: Path) -> None:
    def until(is_so: Callable[[], bool], daemon: Daemon) -> None:
        limit = time.monotonic() + 30
        while not is_so():
            assert time.monotonic() < limit, daemon.log()
            time.sleep(0.05)

    with on_a_port(site, tmp_path) as (port, daemon):
        with crowd(port):
            assert question(port, "/public/f") == 200
            assert question(port, "/data/f") == 401
        assert ask(port, "GET", "/health").body == "ok\n"
        for name in ("web.rules", "endpoint.toml"):
            good = (tmp_path / name).read_text()
            (tmp_path / name).write_text(good + "half a")
            os.kill(daemon.pid, signal.SIGHUP)
            until(lambda: "an older configuration" in ask(port, "GET", "/health").body, daemon)
            assert "reload_refused_timestamp_seconds 0.000" not in ask(port, "GET", "/metrics").body
            (tmp_path / name).write_text(good)
            os.kill(daemon.pid, signal.SIGHUP)
            until(lambda: "reload_refused_timestamp_seconds 0.000" in ask(port, "GET", "/metrics").body, daemon)
            assert question(port, "/public/f") == 200
        headers = ["X-Original-Method: GET", "X-Original-URI: /public/f"]
        assert ask(port, "GET", "/health", headers=headers).status == 403  # a question, and without the secret
        (tmp_path / "web.rules").write_text("permit anyone to http:read on /**\n")
        os.kill(daemon.pid, signal.SIGHUP)
        until(lambda: question(port, "/data/f") == 200, daemon)
