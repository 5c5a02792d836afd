"""Our `myproxy-server` below its protocol: failed handshakes, resumed sessions, floods, requests cut by the network."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.ca import Issued, write_file, write_trust_dir
from tests.harness.run import Done, require_peer, run
from tests.interop.conftest import ALICE, Grid
from tests.interop.test_myproxy_server import OK, SECRET, Person, RawClient, Site, request

TLS = ["TLS1_2_VERSION", "TLS1_3_VERSION"]
VERSIONS = ["1.2", "1.3"]
INFO = request(2)


@pytest.fixture
def site(tmp_path: Path, grid: Grid) -> Site:
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    return Site(directory, grid)


@pytest.fixture
def stocked(site: Site) -> Iterator[Site]:
    with site.start():
        Person(site, "alice", alice(site)).put().check()
        yield site


def alice(site: Site) -> Issued:
    return site.grid.users["rsa2048", "rsa2048"]


# Refused certificates


@pytest.fixture
def revoking(site: Site, tmp_path: Path) -> Iterator[tuple[Site, Issued]]:
    """A server with a credential of Alice's, and Mallory, whom the CA has revoked."""
    ca = site.grid.cas["rsa2048"]
    mallory = ca.issue("/O=Grid/OU=Test/CN=Mallory")
    site.environment["X509_CERT_DIR"] = str(write_trust_dir(tmp_path / "trust", ca, crl=ca.crl([mallory])))
    with site.start():
        Person(site, "alice", alice(site)).put().check()
        yield site, mallory


@pytest.mark.parametrize("tls", TLS)
def test_a_refused_logon_goes_on_without_a_certificate(revoking: tuple[Site, Issued], tls: str) -> None:
    """The C command tries again only when the handshake fails; with TLS 1.3 that takes a connection closed early."""
    site, mallory = revoking
    person = Person(site, "mallory", mallory.proxy(), tls=tls)
    person.logon().check()
    assert f"identity : {ALICE}" in person.describe()


@pytest.mark.parametrize("tls", TLS)
def test_our_refused_logon_goes_on_without_a_certificate(revoking: tuple[Site, Issued], tls: str) -> None:
    site, mallory = revoking
    person = Person(site, "mallory", mallory.proxy(), tls=tls)
    done = person.environment.ours("myproxy-logon", "-S", "-l", "alice", "-o", person.received, stdin=SECRET).check()
    assert done.stderr.count("logging on without a certificate") == 1
    assert f"identity : {ALICE}" in person.describe()


def test_a_refused_client_that_speaks_is_told_why(revoking: tuple[Site, Issued]) -> None:
    site, mallory = revoking
    client = RawClient(site, mallory, tls="1.3")
    client.send(b"0", INFO)
    answer = client.rest()
    assert b"ERROR=authentication failed\n" in answer
    assert b"was revoked by its CA" in answer


# Sessions


def s_client(site: Site, *arguments: str | Path, version: str, data: bytes) -> Done:
    """Connect with OpenSSL's own client as Alice, send the data in one record, show all that comes."""
    require_peer("openssl")
    bundle = site.directory / "s_client.pem"
    write_file(bundle, alice(site).bundle(), 0o600)
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{site.port}", f"-tls{version.replace('.', '_')}"]
    command += ["-cert", str(bundle), "-key", str(bundle), "-ign_eof", *map(str, arguments)]
    return run(command, env=site.environment, stdin=data)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_session_is_the_same_person_or_nobody(stocked: Site, tmp_path: Path, version: str) -> None:
    """Never anonymous, and never believed without the chain."""
    session = tmp_path / "session.pem"
    first = s_client(stocked, "-sess_out", session, version=version, data=b"0" + INFO)
    assert f"CRED_OWNER={ALICE}" in first.stdout
    if not session.exists():
        return  # nothing that could be resumed
    for _ in range(2):
        again = s_client(stocked, "-sess_in", session, version=version, data=b"0" + INFO)
        assert f"CRED_OWNER={ALICE}" in again.stdout or "ERROR=authentication failed" in again.stdout
    anonymous = [record for record in stocked.audit() if record["peer"] == "<anonymous>"]
    assert anonymous == []


def test_many_key_updates_disturb_nobody(stocked: Site) -> None:
    require_peer("openssl")
    openssl = shutil.which("openssl", path=stocked.environment["PATH"])
    assert openssl is not None
    command = [openssl, "s_client", "-connect", f"127.0.0.1:{stocked.port}", "-tls1_3", "-msg"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=stocked.environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = iter(process.stdout)
        next(line for line in lines if b"NewSessionTicket" in line)
        for _ in range(50):
            process.stdin.write(b"K\n")  # one at a time: a command stands at the beginning of what is read
            process.stdin.flush()
            assert next(line for line in lines if line.startswith(b">>>") and b"KeyUpdate" in line)
        Person(stocked, "elsewhere", None).logon().check()
        process.stdin.write(b"0" + INFO)
        process.stdin.flush()
        assert next(line for line in lines if line.startswith(b"RESPONSE="))
        process.kill()


# Floods


@pytest.mark.parametrize("filler", [b"\n", b"a=b\n"])
def test_a_flood_of_lines_is_refused_at_once(stocked: Site, filler: bytes) -> None:
    client = RawClient(stocked)
    client.send(b"0", request(0)[:-1] + filler * 5000)
    assert b"lines" in client.rest()
    Person(stocked, "elsewhere", None).logon().check()


# Requests without their end


@pytest.mark.parametrize("tls", VERSIONS)
def test_a_destroy_cut_before_the_name_waits_for_it(stocked: Site, tls: str) -> None:
    """The rest comes later than any silence after which other requests are answered."""
    person = Person(stocked, "alice", alice(stocked))
    person.put("-k", "old").check()
    client = RawClient(stocked, alice(stocked), tls=tls)
    whole = request(3, more="CRED_NAME=old\n")
    cut = whole.index(b"CRED_NAME")
    client.send(b"0", whole[:cut])
    client.tls.settimeout(3)
    with pytest.raises(TimeoutError):
        client.tls.recv(100)
    client.tls.settimeout(20)
    client.send(whole[cut:])
    assert client.rest() == OK
    listed = person.run("myproxy-info", "-l", "alice").check().stdout
    assert "name: old" not in listed
    assert "timeleft" in listed


# Trust anchors


def test_a_ca_that_openssl_cannot_read(site: Site, tmp_path: Path) -> None:
    trust = tmp_path / "trust"
    shutil.copytree(site.grid.trust_dir, trust)
    site.environment["X509_CERT_DIR"] = str(trust)
    with site.start():
        person = Person(site, "alice", alice(site))
        person.put().check()
        stem = next(path.name[:8] for path in trust.glob("*.signing_policy") if "p256" in path.read_text())
        other = Person(site, "other", site.grid.users["p256", "rsa2048"])
        other.run("myproxy-info", "-l", "alice").check()
        write_file(trust / f"{stem}.0", _spoil(site.grid.cas["p256"].der), 0o644)
        deadline = time.monotonic() + 20
        while other.run("myproxy-info", "-l", "alice").returncode == 0:
            assert time.monotonic() < deadline, "the server does not see the change"
        person.run("myproxy-info", "-l", "alice").check()
    with site.start():
        person.run("myproxy-info", "-l", "alice").check()


def _spoil(der: bytes) -> bytes:
    """A certificate with an issuer of a string type that there is not."""
    import base64

    spoiled = der.replace(b"\x0c\x04Grid", b"\xda\x04Grid", 1)
    assert spoiled != der
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(spoiled) + b"-----END CERTIFICATE-----\n"
