"""Our kx509 with Heimdal 7's KDC, the only other service of KX.509 that distributions carry."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from tests.harness.ca import TestCA
from tests.harness.daemons import free_port
from tests.harness.environment import clean_environment
from tests.harness.kca_server import kca_server
from tests.harness.kdc import Realm, heimdal_kdc, heimdal_kx509, host_name, mit_kdc
from tests.harness.run import Done, our_program, run

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBJECT = "CN=alice,OU=Kerberos,O=Grid"


def _services() -> list[str]:
    return sorted({f"kca_service/{name}" for name in (host_name(), "localhost")})


@pytest.fixture(scope="module")
def heimdal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A KDC that issues certificates for every ticket."""
    place = tmp_path_factory.mktemp("heimdal")
    settings = heimdal_kx509(place, TestCA("/O=Grid/CN=Heimdal KCA"))
    with heimdal_kdc(place, users={"alice": "pw"}, services=_services(), settings=settings) as made:
        yield made


def _kx509(realm: Realm, env: dict[str, str], *arguments: str | Path, port: int | None = None) -> Done:
    words = [our_program("kx509"), "-s", f"{host_name()}:{port or realm.port}", *arguments]
    return run(words, env=clean_environment(realm.directory) | env)


@pytest.mark.parametrize("way", ["-udp", "-tcp"])
def test_certificate(heimdal: Realm, tmp_path: Path, way: str) -> None:
    env = heimdal.login("alice", "pw")
    out = tmp_path / "out.pem"
    _kx509(heimdal, env, way, "-form", "rsa", "-out", f"PEM-FILE:{out}").check()
    assert x509.load_pem_x509_certificate(out.read_bytes()).subject.rfc4514_string() == SUBJECT
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    shown = run([our_program("kxlist")], env=clean_environment(tmp_path) | env).check()
    assert shown.stdout.count(" subject= /O=Grid/OU=Kerberos/CN=alice\n") == 2  # Heimdal's form and Michigan's


def test_old_service_is_found_out(heimdal: Realm) -> None:
    """Heimdal 7 hangs up on a PKCS#10; the bare RSA key is tried by itself."""
    done = _kx509(heimdal, heimdal.login("alice", "pw"), "-d").check()
    assert "key as csr" in done.stderr
    assert "key as rsa" in done.stderr
    assert "Your identity: /O=Grid/OU=Kerberos/CN=alice\n" in done.stdout


def test_old_service_by_krb5_conf(heimdal: Realm, tmp_path: Path) -> None:
    """With Heimdal's own setting nothing else is tried, and the KDC is found without being named."""
    text = heimdal.krb5_conf.read_text()
    conf = tmp_path / "krb5.conf"
    more = f"  kx509_req_use_raw_spki = true\n  kx509_hostname = {host_name()}\n"
    conf.write_text(text.replace(f"{heimdal.name} = {{\n", f"{heimdal.name} = {{\n{more}", 1))
    env = clean_environment(tmp_path) | heimdal.login("alice", "pw") | {"KRB5_CONFIG": str(conf)}
    done = run([our_program("kx509"), "-d"], env=env).check()
    assert "(KDC), key as rsa" in done.stderr
    assert "key as csr" not in done.stderr


def test_silence_is_explained(heimdal: Realm) -> None:
    """What Heimdal 7 does not answer: a service's name that is not its host's, and a PKCS#10."""
    env = heimdal.login("alice", "pw")
    for arguments in (["-form", "csr"], ["-form", "rsa", "-service", f"krbtgt/{heimdal.name}@{heimdal.name}"]):
        done = _kx509(heimdal, env, "-timeout", "3", *arguments)
        assert done.returncode == 1, done
        assert "closed the connection without an answer" in done.stderr
        assert "kinit -S kca_service/" in done.stderr


def test_initial_tickets(tmp_path: Path) -> None:
    """As it comes from the distribution it wants a ticket that was got with the password."""
    settings = heimdal_kx509(tmp_path, TestCA("/O=Grid/CN=Heimdal KCA"), initial=True)
    with heimdal_kdc(tmp_path, users={"alice": "pw"}, services=_services(), settings=settings) as realm:
        done = _kx509(realm, realm.login("alice", "pw"), "-form", "rsa", "-timeout", "3")
        assert done.returncode == 1
        assert "initial ticket" in done.stderr
        env = realm.login("alice", "pw", service=f"kca_service/{host_name()}")
        _kx509(realm, env, "-form", "rsa").check()


def test_mit_kdc_is_no_service(tmp_path: Path) -> None:
    """A KDC that knows nothing of KX.509 is told from one that refuses, as far as it lets itself."""
    with mit_kdc(tmp_path, users={"alice": "pw"}, services=[f"kca_service/{host_name()}"]) as realm:
        done = _kx509(realm, realm.login("alice", "pw"), "-timeout", "3")
        assert done.returncode == 1
        assert "does not speak kx509" in done.stderr


def test_kdc_and_service_of_different_makes(heimdal: Realm, tmp_path: Path) -> None:
    """Our server takes the tickets of Heimdal's KDC."""
    with kca_server(tmp_path, heimdal) as server:
        done = server.ours("kx509", "-no-cache", "-o", "-", env=heimdal.login("alice", "pw")).check()
        assert (
            x509.load_pem_x509_certificate(done.stdout.encode()).subject.rfc4514_string() == "CN=alice,OU=Test,O=Grid"
        )


def test_list_of_hosts(heimdal: Realm, tmp_path: Path) -> None:
    """KCA_HOST_LIST: one that is not there, one that knows no kx509, then the right one."""
    env = clean_environment(tmp_path) | heimdal.login("alice", "pw")
    env["KCA_HOST_LIST"] = f"localhost:1 {host_name()}:{heimdal.port}"
    done = run([our_program("kx509"), "-d", "-form", "rsa"], env=env).check()
    assert "(KCA_HOST_LIST)" in done.stderr


def test_without_tickets(heimdal: Realm, tmp_path: Path) -> None:
    env = heimdal.variables | {"KRB5CCNAME": f"FILE:{tmp_path}/none"}
    for command in ("kx509", "kxlist", "kxdestroy"):
        done = run([our_program(command)], env=clean_environment(tmp_path) | env)
        assert done.returncode == 1
        assert "hint: run kinit" in done.stderr, done


def test_a_kdc_that_is_down(heimdal: Realm, tmp_path: Path) -> None:
    """With a ticket for the realm alone the KDC is needed once more, for one for the service."""
    conf = tmp_path / "krb5.conf"
    conf.write_text(heimdal.krb5_conf.read_text().replace(f":{heimdal.port}", f":{free_port()}"))
    env = clean_environment(tmp_path) | heimdal.login("alice", "pw") | {"KRB5_CONFIG": str(conf)}
    out = tmp_path / "out.pem"
    done = run([our_program("kx509"), "-s", "localhost:1", "-out", f"PEM-FILE:{out}"], env=env)
    assert done.returncode == 1
    assert "Cannot contact any KDC" in done.stderr, done
    assert "hint:" in done.stderr
    assert not out.exists()
