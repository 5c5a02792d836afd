"""The Kerberos authority over HTTP: curl with tickets of a real MIT KDC, in plain and over TLS with channel binding."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from gsi.kerberos.negotiate import server_end_point
from tests.harness.ca import TestCA, new_key, parse_name, write_file
from tests.harness.crowds import crowd
from tests.harness.daemons import Daemon, free_port, running
from tests.harness.environment import clean_environment
from tests.harness.kca import PLAIN_REALM, write_config
from tests.harness.kdc import HEIMDAL_REALM, REALM, Realm, heimdal_kdc, mit_kdc
from tests.harness.nginx import WebAnswer, exchange, nginx
from tests.harness.postgres import postgres
from tests.harness.run import Done, c_program, our_program, run

PATH = "/kca/v1/certificate"
LIMITS = '[limits]\ncertificates = 1000\nticket_age = "2h"\n'


class Site(NamedTuple):
    """A realm and the authority's web server."""

    realm: Realm
    url: str
    directory: Path
    server: Daemon

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / "store/audit.log").read_text().splitlines()]


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    users = {"alice": "secret", "bob/admin": "secret"}
    orders = ["addprinc -randkey otp", "addprinc -pw secret carol"]
    with mit_kdc(tmp_path_factory.mktemp("kdc"), users=users, services=["HTTP/localhost"], orders=orders) as made:
        yield made


@contextmanager
def web(realm: Realm, directory: Path, settings: str = "", *, scheme: str = "http", text: str = "") -> Iterator[Site]:
    directory.mkdir(mode=0o700, exist_ok=True)
    port = free_port()
    table = f'[http]\nlisten = "127.0.0.1:{port}"\nkeytab = "{realm.keytab}"\nworkers = 1\n{settings}\n'
    config = write_config(directory, (text or LIMITS + PLAIN_REALM) + table)
    env = clean_environment(directory) | realm.variables | {"PYTHONWARNINGS": "default"}
    with running([our_program("kca-http"), "-c", str(config)], env=env, port=port, directory=directory) as server:
        yield Site(realm, f"{scheme}://localhost:{port}", directory, server)


@pytest.fixture(scope="module")
def plain(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with web(realm, tmp_path_factory.mktemp("plain") / "kca") as site:
        yield site


@pytest.fixture(scope="module")
def alice(realm: Realm) -> dict[str, str]:
    return realm.login("alice", "secret")


def csr(directory: Path, kind: str = "p256", *, name: str = "csr.pem") -> Path:
    """A PKCS#10 in PEM."""
    key = new_key("p256") if kind == "p256" else rsa.generate_private_key(65537, int(kind))
    made = x509.CertificateSigningRequestBuilder().subject_name(parse_name("/CN=whoever")).sign(key, HASH)
    path = directory / name
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


HASH = hashes.SHA256()


def curl(site: Site, target: str, *words: str, env: dict[str, str] | None = None, negotiate: bool = True) -> Done:
    argv = [c_program("curl"), "-sS", "-D", "-", *(["--negotiate", "-u", ":"] if negotiate else []), *words]
    return run([*argv, site.url + target], env=clean_environment(site.directory) | (env or {}))


def last_answer(done: Done) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the last answer that curl got."""
    assert done.returncode == 0, done
    blocks = done.stdout.replace("\r\n", "\n").split("HTTP/1.1 ")
    head, _, body = blocks[-1].partition("\n\n")
    lines = head.split("\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[0]), {name.lower(): value for name, value in headers.items()}, body


def test_curl(plain: Site, alice: dict[str, str], tmp_path: Path) -> None:
    status, headers, body = last_answer(curl(plain, PATH, "--data-binary", f"@{csr(tmp_path)}", env=alice))
    assert status == 200, body
    assert headers["content-type"] == "application/pem-certificate-chain"
    assert headers["cache-control"] == "no-store"
    assert headers["www-authenticate"].startswith("Negotiate ")  # the proof of the service
    certificate = x509.load_pem_x509_certificate(body.encode())
    assert certificate.subject.rfc4514_string() == "CN=alice,OU=Test,O=Grid"
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(minutes=50) < left <= timedelta(hours=1)  # the ticket's own end, without the skew
    record = plain.records()[-1]
    assert (record["action"], record["verdict"], record["peer"]) == ("ISSUE", "permit", f"alice@{REALM}")
    assert record["transport"] == "http"
    assert record["address"] == "127.0.0.1"


def test_openssl_verifies_it(plain: Site, alice: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "new.pem").write_text(
        last_answer(curl(plain, PATH, "--data-binary", f"@{csr(tmp_path)}", env=alice))[2]
    )
    words = ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", str(plain.directory / "ca.pem")]
    run([c_program("openssl"), *words, str(tmp_path / "new.pem")], env=clean_environment(tmp_path)).check()


def test_json_and_der(plain: Site, alice: dict[str, str], tmp_path: Path) -> None:
    pem = csr(tmp_path, "2048")
    der = tmp_path / "csr.der"
    der.write_bytes(x509.load_pem_x509_csr(pem.read_bytes()).public_bytes(Encoding.DER))
    words = ("-H", "Accept: application/json", "-H", "Content-Type: application/pkcs10", "--data-binary", f"@{der}")
    status, headers, body = last_answer(curl(plain, f"{PATH}?lifetime=30m", *words, env=alice))
    assert (status, headers["content-type"]) == (200, "application/json")
    told = json.loads(body)
    assert told["subject"] == "/O=Grid/OU=Test/CN=alice"
    assert told["chain"] == []
    left = datetime.fromisoformat(told["not_after"]) - datetime.now(UTC)
    assert timedelta(minutes=28) < left <= timedelta(minutes=30)


def test_the_request_of_bx509d(plain: Site, alice: dict[str, str], tmp_path: Path) -> None:
    der = x509.load_pem_x509_csr(csr(tmp_path).read_bytes()).public_bytes(Encoding.DER)
    target = f"/get-cert?csr={quote(base64.b64encode(der).decode(), safe='')}&lifetime=600"
    status, _, body = last_answer(curl(plain, target, env=alice))
    assert status == 200, body
    assert x509.load_pem_x509_certificate(body.encode()).subject.rfc4514_string() == "CN=alice,OU=Test,O=Grid"
    assert last_answer(curl(plain, f"{target}&rfc822Name=root@example.org", env=alice))[0] == 403
    assert last_answer(curl(plain, "/bx509?csr=%%%", env=alice))[0] == 400
    assert last_answer(curl(plain, "/get-cert", env=alice))[0] == 400
    count = len(plain.records())
    assert last_answer(curl(plain, target, "-I", env=alice))[0] == 405
    assert len(plain.records()) == count


def test_without_a_ticket(plain: Site, tmp_path: Path) -> None:
    request = csr(tmp_path)
    status, headers, body = last_answer(curl(plain, PATH, "--data-binary", f"@{request}", negotiate=False))
    assert (status, headers["www-authenticate"]) == (401, "Negotiate")
    assert "ticket is needed" in body
    for value, expected in (
        ("Basic YTpi", 401),
        ("Negotiate", 401),
        ("Negotiate !!!", 400),
        ("Negotiate " + base64.b64encode(b"\x60garbage").decode(), 401),
        ("Negotiate " + base64.b64encode(os.urandom(40000)).decode(), 401),
    ):
        words = ("-H", f"Authorization: {value}", "--data-binary", f"@{request}")
        assert last_answer(curl(plain, PATH, *words, negotiate=False))[0] == expected, value
    assert plain.records()[-1]["verdict"] == "deny"
    assert last_answer(curl(plain, "/health", negotiate=False))[0] == 200
    assert last_answer(curl(plain, "/", negotiate=False))[0] == 404
    assert last_answer(curl(plain, PATH, negotiate=False))[0] == 405


def test_who_gets_nothing(plain: Site, realm: Realm, tmp_path: Path) -> None:
    request = f"@{csr(tmp_path)}"
    status, _, body = last_answer(curl(plain, PATH, "--data-binary", request, env=realm.login("bob/admin", "secret")))
    assert status == 403
    assert "no rule of the realm" in body


@pytest.mark.parametrize(
    "content", [b"", b"no request", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
)
def test_requests_that_are_none(plain: Site, alice: dict[str, str], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "body").write_bytes(content)
    status, headers, _ = last_answer(curl(plain, PATH, "--data-binary", f"@{tmp_path}/body", env=alice))
    assert (status, headers["cache-control"]) == (400, "no-store")
    assert plain.records()[-1]["peer"] == f"alice@{REALM}"


def test_weak_and_forged_requests(plain: Site, alice: dict[str, str], tmp_path: Path) -> None:
    weak = csr(tmp_path, "1024", name="weak.pem")
    status, _, body = last_answer(curl(plain, PATH, "--data-binary", f"@{weak}", env=alice))
    assert status == 400
    assert "1024" in body
    forged = bytearray(x509.load_pem_x509_csr(csr(tmp_path).read_bytes()).public_bytes(Encoding.DER))
    forged[-3] ^= 1
    (tmp_path / "forged").write_bytes(forged)
    assert last_answer(curl(plain, PATH, "--data-binary", f"@{tmp_path}/forged", env=alice))[0] == 400
    assert last_answer(curl(plain, f"{PATH}?lifetime=0", "--data-binary", f"@{csr(tmp_path)}", env=alice))[0] == 400


def test_too_much(plain: Site, alice: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"x" * 70000)
    assert last_answer(curl(plain, PATH, "--data-binary", f"@{tmp_path}/body", env=alice))[0] == 413
    words = ("-H", "Transfer-Encoding: chunked", "--data-binary", f"@{tmp_path}/body")
    done = curl(plain, PATH, *words, env=alice)
    assert last_answer(done)[0] == 413, done


@pytest.mark.parametrize("header", ["Origin: https://evil.example.org", "Sec-Fetch-Site: cross-site"])
def test_browsers(plain: Site, alice: dict[str, str], tmp_path: Path, header: str) -> None:
    words = ("-H", header, "--data-binary", f"@{csr(tmp_path)}")
    assert last_answer(curl(plain, PATH, *words, env=alice))[0] == 403


# --- tokens made by hand ----------------------------------------------------------------------------------------------

CLIENT = """\
import base64, sys
import gssapi
from gssapi.raw import ChannelBindings
binding = bytes.fromhex(sys.argv[2])
target = gssapi.Name(sys.argv[1], gssapi.NameType.hostbased_service)
context = gssapi.SecurityContext(
    name=target, usage="initiate", mech=gssapi.OID.from_int_seq("1.3.6.1.5.5.2"),
    channel_bindings=ChannelBindings(application_data=binding) if binding else None)
print(base64.b64encode(context.step()).decode())
"""


def token(env: dict[str, str], directory: Path, binding: bytes = b"") -> str:
    """A Negotiate token, made in a process of its own that has the user's tickets."""
    argv = [sys.executable, "-c", CLIENT, "HTTP@localhost", binding.hex()]
    return run(argv, env=clean_environment(directory) | env).check().stdout.strip()


def post(site: Site, body: bytes, sent: Sequence[str], context: ssl.SSLContext | None = None) -> list[int]:
    """Send a request with each of these tokens, on one connection."""
    place = site.url.partition("://")[2]
    made = http.client.HTTPConnection(place) if context is None else http.client.HTTPSConnection(place, context=context)
    statuses = []
    try:
        for one in sent:
            made.request("POST", PATH, body, {"Authorization": f"Negotiate {one}"})
            answer = made.getresponse()
            answer.read()
            statuses.append(answer.status)
    finally:
        made.close()
    return statuses


def test_a_token_is_good_once(plain: Site, alice: dict[str, str], tmp_path: Path) -> None:
    body = csr(tmp_path).read_bytes()
    made = token(alice, tmp_path)
    assert post(plain, body, [made, made]) == [200, 401]
    assert "replay" in plain.records()[-1]["reason"]


def chunks(body: bytes, size: int) -> bytes:
    """A body in chunks of this size, with an extension and a trailer."""
    parts = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nX: y\r\n\r\n"


def test_bodies_in_chunks(plain: Site, alice: dict[str, str], tmp_path: Path) -> None:
    """What is no body is refused before anybody looks at the token, which is good afterwards."""
    body = csr(tmp_path).read_bytes()

    def ask(made: str, sent: bytes) -> WebAnswer:
        lines = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Negotiate {made}\r\nConnection: close\r\n"
        return exchange(port_of(plain), f"{lines}Transfer-Encoding: chunked\r\n\r\n".encode() + sent)

    made, before = token(alice, tmp_path), len(plain.records())
    for size in (b"xyz", b"-5", b"", b"5 5", b"f" * 16, b"1" * 300):
        assert ask(made, size + b"\r\n" + body).status == 400, size
    assert ask(made, b"5\r\nabcdefgh\r\n0\r\n\r\n").status == 400
    for size in (b"fffffffffffffff", b"40000000"):  # what is announced is not waited for
        assert ask(made, size + b"\r\n" + body).status == 413, size
    assert len(plain.records()) == before
    answer = ask(made, chunks(body, 7))
    assert (answer.status, "END CERTIFICATE" in answer.body) == (200, True)
    assert [ask(token(alice, tmp_path), chunks(body.ljust(size, b"\n"), 4096)).status for size in (65536, 65537)] == [
        200,
        413,
    ]


def bare(made: str) -> str:
    """The same Kerberos token without SPNEGO around it."""
    whole = base64.b64decode(made)
    at = whole.index(bytes.fromhex("06092a864886f7120102020100")) - 4
    assert whole[at : at + 2] == b"\x60\x82"
    return base64.b64encode(whole[at : at + 4 + int.from_bytes(whole[at + 2 : at + 4])]).decode()


def test_a_token_is_good_at_one_node(realm: Realm, alice: dict[str, str], tmp_path: Path) -> None:
    """Nodes share the books and the key, not the replay cache: a thief of a token comes too late at each of them."""
    own, thiefs = csr(tmp_path).read_bytes(), csr(tmp_path, name="thief.pem").read_bytes()
    made = token(alice, tmp_path)
    with postgres() as server, server.database() as conninfo, contextlib.ExitStack() as stack:
        nodes = []
        for number in range(2):
            place = tmp_path / f"node{number}"
            text = f'{LIMITS}[store]\ndirectory = "{place}/store"\ndatabase = "{conninfo}"\n{PLAIN_REALM}'
            nodes.append(stack.enter_context(web(realm, place, text=text)))
        assert post(nodes[0], own, [made]) == [200]
        assert post(nodes[1], thiefs, [made]) == [403]
        assert "answered before" in nodes[1].records()[-1]["reason"]
        other = token(alice, tmp_path)
        assert post(nodes[0], own, [other]) == [200]
        assert post(nodes[1], thiefs, [bare(other)]) == [403]  # wrapped another way
        again = token(alice, tmp_path)
        assert [post(node, own, [again]) for node in nodes] == [[200], [200]]
        serials = {node.records()[-1]["serial"] for node in nodes}
        assert len(serials) == 1


@pytest.fixture(scope="module")
def secure(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, ssl.SSLContext, bytes]]:
    """A server with TLS that insists on channel bindings."""
    directory = tmp_path_factory.mktemp("tls")
    ca = TestCA("/O=Grid/CN=Web CA")
    host = ca.issue_host()
    host.write(directory / "host.pem", directory / "host.key")
    (directory / "ca.pem").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    settings = f'certificate = "{directory}/host.pem"\nkey = "{directory}/host.key"\nrequire_channel_binding = true\n'
    context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    binding = server_end_point(host.certificate.public_bytes(Encoding.DER))
    assert binding is not None
    with web(realm, directory / "kca", settings, scheme="https") as site:
        yield site, context, binding


REQUESTS = """\
import sys
import requests
from requests_gssapi import HTTPSPNEGOAuth, REQUIRED
proof = HTTPSPNEGOAuth(
    mutual_authentication=REQUIRED, opportunistic_auth=True, channel_bindings=sys.argv[4] or None)
answer = requests.post(
    sys.argv[1], data=open(sys.argv[2], "rb").read(), auth=proof, verify=sys.argv[3], timeout=30)
print(answer.status_code, answer.text)
"""


def test_requests_gssapi(secure: tuple[Site, ssl.SSLContext, bytes], alice: dict[str, str], tmp_path: Path) -> None:
    """A client in Python that insists on the service's proof, bound to the connection or not."""
    site, _, _ = secure
    web_ca = str(site.directory.parent / "ca.pem")
    for binding, status in (("tls-server-end-point", "200 -----BEGIN CERTIFICATE-----"), ("", "401 ")):
        argv = [sys.executable, "-c", REQUESTS, site.url + PATH, str(csr(tmp_path)), web_ca, binding]
        done = run(argv, env=clean_environment(tmp_path) | alice).check()
        assert done.stdout.startswith(status), done


def test_channel_binding(secure: tuple[Site, ssl.SSLContext, bytes], alice: dict[str, str], tmp_path: Path) -> None:
    site, context, binding = secure
    body = csr(tmp_path).read_bytes()
    assert post(site, body, [token(alice, tmp_path, binding)], context) == [200]
    assert post(site, body, [token(alice, tmp_path)], context) == [401]
    assert "not bound" in site.records()[-1]["reason"]
    assert post(site, body, [token(alice, tmp_path, b"tls-server-end-point:another")], context) == [401]
    assert "bindings" in site.records()[-1]["reason"]


def test_a_binding_that_is_sent_is_checked(realm: Realm, alice: dict[str, str], tmp_path: Path) -> None:
    """Behind a front end that ends TLS, and without insisting."""
    host = TestCA("/O=Grid/CN=Web CA").issue_host()
    host.write(tmp_path / "host.pem", tmp_path / "host.key")
    binding = server_end_point(host.certificate.public_bytes(Encoding.DER))
    assert binding is not None
    settings = f'front_end_certificate = "{tmp_path}/host.pem"\naddress_header = "X-Real-IP"\n'
    with web(realm, tmp_path / "kca", settings) as site:
        assert post(site, csr(tmp_path).read_bytes(), [token(alice, tmp_path)]) == [500]  # no word of the front end
        words = ("-H", "X-Real-IP: 192.0.2.33", "--data-binary", f"@{csr(tmp_path)}")
        assert last_answer(curl(site, PATH, *words, env=alice))[0] == 200
        assert site.records()[-1]["address"] == "192.0.2.33"
        for made, expected in ((binding, 200), (b"tls-server-end-point:another", 401)):
            more = (
                "-H", "X-Real-IP: 192.0.2.33", "-H", f"Authorization: Negotiate {token(alice, tmp_path, made)}",
                "--data-binary", f"@{csr(tmp_path)}",
            )  # fmt: skip
            assert last_answer(curl(site, PATH, *more, negotiate=False))[0] == expected


def test_limits_over_http(realm: Realm, tmp_path: Path) -> None:
    """What GSS-API does not tell by itself is known all the same: that a ticket is an initial one."""
    text = '[limits]\ninitial = true\ncertificates = 2\nper = "1h"\n' + PLAIN_REALM
    request = f"@{csr(tmp_path)}"
    with web(realm, tmp_path / "kca", text=text) as site:
        status, _, body = last_answer(curl(site, PATH, "--data-binary", request, env=realm.login("carol", "secret")))
        assert status == 403
        assert "got by another ticket" in body
        initial = realm.login("carol", "secret", service="HTTP/localhost")
        body_bytes = (tmp_path / "csr.pem").read_bytes()
        assert post(site, body_bytes, [token(initial, tmp_path) for _ in range(2)]) == [200, 200]
        status, headers, _ = last_answer(curl(site, PATH, "--data-binary", request, "-H", "Expect:", env=initial))
        assert status == 429
        assert 1700 <= int(headers["retry-after"]) <= 1801


def test_mistakes_show_at_the_start(realm: Realm, tmp_path: Path) -> None:
    env = clean_environment(tmp_path) | realm.variables | {"PYTHONWARNINGS": "default"}

    def check(table: str, *words: str) -> str:
        config = write_config(tmp_path, PLAIN_REALM + f"[http]\n{table}\n")
        done = run([our_program("kca-http"), "-c", str(config), *words], env=env)
        return f"{done.returncode} {done.stderr}{done.stdout}"

    keytab = f'keytab = "{realm.keytab}"\n'
    assert check(keytab, "-check").startswith("0 ")
    assert "/nonexistent: no key of HTTP/*" in check('keytab = "/nonexistent"', "-check")
    assert "everybody on the way" in check(keytab + 'listen = "0.0.0.0:0"')
    assert "require_channel_binding needs certificate" in check(keytab + "require_channel_binding = true")
    write_file(tmp_path / "other.keytab", b"\x05\x02", 0o600)
    assert "no key of HTTP/*" in check(f'keytab = "{tmp_path}/other.keytab"', "-check")
    shutil.rmtree(tmp_path / "store")


def test_numbers_for_monitors(realm: Realm, alice: dict[str, str], tmp_path: Path) -> None:
    """They are those of all workers, whichever is asked."""
    with web(realm, tmp_path / "kca", "metrics = true\n") as site:
        for _ in range(2):
            assert last_answer(curl(site, PATH, "--data-binary", f"@{csr(tmp_path)}", env=alice))[0] == 200
        curl(site, PATH, "-H", "Authorization: Negotiate AAAA", "--data-binary", "x", negotiate=False)
        told = last_answer(curl(site, "/metrics", negotiate=False))[2]
    assert 'kca_decisions_total{action="ISSUE",verdict="permit"} 2.0\n' in told
    assert 'kca_decisions_total{action="REQUEST",verdict="deny"} 1.0\n' in told
    assert 'kca_failures_total{reason="authentication"} 1.0\n' in told
    assert "kca_audit_works 1.0\n" in told
    assert 'kca_audit_seconds_bucket{le="+Inf"} 3.0\n' in told


def test_tickets_of_a_heimdal_kdc(tmp_path: Path) -> None:
    """The KDC is another's, the library that takes its tickets MIT's."""
    with heimdal_kdc(tmp_path, users={"erin": "pw"}, services=["HTTP/localhost"]) as other:
        text = LIMITS + f'[realm."{HEIMDAL_REALM}"]\nbase = "/O=Heimdal"\n'
        with web(other, tmp_path / "kca", text=text) as site:
            env = other.login("erin", "pw", lifetime="20m")
            status, _, body = last_answer(curl(site, PATH, "--data-binary", f"@{csr(tmp_path)}", env=env))
    assert status == 200, body
    certificate = x509.load_pem_x509_certificate(body.encode())
    assert certificate.subject.rfc4514_string() == "CN=erin,O=Heimdal"
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(minutes=18) < left <= timedelta(minutes=20)


MARKS = "unmarked_tickets = true\n"


def test_another_realm(realm: Realm, tmp_path: Path) -> None:
    """Listed, its people have names of their own; the way they came cannot be seen here, so it has to be allowed."""
    trust = [f"addprinc -pw shared-key-of-both krbtgt/{REALM}@OTHER.EXAMPLE"]
    with mit_kdc(tmp_path, users={"dave": "pw"}, services=[], realm="OTHER.EXAMPLE", orders=trust) as other:
        realm.kadmin(*trust)
        both = tmp_path / "both.conf"
        both.write_text(
            realm.krb5_conf.read_text() + f"[realms]\nOTHER.EXAMPLE = {{\n  kdc = 127.0.0.1:{other.port}\n}}\n"
        )
        env = other.login("dave", "pw") | {"KRB5_CONFIG": str(both)}
        answers = []
        listed = '[realm."OTHER.EXAMPLE"]\nbase = "/O=Other"\n'
        for number, rest in enumerate(("", listed, listed + MARKS, listed + MARKS + 'via = ["?"]\n')):
            with web(realm, tmp_path / f"kca{number}", text=LIMITS + PLAIN_REALM + rest) as site:
                answers.append(last_answer(curl(site, PATH, "--data-binary", f"@{csr(tmp_path)}", env=env)))
    assert [status for status, _, _ in answers] == [403, 403, 403, 200]
    assert "'OTHER.EXAMPLE' is not listed" in answers[0][2]
    assert "how a ticket of the realm OTHER.EXAMPLE was got cannot be seen" in answers[1][2]
    assert "came through the realm '?'" in answers[2][2]
    found = x509.load_pem_x509_certificate(answers[3][2].encode())
    assert found.subject.rfc4514_string() == "CN=dave,O=Other"


def test_a_new_key_while_it_runs(realm: Realm, tmp_path: Path) -> None:
    """Tickets under the old key and the new one are both good as long as the keytab has both."""
    with web(realm, tmp_path / "kca") as site:
        before = realm.login("carol", "secret", service="HTTP/localhost")
        realm.kadmin(f"ktadd -k {realm.keytab} HTTP/localhost")
        after = realm.login("carol", "secret", service="HTTP/localhost")
        body = csr(tmp_path).read_bytes()
        assert post(site, body, [token(after, tmp_path), token(before, tmp_path)]) == [200, 200]


def test_behind_nginx(realm: Realm, alice: dict[str, str], tmp_path: Path) -> None:
    """The front end of the how-to: it ends TLS, and tickets may be bound to its certificate."""
    page = (Path(__file__).resolve().parents[2] / "docs/howto/kca.md").read_text("utf-8")
    block = re.search(r"```nginx\n(.*?)```", page, re.DOTALL)
    assert block is not None
    ca = TestCA("/O=Grid/CN=Web CA")
    host = ca.issue_host()
    host.write(tmp_path / "web.pem", tmp_path / "web.key")
    (tmp_path / "web-ca.pem").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    binding = server_end_point(host.certificate.public_bytes(Encoding.DER))
    assert binding is not None
    place = tmp_path / "kca"
    place.mkdir(mode=0o700)
    table = (
        f'[http]\nlisten = "{tmp_path}/socket"\nkeytab = "{realm.keytab}"\nworkers = 1\n'
        f'front_end_certificate = "{tmp_path}/web.pem"\naddress_header = "X-Real-IP"\nrequire_channel_binding = true\n'
    )
    config = write_config(place, LIMITS + PLAIN_REALM + table)
    env = clean_environment(place) | realm.variables | {"PYTHONWARNINGS": "default"}
    text = block[1].replace("/etc/kca/web", f"{tmp_path}/web").replace("/run/kca/http", f"{tmp_path}/socket")
    argv = [our_program("kca-http"), "-c", str(config)]
    context = ssl.create_default_context(cafile=str(tmp_path / "web-ca.pem"))
    (tmp_path / "nginx").mkdir()
    with (
        running(argv, env=env, port=None, directory=place, unix=tmp_path / "socket") as server,
        nginx(text.replace("kca.example.org", "localhost"), tmp_path / "nginx") as port,
    ):
        site = Site(realm, f"https://localhost:{port}", place, server)
        body = csr(tmp_path).read_bytes()
        assert post(site, body, [token(alice, tmp_path, binding)], context) == [200]
        assert site.records()[-1]["address"] == "127.0.0.1"
        assert post(site, body, [token(alice, tmp_path)], context) == [401]


# --- whom it does not wait for, and reloads ---------------------------------------------------------------------------


def port_of(site: Site) -> int:
    return int(site.url.rpartition(":")[2])


def test_a_crowd_that_says_nothing(
    plain: Site, secure: tuple[Site, ssl.SSLContext, bytes], alice: dict[str, str], tmp_path: Path
) -> None:
    """Sixty connections from another address of this machine; there are eight threads."""
    body = csr(tmp_path).read_bytes()
    with crowd(port_of(plain)):
        assert post(plain, body, [token(alice, tmp_path)]) == [200]
    site, context, binding = secure
    with crowd(port_of(site), tls=True):
        assert post(site, body, [token(alice, tmp_path, binding)], context) == [200]


def until(site: Site, target: str, words: str) -> None:
    """Ask until an answer has these words."""
    limit = time.monotonic() + 30
    while words not in curl(site, target, negotiate=False).stdout:
        assert time.monotonic() < limit, site.server.log()
        time.sleep(0.05)


def test_reloading_keeps_what_was_good(realm: Realm, alice: dict[str, str], tmp_path: Path) -> None:
    body = csr(tmp_path).read_bytes()
    with web(realm, tmp_path / "kca", "metrics = true\n") as site:
        config = site.directory / "kca.toml"
        good = config.read_text()
        assert post(site, body, [token(alice, tmp_path)]) == [200]  # by now it has begun
        for broken in (good[: len(good) // 2], good.replace("workers = 1", "workers = 2"), good + "\n[nonsense]\n"):
            write_file(config, broken.encode(), 0o600)
            os.kill(site.server.pid, signal.SIGHUP)
            until(site, "/health", "an older configuration is in force")
            assert post(site, body, [token(alice, tmp_path)]) == [200]
            assert "kca_http_reload_refused_timestamp_seconds 0.000" not in curl(site, "/metrics").stdout
            write_file(config, good.encode(), 0o600)
            os.kill(site.server.pid, signal.SIGHUP)
            until(site, "/metrics", "kca_http_reload_refused_timestamp_seconds 0.000")
        write_file(config, good.replace("metrics = true", "metrics = true\nmax_request_bytes = 1024").encode(), 0o600)
        os.kill(site.server.pid, signal.SIGHUP)
        limit = time.monotonic() + 30
        while post(site, b"x" * 1025, [token(alice, tmp_path)]) != [413]:
            assert time.monotonic() < limit, site.server.log()
            time.sleep(0.05)
        assert post(site, body, [token(alice, tmp_path)]) == [200]
