"""The examples of docs/howto/authz-web.md under a real gunicorn: with its own TLS, and behind nginx."""

from __future__ import annotations

import contextlib
import re
import ssl
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests.harness.ca import FULL_INFO, INDEPENDENT_INFO, LIMITED_INFO, Issued, TestCA, write_trust_dir
from tests.harness.daemons import free_port, running
from tests.harness.environment import clean_environment
from tests.harness.nginx import WebAnswer, ask, client_context, nginx
from tests.harness.run import c_program, our_program, run

PAGE = (Path(__file__).resolve().parents[2] / "docs/howto/authz-web.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
APPLICATION = next(block for block in BLOCKS if "def application" in block)
CONFIG = next(block for block in BLOCKS if "ssl_context = grid_ssl_context" in block)
ASGI = next(block for block in BLOCKS if "gsi.authz.web.asgi" in block)
BEHIND = next(block for block in BLOCKS if "front_end = FrontEnd(" in block)
FLASK = next(block for block in BLOCKS if "Flask(" in block)
HEADER = next(block for block in BLOCKS if 'print(f"Client-Cert-Chain' in block)
ALICE = "/O=Grid/OU=Test/CN=Alice"
RULES = f"""\
deny anyone                  to http:read on /public/elsewhere/** from 127.0.0.0/8
permit anyone                to http:read on /public/**
permit dn "{ALICE}"          to http:read, http:write on /data/alice/**
permit dn "{ALICE}"          to http:read on /full/** proxy none, full
permit dn "{ALICE}"          to http:read on /mapped/** as grid001
permit dn "{ALICE}"          to http:read on /leased/** ids 1000:1000
permit authenticated         to http:read on /data/shared/**
permit dn "{ALICE}"          to job:start on /queues/**
"""


class Site(NamedTuple):
    """Who asks, and where things are."""

    directory: Path
    trust_dir: Path
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

    def localized(self, text: str) -> str:
        """An example with the site's paths."""
        return text.replace("/etc/grid-security/hostcert.pem", str(self.directory / "hostcert.pem")).replace(
            "/etc/grid-security/hostkey.pem", str(self.directory / "hostkey.pem")
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    directory = tmp_path_factory.mktemp("web")
    ca = TestCA("/O=Grid/CN=Web CA")
    trust_dir = write_trust_dir(directory / "certificates", ca, crl=True)
    ca.issue_host().write(directory / "hostcert.pem", directory / "hostkey.pem")
    (directory / "web.rules").write_text(RULES)
    (directory / "web.toml").write_text('order = ["rules"]\n[authorizer.rules]\ntype = "rules"\nfile = "web.rules"\n')
    return Site(directory, trust_dir, ca.issue(ALICE), ca.issue("/O=Grid/OU=Test/CN=Bob"), ca)


@contextlib.contextmanager
def gunicorn(
    site: Site, directory: Path, application: str, config: str, *, port: int | None = None, unix: Path | None = None
) -> Iterator[None]:
    """Run an application."""
    directory.mkdir(exist_ok=True)
    (directory / "app.py").write_text(application)
    (directory / "gunicorn.conf.py").write_text(config)
    env = clean_environment(directory) | {
        "X509_CERT_DIR": str(site.trust_dir),
        "GSI_AUTHZ_POLICY_DIR": str(site.directory),
        "PYTHONWARNINGS": "default",
    }
    argv: list[str | Path] = [our_program("gunicorn"), "app:application", "--no-control-socket", "--workers", "1"]
    with running(argv, env=env, port=port, directory=directory, unix=unix):
        yield


# --- its own TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(site: Site) -> Iterator[int]:
    port = free_port()
    config = site.localized(CONFIG).replace("0.0.0.0:8443", f"127.0.0.1:{port}")
    with gunicorn(site, site.directory / "tls", APPLICATION, config, port=port):
        yield port


def get(site: Site, port: int, issued: Issued | None, target: str, *headers: str, **more: object) -> WebAnswer:
    version = more.pop("version", None)
    assert version is None or isinstance(version, ssl.TLSVersion)
    context = site.context(issued, version)
    return ask(port, str(more.pop("method", "GET")), target, context=context, headers=headers)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_every_kind_of_client(site: Site, tls: int, version: ssl.TLSVersion) -> None:
    proxy = site.alice.proxy(info=FULL_INFO)
    clients = [site.alice, proxy, proxy.proxy(info=FULL_INFO), site.alice.proxy(info=LIMITED_INFO)]
    for issued in clients:
        answer = get(site, tls, issued, "/data/alice/f", version=version)
        assert (answer.status, answer.body) == (200, f"{ALICE} may GET /data/alice/f\n")
    assert [get(site, tls, issued, "/full/f", version=version).status for issued in clients] == [200, 200, 200, 403]
    stranger = get(site, tls, None, "/data/alice/f", version=version)
    assert stranger.status == 401
    assert get(site, tls, None, "/public/f", version=version).body == "stranger may GET /public/f\n"
    assert get(site, tls, site.bob, "/data/alice/f", version=version).status == 403
    independent = get(site, tls, site.alice.proxy(info=INDEPENDENT_INFO), "/data/alice/f", version=version)
    assert independent.status == 403


def test_obligations(site: Site, tls: int) -> None:
    assert get(site, tls, site.alice, "/mapped/f").body == "grid001 may GET /mapped/f\n"
    refused = get(site, tls, site.alice, "/leased/f")  # with ids that the application has not said it understands
    assert refused.status == 403
    assert refused.body.startswith("the authorization service cannot decide now (decision ")


def test_who_is_refused_in_the_handshake_or_after(site: Site, tls: int) -> None:
    expired = site.ca.issue(ALICE, not_after=datetime.now(UTC) - timedelta(hours=1))
    foreign = TestCA(site.ca.name).issue(ALICE)
    for issued in (expired, foreign, expired.proxy(info=FULL_INFO)):
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            answer = get(site, tls, issued, "/public/f")
            assert answer.status in {0, 401}, answer


def test_without_a_front_end_its_headers_mean_nothing(site: Site, tls: int) -> None:
    escaped = quote(site.alice.pem.decode(), safe="")
    for header in ("X-SSL-Client-Cert", "Client-Cert", "X_SSL_CLIENT_CERT", "SSL_CLIENT_CERT", "SSL-CLIENT-CERT"):
        assert get(site, tls, site.bob, "/data/alice/f", f"{header}: {escaped}").status in {400, 403}
        assert get(site, tls, None, "/data/alice/f", f"{header}: {escaped}").status in {400, 401}


@pytest.mark.parametrize(
    "target",
    [
        "//data//alice/f",
        "/public/../data/alice/f",
        "/public/%2e%2e/data/alice/f",
        "/public%2f..%2fdata/alice/f",
        "/public/..%5cdata/alice/f",
        "/public/%ef%bc%8e%ef%bc%8e/data/alice/f",
        "/public/%252e%252e/data/alice/f",
        "/%ff%fe",
        "/data/alice/f%00",
        "/data/alice/f%0aX:",
        "*",
        "http://localhost/data/alice/f",
        "/" + "a/" * 2000,
        "/" + "a" * 4000,
    ],
    ids=lambda target: target[:40],
)
def test_no_spelling_of_a_path_gets_around_a_rule(site: Site, tls: int, target: str) -> None:
    assert get(site, tls, site.bob, target).status in {400, 403, 414, 501}
    assert get(site, tls, None, target).status in {400, 401, 403, 414, 501}


def test_the_method_cannot_be_overridden(site: Site, tls: int) -> None:
    shown = get(site, tls, site.alice, "/data/alice/f", "X-HTTP-Method-Override: GET", method="DELETE")
    assert shown.status == 403
    assert get(site, tls, site.alice, "/data/alice/f", method="get").status in {400, 403}
    assert get(site, tls, site.alice, "/data/alice/f", method="PUT").status == 200
    head = get(site, tls, site.bob, "/data/alice/f", method="HEAD")
    assert (head.status, head.body) == (403, "")


def test_a_client_that_offers_an_earlier_session_is_judged_by_its_chain(site: Site, tls: int) -> None:
    """No ticket is given out, and gunicorn ends connections in a way after which OpenSSL forgets their sessions."""
    bundle, session = site.directory / "resume.pem", site.directory / "session"
    site.alice.proxy(info=FULL_INFO).write_bundle(bundle)
    for version in ("-tls1_2", "-tls1_3"):
        for again in (False, True):
            argv: list[str | Path] = [c_program("openssl"), "s_client", "-connect", f"127.0.0.1:{tls}", version]
            argv += ["-cert", bundle, "-key", bundle, "-cert_chain", bundle, "-ign_eof", "-sess_out", session]
            argv += ["-sess_in", session] if again and session.exists() else []
            request = "GET /data/alice/f HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            done = run(argv, env=clean_environment(site.directory), stdin=request)
            assert "HTTP/1.1 200" in done.stdout, done
            assert f"{ALICE} may GET" in done.stdout
            assert "Reused, " not in done.stdout
        session.unlink(missing_ok=True)


# --- behind nginx -----------------------------------------------------------------------------------------------------

NGINX = """
server {{
    listen 443 ssl;
    ssl_certificate     {directory}/hostcert.pem;
    ssl_certificate_key {directory}/hostkey.pem;
    ssl_verify_client optional_no_ca;
    error_page 495 = @judged;
    location @judged {{ rewrite ^ $uri last; }}
    location / {{
        proxy_pass http://{back};
        proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;
        proxy_set_header X-Real-IP $remote_addr;
    }}
}}
"""


class Behind(NamedTuple):
    """An application that believes nginx on a Unix socket, and listens on a port as well."""

    front: int
    back: int


SHOWING = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    shown = sorted(key for key in environ if "CERT" in key or "SECRET" in key or "OVERRIDE" in key)
    return [f"{environ.get('REMOTE_USER')} {shown}\\n".encode()]
"""


@pytest.fixture(scope="module")
def behind(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    directory = site.directory / "behind"
    directory.mkdir()
    unix, port = directory / "s", free_port()
    head = "from gsi.authz.web.gate import open_gate\nfrom gsi.authz.web.wsgi import AuthorizationMiddleware\n"
    application = head + SHOWING + BEHIND
    config = f'bind = ["unix:{unix}", "127.0.0.1:{port}"]\n'
    with gunicorn(site, directory, application, config, unix=unix):
        text = NGINX.format(directory=site.directory, back=f"unix:{unix}:")
        with nginx(text, tmp_path_factory.mktemp("nginx")) as front:
            yield Behind(front, port)


def test_the_front_end_says_who_it_is(site: Site, behind: Behind) -> None:
    answer = get(site, behind.front, site.alice, "/data/alice/f", "X-HTTP-Method-Override: DELETE")
    assert (answer.status, answer.body) == (200, f"{ALICE} []\n")  # and the application sees none of the headers
    assert get(site, behind.front, site.bob, "/data/alice/f").status == 403
    assert get(site, behind.front, None, "/data/alice/f").status == 401
    assert get(site, behind.front, None, "/public/f").body == "None []\n"


def test_proxies_through_the_front_end(site: Site, behind: Behind) -> None:
    proxy = site.alice.proxy(info=FULL_INFO)
    assert get(site, behind.front, proxy, "/data/alice/f").status == 401
    bundle = site.directory / "x509up"
    bundle.unlink(missing_ok=True)
    proxy.write_bundle(bundle)
    code = HEADER.replace("/tmp/x509up_u1000", str(bundle))
    env = clean_environment(site.directory) | {"PATH": "/usr/bin:/bin"}
    header = run([our_program("python"), "-c", textwrap.dedent(code)], env=env).check().stdout.strip()
    assert get(site, behind.front, proxy, "/data/alice/f", header).body == f"{ALICE} []\n"


@pytest.mark.parametrize("who", ["nobody", "bob"])
def test_nobody_else_does(site: Site, behind: Behind, who: str) -> None:
    """Neither clients through nginx, nor whoever connects to the port of the application."""
    escaped = quote(site.alice.pem.decode(), safe="")
    issued = site.bob if who == "bob" else None
    for lines in (
        [f"X-SSL-Client-Cert: {escaped}"],
        [f"X-SSL-Client-Cert: {escaped}"] * 2,
        [f"X_SSL_Client_Cert: {escaped}"],
        [f"x-ssl-client-cert: {escaped}", f"X-Ssl_Client-Cert: {escaped}"],
        ["X-Any: y", f" X-SSL-Client-Cert: {escaped}"],
        [f"X-SSL-Client-Cert: {'A' * 9000}"],
    ):
        through = get(site, behind.front, issued, "/data/alice/f", *lines)
        assert through.status in {400, 401, 403}, through
        assert ALICE not in through.body
        direct = ask(behind.back, "GET", "/data/alice/f", headers=lines)
        assert direct.status in {400, 401, 431}, direct


# --- ASGI -------------------------------------------------------------------------------------------------------------


def test_an_asgi_server(site: Site) -> None:
    """On a Unix socket the front end is believed; on a port nobody is, whatever the headers say of addresses."""
    directory = site.directory / "asgi"
    directory.mkdir()
    unix, port = directory / "s", free_port()
    escaped = quote(site.alice.pem.decode(), safe="")
    shown = f"X-SSL-Client-Cert: {escaped}"
    config = f'bind = ["unix:{unix}", "127.0.0.1:{port}"]\nworker_class = "asgi"\n'
    with gunicorn(site, directory, ASGI, config, unix=unix):
        answer = ask(unix, "GET", "/data/alice/f", headers=[shown])
        assert (answer.status, answer.body) == (200, f"{ALICE} may GET /data/alice/f\n")
        assert ask(unix, "GET", "/data/alice/f").status == 401
        assert ask(unix, "GET", "/data/alice/f", headers=[shown, shown]).status == 400
        assert ask(unix, "GET", "/public/elsewhere/f", headers=["X-Real-IP: 8.8.8.8"]).status == 200
        assert ask(unix, "GET", "/public/elsewhere/f", headers=["X-Real-IP: 127.0.0.1"]).status == 401
        for more in ([], ["X-Forwarded-For: 192.0.2.7"], ["Forwarded: for=192.0.2.7"], ["X-Real-IP: 192.0.2.7"]):
            assert ask(port, "GET", "/data/alice/f", headers=[shown, *more]).status == 401
            assert ask(port, "GET", "/public/elsewhere/f", headers=more).status == 401
        assert ask(port, "GET", "/public/f").status == 200


# --- Flask ------------------------------------------------------------------------------------------------------------


def test_the_decorator(site: Site) -> None:
    port = free_port()
    config = site.localized(CONFIG).replace("0.0.0.0:8443", f"127.0.0.1:{port}")
    with gunicorn(site, site.directory / "flask", f"{FLASK}\napplication = app\n", config, port=port):
        assert get(site, port, site.alice, "/data/shared/report").body == f"report for {ALICE}\n"
        assert get(site, port, None, "/data/shared/report").status == 401
        assert get(site, port, site.alice, "/jobs", method="POST").body == "submitted\n"
        refused = get(site, port, site.bob, "/jobs", method="POST")
        assert refused.status == 403
        assert "you are not authorized to do this (decision " in refused.body
