"""Limits of our `myproxy-server`, live: keys that are too small, guesses by the dozen, judges that are away."""

from __future__ import annotations

import os
import socket
import ssl
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from gsi.errors import GridError
from gsi.secret import Passphrase
from myproxy.authentication import OUTSIDE_SLOTS
from myproxy.protocol.messages import Command, Request
from tests.harness.ca import write_file
from tests.harness.slapd import PEOPLE, person, slapd
from tests.interop.conftest import Grid
from tests.interop.test_myproxy_logins import INVALID, Server, api, serving
from tests.interop.test_myproxy_server import OPEN, Person, Site

SECRET = "correct horse"
HOUR = timedelta(hours=1)


@pytest.fixture
def site(tmp_path: Path, grid: Grid) -> Site:
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    return Site(directory, grid)


# How small a delegated key may be -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directive", "bits", "least"), [("", 1024, 2048), ("", 1536, 2048), ("min_proxy_keylen 3072\n", 2048, 3072)]
)
def test_a_key_that_is_too_small_is_told_both_sizes(site: Site, directive: str, bits: int, least: int) -> None:
    site.configure(OPEN + directive)
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    with site.start():
        alice.put().check()
        alice.environment.variables["MYPROXY_KEYBITS"] = str(bits)
        done = alice.logon()
    assert done.returncode
    assert f"an RSA key of {bits} bits is too weak; at least {least} bits are required" in done.stderr


@pytest.mark.parametrize(("least", "bits", "works"), [(1024, 1024, True), (1536, 1536, True), (1536, 1024, False)])
def test_a_site_may_take_smaller_keys(site: Site, least: int, bits: int, works: bool) -> None:
    site.configure(OPEN + f"min_proxy_keylen {least}\n")
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    with site.start():
        alice.put().check()
        alice.environment.variables["MYPROXY_KEYBITS"] = str(bits)
        done = alice.logon()
        assert (done.returncode == 0) is works, done.stderr
        if works:
            assert f"{bits} bits" in alice.describe()
        else:
            assert f"an RSA key of {bits} bits is too weak; at least {least} bits are required" in done.stderr


# Judges that are away, or slow --------------------------------------------------------------------------------------


def logon(server: Server, grid: Grid, words: str, *, username: str = "alice") -> bool:
    """Whether a stranger gets in."""
    try:
        api(server.port, grid).authenticate(Request(Command.GET, username, Passphrase(words), lifetime=HOUR))
    except GridError as error:
        return INVALID not in error.message
    return True


def test_an_outage_of_the_directory_locks_nobody_out(tmp_path: Path, grid: Grid) -> None:
    """The right pass phrase is refused as often as a wrong one would be locked for minutes, and then taken at once."""
    with slapd(grid.cas["rsa2048"], tmp_path / "slapd", [person("alice", password=SECRET)]) as first:
        away = str(tmp_path / "away")
        config = f'ldap required\nldap_server ldapi://{quote(away, safe="")}\nldap_bind_dn "uid=%u,{PEOPLE}"\n'
        with serving("ours", tmp_path / "server", grid, config) as server:
            assert not any(logon(server, grid, SECRET) for _ in range(12))
            os.symlink(unquote(first.ldapi_uri.removeprefix("ldapi://")), away)
            begun = time.monotonic()
            assert logon(server, grid, SECRET)
            assert time.monotonic() - begun < 5
            # Wrong ones count as before.
            assert not any(logon(server, grid, "wrong words") for _ in range(6))
            assert not logon(server, grid, SECRET)
    assert "too many wrong pass phrases" in server.audit()[-1]["reason"]


def test_one_network_leaves_judges_for_the_others(tmp_path: Path, grid: Grid) -> None:
    """More wrong logons from one network than the server asks judges, while the program sleeps on each."""
    program, gate, asked = tmp_path / "check", tmp_path / "gate", tmp_path / "asked"
    lines = [
        "#!/bin/sh",
        "read words",
        f'[ "$words" = "{SECRET}" ] && exit 0',
        f"echo >> {asked}",
        f"while [ ! -e {gate} ]; do sleep 0.1; done",
    ]
    write_file(program, "\n".join([*lines, "exit 1", ""]).encode(), 0o755)
    config = f"auth_program sufficient\nauth_program_path {program}\n"
    with serving("ours", tmp_path / "server", grid, config) as server:
        crowd = [RawLogon(server.port, "127.0.0.1") for _ in range(110)]
        for number, one in enumerate(crowd):
            one.send(f"stranger{number}", "wrong words")
        try:
            for number in range(6):
                assert b"RESPONSE=0" in RawLogon(server.port, f"127.0.{9 + number}.1").ask("alice", SECRET)
        finally:
            gate.touch()
        for one in crowd:
            assert INVALID.encode() in one.receive()
    assert len([line for line in server.audit() if line["verdict"] == "deny"]) == 110
    assert len(asked.read_bytes()) == OUTSIDE_SLOTS // 2


@pytest.mark.parametrize(("networks", "judged"), [(1, 5), (40, 11)])
def test_guesses_at_the_same_moment_are_judged_as_the_rules_say(
    tmp_path: Path, grid: Grid, networks: int, judged: int
) -> None:
    """On four workers; the program takes its time, so that none is over before the last has come."""
    program, gate, asked = tmp_path / "check", tmp_path / "gate", tmp_path / "asked"
    script = f"#!/bin/sh\necho >> {asked}\nwhile [ ! -e {gate} ]; do sleep 0.1; done\nexit 1\n"
    write_file(program, script.encode(), 0o755)
    config = f"auth_program sufficient\nauth_program_path {program}\nworker_processes 4\nthrottle_user_delay 60\n"
    with serving("ours", tmp_path / "server", grid, config) as server:
        crowd = [RawLogon(server.port, f"127.0.{number % networks}.1") for number in range(40)]
        for one in crowd:
            one.send("alice", "wrong words")
        deadline = time.monotonic() + 20
        while not asked.exists() or len(asked.read_bytes()) < judged:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(TimeoutError):
            crowd[0].receive(seconds=2)  # time for the others to slip in, if they could
        assert len(asked.read_bytes()) == judged
        for one in crowd:
            one.close()
        gate.touch()


class RawLogon:
    """A stranger's connection from an address of the loopback interface."""

    def __init__(self, port: int, source: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", port), 60, source_address=(source, 0))
        self._tls = context.wrap_socket(plain)
        self._tls.sendall(b"0")

    def send(self, username: str, words: str) -> None:
        """Ask for a credential."""
        text = f"VERSION=MYPROXYv2\nCOMMAND=0\nUSERNAME={username}\nPASSPHRASE={words}\nLIFETIME=3600\n\0"
        self._tls.sendall(text.encode())

    def receive(self, *, seconds: float = 60) -> bytes:
        """The answer; the connection is closed."""
        self._tls.settimeout(seconds)
        data = b""
        while b"\0" not in data and (more := self._tls.recv(65536)):
            data += more
        self.close()
        return data

    def ask(self, username: str, words: str) -> bytes:
        """Both."""
        self.send(username, words)
        return self.receive()

    def close(self) -> None:
        """Close it."""
        self._tls.close()
