"""The command kx509 with our server: every kind of key, every place for the result, every way of being told no."""

from __future__ import annotations

import stat
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.harness.ca import write_trust_dir
from tests.harness.environment import clean_environment
from tests.harness.kca_server import KCA, kca_server, the_authority
from tests.harness.kdc import REALM, Realm, mit_kdc
from tests.harness.name_server import name_server
from tests.harness.run import c_program, our_program, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUBJECT = "CN=alice,OU=Test,O=Grid"


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    users = {"alice": "pw", "mallory/admin": "pw"}
    with mit_kdc(tmp_path_factory.mktemp("kdc"), users=users, services=["kca_service/localhost"]) as made:
        yield made


@pytest.fixture(scope="module")
def server(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KCA]:
    place = tmp_path_factory.mktemp("server")
    rest = f'[limits]\ncertificates = 0\n[realm."{REALM}"]\nbase = "/O=Grid/OU=Test"\n'
    with kca_server(place, realm, rest=rest) as made:
        yield made


@pytest.fixture
def alice(realm: Realm) -> dict[str, str]:
    return realm.login("alice", "pw")


@pytest.mark.parametrize("form", ["auto", "csr", "rsa"])
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])
@pytest.mark.parametrize("way", ["-udp", "-tcp"])
def test_keys(server: KCA, alice: dict[str, str], tmp_path: Path, form: str, kind: str, way: str) -> None:
    out = tmp_path / "out.pem"
    arguments = ("-form", form, "-key-type", kind, way, "-no-cache", "-out", out)
    done = server.ours("kx509", *arguments, env=alice)
    if form == "rsa" and kind != "rsa":
        assert done.returncode == 1
        assert "cannot send" in done.stderr
        return
    done.check()
    pem = out.read_bytes()
    leaf, key = x509.load_pem_x509_certificate(pem), serialization.load_pem_private_key(pem, None)
    assert leaf.subject.rfc4514_string() == SUBJECT
    assert leaf.public_key() == key.public_key()
    assert isinstance(key, rsa.RSAPrivateKey if kind == "rsa" else ec.EllipticCurvePrivateKey)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    leaf.verify_directly_issued_by(the_authority().certificate)


def test_openssl_judges_the_chain(server: KCA, alice: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out.pem"
    server.ours("kx509", "-no-cache", "-out", out, env=alice).check()
    (tmp_path / "ca.pem").write_bytes(the_authority().pem)
    argv: list[str | Path] = [
        c_program("openssl"),
        "verify",
        "-x509_strict",
        "-purpose",
        "sslclient",
        "-CAfile",
        tmp_path / "ca.pem",
        out,
    ]
    run(argv, env=clean_environment(tmp_path)).check()


def test_key_and_certificate_apart(server: KCA, alice: dict[str, str], tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    server.ours("kx509", "-no-cache", "-t", certificate, "-k", key, env=alice).check()
    assert b"PRIVATE KEY" not in certificate.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    own = serialization.load_pem_private_key(key.read_bytes(), None)
    # The same key once more, for another certificate.
    server.ours("kx509", "-no-cache", "-private-key", f"FILE:{key}", "-t", certificate, env=alice).check()
    assert x509.load_pem_x509_certificate(certificate.read_bytes()).public_key() == own.public_key()


def test_key_somewhere_else(server: KCA, alice: dict[str, str], tmp_path: Path) -> None:
    """A request made by another program: what it wishes for is not what it gets, but its key is."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    path, out = tmp_path / "request.pem", tmp_path / "out.pem"
    path.write_bytes(request.public_bytes(serialization.Encoding.PEM))
    done = server.ours("kx509", "-csr", f"PKCS10:{path}", "-out", out, env=alice).check()
    assert "PRIVATE KEY" not in out.read_text()
    leaf = x509.load_pem_x509_certificate(out.read_bytes())
    assert leaf.public_key() == key.public_key()
    assert leaf.subject.rfc4514_string() == SUBJECT
    assert "/O=Grid/OU=Test/CN=alice" in done.stdout
    assert server.ours("kxlist", env=alice).returncode == 1  # nothing to keep without a key
    done = server.ours("kx509", "-csr", path, "-form", "rsa", "-out", out, env=alice)
    assert done.returncode == 1
    assert "-csr is sent as it is" in done.stderr


def test_extract(server: KCA, alice: dict[str, str], tmp_path: Path) -> None:
    """Once kept, it can be had again without the service."""
    server.ours("kx509", "-key-type", "rsa", env=alice).check()
    out, proxy = tmp_path / "out.pem", tmp_path / "proxy.pem"
    argv: list[str | Path] = [our_program("kx509"), "-extract", "-quiet", "-out"]
    env = clean_environment(tmp_path) | alice
    assert run([*argv, out], env=env).check().stdout == ""
    run([*argv, proxy, "-proxy", "-valid", "0:10"], env=env).check()
    trust = write_trust_dir(tmp_path / "certificates", the_authority(), crl=True)
    info: list[str | Path] = [c_program("grid-proxy-info"), "-file", proxy, "-identity", "-type", "-timeleft"]
    done = run(info, env=clean_environment(tmp_path) | {"X509_CERT_DIR": str(trust)}).check()
    assert "/O=Grid/OU=Test/CN=alice\n" in done.stdout
    assert "RFC 3820 compliant impersonation proxy\n" in done.stdout
    assert 0 < int(done.stdout.split()[-1]) <= 600


def test_standard_output(server: KCA, alice: dict[str, str]) -> None:
    """With - nothing but PEM is written there."""
    done = server.ours("kx509", "-no-cache", "-out", "-", env=alice).check()
    assert done.stdout.startswith("-----BEGIN CERTIFICATE-----\n")
    assert done.stdout.endswith("-----\n")
    done = server.ours("kx509", "-t", "-", env=alice).check()
    assert done.stdout.startswith("-----BEGIN CERTIFICATE-----\n")
    assert "PRIVATE KEY" not in done.stdout
    assert server.ours("kxlist", "-o", "-", env=alice).check().stdout.startswith(done.stdout[:-1])


def test_proxy_keeps_nothing_else(server: KCA, alice: dict[str, str], tmp_path: Path) -> None:
    proxy = tmp_path / "proxy.pem"
    server.ours("kx509", "-proxy", "-key-type", "p256", env=alice | {"X509_USER_PROXY": str(proxy)}).check()
    chain = x509.load_pem_x509_certificates(proxy.read_bytes())
    assert [one.subject.rfc4514_string().endswith(SUBJECT) for one in chain] == [True, True]
    assert chain[0].not_valid_after_utc <= chain[1].not_valid_after_utc
    assert server.ours("kxlist", env=alice).returncode == 1


def test_ticket_end(server: KCA, realm: Realm, tmp_path: Path) -> None:
    """Neither certificate nor proxy outlives the ticket."""
    env = realm.login("alice", "pw", lifetime="20m")
    proxy = tmp_path / "proxy.pem"
    done = server.ours("kx509", "-proxy", "-key-type", "p256", "-valid", "12:00", "-out", proxy, env=env).check()
    assert "warning: the proxy ends with the certificate" in done.stderr
    done = server.ours("kx509", "-proxy", "-key-type", "p256", "-valid", "0:10", "-out", proxy, env=env).check()
    assert done.stderr == ""
    for one in x509.load_pem_x509_certificates(proxy.read_bytes()):
        assert (one.not_valid_after_utc - datetime.now(UTC)).total_seconds() <= 20 * 60


def test_denied(server: KCA, realm: Realm, tmp_path: Path) -> None:
    """A no of the service is final, and nothing is written."""
    env = realm.login("mallory/admin", "pw")
    out = tmp_path / "out.pem"
    done = server.ours("kx509", "-d", "-out", out, env=env)
    assert done.returncode == 1
    assert "error: the service says: " in done.stderr
    assert done.stderr.count("asking") == 1  # no other form of the key is tried
    assert not out.exists()
    done = server.ours("kx509", "-test", env=env)
    assert done.returncode == 1
    assert "the service says" in done.stderr


def test_next_host(server: KCA, alice: dict[str, str]) -> None:
    """One that is not there, one whose principal nobody knows, then the right one."""
    hosts = ("-s", "localhost:1", "-s", "nobody.localhost:9", "-s", server.address)
    done = server.ours("kx509", "-d", "-no-cache", "-o", "-", *hosts, env=alice).check()
    assert done.stderr.count("asking") == 3


# The real resolver of ours, with another resolv.conf and another port than 53, which only root could listen on.
BY_DNS = """\
import sys
from kca import srv
srv.RESOLV_CONF, srv._PORT = sys.argv[1], int(sys.argv[2])
from kca.cli.kx509 import main
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize("protocols", [("udp", "tcp"), ("tcp",)])
def test_found_in_dns(server: KCA, realm: Realm, tmp_path: Path, protocols: tuple[str, ...]) -> None:
    """The service of the realm by its SRV records; the first one named is down, so that the order shows."""
    conf, resolv = tmp_path / "krb5.conf", tmp_path / "resolv.conf"
    conf.write_text(realm.krb5_conf.read_text().replace("dns_lookup_kdc = false", "dns_lookup_kdc = true"))
    resolv.write_text("nameserver 127.0.0.1\n")
    env = clean_environment(tmp_path) | realm.login("alice", "pw") | {"KRB5_CONFIG": str(conf)}
    records = [(20, 0, server.port, "localhost"), (10, 0, 1, "localhost")]
    with name_server({f"_kca._{protocol}.{REALM}": records for protocol in protocols}) as (place, asked):
        argv: list[str | Path] = [sys.executable, "-c", BY_DNS, resolv, str(place[1]), "-d", "-no-cache", "-o", "-"]
        done = run(argv, env=env).check()
    assert done.stdout.startswith("-----BEGIN CERTIFICATE-----\n")
    assert asked == [f"_kca._udp.{REALM}", f"_kca._tcp.{REALM}"]
    assert "asking localhost:1 (DNS)" in done.stderr
    assert f"asking localhost:{server.port} (DNS)" in done.stderr
    assert [one["transport"] for one in server.records()][-1] == protocols[0]
