"""Key distribution centres for tests: MIT's as installed, Heimdal 7's as unpacked by `tests/install-peers`.

Not here: what is asked of them. Both run as who runs the tests, on free loopback ports, in a directory of their own,
and are up in a fraction of a second. Heimdal's libraries are found by its own processes only; everything else, our
programs included, talks to either KDC with MIT's library.

Workflow:
    with mit_kdc(tmp_path, users={"alice": "secret"}, services=["kca_service/localhost"]) as realm:
        env = realm.login("alice", "secret")                 # kinit; the variables of a user with a ticket
        keytab = realm.keytab                                # the services' keys
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.harness.ca import write_file
from tests.harness.daemons import free_port, running
from tests.harness.environment import clean_environment
from tests.harness.run import ALLOW_MISSING_PEERS, Done, c_program, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.harness.ca import TestCA
    from tests.harness.daemons import Daemon

__all__ = [
    "HEIMDAL",
    "Realm",
    "heimdal_environment",
    "heimdal_kdc",
    "heimdal_kx509",
    "heimdal_program",
    "host_name",
    "mit_kdc",
    "wait_for_line",
    "write_keytab",
]

REALM: Final = "TEST.EXAMPLE"
HEIMDAL_REALM: Final = "HEI.EXAMPLE"
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
HEIMDAL: Final = Path(os.environ.get("GSI_TEST_HEIMDAL") or _CACHE / "gsi-toolkit" / "heimdal")
_START_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Realm:
    """A realm whose KDC runs.

    Attributes:
        name: Its name.
        port: Its KDC's port, UDP and TCP, on 127.0.0.1.
        directory: Its files.
        variables: What everybody needs who uses it with MIT's library.
        keytab: The keys of its services.
        kind: "mit" or "heimdal".
        daemon: The KDC.
    """

    name: str
    port: int
    directory: Path
    variables: dict[str, str]
    keytab: Path
    kind: str
    daemon: Daemon
    _counter: list[int] = field(default_factory=lambda: [0])

    @property
    def krb5_conf(self) -> Path:
        """The configuration for MIT's library."""
        return self.directory / "krb5.conf"

    def login(
        self,
        user: str,
        password: str,
        *,
        service: str | None = None,
        lifetime: str = "1h",
        options: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Get a ticket with MIT's kinit into a cache of its own; return the variables that name it.

        Args:
            user: The principal, with or without realm.
            password: Its password.
            service: Ask for a ticket for this service at once, which is then an initial one.
            lifetime: As kinit takes it.
            options: More options of kinit.
            variables: What kinit alone is told, as another krb5.conf.
        """
        self._counter[0] += 1
        env = self.variables | {"KRB5CCNAME": f"FILE:{self.directory}/ccache-{self._counter[0]}"}
        argv = [c_program("kinit"), "-l", lifetime, *options, *(["-S", service] if service else []), user]
        run(argv, env=clean_environment(self.directory) | env | dict(variables or {}), stdin=f"{password}\n").check()
        return env

    def kadmin(self, *orders: str) -> None:
        """Have the database changed, MIT's only."""
        _kadmin(self.name, clean_environment(self.directory) | self.variables, orders)


def host_name() -> str:
    """What `gethostname` says, which is what Heimdal 7 takes as the host of its kca_service."""
    return socket.gethostname()


def _free_port() -> int:
    """A loopback port that was free for streams and for datagrams a moment ago."""
    while True:
        port = free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _client_conf(realm: str, port: int, *, defaults: str = "") -> str:
    return f"""\
[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
{defaults}[realms]
{realm} = {{
  kdc = 127.0.0.1:{port}
}}
[domain_realm]
localhost = {realm}
{host_name()} = {realm}
"""


def _kadmin(realm: str, env: Mapping[str, str], orders: Sequence[str]) -> Done:
    return run(
        [c_program("kadmin.local"), "-r", realm], env=env, stdin="".join(f"{order}\n" for order in orders)
    ).check()


@contextlib.contextmanager
def mit_kdc(
    directory: Path,
    *,
    users: Mapping[str, str],
    services: Sequence[str],
    realm: str = REALM,
    settings: str = "",
    defaults: str = "",
    orders: Sequence[str] = (),
) -> Iterator[Realm]:
    """An MIT KDC.

    Args:
        directory: Where its own directory is made.
        users: Principals with their passwords.
        services: Principals whose keys go into the keytab.
        realm: The realm.
        settings: More lines for the realm in kdc.conf.
        defaults: More lines for `[libdefaults]` of everybody's krb5.conf.
        orders: More for kadmin.local.
    """
    place = directory / f"mit-{realm}"
    place.mkdir(mode=0o700)
    port = _free_port()
    profile = f"""\
[kdcdefaults]
kdc_listen = 127.0.0.1:{port}
kdc_tcp_listen = 127.0.0.1:{port}
[realms]
{realm} = {{
  database_name = {place}/principal
  key_stash_file = {place}/stash
  acl_file = {place}/acl
  max_life = 10h
{settings}}}
[logging]
kdc = FILE:{place}/kdc.log
"""
    write_file(place / "krb5.conf", _client_conf(realm, port, defaults=defaults).encode(), 0o644)
    write_file(place / "kdc.conf", profile.encode(), 0o644)
    keytab = place / "service.keytab"
    variables = {
        "KRB5_CONFIG": str(place / "krb5.conf"),
        "KRB5_KDC_PROFILE": str(place / "kdc.conf"),
        "KRB5RCACHEDIR": str(place),
    }
    env = clean_environment(place) | variables
    run([c_program("kdb5_util"), "create", "-s", "-P", "master", "-r", realm], env=env).check()
    made = [f"addprinc -pw {word} {user}" for user, word in users.items()]
    for service in services:
        made += [f"addprinc -randkey {service}", f"ktadd -k {keytab} {service}"]
    _kadmin(realm, env, [*made, *orders])
    with running([c_program("krb5kdc"), "-n", "-r", realm], env=env, port=port, directory=place) as daemon:
        yield Realm(realm, port, place, variables, keytab, "mit", daemon)


# --- Heimdal ---------------------------------------------------------------------------------------------------------


def heimdal_program(name: str) -> Path:
    """A program of Heimdal's; fails where it is missing, as `require_peer` does."""
    for place in ("usr/bin", "usr/sbin", "usr/lib/heimdal-servers"):
        if os.access(HEIMDAL / place / name, os.X_OK):
            return HEIMDAL / place / name
    text = f"missing interop peer: {name} of Heimdal in {HEIMDAL} (tests/install-peers unpacks it)"
    if os.environ.get(ALLOW_MISSING_PEERS) and os.environ.get("CI", "").lower() != "true":
        pytest.skip(text)
    pytest.fail(text, pytrace=False)


def heimdal_environment(directory: Path) -> dict[str, str]:
    """The variables of Heimdal's own processes, with its configuration in this directory."""
    triplet = f"{platform.machine()}-linux-gnu"
    libraries = [HEIMDAL / "usr/lib" / triplet, HEIMDAL / "usr/lib" / triplet / "heimdal", HEIMDAL / "lib" / triplet]
    return clean_environment(directory) | {
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "KRB5_CONFIG": str(directory / "heimdal.conf"),
    }


@contextlib.contextmanager
def heimdal_kdc(
    directory: Path,
    *,
    users: Mapping[str, str],
    services: Sequence[str],
    realm: str = HEIMDAL_REALM,
    settings: str = "",
) -> Iterator[Realm]:
    """A Heimdal 7 KDC.

    Args:
        directory: Where its own directory is made.
        users: Principals with their passwords.
        services: Principals whose keys go into the keytab.
        realm: The realm.
        settings: More lines for `[kdc]`.
    """
    place = directory / f"heimdal-{realm}"
    place.mkdir(mode=0o700)
    port = _free_port()
    server = f"""\
[kdc]
database = {{
  dbname = {place}/heimdal
  realm = {realm}
  mkey_file = {place}/m-key
  acl_file = {place}/acl
  log_file = {place}/log
}}
addresses = 127.0.0.1
ports = {port}
{settings}
[logging]
kdc = FILE:{place}/kdc.log
"""
    write_file(place / "krb5.conf", _client_conf(realm, port).encode(), 0o644)
    write_file(place / "heimdal.conf", (_client_conf(realm, port) + server).encode(), 0o644)
    write_file(place / "acl", b"", 0o644)
    env = heimdal_environment(place)
    keytab = place / "service.keytab"
    run([heimdal_program("kstash"), f"--key-file={place}/m-key", "--random-key"], env=env).check()
    orders = [f"init --realm-max-ticket-life=10h --realm-max-renewable-life=7d {realm}"]
    orders += [f"add -p {word} --use-defaults {user}" for user, word in users.items()]
    for service in services:
        orders += [f"add -r --use-defaults {service}", f"ext_keytab -k {keytab} {service}"]
    kadmin: list[str | Path] = [heimdal_program("kadmin.heimdal"), "-l", f"--config-file={place}/heimdal.conf"]
    run(kadmin, env=env, stdin="".join(f"{order}\n" for order in orders)).check()
    variables = {"KRB5_CONFIG": str(place / "krb5.conf"), "KRB5RCACHEDIR": str(place)}
    argv: list[str | Path] = [heimdal_program("kdc"), f"--config-file={place}/heimdal.conf"]
    with running(argv, env=env, port=port, directory=place) as daemon:
        yield Realm(realm, port, place, variables, keytab, "heimdal", daemon)


def heimdal_kx509(directory: Path, ca: TestCA, *, initial: bool = False) -> str:
    """Settings for `heimdal_kdc` that make it issue certificates.

    Args:
        directory: Where the authority's files are written.
        ca: The authority.
        initial: Whether it insists on tickets got with a password, which it does unless told otherwise.
    """
    ca_path, template = directory / "kx509-ca.pem", directory / "kx509-template.pem"
    ca.credential.write_bundle(ca_path)
    # No part of the name may be anything but UTF8String, or nothing is put in its place, without a word.
    argv = [c_program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null"]
    argv += ["-out", str(template), "-subj", "/O=Grid/OU=Kerberos/CN=${principal-name-without-realm}", "-utf8"]
    argv += ["-addext", "keyUsage=digitalSignature,keyEncipherment", "-addext", "extendedKeyUsage=clientAuth"]
    run(argv, env=clean_environment(directory)).check()
    return f"""\
enable-kx509 = yes
kx509_ca = FILE:{ca_path}
kx509_template = FILE:{template}
require_initial_kca_tickets = {"true" if initial else "false"}
"""


def wait_for_line(path: Path, text: str) -> None:
    """Wait until a log has a line with this text."""
    deadline = time.monotonic() + _START_SECONDS
    while text not in (path.read_text(errors="replace") if path.exists() else ""):
        assert time.monotonic() < deadline, f"{text!r} is not in {path}"
        time.sleep(0.02)


def write_keytab(path: Path, service: str = "HTTP") -> Path:
    """A keytab with one random key of a service on localhost (version 0x502, aes256-cts-hmac-sha1-96)."""

    def counted(data: bytes) -> bytes:
        return len(data).to_bytes(2, "big") + data

    entry = (2).to_bytes(2, "big") + counted(b"X.TEST") + counted(service.encode()) + counted(b"localhost")
    entry += (3).to_bytes(4, "big") + bytes(4) + b"\x01" + (18).to_bytes(2, "big") + counted(os.urandom(32))
    write_file(path, b"\x05\x02" + len(entry).to_bytes(4, "big") + entry, 0o600)
    return path
