"""The delegation service without sockets: what it gives, takes, keeps and refuses."""

from __future__ import annotations

import base64
import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from gsi.authz.web.peer import Presented
from gsi.certificate import load_certificates
from gsi.credential import Credential, parse_credential
from gsi.delegation import DelegationRequester, grant_delegation, parse_delegation_request
from gsi.errors import ConfigError, StorageError
from gsi.keys import KeyType, generate_key
from gsi.pem import encode_pem, split_pem
from gsi.proxy.chain import ProxyChain
from gsi.proxy.issue import ProxyOptions
from gsi.proxy.kinds import ProxyKind
from gsi.sql.engine import open_sqlite
from gsi.system.audit import AuditLog
from gsi.system.config import parse_config
from gsi.system.metrics import AuditMetrics
from gsi.system.trustdir import TrustDirectory
from gsi.transport.rates import RateCap
from gsi.transport.wsgi_server import Reloads
from myproxy.delegation import config
from myproxy.delegation.app import create_app
from myproxy.delegation.config import DelegationConfig, ServiceSettings, load_config
from myproxy.delegation.openapi import describe
from myproxy.delegation.service import DelegationService, delegation_id
from myproxy.delegation.serving import ACTIONS, make_application
from myproxy.delegation.store import MAX_OF_ONE, Owner, Seal, open_store
from myproxy.repository.serverkeys import ServerKey
from tests.harness.ca import TestCA, write_file, write_trust_dir
from tests.harness.openapi import described_client, routes, served_routes, statuses
from tests.harness.voms import VO, VOMSServer, ac_extension

ALICE = "/O=Grid/CN=Alice"
FTS = "/O=Grid/CN=host\\/fts.example.org"


class Desk:
    """The service with a clock that is set, and its clients."""

    def __init__(self, directory: Path, ca: TestCA, *, per_minute: float = 600, **more: str) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.directory = directory
        directory.mkdir(exist_ok=True)
        write_trust_dir(directory / "certificates", ca)
        write_file(directory / "one.key", base64.b64encode(bytes(range(32))), 0o600)
        services = more.get("services", 'identities = ["/O=Grid/CN=FTS"]\nusers = ["/O=Grid/CN=Al*"]\nlifetime = "2h"')
        text = f"""
[http]
certificate = "none"
[store]
directory = "{directory}/store"
keys = ["{directory}/one.key"]
[trust]
{more.get("trust", "")}
[delegations]
users = ["{more.get("users", "/O=Grid/*")}"]
longest = "12h"
[services.fts]
{services}
"""
        self.config = parse_config(text.encode(), DelegationConfig, path="delegation.toml")
        trust = TrustDirectory(str(directory / "certificates"))
        self.store = open_store(self.config.store)
        self.audit = AuditLog(str(directory / "store" / "audit.log"))
        service = DelegationService(self.config, self.store, trust.anchors, make_key=lambda: generate_key(KeyType.P256))
        app = create_app(
            service, self.audit, now=lambda: self.now, rates=RateCap(per_minute), metrics=lambda: b"numbers"
        )
        self.client = described_client(app, describe())

    def close(self) -> None:
        self.store.close()
        self.audit.close()

    def call(
        self, who: Credential | None, method: str, path: str, data: bytes = b"", headers: dict[str, str] | None = None
    ) -> TestResponse:
        chain = () if who is None else [one.der for one in who.certificates]
        environ = {"test.chain": chain, "PATH_INFO": path.partition("?")[0]}
        return self.client.open(path, method=method, data=data, headers=headers, environ_overrides=environ)

    def sign(self, who: Credential, wanted: bytes, options: ProxyOptions | None = None) -> bytes:
        """The proxy with its chain, as the user's program sends it."""
        (block,) = split_pem(wanted, what="request")
        chain = grant_delegation(who, parse_delegation_request(block.data), options, now=self.now)
        return b"".join(one.pem() for one in chain)

    def delegate(self, who: Credential, options: ProxyOptions | None = None) -> TestResponse:
        place = f"/delegation/{self.call(who, 'GET', '/whoami').get_json()['delegation_id']}"
        wanted = self.call(who, "GET", f"{place}/request")
        assert wanted.headers["X-Delegation-ID"] in place
        return self.call(who, "PUT", f"{place}/credential", self.sign(who, wanted.data, options))

    def fetch(
        self, service: Credential, whose: str = ALICE, query: str = ""
    ) -> tuple[DelegationRequester, TestResponse]:
        requester = DelegationRequester(generate_key(KeyType.P256))
        wanted = encode_pem("CERTIFICATE REQUEST", requester.request_der)
        place = f"/delegation/{delegation_id(whose, ())}/proxy{query}"
        return requester, self.call(service, "POST", place, wanted)


@pytest.fixture(autouse=True)
def see_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the TLS layer would be asked."""

    def see(environ: dict[str, Any], _front_end: None) -> Presented:
        return Presented(environ["test.chain"], "192.0.2.7")

    monkeypatch.setattr("myproxy.delegation.app.presented_in_environ", see)


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture(scope="module")
def people(ca: TestCA) -> dict[str, Credential]:
    return {
        name: parse_credential(ca.issue(f"/O=Grid/CN={name}", "p256").bundle(), source=name)
        for name in ("Alice", "Bob", "FTS", "Other")
    }


@pytest.fixture
def desk(tmp_path: Path, ca: TestCA) -> Iterator[Desk]:
    made = Desk(tmp_path, ca)
    yield made
    made.close()


def test_the_whole_way(desk: Desk, people: dict[str, Credential]) -> None:
    alice = people["Alice"]
    told = desk.call(alice, "GET", "//whoami").get_json()
    assert (told["user_dn"], told["delegation_id"]) == (ALICE, delegation_id(ALICE, ()))
    place = f"/delegation/{told['delegation_id']}"
    assert desk.call(alice, "GET", place).get_json() is None
    assert desk.delegate(alice, ProxyOptions(lifetime=timedelta(hours=10))).status_code == 201
    until = desk.call(alice, "GET", place).get_json()
    assert until == {"termination_time": f"{desk.now + timedelta(hours=10):%Y-%m-%dT%H:%M:%S}", "voms_attrs": []}
    requester, answer = desk.fetch(people["FTS"])
    proxy = requester.accept([one.der for one in load_certificates(answer.data)], now=desk.now)
    assert ProxyChain.split(proxy.certificates).identity_text == ALICE
    assert proxy.not_after == desk.now + timedelta(hours=2), "no longer than the site lets the service"
    requester, answer = desk.fetch(people["FTS"], query="?lifetime=600")
    proxy = requester.accept([one.der for one in load_certificates(answer.data)], now=desk.now)
    assert proxy.not_after == desk.now + timedelta(minutes=10)
    assert desk.call(alice, "DELETE", place).status_code == 204
    assert desk.call(alice, "DELETE", place).status_code == 404
    assert desk.fetch(people["FTS"])[1].status_code == 404
    log = (desk.directory / "store" / "audit.log").read_text("ascii")
    assert [word in log for word in ('"DELEGATE"', '"FETCH"', '"REMOVE"', "PRIVATE")] == [True, True, True, False]


def test_a_waiting_request_is_one_and_ends(desk: Desk, people: dict[str, Credential]) -> None:
    alice, place = people["Alice"], f"/delegation/{delegation_id(ALICE, ())}"

    def key() -> bytes:
        (block,) = split_pem(desk.call(alice, "GET", f"{place}/request").data, what="request")
        return parse_delegation_request(block.data).spki_der

    first = desk.call(alice, "GET", f"{place}/request").data
    assert key() == key()
    desk.now += timedelta(hours=1)
    late = desk.call(alice, "PUT", f"{place}/credential", desk.sign(alice, first))
    assert late.status_code == 404
    (block,) = split_pem(first, what="request")
    assert key() != parse_delegation_request(block.data).spki_der
    assert desk.call(alice, "PUT", f"{place}/credential", desk.sign(alice, first)).status_code == 400


def test_only_one_s_own(desk: Desk, people: dict[str, Credential]) -> None:
    alice, bob = people["Alice"], people["Bob"]
    place = f"/delegation/{delegation_id(ALICE, ())}"
    assert desk.delegate(alice).status_code == 201
    for method, path in (("GET", ""), ("GET", "/request"), ("PUT", "/credential"), ("DELETE", "")):
        assert desk.call(bob, method, place + path, b"x").status_code == 403, path
        assert desk.call(None, method, place + path, b"x").status_code == 401, path
    assert desk.call(alice, "GET", place, headers={"Sec-Fetch-Mode": "cors"}).status_code == 403
    wanted = desk.call(alice, "GET", f"{place}/request").data
    by_bob = desk.sign(bob, wanted)
    assert desk.call(alice, "PUT", f"{place}/credential", by_bob).status_code == 403
    assert desk.call(alice, "GET", place).get_json() is not None
    assert "identity that delegates" in (desk.directory / "store" / "audit.log").read_text("ascii")


def test_proxies_that_are_not_taken(desk: Desk, people: dict[str, Credential], ca: TestCA) -> None:
    alice, place = people["Alice"], f"/delegation/{delegation_id(ALICE, ())}"
    wanted = desk.call(alice, "GET", f"{place}/request").data
    good = desk.sign(alice, wanted)
    stranger = parse_credential(TestCA("/O=Else/CN=CA", "p256").issue(ALICE, "p256").bundle(), source="stranger")
    other_key = encode_pem("CERTIFICATE REQUEST", DelegationRequester(generate_key(KeyType.P256)).request_der)
    leaf = good[: good.index(b"-----END CERTIFICATE-----") + 26]
    wrong: dict[str, tuple[bytes, int]] = {
        "nothing": (b"", 400),
        "no PEM": (b"\x00\x01", 400),
        "no chain": (leaf, 400),
        "another key": (desk.sign(alice, other_key), 400),
        "no proxy": (alice.encode_chain(), 400),
        "an unknown authority": (desk.sign(stranger, wanted), 400),
        "independent": (desk.sign(alice, wanted, ProxyOptions(kind=ProxyKind.INDEPENDENT)), 403),
        "too long": (desk.sign(alice, wanted, ProxyOptions(lifetime=timedelta(hours=13))), 403),
        "too large": (good + b"#" * (1 << 20), 413),
    }
    for what, (data, status) in wrong.items():
        answer = desk.call(alice, "PUT", f"{place}/credential", data)
        assert answer.status_code == status, (what, answer.text)
        assert answer.get_json()["message"], what
    assert desk.call(alice, "GET", place).get_json() is None
    limited = desk.sign(alice, wanted, ProxyOptions(kind=ProxyKind.LIMITED))
    assert desk.call(alice, "POST", f"{place}/credential", limited).status_code == 201
    requester, answer = desk.fetch(people["FTS"])
    proxy = requester.accept([one.der for one in load_certificates(answer.data)], now=desk.now)
    assert ProxyChain.split(proxy.certificates).is_limited


def test_attributes_are_part_of_what_is_delegated(tmp_path: Path, ca: TestCA, people: dict[str, Credential]) -> None:
    server, issued = VOMSServer(ca), ca.issue(ALICE, "p256")
    server.write_lsc(tmp_path / "vomsdir")
    proxy = issued.proxy(extensions=[ac_extension(server.attribute_certificate(issued))])
    member, plain = (parse_credential(one.bundle(), source="alice") for one in (proxy, issued))
    desk = Desk(tmp_path, ca, trust=f'vomsdir = "{tmp_path}/vomsdir"')
    told = desk.call(member, "GET", "/whoami").get_json()
    assert told["vos"] == [VO]
    assert told["delegation_id"] == delegation_id(ALICE, told["voms_cred"]) != delegation_id(ALICE, ())
    assert desk.delegate(member).status_code == 201
    assert desk.delegate(plain).status_code == 201
    place = f"/delegation/{told['delegation_id']}"
    assert desk.call(member, "GET", place).get_json()["voms_attrs"] == told["voms_cred"]
    assert desk.call(plain, "GET", place).status_code == 403
    wanted = desk.call(member, "GET", f"{place}/request").data
    without = desk.call(member, "PUT", f"{place}/credential", desk.sign(plain, wanted))
    assert (without.status_code, "other attributes" in without.text) == (403, True)
    desk.close()


def test_services_have_what_the_site_says(desk: Desk, people: dict[str, Credential]) -> None:
    for who in ("Alice", "Bob"):
        assert desk.delegate(people[who]).status_code == 201
    assert desk.fetch(people["Other"])[1].status_code == 403
    assert desk.fetch(people["Alice"])[1].status_code == 403, "the owner is no service"
    assert desk.fetch(people["FTS"], "/O=Grid/CN=Bob")[1].status_code == 403
    assert desk.fetch(people["FTS"], query="?lifetime=-1")[1].status_code == 400
    place = f"/delegation/{delegation_id(ALICE, ())}/proxy"
    assert desk.call(people["FTS"], "POST", place, b"no request").status_code == 400
    desk.now += timedelta(hours=12)
    assert desk.fetch(people["FTS"])[1].status_code == 404


def test_who_may_delegate(tmp_path: Path, ca: TestCA, people: dict[str, Credential]) -> None:
    desk = Desk(tmp_path, ca, users="/O=Grid/CN=Al*")
    for who, status in (("Alice", 200), ("Bob", 403)):
        place = f"/delegation/{delegation_id(f'/O=Grid/CN={who}', ())}"
        assert desk.call(people[who], "GET", f"{place}/request").status_code == status
    desk.close()


def test_nothing_on_the_disk_is_in_clear_or_fits_elsewhere(desk: Desk, people: dict[str, Credential]) -> None:
    for who in ("Alice", "Bob"):
        desk.delegate(people[who])
    for path in (desk.directory / "store").iterdir():
        assert b"PRIVATE KEY" not in path.read_bytes()
    database = open_sqlite(str(desk.directory / "store" / "delegation.db"))
    with database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE delegations SET proxy = (SELECT proxy FROM delegations WHERE identity = '/O=Grid/CN=Bob') "
            f"WHERE identity = '{ALICE}'"
        )
    database.close()
    answer = desk.fetch(people["FTS"])[1]
    assert answer.status_code == 503
    assert "another row" not in answer.text


def test_keys_can_be_changed() -> None:
    old, new = ServerKey(bytes(32)), ServerKey(bytes(range(32)))
    blob = Seal([old]).close(b"secret", "place")
    assert Seal([new, old]).open(blob, "place") == b"secret"
    for seal, data, place in (
        (Seal([new]), blob, "place"),
        (Seal([old]), blob, "elsewhere"),
        (Seal([old]), blob[:-1], "place"),
        (Seal([old]), b"", "place"),
    ):
        with pytest.raises(StorageError):
            seal.open(data, place)


def test_not_too_many_of_one(desk: Desk) -> None:
    def ask(number: int) -> None:
        owner = Owner(f"{number:016x}", ALICE, (f"/vo{number}",))
        desk.store.ask(owner, b"key", now=desk.now, until=desk.now + timedelta(hours=1))

    for number in range(MAX_OF_ONE):
        ask(number)
    with pytest.raises(StorageError, match="too many"):
        ask(MAX_OF_ONE)
    desk.now += timedelta(hours=1)
    ask(MAX_OF_ONE)


def test_one_identity_cannot_keep_the_service_busy(tmp_path: Path, ca: TestCA, people: dict[str, Credential]) -> None:
    desk = Desk(tmp_path, ca, per_minute=3)
    stranger = parse_credential(TestCA("/O=Else/CN=CA", "p256").issue(ALICE, "p256").bundle(), source="stranger")
    for who, served in ((people["Alice"], 200), (stranger, 401)):
        found = [desk.call(who, "GET", "/whoami").status_code for _ in range(4)]
        assert found == [served] * 3 + [429]
    assert desk.call(people["Bob"], "GET", "/whoami").status_code == 200
    desk.close()


def test_numbers_are_for_this_machine(desk: Desk) -> None:
    for address, status in (("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 404), ("", 404)):
        answer = desk.client.get("/metrics", environ_overrides={"REMOTE_ADDR": address})
        assert answer.status_code == status, address
    assert desk.client.get("/health").text == "ok\n"


@pytest.mark.parametrize("part", ["", "store", "trust", "certificate"])
def test_balancers_are_told_what_fails(tmp_path: Path, ca: TestCA, part: str) -> None:
    tmp_path.chmod(0o700)
    trust = write_trust_dir(tmp_path / "certificates", *(() if part == "trust" else (ca,)))
    write_file(tmp_path / "one.key", base64.b64encode(bytes(32)), 0o600)
    now = datetime.now(UTC)
    ends = now + timedelta(days=-1 if part == "certificate" else 1)
    host = ca.issue("/O=Grid/CN=localhost", "p256", not_before=now - timedelta(days=9), not_after=ends)
    host.write(tmp_path / "cert.pem", tmp_path / "key.pem")
    text = f"""
[http]
certificate = "{tmp_path}/cert.pem"
key = "{tmp_path}/key.pem"
metrics = true
[store]
directory = "{tmp_path}/store"
keys = ["{tmp_path}/one.key"]
[trust]
directory = "{trust}"
"""
    metrics, reloads = AuditMetrics("myproxy_delegation", actions=ACTIONS, names=()), Reloads()
    config = parse_config(text.encode(), DelegationConfig, path="delegation.toml")
    app = make_application(config, metrics, reloads)
    assert isinstance(app, Flask)
    client = described_client(app, describe())
    if part == "store":
        (tmp_path / "store" / "delegation.db").rename(tmp_path / "elsewhere.db")
    reloads.note(refused=True)
    answer = client.get("/health")
    assert answer.status_code == (503 if part else 200)
    assert answer.text == (f"{part}: fails; the log has more\n" if part else "ok\n") + reloads.words
    numbers = client.get("/metrics", environ_overrides={"REMOTE_ADDR": "127.0.0.1"}).text
    for name in ("store", "trust", "certificate"):
        assert f'myproxy_delegation_check{{part="{name}"}} {float(name != part)}' in numbers


def test_configurations_that_make_no_sense(tmp_path: Path) -> None:
    for identities in ((), ("*",)):
        with pytest.raises(ConfigError):
            ServiceSettings(identities=identities)
    path = tmp_path / "delegation.toml"
    for text in ('[http]\ncertificate = "x"\n[store]\nkeys = []\n', '[http]\ncertificate = "x"\n[store]\nkey = "x"\n'):
        write_file(path, text.encode(), 0o600)
        with pytest.raises(ConfigError):
            load_config(str(path))


def test_the_document_is_held_to_the_routes(tmp_path: Path, ca: TestCA, people: dict[str, Credential]) -> None:
    """The client of all tests here holds each answer to the document; this is the other direction."""
    desk, busy, alice = Desk(tmp_path, ca), Desk(tmp_path / "busy", ca, per_minute=1), people["Alice"]
    document, place = describe(), f"/delegation/{delegation_id(ALICE, ())}"
    assert desk.client.get("/openapi.json").get_json() == document
    assert served_routes(desk.client.application) == routes(document)
    for path in ("/", "/health"):
        desk.client.get(path)
    for address in ("127.0.0.1", "192.0.2.7"):
        desk.client.get("/metrics", environ_overrides={"REMOTE_ADDR": address})
    desk.delegate(alice)
    wanted = desk.call(alice, "GET", f"{place}/request").data
    desk.call(alice, "POST", f"{place}/credential", desk.sign(alice, wanted))
    desk.fetch(people["FTS"])
    for method, path, data in (
        ("GET", place, b""),
        ("DELETE", place, b""),
        ("DELETE", place, b""),
        ("PUT", f"{place}/credential", b"#" * (2 << 20)),
        ("POST", f"{place}/proxy", b"no request"),
        ("GET", f"{place[:-1]}x", b""),
    ):
        desk.call(alice, method, path, data)
    desk.call(None, "GET", "/whoami")
    until = desk.now + timedelta(hours=1)
    for number in range(MAX_OF_ONE):
        desk.store.ask(Owner(f"{number:016x}", ALICE, ()), b"key", now=desk.now, until=until)
    desk.call(alice, "GET", f"{place}/request")
    with (
        contextlib.closing(open_sqlite(str(tmp_path / "store" / "delegation.db"))) as database,
        database.write() as connection,
    ):
        connection.exec_driver_sql("DROP TABLE delegations")
    desk.call(alice, "GET", place)
    for _ in range(2):
        busy.call(alice, "GET", "/whoami")
    shutil.rmtree(tmp_path / "busy" / "certificates")
    busy.call(people["Bob"], "GET", "/whoami")
    seen = desk.client.seen | busy.client.seen
    assert {status for _, _, status in statuses(document)} == {status for _, _, status in seen}
    assert not {one for one in statuses(document) - seen if one[2] < "300"}
    desk.audit.close()
    busy.close()


def test_every_setting_is_in_the_reference() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/http-api.md").read_text("utf-8")
    told = page.partition("### Its configuration")[2]
    tables = (config.HTTPSettings, config.StoreSettings, config.TrustSettings, config.DelegationSettings)
    for table in (*tables, config.ServiceSettings):
        for field in fields(table):
            assert re.search(rf"`{field.name}`", told), (table, field.name)
