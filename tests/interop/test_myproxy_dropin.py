"""What the C server starts with and does with it, and ours: configurations, patterns and stores of real sites."""

from __future__ import annotations

import copy
import os
import re
import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.harness.ca import write_file
from tests.harness.daemons import MYPROXY_CONFIG, c_myproxy_server
from tests.harness.run import Done, c_program, our_program, run
from tests.interop.conftest import ALICE, Grid
from tests.interop.test_myproxy_server import OPEN, SECRET, Person, Site


@pytest.fixture
def site(tmp_path: Path, grid: Grid) -> Site:
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    return Site(directory, grid)


def stores(site: Site, where: str, port: int) -> bool:
    """Whether Alice may store at a server."""
    alice = Person(site, where, site.grid.users["rsa2048", "rsa2048"])
    alice.environment.variables["MYPROXY_SERVER_PORT"] = str(port)
    return alice.put().returncode == 0


# Configurations -----------------------------------------------------------------------------------------------------

HARMLESS = """\
slave_servers
slave_servers a.example.org b.example.org
syslog_facility 16
syslog_facility nonsense
default_retrievers
trusted_retrievers
max_proxy_lifetime -1
max_proxy_lifetime 12h
max_proxy_lifetime 99999999999
max_proxy_lifetime " 12"
request_size_limit 999999999
request_timeout 100000
request_timeout 1.5
request_timeout abc
certificate_serial_skip 0
certificate_mapapp /bin/a b
certificate_openssl_engine_pre a b
certificate_openssl_engine_lockfile /nowhere
authorized_renewers ((
authorized_renewers "/CN=x" "open
authorized_renewers "/CN=y"/CN=z
authorized_renewers "/CN=caf\xe9"
nonsense caf\xe9
# caf\xe9
"""


def test_a_configuration_with_everything_that_the_c_server_passes_over(site: Site) -> None:
    write_file(site.config_path, (OPEN + HARMLESS).encode("latin-1"), 0o600)
    assert run_c_server(site) == 0
    with site.start() as server:
        assert stores(site, "ours", site.port)
        log = server.log()
    for told in (
        "slave_servers is ignored",
        "'12h' is taken for 12",
        "there is no syslog_facility 'nonsense'",
        "matches nobody: a quote is not closed",
        "unknown directive nonsense",
    ):
        assert told in log


def run_c_server(site: Site) -> int:
    """Start the C server with the configuration, end it, and return the exit status of the start."""
    store, pid_path = site.directory / "c-store", site.directory / "c-pid"
    store.mkdir(mode=0o700, exist_ok=True)
    words: list[str | Path] = [c_program("myproxy-server"), "-c", site.config_path, "-s", store, "-P", pid_path]
    status = run([*words, "-l", "127.0.0.1", "-p", "0"], env=site.environment).returncode
    if status == 0:
        os.kill(int(pid_path.read_text()), signal.SIGTERM)
    return status


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("pam optional", "'optional' is not one of required, sufficient, disabled"),
        ("sasl bogus", "'bogus' is not one of required, sufficient, disabled"),
        ("max_proxy_lifetime abc", "'abc' is not a whole number"),
        ("max_cred_lifetime -5", "-5 is not between"),
        ("trusted_retrievers /CN=a *", "every credential without a pass phrase"),
        ("ocsp_policy bogus", "aia is the only policy"),
    ],
)
def test_what_the_c_server_takes_for_less_than_it_says_is_refused(site: Site, line: str, told: str) -> None:
    """Each of these starts the C server and quietly switches something off, or everything on."""
    site.configure(f"{OPEN}{line}\n")
    assert run_c_server(site) == 0
    refused = run([our_program("myproxy-server"), *site.arguments("-foreground")], env=site.environment)
    assert refused.returncode == 1
    assert told in refused.stderr


# Patterns -----------------------------------------------------------------------------------------------------------

ESCAPED = [
    ("x\\\\|*", False),
    ("*\\", True),
    (f"{ALICE}\\", True),
    (f"{ALICE}\\\\", False),
    (f"x|{ALICE}\\\\.", False),
    ("*\\\\", False),
    ("[^\\\\]*", True),
    ("[^\\\\]\\+.*", False),
    ("((", False),
    (f"{ALICE}|((", False),
]


@pytest.mark.parametrize(("pattern", "expected"), ESCAPED)
def test_backslashes_mean_what_they_mean_to_the_c_server(site: Site, grid: Grid, pattern: str, expected: bool) -> None:
    config = f"accepted_credentials {pattern}\n"
    with c_myproxy_server(grid.host, grid.trust_dir, config=config) as theirs:
        assert stores(site, "theirs", theirs.port) is expected
    site.configure(config)
    with site.start():
        assert stores(site, "ours", site.port) is expected


# Text that is not UTF-8 -----------------------------------------------------------------------------------------------

LATIN1 = "f\udcfcr alle"  # as os.fsencode makes Latin-1 of it
JUERGEN = "j\udcfcrgen"


def test_texts_in_latin1_are_taken_over_and_names_in_it_are_named(site: Site, grid: Grid) -> None:
    site.configure(MYPROXY_CONFIG)
    site.store.mkdir(mode=0o700)
    alice = Person(site, "alice", grid.users["rsa2048", "rsa2048"])
    with c_myproxy_server(grid.host, grid.trust_dir, store=site.store) as server:
        alice.environment.variables["MYPROXY_SERVER_PORT"] = str(server.port)
        alice.put("-K", LATIN1).check()
        alice.run("myproxy-init", "-S", "-l", JUERGEN, stdin=SECRET).check()
    alice.environment.variables["MYPROXY_SERVER_PORT"] = str(site.port)
    with site.start() as ours:
        log = ours.log()
        alice.logon().check()
        assert "description: für alle" in alice.run("myproxy-info", "-l", "alice").check().output
        alice.put("-K", f"jetzt {LATIN1}").check()
        assert "description: jetzt für alle" in alice.run("myproxy-info", "-l", "alice").check().output
        refused = alice.run("myproxy-init", "-S", "-l", JUERGEN, stdin=SECRET)
        assert refused.returncode == 1
        assert "USERNAME is not UTF-8" in refused.stderr
    assert "1 imported, 1 not" in log
    assert "DESCRIPTION is not UTF-8 and was read as Latin-1" in log
    assert r"USERNAME is not UTF-8 (j\xfcrgen)" in log
    (record,) = (one for one in site.audit() if one["action"] == "IMPORT")
    assert (record["verdict"], record["reason"]) == (
        "fail",
        "credentials of the C server: 1 could not be taken over",
    )


# Keys without a pass phrase -------------------------------------------------------------------------------------------


def test_a_host_key_is_stored_as_by_the_c_command(site: Site) -> None:
    certificate, key = site.directory / "www.pem", site.directory / "wwwkey.pem"
    site.grid.users["rsa2048", "rsa2048"].write(certificate, key)
    with site.start():
        alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
        words: list[str | Path] = ["-c", certificate, "-y", key, "-l", "www"]
        told = alice.run("myproxy-store", *words).check()
        argv: list[str | Path] = [our_program("myproxy-store"), *words]
        ours = run(argv, env=alice.environment.variables).check()
        assert ours.stdout == told.stdout
        assert "warning: " in ours.stderr
        assert "the key is not locked by a pass phrase" in ours.stderr
        assert run([*argv, "--no_passphrase"], env=alice.environment.variables).check().stderr == ""
        refused = run([*argv, "--require_passphrase"], env=alice.environment.variables)
    assert (refused.returncode, refused.stdout) == (1, "")


# What is printed ------------------------------------------------------------------------------------------------------


def admin_query(program: str, site: Site, *words: str) -> Done:
    return run([program, "-s", site.store, *words], env=site.environment)


def steady(text: str) -> str:
    """The same without the hours of the time left, which one may be the first to see go; the days stay."""
    return re.sub(r"timeleft: \d+:\d\d:\d\d", "timeleft: TIME", text)


def test_admin_query_prints_what_the_c_command_prints(site: Site, grid: Grid) -> None:
    site.configure(MYPROXY_CONFIG)
    site.store.mkdir(mode=0o700)
    theirs, ours = c_program("myproxy-admin-query"), our_program("myproxy-admin-query")
    for program in (theirs, ours):
        done = admin_query(program, site).check()
        assert (done.stdout, done.stderr) == ("No credentials found.\n", "")
        assert admin_query(program, site, "-s", f"{site.store}/nowhere").returncode == 1
    assert not list(site.store.iterdir())
    alice = Person(site, "alice", grid.users["rsa2048", "rsa2048"])
    with c_myproxy_server(grid.host, grid.trust_dir, store=site.store) as server:
        alice.environment.variables["MYPROXY_SERVER_PORT"] = str(server.port)
        alice.put("-c", "100", "-K", "four days").check()
        alice.put("-k", "named", "-r", "*/CN=x", "-x").check()
    steps: list[list[str]] = [
        [],
        ["-L", "closed"],
        [],
        ["-U"],
        ["-k", "named", "-L", "x"],
        ["-l", "nobody"],
        ["-r"],
        [],
    ]
    told = [admin_query(theirs, copied, *words).check().stdout for copied in [copy_of(site)] for words in steps]
    with site.start():
        pass
    mine = [admin_query(ours, site, *words).check().stdout for words in steps]
    assert [sorted_blocks(text) for text in mine] == [sorted_blocks(text) for text in told]
    assert "(name: default) locked." in mine[1]


def copy_of(site: Site) -> Site:
    """The same with a copy of the store."""
    copied = copy.copy(site)
    copied.store = site.directory / "copied"
    shutil.copytree(site.store, copied.store)
    copied.store.chmod(0o700)
    return copied


def sorted_blocks(text: str) -> list[str]:
    """The credentials, in whatever order the C command found their files."""
    return sorted(re.split(r"^(?=owner|Credential)", steady(text), flags=re.MULTILINE))


def test_trust_roots_are_told_of_as_by_the_c_commands(site: Site, grid: Grid) -> None:
    site.configure(f"{MYPROXY_CONFIG}cert_dir {grid.trust_dir}\n")
    with site.start():
        alice = Person(site, "alice", grid.users["rsa2048", "rsa2048"])
        alice.put().check()
        certificate, key = site.directory / "c.pem", site.directory / "k.pem"
        locked = site.directory / "locked.pem"
        words: list[str | Path] = [c_program("openssl"), "pkey", "-in", alice.environment.key_path, "-out", locked]
        run([*words, "-aes256", "-passout", f"pass:{SECRET[:-1]}"], env=site.environment).check()
        locked.chmod(0o600)
        alice.run(
            "myproxy-store", "-c", alice.environment.cert_path, "-y", locked, "-l", "kept", "-E", "*", "-x", "-a"
        ).check()
        commands: list[list[str | Path]] = [
            ["myproxy-logon", "-S", "-l", "alice", "-o", site.directory / "x", "-T"],
            ["myproxy-retrieve", "-S", "-l", "kept", "-c", certificate, "-y", key, "-T"],
        ]
        trust = site.directory / "roots"
        shutil.copytree(grid.trust_dir, trust)
        env = alice.environment.variables | {"X509_CERT_DIR": str(trust)}
        for name, *words in commands:
            said = []
            for program in (c_program(str(name)), our_program(str(name))):
                certificate.unlink(missing_ok=True)
                key.unlink(missing_ok=True)
                told = run([program, *words], env=env, stdin=SECRET).check().stdout
                said.append(told.replace("/.\n", ".\n"))  # the C commands end the directory with a slash
            assert said[1] == said[0]
            assert "Trust roots have been installed in" in said[1]


def test_a_silent_connection_is_closed_within_the_time_of_a_request(site: Site) -> None:
    """The reader gives up before the limit that handshakes have by themselves."""
    site.configure(f"{OPEN}request_timeout 1\n")
    with site.start(), socket.create_connection(("127.0.0.1", site.port), timeout=20) as silent:
        assert silent.recv(1) == b""
