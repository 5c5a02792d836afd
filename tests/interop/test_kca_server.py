"""Our server with a real MIT KDC and clients that are not ours: both families' shapes, both seals, UDP and TCP."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gsi.system.audit_chain import verify_files
from tests.harness.ca import write_trust_dir
from tests.harness.daemons import free_port, gridftp_server
from tests.harness.environment import clean_environment
from tests.harness.kca_server import KCA, kca_server, the_authority
from tests.harness.kdc import REALM, Realm, mit_kdc
from tests.harness.kx509_peers import ask
from tests.harness.run import c_program, run

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = "kca_service/localhost"
ALICE = "/O=Grid/OU=Test/CN=alice"


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    users = {"alice": "pw", "bob": "pw", "alice/admin": "pw"}
    with mit_kdc(
        tmp_path_factory.mktemp("kdc"), users=users, services=[SERVICE, "HTTP/localhost"], realm=REALM
    ) as made:
        yield made


@pytest.fixture(scope="module")
def server(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KCA]:
    rest = f'[limits]\ncertificates = 0\n[realm."{REALM}"]\nbase = "/O=Grid/OU=Test"\n'
    with kca_server(tmp_path_factory.mktemp("server"), realm, rest=rest) as made:
        yield made


@pytest.fixture
def alice(realm: Realm) -> dict[str, str]:
    return realm.login("alice", "pw")


@pytest.mark.parametrize("way", ["udp", "tcp"])
@pytest.mark.parametrize("shape", ["umich", "umich-version", "heimdal8-raw"])
def test_bare_keys(server: KCA, alice: dict[str, str], shape: str, way: str) -> None:
    """One certificate; sealed as the client expects it, by what its AP-REQ shows."""
    found = ask(shape, server.port, env=alice, way=way)
    assert found["code"] == 0, found
    assert found["subjects"] == ["CN=alice,OU=Test,O=Grid"]
    assert found["sealed"] == (["heimdal8"] if shape == "heimdal8-raw" else ["rfc"])


@pytest.mark.parametrize("way", ["udp", "tcp"])
def test_request_without_attributes(server: KCA, alice: dict[str, str], way: str) -> None:
    """Heimdal 8's PKCS#10: the chain comes, leaf first."""
    found = ask("heimdal8", server.port, env=alice, way=way)
    assert found["code"] == 0, found
    assert found["sealed"] == ["heimdal8"]
    assert found["subjects"][0] == "CN=alice,OU=Test,O=Grid"


def test_probes(server: KCA, alice: dict[str, str]) -> None:
    found = ask("heimdal8-probe", server.port, env=alice)
    assert (found["code"], found["sealed"], found["subjects"]) == (0, ["heimdal8"], [])
    found = ask("probe", server.port, env=alice)
    assert (found["code"], found["sealed"]) == (0, [])
    assert found["reply"] <= found["request"]


@pytest.mark.parametrize(
    ("shape", "code"), [("umich", 2), ("heimdal8", 1012), ("heimdal8-raw", 1012), ("heimdal8-probe", 1012)]
)
def test_denied(server: KCA, realm: Realm, shape: str, code: int) -> None:
    """Who may have no certificate is told so under a seal, in the client's own numbers."""
    found = ask(shape, server.port, env=realm.login("alice/admin", "pw"))
    assert found["code"] == code, found
    assert found["sealed"]
    assert found["text"]
    assert found["subjects"] == []


@pytest.mark.parametrize("way", ["udp", "tcp"])
def test_the_same_message_again(server: KCA, alice: dict[str, str], way: str) -> None:
    """A lost reply is sent again, by whichever worker gets the message; nothing is issued twice."""
    before = sum(record["action"] == "ISSUE" and record["verdict"] == "permit" for record in server.records())
    found = ask("umich", server.port, env=alice, way=way, repeat=8)
    assert found["same"]
    after = sum(record["action"] == "ISSUE" and record["verdict"] == "permit" for record in server.records())
    assert after == before + 1


def test_bounded_by_the_ticket(server: KCA, realm: Realm, tmp_path: Path) -> None:
    """A ticket of ten minutes gives a certificate of ten minutes."""
    env = realm.login("bob", "pw", lifetime="10m")
    done = server.ours("kx509", "-no-cache", "-o", tmp_path / "out.pem", env=env).check()
    assert "CN=bob" in done.stdout
    leaf = x509.load_pem_x509_certificate((tmp_path / "out.pem").read_bytes())
    seconds = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds()
    assert 0 < seconds <= 10 * 60 + 5 * 60 + 60  # the backdating of five minutes


def test_kx509_and_its_cache(server: KCA, alice: dict[str, str], tmp_path: Path) -> None:
    server.ours("kx509", env=alice).check()
    shown = server.ours("kxlist", "-o", tmp_path / "one.pem", env=alice).check()
    assert "Service kx509cert\n" in shown.stdout
    assert f" subject= {ALICE}\n" in shown.stdout
    assert (tmp_path / "one.pem").stat().st_mode & 0o777 == 0o600
    server.ours("kx509", "-key-type", "rsa", env=alice).check()
    shown = server.ours("kxlist", "-quiet", "-o", tmp_path / "two.pem", env=alice).check()
    assert shown.stdout == ""
    key = serialization.load_pem_private_key((tmp_path / "two.pem").read_bytes(), None)
    modulus = key.private_numbers().public_numbers.n.to_bytes(256, "big")  # type: ignore[union-attr]  # an RSA key
    cache = Path(alice["KRB5CCNAME"].removeprefix("FILE:"))
    assert modulus in cache.read_bytes()
    server.ours("kxdestroy", env=alice).check()
    assert modulus not in cache.read_bytes()  # not only marked as removed
    assert server.ours("kxlist", env=alice).returncode == 1
    assert server.ours("kxdestroy", env=alice).returncode == 1
    run([c_program("klist"), "-s"], env=clean_environment(tmp_path) | alice).check()  # the tickets are still there


def test_from_ticket_to_gridftp(server: KCA, alice: dict[str, str], tmp_path: Path) -> None:
    """Ticket, certificate, proxy, and the real GridFTP server, which knows the name."""
    ca = the_authority()
    trust_dir = write_trust_dir(tmp_path / "certificates", ca, crl=True)
    proxy = tmp_path / "proxy"
    server.ours("kx509", "-proxy", env=alice | {"X509_USER_PROXY": str(proxy)}).check()
    with gridftp_server(ca.issue_host(), trust_dir, [ALICE]) as gridftp:
        (gridftp.files / "there").write_bytes(b"grid")
        env = clean_environment(tmp_path) | {"X509_USER_PROXY": str(proxy), "X509_CERT_DIR": str(trust_dir)}
        argv = [c_program("globus-url-copy"), gridftp.url(gridftp.files / "there"), f"file://{tmp_path}/here"]
        run(argv, env=env).check()
    assert (tmp_path / "here").read_bytes() == b"grid"


def test_proxy_of_p256(server: KCA, alice: dict[str, str], tmp_path: Path) -> None:
    """The proxy verifies under OpenSSL's own rules, with keys of P-256 all the way."""
    proxy = tmp_path / "proxy"
    server.ours("kx509", "-proxy", "-limited", "-key-type", "p256", "-out", proxy, env=alice).check()
    trust_dir = write_trust_dir(tmp_path / "certificates", the_authority(), crl=True)
    env = clean_environment(tmp_path) | {"X509_CERT_DIR": str(trust_dir)}
    done = run([c_program("grid-proxy-info"), "-file", proxy, "-type", "-identity"], env=env).check()
    assert "limited" in done.stdout
    assert ALICE in done.stdout


def test_wrong_service(server: KCA, realm: Realm) -> None:
    """A ticket for another service of the same keytab is not taken."""
    done = server.ours("kx509", "-service", f"HTTP/localhost@{realm.name}", env=realm.login("alice", "pw"))
    assert done.returncode == 1
    assert "proves nothing" in done.stderr
    assert any(record["action"] == "REQUEST" and record["verdict"] != "permit" for record in server.records()), (
        server.records()[-3:]
    )


def test_garbage_is_not_answered(server: KCA) -> None:
    """Neither noise, nor a reply sent back, nor a request cut short gets an answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(5)
        made.connect(("127.0.0.1", server.port))
        for noise in (
            b"",
            b"\0",
            b"\0\0\2\0",
            b"\0\0\2\0\x30\0",
            bytes(1400),
            bytes.fromhex("00000200300ba00302010ca3041a026e6f"),
        ):
            made.send(noise)
        # The probe behind them is answered, and nothing before it.
        made.send(bytes.fromhex("00000200 301a 0400 0414") + bytes(20) + bytes.fromhex("0400"))
        assert b"kx509" in made.recv(4096)


def test_ipv6(server: KCA, alice: dict[str, str]) -> None:
    done = server.ours(
        "kx509", "-no-cache", "-o", "-", "-s", f"[::1]:{server.port}", "-service", f"{SERVICE}@{REALM}", env=alice
    )
    done.check()
    assert "BEGIN CERTIFICATE" in done.stdout


def test_new_key_while_it_runs(server: KCA, realm: Realm) -> None:
    """The KDC's administrator gives the service another key; tickets by both are good."""
    before = realm.login("alice", "pw", service=f"{SERVICE}@{realm.name}")
    realm.kadmin(f"ktadd -k {realm.keytab} {SERVICE}")
    after = realm.login("alice", "pw", service=f"{SERVICE}@{realm.name}")
    for env in (before, after):
        server.ours("kx509", "-no-cache", "-o", "-", env=env).check()


def test_reload_and_stop(realm: Realm, alice: dict[str, str], tmp_path: Path) -> None:
    """SIGHUP changes the rules; a broken file is not used; SIGTERM ends it all."""
    with kca_server(tmp_path, realm) as one:
        one.ours("kx509", "-no-cache", "-o", "-", env=alice).check()
        text = one.config_path.read_text()
        one.config_path.write_text(text.replace("/OU=Test", "/OU=Other"))
        os.kill(one.daemon.pid, signal.SIGHUP)
        _wait_for(one, "configuration read again", 2)
        done = one.ours("kx509", "-no-cache", "-o", "-", env=alice).check()
        leaf = x509.load_pem_x509_certificate(done.stdout.encode())
        assert leaf.subject.rfc4514_string() == "CN=alice,OU=Other,O=Grid"
        one.config_path.write_text("nonsense")
        os.kill(one.daemon.pid, signal.SIGHUP)
        _wait_for(one, "the new configuration is not used", 1)
        one.ours("kx509", "-no-cache", "-o", "-", env=alice).check()


def _wait_for(server: KCA, text: str, times: int) -> None:
    deadline = time.monotonic() + 20
    while server.daemon.log().count(text) < times:
        assert time.monotonic() < deadline, server.daemon.log()
        time.sleep(0.02)


def test_monitors(realm: Realm, alice: dict[str, str], tmp_path: Path) -> None:
    """What became of messages, over all workers, by HTTP on the loopback interface."""
    port = free_port()
    with kca_server(tmp_path, realm, server=f'metrics = "127.0.0.1:{port}"') as one:
        assert ask("umich", one.port, env=alice, repeat=3)["same"]
        assert ask("heimdal8-probe", one.port, env=alice)["code"] == 0
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            text = reply.read().decode()
    assert 'kca_messages_total{outcome="issued"} 1.0' in text
    assert 'kca_messages_total{outcome="repeated"} 2.0' in text
    assert 'kca_messages_total{outcome="confirmed"} 1.0' in text
    assert 'kca_decisions_total{action="ISSUE",verdict="permit"} 1.0' in text
    assert all(f'kca_check{{part="{part}"}} 1.0' in text for part in ("keytab", "certificate", "store"))


def test_balancers_hear_of_a_keytab_that_is_gone(realm: Realm, tmp_path: Path) -> None:
    port, keytab, away = free_port(), tmp_path / "own.keytab", tmp_path / "away.keytab"
    shutil.copy2(realm.keytab, keytab)

    def wait_for_health(status: int, words: str) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as reply:
                    found = reply.status, reply.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    found = error.code, error.read().decode()
            if found == (status, words):
                return
            assert time.monotonic() < deadline, found
            time.sleep(0.05)

    place = dataclasses.replace(realm, keytab=keytab)
    with kca_server(tmp_path, place, server=f'metrics = "127.0.0.1:{port}"', workers=1) as one:
        wait_for_health(200, "ok\n")
        keytab.rename(away)
        wait_for_health(503, "keytab: fails; the log has more\n")
        assert f"{keytab}: no key for the service" in one.daemon.log()
        away.rename(keytab)
        wait_for_health(200, "ok\n")


def test_too_many_requests(realm: Realm, tmp_path: Path) -> None:
    """A source that asks too often is not heard, before what it says is looked at; each kind has its own pace.

    Datagrams can be sent in the name of any address, so they shut nobody's connections, and what is no request, the
    cheapest to send, does not shut requests.
    """
    probe = bytes.fromhex("00000200301a04000414") + bytes(20) + b"\x04\0"
    with (
        kca_server(tmp_path, realm, server="requests_per_second = 1", workers=1) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made,
    ):
        made.connect(("127.0.0.1", one.port))
        for _ in range(12):
            made.send(b"x")
        _wait_for(one, "too many requests (noise)", 1)
        made.settimeout(10)
        made.send(probe)
        assert b"kx509" in made.recv(4096)
        for _ in range(100):
            made.send(probe)
        _wait_for(one, "too many requests (udp)", 1)
        assert one.ours("kx509", "-tcp", "-no-cache", "-o", tmp_path / "x.pem", env=realm.login("alice", "pw")).check()
        made.setblocking(False)
        answers = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                made.recv(4096)
                answers += 1
        assert answers < 10


def test_worker_killed(realm: Realm, alice: dict[str, str], tmp_path: Path) -> None:
    """Another takes its place; nothing that was answered is forgotten."""
    with kca_server(tmp_path, realm) as one:
        one.ours("kx509", "-no-cache", "-o", "-", env=alice).check()
        children = Path(f"/proc/{one.daemon.pid}/task/{one.daemon.pid}/children").read_text().split()
        assert len(children) == 2
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        one.ours("kx509", "-no-cache", "-o", "-", env=alice).check()
        assert sum(record["action"] == "ISSUE" for record in one.records()) == 2


def test_log_rotation(realm: Realm, alice: dict[str, str], tmp_path: Path) -> None:
    """A file that was moved away or removed is followed by a new one; where there can be none, nothing is issued."""
    with kca_server(tmp_path, realm) as one:
        audit = one.directory / "store" / "audit.log"
        old = audit.with_suffix(".log.1")
        one.ours("kx509", "-no-cache", "-o", "-", env=alice).check()
        audit.rename(old)
        one.ours("kx509", "-no-cache", "-o", "-", env=alice).check()
        assert [record["verdict"] for record in one.records()] == ["permit"]
        assert not any(report.findings for report in verify_files([str(old), str(audit)]))
        audit.unlink()
        audit.mkdir()
        os.kill(one.daemon.pid, signal.SIGHUP)
        _wait_for(one, "the new configuration is not used", 1)
        refused = one.ours("kx509", "-no-cache", "-o", "-", env=alice)
        assert refused.returncode == 1
        assert "the service is in trouble" in refused.stderr
        audit.rmdir()
        one.ours("kx509", "-no-cache", "-o", "-", env=alice).check()
        assert [record["verdict"] for record in one.records()][-1:] == ["permit"]
        os.kill(one.daemon.pid, signal.SIGHUP)
        _wait_for(one, "configuration read again", 2)


def test_tickets_for_the_realm(tmp_path: Path) -> None:
    """What Heimdal 8's client shows by default, a ticket for the realm itself, is taken where that is allowed."""
    principal = f"krbtgt/{REALM}@{REALM}"
    with mit_kdc(tmp_path, users={"alice": "pw"}, services=[SERVICE]) as realm:
        realm.kadmin(f"ktadd -norandkey -k {realm.keytab} {principal}")
        for allowed in (True, False):
            place = tmp_path / str(allowed)
            place.mkdir()
            with kca_server(place, realm, server=f"realm_tickets = {str(allowed).lower()}") as one:
                done = one.ours("kx509", "-no-cache", "-o", "-", "-service", principal, env=realm.login("alice", "pw"))
                assert (done.returncode == 0) is allowed, done
                assert one.ours("kx509", "-no-cache", "-o", "-", env=realm.login("alice", "pw")).returncode == 0


def test_ticket_got_by_a_certificate(tmp_path: Path) -> None:
    """The loop from certificate to ticket to certificate ends here; the KDC calls SPAKE `pkinit` for this test."""
    with (
        mit_kdc(
            tmp_path,
            users={"alice": "pw", "bob": "pw"},
            services=[SERVICE],
            settings="  spake_preauth_indicator = pkinit\n",
            defaults="spake_preauth_groups = edwards25519\n",
            orders=["modprinc +requires_preauth alice"],
        ) as realm,
        kca_server(tmp_path, realm) as one,
    ):
        done = one.ours("kx509", "-no-cache", "-o", "-", env=realm.login("alice", "pw"))
        assert done.returncode == 1
        assert "pkinit" in done.stderr or "certificate" in done.stderr
        assert "the service says" in done.stderr
        one.ours("kx509", "-no-cache", "-o", "-", env=realm.login("bob", "pw")).check()
        assert [record["verdict"] for record in one.records()] == ["deny", "permit"]


def test_ticket_about_to_end(server: KCA, realm: Realm) -> None:
    """A certificate that is over at once helps nobody; the no is the service's own."""
    done = server.ours("kx509", "-no-cache", "-o", "-", env=realm.login("alice", "pw", lifetime="40s"))
    assert done.returncode == 1
    assert "the service says: the ticket has expired, or is about to" in done.stderr


def test_postdated_ticket(server: KCA, realm: Realm) -> None:
    """One that begins in an hour, and was not validated by the KDC."""
    before = len(server.records())
    principal = f"{SERVICE}@{realm.name}"
    env = realm.login("alice", "pw", service=principal, options=["-s", "1h"])
    done = server.ours("kx509", "-no-cache", "-o", "-", "-service", principal, env=env)
    assert done.returncode == 1
    assert all(record["verdict"] != "permit" for record in server.records()[before:])


def test_many_at_once(server: KCA, alice: dict[str, str]) -> None:
    """Clients of both shapes, over both transports, together: each gets its own."""
    from concurrent.futures import ThreadPoolExecutor

    orders = [(shape, way) for shape in ("umich", "heimdal8") for way in ("udp", "tcp")] * 3
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda order: ask(order[0], server.port, env=alice, way=order[1]), orders))
    assert [one["code"] for one in found] == [0] * len(orders), found
    assert len({one["leaf"] for one in found}) == len(orders)


@pytest.mark.parametrize("address", ["127.0.0.2", "127.9.9.9", "::1"])
def test_replies_from_the_address_that_was_asked(server: KCA, address: str) -> None:
    """On a machine with several addresses; a connected socket takes no datagram from any other."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.settimeout(10)
        made.connect((address, server.port))
        made.send(bytes.fromhex("00000200301a04000414") + bytes(20) + b"\x04\0")
        assert b"kx509" in made.recv(4096)
