"""The form over HTTP without Kerberos: a stand-in says whose a token is, the service behind it is the real one."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsi.errors import AuthenticationError, ConfigError
from gsi.kerberos.negotiate import Negotiated
from gsi.transport.wsgi_server import Reloads
from kca.config import HTTPSettings, load_config
from kca.gunicorn import _describe, make_application
from kca.http import PATH, UNPROVEN_RECORDS_PER_SECOND, create_app
from kca.metrics import Metrics, render
from kca.openapi import describe
from tests.harness.ca import TestCA, new_key, parse_name
from tests.harness.kca import PLAIN_REALM, REALM, KCAWorld, authority, write_config
from tests.harness.kdc import write_keytab
from tests.harness.openapi import DescribedClient, described_client, routes, served_routes, statuses

TEXT = "[limits]\ncertificates = 3\n" + PLAIN_REALM


class KnowsTokens:
    """Stands in for Kerberos: `ticket:NAME` proves NAME, `trouble` is trouble, all else proves nothing.

    Each is another token, but for `ticket:NAME#MARK`, which is one and the same.
    """

    def __init__(self, world: KCAWorld) -> None:
        self.world = world
        self.bound = False

    def accept(self, token: bytes, *, binding: bytes | None = None) -> Negotiated:
        kind, _, name = token.decode("latin-1").partition(":")
        if kind == "trouble":
            raise ConfigError("the keytab is gone")
        if kind != "ticket":
            raise AuthenticationError("Negotiate: nothing")
        name, _, mark = name.partition("#")
        digest = hashlib.sha256(mark.encode() or os.urandom(16)).digest()
        return Negotiated(self.world.ticket(name), b"answer", self.bound, digest)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[KCAWorld]:
    with authority(tmp_path, TEXT) as made:
        yield made


def client_of(world: KCAWorld, settings: HTTPSettings | None = None, **more: object) -> DescribedClient:
    app = create_app(
        world.service,
        KnowsTokens(world),  # type: ignore[arg-type]  # has what is used of a Negotiator
        settings or HTTPSettings(),
        now=lambda: world.now,
        **more,  # type: ignore[arg-type]  # by name
    )
    return described_client(app, describe())


@pytest.fixture
def client(world: KCAWorld) -> DescribedClient:
    return client_of(world)


def proof(name: str) -> dict[str, str]:
    return {"Authorization": "Negotiate " + base64.b64encode(f"ticket:{name}".encode()).decode()}


def csr(encoding: Encoding = Encoding.PEM) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(parse_name("/CN=x"))
    return builder.sign(new_key("p256"), hashes.SHA256()).public_bytes(encoding)


def test_a_certificate(client: DescribedClient) -> None:
    answer = client.post(PATH, data=csr(), headers=proof("alice"))
    assert answer.status_code == 200
    assert answer.headers["WWW-Authenticate"] == "Negotiate " + base64.b64encode(b"answer").decode()
    assert answer.headers["Cache-Control"] == "no-store"
    assert x509.load_pem_x509_certificate(answer.data).subject.rfc4514_string() == "CN=alice,OU=Test,O=Grid"


@pytest.mark.parametrize("text", ["1800", "30m", "1800s"])
def test_lifetimes(client: DescribedClient, world: KCAWorld, text: str) -> None:
    answer = client.post(f"{PATH}?lifetime={text}", data=csr(Encoding.DER), headers=proof("alice"))
    certificate = x509.load_pem_x509_certificate(answer.data)
    assert certificate.not_valid_after_utc == world.now + timedelta(minutes=30)


@pytest.mark.parametrize("text", ["", "0", "-1", "1y", "9999999999", "1.5", "x", "१"])
def test_lifetimes_that_are_none(client: DescribedClient, text: str) -> None:
    assert client.post(f"{PATH}?lifetime={text}", data=csr(), headers=proof("alice")).status_code == 400


def test_the_rate(client: DescribedClient, world: KCAWorld) -> None:
    for _ in range(3):
        assert client.post(PATH, data=csr(), headers=proof("alice")).status_code == 200
    for _ in range(2):
        answer = client.post(PATH, data=csr(), headers=proof("alice"))
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1201")
        assert answer.headers["WWW-Authenticate"].startswith("Negotiate ")
    world.now += timedelta(minutes=20)
    assert client.post(PATH, data=csr(), headers=proof("alice")).status_code == 200


def test_a_token_is_for_one_request(client: DescribedClient) -> None:
    """Where the replay cache does not know it, as at another node, the books do."""
    body = csr()
    answers = [client.post(PATH, data=one, headers=proof("alice#1")) for one in (body, body, csr())]
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert answers[0].data == answers[1].data
    assert "answered before" in answers[2].text


def test_trouble_on_this_side_says_nothing_of_it(client: DescribedClient, world: KCAWorld) -> None:
    with world.opened.books.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE issued")
    answer = client.post(PATH, data=csr(), headers=proof("alice"))
    assert (answer.status_code, answer.headers["Retry-After"], answer.text) == (503, "5", "not now; try again\n")
    trouble = {"Authorization": "Negotiate " + base64.b64encode(b"trouble").decode()}
    answer = client.post(PATH, data=csr(), headers=trouble)
    assert (answer.status_code, answer.text) == (500, "the authority cannot issue certificates now\n")
    assert "the keytab is gone" in world.records()[-1]["reason"]


def test_nothing_is_said_without_a_record(client: DescribedClient, world: KCAWorld) -> None:
    world.opened.audit.close()
    for data, name in ((csr(), "alice"), (csr(), "alice/admin"), (b"garbage", "alice")):
        assert client.post(PATH, data=data, headers=proof(name)).status_code == 503
    assert client.post(PATH, headers={"Authorization": "Negotiate AAAA"}).status_code == 503


def test_strangers_do_not_fill_the_audit(client: DescribedClient, world: KCAWorld) -> None:
    count = 5 * UNPROVEN_RECORDS_PER_SECOND
    for _ in range(count):
        assert client.post(PATH, data=b"x", headers={"Authorization": "Negotiate AAAA"}).status_code == 401
    assert UNPROVEN_RECORDS_PER_SECOND <= len(world.records()) < count


def test_a_binding_that_is_required(world: KCAWorld, tmp_path: Path) -> None:
    settings = HTTPSettings(require_channel_binding=True, certificate=str(tmp_path / "x"))
    answer = client_of(world, settings).post(PATH, data=csr(), headers=proof("alice"))
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Negotiate")


def test_the_query_of_bx509d(client: DescribedClient) -> None:
    der = csr(Encoding.DER)
    for text in (base64.b64encode(der).decode(), base64.urlsafe_b64encode(der).decode()):
        answer = client.get("/get-cert", query_string={"csr": text}, headers=proof("alice"))
        assert answer.status_code == 200, answer.text
    assert (
        client.get("/bx509", query_string={"csr": base64.b64encode(csr())}, headers=proof("alice")).status_code == 200
    )
    for query, expected in (
        ({}, 400),
        ({"csr": ["QQ==", "QQ=="]}, 400),
        ({"csr": "QQ=="}, 400),
        ({"csr": "!"}, 400),
        ({"csr": "A" * 9000}, 414),
        ({"csr": "QQ==", "eku": "1.2.3"}, 403),
        ({"csr": "QQ==", "lifetime": "never"}, 400),
    ):
        assert client.get("/get-cert", query_string=query, headers=proof("alice")).status_code == expected
    assert client.head("/get-cert", headers=proof("alice")).status_code == 405
    assert client.post("/get-cert", headers=proof("alice")).status_code == 405


def test_front_ends(world: KCAWorld) -> None:
    client = client_of(world, HTTPSettings(address_header="X-Real-IP"))
    assert client.post(PATH, data=csr(), headers=proof("alice")).status_code == 500
    for value, address in (("192.0.2.1", "192.0.2.1"), ("2001:DB8::1", "2001:db8::1")):
        answer = client.post(PATH, data=csr(), headers={**proof("alice"), "X-Real-IP": value})
        assert answer.status_code == 200
        assert world.records()[-1]["address"] == address
    for value in ("nowhere", "192.0.2.1, 192.0.2.2", ""):
        assert client.post(PATH, headers={**proof("alice"), "X-Real-IP": value}).status_code == 500
    doubled = [("X-Real-IP", "192.0.2.1"), ("X-Real-IP", "192.0.2.2"), *proof("alice").items()]
    assert client.post(PATH, data=csr(), headers=doubled).status_code == 500


def test_numbers(tmp_path: Path) -> None:
    metrics = Metrics(workers=2)
    with authority(tmp_path, TEXT) as world:
        told = client_of(world, metrics=lambda: render(metrics)).get("/metrics")
        assert told.status_code == 200
        assert 'kca_decisions_total{action="ISSUE",verdict="permit"} 0.0' in told.text
        assert client_of(world).get("/metrics").status_code == 404


@pytest.mark.parametrize("part", ["store", "keytab", "certificate"])
def test_balancers_are_told_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr("gsi.system.health.KEPT_SECONDS", 0)
    tmp_path.chmod(0o700)
    keytab, web = write_keytab(tmp_path / "http.keytab"), tmp_path / "web.pem"
    issuer, now = TestCA("/O=Grid/CN=Web CA", "p256"), datetime.now(UTC)
    issuer.issue("/O=Grid/CN=localhost", "p256").write(web, tmp_path / "web.key")
    table = f'[http]\ncertificate = "{web}"\nkey = "{tmp_path}/web.key"\nkeytab = "{keytab}"\nmetrics = true\n'
    reloads = Reloads()
    config = load_config(str(write_config(tmp_path, PLAIN_REALM + table)))
    app = make_application(config, Metrics(), reloads)
    assert isinstance(app, Flask)
    client = described_client(app, describe())
    reloads.note(refused=True)

    def look(*, fails: str) -> None:
        answer = client.get("/health")
        assert answer.status_code == (503 if fails else 200)
        assert answer.text == (f"{fails}: fails; the log has more\n" if fails else "ok\n") + reloads.words
        numbers = client.get("/metrics").text
        for name in ("store", "keytab", "certificate"):
            assert f'kca_http_check{{part="{name}"}} {float(name != fails)}' in numbers

    look(fails="")
    place = {"store": tmp_path / "store" / "kca.db", "keytab": keytab, "certificate": web}[part]
    place.rename(tmp_path / "elsewhere")
    if part == "certificate":
        day = timedelta(days=1)
        ended = issuer.issue("/O=Grid/CN=localhost", "p256", not_before=now - 9 * day, not_after=now - day)
        ended.write(web, tmp_path / "ended.key")
    look(fails=part)
    (tmp_path / "elsewhere").rename(place)
    look(fails="")


def test_an_authority_that_has_ended_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    day, now = timedelta(days=1), datetime.now(UTC)
    ended = TestCA("/O=Grid/CN=Old", "p256", not_before=now - 9 * day, not_after=now - day)
    table = f'[http]\nkeytab = "{write_keytab(tmp_path / "http.keytab")}"\n'
    app = make_application(load_config(str(write_config(tmp_path, PLAIN_REALM + table, ca=ended))))
    assert isinstance(app, Flask)
    answer = described_client(app, describe()).get("/health")
    assert (answer.status_code, answer.text) == (503, "certificate: fails; the log has more\n")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=80)
@given(
    header=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=60)
    | st.sampled_from(["Negotiate", "negotiate dGlja2V0OmFsaWNl", "Negotiate dGlja2V0OmFsaWNl"]),
    body=st.binary(max_size=200) | st.just(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"),
    query=st.text(max_size=20),
)
def test_whatever_comes_gets_an_answer_of_the_table(world: KCAWorld, header: str, body: bytes, query: str) -> None:
    client = client_of(world)
    answer = client.post(PATH, data=body, headers={"Authorization": header}, query_string={"lifetime": query})
    assert answer.status_code in {400, 401}
    answer = client.get("/get-cert", headers={"Authorization": header}, query_string={"csr": query})
    assert answer.status_code in {400, 401}
    assert f"alice@{REALM}" not in answer.text


def test_chunks_have_room_around_the_longest_body() -> None:
    """The sizes and ends of chunks are not the body's, which is counted when it is read."""
    config = SimpleNamespace(http=HTTPSettings(max_request_bytes=65536))
    assert _describe(config).limits.body_bytes >= 65536 // 8 * 13  # type: ignore[arg-type]  # has what is looked at


@pytest.mark.parametrize("announced", [True, False], ids=["length", "chunked"])
@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413), (5000, 413)])
def test_the_longest_body(world: KCAWorld, announced: bool, more: int, status: int) -> None:
    """The limit itself is allowed, whether the length was told or not."""
    limit = 4096
    client = client_of(world, HTTPSettings(max_request_bytes=limit))
    body = csr().ljust(limit + more, b"\n")
    if announced:
        answer = client.post(PATH, data=body, headers=proof("alice"))
    else:
        stream = {"input_stream": io.BytesIO(body), "environ_overrides": {"wsgi.input_terminated": True}}
        answer = client.post(PATH, headers=proof("alice"), **stream)
    assert answer.status_code == status


def test_the_document_is_held_to_the_routes(world: KCAWorld) -> None:
    """The client of all tests here holds each answer to the document; this is the other direction."""
    document = describe()
    client = client_of(world, metrics=lambda: b"numbers")
    assert client.get("/openapi.json").get_json() == document
    assert served_routes(client.application) == routes(document)
    for path in ("/health", "/metrics"):
        client.get(path)
    trouble = {"Authorization": "Negotiate " + base64.b64encode(b"trouble").decode()}
    as_json = {**proof("alice"), "Accept": "application/json"}
    refused: tuple[dict[str, str], ...] = (
        proof("alice/admin"),
        {},
        trouble,
        {**proof("alice"), "Origin": "https://elsewhere.example.org"},
    )
    for headers in (as_json, *refused, *[proof("alice")] * 3):
        client.post(PATH, data=csr(), headers=headers)
    for data in (b"garbage", b"x" * (1 << 20)):
        client.post(PATH, data=data, headers=proof("alice"))
    query = base64.b64encode(csr()).decode()
    for path in ("/get-cert", "/bx509"):
        client.get(path, query_string={"csr": query}, headers=proof(f"bob{len(path)}"))
        client.get(path, query_string={"csr": "A" * 9000}, headers=proof("bob"))
        client.get(path, headers=proof("bob"))
    world.opened.audit.close()
    client.post(PATH, data=csr(), headers=proof("alice"))
    silent = client_of(world)
    silent.get("/metrics")
    missing = statuses(document) - client.seen - silent.seen
    assert {status for _, _, status in missing} <= {status for _, _, status in client.seen}
    assert not {one for one in missing if one[2] == "200" or one[0] == PATH}
    answer = client.get("/nowhere")
    assert (answer.status_code, answer.text) == (404, "not found\n")
    assert client.put(PATH).headers["Allow"] == "POST"
