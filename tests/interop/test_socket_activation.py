"""Servers with what the service manager gives them: sockets, which stay open when they end, and keys."""

from __future__ import annotations

import socket
import ssl
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsi.authz.callout.messages import (
    MAX_ANSWER_BYTES,
    FrameReader,
    ServiceRequest,
    Verdict,
    encode_request,
    parse_answer,
)
from tests.harness.ca import TestCA, write_trust_dir
from tests.harness.cas_server import ADMIN, cas_server
from tests.harness.daemons import free_port, running
from tests.harness.environment import clean_environment
from tests.harness.kca_server import kca_server
from tests.harness.kdc import mit_kdc
from tests.harness.portal import start_portal
from tests.harness.run import c_program, our_program, run
from tests.interop.conftest import Grid

SECONDS = 30.0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def short() -> Iterator[Path]:
    """Paths of Unix sockets have a limit."""
    with tempfile.TemporaryDirectory(prefix="gsi-") as name:
        yield Path(name)


def is_open(place: tuple[str, int] | str) -> bool:
    with socket.socket(socket.AF_UNIX if isinstance(place, str) else socket.AF_INET) as probe:
        probe.settimeout(SECONDS)
        return probe.connect_ex(place) == 0


def activate(program: str, *arguments: str | Path, path: Path, env: dict[str, str]) -> list[str | Path]:
    """A command that listens on a Unix socket and starts the server at the first connection."""
    words: list[str | Path] = [c_program("systemd-socket-activate"), "-l", path]
    for name, value in env.items():
        words += ["-E", f"{name}={value}"]
    return [*words, our_program(program), *arguments]


def write_policy(directory: Path, name: str) -> None:
    (directory / f"{name}.toml").write_text('order = ["rules"]\n[authorizer.rules]\ntype = "rules"\nfile = "rules"\n')
    (directory / "rules").write_text("")


def converse(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(SECONDS)
        made.connect(str(path))
        made.sendall(data)
        return made.recv(4096)


def test_the_portal(tmp_path: Path, grid: Grid, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    tmp_path.chmod(0o700)
    made = start_portal(
        tmp_path, grid.host, grid.trust_dir, server_port=free_port(), workers=1, port=port, sockets=[listener]
    )
    context = ssl._create_unverified_context()
    with (
        made as portal,
        urllib.request.urlopen(f"{portal.url}/health", timeout=SECONDS, context=context) as answer,
    ):
        assert answer.read() == b"ok\n"
    assert is_open(("127.0.0.1", port))


def test_the_community_s_server(tmp_path: Path, listener: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as voms, cas_server(tmp_path, sockets=[listener, voms]) as server:
        assert server.daemon.port == listener.getsockname()[1]
        assert server.voms_port == voms.getsockname()[1]
        server.ours("cas-whoami", subject=ADMIN).check()
    # The ports are in use, by the listeners here, and a check does not mind.
    words: list[str | Path] = [our_program("cas-server"), "-check", "-c", server.directory / "cas.toml"]
    (server.directory / "hostkey.pem").chmod(0o440)  # as systemd hands credentials over
    env = clean_environment(tmp_path)
    assert "too permissive" in run(words, env=env).stderr
    run(words, env=env | {"CREDENTIALS_DIRECTORY": str(server.directory)}).check()


@pytest.mark.parametrize("way", ["-udp", "-tcp"])
def test_the_kerberos_authority(tmp_path: Path, listener: socket.socket, way: str) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        mit_kdc(tmp_path, users={"alice": "pw"}, services=["kca_service/localhost"]) as realm,
    ):
        datagrams.bind(listener.getsockname())
        with kca_server(tmp_path, realm, sockets=[datagrams, listener]) as server:
            arguments = (way, "-key-type", "p256", "-no-cache", "-out", tmp_path / "out.pem")
            server.ours("kx509", *arguments, env=realm.login("alice", "pw")).check()
            server.ours("kca-server", "-check", "-c", server.config_path, env=server.variables).check()


def test_the_daemon_of_the_callout(short: Path, tmp_path: Path) -> None:
    trust_dir = write_trust_dir(tmp_path / "certificates", TestCA(key="p256"), crl=True)
    path, config = short / "socket", tmp_path / "server.toml"
    config.write_text(f'[server]\nsocket = "{path}"\naudit = "{tmp_path}/audit.log"\n')
    write_policy(tmp_path, "gridftp")
    env = clean_environment(tmp_path) | {"X509_CERT_DIR": str(trust_dir), "GSI_AUTHZ_POLICY_DIR": str(tmp_path)}
    argv = activate("gsi-authz-server", "-config", config, path=path, env=env)
    with running(argv, env=env, port=None, directory=tmp_path, unix=path):
        reader = FrameReader(MAX_ANSWER_BYTES)
        reader.feed(converse(path, encode_request(ServiceRequest(service="file"))))
        body = reader.next_body()
        assert body is not None
        assert parse_answer(body).verdict is Verdict.DENY
    assert path.exists(), "its name is the manager's"


def test_the_endpoint_for_web_servers(short: Path, tmp_path: Path) -> None:
    trust_dir = write_trust_dir(tmp_path / "certificates", TestCA(key="p256"), crl=True)
    path, config = short / "http", tmp_path / "endpoint.toml"
    write_policy(tmp_path, "web")
    config.write_text(f'[server]\nlisten = "{path}"\nworkers = 1\naudit = "{tmp_path}/audit.log"\n')
    env = clean_environment(tmp_path) | {"X509_CERT_DIR": str(trust_dir), "GSI_AUTHZ_POLICY_DIR": str(tmp_path)}
    argv = activate("gsi-authz-http", "-c", config, path=path, env=env)
    with running(argv, env=env, port=None, directory=tmp_path, unix=path):
        assert converse(path, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert path.exists(), "its name is the manager's"
