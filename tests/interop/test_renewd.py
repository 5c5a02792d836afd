"""The renewal agent with our MyProxy server and the C one, an authority, and a Kerberos authority with a real KDC."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from gsi.secret import Passphrase
from gsi.system.clock import now
from gsi.system.trustdir import TrustDirectory
from myproxy.client import MyProxyClient, ServerAddress
from myproxy.protocol.messages import Command, Request
from tests.harness.ca import TestCA, write_file, write_trust_dir
from tests.harness.daemons import MYPROXY_CONFIG, Daemon, c_myproxy_server, free_port, our_server
from tests.harness.environment import clean_environment
from tests.harness.kca_server import kca_server, the_authority
from tests.harness.kdc import mit_kdc
from tests.harness.renewal import Renewal, span
from tests.harness.run import our_program, run
from tests.harness.voms import VO, ac_extension
from tests.harness.voms_site import VOMSSite
from tests.interop.conftest import ALICE, Grid
from tests.interop.ours import credential_of

SECRET: Final = "correct horse"
CONFIG: Final = MYPROXY_CONFIG + 'trusted_retrievers "*/CN=Agent"\ndefault_trusted_retrievers "none"\n'


class Site:
    """A server with credentials of Alice's, and an agent."""

    def __init__(self, directory: Path, grid: Grid, server: Daemon) -> None:
        self.grid = grid
        self.server = server
        self.codes: list[str | Path] = []
        agent = grid.cas["rsa2048"].issue("/O=Grid/CN=Agent")
        self.renewal = Renewal(directory, grid.trust_dir)
        agent.write(directory / "agent.pem", directory / "agent.key")
        self.source = f"""\
[source.grid]
server = "localhost:{server.port}"
certificate = "{directory}/agent.pem"
key = "{directory}/agent.key"
"""

    def store(
        self, name: str, *, renewer: str | None = None, trusted: str | None = None, username: str = "alice"
    ) -> None:
        alice = credential_of(self.grid.users["rsa2048", "rsa2048"])
        anchors = TrustDirectory(str(self.grid.trust_dir)).anchors()
        client = MyProxyClient(ServerAddress.parse(f"localhost:{self.server.port}"), anchors, credential=alice)
        passphrase = Passphrase(b"" if renewer or trusted else SECRET.encode())
        client.put(
            Request(
                Command.PUT,
                username,
                passphrase,
                credential_name=name,
                lifetime=timedelta(hours=12),
                renewer=renewer,
                trusted_retriever=trusted,
            ),
            alice,
        )


@pytest.fixture(scope="module", params=["ours", "theirs"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, grid: Grid) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("renewd")
    if request.param == "theirs":
        with c_myproxy_server(grid.host, grid.trust_dir, config=CONFIG) as server:
            yield Site(place / "agent", grid, server)
        return
    grid.host.write(place / "hostcert.pem", place / "hostkey.pem")
    config = place / "myproxy-server.config"
    config.touch(0o600)
    write_file(place / "otp.key", b"ab" * 32 + b"\n", 0o600)
    config.write_text(f'{CONFIG}otp "enrolled"\notp_key_file {place}/otp.key\n')
    port = free_port()
    env = clean_environment(place) | {
        "X509_USER_CERT": str(place / "hostcert.pem"),
        "X509_USER_KEY": str(place / "hostkey.pem"),
        "X509_CERT_DIR": str(grid.trust_dir),
    }
    arguments: list[str | Path] = ["-c", config, "-s", place / "store", "-l", "127.0.0.1", "-p", str(port)]
    with our_server("myproxy-server", [*arguments, "-foreground"], env=env, port=port, directory=place) as server:
        made = Site(place / "agent", grid, server)
        made.codes = ["-s", place / "store", "-c", config]
        yield made


def test_proxies_by_renewal_trust_and_pass_phrase(site: Site) -> None:
    renewal = site.renewal
    directory = renewal.directory
    alice = site.grid.users["rsa2048", "rsa2048"]
    site.store("renewable", renewer="*/CN=Agent")
    site.store("trusted", trusted="*/CN=Agent")
    site.store("phrase")
    (directory / "phrase").touch(0o600)
    (directory / "phrase").write_text(SECRET + "\n")
    entries = {
        "renewable": "",
        "trusted": 'proof = "trust"',
        "phrase": f'proof = "passphrase"\npassphrase_file = "{directory}/phrase"',
    }
    text = site.source
    for name, more in entries.items():
        renewal.put(directory / f"{name}.pem", alice.proxy(**span(7, 2)), mode=0o400)
        text += f"""
[credential.{name}]
source = "grid"
path = "{directory}/{name}.pem"
username = "alice"
credential_name = "{name}"
lifetime = "11h"
{more}
"""
    fresh = renewal.put(directory / "fresh.pem", alice.proxy())
    before = fresh.read_bytes()
    text += f'[credential.fresh]\nsource = "grid"\npath = "{fresh}"\nusername = "alice"\n'
    renewal.configure(text)
    assert "renewable: renewed until " in renewal.run("--once").check().stderr
    for name in entries:
        path = directory / f"{name}.pem"
        made = renewal.read(path)
        assert made.not_after - now() > timedelta(hours=10, minutes=50), name
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
        assert renewal.status()[name]["identity"] == ALICE
    assert fresh.read_bytes() == before  # it was not due
    assert {row["state"] for row in renewal.status().values()} == {"ok"}


def test_users_who_have_an_authenticator(site: Site) -> None:
    """Renewing needs no code; a pass phrase and trust would, and the agent has none."""
    if not site.codes:
        pytest.skip("the C server has no codes")
    renewal, directory = site.renewal, site.renewal.directory
    site.store("renewable", renewer="*/CN=Agent", username="otto")
    site.store("trusted", trusted="*/CN=Agent", username="otto")
    run([our_program("myproxy-admin-otp"), *site.codes, "-l", "otto"], env=renewal.variables).check()
    text = site.source
    for name, more in {"renewable": "", "trusted": 'proof = "trust"'}.items():
        renewal.put(directory / f"otto-{name}.pem", site.grid.users["rsa2048", "rsa2048"].proxy(**span(7, 2)))
        text += f'[credential.{name}]\nsource = "grid"\npath = "{directory}/otto-{name}.pem"\nusername = "otto"\n'
        text += f'credential_name = "{name}"\nlifetime = "11h"\n{more}\n'
    renewal.configure(text)
    done = renewal.run("--once")
    assert "renewable: renewed until " in done.stderr
    assert "one-time code" in done.stderr, done
    assert {name: row["state"] for name, row in renewal.status().items()} == {"renewable": "ok", "trusted": "expiring"}


def test_proxies_keep_their_voms_attributes(tmp_path: Path) -> None:
    """As the entry's organisations give them at each renewal."""
    voms = VOMSSite(tmp_path)
    (tmp_path / "agent").mkdir(mode=0o700)
    with (
        voms.daemon() as daemon,
        c_myproxy_server(voms.servers[VO].credential, voms.trust_dir, config=CONFIG) as server,
    ):
        voms.write_vomses(daemon.vomses)
        agent = voms.ca.issue("/O=Grid/CN=Agent", "rsa2048")
        agent.write(tmp_path / "agent.pem", tmp_path / "agent.key")
        client = MyProxyClient(
            ServerAddress.parse(f"localhost:{server.port}"),
            TrustDirectory(str(voms.trust_dir)).anchors(),
            credential=credential_of(voms.alice),
        )
        request = Request(Command.PUT, "alice", Passphrase(b""), lifetime=timedelta(hours=12), renewer="*/CN=Agent")
        client.put(request, credential_of(voms.alice))
        renewal = Renewal(tmp_path / "agent", voms.trust_dir, variables=voms.environment)
        held = [ac_extension(voms.servers[VO].attribute_certificate(voms.alice))]
        before = renewal.put(voms.proxy, voms.alice.proxy(extensions=held, **span(7, 2))).read_bytes()
        text = f"""\
[source.grid]
server = "localhost:{server.port}"
certificate = "{tmp_path}/agent.pem"
key = "{tmp_path}/agent.key"
[credential.job]
source = "grid"
path = "{voms.proxy}"
username = "alice"
"""
        renewal.configure(text)
        refused = renewal.run("--once")
        assert "job: not renewed (try 1): what came has no VOMS attributes, and what is there has" in refused.stderr
        assert voms.proxy.read_bytes() == before
        renewal.configure(text + f'voms = ["{VO}"]\n')
        assert "job: renewed until " in renewal.run("--once").check().stderr
    assert renewal.read(voms.proxy).not_after - now() > timedelta(hours=10)
    assert voms.judge().fqans == (daemon.fqans,)


def test_what_the_server_refuses_leaves_what_is_there(site: Site) -> None:
    """Bob's is not renewable by his key; and what the server gives out ends no later than what is there."""
    renewal = site.renewal
    directory = renewal.directory
    bob = site.grid.cas["rsa2048"].issue("/O=Grid/CN=Bob")
    site.store("renewable", renewer="*/CN=Agent")
    paths = {
        "bob": renewal.put(directory / "bob.pem", bob.proxy(**span(7, 2))),
        "longer": renewal.put(
            directory / "longer.pem", site.grid.users["rsa2048", "rsa2048"].proxy(**span(24 * 9, 24 * 7))
        ),
    }
    contents = {name: path.read_bytes() for name, path in paths.items()}
    entry = '[credential.{}]\nsource = "grid"\npath = "{}"\nusername = "alice"\ncredential_name = "renewable"\n'
    renewal.configure(site.source + "".join(entry.format(name, path) for name, path in paths.items()))
    assert renewal.run("--once").returncode == 2
    assert {name: path.read_bytes() for name, path in paths.items()} == contents
    found = renewal.status()
    assert found["bob"]["failures"] == 1
    assert "ERROR from myproxy-server" in found["bob"]["error"]
    assert "no later than what is there" in found["longer"]["error"]
    assert found["longer"]["state"] == "failing"


def test_host_certificates_from_an_authority(tmp_path: Path) -> None:
    """A server in CA mode: one file gets a new key; a key in a file of its own stays, its certificate is new."""
    ca = TestCA("/O=Grid/CN=Test CA")
    trust_dir = write_trust_dir(tmp_path / "certificates", ca, crl=True)
    ca.issue_host().write(tmp_path / "hostcert.pem", tmp_path / "hostkey.pem")
    ca.credential.write(tmp_path / "ca.pem", tmp_path / "cakey.pem")
    mapapp = tmp_path / "mapapp"
    mapapp.write_text('#!/bin/sh\necho "/O=Grid/CN=Robot"\n')
    mapapp.chmod(0o755)
    config = tmp_path / "myproxy-server.config"
    config.touch(0o600)
    config.write_text(f"""\
authorized_retrievers "*"
trusted_retrievers "*/CN=Robot"
default_trusted_retrievers "*/CN=Robot"
allow_self_authorization true
certificate_issuer_cert {tmp_path}/ca.pem
certificate_issuer_key {tmp_path}/cakey.pem
certificate_mapapp {mapapp}
max_cert_lifetime 24
""")
    port = free_port()
    env = clean_environment(tmp_path) | {
        "X509_USER_CERT": str(tmp_path / "hostcert.pem"),
        "X509_USER_KEY": str(tmp_path / "hostkey.pem"),
        "X509_CERT_DIR": str(trust_dir),
    }
    renewal = Renewal(tmp_path / "agent", trust_dir)
    directory = renewal.directory
    old = ca.issue("/O=Grid/CN=Robot", **span(7, 2))
    renewal.put(directory / "one.pem", old)
    old.write(directory / "cert.pem", directory / "key.pem")
    key = (directory / "key.pem").read_bytes()
    (directory / "cert.pem").chmod(0o444)
    log = directory / "log"
    # The robot shows its own certificate: nothing else is needed to renew it.
    renewal.configure(f"""\
[source.ca]
server = "localhost:{port}"
certificate = "{directory}/cert.pem"
key = "{directory}/key.pem"
[credential.one]
source = "ca"
path = "{directory}/one.pem"
username = "robot"
proof = "trust"
lifetime = "20h"
key_type = "p256"
after = ["/usr/bin/touch", "{log}"]
[credential.two]
source = "ca"
path = "{directory}/cert.pem"
key = "{directory}/key.pem"
username = "robot"
proof = "trust"
lifetime = "20h"
""")
    arguments: list[str | Path] = ["-c", config, "-s", tmp_path / "store", "-l", "127.0.0.1", "-p", str(port)]
    with our_server("myproxy-server", [*arguments, "-foreground"], env=env, port=port, directory=tmp_path):
        renewal.run("--once").check()
    assert log.exists()
    assert renewal.read(directory / "one.pem").not_after > now() + timedelta(hours=19)
    assert (directory / "key.pem").read_bytes() == key
    assert stat.S_IMODE((directory / "cert.pem").stat().st_mode) == 0o444
    found = renewal.status()["two"]
    assert found["state"] == "ok"
    assert found["renewed"]


def test_a_certificate_by_keytab(tmp_path: Path) -> None:
    """From a KDC and our Kerberos authority, with a new key and with one that stays; the file is made at first."""
    trust_dir = write_trust_dir(tmp_path / "certificates", the_authority(), crl=True)
    with (
        mit_kdc(tmp_path, users={"robot": "secret"}, services=["kca_service/localhost"]) as realm,
        kca_server(tmp_path, realm, workers=1) as kca,
    ):
        realm.kadmin(f"ktadd -norandkey -k {tmp_path}/robot.keytab robot")
        variables = {"KRB5_CONFIG": realm.variables["KRB5_CONFIG"]}
        renewal = Renewal(tmp_path / "agent", trust_dir, variables=variables)
        directory = renewal.directory
        identity = "/O=Grid/OU=Test/CN=robot"
        old = the_authority().issue(identity, **span(7, 2))
        old.write(directory / "cert.pem", directory / "key.pem")
        key = (directory / "key.pem").read_bytes()
        renewal.configure(f"""\
[source.kca]
kind = "kca"
hosts = ["{kca.address}"]
keytab = "{tmp_path}/robot.keytab"
[credential.new]
source = "kca"
path = "{directory}/new.pem"
principal = "robot"
identity = "{identity}"
create = true
[credential.kept]
source = "kca"
path = "{directory}/cert.pem"
key = "{directory}/key.pem"
principal = "robot"
""")
        done = renewal.run("--once")
        assert done.returncode == 0, done
    found = renewal.status()
    assert {row["identity"] for row in found.values()} == {identity}
    assert (directory / "key.pem").read_bytes() == key
    assert stat.S_IMODE((directory / "new.pem").stat().st_mode) == 0o600
    assert renewal.read(directory / "new.pem").not_after > now() + timedelta(hours=2)
    assert not list(renewal.state.glob("kca-*"))


def test_the_daemon_through_reload_and_kill(site: Site, tmp_path: Path) -> None:
    """It tells systemd when it is ready, takes over what SIGHUP brings, and lets a kill -9 cost nothing."""
    site.store("renewable", renewer="*/CN=Agent")
    renewal = Renewal(tmp_path / "agent", site.grid.trust_dir)
    directory = renewal.directory
    alice = site.grid.users["rsa2048", "rsa2048"]
    path = renewal.put(directory / "alice.pem", alice.proxy(**span(7, 2)))
    pipe = directory / "pipe"
    os.mkfifo(pipe)
    told = os.open(pipe, os.O_RDWR)  # so that whoever writes to it never waits: after the kill it may be told again
    entry = f"""\
[credential.alice]
source = "grid"
path = "{path}"
username = "alice"
credential_name = "renewable"
after = ["/bin/sh", "-c", "echo $RENEWD_EVENT >{pipe}"]
"""
    port = free_port()
    source = f'metrics = "127.0.0.1:{port}"\n{site.source}'
    renewal.configure(source)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(directory / "notify"))
        manager.settimeout(60)
        env = renewal.variables | {"NOTIFY_SOCKET": str(directory / "notify")}
        words = [our_program("myproxy-renewd"), "-c", str(renewal.config_path)]
        with open(directory / "log", "wb") as log, subprocess.Popen(words, env=env, stderr=log) as process:
            try:
                _await(manager, "READY=1\nSTATUS=0 credentials")
                renewal.configure(source + entry)
                process.send_signal(signal.SIGHUP)
                _await(manager, "RELOADING=1")
                _await(manager, "READY=1\nSTATUS=1 credentials")
                assert os.read(told, 100) == b"renewed\n"
                process.kill()
                process.wait()
                renewed = path.read_bytes()
                assert renewal.read(path).not_after > now() + timedelta(hours=11)
            finally:
                process.kill()
        with open(directory / "log", "ab") as log, subprocess.Popen(words, env=env, stderr=log) as process:
            try:
                _await(manager, "READY=1\nSTATUS=1 credentials, 0 not well")
                assert "another agent uses" in renewal.run("--once").stderr
                _await(manager, "WATCHDOG=1")
                for name, words_told in (("health", b"ok\n"), ("metrics", b'credentials{state="ok"} 1.0\n')):
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=60) as answer:
                        assert words_told in answer.read()
                process.send_signal(signal.SIGTERM)
                _await(manager, "STOPPING=1")
                assert process.wait(60) == 0
            finally:
                process.kill()
    os.close(told)
    assert path.read_bytes() == renewed
    assert not [one for one in directory.iterdir() if one.name.startswith(".")]


def _await(manager: socket.socket, beginning: str) -> None:
    """Wait for a message to the service manager that begins so."""
    while not manager.recv(4096).decode().startswith(beginning):
        pass
