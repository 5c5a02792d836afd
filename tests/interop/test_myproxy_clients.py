"""Our myproxy-init, -logon, -info and -destroy against the C server, and mixed with the C clients."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gsi.ca import KeySigner, make_root
from gsi.certificate import Certificate
from gsi.keys import KeyType, generate_key
from gsi.system.credential_files import load_proxy
from tests.harness.ca import LIMITED_INFO, Issued, KeyKind, TestCA
from tests.harness.daemons import Daemon, c_myproxy_server
from tests.harness.environment import UserEnvironment
from tests.harness.run import Done, c_program, our_program, run
from tests.interop.conftest import ALICE, CA_KINDS, EEC_KINDS, Grid

SECRET = "correct horse\n"
TLS = ["TLS1_2_VERSION", "TLS1_3_VERSION"]
CONFIG = """\
accepted_credentials "*"
authorized_retrievers "*"
default_retrievers "*"
authorized_renewers "*"
default_renewers "none"
authorized_key_retrievers "*"
default_key_retrievers "none"
trusted_retrievers "*"
default_trusted_retrievers "none"
allow_self_authorization true
"""


@pytest.fixture(scope="module")
def server(grid: Grid) -> Iterator[Daemon]:
    """A C server that everyone may use."""
    with c_myproxy_server(grid.host, grid.trust_dir, config=f"{CONFIG}cert_dir {grid.trust_dir}\n") as daemon:
        yield daemon


class Client:
    """A user with both families of commands, and a name of its own on the server."""

    def __init__(self, user: UserEnvironment, server: Daemon, name: str) -> None:
        self.user = user
        self.name = name
        self.variables = user.with_variables(
            X509_USER_CERT=None,  # with both set the C clients would never take the proxy
            X509_USER_KEY=None,
            MYPROXY_SERVER=server.host,
            MYPROXY_SERVER_PORT=str(server.port),
            LOGNAME=name,
        )

    def tls(self, version: str) -> None:
        self.variables |= {"GLOBUS_GSSAPI_MIN_TLS_PROTOCOL": version, "GLOBUS_GSSAPI_MAX_TLS_PROTOCOL": version}

    def ours(self, command: str, *arguments: str | Path, stdin: str = "") -> Done:
        return run([our_program(command), *arguments], env=self.variables, stdin=stdin)

    def theirs(self, command: str, *arguments: str | Path, stdin: str = "") -> Done:
        if command == "myproxy-init":  # as root it would look for a host's certificate only
            arguments = (*arguments, "-C", self.user.cert_path, "-y", self.user.key_path)
        return run([c_program(command), *arguments], env=self.variables, stdin=stdin)

    def openssl(self, *arguments: str | Path) -> str:
        return run(["/usr/bin/openssl", *arguments], env=self.variables).check().stdout


@pytest.fixture
def client(user: UserEnvironment, server: Daemon, request: pytest.FixtureRequest) -> Client:
    return Client(user, server, "u" + re.sub(r"\W", "_", request.node.name))


def client_of(tmp_path: Path, grid: Grid, server: Daemon, issued: Issued, name: str) -> Client:
    user = UserEnvironment(tmp_path, trust_dir=grid.trust_dir)
    user.install_user(issued)
    return Client(user, server, name)


def assert_proxy_works(client: Client) -> None:
    """The C tools take what was received."""
    client.theirs("grid-proxy-info", "-exists").check()
    shown = client.theirs("grid-proxy-info", "-identity").check().stdout.strip()
    assert shown == ALICE
    proxy = client.user.proxy_path
    client.openssl("verify", "-allow_proxy_certs", "-CApath", client.user.trust_dir, "-untrusted", proxy, proxy)


@pytest.mark.parametrize("version", TLS)
@pytest.mark.parametrize("ca", CA_KINDS)
@pytest.mark.parametrize("eec", EEC_KINDS)
def test_the_whole_path(tmp_path: Path, grid: Grid, server: Daemon, version: str, ca: KeyKind, eec: KeyKind) -> None:
    client = client_of(tmp_path, grid, server, grid.users[ca, eec], f"path-{version}-{ca}-{eec}")
    client.tls(version)
    done = client.ours("myproxy-init", "-S", "-v", stdin=SECRET).check()
    assert done.stdout.splitlines()[-1] == (
        f"A proxy valid for 168 hours (7.0 days) for user {client.name} now exists on localhost."
    )
    assert f"TLS {version[3:6].replace('_', '.')} with" in done.stderr
    for key_type in ("rsa", "p256"):
        received = client.ours("myproxy-logon", "-S", f"--key-type={key_type}", stdin=SECRET).check()
        assert (
            received.stdout == f"A credential has been received for user {client.name} in {client.user.proxy_path}.\n"
        )
        assert_proxy_works(client)
        shown = client.ours("myproxy-info").check()
        assert re.fullmatch(
            rf"username: {client.name}\nowner: {ALICE}\n  timeleft: 167:5\d:\d\d  \(7\.0 days\)\n", shown.stdout
        )
        assert without_time(shown.stdout) == without_time(client.theirs("myproxy-info").check().stdout)
    done = client.ours("myproxy-destroy").check()
    assert done.stdout == f"Default MyProxy credential for user {client.name} was successfully removed.\n"
    done = client.ours("myproxy-info")
    assert done.returncode == 1
    assert "ERROR from myproxy-server" in done.stderr


@pytest.mark.parametrize("version", TLS)
def test_many_times_in_a_row(client: Client, version: str) -> None:
    client.tls(version)
    client.ours("myproxy-init", "-S", stdin=SECRET).check()
    for _ in range(3):
        client.ours("myproxy-logon", "-S", stdin=SECRET).check()
        client.ours("myproxy-info").check()


def test_stored_by_one_family_and_fetched_by_the_other(client: Client) -> None:
    client.ours("myproxy-init", "-S", "-k", "ours", stdin=SECRET).check()
    client.theirs("myproxy-init", "-S", "-k", "theirs", stdin=SECRET).check()
    client.ours("myproxy-logon", "-S", "-k", "theirs", stdin=SECRET).check()
    assert_proxy_works(client)
    client.theirs("myproxy-logon", "-S", "-k", "ours", stdin=SECRET).check()
    assert_proxy_works(client)
    ours, theirs = (run_(client, "myproxy-info") for run_ in (Client.ours, Client.theirs))
    assert without_time(ours.check().stdout) == without_time(theirs.check().stdout)


@pytest.mark.parametrize("version", TLS)
@pytest.mark.parametrize("store", ["ours", "theirs"])
@pytest.mark.parametrize("fetch", ["ours", "theirs"])
def test_a_key_on_the_server(client: Client, tmp_path: Path, version: str, store: str, fetch: str) -> None:
    client.tls(version)
    client.ours("grid-proxy-init").check()
    locked, certificate = tmp_path / "locked.pem", client.user.cert_path
    client.openssl("rsa", "-aes256", "-passout", "pass:correct horse", "-in", client.user.key_path, "-out", locked)
    locked.chmod(0o600)
    family = getattr(client, store)
    done = family("myproxy-store", "-E", "*", "-x", "-c", certificate, "-y", locked)
    assert "Credentials saved to myproxy server." in done.check().stdout
    copies = tmp_path / "cert.pem", tmp_path / "key.pem"
    done = getattr(client, fetch)("myproxy-retrieve", "-S", "-c", copies[0], "-y", copies[1], stdin=SECRET)
    assert done.check().stdout.endswith(f"have been stored in\n{copies[0]} and\n{copies[1]}.\n")
    for path in copies:
        assert path.stat().st_mode & 0o777 == 0o600
    opened = client.openssl("pkey", "-in", copies[1], "-passin", "pass:correct horse")
    assert opened == client.openssl("pkey", "-in", client.user.key_path)
    assert "BEGIN CERTIFICATE" in copies[0].read_text()
    client.ours("myproxy-logon", "-S", stdin=SECRET).check()
    assert_proxy_works(client)
    wrong = client.ours("myproxy-retrieve", "-S", "-c", tmp_path / "c", "-y", tmp_path / "k", stdin="wrong words\n")
    assert wrong.returncode == 255
    assert "invalid credential passphrase" in wrong.stderr


@pytest.mark.parametrize("version", TLS)
def test_another_pass_phrase(client: Client, version: str) -> None:
    client.tls(version)
    client.ours("myproxy-init", "-S", stdin=SECRET).check()
    client.ours("grid-proxy-init").check()
    done = client.ours("myproxy-change-pass-phrase", "-S", stdin=f"{SECRET}battery staple\n").check()
    assert done.stdout == "Pass phrase changed.\n"
    assert client.ours("myproxy-logon", "-S", stdin=SECRET).returncode == 1
    client.theirs("myproxy-logon", "-S", stdin="battery staple\n").check()
    refused = client.ours("myproxy-change-pass-phrase", "-S", stdin=f"{SECRET}other words\n")
    assert "ERROR from myproxy-server" in refused.stderr
    empty = client.ours("myproxy-change-pass-phrase", "-S", stdin="battery staple\n\n")
    assert "the new pass phrase is empty" in empty.stderr
    client.ours("myproxy-change-pass-phrase", "-S", "-n", stdin="battery staple\n").check()


@pytest.mark.parametrize("version", TLS)
def test_trust_roots(client: Client, grid: Grid, tmp_path: Path, version: str) -> None:
    client.tls(version)
    wanted = {path.name: path.read_bytes() for path in Path(grid.trust_dir).iterdir()}
    directory = tmp_path / "roots"
    client.variables["X509_CERT_DIR"] = str(directory)
    done = client.ours("myproxy-logon", "-S", stdin=SECRET)
    assert done.returncode == 1
    assert "say --bootstrap" in done.stderr
    assert not directory.exists()
    done = client.ours("myproxy-get-trustroots").check()
    assert done.stdout == f"Trust roots have been installed in {directory}.\n"
    assert "SHA-256 fingerprint" in done.stderr
    found = {path.name: path.read_bytes() for path in directory.iterdir() if path.name in wanted}
    assert found == wanted
    client.theirs("myproxy-get-trustroots").check()
    client.ours("myproxy-init", "-S", stdin=SECRET).check()
    next(directory.glob("*.signing_policy")).touch()
    done = client.ours("myproxy-logon", "-T", "-S", stdin=SECRET).check()
    received, installed = done.stdout.splitlines()
    assert received.startswith("A credential has been received")
    assert installed == f"Trust roots have been installed in {directory}."
    lines = (directory / "myproxy-install-log").read_text().splitlines()
    assert len(lines) >= 2 * len(wanted)


def test_bootstrapping_changes_nothing_that_is_trusted(client: Client, grid: Grid, tmp_path: Path) -> None:
    """As C's: whoever trusts the CA already keeps its signing policy, whatever the server presents."""
    directory = tmp_path / "roots"
    shutil.copytree(grid.trust_dir, directory)
    client.variables["X509_CERT_DIR"] = str(directory)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    for run_ in (client.ours, client.theirs):
        assert run_("myproxy-logon", "-b", "-S", stdin="wrong words\n").returncode == 1
        assert {name: (directory / name).read_bytes() for name in before} == before
    for path in directory.glob("*.0"):
        path.unlink()
    told = client.ours("myproxy-logon", "-b", "-S", stdin="wrong words\n").stderr.splitlines()
    assert told[3].startswith("Compare its SHA-256 fingerprint with what the CA publishes: ")
    (ca,) = directory.glob("*.0")
    policies = {path.name: path.read_bytes() for path in directory.glob("*.signing_policy")}
    assert policies == {name: data for name, data in before.items() if name.endswith(".signing_policy")}
    ca.unlink()
    assert told[:3] == client.theirs("myproxy-logon", "-b", "-S", stdin="wrong words\n").stderr.splitlines()[:3]
    # Somebody else's CA of the same name.
    name = Certificate.parse_pem(ca.read_bytes()).subject_der
    key = KeySigner(generate_key(KeyType.P256))
    ca.write_bytes(make_root(key, name, now=datetime.now(UTC), lifetime=timedelta(days=1)).pem())
    held = ca.read_bytes()
    done = client.ours("myproxy-logon", "-b", "-S", stdin="wrong words\n")
    assert done.returncode == 1
    assert "presents another certificate" in done.stderr
    assert ca.read_bytes() == held


def without_time(text: str) -> str:
    return re.sub(r"\d+:\d\d:\d\d", "TIME", text)


POLICIES: list[tuple[list[str], list[str]]] = [
    (["-a"], ["  retrieval policy: *"]),
    (["-r", "Bob"], ["  retrieval policy: */CN=Bob"]),
    (
        ["-x", "-r", "/O=.*/CN=Bob", "-X", "-Z", "Carol"],
        ["  retrieval policy: /O=.*/CN=Bob", "  trusted retrieval policy: */CN=Carol"],
    ),
    (["-A"], ["  renewal policy: *"]),
    (["-R", "Dave", "-K", "my desc"], ["  description: my desc", "  renewal policy: */CN=Dave"]),
]


@pytest.mark.parametrize("number", range(len(POLICIES)))
def test_policies_are_the_same_text(client: Client, number: int) -> None:
    options, lines = POLICIES[number]
    client.ours("grid-proxy-init").check()
    client.ours("myproxy-init", "-S", "-k", "ours", *options, stdin=SECRET).check()
    client.theirs("myproxy-init", "-S", "-k", "theirs", *options, stdin=SECRET).check()
    for name in ("ours", "theirs"):
        for family in (Client.ours, Client.theirs):
            shown = family(client, "myproxy-info", "-k", name).check().stdout.splitlines()
            assert [line for line in shown if "policy" in line or "description" in line] == lines


@pytest.mark.parametrize("options", [["-c", "0"], ["-c", "30"], ["-c", "1", "-t", "5"]])
def test_lifetimes_of_the_stored_credential(client: Client, options: list[str]) -> None:
    client.ours("grid-proxy-init").check()
    ours = client.ours("myproxy-init", "-S", "-k", "ours", *options, stdin=SECRET).check()
    theirs = client.theirs("myproxy-init", "-S", "-k", "theirs", *options, stdin=SECRET).check()
    assert ours.stdout.splitlines()[-1] == theirs.stdout.splitlines()[-1]
    hours = [
        re.findall(r"timeleft: (\d+):", client.ours("myproxy-info", "-k", name).check().stdout)
        for name in ("ours", "theirs")
    ]
    assert abs(int(hours[0][0]) - int(hours[1][0])) <= 1


def test_a_lifetime_that_is_cut_is_said(client: Client) -> None:
    """With the warning of the C program, which then claims the lifetime asked for; ours tells the true one."""
    warning = re.compile(
        r"\nWarning: your certificate and proxy will expire .+\n which is within the requested lifetime"
    )
    ours = client.ours("myproxy-init", "-S", "-L", "-c", "99999", stdin=SECRET).check()
    theirs = client.theirs("myproxy-init", "-S", "-c", "99999", stdin=SECRET).check()
    for done in (ours, theirs):
        assert warning.search(done.stderr)
    assert "A proxy valid for 99999 hours" in theirs.stdout
    left = re.search(r"A proxy valid for (\d+) hours", ours.stdout)
    assert left is not None
    shown = re.search(r"timeleft: (\d+):", client.ours("myproxy-info").check().stdout)
    assert shown is not None
    assert int(left[1]) - int(shown[1]) in (0, 1)


@pytest.mark.parametrize("hours", ["0", "1", "5", "1000"])
def test_lifetimes_of_the_received_credential(client: Client, hours: str) -> None:
    client.ours("myproxy-init", "-S", "-t", "20", stdin=SECRET).check()
    left = []
    for family in (Client.ours, Client.theirs):
        family(client, "myproxy-logon", "-S", "-t", hours, stdin=SECRET).check()
        left.append(int(client.theirs("grid-proxy-info", "-timeleft").check().stdout))
    assert abs(left[0] - left[1]) < 90  # whole minutes, and the time between
    assert left[0] <= 20 * 3600


def test_an_anonymous_logon(client: Client) -> None:
    client.ours("myproxy-init", "-S", stdin=SECRET).check()
    assert not client.user.proxy_path.exists()
    client.ours("myproxy-logon", "-Sq", stdin=SECRET).check()
    assert_proxy_works(client)


def test_a_proxy_that_the_server_refuses_is_left_out(client: Client, tmp_path: Path) -> None:
    client.ours("myproxy-init", "-S", stdin=SECRET).check()
    client.user.install_proxy(TestCA("/O=Elsewhere/CN=CA", "p256").issue("/O=Elsewhere/CN=Eve"))
    done = client.ours("myproxy-logon", "-S", "-o", tmp_path / "out", stdin=SECRET).check()
    assert "logging on without a certificate" in done.stderr
    assert load_proxy(str(tmp_path / "out")).subject.startswith(ALICE)


@pytest.mark.parametrize("depth", [1, 2])
def test_proxies_as_the_users_own(client: Client, grid: Grid, depth: int) -> None:
    """The limit on what is stored passes through the server and back."""
    limited = grid.users["rsa2048", "rsa2048"].proxy(info=LIMITED_INFO)
    for _ in range(depth - 1):
        limited = limited.proxy(info=LIMITED_INFO)
    path = client.user.home / "limited.pem"
    limited.write_bundle(path)
    client.ours("myproxy-init", "-S", "-C", path, "-y", path, stdin=SECRET).check()
    client.ours("myproxy-logon", "-S", stdin=SECRET).check()
    assert "limited" in client.theirs("grid-proxy-info", "-type").check().stdout


def test_a_locked_key_and_a_local_proxy(client: Client, grid: Grid) -> None:
    client.user.install_user(grid.users["rsa2048", "rsa2048"], passphrase=b"key phrase")
    done = client.ours("myproxy-init", "-S", "-L", "-t", "3", stdin=f"key phrase\n{SECRET}").check()
    assert done.stdout.count("Your identity: ") == 2
    left = int(client.theirs("grid-proxy-info", "-timeleft").check().stdout)
    assert 3 * 3600 - 60 < left <= 3 * 3600
    client.ours("myproxy-logon", "-S", stdin=SECRET).check()


@pytest.mark.parametrize("family", ["ours", "theirs"])
def test_renewal_by_the_key_of_the_old_proxy(client: Client, family: str) -> None:
    client.ours("myproxy-init", "-A", "-n", "-d", "-k", client.name).check()
    client.ours("grid-proxy-init", "-valid", "1:00").check()
    options = ("-d", "-k", client.name, "-a", str(client.user.proxy_path))
    getattr(client, family)("myproxy-logon", *options).check()
    left = int(client.theirs("grid-proxy-info", "-timeleft").check().stdout)
    assert left > 11 * 3600


def test_a_trusted_retriever_needs_no_pass_phrase(client: Client) -> None:
    client.ours("myproxy-init", "-Z", "Alice").check()
    client.ours("grid-proxy-init").check()
    client.ours("myproxy-logon", "-n").check()
    assert_proxy_works(client)


def test_a_request_from_elsewhere(client: Client, tmp_path: Path) -> None:
    client.ours("myproxy-init", "-S", stdin=SECRET).check()
    key, wanted, out = tmp_path / "key", tmp_path / "request", tmp_path / "out"
    client.openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", "/CN=x", "-out", wanted)
    client.ours("myproxy-logon", "-S", "-Q", wanted, "-o", out, stdin=SECRET).check()
    assert "PRIVATE KEY" not in out.read_text()
    assert client.openssl("x509", "-in", out, "-noout", "-pubkey") == client.openssl("pkey", "-in", key, "-pubout")


def test_standard_output_and_authentication_only(client: Client) -> None:
    client.ours("myproxy-init", "-S", stdin=SECRET).check()
    done = client.ours("myproxy-logon", "-So-", stdin=SECRET).check()
    assert done.stdout.startswith("-----BEGIN CERTIFICATE-----\n")
    assert done.stdout.count("PRIVATE KEY") == 2
    assert client.ours("myproxy-logon", "-SN", stdin=SECRET).check().output == ""
    assert client.ours("myproxy-logon", "-SN", stdin="wrong one\n").returncode == 1
    assert not client.user.proxy_path.exists()


REFUSED: list[tuple[list[str], str, str]] = [
    (["myproxy-logon", "-S"], "wrong one\n", "invalid credential passphrase"),
    (["myproxy-logon", "-S", "-l", "nobody"], SECRET, 'No credentials exist for username "nobody"'),
    (["myproxy-info", "-k", "none"], "", "no credentials found with name none"),
    (["myproxy-destroy", "-k", "none"], "", "Credentials do not exist"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refusals_bring_the_servers_words(client: Client, number: int) -> None:
    (command, *options), stdin, words = REFUSED[number]
    client.ours("myproxy-init", "-S", stdin=SECRET).check()
    client.ours("grid-proxy-init").check()
    before = client.user.proxy_path.read_bytes()
    for family in (Client.ours, Client.theirs):
        done = family(client, command, *options, stdin=stdin)
        assert done.returncode == 1
        assert "ERROR from myproxy-server" in done.output
        assert words in done.output
    assert client.user.proxy_path.read_bytes() == before


# Whether it is the server that was meant

HOSTS: list[tuple[str, list[str], str]] = [
    ("/O=Grid/CN=localhost", [], "localhost"),
    ("/O=Grid/CN=host/localhost", [], "localhost"),
    ("/O=Grid/CN=myproxy/localhost", [], "127.0.0.1"),
    ("/O=Grid/CN=other", ["localhost"], "localhost"),
    ("/O=Grid/CN=other", ["l*"], "localhost"),
    ("/O=Grid/CN=localhost", ["other.example.org"], "localhost"),
    ("/O=Grid/CN=other", [], "localhost"),
]


@pytest.mark.parametrize("number", range(len(HOSTS)))
@pytest.mark.parametrize("mode", ["STRICT_RFC2818", "HYBRID", "STRICT_GT2"])
def test_server_names_are_judged_as_by_the_c_client(user: UserEnvironment, grid: Grid, number: int, mode: str) -> None:
    subject, alternatives, called = HOSTS[number]
    host = grid.cas["rsa2048"].issue(subject, san=[f"DNS:{name}" for name in alternatives] or None)
    with c_myproxy_server(host, grid.trust_dir) as daemon:
        client = Client(user, daemon, "alice")
        client.variables |= {"GLOBUS_GSSAPI_NAME_COMPATIBILITY": mode, "MYPROXY_SERVER": called}
        client.ours("grid-proxy-init").check()
        ours, theirs = client.ours("myproxy-info"), client.theirs("myproxy-info")
        assert is_authorized(ours) == is_authorized(theirs), f"{ours}\n{theirs}"
        client.variables["MYPROXY_SERVER_DN"] = subject
        ours, theirs = client.ours("myproxy-info"), client.theirs("myproxy-info")
        assert is_authorized(ours)
        assert is_authorized(theirs)
        client.variables["MYPROXY_SERVER_DN"] = "/CN=x"
        assert not is_authorized(client.ours("myproxy-info"))


def is_authorized(done: Done) -> bool:
    """Whether it came to asking: there are no credentials, so the server's words are an error."""
    assert done.returncode == 1
    assert ("no credentials found" in done.output) != ("Server authorization failed" in done.output), done
    return "no credentials found" in done.output


def test_a_server_of_an_unknown_authority_is_told_nothing(user: UserEnvironment, grid: Grid) -> None:
    stranger = TestCA("/O=Elsewhere/CN=CA", "p256").issue_host()
    with c_myproxy_server(stranger, grid.trust_dir) as daemon:
        client = Client(user, daemon, "alice")
        done = client.ours("myproxy-logon", "-S", stdin=SECRET)
        assert done.returncode == 1
        assert "logging on without" not in done.stderr
        assert re.search("unknown|not trusted|no CA|issuer", done.stderr), done


def test_a_list_of_servers(client: Client, server: Daemon) -> None:
    client.ours("myproxy-init", "-S", stdin=SECRET).check()
    servers = f"no.such.host.invalid,localhost:1,localhost:{server.port}"
    client.ours("myproxy-logon", "-S", "-s", servers, stdin=SECRET).check()
