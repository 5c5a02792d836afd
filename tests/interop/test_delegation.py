"""`myproxy-delegation` as a running program: curl, a client as FTS3's, the C program's proxies, a service."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID

from gsi.errors import RefusedError
from gsi.proxy.chain import ProxyChain
from gsi.system.credential_files import load_proxy, load_user_credential
from gsi.system.trustdir import TrustDirectory
from gsi.trust.verify import verify_chain
from myproxy.delegation.openapi import describe
from myproxy.gateway import Delegations
from tests.harness.ca import write_file
from tests.harness.daemons import free_port, running
from tests.harness.doctor import Found, look
from tests.harness.environment import UserEnvironment, clean_environment
from tests.harness.howto import run_block
from tests.harness.openapi import check_answer
from tests.harness.requests import openssl_request
from tests.harness.run import our_program, run
from tests.interop.conftest import ALICE, Grid

HOST = "localhost"


class Place(NamedTuple):
    grid: Grid
    directory: Path
    url: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, grid: Grid) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("delegation")
    directory.chmod(0o700)
    listener = socket.create_server(("127.0.0.1", 0))  # as systemd has it: the socket is the service manager's
    port = listener.getsockname()[1]
    grid.host.write(directory / "hostcert.pem", directory / "hostkey.pem")
    write_file(directory / "seal.key", base64.b64encode(os.urandom(32)), 0o600)
    text = f"""
[http]
listen = "127.0.0.1:{port}"
certificate = "{directory}/hostcert.pem"
key = "{directory}/hostkey.pem"
metrics = true
[store]
directory = "{directory}/store"
keys = ["{directory}/seal.key"]
[trust]
directory = "{grid.trust_dir}"
[services.transfers]
identities = ["{grid.host.subject}"]
users = ["/O=Grid/*"]
"""
    write_file(directory / "delegation.toml", text.encode(), 0o600)
    argv: list[str | Path] = [our_program("myproxy-delegation"), "-c", directory / "delegation.toml"]
    env = clean_environment(directory)
    authorities = directory / "ca.pem"
    authorities.write_bytes(b"".join(one.read_bytes() for one in grid.trust_dir.glob("*.0")))
    with listener:
        with running(argv, env=env, port=port, directory=directory, sockets=[listener]):
            requests.get(f"https://{HOST}:{port}/health", verify=str(authorities), timeout=30).raise_for_status()
            yield Place(grid, directory, f"https://{HOST}:{port}")
        with socket.create_connection(("127.0.0.1", port), timeout=30):
            pass  # the service has left it open


class RESTClient:
    """What FTS3's own client does, with the same extensions and names, over `requests`."""

    def __init__(self, place: Place, proxy: Path) -> None:
        self._url = place.url
        self._session = requests.Session()
        self._session.cert = (str(proxy), str(proxy))
        self._ca = place.directory / "ca.pem"
        self._credential = load_proxy(str(proxy))

    def call(self, method: str, path: str, body: bytes | None = None) -> requests.Response:
        return self._session.request(
            method, f"{self._url}/{path}", data=body, headers={"Accept": "application/json"}, verify=str(self._ca)
        )

    def delegate(self, lifetime: timedelta) -> str:
        assert self.call("GET", "/").json()["delegation"]["major"] == 1
        delegation_id: str = self.call("GET", "/whoami").json()["delegation_id"]
        wanted = x509.load_pem_x509_csr(self.call("GET", f"/delegation/{delegation_id}/request").content)
        assert wanted.is_signature_valid
        answer = self.call("PUT", f"/delegation/{delegation_id}/credential", self.sign(wanted, lifetime))
        assert answer.status_code == 201, answer.text
        return delegation_id

    def sign(self, wanted: x509.CertificateSigningRequest, lifetime: timedelta) -> bytes:
        issuer = x509.load_der_x509_certificate(self._credential.certificate.der)
        now = datetime.now(UTC)
        common = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, str(int(now.timestamp())))])
        usage = dict.fromkeys(
            (
                "content_commitment",
                "data_encipherment",
                "key_agreement",
                "key_cert_sign",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        proxy_info = x509.UnrecognizedExtension(
            x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14"), bytes.fromhex("300c300a06082b06010505071501")
        )
        builder = (
            x509.CertificateBuilder()
            .serial_number(issuer.serial_number)
            .issuer_name(issuer.subject)
            .subject_name(x509.Name([*issuer.subject.rdns, common]))
            .public_key(wanted.public_key())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(digital_signature=True, key_encipherment=True, **usage), critical=True)
            .add_extension(proxy_info, critical=True)
        )
        key = serialization.load_der_private_key(
            self._credential.key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            None,
        )
        assert isinstance(key, RSAPrivateKey)
        made = builder.sign(key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM) + self._credential.encode_chain()


def test_a_transfer_service_s_client_and_a_service(place: Place, tmp_path: Path) -> None:
    alice = UserEnvironment(tmp_path / "alice", trust_dir=place.grid.trust_dir)
    alice.install_user(place.grid.users["rsa2048", "rsa2048"])
    proxy = tmp_path / "proxy.pem"
    alice.theirs("grid-proxy-init", "-valid", "11:00", "-out", proxy).check()
    client = RESTClient(place, proxy)
    delegation_id = client.delegate(timedelta(hours=7))
    until = client.call("GET", f"/delegation/{delegation_id}").json()
    left = datetime.fromisoformat(until["termination_time"] + "+00:00") - datetime.now(UTC)
    assert timedelta(hours=6, minutes=58) < left <= timedelta(hours=7)

    # The service: openssl makes the key, curl asks with the host certificate.
    env = clean_environment(tmp_path)
    (key, wanted), chain = openssl_request(tmp_path), tmp_path / "chain.pem"
    host = place.directory / "hostcert.pem"
    curl: list[str | Path] = ["curl", "-sS", "--cacert", place.directory / "ca.pem", "-w", "%{http_code}", "-o", chain]
    ask: list[str | Path] = [
        "--data-binary",
        f"@{wanted}",
        f"{place.url}/delegation/{delegation_id}/proxy?lifetime=3600",
    ]
    callers: tuple[tuple[list[str | Path], str], ...] = (
        (["--cert", host, "--key", place.directory / "hostkey.pem"], "200"),
        (["--cert", proxy, "--key", proxy], "403"),
        ([], "401"),
    )
    for who, status in callers:
        given = chain.read_bytes() if chain.exists() else b""
        assert run([*curl, *who, *ask], env=env).check().stdout == status
        if status != "200":
            assert json.loads(chain.read_text())["message"]
            chain.write_bytes(given)
    head, _, rest = chain.read_bytes().partition(b"-----END CERTIFICATE-----\n")
    fetched = tmp_path / "fetched.pem"
    write_file(fetched, head + b"-----END CERTIFICATE-----\n" + key.read_bytes() + rest, 0o600)
    told = alice.theirs("grid-proxy-info", "-file", fetched, "-all").check().stdout
    assert f"identity : {ALICE}" in told
    assert "timeleft : 0:59" in told or "timeleft : 1:00" in told
    anchors = TrustDirectory(str(place.grid.trust_dir)).anchors()
    assert verify_chain(load_proxy(str(fetched)).certificates, anchors, now=datetime.now(UTC)).identity == ALICE

    # The same with the library, as the guide has it.
    names = run_block("delegation.md", "delegate")
    trust = TrustDirectory(str(place.grid.trust_dir)).anchors
    mine, own = load_proxy(str(proxy)), load_user_credential(str(host), str(place.directory / "hostkey.pem"))
    assert names["leave"](place.url, mine, trust) == delegation_id
    delegated = Delegations(place.url, mine, anchors=trust)
    ends = delegated.ends()
    assert ends is not None
    assert timedelta(hours=7, minutes=58) < ends - datetime.now(UTC) <= timedelta(hours=8)
    taken = names["fetch"](place.url, delegation_id, own, trust)
    assert ProxyChain.split(taken.certificates).identity_text == ALICE
    assert taken.not_after - datetime.now(UTC) <= timedelta(hours=2)
    with pytest.raises(RefusedError, match=r"403: .* is no service"):
        delegated.fetch(delegation_id)
    delegated.remove()
    assert delegated.ends() is None
    with pytest.raises(RefusedError, match="404"):
        delegated.remove()

    assert client.call("DELETE", f"/delegation/{delegation_id}").status_code == 404
    assert client.call("GET", f"/delegation/{delegation_id}").json() is None
    large = client.call("PUT", f"/delegation/{delegation_id}/credential", b"#" * 1_200_000)
    assert large.status_code == 413
    check_answer(describe(), "PUT", large.request.path_url, 413, large.headers.items(), large.content)
    document = requests.get(f"{place.url}/openapi.json", verify=str(place.directory / "ca.pem"), timeout=30)
    assert document.json() == describe()
    numbers = requests.get(f"{place.url}/metrics", verify=str(place.directory / "ca.pem"), timeout=30).text
    assert 'myproxy_delegation_decisions_total{action="DELEGATE",verdict="permit"} 2' in numbers


def look_at(place: Place, directory: Path, *changes: tuple[str, str]) -> Found:
    text = (place.directory / "delegation.toml").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    write_file(directory / "doctor.toml", text.encode(), 0o600)
    words: list[str | Path] = ["-only", "delegation", "-config", f"delegation={directory}/doctor.toml"]
    words += ["-host", HOST, "-certdir", place.grid.trust_dir, "-timeout", "2"]
    return look(clean_environment(directory), *words)


def test_the_doctor(place: Place, tmp_path: Path) -> None:
    found = look_at(place, tmp_path)
    assert found.wrong == [], found.done
    for told in ("is current", "its chain is whole", "delegations and their audit", "a key that seals"):
        assert told in found.done.stdout
    port, empty, key = free_port(), tmp_path / "store", tmp_path / "seal.key"
    empty.mkdir(mode=0o750)
    write_file(key, b"short", 0o600)
    found = look_at(
        place,
        tmp_path,
        (place.url.rpartition(":")[2], str(port)),
        (f"{place.directory}/store", str(empty)),
        (f"{place.directory}/seal.key", str(key)),
        (f'[trust]\ndirectory = "{place.grid.trust_dir}"', f'[trust]\ndirectory = "{tmp_path}/none"'),
        (f'[services.transfers]\nidentities = ["{place.grid.host.subject}"]\nusers = ["/O=Grid/*"]\n', ""),
    )
    assert set(found.wrong) == {
        ("error", "port", f"127.0.0.1:{port}"),
        ("error", "unsafe-mode", str(empty)),
        ("error", "server-key", str(key)),
        ("error", "database", f"{empty}/delegation.db"),
        ("error", "configuration", f"{tmp_path}/none"),
        ("warning", "configuration", "[services]"),
    }, found.done
    assert all(found.hints)
    assert list(empty.iterdir()) == [], "looking makes nothing"
