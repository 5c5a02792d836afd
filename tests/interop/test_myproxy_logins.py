"""SASL, LDAP, Kerberos, programs, one-time codes and limits with the real peers, and with clients and servers of C.

Who gets in with what combination of pass phrase, PAM and SASL is in `test_myproxy_order.py`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyotp
import pytest

from gsi.errors import GridError, TransportError
from gsi.kerberos import check_password
from gsi.secret import Passphrase
from gsi.system.trustdir import TrustDirectory
from myproxy.client import MyProxyClient, ServerAddress
from myproxy.protocol.messages import Command, Request
from tests.harness.ca import write_file
from tests.harness.daemons import c_myproxy_server, free_port, our_server
from tests.harness.environment import UserEnvironment, clean_environment
from tests.harness.logins import KDC, kdc, sasl_site, saslauthd
from tests.harness.run import Done, c_program, run
from tests.harness.slapd import PEOPLE, READER, READER_PASSWORD, person, slapd
from tests.interop.conftest import Grid
from tests.interop.ours import credential_of

OPEN = 'accepted_credentials "*"\nauthorized_retrievers "*"\n'
SECRET = "correct horse"
OTHER_REALM = "USERS.EXAMPLE"
HOUR = timedelta(hours=1)
RECEIVED = "A credential has been received for user alice"
INVALID = "invalid credential passphrase"


@dataclass(frozen=True)
class Server:
    """A server of either kind, with its own directory."""

    port: int
    directory: Path
    family: str

    def audit(self) -> list[dict[str, str]]:
        """What all workers have recorded, each in a file of its own, in the order of time."""
        lines = [
            json.loads(line)
            for path in (self.directory / "store").glob("audit*.log")
            for line in path.read_text("ascii").splitlines()
        ]
        return sorted(lines, key=lambda line: line["time"])


@contextlib.contextmanager
def serving(
    family: str, directory: Path, grid: Grid, config: str, variables: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server of C's or ours with one credential of alice's, whose key is not sealed."""
    extra = dict(variables or {})
    if family == "C":
        with c_myproxy_server(grid.host, grid.trust_dir, config=OPEN + config, extra=extra) as daemon:
            store(daemon.port, grid)
            yield Server(daemon.port, daemon.directory, family)
        return
    directory.mkdir(mode=0o700, exist_ok=True)
    grid.host.write(directory / "hostcert.pem", directory / "hostkey.pem")
    write_file(directory / "myproxy-server.config", (OPEN + config).encode(), 0o600)
    port = free_port()
    env = clean_environment(directory) | extra
    env |= {"X509_USER_CERT": str(directory / "hostcert.pem"), "X509_USER_KEY": str(directory / "hostkey.pem")}
    env |= {"X509_CERT_DIR": str(grid.trust_dir)}
    arguments: list[str | Path] = ["-c", directory / "myproxy-server.config", "-s", directory / "store"]
    arguments += ["-l", "127.0.0.1", "-p", str(port), "-foreground"]
    with our_server("myproxy-server", arguments, env=env, port=port, directory=directory):
        store(port, grid)
        yield Server(port, directory, family)


def api(port: int, grid: Grid, *, owner: bool = False) -> MyProxyClient:
    identity = credential_of(grid.users["rsa2048", "rsa2048"]) if owner else None
    anchors = TrustDirectory(str(grid.trust_dir)).anchors()
    return MyProxyClient(ServerAddress.parse(f"localhost:{port}"), anchors, credential=identity)


def store(port: int, grid: Grid, passphrase: str = "", name: str | None = None) -> None:
    credential = credential_of(grid.users["rsa2048", "rsa2048"])
    request = Request(Command.PUT, "alice", Passphrase(passphrase), lifetime=12 * HOUR, credential_name=name)
    api(port, grid, owner=True).put(request, credential)


class Person:
    """Somebody without a certificate, with the commands of both families."""

    def __init__(self, directory: Path, grid: Grid, server: Server, variables: Mapping[str, str] | None = None) -> None:
        self.user = UserEnvironment(directory / "person", trust_dir=grid.trust_dir)
        self.user.variables |= {"MYPROXY_SERVER": "localhost", "MYPROXY_SERVER_PORT": str(server.port)}
        self.user.variables |= dict(variables or {})
        self.received = self.user.home / "received.pem"

    def logon(self, family: str, *arguments: str, stdin: str = "", account: str = "alice") -> Done:
        run_it = self.user.theirs if family == "C" else self.user.ours
        return run_it("myproxy-logon", "-l", account, "-o", str(self.received), *arguments, stdin=stdin)

    def sasl(self, family: str, password: str, account: str = "alice") -> Done:
        """Log on without a pass phrase; without a terminal the C client reads what SASL asks from standard input."""
        more = () if family == "C" else ("--sasl_passin", "stdin")
        return self.logon(family, "-n", *more, stdin=f"{password}\n", account=account)


FAMILIES = ("C", "ours")


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Of the server."""
    return str(request.param)


# SASL -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "PLAIN SCRAM-SHA-256"])
def test_sasl_from_a_sasldb(tmp_path: Path, grid: Grid, family: str, mechanism: str) -> None:
    site = sasl_site(tmp_path, {"alice": "sasl-words", "bob": "bob-words"}, mechanisms=mechanism)
    config = "sasl sufficient\nsasl_serverFQDN localhost\n"
    with serving(family, tmp_path / "server", grid, config, site.variables) as server:
        person_ = Person(tmp_path, grid, server)
        for client in FAMILIES:
            assert RECEIVED in person_.sasl(client, "sasl-words").check().stdout
            for account, password in (("alice", "wrong-words"), ("bob", "bob-words"), ("nobody", "words-words")):
                refused = person_.sasl(client, password, account)
                assert refused.returncode == 1, refused
                if family == "ours":
                    assert INVALID in refused.stderr
    if family == "ours":
        assert [
            line["method"] for line in server.audit() if line["action"] == "GET" and line["verdict"] == "permit"
        ] == [
            "SASL",
            "SASL",
        ]


def test_sasl_in_a_realm_by_one_mechanism_alone(tmp_path: Path, grid: Grid, family: str) -> None:
    site = sasl_site(tmp_path, {"alice": "sasl-words"}, realm=OTHER_REALM)
    config = f"sasl required\nsasl_mech SCRAM-SHA-256\nsasl_user_realm {OTHER_REALM}\nsasl_serverFQDN localhost\n"
    with serving(family, tmp_path / "server", grid, config, site.variables) as server:
        person_ = Person(tmp_path, grid, server)
        for client in FAMILIES:
            assert RECEIVED in person_.sasl(client, "sasl-words").check().stdout
            assert person_.sasl(client, "other-words").returncode == 1


def test_sasl_through_saslauthd(tmp_path: Path, grid: Grid, family: str) -> None:
    host = socket.gethostname()
    with (
        kdc(tmp_path, {"alice": "krb-words"}, host=host) as realm,
        saslauthd(tmp_path, "kerberos5", environment=_with_host_key(realm, host)) as place,
    ):
        site = sasl_site(tmp_path, {}, mechanisms="PLAIN", socket=place)
        config = "sasl sufficient\nsasl_serverFQDN localhost\n"
        with serving(family, tmp_path / "server", grid, config, site.variables) as server:
            person_ = Person(tmp_path, grid, server)
            for client in FAMILIES:
                assert RECEIVED in person_.sasl(client, "krb-words").check().stdout
                assert person_.sasl(client, "other-words").returncode == 1


def _with_host_key(realm: KDC, host: str) -> dict[str, str]:
    """The KDC's environment, with the key that saslauthd checks the KDC by."""
    env = clean_environment(realm.directory) | realm.variables
    for order in (f"addprinc -randkey host/{host}", f"ktadd -k {realm.keytab} host/{host}"):
        run([c_program("kadmin.local"), "-r", realm.realm, "-q", order], env=env).check()
    return realm.variables


def test_sasl_by_kerberos_tickets(tmp_path: Path, grid: Grid, family: str) -> None:
    host = socket.gethostname()  # what both clients call a server on the loopback interface
    with kdc(tmp_path, {"alice": "krb-words", "bob": "bob-words"}, host=host) as realm:
        site = sasl_site(tmp_path, {}, mechanisms="GSSAPI")
        variables = site.variables | realm.variables
        with serving(family, tmp_path / "server", grid, "sasl sufficient\n", variables) as server:
            person_ = Person(tmp_path, grid, server, realm.variables)
            env = person_.user.variables
            for client in FAMILIES:
                run([c_program("kinit"), "alice"], env=env, stdin="krb-words\n").check()
                assert RECEIVED in person_.logon(client, "-n").check().stdout
                run([c_program("kinit"), "bob"], env=env, stdin="bob-words\n").check()
                assert person_.logon(client, "-n").returncode == 1  # bob is not alice
                run([c_program("kdestroy")], env=env).check()
                assert person_.logon(client, "-n").returncode == 1


def test_a_client_that_vanishes_leaves_no_process(tmp_path: Path, grid: Grid) -> None:
    site = sasl_site(tmp_path, {"alice": "sasl-words"})

    class GoneError(Exception):
        pass

    def vanish(_prompt: str, _hidden: bool) -> Passphrase:
        raise GoneError

    config = "sasl sufficient\nsasl_serverFQDN localhost\n"
    with serving("ours", tmp_path / "server", grid, config, site.variables) as server:
        anchors = TrustDirectory(str(grid.trust_dir)).anchors()
        for _ in range(3):
            client = MyProxyClient(ServerAddress.parse(f"localhost:{server.port}"), anchors, ask_user=vanish)
            with pytest.raises(GoneError):
                client.authenticate(Request(Command.GET, "alice"))
        person_ = Person(tmp_path, grid, server)
        for _ in range(2):
            person_.sasl("ours", "sasl-words").check()
        assert "myproxy-server" in _processes_of(site.directory)
    assert "sasl_helper" not in _processes_of(site.directory)


def _processes_of(directory: Path) -> str:
    """The commands of running processes whose environment names a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and str(directory).encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return "\n".join(found)


# Pass phrases that others judge -------------------------------------------------------------------------------------


def attempts(
    tmp_path: Path,
    grid: Grid,
    config: str,
    cases: Mapping[tuple[str, str], bool],
    variables: Mapping[str, str] | None = None,
) -> Server:
    """Try pairs of account and pass phrase with the C client, on a server of ours that takes a sufficient judge."""
    with serving("ours", tmp_path / "server", grid, f"throttle off\n{config}", variables) as server:
        person_ = Person(tmp_path, grid, server)
        for (account, words), right in cases.items():
            done = person_.logon("C", "-S", stdin=f"{words}\n", account=account)
            assert (done.returncode == 0) is right, (account, words, str(done))
            if not right:
                assert INVALID in done.stderr
    return server


ACCOUNTS = {
    ("alice", "ldap words"): True,
    ("alice", "other words"): False,
    ("alice", ""): False,
    ("bob", "ldap words"): False,
    ("*", "ldap words"): False,
    ("alice)(uid=*", "ldap words"): False,
    ("alice,ou=people", "ldap words"): False,
    ("nobody", "ldap words"): False,
}


@pytest.mark.parametrize("way", ["template", "search", "search as reader"])
@pytest.mark.parametrize("tls", ["StartTLS", "ldaps"])
def test_ldap(tmp_path: Path, grid: Grid, way: str, tls: str) -> None:
    people = [person("alice", password="ldap words"), person("bob", password="bob words"), person("eve")]
    ca = grid.cas["rsa2048"]
    with slapd(ca, tmp_path / "slapd", people, anonymous=way != "search as reader", confidential=True) as directory:
        config = f"ldap sufficient\nldap_ca_file {directory.ca_path}\n"
        config += f"ldap_server {directory.ldap_uri}\nldap_start_tls true\n" if tls == "StartTLS" else ""
        config += f"ldap_server {directory.ldaps_uri}\n" if tls == "ldaps" else ""
        if way == "template":
            config += f'ldap_bind_dn "uid=%u,{PEOPLE}"\n'
        else:
            config += f'ldap_search_base "{PEOPLE}"\nldap_search_filter "(&(uid=%u)(objectClass=person))"\n'
        if way == "search as reader":
            password = tmp_path / "reader"
            write_file(password, f"{READER_PASSWORD}\n".encode(), 0o600)
            config += f'ldap_search_dn "{READER}"\nldap_search_passphrase_file {password}\n'
        attempts(tmp_path, grid, config, ACCOUNTS)
    # The directory is gone: nobody gets in.
    server = attempts(tmp_path, grid, config, {("alice", "ldap words"): False})
    assert "LDAP authentication failed" in server.audit()[-1]["reason"]


def test_ldap_whose_name_is_not_proved(tmp_path: Path, grid: Grid) -> None:
    people = [person("alice", password="ldap words")]
    with slapd(grid.cas["rsa2048"], tmp_path / "slapd", people) as directory:
        write_file(tmp_path / "ca.pem", grid.cas["p256"].pem, 0o644)
        config = f'ldap sufficient\nldap_ca_file {tmp_path}/ca.pem\nldap_bind_dn "uid=%u,{PEOPLE}"\n'
        attempts(tmp_path, grid, f"{config}ldap_server {directory.ldaps_uri}\n", {("alice", "ldap words"): False})


def test_kerberos(tmp_path: Path, grid: Grid) -> None:
    cases = {
        ("alice", "krb-words"): True,
        ("alice", "other-words"): False,
        ("alice", ""): False,
        ("bob", "krb-words"): False,
        ("alice/admin", "adm-words"): False,
        ("alice@TEST.EXAMPLE", "krb-words"): False,
    }
    passwords = {"alice": "krb-words", "bob": "bob-words", "alice/admin": "adm-words"}
    with kdc(tmp_path, passwords, host="svc.test") as realm:
        config = f"kerberos sufficient\nkerberos_service myproxy@svc.test\nkerberos_keytab {realm.keytab}\n"
        attempts(tmp_path, grid, config, cases, realm.variables)


def test_a_kdc_that_is_away_judges_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kdc(tmp_path, {"alice": "krb-words"}, host="svc.test") as realm:
        keytab = realm.keytab.read_bytes()
    for name, value in realm.variables.items():
        monkeypatch.setenv(name, value)
    realm.keytab.write_bytes(keytab)
    for words in ("krb-words", "other-words"):
        with pytest.raises(TransportError, match="Kerberos"):
            check_password("alice", Passphrase(words), service="myproxy@svc.test", keytab=str(realm.keytab))


def test_a_kdc_that_is_somebody_else(tmp_path: Path, grid: Grid) -> None:
    """An impostor gives out tickets for passwords of its own, but does not know the key of our service."""
    with kdc(tmp_path, {"alice": "krb-words"}, host="svc.test") as honest:
        keytab = honest.keytab.read_bytes()
    (tmp_path / "impostor").mkdir()
    with kdc(tmp_path / "impostor", {"alice": "imp-words"}, host="svc.test") as impostor:
        honest.keytab.write_bytes(keytab)
        config = f"kerberos sufficient\nkerberos_service myproxy@svc.test\nkerberos_keytab {honest.keytab}\n"
        server = attempts(tmp_path, grid, config, {("alice", "imp-words"): False}, impostor.variables)
    assert "Kerberos authentication failed" in server.audit()[-1]["reason"]


def test_a_program_of_the_site(tmp_path: Path, grid: Grid) -> None:
    program = tmp_path / "check"
    text = f'#!/bin/sh\nread -r word\necho "$#:$1" >> {tmp_path}/asked\n[ "$1:$word" = "alice:site words" ]\n'
    write_file(program, text.encode(), 0o755)
    cases = {
        ("alice", "site words"): True,
        ("alice", "other words"): False,
        ("alice", ""): False,
        ("-alice", "site words"): False,
        ("$(id)", "site words"): False,
    }
    attempts(tmp_path, grid, f"auth_program sufficient\nauth_program_path {program}\n", cases)
    asked = (tmp_path / "asked").read_text().split("\n")
    assert asked == ["1:alice", "1:alice", "1:$(id)", ""]


# One-time codes -----------------------------------------------------------------------------------------------------


def enrol(server: Server, key: Path) -> pyotp.TOTP:
    """Give alice a secret, on the running server's store."""
    from datetime import UTC, datetime

    from myproxy.auth.totp import CodeKeys, OneTimeCodes
    from myproxy.repository.codes import SQLCodeStore
    from myproxy.repository.sql import open_sqlite_repository

    repository = open_sqlite_repository(str(server.directory / "store"))
    try:
        codes = OneTimeCodes(
            SQLCodeStore(repository.database), CodeKeys.load(str(key)), clock=lambda: datetime.now(UTC)
        )
        made = pyotp.parse_uri(codes.enrol("alice", issuer="Test").uri.reveal().decode())
    finally:
        repository.close()
    assert isinstance(made, pyotp.TOTP)
    return made


def test_one_time_codes_with_every_client(tmp_path: Path, grid: Grid) -> None:
    key = tmp_path / "otp.key"
    write_file(key, b"0123456789abcdef" * 4 + b"\n", 0o600)
    # So wide a window holds enough codes for the whole test.
    config = f"otp required\notp_key_file {key}\notp_window 10\nthrottle off\n"
    with serving("ours", tmp_path / "server", grid, config) as server:
        store(server.port, grid, SECRET, "sealed")
        shown = enrol(server, key)
        from datetime import UTC, datetime

        start = datetime.now(UTC) - timedelta(seconds=8 * 30)
        codes = iter([shown.at(start + timedelta(seconds=30 * number)) for number in range(16)])
        person_ = Person(tmp_path, grid, server)

        used = next(codes)
        assert RECEIVED in person_.logon("C", "-S", "-k", "sealed", stdin=f"{SECRET}{used}\n").check().stdout
        for again in (used, f"{used[:3]} {used[3:]}", "".join(chr(0xFF10 + int(digit)) for digit in used)):
            refused = person_.logon("C", "-S", "-k", "sealed", stdin=f"{SECRET}{again}\n")
            assert INVALID in refused.stderr
        for words in (SECRET, next(codes), f"wrong words{next(codes)}", f"{SECRET}000"):
            assert INVALID in person_.logon("C", "-S", "-k", "sealed", stdin=f"{words}\n").stderr
        # Without a pass phrase the code stands alone.
        assert RECEIVED in person_.logon("C", "-S", stdin=f"{next(codes)}\n").check().stdout
        # Ours asks for the two one after the other.
        stdin = f"{SECRET}\n{next(codes)}\n"
        assert RECEIVED in person_.logon("ours", "-S", "--otp", "-k", "sealed", stdin=stdin).check().stdout
        assert RECEIVED in person_.logon("ours", "-S", "-n", "--otp", stdin=f"{next(codes)}\n").check().stdout
    methods = [line["method"] for line in server.audit() if line["action"] == "GET" and line["verdict"] == "permit"]
    assert methods == ["pass phrase + one-time password", "one-time password"] * 2


# Limits -------------------------------------------------------------------------------------------------------------


def test_guessing_is_limited_over_all_processes(tmp_path: Path, grid: Grid) -> None:
    config = "worker_processes 2\nthrottle_first_delay 600\n"
    with serving("ours", tmp_path / "server", grid, config) as server:
        store(server.port, grid, SECRET, "sealed")
        person_ = Person(tmp_path, grid, server)
        for _ in range(5):
            assert INVALID in person_.logon("C", "-S", "-k", "sealed", stdin="wrong words\n").stderr
        for words in (SECRET, "wrong words"):
            refused = person_.logon("C", "-S", "-k", "sealed", stdin=f"{words}\n")
            assert INVALID in refused.stderr
            assert "too many" not in refused.stderr
        assert "too many wrong pass phrases" in server.audit()[-1]["reason"]
        # Somebody with a certificate is told.
        request = Request(Command.GET, "alice", Passphrase(SECRET), credential_name="sealed")
        with pytest.raises(GridError, match=r"too many wrong pass phrases .* try again in"):
            api(server.port, grid, owner=True).authenticate(request)


def test_judges_that_hang_stop_nobody_else(tmp_path: Path, grid: Grid) -> None:
    """More logons than the server has threads wait for a program that does not answer; others are served meanwhile."""
    gate = tmp_path / "gate"
    program = tmp_path / "check"
    write_file(program, f"#!/bin/sh\nwhile [ ! -e {gate} ]; do sleep 0.1; done\nexit 1\n".encode(), 0o755)
    config = f"auth_program sufficient\nauth_program_path {program}\nthrottle off\n"
    with serving("ours", tmp_path / "server", grid, config) as server:
        store(server.port, grid, SECRET, "sealed")
        waiting = [threading.Thread(target=_try, args=(server.port, grid, "x" * 8)) for _ in range(130)]
        for thread in waiting:
            thread.start()
        try:
            sealed = Request(Command.GET, "alice", Passphrase(SECRET), credential_name="sealed", lifetime=HOUR)
            for _ in range(3):
                api(server.port, grid).authenticate(sealed)
            assert api(server.port, grid, owner=True).info("alice")
            assert any(thread.is_alive() for thread in waiting)
        finally:
            gate.touch()
            for thread in waiting:
                thread.join()
    reasons = [line["reason"] for line in server.audit() if line["verdict"] == "deny"]
    assert len(reasons) == 130


def _try(port: int, grid: Grid, words: str) -> None:
    with pytest.raises(GridError, match=INVALID):
        api(port, grid).authenticate(Request(Command.GET, "alice", Passphrase(words), lifetime=HOUR))


def test_a_configuration_that_cannot_work_does_not_start(tmp_path: Path, grid: Grid) -> None:
    wrong = {
        "ldap required": "ldap needs ldap_server",
        "ldap required\nldap_server ldap://localhost\nldap_bind_dn uid=%u": "in clear",
        "ldap required\nldap_server ldaps://localhost": "either ldap_bind_dn or ldap_search_base",
        "ldap required\nldap_server ldaps://localhost\nldap_bind_dn cn=x": "no %u",
        "auth_program required": "auth_program needs auth_program_path",
        "auth_program required\nauth_program_path /nonexistent": "not an executable file",
        "otp required": "otp needs otp_key_file",
        "otp required\notp_key_file /nonexistent": "cannot use the key",
        "pam required\npam_id ../x": "no name of a PAM service",
        "throttle_first_delay 100\nthrottle_longest_delay 10": "do not fit together",
    }
    for config, words in wrong.items():
        with pytest.raises(AssertionError) as caught, serving("ours", tmp_path / "server", grid, f"{config}\n"):
            pass
        assert words in str(caught.value), config
