"""Our `myproxy-server` with the C clients, with clients of other habits, and through signals and kill -9."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gsi.delegation import (
    DelegationRequester,
    encode_certificate_block,
    grant_delegation,
    parse_certificate_block,
    parse_delegation_request,
)
from gsi.der import object_length
from gsi.keys import KeyType, generate_key
from gsi.proxy.issue import ProxyOptions
from gsi.system.clock import now
from tests.harness.ca import INDEPENDENT_INFO, LIMITED_INFO, Issued, TestCA, write_file, write_trust_dir
from tests.harness.daemons import Daemon, free_port, our_server, running
from tests.harness.environment import UserEnvironment, clean_environment
from tests.harness.run import Done, our_program, run
from tests.interop.conftest import ALICE, Grid
from tests.interop.ours import credential_of

OPEN = 'accepted_credentials "*"\nauthorized_retrievers "*"\n'
SECRET = "correct horse\n"
TLS = ["TLS1_2_VERSION", "TLS1_3_VERSION"]


class Site:
    """A server with its files; `start` may be called again after it ended."""

    def __init__(self, directory: Path, grid: Grid) -> None:
        self.directory = directory
        self.grid = grid
        self.store = directory / "store"
        self.config_path = directory / "myproxy-server.config"
        self.port = free_port()
        self.clients: list[RawClient] = []
        grid.host.write(directory / "hostcert.pem", directory / "hostkey.pem")
        self.configure(OPEN)
        self.environment = clean_environment(directory) | {
            "X509_USER_CERT": str(directory / "hostcert.pem"),
            "X509_USER_KEY": str(directory / "hostkey.pem"),
            "X509_CERT_DIR": str(grid.trust_dir),
        }

    def configure(self, text: str) -> None:
        write_file(self.config_path, text.encode(), 0o600)

    def arguments(self, *more: str | Path) -> list[str | Path]:
        return ["-c", self.config_path, "-s", self.store, "-l", "127.0.0.1", "-p", str(self.port), *more]

    @contextlib.contextmanager
    def start(self) -> Iterator[Daemon]:
        with our_server(
            "myproxy-server",
            self.arguments("-foreground", "-v"),
            env=self.environment,
            port=self.port,
            directory=self.directory,
        ) as daemon:
            try:
                yield daemon
            finally:
                for client in self.clients:
                    client.close()

    def audit(self) -> list[dict[str, object]]:
        paths = [self.store / "audit.log", *self.store.glob("audit-*.log")]
        return [json.loads(line) for path in paths for line in path.read_text("ascii").splitlines()]


@pytest.fixture
def site(tmp_path: Path, grid: Grid) -> Site:
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    return Site(directory, grid)


@pytest.fixture
def server(site: Site) -> Iterator[Site]:
    with site.start():
        yield site


class Person:
    """Somebody at a machine of their own, with the C clients pointed at the server."""

    def __init__(self, site: Site, name: str, issued: Issued | None, *, tls: str | None = None) -> None:
        self.environment = UserEnvironment(site.directory / name, trust_dir=site.grid.trust_dir)
        if issued is not None and issued.chain:
            self.environment.install_proxy(issued)
        elif issued is not None:
            self.environment.install_user(issued)
            self.environment.install_proxy(issued)
        self.environment.variables |= {"MYPROXY_SERVER": "localhost", "MYPROXY_SERVER_PORT": str(site.port)}
        if tls is not None:
            self.environment.variables["GLOBUS_GSSAPI_MAX_TLS_PROTOCOL"] = tls
        self.received = self.environment.home / "received.pem"

    def run(self, name: str, *arguments: str | Path, stdin: str = "") -> Done:
        return self.environment.theirs(name, *arguments, stdin=stdin)

    def put(self, *arguments: str, stdin: str = SECRET) -> Done:
        return self.run("myproxy-init", "-S", "-l", "alice", *arguments, stdin=stdin)

    def logon(self, *arguments: str | Path, stdin: str = SECRET) -> Done:
        return self.run("myproxy-logon", "-S", "-l", "alice", "-o", self.received, *arguments, stdin=stdin)

    def describe(self) -> str:
        return self.environment.theirs("grid-proxy-info", "-file", self.received, "-all").check().stdout


# The C clients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", TLS)
def test_the_whole_path(server: Site, tls: str) -> None:
    alice = Person(server, "alice", server.grid.users["rsa2048", "rsa2048"], tls=tls)
    elsewhere = Person(server, "elsewhere", None, tls=tls)
    assert "now exists on localhost" in alice.put().check().stdout
    assert "A credential has been received for user alice" in elsewhere.logon().check().stdout
    told = elsewhere.describe()
    assert f"identity : {ALICE}" in told
    assert "RFC 3820 compliant impersonation proxy" in told
    assert (elsewhere.received.stat().st_mode & 0o777) == 0o600
    listed = alice.run("myproxy-info", "-l", "alice").check().stdout
    assert f"owner: {ALICE}" in listed
    assert "timeleft: 167:59:" in listed or "timeleft: 168:00:00" in listed
    gone = alice.run("myproxy-destroy", "-l", "alice").check().stdout
    assert "Default MyProxy credential for user alice was successfully removed." in gone
    assert "invalid credential passphrase" in elsewhere.logon().stderr
    verdicts = [(line["action"], line["verdict"], line["peer"]) for line in server.audit()]
    assert verdicts == [
        ("PUT", "permit", ALICE),
        ("GET", "permit", "<anonymous>"),
        ("DELEGATE", "permit", "<anonymous>"),
        ("INFO", "permit", ALICE),
        ("DESTROY", "permit", ALICE),
        ("GET", "deny", "<anonymous>"),
    ]


def test_owners_are_told_who_came(server: Site) -> None:
    """What C clients do, and what they are refused, is what our `myproxy-info` shows; the C one is told as before."""
    alice = Person(server, "alice", server.grid.users["rsa2048", "rsa2048"])
    stranger = Person(server, "stranger", None)
    alice.put().check()
    plain = alice.run("myproxy-info", "-l", "alice").check().stdout
    assert "invalid credential passphrase" in stranger.logon(stdin="wrong words\n").stderr
    stranger.logon().check()

    def told() -> list[dict[str, object]]:
        listed = alice.environment.ours("myproxy-info", "--json", "-l", "alice").check().stdout
        return list(json.loads(listed)[0]["history"])

    deadline = time.monotonic() + 20
    while len(told()) < 3 and time.monotonic() < deadline:
        pass  # each look takes longer than a pause would
    assert sorted((str(one["kind"]), one["permitted"], one["count"], one["address"]) for one in told()) == [
        ("logon", False, 1, "127.0.0.1"),
        ("logon", True, 1, "127.0.0.1"),
        ("store", True, 1, "127.0.0.1"),
    ]
    shown = alice.environment.ours("myproxy-info", "-v", "-l", "alice").check().stdout
    assert re.search(r"^  last used: .* UTC from 127\.0\.0\.1 \(logon\)$", shown, re.MULTILINE)
    assert re.search(r"^  .* UTC: logon refused from 127\.0\.0\.1$", shown, re.MULTILINE)
    without_time = re.compile("timeleft.*")
    again = alice.run("myproxy-info", "-l", "alice").check().stdout
    assert without_time.sub("", again) == without_time.sub("", plain)


@pytest.mark.parametrize("tls", TLS)
def test_a_p256_end_entity(server: Site, tls: str) -> None:
    """The C myproxy-init cannot sign below a certificate that was signed with ECDSA, against no server; ours stores."""
    issued = server.grid.users["rsa2048", "p256"]
    client = RawClient(server, issued)
    client.send(b"0", request(1))
    assert client.until(b"\0") == OK
    wanted = parse_delegation_request(client.take_der())
    chain = grant_delegation(credential_of(issued), wanted, ProxyOptions(lifetime=timedelta(days=7)), now=now())
    client.send(encode_certificate_block(chain))
    assert client.rest() == OK
    alice = Person(server, "alice", issued, tls=tls)
    elsewhere = Person(server, "elsewhere", None, tls=tls)
    elsewhere.logon().check()
    assert f"identity : {ALICE}" in elsewhere.describe()
    assert f"owner: {ALICE}" in alice.run("myproxy-info", "-l", "alice").check().stdout
    alice.run("myproxy-destroy", "-l", "alice").check()


@pytest.mark.parametrize("tls", TLS)
def test_proxies_as_clients(server: Site, tls: str) -> None:
    alice = server.grid.users["rsa2048", "rsa2048"]
    Person(server, "alice", alice, tls=tls).put().check()
    full = Person(server, "full", alice.proxy(), tls=tls)
    full.logon("-t", "2").check()
    assert "timeleft : 1:59" in full.describe() or "timeleft : 2:00" in full.describe()
    limited = Person(server, "limited", alice.proxy(info=LIMITED_INFO), tls=tls)
    limited.logon().check()
    assert "RFC 3820 compliant limited proxy" in limited.describe()
    full.run("myproxy-info", "-l", "alice").check()
    full.run("myproxy-destroy", "-l", "alice").check()


ALL = OPEN + 'authorized_renewers "*"\nauthorized_key_retrievers "*"\n'


@pytest.mark.parametrize("tls", TLS)
def test_a_key_stored_and_fetched_by_c(site: Site, tls: str) -> None:
    site.configure(ALL)
    with site.start():
        alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"], tls=tls)
        globus = alice.environment.home / ".globus"
        plain, key = globus / "userkey.pem", alice.environment.home / "locked.pem"
        run(
            ["/usr/bin/openssl", "rsa", "-aes256", "-passout", "pass:correct horse", "-in", plain, "-out", key],
            env=clean_environment(site.directory),
        ).check()
        key.chmod(0o400)
        stored = alice.run("myproxy-store", "-l", "alice", "-E", "*", "-c", globus / "usercert.pem", "-y", key)
        assert "Credentials saved to myproxy server." in stored.check().stdout
        told = alice.run("myproxy-info", "-l", "alice").check().stdout
        assert f"owner: {ALICE}" in told
        copies = [alice.environment.home / name for name in ("cert.pem", "key.pem")]
        fetched = alice.run("myproxy-retrieve", "-S", "-l", "alice", "-c", copies[0], "-y", copies[1], stdin=SECRET)
        assert "Credentials for alice have been stored" in fetched.check().stdout
        alice.logon().check()
        assert f"identity : {ALICE}" in alice.describe()
        for path in copies:
            path.unlink()
        fetched = alice.run("myproxy-retrieve", "-S", "-l", "alice", "-c", copies[0], "-y", copies[1], stdin=SECRET)
        fetched.check()  # sealed anew in the meantime
        opened = run(
            ["/usr/bin/openssl", "pkey", "-in", copies[1], "-passin", "pass:correct horse", "-noout"],
            env=clean_environment(site.directory),
        )
        assert opened.returncode == 0 or os.geteuid() == 0, opened  # for root the C client writes it in clear
        wrong = alice.run("myproxy-retrieve", "-S", "-l", "alice", "-c", "/x", "-y", "/y", stdin="wrong words\n")
        assert wrong.returncode == 255


@pytest.mark.parametrize("tls", TLS)
def test_renewal_by_c(site: Site, tls: str) -> None:
    site.configure(ALL)
    with site.start():
        issued = site.grid.users["rsa2048", "rsa2048"]
        alice = Person(site, "alice", issued, tls=tls)
        alice.put("-n", "-A", stdin="").check()
        agent = Person(site, "agent", site.grid.host, tls=tls)
        expiring = agent.environment.home / "expiring.pem"
        write_file(expiring, issued.proxy().bundle(), 0o600)
        renewed = agent.run("myproxy-logon", "-l", "alice", "-a", expiring, "-o", agent.received)
        assert "A credential has been received for user alice" in renewed.check().stdout
        assert f"identity : {ALICE}" in agent.describe()
        own = alice.run("myproxy-logon", "-l", "alice", "-a", expiring, "-o", alice.received)
        assert own.returncode == 1
        assert "self-authz not allowed" in own.stderr
        nothing = agent.run("myproxy-logon", "-n", "-l", "alice", "-o", agent.received)
        assert nothing.returncode == 1


@pytest.mark.parametrize("tls", TLS)
def test_trust_roots_for_c(site: Site, tls: str) -> None:
    site.configure(OPEN + f"cert_dir {site.grid.trust_dir}\n")
    with site.start():
        person = Person(site, "somebody", None, tls=tls)
        directory = person.environment.home / "roots"
        shutil.copytree(site.grid.trust_dir, directory)
        wanted = sorted(path.name for path in directory.iterdir())
        for path in directory.glob("*.r0"):
            path.unlink()
        person.environment.variables["X509_CERT_DIR"] = str(directory)
        done = person.run("myproxy-get-trustroots").check()
        assert "Trust roots have been installed" in done.stdout
        found = {path.name: path.read_bytes() for path in directory.iterdir()}
        assert {name: found[name] for name in wanted} == {
            path.name: path.read_bytes() for path in Path(site.grid.trust_dir).iterdir()
        }
        alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"], tls=tls)
        alice.put().check()
        person.logon("-T").check()


@pytest.mark.parametrize("tls", TLS)
def test_trusted_retrievers_in_c(site: Site, tls: str) -> None:
    site.configure(OPEN + 'trusted_retrievers "*"\ndefault_trusted_retrievers "/O=Grid/CN=nobody"\n')
    with site.start():
        alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"], tls=tls)
        alice.put("-Z", "*", stdin="").check()
        portal = Person(site, "portal", site.grid.host, tls=tls)
        portal.run("myproxy-logon", "-n", "-l", "alice", "-o", portal.received).check()
        assert f"identity : {ALICE}" in portal.describe()
        alone = alice.run("myproxy-logon", "-n", "-l", "alice", "-o", alice.received)
        assert alone.returncode == 1


@pytest.mark.parametrize("tls", TLS)
def test_changing_the_passphrase(server: Site, tls: str) -> None:
    alice = Person(server, "alice", server.grid.users["rsa2048", "rsa2048"], tls=tls)
    alice.put().check()
    changed = alice.run("myproxy-change-pass-phrase", "-S", "-l", "alice", stdin=f"{SECRET}battery staple\n")
    assert "Pass phrase changed." in changed.check().stdout
    assert "invalid credential passphrase" in alice.logon().stderr
    alice.logon(stdin="battery staple\n").check()
    wrong = alice.run("myproxy-change-pass-phrase", "-S", "-l", "alice", stdin=f"{SECRET}another one\n")
    assert wrong.returncode == 1
    assert "invalid credential passphrase" in wrong.stderr


def test_several_credentials_with_policies(server: Site) -> None:
    alice = Person(server, "alice", server.grid.users["rsa2048", "rsa2048"])
    bob = Person(server, "bob", server.grid.cas["rsa2048"].issue("/O=Grid/OU=Test/CN=Bob"))
    alice.put().check()
    alice.put("-k", "for bob", "-K", "a description", "-r", "Bob").check()
    listed = alice.run("myproxy-info", "-l", "alice").check().stdout
    assert "  name: for bob" in listed
    assert "  description: a description" in listed
    assert "  retrieval policy: */CN=Bob" in listed
    bob.logon("-k", "for bob").check()
    refused = alice.logon("-k", "for bob")
    assert refused.returncode == 1
    assert f'"{ALICE}" not authorized by credential\'s authorized_retrievers policy' in refused.stderr
    occupied = bob.put()
    assert "Credentials are already stored for user alice\nand they are not owned by" in occupied.stderr
    for name in ("myproxy-info", "myproxy-destroy"):
        assert bob.run(name, "-l", "alice").returncode == 1


def test_unknown_and_wrong_look_the_same(server: Site) -> None:
    Person(server, "alice", server.grid.users["rsa2048", "rsa2048"]).put().check()
    stranger = Person(server, "stranger", None)
    answers = []
    for arguments, stdin in (((), "wrong horse\n"), (("-l", "nobody"), SECRET), (("-k", "nothing"), SECRET)):
        refused = stranger.logon(*arguments, stdin=stdin)
        assert refused.returncode == 1
        assert not stranger.received.exists()
        answers.append([line for line in refused.stderr.splitlines() if "request id" not in line])
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][-1] == "invalid credential passphrase"


def test_a_revoked_client_is_refused_with_the_reason(site: Site, tmp_path: Path) -> None:
    ca = site.grid.cas["rsa2048"]
    mallory = ca.issue("/O=Grid/OU=Test/CN=Mallory")
    trust = tmp_path / "trust"
    write_trust_dir(trust, ca, crl=ca.crl([mallory]))
    site.environment["X509_CERT_DIR"] = str(trust)
    with site.start():
        refused = Person(site, "mallory", mallory, tls="TLS1_2_VERSION").run("myproxy-info", "-l", "alice")
        assert refused.returncode == 1
        assert "alert certificate revoked" in refused.stderr
        (record,) = site.audit()
        assert (record["action"], record["verdict"], record["peer"]) == ("CONNECT", "deny", "<unverified>")
        assert (record["reason_code"], record["address"]) == ("revoked", "127.0.0.1")
        assert str(record["unverified_subject"]).startswith("/O=Grid/OU=Test/CN=Mallory")
        unknown = TestCA("/O=Elsewhere/CN=CA").issue("/O=Elsewhere/CN=Eve")
        assert Person(site, "eve", unknown).run("myproxy-info", "-l", "alice").returncode == 1
        records = wait_for_audit(site, 2)
    assert (records[1]["action"], records[1]["verdict"], records[1]["peer"]) == ("CONNECT", "deny", "<unverified>")
    assert (records[1]["reason_code"], records[1]["address"]) == ("untrusted", "127.0.0.1")


def wait_for_audit(site: Site, count: int) -> list[dict[str, object]]:
    """A failed handshake is recorded when the client has gone already."""
    deadline = time.monotonic() + 20
    while len(records := site.audit()) < count:
        assert time.monotonic() < deadline, records
        time.sleep(0.02)
    return records


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_an_independent_proxy_is_not_who_it_calls_itself(site: Site, tls: str) -> None:
    site.configure('accepted_credentials "*/CN=Alice"\nauthorized_retrievers "*/CN=Alice"\n')
    mallory = site.grid.cas["rsa2048"].issue("/O=Grid/OU=Test/CN=Mallory")
    with site.start():
        for command in (0, 1, 2):
            client = RawClient(site, mallory.proxy(cn="Alice", info=INDEPENDENT_INFO), tls=tls)
            client.send(b"0", request(command))
            answer = client.until(b"\0")
            assert b"RESPONSE=1" in answer
            assert b"independent proxies carry no rights here" in answer
        records = site.audit()
    assert [(one["action"], one["verdict"]) for one in records] == [("CONNECT", "deny")] * 3
    assert {one["peer"] for one in records} == {"/O=Grid/OU=Test/CN=Mallory/CN=Alice"}


def test_what_cannot_be_read_is_in_the_audit(stocked: Site) -> None:
    alice = stocked.grid.users["rsa2048", "rsa2048"]
    known = len(stocked.audit())
    for sent in (request(99), INFO.replace(b"LIFETIME=3600\n", b"")):
        client = RawClient(stocked, alice)
        client.send(b"0", sent)
        client.until(b"\0")
    client = RawClient(stocked, alice)
    client.send(b"0", request(1))
    client.until(b"\0")
    client.take_der()
    client.send(b"\1nothing like a certificate")
    client.until(b"\0")
    told = [(one["action"], one["verdict"], one["peer"], one.get("username")) for one in stocked.audit()[known:]]
    assert told == [
        ("REQUEST", "deny", ALICE, None),
        ("REQUEST", "deny", ALICE, None),
        ("PUT", "deny", ALICE, "alice"),
    ]
    assert "UNKNOWN command" in str(stocked.audit()[known]["reason"])


def test_user_names_as_long_as_the_c_package_tries(server: Site) -> None:
    alice = Person(server, "alice", server.grid.users["rsa2048", "rsa2048"])
    name = "u" * 1200
    alice.run("myproxy-init", "-S", "-l", name, stdin=SECRET).check()
    alice.run("myproxy-logon", "-S", "-l", name, "-o", alice.received, stdin=SECRET).check()


# Clients of other habits ------------------------------------------------------------------------------------------


class RawClient:
    """A TLS connection that sends what it is told, one record per `send`."""

    def __init__(self, site: Site, issued: Issued | None = None, *, tls: str = "1.3") -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if tls == "1.2":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if issued is not None:
            path = site.directory / "raw.pem"
            write_file(path, issued.bundle(), 0o600)
            context.load_cert_chain(path)
        plain = socket.create_connection(("127.0.0.1", site.port), 20)
        self.tls = context.wrap_socket(plain)
        site.clients.append(self)
        self._received = b""

    def send(self, *records: bytes) -> None:
        for record in records:
            self.tls.sendall(record)

    def take_der(self) -> bytes:
        """Receive one DER object."""
        while (size := object_length(self._received, what="request")) is None or len(self._received) < size:
            self._received += self.tls.recv(65536)
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def until(self, end: bytes) -> bytes:
        """Receive up to and including these bytes."""
        while end not in self._received:
            data = self.tls.recv(65536)
            assert data, f"closed after {self._received!r}"
            self._received += data
        found, _, self._received = self._received.partition(end)
        return found + end

    def rest(self) -> bytes:
        """Receive until the server closes."""
        with contextlib.suppress(ssl.SSLEOFError, ConnectionResetError):
            while data := self.tls.recv(65536):
                self._received += data
        return self._received

    def close(self) -> None:
        self.tls.close()


def request(command: int, username: str = "alice", passphrase: str = "correct horse", more: str = "") -> bytes:
    return (
        f"VERSION=MYPROXYv2\nCOMMAND={command}\nUSERNAME={username}\nPASSPHRASE={passphrase}\nLIFETIME=3600\n{more}\0"
    ).encode()


OK = b"VERSION=MYPROXYv2\nRESPONSE=0\n\0"
INFO = request(2)


@pytest.fixture
def stocked(server: Site) -> Site:
    Person(server, "alice", server.grid.users["rsa2048", "rsa2048"]).put().check()
    return server


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize(
    "records",
    [
        (b"0", INFO),
        (b"0" + INFO,),
        (b"0", INFO[:-1]),
        (b"0" + INFO[:-1],),
        (b"0", INFO[:40], INFO[40:]),
        tuple(bytes([byte]) for byte in b"0" + INFO),
    ],
    ids=["usual", "together", "without NUL", "together without NUL", "in two", "byte by byte"],
)
def test_every_way_to_send_a_request(stocked: Site, tls: str, records: tuple[bytes, ...]) -> None:
    client = RawClient(stocked, stocked.grid.users["rsa2048", "rsa2048"], tls=tls)
    client.send(*records)
    answer = client.rest()
    assert answer.startswith(b"VERSION=MYPROXYv2\nRESPONSE=0\nCRED_START_TIME=")
    assert b"CRED_OWNER=" + ALICE.encode() in answer


def test_getting_a_proxy_for_a_p256_key(stocked: Site) -> None:
    client = RawClient(stocked)
    client.send(b"0", request(0))
    assert client.until(b"\0") == OK
    key = generate_key(KeyType.P256)
    client.send(DelegationRequester(key).request_der)
    answer = client.rest()
    found = parse_certificate_block(answer)
    assert found is not None
    certificates, consumed = found
    assert len(certificates) == 4, "proxy, stored, temporary, end entity"
    assert answer[consumed:] == OK


def test_authenticating_only(stocked: Site) -> None:
    """`myproxy-logon -N` closes after the first OK."""
    client = RawClient(stocked)
    client.send(b"0", request(0))
    assert client.until(b"\0") == OK
    client.close()
    client = RawClient(stocked)
    client.send(b"0", INFO)
    client.until(b"\0")
    assert [line["action"] for line in stocked.audit()] == ["PUT", "GET", "INFO"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"1" + INFO, b"no MyProxy client"),
        (b"D" + INFO, b"GSI delegation"),
        (b"0" + INFO.replace(b"v2", b"v3"), b"Invalid version number received."),
        (b"0" + request(99), b"UNKNOWN command in request."),
        (b"0" + request(2, username=""), b"Invalid username received."),
        (b"0" + INFO.replace(b"LIFETIME=3600\n", b""), b"error parsing request"),
        (b"0VERSION=MYPROXYv2\nUSERNAME=" + b"x" * 1_100_000 + b"\0", b"longer than 1048576 bytes"),
        (b"0" + request(3, more="CRED_NAME=\n"), b"error parsing request: CRED_NAME is empty"),
        (b"0" + request(5), b"authentication failed"),
        (b"0" + request(6), b"invalid credential passphrase"),
        (b"0" + request(1), b"authentication failed"),
    ],
)
def test_what_is_refused(server: Site, sent: bytes, expected: bytes) -> None:
    client = RawClient(server)
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        client.send(sent)
    answer = client.until(b"\0")
    assert answer.startswith(b"VERSION=MYPROXYv2\nRESPONSE=1\nERROR=")
    assert expected in answer


def test_a_weak_or_foreign_certificate_request(stocked: Site) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding

    weak = rsa.generate_private_key(65537, 1024)
    weak_der = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(weak, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    good = DelegationRequester(generate_key(KeyType.P256)).request_der
    for sent, expected in (
        (weak_der, b"1024"),
        (good[:-1] + bytes([good[-1] ^ 1]), b"Unable to delegate credentials."),
    ):
        client = RawClient(stocked)
        client.send(b"0", request(0))
        client.until(b"\0")
        client.send(sent)
        answer = client.until(b"\0")
        assert b"ERROR=Unable to delegate credentials." in answer
        assert expected in answer


def test_slow_peers_are_dropped(site: Site) -> None:
    site.configure(OPEN + "request_timeout 1\n")
    with site.start() as daemon:
        client = RawClient(site)
        client.send(b"0")
        assert client.rest() == b""
        assert "the request took too long" in daemon.log()
        client = RawClient(site)
        client.send(b"0", b"VERSION=")
        assert b"the request did not come whole: 8 bytes of it came" in client.rest()
    (record,) = site.audit()
    assert (record["action"], record["verdict"]) == ("REQUEST", "deny")


@pytest.mark.parametrize(
    ("count", "verdict"), [(0, None), (1, None), (2, b"RESPONSE=0"), (3, b"3 certificates"), (255, b"255 ")]
)
def test_wrong_counts_of_certificates_are_told(site: Site, count: int, verdict: bytes | None) -> None:
    site.configure(OPEN + "request_timeout 3\n")
    issued = site.grid.users["rsa2048", "rsa2048"]
    with site.start():
        client = RawClient(site, issued)
        client.send(b"0", request(1))
        client.until(b"\0")
        wanted = parse_delegation_request(client.take_der())
        block = encode_certificate_block(grant_delegation(credential_of(issued), wanted, now=now()))
        assert block[0] == 2
        client.send(bytes((count,)) + block[1:])
        answer = client.until(b"\0")
    assert (verdict or b"RESPONSE=1") in answer
    assert (b"RESPONSE=0" in answer) == (count == 2)
    (record,) = [line for line in site.audit() if line["action"] == "PUT"]
    assert record["verdict"] == ("permit" if count == 2 else "deny")


def test_a_certificate_request_cut_short_is_told(site: Site) -> None:
    site.configure(OPEN + "request_timeout 3\n")
    with site.start():
        Person(site, "alice", site.grid.users["rsa2048", "rsa2048"]).put().check()
        client = RawClient(site)
        client.send(b"0", request(0))
        client.until(b"\0")
        client.send(DelegationRequester(generate_key(KeyType.P256)).request_der[:-1])
        assert b"the certificate request did not come whole" in client.until(b"\0")
    assert [line["verdict"] for line in site.audit()][-2:] == ["permit", "deny"]


# Durability, signals, files ---------------------------------------------------------------------------------------


def test_what_was_acknowledged_survives_kill_9(site: Site) -> None:
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    names = [f"number {count}" for count in range(4)]
    for name in names:
        with site.start() as daemon:
            alice.put("-k", name).check()
            os.kill(daemon.pid, signal.SIGKILL)
    with site.start():
        for name in names:
            alice.logon("-k", name).check()


def test_killed_in_the_middle_of_many_writes(site: Site) -> None:
    """Whatever was acknowledged is there and whole; whatever was not may be there, but then it is whole too."""
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    acknowledged: list[str] = []
    with site.start() as daemon:
        first = threading.Event()

        def write() -> None:
            for count in range(100):
                if alice.put("-k", f"n{count}").returncode:
                    return
                acknowledged.append(f"n{count}")
                first.set()

        writer = threading.Thread(target=write)
        writer.start()
        assert first.wait(30)
        os.kill(daemon.pid, signal.SIGKILL)
        writer.join()
    with site.start():
        listed = alice.run("myproxy-info", "-l", "alice").check().stdout
        present = [line.split()[-1] for line in listed.splitlines() if line.startswith("  name: ")]
        assert set(acknowledged) <= set(present)
        for name in present:
            alice.logon("-k", name).check()


def wait_for(daemon: Daemon, text: str, *, times: int = 1) -> None:
    deadline = time.monotonic() + 20
    while daemon.log().count(text) < times:
        assert time.monotonic() < deadline, daemon.log()
        time.sleep(0.02)


def test_reload(site: Site) -> None:
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    with site.start() as daemon:
        alice.put().check()
        site.configure('accepted_credentials "*"\nauthorized_retrievers "nobody"\n')
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(daemon, "configuration read again")
        assert "not authorized by server's authorized_retrievers policy" in alice.logon().stderr
        site.configure("pam perhaps\n")
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(daemon, "the old one stays")
        assert "not authorized by server's authorized_retrievers policy" in alice.logon().stderr
        site.configure(OPEN)
        (site.store / "audit.log").rename(site.store / "audit.log.1")
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(daemon, "configuration read again", times=2)
        alice.run("myproxy-info", "-l", "alice").check()
        alice.logon().check()
        assert [line["action"] for line in site.audit()][-1] == "DELEGATE"


def shown_certificate(site: Site) -> bytes | None:
    return RawClient(site).tls.getpeercert(binary_form=True)


def test_a_reload_that_fails_changes_nothing(site: Site) -> None:
    """The audit file cannot be opened, so that neither the new certificate nor the new policy counts."""
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    with site.start() as daemon:
        before = shown_certificate(site)
        fresh = site.grid.cas["rsa2048"].issue_host()
        fresh.write(site.directory / "hostcert.pem", site.directory / "hostkey.pem")
        site.configure('accepted_credentials "nobody"\naudit_log /nonexistent/audit.log\n')
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(daemon, "the old one stays: cannot open the audit file /nonexistent/audit.log")
        assert shown_certificate(site) == before
        alice.put().check()
        site.configure(OPEN + f"audit_log {site.directory}/other.log\n")
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(daemon, "configuration read again")
        assert shown_certificate(site) == fresh.der
        alice.logon().check()
        links = [f"/proc/{daemon.pid}/fd/{number}" for number in os.listdir(f"/proc/{daemon.pid}/fd")]
        assert str(site.store / "audit.log") not in [os.readlink(link) for link in links if os.path.lexists(link)]
    assert [line["action"] for line in site.audit()] == ["PUT"]
    assert len((site.directory / "other.log").read_bytes().splitlines()) == 2


def workers_of(daemon: Daemon) -> set[int]:
    return {int(pid) for pid in Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()}


def replace_workers(daemon: Daemon, site: Site) -> None:
    """Kill every worker, and see others in their place."""
    before = workers_of(daemon)
    assert len(before) == 2
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while len(workers_of(daemon) - before) != 2:
        assert time.monotonic() < deadline, daemon.log()
        time.sleep(0.02)


def test_workers_come_back_as_they_were(site: Site) -> None:
    """What is on disk counts at SIGHUP only, and not even then when it is no good."""
    site.configure(OPEN + "worker_processes 2\n")
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    refused = "not authorized by server's authorized_retrievers policy"
    with site.start() as daemon:
        alice.put().check()
        site.configure("pam nonsense\n")
        replace_workers(daemon, site)
        alice.logon().check()
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(daemon, "the old one stays")
        replace_workers(daemon, site)
        alice.logon().check()
        site.configure('accepted_credentials "*"\nauthorized_retrievers "nobody"\nworker_processes 2\n')
        os.kill(daemon.pid, signal.SIGHUP)
        deadline = time.monotonic() + 20
        while daemon.log().count("configuration read again") < 2:
            assert time.monotonic() < deadline, daemon.log()
            time.sleep(0.02)
        site.configure(OPEN)
        replace_workers(daemon, site)
        assert refused in alice.logon().stderr


def test_nothing_is_acknowledged_before_it_is_on_disk(site: Site) -> None:
    """Every system call in one order: audit written and synced, database written and synced, then the answer."""
    strace = shutil.which("strace")
    assert strace is not None, "strace is missing"
    trace = site.directory / "trace"
    options = ["-f", "-yy", "-s", "4096", "-o", str(trace)]
    options += ["-e", "trace=write,pwrite64,pwritev,writev,fsync,fdatasync,sendto,sendmsg"]
    with running(
        [strace, *options, our_program("myproxy-server"), *map(str, site.arguments("-foreground"))],
        env=site.environment,
        port=site.port,
        directory=site.directory,
    ):
        issued = site.grid.users["rsa2048", "rsa2048"]
        for command in (1, 0, 3):
            client = RawClient(site, issued)
            client.send(b"0", request(command))
            client.until(b"\0")
            if command == 1:
                wanted = parse_delegation_request(client.take_der())
                client.send(encode_certificate_block(grant_delegation(credential_of(issued), wanted, now=now())))
                client.until(b"\0")
            elif command == 0:
                client.send(DelegationRequester(generate_key(KeyType.P256)).request_der)
                assert client.rest().endswith(OK)
            client.close()
    steps = " ".join(_disk_and_net(trace.read_text(errors="replace"), site))
    # The start makes the tables; each connection begins with the answers of a handshake.
    audit, database = "audit-write audit-sync", "(?:database-write database-sync ?)+"
    expected = [
        f"answer {audit} {database} answer",  # PUT: its first answer promises nothing yet
        f"database-write {audit} database-write answer {audit} answer",  # GET, whose try waits for no disk; delegation
        f"{audit} {database} answer",  # DESTROY
    ]
    assert re.fullmatch(f"(?:database-\\w+ )*{' '.join(expected)}(?: database-\\w+)*", steps), steps


def _disk_and_net(trace: str, site: Site) -> Iterator[str]:
    """What the traced calls did, in the order in which they ended; repeated writes and answers as one."""
    unfinished: dict[str, str] = {}
    last = ""
    for line in trace.splitlines():
        pid, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            unfinished[pid] = call
            continue
        if call.startswith("<... "):
            call = unfinished.pop(pid, "")
        name, _, arguments = call.partition("(")
        step = ""
        if f"<{site.store}/audit.log>" in arguments.split(",")[0].split(")")[0]:
            step = "audit-sync" if name in {"fsync", "fdatasync"} else "audit-write"
        elif f"<{site.store}/myproxy.db-wal>" in arguments.split(",")[0].split(")")[0]:
            step = "database-sync" if name in {"fsync", "fdatasync"} else "database-write"
        elif name in {"sendto", "sendmsg"} and "<TCP" in arguments.split(",")[0]:
            step = "answer"
        if step and not (step == last and not step.endswith("sync")):
            yield step
        last = step or last


def test_terminate_finishes_what_is_under_way(site: Site) -> None:
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    with site.start() as daemon:
        alice.put().check()
        client = RawClient(site)
        client.send(b"0", request(0))
        assert client.until(b"\0") == OK
        watch = os.pidfd_open(daemon.pid)
        os.kill(daemon.pid, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while alice.run("myproxy-info", "-l", "alice").returncode == 0:
            assert time.monotonic() < deadline, "it still accepts connections"
        client.send(DelegationRequester(generate_key(KeyType.P256)).request_der)
        assert client.rest().endswith(OK)
        assert select.select([watch], [], [], 20)[0], "it did not end"
        os.close(watch)


def test_several_workers(site: Site) -> None:
    site.configure(OPEN + "worker_processes 2\n")
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    with site.start() as daemon:
        alice.put().check()
        logons = [threading.Thread(target=lambda: alice.logon("-o", "-").check()) for _ in range(4)]
        for thread in logons:
            thread.start()
        for thread in logons:
            thread.join()
        os.kill(daemon.pid, signal.SIGTERM)
    lines = site.audit()
    assert sum(line["action"] == "DELEGATE" for line in lines) == 4
    with contextlib.closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", site.port)) != 0, "a worker was left behind"


def start_detached(site: Site, *more: str | Path) -> Done:
    return run([our_program("myproxy-server"), *site.arguments(*more)], env=site.environment)


def test_detaching(site: Site) -> None:
    pid_path, port_path = site.directory / "pid", site.directory / "port"
    files = ("-P", pid_path, "-z", port_path)
    write_file(pid_path, b"1", 0o644)  # from another server
    start_detached(site, *files).check()
    pid = int(pid_path.read_text())
    watch = os.pidfd_open(pid)
    try:
        assert port_path.read_text() == f"{site.port}\n"
        assert pid_path.read_text() == str(pid)
        assert pid_path.stat().st_mode & 0o077 == 0  # whoever may read it may lock it
        Person(site, "alice", site.grid.users["rsa2048", "rsa2048"]).put().check()
        site.port = free_port()
        again = start_detached(site, *files)
        assert again.returncode == 1
        assert "another server is running" in again.stderr
    finally:
        os.kill(pid, signal.SIGTERM)
        assert select.select([watch], [], [], 20)[0], "it did not end"
        os.close(watch)


def test_one_request_and_exit(site: Site) -> None:
    with open(site.directory / "log", "wb") as log:
        process = subprocess.Popen(
            [
                str(word)
                for word in (our_program("myproxy-server"), *site.arguments("-d", "-z", site.directory / "port"))
            ],
            env=site.environment,
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
    deadline = time.monotonic() + 20
    while not (site.directory / "port").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    Person(site, "alice", site.grid.users["rsa2048", "rsa2048"]).put().check()
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda site: site.config_path.unlink(), "cannot read the configuration"),
        (lambda site: site.configure("pam perhaps\n"), ":1: pam: 'perhaps' is not"),
        (lambda site: site.config_path.chmod(0o666), "cannot read the configuration"),
        (lambda site: site.store.mkdir(mode=0o700) or site.store.chmod(0o770), "writable by others"),
        (lambda site: (site.directory / "hostkey.pem").chmod(0o644), "hostkey.pem"),
        (lambda site: (site.directory / "hostkey.pem").unlink(), "hostkey.pem"),
        (lambda site: site.configure(OPEN + "audit_log /dev/full\n"), "audit file /dev/full"),
        (lambda site: site.environment.update(X509_CERT_DIR="/nonexistent"), "trust directory"),
    ],
)
def test_it_does_not_start(site: Site, change: object, message: str) -> None:
    assert callable(change)
    change(site)
    failed = start_detached(site)
    assert failed.returncode == 1
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr


def test_what_cannot_be_imported_at_the_first_start_is_named(site: Site) -> None:
    site.store.mkdir(mode=0o700)
    (site.store / "alice.creds").write_text("kept")
    with site.start() as daemon:
        assert "0 imported, 1 not" in daemon.log()
        assert "import: alice: there is no alice.data" in daemon.log()
    assert (site.store / "alice.creds").read_text() == "kept"


def test_too_many_from_one_source(site: Site) -> None:
    site.configure(OPEN + "max_connections_per_source 2\n")
    with site.start():
        held = [RawClient(site) for _ in range(2)]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            RawClient(site)
        held[0].close()
        held[1].send(b"0", INFO)
        assert held[1].until(b"\0").startswith(b"VERSION=MYPROXYv2\nRESPONSE=1")


def test_missing_configuration_help_and_version(site: Site) -> None:
    failed = run([our_program("myproxy-server"), "-c", site.directory / "nothing"], env=site.environment)
    assert failed.returncode == 1
    assert "nothing" in failed.stderr
    version = run([our_program("myproxy-server"), "-V"], env=site.environment).check()
    assert version.stdout.startswith("myproxy-server version MYPROXYv2")
    assert "-pidfile, -P FILE" in run([our_program("myproxy-server"), "-h"], env=site.environment).check().stdout


def test_our_own_trouble_is_not_told_to_strangers(site: Site) -> None:
    """The store damaged under a running server: the client gets an id, the log under that id gets the rest."""
    with site.start() as daemon:
        Person(site, "alice", site.grid.users["rsa2048", "rsa2048"]).put().check()
        for path in site.store.glob("myproxy.db*"):
            path.write_bytes(b"garbage" * 10000)
        client = RawClient(site)
        client.send(b"0", request(0))
        answer = client.until(b"\0").decode()
        assert "ERROR=internal server error\n" in answer
        assert str(site.store) not in answer
        request_id = answer.partition("request id: ")[2].split("\n")[0]
        wait_for(daemon, f"{request_id}: refused: storage: ")
    assert site.audit()[-1]["id"] == request_id
    assert site.audit()[-1]["verdict"] == "fail"
